"""Server-sent events: events in, bytes out. The reverse of :mod:`streamhttp_client.sse.parser`."""

from __future__ import annotations

from streamhttp_client.exceptions import LocalProtocolError

__all__ = ["encode_comment", "encode_event"]


def encode_event(
    data: str | None = "", *, type: str | None = None, id: str | None = None, retry_ms: int | None = None
) -> bytes:
    """Return one event as it goes over the wire, with the blank line that ends it.

    ``encode_event(id="1")`` gives ``id: 1``, ``data:``: "an SSE event consisting of an event ID and an empty
    ``data`` field" (MCP 2025-11-25, Sending Messages to the Server, 6), which primes the client to reconnect.

    Args:
        data: Text of any form. CR, LF and CRLF all arrive as LF. None leaves the field out: no event is
            dispatched, but its id and retry count.
        type: The event's type; None is the default type, ``message``.
        id: The event's id; None leaves the last one in force, "" resets it.
        retry_ms: Milliseconds that the client shall wait before it reconnects.

    Raises:
        LocalProtocolError: The type has a line break, the id a line break or NUL, ``retry_ms`` is negative,
            or a text has a lone surrogate.
    """
    head = ""
    if type is not None:
        if "\n" in type or "\r" in type:
            raise LocalProtocolError(f"event type must not have a line break, got {type!r}")
        head = f"event: {type}\n"
    if id is not None:
        if "\n" in id or "\r" in id or "\0" in id:
            raise LocalProtocolError(f"event id must not have a line break or NUL, got {id!r}")
        head += f"id: {id}\n"
    if retry_ms is not None:
        if retry_ms < 0:
            raise LocalProtocolError(f"retry_ms must not be negative, got {retry_ms!r}")
        head += f"retry: {retry_ms:d}\n"
    if not data:
        # Not "data: ": the specification's own example of an empty field has no space.
        return _to_bytes(f"{head}\n" if data is None else f"{head}data:\n\n")
    if "\r" in data:
        data = data.replace("\r\n", "\n").replace("\r", "\n")
    if "\n" in data:
        data = data.replace("\n", "\ndata: ")
    return _to_bytes(f"{head}data: {data}\n\n")


def encode_comment(text: str = "") -> bytes:
    """Return a comment, which clients ignore: a sign of life for proxies and readers with a timeout.

    Args:
        text: Each line of it becomes a comment line.

    Raises:
        LocalProtocolError: The text has a lone surrogate.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = "\n".join(f": {line}" if line else ":" for line in text.split("\n"))
    return _to_bytes(f"{lines}\n\n")


def _to_bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"text must be encodable as UTF-8: {error.reason}") from error
