"""The cutter of the demo: what it tears, and that it changes nothing else."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamhttp_client.cli.cutter import Cut, Cutter, _Finder
from tests.transport._faults import nothing_left

NUMBER = re.compile(rb'"progress":([0-9]+),')
PATIENCE = 10.0


def event(number: int) -> bytes:
    return b'data: {"progress":%d,"total":9}\n\n' % number


@contextmanager
def sender(data: bytes) -> Iterator[str]:
    """A server that reads one piece, sends ``data`` and closes, for each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    if connection.recv(65536):
                        connection.sendall(data)
                except OSError:
                    pass  # it was cut

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield "http://{}:{}/mcp".format(*listener.getsockname())
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE)


def fetch(url: str, request: bytes = b"GET /mcp\r\n\r\n") -> tuple[bytes, str]:
    """All that comes, and how it ended."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), PATIENCE) as client:
        client.sendall(request)
        got = b""
        try:
            while chunk := client.recv(65536):
                got += chunk
        except ConnectionResetError:
            return got, "reset"
        return got, "closed"


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with nothing_left():
        yield


def test_without_a_plan_everything_passes() -> None:
    """Bytes are passed on unchanged in both directions, and the path of the address is kept."""
    data = b"".join(map(event, range(1, 2000))) + b"\0\xff the end"
    with sender(data) as url, Cutter(url, number=NUMBER, at=[]) as cutter:
        assert urlsplit(cutter.url).path == "/mcp"
        assert fetch(cutter.url) == (data, "closed")
        assert cutter.cuts == []


def test_cuts_tear_the_events_of_the_plan_and_take_turns() -> None:
    """A cut comes in the middle of the event that the plan names: what precedes the tear arrives, and no more."""
    seen: list[Cut] = []
    data = b"".join(map(event, range(1, 10)))
    with sender(data) as url, Cutter(url, number=NUMBER, at=[3, 3, 7], on_cut=seen.append) as cutter:
        whole, torn = event(1) + event(2), b'data: {"progress":3,'
        got, how = fetch(cutter.url)
        assert how == "reset"
        assert (whole + torn).startswith(got)  # a reset may throw away what the peer has not read yet
        assert fetch(cutter.url) == (whole + torn, "closed")
        assert fetch(cutter.url)[1] == "reset"
        assert fetch(cutter.url) == (data, "closed")
    assert seen == cutter.cuts == [Cut(1, 3, "reset"), Cut(2, 3, "closed"), Cut(3, 7, "reset")]


def test_only_requests_that_take_up_a_stream_count_as_resumed() -> None:
    """Resumptions are counted on the wire, by the field that makes them; its name has no case."""
    counts: list[int] = []
    with sender(b"x") as url, Cutter(url, number=NUMBER, at=[], on_resume=counts.append) as cutter:
        fetch(cutter.url, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        fetch(cutter.url, b"GET / HTTP/1.1\r\nhost: x\r\nLast-Event-ID: 5\r\n\r\n")
        fetch(cutter.url, b"GET / HTTP/1.1\r\nlast-event-id: 6\r\n\r\n")
        assert cutter.resumed == 2
    assert counts == [1, 2]


def test_a_server_that_is_not_there() -> None:
    """A connection that cannot be carried is closed, and the cutter lives on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Cutter(f"http://127.0.0.1:{port}/", number=NUMBER, at=[]) as cutter:
        for _ in range(2):
            assert fetch(cutter.url)[0] == b""


def test_an_address_without_a_port_is_refused() -> None:
    """There is nothing to connect to."""
    with pytest.raises(ValueError, match="host and port"):
        Cutter("/mcp", number=NUMBER, at=[])


def test_the_cutter_ends_with_open_connections() -> None:
    """Leaving closes what is still open; the peer is not left waiting."""
    with sender(b"hello") as url, Cutter(url, number=NUMBER, at=[]) as cutter:
        parts = urlsplit(cutter.url)
        client = socket.create_connection((parts.hostname, parts.port), PATIENCE)
    with client:
        assert client.recv(1) == b""


@given(st.lists(st.integers(1, 12), max_size=40))
def test_numbers_are_found_wherever_chunks_end(sizes: list[int]) -> None:
    """Each number is found once, whole, and in the chunk in which its match ends."""
    data = b"".join(map(event, (1, 22, 333, 4444)))
    finder, found, at = _Finder(NUMBER), [], 0
    for size in [*sizes, len(data)]:
        chunk = data[at : at + size]
        for match, end in finder.find(chunk):
            found.append((int(match[1]), at + end))
        at += len(chunk)
    assert found == [(int(match[1]), match.end()) for match in NUMBER.finditer(data)]
