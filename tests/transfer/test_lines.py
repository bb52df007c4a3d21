"""Lines of a stream: at once, bounded, resumed only where that is safe."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from streamhttp_client.exceptions import (
    ClientClosed,
    LocalProtocolError,
    MessageTooLarge,
    RemoteProtocolError,
    SourceChanged,
    TransferInterrupted,
    TransferRefused,
    TransferTimeout,
)
from streamhttp_client.net.retry import RetryPolicy
from streamhttp_client.net.timeouts import Deadline, Timeout
from streamhttp_client.progress import Progress
from streamhttp_client.transfer import source
from streamhttp_client.transfer.lines import Lines, iter_lines
from tests.support.memory import Growth
from tests.support.rawserver import Peer, RawServer, Request
from tests.transfer.fileserver import FileServer, answer
from tests.transfer.peers import nginx

AT_ONCE = RetryPolicy(attempts=4, base=0)
CLOSE_SECONDS = 1.0

TEXT = "".join(json.dumps({"n": n, "text": "é\u2028" * (n % 50)}, ensure_ascii=False) + "\n" for n in range(20_000))
DATA = TEXT.encode()
LINES = TEXT.split("\n")[:-1]


def drip(data: bytes, size: int, *, chunked: bool) -> Callable[[Peer, Request], None]:
    """An answer in pieces of ``size`` bytes."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream(chunked=chunked, content_type="application/x-ndjson")
        for start in range(0, len(data), size):
            peer.write(data[start : start + size])
        peer.end_stream()

    return script


@pytest.fixture(params=[False, True], ids=["direct", "session"])
def http(request: pytest.FixtureRequest) -> Iterator[requests.Session | None]:
    if not request.param:
        yield None
        return
    with requests.Session() as session:
        yield session


@pytest.mark.parametrize("chunked", [True, False])
def test_a_line_is_given_at_once(chunked: bool, http: requests.Session | None) -> None:
    """Each line comes out before the server sends anything more."""
    received = threading.Event()

    def script(peer: Peer, request: Request) -> None:
        assert request.header("accept-encoding") == "identity"
        peer.start_stream(chunked=chunked, content_type="application/x-ndjson")
        for line in (b'{"n":1}\n', b'{"n":2}\n'):
            peer.write(line)
            peer.hold(received)
            received.clear()
        peer.end_stream()

    with FileServer(b"", script) as server, iter_lines(server.url, http=http) as lines:
        for n, line in enumerate(lines, 1):
            assert json.loads(line) == {"n": n}
            received.set()
        assert (lines.count, n) == (2, 2)


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_any_slicing_gives_the_same_lines(size: int, chunked: bool) -> None:
    """CRLF, empty lines, U+2028, a lone CR, no end of line at the end; cut anywhere."""
    data = "a\r\n\nb\u2028c\x0bd\re\n ü \r\r\nlast".encode()
    with FileServer(b"", *[drip(data, size, chunked=chunked)] * 2) as server:
        with iter_lines(server.url) as lines:
            assert list(lines) == ["a", "", "b\u2028c\x0bd\re", " ü \r", "last"]
        with iter_lines(server.url, encoding=None) as raw:
            assert list(raw) == [b"a", b"", "b\u2028c\x0bd\re".encode(), " ü \r".encode(), b"last"]


@pytest.mark.parametrize(("data", "expected"), [(b"", []), (b"\n", [""]), (b"\n\n", ["", ""]), (b"x", ["x"])])
def test_small_answers(data: bytes, expected: list[str]) -> None:
    """A line's end ends a line, and begins none."""
    with FileServer(data) as server, iter_lines(server.url) as lines:
        assert list(lines) == expected
        assert list(lines) == []


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_a_byte_order_mark_is_dropped(size: int) -> None:
    """At the beginning only, in UTF-8 only."""
    data = b"\xef\xbb\xbf{}\n\xef\xbb\xbfx\n"
    with FileServer(b"", *[drip(data, size, chunked=True)] * 2) as server:
        with iter_lines(server.url) as lines:
            assert list(lines) == ["{}", "\ufeffx"]
        with iter_lines(server.url, encoding=None) as raw:
            assert list(raw) == [b"\xef\xbb\xbf{}", b"\xef\xbb\xbfx"]


