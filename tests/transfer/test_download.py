"""download() against scripted servers: every lie that a server can tell about a file or a part of one."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import pickle
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from streamhttp_client.exceptions import (
    ConnectionLost,
    DigestMismatch,
    HTTPStatusError,
    LocalProtocolError,
    ReadTimeout,
    SizeMismatch,
    SourceChanged,
    TargetChanged,
    TargetExists,
    TooSlow,
    TransferError,
    TransferForbidden,
    TransferInterrupted,
    TransferRefused,
    TransferTimeout,
)
from streamhttp_client.net.retry import RetryPolicy
from streamhttp_client.net.timeouts import Timeout
from streamhttp_client.progress import Progress
from streamhttp_client.transfer.download import DownloadResult, download
from streamhttp_client.transfer.flow import Failed
from streamhttp_client.transfer.partfile import PartFile
from streamhttp_client.transfer.ranges import Representation
from streamhttp_client.transfer.sidecar import Sidecar, address_key
from tests.support.rawserver import Peer, RawServer, Request, refusing_port
from tests.transfer.fileserver import LONG_AGO, NOW, FileServer, answer, cut

DATA = bytes(range(256)) * 400  # 102,400 bytes
QUICK = RetryPolicy(attempts=3, base=0)
SHA = "sha256:" + hashlib.sha256(DATA).hexdigest()


def fetch(server: RawServer, dest: Path, **options: Any) -> DownloadResult:
    options.setdefault("retry", QUICK)
    return download(f"{server.origin}/folder/file.bin", dest, **options)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def partial(body: bytes, content_range: str | None, **headers: str) -> Callable[[Peer, Request], None]:
    """A 206 that says what the test wants."""
    fields = {"ETag": '"v1"', **{name.replace("_", "-"): value for name, value in headers.items()}}
    if content_range is not None:
        fields["Content-Range"] = content_range
    return answer(206, body, fields)


# -- the plain case


def test_the_whole_file_arrives_and_nothing_else_is_left(tmp_path: Path) -> None:
    """The result says what was done; the request asked for identity and for no range."""
    with FileServer(DATA) as server:
        result = fetch(server, tmp_path / "x")
        (request,) = server.requests
    assert (tmp_path / "x").read_bytes() == DATA
    assert leftovers(tmp_path) == ["x"]
    assert result == DownloadResult(
        path=str(tmp_path / "x"), bytes=len(DATA), total=len(DATA), etag='"v1"', elapsed=result.elapsed
    )
    assert request.header("Accept-Encoding") == "identity" and request.header("Range") is None


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    with FileServer(b"") as server:
        assert fetch(server, tmp_path / "x").bytes == 0
    assert (tmp_path / "x").read_bytes() == b"" and leftovers(tmp_path) == ["x"]


def test_a_folder_takes_the_name_from_the_address(tmp_path: Path) -> None:
    with FileServer(DATA) as server:
        assert fetch(server, tmp_path).path == str(tmp_path / "file.bin")
    assert leftovers(tmp_path) == ["file.bin"]


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ('attachment; filename="report.pdf"', "report.pdf"),
        ("attachment; filename=\"a.txt\"; filename*=UTF-8''%e2%82%ac%20rates.txt", "€ rates.txt"),
        ('attachment; filename="../../../etc/passwd"', "passwd"),
        ('attachment; filename="..\\\\..\\\\boot.ini"', "boot.ini"),
        ("attachment; filename*=UTF-8''..%2F..%2F.ssh%2Fauthorized_keys", "authorized_keys"),
        ('attachment; filename=".bashrc"', "_bashrc"),
        ('attachment; filename=".."', "file.bin"),
        ('attachment; filename="/"', "file.bin"),
        ('attachment; filename="NUL.txt"', "_NUL.txt"),
        ('attachment; filename="x.txt:stream"', "x.txt_stream"),
        ('attachment; filename="other.part.json"', "other.part.json_"),
        ('attachment; filename="gpj\u202eexe.txt"', "gpj_exe.txt"),
        ('attachment; filename="' + "a" * 400 + '.tar"', "a" * 196 + ".tar"),
        ("inline", "file.bin"),
    ],
)
def test_a_name_from_the_server_stays_in_the_folder(tmp_path: Path, field: str, name: str) -> None:
    """One harmless component, whatever Content-Disposition says."""
    with FileServer(DATA) as server:
        server.headers["Content-Disposition"] = field.encode().decode("latin-1")
        assert fetch(server, tmp_path).path == str(tmp_path / name)
    assert leftovers(tmp_path) == [name]


def test_redirects_are_followed_and_asked_anew(tmp_path: Path) -> None:
    """Each attempt begins at the original address."""
    with FileServer(DATA) as server:

        def moved(peer: Peer, request: Request) -> None:
            peer.respond(302, headers={"Location": "/elsewhere"})

        server.answers = [moved, cut(5000), moved]
        assert fetch(server, tmp_path / "x").attempts == 2
        targets = [request.target for request in server.requests]
        ranges = [request.header("Range") for request in server.requests]
    assert targets == ["/folder/file.bin", "/elsewhere"] * 2
    assert ranges == [None, None, "bytes=5000-", "bytes=5000-"]
    assert (tmp_path / "x").read_bytes() == DATA


# -- going on after a cut


def test_every_byte_that_arrived_is_kept(tmp_path: Path) -> None:
    """After a cut the next request asks for exactly the rest, under the strong validator."""
    with FileServer(DATA, cut(12_345)) as server:
        result = fetch(server, tmp_path / "x")
        second = server.requests[1]
    assert (second.header("Range"), second.header("If-Range")) == ("bytes=12345-", '"v1"')
    assert (result.attempts, result.restarts) == (2, 0)
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_link_that_dies_again_and_again_still_finishes(tmp_path: Path) -> None:
    """Only attempts in a row without a new byte count: 52 cuts with a budget of 3."""
    with FileServer(DATA, cut_after=2000) as server:
        result = fetch(server, tmp_path / "x")
    assert result.attempts == 52 and (tmp_path / "x").read_bytes() == DATA


def test_attempts_without_progress_end_it_and_keep_the_part(tmp_path: Path) -> None:
    """The error says what is kept; calling again goes on from there."""

    def gone(peer: Peer, request: Request) -> None:
        peer.cut()

    with FileServer(DATA, cut(30_000), gone, gone, gone) as server:
        with pytest.raises(TransferInterrupted, match="30000 bytes kept") as caught:
            fetch(server, tmp_path / "x")
        assert leftovers(tmp_path) == ["x.part", "x.part.json"]
        assert (tmp_path / "x.part").read_bytes() == DATA[:30_000]
        result = fetch(server, tmp_path / "x")
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.bytes_kept, error.resumable, error.attempts) == (30_000, True, 4)
    assert (result.resumed_from, result.attempts) == (30_000, 1)
    assert (tmp_path / "x").read_bytes() == DATA and leftovers(tmp_path) == ["x"]


def test_resume_false_fetches_all(tmp_path: Path) -> None:
    interrupted(tmp_path / "x", 30_000)
    with FileServer(DATA) as server:
        assert fetch(server, tmp_path / "x", resume=False).resumed_from == 0
        assert server.requests[0].header("Range") is None
    assert (tmp_path / "x").read_bytes() == DATA


def interrupted(dest: Path, kept: int, **facts: Any) -> None:
    """Leave what a download with a budget of one attempt leaves, with the port of nobody."""
    with FileServer(DATA, cut(kept)) as server:
        for name, value in facts.items():
            setattr(server, name, value)
        with pytest.raises(TransferInterrupted):
            fetch(server, dest, retry=RetryPolicy(attempts=1))


def test_another_address_is_not_gone_on_with(tmp_path: Path) -> None:
    """Entity tags tell versions of one address apart, not addresses."""
    interrupted(tmp_path / "x", 30_000)
    other = DATA[::-1]
    with FileServer(other) as server:
        assert fetch(server, tmp_path / "x").resumed_from == 0
    assert (tmp_path / "x").read_bytes() == other


def test_a_date_that_is_old_enough_serves_as_validator(tmp_path: Path) -> None:
    with FileServer(DATA, cut(30_000), etag=None) as server:
        server.last_modified = LONG_AGO
        assert fetch(server, tmp_path / "x").restarts == 0
        assert server.requests[1].header("If-Range") == LONG_AGO
    assert (tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize(("etag", "modified"), [('W/"v1"', None), ('W/"v1"', LONG_AGO), (None, NOW), (None, None)])
def test_a_weak_validator_never_resumes(tmp_path: Path, etag: str | None, modified: str | None) -> None:
    """A weak tag, a date of the same second, or none: it begins again, and says so."""
    seen: list[Progress] = []
    with FileServer(DATA, cut(30_000), etag=etag) as server:
        server.last_modified = modified
        result = fetch(server, tmp_path / "x", on_progress=seen.append)
        assert server.requests[1].header("Range") is None
    assert result.restarts == 1 and (tmp_path / "x").read_bytes() == DATA
    assert [report.progress for report in seen if report.state == "restarted"] == [0]


def test_without_resuming_only_more_than_ever_is_progress(tmp_path: Path) -> None:
    """A server that cannot resume and always breaks at the same place is given up on."""
    with FileServer(DATA, cut_after=5000, etag=None) as server:
        with pytest.raises(TransferInterrupted) as caught:
            fetch(server, tmp_path / "x")
        assert len(server.requests) == 4
    assert not caught.value.resumable


# -- lies about ranges


@pytest.mark.parametrize(
    "lie",
    [
        partial(DATA[30_000:], None),
        partial(DATA[30_000:], "bytes what/ever"),
        partial(DATA[30_000:], f"items 30000-{len(DATA) - 1}/{len(DATA)}"),
        partial(DATA[40_000:], f"bytes 40000-{len(DATA) - 1}/{len(DATA)}"),
        partial(DATA[:100], f"bytes 0-99/{len(DATA)}"),
        partial(DATA[30_000:], f"bytes 30000-20000/{len(DATA)}"),
        partial(DATA[30_000:], f"bytes 30000-{len(DATA)}/{len(DATA)}"),
        partial(DATA[30_000:-7], f"bytes 30000-{len(DATA) - 1}/{len(DATA)}"),
        partial(b"--a\r\n\r\nxx", None, Content_Type="multipart/byteranges; boundary=a"),
        partial(gzip.compress(DATA[30_000:]), f"bytes 30000-{len(DATA) - 1}/{len(DATA)}", Content_Encoding="gzip"),
        answer(416, b"", {"ETag": '"v1"'}),
        answer(416, b"", {"ETag": '"v1"', "Content-Range": "bytes */*"}),
        answer(416, b"", {"ETag": '"v1"', "Content-Range": f"bytes */{len(DATA)}"}),
    ],
    ids=["no-range", "unreadable", "unit", "shifted-up", "before", "reversed", "beyond", "length-differs", "multipart",
         "gzip", "416-bare", "416-star", "416-size"],
)  # fmt: skip
@pytest.mark.parametrize("same", [True, False])
def test_a_useless_answer_to_a_range_is_not_used(
    tmp_path: Path, lie: Callable[[Peer, Request], None], same: bool
) -> None:
    """Nothing of it is taken, the whole file is asked for, and what is there stays unless that is another one."""
    with FileServer(DATA, cut(30_000), lie) as server:

        def whole(peer: Peer, request: Request) -> None:
            assert (tmp_path / "x.part").read_bytes() == DATA[:30_000]
            server.etag = server.etag if same else '"v2"'
            server.serve(peer, request, cut_after=60_000)

        server.answers.append(whole)
        result = fetch(server, tmp_path / "x", digest=SHA)
        asked = [request.header("Range") for request in server.requests]
    assert asked == [None, "bytes=30000-", None, None]  # such a server is not asked for ranges again
    assert result.restarts == (0 if same else 1) and result.verified
    assert (tmp_path / "x").read_bytes() == DATA


def test_an_answer_that_was_of_no_use_costs_nothing_that_is_there(tmp_path: Path) -> None:
    """The whole file was asked for, and that failed: the next call goes on from what is kept."""
    lie = partial(DATA[40_000:], f"bytes 40000-{len(DATA) - 1}/{len(DATA)}")
    with FileServer(DATA, cut(30_000), lie, answer(404)) as server:
        with pytest.raises(TransferRefused) as caught:
            fetch(server, tmp_path / "x")
        assert caught.value.bytes_kept == 30_000
        assert fetch(server, tmp_path / "x").resumed_from == 30_000


def test_a_range_that_begins_earlier_is_cut_to_fit(tmp_path: Path) -> None:
    """What is there already is skipped."""
    early = partial(DATA[29_000:], f"bytes 29000-{len(DATA) - 1}/{len(DATA)}")
    with FileServer(DATA, cut(30_000), early) as server:
        assert fetch(server, tmp_path / "x").restarts == 0
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_shorter_range_is_taken_and_the_rest_asked_for(tmp_path: Path) -> None:
    short = partial(DATA[30_000:50_000], f"bytes 30000-49999/{len(DATA)}")
    with FileServer(DATA, cut(30_000), short) as server:
        assert fetch(server, tmp_path / "x").attempts == 3
        assert server.requests[2].header("Range") == "bytes=50000-"
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_partial_answer_nobody_asked_for_is_used_for_what_it_is(tmp_path: Path) -> None:
    first = partial(DATA[:40_000], f"bytes 0-39999/{len(DATA)}")
    with FileServer(DATA, first) as server:
        fetch(server, tmp_path / "x")
        assert server.requests[1].header("Range") == "bytes=40000-"
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_body_longer_than_its_range_is_cut(tmp_path: Path) -> None:
    """Close-delimited, so only Content-Range says where it ends."""

    def long(peer: Peer, request: Request) -> None:
        peer.send_head(206, {"ETag": '"v1"', "Content-Range": f"bytes 30000-59999/{len(DATA)}", "Connection": "close"})
        peer.send(DATA[30_000:60_000] + b"garbage")
        peer.cut()

    with FileServer(DATA, cut(30_000), long) as server:
        fetch(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA


def test_the_whole_file_for_a_range_is_skipped_into_if_it_is_the_same(tmp_path: Path) -> None:
    """A 200 with the same strong tag: the server does no ranges, and what is there is right."""
    with FileServer(DATA, cut(30_000)) as server:

        def whole(peer: Peer, request: Request) -> None:
            server.send(peer, 200, DATA, server.validators())

        server.answers.append(whole)
        result = fetch(server, tmp_path / "x")
    assert (result.restarts, result.attempts) == (0, 2) and (tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize("etag", ['"v2"', 'W/"v1"', None])
def test_another_file_for_a_range_replaces_what_was_there(tmp_path: Path, etag: str | None) -> None:
    """A 200 that is not surely the same file: taken from its beginning, in the same answer."""
    other = DATA[::-1]
    with FileServer(DATA, cut(30_000)) as server:

        def changed(peer: Peer, request: Request) -> None:
            server.data, server.etag = other, etag
            server.send(peer, 200, other, server.validators())

        server.answers.append(changed)
        result = fetch(server, tmp_path / "x")
    assert (result.restarts, result.attempts) == (1, 2) and (tmp_path / "x").read_bytes() == other


def test_a_changed_validator_in_a_206_is_noticed(tmp_path: Path) -> None:
    """A server that ignores If-Range: the tag of the 206 counts."""
    other = DATA[::-1]
    wrong = partial(other[30_000:], f"bytes 30000-{len(DATA) - 1}/{len(DATA)}", ETag='"v2"')
    with FileServer(DATA, cut(30_000), wrong) as server:
        server.answers[1:1] = []

        def swap(peer: Peer, request: Request) -> None:
            server.data, server.etag = other, '"v2"'
            wrong(peer, request)

        server.answers[1] = swap
        assert fetch(server, tmp_path / "x").restarts == 1
    assert (tmp_path / "x").read_bytes() == other


def test_another_total_in_a_206_is_not_believed(tmp_path: Path) -> None:
    """It may be another file: the whole answer tells."""
    wrong = partial(DATA[30_000:] + b"+", f"bytes 30000-{len(DATA)}/{len(DATA) + 1}")
    with FileServer(DATA, cut(30_000), wrong) as server:
        assert fetch(server, tmp_path / "x").restarts == 0
        assert server.requests[2].header("Range") is None
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_file_that_never_stays_the_same_is_given_up_on(tmp_path: Path) -> None:
    """SourceChanged after a few versions, and no part of one is passed off as the file."""
    with FileServer(DATA) as server:

        def version(peer: Peer, request: Request) -> None:
            server.etag = f'"{len(server.requests)}"'
            server.send(peer, 200, DATA, server.validators(), cut_after=30_000)

        server.answers = [version] * 20
        with pytest.raises(SourceChanged, match="changed 6 times"):
            fetch(server, tmp_path / "x")
    assert not (tmp_path / "x").exists()


# -- lengths


def test_a_chunked_body_that_is_cut_goes_on(tmp_path: Path) -> None:
    """No length at first; the total comes with the 206."""

    def chunked(peer: Peer, request: Request) -> None:
        peer.start_stream(content_type="application/octet-stream", headers={"ETag": '"v1"'})
        peer.write(DATA[:1000])
        peer.write(DATA[1000:30_000])
        peer.cut()

    with FileServer(DATA, chunked) as server:
        result = fetch(server, tmp_path / "x")
        assert server.requests[1].header("Range") == "bytes=30000-"
    assert result.total == len(DATA) and (tmp_path / "x").read_bytes() == DATA


def test_a_cut_exactly_at_the_end_is_found_complete_by_416(tmp_path: Path) -> None:
    """The last chunk is lost, all the data is there: ``bytes */size`` says so."""

    def chunked(peer: Peer, request: Request) -> None:
        peer.start_stream(content_type="application/octet-stream", headers={"ETag": '"v1"'})
        peer.write(DATA)
        peer.cut()

    with FileServer(DATA, chunked) as server:
        result = fetch(server, tmp_path / "x")
    assert (result.restarts, result.attempts) == (0, 2) and (tmp_path / "x").read_bytes() == DATA


def test_a_416_at_an_end_that_nobody_had_named_must_say_of_which_version(tmp_path: Path) -> None:
    """A new file that is as long as what is here of the old one would be taken for it."""

    def chunked(peer: Peer, request: Request) -> None:
        peer.start_stream(headers={"ETag": '"v1"'})
        peer.write(DATA[:50_000])
        peer.cut()

    with FileServer(DATA, chunked, answer(416, b"", {"Content-Range": "bytes */50000"})) as server:
        assert fetch(server, tmp_path / "x").bytes == len(DATA)
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_206_without_the_tag_is_not_joined_to_what_has_one(tmp_path: Path) -> None:
    """It may be of a new version, from a server that does not know If-Range; 206 must have what a 200 would have."""
    new = DATA[::-1]
    bare = answer(206, new[50_000:], {"Content-Range": f"bytes 50000-{len(DATA) - 1}/{len(DATA)}"})
    with FileServer(DATA, cut(50_000), bare) as server:
        fetch(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_weak_tag_that_stays_is_no_change(tmp_path: Path) -> None:
    """Connections that break are what is wrong, and are counted as that."""
    with FileServer(DATA, etag='W/"w"', cut_after=50_000) as server:
        with pytest.raises(TransferInterrupted):
            fetch(server, tmp_path / "x")
        assert len(server.requests) == 1 + QUICK.attempts  # the first one brought something


def test_a_416_that_names_another_size_begins_again(tmp_path: Path) -> None:
    """A file that shrank."""
    with FileServer(DATA, cut(30_000)) as server:

        def shrunk(peer: Peer, request: Request) -> None:
            server.data, server.etag = DATA[:500], '"v2"'
            peer.respond(416, headers={"Content-Range": "bytes */500", "ETag": '"v2"'})

        server.answers.append(shrunk)
        assert fetch(server, tmp_path / "x").restarts == 1
    assert (tmp_path / "x").read_bytes() == DATA[:500]


def test_a_body_without_a_length_is_taken_and_said_to_be_unverified(tmp_path: Path) -> None:
    """Whether it is whole cannot be known: ``total`` is None."""

    def endless(peer: Peer, request: Request) -> None:
        peer.start_stream(chunked=False, headers={"ETag": '"v1"'})
        peer.write(DATA)
        peer.cut()

    with FileServer(DATA, endless) as server:
        result = fetch(server, tmp_path / "x")
    assert (result.total, result.verified, result.bytes) == (None, False, len(DATA))


def test_an_expected_size_notices_a_short_body_without_a_length(tmp_path: Path) -> None:
    def endless(peer: Peer, request: Request) -> None:
        peer.start_stream(chunked=False, headers={"ETag": '"v1"'})
        peer.write(DATA[:30_000])
        peer.cut()

    with FileServer(DATA, endless) as server:
        assert fetch(server, tmp_path / "x", expected_size=len(DATA)).attempts == 2
    assert (tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize("expected", [len(DATA) - 1, len(DATA) + 1])
def test_another_size_than_expected_is_an_error(tmp_path: Path, expected: int) -> None:
    with FileServer(DATA) as server, pytest.raises(SizeMismatch, match=f"expected {expected}"):
        fetch(server, tmp_path / "x", expected_size=expected)
    assert leftovers(tmp_path) == []


def test_a_body_that_goes_on_beyond_the_expected_size_is_left(tmp_path: Path) -> None:
    """An answer without an end would fill the disk."""

    def endless(peer: Peer, request: Request) -> None:
        peer.send_head(200, {"ETag": '"v1"'})
        for _ in range(1000):
            peer.send(bytes(65_536))
        peer.cut()

    with FileServer(DATA, endless) as server:
        with pytest.raises(SizeMismatch, match="more than 1000 bytes"):
            fetch(server, tmp_path / "x", expected_size=1000)
    assert leftovers(tmp_path) == []


def test_a_whole_answer_that_goes_on_beyond_the_file_begins_again(tmp_path: Path) -> None:
    def longer(peer: Peer, request: Request) -> None:
        peer.start_stream(headers={"ETag": '"v1"'})
        peer.write(DATA + b"more")
        peer.end_stream()

    with FileServer(DATA, cut(30_000), longer) as server:
        assert fetch(server, tmp_path / "x").restarts == 1
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_length_that_is_too_long_never_makes_a_file(tmp_path: Path) -> None:
    """It says 200 more than there is, each time: no file, an error in the end."""

    def lie(peer: Peer, request: Request) -> None:
        peer.send_head(200, {"Content-Length": str(len(DATA) + 200), "ETag": '"v1"'})
        peer.send(DATA)
        peer.cut()

    with FileServer(DATA) as server:
        server.answers = [lie, answer(416, b"", {"Content-Range": f"bytes */{len(DATA)}"})] * 10
        with pytest.raises(TransferError):
            fetch(server, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_gzip_body_nobody_asked_for_is_decoded_whole(tmp_path: Path) -> None:
    packed = gzip.compress(DATA)
    with FileServer(DATA, answer(200, packed, {"Content-Encoding": "gzip", "ETag": '"v1"'})) as server:
        result = fetch(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA and result.total is None


def test_a_digest_that_may_be_that_of_the_coded_file_is_said_to_be(tmp_path: Path) -> None:
    """Some servers call the compression of a .tar.gz a content coding; the published digest is of what they hold."""
    packed = gzip.compress(DATA)
    published = "sha256:" + hashlib.sha256(packed).hexdigest()
    with FileServer(DATA, answer(200, packed, {"Content-Encoding": "gzip", "ETag": '"v1"'})) as server:
        with pytest.raises(DigestMismatch, match="under Content-Encoding 'gzip', which was undone"):
            fetch(server, tmp_path / "x", digest=published)
    with FileServer(DATA) as server:
        with pytest.raises(DigestMismatch) as caught:
            fetch(server, tmp_path / "x", digest=published)
    assert "coding" not in str(caught.value).lower()


@pytest.mark.parametrize("framing", ["length", "close", "chunked"])
def test_a_gzip_body_that_is_cut_begins_again(tmp_path: Path, framing: str) -> None:
    """Even where the framing shows no error; places in it are no places in the file."""
    packed = gzip.compress(DATA, mtime=0)
    half = packed[: len(packed) // 2]

    def short(peer: Peer, request: Request) -> None:
        fields = {"Content-Encoding": "gzip", "ETag": '"v1"'}
        if framing == "length":
            peer.respond(200, half, headers=fields)
        else:
            peer.start_stream(chunked=framing == "chunked", headers=fields)
            peer.write(half)
            peer.end_stream()

    with FileServer(DATA, short) as server:
        result = fetch(server, tmp_path / "x")
        assert server.requests[1].header("Range") is None
    assert result.attempts == 2 and (tmp_path / "x").read_bytes() == DATA


def test_a_broken_gzip_body_is_an_attempt(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(DATA))
    packed[100:110] = b"\xff" * 10
    with FileServer(DATA, answer(200, bytes(packed), {"Content-Encoding": "gzip"})) as server:
        assert fetch(server, tmp_path / "x").attempts == 2
    assert (tmp_path / "x").read_bytes() == DATA


SENSELESS = [
    b"HTTP/1.1 what\r\n\r\n",
    b"SSH-2.0-x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 302 Found\r\nLocation: ftp://example.org/x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000 + b"\r\n\r\n",
]


@pytest.mark.parametrize("head", SENSELESS)
def test_an_answer_that_makes_no_sense_is_an_attempt(tmp_path: Path, head: bytes) -> None:
    """Somebody on the way may have garbled it; and if not, the error is one of a transfer."""

    def senseless(peer: Peer, request: Request) -> None:
        peer.send(head)
        peer.cut()

    with FileServer(DATA, cut(30_000), senseless) as server:
        assert fetch(server, tmp_path / "x").attempts == 3
    assert (tmp_path / "x").read_bytes() == DATA
    with FileServer(DATA, cut(30_000), *[senseless] * 3) as server:
        with pytest.raises(TransferInterrupted) as caught:
            fetch(server, tmp_path / "y")
    assert (caught.value.bytes_kept, caught.value.resumable, caught.value.attempts) == (30_000, True, 4)


@pytest.mark.parametrize("headers", [{"Location": "ftp://example.org/x"}, {"Location": "/folder/file.bin"}])
def test_a_redirect_that_leads_nowhere_is_no_matter_of_time(tmp_path: Path, headers: dict[str, str]) -> None:
    """To what is no web address, or in a circle: it is an error at once, and not after all attempts."""
    with FileServer(DATA, *[answer(302, headers=headers)] * 20) as server:
        with pytest.raises(TransferInterrupted, match="redirect"):
            download(server.url, tmp_path / "x", retry=RetryPolicy(attempts=3, base=100))
        assert len(server.requests) <= 6
    assert leftovers(tmp_path) == []


def test_a_broken_chunk_is_an_attempt(tmp_path: Path) -> None:
    def broken(peer: Peer, request: Request) -> None:
        peer.start_stream(headers={"ETag": '"v1"'})
        peer.write(DATA[:1000])
        peer.send(b"zz\r\n")
        peer.cut()

    with FileServer(DATA, broken) as server:
        assert fetch(server, tmp_path / "x").attempts == 2
    assert (tmp_path / "x").read_bytes() == DATA


# -- digests


def field(data: bytes, name: str = "sha-256") -> str:
    digest = hashlib.new(name.replace("-", ""), data).digest()
    return f"{name}=:{base64.b64encode(digest).decode()}:"


def test_a_right_digest_is_verified(tmp_path: Path) -> None:
    with FileServer(DATA, cut(30_000)) as server:
        result = fetch(server, tmp_path / "x", digest=SHA.upper().replace("SHA256", "sha256"))
    assert (result.digest, result.verified) == (SHA, True)


def test_a_wrong_digest_leaves_nothing(tmp_path: Path) -> None:
    with FileServer(DATA) as server, pytest.raises(DigestMismatch, match="sha256") as caught:
        fetch(server, tmp_path / "x", digest="sha256:" + "0" * 64)
    assert leftovers(tmp_path) == [] and caught.value.bytes_kept == 0


def test_what_an_earlier_process_left_is_in_the_digest(tmp_path: Path) -> None:
    """A part that was tampered with does not become the file."""
    with FileServer(DATA, cut(30_000)) as server:
        with pytest.raises(TransferInterrupted):
            fetch(server, tmp_path / "x", retry=RetryPolicy(attempts=1))
        with open(tmp_path / "x.part", "r+b") as file:
            file.write(b"tampered")
        with pytest.raises(DigestMismatch):
            fetch(server, tmp_path / "x", digest=SHA)
        assert fetch(server, tmp_path / "x", digest=SHA).resumed_from == 0


@pytest.mark.parametrize("name", ["sha-256", "sha-512"])
def test_the_digest_of_the_server_is_checked(tmp_path: Path, name: str) -> None:
    """Repr-Digest of RFC 9530, over the whole file, also when it came in parts."""
    with FileServer(DATA, cut(30_000)) as server:
        server.headers["Repr-Digest"] = f"unixsum=:AAAA:, {field(DATA, name)}"
        result = fetch(server, tmp_path / "x")
        assert result.verified and result.digest is not None and result.digest.startswith(name.replace("-", ""))
        server.headers["Repr-Digest"] = field(DATA + b"x", name)
        with pytest.raises(DigestMismatch):
            fetch(server, tmp_path / "y")
    assert leftovers(tmp_path) == ["x"]


def test_content_that_is_not_what_its_digest_says_is_thrown_away(tmp_path: Path) -> None:
    """Content-Digest is over what one answer carries, a range too."""
    bad = partial(
        b"?" * (len(DATA) - 30_000), f"bytes 30000-{len(DATA) - 1}/{len(DATA)}", Content_Digest=field(DATA[30_000:])
    )
    good = partial(DATA[30_000:], f"bytes 30000-{len(DATA) - 1}/{len(DATA)}", Content_Digest=field(DATA[30_000:]))
    with FileServer(DATA, cut(30_000), bad, cut(30_000), good) as server:
        result = fetch(server, tmp_path / "x")
    assert result.restarts == 1 and (tmp_path / "x").read_bytes() == DATA


def test_a_digest_field_that_cannot_be_read_is_ignored(tmp_path: Path) -> None:
    with FileServer(DATA) as server:
        server.headers["Repr-Digest"] = "sha-256=:!!:, sha-512=abc, , =, sha-256"
        assert not fetch(server, tmp_path / "x").verified


# -- statuses


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_error_is_tried_again(tmp_path: Path, status: int) -> None:
    with FileServer(DATA, answer(status, b"later")) as server:
        assert fetch(server, tmp_path / "x").attempts == 2


def test_retry_after_is_a_floor_and_too_much_of_it_ends_it(tmp_path: Path) -> None:
    """A server that wants an hour is not waited for."""
    with FileServer(DATA, answer(503, b"busy", {"Retry-After": "3600"})) as server:
        with pytest.raises(TransferRefused, match="503 .*, and asked to come back in 3600 s") as caught:
            fetch(server, tmp_path / "x")
        assert len(server.requests) == 1
    assert (caught.value.status, caught.value.headers["retry-after"], caught.value.body) == (503, "3600", b"busy")


@pytest.mark.parametrize("status", [400, 404, 410, 501])
def test_a_lasting_error_ends_it_at_once(tmp_path: Path, status: int) -> None:
    """With status, headers and the beginning of the body; nothing is left."""
    with FileServer(DATA, answer(status, b"no such thing")) as server:
        with pytest.raises(TransferRefused) as caught:
            fetch(server, tmp_path / "x")
        assert len(server.requests) == 1
    assert isinstance(caught.value, HTTPStatusError) and caught.value.body == b"no such thing"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("status", [401, 403])
def test_wrong_credentials_have_an_error_of_their_own(tmp_path: Path, status: int) -> None:
    with FileServer(DATA, answer(status)) as server, pytest.raises(TransferForbidden):
        fetch(server, tmp_path / "x", auth=("user", "secret"))


def test_an_error_in_the_middle_keeps_the_part(tmp_path: Path) -> None:
    with FileServer(DATA, cut(30_000), answer(404)) as server:
        with pytest.raises(TransferRefused) as caught:
            fetch(server, tmp_path / "x")
    assert (caught.value.bytes_kept, caught.value.resumable, caught.value.attempts) == (30_000, True, 2)
    assert leftovers(tmp_path) == ["x.part", "x.part.json"]


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_success_without_a_file_is_no_file(tmp_path: Path, status: int) -> None:
    with FileServer(DATA, answer(status)) as server, pytest.raises(TransferRefused, match="expected a file"):
        fetch(server, tmp_path / "x")
    assert leftovers(tmp_path) == []


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with refusing_port() as held:
        with pytest.raises(TransferInterrupted, match="no connection") as caught:
            download(f"http://127.0.0.1:{held.getsockname()[1]}/x", tmp_path / "x", retry=QUICK)
    assert caught.value.attempts == 3 and leftovers(tmp_path) == []


# -- time


def test_too_slow_is_a_failure_that_is_tried_again(tmp_path: Path) -> None:
    """A silent server is too slow after the window; the next attempt goes on."""

    def silent(peer: Peer, request: Request) -> None:
        peer.send_head(200, {"Content-Length": str(len(DATA)), "ETag": '"v1"'})
        peer.send(DATA[:30_000])
        peer.wait_gone()

    with FileServer(DATA, silent) as server:
        result = fetch(server, tmp_path / "x", min_speed=(1024, 0.2))
        assert server.requests[1].header("Range") == "bytes=30000-"
    assert result.attempts == 2

    with FileServer(DATA, silent, *[partial_silence] * 3) as server:
        with pytest.raises(TooSlow, match="less than 1e\\+06 bytes a second over 0.1 s") as caught:
            fetch(server, tmp_path / "y", min_speed=(1e6, 0.1))
    assert caught.value.bytes_kept == 30_000 and caught.value.resumable


@pytest.mark.parametrize("segments", [1, 2])
def test_a_server_that_is_always_too_slow_is_given_up(tmp_path: Path, segments: int) -> None:
    """A few bytes with each attempt are no progress when many were asked for: else it would go on for hours."""

    class Drips(FileServer):
        def send(
            self, peer: Peer, status: int, body: bytes, headers: Mapping[str, str], cut_after: int | None = None
        ) -> None:
            peer.send_head(status, {**headers, "Content-Length": str(len(body))})
            peer.send(body[:1000])
            peer.wait_gone()

    with Drips(BIG) as server:
        with pytest.raises(TooSlow) as caught:
            fetch(server, tmp_path / "x", segments=segments, min_speed=(1e6, 0.1))
        assert 3 <= len(server.requests) <= 3 * segments
    assert 3000 <= caught.value.bytes_kept <= 1000 * len(server.requests) and caught.value.resumable


def partial_silence(peer: Peer, request: Request) -> None:
    peer.send_head(206, {"Content-Range": f"bytes 30000-{len(DATA) - 1}/{len(DATA)}", "ETag": '"v1"'})
    peer.wait_gone()


def test_silence_is_a_failure_that_is_tried_again(tmp_path: Path) -> None:
    def silent(peer: Peer, request: Request) -> None:
        peer.wait_gone()

    with FileServer(DATA, silent) as server:
        assert fetch(server, tmp_path / "x", timeout=Timeout(read=0.2, total=None)).attempts == 2


def test_a_rate_limit_does_not_outlast_the_deadline(tmp_path: Path) -> None:
    with FileServer(DATA) as server:
        began = time.monotonic()
        with pytest.raises(TransferTimeout):
            fetch(server, tmp_path / "x", rate_limit=20, timeout=Timeout(total=0.5))
        assert time.monotonic() - began < 5  # the first bytes alone would take over a minute at that rate


@pytest.mark.parametrize("ending", ["cut", "range"])
def test_attempts_that_bring_a_byte_each_do_not_storm_the_server(tmp_path: Path, ending: str) -> None:
    """They begin at least 50 ms apart, whether a connection broke or the server gave less than it could."""

    def little(peer: Peer, request: Request) -> None:
        at = int((request.header("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        place = {"ETag": '"v1"', "Content-Range": f"bytes {at}-{at}/6"}
        peer.respond(206, b"abcdef"[at : at + 1], headers=place)

    began = time.monotonic()
    if ending == "cut":
        with FileServer(b"abcdef", cut_after=1) as server:
            fetch(server, tmp_path / "x", retry=RetryPolicy())
    else:
        with FileServer(b"abcdef", *[little] * 6) as server:
            fetch(server, tmp_path / "x", retry=RetryPolicy())
    assert len(server.requests) == 6 and time.monotonic() - began >= 0.25
    assert (tmp_path / "x").read_bytes() == b"abcdef"


def test_the_deadline_ends_everything(tmp_path: Path) -> None:
    """However fast the bytes drip in, and with what came kept."""
    done = threading.Event()

    def drip(peer: Peer, request: Request) -> None:
        peer.send_head(200, {"Content-Length": str(len(DATA)), "ETag": '"v1"'})
        for at in range(len(DATA)):
            peer.send(DATA[at : at + 1])
            done.wait(0.01)

    with FileServer(DATA, drip) as server:
        with pytest.raises(TransferTimeout) as caught:
            fetch(server, tmp_path / "x", timeout=0.3, min_speed=None)
        done.set()
    assert isinstance(caught.value, TimeoutError) and 0 < caught.value.bytes_kept < len(DATA)
    assert caught.value.resumable


# -- the target


def test_an_existing_target_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"mine")
    with FileServer(DATA) as server:
        with pytest.raises(TargetExists) as caught:
            fetch(server, tmp_path / "x")
        assert server.accepted == 0 and isinstance(caught.value, FileExistsError)
        fetch(server, tmp_path / "x", overwrite=True)
    assert (tmp_path / "x").read_bytes() == DATA


def test_an_existing_name_in_a_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"mine")
    with FileServer(DATA) as server, pytest.raises(TargetExists):
        fetch(server, tmp_path)
    assert (tmp_path / "file.bin").read_bytes() == b"mine" and leftovers(tmp_path) == ["file.bin"]


def test_a_folder_resumes_too(tmp_path: Path) -> None:
    """The name comes with the first answer; then only the rest is fetched."""
    with FileServer(DATA, cut(30_000)) as server:
        server.headers["Content-Disposition"] = 'attachment; filename="named"'
        with pytest.raises(TransferInterrupted):
            fetch(server, tmp_path, retry=RetryPolicy(attempts=1))
        assert leftovers(tmp_path) == ["named.part", "named.part.json"]
        result = fetch(server, tmp_path)
        assert server.requests[2].header("Range") == "bytes=30000-"
    assert result.resumed_from == 30_000 and (tmp_path / "named").read_bytes() == DATA


def test_a_target_that_comes_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    """Without overwrite, not even at the last moment."""
    with FileServer(DATA) as server:

        def meanwhile(report: Progress) -> None:
            (tmp_path / "x").write_bytes(b"theirs")

        with pytest.raises(TargetExists) as caught:
            fetch(server, tmp_path / "x", on_progress=meanwhile)
    assert (tmp_path / "x").read_bytes() == b"theirs" and caught.value.bytes_kept == len(DATA)


@pytest.mark.parametrize("dangling", [False, True])
def test_a_symbolic_link_is_replaced_and_not_followed(tmp_path: Path, dangling: bool) -> None:
    (tmp_path / "else").mkdir()
    if not dangling:
        (tmp_path / "else/victim").write_bytes(b"precious")
    (tmp_path / "x").symlink_to(tmp_path / "else/victim")
    with FileServer(DATA) as server:
        with pytest.raises(TargetExists):
            fetch(server, tmp_path / "x")
        fetch(server, tmp_path / "x", overwrite=True)
    assert not (tmp_path / "x").is_symlink() and (tmp_path / "x").read_bytes() == DATA
    assert dangling or (tmp_path / "else/victim").read_bytes() == b"precious"


def test_a_symbolic_link_in_place_of_the_part_is_not_written_through(tmp_path: Path) -> None:
    """Neither the partial file nor the sidecar."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "x.part").symlink_to(victim)
    (tmp_path / "x.part.json").symlink_to(victim)
    with FileServer(DATA, cut(30_000)) as server:
        fetch(server, tmp_path / "x")
    assert victim.read_bytes() == b"precious" and (tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize(
    "sidecar", [b"", b"[]", b"{", b'{"owner": 7}', b'{"gaps": 3, "total": "x"}', b"[" * 100_000, b"\xff\xfe"]
)
def test_a_sidecar_that_makes_no_sense_is_ignored(tmp_path: Path, sidecar: bytes) -> None:
    (tmp_path / "x.part").write_bytes(b"?" * 100)
    (tmp_path / "x.part.json").write_bytes(sidecar)
    with FileServer(DATA) as server:
        assert fetch(server, tmp_path / "x").resumed_from == 0
    assert (tmp_path / "x").read_bytes() == DATA and leftovers(tmp_path) == ["x"]


@pytest.mark.parametrize(
    "change",
    [
        {"gaps": [[5, 3]]},
        {"gaps": "x"},
        {"gaps": [[0, 10]]},  # all the rest is there, it says, and the file is shorter
        {"total": 10},
        {"etag": 5},
        {"etag": 'W/"v1"'},
        {"etag": '"v1"\n'},
        {"etag": None, "dated": True, "last_modified": "Mon\r\nX: y"},
    ],
)
def test_a_sidecar_that_does_not_fit_is_ignored(tmp_path: Path, change: dict[str, Any]) -> None:
    with FileServer(DATA, cut(30_000)) as server:
        with pytest.raises(TransferInterrupted):
            fetch(server, tmp_path / "x", retry=RetryPolicy(attempts=1))
        sidecar = tmp_path / "x.part.json"
        sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), **change}))
        assert fetch(server, tmp_path / "x").resumed_from == 0
    assert (tmp_path / "x").read_bytes() == DATA


