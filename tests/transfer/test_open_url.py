"""A file on a server, read as if it were here: against scripted servers, nginx, and the libraries that use files."""

from __future__ import annotations

import copy
import csv
import gzip
import io
import os
import pickle
import random
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from streamhttp_client.exceptions import (
    ClientClosed,
    LocalProtocolError,
    RangesNotSupported,
    RemoteProtocolError,
    SourceChanged,
    TransferForbidden,
    TransferInterrupted,
    TransferRefused,
    TransferTimeout,
)
from streamhttp_client.net.retry import RetryPolicy
from streamhttp_client.net.timeouts import Timeout
from streamhttp_client.progress import Progress
from streamhttp_client.transfer.open_url import RemoteFile, open_url
from tests.support.memory import Growth
from tests.support.rawserver import Peer, RawServer, Request
from tests.transfer.fileserver import LONG_AGO, FileServer, answer
from tests.transfer.peers import nginx

BLOCK = 64 * 1024
DATA = random.Random(7).randbytes(3_000_000)
#: Waits of no length between attempts.
AT_ONCE = RetryPolicy(attempts=4, base=0)
CLOSE_SECONDS = 1.0
WAIT_SECONDS = 10.0


def ranges(server: RawServer) -> list[tuple[int, int | None]]:
    """What was asked for, as offsets; None is the end of the file."""
    asked = []
    for request in server.requests:
        first, _, last = (request.header("range") or "").removeprefix("bytes=").partition("-")
        asked.append((int(first), int(last) + 1 if last else None))
    return asked


def asked_bytes(server: RawServer, size: int) -> int:
    return sum((size if end is None else min(end, size)) - start for start, end in ranges(server))


@pytest.fixture(params=[False, True], ids=["direct", "session"])
def http(request: pytest.FixtureRequest) -> Iterator[requests.Session | None]:
    if not request.param:
        yield None
        return
    with requests.Session() as session:
        yield session


# -- as a file


