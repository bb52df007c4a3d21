"""Through a ``requests.Session`` of the caller's: its adapters, hooks and settings work, and it stays the caller's."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import requests.adapters
import requests.cookies
import urllib3

from streamhttp_client import (
    ClientClosed,
    ConnectionFailed,
    ConnectionLost,
    LocalProtocolError,
    ReadTimeout,
    StreamHTTPError,
)
from streamhttp_client.net.http import HTTP
from streamhttp_client.net.interrupt import Interrupt
from tests.net._send import BOUND, fetch, send
from tests.support.rawserver import Peer, RawServer
from tests.transport._faults import InThread


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


class Canned(requests.adapters.BaseAdapter):
    """Answers without a network, as libraries for tests do."""

    def __init__(self, make: Callable[[], Any], error: Exception | None = None) -> None:
        super().__init__()
        self.make = make
        self.error = error
        self.requests: list[requests.PreparedRequest] = []
        self.closed = False

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        response = requests.Response()
        response.status_code, response.reason, response.request = 200, "OK", request
        response.url = request.url or ""
        response.headers["Content-Type"] = "application/json"
        response.raw = self.make()
        return response

    def close(self) -> None:
        self.closed = True


class Recorded:
    """Like an answer that vcrpy plays back: a file whose ``read1`` takes no keywords, and no connection below."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self.closed = False

    def read(self, *args: Any, **options: Any) -> bytes:
        return self._file.read(*args)

    def read1(self, *args: Any) -> bytes:
        return self._file.read1(*args)

    def stream(self, amt: int = 65536, decode_content: bool | None = None) -> Iterator[bytes]:
        while data := self._file.read(amt):
            yield data

    def release_conn(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True


DATA = json.dumps({"text": "x" * 100_000}).encode()


@pytest.mark.parametrize(
    "make",
    [
        lambda: urllib3.HTTPResponse(io.BytesIO(DATA), preload_content=False),
        lambda: Recorded(DATA),
        lambda: io.BytesIO(DATA),
    ],
    ids=["urllib3", "recorded", "file"],
)
def test_answers_that_no_network_made(session: requests.Session, make: Callable[[], Any]) -> None:
    """Recorded and made-up answers are read whole, whatever file they bring, and closing them is no error."""
    adapter = Canned(make)
    session.mount("http://", adapter)
    http = HTTP(session=session)
    for _ in range(2):
        assert fetch(http, "http://server.test/mcp", "POST", b"{}") == (200, DATA)
    response = send(http, "http://server.test/mcp")
    assert response.content_type == "application/json"
    response.body.close()
    assert [request.body for request in adapter.requests] == [b"{}", b"{}", None]


def test_an_answer_without_a_file(session: requests.Session) -> None:
    """An adapter may bring no body at all."""
    session.mount("http://", Canned(lambda: None))
    assert fetch(HTTP(session=session), "http://server.test/") == (200, b"")


def test_an_answer_that_a_hook_has_read(session: requests.Session) -> None:
    """A response hook that looked at the body leaves it to be read all the same."""
    seen: list[bytes] = []

    def look(response: requests.Response, *args: Any, **options: Any) -> None:
        seen.append(response.content)

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.respond(200, b"body")

    session.hooks["response"].append(look)
    with RawServer(script) as server:
        assert fetch(HTTP(session=session), server.url) == (200, b"body")
    assert seen == [b"body"]


def test_a_hook_that_answers_otherwise(session: requests.Session) -> None:
    """A response hook may put another answer in the place of the first, as requests' own digest does."""

    def replace(response: requests.Response, *args: Any, **options: Any) -> requests.Response:
        other = requests.Response()
        other.status_code, other.raw, other.url = 418, io.BytesIO(b"teapot"), response.url
        response.close()
        return other

    session.hooks["response"] = [replace]
    session.mount("http://", Canned(lambda: io.BytesIO(b"first")))
    assert fetch(HTTP(session=session), "http://server.test/") == (418, b"teapot")


def test_the_sessions_settings_count(session: requests.Session) -> None:
    """Headers, cookies and credentials of the session go out; ours win where both say something."""
    session.headers.update({"X-Theirs": "1", "X-Both": "theirs"})
    session.cookies.set("flavour", "plain")
    session.auth = ("user", "pw")
    http = HTTP(session=session, headers={"x-both": "ours"})

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.respond(200, b"", headers={"Set-Cookie": "from=server"})

    with RawServer(script) as server:
        fetch(http, server.url)
        (request,) = server.requests
        assert request.header("X-Theirs") == "1"
        assert request.header("X-Both") == "ours"
        assert request.header("Cookie") == "flavour=plain"
        assert request.header("Authorization") == "Basic dXNlcjpwdw=="
        session.close()
    assert session.cookies["from"] == "server"


def test_our_credentials_win_over_the_sessions(session: requests.Session) -> None:
    """What was given to us was given for this server."""
    session.auth = ("theirs", "pw")
    adapter = Canned(lambda: io.BytesIO(b""))
    session.mount("http://", adapter)
    fetch(HTTP(session=session, auth=("ours", "pw")), "http://server.test/")
    assert adapter.requests[0].headers["authorization"] == "Basic b3Vyczpwdw=="


def test_the_session_stays_open(session: requests.Session) -> None:
    """We close what we opened, and this we did not."""
    adapter = Canned(lambda: io.BytesIO(b"ok"))
    session.mount("http://", adapter)
    http = HTTP(session=session)
    fetch(http, "http://server.test/")
    http.close()
    assert not adapter.closed
    assert session.get("http://server.test/").content == b"ok"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (requests.exceptions.ConnectTimeout("slow"), ConnectionFailed),
        (requests.exceptions.SSLError("bad record, perhaps after the request"), ConnectionLost),
        (requests.exceptions.SSLError(ssl.SSLCertVerificationError("bad certificate")), ConnectionFailed),
        (requests.exceptions.RetryError("sent three times"), ConnectionLost),
        (requests.exceptions.ReadTimeout("silent"), ReadTimeout),
        (requests.exceptions.ConnectionError("no match in the recording"), ConnectionLost),
        (requests.exceptions.InvalidURL("bad"), LocalProtocolError),
        (urllib3.exceptions.ProtocolError("broken"), ConnectionLost),
        (OSError("broken"), ConnectionLost),
    ],
)
def test_errors_of_adapters_are_ours(session: requests.Session, error: Exception, kind: type[StreamHTTPError]) -> None:
    """Nothing of requests or urllib3 comes out bare; it is the cause."""
    session.mount("http://", Canned(lambda: None, error))
    with pytest.raises(kind) as caught:
        fetch(HTTP(session=session), "http://server.test/")
    assert type(caught.value) is kind
    assert caught.value.__cause__ is error


