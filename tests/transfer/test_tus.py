"""upload(protocol="tus") against scripted servers, for all that can go wrong."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from streamhttp_client.exceptions import (
    CapabilityError,
    ConnectionLost,
    DigestMismatch,
    NotReplayable,
    SourceChanged,
    TargetChanged,
    TransferForbidden,
    TransferInterrupted,
    TransferRefused,
    UploadGone,
)
from streamhttp_client.net.interrupt import Interrupt
from streamhttp_client.net.retry import RetryPolicy
from streamhttp_client.progress import Progress
from streamhttp_client.transfer import flow, tus_note
from streamhttp_client.transfer.chunks import Chunks
from streamhttp_client.transfer.upload import UploadResult, upload
from tests.support.rawserver import Peer, RawServer, Request

DATA = os.urandom(3 << 20)
QUICK = RetryPolicy(attempts=3, base=0)
ALL = "creation,creation-with-upload,creation-defer-length,expiration,termination,checksum,concatenation"

Answer = Callable[[Peer, Request], None]


class FakeTus(RawServer):
    """A well-behaved tus server in memory; single answers can be replaced.

    Attributes:
        extensions: What OPTIONS says; None for a server that does not know OPTIONS.
        uploads: Content by path; ``lengths`` what was announced.
        answers: By method, scripts for the first requests of that method.
        largest: Bytes of one PATCH above which it answers 413.
        early: Answers each PATCH before its body is read, instead.
    """

    def __init__(self, extensions: str | None = "creation,termination") -> None:
        super().__init__()
        self.extensions = extensions
        self.options: dict[str, str] = {"Tus-Version": "1.0.0", "Tus-Checksum-Algorithm": "md5,sha1,sha256"}
        self.endpoint = f"{self.origin}/files/"
        self.uploads: dict[str, bytearray] = {}
        self.lengths: dict[str, int | None] = {}
        self.metadata: dict[str, str] = {}
        self.finals: dict[str, str] = {}
        self.answers: dict[str, list[Answer]] = {}
        self.largest: int | None = None
        self.early: Callable[[Peer], None] | None = None
        self.expires: str | None = None

    def on(self, method: str, *answers: Answer) -> None:
        self.answers[method] = list(answers)

    def handle(self, peer: Peer) -> None:
        while peer.open:
            request = peer.read_request(body=self.early is None)
            if self.early is not None and request.method == "PATCH":
                self.early(peer)
                return
            queue = self.answers.get(request.method)
            if queue:
                queue.pop(0)(peer, request)
            else:
                self.answer(peer, request)

    def fields(self, **more: str) -> dict[str, str]:
        found = {"Tus-Resumable": "1.0.0", **{name.replace("_", "-"): value for name, value in more.items()}}
        if self.expires is not None:
            found["Upload-Expires"] = self.expires
        return found

    def answer(self, peer: Peer, request: Request) -> None:
        assert request.header("Tus-Resumable") == (None if request.method == "OPTIONS" else "1.0.0")
        if request.method == "OPTIONS":
            if self.extensions is None:
                peer.respond(405)
            else:
                peer.respond(204, headers=self.fields(Tus_Extension=self.extensions, **self.options))
        elif request.method == "POST":
            self.create(peer, request)
        elif request.target not in self.uploads:
            peer.respond(404)
        elif request.method == "HEAD":
            length = self.lengths[request.target]
            extra = {"Upload_Length": str(length)} if length is not None else {"Upload_Defer_Length": "1"}
            # Not respond(): an answer to HEAD has no body, and its length would be that of GET.
            peer.send_head(200, self.fields(Upload_Offset=str(len(self.uploads[request.target])), **extra))
        elif request.method == "DELETE":
            del self.uploads[request.target]
            peer.respond(204, headers=self.fields())
        else:
            self.patch(peer, request)

    def create(self, peer: Peer, request: Request) -> None:
        path = f"/files/{len(self.lengths) + 1}"
        concat = request.header("Upload-Concat") or ""
        if concat.startswith("final;"):
            parts = [part.removeprefix(self.origin) for part in concat.removeprefix("final;").split(" ")]
            self.uploads[path] = bytearray(b"".join(self.uploads[part] for part in parts))
            self.lengths[path] = len(self.uploads[path])
            self.finals[path] = concat
        else:
            length = request.header("Upload-Length")
            self.lengths[path] = int(length) if length is not None else None
            assert (length is None) == (request.header("Upload-Defer-Length") == "1")
            self.uploads[path] = bytearray(request.body)
        self.metadata[path] = request.header("Upload-Metadata") or ""
        more = {"Upload_Offset": str(len(request.body))} if request.body else {}
        peer.respond(201, headers=self.fields(Location=path, **more))

    def patch(self, peer: Peer, request: Request) -> None:
        data = self.uploads[request.target]
        assert request.header("Content-Type") == "application/offset+octet-stream"
        if self.largest is not None and len(request.body) > self.largest:
            peer.respond(413)
            return
        if request.header("Upload-Offset") != str(len(data)):
            peer.respond(409, headers=self.fields())
            return
        if (checksum := request.header("Upload-Checksum")) is not None:
            name, _, value = checksum.partition(" ")
            if base64.b64decode(value) != hashlib.new(name, request.body).digest():
                peer.respond(460, headers=self.fields())
                return
        if (length := request.header("Upload-Length")) is not None:
            self.lengths[request.target] = int(length)
        data += request.body
        peer.respond(204, headers=self.fields(Upload_Offset=str(len(data))))

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]


def send(server: FakeTus, source: Any = DATA, **options: Any) -> UploadResult:
    options.setdefault("retry", QUICK)
    return upload(source, server.endpoint, protocol="tus", **options)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data.bin"
    path.write_bytes(DATA)
    return path


def sidecars(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.upload"))


def status(code: int, **headers: str) -> Answer:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda peer, request: peer.respond(code, headers=fields)


def lost(peer: Peer, request: Request) -> None:
    peer.cut()


# -- the plain way


def test_an_upload_is_created_and_sent_in_one_request(file: Path) -> None:
    with FakeTus() as server:
        result = send(server, file)
        assert server.methods == ["OPTIONS", "POST", "PATCH"]
        assert bytes(server.uploads["/files/1"]) == DATA
        assert server.metadata["/files/1"] == "filename " + base64.b64encode(b"data.bin").decode()
        assert result.url == f"{server.origin}/files/1"
    assert (result.bytes, result.attempts, result.resumed_from, result.restarts) == (len(DATA), 1, 0, 0)
    assert result.response is not None and result.response.headers["Upload-Offset"] == str(len(DATA))
    assert sidecars(file.parent) == []


def test_metadata_is_that_of_the_caller() -> None:
    with FakeTus() as server:
        send(server, metadata={"name": "Übung", "empty": ""})
        assert server.metadata["/files/1"] == f"name {base64.b64encode('Übung'.encode()).decode()},empty"


def test_a_server_that_does_not_say_what_it_can_is_asked_for_little() -> None:
    with FakeTus(None) as server:
        send(server, b"x" * 100, segments=4, digest="md5:" + hashlib.md5(b"x" * 100).hexdigest())
        assert server.methods == ["OPTIONS", "POST", "PATCH"]


def test_a_small_file_goes_along_with_its_creation() -> None:
    """Where the server knows creation-with-upload; a large one does not, since a cut would lose its address."""
    with FakeTus(ALL) as server:
        assert send(server, b"small").attempts == 1
        assert server.methods == ["OPTIONS", "POST"] and bytes(server.uploads["/files/1"]) == b"small"
        send(server, DATA)
        assert server.methods[2:] == ["OPTIONS", "POST", "PATCH"]


def stored_and_lost(server: FakeTus) -> Answer:
    """The server does it all, and its answer does not arrive."""

    def answer(peer: Peer, request: Request) -> None:
        server.uploads[f"/files/{len(server.lengths) + 1}"] = bytearray(request.body)
        server.lengths[f"/files/{len(server.lengths) + 1}"] = len(request.body)
        peer.cut()

    return answer


def test_a_creation_with_data_whose_answer_was_lost_is_not_repeated() -> None:
    """The server may have the whole file, and have acted on it; two creations would be two files."""
    with FakeTus(ALL) as server:
        server.on("POST", stored_and_lost(server))
        with pytest.raises(TransferInterrupted) as caught:
            send(server, b"small")
        assert isinstance(caught.value.__cause__, ConnectionLost) and caught.value.__cause__.may_have_executed
        assert [bytes(data) for data in server.uploads.values()] == [b"small"]


@pytest.mark.parametrize("answer", [status(503), status(502), status(408)])
def test_a_creation_with_data_is_not_repeated_after_what_a_gateway_says(answer: Answer) -> None:
    with FakeTus(ALL) as server:
        server.on("POST", answer)
        with pytest.raises(TransferRefused):
            send(server, b"small")
        assert server.methods == ["OPTIONS", "POST"]


def test_a_creation_with_data_is_repeated_if_that_does_no_harm() -> None:
    with FakeTus(ALL) as server:
        server.on("POST", stored_and_lost(server))
        assert bytes(server.uploads["/files/" + send(server, b"small", idempotent=True).url[-1]]) == b"small"
    with FakeTus(ALL) as server:
        server.on("POST", status(429))
        assert send(server, b"small").attempts == 2


def test_a_joining_whose_answer_was_lost_is_not_repeated(file: Path) -> None:
    with FakeTus(ALL) as server:

        def post(peer: Peer, request: Request) -> None:
            if (request.header("Upload-Concat") or "").startswith("final"):
                peer.cut()
            else:
                server.answer(peer, request)

        server.on("POST", *[post] * 9)
        with pytest.raises(TransferInterrupted):
            send(server, file, segments=3)
        finals = [request.header("Upload-Concat") or "" for request in server.requests if request.method == "POST"]
        assert [final.startswith("final") for final in finals].count(True) == 1


@pytest.mark.parametrize("method", ["HEAD", "PATCH"])
def test_a_server_cannot_have_more_than_was_sent(file: Path, method: str) -> None:
    """What says so is about other bytes, and nothing goes on from there, neither now nor later."""
    with open(file, "r+b") as sparse:
        sparse.truncate(64 << 20)
    with FakeTus() as server:

        def early(peer: Peer) -> None:
            if method == "PATCH":
                peer.send_head(204, server.fields(Upload_Offset=str(64 << 20)))
            peer.cut()

        def claims(peer: Peer, request: Request) -> None:
            peer.send_head(200, server.fields(Upload_Offset=str(64 << 20), Upload_Length=str(64 << 20)))

        server.early = early
        server.on("HEAD", *[claims] * 3)
        with pytest.raises(TargetChanged, match="were sent"):
            send(server, file)
        assert sidecars(file.parent) == []


def test_an_empty_file_is_created_and_that_is_all() -> None:
    with FakeTus() as server:
        assert send(server, b"").bytes == 0
        assert server.methods == ["OPTIONS", "POST"] and server.lengths["/files/1"] == 0


def test_a_fixed_chunk_size_is_kept() -> None:
    with FakeTus() as server:
        assert send(server, chunk_size=1_000_000).attempts == 4
        assert [len(request.body) for request in server.seen("PATCH")] == [1_000_000] * 3 + [len(DATA) - 3_000_000]


def test_another_version_of_tus_is_said() -> None:
    with FakeTus() as server:
        server.options["Tus-Version"] = "0.2.2"
        with pytest.raises(TransferRefused, match="0.2.2"):
            send(server)


def test_a_file_that_is_too_large_is_said_before_it_is_sent() -> None:
    with FakeTus() as server:
        server.options["Tus-Max-Size"] = "1000"
        with pytest.raises(TransferRefused, match="at most 1000 bytes"):
            send(server)
        assert server.methods == ["OPTIONS"]


def test_an_upload_at_another_origin_goes_through_the_same_proxy() -> None:
    """Of a session of the caller's, the ways stay, and what it adds to requests does not."""
    with FakeTus() as proxy, requests.Session() as session:
        session.proxies["http"], session.headers["x-secret"] = proxy.origin, "1"
        there = "http://other.test/there"
        proxy.uploads[there], proxy.lengths[there] = bytearray(), len(DATA)
        proxy.on("POST", status(201, Location=there))
        upload(DATA, "http://tus.test/files/", protocol="tus", http=session, retry=QUICK)
        assert bytes(proxy.uploads[there]) == DATA
        assert [request.header("x-secret") for request in proxy.requests] == ["1", "1", None]


