"""EventSource against scripted servers: what it does with every end that a stream can have."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from streamhttp_client.eventsource import EventSource, StreamOpened
from streamhttp_client.eventsource import source as source_module
from streamhttp_client.eventsource.reconnecting import Reconnecting
from streamhttp_client.exceptions import (
    AuthenticationError,
    CallTimeout,
    ClientClosed,
    ConnectionFailed,
    ConnectionLost,
    ContentTypeError,
    HTTPStatusError,
    LocalProtocolError,
    MessageTooLarge,
    ReadTimeout,
    RemoteProtocolError,
    StreamHTTPError,
    TransportError,
)
from streamhttp_client.net.interrupt import Interrupt
from streamhttp_client.net.retry import RetryPolicy
from streamhttp_client.net.timeouts import Timeout
from streamhttp_client.sse import Event
from tests.support.memory import Growth
from tests.support.rawserver import Peer, RawServer, Request, refusing_port, sse

#: What close() from another thread may take, as promised.
CLOSE_SECONDS = 1.0
#: Bound of a wait that should not take any time.
WAIT_SECONDS = 10.0

Step = Callable[[Peer, Request], None]


class Script:
    """Answers the first request with the first step, and so on; 204 to all that come later."""

    def __init__(self, *steps: Step) -> None:
        self.steps = iter(steps)

    def __call__(self, peer: Peer) -> None:
        while peer.open:
            request = peer.read_request()
            step = next(self.steps, no_content)
            step(peer, request)


def no_content(peer: Peer, request: Request) -> None:
    peer.respond(204)


def stream(*blocks: bytes, chunked: bool = True, **options: Any) -> Step:
    """A stream of these blocks that ends cleanly."""

    def step(peer: Peer, request: Request) -> None:
        peer.start_stream(chunked=chunked, **options)
        for block in blocks:
            peer.write(block)
        peer.end_stream()

    return step


def broken(*blocks: bytes) -> Step:
    """A stream of these blocks that breaks in the middle of the chunked coding."""

    def step(peer: Peer, request: Request) -> None:
        peer.start_stream()
        for block in blocks:
            peer.write(block)
        peer.cut()

    return step


def status(code: int, body: bytes = b"", **headers: str) -> Step:
    def step(peer: Peer, request: Request) -> None:
        peer.respond(code, body, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return step


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits take no time and are listed here."""
    seconds: list[float] = []

    class Recording(Interrupt):
        def sleep(self, wanted: float) -> None:
            seconds.append(wanted)

    monkeypatch.setattr(source_module, "Interrupt", Recording)
    return seconds


@pytest.fixture(params=[False, True], ids=["direct", "session"])
def http(request: pytest.FixtureRequest) -> Iterator[requests.Session | None]:
    """Our own connections, and a session of the caller's."""
    if not request.param:
        yield None
        return
    with requests.Session() as session:
        yield session


def data_of(events: list[Event]) -> list[str]:
    return [event.data for event in events]


# -- reading


def test_events_over_several_connections(waits: list[float], http: requests.Session | None) -> None:
    """Events come in order over streams that end cleanly and streams that break, until 204."""
    script = Script(
        stream(sse("a", id="1"), sse("b", id="2", event="tick")),
        broken(sse("c", id="3"), b"data: never finis"),
        stream(sse("d", id="4"), chunked=False),
    )
    with RawServer(script) as server, EventSource(server.url, http=http) as source:
        assert list(source) == [
            Event("message", "a", "1"),
            Event("tick", "b", "2"),
            Event("message", "c", "3"),
            Event("message", "d", "4"),
        ]
        assert [request.header("last-event-id") for request in server.requests] == [None, "2", "3", "4"]
        assert all(request.header("accept") == "text/event-stream" for request in server.requests)
        assert all(request.method == "GET" for request in server.requests)
        assert list(source) == []  # 204 is for good
        assert len(server.requests) == 4


@pytest.mark.parametrize("framing", ["chunked", "close", "gzip chunked", "gzip close"])
def test_an_event_is_delivered_at_once(framing: str, http: requests.Session | None) -> None:
    """Each event comes out before the server sends anything more, whatever the framing and coding."""
    received = threading.Event()
    chunked = "chunked" in framing
    packer = zlib.compressobj(wbits=31)
    pack: Callable[[bytes], bytes] = lambda data: data  # noqa: E731
    if "gzip" in framing:
        pack = lambda data: packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)  # noqa: E731

    def step(peer: Peer, request: Request) -> None:
        assert "gzip" in (request.header("accept-encoding") or "")
        coding = {"Content-Encoding": "gzip"} if "gzip" in framing else {}
        peer.start_stream(chunked=chunked, headers=coding)
        for text in ("one", "two"):
            peer.write(pack(sse(text)))
            peer.hold(received)  # fails the test after a bound
            received.clear()
        peer.end_stream()

    with RawServer(Script(step)) as server, EventSource(server.url, http=http) as source:
        for text in ("one", "two"):
            assert next(source).data == text
            received.set()


