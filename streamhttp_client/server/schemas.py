"""Checks a value against the part of JSON Schema that says most: for schemas that were written by hand.

Known are ``type``, ``enum``, ``const``, ``oneOf`` and ``anyOf`` of nothing but ``const`` (choices with titles),
``minLength``, ``maxLength``, ``minimum``, ``maximum``, ``minItems``, ``maxItems``, ``required``, ``properties``,
``additionalProperties``, ``items`` and the local ``$ref``. All other keywords are let pass, so a value may still be
wrong; what is named here never is wrongly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["SchemaError", "check_value"]

_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (Mapping,),
    "null": (type(None),),
}
# A schema that refers to itself ends with the value, unless it does so in one place.
_MAX_REFS = 32


class SchemaError(ValueError):
    """A value does not fit; the text begins with the place, such as ``'rows[0].name'``, where there is one."""


def check_value(value: Any, schema: Any, *, path: str = "", root: Any = None) -> None:
    """Check a value of JSON.

    Args:
        path: The place of the value, for the error.
        root: What ``#`` in a ``$ref`` means, if it is not ``schema``.

    Raises:
        SchemaError: It does not fit.
    """
    root = schema if root is None else root
    schema = _resolve(schema, root)
    if schema is False:
        raise SchemaError(f"{_at(path)}nothing is allowed here")
    if not isinstance(schema, Mapping):
        return
    kinds = schema.get("type")
    names = [name for name in (kinds if isinstance(kinds, list) else [kinds]) if isinstance(name, str)]
    if names and not any(_is_kind(value, name) for name in names):
        raise SchemaError(f"{_at(path)}expected {' or '.join(names)}, got {_kind_of(value)}")
    allowed = _choices(schema)
    if allowed is not None and not any(_same(value, item) for item in allowed):
        raise SchemaError(f"{_at(path)}expected one of {allowed!r}, got {value!r:.60}")
    _check_bounds(value, schema, path)
    if isinstance(value, Mapping):
        _check_members(value, schema, path, root)
    elif isinstance(value, (list, tuple)) and "items" in schema and "prefixItems" not in schema:
        for index, item in enumerate(value):
            check_value(item, schema["items"], path=f"{path}[{index}]", root=root)


def _choices(schema: Mapping[str, Any]) -> list[Any] | None:
    """The values to choose from, if the schema has them in one of their forms."""
    allowed = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(allowed, list):
        return allowed
    for word in ("oneOf", "anyOf"):
        options = schema.get(word)
        if isinstance(options, list) and all(isinstance(option, Mapping) and "const" in option for option in options):
            return [option["const"] for option in options]
    return None


# Of each kind of value: its size, what it is counted in, and the names of its bounds.
_SIZES: tuple[tuple[tuple[type, ...], Callable[[Any], float], str, str, str], ...] = (
    ((str,), len, " characters", "minLength", "maxLength"),
    ((list, tuple), len, " items", "minItems", "maxItems"),
    ((int, float), lambda value: value, "", "minimum", "maximum"),
)


def _check_bounds(value: Any, schema: Mapping[str, Any], path: str) -> None:
    if isinstance(value, bool):
        return
    for kinds, measure, unit, least, most in _SIZES:
        if isinstance(value, kinds):
            low, high, size = schema.get(least), schema.get(most), measure(value)
            if _is_kind(low, "number") and not size >= low:  # type: ignore[operator]
                raise SchemaError(f"{_at(path)}expected at least {low}{unit}, got {size}")
            if _is_kind(high, "number") and not size <= high:  # type: ignore[operator]
                raise SchemaError(f"{_at(path)}expected at most {high}{unit}, got {size}")


def _check_members(value: Mapping[str, Any], schema: Mapping[str, Any], path: str, root: Any) -> None:
    begin = f"{path}." if path else ""
    required, properties = schema.get("required"), schema.get("properties")
    for key in required if isinstance(required, list) else ():
        if key not in value:
            raise SchemaError(f"missing required argument {begin + key!r}")
    properties = properties if isinstance(properties, Mapping) else {}
    more = True if "patternProperties" in schema else schema.get("additionalProperties", True)
    for key, item in value.items():
        if key in properties:
            check_value(item, properties[key], path=begin + key, root=root)
        elif more is False:
            raise SchemaError(f"unknown argument {begin + key!r}")
        else:
            check_value(item, more, path=begin + key, root=root)


def _resolve(schema: Any, root: Any) -> Any:
    for _ in range(_MAX_REFS):
        ref = schema.get("$ref") if isinstance(schema, Mapping) else None
        if ref is None:
            return schema
        if not isinstance(ref, str) or not ref.startswith("#/"):
            return True  # elsewhere
        schema = root
        for part in ref[2:].split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(schema, Mapping) or key not in schema:
                return True
            schema = schema[key]
    return True


def _is_kind(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()  # "any number with a zero fractional part", JSON Schema 2020-12
    return isinstance(value, _KINDS.get(name, object))


def _same(value: Any, other: Any) -> bool:
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def _kind_of(value: Any) -> str:
    return next((name for name in _KINDS if _is_kind(value, name)), type(value).__name__)


def _at(path: str) -> str:
    return f"argument {path!r}: " if path else ""
