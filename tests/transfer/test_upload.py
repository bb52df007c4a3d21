"""upload() with PUT, POST and forms: what goes out, what is repeated, and what never is."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import os
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.auth import HTTPDigestAuth

from streamhttp_client.exceptions import (
    ConnectionLost,
    DigestMismatch,
    LocalProtocolError,
    NotReplayable,
    RemoteProtocolError,
    SourceChanged,
    TransferError,
    TransferForbidden,
    TransferInterrupted,
    TransferRefused,
    TransferTimeout,
)
from streamhttp_client.net.retry import RetryPolicy
from streamhttp_client.net.timeouts import Timeout
from streamhttp_client.progress import Progress
from streamhttp_client.transfer.callers import asked, report_to
from streamhttp_client.transfer.upload import UploadResult, upload
from tests.support.rawserver import Peer, RawServer, Request

DATA = os.urandom(3 << 20)
QUICK = RetryPolicy(attempts=3, base=0)
SHA = "sha256:" + hashlib.sha256(DATA).hexdigest()

Answer = Callable[[Peer, Request], None]


class Receiver(RawServer):
    """Takes uploads: the first requests get ``answers``, later ones 201."""

    def __init__(self, *answers: Answer | None) -> None:
        super().__init__()
        self.answers = list(answers)
        self.url = f"{self.origin}/up/file.bin"

    def handle(self, peer: Peer) -> None:
        while peer.open:
            request = peer.read_request()
            answer = self.answers.pop(0) if self.answers else None
            if answer is None:
                peer.respond(201, b"thanks", headers={"Location": "/stored/1"})
            else:
                answer(peer, request)


class EarlyReceiver(RawServer):
    """Reads only so much of the first request, as a broken or unwilling server does; then behaves."""

    def __init__(self, size: int, then: Callable[[Peer], None]) -> None:
        super().__init__()
        self.url = f"{self.origin}/up/file.bin"
        self._size = size
        self._then = then

    def handle(self, peer: Peer) -> None:
        if peer.number == 1:
            peer._read_exactly(self._size)
            self._then(peer)
            return
        while peer.open:
            peer.read_request()
            peer.respond(201)


def status(code: int, **headers: str) -> Answer:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda peer, request: peer.respond(code, b"why", headers=fields)


def lost(peer: Peer, request: Request) -> None:
    """Take the request and never answer."""
    peer.cut()


def send(server: RawServer, source: Any, **options: Any) -> UploadResult:
    options.setdefault("retry", QUICK)
    return upload(source, server.url, **options)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data.bin"
    path.write_bytes(DATA)
    return path


# -- sources


class Reader:
    """A file that can only be read."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


@pytest.mark.parametrize("protocol", ["put", "post"])
@pytest.mark.parametrize(
    "kind",
    ["path", "str", "file", "buffered", "bytes", "memory", "bytesio", "list", "iterator", "reader", "gzip"],
)
def test_every_kind_of_source_arrives_whole(tmp_path: Path, file: Path, kind: str, protocol: str) -> None:
    """With a length where it is known, else in the chunked coding."""
    packed = tmp_path / "data.gz"
    packed.write_bytes(gzip.compress(DATA, 1))
    sources: dict[str, Callable[[], Any]] = {
        "path": lambda: file,
        "str": lambda: str(file),
        "file": lambda: open(file, "rb", buffering=0),
        "buffered": lambda: open(file, "rb"),
        "bytes": lambda: DATA,
        "memory": lambda: memoryview(bytearray(DATA)),
        "bytesio": lambda: io.BytesIO(DATA),
        "list": lambda: [DATA[:1000], b"", DATA[1000:]],
        "iterator": lambda: iter([DATA[:1000], b"", DATA[1000:]]),
        "reader": lambda: Reader(DATA),
        "gzip": lambda: gzip.open(packed, "rb"),
    }
    source = sources[kind]()
    with Receiver() as server:
        result = send(server, source, protocol=protocol)
        (request,) = server.requests
    if hasattr(source, "close") and kind in ("file", "buffered", "bytesio"):
        assert not source.closed
        source.close()
    elif kind == "gzip":
        source.close()
    assert request.body == DATA and request.method == protocol.upper()
    known = kind not in ("list", "iterator", "reader")
    assert request.header("Content-Length") == (str(len(DATA)) if known else None)
    assert request.header("Content-Type") == "application/octet-stream"
    assert (result.bytes, result.attempts, result.restarts) == (len(DATA), 1, 0)
    assert result.url == f"{server.origin}/stored/1"
    assert result.response is not None and (result.response.status, result.response.body) == (201, b"thanks")


