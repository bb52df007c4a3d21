"""Answers of the HTTP half that are not streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from .. import jsonrpc

__all__ = ["Answer", "HTTPError", "StartResponse", "in_pieces"]

StartResponse = Callable[..., Any]

_REASONS = {
    200: "OK",
    202: "Accepted",
    204: "No Content",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    410: "Gone",
    411: "Length Required",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    421: "Misdirected Request",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


# Bytes that are handed to a WSGI server at once: it copies them, more than once, and keeps them while the client
# does not read.
_PIECE = 1 << 18


def in_pieces(parts: Sequence[bytes]) -> Iterator[bytes]:
    """The parts of a body joined, or cut, to pieces of bounded size."""
    if sum(map(len, parts)) <= _PIECE:
        yield b"".join(parts)
        return
    held: list[bytes] = []
    room = _PIECE
    for part in parts:
        for begin in range(0, len(part), _PIECE):
            cut = part[begin : begin + _PIECE]
            if len(cut) > room:
                yield b"".join(held)
                held.clear()
                room = _PIECE
            held.append(cut)
            room -= len(cut)
    if held:
        yield b"".join(held)


class Answer:
    """One whole HTTP answer."""

    def __init__(self, status: int, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()) -> None:
        self.status = status
        self.body = body
        self.headers = list(headers)

    def send(
        self, start_response: StartResponse, more: Iterable[tuple[str, str]] = (), *, head: bool = False
    ) -> list[bytes]:
        """Hand the answer to a WSGI server, with some more headers, and without the body for a HEAD request."""
        headers = [*self.headers, *more]
        if self.status != 204:
            # Both also with an empty body: PEP 3333's checker wants a type, and without a length of 0 a
            # server would add chunked encoding to nothing.
            length = str(len(self.body))
            headers = [("Content-Type", "application/json"), *headers, ("Content-Length", length)]
        start_response(f"{self.status} {_REASONS[self.status]}", headers)
        return [self.body] if self.body and not head else []


class HTTPError(Exception):
    """A request is refused. Never leaves the server wing.

    "The HTTP response body MAY comprise a JSON-RPC error response that has no id" (MCP 2025-11-25,
    basic/transports).
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: int | None = None,
        headers: Iterable[tuple[str, str]] = (),
        request_id: jsonrpc.RequestId | None = None,
        data: Any = None,
    ) -> None:
        super().__init__(message)
        if code is None:
            code = jsonrpc.INVALID_REQUEST if status < 500 else jsonrpc.INTERNAL_ERROR
        self.answer = Answer(status, jsonrpc.dump(jsonrpc.ErrorResponse(request_id, code, message, data)), headers)
