"""What of a request is repeated in its HTTP headers, so that gateways need not read bodies (since 2026-07-28).

Strategy: both sides derive the headers from the body by the same functions. The client sends :func:`standard_headers`
and, for a tool, :meth:`ParamHeaders.headers`; a server asks :func:`standard_misfit` and :meth:`ParamHeaders.fits` what
is wrong, and never trusts a header that says something else than the body. The version header is not mirrored here: it
belongs to the era.

Inputs are plain JSON values; nothing is changed or kept. Work is linear in the size of the schema, without recursion.

Sections named below are those of MCP 2026-07-28, basic/transports/streamable-http.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterator, Mapping
from typing import Any

from .._record import Record
from ..exceptions import LocalProtocolError

__all__ = [
    "ANNOTATION",
    "MAX_INTEGER",
    "NO_PARAM_HEADERS",
    "ParamHeaders",
    "decode_value",
    "encode_value",
    "standard_headers",
    "standard_misfit",
]

ANNOTATION = "x-mcp-header"
"""The keyword in a tool's input schema that names the header of a parameter."""

# "Integer values MUST be within the safe range for JavaScript", Schema Extension
MAX_INTEGER = 2**53 - 1

# Standard Request Headers; the last three: tasks extension (SEP-2663), Routing Headers.
_NAMED_BY = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
_NAME_REQUIRED = frozenset(("tools/call", "prompts/get", "resources/read"))

_BEGIN, _END = "=?base64?", "?="

# Visible ASCII, and spaces between. The tab may stand in a field value, but it is a control character too, which "it
# contains non-ASCII characters, control characters, or has leading/trailing whitespace" names. The empty value is
# encoded as well: many HTTP libraries cannot tell an empty field from a missing one.
# No regular expressions: compiling them would cost each start of a client about a millisecond.
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and text != "" and text[0] != " " and text[-1] != " "


def _is_field_value(text: str) -> bool:
    return text.isascii() and text.replace("\t", " ").isprintable()


def _is_token(text: str) -> bool:  # RFC 9110, section 5.6.2
    return text != "" and _TOKEN.issuperset(text)


