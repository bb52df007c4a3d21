"""What else a request of the stateless era carries and brings: traces, log levels, progress, errors, wishes."""

from __future__ import annotations

import logging
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamhttp_client import (
    CapabilityError,
    Client,
    ClientClosed,
    HeaderMismatch,
    InvalidParams,
    InvalidResult,
    LocalProtocolError,
    MethodNotFound,
    MissingCapability,
    Progress,
    RemoteProtocolError,
    ResourceNotFound,
    RPCError,
    StreamHTTPError,
    UnsupportedVersion,
)
from streamhttp_client.client import engine
from streamhttp_client.protocol import trace
from tests.client._modern import (
    ALL,
    DONE,
    LOG_LEVEL,
    asks,
    complete,
    elicit,
    kept,
    log_levels,
    meta_of,
    no_other_requests,
    only_posts,
    open_modern,
    text,
)
from tests.client._peer import AT_ONCE, note, progress, token_of
from tests.support.rawserver import ModernMCPServer, Peer, Request, rpc_refusal
from tests.transport._faults import InThread, within

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def server(_nothing_left: None) -> Iterator[ModernMCPServer]:
    with ModernMCPServer(capabilities=ALL) as server:
        yield server


def stream(*messages: Any, result: Any = DONE) -> Callable[[Peer, Request], None]:
    """A stream with these messages, each perhaps a function of the request, and the result."""

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        for message in messages:
            peer.event(message(request) if callable(message) else message)
        peer.event_result(request, result)
        peer.end_stream()

    return answer


# --- traces
# ----------------------------------------------------------------------------------------------------------------------


def test_a_trace_goes_along(server: ModernMCPServer) -> None:
    """BASE-12: the caller's trace context is in ``_meta`` as it was given."""
    context = {"traceparent": PARENT, "tracestate": "a=1,b@c=2", "baggage": "k=v;p,l=%20"}
    with open_modern(server) as client:
        client.call_tool("t", meta=context)
    sent = meta_of(server.requests[0])
    assert {key: sent[key] for key in context} == context
    assert not any(request.header("traceparent") for request in server.requests)


@pytest.mark.parametrize(
    "meta",
    [{"traceparent": "00-0-0-00"}, {"traceparent": PARENT.upper()}, {"traceparent": 7}, {"tracestate": "=;"},
     {"baggage": ""}, {"baggage": "private value"}, {"traceparent": None}],
    ids=str,
)  # fmt: skip
def test_what_is_no_trace(server: ModernMCPServer, meta: dict[str, Any]) -> None:
    """BASE-12: what does not follow the formats is refused here, unsent, and not repeated in the message."""
    with open_modern(server) as client:
        with pytest.raises(LocalProtocolError, match=next(iter(meta))) as caught:
            client.call_tool("t", meta=meta)
        assert "private" not in str(caught.value)
        assert server.accepted == 0
        assert client.call_tool("t").text == "ok"


class Tracing:
    """Stands for OpenTelemetry: gives what it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.context: dict[str, Any] = {}
        monkeypatch.setitem(sys.modules, "opentelemetry.context", types.ModuleType("opentelemetry.context"))
        monkeypatch.setattr(trace, "_inject", lambda carrier: carrier.update(self.context))


@pytest.fixture
def tracing(monkeypatch: pytest.MonkeyPatch) -> Tracing:
    return Tracing(monkeypatch)


def test_the_current_trace(server: ModernMCPServer, tracing: Tracing) -> None:
    """BASE-12: a trace that is under way joins every request by itself; the caller's own word is stronger."""
    tracing.context = {"traceparent": PARENT, "tracestate": "", "x": "not for _meta", "baggage": "not baggage"}
    other = PARENT.replace("b7ad", "c8be")
    with open_modern(server) as client:
        client.list_tools()
        client.call_tool("t")
        client.call_tool("t", meta={"traceparent": other})
    sent = [meta_of(request) for request in server.requests]
    assert [meta["traceparent"] for meta in sent] == [PARENT, PARENT, other]
    assert all("x" not in meta and "baggage" not in meta for meta in sent)