def test_a_whole_gzip_stream_is_decoded(waits: list[float]) -> None:
    """Content coding is undone, across members too."""
    body = gzip.compress(sse("a")) + gzip.compress(sse("ü"))
    with RawServer(Script(stream(body, headers={"Content-Encoding": "gzip"}))) as server:
        with EventSource(server.url) as source:
            assert data_of(list(source)) == ["a", "ü"]


def test_leaving_a_loop_and_going_on_loses_nothing(waits: list[float]) -> None:
    """Events that came in one chunk are handed out one by one, whoever asks; the id is that of the last one."""
    script = Script(stream(sse("a", id="1") + sse("b", id="2") + sse("c", id="3")))
    with RawServer(script) as server, EventSource(server.url) as source:
        for event in source:
            assert event.data == "a"
            break
        assert source.last_event_id == "1"
        assert next(source).data == "b"
        assert source.last_event_id == "2"
        assert data_of(list(source)) == ["c"]
        assert server.requests[1].header("last-event-id") == "3"


def test_open_connects_before_the_first_event(http: requests.Session | None) -> None:
    """open() returns once the server has answered; the events come later."""
    opened = threading.Event()

    def step(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.hold(opened)
        peer.event("after")
        peer.end_stream()

    with RawServer(Script(step)) as server, EventSource(server.url, http=http) as source:
        assert source.open() is source
        assert source.stats.connects == 1
        source.open()  # there is a stream already
        assert source.stats.attempts == 1
        opened.set()
        assert next(source).data == "after"


# -- the last event id


def test_the_id_is_kept_cleared_and_sent_as_utf8(waits: list[float], http: requests.Session | None) -> None:
    """An empty id clears it; a stream without events keeps it; blocks without data count; it goes out as UTF-8."""
    script = Script(
        stream(sse("a", id="é—漢")),
        stream(b": nothing\n\n"),
        stream(sse(id="only an id")),
        stream(sse("b", id="")),
    )
    with RawServer(script) as server, EventSource(server.url, http=http) as source:
        assert data_of(list(source)) == ["a", "b"]
        sent = [request.header("last-event-id") for request in server.requests]
    as_utf8 = "é—漢".encode().decode("latin-1")
    assert sent == [None, as_utf8, as_utf8, "only an id", None]


def test_the_id_of_an_unfinished_event_does_not_count(waits: list[float]) -> None:
    """What no blank line has ended was not received: its event is not given, its id is not sent."""
    script = Script(broken(sse("a", id="1"), b"id: 2\ndata: b\n"))
    with RawServer(script) as server, EventSource(server.url) as source:
        assert data_of(list(source)) == ["a"]
        assert server.requests[1].header("last-event-id") == "1"


def test_an_id_of_another_day_is_sent(waits: list[float]) -> None:
    """last_event_id= resumes where another process stopped; spaces around it are no part of a header."""
    with RawServer(Script()) as server:
        with EventSource(server.url, last_event_id=" 41 ") as source:
            assert list(source) == []
        assert server.requests[0].header("last-event-id") == "41"


# -- waits and the budget


def test_the_servers_retry_is_a_floor(waits: list[float]) -> None:
    """After progress the wait is the server's retry and at most a quarter more, over later streams too."""
    script = Script(stream(sse("a", retry=4000)), stream(sse("b")), stream(sse("c", retry=0)))
    with RawServer(script) as server, EventSource(server.url) as source:
        list(source)
        assert source.retry_ms == 0
    assert len(waits) == 3 and all(4.0 <= seconds <= 5.0 for seconds in waits[:2])
    assert 0.05 <= waits[2] <= 0.0625  # retry: 0 is no leave to storm the server


def test_no_hot_loop_against_a_server_that_sends_one_event_and_closes(waits: list[float]) -> None:
    """Without a retry field there is a second between two connects, for ever."""
    with RawServer(Script(*[stream(sse("x"))] * 20)) as server, EventSource(server.url) as source:
        assert len(list(source)) == 20
    assert len(waits) == 20
    assert all(1.0 <= seconds <= 1.25 for seconds in waits)
    assert len(set(waits)) > 1  # not in step


def test_a_retry_that_is_too_long_ends_it(waits: list[float]) -> None:
    """A server that asks for more than max_server_wait gets no more requests; the error says so."""
    with RawServer(Script(stream(sse("a", id="7", retry=200_000)))) as server:
        with EventSource(server.url) as source:
            assert next(source).data == "a"
            with pytest.raises(ConnectionLost, match="asks to wait 200 s, more than 120 s") as caught:
                next(source)
    assert caught.value.resumable
    assert waits == []


@pytest.mark.parametrize("end", [stream(), stream(b": hello\n\n"), broken(), status(503), status(408)])
def test_attempts_without_progress_are_counted(end: Step, waits: list[float]) -> None:
    """Clean but empty ends, breaks and 5xx draw on one budget, with growing waits under a second's floor."""
    policy = RetryPolicy(attempts=4, base=1.0, maximum=2.0)
    with RawServer(Script(*[end] * 10)) as server, EventSource(server.url, retry=policy) as source:
        with pytest.raises((ConnectionLost, HTTPStatusError)):
            list(source)
        assert len(server.requests) == 4
        assert len(waits) == 3
        assert all(1.0 <= seconds <= 2.5 for seconds in waits)
        with pytest.raises((ConnectionLost, HTTPStatusError)):
            list(source)  # whoever asks again gets a new budget
        assert len(server.requests) == 8


def test_a_server_that_names_no_time_is_not_given_up_for_it(waits: list[float]) -> None:
    """``max_server_wait`` is about what servers ask for; our own pause is never more than that."""
    with RawServer(Script(*[broken()] * 3, stream(sse("x")))) as server:
        with EventSource(server.url, retry=RetryPolicy(base=0.01, max_server_wait=0.5)) as source:
            assert next(source).data == "x"
    assert waits == [0.5] * 3


def test_the_budget_begins_anew_after_progress(waits: list[float]) -> None:
    """A link that breaks after each event goes on for ever; three empty ends between two events are few enough."""
    steps = [step for n in range(6) for step in (broken(sse("x", id=str(n))), stream(), stream(), status(502))]
    with RawServer(Script(*steps)) as server:
        with EventSource(server.url, retry=RetryPolicy(attempts=4, base=0.1)) as source:
            assert len(list(source)) == 6


def test_a_quiet_stream_that_lived_for_long_is_no_failure(
    waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A feed without events behind a proxy that cuts once a minute is not given up."""
    monkeypatch.setattr(source_module, "_STEADY_SECONDS", 0.0)
    with RawServer(Script(*[broken()] * 9)) as server:
        with EventSource(server.url, retry=RetryPolicy(attempts=2, base=0.1)) as source:
            assert list(source) == []
        assert len(server.requests) == 10


def test_without_retrying_one_stream_is_all(waits: list[float]) -> None:
    """attempts=1: a clean end ends the iteration, a broken stream is an error that can be resumed."""
    with RawServer(Script(stream(sse("a")), broken(sse("b", id="9")))) as server:
        with EventSource(server.url, retry=RetryPolicy(attempts=1)) as source:
            assert data_of(list(source)) == ["a"]
        with EventSource(server.url, retry=RetryPolicy(attempts=1)) as source:
            assert next(source).data == "b"
            with pytest.raises(ConnectionLost) as caught:
                next(source)
        assert caught.value.resumable
        assert len(server.requests) == 2
    assert waits == []


def test_a_server_that_is_not_there(waits: list[float], http: requests.Session | None) -> None:
    """A refused connection is tried again, then an error that says how often."""
    errors: list[StreamHTTPError] = []
    with refusing_port() as held:
        url = f"http://127.0.0.1:{held.getsockname()[1]}/"
        policy = RetryPolicy(attempts=3, base=0.1)
        with EventSource(url, retry=policy, on_error=errors.append, http=http) as source:
            with pytest.raises(ConnectionFailed, match="no progress in 3 attempts") as caught:
                list(source)
    assert caught.value.attempts == 3
    assert len(errors) == 2  # the third one was raised


def test_an_exhausted_clean_end_says_so(waits: list[float]) -> None:
    """The error of a feed that only ever ends says what happened, and how often."""
    with RawServer(Script(*[stream()] * 3)) as server:
        with EventSource(server.url, retry=RetryPolicy(attempts=3, base=0)) as source:
            with pytest.raises(ConnectionLost, match="ended the stream after 0 events; no progress in 3 attempts"):
                list(source)
    assert waits == []  # base=0 never waits


# -- statuses


@pytest.mark.parametrize("code", [400, 404, 410, 418, 200 + 6, 304])
def test_other_statuses_are_errors(code: int, waits: list[float], http: requests.Session | None) -> None:
    """They are not retried, and carry status, headers and body."""
    body = b"" if code == 304 else b"why"
    with RawServer(Script(status(code, body, X_Reason="a"))) as server:
        with EventSource(server.url + "?token=secret", http=http) as source:
            with pytest.raises(HTTPStatusError) as caught:
                list(source)
        assert len(server.requests) == 1
    error = caught.value
    assert (error.status, error.body, error.headers["x-reason"]) == (code, body, "a")
    assert str(code) in str(error) and "secret" not in str(error) + error.url


def test_an_error_body_is_bounded(waits: list[float]) -> None:
    """64 KiB of an error's body are kept."""
    with RawServer(Script(status(400, b"x" * 1_000_000))) as server, EventSource(server.url) as source:
        with pytest.raises(HTTPStatusError) as caught:
            list(source)
    assert caught.value.body == b"x" * 65536


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "text/event-streams", ""])
def test_another_content_type_is_an_error(content_type: str, waits: list[float]) -> None:
    """200 with another type, or none, is not retried; the error has the beginning of the body."""
    headers = {"Content-Type": content_type} if content_type else {}

    def step(peer: Peer, request: Request) -> None:
        peer.respond(200, b"<p>login", headers=headers)

    with RawServer(Script(step)) as server, EventSource(server.url) as source:
        with pytest.raises(ContentTypeError, match="expected text/event-stream") as caught:
            list(source)
    assert (caught.value.status, caught.value.body) == (200, b"<p>login")
    assert caught.value.content_type == (content_type or None)