def _is_number(text: str) -> bool:
    import re  # only servers get here, and only with what is no integer

    return re.fullmatch(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", text) is not None


def _is_integer(text: str) -> bool:
    digits = text[1:] if text[:1] == "-" else text
    return digits.isascii() and digits.isdigit() and len(digits) <= 16


# The keywords of JSON Schema under which schemas stand, those of older dialects among them. Elsewhere (`default`,
# `enum`, `examples`) stand values, and a member of a value is no annotation.
_ONE_SCHEMA = frozenset((
    "additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not",
    "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
))  # fmt: skip
_MANY_SCHEMAS = frozenset(("allOf", "anyOf", "items", "oneOf", "prefixItems"))
_NAMED_SCHEMAS = frozenset(("$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties"))

_KINDS = frozenset(("string", "integer", "boolean"))


# --- values
# ----------------------------------------------------------------------------------------------------------------------


def encode_value(text: str) -> str:
    """Return ``text`` as it stands in a header: as it is, or in base64 where it would not arrive unharmed.

    Raises:
        ValueError: It holds half of a surrogate pair, which UTF-8 cannot say.
    """
    if _is_plain(text) and not (text.startswith(_BEGIN) and text.endswith(_END)):
        return text
    return f"{_BEGIN}{b2a_base64(text.encode(), newline=False).decode('ascii')}{_END}"


def decode_value(text: str) -> str:
    """Return what :func:`encode_value` was given. A value without both markers stands for itself.

    Raises:
        ValueError: It has a character that a field cannot carry, or what stands between the markers is not base64 in
            its one true form, or not UTF-8.
    """
    if not _is_field_value(text):
        raise ValueError("it has a character that is neither visible ASCII nor a space")
    if not (text.startswith(_BEGIN) and text.endswith(_END) and len(text) >= len(_BEGIN) + len(_END)):
        return text
    payload = text[len(_BEGIN) : -len(_END)].encode("ascii")
    try:
        data = a2b_base64(payload)
    except Base64Error:
        data = None
    # Python's decoder skips what it does not know, and there are several ways to write the last character; a gateway
    # might read those otherwise than we do.
    if data is None or b2a_base64(data, newline=False) != payload:
        raise ValueError("what stands between its markers is not base64")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError("what its base64 stands for is not UTF-8") from None


# --- method and name
# ----------------------------------------------------------------------------------------------------------------------


def standard_headers(method: str, params: Mapping[str, Any] | None) -> dict[str, str]:
    """Return ``mcp-method``, and ``mcp-name`` where the method has one: of a tool, prompt, resource or task.

    Raises:
        LocalProtocolError: The method cannot be sent in a header: unlike names, methods have no encoding. Or the name
            is not Unicode text.
    """
    if not _is_plain(method):
        raise LocalProtocolError(f"a method must be visible ASCII, got {method!r}")
    headers = {"mcp-method": method}
    member = _NAMED_BY.get(method)
    name = params.get(member) if member is not None and params is not None else None
    if isinstance(name, str):
        headers["mcp-name"] = _encoded(str(member), name)
    return headers


def standard_misfit(headers: Mapping[str, str], method: str, params: Mapping[str, Any] | None) -> str | None:
    """Return why ``Mcp-Method`` and ``Mcp-Name`` do not fit the body (Server Validation), or None if they do.

    Args:
        headers: As they came, with names in any case.
        method: The method in the body.
        params: The parameters in the body.
    """
    given = _lower(headers)
    said = given.get("mcp-method")
    if said is None:
        return "header Mcp-Method is missing"
    if said != method:
        return f"header Mcp-Method is {_short(said)}, and the method in the body is {_short(method)}"
    member = _NAMED_BY.get(method)
    if member is None:
        return None
    name = params.get(member) if params is not None else None
    said = given.get("mcp-name")
    if not isinstance(name, str):
        # Without the header, the check of the parameters says it better.
        return None if said is None else f"header Mcp-Name is given, and the body has no {member}"
    if said is None:
        return "header Mcp-Name is missing" if method in _NAME_REQUIRED else None
    return _misfit("Mcp-Name", said, name)


# --- parameters of tools
# ----------------------------------------------------------------------------------------------------------------------


class ParamHeaders(Record):
    """The parameters of a tool that are mirrored in headers. False if there are none.

    Attributes:
        fields: Of each, the header's name in lower case, and the path of property names that leads to the value.
    """

    fields: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.fields)

    @classmethod
    def from_schema(cls, schema: Any) -> ParamHeaders:
        """Read the annotations of a tool's input schema (Schema Extension).

        Raises:
            ValueError: An annotation breaks a rule, so that the tool must not be used; the message says which.
        """
        fields: list[tuple[str, tuple[str, ...]]] = []
        places: dict[str, str] = {}
        for path, node in _schemas(schema) if _has_annotation(schema) else ():
            if ANNOTATION not in node:
                continue
            if not path:
                where = "not on the schema as a whole" if path is not None else "and one does not"
                raise ValueError(f"{ANNOTATION} must stand on a property reached by 'properties' alone, {where}")
            where = ".".join(path)
            token = node[ANNOTATION]
            if not isinstance(token, str) or not token:
                raise ValueError(f"{ANNOTATION} of {where!r} must be a string that is not empty")
            if not _is_token(token):
                raise ValueError(f"{ANNOTATION} of {where!r} must be a header name (RFC 9110 token), got {token!r:.60}")
            kind = node.get("type")
            if not isinstance(kind, str) or kind not in _KINDS:
                said = kind if isinstance(kind, str) else "another or none"
                raise ValueError(f"{ANNOTATION} of {where!r} needs the type string, integer or boolean, got {said!r}")
            name = f"mcp-param-{token.lower()}"
            if name in places:
                raise ValueError(f"{ANNOTATION} of {where!r} is that of {places[name]!r}, but for the case: {token!r}")
            places[name] = where
            fields.append((name, path))
        return cls(tuple(fields)) if fields else NO_PARAM_HEADERS

    def headers(self, arguments: Mapping[str, Any] | None) -> dict[str, str]:
        """Return the headers of a call, with names in lower case.

        What is mirrored is the value as it will stand in the body, by its own kind; whether that is the kind that the
        schema wants is for the server to say. ``None`` and what is absent have no header.

        Raises:
            LocalProtocolError: A value cannot be mirrored: an object, an array, a number with a fraction or beyond
                ±(2^53 - 1), or text that is not Unicode.
        """
        headers = {}
        for name, path in self.fields:
            value = _value_at(arguments, path)
            if value is None:
                continue
            text = _text(value)
            if text is None:
                got = "one beyond" if isinstance(value, int) else type(value).__name__
                raise LocalProtocolError(
                    f"argument {'.'.join(path)!r} is sent in a header, so it must be a string, a boolean or an integer "
                    f"within ±(2^53 - 1), got {got}"
                )
            headers[name] = _encoded(".".join(path), text)
        return headers

    def fits(self, headers: Mapping[str, str], arguments: Mapping[str, Any] | None) -> str | None:
        """Return why the headers of a call do not fit its arguments (Server Validation), or None if they do.

        A value that has no form in a header (an object, a number with a fraction) must have no header; that it is of
        the wrong type is for the check of the arguments to say.

        Args:
            headers: As they came, with names in any case. Others than those of this tool are ignored.
            arguments: As they stand in the body.
        """
        if not self.fields:
            return None
        given = _lower(headers)
        for name, path in self.fields:
            said = given.get(name)
            value = _value_at(arguments, path)
            where = ".".join(path)
            text = _text(value)
            if text is None:
                if _is_whole(value):
                    return f"argument {where!r} is beyond ±(2^53 - 1), which header {name} cannot say"
                if said is not None:
                    return f"header {name} is given, and the body has no value for it at {where!r}"
            elif said is None:
                return f"header {name} is missing, and the body has a value for it at {where!r}"
            elif _is_whole(value):
                problem = _number_misfit(name, said, int(value))
                if problem is not None:
                    return problem
            else:
                problem = _misfit(name, said, text)
                if problem is not None:
                    return problem
        return None