def test_a_trace_that_breaks(server: ModernMCPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """BASE-12: tracing never breaks a call."""
    tracing = Tracing(monkeypatch)

    def broken(carrier: dict[str, Any]) -> None:
        raise RuntimeError("propagator")

    monkeypatch.setattr(trace, "_inject", broken)
    with open_modern(server) as client:
        assert client.call_tool("t").text == "ok"
    assert tracing.context == {} and "traceparent" not in meta_of(server.requests[0])


# --- log messages
# ----------------------------------------------------------------------------------------------------------------------


def test_no_level_without_asking(server: ModernMCPServer) -> None:
    """G-02, X10: a request asks for log messages only if somebody listens to them."""
    with open_modern(server) as client:
        client.list_tools()
        client.call_tool("t")
        client.call_tool("t", on_progress=lambda update: None)
        client.send_ping()
    assert log_levels(server.requests) == [None] * 4


def test_who_listens_asks_for_info(server: ModernMCPServer) -> None:
    """G-02, X10: a call with ``on_log``, or one that is iterated, asks for "info"; others of the client do not."""
    with open_modern(server) as client:
        client.call_tool("t", on_log=lambda message: None)
        client.call_tool("t")
        with client.stream_tool("t") as call:
            list(call)
    assert log_levels(server.requests) == ["info", None, "info"]
    with open_modern(server, on_log=lambda message: None) as client:
        client.call_tool("t")
    assert log_levels(server.requests)[-1] == "info"


def test_the_level_of_a_client(server: ModernMCPServer) -> None:
    """G-02, X10: setting a level sends nothing; from then on every request asks for it, also in a pickled copy."""
    with open_modern(server) as client:
        for level in ("debug", "emergency"):
            client.set_logging_level(level)
            client.call_tool("t")
            client.call_tool("t", on_log=lambda message: None)
            client.call_tool("t", meta={LOG_LEVEL: "alert"})
        for wrong in ("verbose", "", "DEBUG", None):
            with pytest.raises(LocalProtocolError):
                client.set_logging_level(wrong)  # type: ignore[arg-type]
        client.call_tool("t")
        with pickle.loads(pickle.dumps(client)) as copy:
            copy.call_tool("t")
    assert set(request.key for request in server.requests) == {"tools/call"}
    levels = ["debug", "debug", "alert", "emergency", "emergency", "alert", "emergency", "emergency"]
    assert log_levels(server.requests) == levels


def test_a_server_without_logging(_nothing_left: None) -> None:
    """G-02, S25-01: what the server says that it lacks is refused here, though nothing would be sent."""
    with ModernMCPServer() as server, open_modern(server, known=False) as client:
        with pytest.raises(CapabilityError):
            client.set_logging_level("debug")
        with pytest.raises(CapabilityError):
            client.subscribe_resource("a:b")
        assert {request.key for request in server.requests} == {"server/discover"}  # it may have learned it meanwhile
        client.call_tool("t")
    assert log_levels(server.seen("tools/call")) == [None]


def test_log_messages_come_to_who_listens(server: ModernMCPServer) -> None:
    """G-02: messages of a request's stream go to the call's ``on_log``, else to the client's, in order."""
    message = note("notifications/message", {"level": "info", "logger": "l", "data": {"a": [1]}})
    server.on("tools/call", stream(message, note("notifications/message", {"level": "odd"}), message))
    own: list[Any] = []
    general: list[Any] = []
    with open_modern(server, on_log=general.append) as client:
        client.call_tool("t", on_log=own.append)
        client.call_tool("t")
    assert [entry.data for entry in own] == [entry.data for entry in general]
    assert {"a": [1]} in [entry.data for entry in own]


# --- progress
# ----------------------------------------------------------------------------------------------------------------------


def test_a_token_for_who_wants_one(server: ModernMCPServer) -> None:
    """P-01, P-05: only a call whose progress interests somebody has a token, unique among all."""
    with open_modern(server) as client:
        client.call_tool("t")
        client.call_tool("t", on_progress=lambda update: None)
        with client.stream_tool("t") as call:
            list(call)
        client.request("tools/call", {"name": "t"}, on_progress=lambda update: None)
        client.list_tools()
    tokens = [token_of(request) for request in server.requests]
    assert tokens[0] is None and tokens[4] is None
    assert len(set(tokens[1:4])) == 3 and all(isinstance(token, (int, str)) for token in tokens[1:4])


def test_progress_of_others(server: ModernMCPServer) -> None:
    """P-02, P-03: what has another token, or is malformed, is dropped; numbers may stand still, go back, be floats."""

    def own(value: Any, **more: Any) -> Callable[[Request], Any]:
        return lambda request: progress(token_of(request), value, **more)

    def foreign(change: Callable[[Any], Any]) -> Callable[[Request], Any]:
        return lambda request: progress(change(token_of(request)), 99)

    server.on("tools/call", stream(
        own(1), foreign(str), foreign(float), foreign(lambda token: token + 1), foreign(lambda token: None),
        own("2"), own(None), own(True), own(0.5, total=7, message="m"), own(0.5, total="x", message=[]),
        note("notifications/progress"), note("notifications/progress", {"progressToken": []}),
    ))  # fmt: skip
    seen: list[Progress] = []
    with open_modern(server) as client:
        client.call_tool("t", on_progress=seen.append)
    assert [(update.progress, update.total, update.message) for update in seen] == [
        (1, None, None), (0.5, 7, "m"), (0.5, None, None),
    ]  # fmt: skip


# --- errors
# ----------------------------------------------------------------------------------------------------------------------

NEEDED: dict[str, Any] = {"requiredCapabilities": {"elicitation": {"form": {}}}}
KINDS = [
    (-32020, None, HeaderMismatch),
    (-32021, NEEDED, MissingCapability),
    (-32022, {"supported": ["2030-01-01"], "requested": "2026-07-28"}, UnsupportedVersion),
    (-32601, None, MethodNotFound),
    (-32602, {"uri": "a:b"}, InvalidParams),
    (-32002, {"uri": "a:b"}, ResourceNotFound),
    (-32603, None, RPCError),
    (-32000, None, RPCError),
    (-32019, [1], RPCError),
    (-32099, "x", RPCError),
    (7, None, RPCError),
]


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(("code", "data", "kind"), KINDS, ids=lambda value: str(value)[:20])
def test_errors(server: ModernMCPServer, code: int, data: Any, kind: type[StreamHTTPError], status: int) -> None:
    """V26-13, BASE-08, BASE-09, X8, X14, T-11: the three codes of the era and those of JSON-RPC have their own kinds,
    any other is a plain one; code and data are as the server sent them; the call is made once.
    """
    server.on("resources/read", rpc_refusal(status, code, "the server says", data))
    with open_modern(server) as client, pytest.raises(kind, match="the server says") as caught:
        client.read_resource("a:b")
    error: Any = caught.value
    assert error.code == code and error.data == data
    assert error.status == (None if status == 200 else 400)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error) and (copy.code, copy.data) == (code, data)
    assert len(server.seen("resources/read")) == 1
    assert type(error) is kind


