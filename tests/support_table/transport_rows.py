"""The rows of the transport: from how messages go to how a call is cancelled."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from streamhttp_client import Call, Client, ConnectionLost, MethodNotFound, Progress, Session, ToolResult
from streamhttp_client.net.interrupt import Interrupt
from streamhttp_client.protocol.models.notifications import ToolListChanged
from tests.support.rawserver import Peer, Request
from tests.support_table.table import proves
from tests.support_table.worlds import BOUND, OK, PREFIX, LegacyWorld, ModernWorld, SessionWorld, World, meta_of, note

SESSIONS = "2025-03-26 2025-06-18 2025-11-25"
CHANGED = "notifications/tools/list_changed"


def progress(request: Request) -> dict[str, Any]:
    """The first sign of life of a call."""
    return note("notifications/progress", {"progressToken": meta_of(request).get("progressToken"), "progress": 1})


@contextlib.contextmanager
def waits() -> Iterator[list[float]]:
    """The waits that the server asks for, none of which is waited."""
    seconds: list[float] = []
    with mock.patch.object(Interrupt, "sleep", lambda self, wait: seconds.append(wait)):
        yield seconds


# --- transport


@proves("transport", "2024-11-05", "HTTP+SSE")
def two_channels(world: LegacyWorld) -> None:
    with world.client() as client:
        assert client.call_tool("echo").text == "ok"
        assert client.era == "http+sse"
    get, *posts = world.server.requests
    assert get.method == "GET" and len(world.server.streams) == 1
    assert {(post.method, post.target) for post in posts} == {("POST", "/messages?session=1")}


@proves("transport", SESSIONS, "Streamable HTTP")
def one_endpoint(world: SessionWorld) -> None:
    with world.client() as client:
        assert client.call_tool("echo").text == "ok"
        assert client.era == "session"
    assert {request.method for request in world.server.requests} == {"POST", "DELETE"}


@proves("transport", "2026-07-28", "Streamable HTTP")
def one_endpoint_without_sessions(world: ModernWorld) -> None:
    with world.client() as client:
        assert client.call_tool("echo").text == "ok"
        assert client.era == "stateless"
    assert [request.method for request in world.server.requests] == ["POST"]


# --- what is agreed, and when


@proves("what is agreed, and when", f"2024-11-05 {SESSIONS}", "handshake")
def handshake(world: World) -> None:
    with world.client(client_info={"name": "me", "version": "2"}, roots=[]) as client:
        assert client.session.protocol_version == world.revision
        assert client.session.server_info is not None and client.session.server_info.version == "1"
        assert client.session.capabilities is not None and client.session.capabilities.tools is not None
        client.call_tool("echo")
    posts = [request for request in world.server.requests if request.method == "POST"]
    assert [post.key for post in posts] == ["initialize", "notifications/initialized", "tools/call"]
    params = posts[0].json["params"]
    assert params["protocolVersion"] == world.revision
    assert params["clientInfo"] == {"name": "me", "version": "2"}
    assert params["capabilities"] == {"roots": {"listChanged": True}}


@proves("what is agreed, and when", "2026-07-28", "in each request; `server/discover`")
def in_each_request(world: ModernWorld) -> None:
    with world.client(client_info={"name": "me", "version": "2"}, sampling=lambda params: {}) as client:
        client.call_tool("echo")
        client.list_tools()
        assert world.keys() == ["tools/call", "tools/list"]  # and nothing before them
        assert client.session.server_info is not None and client.session.server_info.version == "1"
        assert client.session.capabilities is not None and client.session.capabilities.tools is not None
    assert [request.key for request in world.server.requests] == ["tools/call", "tools/list", "server/discover"]
    for request in world.server.requests:
        meta = meta_of(request)
        assert meta[f"{PREFIX}protocolVersion"] == world.revision
        assert meta[f"{PREFIX}clientInfo"] == {"name": "me", "version": "2"}
        assert meta[f"{PREFIX}clientCapabilities"]["sampling"] == {}


# --- answers


@proves("answers as JSON, as a stream, and 202", "2024-11-05", "on the one stream")
def answers_on_the_stream(world: LegacyWorld) -> None:
    world.on("tools/call", world.says(note(CHANGED), result=OK))
    with world.client() as client:
        assert client.call_tool("echo").text == "ok"
        client.notify("notifications/custom")
    assert len(world.server.streams) == 1 and world.keys() == ["GET", "tools/call", "notifications/custom"]


@proves("answers as JSON, as a stream, and 202", f"{SESSIONS} 2026-07-28", "yes")
def answers(world: World) -> None:
    one, other = ({"content": [{"type": "text", "text": text}]} for text in ("as JSON", "as a stream"))
    world.on("tools/call", one, world.says(note(CHANGED), result=other))
    with world.client() as client:
        assert client.call_tool("echo").text == "as JSON"
        assert client.call_tool("echo").text == "as a stream"
        client.notify("notifications/custom")  # which the server answers with 202
    assert world.keys() == ["tools/call", "tools/call", "notifications/custom"]


# --- batches


def _array(request: Request) -> list[dict[str, Any]]:
    return [note(CHANGED), {"jsonrpc": "2.0", "id": request.id, "result": OK}]


def _respond_with_array(peer: Peer, request: Request) -> None:
    peer.respond_json(_array(request))


def _stream_an_array(peer: Peer, request: Request) -> None:
    peer.start_stream()
    peer.event(_array(request))
    peer.end_stream()


@proves("batches", "2025-03-26", "received, never sent")
def batches(world: SessionWorld) -> None:
    world.on("tools/call", _respond_with_array, _stream_an_array)
    heard: list[object] = []
    with world.client(on_notification=heard.append) as client:
        for _ in range(2):
            assert client.call_tool("echo").text == "ok"
    assert [type(event) for event in heard] == [ToolListChanged] * 2
    assert all(isinstance(request.json, dict) for request in world.server.requests if request.method == "POST")


@proves("batches", "2024-11-05 2025-06-18 2025-11-25 2026-07-28", "not in it")
def no_batches(world: World) -> None:
    """None is sent, however much there is to say; one that comes all the same loses nobody's answer."""

    def say_an_array(peer: Peer, request: Request) -> None:
        if isinstance(world, LegacyWorld):
            world.server.accept(peer)
            world.server.say(_array(request))
        else:
            _respond_with_array(peer, request)

    with world.client() as client:
        for _ in range(2):
            client.call_tool("echo")
            client.notify("notifications/custom")
        assert len(world.server.seen("notifications/custom")) == len(world.calls) == 2
        world.on("tools/call", say_an_array)
        assert client.call_tool("echo").text == "ok"
    assert all(isinstance(request.json, dict) for request in world.server.requests if request.method == "POST")