def test_the_content_type_is_compared_by_its_essence(waits: list[float]) -> None:
    """Case and parameters do not matter."""
    script = Script(stream(sse("a"), content_type="Text/Event-Stream ; charset=utf-8"))
    with RawServer(script) as server, EventSource(server.url) as source:
        assert data_of(list(source)) == ["a"]


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_retry_after_is_a_floor(code: int, waits: list[float], http: requests.Session | None) -> None:
    """Passing trouble is tried again, not before the server said."""
    script = Script(status(code, b"busy", Retry_After="7"), stream(sse("a")))
    with RawServer(script) as server, EventSource(server.url, http=http) as source:
        assert data_of(list(source)) == ["a"]
    assert 7.0 <= waits[0] <= 8.75


def test_a_retry_after_that_is_too_long_is_the_error(waits: list[float]) -> None:
    """What the server asks for is in the headers of the error."""
    with RawServer(Script(status(429, Retry_After="3600"))) as server, EventSource(server.url) as source:
        with pytest.raises(HTTPStatusError) as caught:
            list(source)
    assert caught.value.headers["Retry-After"] == "3600"
    assert waits == []


# -- authentication, redirects, what is sent


class Token:
    """An auth that gets a new token when it is asked for one."""

    def __init__(self) -> None:
        self.number = 1
        self.asked = 0

    def apply(self, request: requests.PreparedRequest) -> None:
        request.headers["Authorization"] = f"Bearer {self.number}"

    def respond(self, response: object) -> bool:
        self.asked += 1
        self.number += 1
        return True


