"""The verbs: what each one sends, what it returns, and how lists are walked."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from streamhttp_client import (
    CallTimeout,
    Client,
    ConnectionLost,
    HTTPStatusError,
    InvalidParams,
    InvalidResult,
    MethodNotFound,
    RemoteProtocolError,
    ResourceNotFound,
    RPCError,
    ToolError,
    URLElicitationRequired,
)
from streamhttp_client.net.timeouts import Deadline
from streamhttp_client.protocol.models import PromptReference, parse_url_elicitations
from tests.client._peer import OK, fail, open_client
from tests.support.rawserver import Peer, RawMCPServer, Request
from tests.transport._faults import within

TEXT = {"uri": "a:b", "text": "hello"}
MESSAGE = {"role": "user", "content": {"type": "text", "text": "hi"}}

VERBS: list[tuple[str, Callable[[Client], Any], Any, dict[str, Any], Callable[[Any], Any], Any]] = [
    ("ping", lambda c: c.send_ping(), None, {}, lambda r: r, None),
    ("tools/list", lambda c: c.list_tools(), None, {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]},
     lambda r: [tool.name for tool in r], ["t"]),
    ("tools/call", lambda c: c.call_tool("t", {"a": [1]}), {"name": "t", "arguments": {"a": [1]}}, OK,
     lambda r: (r.text, r.is_error), ("ok", False)),
    ("resources/list", lambda c: c.list_resources(), None, {"resources": [{"uri": "a:b", "name": "r"}]},
     lambda r: [item.uri for item in r], ["a:b"]),
    ("resources/templates/list", lambda c: c.list_resource_templates(), None,
     {"resourceTemplates": [{"uriTemplate": "a:{b}", "name": "r"}]}, lambda r: [item.uri_template for item in r],
     ["a:{b}"]),
    ("resources/read", lambda c: c.read_resource("a:b"), {"uri": "a:b"}, {"contents": [TEXT]},
     lambda r: r.contents[0].text, "hello"),
    ("resources/subscribe", lambda c: c.subscribe_resource("a:b"), {"uri": "a:b"}, {}, lambda r: r, None),
    ("resources/unsubscribe", lambda c: c.unsubscribe_resource("a:b"), {"uri": "a:b"}, {}, lambda r: r, None),
    ("prompts/list", lambda c: c.list_prompts(), None, {"prompts": [{"name": "p"}]},
     lambda r: [item.name for item in r], ["p"]),
    ("prompts/get", lambda c: c.get_prompt("p", {"a": "b"}), {"name": "p", "arguments": {"a": "b"}},
     {"messages": [MESSAGE]}, lambda r: r.messages[0].role, "user"),
    ("completion/complete",
     lambda c: c.complete(PromptReference("p"), {"name": "a", "value": "b"}, {"before": "c"}),
     {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "a", "value": "b"},
      "context": {"arguments": {"before": "c"}}},
     {"completion": {"values": ["bc"], "hasMore": True, "total": 200}},
     lambda r: (list(r.completion.values), r.completion.has_more), (["bc"], True)),
    ("logging/setLevel", lambda c: c.set_logging_level("warning"), {"level": "warning"}, {}, lambda r: r, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "call", "params", "result", "look", "expected"), VERBS, ids=[verb[0] for verb in VERBS]
)
def test_verbs(
    server: RawMCPServer, method: str, call: Any, params: Any, result: Any, look: Any, expected: Any
) -> None:
    """G-01, T-13, T-04: what each verb sends, and what it makes of the answer."""
    server.on(method, result)
    with open_client(server) as client:
        assert look(call(client)) == expected
    (request,) = server.seen(method)
    assert request.json.get("params") == params


def test_meta_goes_with_the_request(server: RawMCPServer) -> None:
    """BASE-11: the caller's ``_meta`` is sent as it is; a progress token is added only where progress is wanted."""
    meta = {"example.com/trace": {"id": [1]}}
    with open_client(server) as client:
        client.call_tool("echo", meta=meta)
        client.call_tool("echo", meta=meta, on_progress=lambda event: None)
    plain, with_progress = (request.json["params"]["_meta"] for request in server.seen("tools/call"))
    assert plain == meta
    assert with_progress == {**meta, "progressToken": with_progress["progressToken"]}
    assert meta == {"example.com/trace": {"id": [1]}}


def test_meta_of_results_is_kept(server: RawMCPServer) -> None:
    """BASE-11: reserved keys in what the server sends are data, and nothing else."""
    meta = {"io.modelcontextprotocol/anything": 7, "progressToken": "odd", "com.mcp/x": None}
    server.on("tools/call", {**OK, "_meta": meta})
    with open_client(server) as client:
        assert client.call_tool("echo").meta == meta


