"""HTTP+SSE of 2024-11-05: messages out by POST, everything back on one stream, and whatever can go wrong with that."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from streamhttp_client import (
    AuthenticationError,
    CallTimeout,
    ClientClosed,
    ConnectionLost,
    ContentTypeError,
    HTTPStatusError,
    MessageTooLarge,
    ReadTimeout,
    RemoteProtocolError,
    ResumeRefused,
    RetryPolicy,
    RPCError,
    Session,
    SessionExpired,
    Timeout,
    TransportError,
    jsonrpc,
)
from streamhttp_client.net.http import HTTP
from streamhttp_client.net.retry import Effort
from streamhttp_client.protocol import calls
from streamhttp_client.protocol.two_channels import TwoChannelsEra
from streamhttp_client.transport import channel as channel_module
from streamhttp_client.transport import http_sse as http_sse_module
from streamhttp_client.transport.http_sse import HTTPSSEExchange, HTTPSSETransport
from tests.support.legacyserver import LegacyServer
from tests.support.rawserver import Peer, RawServer, Request, refusing_port
from tests.transport._faults import AT_ONCE, BOUND, NO_WAIT, RESULT, InThread, nothing_left, within

ERA = TwoChannelsEra()
ONCE = RetryPolicy(attempts=1)

class Talk:
    """A handshake by hand, and requests after it."""

    def __init__(self, transport: HTTPSSETransport) -> None:
        self.transport = transport
        self.session: Session | None = None
        self._next_id = 0

    def shake(self) -> None:
        operation = calls.initialize("2024-11-05", capabilities={}, client_info={"name": "t", "version": "1"})
        result = operation.parse(self._response(self.exchange(operation.method, operation.params, session=None)))
        session = Session(self.transport.url, None, result.protocol_version, result.server_info)
        self.transport.post(ERA, session, calls.initialized(), effort())
        self.session = session

    def exchange(
        self, method: str = "tools/call", params: Any = None, limits: Effort | None = None, **options: Any
    ) -> HTTPSSEExchange:
        """A request that has the id as its progress token."""
        self._next_id += 1
        given = {"_meta": {"progressToken": self._next_id}} if params is None else params
        session = options.get("session", self.session)
        return self.transport.request(
            ERA, session, jsonrpc.Request(self._next_id, method, given), limits or effort()
        )

    def call(self, method: str = "tools/call", limits: Effort | None = None) -> Any:
        """The result of a request, as an engine asks for it."""
        return self._response(self.exchange(method, None, limits))

    @staticmethod
    def _response(exchange: HTTPSSEExchange) -> Any:
        try:
            for message in exchange:
                if isinstance(message, jsonrpc.Response):
                    return message.result
                if isinstance(message, jsonrpc.ErrorResponse):
                    raise AssertionError(message)
        finally:
            exchange.close()
        raise AssertionError("no response")


def effort(timeout: float | Timeout = BOUND, retry: RetryPolicy = NO_WAIT) -> Effort:
    return Effort(Timeout.of(timeout, Timeout()), retry)


@contextlib.contextmanager
def transport_to(url: str, *, borrowed: bool = False, **options: Any) -> Iterator[HTTPSSETransport]:
    session = requests.Session() if borrowed else None
    http = HTTP(session=session)
    transport = HTTPSSETransport(http, url, **{"max_message_size": 1024 * 1024, **options})
    try:
        yield transport
    finally:
        transport.close()
        http.close()
        if session is not None:
            session.close()


@contextlib.contextmanager
def talking(server: RawServer, **options: Any) -> Iterator[Talk]:
    """A session with ``server``, begun."""
    with transport_to(server.url, **options) as transport:
        talk = Talk(transport)
        talk.shake()
        yield talk


def says_nothing(server: LegacyServer, peer: Peer, request: Request) -> None:
    server.accept(peer)


def changed() -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}


def log(text: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": text}}


def progress(token: Any, count: int) -> dict[str, Any]:
    params = {"progressToken": token, "progress": count}
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}


def asks(id: Any, method: str = "roots/list") -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": method}


def counts(messages: list[jsonrpc.Message]) -> list[Any]:
    return [(m.params or {}).get("progress") for m in messages if isinstance(m, jsonrpc.Notification)]


# --- the stream and its address


@pytest.mark.parametrize("borrowed", [False, True])
def test_a_session(borrowed: bool) -> None:
    """O-03: a GET opens the stream, what it names gets the POSTs, and the answers come on the stream."""
    with LegacyServer() as server, talking(server, borrowed=borrowed) as talk:
        assert talk.call("tools/list")["tools"][0]["name"] == "echo"
        assert talk.call() == RESULT
        get, *posts = server.requests
        assert (get.method, get.target, get.header("Accept")) == ("GET", "/mcp", "text/event-stream")
        assert [post.key for post in posts] == ["initialize", "notifications/initialized", "tools/list", "tools/call"]
        for post in posts:
            assert (post.method, post.target) == ("POST", "/messages?session=1")
            assert post.header("Content-Type") == "application/json"
            assert post.header("MCP-Protocol-Version") is None and post.header("MCP-Session-Id") is None


@pytest.mark.parametrize(
    "endpoint,target",
    [
        ("messages?s=1", "/v1/messages?s=1"),
        ("/messages/?s=1&t=2", "/messages/?s=1&t=2"),
        ("?s=1", "/v1/sse?s=1"),
        ("../up", "/up"),
        ("{origin}/whole?s=1", "/whole?s=1"),
        ("//127.0.0.1:{port}/bare#part", "/bare"),
        ("http://other:login@127.0.0.1:{port}/x", "/x"),
        (" /spaced ", "/spaced"),
    ],
)
def test_the_address_is_resolved(endpoint: str, target: str) -> None:
    """O-03: the named URI is resolved against the GET's, and the login of that goes along and no other."""
    with LegacyServer() as server:
        server.endpoint = endpoint.replace("{port}", str(server.port))
        url = f"http://me:secret@127.0.0.1:{server.port}/v1/sse"
        with transport_to(url) as transport:
            Talk(transport).shake()
        get, post, _ = server.requests
        assert post.target == target
        assert post.header("Authorization") == get.header("Authorization") == "Basic bWU6c2VjcmV0"


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://localhost:{port}/messages",
        "http://127.0.0.1:1/messages",
        "https://127.0.0.1:{port}/messages",
        "//evil.example/messages",
        "http://127.0.0.1:{port}@evil.example/",
        "\\\\evil.example\\messages",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "http://[",
        "http://127.0.0.1:99999/",
        "/a b",
        "/" + "x" * 9000,
        " ",
    ],
)
def test_another_origin_is_refused(endpoint: str) -> None:
    """O-03: an address elsewhere, or none that can be used, gets no message and no second try."""
    with LegacyServer() as server, transport_to(server.url) as transport:
        server.endpoint = endpoint.replace("{port}", str(server.port))
        if "\\" in endpoint:
            # Not another origin by RFC 3986, though browsers see one: it is a path here, and stays at home.
            Talk(transport).shake()
            assert urlsplit(server.requests[1].target).hostname is None
            return
        with pytest.raises(RemoteProtocolError, match="'endpoint'"):
            transport.open(effort())
        assert [request.method for request in server.requests] == ["GET"]
        server.wait_connected(0)


