"""Results that the server lets a client keep, through its verbs; ``test_cache.py`` has the store itself."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from streamhttp_client import Client, InvalidParams, LocalProtocolError
from streamhttp_client.client.cache import ResultCache
from tests.client._modern import (
    ALL,
    DONE,
    acknowledge,
    answered,
    asks,
    elicit,
    kept,
    no_other_requests,
    open_modern,
)
from tests.client._peer import AT_ONCE, BOUND, note
from tests.support.rawserver import ModernMCPServer, Peer, RawMCPServer, Request, rpc_refusal
from tests.transport._faults import InThread, _close, nothing_left

LONG = 600_000
LISTEN = "subscriptions/listen"

#: Each verb whose results may be kept: its method, how it is called, and a result that shows a name.
VERBS: dict[str, tuple[str, Callable[..., Any], Callable[[str], dict[str, Any]]]] = {
    "tools": (
        "tools/list",
        lambda client, **more: [tool.name for tool in client.list_tools(**more)],
        lambda name: {"tools": [{"name": name, "inputSchema": {"type": "object"}}]},
    ),
    "iter_tools": (
        "tools/list",
        lambda client, **more: [tool.name for tool in client.iter_tools(**more)],
        lambda name: {"tools": [{"name": name, "inputSchema": {"type": "object"}}]},
    ),
    "resources": (
        "resources/list",
        lambda client, **more: [resource.name for resource in client.list_resources(**more)],
        lambda name: {"resources": [{"name": name, "uri": "a:b"}]},
    ),
    "templates": (
        "resources/templates/list",
        lambda client, **more: [template.name for template in client.list_resource_templates(**more)],
        lambda name: {"resourceTemplates": [{"name": name, "uriTemplate": "a:{b}"}]},
    ),
    "prompts": (
        "prompts/list",
        lambda client, **more: [prompt.name for prompt in client.list_prompts(**more)],
        lambda name: {"prompts": [{"name": name}]},
    ),
    "read": (
        "resources/read",
        lambda client, **more: [content.text for content in client.read_resource("a:b", **more).contents],
        lambda name: {"contents": [{"uri": "a:b", "text": name}]},
    ),
}
LISTS = {
    "tools/list": "list_tools",
    "resources/list": "list_resources",
    "resources/templates/list": "list_resource_templates",
    "prompts/list": "list_prompts",
}
EACH = pytest.mark.parametrize(("method", "ask", "named"), VERBS.values(), ids=VERBS.keys())


class Clock:
    """The clock of a client's store, which stands still until it is told."""

    def __init__(self, client: Client) -> None:
        self.now = 1000.0
        client._engine.kept = ResultCache(clock=lambda: self.now)


@pytest.fixture
def server(_nothing_left: None) -> Iterator[ModernMCPServer]:
    with ModernMCPServer(capabilities=ALL) as server:
        yield server


def numbered(method: str, named: Callable[[str], dict[str, Any]], server: ModernMCPServer, ttl: Any = LONG) -> None:
    """Each answer holds the number of the request, so that it shows whether one was sent."""

    def answer(peer: Peer, request: Request) -> None:
        result = kept(ttl, **named(str(len(server.seen(method)))))
        if ttl is None:
            del result["ttlMs"]
        peer.respond_result(request, result)

    server.on(method, answer)


# --- for how long
# ----------------------------------------------------------------------------------------------------------------------


@EACH
def test_a_result_is_kept_for_as_long_as_the_server_says(
    server: ModernMCPServer, method: str, ask: Any, named: Any
) -> None:
    """C26-03, C26-04, C26-05, C26-10: while it is fresh nothing is asked; then the next access asks, nothing else."""
    numbered(method, named, server, 5000)
    with open_modern(server) as client:
        clock = Clock(client)
        assert ask(client) == ["1"]
        for now in (1000.0, 1004.0, 1004.999):
            clock.now = now
            assert ask(client) == ["1"]
        clock.now = 1005.0
        assert ask(client) == ["2"]
        clock.now = 1009.9
        assert ask(client) == ["2"]
        clock.now = 1e9
    assert no_other_requests(server, method, method)