def test_credentials_of_the_address_go_with_each_request() -> None:
    """The addresses of uploads do not repeat them."""
    with FakeTus() as server:
        server.endpoint = server.endpoint.replace("//", "//user:pw@")
        send(server)
        expected = "Basic " + base64.b64encode(b"user:pw").decode()
        assert [request.header("Authorization") for request in server.requests] == [expected] * 3


def test_credentials_do_not_go_to_an_upload_at_another_origin() -> None:
    with FakeTus() as other, FakeTus() as server:
        other.uploads["/there"], other.lengths["/there"] = bytearray(), len(DATA)
        server.on("POST", status(201, Location=f"{other.origin}/there"))
        send(server, headers={"X-Key": "k"}, auth=("user", "pw"))
        assert server.requests[0].header("Authorization") and server.requests[0].header("X-Key")
        (patch,) = other.requests
        assert patch.header("Authorization") is None and patch.header("X-Key") is None
        assert bytes(other.uploads["/there"]) == DATA


# -- what goes wrong in the middle


def test_a_lost_answer_costs_a_question(file: Path) -> None:
    """The data arrived, its answer did not: HEAD says so, and nothing is sent twice."""
    with FakeTus() as server:

        def forget(peer: Peer, request: Request) -> None:
            server.uploads[request.target] += request.body
            peer.cut()

        server.on("PATCH", forget)
        assert send(server, file).attempts == 1
        assert server.methods == ["OPTIONS", "POST", "PATCH", "HEAD"]