def test_auth_is_asked_once_for_each_connect(waits: list[float], http: requests.Session | None) -> None:
    """401 asks the auth once; a second 401 is the error."""
    auth = Token()
    script = Script(status(401), stream(sse("a")), status(401), status(401, b"no"))
    with RawServer(script) as server, EventSource(server.url, auth=auth, http=http) as source:
        assert next(source).data == "a"
        with pytest.raises(AuthenticationError) as caught:
            next(source)
        sent = [request.header("authorization") for request in server.requests]
    assert sent == ["Bearer 1", "Bearer 2", "Bearer 2", "Bearer 3"]
    assert (caught.value.status, caught.value.body, auth.asked) == (401, b"no", 2)


@pytest.mark.parametrize("code", [307, 308])
def test_redirects_keep_method_and_body_and_drop_secrets(code: int, waits: list[float]) -> None:
    """Another origin gets the body and the event id, no secret; the next connect asks the first address again."""
    with RawServer(Script(stream(sse("a", id="5")), stream(sse("b", id="6")))) as other:
        away = status(code, Location=f"{other.origin}/there?x=1")
        with RawServer(Script(away, away)) as server:
            with EventSource(
                server.url,
                method="post",
                json={"q": 1},
                auth=("user", "pw"),
                headers={"X-Api-Key": "secret", "Cookie": "secret=1"},
            ) as source:
                assert data_of(list(source)) == ["a", "b"]
            home, there = server.requests, other.requests
    assert len(home) == 3 and len(there) == 2
    for request in home[:2]:
        assert request.header("x-api-key") == "secret" and request.header("authorization") is not None
    for request in there:
        assert (request.method, request.target, request.json) == ("POST", "/there?x=1", {"q": 1})
        assert [request.header(name) for name in ("x-api-key", "cookie", "authorization")] == [None] * 3
        assert request.header("content-type") == "application/json"
    assert [request.header("last-event-id") for request in there] == [None, "5"]


def test_a_redirect_loop_is_an_error(waits: list[float]) -> None:
    """It is not retried."""
    with RawServer(Script(*[status(302, Location="/mcp")] * 20)) as server:
        with EventSource(server.url) as source, pytest.raises(RemoteProtocolError, match="redirects"):
            list(source)
        assert len(server.requests) == 6


