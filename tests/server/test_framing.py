"""Where requests end, on raw sockets: nothing is taken for a second request, and no memory for what is not
wanted.
"""

from __future__ import annotations

import io
import itertools
import json
import logging
import re
import socket
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("cheroot")

from streamhttp_client.server import RunningServer, Server
from streamhttp_client.server import connection as connections
from streamhttp_client.server.connection import Reader
from streamhttp_client.server.disconnect import PROBE_KEY
from streamhttp_client.server.request_bodies import BodyError, ChunkedBody, LengthBody
from streamhttp_client.server.running import _make_server
from tests.server.kit import BOTH, PATIENCE, Direct, Wire

MAX_BODY = 1 << 20
INITIALIZE = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}},
    }
).encode()


@pytest.fixture
def running() -> Iterator[RunningServer]:
    with Server("test", "1").serve(max_body=MAX_BODY) as running:
        yield running


def head(method: str = "POST", version: str = "1.1", **fields: str) -> bytes:
    known = {"Host": "localhost", "Accept": BOTH, "Content_Type": "application/json"}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in (known | fields).items())
    return f"{method} /mcp HTTP/{version}\r\n{lines}\r\n".encode()


GOOD = head(Content_Length=str(len(INITIALIZE))) + INITIALIZE
LAST = head("GET", Connection="close")


def exchange(running: RunningServer, data: bytes) -> bytes:
    """Send, and read until the server closes; the bound is that of the socket."""
    with socket.create_connection((running.host, running.port), timeout=PATIENCE) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def statuses(answer: bytes) -> list[int]:
    return [int(part[2:5]) for part in answer.split(b"HTTP/1.")[1:]]


CHUNKED = {"Transfer_Encoding": "chunked"}


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (head(Content_Type="text/plain", **CHUNKED), 415),
        (head(Host="evil.example", **CHUNKED), 421),
        (head(Origin="http://evil.example", **CHUNKED), 403),
        (head("PUT", **CHUNKED), 405),
        (head(Accept="text/html", **CHUNKED), 406),
        (head(Content_Length="5", **CHUNKED) + b"0\r\n\r\n", 400),
        (head(version="1.0", Connection="Keep-Alive", **CHUNKED) + b"0\r\n\r\n", 400),
        (head(Transfer_Encoding="chunked, chunked") + b"0\r\n\r\n", 400),
        (head(Transfer_Encoding="") + b"0\r\n\r\n", 400),
        (head(Content_Length="+5") + b"12345", 400),
        (head(Content_Length="5\r\nContent-Length: 0") + b"12345", 400),
        (head(Content_Length="5\r\n ,0") + b"12345", 400),
        (head(X="a\r\nContent-Length : 5") + b"12345", 400),
        (head(Host="localhost\r\nHost: evil.example", Content_Length="0"), 400),
        (head(**CHUNKED) + b"+5\r\n12345\r\n0\r\n\r\n", 400),
        (head(**CHUNKED) + b"0x5\r\n12345\r\n0\r\n\r\n", 400),
        (head(**CHUNKED) + b"-1\r\n", 400),
        (head(**CHUNKED) + b"3\r\n12345\r\n0\r\n\r\n", 400),
        (head(**CHUNKED) + b"0\r\nbroken trailer\n", 400),
    ],
)
def test_no_second_request_in_a_body(running: RunningServer, first: bytes, status: int) -> None:
    """What follows a refused request on its connection is not run: one answer, and no session."""
    answer = exchange(running, first + GOOD)
    assert statuses(answer) == [status] and b"Mcp-Session-Id: " not in answer


def test_trailers_are_no_request(running: RunningServer) -> None:
    """They belong to the body, and the next request begins after them."""
    chunks = b"%x;name=value\r\n%b\r\n0\r\n%b\r\n" % (len(INITIALIZE), INITIALIZE, b"GET /mcp HTTP/1.1: x\r\nA: b\r\n")
    answer = exchange(running, head(**CHUNKED) + chunks + LAST)
    assert statuses(answer) == [200, 400] and answer.count(b"Mcp-Session-Id: ") == 1


def test_short_refused_body_costs_no_connection(running: RunningServer) -> None:
    answer = exchange(running, head(Content_Type="text/plain", Content_Length=str(len(GOOD))) + GOOD + LAST)
    assert statuses(answer) == [415, 400] and b"Mcp-Session-Id: " not in answer


