"""From the signature of a function to a JSON schema, and from a JSON object to its arguments.

With msgspec (the extra ``[server]``) every type that msgspec knows may be used: dataclasses, ``TypedDict``,
``datetime``, ``Literal``, constraints in ``Annotated[int, msgspec.Meta(ge=0, description="…")]``. Without it the
plain hints are understood: ``str``, ``int``, ``float``, ``bool``, ``list``, ``dict``, ``Optional``, ``Union``,
``Literal`` and ``Any``. Both ways, ``Annotated[int, "how many rows"]`` describes a parameter.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Union

from ..exceptions import LocalProtocolError
from ..protocol.mirrored import ANNOTATION
from .hints import Header, annotated, is_context, is_self, parameter_hint, read_hints, shown
from .schemas import SchemaError, check_value

Converter = Callable[[Mapping[str, Any]], dict[str, Any]]

__all__ = ["ArgumentError", "Signature", "read_signature"]


class ArgumentError(ValueError):
    """An argument is missing, unknown or of the wrong shape; the text names it and is meant for the
    caller.
    """


class Signature:
    """How one function is called.

    Attributes:
        input_schema: JSON schema of its arguments.
        context: Name of the parameter that takes the context, or None.
        returns: The annotation of its result, or ``inspect.Signature.empty``.
        names: Its parameters, without the context.
        required: Those of them without a default.
    """

    def __init__(
        self,
        input_schema: dict[str, Any],
        convert: Converter,
        context: str | None,
        returns: Any,
        names: tuple[str, ...],
        required: tuple[str, ...],
    ) -> None:
        self.input_schema = input_schema
        self.convert = convert
        self.context = context
        self.returns = returns
        self.names = names
        self.required = required


def read_signature(
    function: Callable[..., Any],
    context_type: type,
    *,
    input_schema: Mapping[str, Any] | None = None,
    texts: bool = False,
) -> Signature:
    """Look at a function once, when it is registered.

    Args:
        context_type: A parameter annotated with this type, or with it or None, is filled in by the server and is
            no argument.
        input_schema: Sent as it is, instead of one derived from the hints. Then arguments are checked against
            what :mod:`.schemas` knows of it, and what is beyond is for the function to judge.
        texts: All arguments come as strings, and become what the hints say.

    Raises:
        LocalProtocolError: A parameter cannot be passed by name, or has a hint for which no schema is known.
    """
    name = shown(function)
    hints = read_hints(function, context_type)
    context = None
    parameters: dict[str, inspect.Parameter] = {}
    anything = False
    try:
        written = inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise LocalProtocolError(f"{name}() does not say which arguments it takes: {error}") from error
    if is_self(function, written):
        raise LocalProtocolError(f"{name}() is a method, so register that of an object: server.tool()(thing.{name})")
    for parameter in written.values():
        if is_context(parameter, hints.get(parameter.name), context_type, name):
            if context is not None:
                both = f"{context!r} and {parameter.name!r}"
                raise LocalProtocolError(f"{name}(): one parameter can be the context, not {both}")
            context = parameter.name
        elif parameter.kind is parameter.VAR_KEYWORD and input_schema is not None:
            anything = True
        elif parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            parameters[parameter.name] = parameter
        else:
            raise LocalProtocolError(f"{name}(): arguments come by name, so {str(parameter)!r} cannot be filled")
    kinds = {key: parameter_hint(hints.get(key, Any), value.default) for key, value in parameters.items()}
    required = tuple(key for key, value in parameters.items() if value.default is value.empty)
    schema: dict[str, Any]
    convert: Converter
    if input_schema is not None:
        schema = dict(input_schema)
        known = None if anything else kinds.keys()
        convert = _by_schema(schema, known, required)
    else:
        try:
            schema, convert = _with_msgspec(name, parameters, kinds, texts)
        except ImportError:
            schema, convert = _without_msgspec(name, parameters, kinds, texts)
        if texts:
            _refuse_no_texts(name, schema)

    def bounded(arguments: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return convert(arguments)
        except RecursionError:
            raise ArgumentError("the arguments are nested too deeply") from None

    return Signature(schema, bounded, context, hints.get("return", inspect.Signature.empty), tuple(kinds), required)


def _by_schema(schema: Mapping[str, Any], known: Any, required: tuple[str, ...]) -> Converter:
    def convert(arguments: Mapping[str, Any]) -> dict[str, Any]:
        values = _check_names(arguments, known, required)
        try:
            check_value(arguments, schema)
        except SchemaError as error:
            raise ArgumentError(str(error)) from None
        return values

    return convert


def _refuse_no_texts(name: str, schema: Mapping[str, Any]) -> None:
    for key, found in schema.get("properties", {}).items():
        found = schema.get("$defs", {}).get(str(found.get("$ref", "")).rpartition("/")[2], found)
        if found.get("type") in ("array", "object"):
            raise LocalProtocolError(f"{name}(): {key!r} comes as a string, and cannot become an {found['type']}")


def _check_names(arguments: Mapping[str, Any], known: Any, required: tuple[str, ...]) -> dict[str, Any]:
    for key in required:
        if key not in arguments:
            raise ArgumentError(f"missing required argument {key!r}")
    if known is not None:
        for key in arguments:
            if key not in known:
                raise ArgumentError(f"unknown argument {key!r}, expected {', '.join(map(repr, known)) or 'none'}")
    return dict(arguments)


def _with_msgspec(
    name: str, parameters: dict[str, inspect.Parameter], kinds: dict[str, Any], texts: bool
) -> tuple[dict[str, Any], Converter]:
    import msgspec

    fields: list[Any] = []

    def describe(extra: str | Header) -> Any:
        if isinstance(extra, Header):
            return msgspec.Meta(extra_json_schema={ANNOTATION: extra.name})
        return msgspec.Meta(description=extra)

    for key, parameter in parameters.items():
        kind = _described(kinds[key], describe)
        default = parameter.default
        if default is parameter.empty:
            fields.append((key, kind))
        elif type(default) in (list, dict, set, bytearray):
            fields.append((key, kind, msgspec.field(default_factory=default.copy)))
        elif _is_shown(default, kinds[key]):
            fields.append((key, kind, default))
        else:  # what a factory makes does not stand in the schema
            fields.append((key, kind, msgspec.field(default_factory=functools.partial(_same, default))))
    # msgspec cannot have fields with two underscores, and no errors of its own for it.
    problems = (TypeError, ValueError, NameError, AttributeError, RuntimeError)

    def build(fields: list[Any]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        shape = msgspec.defstruct(f"{name}_arguments", fields, kw_only=True, forbid_unknown_fields=True)
        (top,), definitions = msgspec.json.schema_components([shape], ref_template="#/$defs/{name}")
        return shape, top, definitions

    try:
        shape, top, definitions = build(fields)
    except problems as error:
        for field in fields:
            try:
                build([field])
            except problems as reason:
                raise LocalProtocolError(_no_schema(name, field[0], kinds[field[0]], reason)) from reason
        raise LocalProtocolError(f"{name}(): no schema for its arguments: {error}") from error
    schema = definitions.pop(top["$ref"].rpartition("/")[2])
    schema.pop("title", None)
    if definitions:
        schema["$defs"] = definitions
    names = tuple(parameters)
    required = tuple(key for key, parameter in parameters.items() if parameter.default is parameter.empty)

    def convert(arguments: Mapping[str, Any]) -> dict[str, Any]:
        try:
            filled = msgspec.convert(arguments, shape, strict=not texts, str_keys=True)
        except msgspec.ValidationError as error:
            _check_names(arguments, names, required)  # says the same in the words of the caller
            try:
                filled = msgspec.convert(_whole_numbers(arguments), shape, strict=not texts, str_keys=True)
            except msgspec.ValidationError:
                raise ArgumentError(_named(str(error))) from None
        return {key: getattr(filled, key) for key in names}

    return schema, convert


def _whole_numbers(value: Any) -> Any:
    """Write 1.0 as 1: for JSON Schema an integer is "any number with a zero fractional part", and JavaScript knows
    only one kind of number.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        return int(value)
    if isinstance(value, Mapping):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    return value


