"""JSON-RPC 2.0 messages and their bytes. Pure: no I/O, no MCP.

In: one HTTP body or one SSE ``data`` (``str`` or UTF-8 ``bytes``). Out: a list of messages, because MCP 2025-03-26
allowed batches and a peer of that time may still send one. The other way round, :func:`dump` gives the bytes of a
message. Whatever is not JSON-RPC raises :class:`RemoteProtocolError` when it came from the peer, and
:class:`LocalProtocolError` when it came from the caller.

The classes are plain ones with ``__slots__``: a call makes and takes apart several of them, and a start-up pays for
each dataclass that it defines.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NoReturn

from .exceptions import LocalProtocolError, RemoteProtocolError

__all__ = [
    "INTERNAL_ERROR",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "METHOD_NOT_FOUND",
    "PARSE_ERROR",
    "ErrorResponse",
    "Message",
    "Notification",
    "Request",
    "RequestId",
    "Response",
    "dump",
    "dump_batch",
    "parse",
]

# "Error object", JSON-RPC 2.0 specification, section 5.1
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

RequestId = str | int


class _Message:
    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(
            getattr(self, name) == getattr(other, name) for name in self.__slots__
        )

    __hash__ = None  # type: ignore[assignment]  # holds dicts

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({inside})"

    def to_wire(self) -> dict[str, Any]:
        raise NotImplementedError


class Request(_Message):
    """A request: it has an id, and wants exactly one answer."""

    __slots__ = ("id", "method", "params")

    def __init__(self, id: RequestId, method: str, params: Mapping[str, Any] | None = None) -> None:
        self.id = id
        self.method = method
        self.params = params

    def to_wire(self) -> dict[str, Any]:
        wire: dict[str, Any] = {"jsonrpc": "2.0", "id": self.id, "method": self.method}
        if self.params is not None:
            wire["params"] = self.params
        return wire


class Notification(_Message):
    """A notification: no id, and never an answer."""

    __slots__ = ("method", "params")

    def __init__(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        self.method = method
        self.params = params

    def to_wire(self) -> dict[str, Any]:
        wire: dict[str, Any] = {"jsonrpc": "2.0", "method": self.method}
        if self.params is not None:
            wire["params"] = self.params
        return wire


class Response(_Message):
    """The answer to a request that succeeded."""

    __slots__ = ("id", "result")

    def __init__(self, id: RequestId, result: Any) -> None:
        self.id = id
        self.result = result

    def to_wire(self) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": self.id, "result": self.result}


class ErrorResponse(_Message):
    """The answer to a request that failed. ``id`` is None if the peer could not read the request's id."""

    __slots__ = ("code", "data", "id", "message")

    def __init__(self, id: RequestId | None, code: int, message: str, data: Any = None) -> None:
        self.id = id
        self.code = code
        self.message = message
        self.data = data

    def to_wire(self) -> dict[str, Any]:
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        wire: dict[str, Any] = {"jsonrpc": "2.0", "error": error}
        if self.id is not None:
            wire["id"] = self.id
        return wire


Message = Request | Notification | Response | ErrorResponse


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Kept, because json.loads and json.dumps build a new coder for each call that passes an option.
_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def dump(message: Message, *, echoed: Collection[str] = ()) -> bytes:
    """Return the UTF-8 bytes of ``message``, without any line break.

    Args:
        message: What to write.
        echoed: Names of parameters that the peer has given and wants back as they are. If half a surrogate pair stands
            in one, which UTF-8 cannot carry, all is written in ASCII, where it can be escaped. From anybody else it is
            a mistake, such as a file name of bytes that are no text, and most peers would not read it.

    Raises:
        LocalProtocolError: A value in it has no JSON form.
    """
    return _dump(message.to_wire(), echoed)


def dump_batch(messages: Iterable[Message]) -> bytes:
    """Return the bytes of a batch. Only MCP 2025-03-26 has batches."""
    return _dump([message.to_wire() for message in messages])