def test_names_with_underscores_are_dropped(running: RunningServer) -> None:
    """In WSGI they could not be told from those with dashes."""
    line = b"Content_Length: 2\r\nContent-Length"
    answer = exchange(running, GOOD.replace(b"Content-Length", line) + LAST)
    assert statuses(answer) == [200, 400]


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (head(Content_Type="text/plain", Content_Length="10000000000"), 415),
        (head(Host="evil.example", Content_Length="10000000000"), 421),
        (head(Content_Length="10000000000"), 413),
        (head(**CHUNKED) + b"20000000\r\n", 413),
    ],
)
def test_unwanted_bodies_take_no_memory(running: RunningServer, first: bytes, status: int) -> None:
    """60 MB are offered; what is held stays near the limit of a body, and the answer arrives."""
    piece = b"x" * (1 << 20)
    tracemalloc.start()
    try:
        with socket.create_connection((running.host, running.port), timeout=PATIENCE) as connection:
            connection.sendall(first)
            try:
                for _ in range(60):
                    connection.sendall(piece)
            except OSError:
                pass  # the server has closed, as it should
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_BODY
    finally:
        tracemalloc.stop()
    with socket.create_connection((running.host, running.port), timeout=PATIENCE) as connection:
        connection.sendall(first + piece + b"x")
        answer = connection.recv(65536)
        assert statuses(answer) == [status] and b"Connection: close" in answer


def test_head_has_no_body(running: RunningServer) -> None:
    """A client would take it for the next answer."""
    answer = exchange(running, head("HEAD") + head("HEAD") + head("HEAD", Connection="close"))
    assert statuses(answer) == [405] * 3
    assert answer.endswith(b"\r\n\r\n") and b"jsonrpc" not in answer
    with Direct(Server("test", "1").wsgi()).send("HEAD") as reply:
        assert (reply.status, reply.body()) == (405, b"")


