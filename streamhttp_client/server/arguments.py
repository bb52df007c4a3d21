"""From the signature of a function to a JSON schema, and from a JSON object to its arguments.

With msgspec (the extra ``[server]``) every type that msgspec knows may be used: dataclasses, ``TypedDict``,
``datetime``, ``Literal``, constraints in ``Annotated[int, msgspec.Meta(ge=0, description="…")]``. Without it
the plain
hints are understood: ``str``, ``int``, ``float``, ``bool``, ``list``, ``dict``, ``Optional``, ``Union``,
``Literal`` and ``Any``. Both ways, ``Annotated[int, "how many rows"]`` describes a parameter.
"""

from __future__ import annotations

import inspect
import json
import operator
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Union

from ..exceptions import LocalProtocolError
from ..protocol.mirrored import ANNOTATION
from .schemas import SchemaError, check_value

Converter = Callable[[Mapping[str, Any]], dict[str, Any]]

__all__ = ["ArgumentError", "Header", "Signature", "read_signature", "refuse_async"]


class Header:
    """``Annotated[str, Header("Region")]`` on a parameter of a tool: clients repeat the argument in the HTTP header
    ``Mcp-Param-Region``, so that gateways can route by it (since 2026-07-28). It must be a string, an integer or a
    boolean.
    """

    def __init__(self, name: str) -> None:
        if "_" in name:
            # nginx and gunicorn, for two, take a header with one for an attempt to pass for another.
            raise LocalProtocolError(f"many servers drop headers with an underscore, got {name!r}")
        self.name = name


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


def refuse_async(function: Callable[..., Any], *, generators: bool = False) -> None:
    """Refuse what gives a coroutine instead of a result, when it is registered.

    Args:
        generators: Let plain generators pass.

    Raises:
        LocalProtocolError: It is no plain function.
    """
    name = getattr(function, "__name__", repr(function))
    # Of an object that can be called, the method tells.
    method: Any = type(function).__call__
    for part in (function, method):
        if inspect.iscoroutinefunction(part) or inspect.isasyncgenfunction(part):
            raise LocalProtocolError(f"{name}() is async, but handlers are plain blocking functions")
        if inspect.isgeneratorfunction(part) and not generators:
            raise LocalProtocolError(f"{name}() is a generator, which only a tool may be")


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
    name = getattr(function, "__name__", repr(function))
    hints = _hints(function, context_type)
    context = None
    parameters: dict[str, inspect.Parameter] = {}
    anything = False
    for parameter in inspect.signature(function).parameters.values():
        if _is_context(hints.get(parameter.name), context_type):
            context = parameter.name
        elif parameter.kind is parameter.VAR_KEYWORD and input_schema is not None:
            anything = True
        elif parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            parameters[parameter.name] = parameter
        else:
            raise LocalProtocolError(f"{name}(): arguments come by name, so {str(parameter)!r} cannot be filled")
    kinds = {key: hints.get(key, Any) for key in parameters}
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
    return Signature(schema, convert, context, hints.get("return", inspect.Signature.empty), tuple(kinds), required)


def _is_context(hint: Any, context_type: type) -> bool:
    return hint is context_type or (
        typing.get_origin(hint) in (Union, types.UnionType) and set(typing.get_args(hint)) == {context_type, type(None)}
    )


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


def _hints(function: Callable[..., Any], context_type: type) -> dict[str, Any]:
    # An instance with __call__ keeps its hints on the method.
    holder = function if inspect.isroutine(function) or inspect.isclass(function) else type(function).__call__
    try:
        return typing.get_type_hints(holder, include_extras=True)
    except NameError:
        # A function made inside another does not see the names that were imported there; the most likely one
        # is known.
        names = {context_type.__name__: context_type}
    try:
        return typing.get_type_hints(holder, localns=names, include_extras=True)
    except NameError as error:
        raise LocalProtocolError(f"a type hint of {function!r} cannot be resolved: {error}") from error


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
        else:
            fields.append((key, kind, default))
    try:
        shape = msgspec.defstruct(f"{name}_arguments", fields, kw_only=True, forbid_unknown_fields=True)
        (top,), definitions = msgspec.json.schema_components([shape], ref_template="#/$defs/{name}")
    except (TypeError, ValueError) as error:
        raise LocalProtocolError(f"{name}(): no schema for its arguments: {error}") from error
    schema = definitions.pop(top["$ref"].rpartition("/")[2])
    schema.pop("title", None)
    if definitions:
        schema["$defs"] = definitions
    names = tuple(parameters)
    required = tuple(key for key, parameter in parameters.items() if parameter.default is parameter.empty)

    def convert(arguments: Mapping[str, Any]) -> dict[str, Any]:
        try:
            filled = msgspec.convert(arguments, shape, strict=not texts)
        except msgspec.ValidationError as error:
            _check_names(arguments, names, required)  # says the same in the words of the caller
            try:
                filled = msgspec.convert(_whole_numbers(arguments), shape, strict=not texts)
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


def _named(text: str) -> str:
    """``Expected `int`, got `str` - at `$.rows[0]``` becomes ``argument 'rows[0]': expected `int`, got
    `str```.
    """
    problem, separator, path = text.rpartition(" - at `$.")
    if not separator:
        return text
    return f"argument {path.rstrip('`')!r}: {problem[:1].lower()}{problem[1:]}"


def _described(kind: Any, describe: Callable[[str | Header], Any]) -> Any:
    """Turn the strings and headers in ``Annotated[kind, "text"]`` into what ``describe`` makes of them."""
    if typing.get_origin(kind) is Annotated:
        first, *extras = typing.get_args(kind)
        found = tuple(describe(extra) if isinstance(extra, (str, Header)) else extra for extra in extras)
        # The subscript of a tuple that is made at run time; written with a star it would need Python 3.11.
        subscript: Any = operator.getitem
        return subscript(Annotated, (first, *found))
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
