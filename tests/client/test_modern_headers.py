"""Requests of the stateless era as they leave: headers, ``_meta``, and tools whose arguments go into headers."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from streamhttp_client import CallCancelled, HeaderMismatch, HTTPStatusError, LocalProtocolError
from tests.client._modern import (
    ALL,
    CAPABILITIES,
    DONE,
    TASKS,
    complete,
    kept,
    meta_of,
    no_other_requests,
    only_posts,
    open_modern,
    text,
)
from tests.client._peer import AT_ONCE, BOUND
from tests.support.rawserver import ModernMCPServer, Peer, Request, rpc_refusal, sse
from tests.transport._faults import InThread, within

MOST = 2**53 - 1


@pytest.fixture
def server(_nothing_left: None) -> Iterator[ModernMCPServer]:
    with ModernMCPServer(capabilities=ALL) as server:
        yield server


def tool(name: str, properties: Any = None, **schema: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object", "properties": properties or {}, **schema}}


def annotated(kind: Any, header: Any) -> dict[str, Any]:
    return {"type": kind, "x-mcp-header": header}


def encoded(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def param_headers(request: Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers if name.lower().startswith("mcp-param-")}


# --- every request
# ----------------------------------------------------------------------------------------------------------------------


def test_what_every_post_carries(server: ModernMCPServer) -> None:
    """H26-01, H26-02, H26-07, H26-08, H26-09, V26-01, V26-02, X6, X9: each verb is one POST with all headers, the same
    version in header and body, and no trace of sessions, even if the server hands out a session id; no DELETE at the
    end.
    """

    def with_session(result: dict[str, Any]) -> Any:
        return lambda peer, request: peer.respond_result(request, result, headers={"MCP-Session-Id": "stale"})

    server.on("tools/list", with_session(kept(0, tools=[tool("echo")])))
    server.on("tools/call", with_session(DONE))
    server.on("resources/list", with_session(kept(0, resources=[])))
    server.on("resources/templates/list", with_session(kept(0, resourceTemplates=[])))
    server.on("resources/read", with_session(kept(0, contents=[])))
    server.on("prompts/list", with_session(kept(0, prompts=[])))
    server.on("prompts/get", with_session(complete(messages=[])))
    server.on("completion/complete", with_session(complete(completion={"values": []})))
    with open_modern(server, known=False, client_info={"name": "me", "version": "7"}) as client:
        client.list_tools()
        client.call_tool("echo", {"a": 1})
        client.list_resources()
        client.list_resource_templates()
        client.read_resource("file:///a")
        client.list_prompts()
        client.get_prompt("greet")
        client.complete({"type": "ref/prompt", "name": "greet"}, {"name": "who", "value": "a"})
        client.send_ping()
        client.request("tools/call", {"name": "echo"})
        client.notify("notifications/odd", {"a": 1})
        assert client.era == "stateless"
    assert only_posts(server)
    names = {"tools/call": "echo", "resources/read": "file:///a", "prompts/get": "greet"}
    for request in server.requests:
        accepted = {kind.strip() for kind in (request.header("Accept") or "").split(",")}
        assert {"application/json", "text/event-stream"} <= accepted
        assert request.header("Content-Type") == "application/json"
        assert request.header("MCP-Protocol-Version") == "2026-07-28"
        assert request.header("Mcp-Method") == request.key
        assert request.header("Mcp-Name") == names.get(request.key)
        if request.id is None:
            continue
        meta = meta_of(request)
        assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
        assert meta["io.modelcontextprotocol/clientInfo"] == {"name": "me", "version": "7"}
        assert meta[CAPABILITIES] == {"extensions": {TASKS: {}}}
    ids = [request.id for request in server.requests if request.id is not None]
    assert len(ids) == len(set(ids)) == 11


def test_only_what_has_a_handler_is_declared(server: ModernMCPServer) -> None:
    """M26-01, E-01: the capabilities of each request name what this client answers, and no more."""

    def declared(**options: Any) -> Any:
        with open_modern(server, **options) as client:
            client.call_tool("echo")
        capabilities = meta_of(server.seen("tools/call")[-1])[CAPABILITIES]
        assert capabilities.pop("extensions") == {TASKS: {}}
        return capabilities

    def handler(*_: Any) -> Any:
        raise AssertionError("not asked")

    assert declared() == {}
    assert declared(sampling=handler) == {"sampling": {}}
    assert declared(sampling=handler, sampling_tools=True) == {"sampling": {"tools": {}}}
    assert declared(elicitation=handler) == {"elicitation": {}}
    assert declared(elicitation=handler, url_elicitation=True) == {"elicitation": {"form": {}, "url": {}}}
    assert set(declared(roots=["file:///a"])) == {"roots"}


def test_own_meta_is_kept_and_does_not_lie(server: ModernMCPServer) -> None:
    """V26-01, BASE-11: a caller's own ``_meta`` goes along, and cannot say another version or other capabilities."""
    own = {"com.example/x": [1], "io.modelcontextprotocol/protocolVersion": "1999-01-01", CAPABILITIES: {"roots": {}}}
    with open_modern(server) as client:
        client.call_tool("echo", meta=own)
    meta = meta_of(server.requests[0])
    assert meta["com.example/x"] == [1]
    assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert meta[CAPABILITIES] == {"extensions": {TASKS: {}}}
    assert own["io.modelcontextprotocol/protocolVersion"] == "1999-01-01"  # what was given is not touched


