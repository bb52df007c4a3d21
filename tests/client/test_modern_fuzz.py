"""Whatever a server of the stateless era answers: a result, or an error of ours, in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamhttp_client import Client, RetryPolicy, StreamHTTPError
from tests.client._modern import ALL, asks, elicit, only_posts, open_modern
from tests.support.rawserver import ModernMCPServer, Peer, Request

EXAMPLES = 60

#: Members that mean something somewhere, so that odd values come under them.
NAMES = [
    "resultType", "inputRequests", "requestState", "method", "params", "mode", "message", "requestedSchema", "messages",
    "maxTokens", "taskId", "status", "statusMessage", "ttlMs", "pollIntervalMs", "createdAt", "lastUpdatedAt", "result",
    "error", "code", "content", "structuredContent", "isError", "type", "text", "tools", "name", "inputSchema",
    "outputSchema", "properties", "x-mcp-header", "annotations", "execution", "contents", "uri", "cacheScope",
    "nextCursor", "_meta", "supportedVersions", "capabilities", "notifications", "progressToken", "progress", "level",
    "data", "io.modelcontextprotocol/subscriptionId", "requestId", "completion", "values", "prompts", "resources",
]  # fmt: skip
WORDS = [
    "complete", "input_required", "task", "working", "completed", "failed", "cancelled", "elicitation/create",
    "roots/list", "sampling/createMessage", "form", "url", "object", "string", "integer", "text", "private", "public",
    "t-1", "", "info", "2026-07-28", "Region",
]  # fmt: skip
NUMBERS = [0, 1, -1, 0.5, 1e308, 2**53, 10**400, -(10**400), True, False, None]

values = st.recursive(
    st.sampled_from(WORDS) | st.sampled_from(NUMBERS) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)
_TASK: dict[str, Any] = {
    "resultType": "task", "taskId": "t-1", "status": "working", "statusMessage": "s", "ttlMs": 5, "pollIntervalMs": 0,
    "createdAt": "2026-08-01T10:00:00Z", "lastUpdatedAt": "2026-08-01T10:00:00Z",
}  # fmt: skip
_QUESTIONS = {"a": elicit(), "b": {"method": "roots/list"}, "c": {"method": "sampling/createMessage", "params": {
    "messages": [{"role": "user", "content": {"type": "text", "text": "t"}}], "maxTokens": 5}}}  # fmt: skip
_PROPERTIES = {"a": {"type": "integer", "x-mcp-header": "A"}}
_TOOL = {"name": "t", "inputSchema": {"type": "object", "properties": _PROPERTIES}, "outputSchema": {"type": "object"}}
_KEPT = {"ttlMs": 5, "cacheScope": "private", "nextCursor": "2"}
_DONE = {"content": [{"type": "text", "text": "t"}], "structuredContent": {"a": 1}}
#: Good results, of which the tests break a piece or two.
GOOD: list[Any] = [
    asks(_QUESTIONS, "state"),
    _TASK,
    {**_TASK, "resultType": "complete", "status": "completed", "result": _DONE},
    {**_TASK, "resultType": "complete", "status": "failed", "error": {"code": -32602, "message": "m", "data": 1}},
    {**_TASK, "resultType": "complete", "status": "input_required", "inputRequests": _QUESTIONS},
    _DONE,
    {**_KEPT, "tools": [_TOOL, _TOOL]},
    {**_KEPT, "contents": [{"uri": "a:b", "text": "t"}, {"uri": "a:b", "blob": "AA=="}]},
    {**_KEPT, "resources": [{"uri": "a:b", "name": "n", "size": 5}]},
    {"messages": [{"role": "user", "content": {"type": "text", "text": "t"}}]},
    {"completion": {"values": ["a"], "total": 1, "hasMore": False}},
    {"supportedVersions": ["2026-07-28"], "capabilities": ALL, "instructions": "i"},
]


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield from _places(item, (*path, key))


def _broken(value: Any, path: tuple[Any, ...], piece: Any) -> Any:
    """The value with another piece at the path, or without it, if the piece is Ellipsis."""
    if not path:
        return {} if piece is ... else piece
    copy = value.copy()
    if len(path) == 1 and piece is ...:
        del copy[path[0]]
    else:
        copy[path[0]] = _broken(value[path[0]], path[1:], piece)
    return copy


@st.composite
def broken(draw: st.DrawFn) -> Any:
    result = draw(st.sampled_from(GOOD))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.sampled_from(list(_places(result))))
        result = _broken(result, place, draw(values | st.just(...)))
    return result


results = broken() | st.dictionaries(st.sampled_from(NAMES), values, max_size=7) | values
notifications = st.lists(
    st.tuples(
        st.sampled_from([
            "notifications/progress", "notifications/message", "notifications/cancelled", "notifications/tasks", "odd",
            "notifications/resources/updated", "notifications/subscriptions/acknowledged",
            "notifications/tools/list_changed",
        ]),
        st.dictionaries(st.sampled_from(NAMES), values, max_size=4) | st.none(),
        st.booleans(),
    ),
    max_size=4,
)  # fmt: skip

VERBS: dict[str, Callable[[Client], Any]] = {
    "call_tool": lambda client: client.call_tool("t", {"a": 1}, timeout=0.2, on_progress=repr, on_log=repr),
    "stream_tool": lambda client: list(client.stream_tool("t", timeout=0.2)),
    "as a task": lambda client: client.call_tool_as_task("t", timeout=0.2),
    "wait_task": lambda client: client.wait_task("t-1", timeout=0.3),
    "cancel_task": lambda client: client.cancel_task("t-1", timeout=0.2),
    "get_prompt": lambda client: client.get_prompt("p", timeout=0.2),
    "read_resource": lambda client: client.read_resource("a:b", timeout=0.2),
    "list_tools": lambda client: client.list_tools(timeout=0.2),
    "list_resources": lambda client: client.list_resources(timeout=0.2),
    "complete": lambda client: client.complete(
        {"type": "ref/prompt", "name": "p"}, {"name": "a", "value": ""}, timeout=0.2
    ),
    "ping": lambda client: client.send_ping(timeout=0.2),
    "listen": lambda client: [event for event, _ in zip(client.listen(timeout=0.2), range(5), strict=False)],
}


@pytest.fixture
def server(_nothing_left: None) -> Iterator[ModernMCPServer]:
    with ModernMCPServer(capabilities=ALL) as server:
        yield server


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS.keys())
def test_any_answer(server: ModernMCPServer, verb: Callable[[Client], Any]) -> None:
    """BASE-07, BASE-10, BASE-11, M26-02, T-17, S26-03: odd results and notifications are read, dropped or refused; no
    other error comes out of a verb, nothing is sent that is not of this era, and the client works on.
    """
    script: dict[str, Any] = {}

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        for method, params, asked in script["notes"]:
            wire = {"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params})}
            peer.event({**wire, "id": 7} if asked else wire)
        answers = script["answers"]
        peer.event_result(request, answers.pop(0) if len(answers) > 1 else answers[0])
        peer.end_stream()

    handler = lambda params: {"action": "accept", "content": {}}  # noqa: E731

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(answers=st.lists(results, min_size=1, max_size=4), notes=notifications)
    def attempt(answers: Any, notes: Any) -> None:
        script.update(answers=list(answers), notes=notes)
        try:
            verb(client)
        except StreamHTTPError:
            pass

    for key in (
        "tools/call", "tasks/get", "tasks/cancel", "tasks/update", "prompts/get", "resources/read", "tools/list",
        "resources/list", "completion/complete", "server/discover", "subscriptions/listen",
    ):  # fmt: skip
        server.on(key, answer)
    options: dict[str, Any] = {"elicitation": handler, "sampling": handler, "roots": []}
    with open_modern(server, retry=RetryPolicy(attempts=2, base=0.0), **options) as client:
        attempt()
        script.update(answers=[{"content": [{"type": "text", "text": "still here"}]}], notes=[])
        assert client.call_tool("another").text == "still here"
    assert only_posts(server)
