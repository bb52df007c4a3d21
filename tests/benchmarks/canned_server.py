"""A keep-alive MCP server that costs as little as Python allows, in its own process.

What is measured against it is the client's own cost: no HTTP parser, no JSON; the answer is a canned string
with the request's id put in. The path says how a tool call is answered: ``/json``, ``/sse`` (chunked, one
event, then the end), ``/first-chunked`` and ``/first-close`` (a progress event that carries the time at
which it was sent, then silence for `HOLD_SECONDS`, then the result). A GET of the last two gives the same
stream. Prints its port, and ends when its standard input does.
"""

from __future__ import annotations

import re
import socket
import sys
import threading
import time

HOLD_SECONDS = 0.5
# Between the head and the first event, so that every client is already reading when the event leaves.
HEAD_START_SECONDS = 0.02

_ID = re.compile(rb'"id":\s*("[^"]*"|\d+)')
_METHOD = re.compile(rb'"method":\s*"([^"]+)"')
_TOKEN = re.compile(rb'"progressToken":\s*("[^"]*"|\d+)')

_TEXT = b"The quick brown fox jumps over the lazy dog."
_CALL = (
    b'{"content":[{"type":"text","text":"' + _TEXT + b'"}],'
    b'"structuredContent":{"rows":[1,2,3],"name":"fox"},"isError":false}'
)
_RESULTS = {
    b"tools/call": _CALL,
    b"tools/list": b'{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}',
    b"ping": b"{}",
    b"initialize": (
        b'{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"canned","version":"1"}}'
    ),
}

_ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
_NOT_ALLOWED = b"HTTP/1.1 405 Method Not Allowed\r\nAllow: POST, DELETE\r\nContent-Length: 0\r\n\r\n"
_DELETED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_NOT_INITIALIZED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
_JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n"
_SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
_CLOSE = b"Connection: close\r\n\r\n"
_SESSION = b"Mcp-Session-Id: 0123456789abcdef\r\n"


def _message(method: bytes, body: bytes) -> bytes | None:
    """The JSON-RPC answer to ``body``; None if it is of a method that a server of the session era lacks."""
    result = _RESULTS.get(method)
    found = _ID.search(body)
    if result is None or found is None:
        return None
    return b'{"jsonrpc":"2.0","id":' + found[1] + b',"result":' + result + b"}"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _first_event(sock: socket.socket, body: bytes, *, chunked: bool) -> None:
    """Send the head, one progress event, silence, and the result (if this was a call)."""
    sock.sendall(_SSE_HEAD + (_CHUNKED if chunked else _CLOSE))
    time.sleep(HEAD_START_SECONDS)
    token = _TOKEN.search(body)
    event = (
        b'data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":1,'
        b'"message":"sent at %d"}}\n\n'
    ) % (token[1] if token else b"0", time.monotonic_ns())
    sock.sendall(_chunk(event) if chunked else event)
    time.sleep(HOLD_SECONDS)
    message = _message(b"tools/call", body) if body else None
    if message is not None:
        last = b"data: " + message + b"\n\n"
        sock.sendall(_chunk(last) if chunked else last)
    if chunked:
        sock.sendall(b"0\r\n\r\n")


def _answer(sock: socket.socket, start: bytes, body: bytes) -> bool:
    """Answer one request; False if the connection must be closed after it."""
    verb, path, _ = start.split(b" ", 2)
    method = _METHOD.search(body)
    first = path.startswith(b"/first-")
    chunked = path != b"/first-close"
    if verb == b"GET":
        if not first:
            sock.sendall(_NOT_ALLOWED)
            return True
        _first_event(sock, b"", chunked=chunked)
        return chunked
    if verb == b"DELETE":
        sock.sendall(_DELETED)
        return True
    if method is None or method[1].startswith(b"notifications/"):
        sock.sendall(_ACCEPTED)
        return True
    if method[1] == b"tools/call" and first:
        _first_event(sock, body, chunked=chunked)
        return chunked
    message = _message(method[1], body)
    if message is None:
        sock.sendall(_NOT_INITIALIZED)
    elif path == b"/sse" and method[1] == b"tools/call":
        event = b"event: message\ndata: " + message + b"\n\n"
        sock.sendall(_SSE_HEAD + _CHUNKED + _chunk(event) + b"0\r\n\r\n")
    else:
        session = _SESSION if method[1] == b"initialize" else b""
        sock.sendall(_JSON_HEAD % (session, len(message)) + message)
    return True


def _serve(sock: socket.socket) -> None:
    received = b""
    try:
        while True:
            while (end := received.find(b"\r\n\r\n")) < 0:
                data = sock.recv(65536)
                if not data:
                    return
                received += data
            start, _, head = received[:end].partition(b"\r\n")
            at = head.lower().find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            end += 4
            while len(received) < end + length:
                data = sock.recv(65536)
                if not data:
                    return
                received += data
            body, received = received[end : end + length], received[end + length :]
            if not _answer(sock, start, body):
                return
    except OSError:
        pass  # the client went away
    finally:
        sock.close()


def _accept(listener: socket.socket) -> None:
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve, args=(sock,), daemon=True).start()


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=_accept, args=(listener,), daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