def test_what_the_errors_say(server: ModernMCPServer) -> None:
    """V26-13, V26-03: what the server needs, and which revisions it speaks, are attributes; of odd data nothing is."""
    with open_modern(server) as client:
        server.on("tools/call", rpc_refusal(400, -32021, data=NEEDED))
        with pytest.raises(MissingCapability) as missing:
            client.call_tool("t")
        assert missing.value.required_capabilities == NEEDED["requiredCapabilities"]
        odd: Any
        for odd in (None, 7, [], {"requiredCapabilities": 7}, {}):
            server.on("tools/call", rpc_refusal(400, -32021, data=odd))
            with pytest.raises(MissingCapability) as missing:
                client.call_tool("t")
            assert missing.value.required_capabilities == {}
        for odd in ({"supported": [7, "2030-01-01", None], "requested": 7}, {"supported": "2030-01-01"}, None, []):
            server.on("tools/call", rpc_refusal(200, -32022, data=odd))
            with pytest.raises(UnsupportedVersion) as unsupported:
                client.call_tool("t")
            assert unsupported.value.supported in ((), ("2030-01-01",))
            assert unsupported.value.requested in ("", "2026-07-28")


@pytest.mark.parametrize("identity", ["none", "null", "own"])
def test_errors_without_an_id(server: ModernMCPServer, identity: str) -> None:
    """BASE-04: an error with no id, or null, answers the request that it came to; one with another's id does not."""

    def answer(peer: Peer, request: Request) -> None:
        wire: dict[str, Any] = {"jsonrpc": "2.0", "error": {"code": -32602, "message": "odd"}}
        if identity != "none":
            wire["id"] = None if identity == "null" else request.id
        peer.respond_json(wire, 400)

    server.on("tools/call", answer)
    with open_modern(server) as client:
        with pytest.raises(InvalidParams, match="odd"):
            client.call_tool("t")

        def foreign(peer: Peer, request: Request) -> None:
            error = {"code": -32602, "message": "odd"}
            peer.respond_json({"jsonrpc": "2.0", "id": request.id + 1, "error": error})

        server.on("tools/call", foreign)
        with pytest.raises(RemoteProtocolError):
            client.call_tool("t")


