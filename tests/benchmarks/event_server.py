"""Sends event streams as fast as a socket takes them, in its own process: for `bench_eventsource`.

``/stream/<n>`` gives the n-th of `SHAPES`, chunked; ``/first/chunked`` and ``/first/close`` one event that
carries the time at which it was sent, then silence for `HOLD_SECONDS`. Prints its port, and ends when its
standard input does.
"""

from __future__ import annotations

import socket
import sys
import threading
import time

HOLD_SECONDS = 0.5
# Between the head and the first event, so that every client is already reading when the event leaves.
HEAD_START_SECONDS = 0.02

_PROGRESS = '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":%d}}'
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"


def _small(count: int) -> list[bytes]:
    return [f"data: {_PROGRESS % i}\n\n".encode() for i in range(count)]


def _sized(count: int, size: int) -> list[bytes]:
    return [b"data: " + (b'{"x": "%d"}' % i).ljust(size, b"x") + b"\n\n" for i in range(count)]


def _cut(pieces: list[bytes], size: int) -> list[bytes]:
    stream = b"".join(pieces)
    return [stream[at : at + size] for at in range(0, len(stream), size)]


_MANY_LINES = [b"data: a line of forty characters, or nearly\n" * 2000 + b"\n"] * 100

#: Name, chunks of the body, number of events.
SHAPES: list[tuple[str, list[bytes], int]] = [
    ("small, one per chunk", _small(60_000), 60_000),
    ("small, 64 KiB chunks", _cut(_small(120_000), 65536), 120_000),
    ("2 KB, one per chunk", _sized(20_000, 2000), 20_000),
    ("1 MB, 64 KiB chunks", _cut(_sized(12, 1_000_000), 65536), 12),
    ("many data lines", _cut(_MANY_LINES, 65536), 100),
]


def _wire(chunks: list[bytes]) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return _HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


_WIRE = [_wire(chunks) for _, chunks, _ in SHAPES] if __name__ == "__main__" else []


def _first(sock: socket.socket, chunked: bool) -> None:
    sock.sendall(_HEAD + (b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Connection: close\r\n\r\n"))
    time.sleep(HEAD_START_SECONDS)
    event = b"data: %d\n\n" % time.monotonic_ns()
    sock.sendall(b"%x\r\n%b\r\n" % (len(event), event) if chunked else event)
    time.sleep(HOLD_SECONDS)
    if chunked:
        sock.sendall(b"0\r\n\r\n")


def _serve(sock: socket.socket) -> None:
    received = b""
    try:
        while True:
            while b"\r\n\r\n" not in received:
                data = sock.recv(65536)
                if not data:
                    return
                received += data
            head, _, received = received.partition(b"\r\n\r\n")
            kind, _, which = head.split(b" ", 2)[1].lstrip(b"/").partition(b"/")
            if kind == b"first":
                _first(sock, which == b"chunked")
                if which != b"chunked":
                    return
            else:
                sock.sendall(_WIRE[int(which)])
    except OSError:
        pass  # the client went away
    finally:
        sock.close()


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)

    def accept() -> None:
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_serve, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