@pytest.mark.parametrize("name", ["Get_User", "get_user", "a", "DATA_EXPORT_v2", "admin.tools.list", "x" * 128, "ä/1"])
def test_tool_names_are_sent_as_they_are(server: RawMCPServer, name: str) -> None:
    """T-10: names are case-sensitive; none is changed, nor refused here, since the server knows what it has."""
    tools = [{"name": one, "inputSchema": {"type": "object"}} for one in (name.upper(), name, name.lower())]
    server.on("tools/list", {"tools": tools})
    with open_client(server) as client:
        assert [tool.name for tool in client.list_tools()] == [tool["name"] for tool in tools]
        client.call_tool(name)
    assert server.seen("tools/call")[0].json["params"]["name"] == name


# --- errors


@pytest.mark.parametrize("status", [200, 400, 404, 500])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (-32601, MethodNotFound), (-32602, InvalidParams), (-32002, ResourceNotFound), (-32603, RPCError),
        (-32000, RPCError), (-32042, URLElicitationRequired), (0, RPCError), (1234567890123, RPCError),
    ],
)  # fmt: skip
def test_errors_of_the_server(code: int, kind: type[RPCError], status: int) -> None:
    """BASE-04, H25-04, L25-08, X14: a JSON-RPC error is a typed one, whatever HTTP status it comes with, both
    codes of a missing resource among them.
    """
    data = {"elicitations": [{"mode": "url", "elicitationId": "1", "url": "https://h/", "message": "go"}]}
    with RawMCPServer(sessions=False, capabilities={"resources": {}}) as server:
        server.on("resources/read", fail(code, "words of the server", data, status))
        with open_client(server) as client, pytest.raises(RPCError) as caught:
            client.read_resource("a:b")
        error = caught.value
        assert type(error) is kind
        assert (error.code, error.message, error.data) == (code, "words of the server", data)
        assert error.status == (None if status == 200 else status)
        assert len(server.seen("resources/read")) == 1


def test_pages_that_the_user_must_visit(server: RawMCPServer) -> None:
    """E-09: the error lists them; when the user has been there, the caller makes the request again."""
    data = {"elicitations": [{"mode": "url", "elicitationId": "1", "url": "https://h/a?b", "message": "log in"}]}
    server.on("tools/call", fail(-32042, "log in first", data), OK)
    with open_client(server) as client:
        with pytest.raises(URLElicitationRequired) as caught:
            client.call_tool("echo")
        (page,) = parse_url_elicitations(caught.value.data)
        assert page.url == "https://h/a?b"
        assert client.call_tool("echo").text == "ok"
        assert len({request.id for request in server.seen("tools/call")}) == 2


def test_a_tools_failure(server: RawMCPServer) -> None:
    """T-08: ``isError`` is an error of its own that carries the result, or the result itself if that is wanted."""
    server.on("tools/call", {"content": [{"type": "text", "text": "no such city"}], "isError": True})
    with open_client(server) as client:
        with pytest.raises(ToolError, match="no such city") as caught:
            client.call_tool("weather")
        assert caught.value.result.is_error and caught.value.result.text == "no such city"
        assert not isinstance(caught.value, RPCError)
        assert client.call_tool("weather", raise_on_error=False).text == "no such city"


@pytest.mark.parametrize("result", [{}, {"tools": 7}, {"tools": [{}]}, {"tools": [], "nextCursor": 7}])
def test_results_of_the_wrong_shape(server: RawMCPServer, result: dict[str, Any]) -> None:
    """T-12: results are checked before they are handed out, and the client stays usable."""
    server.on("tools/list", result)
    with open_client(server) as client:
        with pytest.raises(InvalidResult):
            client.list_tools()
        client.send_ping()


def test_a_plain_error_status(server: RawMCPServer) -> None:
    """H25-04: another 4xx without a JSON-RPC body is the HTTP status that it is."""
    server.on("tools/call", lambda peer, request: peer.respond(418, b"teapot", content_type="text/plain"))
    with open_client(server) as client:
        with pytest.raises(HTTPStatusError) as caught:
            client.call_tool("echo")
        assert (caught.value.status, caught.value.body) == (418, b"teapot")


