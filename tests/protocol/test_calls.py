"""The builders of calls: what is sent, what the answer becomes, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest

from streamhttp_client.exceptions import InvalidResult, LocalProtocolError
from streamhttp_client.jsonrpc import Notification
from streamhttp_client.protocol import calls
from streamhttp_client.protocol.calls import Operation
from streamhttp_client.protocol.models import (
    ClientCapabilities,
    CompleteResult,
    CreateTaskResult,
    DeferredTask,
    DiscoverResult,
    ElicitResult,
    GetPromptResult,
    Implementation,
    InitializeResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListTasksResult,
    ListToolsResult,
    PromptReference,
    ReadResourceResult,
    ResourceTemplateReference,
    SubscriptionFilter,
    SubscriptionsListenResult,
    Task,
    TaskMetadata,
    ToolResult,
)

TASK = {"taskId": "t", "status": "working", "createdAt": "a", "lastUpdatedAt": "b", "ttl": None}
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
PROMPT = PromptReference("p")
DEFERRED = {"taskId": "t", "status": "working", "createdAt": "a", "lastUpdatedAt": "b", "ttlMs": None}
TASKS_EXTENSION = "extensions.io.modelcontextprotocol/tasks"

# (operation, method, params, read_only, capability, name, a valid result, the class that it becomes)
VERBS: list[tuple[Operation[Any], str, Any, bool, str | None, str | None, Any, type | None]] = [
    (
        calls.initialize(
            "2025-11-25", capabilities=ClientCapabilities(sampling={}), client_info=Implementation("c", "1")
        ),
        "initialize",
        {
            "protocolVersion": "2025-11-25",
            "capabilities": {"sampling": {}},
            "clientInfo": {"name": "c", "version": "1"},
        },
        True,
        None,
        None,
        HELLO,
        InitializeResult,
    ),
    (calls.ping(), "ping", None, True, None, None, {}, None),
    (calls.list_tools(), "tools/list", None, True, "tools", None, {"tools": []}, ListToolsResult),
    (
        calls.call_tool("t"),
        "tools/call",
        {"name": "t"},
        False,
        "tools",
        "t",
        {"content": []},
        ToolResult,
    ),
    (
        calls.call_tool("t", {"a": [1, None]}, meta={"progressToken": 1}, read_only=True),
        "tools/call",
        {"name": "t", "arguments": {"a": [1, None]}, "_meta": {"progressToken": 1}},
        True,
        "tools",
        "t",
        {"content": []},
        ToolResult,
    ),
    (
        calls.call_tool("t", {}, task=TaskMetadata(60000)),
        "tools/call",
        {"name": "t", "arguments": {}, "task": {"ttl": 60000}},
        False,
        "tasks.requests.tools.call",
        "t",
        {"task": TASK},
        CreateTaskResult,
    ),
    (
        calls.call_tool("t", task={}),
        "tools/call",
        {"name": "t", "task": {}},
        False,
        "tasks.requests.tools.call",
        "t",
        {"content": []},
        ToolResult,
    ),
    (
        calls.list_resources("c"),
        "resources/list",
        {"cursor": "c"},
        True,
        "resources",
        None,
        {"resources": []},
        ListResourcesResult,
    ),
    (
        calls.list_resource_templates(),
        "resources/templates/list",
        None,
        True,
        "resources",
        None,
        {"resourceTemplates": []},
        ListResourceTemplatesResult,
    ),
    (
        calls.read_resource("x://1", meta={}),
        "resources/read",
        {"uri": "x://1", "_meta": {}},
        True,
        "resources",
        "x://1",
        {"contents": []},
        ReadResourceResult,
    ),
    (
        calls.subscribe_resource("x://1"),
        "resources/subscribe",
        {"uri": "x://1"},
        True,
        "resources.subscribe",
        "x://1",
        {},
        None,
    ),
    (
        calls.unsubscribe_resource("x://1"),
        "resources/unsubscribe",
        {"uri": "x://1"},
        True,
        "resources.subscribe",
        "x://1",
        {"_meta": {}},
        None,
    ),
    (calls.list_prompts(), "prompts/list", None, True, "prompts", None, {"prompts": []}, ListPromptsResult),
    (
        calls.get_prompt("p", {"a": "b"}),
        "prompts/get",
        {"name": "p", "arguments": {"a": "b"}},
        True,
        "prompts",
        "p",
        {"messages": []},
        GetPromptResult,
    ),
    (
        calls.get_prompt("p", meta={"k": 1}),
        "prompts/get",
        {"name": "p", "_meta": {"k": 1}},
        True,
        "prompts",
        "p",
        {"messages": []},
        GetPromptResult,
    ),
    (
        calls.complete(PROMPT, {"name": "a", "value": ""}),
        "completion/complete",
        {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "a", "value": ""}},
        True,
        "completions",
        None,
        {"completion": {"values": []}},
        CompleteResult,
    ),
    (
        calls.complete(ResourceTemplateReference("x://{a}"), {"name": "a", "value": "v"}, {"b": "c"}),
        "completion/complete",
        {
            "ref": {"type": "ref/resource", "uri": "x://{a}"},
            "argument": {"name": "a", "value": "v"},
            "context": {"arguments": {"b": "c"}},
        },
        True,
        "completions",
        None,
        {"completion": {"values": []}},
        CompleteResult,
    ),
    (
        calls.set_logging_level("warning"),
        "logging/setLevel",
        {"level": "warning"},
        True,
        "logging",
        None,
        {},
        None,
    ),
    (calls.get_task("t"), "tasks/get", {"taskId": "t"}, True, "tasks", None, TASK, Task),
    (
        calls.get_task_result("t"),
        "tasks/result",
        {"taskId": "t"},
        True,
        "tasks",
        None,
        {"content": []},
        ToolResult,
    ),
    (
        calls.get_task_result("t", calls.get_prompt("p").parse),
        "tasks/result",
        {"taskId": "t"},
        True,
        "tasks",
        None,
        {"messages": []},
        GetPromptResult,
    ),
    (calls.list_tasks(), "tasks/list", None, True, "tasks.list", None, {"tasks": []}, ListTasksResult),
    (calls.cancel_task("t"), "tasks/cancel", {"taskId": "t"}, False, "tasks.cancel", None, TASK, Task),
    (
        calls.discover(),
        "server/discover",
        None,
        True,
        None,
        None,
        {"supportedVersions": [], "capabilities": {}},
        DiscoverResult,
    ),
    (
        calls.listen(SubscriptionFilter(tools_list_changed=True, resource_subscriptions=["x://1"])),
        "subscriptions/listen",
        {"notifications": {"toolsListChanged": True, "resourceSubscriptions": ["x://1"]}},
        True,
        None,
        None,
        {"resultType": "complete", "_meta": {"io.modelcontextprotocol/subscriptionId": 1}},
        SubscriptionsListenResult,
    ),
    (
        calls.listen({"x-clocksChanged": True}),
        "subscriptions/listen",
        {"notifications": {"x-clocksChanged": True}},
        True,
        None,
        None,
        {},
        SubscriptionsListenResult,
    ),
    (calls.poll_task("t"), "tasks/get", {"taskId": "t"}, True, TASKS_EXTENSION, "t", DEFERRED, DeferredTask),
    (
        calls.update_task("t", {"a": ElicitResult("decline"), "b": {"roots": []}}),
        "tasks/update",
        {"taskId": "t", "inputResponses": {"a": {"action": "decline"}, "b": {"roots": []}}},
        True,
        TASKS_EXTENSION,
        "t",
        {"resultType": "complete"},
        None,
    ),
    (calls.stop_task("t"), "tasks/cancel", {"taskId": "t"}, True, TASKS_EXTENSION, "t", {}, None),
]


@pytest.mark.parametrize(
    ("operation", "method", "params", "read_only", "capability", "name", "result", "becomes"),
    VERBS,
    ids=[f"{verb[1]}-{number}" for number, verb in enumerate(VERBS)],
)
class TestEveryVerb:
    def test_what_is_sent(
        self,
        operation: Operation[Any],
        method: str,
        params: Any,
        read_only: bool,
        capability: str | None,
        name: str | None,
        result: Any,
        becomes: type | None,
    ) -> None:
        """Method, parameters, and what the network layer must know about the verb. L25-06: its capability."""
        assert operation.method == method
        assert operation.params == params
        assert json.loads(json.dumps(operation.params)) == params
        assert operation.read_only is read_only
        assert operation.capability == capability
        assert operation.name == name
        assert method in repr(operation)

    def test_what_comes_back(
        self,
        operation: Operation[Any],
        method: str,
        params: Any,
        read_only: bool,
        capability: str | None,
        name: str | None,
        result: Any,
        becomes: type | None,
    ) -> None:
        """A valid result becomes its model; one that is no object is refused by those that have a shape."""
        if becomes is None:
            assert operation.parse(result) is None
        else:
            assert type(operation.parse(result)) is becomes
            with pytest.raises(InvalidResult, match="must be an object, got 'no'"):
                operation.parse("no")


@pytest.mark.parametrize(
    "builder", [calls.list_tools, calls.list_resources, calls.list_prompts, calls.list_tasks]
)
def test_cursors_are_opaque(builder: Callable[[Any], Operation[Any]]) -> None:
    """T-01, T-02: a cursor is sent as it came, the empty one too; None asks for the first page."""
    for cursor in ("", "0", "\u2028 any/thing=="):
        assert builder(cursor).params == {"cursor": cursor}
    assert builder(None).params is None
    with pytest.raises(LocalProtocolError, match="cursor must be a string, got int"):
        builder(2)


@pytest.mark.parametrize("level", calls.LOGGING_LEVELS)
def test_logging_levels(level: str) -> None:
    """G-01: the eight levels of RFC 5424 are accepted."""
    assert calls.set_logging_level(level).params == {"level": level}
    assert len(calls.LOGGING_LEVELS) == 8


untyped: Any = calls  # what type checkers would have refused already


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: untyped.set_logging_level("warn"), "log level must be one of debug, .*; got 'warn'"),
        (lambda: untyped.set_logging_level("INFO"), "log level must be one of"),
        (lambda: untyped.call_tool(""), "tool name must not be empty"),
        (lambda: untyped.call_tool(7), "tool name must be a string, got int"),
        (lambda: untyped.call_tool("t", [1]), "arguments must be a mapping, got list"),
        (lambda: untyped.call_tool("t", "a=1"), "arguments must be a mapping, got str"),
        (lambda: untyped.call_tool("t", {1: 2}), "arguments must have strings as keys, got 1"),
        (lambda: untyped.call_tool("t", meta=5), "meta must be a mapping, got int"),
        (lambda: untyped.call_tool("t", task=5), "task must be a mapping, got int"),
        (lambda: untyped.read_resource(""), "URI must not be empty"),
        (lambda: untyped.subscribe_resource(None), "URI must be a string, got NoneType"),
        (lambda: untyped.unsubscribe_resource(""), "URI must not be empty"),
        (lambda: untyped.get_prompt(""), "prompt name must not be empty"),
        (lambda: untyped.get_prompt("p", {"n": 5}), "prompt arguments must be strings, got int for 'n'"),
        (lambda: untyped.get_prompt("p", ["a"]), "prompt arguments must be a mapping, got list"),
        (lambda: untyped.get_prompt("p", meta=1), "meta must be a mapping"),
        (lambda: untyped.complete(PROMPT, {"name": "a"}), r"must have 'name' and 'value', got \['name'\]"),
        (lambda: untyped.complete(PROMPT, {"name": "", "value": ""}), "must have 'name' and 'value'"),
        (lambda: untyped.complete(PROMPT, {"name": "a", "value": 1}), "argument must be strings, got int"),
        (lambda: untyped.complete(PROMPT, {"name": "a", "value": ""}, {"b": 1}), "context must be strings"),
        (lambda: untyped.complete("p", {"name": "a", "value": ""}), "ref must be a mapping, got str"),
        (lambda: untyped.get_task(""), "task id must not be empty"),
        (lambda: untyped.cancel_task(3), "task id must be a string"),
        (lambda: untyped.poll_task(""), "task id must not be empty"),
        (lambda: untyped.stop_task(None), "task id must be a string"),
        (lambda: untyped.update_task("", {}), "task id must not be empty"),
        (lambda: untyped.update_task("t", []), "responses must be a mapping, got list"),
        (lambda: untyped.update_task("t", {"a": "yes"}), "response 'a' must be a mapping, got str"),
        (lambda: untyped.listen(True), "filter must be a mapping, got bool"),
        (
            lambda: untyped.initialize("", capabilities={}, client_info={}),
            "protocol version must not be empty",
        ),
        (lambda: untyped.initialize("v", capabilities=[], client_info={}), "capabilities must be a mapping"),
    ],
)
def test_refused_before_it_is_sent(build: Any, message: str) -> None:
    """What no server could accept is the caller's mistake, and is told to the caller."""
    with pytest.raises(LocalProtocolError, match=message) as caught:
        build()
    assert isinstance(caught.value, ValueError)