def test_a_file_is_sent_from_where_it_stands(file: Path) -> None:
    """And stands there afterwards, if it is one of the system."""
    with Receiver() as server, open(file, "rb") as source:
        source.seek(1000)
        assert send(server, source).bytes == len(DATA) - 1000
        assert server.requests[0].body == DATA[1000:] and source.tell() == 1000


def test_an_empty_source_is_sent(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    with Receiver() as server:
        for source in (tmp_path / "empty", b"", iter(())):
            assert send(server, source).bytes == 0
        assert [request.body for request in server.requests] == [b"", b"", b""]


def test_a_pipe_is_sent_as_it_comes(tmp_path: Path) -> None:
    """A path that is no regular file is read once."""
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(DATA))
    writer.start()
    with Receiver() as server:
        assert send(server, tmp_path / "pipe").bytes == len(DATA)
        assert server.requests[0].body == DATA
    writer.join(10)


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("no/such/file", FileNotFoundError, "no/such/file"),
        (5, LocalProtocolError, "int"),
        (io.StringIO("text"), LocalProtocolError, "binary"),
        ([b"bytes", "text"], LocalProtocolError, "must give bytes, got str"),
        ({"a": "form"}, LocalProtocolError, "must give bytes, got str"),
    ],
)
def test_a_source_that_is_none_is_said_before_any_request(source: Any, error: type[Exception], words: str) -> None:
    with Receiver() as server:
        with pytest.raises(error, match=words):
            send(server, source)
        assert server.accepted == 0


def test_a_folder_is_no_source(tmp_path: Path) -> None:
    with Receiver() as server:
        with pytest.raises(IsADirectoryError):
            send(server, tmp_path)
        assert server.accepted == 0


def test_an_iterable_of_strings_is_no_source() -> None:
    with Receiver(lost) as server, pytest.raises(LocalProtocolError, match="must give bytes"):
        send(server, iter(["text"]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"protocol": "ftp"}, "protocol"),
        ({"chunk_size": 0}, "chunk_size"),
        ({"chunk_size": "big"}, "chunk_size"),
        ({"segments": 0}, "segments"),
        ({"digest": "sha256"}, "algorithm:hex"),
        ({"metadata": {"a": "b"}}, "metadata"),
        ({"content_type": "text/plain\r\nX: y", "protocol": "multipart"}, "line break"),
        ({"metadata": {"a": 5}, "protocol": "multipart"}, "strings"),
        ({"metadata": {"a b": "c"}, "protocol": "tus"}, "metadata key"),
        ({"metadata": {"a": 5}, "protocol": "tus"}, "must be a string"),
        ({"timeout": 0}, "timeout"),
        ({"retry": 1}, "RetryPolicy"),
        ({"progress": 3}, "progress"),
    ],
)
def test_an_argument_that_makes_no_sense_is_said_before_any_request(options: dict[str, Any], words: str) -> None:
    with Receiver() as server:
        with pytest.raises(LocalProtocolError, match=words):
            send(server, b"x", **options)
        assert server.accepted == 0


# -- forms


def form(request: Request) -> list[tuple[str | None, str | None, str, bytes]]:
    """(field, file name, type, content) of each part."""
    head = f"Content-Type: {request.header('Content-Type')}\r\n\r\n".encode()
    found = []
    for part in BytesParser(policy=HTTP).parsebytes(head + request.body).iter_parts():
        disposition = part["Content-Disposition"]
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        found.append((disposition.params.get("name"), part.get_filename(), part.get_content_type(), content))
    return found


