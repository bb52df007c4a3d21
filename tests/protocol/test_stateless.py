"""The stateless era answers questions: every request says all, and nothing is kept."""

from __future__ import annotations

import copy
import sys
import types
from typing import Any

import pytest

from streamhttp_client import (
    ConnectionLost,
    HTTPStatusError,
    InvalidParams,
    InvalidResult,
    LocalProtocolError,
    MethodNotFound,
    RemoteProtocolError,
    RPCError,
    Session,
    UnsupportedVersion,
    jsonrpc,
)
from streamhttp_client.protocol import trace
from streamhttp_client.protocol.era import Era
from streamhttp_client.protocol.names import TASKS_EXTENSION
from streamhttp_client.protocol.stateful import StatefulEra
from streamhttp_client.protocol.stateless import StatelessEra
from streamhttp_client.protocol.two_channels import TwoChannelsEra
from streamhttp_client.protocol.versions import LATEST, LATEST_SESSION

VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
CLIENT_INFO = "io.modelcontextprotocol/clientInfo"
LOG_LEVEL = "io.modelcontextprotocol/logLevel"

INFO = {"name": "me", "version": "1"}
OFFERED: dict[str, Any] = {"elicitation": {"form": {}}}
OURS = {VERSION: "2026-07-28", CLIENT_INFO: INFO, CAPABILITIES: OFFERED}
SESSION = Session("http://h/mcp", "an-id-that-somebody-put-here", "2026-07-28")
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def make(capabilities: Any = None) -> StatelessEra:
    return StatelessEra(LATEST, capabilities=OFFERED if capabilities is None else capabilities, client_info=INFO)


@pytest.fixture
def era() -> StatelessEra:
    return make()


# --- what each request says
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params", [None, {}, {"name": "x"}, {"_meta": {}}, {"name": "x", "_meta": {"progressToken": 7}}]
)
def test_each_request_says_who_asks(era: StatelessEra, params: dict[str, Any] | None) -> None:
    """V26-01, V26-02, X9: version, capabilities and client are in each request; the rest of it stays."""
    given = copy.deepcopy(params)
    dressed = era.dress(params, log_level=None)
    assert params == given  # what the caller holds is left as it is
    meta = dressed["_meta"]
    assert meta == {**((params or {}).get("_meta") or {}), **OURS}
    assert {key: value for key, value in dressed.items() if key != "_meta"} == {
        key: value for key, value in (params or {}).items() if key != "_meta"
    }


def test_a_client_without_capabilities_says_so() -> None:
    """V26-01: an object without members is sent where there is nothing to offer, for the member is required."""
    assert make({}).dress(None, log_level=None)["_meta"][CAPABILITIES] == {}


def test_the_caller_cannot_speak_for_the_client(era: StatelessEra) -> None:
    """V26-01, H26-08: the version in the body is that of the header, whatever a caller puts into ``_meta``."""
    lies = {VERSION: "2025-11-25", CAPABILITIES: {"sampling": {}}, CLIENT_INFO: {"name": "another"}}
    assert era.dress({"_meta": {**lies, "mine": 1}}, log_level=None)["_meta"] == {**OURS, "mine": 1}


def test_what_was_dressed_shares_nothing(era: StatelessEra) -> None:
    """H26-22: one request is not changed by what becomes of another."""
    first = era.dress(None, log_level=None)
    first["_meta"]["mine"] = 1
    first["_meta"].pop(VERSION)
    assert era.dress(None, log_level=None)["_meta"] == OURS
    capabilities: dict[str, Any] = {}
    era = make(capabilities)
    capabilities["sampling"] = {}
    assert era.dress(None, log_level=None)["_meta"][CAPABILITIES] == {}


@pytest.mark.parametrize("params", [None, {"name": "x"}, {"_meta": {"mine": 1}}])
def test_the_log_level_is_that_of_each_request(era: StatelessEra, params: dict[str, Any] | None) -> None:
    """G-02, X10: a log level goes with each request that wants one, and only with those."""
    assert era.dress(params, log_level="warning")["_meta"][LOG_LEVEL] == "warning"
    assert LOG_LEVEL not in era.dress(params, log_level=None)["_meta"]