_PLACE = re.compile(r"(.*) - at (`key` in )?`\$\.(.*)`", re.DOTALL)


def _named(text: str) -> str:
    """``Expected `int`, got `str` - at `$.rows[0]``` becomes ``argument 'rows[0]': expected `int`, got
    `str```.
    """
    found = _PLACE.fullmatch(text)
    if found is None:
        return text
    problem, key, path = found.groups()
    return f"argument {path!r}{', a key in it' if key else ''}: {problem[:1].lower()}{problem[1:]}"


def _same(value: Any) -> Any:
    return value


def _is_shown(default: Any, kind: Any) -> bool:
    """Whether a default can stand in a schema: it has a JSON form, and callers may send it."""
    import msgspec

    if default is None:
        # None stays out of a header's parameter; see parameter_hint().
        return not any(isinstance(extra, Header) for extra in getattr(kind, "__metadata__", ()))
    try:
        json.dumps(msgspec.to_builtins(default), allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _no_schema(function: str, key: str, kind: Any, reason: Exception) -> str:
    what = f"{function}(): there is no JSON schema for parameter {key!r}"
    if isinstance(reason, RuntimeError):
        return f"{what}: a name must not begin with two underscores"
    if "schema_hook" in str(reason):  # what msgspec advises cannot be done from here
        return f"{what} with the hint {kind!r:.100}: use one that JSON knows, or pass input_schema="
    return f"{what}: {reason}"


def _described(kind: Any, describe: Callable[[str | Header], Any]) -> Any:
    """Turn the strings and headers in ``Annotated[kind, "text"]`` into what ``describe`` makes of them."""
    if typing.get_origin(kind) is Annotated:
        first, *extras = typing.get_args(kind)
        return annotated(
            first, tuple(describe(extra) if isinstance(extra, (str, Header)) else extra for extra in extras)
        )
    return kind


_JSON_NAMES: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
    type(None): "null",
}