@pytest.mark.parametrize("ttl", [0, -1, -1e9, None, "5000", True, [], 0.0], ids=repr)
@EACH
def test_what_is_not_kept(server: ModernMCPServer, method: str, ask: Any, named: Any, ttl: Any) -> None:
    """C26-03: nothing is kept whose time is nought, negative, absent or no number."""
    numbered(method, named, server, ttl)
    with open_modern(server) as client:
        for number in ("1", "2", "3"):
            assert number == ask(client)[0]


@EACH
def test_how_the_store_is_used(server: ModernMCPServer, method: str, ask: Any, named: Any) -> None:
    """C26-04, C26-06: "refresh" asks and keeps; "off" neither takes nor keeps; another word is refused."""
    numbered(method, named, server)
    with open_modern(server) as client:
        assert ask(client, cache="off") == ["1"]
        assert ask(client, cache="use") == ["2"]
        assert ask(client, cache="off") == ["3"]
        assert ask(client) == ["2"]
        assert ask(client, cache="refresh") == ["4"]
        assert ask(client) == ["4"]
        for word in ("", "USE", None, True):
            with pytest.raises(LocalProtocolError):
                ask(client, cache=word)
    assert len(server.requests) == 4


def test_other_requests_are_never_kept(server: ModernMCPServer) -> None:
    """C26-10: what is not cacheable by the specification is asked each time, whatever the answer says."""
    server.on("tools/call", {**DONE, "ttlMs": LONG, "cacheScope": "public"})
    server.on("prompts/get", kept(LONG, "public", messages=[]))
    server.on("completion/complete", kept(LONG, "public", completion={"values": []}))
    server.on("x/y", kept(LONG, "public"))
    with open_modern(server) as client:
        for _ in range(2):
            client.call_tool("t")
            client.get_prompt("p")
            client.complete({"type": "ref/prompt", "name": "p"}, {"name": "a", "value": ""})
            client.request("x/y")
    assert len(server.requests) == 8


def test_the_escape_hatch_asks(server: ModernMCPServer) -> None:
    """C26-10: ``request`` and ``send_ping`` always reach the server, though their results might be kept."""
    server.on("tools/list", kept(LONG, tools=[]))
    with open_modern(server) as client:
        for _ in range(2):
            client.request("tools/list")
            client.send_ping()
    assert len(server.requests) == 4


def test_failures_are_not_kept(server: ModernMCPServer) -> None:
    """C26-02, C26-06: an error or a malformed result is not kept, and does not put out what was kept before."""
    page: dict[str, Any] = {"tools": [{"name": "a", "inputSchema": {}}]}
    server.on("tools/list", rpc_refusal(200, -32603), kept(LONG, tools=7), kept(LONG, **page), rpc_refusal(200, -32603))
    with open_modern(server) as client:
        for _ in range(2):
            with pytest.raises(Exception, match=r"refused|tools"):
                client.list_tools()
        assert client.list_tools()[0].name == "a"
        with pytest.raises(Exception, match="refused"):
            client.list_tools(cache="refresh")
        assert client.list_tools()[0].name == "a"
    assert len(server.requests) == 4


# --- what is asked
# ----------------------------------------------------------------------------------------------------------------------


def test_another_question_is_another_result(server: ModernMCPServer) -> None:
    """C26-01: URIs to the letter, and ``_meta`` that a gateway may look at, tell results apart; the progress token, the
    trace and the client's own members do not.
    """
    server.on("resources/read", lambda peer, request: peer.respond_result(
        request, kept(LONG, contents=[{"uri": request.json["params"]["uri"], "text": str(request.id)}])
    ))  # fmt: skip
    with open_modern(server) as client:
        uris = ["a:b", "a:B", "a:b/", "a:b?", "a:%62", "a:b#", "a:\u00e9", "a:e\u0301", ""]
        first = [client.read_resource(uri).contents for uri in uris if uri]
        assert [client.read_resource(uri).contents for uri in uris if uri] == first
        assert len(server.requests) == len(uris) - 1
        assert len({repr(content) for content in first}) == len(first)

        tenants = [client.read_resource("a:b", meta={"com.example/tenant": tenant}).contents for tenant in (1, 2, 1)]
        assert tenants[0] == tenants[2] != tenants[1] and first[0] not in tenants
        before = len(server.requests)
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        assert client.read_resource("a:b", meta={"traceparent": parent}).contents == first[0]
        assert client.read_resource("a:b", meta={}).contents == first[0]
        client.set_logging_level("debug")
        assert client.read_resource("a:b").contents == first[0]
        assert len(server.requests) == before