@pytest.mark.parametrize("status", [400, 413, 500])
def test_a_notification_that_is_refused(server: RawMCPServer, status: int) -> None:
    """H25-04: 202 accepts a notification; an error status is told to whoever sent it."""
    server.on("notifications/custom", lambda peer, request: peer.respond(status, b"no"))
    with open_client(server) as client:
        with pytest.raises(HTTPStatusError):
            client.notify("notifications/custom", {"a": 1})
        client.send_ping()


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_notification_that_is_accepted(server: RawMCPServer, status: int) -> None:
    """H25-04, BASE-05: 202 with no body; several servers say it with another number."""
    server.on("notifications/custom", lambda peer, request: peer.respond(status, b""))
    with open_client(server) as client:
        client.notify("notifications/custom", {"a": 1})
    (request,) = server.seen("notifications/custom")
    assert "id" not in request.json


# --- pages


def pages(*contents: tuple[list[str], Any]) -> Callable[[Peer, Request], None]:
    """Tools in pages; each page's cursor is asked for by its number in ``contents``."""
    cursors = [None, *(cursor for _, cursor in contents)]

    def answer(peer: Peer, request: Request) -> None:
        wanted = (request.json.get("params") or {}).get("cursor")
        names, following = contents[cursors.index(wanted)]
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in names]
        peer.respond_result(request, {"tools": tools, **({} if following is None else {"nextCursor": following})})

    return answer


def cursors_of(server: RawMCPServer) -> list[Any]:
    return [(request.json.get("params") or {}).get("cursor", "absent") for request in server.seen("tools/list")]


def test_all_pages_are_one_list(server: RawMCPServer) -> None:
    """T-01, T-04: cursors are sent back as they came, pages have any size, an empty one is no end."""
    odd = 'é\u2028"\\ =/+' + "x" * 1000
    server.on("tools/list", pages((["a", "b"], odd), ([], "2"), (["c"], "0"), (["d"], None)))
    with open_client(server) as client:
        assert [tool.name for tool in client.list_tools()] == ["a", "b", "c", "d"]
        assert cursors_of(server) == ["absent", odd, "2", "0"]


def test_an_empty_cursor_is_a_cursor(server: RawMCPServer) -> None:
    """T-01, T-02, X18: only a missing or null cursor is the end."""
    server.on("tools/list", pages((["a"], ""), (["b"], None)))
    with open_client(server) as client:
        assert [tool.name for tool in client.list_tools()] == ["a", "b"]
        assert cursors_of(server) == ["absent", ""]


def test_pages_are_asked_for_when_they_are_needed(server: RawMCPServer) -> None:
    """``iter_*`` is lazy: who stops early costs the server nothing more."""
    server.on("tools/list", pages((["a", "b"], "2"), (["c"], None)))
    with open_client(server) as client:
        tools = client.iter_tools()
        assert server.seen("tools/list") == []
        assert [next(tools).name, next(tools).name] == ["a", "b"]
        assert len(server.seen("tools/list")) == 1
        assert next(tools).name == "c"
        assert list(tools) == []
        assert len(server.seen("tools/list")) == 2


@pytest.mark.parametrize("cursor", ["same", ""])
def test_pages_that_never_end(server: RawMCPServer, cursor: str) -> None:
    """A cursor that comes again is the server's error; what came before it was handed out."""
    server.on("tools/list", {"tools": [{"name": "a", "inputSchema": {}}], "nextCursor": cursor})
    with open_client(server) as client:
        seen = []
        with pytest.raises(RemoteProtocolError, match="cursor"):
            for tool in client.iter_tools():
                seen.append(tool.name)
        assert seen == ["a", "a"]


def test_a_cursor_that_is_refused(server: RawMCPServer) -> None:
    """T-04: -32602 for a cursor is told as what it is; a new walk begins at the first page."""
    server.on("tools/list", pages((["a"], "2"), (["b"], None)))
    with open_client(server) as client:
        walk = client.iter_tools()
        next(walk)
        server.on("tools/list", fail(-32602, "bad cursor"))
        with pytest.raises(InvalidParams, match="bad cursor"):
            next(walk)
        server.on("tools/list", pages((["a"], None)))
        assert len(client.list_tools()) == 1
        assert cursors_of(server)[-1] == "absent"