def leave(folder: Path, url: str, data: bytes, **state: Any) -> None:
    """What a killed download leaves, with what the test wants in the sidecar."""
    (folder / "x.part").write_bytes(data)
    about = {"etag": '"v1"', "last_modified": None, "dated": False, "total": len(DATA), "owner": None}
    (folder / "x.part.json").write_text(json.dumps({**address_key(url), **about, **state}))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("whose", ["x.part", "x.part.json"])
def test_what_another_user_left_is_not_gone_on_with(tmp_path: Path, whose: str) -> None:
    """In a shared folder anybody can put any bytes under the name of a part file."""
    with FileServer(DATA) as server:
        leave(tmp_path, server.url, b"EVIL" * 100)
        os.chown(tmp_path / whose, 65534, 65534)
        assert fetch(server, tmp_path / "x").resumed_from == 0
    assert (tmp_path / "x").read_bytes() == DATA and (tmp_path / "x").stat().st_uid == 0


def test_a_hard_link_in_place_of_the_part_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    with FileServer(DATA) as server:
        leave(tmp_path, server.url, b"precious")
        os.link(tmp_path / "x.part", victim)
        fetch(server, tmp_path / "x")
    assert victim.read_bytes() == b"precious" and (tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize("name", ["x.part", "x.part.json"])
def test_a_pipe_in_place_of_what_was_left_blocks_nothing(tmp_path: Path, name: str) -> None:
    with FileServer(DATA) as server:
        leave(tmp_path, server.url, DATA[:100])
        (tmp_path / name).unlink()
        os.mkfifo(tmp_path / name)
        thread = threading.Thread(target=lambda: fetch(server, tmp_path / "x"), daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_process_that_was_killed_while_the_file_got_its_name(tmp_path: Path) -> None:
    """Part and target are one file then: neither is written to, and the new version takes the place of both."""
    with FileServer(DATA[::-1], etag='"v2"') as server:
        leave(tmp_path, server.url, DATA)
        os.link(tmp_path / "x.part", tmp_path / "x")
        assert fetch(server, tmp_path / "x", overwrite=True).attempts == 1
    assert (tmp_path / "x").read_bytes() == DATA[::-1] and leftovers(tmp_path) == ["x"]


def test_what_was_private_stays_private(tmp_path: Path) -> None:
    """The file that replaces another one has its permissions, and no more while it comes."""
    (tmp_path / "x").write_bytes(b"old")
    (tmp_path / "x").chmod(0o600)
    modes = []

    def look(_: Progress) -> None:
        if (tmp_path / "x.part").exists():
            modes.append((tmp_path / "x.part").stat().st_mode & 0o777)

    with FileServer(DATA, cut(30_000)) as server:
        fetch(server, tmp_path / "x", overwrite=True, on_progress=look)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600
    assert set(modes) <= {0o600}


def test_a_part_that_somebody_writes_to_is_not_put_in_place(tmp_path: Path) -> None:
    """Its size is looked at once more in the end; what is wrong is removed."""
    part = PartFile(str(tmp_path / "x"), "http://example.org/x", resume=True)
    part.begin(Representation('"v1"', total=4))
    part.write(b"data")
    with open(tmp_path / "x.part", "ab") as file:
        file.write(b"more")
    with pytest.raises(TargetChanged, match="8 bytes, and 4 were written"):
        part.finish(overwrite=False)
    part.release()
    assert leftovers(tmp_path) == []


def test_no_secret_is_in_the_sidecar(tmp_path: Path) -> None:
    """Neither the credentials nor the query of the address."""
    with FileServer(DATA, cut(30_000)) as server:
        address = f"http://user:hidden@127.0.0.1:{server.port}/file.bin?token=hidden"
        with pytest.raises(TransferInterrupted):
            download(address, tmp_path / "x", retry=RetryPolicy(attempts=1))
        text = (tmp_path / "x.part.json").read_text()
        assert "hidden" not in text and "/file.bin" in text
        assert os.stat(tmp_path / "x.part.json").st_mode & 0o77 == 0
        assert download(address, tmp_path / "x").resumed_from == 30_000


def test_two_downloads_of_one_target_do_not_disturb_each_other(tmp_path: Path) -> None:
    """The second works under a name of its own; both end with the whole file."""
    held = threading.Event()
    reached = threading.Event()

    def half(peer: Peer, request: Request) -> None:
        peer.send_head(200, {"Content-Length": str(len(DATA)), "ETag": '"v1"'})
        peer.send(DATA[:30_000])
        reached.set()
        peer.hold(held)
        peer.send(DATA[30_000:])

    with FileServer(DATA, half) as server:
        results: list[DownloadResult] = []
        first = threading.Thread(target=lambda: results.append(fetch(server, tmp_path / "x", overwrite=True)))
        first.start()
        assert reached.wait(10)
        second = fetch(server, tmp_path / "x", overwrite=True)
        assert second.resumed_from == 0 and (tmp_path / "x").read_bytes() == DATA
        assert "x.part" in leftovers(tmp_path)
        held.set()
        first.join(10)
    assert results and leftovers(tmp_path) == ["x"] and (tmp_path / "x").read_bytes() == DATA


def test_a_second_download_that_fails_leaves_its_part_if_it_can(tmp_path: Path) -> None:
    """Its own name becomes the usual one, if that is free by then; else nothing of it is left."""
    reached, held = threading.Event(), threading.Event()

    def half(peer: Peer, request: Request) -> None:
        peer.send_head(200, {"Content-Length": str(len(DATA)), "ETag": '"v1"'})
        peer.send(DATA[:30_000])
        reached.set()
        peer.hold(held)
        peer.send(DATA[30_000:])

    with FileServer(DATA, half, cut(10_000)) as server:
        thread = threading.Thread(target=lambda: fetch(server, tmp_path / "x", overwrite=True))
        thread.start()
        assert reached.wait(10)
        with pytest.raises(TransferInterrupted):
            fetch(server, tmp_path / "x", overwrite=True, retry=RetryPolicy(attempts=1))
        assert leftovers(tmp_path) == ["x.part", "x.part.json"]
        held.set()
        thread.join(10)
    assert leftovers(tmp_path) == ["x"]


@pytest.mark.parametrize("same", [True, False])
def test_what_a_killed_second_download_left_is_found_or_removed(tmp_path: Path, same: bool) -> None:
    """It had worked under a name of its own, so it is looked for."""
    with FileServer(DATA, cut(30_000)) as server:
        with pytest.raises(TransferInterrupted):
            fetch(server, tmp_path / "x", retry=RetryPolicy(attempts=1))
        state = json.loads((tmp_path / "x.part.json").read_text())
        state["owner"] = {"host": socket.gethostname(), "pid": os.getpid(), "started": 1}
        if not same:
            state["key"] = state["url"] = "another address"
        os.unlink(tmp_path / "x.part.json")
        os.rename(tmp_path / "x.part", tmp_path / "x.0a1b2c3d.part")
        (tmp_path / "x.0a1b2c3d.part.json").write_text(json.dumps(state))
        (tmp_path / "x.mine.part.json").write_text("[]")
        result = fetch(server, tmp_path / "x")
    assert result.resumed_from == (30_000 if same else 0) and (tmp_path / "x").read_bytes() == DATA
    assert leftovers(tmp_path) == ["x", "x.mine.part.json"]


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_part_that_somebody_takes_away_is_noticed(tmp_path: Path, how: str) -> None:
    """It is neither passed off as the file, nor is what came in its place touched."""

    def take(report: Progress) -> None:
        if report.state == "running" and (tmp_path / "x.part").exists():
            os.unlink(tmp_path / "x.part")
            if how == "replaced":
                (tmp_path / "x.part").write_bytes(b"theirs")

    def pause(peer: Peer, request: Request) -> None:
        peer.send_head(200, {"Content-Length": str(len(DATA)), "ETag": '"v1"'})
        peer.send(DATA[:30_000])
        held.wait(0.2)  # longer than the pause between two reports
        peer.send(DATA[30_000:])

    held = threading.Event()
    with FileServer(DATA, pause) as server, pytest.raises(TargetChanged) as caught:
        fetch(server, tmp_path / "x", on_progress=take)
    assert (caught.value.bytes_kept, caught.value.resumable) == (0, False)
    assert leftovers(tmp_path) == (["x.part"] if how == "replaced" else [])


@pytest.mark.parametrize("length", [0, 10_000, 40_000])
def test_a_part_that_somebody_cuts_or_writes_to_is_noticed(tmp_path: Path, length: int) -> None:
    """Behind what was cut off there would be a hole, in a file of the right size."""

    part = tmp_path / "x.part"
    pause = threading.Event()

    def meddle(peer: Peer, request: Request) -> None:
        peer.send_head(200, {"Content-Length": str(len(DATA)), "ETag": '"v1"'})
        peer.send(DATA[:30_000])
        for _ in range(1000):
            if part.exists() and part.stat().st_size == 30_000:
                break
            pause.wait(0.01)
        os.truncate(part, length)
        peer.send(DATA[30_000:])

    with FileServer(DATA, meddle) as server:
        with pytest.raises(TargetChanged, match=f"has {length} bytes, and 30000 were written") as caught:
            fetch(server, tmp_path / "x")
        assert (caught.value.bytes_kept, caught.value.resumable) == (0, False)
        assert leftovers(tmp_path) == []
        fetch(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA


def test_a_folder_in_the_place_of_the_part_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "x.part").mkdir()
    with FileServer(DATA) as server, pytest.raises(OSError, match=r"x\.part"):
        fetch(server, tmp_path / "x")
    assert leftovers(tmp_path) == ["x.part"]


@pytest.mark.parametrize("there", [False, True])
def test_a_file_system_without_hard_links_does_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    def link(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", link)

    def meanwhile(report: Progress) -> None:
        if there:
            (tmp_path / "x").write_bytes(b"theirs")

    with FileServer(DATA) as server:
        if there:
            with pytest.raises(TargetExists):
                fetch(server, tmp_path / "x", on_progress=meanwhile)
        else:
            fetch(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == (b"theirs" if there else DATA)


def test_a_folder_that_goes_away_meanwhile_is_said(tmp_path: Path) -> None:
    """As the error that it is, and not as one of cleaning up."""
    (tmp_path / "folder").mkdir()

    def remove(report: Progress) -> None:
        shutil.rmtree(tmp_path / "folder")

    with FileServer(DATA) as server, pytest.raises((TargetChanged, FileNotFoundError)):
        fetch(server, tmp_path / "folder" / "x", on_progress=remove)
    assert leftovers(tmp_path) == []


def test_a_path_may_be_of_bytes(tmp_path: Path) -> None:
    with FileServer(DATA) as server:
        assert fetch(server, os.fsencode(tmp_path / "x")).path == str(tmp_path / "x")  # type: ignore[arg-type]


def test_what_was_left_of_another_size_than_expected_is_not_used(tmp_path: Path) -> None:
    with FileServer(DATA, cut(30_000)) as server:
        with pytest.raises(TransferInterrupted):
            fetch(server, tmp_path / "x", retry=RetryPolicy(attempts=1))
        server.data, server.etag = DATA[:50_000], '"v2"'
        assert fetch(server, tmp_path / "x", expected_size=50_000).resumed_from == 0
    assert (tmp_path / "x").read_bytes() == DATA[:50_000]


# -- progress


def test_progress_begins_ends_and_never_goes_back(tmp_path: Path) -> None:
    seen: list[Progress] = []
    with FileServer(DATA, cut(30_000)) as server:
        fetch(server, tmp_path / "x", on_progress=seen.append)
    assert (seen[0].progress, seen[0].state) == (0, "running")
    assert (seen[-1].progress, seen[-1].total, seen[-1].state) == (len(DATA), len(DATA), "done")
    assert [report.progress for report in seen] == sorted(report.progress for report in seen)
    assert sum(report.state == "done" for report in seen) == 1 and seen[-1].attempt == 2


def test_a_resumed_download_begins_where_it_was(tmp_path: Path) -> None:
    seen: list[Progress] = []
    with FileServer(DATA, cut(30_000)) as server:
        with pytest.raises(TransferInterrupted):
            fetch(server, tmp_path / "x", retry=RetryPolicy(attempts=1), on_progress=seen.append)
        assert seen[-1].progress == 30_000
        seen.clear()
        fetch(server, tmp_path / "x", on_progress=seen.append)
    assert seen[0].progress == 30_000


class Stop(Exception):
    pass


def test_an_exception_in_the_callback_stops_it_and_keeps_the_part(tmp_path: Path) -> None:
    """It reaches the caller as it is; the callback is not called again."""
    calls: list[Progress] = []
    waiting = threading.Event()

    def stop(report: Progress) -> None:
        calls.append(report)
        if report.progress >= 2000:
            raise Stop

    def drip(peer: Peer, request: Request) -> None:
        peer.send_head(200, {"Content-Length": str(len(DATA)), "ETag": '"v1"'})
        for at in range(0, len(DATA), 1000):
            peer.send(DATA[at : at + 1000])
            waiting.wait(0.02)

    with FileServer(DATA, drip) as server:
        with pytest.raises(Stop):
            fetch(server, tmp_path / "x", on_progress=stop)
        assert [report.progress >= 2000 for report in calls] == [False] * (len(calls) - 1) + [True]
        assert leftovers(tmp_path) == ["x.part", "x.part.json"]
        assert fetch(server, tmp_path / "x").resumed_from >= 2000
    assert (tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize("segments", [1, 3])
@pytest.mark.parametrize(
    "error",
    [ConnectionLost("x"), ReadTimeout("x"), OSError(28, "x"), TransferInterrupted("x"), Failed(ConnectionLost("x"))],
)
def test_an_error_of_the_callback_is_not_taken_for_one_of_the_download(
    tmp_path: Path, segments: int, error: Exception
) -> None:
    """It may come from a service that the callback calls, or a file that it writes: neither tried again nor renamed."""

    def stop(report: Progress) -> None:
        if report.progress:
            raise error

    error.__context__ = KeyError()  # what the user was about stays what it was
    with FileServer(BIG) as server:
        with pytest.raises(type(error)) as caught:
            fetch(server, tmp_path / "x", segments=segments, on_progress=stop)
        assert caught.value is error and isinstance(error.__context__, KeyError)
        assert len(server.requests) <= segments


def test_an_exception_in_the_last_call_reaches_the_caller_and_the_file_is_there(tmp_path: Path) -> None:
    def stop(report: Progress) -> None:
        if report.state == "done":
            raise Stop

    with FileServer(DATA) as server, pytest.raises(Stop):
        fetch(server, tmp_path / "x", on_progress=stop)
    assert (tmp_path / "x").read_bytes() == DATA and leftovers(tmp_path) == ["x"]


# -- what it goes through


def test_a_session_of_the_caller_is_used_and_stays_open(tmp_path: Path) -> None:
    session = requests.Session()
    session.headers["X-Mine"] = "1"
    with FileServer(DATA, cut(30_000)) as server:
        result = fetch(server, tmp_path / "x", http=session)
        assert [request.header("X-Mine") for request in server.requests] == ["1", "1"]
        assert session.get(server.url).content == DATA
        session.close()
    assert result.attempts == 2 and (tmp_path / "x").read_bytes() == DATA


def test_headers_and_credentials_go_with_each_attempt(tmp_path: Path) -> None:
    with FileServer(DATA, cut(30_000)) as server:
        fetch(server, tmp_path / "x", headers={"X-Key": "k"}, auth=("user", "pw"))
        for request in server.requests:
            assert request.header("X-Key") == "k" and request.header("Authorization") == "Basic dXNlcjpwdw=="


# -- segments

BIG = os.urandom(5 << 20)


def test_segments_fetch_parts_at_once(tmp_path: Path) -> None:
    """The first answer serves the first part, ranges under If-Range the others."""
    seen: list[Progress] = []
    with FileServer(BIG) as server:
        result = fetch(server, tmp_path / "x", segments=4, on_progress=seen.append)
        asked = sorted(request.header("Range") or "" for request in server.requests)
        assert len(asked) == 4 and all(request.header("If-Range") == '"v1"' for request in server.seen("GET")[1:])
    assert (tmp_path / "x").read_bytes() == BIG and result.attempts == 4
    assert seen[-1].state == "done" and leftovers(tmp_path) == ["x"]


def test_segments_go_on_after_cuts(tmp_path: Path) -> None:
    with FileServer(BIG, cut_after=300_000) as server:
        result = fetch(server, tmp_path / "x", segments=3, digest="md5:" + hashlib.md5(BIG).hexdigest())
    assert (tmp_path / "x").read_bytes() == BIG and result.verified


@pytest.mark.parametrize("again", [1, 3])
def test_interrupted_segments_go_on(tmp_path: Path, again: int) -> None:
    """Only what is missing is fetched, in segments or alone."""
    with FileServer(BIG, cut_after=500_000) as server:
        with pytest.raises(TransferInterrupted) as caught:
            fetch(server, tmp_path / "x", segments=3, retry=RetryPolicy(attempts=1))
        kept = caught.value.bytes_kept
        assert 500_000 <= kept < len(BIG) and json.loads((tmp_path / "x.part.json").read_text())["gaps"]
        server.cut_after = None
        # Known by its header: the server may only now come to read what the first one had sent in its end.
        result = fetch(server, tmp_path / "x", segments=again, headers={"X-Again": "1"})
        fetched = 0
        for request in server.requests:
            if request.header("X-Again") is None:
                continue
            first, _, last = (request.header("Range") or "").removeprefix("bytes=").partition("-")
            fetched += int(last) + 1 - int(first)
    assert result.resumed_from >= kept and fetched == len(BIG) - result.resumed_from
    assert (tmp_path / "x").read_bytes() == BIG


def test_segments_keep_to_the_range_of_the_answer(tmp_path: Path) -> None:
    """What a body has beyond its Content-Range belongs nowhere."""

    class Lying(FileServer):
        def serve(self, peer: Peer, request: Request, cut_after: int | None = None) -> None:
            asked = request.header("Range")
            if asked is None:
                return super().serve(peer, request, cut_after)
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), int(last) + 1
            end = min(start + 300_000, stop)
            peer.start_stream(206, headers={"ETag": '"v1"', "Content-Range": f"bytes {start}-{end - 1}/{len(BIG)}"})
            peer.write(BIG[start:end] + bytes(stop - end))
            peer.end_stream()

    with Lying(BIG) as server:
        fetch(server, tmp_path / "x", segments=3)
    assert (tmp_path / "x").read_bytes() == BIG


def test_segments_check_the_digest_of_each_answer(tmp_path: Path) -> None:
    damaged = []

    class Damaging(FileServer):
        def serve(self, peer: Peer, request: Request, cut_after: int | None = None) -> None:
            asked = request.header("Range")
            if asked is None:
                return super().serve(peer, request, cut_after)
            first, _, last = asked.removeprefix("bytes=").partition("-")
            body = BIG[int(first) : int(last) + 1]
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            if first not in damaged:
                damaged.append(first)
                body = bytes(len(body))
            place = f"bytes {first}-{last}/{len(BIG)}"
            peer.respond(
                206, body, headers={"ETag": '"v1"', "Content-Range": place, "Content-Digest": f"sha-256=:{digest}:"}
            )

    with Damaging(BIG) as server:
        fetch(server, tmp_path / "x", segments=3)
    assert damaged and (tmp_path / "x").read_bytes() == BIG


def test_gaps_are_only_told_of_what_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power failure, bytes that a sidecar vouches for would be missing."""
    order = []
    sync, write = os.fdatasync, Sidecar.write
    monkeypatch.setattr(os, "fdatasync", lambda fd: (order.append("sync"), sync(fd)))

    def written(self: Sidecar, state: dict[str, Any]) -> None:
        order.append("gaps" if state.get("gaps") is not None else "none")
        write(self, state)

    monkeypatch.setattr(Sidecar, "write", written)
    with FileServer(BIG) as server:
        fetch(server, tmp_path / "x", segments=3)
    vouched = [index for index, what in enumerate(order) if what == "gaps"]
    assert vouched and all(order[index - 1] == "sync" for index in vouched)


def test_segments_need_ranges(tmp_path: Path) -> None:
    """A server that says it does them and does not: one connection, from the beginning."""
    with FileServer(BIG) as server:

        def whole(peer: Peer, request: Request) -> None:
            server.send(peer, 200, BIG, {"ETag": '"v1"', "Accept-Ranges": "bytes"})

        server.answers = [whole] * 6
        result = fetch(server, tmp_path / "x", segments=3)
    assert result.restarts == 1 and (tmp_path / "x").read_bytes() == BIG


def test_segments_notice_a_changed_file(tmp_path: Path) -> None:
    other = BIG[::-1]
    with FileServer(BIG) as server:

        def first(peer: Peer, request: Request) -> None:
            server.data, server.etag = other, '"v2"'
            server.send(peer, 200, BIG, {"ETag": '"v1"', "Accept-Ranges": "bytes"})

        server.answers = [first]
        result = fetch(server, tmp_path / "x", segments=3)
    assert result.restarts == 1 and (tmp_path / "x").read_bytes() == other


def test_a_refusal_in_a_segment_ends_all(tmp_path: Path) -> None:
    with FileServer(BIG) as server:
        server.answers = [lambda peer, request: server.serve(peer, request), answer(404, b"gone")]
        with pytest.raises(TransferRefused) as caught:
            fetch(server, tmp_path / "x", segments=3)
    assert caught.value.status == 404
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("streamhttp-segment")]


def test_an_exception_in_the_callback_ends_segments(tmp_path: Path) -> None:
    """All threads end, and what they had is kept."""

    def stop(report: Progress) -> None:
        if report.progress > 0:
            raise Stop

    def half(peer: Peer, request: Request) -> None:
        start = int((request.header("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        fields = {"ETag": '"v1"', "Accept-Ranges": "bytes", "Content-Length": str(len(BIG) - start)}
        if start:
            fields["Content-Range"] = f"bytes {start}-{len(BIG) - 1}/{len(BIG)}"
        peer.send_head(206 if start else 200, fields)
        peer.send(BIG[start : start + 100_000])
        peer.wait_gone()

    with FileServer(BIG) as server:
        server.answers = [half] * 3
        with pytest.raises(Stop):
            fetch(server, tmp_path / "x", segments=3, on_progress=stop)
        assert leftovers(tmp_path) == ["x.part", "x.part.json"]
        assert fetch(server, tmp_path / "x").resumed_from > 0
    assert (tmp_path / "x").read_bytes() == BIG


# -- bad input


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"digest": "abc"}, "algorithm:hex"),
        ({"digest": "sha256:xyz"}, "64 hexadecimal digits"),
        ({"digest": "crc99:00"}, "hashlib"),
        ({"digest": 5}, "must be a string"),
        ({"rate_limit": -1}, "rate_limit"),
        ({"rate_limit": 0}, "rate_limit"),
        ({"min_speed": 5}, "min_speed"),
        ({"min_speed": (1, -1)}, "min_speed"),
        ({"segments": 0}, "segments"),
        ({"segments": True}, "segments"),
        ({"expected_size": -1}, "expected_size"),
        ({"timeout": -1}, "timeout"),
        ({"retry": 3}, "RetryPolicy"),
        ({"http": "x"}, "requests.Session"),
        ({"on_progress": 5}, "callable"),
        ({"progress": "maybe"}, "progress"),
        ({"headers": {"a b": "c"}}, "header"),
        ({"headers": {"Range": "bytes=5-"}}, "Range"),
    ],
)
def test_an_argument_that_makes_no_sense_is_said_before_any_request(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with FileServer(DATA) as server:
        with pytest.raises(LocalProtocolError, match=words):
            fetch(server, tmp_path / "x", **options)
        assert server.accepted == 0
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("dest", "error"),
    [
        ("none/x", FileNotFoundError),
        ("file/x", NotADirectoryError),
        ("none/", NotADirectoryError),
        pytest.param("x" * 300, OSError, id="too long"),
    ],
)
def test_an_unwritable_target_is_said_before_any_request(tmp_path: Path, dest: str, error: type[OSError]) -> None:
    (tmp_path / "file").write_bytes(b"")
    with FileServer(DATA) as server:
        with pytest.raises(error):
            download(server.url, f"{tmp_path}/{dest}")
        assert server.accepted == 0


def test_no_target_at_all_is_said_before_any_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an environment variable that is not set becomes."""
    monkeypatch.chdir(tmp_path)
    with FileServer(DATA) as server:
        with pytest.raises(FileNotFoundError):
            download(server.url, "")
        assert server.accepted == 0
    assert leftovers(tmp_path) == []


def test_an_address_that_makes_no_sense(tmp_path: Path) -> None:
    with pytest.raises(LocalProtocolError, match="http"):
        download("ftp://example.org/x", tmp_path / "x")
    assert leftovers(tmp_path) == []


def test_what_found_its_place_taken_is_asked_about_before_it_gets_it(tmp_path: Path) -> None:
    """When the place is free again, tomorrow perhaps, it may be an old version that nobody wants any more."""

    def meanwhile(report: Progress) -> None:
        (tmp_path / "x").write_bytes(b"theirs")

    for change in (False, True):
        with FileServer(DATA) as server:
            with pytest.raises(TargetExists):
                fetch(server, tmp_path / "x", on_progress=meanwhile)
            (tmp_path / "x").unlink()
            if change:
                server.data, server.etag = DATA[::-1], '"v2"'
            result = fetch(server, tmp_path / "x")
            assert server.requests[-1].header("Range") == f"bytes={len(DATA) - 1}-"
            assert result.resumed_from == (0 if change else len(DATA) - 1)
            assert (tmp_path / "x").read_bytes() == server.data and leftovers(tmp_path) == ["x"]
        (tmp_path / "x").unlink()


def test_a_folder_may_hold_a_folder_of_any_name(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with FileServer(DATA) as server:
        assert fetch(server, tmp_path).path == str(tmp_path / "file.bin")


def test_a_transfer_coding_that_nobody_asked_for_is_no_matter_of_time(tmp_path: Path) -> None:
    """It would come again: an error at once, and not after all attempts."""
    with FileServer(DATA, *[answer(200, headers={"Transfer-Encoding": "gzip"})] * 3) as server:
        with pytest.raises(TransferInterrupted, match="transfer coding"):
            download(server.url, tmp_path / "x", retry=RetryPolicy(attempts=3, base=100))
        assert len(server.requests) == 1


def test_what_another_address_failed_of_is_not_held_against_this_one(tmp_path: Path) -> None:
    """A second address is tried where the error of the first one is handled; that was a certificate, this is a cut."""
    with FileServer(DATA, cut(30_000)) as server:
        try:
            raise ssl.SSLCertVerificationError("of the first address")
        except ssl.SSLCertVerificationError:
            assert fetch(server, tmp_path / "x").attempts == 2