def test_what_arrived_of_a_broken_request_is_not_sent_again() -> None:
    with FakeTus() as server:

        def partly(peer: Peer, request: Request) -> None:
            server.uploads[request.target] += request.body[:1_000_000]
            peer.cut()

        server.on("PATCH", partly)
        assert send(server).attempts == 2
        assert server.seen("PATCH")[1].header("Upload-Offset") == "1000000"
        assert bytes(server.uploads["/files/1"]) == DATA


def test_a_server_that_takes_part_of_a_request_is_sent_the_rest() -> None:
    with FakeTus() as server:

        def partly(peer: Peer, request: Request) -> None:
            server.uploads[request.target] += request.body[:1000]
            peer.respond(204, headers={"Upload-Offset": "1000"})

        server.on("PATCH", partly)
        send(server)
        assert bytes(server.uploads["/files/1"]) == DATA and "HEAD" not in server.methods


@pytest.mark.parametrize("offset", [{}, {"Upload_Offset": "x"}, {"Upload_Offset": str(len(DATA) + 5)}])
def test_an_answer_with_a_senseless_offset_is_asked_about(offset: dict[str, str]) -> None:
    with FakeTus() as server:

        def vague(peer: Peer, request: Request) -> None:
            server.uploads[request.target] += request.body
            status(204, **offset)(peer, request)

        server.on("PATCH", vague)
        send(server)
        assert server.methods[-1] == "HEAD" and bytes(server.uploads["/files/1"]) == DATA


