"""The connections of the server in this process: bytes in any portions, pipelining, limits, and slow
peers.
"""

from __future__ import annotations

import io
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("cheroot")

from streamhttp_client.server import Context, RunningServer, Server
from streamhttp_client.server.connection import Reader, Writer
from tests.server.kit import PATIENCE, Direct, Wire, events

TEXT = b"one\r\ntwo\n\nlonger than some\nrest"


class Portions:
    """A socket that gives a text in portions and keeps what is sent."""

    def __init__(self, *portions: bytes) -> None:
        self.portions = [portion for portion in portions if portion]
        self.sent: list[bytes] = []

    def recv(self, size: int) -> bytes:
        if not self.portions:
            return b""
        portion, rest = self.portions[0][:size], self.portions[0][size:]
        self.portions[:1] = [rest] if rest else []
        return portion

    def send(self, data: bytes | memoryview) -> int:
        self.sent.append(bytes(data))
        return len(data)


def readers() -> Iterator[Reader]:
    """The text whole, byte by byte, and split at every point."""
    splits = [[TEXT], [bytes([byte]) for byte in TEXT]]
    splits += [[TEXT[:at], TEXT[at:]] for at in range(len(TEXT))]
    for portions in splits:
        yield Reader(Portions(*portions), PATIENCE)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [None, -1, 1, 2, 3, 5, 100])
def test_lines(size: int | None) -> None:
    """As the files of the standard library read them."""
    for reader in readers():
        expected = io.BytesIO(TEXT)
        while line := reader.readline(size):
            assert line == expected.readline(-1 if size is None else size)
        assert not expected.read() and not reader.has_data()
        assert reader.bytes_read == len(TEXT)


@pytest.mark.parametrize("size", [0, 1, 4, 5, 6, len(TEXT) - 5, len(TEXT), 100, -1, None])
def test_read_after_a_line(size: int | None) -> None:
    """Exactly as much as was asked for, unless the stream ends before."""
    for reader in readers():
        expected = io.BytesIO(TEXT)
        assert reader.readline() == expected.readline()
        assert reader.read(size) == expected.read(size)
        assert reader.read(-1) == expected.read()


def test_held_data_leaves_in_one_piece() -> None:
    peer = Portions()
    writer = Writer(peer, PATIENCE)  # type: ignore[arg-type]
    writer.hold = True
    writer.write(b"head")
    writer.hold = False
    writer.write(b"body")
    writer.write(b"more")
    writer.flush()
    assert peer.sent == [b"headbody", b"more"] and writer.bytes_written == 12


@pytest.fixture
def running() -> Iterator[RunningServer]:
    server = Server("test", "1")

    @server.tool()
    def echo(text: str) -> str:
        return text

    @server.tool()
    def flood(events: int, size: int, ctx: Context) -> str:
        for number in range(1, events + 1):
            ctx.progress(number, None, "x" * size)
        return "flooded"

    with server.serve(max_body=1 << 20) as running:
        yield running


def raw(running: RunningServer, data: bytes) -> bytes:
    """Send bytes, close the sending half after the answer has begun, and return all that comes."""
    with socket.create_connection((running.host, running.port), timeout=PATIENCE) as connection:
        connection.sendall(data)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_short_answers_leave_in_one_packet(running: RunningServer) -> None:
    """Head, body and the end of the body; the client's kernel has it all at once."""
    wire = Wire(running.url).initialize()
    body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "ping"}).encode()
    head = "".join(f"{name}: {value}\r\n" for name, value in wire.headers(Content_Length=str(len(body))).items())
    request = f"POST /mcp HTTP/1.1\r\nHost: {wire.address}\r\n{head}\r\n".encode() + body
    with socket.create_connection((running.host, running.port), timeout=PATIENCE) as connection:
        for _ in range(3):
            connection.sendall(request)
            assert connection.recv(65536).endswith(b'{"jsonrpc":"2.0","id":7,"result":{}}')


def test_pipelined_requests(running: RunningServer) -> None:
    """Requests that come together are answered one after the other."""
    request = f"GET /other HTTP/1.1\r\nHost: {running.host}:{running.port}\r\n"
    answer = raw(running, f"{request}\r\n{request}\r\n{request}Connection: close\r\n\r\n".encode())
    assert answer.count(b"HTTP/1.1 404 Not Found") == 3


def test_threads_stay_only_while_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle connections that are kept alive hold three of four threads at most, and the rest serves all others."""
    monkeypatch.setattr("streamhttp_client.server.running._STAY", 3 * PATIENCE)
    with Server("test", "1").serve(max_connections=4) as running:
        request = f"GET /other HTTP/1.1\r\nHost: {running.host}:{running.port}\r\n\r\n".encode()
        connections = [socket.create_connection((running.host, running.port), PATIENCE) for _ in range(4)]
        for connection in (*connections, *connections):
            connection.sendall(request)
            assert connection.recv(4096).startswith(b"HTTP/1.1 404 Not Found")
        for connection in connections:
            connection.close()


def test_connection_that_nobody_watches_any_more(running: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that gives its connection back at the very moment of the stop closes it, and does not fail."""
    monkeypatch.setattr("streamhttp_client.server.running._STAY", 0.0)
    put = running._server.put_conn
    tried = threading.Event()

    def refuse(connection: object) -> None:
        tried.set()
        raise ValueError("I/O operation on closed epoll object")

    monkeypatch.setattr(running._server, "put_conn", refuse)
    request = f"GET /other HTTP/1.1\r\nHost: {running.host}:{running.port}\r\n\r\n".encode()
    answer = raw(running, request)
    assert answer.startswith(b"HTTP/1.1 404 Not Found") and tried.is_set()
    monkeypatch.setattr(running._server, "put_conn", put)
    assert Wire(running.url).initialize().result("ping") == {}