# --- headers


@proves("`MCP-Protocol-Version` header", "2024-11-05", "not in it")
def no_version_header(world: LegacyWorld) -> None:
    with world.client() as client:
        client.call_tool("echo")
        client.notify("notifications/custom")
    assert [request.header("MCP-Protocol-Version") for request in world.server.requests] == [None] * 5


def _versions(world: SessionWorld) -> None:
    world.on("GET", world.says(note(CHANGED)))
    with world.client() as client:
        client.call_tool("echo")
        with client.listen() as events:
            next(events)
    begin, *others = world.server.requests
    assert begin.key == "initialize" and begin.header("MCP-Protocol-Version") is None
    assert {request.key for request in others} == {"notifications/initialized", "tools/call", "GET", "DELETE"}
    assert {request.header("MCP-Protocol-Version") for request in others} == {world.revision}


proves("`MCP-Protocol-Version` header", "2025-03-26", "sent, though not in it")(_versions)
proves("`MCP-Protocol-Version` header", "2025-06-18 2025-11-25", "yes")(_versions)


@proves("`MCP-Protocol-Version` header", "2026-07-28", "yes, with `Mcp-Method`, `Mcp-Name`, `Mcp-Param-*`")
def modern_headers(world: ModernWorld) -> None:
    place = {"type": "string", "x-mcp-header": "Region"}
    schema = {"type": "object", "properties": {"place": place, "rows": {"type": "integer"}}}
    world.on("tools/list", {"tools": [{"name": "echo", "inputSchema": schema}]})
    with world.client() as client:
        client.list_tools()
        client.call_tool("echo", {"place": "eu", "rows": 1})
    (call,) = world.calls
    assert call.header("MCP-Protocol-Version") == world.revision
    assert (call.header("Mcp-Method"), call.header("Mcp-Name")) == ("tools/call", "echo")
    mirrored = [(name.lower(), value) for name, value in call.headers if name.lower().startswith("mcp-param-")]
    assert mirrored == [("mcp-param-region", "eu")]


# --- sessions

SESSION_ROW = "sessions: id, renewal after 404, DELETE"


@proves(SESSION_ROW, "2024-11-05", "the stream is the session")
def a_stream_is_a_session(world: LegacyWorld) -> None:
    world.on("tools/call", lambda peer, request: peer.respond(404), OK)
    renewed: list[tuple[Session, Session]] = []
    with world.client(on_session_renewed=lambda old, new: renewed.append((old, new))) as client:
        assert client.session.session_id is None
        assert client.call_tool("echo").text == "ok"
        assert len(renewed) == 1
        world.server.wait_for(lambda seen: len(world.server.streams) == 2)
    assert [request.target for request in world.calls] == ["/messages?session=1", "/messages?session=2"]
    assert world.server.requests[-1].key == "tools/call"  # no DELETE
    world.server.wait_connected(0)  # but the stream is closed