def test_broken_bodies_are_no_errors_of_the_server(running: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    """Anybody can send them, so they fill no log."""
    with caplog.at_level(logging.INFO, "streamhttp_client.server"):
        for body in (b"zz\r\n", b"5\r\n12", b"5\r\n1234567", b"x" * 5000, b"0\r\n" + b"a: b\r\n" * 2000):
            assert statuses(exchange(running, head(**CHUNKED) + body)) == [400]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("length", ["\xb2", "9" * 5000, "-1", "1e3"])
def test_odd_lengths_under_any_server(length: str) -> None:
    direct = Direct(Server("test", "1").wsgi())
    direct.app = Server("test", "1").wsgi()  # the checker itself takes only good ones
    with direct.send("POST", b"{}", CONTENT_LENGTH=length) as reply:
        assert reply.status == 400


def test_dripping_request_is_ended(running: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The head has a deadline as a whole, not from byte to byte."""
    clock = itertools.count()
    monkeypatch.setattr(connections.time, "monotonic", lambda: float(next(clock)))
    with socket.create_connection((running.host, running.port), timeout=PATIENCE) as connection:
        connection.sendall(b"GET /mcp HTTP/1.1\r\nX: ")
        connection.settimeout(0.01)
        answer = b""
        for _ in range(1000):
            connection.send(b"y")
            try:
                answer = connection.recv(100)
                break
            except TimeoutError:
                continue
    assert statuses(answer) == [408]


def test_silence_ends_with_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that falls silent within its request holds a thread no longer than one that drips."""
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        waits: list[float] = []

        def wait(connection: Any, timeout: float, *, writing: bool = False) -> bool:
            waits.append(timeout)
            return False

        monkeypatch.setattr(connections, "is_ready", wait)
        reader = Reader(near, timeout=60.0)
        reader.deadline = time.monotonic() + 5.0
        with pytest.raises(TimeoutError):
            reader.readline()
    assert len(waits) == 1 and 0 <= waits[0] <= 5.0


class Peer:
    """A socket that gives a text in portions and keeps what is sent."""

    def __init__(self, *portions: bytes) -> None:
        self.portions = list(portions)
        self.sent = b""

    def recv(self, most: int) -> bytes:
        return self.portions.pop(0) if self.portions else b""

    def send(self, data: memoryview) -> int:
        self.sent += data
        return len(data)

    def setblocking(self, flag: bool) -> None: ...
    def settimeout(self, seconds: float) -> None: ...
    def shutdown(self, how: int) -> None: ...


def understood(*portions: bytes) -> tuple[bytes, dict[str, Any]]:
    """What is answered to a request, and what a WSGI application is told of it."""
    found: dict[str, Any] = {}

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        found.update(environ, body=environ["wsgi.input"].read())
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    server = _make_server(app, "127.0.0.1", 0, 4)  # type: ignore[arg-type]
    server.prepare()
    try:
        peer = Peer(*portions)
        connections.Connection(server, peer).communicate()  # type: ignore[arg-type]
    finally:
        server.stop()
    changing = ("wsgi.input", PROBE_KEY, "SERVER_PORT")
    return re.sub(rb"Date: [^\r]*", b"", peer.sent), {key: found[key] for key in found.keys() - changing}


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("POST /mcp HTTP/1.1", 200),
        ("POST /mcp/a;b=c,(d)?e=f/g&h=%20 HTTP/1.1", 200),
        ("POST /mcp?a=b?c HTTP/1.1", 200),
        ("POST /m%63p%2f HTTP/1.1", 200),
        ("POST /mcp#here HTTP/1.1", 400),
        ("POST //other/mcp HTTP/1.1", 400),
        ("POST http://other/mcp HTTP/1.1", 400),
        ("POST mcp HTTP/1.1", 400),
        ("post /mcp HTTP/1.1", 400),
        ("BREW /mcp HTTP/1.1", 200),
        ("POST /mcp HTTP/1.0", 200),
        ("POST /mcp HTTP/1.2", 505),
        ("POST /mcp HTTP/01.1", 200),
        ("POST  /mcp HTTP/1.1", 400),
        ("POST /m\tcp HTTP/1.1", 200),
        ("POST /m\xe9 HTTP/1.1", 400),
        ("POST /mcp", 400),
    ],
)
@pytest.mark.parametrize(
    "fields", ["X-A: b\r\nx-a:\tc \r\nConnection: close\r\n", "X: a\rb\r\n", "X : a\r\n", " X: a\r\n", "X: a\n"]
)
def test_heads_in_one_piece_mean_the_same(line: str, status: int, fields: str) -> None:
    """A head that arrives whole is read by us, any other by cheroot: nobody sees a difference."""
    request = f"{line}\r\nHost: localhost\r\n{fields}Content-Length: 5\r\n\r\nhello".encode("latin-1")
    answer, environ = understood(request)
    assert (answer, environ) == understood(request[:9], request[9:])
    expected = status if status != 200 or fields.startswith("X-A") else 400
    assert statuses(answer) == [expected] and environ.get("body") == (b"hello" if expected == 200 else None)
    if expected == 200:
        assert (
            environ["HTTP_X_A"] == "b, c" and environ["CONTENT_LENGTH"] == "5" and "HTTP_CONTENT_LENGTH" not in environ
        )


class Slices:
    """A socket that gives a text in slices of one size."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data = io.BytesIO(data)
        self._size = size

    def recv(self, most: int) -> bytes:
        return self._data.read(min(most, self._size))


def body_of(kind: Any, data: bytes, size: int, *arguments: int) -> tuple[Any, Reader]:
    reader = Reader(Slices(data, size), PATIENCE)  # type: ignore[arg-type]
    return kind(reader, *arguments), reader


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_bodies_in_any_slices(size: int) -> None:
    """Exactly the body is read, however it arrives."""
    chunks = b"5\r\nhello\r\n6 ; a=b\r\n world\r\n000\r\nT: x\r\n\r\nNEXT"
    for kind, data, arguments in ((ChunkedBody, chunks, ()), (LengthBody, b"hello worldNEXT", (11,))):
        body, reader = body_of(kind, data, size, *arguments)
        assert not body.finished
        whole = io.BufferedReader(body) if kind is ChunkedBody else body
        assert whole.read(0) == b"" and whole.read(3) + whole.read() == b"hello world" and whole.read(1) == b""
        assert body.finished and body.skip() and reader.read() == b"NEXT"


@pytest.mark.parametrize("cut", range(len(b"5\r\nhello\r\n0\r\nT: x\r\n\r\n")))
def test_cut_chunks(cut: int) -> None:
    """A body that was cut anywhere is an error, and never finished."""
    body, _ = body_of(ChunkedBody, b"5\r\nhello\r\n0\r\nT: x\r\n\r\n"[:cut], 1000)
    with pytest.raises(BodyError):
        io.BufferedReader(body).read()
    assert not body.finished and not body.skip()


def test_good_requests_still_pass(running: RunningServer) -> None:
    assert Wire(running.url).initialize().result("ping") == {}
