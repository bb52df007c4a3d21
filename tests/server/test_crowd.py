"""Many clients, and clients that behave badly, at a server in a process of its own: limits hold, and its memory, as the
system counts it, stays within what the docstrings say.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("cheroot")

from tests.server.kit import PATIENCE, Wire

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory is read from /proc, as Linux has it"
)

KiB, MiB = 1 << 10, 1 << 20
APP = Path(__file__).with_name("crowd_app.py")
# What Server.serve() and MemoryStore say of one open stream and of one idle session, and what may come on top for
# all together: the allocator takes memory by the MiB.
STREAM, SESSION, SLACK = 56 * KiB, 2 * KiB, 2 * MiB
# What is on its way to a client that does not read: a page of events as the store gives it, and as it is sent.
STALLED = 3 * MiB // 2


class Crowded:
    """The server's process."""

    def __init__(self, max_connections: int, max_bytes: int) -> None:
        command = [sys.executable, APP, str(max_connections), str(max_bytes)]
        environment = {**os.environ, "PYTHONPATH": str(APP.parents[2])}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout is not None
        self.address = f"127.0.0.1:{int(self.process.stdout.readline())}"
        self.url = f"http://{self.address}/mcp"

    def _status(self, name: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition(f"\n{name}:")[2].split()[0])

    @property
    def memory(self) -> int:
        """Bytes of it that are in memory."""
        return self._status("VmRSS") * KiB

    @property
    def threads(self) -> int:
        return self._status("Threads")

    def wire(self) -> Wire:
        return Wire(self.url).initialize()

    def stop(self) -> None:
        assert self.process.stdin is not None
        with self.process:  # closes the pipes, and waits
            self.process.stdin.close()
            assert self.process.wait(PATIENCE * 2) == 0


@pytest.fixture
def start() -> Iterator[Callable[..., Crowded]]:
    started: list[Crowded] = []

    def begin(max_connections: int, max_bytes: int = 256 * MiB) -> Crowded:
        started.append(Crowded(max_connections, max_bytes))
        return started[-1]

    yield begin
    for crowded in started:
        crowded.stop()


@contextlib.contextmanager
def streams(crowded: Crowded, sessions: list[str]) -> Iterator[list[socket.socket]]:
    """One listening connection for each session named, with the head of its answer still to be read."""
    with contextlib.ExitStack() as stack:
        found = []
        for session in sessions:
            connection = socket.create_connection(("127.0.0.1", int(crowded.address.partition(":")[2])), PATIENCE)
            stack.enter_context(connection)
            head = f"Host: {crowded.address}\r\nAccept: text/event-stream\r\nMcp-Session-Id: {session}\r\n"
            connection.sendall(f"GET /mcp HTTP/1.1\r\n{head}\r\n".encode())
            found.append(connection)
        yield found


def statuses(connections: list[socket.socket]) -> list[int]:
    return [int(connection.recv(4096)[9:12]) for connection in connections]