@pytest.mark.parametrize(
    ("walk", "method", "name"),
    [
        (lambda c: c.iter_resources(), "resources/list", "resources"),
        (lambda c: c.iter_resource_templates(), "resources/templates/list", "resourceTemplates"),
        (lambda c: c.iter_prompts(), "prompts/list", "prompts"),
        (lambda c: c.iter_tasks(), "tasks/list", "tasks"),
    ],
)
def test_the_other_lists_have_pages_too(server: RawMCPServer, walk: Any, method: str, name: str) -> None:
    """T-04, T-12: each list is walked alike."""
    item = {
        "name": "n", "uri": "a:b", "uriTemplate": "a:{b}", "taskId": "1", "status": "working", "ttl": None,
        "createdAt": "2025-11-25T10:30:00Z", "lastUpdatedAt": "2025-11-25T10:30:00Z",
    }  # fmt: skip
    server.on(method, {name: [item], "nextCursor": "2"}, {name: [item, item]})
    with open_client(server) as client:
        assert len(list(walk(client))) == 3


# --- the escape hatch


def test_any_request(server: RawMCPServer) -> None:
    """The escape hatch gives the result as it came, with all members."""
    server.on("custom/method", {"a": {"b": [1, None]}, "_meta": {}})
    with open_client(server) as client:
        assert client.request("custom/method", {"x": 1}) == {"a": {"b": [1, None]}, "_meta": {}}
        assert client.request("custom/method") == {"a": {"b": [1, None]}, "_meta": {}}
    first, second = server.seen("custom/method")
    assert first.json["params"] == {"x": 1}
    assert "params" not in second.json


def test_a_result_that_is_no_object(server: RawMCPServer) -> None:
    """A result is an object in every revision."""

    def answer(peer: Peer, request: Request) -> None:
        peer.respond_json({"jsonrpc": "2.0", "id": request.id, "result": [1]})

    server.on("custom/method", answer)
    with open_client(server) as client, pytest.raises(InvalidResult) as caught:
        client.request("custom/method")
    assert caught.value.result == [1]


def test_roots_list_changed(server: RawMCPServer) -> None:
    """E-14: who declared roots may say that they are others now."""
    with open_client(server, roots=["file:///a"]) as client:
        client.send_roots_list_changed()
    assert len(server.seen("notifications/roots/list_changed")) == 1


@pytest.mark.parametrize("form", ["json", "sse"])
def test_batches_of_an_older_server(form: str) -> None:
    """O-02: at 2025-03-26 an answer may be an array, of which the response is one message."""
    events: list[Any] = []

    def answer(peer: Peer, request: Request) -> None:
        messages = [
            {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "before"}},
            {"jsonrpc": "2.0", "id": request.id, "result": OK},
        ]
        if form == "json":
            peer.respond_json(messages)
        else:
            peer.start_stream()
            peer.event(messages)
            peer.end_stream()

    with RawMCPServer(protocol_version="2025-03-26") as server:
        server.on("tools/call", answer)
        with open_client(server) as client:
            assert client.call_tool("echo", on_log=events.append).text == "ok"
            assert client.call_tool("echo").text == "ok"
    assert [event.data for event in events] == ["before"]


def test_request_ids_never_repeat(server: RawMCPServer) -> None:
    """BASE-02, BASE-03: each request of a session has an id of its own, the one that was cancelled included."""
    with open_client(server) as client:
        for _ in range(20):
            client.call_tool("echo")
            client.send_ping()
        client.list_tools()
    ids = [request.id for request in server.requests if request.id is not None]
    assert len(ids) == len(set(ids)) == 42
    assert all(type(one) in (int, str) for one in ids)


# --- the time for a verb

WHOLE = 40.0  # seconds for a verb with all that it takes, in these tests
LEFT = 0.5  # what is left of them when the server has taken its time


def put_forward(monkeypatch: pytest.MonkeyPatch) -> Callable[[Peer, Request], None]:
    """Let a script make all but ``LEFT`` of ``WHOLE`` pass at once, as far as deadlines are concerned."""
    passed = [0.0]
    monkeypatch.setattr(Deadline.__init__, "__defaults__", (lambda: time.monotonic() + passed[0],))

    def script(peer: Peer, request: Request) -> None:
        passed[0] += WHOLE - LEFT

    return script


def _silent(peer: Peer, request: Request) -> None:
    peer.hold()