def test_the_log_level_of_the_caller_counts(era: StatelessEra) -> None:
    """G-02: what one call asks for stands before what the client asks for."""
    assert era.dress({"_meta": {LOG_LEVEL: "debug"}}, log_level="error")["_meta"][LOG_LEVEL] == "debug"


def test_the_trace_goes_with_it(era: StatelessEra, monkeypatch: pytest.MonkeyPatch) -> None:
    """BASE-12: the current trace context goes along; what the caller gives stands before it, if it is one."""
    monkeypatch.setitem(sys.modules, "opentelemetry.context", types.ModuleType("opentelemetry.context"))
    monkeypatch.setitem(sys.modules, "opentelemetry.context", types.ModuleType("context"))
    monkeypatch.setattr(trace, "current", lambda: {"traceparent": TRACEPARENT, "baggage": "a=1"})
    assert era.dress(None, log_level=None)["_meta"] == {**OURS, "traceparent": TRACEPARENT, "baggage": "a=1"}
    own = TRACEPARENT.replace("-01", "-00")
    meta = era.dress({"_meta": {"traceparent": own}}, log_level=None)["_meta"]
    assert meta == {**OURS, "traceparent": own, "baggage": "a=1"}


@pytest.mark.parametrize("key", trace.KEYS)
def test_what_is_no_trace_context_is_not_sent(era: StatelessEra, key: str) -> None:
    """BASE-12: a value that does not follow W3C's formats is the caller's error, and is not repeated in it."""
    with pytest.raises(LocalProtocolError, match=key) as caught:
        era.dress({"_meta": {key: "secret, and ,, wrong"}}, log_level=None)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("meta", [5, "ab", ["a"], True])
def test_what_is_no_metadata(era: StatelessEra, meta: Any) -> None:
    """V26-01, BASE-11: ``_meta`` must be an object; another one is the caller's error."""
    with pytest.raises(LocalProtocolError, match="_meta"):
        era.dress({"name": "x", "_meta": meta}, log_level=None)


# --- headers
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("session", [None, SESSION])
@pytest.mark.parametrize(
    ("method", "params", "more"),
    [
        ("server/discover", None, {}),
        ("tools/list", {"cursor": "c"}, {}),
        ("tools/call", {"name": "crunch", "arguments": {"name": "other"}}, {"mcp-name": "crunch"}),
        ("prompts/get", {"name": "p"}, {"mcp-name": "p"}),
        ("resources/read", {"uri": "file:///a b"}, {"mcp-name": "file:///a b"}),
        ("resources/read", {"uri": "file:///ü"}, {"mcp-name": "=?base64?ZmlsZTovLy/DvA==?="}),
        ("tools/call", {"name": " padded "}, {"mcp-name": "=?base64?IHBhZGRlZCA=?="}),
        ("tools/call", {"name": "=?base64?literal?="}, {"mcp-name": "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="}),
        ("completion/complete", {"ref": {"name": "p"}}, {}),
        ("tasks/get", {"taskId": "t-1"}, {"mcp-name": "t-1"}),
        ("subscriptions/listen", {"notifications": {}}, {}),
        ("x/own", {"name": "n", "uri": "u"}, {}),
    ],
)
def test_headers_of_a_request(
    era: StatelessEra, session: Session | None, method: str, params: dict[str, Any] | None, more: dict[str, str]
) -> None:
    """H26-01, H26-07, H26-08, H26-09, H26-10, H26-11, H26-12, X6, X9: both types, version, method and name; no
    session, whatever a session says.
    """
    dressed = era.dress(params, log_level=None)
    headers = era.message_headers(session, jsonrpc.Request(1, method, dressed))
    assert headers == {
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "mcp-protocol-version": dressed["_meta"][VERSION],
        "mcp-method": method,
        **more,
    }


def test_headers_of_a_notification(era: StatelessEra) -> None:
    """H26-01, H26-08, H26-09: a notification has them too."""
    assert era.message_headers(None, jsonrpc.Notification("notifications/own", {"name": "n"})) == {
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "notifications/own",
    }


def test_headers_of_a_response(era: StatelessEra) -> None:
    """H26-02, X4: a response has no method; it is not sent in this era, and asking for its headers does no harm."""
    assert "mcp-method" not in era.message_headers(None, jsonrpc.Response(1, {}))