def test_a_method_of_the_same_parameters(server: ModernMCPServer) -> None:
    """C26-01: lists without parameters are told apart by their methods."""
    for method, _, named in VERBS.values():
        server.on(method, kept(LONG, **named(method)))
    with open_modern(server) as client:
        for _ in range(2):
            for method, ask, _ in VERBS.values():
                assert ask(client) == [method]
    assert len(server.requests) == len({method for method, _, _ in VERBS.values()})


def test_answers_of_rounds_are_not_kept(server: ModernMCPServer) -> None:
    """C26-02: a result that took answers or a state is not kept, nor is the question; the next access asks again."""
    content = {"contents": [{"uri": "a:b", "text": "for Ada"}]}
    for question in (asks({"who": elicit()}, "s"), asks({"who": elicit()}), asks(None, "s")):
        last = kept(LONG, "public", **content)
        first = {**question, "ttlMs": LONG, "cacheScope": "public"}
        server.on("resources/read", first, last, first, last, last)
        before = len(server.requests)
        answer = {"action": "accept", "content": {"name": "Ada"}}
        with open_modern(server, elicitation=lambda params: answer) as client:  # noqa: B023
            for _ in range(4):
                assert client.read_resource("a:b").contents[0].text == "for Ada"  # type: ignore[union-attr]
        asked = [answered(request) for request in server.requests[before:]]
        assert len(asked) == 5 and asked[0] == asked[2] == asked[4] == ("-", "-")
        assert asked[1] == asked[3] != ("-", "-")


# --- whose it is
# ----------------------------------------------------------------------------------------------------------------------


class Token:
    """An auth whose token changes."""

    def __init__(self) -> None:
        self.token = "one"

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


@pytest.mark.parametrize("scope", ["private", "public", None, "Public", "everyone", 7], ids=repr)
@EACH
def test_credentials_that_change(server: ModernMCPServer, method: str, ask: Any, named: Any, scope: Any) -> None:
    """C26-07: after the token has changed nothing private is taken that came with another one, be it the very next
    access; what the server calls public is. Only "public" means that.
    """

    def answer(peer: Peer, request: Request) -> None:
        result = kept(LONG, scope, **named((request.header("Authorization") or "").removeprefix("Bearer ")))
        if scope is None:
            del result["cacheScope"]
        peer.respond_result(request, result)

    server.on(method, answer)
    auth = Token()
    with open_modern(server, auth=auth) as client:
        assert ask(client) == ["one"]
        assert ask(client) == ["one"]
        auth.token = "two"
        assert ask(client) == (["one"] if scope == "public" else ["two"])
        assert ask(client) == (["one"] if scope == "public" else ["two"])
        auth.token = "one"
        assert ask(client) == ["one"]
    assert len(server.requests) <= (1 if scope == "public" else 3)


class OtherProof:
    """Credentials that change, in another field or scheme than a bearer token."""

    def __init__(self, field: str, form: str) -> None:
        self.token, self._field, self._form = "one", field, form

    def __call__(self, request: Any) -> Any:
        request.headers[self._field] = self._form.format(self.token)
        return request


@pytest.mark.parametrize(
    ("field", "form"),
    [("Authorization", "Token {}"), ("Authorization", "ApiKey {}"), ("Authorization", "{}"),
     ("Authorization", "basic {}"), ("X-Api-Key", "{}"), ("Cookie", "login={}")],
)  # fmt: skip
def test_other_credentials_that_change(server: ModernMCPServer, field: str, form: str) -> None:
    """C26-07: whatever shows who asks, a private result of one is never given to another."""

    def answer(peer: Peer, request: Request) -> None:
        (name,) = [name for name in ("one", "two") if name in (request.header(field) or "")]
        peer.respond_result(request, kept(LONG, tools=[{"name": name, "inputSchema": {"type": "object"}}]))

    server.on("tools/list", answer)
    auth = OtherProof(field, form)
    names = []
    with open_modern(server, auth=auth) as client:
        for token in ("one", "two", "one"):
            auth.token = token
            names += [client.list_tools()[0].name, client.list_tools()[0].name]
    assert names == ["one", "one", "two", "two", "one", "one"]