@pytest.mark.parametrize("code", [409, 423, 460, 429, 500, 503])
def test_a_passing_refusal_is_followed_by_a_question(code: int) -> None:
    """Another offset, a lock, damage on the way, trouble: ask for the offset and go on."""
    with FakeTus() as server:
        server.on("PATCH", status(code))
        assert send(server).attempts == 2
        assert server.methods == ["OPTIONS", "POST", "PATCH", "HEAD", "PATCH"]


def test_attempts_that_bring_little_are_not_made_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that breaks each connection after some bytes is asked twenty times a second, and not more."""
    waits: list[float] = []
    monkeypatch.setattr(Interrupt, "sleep", lambda self, seconds: waits.append(seconds))
    monkeypatch.setattr(flow, "_SPACING", 60.0)  # longer than any attempt takes here

    with FakeTus() as server:

        def partly(peer: Peer, request: Request) -> None:
            server.uploads[request.target] += request.body[:1000]
            peer.cut()

        server.on("PATCH", *[partly] * 5)
        send(server, DATA[:200_000], retry=RetryPolicy(attempts=2, base=0.001))
        assert bytes(server.uploads["/files/1"]) == DATA[:200_000]
    assert len(waits) == 5 and max(waits) <= 60


def test_a_server_that_asks_for_time_is_not_asked_before() -> None:
    """``Retry-After`` is for every request, the question for the offset too; one that is too long ends it."""
    with FakeTus() as server:
        server.on("PATCH", status(429, Retry_After="3600"))
        with pytest.raises(TransferRefused):
            send(server)
        assert server.methods == ["OPTIONS", "POST", "PATCH"]


def test_a_lock_may_also_meet_the_question() -> None:
    with FakeTus() as server:
        server.on("PATCH", lost)
        server.on("HEAD", status(423), status(503))
        send(server, retry=RetryPolicy(attempts=5, base=0))
        assert bytes(server.uploads["/files/1"]) == DATA


def test_a_lock_that_stays_ends_it_and_keeps_what_is_there(file: Path) -> None:
    """The next call goes on from there."""
    with FakeTus() as server:
        with pytest.raises(TransferRefused) as caught:

            def partly(peer: Peer, request: Request) -> None:
                server.uploads[request.target] += request.body[:1_000_000]
                peer.cut()

            server.on("PATCH", partly, *[status(423)] * 9)
            send(server, file)
        assert (caught.value.status, caught.value.bytes_kept, caught.value.resumable) == (423, 1_000_000, True)
        server.answers.clear()
        seen: list[Progress] = []
        result = send(server, file, on_progress=seen.append)
        assert result.resumed_from == 1_000_000 and result.attempts == 1
        assert server.methods[-2:] == ["HEAD", "PATCH"] and server.seen("POST") == server.seen("POST")[:1]
        assert bytes(server.uploads["/files/1"]) == DATA
    assert sidecars(file.parent) == [] and seen[-1].progress == len(DATA)


def test_a_server_that_lost_data_gets_it_again_and_progress_stands_still() -> None:
    seen: list[Progress] = []
    with FakeTus() as server:

        def forgets(peer: Peer, request: Request) -> None:
            del server.uploads[request.target][500_000:]
            peer.cut()

        server.on("PATCH", lambda peer, request: server.answer(peer, request), forgets)
        send(server, chunk_size=1 << 20, on_progress=seen.append)
        assert bytes(server.uploads["/files/1"]) == DATA
    assert [report.progress for report in seen] == sorted(report.progress for report in seen)


@pytest.mark.parametrize("code", [404, 410])
def test_an_upload_that_is_gone_begins_again_once(file: Path, code: int) -> None:
    seen: list[Progress] = []
    with FakeTus() as server:
        server.on("PATCH", status(code))
        result = send(server, file, on_progress=seen.append)
        assert result.restarts == 1 and bytes(server.uploads["/files/2"]) == DATA
    assert [report.state for report in seen if report.state == "restarted"] == ["restarted"]


@pytest.mark.parametrize("code", [404, 410])
def test_an_upload_that_is_gone_twice_is_an_error(file: Path, code: int) -> None:
    with FakeTus() as server:
        server.on("PATCH", *[status(code)] * 5)
        with pytest.raises(UploadGone) as caught:
            send(server, file)
        assert len(server.seen("POST")) == 2
    assert not caught.value.resumable and sidecars(file.parent) == []


def test_an_upload_of_another_length_is_not_gone_on_with(file: Path) -> None:
    with FakeTus() as server:

        def other(peer: Peer, request: Request) -> None:
            server.lengths[request.target] = 5
            peer.cut()

        server.on("PATCH", other)
        with pytest.raises(TargetChanged):
            send(server, file)
        # Nor by the next call, for ever: that one begins anew.
        assert sidecars(file.parent) == []
        assert send(server, file).bytes == len(DATA)


@pytest.mark.parametrize("code", [400, 415, 501])
def test_a_lasting_refusal_ends_it(code: int) -> None:
    with FakeTus() as server:
        server.on("PATCH", status(code))
        with pytest.raises(TransferRefused) as caught:
            send(server)
    assert caught.value.status == code


def test_a_creation_is_repeated() -> None:
    with FakeTus() as server:
        server.on("POST", lost, status(503))
        assert send(server).restarts == 0
        assert len(server.seen("POST")) == 3


@pytest.mark.parametrize("answer", [status(200), status(201), status(201, Location="ftp://x/y")])
def test_a_creation_that_makes_no_sense_is_said(answer: Answer) -> None:
    with FakeTus() as server:
        server.on("POST", answer)
        with pytest.raises(TransferRefused) as caught:
            send(server)
        assert caught.value.status in (200, 201) and len(server.seen("POST")) == 1


def test_a_file_object_with_one_position_is_sent_in_one_part() -> None:
    """Several threads that read from it would take each other's bytes."""
    with FakeTus(ALL) as server:
        result = send(server, io.BytesIO(DATA), segments=3)
        assert bytes(server.uploads[result.url.removeprefix(server.origin)]) == DATA
        assert len(server.uploads) == 1