def _without_msgspec(
    name: str, parameters: dict[str, inspect.Parameter], kinds: dict[str, Any], texts: bool
) -> tuple[dict[str, Any], Converter]:
    properties: dict[str, Any] = {}
    for key, parameter in parameters.items():
        schema = _plain_schema(name, key, kinds[key])
        if parameter.default is not parameter.empty and parameter.default is not None:
            with contextlib.suppress(TypeError, ValueError):  # what has no JSON form stays out
                json.dumps(parameter.default, allow_nan=False, ensure_ascii=False).encode()
                schema["default"] = parameter.default
        properties[key] = schema
    required = [key for key, parameter in parameters.items() if parameter.default is parameter.empty]
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    def convert(arguments: Mapping[str, Any]) -> dict[str, Any]:
        filled = _check_names(arguments, kinds.keys(), tuple(required))
        for key, value in filled.items():
            try:
                filled[key] = _plain_check(key, kinds[key], value)
            except ArgumentError:
                if not texts or not isinstance(value, str):
                    raise
                filled[key] = _plain_check(key, kinds[key], _read_text(value))
        return filled

    return schema, convert


def _read_text(text: str) -> Any:
    """The number or truth value that a string spells; the string itself if it spells none."""
    try:
        value = json.loads(text.lower())
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, (bool, int, float)) else text


def _plain_schema(function: str, key: str, kind: Any) -> dict[str, Any]:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        schema = _plain_schema(function, key, args[0])
        for extra in args[1:]:
            if isinstance(extra, str):
                schema["description"] = extra
            elif isinstance(extra, Header):
                schema[ANNOTATION] = extra.name
        return schema
    if kind is Any:
        return {}
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_plain_schema(function, key, arg) for arg in args]}
    if kind in _JSON_NAMES:
        return {"type": _JSON_NAMES[kind]}
    if origin is list:
        return {"type": "array", "items": _plain_schema(function, key, args[0])}
    if origin is dict and args[0] is str:
        return {"type": "object", "additionalProperties": _plain_schema(function, key, args[1])}
    raise LocalProtocolError(
        f"{function}(): parameter {key!r} has a hint that needs the extra [server], or pass input_schema=: {kind!r}"
    )


def _plain_check(path: str, kind: Any, value: Any) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _plain_check(path, args[0], value)
    if kind is Any:
        return value
    if origin is Literal:
        if value in args:
            return value
        raise ArgumentError(f"argument {path!r}: expected one of {args!r}, got {value!r:.60}")
    if origin in (Union, types.UnionType):
        problem: ArgumentError | None = None
        for arg in args:
            try:
                return _plain_check(path, arg, value)
            except ArgumentError as error:
                problem = problem or error
        raise problem or ArgumentError(f"argument {path!r} fits none of its types")
    if kind is float and type(value) is int:
        return float(value)
    if kind is int:
        value = _whole_numbers(value)
    plain = origin or kind
    if type(value) is not plain:
        expected, got = _JSON_NAMES[plain], _JSON_NAMES.get(type(value), "something else")
        raise ArgumentError(f"argument {path!r}: expected {expected}, got {got}")
    if origin is list:
        return [_plain_check(f"{path}[{index}]", args[0], item) for index, item in enumerate(value)]
    if origin is dict:
        return {key: _plain_check(f"{path}.{key}", args[1], item) for key, item in value.items()}
    return value