def test_a_form_has_the_fields_and_the_file(tmp_path: Path) -> None:
    """RFC 7578, with its length known from the beginning."""
    path = tmp_path / "report.csv"
    path.write_bytes(b"a,b\r\n1,2\r\n")
    with Receiver() as server:
        send(server, path, protocol="multipart", metadata={"title": "T"}, field="upload", content_type="text/csv")
        (request,) = server.requests
    assert request.method == "POST" and request.header("Content-Length") == str(len(request.body))
    assert form(request) == [
        ("title", None, "text/plain", b"T"),
        ("upload", "report.csv", "text/csv", b"a,b\r\n1,2\r\n"),
    ]


def test_a_file_name_cannot_break_out_of_its_field() -> None:
    with Receiver() as server:
        send(server, b"x", protocol="multipart", filename='a"\r\nX-Evil: 1\r\n\r\n.txt')
        assert b"X-Evil: 1\r\n" not in server.requests[0].body
        assert b'filename="a%22%0D%0AX-Evil: 1%0D%0A%0D%0A.txt"' in server.requests[0].body


def test_a_form_of_an_iterator_is_chunked() -> None:
    with Receiver() as server:
        send(server, iter([b"one", b"two"]), protocol="multipart", filename="f")
        assert form(server.requests[0]) == [("file", "f", "application/octet-stream", b"onetwo")]


def test_a_form_that_leads_elsewhere_is_done() -> None:
    """303: what was asked for has been done (RFC 9110, section 15.4.4)."""
    with Receiver(status(303, Location="/thanks")) as server:
        result = send(server, b"x", protocol="multipart")
        assert result.response is not None and result.response.status == 303
        assert len(server.requests) == 1


# -- what is repeated


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_put_is_repeated_after_a_passing_error(file: Path, code: int) -> None:
    """From the first byte again, said as a restart."""
    seen: list[Progress] = []
    with Receiver(status(code)) as server:
        result = send(server, file, on_progress=seen.append)
        assert [request.body == DATA for request in server.requests] == [True, True]
    assert (result.attempts, result.restarts) == (2, 1)
    assert [report.state for report in seen if report.state != "running"] == ["restarted", "done"]
    assert (seen[-1].progress, seen[-1].total, seen[-1].attempt) == (len(DATA), len(DATA), 2)


def test_put_is_repeated_after_a_lost_answer(file: Path) -> None:
    with Receiver(lost) as server:
        assert send(server, file).attempts == 2
        assert server.requests[1].body == DATA


def garbled(peer: Peer, request: Request) -> None:
    peer.send(b"HTTP/1.1 what\r\n\r\n")
    peer.cut()


def test_an_answer_that_makes_no_sense_is_a_lost_one(file: Path) -> None:
    with Receiver(garbled) as server:
        assert send(server, file).attempts == 2
    with Receiver(garbled) as server:
        with pytest.raises(TransferInterrupted):
            send(server, file, protocol="post")
        assert len(server.requests) == 1


def test_put_is_repeated_after_a_cut_in_the_middle(file: Path) -> None:
    with EarlyReceiver(1 << 20, lambda peer: peer.reset()) as server:
        assert send(server, file).attempts == 2
        assert server.requests[0].body == DATA


def test_post_is_not_repeated_after_a_lost_answer(file: Path) -> None:
    """The server may have acted on it."""
    with Receiver(lost) as server:
        with pytest.raises(TransferInterrupted) as caught:
            send(server, file, protocol="post")
        assert len(server.requests) == 1
    assert getattr(caught.value.__cause__, "may_have_executed", None) is True
    with Receiver(lost) as server:
        assert send(server, file, protocol="post", idempotent=True).attempts == 2


@pytest.mark.parametrize(
    ("code", "headers", "repeated"),
    [
        (429, {}, True),
        (503, {"retry_after": "0"}, True),
        (503, {}, False),
        (408, {}, False),
        (500, {"retry_after": "0"}, False),
        (502, {}, False),
    ],
)
def test_post_is_repeated_only_if_nothing_was_done(
    file: Path, code: int, headers: dict[str, str], repeated: bool
) -> None:
    """A gateway says 503 and 408 also of a server that was cut off while it worked."""
    with Receiver(status(code, **headers)) as server:
        if repeated:
            assert send(server, file, protocol="post").attempts == 2
        else:
            with pytest.raises(TransferRefused) as caught:
                send(server, file, protocol="post")
            assert caught.value.status == code and len(server.requests) == 1