def test_a_new_upload_has_no_more_than_went_along() -> None:
    """What the answer to a creation says of the offset is believed as far as it can be true."""
    with FakeTus() as server:
        server.uploads["/files/1"], server.lengths["/files/1"] = bytearray(), len(DATA)
        server.on("POST", status(201, Location="/files/1", Upload_Offset=str(len(DATA))))
        send(server)
        assert bytes(server.uploads["/files/1"]) == DATA


def test_a_creation_that_is_forbidden_is_said() -> None:
    with FakeTus() as server:
        server.on("POST", status(403))
        with pytest.raises(TransferForbidden):
            send(server)


def test_a_link_that_dies_again_and_again_still_finishes() -> None:
    """Only attempts in a row without progress count."""
    with FakeTus() as server:

        def partly(peer: Peer, request: Request) -> None:
            server.uploads[request.target] += request.body[:200_000]
            peer.cut()

        server.on("PATCH", *[partly] * 15)
        assert send(server).attempts == 16
        assert bytes(server.uploads["/files/1"]) == DATA


def test_attempts_without_progress_end_it(file: Path) -> None:
    with FakeTus() as server:
        server.on("PATCH", *[lost] * 9)
        with pytest.raises(TransferInterrupted) as caught:
            send(server, file)
        assert caught.value.attempts == 3 and len(sidecars(file.parent)) == 1


# -- the size of a request