@proves(SESSION_ROW, SESSIONS, "yes")
def sessions(world: SessionWorld) -> None:
    renewed: list[tuple[Session, Session]] = []
    with world.client(on_session_renewed=lambda old, new: renewed.append((old, new))) as client:
        assert client.session.session_id == "session-1"
        world.server.expire_sessions()
        assert client.call_tool("echo").text == "ok"
        assert client.session.session_id == "session-2"
    assert [(old.session_id, new.session_id) for old, new in renewed] == [("session-1", "session-2")]
    sent = [(request.key, request.header("MCP-Session-Id")) for request in world.server.requests]
    assert sent == [
        ("initialize", None),
        ("notifications/initialized", "session-1"),
        ("tools/call", "session-1"),
        ("initialize", None),
        ("notifications/initialized", "session-2"),
        ("tools/call", "session-2"),
        ("DELETE", "session-2"),
    ]
    assert world.server.sessions == set()


@proves(SESSION_ROW, "2026-07-28", "not in it")
def no_sessions(world: ModernWorld) -> None:
    def with_id(peer: Peer, request: Request) -> None:
        peer.respond_result(request, {"resultType": "complete", **OK}, headers={"MCP-Session-Id": "session-1"})

    world.on("tools/call", with_id)
    with world.client() as client:
        for _ in range(2):
            assert client.call_tool("echo").text == "ok"
        with pytest.raises(MethodNotFound) as caught:  # a 404 is about the method, and nothing is renewed
            client.request("custom/method")
        assert caught.value.status == 404
        assert client.session.session_id is None
    assert [request.header("MCP-Session-Id") for request in world.server.requests] == [None] * 4
    assert world.keys() == ["tools/call", "tools/call", "custom/method"]


# --- broken streams


def _lost_unless_safe(world: World) -> None:
    """What was begun and is lost is not done twice, unless that can do no harm; nothing is resumed."""
    world.on("tools/call", world.breaks(progress), OK)
    with world.client() as client, pytest.raises(ConnectionLost) as caught:
        client.call_tool("echo", on_progress=lambda event: None)
    assert caught.value.may_have_executed and not caught.value.resumable and caught.value.cursor is None
    assert len(world.calls) == 1
    world.on("tools/call", world.breaks(progress), OK)
    with world.client() as client:
        assert client.call_tool("echo", idempotent=True, on_progress=lambda event: None).text == "ok"
    assert len({request.id for request in world.calls}) == len(world.calls) == 3
    assert {request.header("Last-Event-ID") for request in world.server.requests} == {None}


@proves("a broken stream", "2024-11-05", "a new session; repeated where safe")
def broken_and_begun_anew(world: LegacyWorld) -> None:
    _lost_unless_safe(world)
    # The first client lost its session, and the second one too: it has begun another, and repeated the call there.
    assert [request.target[-1] for request in world.calls] == ["1", "2", "3"]
    assert len(world.server.seen("GET")) == len(world.server.seen("initialize")) == 3


@proves("a broken stream", SESSIONS, "resumed")
def broken_and_resumed(world: SessionWorld) -> None:
    world.on("tools/call", world.breaks(progress))
    world.on("GET", lambda peer, request: world.says(result=OK)(peer, _as_of(world.calls[0], request)))
    seen: list[Progress] = []
    with world.client() as client:
        assert client.call_tool("echo", on_progress=seen.append).text == "ok"
    assert [event.progress for event in seen] == [1]
    assert world.keys() == ["tools/call", "GET"]
    assert world.server.seen("GET")[0].header("Last-Event-ID") == "event-1"


@proves("a broken stream", "2026-07-28", "repeated where safe")
def broken_and_repeated(world: ModernWorld) -> None:
    _lost_unless_safe(world)
    assert world.keys() == ["tools/call"] * 3


def _as_of(call: Request, request: Request) -> Request:
    """A GET, to be answered as if it were the call that it resumes."""
    return Request(request.method, request.target, request.headers, call.body, request.connection)


# --- streams that the server closes

CLOSED_ROW = "streams that the server closes and expects to be resumed"
CLOSINGS = 5