def wait_until(check: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 3 * PATIENCE
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def _text(wire: Wire, tool: str) -> str:
    """What a tool says; the reason if it could not be called, since the store is full, say."""
    answer = wire.tool(tool)
    return str(answer["content"][0]["text"] if "content" in answer else answer["message"])


def count_heard(connections: list[socket.socket], expected: int) -> int:
    """How many hear a notification, when so many should."""
    heard = 0
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        while heard < expected and (ready := selector.select(PATIENCE)):
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                heard += key.fileobj.recv(4096).count(b"list_changed")
        return heard + sum(key.fileobj.recv(4096).count(b"list_changed") for key, _ in selector.select(0))  # type: ignore[union-attr]


def test_thousand_idle_sessions(start: Callable[..., Crowded]) -> None:
    """They cost what MemoryStore says, and nobody else notices."""
    crowded = start(max_connections=64)
    for _ in range(20):
        crowded.wire()
    before = crowded.memory
    sessions = [crowded.wire() for _ in range(1000)]
    grown = crowded.memory - before
    assert grown <= 1000 * SESSION + SLACK, f"{grown / 1000:.0f} bytes for each"
    assert _text(sessions[0], "announce") == "0"
    assert sessions[-1].result("ping") == {}


def test_five_hundred_streams_of_one_session(start: Callable[..., Crowded]) -> None:
    """Four are served, the others refused; others are served, and it cost next to nothing."""
    crowded = start(max_connections=600)
    wire, other = crowded.wire(), crowded.wire()
    before = crowded.memory
    with streams(crowded, [wire.session or ""] * 500) as connections:
        assert sorted(statuses(connections)) == [200] * 4 + [503] * 496
        assert other.result("ping") == {}
        # Refused connections are kept for further requests, by a few threads for a moment, then by none.
        assert crowded.memory - before <= 500 * 16 * KiB + SLACK
    assert other.result("ping") == {}


def test_five_hundred_streams(start: Callable[..., Crowded]) -> None:
    """One client may have them on many sessions, up to the limit; each costs what serve() says, and once only."""
    crowded = start(max_connections=670)
    wires = [crowded.wire() for _ in range(130)]
    sessions = [wire.session or "" for wire in wires]
    asking = wires[-1]
    grown: list[int] = []
    before = crowded.memory
    for _ in range(4):
        with streams(crowded, [session for session in sessions[:125] for _ in range(4)]) as connections:
            assert set(statuses(connections)) == {200}
            grown.append(crowded.memory - before)
            assert _text(asking, "announce") == "125"
            assert count_heard(connections, 125) == 125
        # Nobody said goodbye to the server, which finds out by itself.
        wait_until(lambda: _text(asking, "count_streams") == "1", "streams stay open")
    assert max(grown) <= 500 * STREAM + SLACK, [size // 500 for size in grown]
    assert crowded.threads <= 670 + 8


def test_readers_that_do_not_read(start: Callable[..., Crowded]) -> None:
    """160 MB for 40 clients that take nothing: the store keeps its bound, and the calls end."""
    crowded = start(max_connections=200, max_bytes=32 * MiB)
    wires = [crowded.wire() for _ in range(40)]
    asking = crowded.wire()
    before = crowded.memory
    with contextlib.ExitStack() as stack:
        for wire in wires:
            connection = socket.create_connection(("127.0.0.1", int(crowded.address.partition(":")[2])), PATIENCE)
            stack.enter_context(connection)
            params = {"name": "flood", "arguments": {"events": 200, "size": 20_000}}
            body = json.dumps({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params})
            head = "".join(
                f"{name}: {value}\r\n" for name, value in wire.headers(Content_Length=str(len(body))).items()
            )
            connection.sendall(f"POST /mcp HTTP/1.1\r\nHost: {crowded.address}\r\n{head}\r\n{body}".encode())
        peak = 0

        def ended() -> bool:
            nonlocal peak
            peak = max(peak, crowded.memory)
            return _text(asking, "count_ended") == "40"

        wait_until(ended, "calls whose clients do not read do not end")
    assert peak - before <= 32 * MiB + 40 * STALLED, f"{(peak - before) / MiB:.1f} MiB"


def test_half_closed_streams(start: Callable[..., Crowded]) -> None:
    """200 clients that close their sending half: their streams end, and their threads are free again."""
    crowded = start(max_connections=300)
    wires = [crowded.wire() for _ in range(50)]
    with streams(crowded, [wire.session or "" for wire in wires for _ in range(4)]) as connections:
        assert set(statuses(connections)) == {200}
        for connection in connections:
            connection.shutdown(socket.SHUT_WR)
        for connection in connections:
            while connection.recv(4096):
                pass
    assert wires[0].result("ping") == {}
    with streams(crowded, [wire.session or "" for wire in wires for _ in range(4)]) as connections:
        assert set(statuses(connections)) == {200}