@pytest.mark.parametrize("method", ["tools/ call ", "a\r\nb: c", "ä", ""])
def test_a_method_that_no_header_can_carry(era: StatelessEra, method: str) -> None:
    """H26-09: methods have no encoding, so such a one is the caller's error."""
    with pytest.raises(LocalProtocolError, match="visible ASCII"):
        era.message_headers(None, jsonrpc.Request(1, method, {}))


def test_neither_get_nor_delete(era: StatelessEra) -> None:
    """H26-07, X6: there is no stream that a GET opens, and no session that a DELETE ends."""
    with pytest.raises(RemoteProtocolError, match="2026-07-28"):
        era.stream_headers(SESSION)
    with pytest.raises(RemoteProtocolError, match="2026-07-28"):
        era.end_headers(SESSION)


# --- what the era has
# ----------------------------------------------------------------------------------------------------------------------


def test_what_the_era_has(era: StatelessEra) -> None:
    """X1, X4, X5, X6, X10, X11: no session, no request of the server, nothing kept there; results that say how long
    they hold, arguments in headers, and a listening stream that a request opens.
    """
    asked: Era = era  # it answers every question
    assert asked.name == "stateless" and asked.revision is LATEST and asked.listening == "subscription"
    assert not asked.ends_session and not asked.server_asks and not asked.keeps_wishes
    assert not asked.session_lasts and not asked.hears_of_roots
    assert asked.caches and asked.mirrors_arguments and asked.tasks_carry_results


def test_every_era_has_a_name_of_its_own(era: StatelessEra) -> None:
    """X6: the three eras can be told apart by their names, and each says how one listens."""
    eras: list[Era] = [era, StatefulEra(LATEST_SESSION), TwoChannelsEra()]
    assert [(one.name, one.listening) for one in eras] == [
        ("stateless", "subscription"),
        ("session", "get"),
        ("http+sse", "channel"),
    ]


def test_what_a_ping_is(era: StatelessEra) -> None:
    """X17: there is no ping; the one request that every server answers stands for it."""
    assert era.greeting().method == "server/discover" and era.greeting().read_only
    assert StatefulEra(LATEST_SESSION).greeting().method == "ping"


def test_tasks_are_those_of_the_extension(era: StatelessEra) -> None:
    """X16: the same questions in both eras; which answer brings the result, the era says."""
    ask, end = era.ask_task("t-1"), era.end_task("t-1")
    assert (ask.method, ask.params) == ("tasks/get", {"taskId": "t-1"}) and ask.read_only
    assert (end.method, end.params) == ("tasks/cancel", {"taskId": "t-1"})
    older = StatefulEra(LATEST_SESSION)
    assert era.tasks_carry_results and not older.tasks_carry_results
    assert (older.ask_task("t-1").method, older.end_task("t-1").method) == ("tasks/get", "tasks/cancel")


def test_a_stream_never_resumes(era: StatelessEra) -> None:
    """H26-05, X1, X2: event ids mean nothing."""
    assert not era.may_resume("") and not era.may_resume("e-1")


def test_closing_the_stream_is_the_cancellation(era: StatelessEra) -> None:
    """K-07, X1, X3: nothing is sent to cancel a request."""
    assert era.cancellation(7, "why") is None


@pytest.mark.parametrize("status", [200, 400, 401, 404, 405, 410, 500])
def test_no_session_can_be_gone(era: StatelessEra, status: int) -> None:
    """X6, X7: 404 is an unknown method, or no endpoint."""
    assert not era.session_is_gone(status, SESSION, "No valid session ID provided")
    assert not era.session_is_gone(status, None)


@pytest.mark.parametrize("value", ["", "a", "a b", "é", "a\r\nb: c", "x" * 100_000])
def test_a_session_id_is_ignored(era: StatelessEra, value: str) -> None:
    """H26-07, X6: whatever a server calls a session id, it is no reason to fail; it is never sent."""
    assert era.check_session_id(value) == value
    session = Session("http://h/mcp", value, "2026-07-28")
    assert not any("session" in name for name in era.message_headers(session, jsonrpc.Request(1, "tools/list", None)))