def _dump(wire: Any, echoed: Collection[str] = ()) -> bytes:
    try:
        text = _encode(wire)
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(f"the message cannot be written as JSON: {error}") from error
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        if echoed and isinstance(params := wire.get("params"), Mapping):
            own = {**wire, "params": {name: value for name, value in params.items() if name not in echoed}}
            if len(own["params"]) < len(params):
                _dump(own)  # raises if it is not for what is echoed
                return json.dumps(wire, separators=(",", ":")).encode("ascii")
        raise LocalProtocolError("a text in the message has a lone surrogate, which UTF-8 cannot carry") from error


def parse(data: bytes | str) -> list[Message]:
    """Read one message, or the messages of one batch.

    Args:
        data: JSON text. Bytes are read as UTF-8 whatever the peer declared (MCP, Messages: "MUST be UTF-8 encoded").

    Raises:
        RemoteProtocolError: It is not JSON, or not JSON-RPC 2.0.
    """
    try:
        if not isinstance(data, str):
            data = data.decode("utf-8-sig")  # .NET servers begin with a byte order mark
        wire = _decode(data)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"expected a JSON-RPC message, got what is not JSON: {_brief(error)}") from error
    if type(wire) is dict:
        return [_message(wire)]
    if type(wire) is list and wire:
        return [_message(item) for item in wire]
    raise RemoteProtocolError(f"expected a JSON-RPC message, got {_kind(wire)}")


def _message(wire: Any) -> Message:
    if type(wire) is not dict:
        raise RemoteProtocolError(f"expected a JSON-RPC message, got {_kind(wire)}")
    if wire.get("jsonrpc") != "2.0":
        raise RemoteProtocolError(f"expected 'jsonrpc': '2.0', got {wire.get('jsonrpc')!r:.40}")
    if "method" in wire:
        return _call(wire)
    # Against the letter of the specification, some servers write the absent one of the two as null.
    if "result" in wire and wire.get("error") is None:
        return Response(_id(wire), wire["result"])
    if "error" in wire and wire.get("result") is None:
        return _error(wire)
    raise RemoteProtocolError("expected a JSON-RPC message with one of 'method', 'result' and 'error'")


def _call(wire: dict[str, Any]) -> Request | Notification:
    method, params = wire["method"], wire.get("params")
    if type(method) is not str:
        raise RemoteProtocolError(f"'method' must be a string, got {_kind(method)}")
    if params is not None and type(params) is not dict:
        raise RemoteProtocolError(f"'params' must be an object, got {_kind(params)}")
    if "id" in wire:
        return Request(_id(wire), method, params)
    return Notification(method, params)


def _error(wire: dict[str, Any]) -> ErrorResponse:
    error = wire["error"]
    if type(error) is not dict:
        raise RemoteProtocolError(f"'error' must be an object, got {_kind(error)}")
    code, message = error.get("code"), error.get("message")
    if type(code) is not int:
        raise RemoteProtocolError(f"an error's 'code' must be an integer, got {_kind(code)}")
    # Several servers leave the message out or null; the code alone says enough.
    text = message if type(message) is str else ""
    return ErrorResponse(_id(wire) if wire.get("id") is not None else None, code, text, error.get("data"))


def _id(wire: dict[str, Any]) -> RequestId:
    value = wire.get("id")
    if type(value) is int or type(value) is str:
        return value
    # "Unlike base JSON-RPC, the ID MUST NOT be null." MCP 2025-11-25, basic/index
    raise RemoteProtocolError(f"'id' must be a string or an integer, got {_kind(value)}")


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null or nothing"}
    return names.get(type(value), "a number")


def _brief(error: BaseException) -> str:
    """The error's text without the document, which may hold secrets."""
    if isinstance(error, UnicodeDecodeError):
        return f"invalid UTF-8 at byte {error.start}"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, json.JSONDecodeError) and not error.doc.strip():
        return "it is empty"
    return str(error)