def test_a_missing_resource(server: ModernMCPServer) -> None:
    """X14, T-11: -32602 is what a missing resource is now, and -32002 is still understood; both keep code and data."""
    with open_modern(server) as client:
        server.on("resources/read", rpc_refusal(200, -32602, data={"uri": "a:b"}))
        with pytest.raises(InvalidParams) as new:
            client.read_resource("a:b")
        server.on("resources/read", rpc_refusal(200, -32002, data={"uri": "a:b"}))
        with pytest.raises(ResourceNotFound) as old:
            client.read_resource("a:b")
    assert new.value.data == old.value.data == {"uri": "a:b"}
    assert len(server.requests) == 2


def test_an_unknown_method(server: ModernMCPServer) -> None:
    """X7, V26-12: 404 with -32601 says that the method is not known, and nothing about the server's era."""
    with open_modern(server) as client:
        with pytest.raises(MethodNotFound) as caught:
            client.request("x/y")
        assert caught.value.status == 404
        assert client.era == "stateless" and client.list_tools()
    assert no_other_requests(server, "x/y", "tools/list")


# --- requests of the server
# ----------------------------------------------------------------------------------------------------------------------


def test_requests_of_the_server_are_refused(
    server: ModernMCPServer, caplog: pytest.LogCaptureFixture
) -> None:
    """X4, X5, H26-02: what the server asks on a stream is not answered, whoever could; a line in the log says so, and
    the call goes on.
    """

    def asked(*_: Any) -> Any:
        raise AssertionError("the callback ran")

    def ask(number: int, method: str, params: Any = None) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": number, "method": method, **({} if params is None else {"params": params})}

    questions = [
        ask(1, "ping"), ask(2, "roots/list"), ask(3, "sampling/createMessage", {"messages": [], "maxTokens": 1}),
        ask(4, "elicitation/create", {"message": "m", "requestedSchema": {"type": "object", "properties": {}}}),
        ask(5, "odd"),
    ]  # fmt: skip
    server.on("tools/call", stream(*questions))
    server.on("server/discover", stream(*questions, result=kept(
        0, supportedVersions=["2026-07-28"], capabilities=ALL, serverInfo={"name": "s", "version": "1"}
    )))  # fmt: skip
    with caplog.at_level(logging.WARNING, "streamhttp_client"):
        with open_modern(server, known=False, roots=asked, sampling=asked, elicitation=asked) as client:
            assert client.call_tool("t").text == "ok"
    assert only_posts(server) and no_other_requests(server, "server/discover", "tools/call")
    assert sum("asked" in record.getMessage() for record in caplog.records) == 10


@pytest.mark.parametrize(
    ("key", "known", "use"),
    [
        ("notifications/x", True, lambda client: client.notify("notifications/x")),
        ("server/discover", False, lambda client: client.notify("notifications/x")),
        ("server/discover", True, lambda client: client.session),
        ("server/discover", True, lambda client: client.send_ping()),
    ],
    ids=["notify", "connecting", "session", "ping"],
)
def test_closing_wakes_whatever_waits(server: ModernMCPServer, key: str, known: bool, use: Any) -> None:
    """K-07, X9: a thread that waits for what the server says of itself, or for a notification to be taken, is back at
    once.
    """
    server.on(key, lambda peer, request: peer.hold())
    client = open_modern(server, known=known)
    thread = InThread(lambda: use(client))
    server.wait_for(lambda seen: seen)
    with within(AT_ONCE):
        client.close()
        thread.join(AT_ONCE)
    assert isinstance(thread.error, ClientClosed)


#: What needs a capability, and sends nothing by itself or something.
NEEDING: dict[str, Callable[[Client], object]] = {
    "level": lambda client: client.set_logging_level("info"),
    "subscribe": lambda client: client.subscribe_resource("a:b"),
    "prompt": lambda client: client.get_prompt("p"),
}


@pytest.mark.parametrize("name", ["level", "subscribe", "prompt"])
def test_closing_wakes_who_asks_for_a_capability(_nothing_left: None, name: str) -> None:
    """K-07, V26-09: so does one that has the server asked once more whether it can do what it did not declare."""
    with ModernMCPServer() as server:
        server.on("server/discover", server.answer, lambda peer, request: peer.hold())
        client = open_modern(server, known=False)
        client.connect()
        thread = InThread(lambda: NEEDING[name](client))
        server.wait_for(lambda seen: len(seen) == 2)
        with within(AT_ONCE):
            client.close()
            thread.join(AT_ONCE)
        assert isinstance(thread.error, ClientClosed)