def test_encodings() -> None:
    """Other supersets of ASCII; what does not fit is an error that names the line, or replaced."""
    with FileServer("ä\nß\n".encode("latin-1")) as server:
        with iter_lines(server.url, encoding="ISO-8859-1") as lines:
            assert list(lines) == ["ä", "ß"]
        with iter_lines(server.url, errors="replace") as lines:
            assert list(lines) == ["\ufffd", "\ufffd"]
    with FileServer(b"good\n\xff\n") as server, iter_lines(server.url) as lines:
        assert next(lines) == "good"
        with pytest.raises(RemoteProtocolError, match="line 2 is not valid utf-8"):
            next(lines)


def test_leaving_a_loop_and_going_on_loses_nothing() -> None:
    """Lines that came together are given one by one, whoever asks."""
    with FileServer(b"a\nb\nc\n") as server, iter_lines(server.url) as lines:
        for line in lines:
            assert line == "a"
            break
        assert next(lines) == "b"
        assert list(lines) == ["c"]
        assert lines.bytes_read == 6


@pytest.mark.parametrize("data", [b"x" * 200, b"ok\n" + b"x" * 200, b"ok\n" + b"x" * 200 + b"\nok\n"])
@pytest.mark.parametrize("size", [1, 50, 1000])
def test_a_line_over_the_limit(data: bytes, size: int) -> None:
    """It is a named error, in the middle of the line too; lines of just the limit are fine."""
    with FileServer(b"", drip(data, size, chunked=True)) as server:
        with iter_lines(server.url, max_line_size=199) as lines, pytest.raises(MessageTooLarge) as caught:
            list(lines)
        server.wait_connected(0)
    assert caught.value.limit == 199
    with FileServer(b"", drip(data, size, chunked=True)) as server, iter_lines(server.url, max_line_size=200) as lines:
        assert "x" * 200 in list(lines)


def test_an_endless_line_does_not_take_memory() -> None:
    """The limit holds before the line ends."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream(content_type="text/plain")
        while True:
            peer.write(b"x" * 60_000)

    with FileServer(b"", script) as server, iter_lines(server.url, max_line_size=1_000_000) as lines:
        with pytest.raises(MessageTooLarge):
            next(lines)
        assert lines.bytes_read < 1_200_000


# -- what breaks


def test_it_goes_on_where_it_was_cut(http: requests.Session | None) -> None:
    """With a strong validator: cut anywhere, in a line or in a character, nothing is lost or repeated."""
    with FileServer(DATA, cut_after=99_991) as server:
        with iter_lines(server.url, retry=RetryPolicy(attempts=2, base=0), http=http) as lines:
            assert list(lines) == LINES
        first, *others = server.requests
    assert first.header("range") is None
    assert [request.header("range") for request in others] == [
        f"bytes={99_991 * (n + 1)}-" for n in range(len(others))
    ]
    assert {request.header("if-range") for request in others} == {'"v1"'}


def test_cut_in_a_chunked_answer() -> None:
    """Without a length too: the break shows in the chunked coding."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream(headers={"ETag": '"v1"'}, content_type="text/plain")
        peer.write(DATA[:5000])
        peer.cut()

    with FileServer(DATA, script) as server, iter_lines(server.url, retry=AT_ONCE) as lines:
        assert list(lines) == LINES
        assert server.requests[1].header("range") == "bytes=5000-"