@pytest.mark.parametrize("buffered", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_it_reads_as_a_local_file_does(seed: int, buffered: bool) -> None:
    """Any reads and seeks give the same as on the bytes themselves."""
    dice = random.Random(seed)
    data = DATA[: dice.choice([1, 1000, BLOCK, BLOCK + 1, 700_000])]
    local = io.BytesIO(data)
    block_size = dice.choice([7000, BLOCK])
    with FileServer(data) as server, open_url(server.url, buffered=buffered, block_size=block_size) as file:
        for _ in range(150):
            match dice.randrange(8):
                case 0:
                    position = dice.randrange(len(data) + 10)
                    assert file.seek(position) == local.seek(position)
                case 1:
                    back = dice.randrange(min(len(data), 300) + 1)
                    assert file.seek(-back, io.SEEK_END) == local.seek(-back, io.SEEK_END)
                case 2:
                    step = dice.randrange(300)
                    assert file.seek(step, io.SEEK_CUR) == local.seek(step, io.SEEK_CUR)
                case 3:
                    assert file.readline(500) == local.readline(500)
                case 4:
                    buffer = bytearray(dice.randrange(1, 5000))
                    size = file.readinto(buffer)
                    assert buffer[:size] == local.read(size) and (size or local.read(1) == b"")
                case 5:
                    piece = file.read1(3000)
                    assert piece == local.read(len(piece)) and (piece or local.read(1) == b"")
                case _:
                    size = dice.choice([0, 1, 30, 5000, 100_000])
                    assert file.read(size) == local.read(size)
            assert file.tell() == local.tell()
        assert file.read() == local.read() and file.read(1) == b""


def test_it_says_what_it_is() -> None:
    """Name without secrets, size, and what can be done with it."""
    with FileServer(DATA) as server, open_url(server.url + "?signature=secret") as file:
        assert (file.name, file.size, file.mode) == (server.url, len(DATA), "rb")
        assert file.readable() and file.seekable() and not file.writable()
        assert isinstance(file, io.RawIOBase) and isinstance(file, RemoteFile)
        with pytest.raises(io.UnsupportedOperation):
            file.write(b"x")
        with pytest.raises(ValueError):
            file.seek(-1)
        with pytest.raises(io.UnsupportedOperation):
            file.seek(0, 7)
    assert file.closed
    file.close()
    for use in (file.read, file.tell, lambda: file.seek(0), file.read1, file.peek, file.readline):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_an_empty_file() -> None:
    """Nothing to read, whether the server says 416 or 200."""
    for status, headers in ((416, {"Content-Range": "bytes */0"}), (200, {})):
        with FileServer(b"", answer(status, headers=headers)) as server, open_url(server.url) as file:
            assert (file.size, file.read(), file.seek(0, 2)) == (0, b"", 0)
            assert len(server.requests) == 1


def test_lines_and_text() -> None:
    """Text is read through TextIOWrapper; lines without it are lines of bytes."""
    text = "".join(f"line {n} with ü\r\n" for n in range(20_000))
    with FileServer(text.encode()) as server:
        with open_url(server.url) as file:
            assert list(file) == text.encode().splitlines(keepends=True)
        with io.TextIOWrapper(open_url(server.url), encoding="utf-8", newline="") as wrapped:
            assert wrapped.read() == text


def test_csv() -> None:
    """csv reads rows from it."""
    rows = [[str(n), "a,b\nc", "ü"] for n in range(30_000)]
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    with FileServer(text.getvalue().encode()) as server:
        with io.TextIOWrapper(open_url(server.url, buffered=True), encoding="utf-8", newline="") as wrapped:
            assert list(csv.reader(wrapped)) == rows


def test_gzip() -> None:
    """gzip unpacks it, and can go back in it."""
    with FileServer(gzip.compress(DATA)) as server, gzip.open(open_url(server.url)) as unpacked:
        assert unpacked.read(1000) == DATA[:1000]
        unpacked.seek(2_000_000)
        assert unpacked.read() == DATA[2_000_000:]
        unpacked.seek(5)
        assert unpacked.read(5) == DATA[5:10]


@pytest.fixture(scope="module")
def archive() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for n in range(40):
            archive.writestr(f"member{n}.bin", DATA[n * 50_000 : n * 50_000 + 200_000])
        archive.writestr("big.bin", DATA)
    return packed.getvalue()


@pytest.mark.parametrize("buffered", [False, True])
def test_zipfile_reads_only_what_it_needs(archive: bytes, buffered: bool) -> None:
    """The directory and one member of a large archive cost a few blocks and the member."""
    with FileServer(archive) as server, open_url(server.url, buffered=buffered) as file:
        with zipfile.ZipFile(file) as unpacked:
            assert len(unpacked.namelist()) == 41
            assert unpacked.read("member20.bin") == DATA[1_000_000:1_200_000]
        assert asked_bytes(server, len(archive)) < 200_000 + 5 * BLOCK < len(archive) // 10


def test_zipfile_tests_a_whole_archive(archive: bytes) -> None:
    """All members in turn, with their checksums."""
    with FileServer(archive) as server, zipfile.ZipFile(open_url(server.url)) as unpacked:
        assert unpacked.testzip() is None
        unpacked.fp.close()  # type: ignore[union-attr]


# -- what is asked for


def test_reading_on_streams_one_long_range() -> None:
    """Sequential reading gets more and more ahead, then all the rest in one answer."""
    with FileServer(DATA) as server, open_url(server.url) as file:
        parts = list(iter(lambda: file.read(10_000), b""))
        assert b"".join(parts) == DATA
        asked = ranges(server)
    assert len(asked) <= 4
    assert asked[-1][1] is None  # the rest
    assert [start for start, _ in asked[1:]] == [end for _, end in asked[:-1]]  # nothing twice


def test_reading_all_is_one_more_request() -> None:
    """read() knows what it wants; with sequential=True the first request does, too."""
    with FileServer(DATA) as server:
        with open_url(server.url) as file:
            assert file.read() == DATA
        assert ranges(server) == [(0, BLOCK), (BLOCK, len(DATA))]
        with open_url(server.url, sequential=True) as file:
            assert file.read() == DATA
            assert file.seekable()
            file.seek(-5, 2)
            assert file.read() == DATA[-5:]
        assert ranges(server)[2] == (0, None)


def test_random_access_reads_only_what_is_needed() -> None:
    """A small read costs one block, reading there again nothing, a large read what it asks for."""
    with FileServer(DATA) as server, open_url(server.url, block_size=4096) as file:
        for position in (2_000_000, 1_000_000, 2_000_100, 1_000_007, 0):
            file.seek(position)
            assert file.read(50) == DATA[position : position + 50]
        assert ranges(server) == [(0, 4096), (1_998_848, 2_002_944), (999_424, 1_003_520)]
        file.seek(500_000)
        assert file.read(100_000) == DATA[500_000:600_000]
        assert ranges(server)[3:] == [(500_000, 600_000)]


def test_connections_are_kept() -> None:
    """Reads here and there go over one connection."""
    with FileServer(DATA) as server, open_url(server.url) as file:
        for position in range(2_900_000, 0, -100_000):
            file.seek(position)
            assert file.read(10) == DATA[position : position + 10]
        assert server.accepted == 1


def test_headers_are_those_of_a_range() -> None:
    """Identity coding, the first answer's strong validator, the caller's own headers and credentials."""
    with FileServer(DATA) as server:
        with open_url(server.url, headers={"X-Key": "k"}, auth=("a", "b")) as file:
            file.seek(1_000_000)
            file.read(1)
        first, second = server.requests
    assert (first.header("if-range"), second.header("if-range")) == (None, '"v1"')
    for request in (first, second):
        assert request.header("accept-encoding") == "identity"
        assert request.header("x-key") == "k" and (request.header("authorization") or "").startswith("Basic ")


def test_through_a_redirect_to_another_origin() -> None:
    """Ranges and If-Range follow, secrets do not; each part asks the first address again."""
    with FileServer(DATA) as other:

        def away(peer: Peer) -> None:
            while peer.open:
                peer.read_request()
                peer.respond(302, headers={"Location": other.url})

        with RawServer(away) as server, open_url(server.url, auth=("user", "pw")) as file:
            assert file.read() == DATA
            assert len(server.requests) == 2
        assert [request.header("authorization") for request in other.requests] == [None, None]
        assert other.requests[1].header("if-range") == '"v1"'
        assert all(request.header("accept-encoding") == "identity" for request in other.requests)


# -- what breaks


def test_it_heals_itself(http: requests.Session | None) -> None:
    """A link that dies every 100,000 bytes gives all of the file, and asks for no byte twice."""
    with FileServer(DATA, cut_after=100_000) as server:
        with open_url(server.url, retry=RetryPolicy(attempts=2, base=0), http=http) as file:
            assert b"".join(iter(lambda: file.read1(), b"")) == DATA
            asked = ranges(server)
        starts = [start for start, _ in asked]
        assert starts == sorted(set(starts)) and len(starts) >= 29


def test_a_server_that_gives_less_than_asked_for() -> None:
    """A shorter range is a right answer; the rest is asked for."""

    def short(peer: Peer, request: Request) -> None:
        first = int((request.header("range") or "").removeprefix("bytes=").partition("-")[0])
        part = DATA[first : first + 1000]
        peer.respond(206, part, headers={"Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(DATA)}"})

    with FileServer(DATA, *[short] * 200) as server, open_url(server.url, retry=RetryPolicy(attempts=1)) as file:
        assert file.read(150_000) == DATA[:150_000]


def test_a_part_without_the_tag_is_refused() -> None:
    """It may be of a new version of the same size, from a server that does not know If-Range."""
    new = DATA[::-1]

    def bare(peer: Peer, request: Request) -> None:
        first, _, last = (request.header("range") or "").removeprefix("bytes=").partition("-")
        place = f"bytes {first}-{last}/{len(DATA)}"
        peer.respond(206, new[int(first) : int(last) + 1], headers={"Content-Range": place})

    with FileServer(DATA) as server, open_url(server.url, retry=AT_ONCE) as file:
        assert file.read(10) == DATA[:10]
        server.answers = [bare]
        file.seek(2_000_000)
        with pytest.raises(RemoteProtocolError, match="entity tag"):
            file.read(10)


def test_a_cut_that_the_framing_does_not_show() -> None:
    """A body that ends with the connection, too early: the content range tells."""

    def short(peer: Peer, request: Request) -> None:
        peer.start_stream(206, chunked=False, headers={"Content-Range": f"bytes 0-{BLOCK - 1}/{len(DATA)}"})
        peer.write(DATA[:1000])
        peer.end_stream()

    with FileServer(DATA, short) as server, open_url(server.url, retry=AT_ONCE) as file:
        assert file.read(2000) == DATA[:2000]
        assert ranges(server)[1] == (1000, BLOCK)


def test_silence_is_a_broken_connection() -> None:
    """After the read timeout the rest is asked for again."""

    def stall(peer: Peer, request: Request) -> None:
        peer.send_head(206, {"Content-Length": str(BLOCK), "Content-Range": f"bytes 0-{BLOCK - 1}/{len(DATA)}"})
        peer.send(DATA[:500])
        peer.wait_gone()

    with FileServer(DATA, stall) as server:
        with open_url(server.url, timeout=Timeout(read=0.2, total=None), retry=AT_ONCE) as file:
            assert file.read(1000) == DATA[:1000]
        assert ranges(server)[1] == (500, BLOCK)


def test_a_total_for_each_read() -> None:
    """A read that takes longer than the total is a TimeoutError; the next one may go on."""
    release = threading.Event()

    def stall(peer: Peer, request: Request) -> None:
        server.serve(peer, request, cut_after=None) if release.is_set() else peer.wait_gone()

    with FileServer(DATA) as server, open_url(server.url, timeout=0.2) as file:
        server.answers.append(stall)
        file.seek(1_000_000)
        with pytest.raises(TransferTimeout, match=r"within 0\.2 s") as caught:
            file.read(10)
        assert isinstance(caught.value, TimeoutError)
        release.set()
        file._source._timeout = Timeout(total=None)  # type: ignore[union-attr]
        assert file.read(10) == DATA[1_000_000:1_000_010]


def test_giving_up_says_where() -> None:
    """Without progress the attempts end."""
    with FileServer(DATA) as server, open_url(server.url, retry=RetryPolicy(attempts=3, base=0)) as file:
        gone: Callable[[Peer, Request], None] = lambda peer, request: peer.cut()  # noqa: E731
        server.answers = [gone] * 3
        file.seek(1_000_000)
        with pytest.raises(TransferInterrupted, match="gave up at byte 9") as caught:
            file.read(10)
        assert caught.value.attempts == 3
        assert file.read(10) == DATA[1_000_000:1_000_010]  # reading again tries again


def change_tag(server: FileServer) -> None:
    server.etag = '"v2"'


def change_date(server: FileServer) -> None:
    server.last_modified = "Tue, 02 Jan 2024 00:00:00 GMT"


def change_size(server: FileServer) -> None:
    server.data = server.data + b"more"


def shrink(server: FileServer) -> None:
    server.data = server.data[:1000]


def without_if_range(request: Request) -> Request:
    return replace(request, headers=tuple(item for item in request.headers if item[0].lower() != "if-range"))


@pytest.mark.parametrize("honours_if_range", [True, False])
@pytest.mark.parametrize(
    ("change", "etag", "date"),
    [
        (change_tag, '"v1"', None),
        (change_date, None, LONG_AGO),
        (change_size, None, None),
        (change_size, '"v1"', None),
        (shrink, None, None),
    ],
)
def test_a_changed_file_is_refused(
    change: Callable[[FileServer], None], etag: str | None, date: str | None, honours_if_range: bool
) -> None:
    """Bytes of two versions are never mixed, whether the server answers 200, 206 or 416."""
    with FileServer(DATA, etag=etag) as server:
        server.last_modified = date
        with open_url(server.url, retry=AT_ONCE) as file:
            assert file.read(10) == DATA[:10]
            change(server)
            if not honours_if_range:
                server.answers = [lambda peer, request: server.serve(peer, without_if_range(request))]
            file.seek(2_000_000)
            with pytest.raises(SourceChanged, match="another one now"):
                file.read(10)


def test_a_weak_tag_is_no_reason_to_refuse() -> None:
    """The same weak tag again is the same file; it is not sent in If-Range, where it would mean nothing."""
    with FileServer(DATA, etag='W/"v1"') as server, open_url(server.url) as file:
        assert file.read() == DATA
        assert server.requests[1].header("if-range") is None


LIES: dict[str, Callable[[Peer, Request], None]] = {
    "shifted": answer(206, b"x" * 10, {"Content-Range": f"bytes 5-14/{len(DATA)}"}),
    "missing": answer(206, b"x" * 10),
    "no range": answer(206, b"x" * 10, {"Content-Range": "bytes nonsense"}),
    "other length": answer(206, b"x" * 10, {"Content-Range": f"bytes 1966080-1967079/{len(DATA)}"}),
    "several parts": answer(
        206, b"--x\r\n", {"Content-Type": "multipart/byteranges; boundary=x", "Content-Range": "bytes 0-1/2"}
    ),
    "416 in the middle": answer(416, headers={"Content-Range": f"bytes */{len(DATA)}"}),
}


@pytest.mark.parametrize("lie", LIES)
def test_the_content_range_is_always_checked(lie: str) -> None:
    """Bytes from another place are refused."""
    with FileServer(DATA) as server, open_url(server.url) as file:
        server.answers = [LIES[lie]]
        file.seek(2_000_000)
        with pytest.raises(RemoteProtocolError):
            file.read(10)


def test_more_than_the_content_range_says() -> None:
    """Of a chunked answer that goes on, only what it promised is taken."""

    def generous(peer: Peer, request: Request) -> None:
        peer.start_stream(206, headers={"Content-Range": f"bytes 0-9/{len(DATA)}"}, content_type="x/y")
        peer.write(DATA[:5])
        peer.write(DATA[5:10] + b"surplus")
        peer.end_stream()

    with FileServer(DATA, generous) as server, open_url(server.url) as file:
        assert file.read(200) == DATA[:200]


def test_a_range_of_something_compressed() -> None:
    """Offsets in the compressed file are of no use."""
    packed = answer(206, b"x" * 10, {"Content-Range": "bytes 0-9/10", "Content-Encoding": "gzip"})
    with FileServer(DATA, packed) as server, pytest.raises(RangesNotSupported, match="compresses"):
        open_url(server.url)


def test_a_file_of_unknown_size() -> None:
    """Its end could not be gone to."""
    unknown = answer(206, b"x" * 10, {"Content-Range": "bytes 0-9/*"})
    with FileServer(DATA, unknown) as server, pytest.raises(RangesNotSupported, match="how long"):
        open_url(server.url)


# -- without ranges


def whole(peer: Peer, request: Request) -> None:
    peer.respond(200, DATA, headers={"ETag": '"v1"'})


def test_without_ranges_it_is_an_error() -> None:
    """It says what can be done; the connection is let go."""
    with FileServer(DATA, whole) as server:
        with pytest.raises(RangesNotSupported, match="sequential=True"):
            open_url(server.url)
        server.wait_connected(0)


def test_without_ranges_it_can_be_read_once() -> None:
    """sequential=True: no seeking, but all that reads on works."""
    with FileServer(gzip.compress(DATA), lambda p, r: p.respond(200, gzip.compress(DATA))) as server:
        with open_url(server.url, sequential=True) as file:
            assert not file.seekable()
            assert gzip.GzipFile(fileobj=file).read() == DATA
            with pytest.raises(io.UnsupportedOperation):
                file.seek(0)
            assert file.seek(file.tell()) == file.tell()


def test_a_whole_file_heals_if_a_strong_validator_proves_it() -> None:
    """The beginning is skipped the second time; without a validator it is an error that says how far it got."""

    def cut(tag: dict[str, str]) -> Callable[[Peer, Request], None]:
        def script(peer: Peer, request: Request) -> None:
            peer.send_head(200, {"Content-Length": str(len(DATA)), **tag})
            peer.send(DATA[:1_000_000])
            peer.cut()

        return script

    tag = {"ETag": '"v1"'}
    with FileServer(DATA, cut(tag), cut(tag), whole) as server:
        with open_url(server.url, sequential=True, retry=AT_ONCE) as file:
            assert file.read() == DATA
    with FileServer(DATA, cut({}), whole) as server:
        with open_url(server.url, sequential=True, retry=AT_ONCE) as file:
            with pytest.raises(TransferInterrupted, match="at byte 1000000") as caught:
                file.read()
    assert caught.value.bytes_kept == 1_000_000
    with FileServer(DATA, cut(tag), answer(200, b"other", {"ETag": '"v2"'})) as server:
        with open_url(server.url, sequential=True, retry=AT_ONCE) as file, pytest.raises(SourceChanged):
            file.read()


# -- statuses, progress, closing, misuse


def test_statuses() -> None:
    """An address that does not work is an error of open_url(); what may pass is tried again."""
    with FileServer(DATA, answer(404, b"none")) as server, pytest.raises(TransferRefused) as caught:
        open_url(server.url)
    assert (caught.value.status, caught.value.body) == (404, b"none")
    with FileServer(DATA, answer(403)) as server, pytest.raises(TransferForbidden):
        open_url(server.url)
    busy = answer(503, headers={"Retry-After": "0"})
    with FileServer(DATA, busy, busy) as server, open_url(server.url, retry=AT_ONCE) as file:
        server.answers = [busy]
        assert file.read() == DATA
    with FileServer(DATA, *[busy] * 4) as server, pytest.raises(TransferRefused) as caught:
        open_url(server.url, retry=AT_ONCE)
    assert (caught.value.status, caught.value.attempts) == (503, 4)


def test_progress() -> None:
    """A first and a last call, growing in between, bytes of the size."""
    calls: list[Progress] = []
    with FileServer(DATA) as server, open_url(server.url, on_progress=calls.append) as file:
        file.read()
    assert (calls[0].progress, calls[0].total) == (0, len(DATA))
    assert (calls[-1].progress, calls[-1].state) == (len(DATA), "done")
    done = [call.progress for call in calls]
    assert done == sorted(done)


def test_an_exception_in_the_callback_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reaches the caller; reading goes on where it was."""
    monkeypatch.setattr("streamhttp_client.transfer.pace._REPORT_SECONDS", 0.0)
    failing = [False]

    def callback(progress: Progress) -> None:
        if failing[0]:
            failing[0] = False
            raise KeyError("mine")

    with FileServer(DATA) as server, open_url(server.url, on_progress=callback) as file:
        assert file.read(100_000) == DATA[:100_000]
        failing[0] = True
        with pytest.raises(KeyError, match="mine"):
            file.read(1_000_000)
        assert file.tell() == 100_000
        assert file.read() == DATA[100_000:]


def test_close_wakes_a_read() -> None:
    """Another thread closes it: the blocked read ends with ClientClosed."""

    def stall(peer: Peer, request: Request) -> None:
        peer.wait_gone()

    errors: list[BaseException] = []

    def read(file: RemoteFile) -> None:
        try:
            file.read(10)
        except BaseException as error:
            errors.append(error)

    with FileServer(DATA) as server:
        file = open_url(server.url)
        file.seek(1_000_000)
        server.answers = [stall]
        reader = threading.Thread(target=read, args=(file,))
        reader.start()
        server.wait_for(lambda seen: len(seen) == 2)
        file.close()
        reader.join(CLOSE_SECONDS)
        assert not reader.is_alive() and isinstance(errors[0], ClientClosed)
        server.wait_connected(0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"block_size": 0},
        {"block_size": True},
        {"timeout": 0},
        {"headers": {"Range": "bytes=0-1"}},
        {"headers": {"X": "\n"}},
        {"http": "session"},
        {"retry": 3},
        {"url": "ftp://x/y"},
    ],
)
def test_misuse_is_said_before_any_request(arguments: dict[str, Any]) -> None:
    """A LocalProtocolError, which is a ValueError."""
    with pytest.raises(LocalProtocolError):
        open_url(arguments.pop("url", "http://127.0.0.1:1/"), **arguments)


def test_gigabytes_do_not_grow_memory() -> None:
    """2 GiB pass through; one piece at a time is held."""
    size = 2 * 1024**3
    piece = bytes(4 * 1024 * 1024)

    def endless(peer: Peer, request: Request) -> None:
        first = int((request.header("range") or "").removeprefix("bytes=").partition("-")[0])
        left = size - first
        peer.send_head(206, {"Content-Length": str(left), "Content-Range": f"bytes {first}-{size - 1}/{size}"})
        while left:
            part = piece[: min(left, len(piece))]
            peer.send(part)
            left -= len(part)

    with FileServer(b"", endless) as server, open_url(server.url, sequential=True) as file:
        buffer = bytearray(1024 * 1024)
        growth = Growth()
        total = 0
        while count := file.readinto(buffer):
            if total >> 24 != (total + count) >> 24:
                growth.look()
            total += count
        assert total == size
    assert growth.kib < 16 * 1024


# -- libraries


@pytest.mark.parametrize("buffered", [False, True])
def test_pandas(buffered: bool) -> None:
    """read_csv takes it as a file."""
    pandas = pytest.importorskip("pandas", reason="pip install pandas")
    text = "n,square\n" + "".join(f"{n},{n * n}\n" for n in range(100_000))
    with FileServer(text.encode()) as server, open_url(server.url, buffered=buffered) as file:
        frame = pandas.read_csv(file)
    assert len(frame) == 100_000 and int(frame["square"].iloc[-1]) == 99_999**2


def test_pyarrow(tmp_path: Path) -> None:
    """One column of a Parquet file costs its bytes, the footer and little more."""
    pyarrow = pytest.importorskip("pyarrow", reason="pip install pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install pyarrow")
    dice = random.Random(1)
    columns = {f"c{n}": [dice.random() for _ in range(50_000)] for n in range(12)}
    path = tmp_path / "table.parquet"
    parquet.write_table(pyarrow.table(columns), path, compression="none", use_dictionary=False)
    data = path.read_bytes()
    with FileServer(data) as server, open_url(server.url) as file:
        table = parquet.read_table(file, columns=["c5"])
        assert table["c5"].to_pylist() == columns["c5"]
        assert asked_bytes(server, len(data)) < len(data) // 12 + 5 * BLOCK
    with FileServer(data) as server, open_url(server.url) as file:
        assert parquet.ParquetFile(file).read().to_pydict() == columns


# -- nginx


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, archive: bytes) -> Iterator[str]:
    base = tmp_path_factory.mktemp("nginx")
    (base / "root").mkdir()
    (base / "root" / "file.bin").write_bytes(DATA)
    (base / "root" / "archive.zip").write_bytes(archive)
    (base / "root" / "empty").write_bytes(b"")
    (base / "root" / "table.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 200_000))
    with nginx(base) as origin:
        yield origin


@pytest.mark.live
@pytest.mark.parametrize("place", ["", "gzip/", "noetag/", "moved/"])
def test_nginx_serves_ranges(real: str, place: str, http: requests.Session | None) -> None:
    """Reads and seeks are right, with on-the-fly gzip and redirects in the way, and without entity tags."""
    with open_url(f"{real}/{place}file.bin", http=http) as file:
        file.seek(-10, 2)
        assert file.read() == DATA[-10:]
        file.seek(1_500_000)
        assert file.read(1_000_000) == DATA[1_500_000:2_500_000]
        file.seek(0)
        assert file.read() == DATA


@pytest.mark.live
def test_nginx_zip_gzip_and_nothing(real: str) -> None:
    """An archive is tested, a packed table is read, an empty file is empty."""
    with open_url(f"{real}/archive.zip") as file, zipfile.ZipFile(file) as unpacked:
        assert unpacked.testzip() is None
    with open_url(f"{real}/table.csv.gz") as file:
        assert sum(1 for _ in csv.reader(io.TextIOWrapper(gzip.open(file)))) == 200_001
    with open_url(f"{real}/empty") as file:
        assert file.read() == b""


@pytest.mark.live
def test_nginx_without_ranges(real: str) -> None:
    """max_ranges 0: an error, or a file that is read once."""
    with pytest.raises(RangesNotSupported):
        open_url(f"{real}/norange/file.bin")
    with open_url(f"{real}/norange/file.bin", sequential=True) as file:
        assert file.read() == DATA


@pytest.mark.live
def test_nginx_with_a_file_that_changes(real: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file that is replaced while it is read is refused."""
    root = next(path for path in tmp_path_factory.getbasetemp().iterdir() if path.name.startswith("nginx")) / "root"
    (root / "changing").write_bytes(DATA)
    with open_url(f"{real}/changing") as file:
        assert file.read(10) == DATA[:10]
        (root / "new").write_bytes(DATA[::-1] + b"x")
        (root / "new").replace(root / "changing")
        file.seek(1_000_000)
        with pytest.raises(SourceChanged):
            file.read(10)


def test_the_example() -> None:
    """It reads one member and leaves nearly all of the archive where it is."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONWARNINGS": "error", "PYTHONUTF8": "1", "PYTHONPATH": str(root)}
    command = [sys.executable, str(root / "examples" / "open_remote_zip.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "What you wanted to read." in done.stdout
    sent, size = re.findall(r"([\d,]+) of ([\d,]+) bytes", done.stdout)[0]
    assert int(sent.replace(",", "")) < 200_000 < int(size.replace(",", ""))


# -- as files of Python's are


@pytest.mark.parametrize("offset", [1.5, "1", None])
def test_a_seek_to_what_is_no_integer_is_an_error_there(offset: Any) -> None:
    """And not one of some later read, in words that do not say what was wrong."""
    with FileServer(DATA) as server, open_url(server.url) as file:
        with pytest.raises(TypeError):
            file.seek(offset)
        assert file.tell() == 0 and file.read(10) == DATA[:10]


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_copy_is_refused(way: Callable[[RemoteFile], object]) -> None:
    """It would share the connection, and the end of one would be the end of both."""
    with FileServer(DATA) as server, open_url(server.url) as file:
        with pytest.raises(TypeError, match="open its address again"):
            way(file)
        assert file.read() == DATA


# -- validators that are not in every answer, as caches are known to do it


def test_a_tag_that_comes_later_counts_from_then_on() -> None:
    """The first answer had none; that is no reason to mix two versions of which both had one."""
    first = answer(206, DATA[:1000], {"Content-Range": f"bytes 0-999/{len(DATA)}"})
    with FileServer(DATA, first) as server, open_url(server.url, block_size=1000) as file:
        assert file.read(10) == DATA[:10]
        file.seek(500_000)
        assert file.read(10) == DATA[500_000:500_010]
        server.data, server.etag = DATA[::-1], '"v2"'
        file.seek(1_000_000)
        with pytest.raises(SourceChanged, match='"v1", and is "v2"'):
            file.read(10)


def test_a_whole_answer_that_nothing_vouches_for_is_not_taken_for_the_same_file() -> None:
    """Not at its beginning either, if something was read and had a tag."""
    other = answer(200, DATA[::-1])
    with FileServer(DATA) as server, open_url(server.url, block_size=1000) as file:
        assert file.read(5000) == DATA[:5000]
        server.answers = [other] * 3
        file._blocks.clear()
        file.seek(0)
        with pytest.raises(TransferInterrupted, match="nothing proves it is the same"):
            file.read(10)