def early_ok(peer: Peer) -> None:
    peer.respond(200, b"thanks")
    peer.cut()


@pytest.fixture
def large(file: Path) -> Path:
    """More than the buffers of both ends hold."""
    with open(file, "r+b") as sparse:
        sparse.truncate(32 << 20)
    return file


@pytest.mark.parametrize("borrowed", [False, True])
def test_a_success_before_all_was_sent_is_none(large: Path, borrowed: bool) -> None:
    """It cannot be about bytes that never left; a PUT is made again."""
    with EarlyReceiver(64 << 10, early_ok) as server, requests.Session() as session:
        assert send(server, large, http=session if borrowed else None).attempts == 2
        assert len(server.requests[-1].body) == 32 << 20


@pytest.mark.parametrize("kind", ["path", "iterator"])
@pytest.mark.parametrize("code", [200, 302, 303])
def test_a_success_before_all_was_sent_ends_what_must_not_be_repeated(large: Path, kind: str, code: int) -> None:
    def answer(peer: Peer) -> None:
        peer.respond(code, b"thanks", headers={"Location": "/thanks"})
        peer.cut()

    source: Any = large if kind == "path" else iter([bytes(1 << 20)] * 32)
    with EarlyReceiver(64 << 10, answer) as server:
        with pytest.raises(TransferError, match="took no more|only once"):
            send(server, source, protocol="post")
        assert {request.connection for request in server.requests} <= {1}


@pytest.mark.parametrize("code", [301, 302, 303])
def test_a_post_that_leads_elsewhere_is_done(code: int) -> None:
    """Post, redirect, get: what was sent is not sent to where the thanks are."""
    with Receiver(status(code, location="/thanks")) as server:
        result = send(server, DATA, protocol="post")
        assert result.response is not None and result.response.status == code
        assert [request.target for request in server.requests] == ["/up/file.bin"]


class Challenging(Receiver):
    """Asks for HTTP Digest credentials."""

    def handle(self, peer: Peer) -> None:
        while peer.open:
            request = peer.read_request()
            if (request.header("Authorization") or "").startswith("Digest"):
                peer.respond(201)
            else:
                challenge = 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
                peer.respond(401, headers={"WWW-Authenticate": challenge})


@pytest.mark.parametrize("kind", ["path", "bytes", "iterable"])
def test_http_digest_gets_the_whole_body(file: Path, kind: str) -> None:
    """It sends the request twice: the body begins again."""
    source: Any = {"path": file, "bytes": DATA, "iterable": [DATA[:1000], DATA[1000:]]}[kind]
    with Challenging() as server:
        result = send(server, source, auth=HTTPDigestAuth("user", "pw"), timeout=Timeout(read=10.0))
        assert result.bytes == len(DATA) and server.requests[-1].body == DATA


def test_http_digest_cannot_send_an_iterator_twice() -> None:
    """And says so, where an empty body would be taken for the file."""
    with Challenging() as server:
        with pytest.raises(NotReplayable):
            send(server, iter([DATA]), auth=HTTPDigestAuth("user", "pw"), timeout=Timeout(read=10.0))


def test_post_is_repeated_if_it_surely_did_not_arrive_whole(file: Path) -> None:
    """More than the buffers of both ends hold was still to come."""
    with open(file, "r+b") as sparse:
        sparse.truncate(32 << 20)
    with EarlyReceiver(1 << 20, lambda peer: peer.reset()) as server:
        assert send(server, file, protocol="post").attempts == 2


@pytest.mark.parametrize("answer", [status(503), lost])
def test_an_iterator_that_was_begun_is_never_sent_again(answer: Answer) -> None:
    """Not after an error, not after a cut; the error says so."""
    with Receiver(answer) as server:
        with pytest.raises(NotReplayable, match="only once") as caught:
            send(server, iter([DATA]))
        assert len(server.requests) == 1
    assert not pickle.loads(pickle.dumps(caught.value)).resumable