def test_headers_and_query_are_asked_again(waits: list[float], http: requests.Session | None) -> None:
    """A token from a function is new with each connect; the query is added to the one in the address."""
    count = itertools.count(1)
    script = Script(stream(sse("a")), status(503), stream(sse("b")))
    with RawServer(script) as server:
        with EventSource(
            server.url + "?fixed=1#fragment",
            headers=lambda: {"X-Token": f"t{next(count)}"},
            params=lambda: {"since": [1, 2], "none": None, "text": "ä &"},
            http=http,
        ) as source:
            list(source)
        assert [request.header("x-token") for request in server.requests] == ["t1", "t2", "t3", "t4"]
        assert {request.target for request in server.requests} == {"/mcp?fixed=1&since=1&since=2&text=%C3%A4+%26"}


@pytest.mark.parametrize("option", ["headers", "params"])
@pytest.mark.parametrize("connects", [0, 1])
def test_what_a_function_raises_is_no_failed_connect(option: str, connects: int, waits: list[float]) -> None:
    """It may use the network, to get a token say: its errors are the caller's to judge, at once and as they are."""
    error = ConnectionLost("the token server is gone")

    def ask() -> dict[str, str]:
        if next(count) == connects:
            raise error
        return {}

    count = itertools.count()
    with RawServer(Script(*[stream(sse("a"))] * 5)) as server:
        with EventSource(server.url, **{option: ask}) as source, pytest.raises(ConnectionLost) as caught:  # type: ignore[arg-type]
            list(source)
        assert caught.value is error and str(error) == "the token server is gone"
        assert len(server.requests) == source.stats.attempts == connects


@pytest.mark.parametrize(
    ("body", "sent", "content_type"),
    [
        ({"data": b"raw"}, b"raw", None),
        ({"data": "text ü"}, "text ü".encode(), "text/plain; charset=utf-8"),
        ({"data": {"a": [1, 2], "b": "x y"}}, b"a=1&a=2&b=x+y", "application/x-www-form-urlencoded"),
        ({"data": lambda: [b"in ", b"pieces"]}, b"in pieces", None),
        ({"json": {"a": [None]}}, b'{"a": [null]}', "application/json"),
    ],
)
def test_a_body_is_sent_again(
    body: dict[str, Any], sent: bytes, content_type: str | None, waits: list[float], http: requests.Session | None
) -> None:
    """POST reconnects with the same body."""
    with RawServer(Script(stream(sse("a")), broken(sse("b")))) as server:
        with EventSource(server.url, method="POST", http=http, **body) as source:
            assert data_of(list(source)) == ["a", "b"]
        assert [(request.method, request.body) for request in server.requests] == [("POST", sent)] * 3
        assert all(request.header("content-type") == content_type for request in server.requests)


def test_headers_of_the_caller_win(waits: list[float]) -> None:
    """A caller who asks for another type in Accept gets it sent."""
    with RawServer(Script()) as server:
        with EventSource(server.url, headers={"ACCEPT": "text/event-stream, application/json"}) as source:
            list(source)
        assert server.requests[0].header("accept") == "text/event-stream, application/json"


@pytest.mark.parametrize(
    "arguments",
    [
        {"method": "GET", "data": b"x"},
        {"method": "PO ST"},
        {"data": b"x", "json": {}, "method": "POST"},
        {"data": iter([b"once"]), "method": "POST"},
        {"json": float("nan"), "method": "POST"},
        {"json": object(), "method": "POST"},
        {"headers": {"X": "a\nb"}},
        {"headers": {"X": "ł"}},
        {"headers": ["X: a"]},
        {"last_event_id": "a\nb"},
        {"max_event_size": 0},
        {"timeout": -1},
        {"timeout": "soon"},
        {"auth": 5},
        {"retry": 3},
        {"url": "ftp://example.org/"},
        {"url": "nothing"},
    ],
)
def test_what_cannot_be_sent_is_said_at_once(arguments: dict[str, Any]) -> None:
    """Misuse is a LocalProtocolError, before any request."""
    with pytest.raises(LocalProtocolError):
        EventSource(arguments.pop("url", "http://127.0.0.1:1/"), **arguments)


@pytest.mark.parametrize("option", ["headers", "params"])
def test_what_a_function_returns_is_checked(option: str) -> None:
    """A function that returns something else is misuse, too."""
    with refusing_port() as held:
        source = EventSource(f"http://127.0.0.1:{held.getsockname()[1]}/", **{option: lambda: 5})
        with source, pytest.raises(LocalProtocolError):
            list(source)


# -- callbacks and numbers