ASKING: dict[str, tuple[str, Callable[..., Any]]] = {
    "list_tasks": ("tasks/list", lambda c, **k: c.list_tasks(**k)),
    "list_tools": ("tools/list", lambda c, **k: c.list_tools(**k)),
    "iter_tools": ("tools/list", lambda c, **k: next(c.iter_tools(**k))),
    "call_tool": ("tools/call", lambda c, **k: c.call_tool("t", **k)),
    "read_resource": ("resources/read", lambda c, **k: c.read_resource("a:b", **k)),
    "get_prompt": ("prompts/get", lambda c, **k: c.get_prompt("p", **k)),
    "send_ping": ("ping", lambda c, **k: c.send_ping(**k)),
    "set_logging_level": ("logging/setLevel", lambda c, **k: c.set_logging_level("info", **k)),
    "subscribe_resource": ("resources/subscribe", lambda c, **k: c.subscribe_resource("a:b", **k)),
    "request": ("x/y", lambda c, **k: c.request("x/y", **k)),
    "notify": ("notifications/x", lambda c, **k: c.notify("notifications/x", **k)),
    "call_tool_as_task": ("tools/call", lambda c, **k: c.call_tool_as_task("t", **k)),
    "get_task": ("tasks/get", lambda c, **k: c.get_task("t-1", **k)),
    "get_task_result": ("tasks/result", lambda c, **k: c.get_task_result("t-1", **k)),
    "cancel_task": ("tasks/cancel", lambda c, **k: c.cancel_task("t-1", **k)),
    "wait_task": ("tasks/get", lambda c, **k: c.wait_task("t-1", **k)),
}


@pytest.mark.parametrize("name", ASKING)
def test_beginning_is_part_of_the_time(server: RawMCPServer, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """K-06, L25-07: what a client takes to begin its session counts in the time that the caller gives a verb, and it is
    the caller's limit that the error names.
    """
    method, ask = ASKING[name]
    pass_time = put_forward(monkeypatch)

    def slow(peer: Peer, request: Request) -> None:
        pass_time(peer, request)
        server.answer(peer, request)

    server.on("initialize", slow)
    server.on(method, _silent)
    with closing(open_client(server)) as client, within(WHOLE / 4), pytest.raises(CallTimeout, match=r"\b40 s"):
        ask(client, timeout=WHOLE)


LISTS: dict[str, Callable[..., Any]] = {
    "tools": lambda c, **k: c.list_tools(**k),
    "resources": lambda c, **k: c.list_resources(**k),
    "prompts": lambda c, **k: c.list_prompts(**k),
    "tasks": lambda c, **k: c.list_tasks(**k),
}


@pytest.mark.parametrize("name", LISTS)
def test_all_pages_have_one_time(server: RawMCPServer, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """K-06, T-01: the time that is given for a list is for all of its pages."""
    pass_time = put_forward(monkeypatch)

    def first(peer: Peer, request: Request) -> None:
        pass_time(peer, request)
        peer.respond_result(request, {name: [], "nextCursor": "2"})

    server.on(f"{name}/list", first, _silent)
    with open_client(server) as client, within(WHOLE / 4), pytest.raises(CallTimeout, match=r"\b40 s"):
        LISTS[name](client, timeout=WHOLE)


def test_an_iteration_gives_each_page_its_time(server: RawMCPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """K-06, T-01: one who iterates decides how long that takes; the time is for each page."""
    pass_time = put_forward(monkeypatch)

    def page(peer: Peer, request: Request) -> None:
        pass_time(peer, request)
        number = len(server.seen("tools/list"))
        more = {} if number == 3 else {"nextCursor": str(number)}
        peer.respond_result(request, {"tools": [{"name": f"t{number}", "inputSchema": {}}], **more})

    server.on("tools/list", page)
    with open_client(server) as client:
        assert [tool.name for tool in client.iter_tools(timeout=WHOLE)] == ["t1", "t2", "t3"]


@pytest.mark.parametrize("walk", [Client.list_tools, lambda client: list(client.iter_tools())], ids=["list", "iter"])
def test_tools_that_are_not_listed_any_more(server: RawMCPServer, walk: Callable[[Client], list[Any]]) -> None:
    """T-07: what a tool once said of itself is forgotten when a list does not have it any more: it is not called twice
    for the sake of an old hint.
    """
    schema = {"type": "object"}
    hinted = {"name": "t", "inputSchema": schema, "annotations": {"readOnlyHint": True}}
    other = {"name": "u", "inputSchema": schema, "annotations": {"readOnlyHint": True}}
    server.on("tools/list", {"tools": [hinted, other]}, {"tools": [other]})
    cut = lambda peer, request: peer.cut()  # noqa: E731
    server.on("tools/call", cut, OK)
    with open_client(server) as client:
        walk(client)
        assert client.call_tool("t").text == "ok"
        assert [tool.name for tool in walk(client)] == ["u"]
        server.on("tools/call", cut, OK)
        with pytest.raises(ConnectionLost):
            client.call_tool("t")
        server.on("tools/call", cut, OK)
        assert client.call_tool("u").text == "ok"