NO_PARAM_HEADERS = ParamHeaders()
"""Of a tool without annotations."""


def _has_annotation(schema: Any) -> bool:
    """Whether the word stands anywhere at all: for the many schemas without, the one quick look that they cost."""
    stack = [schema]
    pop, push = stack.pop, stack.extend
    while stack:
        node = pop()
        if isinstance(node, dict):
            if ANNOTATION in node:
                return True
            push(node.values())
        elif isinstance(node, list):
            push(node)
    return False


def _schemas(root: Any) -> Iterator[tuple[tuple[str, ...] | None, dict[str, Any]]]:
    """Yield every schema inside a schema, in the order of the text, with the path of properties that leads to it.

    The path is None where any keyword but ``properties`` had to be passed. A ``$ref`` is not followed: what it names
    is visited where it stands.
    """
    stack: list[tuple[tuple[str, ...] | None, Any]] = [((), root)]
    while stack:
        path, node = stack.pop()
        if not isinstance(node, dict):
            continue
        yield path, node
        inner: list[tuple[tuple[str, ...] | None, Any]] = []
        for keyword, value in node.items():
            if keyword == "properties" and isinstance(value, dict):
                inner += [(None if path is None else (*path, name), schema) for name, schema in value.items()]
            elif keyword in _NAMED_SCHEMAS and isinstance(value, dict):
                inner += [(None, schema) for schema in value.values()]
            elif keyword in _MANY_SCHEMAS and isinstance(value, list):
                inner += [(None, schema) for schema in value]
            elif keyword in _ONE_SCHEMA:
                inner.append((None, value))
        stack += reversed(inner)


def _value_at(arguments: Any, path: tuple[str, ...]) -> Any:
    """Return the value at that exact path of property names, or None if there is none."""
    value = arguments
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _is_whole(value: Any) -> bool:
    """Whether it is an integer for JSON Schema, to which 1.0 and 1 are the same."""
    return isinstance(value, int) and not isinstance(value, bool) or isinstance(value, float) and value.is_integer()


def _text(value: Any) -> str | None:
    """The value as text (Type conversion), or None if it has none."""
    if isinstance(value, str):
        return value
    if value is True or value is False:
        return "true" if value else "false"
    if _is_whole(value) and -MAX_INTEGER <= value <= MAX_INTEGER:
        return str(int(value))
    return None


def _encoded(what: str, text: str) -> str:
    try:
        return encode_value(text)
    except ValueError:
        raise LocalProtocolError(f"{what!r} is sent in a header and holds half of a surrogate pair") from None


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers by their names in lower case; one that came in several cases came several times."""
    given: dict[str, str] = {}
    for name, value in headers.items():
        name = name.lower()
        given[name] = f"{given[name]}, {value}" if name in given else value
    return given


def _misfit(name: str, said: str, value: str) -> str | None:
    try:
        decoded = decode_value(said)
    except ValueError as error:
        return f"header {name} cannot be read: {error}"
    return None if decoded == value else f"header {name} is {_short(decoded)}, and the body has {_short(value)}"


def _number_misfit(name: str, said: str, value: int) -> str | None:
    # "Servers SHOULD compare the header value and the body value numerically rather than as strings (e.g., 42.0 and 42
    # are considered equal)." Server Validation
    try:
        decoded = decode_value(said)
    except ValueError as error:
        return f"header {name} cannot be read: {error}"
    if _is_integer(decoded):
        same = int(decoded) == value
    elif len(decoded) <= 64 and _is_number(decoded):
        from decimal import Decimal, InvalidOperation  # exact, where a float would round 9007199254740991.4

        try:
            same = Decimal(decoded) == value
        except InvalidOperation:  # its exponent has no bounds
            same = False
    else:
        same = False
    return None if same else f"header {name} is {_short(decoded)}, and the body has {value}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