# --- results
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "result", [{}, {"resultType": None}, {"content": []}, {"resultType": "complete"}, [], "x", 7, None]
)
def test_results_that_are_complete(era: StatelessEra, result: Any) -> None:
    """BASE-06: a result that does not say what it is is complete; what is no object is for its reader to refuse."""
    assert era.result_kind("tools/call", result) == era.result_kind("tools/list", result) == "complete"


@pytest.mark.parametrize("kind", ["", "Complete", "partial", "task", "input-required", 7, True, ["complete"], {}])
@pytest.mark.parametrize("method", ["tools/call", "tools/list"])
def test_results_of_an_unknown_kind(era: StatelessEra, method: str, kind: Any) -> None:
    """BASE-07: a kind that nobody has declared makes the result invalid; it is kept in the error."""
    result = {"resultType": kind, "content": []}
    with pytest.raises(InvalidResult) as caught:
        era.result_kind(method, result)
    assert caught.value.result is result


@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "resources/read"])
def test_results_that_ask(era: StatelessEra, method: str) -> None:
    """M26-01: three requests may be answered with questions."""
    assert era.result_kind(method, {"resultType": "input_required", "inputRequests": {}}) == "input_required"


@pytest.mark.parametrize(
    "method", ["tools/list", "server/discover", "completion/complete", "resources/list", "tasks/get", "x/own"]
)
def test_results_that_must_not_ask(era: StatelessEra, method: str) -> None:
    """M26-01: no other request is answered with questions."""
    with pytest.raises(InvalidResult, match=method):
        era.result_kind(method, {"resultType": "input_required", "requestState": "s"})


def test_results_that_are_tasks() -> None:
    """BASE-07, T-17, X16, V26-09: a task is one only if the extension was offered, and only of a tool call."""
    offering = make({"extensions": {TASKS_EXTENSION: {}}})
    task = {"resultType": "task", "task": {}}
    assert offering.result_kind("tools/call", task) == "task"
    for method in ("tools/list", "prompts/get", "tasks/get"):
        with pytest.raises(InvalidResult):
            offering.result_kind(method, task)
    without: list[dict[str, Any]] = [{}, {"extensions": {}}, {"extensions": {"com.example/other": {}}}]
    for capabilities in (*without, {"extensions": None}):
        with pytest.raises(InvalidResult):
            make(capabilities).result_kind("tools/call", task)


def test_a_declared_extension_is_offered_with_each_request() -> None:
    """V26-09, T-17: extensions are among the capabilities, under a name with a prefix."""
    offered: dict[str, Any] = {"extensions": {TASKS_EXTENSION: {}}}
    assert make(offered).dress(None, log_level=None)["_meta"][CAPABILITIES] == offered
    assert TASKS_EXTENSION == "io.modelcontextprotocol/tasks"


# --- refusals
# ----------------------------------------------------------------------------------------------------------------------


def refused(status: int) -> HTTPStatusError:
    return HTTPStatusError("?", status=status, headers={}, url="")


@pytest.mark.parametrize(
    ("error", "foreign"),
    [
        (refused(400), True),
        (refused(404), True),
        (refused(405), True),
        (RPCError("?", code=-32000, status=400), True),
        (RPCError("?", code=-32001, status=404), True),
        (MethodNotFound("?", code=-32601, status=400), True),
        (UnsupportedVersion("?", requested="2026-07-28", code=-32022, status=400), True),
        (UnsupportedVersion("?", requested="2026-07-28", code=-32022), True),
        (MethodNotFound("?", code=-32601, status=404), False),
        (MethodNotFound("?", code=-32601), False),
        (InvalidParams("?", code=-32602, status=400), False),
        (RPCError("?", code=-32020, status=400), False),
        (RPCError("?", code=-32021, status=400), False),
        (RPCError("?", code=-32603, status=500), False),
        (refused(401), False),
        (refused(403), False),
        (refused(429), False),
        (refused(500), False),
        (refused(503), False),
        (ConnectionLost("reset"), False),
        (RemoteProtocolError("?"), False),
    ],
)
def test_refusals_of_another_era(era: StatelessEra, error: Any, foreign: bool) -> None:
    """V26-03, V26-08, V26-12, X7, X8: a refusal as older servers make it, or of the revision itself, is a reason to
    find out again; an error about the request is not.
    """
    assert era.is_foreign(error) is foreign