class Breaking(io.BytesIO):
    """A file that fails after its first piece."""

    def __init__(self, error: Exception) -> None:
        super().__init__(b"first")
        self.error = error

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if not data:
            raise self.error
        return data

    read1 = read


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError("timed out"), ReadTimeout),
        (ConnectionResetError(104, "reset"), ConnectionLost),
        (urllib3.exceptions.IncompleteRead(5, 10), ConnectionLost),
    ],
)
def test_errors_in_the_body_are_ours(session: requests.Session, error: Exception, kind: type[StreamHTTPError]) -> None:
    """The same in the middle of a body, after what came before it."""
    session.mount("http://", Canned(lambda: urllib3.HTTPResponse(Breaking(error), preload_content=False)))
    response = send(HTTP(session=session), "http://server.test/")
    assert response.body.read1(timeout=BOUND) == b"first"
    with pytest.raises(kind):
        response.body.read1(timeout=BOUND)
    response.body.close()


def test_a_body_is_not_read_any_more_once_its_request_was_left(session: requests.Session) -> None:
    """The thread that is left behind inside requests may go on sending; what it reads from may be closed by then."""
    given: list[int] = []
    begun, go_on, gone = threading.Event(), threading.Event(), threading.Event()

    def pieces() -> Iterator[bytes]:
        for number in range(1000):
            given.append(number)
            yield bytes(65536)
            begun.set()

    def script(peer: Peer) -> None:
        peer.read_request(body=False)
        assert go_on.wait(BOUND)
        with contextlib.suppress(ConnectionError):
            while peer._sock.recv(1 << 20):
                pass
        gone.set()

    interrupt = Interrupt()
    with RawServer(script) as server:
        headers = {"content-length": str(1000 * 65536)}
        call = InThread(lambda: send(HTTP(session=session), server.url, "PUT", pieces, headers, interrupt=interrupt))
        assert begun.wait(BOUND)
        interrupt.fire()
        call.join(BOUND)
        assert isinstance(call.error, ClientClosed)
        before = len(given)
        go_on.set()
        assert gone.wait(BOUND)
    assert len(given) == before < 1000


def test_a_generator_ends_where_the_request_was_made(session: requests.Session) -> None:
    """At once when the request is left, and not on the thread that is left behind, when its time is over."""
    ended: list[int] = []
    homes: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(65536)
                begun.set()
        finally:
            ended.append(threading.get_ident())

    def script(peer: Peer) -> None:
        peer.read_request(body=False)
        assert go_on.wait(BOUND)

    def ask() -> None:
        homes.append(threading.get_ident())
        send(HTTP(session=session), server.url, "PUT", pieces, interrupt=interrupt)

    interrupt = Interrupt()
    with RawServer(script) as server:
        call = InThread(ask)
        assert begun.wait(BOUND)
        interrupt.fire()
        call.join(BOUND)
        assert isinstance(call.error, ClientClosed)
        assert ended == homes != []
        go_on.set()


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs alarms of the system")
@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("where", ["head", "body"])
def test_an_alarm_that_was_caught_is_not_raised_again(session: requests.Session, where: str, hooked: bool) -> None:
    """Who tries again where an alarm is handled gets the error of that attempt, not the one that is over."""

    def handler(number: int, frame: object) -> None:
        raise TimeoutError("an hour ago")

    def script(peer: Peer) -> None:
        peer.read_request()
        if where == "body":
            peer.send_head(200, {"Content-Length": "100"})
            peer.send(b"x")
        peer.cut()

    if hooked:
        session.hooks["response"].append(lambda response, **_: None)
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with RawServer(script) as server:
            try:
                signal.raise_signal(signal.SIGALRM)
            except TimeoutError:
                with pytest.raises(ConnectionLost) as caught:
                    fetch(HTTP(session=session), server.url)
                assert "an hour ago" not in str(caught.value)
    finally:
        signal.signal(signal.SIGALRM, before)