def test_an_iterator_is_not_sent_again_to_where_a_redirect_leads() -> None:
    with Receiver(status(307, Location="/elsewhere")) as server:
        with pytest.raises(NotReplayable):
            send(server, iter([DATA]))
        assert len(server.requests) == 1


def test_an_iterator_is_sent_if_nothing_of_it_was_before() -> None:
    """The first connection failed before a byte went out."""
    with EarlyReceiver(0, lambda peer: peer.cut()) as server:
        pieces = iter([b"one"])
        try:
            send(server, pieces)
        except NotReplayable:
            return  # the cut came after the first piece: a race that the client may lose, but never by sending twice
        assert [request.body for request in server.requests] == [b"one"]


def test_a_redirect_gets_the_whole_body(file: Path) -> None:
    with Receiver(status(307, Location="/elsewhere")) as server:
        assert send(server, file).attempts == 1
        assert [(request.target, request.body == DATA) for request in server.requests] == [
            ("/up/file.bin", True),
            ("/elsewhere", True),
        ]


def test_attempts_end() -> None:
    with Receiver(*[status(503)] * 9) as server:
        with pytest.raises(TransferRefused) as caught:
            send(server, b"x")
        assert len(server.requests) == 3
    assert (caught.value.status, caught.value.body, caught.value.attempts) == (503, b"why", 3)


@pytest.mark.parametrize("code", [400, 404, 409, 413, 415])
def test_a_lasting_error_ends_it_at_once(code: int) -> None:
    with Receiver(status(code)) as server:
        with pytest.raises(TransferRefused) as caught:
            send(server, b"x")
        assert len(server.requests) == 1
    assert caught.value.status == code


def test_wrong_credentials_have_an_error_of_their_own() -> None:
    with Receiver(status(401)) as server, pytest.raises(TransferForbidden):
        send(server, b"x", auth=("user", "secret"))


# -- early answers and silence


@pytest.mark.parametrize("reads_on", [False, True])
def test_a_refusal_before_the_end_stops_it_at_once(file: Path, reads_on: bool) -> None:
    """413 after the head, and not a byte read after it: no waiting for a timeout."""
    size = 32 << 20
    with open(file, "r+b") as sparse:
        sparse.truncate(size)

    def refuse(peer: Peer) -> None:
        peer.respond(413, b"too large")
        if reads_on:
            peer.wait_gone()
        else:
            refused.wait(15)

    refused = threading.Event()
    with EarlyReceiver(100, refuse) as server:
        with pytest.raises(TransferRefused) as caught:
            send(server, file, timeout=Timeout(read=60, total=None))
        refused.set()
    assert (caught.value.status, caught.value.body) == (413, b"too large")


def test_an_interim_answer_does_not_stop_it(file: Path) -> None:
    """100 and 104 come while the body goes out."""

    class Server(RawServer):
        def handle(self, peer: Peer) -> None:
            begun = peer._read_exactly(1000)
            peer.send_head(100)
            peer.send_head(104, {"Upload-Offset": "5"})
            peer._received[:0] = begun
            peer.read_request()
            peer.respond(201)

    with Server() as server:
        assert upload(file, server.origin).attempts == 1
        assert server.requests[0].body == DATA


def test_a_server_that_stops_reading_is_silent(file: Path) -> None:
    """The read timeout counts for sending too: the silence of the peer, not the time of the whole."""
    with open(file, "r+b") as sparse:
        sparse.truncate(64 << 20)
    done = threading.Event()
    with EarlyReceiver(1000, lambda peer: peer.hold(done)) as server:
        with pytest.raises(TransferInterrupted, match="could not be sent within 0.3 s"):
            send(server, file, timeout=Timeout(read=0.3, total=None), retry=RetryPolicy(attempts=1))
        done.set()


def test_the_deadline_ends_it(file: Path) -> None:
    def silent(peer: Peer, request: Request) -> None:
        peer.wait_gone()

    with Receiver(silent) as server, pytest.raises(TransferTimeout):
        send(server, file, timeout=0.3)


# -- digests and changes


def test_a_digest_is_told_and_checked(file: Path) -> None:
    with Receiver() as server:
        assert send(server, file, digest=SHA).digest == SHA
        told = server.requests[0].header("Repr-Digest")
    assert told == f"sha-256=:{base64.b64encode(hashlib.sha256(DATA).digest()).decode()}:"