def test_chunked_request(running: RunningServer) -> None:
    """A body without a length is read to its end."""
    wire = Wire(running.url).initialize()
    text = "x" * 200_000
    body = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": text}}}
    ).encode()
    pieces = [body[at : at + 30_000] for at in range(0, len(body), 30_000)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    head = "".join(
        f"{name}: {value}\r\n" for name, value in wire.headers(Transfer_Encoding="chunked", Connection="close").items()
    )
    answer = raw(running, f"POST /mcp HTTP/1.1\r\nHost: {wire.address}\r\n{head}\r\n".encode() + chunks)
    assert text.encode() in answer


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /mcp HTTP/9.9\r\n\r\n", b"505"),
        (b"GET /mcp HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", b"413"),
        (b"GET /" + b"y" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
        (b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999999\r\nConnection: close\r\n\r\n", b"4"),
    ],
)
def test_bad_requests(running: RunningServer, request_text: bytes, status: bytes) -> None:
    """Refused, and the server goes on."""
    with socket.create_connection((running.host, running.port), timeout=PATIENCE) as connection:
        connection.sendall(request_text)
        assert connection.recv(100).startswith(b"HTTP/1.1 " + status)
    Wire(running.url).initialize()


def test_slow_reader_does_not_hold_up_the_handler(running: RunningServer) -> None:
    """The client reads nothing while 20 MB are written; then it has all that is still held, in order."""
    wire = Wire(running.url).initialize()
    with wire.call("flood", {"events": 2000, "size": 10_000}, token=1) as response:
        # Other calls are answered meanwhile.
        assert wire.tool("echo", {"text": "hello"})["content"][0]["text"] == "hello"
        numbers = [int(event["id"].partition(":")[2]) for event in events(response)]
    assert numbers == list(range(len(numbers)))


def test_broken_connections_are_no_errors(running: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    """Clients that vanish at any point leave no error in the log."""
    wire = Wire(running.url).initialize()
    with caplog.at_level(logging.INFO, "streamhttp_client.server"):
        for data in (b"", b"GET", b"GET /mcp HTTP/1.1\r\nHost:", b"POST /mcp HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"):
            with socket.create_connection((running.host, running.port)) as connection:
                connection.sendall(data)
        for _ in range(5):
            response = wire.call("flood", {"events": 200, "size": 10_000}, token=1)
            response.readline()
            response.close()
        assert wire.tool("echo", {"text": "still here"})["content"][0]["text"] == "still here"
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_client_that_opens_many_streams(running: RunningServer) -> None:
    """Four listening streams of one session are served, the others refused, and other clients notice nothing."""
    wire = Wire(running.url).initialize()
    responses = [wire.send("GET") for _ in range(40)]
    assert sorted(response.status for response in responses) == [200] * 4 + [503] * 36
    assert Wire(running.url).initialize().tool("echo", {"text": "a"})["content"][0]["text"] == "a"
    for response in responses:
        response.close()


def test_thousand_sessions_and_many_streams() -> None:
    """Streams over the limit are refused; when their clients vanish, the server notices and serves again."""
    server = Server("test", "1")
    server.tool("nothing")(lambda: None)
    with server.serve(max_connections=150, max_streams=100) as running:
        direct = Direct(running.app)
        sessions = [direct.initialize().session for _ in range(1000)]
        wires = []
        for session in sessions[:101]:
            wires.append(Wire(running.url))
            wires[-1].session = session
        responses = [wire.send("GET") for wire in wires]
        assert [response.status for response in responses] == [200] * 100 + [503]
        assert wires[0].result("ping") == {}
        for response in responses:
            response.close()
        deadline = time.monotonic() + PATIENCE
        while (response := wires[-1].send("GET")).status == 503:
            response.close()
            assert time.monotonic() < deadline, "the server did not notice that its clients have gone"
        response.close()


def test_half_closed_connection(running: RunningServer) -> None:
    """A client that closes its sending half while it listens is taken for gone: the stream ends."""
    wire = Wire(running.url).initialize()
    head = "".join(f"{name}: {value}\r\n" for name, value in wire.headers().items())
    with socket.create_connection((running.host, running.port), timeout=PATIENCE) as connection:
        connection.sendall(f"GET /mcp HTTP/1.1\r\nHost: {wire.address}\r\n{head}\r\n".encode())
        assert b"200 OK" in connection.recv(65536)
        connection.shutdown(socket.SHUT_WR)
        rest = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"data: {" not in rest