@proves(CLOSED_ROW, "2025-11-25", "yes")
def polling(world: SessionWorld) -> None:
    """However often: the server's wish is kept, and is no failure, of which two in a row would be one too many."""

    def close(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event("", id=f"event-{len(world.server.seen('GET'))}", retry=300)
        peer.end_stream()

    def finish(peer: Peer, request: Request) -> None:
        world.says(result=OK)(peer, _as_of(world.calls[0], request))

    world.on("tools/call", close)
    world.on("GET", *[close] * (CLOSINGS - 1), finish)
    with waits() as waited, world.client() as client:
        assert client.call_tool("echo").text == "ok"
    assert world.keys() == ["tools/call", *["GET"] * CLOSINGS]
    ids = [request.header("Last-Event-ID") for request in world.server.seen("GET")]
    assert ids == [f"event-{number}" for number in range(CLOSINGS)]
    assert waited == [0.3] * CLOSINGS


@proves(CLOSED_ROW, "2025-03-26 2025-06-18", "not in it")
def closed_is_broken(world: SessionWorld) -> None:
    """A stream that ends without an answer is a broken one, and so often in a row it is lost."""

    def end(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.comment()
        peer.end_stream()

    world.on("tools/call", world.breaks(progress))
    world.on("GET", end)
    with world.client() as client, pytest.raises(ConnectionLost) as caught:
        client.call_tool("echo", on_progress=lambda event: None)
    assert caught.value.resumable
    assert 1 <= len(world.server.seen("GET")) <= 2 and len(world.calls) == 1


def _closed_is_lost(world: World) -> None:
    with world.client() as client, pytest.raises(ConnectionLost) as caught:
        client.call_tool("echo")
    assert caught.value.may_have_executed and not caught.value.resumable
    assert len(world.calls) == 1
    assert {request.header("Last-Event-ID") for request in world.server.requests} == {None}


@proves(CLOSED_ROW, "2024-11-05", "not in it")
def closed_is_the_end(world: LegacyWorld) -> None:
    def close(peer: Peer, request: Request) -> None:
        world.server.accept(peer)
        stream = world.server.streams[-1]
        stream.event("", id="event-1", retry=0)
        stream.end_stream()

    world.on("tools/call", close)
    _closed_is_lost(world)


@proves(CLOSED_ROW, "2026-07-28", "not in it")
def closed_is_lost(world: ModernWorld) -> None:
    def close(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event("", id="event-1", retry=0)
        peer.end_stream()

    world.on("tools/call", close)
    _closed_is_lost(world)


# --- listening

LISTEN_ROW = "what no call asked for (`listen()`)"


@proves(LISTEN_ROW, "2024-11-05", "on the one stream")
def listening_on_the_stream(world: LegacyWorld) -> None:
    with world.client() as client, client.listen() as events:
        world.server.say(note(CHANGED))
        assert isinstance(next(events), ToolListChanged)
    assert world.keys() == ["GET"] and len(world.server.streams) == 1


@proves(LISTEN_ROW, SESSIONS, "GET")
def listening_with_get(world: SessionWorld) -> None:
    world.on("GET", world.says_and_stops(note(CHANGED)))
    with world.client() as client, client.listen() as events:
        assert isinstance(next(events), ToolListChanged)
    (get,) = world.server.seen("GET")
    assert get.header("Accept") == "text/event-stream" and world.keys() == ["GET"]


@proves(LISTEN_ROW, "2026-07-28", "`subscriptions/listen`")
def listening_with_a_request(world: ModernWorld) -> None:
    def of_subscription(request: Request, method: str, **params: Any) -> dict[str, Any]:
        return note(method, {"_meta": {f"{PREFIX}subscriptionId": request.id}, **params})

    def honour(request: Request) -> dict[str, Any]:
        wanted = request.json["params"]["notifications"]
        return of_subscription(request, "notifications/subscriptions/acknowledged", notifications=wanted)

    world.on("subscriptions/listen", world.says_and_stops(honour, lambda request: of_subscription(request, CHANGED)))
    with world.client() as client, client.listen() as events:
        assert isinstance(next(events), ToolListChanged)
        assert events.honoured is not None and events.honoured["toolsListChanged"] is True
    assert world.keys() == ["subscriptions/listen"]


# --- cancelling


def _begun(client: Client) -> Call[ToolResult]:
    """A call that the server works on."""
    call = client.stream_tool("echo")
    assert isinstance(next(call), Progress)
    return call


@proves("cancelling", f"2024-11-05 {SESSIONS}", "notification")
def cancelling(world: World) -> None:
    world.on("tools/call", world.says_and_stops(progress))
    with world.client() as client, _begun(client) as call:
        call.cancel("enough")
    (told,) = world.server.seen("notifications/cancelled")
    assert told.json["params"] == {"requestId": world.calls[0].id, "reason": "enough"}


@proves("cancelling", "2026-07-28", "closing the stream")
def cancelling_by_closing(world: ModernWorld) -> None:
    closed: list[bool] = []

    def work(peer: Peer, request: Request) -> None:
        world.says_and_stops(progress)(peer, request)  # returns when the stream is closed, and fails if it never is
        closed.append(True)

    world.on("tools/call", work)
    with world.client() as client:
        with _begun(client) as call:
            call.cancel("enough")
        world.server.wait_connected(0, BOUND)
        assert closed == [True]
    assert world.keys() == ["tools/call"]