def test_a_redirect_to_another_origin_brings_no_address() -> None:
    """O-03: the address is compared with where the user wanted to go, not with where a redirect led."""
    def redirects(peer: Peer) -> None:
        peer.read_request()
        peer.respond(307, headers={"Location": elsewhere.url})

    with LegacyServer() as elsewhere, RawServer(redirects) as server, transport_to(server.url) as transport:
        with pytest.raises(RemoteProtocolError, match="must name an address at"):
            transport.open(effort())
        assert [request.method for request in elsewhere.requests] == ["GET"]


def test_a_redirect_at_home() -> None:
    """A moved stream is followed, and the address resolved against where it is now."""

    def moved(server: LegacyServer, peer: Peer, request: Request) -> None:
        peer.respond(308, headers={"Location": "/new/place"})

    def found(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.stream(peer)
        peer.hold()

    with LegacyServer("messages") as server:
        server.on("GET", moved, found)
        with talking(server):
            assert server.seen("initialize")[0].target == "/new/messages"


@pytest.mark.parametrize("first", [changed(), asks(1)])
def test_a_stream_of_messages_is_another_transport(first: Any) -> None:
    """O-03, H25-25: the first event must be ``endpoint``; the listening stream of a newer server begins otherwise."""

    def newer(server: LegacyServer, peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(first)
        peer.hold()

    with LegacyServer() as server, transport_to(server.url) as transport:
        server.on("GET", newer)
        with pytest.raises(RemoteProtocolError, match="'endpoint' first"):
            transport.open(effort())


def test_comments_and_other_events_may_come_first() -> None:
    """What is neither the address nor a message is passed over; the address may come in pieces."""

    def chatty(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.streams.append(peer)
        peer.start_stream()
        peer.comment("hello")
        peer.event("x", event="ping")
        for byte in b"event: endpoint\r\ndata: /messages\r\n\r\n":
            peer.write(bytes([byte]))
        peer.hold()

    with LegacyServer() as server:
        server.on("GET", chatty)
        with talking(server) as talk:
            assert talk.call() == RESULT


def test_messages_right_behind_the_address() -> None:
    """What comes in the same piece as the address is not lost."""

    def eager(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.streams.append(peer)
        peer.start_stream()
        peer.write(b'event: endpoint\ndata: /m\n\ndata: {"jsonrpc":"2.0","id":"p","method":"ping"}\n\n')
        peer.hold()

    with LegacyServer() as server, transport_to(server.url) as transport:
        server.on("GET", eager)
        transport.open(effort())
        seen = server.wait_for(lambda seen: len(seen) == 2)
        assert seen[1].json == {"jsonrpc": "2.0", "id": "p", "result": {}}


def test_a_later_address_is_ignored() -> None:
    """A second ``endpoint`` does not take the session elsewhere."""
    with LegacyServer() as server, talking(server) as talk:
        server.streams[-1].event("/elsewhere", event="endpoint")
        assert talk.call() == RESULT
        assert server.requests[-1].target == "/messages?session=1"


def test_a_stream_that_ends_without_an_address() -> None:
    """O-03: a stream that ends properly and has named nothing is no such server, and is not asked again."""

    def ends(server: LegacyServer, peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.end_stream()

    with LegacyServer() as server, transport_to(server.url) as transport:
        server.on("GET", ends)
        with pytest.raises(RemoteProtocolError, match="ended without it"):
            transport.open(effort())
        assert len(server.requests) == 1


def test_opening_is_tried_again() -> None:
    """A cut before the address and a fault of the server pass; opening asks for nothing that could be done twice."""

    def cut(server: LegacyServer, peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.comment()
        peer.cut()

    def busy(server: LegacyServer, peer: Peer, request: Request) -> None:
        peer.respond(503)

    def opens(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.stream(peer)
        peer.hold()

    with LegacyServer() as server:
        server.on("GET", cut, busy, opens)
        with talking(server) as talk:
            assert talk.call() == RESULT
        assert len(server.seen("GET")) == 3


@pytest.mark.parametrize(
    "status,error", [(400, HTTPStatusError), (401, AuthenticationError), (404, HTTPStatusError), (405, HTTPStatusError)]
)
def test_a_refused_stream(status: int, error: type[HTTPStatusError]) -> None:
    """H25-25: who does not know such a GET says so by a status, at once, and that is no ended session."""
    with LegacyServer() as server, transport_to(server.url) as transport:
        server.on("GET", lambda server, peer, request: peer.respond(status))
        with pytest.raises(HTTPStatusError) as caught:
            transport.open(effort())
        assert (type(caught.value), caught.value.status) == (error, status)
        assert len(server.requests) == 1


def test_a_broken_stream_is_asked_for_so_often() -> None:
    with LegacyServer() as server, transport_to(server.url) as transport:
        server.on("GET", lambda server, peer, request: peer.respond(500))
        with pytest.raises(HTTPStatusError) as caught:
            transport.open(effort())
        assert caught.value.status == 500 and len(server.requests) == NO_WAIT.attempts


def test_another_content_type() -> None:
    """O-03: an answer that is no event stream is refused as such."""
    with LegacyServer() as server, transport_to(server.url) as transport:
        server.on("GET", lambda server, peer, request: peer.respond(200, b"<html>", content_type="text/html"))
        with pytest.raises(ContentTypeError):
            transport.open(effort())


@pytest.mark.parametrize("limit", [Timeout(total=0.2), Timeout(read=0.2, total=BOUND)])
def test_a_silent_stream(limit: Timeout) -> None:
    """Nothing waits for ever for the address, and nothing was executed."""

    def silent(server: LegacyServer, peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.hold()

    with LegacyServer() as server, transport_to(server.url) as transport:
        server.on("GET", silent)
        with within(AT_ONCE), pytest.raises((CallTimeout, ReadTimeout)) as caught:
            transport.open(effort(limit))
        assert isinstance(caught.value, CallTimeout) is (limit.read is None)
        assert isinstance(caught.value, TransportError) and not caught.value.may_have_executed


def test_nobody_is_there() -> None:
    with contextlib.closing(refusing_port()) as held:
        with transport_to(f"http://127.0.0.1:{held.getsockname()[1]}/sse") as transport:
            with pytest.raises(TransportError) as caught:
                transport.open(effort())
            assert not caught.value.may_have_executed and caught.value.attempts == NO_WAIT.attempts


# --- answers


def test_the_answer_before_the_202() -> None:
    """O-03: the response may be faster than the answer to the POST, which then need not come at all."""
    over = threading.Event()

    def late(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.answer(request)
        peer.hold(over)
        server.accept(peer)

    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", late)
        with within(AT_ONCE):
            assert talk.call() == RESULT
        over.set()
        del server.scripts["tools/call"]
        assert talk.call() == RESULT


def test_a_server_that_works_before_it_answers_the_post() -> None:
    """O-03, E-01: what a server asks while the POST stands open is heard, and its answer lets the server go on."""

    def works(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.say(progress(request.id, 1), asks("a-1"))
        server.wait_for(lambda seen: any(other.key == "response" for other in seen))
        server.answer(request)
        peer.respond(200)

    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", works)
        seen: list[Any] = []
        for message in talk.exchange():
            seen.append(type(message).__name__)
            if isinstance(message, jsonrpc.Request):
                talk.transport.post(ERA, talk.session, jsonrpc.Response(message.id, {"roots": []}), effort())
        assert seen == ["Notification", "Request", "Response"]
        assert server.seen("response")[0].json == {"jsonrpc": "2.0", "id": "a-1", "result": {"roots": []}}


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_success_of_the_post(status: int) -> None:
    def accepts(server: LegacyServer, peer: Peer, request: Request) -> None:
        peer.respond(status)
        server.answer(request)

    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", accepts)
        assert talk.call() == RESULT


def test_attributes_of_an_exchange() -> None:
    """What a call reads of an exchange: nothing can be resumed, and the server's words are passed on."""

    def reports(server: LegacyServer, peer: Peer, request: Request) -> None:
        peer.respond(202, headers={"X-Trace": "t"})
        server.streams[-1].event(progress(request.id, 1), id="7", retry=1234)

    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", reports)
        exchange = talk.exchange()
        assert (exchange.in_flight, exchange.headers, exchange.retry_ms) == (False, None, None)
        messages = iter(exchange)
        next(messages)
        assert (exchange.in_flight, exchange.last_event_id, exchange.retry_ms) == (True, "", 1234)
        server.answer(server.requests[-1])
        assert isinstance(next(messages), jsonrpc.Response)
        assert next(messages, None) is None
        assert exchange.headers is not None and exchange.headers["x-trace"] == "t"
        with pytest.raises(ResumeRefused):
            assert talk.session is not None
            talk.transport.resume(ERA, talk.session, 1, "7", effort())


def test_an_error_of_the_server() -> None:
    def refuses(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.accept(peer)
        server.say({"jsonrpc": "2.0", "id": request.id, "error": {"code": -32601, "message": "no"}})

    def cannot_read(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.accept(peer)
        server.say({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "what?"}})

    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", refuses, cannot_read)
        for code in (-32601, -32700):
            (answer,) = talk.exchange()
            assert isinstance(answer, jsonrpc.ErrorResponse) and answer.code == code


def test_two_threads() -> None:
    """O-03, P-02: answers find their requests by id, and progress by its token, however they are mixed."""
    ids: list[int] = []

    def mixed(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.accept(peer)
        ids.append(request.id)
        if len(ids) == 2:
            first, second = sorted(ids)
            server.say(
                progress(second, 10),
                progress(first, 1),
                progress(str(first), 66),
                progress(True, 66),
                progress([first], 66),
                {"jsonrpc": "2.0", "id": str(first), "result": "another's"},
                {"jsonrpc": "2.0", "id": 987654, "result": "nobody's"},
                progress(second, 11),
                {"jsonrpc": "2.0", "id": second, "result": second},
                progress(second, 12),
                progress(first, 2),
                {"jsonrpc": "2.0", "id": first, "result": first},
            )

    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", mixed)
        one, two = talk.exchange(), talk.exchange()
        other = InThread(lambda: list(two))
        mine = list(one)
        other.join(BOUND)
        assert counts(mine) == [1, 2]
        assert counts(other.value) == [10, 11]
        assert mine[-1] == jsonrpc.Response(one.request_id, one.request_id)
        assert other.value[-1] == jsonrpc.Response(two.request_id, two.request_id)


def test_many_threads() -> None:
    """Sixteen threads on one stream: each gets its own answers, and all of its own progress in order."""

    def echoes(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.accept(peer)
        server.say(*(progress(request.id, count) for count in range(5)))
        server.say({"jsonrpc": "2.0", "id": request.id, "result": request.id})

    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", echoes)
        exchanges = [[talk.exchange() for _ in range(5)] for _ in range(16)]

        def work(mine: list[HTTPSSEExchange]) -> None:
            for exchange in mine:
                messages = list(exchange)
                assert counts(messages) == [0, 1, 2, 3, 4]
                assert messages[-1] == jsonrpc.Response(exchange.request_id, exchange.request_id)

        threads = [InThread(lambda mine=mine: work(mine)) for mine in exchanges]  # type: ignore[misc]
        for thread in threads:
            thread.join(BOUND)
            assert thread.error is None, repr(thread.error)


def test_a_batch() -> None:
    """BASE-05: an array on the stream is read as its messages, though this revision does not need it."""

    def batch(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.accept(peer)
        server.say([progress(request.id, 1), {"jsonrpc": "2.0", "id": request.id, "result": 1}])

    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", batch)
        assert len(list(talk.exchange())) == 2


# --- the POST goes wrong


@pytest.mark.parametrize(
    "status,error",
    [
        (400, SessionExpired),
        (404, SessionExpired),
        (401, AuthenticationError),
        (403, AuthenticationError),
        (413, HTTPStatusError),
        (500, HTTPStatusError),
        (302, HTTPStatusError),
    ],
)
def test_a_refused_post(status: int, error: type[HTTPStatusError]) -> None:
    """O-03: a refusal is the end of that request alone; 400 and 404 say that the session is over."""
    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", lambda server, peer, request: peer.respond(status))
        exchange = talk.exchange()
        with pytest.raises(HTTPStatusError) as caught:
            list(exchange)
        assert (type(caught.value), caught.value.status, exchange.in_flight) == (error, status, False)
        assert len(server.seen("tools/call")) == 1
        assert talk.call("tools/list")["tools"]


def test_a_refusal_in_json() -> None:
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": -32602, "message": "no such thing"}}
    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", lambda server, peer, request: peer.respond_json(body, 422))
        with pytest.raises(RPCError, match="no such thing"):
            talk.call()


def test_a_refusal_of_the_first_message() -> None:
    """Before the handshake is done, 404 does not speak of a session."""
    with LegacyServer() as server, transport_to(server.url) as transport:
        server.on("initialize", lambda server, peer, request: peer.respond(404))
        with pytest.raises(HTTPStatusError) as caught:
            Talk(transport).shake()
        assert not isinstance(caught.value, SessionExpired)


def test_a_busy_server_is_asked_again() -> None:
    """503 and 429 say that nothing was begun, so the same request goes out again; and a notification too."""

    def busy(server: LegacyServer, peer: Peer, request: Request) -> None:
        peer.respond(503)

    def works(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.accept(peer)
        server.answer(request)

    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", busy, busy, works)
        server.on("notifications/x", busy, works)
        assert talk.call() == RESULT
        talk.transport.post(ERA, talk.session, jsonrpc.Notification("notifications/x"), effort())
        assert len({request.body for request in server.seen("tools/call")}) == 1
        assert len(server.seen("notifications/x")) == 2
        server.on("tools/call", busy)
        with pytest.raises(HTTPStatusError):
            talk.call()


@pytest.mark.parametrize("what", ["request", "notification"])
def test_a_lost_post(what: str) -> None:
    """A POST that breaks may have arrived: it is not sent again, and the error says so."""

    def cut(server: LegacyServer, peer: Peer, request: Request) -> None:
        peer.cut()

    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", cut)
        server.on("notifications/x", cut)
        with pytest.raises(ConnectionLost) as caught:
            talk.call() if what == "request" else notify(talk)
        assert caught.value.may_have_executed
        assert len(server.seen("tools/call") + server.seen("notifications/x")) == 1
        assert talk.call("tools/list")["tools"]


def notify(talk: Talk) -> None:
    talk.transport.post(ERA, talk.session, jsonrpc.Notification("notifications/x"), effort())


# --- the stream goes wrong


@pytest.mark.parametrize("borrowed", [False, True])
@pytest.mark.parametrize("end", [Peer.cut, Peer.end_stream])
def test_the_stream_ends_before_the_answer(end: Callable[[Peer], None], borrowed: bool) -> None:
    """O-03: what was sent is lost and may have run; the next request is surely not sent, and a new session is begun."""

    def ends(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.accept(peer)
        server.say(progress(request.id, 1))
        end(server.streams[-1])

    with LegacyServer() as server, talking(server, borrowed=borrowed) as talk:
        server.on("tools/call", ends)
        exchange = talk.exchange()
        messages = iter(exchange)
        assert counts([next(messages)]) == [1]
        with pytest.raises(ConnectionLost) as caught:
            next(messages)
        assert caught.value.may_have_executed and not caught.value.resumable and exchange.in_flight
        del server.scripts["tools/call"]
        late = talk.exchange()
        with pytest.raises(SessionExpired):
            list(late)
        assert not late.in_flight
        with pytest.raises(SessionExpired):
            notify(talk)
        assert len(server.seen("tools/call")) == 1
        old = talk.session
        talk.shake()
        assert talk.call() == RESULT
        assert server.requests[-1].target == "/messages?session=2"
        talk.session = old
        with pytest.raises(SessionExpired):  # who has not heard of the new session yet does not disturb it
            talk.call()


def test_the_stream_ends_after_the_answer() -> None:
    """What came before the end counts, and the end is known before the next request is sent."""

    def ends(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.accept(peer)
        server.answer(request)
        server.streams[-1].cut()

    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", ends)
        assert talk.call() == RESULT
        with pytest.raises((SessionExpired, ConnectionLost)):
            talk.call("tools/list")
        with pytest.raises(SessionExpired):
            talk.call("tools/list")


@pytest.mark.parametrize("verdict,error", [(202, ConnectionLost), (404, SessionExpired), (503, SessionExpired)])
def test_the_stream_ends_while_a_post_is_out(verdict: int, error: type[Exception]) -> None:
    """A server that stops ends both: what it says to the POST tells whether the message was taken."""

    def stops(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.streams[-1].cut()
        peer.respond(verdict)

    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", stops)
        with within(AT_ONCE), pytest.raises(error) as caught:
            talk.call()
        assert getattr(caught.value, "may_have_executed", True) is True


def test_the_stream_ends_and_the_post_stays_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_sse_module, "_VERDICT_SECONDS", 0.1)

    def stops(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.streams[-1].cut()
        peer.hold()

    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", stops)
        with within(AT_ONCE), pytest.raises(ConnectionLost) as caught:
            talk.call()
        assert caught.value.may_have_executed


def test_all_who_wait_hear_of_the_end() -> None:
    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", says_nothing)
        waiting = [InThread(talk.call) for _ in range(3)]
        listening = InThread(lambda: list(talk.transport.listen(effort())))
        server.wait_for(lambda seen: sum(request.key == "tools/call" for request in seen) == 3)
        server.streams[-1].cut()
        for thread in [*waiting, listening]:
            thread.join(AT_ONCE)
            assert isinstance(thread.error, (ConnectionLost, SessionExpired)), repr(thread.error)
        assert all(isinstance(thread.error, ConnectionLost) for thread in waiting)
        assert len({id(thread.error) for thread in waiting}) == 3


def test_an_event_that_is_too_large() -> None:
    """W-07: an event over the limit ends the stream, by name, for all who wait."""

    def huge(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.accept(peer)
        server.say({"jsonrpc": "2.0", "id": request.id, "result": "x" * 2000})

    with LegacyServer() as server, talking(server, max_message_size=1000) as talk:
        server.on("tools/list", says_nothing)
        server.on("tools/call", huge)
        other = InThread(lambda: talk.call("tools/list"))
        server.wait_for(lambda seen: seen[-1].key == "tools/list")
        with pytest.raises(MessageTooLarge) as caught:
            talk.call()
        assert caught.value.limit == 1000
        other.join(AT_ONCE)
        assert isinstance(other.error, MessageTooLarge)
        server.wait_connected(len({request.connection for request in server.requests}) - 1)


def test_more_than_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not read does not fill the memory, and learns it by name; others go on."""
    monkeypatch.setattr(channel_module, "_MAX_UNCLAIMED_SIZE", 20_000)
    flooded = threading.Event()

    def floods(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.accept(peer)
        for count in range(100):
            server.say(progress(request.id, count))
        server.say({"jsonrpc": "2.0", "id": request.id, "result": {}})
        flooded.set()

    with LegacyServer() as server, talking(server, max_message_size=10_000) as talk:
        server.on("tools/call", floods)
        exchange = talk.exchange()
        messages = iter(exchange)
        next(messages)
        assert flooded.wait(BOUND)
        assert talk.call("tools/list")["tools"]  # the stream is read on, so all of the above is sorted by now
        got: list[jsonrpc.Message] = []
        with pytest.raises(MessageTooLarge, match="waiting to be read") as caught:
            got.extend(messages)
        assert caught.value.limit == 20_000 and 10 < len(got) < 60
        assert talk.call("tools/list")["tools"]


@pytest.mark.parametrize("text", ["{", '{"jsonrpc":"1.0","id":1}', "[]", '"x"'])
def test_nonsense(text: str) -> None:
    """BASE-01: what is no message ends the one request that waits; with several, nobody knows whose it was."""

    def nonsense(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.accept(peer)
        server.streams[-1].event(text)

    def nonsense_first(server: LegacyServer, peer: Peer, request: Request) -> None:
        nonsense(server, peer, request)
        server.answer(request)

    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", nonsense)
        with pytest.raises(RemoteProtocolError):
            talk.call()
        server.on("tools/list", says_nothing)
        server.on("tools/call", nonsense_first)
        other = InThread(lambda: talk.call("tools/list"))
        server.wait_for(lambda seen: seen[-1].key == "tools/list")
        assert talk.call() == RESULT
        server.answer(server.requests[-2])
        other.join(AT_ONCE)
        assert other.error is None


# --- time


def test_a_deadline_wakes_at_once() -> None:
    """K-08: keep-alive comments do not extend the time of a call; another one on the stream is not touched."""
    over = threading.Event()

    def drips(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.accept(peer)
        while not over.wait(0.02):
            server.streams[-1].comment()

    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", drips)
        with within(AT_ONCE), pytest.raises(CallTimeout, match=r"within 0\.3 s") as caught:
            talk.call(limits=effort(0.3))
        over.set()
        assert caught.value.may_have_executed
        assert talk.call("tools/list")["tools"]


def test_a_deadline_while_the_post_is_out() -> None:
    def silent(server: LegacyServer, peer: Peer, request: Request) -> None:
        peer.hold()

    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", silent)
        with within(AT_ONCE), pytest.raises(CallTimeout) as caught:
            talk.call(limits=effort(0.2))
        assert caught.value.may_have_executed
        with within(AT_ONCE), pytest.raises(CallTimeout):
            server.on("notifications/x", silent)
            talk.transport.post(ERA, talk.session, jsonrpc.Notification("notifications/x"), effort(0.2))


def test_a_deadline_that_a_callback_has_used_up() -> None:
    """What is waiting does not make a call longer, but a response that is here is not thrown away."""

    def reports(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.accept(peer)
        server.say(progress(request.id, 1), progress(request.id, 2))

    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", reports)
        limits = effort(BOUND)
        messages = iter(talk.exchange(limits=limits))
        next(messages)
        limits.deadline.at = 0.0
        with pytest.raises(CallTimeout):
            next(messages)


def test_silence_counts_as_a_break() -> None:
    """``Timeout.read``: any byte ends a silence; a stream that is silent for longer is given up, for later ones too."""

    def lives(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.accept(peer)
        begun = time.monotonic()
        while time.monotonic() < begun + 2 * read:
            never.wait(0.02)
            server.streams[-1].comment()
        server.answer(request)

    never, read = threading.Event(), 0.5
    limit = Timeout(read=read, total=BOUND)
    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", lives, says_nothing)
        assert talk.call(limits=effort(limit)) == RESULT
        with within(AT_ONCE), pytest.raises(ReadTimeout) as caught:
            talk.call(limits=effort(limit))
        assert caught.value.may_have_executed
        with pytest.raises(SessionExpired):
            talk.call()


def test_a_dead_stream_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that times out without a sign of life leaves no stream on which all others would time out as well."""
    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", says_nothing)
        with pytest.raises(CallTimeout):
            talk.call(limits=effort(0.2))
        assert talk.call("tools/list")["tools"]  # such a short silence says nothing
        monkeypatch.setattr(http_sse_module, "_DEAD_SECONDS", 0.1)
        other = InThread(lambda: talk.call("tools/call"))
        server.wait_for(lambda seen: sum(request.key == "tools/call" for request in seen) == 2)
        with pytest.raises(CallTimeout):
            talk.call(limits=effort(0.2))
        assert talk.call("tools/list")["tools"]  # nor is it for one to judge while others wait
        talk.transport.end(ERA, talk.session, effort())  # type: ignore[arg-type]
        other.join(AT_ONCE)
        talk.shake()
        with pytest.raises(CallTimeout):
            talk.call(limits=effort(0.2))
        with pytest.raises(SessionExpired):
            talk.call("tools/list")


# --- closing


@pytest.mark.parametrize("borrowed", [False, True])
@pytest.mark.parametrize("place", ["stream", "post", "listening"])
def test_an_interrupt_wakes(place: str, borrowed: bool) -> None:
    """K-03: whoever waits is woken at once, and the stream stays."""

    def silent(server: LegacyServer, peer: Peer, request: Request) -> None:
        peer.hold()

    with LegacyServer() as server, talking(server, borrowed=borrowed) as talk:
        server.on("tools/call", says_nothing if place == "stream" else silent)
        limits = effort()
        if place == "listening":
            source = talk.transport.listen(limits)
            waiting = InThread(lambda: list(source))
        else:
            waiting = InThread(lambda: talk.call(limits=limits))
            server.wait_for(lambda seen: seen[-1].key == "tools/call")
        with within(AT_ONCE):
            limits.interrupt.fire()
            waiting.join(AT_ONCE)
        assert isinstance(waiting.error, ClientClosed)
        assert talk.call("tools/list")["tools"]
        with pytest.raises(ClientClosed):
            talk.call(limits=limits)


@pytest.mark.parametrize("borrowed", [False, True])
@pytest.mark.parametrize("place", ["stream", "post", "listening"])
def test_closing_wakes(place: str, borrowed: bool) -> None:
    """Closed from another thread, at once and with nothing left behind; whoever was interrupted first knows why."""

    def silent(server: LegacyServer, peer: Peer, request: Request) -> None:
        peer.hold()

    with LegacyServer() as server, talking(server, borrowed=borrowed) as talk:
        server.on("tools/call", says_nothing if place == "stream" else silent)
        if place == "listening":
            source = talk.transport.listen(effort())
            waiting = InThread(lambda: list(source))
        else:
            waiting = InThread(talk.call)
            server.wait_for(lambda seen: seen[-1].key == "tools/call")
        with within(1.0):
            talk.transport.close()
            talk.transport.close()
        waiting.join(AT_ONCE)
        assert isinstance(waiting.error, ConnectionLost)
        with pytest.raises(SessionExpired):
            talk.call()
        with pytest.raises(ClientClosed):
            talk.shake()


def test_closing_wakes_who_opens() -> None:
    def silent(server: LegacyServer, peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.hold()

    with LegacyServer() as server, transport_to(server.url) as transport:
        server.on("GET", silent)
        for close in (lambda limits: limits.interrupt.fire(), lambda limits: transport.close()):
            limits = effort()
            opening = InThread(lambda limits=limits: transport.open(limits))  # type: ignore[misc]
            count = len(server.requests)
            server.wait_for(lambda seen, count=count: len(seen) > count or seen)  # type: ignore[misc]
            with within(AT_ONCE):
                close(limits)
                opening.join(AT_ONCE)
            assert isinstance(opening.error, ClientClosed)


def test_the_end_of_a_session() -> None:
    """O-03: closing the stream is the end; the server sees it, and nothing else is sent."""
    with LegacyServer() as server, talking(server) as talk:
        assert talk.session is not None
        server.wait_connected(2)
        with within(1.0):
            talk.transport.end(ERA, talk.session, effort())
            talk.transport.end(ERA, talk.session, effort())
        server.wait_connected(1)
        assert "DELETE" not in {request.method for request in server.requests}
        with pytest.raises(SessionExpired):
            talk.call()
        with pytest.raises(SessionExpired):
            talk.transport.listen(effort())


def test_a_new_stream_ends_the_old_one() -> None:
    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", says_nothing)
        waiting = InThread(talk.call)
        server.wait_for(lambda seen: seen[-1].key == "tools/call")
        talk.transport.open(effort())
        waiting.join(AT_ONCE)
        assert isinstance(waiting.error, ConnectionLost) and waiting.error.may_have_executed
        with pytest.raises(SessionExpired):  # it is open, but that session was on the other one
            talk.call("tools/list")
        talk.shake()
        assert len(server.seen("GET")) == 2  # on the stream that was open, as no session had been begun on it


def test_left_in_the_middle() -> None:
    """Who stops iterating leaves nothing behind, and what comes late for it is dropped."""
    go_on = threading.Event()

    def slow(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.say(progress(request.id, 1))
        go_on.wait(BOUND)
        server.answer(request)
        server.accept(peer)

    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", slow)
        with nothing_left(), within(AT_ONCE):
            exchange = talk.exchange()
            next(iter(exchange))
            exchange.close()
            exchange.close()
        go_on.set()
        assert talk.call("tools/list")["tools"]


def test_dropped_without_closing() -> None:
    """The thread holds nothing that keeps a client alive: it ends with the last reference."""
    with LegacyServer() as server, nothing_left():
        http = HTTP()
        talk = Talk(HTTPSSETransport(http, server.url, max_message_size=1000))
        talk.shake()
        gc.disable()
        try:
            del talk
            server.wait_connected(1)  # the one for POSTs, which is idle
        finally:
            gc.enable()
        http.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("borrowed", [False, True])
def test_a_forked_child(borrowed: bool) -> None:
    """A child begins a session of its own, and neither uses nor breaks its parent's stream."""
    with LegacyServer() as server, talking(server, borrowed=borrowed) as talk:
        listening = talk.transport.listen(effort())
        child = os.fork()
        if child == 0:
            code = 1
            try:
                try:
                    talk.call()
                except SessionExpired:
                    talk.shake()
                    code = 0 if talk.call() == RESULT else 2
                talk.transport.close()
            except BaseException:
                code = 3
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert [request.target for request in server.seen("tools/call")] == ["/messages?session=2"]
        server.streams.pop()
        assert talk.call() == RESULT
        server.say(changed())
        assert next(iter(listening)) == jsonrpc.Notification("notifications/tools/list_changed", None)
        listening.close()


# --- what the server says and asks by itself


def test_pings_are_answered_at_once() -> None:
    """L25-10: with nobody waiting for anything, and before the handshake is done."""
    with LegacyServer() as server, transport_to(server.url) as transport:
        transport.open(effort())
        server.say(*(asks(f"p-{number}", "ping") for number in range(5)))
        server.wait_for(lambda seen: len(seen) == 6)
        answers = [request.json for request in server.seen("response")]
        assert answers == [{"jsonrpc": "2.0", "id": f"p-{number}", "result": {}} for number in range(5)]


def test_pings_that_cannot_be_answered() -> None:
    with LegacyServer() as server, talking(server) as talk:
        server.on("response", lambda server, peer, request: peer.cut())
        server.say(asks("p-1", "ping"))
        server.wait_for(lambda seen: seen[-1].key == "response")
        server.on("response", lambda server, peer, request: server.accept(peer))
        server.say(asks("p-2", "ping"))
        server.wait_for(lambda seen: seen[-1].key == "response" and seen[-1].id == "p-2")
        assert talk.call() == RESULT


def test_who_gets_what() -> None:
    """E-02, G-03: logs and questions go to the newest call, the rest to who listens, and progress where it belongs."""
    go_on = threading.Event()

    def held(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.accept(peer)
        go_on.wait(BOUND)
        server.say(
            log("busy"),
            asks(1),
            changed(),
            progress(request.id, 1),
            progress("unknown", 5),
            {"jsonrpc": "2.0", "id": request.id, "result": {}},
            log("idle"),
            asks(2),
        )

    with LegacyServer() as server, talking(server) as talk:
        listening = talk.transport.listen(effort())
        server.on("tools/call", held)
        older = talk.exchange("tools/list")
        server.on("tools/list", says_nothing)
        old = InThread(lambda: list(older))
        server.wait_for(lambda seen: seen[-1].key == "tools/list")
        newest = talk.exchange()
        new = InThread(lambda: list(newest))
        server.wait_for(lambda seen: seen[-1].key == "tools/call")
        go_on.set()
        new.join(BOUND)
        assert [getattr(message, "method", "response") for message in new.value] == [
            "notifications/message",
            "roots/list",
            "notifications/progress",
            "response",
        ]
        server.say({"jsonrpc": "2.0", "id": older.request_id, "result": {}})
        old.join(BOUND)
        server.say(log("nobody calls"), asks(3))
        heard = iter(listening)
        got = [next(heard) for _ in range(4)]
        listening.close()
        assert [getattr(m, "method", "") for m in old.value[:-1]] == ["notifications/message", "roots/list"]
        assert [getattr(m, "method", "") for m in got] == [
            "notifications/tools/list_changed",
            "notifications/progress",
            "notifications/message",
            "roots/list",
        ]


def test_what_nobody_has_claimed() -> None:
    """What comes between two calls is kept for the next one, as far as there is room."""
    with LegacyServer() as server, talking(server) as talk:
        server.say(*(log(str(number)) for number in range(200)), asks(1), progress(9999, 1))
        server.say(asks("p", "ping"))
        server.wait_for(lambda seen: seen[-1].key == "response")  # so all of it was read
        messages = list(talk.exchange())
        assert len(messages) == channel_module._MAX_UNCLAIMED + 1
        assert isinstance(messages[-2], jsonrpc.Request) and isinstance(messages[-1], jsonrpc.Response)
        assert len(list(talk.exchange())) == 1


def test_a_question_is_handed_on() -> None:
    """What was asked of a call that is given up is the next one's to answer; what the server took back is nobody's."""

    def asking(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.accept(peer)
        server.say(progress(request.id, 1), asks(1), asks("1"), log("x"))

    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", asking)
        exchange = talk.exchange()
        messages = iter(exchange)
        next(messages)
        server.say(asks("p", "ping"))
        server.wait_for(lambda seen: seen[-1].key == "response")
        exchange.close()
        server.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        server.say(asks("q", "ping"))
        server.wait_for(lambda seen: seen[-1].id == "q")
        got = list(talk.exchange("tools/list"))
        assert got[:-1] == [
            jsonrpc.Request("1", "roots/list"),
            jsonrpc.Notification("notifications/message", log("x")["params"]),
        ]


def test_a_question_that_is_taken_back() -> None:
    """K-02: who was asked sees the cancelling ahead, before it answers."""

    def asking(server: LegacyServer, peer: Peer, request: Request) -> None:
        server.accept(peer)
        for bad in (None, [1], True):
            server.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": bad}})
        server.say(asks(1), {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        server.say(asks("p", "ping"))

    with LegacyServer() as server, talking(server) as talk:
        server.on("tools/call", asking)
        exchange = talk.exchange()
        assert list(exchange.look_ahead()) == []
        messages = iter(exchange)
        asked = next(messages)
        server.wait_for(lambda seen: seen[-1].key == "response")
        assert asked == jsonrpc.Request(1, "roots/list")
        for _ in range(2):
            (ahead,) = exchange.look_ahead()
            assert ahead == jsonrpc.Notification("notifications/cancelled", {"requestId": 1})
        exchange.close()
        assert list(exchange.look_ahead()) == []


def test_the_last_listener_hears() -> None:
    """One message goes to one listener: the last who came, and after it the one before."""
    with LegacyServer() as server, talking(server) as talk:
        first, second = talk.transport.listen(effort()), talk.transport.listen(effort())
        assert (first.request_id, first.in_flight, first.last_event_id, first.headers) == ("", False, "", None)
        server.say(changed())
        assert isinstance(next(iter(second)), jsonrpc.Notification)
        second.close()
        server.say(log("x"))
        heard = next(iter(first))
        assert isinstance(heard, jsonrpc.Notification) and heard.method == "notifications/message"
        first.close()
        with pytest.raises(CallTimeout):
            next(iter(talk.transport.listen(effort(0.1))))


def test_what_there_is_no_room_for_costs_none() -> None:
    """Whoever is too slow is told once, however much more comes; what there was room for is still there."""
    box = channel_module.Box(limit=2000)
    message = jsonrpc.Notification("notifications/x")
    for _ in range(1000):
        box.put(message, 1000)
    assert box.overflowed and box._queue.qsize() == 2
    assert box.take() == message and box.take() is None