@pytest.mark.parametrize("protocol", ["put", "post", "multipart"])
def test_a_wrong_file_never_arrives_whole(file: Path, protocol: str) -> None:
    """The digest is compared before the last piece goes out."""

    class Reading(RawServer):
        whole = False

        def handle(self, peer: Peer) -> None:
            peer.read_request()
            self.whole = True

    with Reading() as server:
        with pytest.raises(DigestMismatch):
            upload(file, server.origin, protocol=protocol, digest="sha256:" + "0" * 64, retry=QUICK)
        server.wait_connected(0)
        assert not server.whole


def test_a_file_that_changes_meanwhile_is_not_passed_off_as_one(file: Path) -> None:
    """It is written to while it is sent: an error, and the request never ends well."""

    def change(report: Progress) -> None:
        if report.progress == 0:
            with open(file, "ab") as out:
                out.write(b"more")

    def read(peer: Peer) -> None:
        peer.read_request()

    with RawServer(read) as server:
        with pytest.raises(SourceChanged, match="written to"):
            upload(file, server.origin, on_progress=change, retry=QUICK)
        server.wait_connected(0)
        assert server.requests == []


# -- the rest


class Stop(Exception):
    pass


def test_progress_begins_and_ends(file: Path) -> None:
    seen: list[Progress] = []
    with Receiver() as server:
        send(server, file, on_progress=seen.append)
        assert (seen[0].progress, seen[0].total) == (0, len(DATA))
        assert (seen[-1].progress, seen[-1].state) == (len(DATA), "done")

        def stop(report: Progress) -> None:
            raise Stop

        with pytest.raises(Stop):
            send(server, file, on_progress=stop)


def test_progress_of_an_unknown_size_ends_with_it() -> None:
    seen: list[Progress] = []
    with Receiver() as server:
        send(server, iter([b"12", b"345"]), on_progress=seen.append)
    assert seen[0].total is None and (seen[-1].progress, seen[-1].total) == (5, 5)


def test_a_session_of_the_caller_sends_the_same(file: Path) -> None:
    """Through requests: files, forms and iterators."""
    session = requests.Session()
    with Receiver(None, status(503)) as server:
        send(server, file, http=session)
        send(server, file, http=session, protocol="multipart", idempotent=True)
        send(server, iter([DATA]), http=session)
        bodies = [request.body for request in server.requests]
        session.close()
    assert bodies[0] == DATA and bodies[1] == bodies[2] and DATA in bodies[1] and bodies[3] == DATA


def test_headers_of_the_caller_are_sent(file: Path) -> None:
    with Receiver() as server:
        send(server, file, headers={"Content-Type": "image/png", "X-Key": "k"}, auth=("user", "pw"))
        (request,) = server.requests
    assert (request.header("Content-Type"), request.header("X-Key")) == ("image/png", "k")
    assert request.header("Authorization") == "Basic dXNlcjpwdw=="


def test_a_generator_that_fails_reaches_the_caller() -> None:
    def source() -> Iterator[bytes]:
        yield b"one"
        raise Stop

    with Receiver() as server, pytest.raises(Stop):
        send(server, source())


# -- code of the caller's


@pytest.mark.parametrize("borrowed", [False, True])
@pytest.mark.parametrize("where", ["iterator", "file", "on_progress"])
@pytest.mark.parametrize("error", [ConnectionLost("x"), RemoteProtocolError("x"), OSError("x"), TimeoutError("x")])
def test_an_error_of_the_source_or_the_callback_is_not_taken_for_one_of_the_upload(
    error: Exception, where: str, borrowed: bool
) -> None:
    """They may use the network themselves. Neither tried again nor renamed, whichever way the body goes."""

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() and where == "file":
                raise error
            return super().read(size)

    def pieces() -> Iterator[bytes]:
        yield DATA[:100_000]
        raise error

    def stop(report: Progress) -> None:
        if report.progress and where == "on_progress":
            raise error

    session = requests.Session() if borrowed else None
    with Receiver() as server, contextlib.closing(session) if session else contextlib.nullcontext():
        source = pieces() if where == "iterator" else Failing(DATA)
        with pytest.raises(type(error)) as caught:
            upload(source, server.url, http=session, on_progress=stop, retry=QUICK)
        assert caught.value is error
        assert server.accepted <= 1 and len(server.requests) <= 1


