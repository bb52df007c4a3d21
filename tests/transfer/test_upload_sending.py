"""How a body goes out: where the system cannot send a file, where it cannot be watched, and what comes meanwhile."""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamhttp_client.exceptions import SourceChanged, TransferInterrupted, TransferRefused
from streamhttp_client.net.retry import RetryPolicy
from streamhttp_client.net.sending import FilePart, in_memory
from streamhttp_client.net.timeouts import Timeout
from streamhttp_client.transfer.upload import upload
from tests.support.rawserver import Peer, RawServer
from tests.transfer.test_upload import Receiver

DATA = os.urandom(3 << 20)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x"
    path.write_bytes(DATA)
    return path


def refusing(number: int) -> Callable[..., int]:
    def sendfile(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    return sendfile


@pytest.mark.parametrize("without", ["sendfile", "EINVAL", "poll", "pread"])
def test_a_file_arrives_whole_without_it(file: Path, monkeypatch: pytest.MonkeyPatch, without: str) -> None:
    """Where the system has none, or has none for this file."""
    if without == "EINVAL":
        monkeypatch.setattr(os, "sendfile", refusing(errno.EINVAL))
    elif without == "poll":
        monkeypatch.delattr(select, "poll")
    elif without == "pread":
        monkeypatch.delattr(os, "pread")
        monkeypatch.delattr(os, "sendfile")
    else:
        monkeypatch.delattr(os, "sendfile")
    with Receiver() as server:
        upload(file, server.url)
        assert server.requests[0].body == DATA


def test_a_broken_connection_while_the_system_sends(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sendfile", refusing(errno.EPIPE))
    with Receiver() as server:

        def again(*arguments: Any) -> int:
            monkeypatch.undo()
            raise BrokenPipeError(errno.EPIPE, "broken")

        monkeypatch.setattr(os, "sendfile", again)
        # Nobody answers to half a request, so it is the timeout that ends the first attempt.
        result = upload(file, server.url, timeout=Timeout(read=0.3, total=None), retry=RetryPolicy(base=0))
        assert result.attempts == 2 and server.requests[-1].body == DATA


@pytest.mark.parametrize("part", ["file", "memory"])
def test_a_file_that_shrank_is_noticed_at_the_last_moment(file: Path, part: str) -> None:
    with open(file, "rb") as opened:
        beyond = FilePart(opened.fileno(), len(DATA) - 10, 1000)
        assert len(beyond) == 1000
        with pytest.raises(SourceChanged, match="shorter"):
            b"".join(in_memory([b"first", beyond]))
        assert b"".join(in_memory([memoryview(b"a"), FilePart(opened.fileno(), 5, 10)])) == b"a" + DATA[5:15]


class Meanwhile(RawServer):
    """Reads a little, sends something, then reads the rest."""

    def __init__(self, said: bytes, then: bytes) -> None:
        super().__init__()
        self._said, self._then = said, then

    def handle(self, peer: Peer) -> None:
        begun = peer._read_exactly(1000)
        peer.send(self._said)
        threading.Event().wait(0.1)
        peer._received[:0] = begun
        peer.read_request()
        peer.send(self._then)


@pytest.mark.parametrize(
    ("said", "then"),
    [
        (b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 201 Cre", b"ated\r\nContent-Length: 0\r\n\r\n"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
    ],
    ids=["success", "half a head", "interim"],
)
def test_what_is_no_refusal_does_not_stop_it(file: Path, said: bytes, then: bytes) -> None:
    """A success that comes before the end is one only if the whole body went out."""
    with open(file, "r+b") as sparse:
        sparse.truncate(24 << 20)
    with Meanwhile(said, then) as server:
        result = upload(file, server.origin, retry=RetryPolicy(attempts=1))
        (request,) = server.wait_for(len)
        assert result.attempts == 1 and len(request.body) == 24 << 20


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", TransferRefused),
        (b"ICY 200 OK\r\n\r\n", TransferInterrupted),
    ],
)
def test_what_is_a_refusal_stops_it(file: Path, said: bytes, error: type[Exception]) -> None:
    with open(file, "r+b") as sparse:
        sparse.truncate(64 << 20)

    def refuse(peer: Peer) -> None:
        peer._read_exactly(1000)
        peer.send(said)
        peer.wait_gone()

    with RawServer(refuse) as server, pytest.raises(error):
        upload(file, server.origin, retry=RetryPolicy(attempts=1))