def test_cut_at_the_very_end() -> None:
    """All was there but the end of the coding: the 416 says so."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream(headers={"ETag": '"v1"'}, content_type="text/plain")
        peer.write(DATA)
        peer.cut()

    with FileServer(DATA, script) as server, iter_lines(server.url, retry=AT_ONCE) as lines:
        assert list(lines) == LINES


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_validator_it_says_how_much_was_read(etag: str | None) -> None:
    """Nothing proves what the rest would be the rest of."""
    with FileServer(DATA, 50_000, etag=etag) as server, iter_lines(server.url, retry=AT_ONCE) as lines:
        got: list[str] = []
        with pytest.raises(TransferInterrupted, match="at byte 50000") as caught:
            got.extend(lines)
        assert len(server.requests) == 1
    assert caught.value.bytes_kept == 50_000
    assert got == LINES[: len(got)] and len(got) == DATA[:50_000].count(b"\n") == lines.count


def test_before_the_first_byte_nothing_has_to_be_proven() -> None:
    """A connection that breaks before the body is made again, without any validator."""
    gone: Callable[[Peer, Request], None] = lambda peer, request: peer.cut()  # noqa: E731
    with FileServer(DATA, gone, answer(503), etag=None) as server, iter_lines(server.url, retry=AT_ONCE) as lines:
        assert list(lines) == LINES


def test_a_server_that_ignores_the_range() -> None:
    """The whole text again is skipped up to where it was, if its validator is the same."""

    def whole(peer: Peer, request: Request) -> None:
        peer.respond(200, DATA, headers={"ETag": '"v1"'})

    with FileServer(DATA, 50_000, whole) as server, iter_lines(server.url, retry=AT_ONCE) as lines:
        assert list(lines) == LINES


@pytest.mark.parametrize("status", [200, 206])
def test_a_changed_text_is_refused(status: int) -> None:
    """Lines of two versions are never mixed."""

    def other(peer: Peer, request: Request) -> None:
        headers = {"ETag": '"v2"', "Content-Range": f"bytes 50000-{len(DATA) - 1}/{len(DATA)}"}
        peer.respond(status, DATA if status == 200 else DATA[50_000:], headers=headers)

    with FileServer(DATA, 50_000, other) as server, iter_lines(server.url, retry=AT_ONCE) as lines:
        with pytest.raises(SourceChanged):
            list(lines)


def test_statuses_and_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error status is an error; silence breaks the connection; a total ends it."""
    with FileServer(DATA, answer(404)) as server, iter_lines(server.url) as lines:
        with pytest.raises(TransferRefused) as refused:
            list(lines)
    assert refused.value.status == 404

    def stall(peer: Peer, request: Request) -> None:
        peer.send_head(200, {"ETag": '"v1"', "Content-Length": str(len(DATA))})
        peer.send(DATA[:1000])
        peer.wait_gone()

    with FileServer(DATA, stall) as server:
        with iter_lines(server.url, timeout=Timeout(read=0.2, total=None), retry=AT_ONCE) as lines:
            assert list(lines) == LINES
    with FileServer(DATA, stall) as server, iter_lines(server.url, timeout=0.3) as lines:
        with pytest.raises(TransferTimeout) as late:
            list(lines)
    assert late.value.resumable

    def endless(peer: Peer, request: Request) -> None:
        peer.send_head(200, {})
        peer.send(DATA[:1000])
        peer.wait_gone()

    # Nothing proves what the rest would be. Still it was the time that ended it, which passes with the last byte.
    with FileServer(DATA, endless) as server, iter_lines(server.url, timeout=20) as lines:
        clock = lambda: 30.0 * (lines.bytes_read == 1000)  # noqa: E731
        monkeypatch.setattr(source, "Deadline", lambda total: Deadline(total, clock))
        with pytest.raises(TransferTimeout, match="not done within 20 s, at byte 1000") as late:
            list(lines)
    assert not late.value.resumable


def test_a_compressed_answer_is_unpacked_and_not_resumed() -> None:
    """A server that compresses against our wish."""
    packed = gzip.compress(DATA)
    headers = {"Content-Encoding": "gzip", "ETag": '"gz"'}
    with FileServer(DATA, answer(200, packed, headers)) as server, iter_lines(server.url) as lines:
        assert list(lines) == LINES


# -- the rest


def test_progress() -> None:
    """A first and a last call; bytes of the total."""
    calls: list[Progress] = []
    with FileServer(DATA) as server, iter_lines(server.url, on_progress=calls.append) as lines:
        list(lines)
    assert (calls[0].progress, calls[0].total) == (0, len(DATA))
    assert (calls[-1].progress, calls[-1].state) == (len(DATA), "done")