@pytest.mark.parametrize("name", ["level", "subscribe", "prompt"])
def test_a_capability_that_is_missing(_nothing_left: None, name: str) -> None:
    """V26-09, S25-01: what was not declared is asked for once more before it is refused, for the server may have
    learned it, and not again for some seconds.
    """
    with ModernMCPServer() as server, open_modern(server, known=False) as client:
        client.connect()
        for _ in range(5):
            with pytest.raises(CapabilityError):
                NEEDING[name](client)
        assert no_other_requests(server, "server/discover", "server/discover")


@pytest.mark.parametrize("asked", [False, True], ids=["at once", "later"])
def test_a_capability_that_came_later(
    _nothing_left: None, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V26-09: a server that has learned something is used; at once, or where it was asked a moment ago, after some
    seconds.
    """
    with ModernMCPServer() as server, open_modern(server, known=False) as client:
        client.connect()
        if asked:
            with pytest.raises(CapabilityError):
                client.get_prompt("p")
            monkeypatch.setattr(engine, "_DOUBT_SECONDS", -1.0)
        server.capabilities = {"tools": {}, "prompts": {}}
        server.on("prompts/get", complete(messages=[]))
        assert not client.get_prompt("p").messages
        assert not client.get_prompt("p").messages
        capabilities = client.session.capabilities
        assert capabilities is not None and capabilities.declares("prompts")
        assert len(server.seen("server/discover")) == 2 + asked


SECRET = "hunter2"


@pytest.mark.parametrize("fails", [False, True], ids=["well", "badly"])
def test_nothing_private_is_logged(
    server: ModernMCPServer, caplog: pytest.LogCaptureFixture, fails: bool
) -> None:
    """G-03, M26-04, BASE-10: no line in the log, and no error, repeats arguments, answers, questions, states, trace
    context or results, be it at the lowest level.
    """
    question = elicit(SECRET, **{SECRET: {"type": "string"}})
    task: dict[str, Any] = {
        "resultType": "task", "taskId": "t-1", "status": "working", "ttlMs": None, "pollIntervalMs": 0,
        "createdAt": "2026-08-01T10:00:00Z", "lastUpdatedAt": "2026-08-01T10:00:00Z",
    }  # fmt: skip
    ended = {**task, "resultType": "complete", "status": "completed", "result": text(SECRET)}
    asking = {**task, "resultType": "complete", "status": "input_required", "inputRequests": {"q": question}}
    cut = lambda peer, request: peer.cut()  # noqa: E731
    server.on("tools/call", rpc_refusal(400, -32020), asks({"q": question}, SECRET), stream(
        note("notifications/progress", {"progressToken": SECRET, "progress": SECRET}),
        note("notifications/message", {"level": 7, "data": SECRET}),
        {"jsonrpc": "2.0", "id": 1, "method": "roots/list", "params": {"a": SECRET}},
        result=task,
    ))  # fmt: skip
    server.on("tasks/get", cut, asking, cut, ended)
    server.on("tasks/update", {})
    server.on("resources/read", cut, kept(60_000, contents=[{"uri": "a:b", "text": SECRET}]))
    answer = {"action": "accept", "content": {SECRET: SECRET}}
    handler = (lambda params: 7) if fails else (lambda params: answer)
    with caplog.at_level(logging.DEBUG), open_modern(server, known=False, elicitation=handler) as client:
        try:
            result = client.call_tool("t", {"a": SECRET}, meta={"baggage": f"k={SECRET}"}, idempotent=True)
            assert result.text == SECRET and not fails
        except LocalProtocolError as error:
            assert fails and SECRET not in str(error) and SECRET not in repr(error)
        client.read_resource("a:b")
        client.read_resource("a:b")
    ours = [record for record in caplog.records if record.name.startswith("streamhttp_client")]
    assert ours and SECRET not in "".join(record.getMessage() for record in ours)


# --- what is a wish, and what is gone
# ----------------------------------------------------------------------------------------------------------------------


def test_what_sends_nothing(server: ModernMCPServer) -> None:
    """X10, X11, E-14: a level, subscriptions and other roots are said in later requests, not by one of their own."""
    with open_modern(server, roots=["file:///a"]) as client:
        client.set_logging_level("warning")
        client.subscribe_resource("a:b")
        client.unsubscribe_resource("a:b")
        client.send_roots_list_changed()
        assert server.accepted == 0
    with open_modern(server) as client, pytest.raises(LocalProtocolError):
        client.send_roots_list_changed()
    assert server.accepted == 0


def test_ping_is_discover(server: ModernMCPServer) -> None:
    """X17: there is no ping any more; ``server/discover`` shows as well that the server answers."""
    with open_modern(server) as client:
        client.send_ping()
        server.on("server/discover", rpc_refusal(500, -32603))
        with pytest.raises(RPCError):
            client.send_ping()
    assert no_other_requests(server, "server/discover", "server/discover")


def test_notify(server: ModernMCPServer) -> None:
    """H26-01, H26-02, BASE-05: a notification is a POST without id, with the headers of every POST; 202 is its end."""
    with open_modern(server) as client:
        client.notify("notifications/odd")
        client.notify("notifications/odd", {"a": 1})
        server.on("notifications/odd", rpc_refusal(400, -32600))
        with pytest.raises(RPCError):
            client.notify("notifications/odd")
        for wrong in ("", None, 7):
            with pytest.raises(LocalProtocolError):
                client.notify(wrong)  # type: ignore[arg-type]
    assert only_posts(server)
    sent = server.seen("notifications/odd")
    assert len(sent) == 3
    for request in sent:
        assert "id" not in request.json
        assert request.header("MCP-Protocol-Version") == "2026-07-28"
        assert request.header("Mcp-Method") == "notifications/odd"
    assert sent[1].json["params"]["a"] == 1


def test_what_a_pinned_client_sends(server: ModernMCPServer) -> None:
    """V26-04, X9: with the revision given nothing is sent before the first call; who the server is, when wanted."""
    with Client(server.url, protocol="2026-07-28") as client:
        assert server.accepted == 0
        assert client.call_tool("t").text == "ok"
        assert no_other_requests(server, "tools/call")
        assert client.session.server_info is not None and client.session.protocol_version == "2026-07-28"
        assert client.session.session_id is None
        saved = client.session.to_json()
    assert no_other_requests(server, "tools/call", "server/discover")
    with Client.resume(saved) as client:
        assert client.call_tool("t").text == "ok"
    assert no_other_requests(server, "tools/call", "server/discover", "tools/call")


# --- results
# ----------------------------------------------------------------------------------------------------------------------

VALUES: list[Any] = [
    {}, {"a": 1}, {"result": [1]}, [], [1, "a", None], "", "text", "\u2028", 0, -7, 1.5, 2**70, True, False, None,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("streamed", [False, True], ids=["json", "stream"])
def test_structured_content_is_any_value(server: ModernMCPServer, value: Any, streamed: bool) -> None:
    """X13, T-06: structured content is handed out as it came, whatever JSON it is."""
    result = complete(content=[{"type": "text", "text": "t"}], structuredContent=value)
    server.on("tools/call", stream(result=result) if streamed else result)
    with open_modern(server) as client:
        found = client.call_tool("t").structured_content
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "array", "items": {"type": "integer"}}, [1, 2], [1, "a"]),
        ({"type": "array", "prefixItems": [{"const": 1}], "unevaluatedItems": False}, [1], [1, 2]),
        ({"type": "string", "minLength": 2}, "ab", "a"),
        ({"type": "boolean"}, False, 0),
        ({"type": "number"}, 0, "0"),
        ({"anyOf": [{"type": "integer"}, {"type": "object"}]}, 0, False),
    ],
    ids=lambda value: str(value)[:30],
)
def test_output_schemas_of_any_kind(server: ModernMCPServer, schema: Any, good: Any, bad: Any) -> None:
    """T-05, T-06, X13: what is no object is checked against the tool's output schema too."""
    pytest.importorskip("jsonschema")
    server.on("tools/list", kept(0, tools=[{"name": "t", "inputSchema": {"type": "object"}, "outputSchema": schema}]))
    server.on("tools/call", complete(content=[], structuredContent=good), complete(content=[], structuredContent=bad))
    with open_modern(server) as client:
        assert client.call_tool("t").structured_content == good
        with pytest.raises(InvalidResult):
            client.call_tool("t")


def test_a_server_that_sends_too_much(server: ModernMCPServer) -> None:
    """BASE-11: members that nobody knows are kept, and disturb nothing."""
    server.on("tools/call", {**DONE, "new": {"a": 1}, "_meta": {"io.modelcontextprotocol/serverInfo": 7, "x/y": []}})
    with open_modern(server) as client:
        result = client.call_tool("t")
    assert result.text == "ok" and result.extra["new"] == {"a": 1}