def test_callbacks_say_what_happens(waits: list[float]) -> None:
    """on_open for each stream, on_error for each failure before another attempt."""
    opened: list[StreamOpened] = []
    errors: list[StreamHTTPError] = []
    script = Script(stream(sse("a", id="1")), status(500), broken(sse("b")))
    with RawServer(script) as server:
        url = server.url + "?key=secret"
        with EventSource(url, on_open=opened.append, on_error=errors.append) as source:
            list(source)
            stats = source.stats
        assert [(one.connects, one.last_event_id, one.url) for one in opened] == [
            (1, "", server.url),
            (2, "1", server.url),
        ]
    assert opened[0].headers["content-type"] == "text/event-stream"
    assert [type(error).__mro__[1 if n == 0 else 0] for n, error in enumerate(errors)] == [
        ConnectionLost,
        HTTPStatusError,
        ConnectionLost,
    ]
    assert (stats.connects, stats.attempts, stats.events) == (2, 4, 2)
    assert stats.bytes == len(sse("a", id="1") + sse("b"))
    assert stats.last_event_at is not None and abs(stats.last_event_at - time.time()) < 60


@pytest.mark.parametrize("callback", ["on_open", "on_error"])
def test_an_exception_in_a_callback_reaches_the_caller(callback: str, waits: list[float]) -> None:
    """It ends the iteration; iterating again goes on."""
    failing = [True]

    def fail(_: object) -> None:
        if failing:
            failing.clear()
            raise KeyError("mine")

    script = Script(stream(sse("a", id="1")), stream(sse("b")))
    with RawServer(script) as server, EventSource(server.url, **{callback: fail}) as source:
        with pytest.raises(KeyError, match="mine"):
            list(source)
        assert list(source)[-1].data == "b"


# -- silence, deadlines, sizes


def test_comments_reset_the_idle_timer(waits: list[float]) -> None:
    """Comments at less than the read timeout keep a stream; silence ends it and leads to a reconnect."""
    silent = threading.Event()

    def step(peer: Peer, request: Request) -> None:
        peer.start_stream()
        for _ in range(8):  # more than a second together, which is more than the read timeout
            peer.comment()
            silent.wait(0.15)
        peer.event("still here", id="1")
        peer.wait_gone()

    errors: list[StreamHTTPError] = []
    with RawServer(Script(step)) as server:
        with EventSource(server.url, timeout=Timeout(read=0.9, total=None), on_error=errors.append) as source:
            assert data_of(list(source)) == ["still here"]
        assert server.requests[1].header("last-event-id") == "1"
    assert [type(error) for error in errors] == [ReadTimeout]