def test_an_iterator_that_a_redirect_would_need_twice_says_why() -> None:
    def elsewhere(peer: Peer, request: Request) -> None:
        peer.respond(307, headers={"Location": "/other"})

    with Receiver(elsewhere) as server, pytest.raises(NotReplayable, match="for a redirect or for credentials"):
        upload(iter([b"abc"]), server.url, retry=QUICK)


def test_a_file_that_is_open_for_writing_only_is_no_source(tmp_path: Path) -> None:
    """Nothing would be sent of it, and the server would say that all went well."""
    with Receiver() as server, open(tmp_path / "x", "wb") as file:
        file.write(DATA)
        with pytest.raises(LocalProtocolError, match="open for reading"):
            upload(file, server.url, retry=QUICK)
        assert server.accepted == 0


@pytest.mark.parametrize("location", ["http://[", "javascript:alert(1)", "", "//"])
def test_an_address_that_makes_no_sense_does_not_undo_an_upload(location: str) -> None:
    """The file is there; where, only the server knows."""

    def stored(peer: Peer, request: Request) -> None:
        peer.respond(201, headers={"Location": location})

    with Receiver(stored) as server:
        assert upload(b"abc", server.url, retry=QUICK).url == server.url


@pytest.mark.parametrize("borrowed", [False, True])
def test_source_and_callback_are_called_where_upload_was(borrowed: bool) -> None:
    """Whichever thread sends: the cursor of a database, for one, refuses any other."""
    threads = set()

    def pieces() -> Iterator[bytes]:
        for _ in range(3):
            threads.add(threading.current_thread())
            yield DATA[:100_000]

    session = requests.Session() if borrowed else None
    reports: list[Progress] = []

    def report(progress: Progress) -> None:
        threads.add(threading.current_thread())
        reports.append(progress)

    with Receiver() as server, contextlib.closing(session) if session else contextlib.nullcontext():
        upload(pieces(), server.url, http=session, on_progress=report)
        assert server.requests[0].body == DATA[:100_000] * 3
    assert threads == {threading.current_thread()} and len(reports) >= 2


def test_the_end_is_told_when_the_source_fails(every_report: None) -> None:
    """As of any upload that fails; and a callback that fails then has the last word."""
    reports: list[Progress] = []

    def pieces() -> Iterator[bytes]:
        yield DATA[:1000]
        yield DATA[1000:2000]
        raise ValueError("no more")

    def stop(report: Progress) -> None:
        if report.progress:
            raise KeyError(report.progress)

    with Receiver() as server:
        with pytest.raises(ValueError, match="no more"):
            upload(pieces(), server.url, on_progress=reports.append)
        assert [report.progress for report in reports] == [0, 1000, 1000]
    with pytest.raises(KeyError) as caught:
        report_to(stop, lambda reporter: (reporter.begin(0, 1), setattr(reporter, "_highest", 5), asked(fail)))
    assert caught.value.args == (5,) and caught.value.__context__ is None


def fail() -> None:
    raise ValueError


def test_an_error_of_the_caller_goes_with_who_caught_it() -> None:
    """It holds the whole transfer in its frames, which must not wait for the garbage collector."""

    class Stop(Exception):
        pass

    def stop(report: Progress) -> None:
        raise Stop

    try:
        report_to(stop, lambda reporter: reporter.begin(0, 1))
    except Stop as error:
        seen = weakref.ref(error)
    assert seen() is None


def test_a_view_with_gaps_is_sent_as_it_reads() -> None:
    """Every second byte, for one: those, whole or as a piece of an iterable."""
    with Receiver() as server:
        send(server, memoryview(b"abcdef")[::2])
        send(server, [memoryview(b"abcdef")[::-2], memoryview(b"")[::2]])
        send(server, memoryview(b"")[::2])
        assert [request.body for request in server.requests] == [b"ace", b"fdb", b""]
