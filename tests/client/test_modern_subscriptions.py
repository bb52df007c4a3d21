"""Listening in the stateless era: one request, ``subscriptions/listen``, whose answer is the stream."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamhttp_client import (
    AuthenticationError,
    ClientClosed,
    HTTPStatusError,
    InvalidParams,
    RetryPolicy,
    StreamHTTPError,
    Timeout,
    UnsupportedVersion,
)
from streamhttp_client.client.listening import Listening
from tests.client._modern import (
    ALL,
    DONE,
    acknowledge,
    kept,
    meta_of,
    no_other_requests,
    only_posts,
    open_modern,
)
from tests.client._peer import AT_ONCE, BOUND, note
from tests.support.rawserver import ModernMCPServer, Peer, Request, rpc_refusal
from tests.transport._faults import InThread, within

Script = Callable[[Peer, Request], None]
LISTEN = "subscriptions/listen"
TOOLS = "notifications/tools/list_changed"
UPDATED = "notifications/resources/updated"
ID = "io.modelcontextprotocol/subscriptionId"


@pytest.fixture
def server(_nothing_left: None) -> Iterator[ModernMCPServer]:
    with ModernMCPServer(capabilities=ALL) as server:
        yield server


def holding(*messages: tuple[str, dict[str, Any]]) -> Script:
    """Acknowledge, tell these, and stay open until the client has closed."""

    def answer(peer: Peer, request: Request) -> None:
        tell = acknowledge(peer, request)
        for method, params in messages:
            tell(method, **params)
        peer.wait_gone()

    return answer


def ending(*messages: tuple[str, dict[str, Any]]) -> Script:
    """Acknowledge, tell these, and end gracefully."""

    def answer(peer: Peer, request: Request) -> None:
        tell = acknowledge(peer, request)
        for method, params in messages:
            tell(method, **params)
        peer.event_result(request, {"resultType": "complete", "_meta": {ID: request.id}})
        peer.end_stream()

    return answer


def breaking(*messages: tuple[str, dict[str, Any]]) -> Script:
    """Acknowledge, tell these, and break off."""

    def answer(peer: Peer, request: Request) -> None:
        tell = acknowledge(peer, request)
        for method, params in messages:
            tell(method, **params)
        peer.cut()

    return answer


def names(events: Any) -> list[str]:
    return [type(event).__name__ for event in events]


def updated(uri: str) -> tuple[str, dict[str, Any]]:
    return UPDATED, {"uri": uri}


# --- opening
# ----------------------------------------------------------------------------------------------------------------------


def test_opening_and_what_comes(server: ModernMCPServer) -> None:
    """S26-01, S26-03, X11, H26-01, H26-09: one POST asks for all changes; when it is acknowledged the block is entered,
    and what comes is handed out in order, to the iteration and to the client's callback; there is no GET.
    """
    server.on(LISTEN, holding((TOOLS, {}), updated("a:b"), ("notifications/prompts/list_changed", {})))
    others: list[Any] = []
    with open_modern(server, on_notification=others.append) as client:
        with client.listen() as listener:
            assert listener.available and server.seen(LISTEN)
            got = [next(listener) for _ in range(3)]
        server.wait_connected(0, 1.0)  # S26-05
    assert names(got) == names(others) == ["ToolListChanged", "ResourceUpdated", "PromptListChanged"]
    assert got[1].uri == "a:b"
    (request,) = server.requests
    assert request.header("Mcp-Method") == LISTEN and request.header("Mcp-Name") is None
    assert request.json["params"]["notifications"] == {
        "toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True,
    }  # fmt: skip
    assert meta_of(request)["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert only_posts(server)


def test_resources_that_were_subscribed_to(server: ModernMCPServer) -> None:
    """S26-01, X11: subscribing sends nothing by itself; the next listening asks for those resources."""
    server.on(LISTEN, holding())
    with open_modern(server) as client:
        for uri in ("b:2", "a:1", "b:2", "c:3"):
            client.subscribe_resource(uri)
        client.unsubscribe_resource("c:3")
        client.unsubscribe_resource("never:subscribed")
        assert server.accepted == 0
        with client.listen():
            pass
    assert no_other_requests(server, LISTEN)
    assert sorted(server.requests[0].json["params"]["notifications"]["resourceSubscriptions"]) == ["a:1", "b:2"]


@pytest.mark.parametrize("honoured", [{}, {"toolsListChanged": True}, {"resourceSubscriptions": ["a:b"], "x": 1}])
def test_what_is_honoured(server: ModernMCPServer, honoured: Any) -> None:
    """S26-02: what the server agreed to is shown as it came, be it less than was asked."""

    def answer(peer: Peer, request: Request) -> None:
        acknowledge(peer, request, honoured)
        peer.wait_gone()

    server.on(LISTEN, answer)
    with open_modern(server) as client, client.listen() as listener:
        assert dict(listener.honoured or {}) == honoured
        assert listener.available


@pytest.mark.parametrize("value", [None, 7, "all", [], True], ids=repr)
def test_an_acknowledgment_without_a_filter(server: ModernMCPServer, value: Any) -> None:
    """S26-02: a filter of the wrong shape is no reason to stop listening."""

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        params = {"_meta": {ID: request.id}, "notifications": value}
        peer.event(note("notifications/subscriptions/acknowledged", params))
        peer.event(note(TOOLS, {"_meta": {ID: request.id}}))
        peer.wait_gone()

    server.on(LISTEN, answer)
    with open_modern(server) as client, client.listen() as listener:
        assert names([next(listener)]) == ["ToolListChanged"]
        assert listener.honoured is None or listener.honoured == value


@pytest.mark.parametrize("status", [404, 200])
def test_a_server_without_it(server: ModernMCPServer, status: int) -> None:
    """X7, V26-12, S26-02: -32601 says that there is no such stream: the iteration ends, and calls go on."""
    server.on(LISTEN, rpc_refusal(status, -32601))
    with open_modern(server) as client:
        with client.listen() as listener:
            assert list(listener) == []
            assert listener.available is False
        background = client.listen(lambda event: None)
        assert not background.wait_open(BOUND)
        background.close()
        assert background.failure is None
        assert client.list_tools()
    assert no_other_requests(server, LISTEN, LISTEN, "tools/list")


@pytest.mark.parametrize(
    ("refuse", "kind"),
    [
        (rpc_refusal(400, -32602), InvalidParams),
        (rpc_refusal(200, -32602), InvalidParams),
        (rpc_refusal(400, -32022, data={"supported": ["2030-01-01"], "requested": "2026-07-28"}), UnsupportedVersion),
        (lambda peer, request: peer.respond(401), AuthenticationError),
        (lambda peer, request: peer.respond(404, b"<html>", content_type="text/html"), HTTPStatusError),
        (lambda peer, request: peer.respond_json({"jsonrpc": "2.0", "id": request.id, "result": 7}), None),
    ],
    ids=["400", "200", "version", "401", "page", "result"],
)
def test_refusals(server: ModernMCPServer, refuse: Any, kind: type[Exception] | None) -> None:
    """S26-06, BASE-09: a refusal is raised, and not asked again and again; a result at once is an end."""
    server.on(LISTEN, refuse)
    with open_modern(server, retry=RetryPolicy(attempts=20, base=0.0)) as client:
        if kind is None:
            with client.listen() as listener:
                assert list(listener) == []
        else:
            with pytest.raises(kind), client.listen() as listener:
                list(listener)
        assert client.list_tools()
    assert len(server.seen(LISTEN)) == 1


def test_a_server_that_is_busy(server: ModernMCPServer) -> None:
    """S26-06: "not now" and a broken connection are asked again, with a new id."""
    server.on(LISTEN, lambda peer, request: peer.respond(503), lambda peer, request: peer.cut(),
              lambda peer, request: peer.respond(502), holding((TOOLS, {})))  # fmt: skip
    with open_modern(server, retry=RetryPolicy(attempts=9, base=0.0)) as client, client.listen() as listener:
        assert names([next(listener)]) == ["ToolListChanged"]
    assert len(server.seen(LISTEN)) == 4
    assert len({request.id for request in server.seen(LISTEN)}) >= 3


def test_a_server_that_never_answers(server: ModernMCPServer) -> None:
    """K-06: listening has no end, but waiting for the server's first word has: the client's own timeout."""
    for begin in (lambda peer: None, lambda peer: peer.start_stream()):

        def silence(peer: Peer, request: Request, begin: Any = begin) -> None:
            begin(peer)
            peer.wait_gone()

        server.on(LISTEN, silence)
        with open_modern(server, timeout=0.5, retry=RetryPolicy(attempts=1)) as client:
            outcome = InThread(lambda: client.listen().__enter__())
            outcome.join(0.5 + AT_ONCE)
            assert isinstance(outcome.error, StreamHTTPError), outcome.value


# --- whose it is
# ----------------------------------------------------------------------------------------------------------------------


def test_foreign_subscriptions(server: ModernMCPServer) -> None:
    """S26-04: what is of another subscription is dropped; an id of another type is another id. What has none is ours,
    for the stream is.
    """

    def answer(peer: Peer, request: Request) -> None:
        tell = acknowledge(peer, request)
        for foreign in (request.id + 1, str(request.id), float(request.id), True, None, [request.id], {"a": 1}, ""):
            if foreign is not None:
                peer.event(note(UPDATED, {"_meta": {ID: foreign}, "uri": f"foreign:{foreign!r}"}))
                peer.event(note("notifications/subscriptions/acknowledged", {"_meta": {ID: foreign}}))
                peer.event({"jsonrpc": "2.0", "id": 7, "result": {"_meta": {ID: foreign}}})
        peer.event(note(UPDATED, {"uri": "unnamed:1"}))
        peer.event(note(UPDATED, {"_meta": "odd", "uri": "unnamed:2"}))
        tell(UPDATED, uri="ours:1")
        peer.wait_gone()

    server.on(LISTEN, answer)
    with open_modern(server) as client, client.listen() as listener:
        got: list[str | None] = []
        while not got or got[-1] != "ours:1":
            got.append(getattr(next(listener), "uri", None))
    assert got in (["unnamed:1", "unnamed:2", "ours:1"], ["unnamed:1", "ours:1"])


def test_two_at_a_time(server: ModernMCPServer) -> None:
    """S26-04: two listeners of one client have streams and ids of their own, and end on their own."""
    ids: list[Any] = []

    def answer(peer: Peer, request: Request) -> None:
        ids.append(request.id)
        tell = acknowledge(peer, request)
        tell(UPDATED, uri=f"of:{request.id}")
        peer.wait_gone()

    server.on(LISTEN, answer)
    with open_modern(server) as client:
        with client.listen() as first:
            with client.listen() as second:
                assert [next(first).uri, next(second).uri] == [f"of:{id}" for id in ids]
            server.wait_connected(1, 1.0)
            first.close()
        server.wait_connected(0, 1.0)
    assert len(set(ids)) == 2


def test_messages_that_do_not_belong_there(server: ModernMCPServer) -> None:
    """X5, X4, S26-08, S26-09: requests of the server get no answer and stop nothing; comments and noise are skipped."""

    def answer(peer: Peer, request: Request) -> None:
        peer.comment()
        tell = acknowledge(peer, request)
        peer.comment()
        peer.event({"jsonrpc": "2.0", "id": 1, "method": "roots/list"})
        peer.event({"jsonrpc": "2.0", "id": 2, "method": "ping"})
        peer.event({"jsonrpc": "2.0", "id": 3, "result": {}})
        peer.event("", id="e-1", retry=100_000)
        peer.event("other", event="ping")
        tell(UPDATED, uri=7)  # malformed
        tell(UPDATED, uri="good:1")
        peer.wait_gone()

    def start(peer: Peer, request: Request) -> None:
        answer(Opened(peer), request)  # type: ignore[arg-type]

    class Opened:
        """Lets the comment come before the acknowledgment."""

        def __init__(self, peer: Peer) -> None:
            self._peer, self._begun = peer, False

        def comment(self) -> None:
            self.start_stream()
            self._peer.comment()

        def start_stream(self) -> None:
            if not self._begun:
                self._begun = True
                self._peer.start_stream()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._peer, name)

    server.on(LISTEN, start)
    with open_modern(server, roots=[]) as client, client.listen() as listener:
        assert next(listener).uri == "good:1"
    assert only_posts(server) and no_other_requests(server, LISTEN)


def test_nothing_is_lost_to_a_server_that_does_not_acknowledge(server: ModernMCPServer) -> None:
    """S26-03: a server that forgets the acknowledgment is heard all the same, from its first notification on."""

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(note(UPDATED, {"uri": "first:1"}))
        peer.event(note(UPDATED, {"uri": "second:2"}))
        peer.wait_gone()

    server.on(LISTEN, answer)
    with open_modern(server) as client, client.listen() as listener:
        assert next(listener).uri == "first:1"
        assert next(listener).uri == "second:2"


# --- the end
# ----------------------------------------------------------------------------------------------------------------------


def test_a_graceful_end(server: ModernMCPServer) -> None:
    """S26-06: the response to the request is no failure: a server says so when it stops, and is asked again a second
    later, when it may have been started anew; calls go on.
    """
    server.on(LISTEN, ending((TOOLS, {})), ending((TOOLS, {})), holding((TOOLS, {})))
    heard = threading.Semaphore(0)
    with open_modern(server, retry=RetryPolicy(attempts=2, base=0.0)) as client:
        with client.listen() as listener:
            since = time.monotonic()
            assert names([next(listener), next(listener)]) == ["ToolListChanged"] * 2
            assert listener.available and time.monotonic() - since >= 0.9
        background = client.listen(lambda event: heard.release())
        assert heard.acquire(timeout=BOUND)
        background.close()
        assert background.failure is None
        assert client.list_tools()
    assert no_other_requests(server, LISTEN, LISTEN, LISTEN, "tools/list")


def test_a_graceful_end_for_good(server: ModernMCPServer) -> None:
    """S26-06: a server that ends each stream so means it: the iteration ends, without an error."""
    server.on(LISTEN, ending())
    with open_modern(server, retry=RetryPolicy(attempts=2, base=0.0)) as client, client.listen() as listener:
        assert list(listener) == [] and listener.available
    assert len(server.seen(LISTEN)) == 2


def test_the_server_takes_it_away(server: ModernMCPServer) -> None:
    """S26-07, K-05: ``notifications/cancelled`` for the stream is no event for the user; one for something else is
    nothing at all. Without a response the end counts as abrupt, and the client listens again.
    """

    def taken(peer: Peer, request: Request) -> None:
        tell = acknowledge(peer, request)
        others: list[Any] = [request.id + 1, str(request.id), None, [], "x"]
        for other in others:
            tell("notifications/cancelled", requestId=other)
        tell("notifications/cancelled")
        tell(UPDATED, uri="first:1")
        tell("notifications/cancelled", requestId=request.id, reason="going down")
        peer.end_stream()

    server.on(LISTEN, taken, holding(updated("second:2")))
    with open_modern(server) as client, client.listen() as listener:
        uris: list[str] = []
        while len(uris) < 2:
            uri = getattr(next(listener), "uri", None)
            if uri is not None:
                uris.append(uri)
    assert uris == ["first:1", "second:2"]
    assert len({request.id for request in server.seen(LISTEN)}) == 2


def test_an_abrupt_end(server: ModernMCPServer) -> None:
    """S26-06, H26-05, C26-08: it listens again with a new id, sends no event id, and forgets what it knew, for nothing
    is sent again.
    """
    server.on("tools/list", kept(600_000, tools=[{"name": "a", "inputSchema": {}}]), kept(600_000, tools=[]))
    go_on = threading.Event()

    def first(peer: Peer, request: Request) -> None:
        tell = acknowledge(peer, request)
        tell(UPDATED, uri="first:1")
        peer.hold(go_on)
        peer.cut()

    server.on(LISTEN, first, holding(updated("second:2")))
    with open_modern(server) as client, client.listen() as listener:
        assert next(listener).uri == "first:1"
        assert [tool.name for tool in client.list_tools()] == ["a"]
        assert [tool.name for tool in client.list_tools()] == ["a"]
        assert len(server.seen("tools/list")) == 1
        go_on.set()
        assert next(listener).uri == "second:2"
        assert client.list_tools() == []
    one, two = server.seen(LISTEN)
    assert one.id != two.id and only_posts(server)
    assert {**one.json, "id": 0} == {**two.json, "id": 0}


@pytest.mark.parametrize("end", ["cut", "end"])
def test_no_busy_loop(server: ModernMCPServer, end: str) -> None:
    """S26-06, K-06: a server that acknowledges and ends each stream at once is given up after a few attempts, with
    pauses between them.
    """

    def at_once(peer: Peer, request: Request) -> None:
        acknowledge(peer, request)
        peer.cut() if end == "cut" else peer.end_stream()

    server.on(LISTEN, at_once)
    with open_modern(server, retry=RetryPolicy(attempts=5, base=0.0)) as client:
        with pytest.raises(StreamHTTPError), client.listen() as listener:
            list(listener)
        assert len(server.seen(LISTEN)) <= 6
        assert client.list_tools()
    with open_modern(server, retry=RetryPolicy(attempts=5, base=1000.0, maximum=1000.0)) as client:
        before = len(server.seen(LISTEN))
        listener = client.listen(lambda event: None)
        assert listener.wait_open(BOUND)
        server.wait_for(lambda seen: len(seen) > before)
        with within(AT_ONCE):
            listener.close()
        assert len(server.seen(LISTEN)) - before <= 2


def test_no_busy_loop_with_news(server: ModernMCPServer) -> None:
    """S26-06: a server that tells something on each stream and ends it at once does not keep us busy either."""
    server.on(LISTEN, breaking((TOOLS, {})))
    with open_modern(server, retry=RetryPolicy(attempts=3, base=1000.0, maximum=1000.0)) as client:
        listener = client.listen(lambda event: None)
        server.wait_for(lambda seen: bool(seen))
        rest = threading.Event()
        rest.wait(0.5)  # a bound on how often it may ask meanwhile, not a wait to be right
        listener.close()
    assert len(server.seen(LISTEN)) <= 50


@pytest.mark.parametrize("how", ["listener", "client", "block"])
@pytest.mark.parametrize("place", ["stream", "head", "pause"])
def test_closing_from_another_thread(server: ModernMCPServer, how: str, place: str) -> None:
    """S26-05, K-07: listening ends at once wherever it is blocked; the server sees the connection close, no message."""
    gone = threading.Event()

    def answer(peer: Peer, request: Request) -> None:
        if place == "pause":
            peer.respond(503, headers={"Retry-After": "60"})
            gone.set()
            return
        try:
            if place == "stream":
                acknowledge(peer, request)
            peer.wait_gone()
        finally:
            gone.set()

    server.on(LISTEN, answer)
    client = open_modern(server)
    listener = client.listen()
    reader = InThread(lambda: list(listener))
    server.wait_for(lambda seen: bool(seen))
    with within(AT_ONCE):
        if how == "block":
            listener.__exit__(None, None, None)
        else:
            (listener if how == "listener" else client).close()
        reader.join(AT_ONCE)
        assert gone.wait(1.0)
    if how == "client":
        assert reader.error is None or isinstance(reader.error, ClientClosed), repr(reader.error)
    else:
        assert reader.error is None and reader.value == [], repr(reader.error)
        assert client.list_tools()
    client.close()
    assert only_posts(server) and not server.seen("notifications/cancelled")


@pytest.mark.parametrize("how", ["listener", "client"])
def test_closing_a_listener_with_a_callback(server: ModernMCPServer, how: str) -> None:
    """S26-05: it leaves no thread and no connection, also if its own callback closes it."""
    server.on(LISTEN, holding((TOOLS, {})))
    for inside in (False, True):
        heard = threading.Event()
        client = open_modern(server)

        itself: list[Any] = [client] if how == "client" else []
        known = threading.Event()

        def callback(
            event: Any, inside: bool = inside, heard: Any = heard, itself: list[Any] = itself, known: Any = known
        ) -> None:
            assert known.wait(BOUND)
            if inside:
                itself[0].close()
            heard.set()

        listener = client.listen(callback)
        itself.append(listener)
        known.set()
        assert heard.wait(BOUND)
        with within(AT_ONCE):
            listener.close()
            listener.close()
            client.close()
        server.wait_connected(0, 1.0)
        assert listener.failure is None


@pytest.mark.parametrize("status", [404, 405, 502])
def test_a_gateway_without_its_server(server: ModernMCPServer, status: int) -> None:
    """S26-01: a stream that was open is asked for again, also while a gateway says that there is no such server; but
    not for ever.
    """
    away = [lambda peer, request: peer.respond(status)] * 3
    server.on(LISTEN, breaking((TOOLS, {})), *away, holding((TOOLS, {})), away[0])
    for method in ("server/discover", "initialize", "GET"):
        server.on(method, away[0])
    with open_modern(server, retry=RetryPolicy(attempts=6, base=0.0)) as client:
        with client.listen() as listener:
            assert names(next(listener) for _ in range(2)) == ["ToolListChanged"] * 2
        with pytest.raises(HTTPStatusError), client.listen() as listener:
            next(listener)


def test_a_time_limit(server: ModernMCPServer) -> None:
    """S26-09, K-06: ``timeout=`` ends the iteration, and no keep-alive comment moves it; without it, comments keep the
    stream up beyond the client's timeout for calls.
    """
    stop = threading.Event()

    def chatter(peer: Peer, request: Request) -> None:
        tell = acknowledge(peer, request)
        while not stop.wait(0.02):
            peer.comment()
        tell(TOOLS)
        peer.wait_gone()

    server.on(LISTEN, chatter)
    with open_modern(server, timeout=0.3) as client:
        with within(0.5 + AT_ONCE), client.listen(timeout=0.5) as listener:
            assert list(listener) == []
            assert list(listener) == []
        listener = client.listen()
        with listener:
            reader = InThread(lambda: next(listener))
            assert not stop.wait(0.6)
            stop.set()
            reader.join(AT_ONCE)
            assert names([reader.value]) == ["ToolListChanged"], repr(reader.error)
    assert len(server.seen(LISTEN)) == 2


def test_a_time_limit_on_an_unwilling_server(server: ModernMCPServer) -> None:
    """K-06: the limit holds while it waits between attempts, for the answer, and for the acknowledgment."""
    scripts: list[Script] = [
        lambda peer, request: peer.wait_gone(),
        lambda peer, request: (peer.start_stream(), peer.wait_gone())[1],  # type: ignore[func-returns-value]
        breaking(),
    ]
    for script in scripts:
        server.on(LISTEN, script)
        with open_modern(server, retry=RetryPolicy(attempts=1000, base=0.05, maximum=0.05)) as client:
            with within(0.4 + AT_ONCE), client.listen(timeout=0.4) as listener:
                assert list(listener) == []


def test_silence(server: ModernMCPServer) -> None:
    """S26-09: where the client bounds silence, a silent stream is opened again; comments end a silence."""
    stop = threading.Event()

    def alive(peer: Peer, request: Request) -> None:
        tell = acknowledge(peer, request)
        for _ in range(30):
            stop.wait(0.05)
            peer.comment()
        tell(TOOLS)
        peer.wait_gone()

    server.on(LISTEN, holding(), alive)
    with open_modern(server, timeout=Timeout(read=0.5, total=30)) as client, client.listen() as listener:
        assert names([next(listener)]) == ["ToolListChanged"]
    assert len(server.seen(LISTEN)) == 2


# --- other subscriptions meanwhile
# ----------------------------------------------------------------------------------------------------------------------


def wanted(request: Request) -> list[str]:
    return sorted(request.json["params"]["notifications"].get("resourceSubscriptions", []))


def telling_what_is_wanted(peer: Peer, request: Request) -> None:
    tell = acknowledge(peer, request)
    tell(UPDATED, uri="wanted:" + ",".join(wanted(request)))
    peer.wait_gone()


def test_subscribing_between_two_events(server: ModernMCPServer) -> None:
    """X11, S26-01: the thread that iterates may subscribe: the next event is of a stream that includes it."""
    server.on(LISTEN, telling_what_is_wanted)
    with open_modern(server) as client, client.listen() as listener:
        assert next(listener).uri == "wanted:"
        client.subscribe_resource("a:1")
        assert next(listener).uri == "wanted:a:1"
        client.subscribe_resource("b:2")
        client.unsubscribe_resource("a:1")
        assert next(listener).uri == "wanted:b:2"
        server.wait_connected(1, 1.0)
        assert client.list_tools()
    assert set(request.key for request in server.requests) == {LISTEN, "tools/list"}
    assert only_posts(server)


def test_subscribing_from_another_thread(server: ModernMCPServer) -> None:
    """X11: a listener that is blocked in its stream listens anew at once."""
    server.on(LISTEN, telling_what_is_wanted)
    got: list[str] = []
    heard = threading.Condition()

    def read() -> None:
        for event in listener:
            with heard:
                got.append(event.uri)
                heard.notify_all()

    def wait(uri: str) -> None:
        with heard:
            assert heard.wait_for(lambda: uri in got, AT_ONCE * 2), got

    with open_modern(server) as client:
        listener = client.listen()
        reader = InThread(read)
        wait("wanted:")
        for number in range(5):
            client.subscribe_resource(f"r:{number}")
        wait("wanted:" + ",".join(f"r:{number}" for number in range(5)))
        server.wait_connected(1, 1.0)
        listener.close()
        reader.join(AT_ONCE)
        assert reader.error is None, repr(reader.error)


def test_subscribing_while_the_stream_breaks(server: ModernMCPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """X11, S26-06: subscribing at the moment at which the listener opens its stream anew anyway does not end it."""
    broken = threading.Event()

    def answer(peer: Peer, request: Request) -> None:
        if len(server.seen(LISTEN)) == 1:
            acknowledge(peer, request)
            peer.hold(broken)
            peer.cut()
        else:
            telling_what_is_wanted(peer, request)

    def set_anew(listener: Listening, value: object) -> None:
        listener.__dict__["anew"] = value
        if value and not broken.is_set():  # between saying so and waking the listener, it has got further
            broken.set()
            server.wait_for(lambda seen: len(seen) == 2)

    monkeypatch.setattr(
        Listening, "_anew", property(lambda listener: listener.__dict__["anew"], set_anew), raising=False
    )
    server.on(LISTEN, answer)
    got: list[str] = []
    heard = threading.Event()

    def callback(event: Any) -> None:
        got.append(event.uri)
        if event.uri == "wanted:a:1,b:2":
            heard.set()

    with open_modern(server) as client:
        listener = client.listen(callback)
        assert listener.wait_open(BOUND)
        client.subscribe_resource("a:1")
        listener._listening.join(0.5)  # a bound on how soon it would end, if it did
        assert not listener.ended, (got, listener.failure)
        client.subscribe_resource("b:2")
        assert heard.wait(AT_ONCE * 2), (got, listener.ended, listener.failure)
        listener.close()


def test_a_storm_of_subscriptions(server: ModernMCPServer) -> None:
    """X11, S26-01: whatever threads subscribe to and give up at the same time, in the end the stream has what is
    wanted, also if the server breaks it again and again.
    """

    def answer(peer: Peer, request: Request) -> None:
        tell = acknowledge(peer, request)
        tell(UPDATED, uri="wanted:" + ",".join(wanted(request)))
        peer.cut() if len(server.seen(LISTEN)) % 3 == 0 else peer.wait_gone()

    def work(number: int) -> None:
        for step in range(20):
            client.subscribe_resource(f"r:{number}-{step % 3}")
            if step % 3:
                client.unsubscribe_resource(f"r:{number}-{step % 3}")

    server.on(LISTEN, answer)
    complete = "wanted:" + ",".join(f"r:{number}-0" for number in range(4))
    heard = threading.Event()
    with open_modern(server, retry=RetryPolicy(attempts=200, base=0.0)) as client:
        listener = client.listen(lambda event: heard.set() if event.uri == complete else None)
        assert listener.wait_open(BOUND)
        threads = [InThread(lambda number=number: work(number)) for number in range(4)]  # type: ignore[misc]
        for thread in threads:
            thread.join(BOUND)
        heard.clear()
        client.subscribe_resource("last:1")
        client.unsubscribe_resource("last:1")
        assert heard.wait(BOUND), (listener.ended, listener.failure)
        assert [thread.error for thread in threads] == [None] * 4
        listener.close()


def test_subscribing_in_the_callback(server: ModernMCPServer) -> None:
    """X11: the callback of a listener may subscribe, and call the client."""
    server.on(LISTEN, telling_what_is_wanted)
    got: list[str] = []
    done = threading.Event()

    def callback(event: Any) -> None:
        got.append(event.uri)
        if event.uri == "wanted:":
            client.subscribe_resource("a:1")
            client.list_tools()
        else:
            done.set()

    with open_modern(server) as client:
        listener = client.listen(callback)
        assert done.wait(BOUND), got
        listener.close()
    assert got == ["wanted:", "wanted:a:1"] and listener.failure is None


def test_subscribing_again_changes_nothing(server: ModernMCPServer) -> None:
    """S26-01: what is subscribed to already, or never was, is no reason to give the stream up."""
    server.on(LISTEN, telling_what_is_wanted)
    with open_modern(server) as client, client.listen(timeout=0.5) as listener:
        client.subscribe_resource("a:1")
        assert next(listener).uri in ("wanted:", "wanted:a:1")
        client.subscribe_resource("a:1")
        client.unsubscribe_resource("b:2")
        assert [event.uri for event in listener] in ([], ["wanted:a:1"])
    assert len(server.seen(LISTEN)) <= 2


def test_nothing_of_the_old_stream_is_lost(server: ModernMCPServer) -> None:
    """X11, S26-06: what had arrived before the change is handed out before what comes after it."""

    def both(peer: Peer, request: Request) -> None:
        if wanted(request):
            telling_what_is_wanted(peer, request)
            return
        tell = acknowledge(peer, request)
        tell(UPDATED, uri="old:1")
        tell(UPDATED, uri="old:2")
        told.set()
        peer.wait_gone()

    told = threading.Event()
    server.on(LISTEN, both)
    with open_modern(server) as client, client.listen() as listener:
        assert told.wait(BOUND)
        got = [next(listener).uri]
        client.subscribe_resource("a:1")
        while got[-1] != "wanted:a:1":
            got.append(next(listener).uri)
    assert got == ["old:1", "old:2", "wanted:a:1"]


def test_a_copy_keeps_its_wishes(server: ModernMCPServer) -> None:
    """H26-22, S26-01: subscriptions go with a pickled client, and its copy listens for itself."""
    import pickle

    server.on(LISTEN, telling_what_is_wanted)
    with open_modern(server) as client:
        client.subscribe_resource("a:1")
        with pickle.loads(pickle.dumps(client)) as copy, copy.listen() as listener:
            assert next(listener).uri == "wanted:a:1"


def test_calls_go_on_beside_it(server: ModernMCPServer) -> None:
    """X3, K-01: cancelling a call does not touch the stream, nor closing the stream a call."""
    go_on = threading.Event()

    def slow(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.hold(go_on)
        peer.event_result(request, DONE)
        peer.end_stream()

    def answer(peer: Peer, request: Request) -> None:
        tell = acknowledge(peer, request)
        peer.hold(go_on)
        tell(TOOLS)
        peer.wait_gone()

    server.on("tools/call", lambda peer, request: peer.wait_gone(), slow)
    server.on(LISTEN, answer)
    with open_modern(server) as client:
        with client.listen() as listener:
            call = client.stream_tool("t")
            reader = InThread(lambda: call.result)
            server.wait_for(lambda seen: any(request.key == "tools/call" for request in seen))
            call.cancel()
            reader.join(AT_ONCE)
            other = InThread(lambda: client.call_tool("t").text)
            server.wait_for(lambda seen: sum(request.key == "tools/call" for request in seen) == 2)
            with client.listen():
                pass
            go_on.set()
            assert names([next(listener)]) == ["ToolListChanged"]
            other.join(AT_ONCE)
            assert other.value == "ok", repr(other.error)


@pytest.mark.parametrize("form", ["thread", "block", "iteration"])
def test_a_client_that_nobody_else_holds(server: ModernMCPServer, form: str) -> None:
    """S26-01, S26-05: a listener holds its client: ``Client(url).listen()`` goes on when the client has no name; when
    nobody holds the listener either, the stream is closed.
    """
    server.on(LISTEN, holding((TOOLS, {})))
    heard = threading.Semaphore(0)
    if form == "thread":
        listener = open_modern(server).listen(lambda event: heard.release())
        gc.collect()
        assert heard.acquire(timeout=BOUND)
        assert listener.failure is None and not listener.ended
        listener.close()
    elif form == "block":
        with open_modern(server).listen() as listener:
            gc.collect()
            assert names([next(listener)]) == ["ToolListChanged"]
    else:
        for event in open_modern(server).listen():
            gc.collect()
            assert names([event]) == ["ToolListChanged"]
            break
    listener = None  # type: ignore[assignment]
    gc.collect()
    server.wait_connected(0)


@pytest.mark.parametrize("threaded", [False, True], ids=["block", "thread"])
@pytest.mark.parametrize("status", [401, 500])
def test_a_server_that_cannot_be_found_out(server: ModernMCPServer, status: int, threaded: bool) -> None:
    """S26-06, V26-05: a listener of a client that is not connected finds out how the server speaks; what that ends with
    is its failure.
    """
    for key in ("server/discover", "initialize"):
        server.on(key, lambda peer, request: peer.respond(status))
    client = open_modern(server, known=False, retry=RetryPolicy(attempts=1))
    if threaded:
        listener = client.listen(lambda event: None)
        assert not listener.wait_open(BOUND)
        listener._listening.join(BOUND)
        failure = listener.failure
    else:
        with pytest.raises(StreamHTTPError) as caught, client.listen():
            pass
        failure = caught.value
    client.close()
    assert isinstance(failure, HTTPStatusError) and failure.status == status
    assert server.seen(LISTEN) == []