def test_a_request_that_is_too_large_is_made_smaller() -> None:
    """413: halved until it passes, and never up to what was refused again."""
    with FakeTus() as server:
        server.largest = 1_000_000
        send(server, retry=RetryPolicy(attempts=8, base=0))
        assert bytes(server.uploads["/files/1"]) == DATA
        refused = [len(request.body) for request in server.seen("PATCH") if len(request.body) > 1_000_000]
    assert refused == [len(DATA), len(DATA) // 2]


def test_a_fixed_request_that_is_too_large_is_an_error() -> None:
    with FakeTus() as server:
        server.largest = 1000
        with pytest.raises(TransferRefused) as caught:
            send(server, chunk_size=2000)
    assert caught.value.status == 413


def test_the_size_of_a_request_adapts() -> None:
    """All at once; less after a refusal or a loss; more again after successes, below what was refused."""
    mib = 1 << 20
    chunks = Chunks(None)
    assert chunks.next(100 * mib) == 100 * mib
    chunks.lost(3 * mib)
    assert chunks.next(100 * mib) == 100 * mib  # may have been on its way only
    chunks.lost(16 * mib)
    assert chunks.next(100 * mib) == 8 * mib
    chunks.took(8 * mib)
    assert chunks.next(100 * mib) == 16 * mib
    assert chunks.too_large(16 * mib) and chunks.next(100 * mib) == 8 * mib
    chunks.took(8 * mib)
    assert chunks.next(100 * mib) == 8 * mib
    chunks.took(5)
    assert chunks.next(5) == 5
    assert not chunks.too_large(1000)
    fixed = Chunks(1000)
    fixed.lost(100 * mib)
    fixed.took(1000)
    assert fixed.next(5000) == 1000 and not fixed.too_large(mib)


def test_a_server_that_says_nothing_to_the_question_is_wrong() -> None:
    with FakeTus() as server:
        server.on("PATCH", lost)
        server.on("HEAD", status(200))
        with pytest.raises(TransferRefused, match="how much"):
            send(server)


def test_the_first_question_may_be_lost() -> None:
    with FakeTus() as server:
        server.on("OPTIONS", lost)
        server.on("PATCH", lost)
        server.on("HEAD", lost)
        assert send(server, retry=RetryPolicy(attempts=5, base=0)).attempts == 2


# -- another process, another day


def interrupt(server: FakeTus, file: Path, kept: int, **options: Any) -> dict[str, Any]:
    """Leave an upload with ``kept`` bytes on the server; gives what the sidecar says."""

    def partly(peer: Peer, request: Request) -> None:
        server.uploads[request.target] += request.body[:kept]
        peer.cut()

    server.on("PATCH", partly, *[lost] * 9)
    with pytest.raises(TransferInterrupted):
        send(server, file, **options)
    server.answers.clear()
    (sidecar,) = sidecars(file.parent)
    assert os.stat(sidecar).st_mode & 0o77 == 0
    state: dict[str, Any] = json.loads(sidecar.read_text())
    return state


def test_a_file_that_changed_is_sent_anew_and_the_old_upload_ended(file: Path) -> None:
    """By size, time, or a hash of its head, middle and end."""
    with FakeTus() as server:
        interrupt(server, file, 1_000_000)
        about = os.stat(file)
        with open(file, "r+b") as out:
            out.seek(len(DATA) // 2)
            out.write(b"changed")
        os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
        assert send(server, file).resumed_from == 0
        assert "/files/1" not in server.uploads and bytes(server.uploads["/files/2"]) == file.read_bytes()


def test_resume_false_begins_anew(file: Path) -> None:
    with FakeTus() as server:
        interrupt(server, file, 1_000_000)
        assert send(server, file, resume=False).resumed_from == 0
        assert "/files/1" not in server.uploads and "HEAD" not in server.methods[-3:]


def test_an_upload_that_is_gone_meanwhile_is_sent_anew(file: Path) -> None:
    with FakeTus() as server:
        interrupt(server, file, 1_000_000)
        server.uploads.clear()
        result = send(server, file)
        assert (result.resumed_from, result.restarts) == (0, 1)
        assert bytes(server.uploads["/files/2"]) == DATA


def test_an_upload_that_has_expired_is_not_asked_for(file: Path) -> None:
    with FakeTus() as server:
        server.expires = "Mon, 01 Jan 2024 00:00:00 GMT"
        assert interrupt(server, file, 1_000_000)["expires"] == server.expires
        server.expires = None
        asked = len(server.seen("HEAD"))
        assert send(server, file).resumed_from == 0
        assert len(server.seen("HEAD")) == asked and bytes(server.uploads["/files/2"]) == DATA


def test_another_endpoint_has_a_sidecar_of_its_own(file: Path) -> None:
    with FakeTus() as server, FakeTus() as other:
        interrupt(server, file, 1_000_000)
        send(other, file)
        assert bytes(other.uploads["/files/1"]) == DATA
        assert len(sidecars(file.parent)) == 1
        assert send(server, file).resumed_from == 1_000_000


@pytest.mark.parametrize("text", ["", "[]", '{"uploads": 5}', '{"uploads": [["x", 0, 1]], "owner": 5}', "\x00"])
def test_a_sidecar_that_makes_no_sense_is_ignored(file: Path, text: str) -> None:
    with FakeTus() as server:
        interrupt(server, file, 1_000_000)
        sidecars(file.parent)[0].write_text(text)
        assert send(server, file).resumed_from == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_the_sidecar_of_another_user_says_nothing_about_where_to_send(file: Path) -> None:
    """He would get the file."""
    with FakeTus() as server, FakeTus() as other:
        state = interrupt(server, file, 1_000_000)
        (sidecar,) = sidecars(file.parent)
        other.uploads["/files/9"], other.lengths["/files/9"] = bytearray(), len(DATA)
        state["uploads"] = [[f"{other.origin}/files/9", 0, len(DATA)]]
        sidecar.write_text(json.dumps(state))
        os.chown(sidecar, 65534, 65534)
        assert send(server, file).resumed_from == 0
        assert other.methods == []


def test_a_pipe_in_place_of_the_sidecar_blocks_nothing(file: Path) -> None:
    with FakeTus() as server:
        interrupt(server, file, 1000)
        (sidecar,) = sidecars(file.parent)
        sidecar.unlink()
        os.mkfifo(sidecar)
        thread = threading.Thread(target=lambda: send(server, file), daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive() and bytes(server.uploads["/files/2"]) == DATA


def test_an_upload_of_another_machine_is_left_alone_while_it_is_young(file: Path) -> None:
    """There its process id says nothing."""
    with FakeTus() as server:
        state = interrupt(server, file, 1_000_000)
        (sidecar,) = sidecars(file.parent)
        sidecar.write_text(json.dumps({**state, "owner": {"host": "elsewhere", "pid": 1, "started": 1}}))
        assert send(server, file).resumed_from == 0 and sidecar.exists()
        os.utime(sidecar, (0, 0))
        assert send(server, file).resumed_from == 1_000_000


def test_an_upload_of_another_machine_is_left_alone_in_the_middle_of_a_long_request(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sidecar was written hours ago, and is as old as the last piece that was sent."""
    monkeypatch.setattr(tus_note, "_TOUCH_SECONDS", 0.0)
    data = DATA * 6  # more than the buffers of a connection hold
    file.write_bytes(data)
    outcome: list[UploadResult] = []

    def slowly(peer: Peer) -> None:
        server.early = None
        peer._read_exactly(100_000)
        (sidecar,) = sidecars(file.parent)
        state = json.loads(sidecar.read_text())
        sidecar.write_text(json.dumps({**state, "owner": {"host": "elsewhere", "pid": 1, "started": 1}}))
        os.utime(sidecar, (0, 0))
        rest = peer._read_exactly(len(data) - 100_000)
        assert rest == data[100_000:] and sidecar.stat().st_mtime > 0
        outcome.append(send(server, file))
        server.uploads["/files/1"] += data
        peer.respond(204, headers=server.fields(Upload_Offset=str(len(data))))

    with FakeTus() as server:
        server.early = slowly
        first = send(server, file)
        assert (outcome[0].resumed_from, first.attempts) == (0, 1)
        assert bytes(server.uploads["/files/1"]) == bytes(server.uploads["/files/2"]) == data


def test_a_sidecar_may_lie_elsewhere(file: Path, tmp_path: Path) -> None:
    place = tmp_path / "state.json"
    with FakeTus() as server:
        server.on("PATCH", *[lost] * 3)
        with pytest.raises(TransferInterrupted):
            send(server, file, sidecar=place)
        assert place.exists() and sidecars(file.parent) == []
        server.answers.clear()
        send(server, file, sidecar=place)
        assert not place.exists() and len(server.seen("POST")) == 1


def test_a_sidecar_that_cannot_be_written_does_not_stop_it(file: Path) -> None:
    """It cannot be gone on with; that is all."""
    with FakeTus() as server:
        assert send(server, file, sidecar=file.parent / "none" / "state").attempts == 1


def test_two_uploads_of_one_file_at_once_are_two_uploads(file: Path) -> None:
    reached, held = threading.Event(), threading.Event()
    with FakeTus() as server:

        def slow(peer: Peer, request: Request) -> None:
            reached.set()
            peer.hold(held)
            server.answer(peer, request)

        server.on("PATCH", slow)
        first = threading.Thread(target=lambda: send(server, file))
        first.start()
        assert reached.wait(10)
        send(server, file)
        held.set()
        first.join(10)
        assert [bytes(data) for data in server.uploads.values()] == [DATA, DATA]
    assert sidecars(file.parent) == []


def test_a_file_that_changes_meanwhile_is_an_error(file: Path) -> None:
    with FakeTus() as server:

        def change(peer: Peer, request: Request) -> None:
            with open(file, "ab") as out:
                out.write(b"more")
            server.answer(peer, request)

        server.on("PATCH", change)
        with pytest.raises(SourceChanged):
            send(server, file, chunk_size=1 << 20)


# -- digest and checksum

SHA = "sha256:" + hashlib.sha256(DATA).hexdigest()


def test_a_digest_brings_checksums_where_the_server_knows_them(file: Path) -> None:
    with FakeTus(ALL) as server:
        assert send(server, file, digest=SHA).digest == SHA
        assert server.seen("PATCH")[0].header("Upload-Checksum") == (
            "sha256 " + base64.b64encode(hashlib.sha256(DATA).digest()).decode()
        )


def test_damage_on_the_way_is_repaired(file: Path) -> None:
    """460: the same data once more."""
    with FakeTus(ALL) as server:
        server.on("PATCH", status(460), status(460))
        assert send(server, file, digest=SHA, chunk_size=1 << 20).attempts == 5
        assert bytes(server.uploads["/files/1"]) == DATA


@pytest.mark.parametrize("size", [len(DATA), 1 << 20, 1000])
def test_a_wrong_digest_never_makes_a_whole_upload(tmp_path: Path, size: int) -> None:
    """It is compared before the last request, and the upload is ended."""
    path = tmp_path / "x"
    path.write_bytes(DATA[:size])
    with FakeTus(ALL) as server:
        with pytest.raises(DigestMismatch):
            send(server, path, digest="sha256:" + "0" * 64)
        assert not any(len(data) == size for data in server.uploads.values())
    assert sidecars(tmp_path) == []


def test_the_digest_of_segments_is_compared_before_they_are_joined(file: Path) -> None:
    with FakeTus(ALL) as server:
        send(server, file, segments=3, digest=SHA)
        assert len(server.finals) == 1
        server.on("DELETE", lost, status(500))
        with pytest.raises(DigestMismatch):
            send(server, file, segments=3, digest="sha256:" + "0" * 64)
        assert len(server.finals) == 1 and len(server.seen("DELETE")) == 3


def test_the_digest_counts_what_an_earlier_process_sent(file: Path) -> None:
    with FakeTus() as server:
        interrupt(server, file, 1_000_000)
        assert send(server, file, digest=SHA).resumed_from == 1_000_000


# -- sources of unknown size


@pytest.mark.parametrize("size", [0, 1, 999_999, 1_000_000, 2_500_000])
def test_an_iterator_is_sent_in_chunks_whose_end_tells_the_length(size: int) -> None:
    source = (DATA[at : min(at + 70_000, size)] for at in range(0, size, 70_000))
    with FakeTus(ALL) as server:
        assert send(server, source, chunk_size=1_000_000).bytes == size
        assert bytes(server.uploads["/files/1"]) == DATA[:size] and server.lengths["/files/1"] == size


def test_an_iterator_survives_cuts_since_a_chunk_is_held() -> None:
    with FakeTus(ALL) as server:

        def partly(peer: Peer, request: Request) -> None:
            server.uploads[request.target] += request.body[:1000]
            peer.cut()

        server.on("PATCH", partly, status(503), lost)
        digest = "sha256:" + hashlib.sha256(DATA[:2_500_000]).hexdigest()
        send(server, iter([DATA[:2_500_000]]), chunk_size=1_000_000, digest=digest)
        assert bytes(server.uploads["/files/1"]) == DATA[:2_500_000]


def test_an_iterator_of_which_the_server_lost_something_cannot_be_gone_on_with() -> None:
    with FakeTus(ALL) as server:

        def forgets(peer: Peer, request: Request) -> None:
            server.uploads[request.target].clear()
            peer.cut()

        server.on("PATCH", lambda peer, request: server.answer(peer, request), forgets)
        with pytest.raises(NotReplayable, match="lost data"):
            send(server, iter([DATA]), chunk_size=1 << 20)


def test_an_iterator_that_was_begun_is_not_sent_to_another_upload() -> None:
    with FakeTus(ALL) as server:
        server.on("PATCH", status(404))
        with pytest.raises(NotReplayable):
            send(server, iter([DATA]))


def test_an_iterator_needs_a_server_that_takes_unknown_lengths() -> None:
    with FakeTus() as server:
        with pytest.raises(CapabilityError, match="size"):
            send(server, iter([DATA]))
        assert server.methods == ["OPTIONS"]


# -- segments


def test_segments_are_sent_at_once_and_joined(file: Path) -> None:
    seen: list[Progress] = []
    with FakeTus(ALL) as server:
        result = send(server, file, segments=3, on_progress=seen.append)
        path = result.url.removeprefix(server.origin)
        assert bytes(server.uploads[path]) == DATA and path in server.finals
        assert [request.header("Upload-Concat") for request in server.seen("POST")][:3] == ["partial"] * 3
        assert server.metadata[path] and not server.metadata["/files/1"]
    assert seen[-1].progress == len(DATA) and sidecars(file.parent) == []


def test_interrupted_segments_go_on(file: Path) -> None:
    with FakeTus(ALL) as server:

        def partly(peer: Peer, request: Request) -> None:
            server.uploads[request.target] += request.body[:100_000]
            peer.cut()

        server.on("PATCH", *[partly] * 3, *[lost] * 20)
        with pytest.raises(TransferInterrupted) as caught:
            send(server, file, segments=3)
        kept = caught.value.bytes_kept
        server.answers.clear()
        result = send(server, file, segments=3)
        assert result.resumed_from >= kept > 0 and len(server.seen("POST")) == 4
        assert bytes(server.uploads[result.url.removeprefix(server.origin)]) == DATA


def test_segments_need_a_server_that_joins(file: Path) -> None:
    with FakeTus() as server:
        send(server, file, segments=3)
        assert bytes(server.uploads["/files/1"]) == DATA and len(server.seen("POST")) == 1


class Stop(Exception):
    pass


@pytest.mark.parametrize("segments", [1, 3])
def test_an_exception_in_the_callback_stops_it_and_can_be_gone_on_with(file: Path, segments: int) -> None:
    calls = []
    reached, held = threading.Event(), threading.Event()

    def stop(report: Progress) -> None:
        calls.append(report)
        if report.progress >= 1000:
            raise Stop

    with FakeTus(ALL) as server:

        def slow(peer: Peer, request: Request) -> None:
            server.answer(peer, request)
            if not reached.is_set():
                reached.set()
                held.wait(0.15)  # past the pause between two reports

        server.on("PATCH", *[slow] * 6)
        with pytest.raises(Stop):
            send(server, file, segments=segments, chunk_size=300_000, on_progress=stop)
        count = len(calls)
        server.answers.clear()
        assert send(server, file, segments=segments).resumed_from > 0
    assert len(calls) == count and not [t for t in threading.enumerate() if t.name == "streamhttp-upload"]


@pytest.mark.parametrize("location", ["http://[", "ftp://127.0.0.1/1"])
def test_a_new_upload_at_no_address_is_refused(location: str, file: Path) -> None:
    with FakeTus() as server:
        server.on("POST", status(201, Location=location))
        with pytest.raises(TransferRefused, match="an address that cannot be used"):
            send(server, file)
        assert server.methods == ["OPTIONS", "POST"]