def test_nothing_hangs_on_the_connection(server: ModernMCPServer) -> None:
    """H26-22: after a connection has gone the next request is like the one before, but for its id."""
    server.on("tools/call", lambda peer, request: (peer.respond_result(request, DONE), peer.cut()))  # type: ignore[arg-type, func-returns-value]
    with open_modern(server) as client:
        for _ in range(2):
            client.call_tool("echo", {"handle": "basket-1"}, idempotent=True)
    first, second = server.requests
    assert first.connection != second.connection
    assert {**first.json, "id": 0} == {**second.json, "id": 0}
    assert first.headers == second.headers


def test_names_of_answer_headers_in_any_case(server: ModernMCPServer) -> None:
    """H26-03, H26-19: header names of answers count in any case; JSON and event streams are both read."""

    def shouting(peer: Peer, request: Request) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nCONTENT-TYPE: Application/JSON; charset=utf-8\r\ncontent-LENGTH: ")
        body = json.dumps({"jsonrpc": "2.0", "id": request.id, "result": text("loud")}).encode()
        peer.send(b"%d\r\n\r\n%s" % (len(body), body))

    def whispering(peer: Peer, request: Request) -> None:
        event = sse({"jsonrpc": "2.0", "id": request.id, "result": DONE})
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: TEXT/EVENT-STREAM;charset=utf-8\r\n")
        peer.send(b"transfer-encoding: CHUNKED\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(event), event))

    server.on("tools/call", shouting, whispering)
    with open_modern(server) as client:
        assert client.call_tool("echo").text == "loud"
        assert client.call_tool("echo").text == "ok"


# --- names
# ----------------------------------------------------------------------------------------------------------------------

NAMES = [
    ("echo", "echo"),
    ("a b", "a b"),
    ("x=?base64?eA==?=", "x=?base64?eA==?="),
    ("=?base64?", "=?base64?"),
    *((name, encoded(name)) for name in (
        " a", "a ", "\ta", "a\tb", "a\r\nHost: evil", "\x00", "a\x7f", "ä", "日本", "😀", "=?base64?eA==?=",
        "=?base64??=", "\u2028", "\xa0a", "\ufeff",
    )),
]  # fmt: skip


@pytest.mark.parametrize(("name", "header"), NAMES, ids=repr)
def test_encoding_of_names(server: ModernMCPServer, name: str, header: str) -> None:
    """H26-10, H26-11, H26-12: names and URIs stand in a header as they are, or in base64 if they would not arrive."""
    server.on("tools/call", DONE)
    server.on("prompts/get", complete(messages=[]))
    server.on("resources/read", kept(0, contents=[]))
    with open_modern(server) as client:
        client.call_tool(name)
        client.get_prompt(name)
        client.read_resource(name)
    assert [request.header("Mcp-Name") for request in server.requests] == [header] * 3
    assert [request.json["params"].get("name") for request in server.requests] == [name, name, None]
    assert server.requests[2].json["params"]["uri"] == name


def test_what_cannot_stand_in_a_header(server: ModernMCPServer) -> None:
    """H26-09, H26-11: half a surrogate pair, or a method that is no header value, is refused and not sent."""
    with open_modern(server) as client:
        with pytest.raises(LocalProtocolError):
            client.call_tool("\ud800")
        for method in ("odd\r\nHost: evil", "ä", "a ", " a"):
            with pytest.raises(LocalProtocolError):
                client.request(method)
            with pytest.raises(LocalProtocolError):
                client.notify(method)
    assert server.accepted == 0


@pytest.mark.parametrize("name", ["Mcp-Method", "mcp-name", "MCP-Protocol-Version", "Mcp-Session-Id", "LAST-EVENT-ID"])
def test_headers_that_are_not_the_callers(server: ModernMCPServer, name: str) -> None:
    """H26-08, H26-09: the caller's own headers cannot contradict the body."""
    with pytest.raises(LocalProtocolError, match="header"):
        open_modern(server, headers={name: "x"})


# --- arguments in headers
# ----------------------------------------------------------------------------------------------------------------------

REGION = {"region": annotated("string", "Region")}
FULL = tool(
    "full",
    {
        "text": annotated("string", "Text"),
        "count": annotated("integer", "Count-1"),
        "flag": annotated("boolean", "fLAG"),
        "plain": {"type": "string"},
        "deep": {"type": "object", "properties": {"er": {"type": "object", "properties": REGION}}},
    },
)

MIRRORED: list[tuple[dict[str, Any] | None, dict[str, str]]] = [
    (None, {}),
    ({}, {}),
    ({"text": "us-west1"}, {"text": "us-west1"}),
    ({"text": ""}, {"text": encoded("")}),
    ({"text": "Zürich"}, {"text": encoded("Zürich")}),
    ({"text": " x\n"}, {"text": encoded(" x\n")}),
    ({"text": "=?base64?eA==?="}, {"text": encoded("=?base64?eA==?=")}),
    ({"text": None, "flag": None, "count": None}, {}),
    ({"count": 0}, {"count-1": "0"}),
    ({"count": -7}, {"count-1": "-7"}),
    ({"count": MOST}, {"count-1": "9007199254740991"}),
    ({"count": -MOST}, {"count-1": "-9007199254740991"}),
    ({"count": 42.0}, {"count-1": "42"}),
    ({"flag": True}, {"flag": "true"}),
    ({"flag": False, "plain": "not this"}, {"flag": "false"}),
    ({"deep": {"er": {"region": "eu"}}}, {"region": "eu"}),
    ({"deep": {"er": None}}, {}),
    ({"deep": {"region": "at the wrong place"}}, {}),
    ({"region": "at the wrong place"}, {}),
    ({"deep": {"er": ["region"]}}, {}),
]


@pytest.mark.parametrize(("arguments", "headers"), MIRRORED)
def test_arguments_in_headers(server: ModernMCPServer, arguments: Any, headers: dict[str, str]) -> None:
    """H26-13, H26-14, H26-15: annotated arguments are in headers as text; null and what is absent have none."""
    server.on("tools/list", kept(0, tools=[FULL]))
    with open_modern(server) as client:
        client.list_tools()
        client.call_tool("full", arguments)
    (request,) = server.seen("tools/call")
    assert param_headers(request) == {f"mcp-param-{name}": value for name, value in headers.items()}
    assert request.json["params"].get("arguments") == arguments


@pytest.mark.parametrize(
    "arguments",
    [{"count": MOST + 1}, {"count": -(10**400)}, {"count": 1.5}, {"text": {"a": 1}}, {"text": ["a"]},
     {"text": "\udfff"}, {"count": 1e300}],
    ids=lambda arguments: next(iter(arguments)) + str(len(repr(arguments))),
)  # fmt: skip
def test_arguments_that_have_no_header(server: ModernMCPServer, arguments: dict[str, Any]) -> None:
    """H26-14: a value that a header cannot say is refused here, and the call is not sent."""
    server.on("tools/list", kept(0, tools=[FULL]))
    with open_modern(server) as client:
        client.list_tools()
        with pytest.raises(LocalProtocolError):
            client.call_tool("full", arguments)
        assert client.call_tool("full").text == "ok"
    assert len(server.seen("tools/call")) == 1


def test_tools_that_were_not_listed_have_no_param_headers(server: ModernMCPServer) -> None:
    """H26-13: without a listing there is no schema to know annotations from; nor does a forgotten one count."""
    plain = tool("full", {"text": {"type": "string"}})
    server.on("tools/list", kept(0, tools=[FULL]), kept(0, tools=[plain]))
    with open_modern(server) as client:
        client.call_tool("full", {"text": "a"})
        client.list_tools()
        client.call_tool("full", {"text": "a"})
        client.list_tools()
        client.call_tool("full", {"text": "a"})
    assert [param_headers(request) for request in server.seen("tools/call")] == [{}, {"mcp-param-text": "a"}, {}]


# --- tools that break the rules
# ----------------------------------------------------------------------------------------------------------------------

BAD: dict[str, dict[str, Any]] = {
    "empty": tool("bad", {"a": annotated("string", "")}),
    "space": tool("bad", {"a": annotated("string", "My Region")}),
    "colon": tool("bad", {"a": annotated("string", "Region:")}),
    "injection": tool("bad", {"a": annotated("string", "Region\r\nHost")}),
    "umlaut": tool("bad", {"a": annotated("string", "Räum")}),
    "number": tool("bad", {"a": annotated("number", "A")}),
    "object": tool("bad", {"a": annotated("object", "A")}),
    "array": tool("bad", {"a": annotated("array", "A")}),
    "null": tool("bad", {"a": annotated("null", "A")}),
    "two kinds": tool("bad", {"a": annotated(["string", "null"], "A")}),
    "no kind": tool("bad", {"a": {"x-mcp-header": "A"}}),
    "twice": tool("bad", {"a": annotated("string", "Region"), "b": annotated("string", "rEGION")}),
    "not text": tool("bad", {"a": annotated("string", 7)}),
    "null name": tool("bad", {"a": annotated("string", None)}),
    "in items": tool("bad", {"a": {"type": "array", "items": annotated("string", "A")}}),
    "in anyOf": tool("bad", anyOf=[{"properties": {"a": annotated("string", "A")}}]),
    "in if": tool("bad", {"x": {"if": {"properties": {"a": annotated("string", "A")}}}}),
    "in $defs": tool("bad", {"a": {"$ref": "#/$defs/a"}}, **{"$defs": {"a": annotated("string", "A")}}),
    "additional": tool("bad", additionalProperties=annotated("string", "A")),
    "at the root": tool("bad", **{"x-mcp-header": "A"}),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_tool_that_breaks_the_rules_is_left_out(
    server: ModernMCPServer, caplog: pytest.LogCaptureFixture, bad: dict[str, Any]
) -> None:
    """H26-16, H26-17: it is missing from the list, with a warning that names it and says why; the others stay."""
    server.on("tools/list", kept(0, tools=[tool("first"), bad, tool("last", REGION)]))
    with open_modern(server) as client, caplog.at_level(logging.WARNING, "streamhttp_client"):
        assert [listed.name for listed in client.list_tools()] == ["first", "last"]
        assert [listed.name for listed in client.iter_tools()] == ["first", "last"]
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 2 and all("'bad'" in warning and "x-mcp-header" in warning for warning in warnings)


def test_a_tool_that_was_good_before(server: ModernMCPServer) -> None:
    """H26-16: what was known of a tool is forgotten when it is listed with annotations that break the rules."""
    bad = tool("t", {"a": annotated("number", "A")})
    server.on("tools/list", kept(0, tools=[tool("t", REGION)]), kept(0, tools=[bad]))
    with open_modern(server) as client:
        assert len(client.list_tools()) == 1
        assert client.list_tools() == []
        client.call_tool("t", {"region": "eu", "a": 1})
    assert param_headers(server.seen("tools/call")[0]) == {}


def test_annotations_in_values_are_none(server: ModernMCPServer) -> None:
    """H26-16: a default, an example or a property that happens to bear the name is no annotation."""
    harmless = tool("t", {"a": {"type": "object", "default": {"x-mcp-header": ""}, "examples": [{"x-mcp-header": 1}]}})
    called_so = tool("u", {"x-mcp-header": {"type": "number"}})
    server.on("tools/list", kept(0, tools=[harmless, called_so]))
    with open_modern(server) as client:
        assert [listed.name for listed in client.list_tools()] == ["t", "u"]


@pytest.mark.parametrize("status", [400, 413, 414, 431, 502])
def test_headers_that_are_too_large(server: ModernMCPServer, status: int) -> None:
    """H26-11: a refusal of large headers names what is large, and shows nothing of what is in it."""
    server.on("tools/list", complete(tools=[tool("t", {"text": annotated("string", "Text")})]))
    server.on("tools/call", lambda peer, request: peer.respond(status, b"no", content_type="text/plain"))
    with open_modern(server) as client:
        client.list_tools()
        with pytest.raises(HTTPStatusError, match=r"mcp-param-text \(5000 bytes\)") as caught:
            client.call_tool("t", {"text": "geheim" * 833 + "xy"})
        assert caught.value.status == status and "geheim" not in str(caught.value)
        with pytest.raises(HTTPStatusError) as caught:
            client.call_tool("t", {"text": "short"})
        assert "mcp-" not in str(caught.value) and ("client's options" in str(caught.value)) is (status == 431)


# --- headers that did not fit
# ----------------------------------------------------------------------------------------------------------------------


def in_a_stream(peer: Peer, request: Request) -> None:
    error = {"code": -32020, "message": "header mismatch"}
    peer.start_stream()
    peer.event({"jsonrpc": "2.0", "id": request.id, "error": error})
    peer.end_stream()


REFUSALS = pytest.mark.parametrize(
    "refuse", [rpc_refusal(400, -32020), rpc_refusal(200, -32020), in_a_stream], ids=["400", "200", "stream"]
)


@REFUSALS
@pytest.mark.parametrize("ttl", [0, 600_000], ids=["not kept", "kept"])
def test_a_mismatch_lists_the_tools_again(server: ModernMCPServer, refuse: Any, ttl: int) -> None:
    """H26-18, BASE-03, C26-06: the tools are asked for, not taken from what is kept, and the call is made once more
    with the headers of now and a new id. It was refused, so even a call which may not run twice is repeated.
    """
    server.on("tools/list", kept(ttl, tools=[tool("t")]), kept(ttl, tools=[tool("t", REGION)]))
    server.on("tools/call", refuse, DONE)
    with open_modern(server) as client:
        client.list_tools()
        assert client.call_tool("t", {"region": "eu"}, idempotent=False).text == "ok"
    assert no_other_requests(server, "tools/list", "tools/call", "tools/list", "tools/call")
    first, second = server.seen("tools/call")
    assert (param_headers(first), param_headers(second)) == ({}, {"mcp-param-region": "eu"})
    assert first.id != second.id


@REFUSALS
def test_a_mismatch_is_repeated_once(server: ModernMCPServer, refuse: Any) -> None:
    """H26-18, BASE-09: a server that no headers please is asked twice, and the error says what it says."""
    server.on("tools/call", refuse)
    with open_modern(server) as client, pytest.raises(HeaderMismatch) as caught:
        client.call_tool("t")
    assert caught.value.code == -32020
    assert no_other_requests(server, "tools/call", "tools/list", "tools/call")


def test_a_mismatch_of_what_is_no_tool(server: ModernMCPServer) -> None:
    """H26-18: what has no schema has no headers that could be others; the error is raised at once."""
    for method in ("prompts/get", "resources/read", "resources/list"):
        server.on(method, rpc_refusal(400, -32020))
    with open_modern(server) as client:
        for ask in (lambda: client.get_prompt("p"), lambda: client.read_resource("a:b"), client.list_resources):
            with pytest.raises(HeaderMismatch):
                ask()
    assert no_other_requests(server, "prompts/get", "resources/read", "resources/list")


def test_each_call_has_its_own_mismatch(server: ModernMCPServer) -> None:
    """H26-18: the one repetition belongs to the call, so that the next call has one too."""
    server.on("tools/call", rpc_refusal(400, -32020), DONE, rpc_refusal(400, -32020), DONE)
    with open_modern(server) as client:
        assert client.call_tool("t").text == client.call_tool("t").text == "ok"
    assert len(server.seen("tools/list")) == 2 and len(server.seen("tools/call")) == 4


def refuse_bare(peer: Peer, request: Request) -> None:
    """Refuses a call without the header."""
    if "mcp-param-region" in param_headers(request):
        peer.respond_result(request, DONE)
    else:
        rpc_refusal(400, -32020)(peer, request)


def test_many_calls_list_the_tools_once(server: ModernMCPServer) -> None:
    """H26-18: threads whose calls were refused for the same old list ask for the new one together."""
    together = threading.Event()

    def refuse(peer: Peer, request: Request) -> None:
        peer.hold(together)
        refuse_bare(peer, request)

    server.on("tools/list", complete(tools=[tool("t")]), complete(tools=[tool("t", REGION)]))
    server.on("tools/call", refuse)
    with open_modern(server) as client:
        client.list_tools()
        threads = [InThread(lambda: client.call_tool("t", {"region": "eu"})) for _ in range(6)]
        server.wait_for(lambda seen: sum(request.key == "tools/call" for request in seen) == 6)
        together.set()
        for thread in threads:
            thread.join(BOUND)
            assert thread.value.text == "ok"
    assert len(server.seen("tools/list")) == 2 and len(server.seen("tools/call")) == 12


def test_a_call_in_the_middle_of_listing(server: ModernMCPServer) -> None:
    """H26-18, K-07: a callback for what comes with the list may call, be refused, and list the tools itself."""
    results: list[Any] = []

    def listing(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event({"jsonrpc": "2.0", "method": "notifications/prompts/list_changed"})
        peer.event_result(request, complete(tools=[tool("t", REGION)]))
        peer.end_stream()

    server.on("tools/list", listing, complete(tools=[tool("t", REGION)]))
    server.on("tools/call", refuse_bare)
    with open_modern(
        server, on_notification=lambda event: results.append(client.call_tool("t", {"region": "eu"}).text)
    ) as client:
        assert client.call_tool("t", {"region": "eu"}, timeout=AT_ONCE).text == "ok"
    assert results == ["ok"] and len(server.seen("tools/list")) == 2


def test_cancelling_while_the_tools_are_listed(server: ModernMCPServer) -> None:
    """K-07, H26-18: what a call does on the way ends with it, at once."""
    server.on("tools/list", lambda peer, request: peer.hold())
    server.on("tools/call", refuse_bare)
    with open_modern(server) as client:
        call = client.stream_tool("t", {"region": "eu"})
        thread = InThread(lambda: call.result)
        server.wait_for(lambda seen: any(request.key == "tools/list" for request in seen))
        with within(AT_ONCE):
            call.cancel()
            thread.join(AT_ONCE)
        assert isinstance(thread.error, CallCancelled)
        server.wait_connected(0)


def test_the_tools_are_listed_anew_if_they_changed_meanwhile(server: ModernMCPServer) -> None:
    """H26-18: what another thread has listed does not count once the server has said that it changed."""
    server.on("tools/list", complete(tools=[tool("t", REGION)]))
    with open_modern(server) as client:
        tools = client._engine.tools
        client.list_tools()
        seen = tools.listed
        client.list_tools()
        assert tools.listed is not seen
        tools.forget()
        client._relist(client._effort(None), seen)
        assert len(server.seen("tools/list")) == 3 and tools.get("t") is not None