def test_arguments_are_copied() -> None:
    """A retry sends what was asked for, whatever the caller did to the mapping meanwhile."""
    arguments = {"a": 1}
    operation = calls.call_tool("t", arguments)
    arguments["a"] = 2
    assert operation.params == {"name": "t", "arguments": {"a": 1}}
    assert calls.call_tool("t", MappingProxyType({"a": 1})).params == operation.params


def test_the_arguments_are_not_shown() -> None:
    """The representation names the verb and what it is about, and holds none of the user's data."""
    assert repr(calls.call_tool("t", {"password": "hunter2"})) == "<Operation tools/call 't'>"
    assert repr(calls.ping()) == "<Operation ping>"


def test_a_task_that_was_done_at_once() -> None:
    """A server may answer a call that should become a task with the result itself."""
    parse = calls.call_tool("t", task={}).parse
    assert isinstance(parse({"content": [], "task": "unknown member"}), ToolResult)
    with pytest.raises(InvalidResult, match="task.taskId is missing"):
        parse({"task": {}})


@pytest.mark.parametrize(
    ("notification", "method", "params"),
    [
        (calls.initialized(), "notifications/initialized", None),
        (calls.cancelled(3), "notifications/cancelled", {"requestId": 3}),
        (
            calls.cancelled("a", "too slow"),
            "notifications/cancelled",
            {"requestId": "a", "reason": "too slow"},
        ),
        (calls.roots_list_changed(), "notifications/roots/list_changed", None),
        (calls.progress("t", 0.5), "notifications/progress", {"progressToken": "t", "progress": 0.5}),
        (
            calls.progress(0, 0, total=2, message="m"),
            "notifications/progress",
            {"progressToken": 0, "progress": 0, "total": 2, "message": "m"},
        ),
    ],
)
def test_notifications(notification: Notification, method: str, params: Any) -> None:
    """L25-02, H25-11, P-07: what the client tells the server."""
    assert notification == Notification(method, params)
