"""The rows of what a client offers, and of what results are beside what they say."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

from streamhttp_client import CapabilityError, Client
from streamhttp_client.protocol import trace
from streamhttp_client.protocol.models.deferred import DeferredTask
from streamhttp_client.protocol.models.tasks import Task
from tests.support_table.table import proves
from tests.support_table.transport_rows import waits
from tests.support_table.worlds import OK, PREFIX, ModernWorld, SessionWorld, World, meta_of

HANDSHAKES = "2024-11-05 2025-03-26 2025-06-18 2025-11-25"
TASKS = f"{PREFIX}tasks"


def declared(world: World) -> dict[str, Any]:
    """What the client said that it can do."""
    if isinstance(world, ModernWorld):
        capabilities: dict[str, Any] = meta_of(world.calls[0])[f"{PREFIX}clientCapabilities"]
    else:
        capabilities = world.server.seen("initialize")[0].json["params"]["capabilities"]
    return capabilities


# --- sampling

SAMPLE = {"messages": [{"role": "user", "content": {"type": "text", "text": "hello"}}], "maxTokens": 5}
SAID = {"role": "assistant", "content": {"type": "text", "text": "hi"}, "model": "m"}


@proves("sampling", "2024-11-05 2025-03-26 2025-06-18", "yes")
@proves("sampling", "2026-07-28", "yes, in rounds")
def sampling(world: World) -> None:
    answers, asked = world.asks("sampling/createMessage", SAMPLE), []

    def answer(params: Any) -> Any:
        asked.append(params)
        return SAID

    with world.client(sampling=answer) as client:
        assert client.call_tool("echo").text == "ok"
    assert [params.max_tokens for params in asked] == [5]
    assert answers == [{"result": SAID}]
    assert declared(world)["sampling"] == {}
    assert len(world.calls) == (2 if isinstance(world, ModernWorld) else 1)


@proves("sampling", "2025-11-25", "yes, with tools")
def sampling_with_tools(world: World) -> None:
    tools = [{"name": "add", "inputSchema": {"type": "object"}}]
    answers, asked = world.asks("sampling/createMessage", {**SAMPLE, "tools": tools}), []
    use = {"type": "tool_use", "id": "1", "name": "add", "input": {"a": 1}}
    said = {"role": "assistant", "content": [use], "model": "m", "stopReason": "toolUse"}

    def answer(params: Any) -> Any:
        asked.append(params)
        return said

    with world.client(sampling=answer, sampling_tools=True) as client:
        assert client.call_tool("echo").text == "ok"
    assert [[tool.name for tool in params.tools] for params in asked] == [["add"]]
    assert answers == [{"result": said}]
    assert declared(world)["sampling"] == {"tools": {}}


# --- roots


@proves("roots", HANDSHAKES, "yes")
@proves("roots", "2026-07-28", "yes, in rounds")
def roots(world: World) -> None:
    answers = world.asks("roots/list")
    with world.client(roots=["file:///work"]) as client:
        assert client.call_tool("echo").text == "ok"
        client.send_roots_list_changed()
    assert answers == [{"result": {"roots": [{"uri": "file:///work"}]}}]
    in_rounds = isinstance(world, ModernWorld)
    assert declared(world)["roots"] == ({} if in_rounds else {"listChanged": True})
    assert len(world.calls) == (2 if in_rounds else 1)
    assert len(world.server.seen("notifications/roots/list_changed")) == (0 if in_rounds else 1)


# --- elicitation

FORM = {
    "message": "Who?",
    "requestedSchema": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "size": {"type": "string", "default": "M"}},
    },
}
PAGE = {"mode": "url", "message": "Log in", "url": "https://example.com/login"}


def _ask(world: World, client: Client, question: dict[str, Any]) -> Any:
    """What the server got for its question."""
    answers = world.asks("elicitation/create", question)
    assert client.call_tool("echo").text == "ok"
    (answer,) = answers
    return answer["result"]


@proves("elicitation", "2024-11-05 2025-03-26", "not in it")
def no_elicitation(world: World) -> None:
    """It is not offered, and whoever asks all the same is told so."""
    answers = world.asks("elicitation/create", FORM)
    with world.client() as client:
        assert client.call_tool("echo").text == "ok"
    assert answers[0]["error"]["code"] == -32601
    assert "elicitation" not in declared(world)


@proves("elicitation", "2025-06-18", "forms")
def forms(world: World) -> None:
    asked: list[Any] = []
    reply = {"action": "accept", "content": {"name": "Ada", "size": "S"}}

    def answer(params: Any) -> Any:
        asked.append(params)
        return reply

    with world.client(elicitation=answer) as client:
        assert _ask(world, client, FORM) == reply
    assert [list(params.requested_schema.properties) for params in asked] == [["name", "size"]]
    assert declared(world)["elicitation"] == {}


@proves("elicitation", "2025-11-25", "forms with defaults, and pages")
@proves("elicitation", "2026-07-28", "the same, in rounds")
def forms_and_pages(world: World) -> None:
    asked: list[Any] = []

    def answer(params: Any) -> dict[str, Any]:
        asked.append(params)
        return {"action": "accept"} if params.mode == "url" else {"action": "accept", "content": {"name": "Ada"}}

    in_rounds = isinstance(world, ModernWorld)
    page = PAGE if in_rounds else {**PAGE, "elicitationId": "e-1"}  # which 2026-07-28 has taken away
    with world.client(elicitation=answer, url_elicitation=True) as client:
        # The default is filled in where the answer leaves it out.
        filled = {"action": "accept", "content": {"name": "Ada", "size": "M"}}
        assert _ask(world, client, {"mode": "form", **FORM}) == filled
        assert _ask(world, client, page) == {"action": "accept"}
    assert [params.mode for params in asked] == ["form", "url"] and asked[1].url == PAGE["url"]
    assert declared(world)["elicitation"] == {"form": {}, "url": {}}
    assert len(world.calls) == (4 if in_rounds else 2)


# --- results that may be kept

CACHE_ROW = "results that may be kept (`cache=`)"
KEPT = {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}], "ttlMs": 60_000, "cacheScope": "private"}


def _listed(world: World) -> int:
    """How often the server was asked for a list that it allows to be kept."""
    world.on("tools/list", KEPT)
    with world.client() as client:
        for _ in range(3):
            assert [tool.name for tool in client.list_tools()] == ["echo"]
    return len(world.server.seen("tools/list"))


@proves(CACHE_ROW, HANDSHAKES, "not in it")
def nothing_kept(world: World) -> None:
    assert _listed(world) == 3


@proves(CACHE_ROW, "2026-07-28", "yes")
def kept(world: World) -> None:
    assert _listed(world) == 1
    with world.client() as client:
        for cache in ("use", "refresh", "off", "use"):
            client.list_tools(cache=cache)
    assert len(world.server.seen("tools/list")) == 1 + 3


# --- tasks

TASK = {
    "taskId": "t-1", "status": "working", "createdAt": "2026-07-28T10:00:00Z", "lastUpdatedAt": "2026-07-28T10:00:01Z",
}  # fmt: skip


@proves("tools called as tasks", "2024-11-05 2025-03-26 2025-06-18", "not in it")
def no_tasks(world: World) -> None:
    with world.client() as client:
        with pytest.raises(CapabilityError):
            client.call_tool_as_task("echo")
        assert world.calls == []
        client.call_tool("echo")
    assert list(world.calls[0].json["params"]) == ["name"]
    assert "tasks" not in declared(world)


@proves("tools called as tasks", "2025-11-25", "experimental, client only")
def tasks(world: SessionWorld) -> None:
    world.declare(tasks={"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}})
    task = {**TASK, "ttl": 60_000}
    done = {**task, "status": "completed"}
    world.on("tools/call", {"task": task})
    world.on("tasks/get", task, done)
    world.on("tasks/result", OK)
    world.on("tasks/list", {"tasks": [done]})
    with waits(), world.client() as client:
        started = client.call_tool_as_task("echo", ttl=60)
        assert isinstance(started, Task) and started.status == "working"
        assert client.wait_task(started).text == "ok"
        assert [one.status for one in client.list_tasks()] == ["completed"]
    assert world.keys() == ["tools/call", "tasks/get", "tasks/get", "tasks/result", "tasks/list"]
    assert world.calls[0].json["params"]["task"] == {"ttl": 60_000}


@proves("tools called as tasks", "2026-07-28", "extension")
def deferred_tasks(world: ModernWorld) -> None:
    world.declare(extensions={TASKS: {}})
    task = {**TASK, "ttlMs": 60_000, "pollIntervalMs": 50}
    done = {**task, "status": "completed", "result": {"resultType": "complete", **OK}}
    world.on("tools/call", {"resultType": "task", **task})
    world.on("tasks/get", task, done, task, done)
    with waits() as waited, world.client() as client:
        assert client.call_tool("echo").text == "ok"
        started = client.call_tool_as_task("echo")
        assert isinstance(started, DeferredTask) and started.status == "working"
        assert client.wait_task(started).text == "ok"
    assert set(waited) == {0.05}
    assert world.keys() == ["tools/call", "tasks/get", "tasks/get", "tools/call", "tasks/get", "tasks/get"]
    assert declared(world)["extensions"] == {TASKS: {}}
    assert "task" not in world.calls[1].json["params"]  # it is the server that decides


# --- trace context

PARENT = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
TRACE_ROW = "trace context (`traceparent` …)"


def _traced(world: World) -> dict[str, Any]:
    """What of a trace that is under way is in ``_meta`` of a call."""
    # In the place of OpenTelemetry, of which one module tells that the program uses it and one function what it says.
    inject = {"traceparent": PARENT, "tracestate": "a=1", "baggage": "b=2"}.items()
    module = mock.patch.dict(sys.modules, {"opentelemetry.context": ModuleType("opentelemetry.context")})
    with module, mock.patch.object(trace, "_inject", lambda carrier: carrier.update(inject)):
        with world.client() as client:
            assert client.call_tool("echo").text == "ok"
    return {key: value for key, value in meta_of(world.calls[0]).items() if not key.startswith(PREFIX)}


@proves(TRACE_ROW, HANDSHAKES, "not in it")
def untraced(world: World) -> None:
    assert _traced(world) == {}


@proves(TRACE_ROW, "2026-07-28", "yes")
def traced(world: World) -> None:
    assert _traced(world) == {"traceparent": PARENT, "tracestate": "a=1", "baggage": "b=2"}