@pytest.mark.parametrize("ttl", [0, None, LONG])
def test_an_auth_that_counts(server: ModernMCPServer, ttl: Any) -> None:
    """C26-07: where nothing is kept, credentials are made for the request alone: an auth that spends a token of its
    budget each time spends one for each request. A token that serves once finds nothing that was kept for another.
    """
    spent: list[str] = []

    def auth(request: Any) -> Any:
        spent.append(f"once-{len(spent)}")
        request.headers["Authorization"] = f"Bearer {spent[-1]}"
        return request

    numbered("tools/list", VERBS["tools"][2], server, ttl)
    with open_modern(server, auth=auth) as client:
        names = [client.list_tools()[0].name for _ in range(5)]
        assert names == ["1", "2", "3", "4", "5"]
        if ttl == LONG:
            assert all(token not in repr(vars(client._engine.kept)) for token in spent)
        else:
            assert len(spent) == len(server.requests) == 5


def test_credentials_of_threads(server: ModernMCPServer) -> None:
    """C26-07: threads of one client that ask under tokens of their own get what is theirs, at the same time too."""
    local = threading.local()

    def auth(request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {local.token}"
        return request

    def answer(peer: Peer, request: Request) -> None:
        name = (request.header("Authorization") or "").removeprefix("Bearer ")
        peer.respond_result(request, kept(1, tools=[{"name": name, "inputSchema": {"type": "object"}}]))

    def work(token: str) -> set[str]:
        local.token = token
        return {tool.name for _ in range(100) for tool in client.list_tools()}

    server.on("tools/list", answer)
    with open_modern(server, auth=auth) as client:
        threads = [InThread(lambda number=number: work(f"t{number}")) for number in range(4)]  # type: ignore[misc]
        for thread in threads:
            thread.join(BOUND)
    assert [thread.value for thread in threads] == [{f"t{number}"} for number in range(4)]


def test_credentials_of_a_borrowed_session() -> None:
    """C26-07: the same where a caller changes the credentials of the session that the client borrows."""
    session = requests.Session()
    with nothing_left(), ModernMCPServer() as server:

        def answer(peer: Peer, request: Request) -> None:
            name = (request.header("Authorization") or "none").removeprefix("Bearer ")
            peer.respond_result(request, kept(LONG, tools=[{"name": name, "inputSchema": {"type": "object"}}]))

        server.on("tools/list", answer)
        with open_modern(server, http=session) as client:
            names = []
            for token in ("one", "two", "one"):
                session.headers["Authorization"] = f"Bearer {token}"
                names += [client.list_tools()[0].name, client.list_tools()[0].name]
        _close(session)
    assert names == ["one", "one", "two", "two", "one", "one"]


def test_each_client_for_itself(server: ModernMCPServer) -> None:
    """C26-07: two clients of one server share nothing, nor does a pickled copy take anything along."""
    numbered("tools/list", VERBS["tools"][2], server)
    ask = VERBS["tools"][1]
    with open_modern(server) as one, open_modern(server) as two:
        assert ask(one) == ["1"] and ask(two) == ["2"]
        data = pickle.dumps(one)
        assert b'"tools"' not in data
        with pickle.loads(data) as copy:
            assert ask(copy) == ["3"]
            assert ask(copy) == ["3"]
        assert ask(one) == ["1"] and ask(two) == ["2"]


@EACH
def test_what_is_handed_out_is_the_takers(server: ModernMCPServer, method: str, ask: Any, named: Any) -> None:
    """C26-01: changing what a result holds does not change what the next caller gets."""
    first = named("x")
    first[next(iter(first))][0]["_meta"] = {"com.example/list": [1]}
    server.on(method, kept(LONG, **first))

    def item(client: Client) -> Any:
        listed = client.read_resource("a:b").contents if method not in LISTS else getattr(client, LISTS[method])()
        return listed[0]

    with open_modern(server) as client:
        for _ in range(3):
            found = item(client)
            assert found.meta == {"com.example/list": [1]}
            found.meta["com.example/list"].append(2)
            found.meta["other"] = 1
            if method != "resources/read":
                getattr(client, LISTS[method])().clear()
    assert len(server.requests) == 1


def test_the_session_era_keeps_nothing(_nothing_left: None) -> None:
    """C26-10: a server of 2025-11-25 is asked each time, even if its results look as if they could be kept."""
    from tests.client._peer import open_client

    with RawMCPServer() as server:
        server.on("tools/list", kept(LONG, "public", tools=[]))
        with open_client(server) as client:
            for cache in ("use", "use", "refresh", "off"):
                client.list_tools(cache=cache)
        assert len(server.seen("tools/list")) == 4


# --- what makes it go
# ----------------------------------------------------------------------------------------------------------------------

NOTES = {
    "notifications/tools/list_changed": {"tools/list"},
    "notifications/prompts/list_changed": {"prompts/list"},
    "notifications/resources/list_changed": {"resources/list", "resources/templates/list"},
    "notifications/resources/updated": {"resources/read"},
}


@pytest.mark.parametrize("where", ["stream of a call", "listener", "listener with a callback"])
@pytest.mark.parametrize(("notification", "stale"), NOTES.items(), ids=NOTES.keys())
def test_notifications(server: ModernMCPServer, where: str, notification: str, stale: set[str]) -> None:
    """C26-08: a notification makes what it is about stale at once, wherever it comes, and nothing else."""
    go_on = threading.Event()

    def listening(peer: Peer, request: Request) -> None:
        tell = acknowledge(peer, request)
        peer.hold(go_on)
        tell(notification, **({"uri": "a:b"} if "updated" in notification else {}))
        peer.wait_gone()

    def calling(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(note(notification, {"uri": "a:b"} if "updated" in notification else None))
        peer.event_result(request, DONE)
        peer.end_stream()

    server.on(LISTEN, listening)
    server.on("tools/call", calling)
    for method, _, named in VERBS.values():
        server.on(method, kept(LONG, **named("x")))
    heard = threading.Event()
    with open_modern(server) as client:
        listener = None
        if where == "listener":
            listener = client.listen().__enter__()
        elif where != "stream of a call":
            listener = client.listen(lambda event: heard.set())
            assert listener.wait_open(BOUND)
        for _, ask, _ in VERBS.values():
            ask(client)
        before = len(server.requests)
        if listener is None:
            client.call_tool("t")
            before += 1
        elif where == "listener":
            go_on.set()
            next(listener)
        else:
            go_on.set()
            assert heard.wait(BOUND)
        for _, ask, _ in VERBS.values():
            ask(client)
        assert {request.key for request in server.requests[before:]} == stale
        if listener is not None:
            listener.close()


def test_an_update_is_of_one_resource(server: ModernMCPServer) -> None:
    """C26-08: an update drops the resource, and what is above it; others stay. One without a URI drops all of them."""
    server.on("resources/read", lambda peer, request: peer.respond_result(
        request, kept(LONG, contents=[{"uri": request.json["params"]["uri"], "text": "x"}])
    ))  # fmt: skip
    updates: list[Any] = []

    def calling(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(note("notifications/resources/updated", updates[-1]))
        peer.event_result(request, DONE)
        peer.end_stream()

    server.on("tools/call", calling)
    uris = ["file:///a", "file:///a/b", "file:///c"]
    with open_modern(server) as client:
        for update, again in (({"uri": "file:///a/b"}, 2), ({"uri": "file:///c"}, 1), ({"uri": "other:"}, 0), ({}, 3)):
            for uri in uris:
                client.read_resource(uri)
            updates.append(update)
            client.call_tool("t")
            before = len(server.requests)
            for uri in uris:
                client.read_resource(uri)
            assert len(server.requests) - before == again, update


def test_a_change_while_the_answer_is_on_its_way(server: ModernMCPServer) -> None:
    """C26-08: an answer that was asked for before a change was announced is not kept."""
    asked, go_on = threading.Event(), threading.Event()

    def slow(peer: Peer, request: Request) -> None:
        asked.set()
        peer.hold(go_on)
        peer.respond_result(request, kept(LONG, tools=[{"name": "old", "inputSchema": {}}]))

    def listening(peer: Peer, request: Request) -> None:
        tell = acknowledge(peer, request)
        peer.hold(asked)
        tell("notifications/tools/list_changed")
        peer.wait_gone()

    server.on(LISTEN, listening)
    server.on("tools/list", slow, kept(LONG, tools=[{"name": "new", "inputSchema": {}}]))
    with open_modern(server) as client, client.listen() as listener:
        lister = InThread(lambda: client.list_tools()[0].name)
        next(listener)
        go_on.set()
        lister.join(AT_ONCE)
        assert lister.value == "old"
        assert client.list_tools()[0].name == "new"
        assert client.list_tools()[0].name == "new"
    assert len(server.seen("tools/list")) == 2


# --- pages
# ----------------------------------------------------------------------------------------------------------------------


def pages(server: ModernMCPServer, listed: dict[Any, tuple[str, Any]], ttl: Any = LONG) -> None:
    """Serve pages: by cursor, the name of the one tool on it and the next cursor; another cursor is refused."""

    def answer(peer: Peer, request: Request) -> None:
        cursor = request.json["params"].get("cursor")
        if cursor not in listed:
            rpc_refusal(200, -32602, "invalid cursor")(peer, request)
            return
        name, following = listed[cursor]
        result = kept(ttl, tools=[{"name": name, "inputSchema": {}}])
        peer.respond_result(request, result if following is None else {**result, "nextCursor": following})

    server.on("tools/list", answer)


def cursors(seen: list[Request]) -> list[Any]:
    return [request.json["params"].get("cursor") for request in seen]


def listed(client: Client, **more: Any) -> list[str]:
    return [tool.name for tool in client.list_tools(**more)]


def test_pages_are_kept_one_by_one(server: ModernMCPServer) -> None:
    """C26-01, C26-09, T-01: each page is an entry of its own, by its cursor, and is asked for when it is stale."""
    pages(server, {None: ("a", "2"), "2": ("b", "3"), "3": ("c", None)})
    with open_modern(server) as client:
        clock = Clock(client)
        assert next(client.iter_tools()).name == "a"
        assert cursors(server.requests) == [None]
        clock.now += 400
        assert listed(client) == ["a", "b", "c"]
        assert cursors(server.requests) == [None, "2", "3"]
        clock.now += 300  # the first is stale, the others not
        assert listed(client) == ["a", "b", "c"]
        assert cursors(server.requests) == [None, "2", "3", None]


def test_an_empty_cursor_is_a_cursor(server: ModernMCPServer) -> None:
    """T-02, X18, T-01: "" is no end and no beginning: it is sent, and its page is kept as its own."""
    pages(server, {None: ("a", ""), "": ("b", "null"), "null": ("c", None)})
    with open_modern(server) as client:
        for _ in range(2):
            assert listed(client) == ["a", "b", "c"]
    assert cursors(server.requests) == [None, "", "null"]
    assert "cursor" not in server.requests[0].json["params"]


@pytest.mark.parametrize("ttl", [0, LONG])
def test_no_next_cursor_or_null_is_the_end(server: ModernMCPServer, ttl: int) -> None:
    """T-02, T-04: the list ends where there is no next cursor; null is none."""
    server.on("tools/list", {**kept(ttl, tools=[]), "nextCursor": None})
    with open_modern(server) as client:
        assert client.list_tools() == []
    assert len(server.requests) == 1


def test_a_cursor_that_has_gone_bad(server: ModernMCPServer) -> None:
    """C26-09, T-04: if a kept page leads to a cursor that the server does not know any more, all pages are dropped, and
    the list begins anew, once.
    """
    pages(server, {None: ("a", "2"), "2": ("b", None)})
    with open_modern(server) as client:
        clock = Clock(client)
        next(client.iter_tools())
        pages(server, {None: ("x", "9"), "9": ("y", None)})
        assert listed(client) == ["x", "y"]
        assert cursors(server.requests) == [None, "2", None, "9"]
        assert listed(client) == ["x", "y"]
        assert len(server.requests) == 4

        pages(server, {None: ("x", "gone")})  # whatever it says, it leads nowhere
        clock.now += 1000
        with pytest.raises(InvalidParams):
            client.list_tools()
        assert cursors(server.requests[4:]) == [None, "gone", None, "gone"]


def test_a_bad_cursor_in_the_middle_of_a_walk(server: ModernMCPServer) -> None:
    """C26-09: a walk that was begun cannot begin anew, for what it gave is given; but the next one does."""
    pages(server, {None: ("a", "2")})
    with open_modern(server) as client:
        walk = client.iter_tools()
        assert next(walk).name == "a"
        with pytest.raises(InvalidParams):
            next(walk)
        pages(server, {None: ("x", None)})
        assert [tool.name for tool in client.iter_tools()] == ["x"]
    assert cursors(server.requests) == [None, "2", None]


def test_a_bad_cursor_without_the_store(server: ModernMCPServer) -> None:
    """C26-09, T-04: with "off" the error is the caller's, and nothing is asked twice."""
    pages(server, {None: ("a", "2")})
    with open_modern(server) as client:
        with pytest.raises(InvalidParams):
            client.list_tools(cache="off")
    assert cursors(server.requests) == [None, "2"]


def test_a_refusal_of_the_first_page(server: ModernMCPServer) -> None:
    """C26-09: -32602 without a cursor is about something else, and asking again would not help."""
    server.on("tools/list", rpc_refusal(200, -32602))
    with open_modern(server) as client, pytest.raises(InvalidParams):
        client.list_tools()
    assert len(server.requests) == 1


def test_cursors_that_go_round(server: ModernMCPServer) -> None:
    """T-01: a list that leads back to a page that was seen is an error, with kept pages too, and not endless."""
    pages(server, {None: ("a", "2"), "2": ("b", "3"), "3": ("c", "2")})
    with open_modern(server) as client:
        for _ in range(2):
            with pytest.raises(Exception, match="cursor"):
                client.list_tools()
    assert len(server.requests) == 3


# --- threads
# ----------------------------------------------------------------------------------------------------------------------


def test_threads_share_it(server: ModernMCPServer) -> None:
    """C26-01: threads that ask and threads that are told of changes do not disturb each other."""
    numbered("tools/list", VERBS["tools"][2], server)

    def changed(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(note("notifications/tools/list_changed"))
        peer.event_result(request, DONE)
        peer.end_stream()

    server.on("tools/call", changed)
    with open_modern(server) as client:

        def work(number: int) -> int:
            seen = 0
            for step in range(60):
                (name,) = listed(client)
                assert int(name) >= seen
                seen = int(name)
                if (step + number) % 20 == 0:
                    client.call_tool("t")
            return seen

        threads = [InThread(lambda number=number: work(number)) for number in range(6)]  # type: ignore[misc]
        for thread in threads:
            thread.join(BOUND)
    assert [thread.error for thread in threads] == [None] * 6


def test_what_is_known_of_tools_comes_from_kept_lists_too(server: ModernMCPServer) -> None:
    """C26-08, H26-13, T-07: hints and annotations hold as long as the list; a change makes them go with it."""
    properties = {"region": {"type": "string", "x-mcp-header": "Region"}}
    tool = {"name": "t", "inputSchema": {"type": "object", "properties": properties}}
    server.on("tools/list", kept(LONG, tools=[tool]))

    def changed(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(note("notifications/tools/list_changed"))
        peer.event_result(request, DONE)
        peer.end_stream()

    server.on("tools/call", changed)
    with open_modern(server) as client:
        client.list_tools()
        client.list_tools()
        for _ in range(2):
            client.call_tool("t", {"region": "eu"})
        client.list_tools()
        client.call_tool("t", {"region": "eu"})
    regions = [request.header("Mcp-Param-Region") for request in server.seen("tools/call")]
    assert regions == ["eu", None, "eu"]