def test_close_wakes_a_read() -> None:
    """Another thread closes it: the iteration ends."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream(content_type="text/plain")
        peer.write(b"a\n")
        peer.wait_gone()

    got: list[str] = []

    def read(lines: Lines[str]) -> None:
        got.extend(lines)

    with FileServer(b"", script) as server:
        lines = iter_lines(server.url)
        assert next(lines) == "a"
        reader = threading.Thread(target=read, args=(lines,))
        reader.start()
        lines.close()
        reader.join(CLOSE_SECONDS)
        assert not reader.is_alive() and got == []
        server.wait_connected(0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_line_size": 0},
        {"encoding": "no such"},
        {"encoding": "utf-16"},
        {"encoding": "rot13"},
        {"encoding": 8},
        {"errors": "no such"},
        {"timeout": 0},
        {"headers": {"Accept-Encoding": "gzip"}},
        {"url": "file:///etc/hosts"},
    ],
)
def test_misuse_is_said_before_any_request(arguments: dict[str, Any]) -> None:
    """A LocalProtocolError, which is a ValueError."""
    with pytest.raises(LocalProtocolError):
        iter_lines(arguments.pop("url", "http://127.0.0.1:1/"), **arguments)


def test_gigabytes_do_not_grow_memory() -> None:
    """1 GiB of lines passes through."""
    piece = (b'{"text": "' + b"x" * 1011 + b'"}\n') * 1024  # 1 MiB

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream(chunked=False, content_type="application/x-ndjson")
        for _ in range(1024):
            peer.send(piece)
        peer.end_stream()

    with RawServer(lambda peer: script(peer, peer.read_request())) as server:
        with iter_lines(server.url, encoding=None) as lines:
            for _ in itertools.islice(lines, 10_000):
                pass
            growth = Growth()
            for number, _ in enumerate(lines):
                if number % 10_000 == 0:
                    growth.look()
            assert lines.count == 1024 * 1024
    assert growth.kib < 8 * 1024


@pytest.mark.live
def test_nginx(tmp_path: Path) -> None:
    """Lines of files from a real server, compressed on the way or not."""
    dice = random.Random(3)
    lines = [str(dice.random()) * dice.randrange(20) for _ in range(50_000)]
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "lines.txt").write_text("\n".join(lines))
    with nginx(tmp_path) as origin:
        for place in ("", "gzip/", "noetag/", "moved/", "norange/"):
            with iter_lines(f"{origin}/{place}lines.txt") as got:
                assert list(got) == lines


def test_pieces_of_one_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the network cuts it: a byte order mark, a character, a line end in pieces."""
    data = "\ufeffä\r\n\r\n€".encode()
    with FileServer(data) as server, iter_lines(server.url) as lines:
        read = lines._source.read
        rest = bytearray()

        def one() -> bytes:
            if not rest:
                rest.extend(read())
            return bytes([rest.pop(0)]) if rest else b""

        monkeypatch.setattr(lines._source, "read", one)
        assert list(lines) == ["ä", "", "€"]


def test_a_long_line_in_single_bytes_takes_no_more_than_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of a line bounds what holding it takes, however it is sent."""
    size = 100_000
    with FileServer(b"x") as server, iter_lines(server.url, encoding=None) as lines:
        left = itertools.chain(itertools.repeat(b"x", size), itertools.repeat(b""))
        monkeypatch.setattr(lines._source, "read", lambda: next(left))
        tracemalloc.start()
        try:
            (line,) = lines
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert len(line) == size and peak < 4 * size


def test_what_ended_with_an_error_does_not_look_like_the_end() -> None:
    """Who iterates again has not read all of it, and is told so; once it is closed, it is over."""
    with FileServer(DATA, answer(404)) as server, iter_lines(server.url) as lines:
        with pytest.raises(TransferRefused):
            list(lines)
        for again in (list, next):
            with pytest.raises(ClientClosed, match="ended with an error after 0 lines"):
                again(lines)
        lines.close()
        assert list(lines) == []