def test_the_total_deadline_is_apart_from_silence(http: requests.Session | None) -> None:
    """Comments do not extend the total; it raises a TimeoutError of its own."""
    stop = threading.Event()

    def step(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event("a", id="1")
        while not stop.wait(0.02):
            peer.comment()

    with RawServer(Script(step)) as server, EventSource(server.url, timeout=0.5, http=http) as source:
        start = time.monotonic()
        assert next(source).data == "a"
        with pytest.raises(CallTimeout, match=r"within 0\.5 s") as caught:
            next(source)
        assert time.monotonic() - start < WAIT_SECONDS
        stop.set()
    assert isinstance(caught.value, TimeoutError) and caught.value.resumable


def test_the_deadline_also_ends_waits(waits: list[float]) -> None:
    """A wait that would pass the deadline is not begun."""
    with RawServer(Script(stream(sse("a", retry=60_000)))) as server:
        with EventSource(server.url, timeout=5) as source:
            assert next(source).data == "a"
            with pytest.raises(CallTimeout):
                next(source)
    assert waits == []


@pytest.mark.parametrize("first", [b"", sse("small", id="1")])
def test_an_event_over_the_limit_is_no_reconnect_loop(first: bytes, waits: list[float]) -> None:
    """It is a named error, in the middle of the event; what came before it is given; the connection is closed."""

    def step(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.write(first + b"data: " + b"x" * 2000)
        peer.wait_gone()

    with RawServer(Script(step)) as server, EventSource(server.url, max_event_size=1000) as source:
        if first:
            assert next(source).data == "small"
        with pytest.raises(MessageTooLarge) as caught:
            next(source)
        server.wait_connected(0)
        assert len(server.requests) == 1
    assert caught.value.limit == 1000


def test_back_pressure_by_the_socket() -> None:
    """A server that sends as fast as it can is stopped by a reader that does not read."""
    sent = [0]
    stuck = threading.Event()
    block = sse("x" * 60_000)

    def step(peer: Peer, request: Request) -> None:
        peer.start_stream(chunked=False)
        peer._sock.settimeout(1.0)
        try:
            while True:
                peer._sock.sendall(block)
                sent[0] += len(block)
        except TimeoutError:
            stuck.set()

    with RawServer(Script(step)) as server, EventSource(server.url) as source:
        assert len(next(source).data) == 60_000
        assert stuck.wait(WAIT_SECONDS)
        # Buffers of both sockets, which the kernel bounds; a client that reads ahead would have taken all.
        assert sent[0] < 64 * 1024 * 1024


def test_a_million_small_events_do_not_grow_memory() -> None:
    """Nothing is kept of what was handed out."""
    per_chunk = 50_000
    chunk = b"".join(b"id: %d\ndata: {}\n\n" % number for number in range(per_chunk))

    def step(peer: Peer, request: Request) -> None:
        peer.start_stream(chunked=False)
        for _ in range(1_000_000 // per_chunk):
            peer.send(chunk)
        peer.end_stream()

    policy = RetryPolicy(attempts=1)
    with RawServer(Script(step)) as server, EventSource(server.url, retry=policy) as source:
        for _ in itertools.islice(source, 50_000):
            pass
        growth = Growth()
        for number, _ in enumerate(source):
            if number % 10_000 == 0:
                growth.look()
        assert source.stats.events == 1_000_000
    assert growth.kib < 8 * 1024


# -- closing


class Reader:
    """Iterates a source on a thread and says how that ended."""

    def __init__(self, source: EventSource) -> None:
        self.events: list[Event] = []
        self.error: BaseException | None = None
        self._source = source
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for event in self._source:
                self.events.append(event)
        except BaseException as error:
            self.error = error

    def ended_within(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()


def test_a_mistake_in_the_address_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody knows will not be known by waiting; but one that worked once will be again."""
    asked: list[str] = []

    def unknown(host: str, *_: Any, **__: Any) -> Any:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", unknown)
        with EventSource("http://no-such-host.invalid/") as source, pytest.raises(ConnectionFailed) as caught:
            next(source)
    assert asked == ["no-such-host.invalid"] and caught.value.permanent
    found = socket.getaddrinfo
    with RawServer(Script(stream(sse("a", id="1")), stream(sse("b", id="2")))) as server:
        with EventSource(server.url, retry=RetryPolicy(base=0, attempts=3)) as source:
            assert next(source).data == "a"
            answers = iter([unknown, unknown, found])
            monkeypatch.setattr(socket, "getaddrinfo", lambda *what, **how: next(answers, found)(*what, **how))
            assert next(source).data == "b"


def test_close_while_reading(http: requests.Session | None) -> None:
    """A blocked read ends the iteration, without an error, and the connection is closed."""

    def step(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event("a")
        peer.wait_gone()

    with RawServer(Script(step)) as server, EventSource(server.url, http=http) as source:
        assert next(source).data == "a"
        reader = Reader(source)
        source.close()
        assert reader.ended_within(CLOSE_SECONDS)
        assert reader.error is None
        server.wait_connected(0)
        assert list(source) == []
        with pytest.raises(ClientClosed):
            source.open()


def test_close_while_waiting_for_the_head() -> None:
    """The server took the request and says nothing."""

    def step(peer: Peer, request: Request) -> None:
        peer.wait_gone()

    with RawServer(Script(step)) as server, EventSource(server.url) as source:
        reader = Reader(source)
        server.wait_for(lambda seen: len(seen) == 1)
        source.close()
        assert reader.ended_within(CLOSE_SECONDS)
        assert reader.error is None
        server.wait_connected(0)


def test_close_while_a_session_waits_for_the_head() -> None:
    """Nothing reaches a connection inside requests: it is left behind, and the reader ends at once all the same."""
    ended = threading.Event()

    def step(peer: Peer, request: Request) -> None:
        assert ended.wait(WAIT_SECONDS)
        peer.cut()

    with requests.Session() as http, RawServer(Script(step)) as server, EventSource(server.url, http=http) as source:
        reader = Reader(source)
        server.wait_for(lambda seen: len(seen) == 1)
        source.close()
        assert reader.ended_within(CLOSE_SECONDS)
        assert reader.error is None
        ended.set()
        server.wait_connected(0)


def test_close_while_waiting_to_reconnect() -> None:
    """A wait between two attempts ends too."""
    waiting = threading.Event()
    with RawServer(Script(stream(sse("a", retry=100_000)))) as server:
        with EventSource(server.url, on_error=lambda _: waiting.set()) as source:
            reader = Reader(source)
            assert waiting.wait(WAIT_SECONDS)
            source.close()
            assert reader.ended_within(CLOSE_SECONDS)
            assert reader.error is None


def test_close_while_connecting() -> None:
    """A peer that does not even take the connection: its backlog is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:  # Linux drops the SYN of what does not fit
                filler.setblocking(False)
                filler.connect_ex(address)
            source = EventSource(f"http://127.0.0.1:{address[1]}/")
            reader = Reader(source)
            assert not reader.ended_within(0.3)
            source.close()
            assert reader.ended_within(CLOSE_SECONDS)
            assert reader.error is None
        finally:
            for filler in fillers:
                filler.close()


def test_close_between_events_closes_the_connection(http: requests.Session | None) -> None:
    """The reader is busy elsewhere: close() lets go of the connection itself, and nothing more is given."""

    def step(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.write(sse("a") + sse("b"))
        peer.wait_gone()

    with RawServer(Script(step)) as server:
        source = EventSource(server.url, http=http)
        events = iter(source)
        assert next(events).data == "a"
        closer = threading.Thread(target=source.close)
        closer.start()
        closer.join(CLOSE_SECONDS)
        assert not closer.is_alive()
        server.wait_connected(0)
        assert list(events) == []
        source.close()  # twice is fine
        assert source.closed


def test_close_from_a_callback(waits: list[float]) -> None:
    """A callback may close the source that calls it."""
    with RawServer(Script(stream(sse("a")), stream(sse("b")))) as server:
        source = EventSource(server.url, on_error=lambda _: source.close())
        assert data_of(list(source)) == ["a"]
        again = EventSource(server.url, on_open=lambda _: again.close())
        assert list(again) == []


# -- what the network brings

_SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", RemoteProtocolError),
        (_SSE_HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", RemoteProtocolError),
        (_SSE_HEAD + b"Content-Encoding: br\r\n\r\n", RemoteProtocolError),
    ],
)
def test_garbage_is_a_named_error(answer: bytes, error: type[Exception], waits: list[float]) -> None:
    """A peer that does not speak HTTP is not asked again."""

    def step(peer: Peer, request: Request) -> None:
        peer.send(answer)
        peer.cut()

    with RawServer(Script(step)) as server, EventSource(server.url) as source:
        with pytest.raises(error):
            list(source)
        assert len(server.requests) == 1


def test_interim_answers_are_skipped(waits: list[float]) -> None:
    """103 Early Hints come before the stream."""

    def step(peer: Peer, request: Request) -> None:
        peer.send_head(103, {"Link": "</style.css>"})
        stream(sse("a"))(peer, request)

    with RawServer(Script(step)) as server, EventSource(server.url) as source:
        assert data_of(list(source)) == ["a"]


def test_a_reset_is_a_break(waits: list[float]) -> None:
    """RST in the middle of an event leads to a reconnect."""
    got = threading.Event()

    def step(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event("a", id="1")
        peer.hold(got)
        peer.write(b"data: half")
        peer.reset()

    with RawServer(Script(step, stream(sse("b")))) as server, EventSource(server.url) as source:
        assert next(source).data == "a"
        got.set()
        assert data_of(list(source)) == ["b"]
        assert server.requests[1].header("last-event-id") == "1"


def test_errors_keep_their_facts_when_pickled(waits: list[float]) -> None:
    """The error of a clean end is a private class; it pickles as all others do."""
    import pickle

    with RawServer(Script(*[stream()] * 2)) as server:
        with EventSource(server.url, retry=RetryPolicy(attempts=2, base=0)) as source:
            with pytest.raises(TransportError) as caught:
                list(source)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value) and copy.attempts == 2
    assert json.dumps(copy.resumable) == "false"


def test_ctrl_c_leaves_nothing_behind(waits: list[float], request: pytest.FixtureRequest) -> None:
    """A read that Ctrl-C ended has let go of its connection; iterating again goes on after the last event."""
    reading = threading.Event()
    interrupted = threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def interrupt(*_: object) -> None:
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    def step(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event("a", id="1")
        peer.hold(reading)
        # Only while it reads; and again, since a signal just before the system call does not end it.
        while not interrupted.wait(0.01) and not server.closing:
            if sys._current_frames()[main].f_code.co_name == "receive":
                signal.pthread_kill(main, signal.SIGUSR1)
        peer.wait_gone()

    before = signal.signal(signal.SIGUSR1, interrupt)
    request.addfinalizer(lambda: signal.signal(signal.SIGUSR1, before))
    with RawServer(Script(step, stream(sse("b")))) as server, EventSource(server.url) as source:
        assert next(source).data == "a"
        with pytest.raises(KeyboardInterrupt):
            reading.set()
            next(source)
        server.wait_connected(0)
        assert data_of(list(source)) == ["b"]
        assert server.requests[1].header("last-event-id") == "1"


def test_the_example() -> None:
    """It follows its own feed to the end."""
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONWARNINGS": "error", "PYTHONUTF8": "1", "PYTHONPATH": str(root)}
    command = [sys.executable, str(root / "examples" / "event_source.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if line.startswith("count")] == [
        f"count: {number} of 6" for number in range(1, 7)
    ]
    assert done.stdout.endswith("the end, after 6 events over 3 connections\n")


def test_what_a_server_asks_for_is_said_as_it_said_it() -> None:
    """Not our own pause, which is longer."""
    reconnecting = Reconnecting(None, RetryPolicy(max_server_wait=0.5), Interrupt())
    error = reconnecting.wait(ConnectionLost("x"), 0.7, None, None)
    assert str(error) == "x; the server asks to wait 0.7 s, more than 0.5 s"
