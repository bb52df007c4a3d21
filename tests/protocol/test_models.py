"""The models of the session era: what comes in goes out again, and what is wrong is named."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import json
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamhttp_client.protocol.models as models
from streamhttp_client.exceptions import InvalidResult, LocalProtocolError
from streamhttp_client.protocol.models import (
    Annotations,
    AudioContent,
    BlobResourceContents,
    Cancelled,
    Choice,
    ChoiceItems,
    ChoiceSchema,
    CompleteResult,
    CreateMessageParams,
    CreateMessageResult,
    CreateTaskResult,
    DeferredResult,
    DeferredTask,
    DeferredTaskChanged,
    DiscoverResult,
    ElicitationComplete,
    ElicitationSchema,
    ElicitFormParams,
    ElicitResult,
    ElicitURLParams,
    EmbeddedResource,
    GetPromptResult,
    Icon,
    ImageContent,
    Implementation,
    InitializeResult,
    InputRequiredResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListRootsResult,
    ListTasksResult,
    ListToolsResult,
    LogMessage,
    Model,
    MultiChoiceSchema,
    Page,
    ProgressNotification,
    PromptReference,
    ReadResourceResult,
    ResourceLink,
    ResourceTemplateReference,
    ResourceUpdated,
    Root,
    SamplingMessage,
    ServerCapabilities,
    SubscriptionFilter,
    SubscriptionsAcknowledged,
    SubscriptionsListenResult,
    Task,
    TaskStatusChanged,
    TextContent,
    TextResourceContents,
    Tool,
    ToolAnnotations,
    ToolListChanged,
    ToolResult,
    ToolUseContent,
    UnknownContent,
    UnknownNotification,
    UnknownSchema,
    fill_defaults,
    parse_elicitation,
    parse_notification,
    parse_url_elicitations,
    safe_icon_url,
    subscription_id,
)

MODULES = [
    importlib.import_module(f"{models.__name__}.{path.stem}")
    for path in sorted(Path(models.__file__).parent.glob("[!_]*.py"))
]
ALL_MODELS = sorted(
    {
        value
        for module in MODULES
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Model) and value.__module__ == module.__name__
    },
    key=lambda cls: cls.__qualname__,
)

TEXT = {"type": "text", "text": "hello"}
ICON = {"src": "https://x.example/i.png", "mimeType": "image/png", "sizes": ["48x48", "any"], "theme": "dark"}
TASK = {
    "taskId": "t-1",
    "status": "working",
    "createdAt": "2025-11-25T10:30:00Z",
    "lastUpdatedAt": "2025-11-25T10:30:05Z",
    "ttl": None,
}
FORM = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "title": "Name", "minLength": 1, "maxLength": 9, "default": "Ada"},
        "mail": {"type": "string", "format": "email"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150, "default": 42},
        "ratio": {"type": "number", "default": 0.5},
        "agree": {"type": "boolean", "default": False},
        "old": {"type": "string", "enum": ["r", "g"], "enumNames": ["Red", "Green"], "default": "r"},
        "plain": {"type": "string", "enum": ["a", "b"], "default": "b"},
        "titled": {
            "type": "string",
            "oneOf": [{"const": "x", "title": "X"}, {"const": "y", "title": "Y"}],
            "default": "y",
        },
        "many": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "enum": ["p", "q"]},
            "default": ["p"],
        },
        "titled_many": {
            "type": "array",
            "maxItems": 2,
            "items": {"anyOf": [{"const": "s", "title": "S"}, {"const": "t", "title": "T"}]},
            "default": ["s", "t"],
        },
        "none": {"type": "array", "items": {"type": "string", "enum": ["p"]}, "default": []},
        "future": {"type": "colour", "default": "#fff"},
    },
    "required": ["name"],
    "$schema": "https://json-schema.org/draft/2020-12/schema",
}

DEFERRED = {
    "taskId": "t-1",
    "status": "working",
    "createdAt": "2025-11-25T10:30:00Z",
    "lastUpdatedAt": "2025-11-25T10:50:00Z",
    "ttlMs": None,
}
INPUT_REQUESTS = {
    "github_login": {
        "method": "elicitation/create",
        "params": {"mode": "form", "message": "name?", "requestedSchema": {"type": "object", "properties": {}}},
    },
    "capital": {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 9}},
    "folders": {"method": "roots/list"},
}
CACHED = {"resultType": "complete", "ttlMs": 300000, "cacheScope": "public"}
SUBSCRIPTION: dict[str, Any] = {"_meta": {"io.modelcontextprotocol/subscriptionId": 1}}

# (revision that brought the shape, model, JSON): every form of every object at least once.
EXAMPLES: list[tuple[str, type[Model], dict[str, Any]]] = [
    (
        "2025-03-26",
        InitializeResult,
        {
            "protocolVersion": "2025-03-26",
            "capabilities": {
                "logging": {},
                "completions": {},
                "prompts": {"listChanged": True},
                "resources": {"subscribe": True, "listChanged": False},
                "tools": {},
                "experimental": {"x": {"y": 1}},
            },
            "serverInfo": {"name": "s", "version": "1"},
            "instructions": "be kind",
        },
    ),
    (
        "2025-11-25",
        InitializeResult,
        {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}},
            "serverInfo": {
                "name": "s",
                "title": "S",
                "version": "1",
                "websiteUrl": "https://x.example",
                "description": "d",
                "icons": [ICON],
            },
            "_meta": {"a": None},
        },
    ),
    (
        "2025-03-26",
        ListToolsResult,
        {
            "tools": [
                {"name": "a", "inputSchema": {"type": "object"}},
                {
                    "name": "b",
                    "description": "does b",
                    "inputSchema": {
                        "type": "object",
                        "properties": {"n": {"type": "integer"}},
                        "required": ["n"],
                    },
                    "annotations": {
                        "title": "B",
                        "readOnlyHint": True,
                        "destructiveHint": False,
                        "idempotentHint": True,
                        "openWorldHint": False,
                    },
                },
            ],
            "nextCursor": "",
        },
    ),
    (
        "2025-11-25",
        ListToolsResult,
        {
            "tools": [
                {
                    "name": "c",
                    "title": "C",
                    "inputSchema": {"type": "object", "$defs": {"x": True}},
                    "outputSchema": {"type": "object", "required": ["r"]},
                    "execution": {"taskSupport": "optional"},
                    "icons": [ICON, {"src": "data:image/png;base64,AA=="}],
                    "_meta": {"k": [1]},
                }
            ],
            "nextCursor": None,
            "_meta": {},
        },
    ),
    ("2025-03-26", ToolResult, {"content": [], "isError": True}),
    (
        "2025-03-26",
        ToolResult,
        {
            "content": [
                {**TEXT, "annotations": {"audience": ["user", "assistant"], "priority": 1}},
                {"type": "image", "data": "AA==", "mimeType": "image/png"},
                {"type": "audio", "data": "AA==", "mimeType": "audio/wav", "annotations": {"priority": 0.5}},
                {"type": "resource", "resource": {"uri": "x://1", "mimeType": "text/plain", "text": "t"}},
                {"type": "resource", "resource": {"uri": "x://2", "blob": "AA=="}},
            ]
        },
    ),
    (
        "2025-06-18",
        ToolResult,
        {
            "content": [
                {**TEXT, "_meta": {"k": 1}, "annotations": {"lastModified": "2025-01-12T15:00:58Z"}},
                {
                    "type": "resource_link",
                    "uri": "file:///a.py",
                    "name": "a.py",
                    "title": "A",
                    "description": "the file",
                    "mimeType": "text/x-python",
                    "size": 12,
                    "annotations": {"audience": []},
                    "icons": [],
                },
                {"type": "hologram", "depth": 3, "parts": [{"x": None}]},
            ],
            "structuredContent": {"temperature": 22.5, "deep": {"a": [1, None]}},
            "isError": False,
        },
    ),
    (
        "2025-03-26",
        ListResourcesResult,
        {
            "resources": [{"uri": "file:///a", "name": "a", "mimeType": "text/plain", "size": 0}],
            "nextCursor": "2",
        },
    ),
    (
        "2025-03-26",
        ListResourceTemplatesResult,
        {"resourceTemplates": [{"uriTemplate": "file:///{p}", "name": "f", "title": "F", "icons": [ICON]}]},
    ),
    (
        "2025-03-26",
        ReadResourceResult,
        {
            "contents": [
                {"uri": "a", "text": "", "_meta": {"m": 1}},
                {"uri": "b", "blob": "", "mimeType": "x/y"},
            ]
        },
    ),
    (
        "2025-03-26",
        ListPromptsResult,
        {
            "prompts": [
                {
                    "name": "p",
                    "description": "d",
                    "arguments": [{"name": "a", "required": True}, {"name": "b"}],
                },
                {"name": "q", "title": "Q", "arguments": [], "icons": [ICON]},
            ]
        },
    ),
    (
        "2025-03-26",
        GetPromptResult,
        {
            "description": "d",
            "messages": [
                {"role": "user", "content": TEXT},
                {"role": "assistant", "content": {"type": "resource", "resource": {"uri": "a", "text": "b"}}},
            ],
        },
    ),
    ("2025-03-26", CompleteResult, {"completion": {"values": ["py", "pl"], "total": 10, "hasMore": True}}),
    ("2025-03-26", PromptReference, {"type": "ref/prompt", "name": "p"}),
    ("2025-03-26", ResourceTemplateReference, {"type": "ref/resource", "uri": "file:///{p}"}),
    (
        "2025-03-26",
        CreateMessageParams,
        {
            "messages": [{"role": "user", "content": TEXT}],
            "modelPreferences": {
                "hints": [{"name": "sonnet"}, {}],
                "costPriority": 0.1,
                "speedPriority": 0,
                "intelligencePriority": 1,
            },
            "systemPrompt": "s",
            "includeContext": "thisServer",
            "temperature": 0.7,
            "maxTokens": 100,
            "stopSequences": ["x"],
            "metadata": {"a": 1},
            "_meta": {"progressToken": 7},
        },
    ),
    (
        "2025-11-25",
        CreateMessageParams,
        {
            "messages": [
                {
                    "role": "user",
                    "content": [TEXT, {"type": "image", "data": "AA==", "mimeType": "image/png"}],
                },
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "1", "name": "w", "input": {"city": "Paris"}}],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "toolUseId": "1",
                            "content": [TEXT],
                            "structuredContent": {"a": 1},
                            "isError": False,
                            "_meta": {},
                        }
                    ],
                    "_meta": {"k": 1},
                },
            ],
            "maxTokens": 1,
            "tools": [{"name": "w", "inputSchema": {"type": "object"}}],
            "toolChoice": {"mode": "auto"},
            "task": {"ttl": 60000},
        },
    ),
    (
        "2025-03-26",
        CreateMessageResult,
        {"role": "assistant", "content": TEXT, "model": "m", "stopReason": "endTurn"},
    ),
    (
        "2025-11-25",
        CreateMessageResult,
        {"role": "assistant", "content": [TEXT, TEXT], "model": "m", "_meta": {}},
    ),
    ("2025-06-18", ElicitFormParams, {"message": "who?", "requestedSchema": FORM}),
    (
        "2025-11-25",
        ElicitFormParams,
        {
            "mode": "form",
            "message": "who?",
            "requestedSchema": {"type": "object", "properties": {}},
            "task": {"ttl": 5},
        },
    ),
    (
        "2025-11-25",
        ElicitURLParams,
        {"mode": "url", "message": "sign in", "elicitationId": "e-1", "url": "https://x.example/?a=b"},
    ),
    ("2025-06-18", ElicitResult, {"action": "accept", "content": {"a": "b", "n": 1, "t": True, "l": ["x"]}}),
    ("2025-06-18", ElicitResult, {"action": "decline"}),
    ("2025-03-26", ListRootsResult, {"roots": [{"uri": "file:///home", "name": "home", "_meta": {}}]}),
    (
        "2025-11-25",
        CreateTaskResult,
        {"task": {**TASK, "ttl": 60000, "pollInterval": 500, "statusMessage": "s"}},
    ),
    ("2025-11-25", ListTasksResult, {"tasks": [TASK], "nextCursor": "n"}),
    ("2025-03-26", LogMessage, {"level": "error", "logger": "db", "data": {"error": "x"}}),
    ("2025-03-26", LogMessage, {"level": "info", "data": None}),
    ("2025-03-26", ProgressNotification, {"progressToken": "t", "progress": 0.5, "total": 1, "message": "m"}),
    ("2025-03-26", ProgressNotification, {"progressToken": 3, "progress": 1}),
    ("2025-03-26", Cancelled, {"requestId": 3, "reason": "r"}),
    ("2025-11-25", Cancelled, {}),
    ("2025-03-26", ResourceUpdated, {"uri": "x://1", "_meta": {}}),
    ("2025-11-25", ElicitationComplete, {"elicitationId": "e-1"}),
    ("2025-11-25", TaskStatusChanged, {**TASK, "_meta": {"k": 1}}),
    (
        "2026-07-28",
        DiscoverResult,
        {
            **CACHED,
            "supportedVersions": ["2026-07-28", "2025-11-25"],
            "capabilities": {"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}},
            "instructions": "be kind",
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "s", "version": "1"}},
        },
    ),
    ("2026-07-28", ListToolsResult, {**CACHED, "tools": [], "nextCursor": ""}),
    ("2026-07-28", ListPromptsResult, {**CACHED, "prompts": [], "cacheScope": "private"}),
    ("2026-07-28", ListResourcesResult, {**CACHED, "resources": [], "ttlMs": 0}),
    ("2026-07-28", ListResourceTemplatesResult, {**CACHED, "resourceTemplates": [], "ttlMs": -1}),
    ("2026-07-28", ReadResourceResult, {**CACHED, "contents": [{"uri": "a", "text": ""}]}),
    ("2026-07-28", ToolResult, {"resultType": "complete", "content": [], "structuredContent": [1, "a", None]}),
    ("2026-07-28", ToolResult, {"resultType": "complete", "content": [], "structuredContent": 0}),
    ("2026-07-28", ToolResult, {"resultType": "complete", "content": [], "structuredContent": None}),
    ("2026-07-28", GetPromptResult, {"resultType": "complete", "messages": []}),
    ("2026-07-28", CompleteResult, {"resultType": "complete", "completion": {"values": []}}),
    (
        "2026-07-28",
        InputRequiredResult,
        {"resultType": "input_required", "inputRequests": INPUT_REQUESTS, "requestState": "eyJ\u00e9", "_meta": {}},
    ),
    ("2026-07-28", InputRequiredResult, {"resultType": "input_required", "requestState": ""}),
    (
        "2026-07-28",
        SubscriptionsAcknowledged,
        {
            **SUBSCRIPTION,
            "notifications": {
                "toolsListChanged": True,
                "promptsListChanged": False,
                "resourcesListChanged": True,
                "resourceSubscriptions": ["file:///project/config.json"],
                "taskIds": ["t-1"],
            },
        },
    ),
    ("2026-07-28", ResourceUpdated, {**SUBSCRIPTION, "uri": "file:///project/config.json"}),
    ("2026-07-28", SubscriptionsListenResult, {"resultType": "complete", **SUBSCRIPTION}),
    (
        "2026-07-28",
        DeferredResult,
        {"resultType": "task", **DEFERRED, "ttlMs": 60000, "pollIntervalMs": 5000, "statusMessage": "s"},
    ),
    (
        "2026-07-28",
        DeferredTask,
        {"resultType": "complete", **DEFERRED, "status": "completed", "result": {"content": [TEXT], "isError": False}},
    ),
    (
        "2026-07-28",
        DeferredTask,
        {"resultType": "complete", **DEFERRED, "status": "input_required", "inputRequests": INPUT_REQUESTS},
    ),
    (
        "2026-07-28",
        DeferredTask,
        {"resultType": "complete", **DEFERRED, "status": "failed", "error": {"code": -32603, "message": "limit"}},
    ),
    ("2026-07-28", DeferredTaskChanged, {**DEFERRED, **SUBSCRIPTION, "status": "cancelled"}),
]
IDS = [f"{cls.__name__}-{revision}-{number}" for number, (revision, cls, _) in enumerate(EXAMPLES)]


def as_json(value: Any) -> str:
    """JSON tells 1 from true and 1.0, where Python's ``==`` does not."""
    return json.dumps(value, sort_keys=True)


@pytest.mark.parametrize(("revision", "cls", "wire"), EXAMPLES, ids=IDS)
class TestEveryExample:
    def test_round_trip(self, revision: str, cls: type[Model], wire: dict[str, Any]) -> None:
        """What was read is written as it was, and reading changed nothing in it."""
        before = copy.deepcopy(wire)
        assert as_json(cls.from_wire(wire).to_wire()) == as_json(before) == as_json(wire)

    def test_nothing_known_is_left_in_extra(
        self, revision: str, cls: type[Model], wire: dict[str, Any]
    ) -> None:
        """Each member of the schema has a field of its own."""
        left = cls.from_wire(wire).extra
        assert left == {}

    def test_value_semantics(self, revision: str, cls: type[Model], wire: dict[str, Any]) -> None:
        """Models are equal when read twice, and survive pickle, copy, deepcopy and replace."""
        model = cls.from_wire(wire)
        assert model == cls.from_wire(copy.deepcopy(wire))
        for again in (
            pickle.loads(pickle.dumps(model)),
            copy.copy(model),
            copy.deepcopy(model),
            dataclasses.replace(model),
        ):
            assert again == model
            assert type(again) is cls
        assert as_json(pickle.loads(pickle.dumps(model)).to_wire()) == as_json(wire)
        json.dumps(dataclasses.asdict(model))

    def test_unknown_members_are_kept(self, revision: str, cls: type[Model], wire: dict[str, Any]) -> None:
        """A newer peer's members are in ``extra``, under their names on the wire, and are written back."""
        newer = {**wire, "x-new": {"a": [1, None]}, "extra": 1, "is_error": "not ours"}
        model = cls.from_wire(newer)
        assert model.extra == {"x-new": {"a": [1, None]}, "extra": 1, "is_error": "not ours"}
        assert as_json(model.to_wire()) == as_json(newer)
        assert "not ours" not in repr(model)
        assert "'x-new'" in repr(model)

    def test_required_members(self, revision: str, cls: type[Model], wire: dict[str, Any]) -> None:
        """A required member that is missing, or null where null is no value, is named."""
        shape = cls._shape()
        for name in wire:
            required = shape.members[name][3]
            without = {key: value for key, value in wire.items() if key != name}
            if name == "content" and "structuredContent" in wire:
                continue  # see test_content_may_be_left_out_beside_a_structured_value
            if not required:
                assert cls.from_wire(without).to_wire() == without
            else:
                with pytest.raises(InvalidResult, match=f"^{name} is missing$"):
                    cls.from_wire(without)

    def test_null_members(self, revision: str, cls: type[Model], wire: dict[str, Any]) -> None:
        """A null for an optional member is no error, is kept apart from a missing one, and is no value."""
        for name, (field, _, _, required, nullable) in cls._shape().members.items():
            null = {**wire, name: None}
            if required and not nullable:
                with pytest.raises(InvalidResult, match=rf"^{name} must be .*, got null$"):
                    cls.from_wire(null)
            else:
                model = cls.from_wire(null)
                assert as_json(model.to_wire()) == as_json(null)
                if not required:
                    assert getattr(model, field) == cls._defaults[field]

    def test_asked_for_by_name(self, revision: str, cls: type[Model], wire: dict[str, Any]) -> None:
        """The field names are the wire names in snake case, ``_meta`` being ``meta``."""
        model = cls.from_wire(wire)
        for name in wire:
            snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_$")
            assert hasattr(model, snake)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(
    number=st.integers(0, len(EXAMPLES) - 1), unknown=st.dictionaries(st.text(max_size=8), JSON, max_size=4)
)
def test_round_trip_with_any_unknown_members(number: int, unknown: dict[str, Any]) -> None:
    """Whatever stands beside the known members comes out as it went in."""
    _, cls, wire = EXAMPLES[number]
    known = cls._shape().members.keys()
    newer = {**{key: value for key, value in unknown.items() if key not in known}, **wire}
    assert as_json(cls.from_wire(newer).to_wire()) == as_json(newer)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_json_is_read_or_refused(data: st.DataObject) -> None:
    """One value anywhere in an example replaced by any JSON: it round-trips, or InvalidResult says so."""
    _, cls, wire = EXAMPLES[data.draw(st.integers(0, len(EXAMPLES) - 1))]
    mutant = copy.deepcopy(wire)
    places: list[tuple[Any, Any]] = []
    todo: list[Any] = [mutant]
    while todo:
        here = todo.pop()
        for key in list(here) if isinstance(here, dict) else range(len(here)):
            places.append((here, key))
            if isinstance(here[key], (dict, list)):
                todo.append(here[key])
    if not places:
        return
    where, key = data.draw(st.sampled_from(places))
    where[key] = data.draw(JSON)
    try:
        model = cls.from_wire(mutant)
    except InvalidResult as error:
        assert error.result is mutant
        assert " must " in str(error) or str(error).endswith(" is missing")
    else:
        assert as_json(model.to_wire()) == as_json(mutant)


@pytest.mark.parametrize(
    ("cls", "wire", "message"),
    [
        (ListToolsResult, 7, "ListToolsResult must be an object, got 7"),
        (ListToolsResult, [], "ListToolsResult must be an object, got an array"),
        (ListToolsResult, {}, "tools is missing"),
        (ListToolsResult, {"tools": {}}, "tools must be an array, got an object"),
        (ListToolsResult, {"tools": "abc"}, "tools must be an array, got 'abc'"),
        (ListToolsResult, {"tools": [None]}, "tools[0] must be an object, got null"),
        (
            ListToolsResult,
            {"tools": [{"name": "a", "inputSchema": {}}] * 3 + [{"name": 7, "inputSchema": {}}]},
            "tools[3].name must be a string, got 7",
        ),
        (ListToolsResult, {"tools": [{"name": "a"}]}, "tools[0].inputSchema is missing"),
        (
            ListToolsResult,
            {"tools": [{"name": "a", "inputSchema": {}, "annotations": {"readOnlyHint": "yes"}}]},
            "tools[0].annotations.readOnlyHint must be true or false, got 'yes'",
        ),
        (
            ListToolsResult,
            {"tools": [{"name": "a", "inputSchema": {}, "icons": [{"src": "s", "sizes": ["a", False]}]}]},
            "tools[0].icons[0].sizes[1] must be a string, got false",
        ),
        (ListToolsResult, {"tools": [], "nextCursor": 2}, "nextCursor must be a string, got 2"),
        (ToolResult, {}, "content is missing"),
        (ToolResult, {"content": None}, "content must be an array, got null"),
        (ToolResult, {"content": [{}]}, "content[0].type is missing"),
        (ToolResult, {"content": ["hi"]}, "content[0] must be an object, got 'hi'"),
        (ToolResult, {"content": [{"type": ["text"]}]}, "content[0].type must be a string, got an array"),
        (ToolResult, {"content": [{"type": "text"}]}, "content[0].text is missing"),
        (ToolResult, {"content": [], "isError": 1}, "isError must be true or false, got 1"),
        (ToolResult, {"content": [], "_meta": 1}, "_meta must be an object, got 1"),
        (
            ToolResult,
            {"content": [{"type": "resource", "resource": {"uri": "a"}}]},
            "content[0].resource must have a member 'text' or 'blob', got neither",
        ),
        (
            ToolResult,
            {"content": [{"type": "resource", "resource": 3}]},
            "content[0].resource must be an object, got 3",
        ),
        (
            ToolResult,
            {"content": [{"type": "resource_link", "uri": "a", "name": "b", "size": 1.5}]},
            "content[0].size must be an integer, got 1.5",
        ),
        (
            ToolResult,
            {"content": [{"type": "resource_link", "uri": "a", "name": "b", "size": True}]},
            "content[0].size must be an integer, got true",
        ),
        (InputRequiredResult, {"resultType": "complete"}, "resultType must be 'input_required', got 'complete'"),
        (InputRequiredResult, {"requestState": "x"}, "resultType is missing"),
        (
            InputRequiredResult,
            {"resultType": "input_required", "inputRequests": {"a": {"params": {}}}},
            "inputRequests.a.method is missing",
        ),
        (DeferredResult, {**DEFERRED}, "resultType is missing"),
        (DeferredTask, {**DEFERRED, "ttlMs": "x"}, "ttlMs must be a number, got 'x'"),
        (TextContent, {"type": "image", "text": "x"}, "type must be 'text', got 'image'"),
        (TextContent, {"text": "x"}, "type is missing"),
        (
            ToolResult,
            {"content": [{**TEXT, "annotations": {"priority": "9" * 99}}]},
            "content[0].annotations.priority must be a number, got '" + "9" * 36 + "...",
        ),
        (Annotations, {"priority": True}, "priority must be a number, got true"),
        (
            ProgressNotification,
            {"progressToken": None, "progress": 1},
            "progressToken must be a string or an",
        ),
        (
            ProgressNotification,
            {"progressToken": True, "progress": 1},
            "progressToken must be a string or an",
        ),
        (
            InitializeResult,
            {
                "protocolVersion": "v",
                "serverInfo": {"name": "a", "version": "1"},
                "capabilities": {"tools": []},
            },
            "capabilities.tools must be an object, got an array",
        ),
        (
            ElicitationSchema,
            {"type": "object", "properties": {"a": {"type": "string", "default": 5}}},
            "properties.a.default must be a string, got 5",
        ),
        (
            SamplingMessage,
            {"role": "user", "content": [TEXT, {"type": "image", "data": "AA=="}]},
            "content[1].mimeType is missing",
        ),
    ],
)
def test_wrong_shapes(cls: type[Model], wire: Any, message: str) -> None:
    """The message names the place, what was expected and what came; the result is an attribute."""
    with pytest.raises(InvalidResult) as caught:
        cls.from_wire(wire)
    assert str(caught.value).startswith(message)
    assert caught.value.result is wire
    assert caught.value.__cause__ is None


def test_other_mappings_are_read_too() -> None:
    """``from_wire`` takes any mapping, not only a dict."""
    from types import MappingProxyType

    wire = MappingProxyType({"content": [MappingProxyType(TEXT)], "_meta": MappingProxyType({"a": 1})})
    result = ToolResult.from_wire(wire)
    assert result.text == "hello"
    assert result.meta == {"a": 1}


def test_whole_floats_are_integers() -> None:
    """JSON has one kind of number: 12.0 is read as the integer 12."""
    link = ResourceLink.from_wire({"type": "resource_link", "uri": "a", "name": "b", "size": 12.0})
    assert link.size == 12
    assert type(link.size) is int


class TestContent:
    def test_unknown_types_are_kept(self) -> None:
        """A block of a type from the future is an UnknownContent with everything in it."""
        block = ToolResult.from_wire({"content": [{"type": "hologram", "depth": 3}]}).content[0]
        assert block == UnknownContent("hologram", extra={"depth": 3})
        assert block.to_wire() == {"type": "hologram", "depth": 3}

    def test_blocks_are_told_apart(self) -> None:
        """Each type has its class; ``type`` is a field with one value."""
        wire = EXAMPLES[5][2]
        kinds = [type(block) for block in ToolResult.from_wire(wire).content]
        assert kinds == [TextContent, ImageContent, AudioContent, EmbeddedResource, EmbeddedResource]
        assert TextContent("x") == TextContent(text="x", type="text")
        assert TextContent("x").to_wire() == {"type": "text", "text": "x"}

    def test_lists_become_tuples(self) -> None:
        """A sequence may be given as a list; it is kept as a tuple, so that values are frozen."""
        assert Annotations(audience=["user"]).audience == ("user",)
        assert hash(Annotations(audience=["user"])) == hash(Annotations(audience=("user",)))
        assert hash(TextContent("x")) == hash(TextContent.from_wire({"type": "text", "text": "x"}))
        assert SamplingMessage("user", [TextContent("x")]).content == (TextContent("x"),)
        assert ToolResult([], structured_content=[1]).structured_content == [1]

    def test_base64(self) -> None:
        """Bytes are decoded on demand, strictly, and are not shown."""
        image = ImageContent("aGk=", "image/png")
        assert image.data_bytes == b"hi"
        assert BlobResourceContents("a", "aGk=").data_bytes == b"hi"
        assert repr(image) == "ImageContent(data=<4 base64 characters>, mime_type='image/png')"
        assert "aGk=" not in repr(BlobResourceContents("a", "aGk="))
        with pytest.raises(ValueError, match="base64|Incorrect padding|Only base64"):
            _ = ImageContent("a*k=", "image/png").data_bytes

    @pytest.mark.parametrize(
        "src",
        [
            "https://x.example/i.png",
            "HTTPS://x.example",
            "data:image/png;base64,AA==",
            "https://x.example:8/a@b",
        ],
    )
    def test_safe_icons(self, src: str) -> None:
        """BASE-18: https and data URIs may be fetched and shown."""
        assert safe_icon_url(src) == src
        assert Icon(src).safe_url == src

    @pytest.mark.parametrize(
        "src",
        [
            "http://x.example/i.png",
            "javascript:alert(1)",
            "java\nscript:alert(1)",
            " https://x.example",
            "https://x.example/\ta",
            "file:///etc/passwd",
            "ftp://x.example",
            "ws://x.example",
            "vscode://x",
            "https:",
            "https://",
            "https:x.example",
            "https:///x",
            "https://user:pw@x.example/",
            "https://evil.example\\@x.example/",
            "//x.example/i.png",
            "i.png",
            "",
        ],
    )
    def test_unsafe_icons(self, src: str) -> None:
        """BASE-18: every other scheme, credentials, and characters that browsers skip, are refused."""
        assert safe_icon_url(src) is None
        assert Icon(src).safe_url is None


class TestTools:
    def test_constructor(self) -> None:
        """A tool needs a name; its schema is on the wire always."""
        tool = Tool("x")
        assert tool.to_wire() == {"name": "x", "inputSchema": {"type": "object"}}
        assert Tool.from_wire(tool.to_wire()) == tool
        assert dataclasses.replace(tool, name="y").name == "y"
        assert repr(tool) == "Tool(name='x')"

    def test_display_name(self) -> None:
        """Title, then the title of the annotations, then the name."""
        assert Tool("n").display_name == "n"
        assert Tool("n", annotations=ToolAnnotations()).display_name == "n"
        assert Tool("n", annotations=ToolAnnotations(title="a")).display_name == "a"
        assert Tool("n", title="t", annotations=ToolAnnotations(title="a")).display_name == "t"

    def test_hints_that_were_not_given_are_none(self) -> None:
        """T-07: a hint that the server did not give is told apart from one that it gave."""
        hints = ToolAnnotations.from_wire({"destructiveHint": False})
        assert (hints.destructive_hint, hints.read_only_hint, hints.idempotent_hint) == (False, None, None)

    @pytest.mark.parametrize(
        ("tool", "support"),
        [
            ({}, "forbidden"),
            ({"execution": {}}, "forbidden"),
            ({"execution": {"taskSupport": "required"}}, "required"),
        ],
    )
    def test_task_support(self, tool: dict[str, Any], support: str) -> None:
        """T-14: a tool that says nothing about tasks must not be run as one."""
        assert Tool.from_wire({"name": "x", "inputSchema": {}, **tool}).task_support == support

    def test_text(self) -> None:
        """The text blocks, one to a line; others are left out."""
        result = ToolResult(
            [TextContent("a"), ImageContent("", "image/png"), TextContent("b\n"), TextContent("")]
        )
        assert result.text == "a\nb\n\n"
        assert ToolResult([]).text == ""

    @pytest.mark.parametrize(
        ("result", "data"),
        [
            ({"content": [], "structuredContent": {"a": 1}}, {"a": 1}),
            ({"content": [], "structuredContent": {"result": [1]}}, [1]),
            ({"content": [], "structuredContent": {"result": None}}, None),
            ({"content": [], "structuredContent": {"result": 1, "a": 2}}, {"result": 1, "a": 2}),
            ({"content": [], "structuredContent": {}}, {}),
            ({"content": [], "structuredContent": 0}, 0),
            ({"content": [], "structuredContent": [1, None]}, [1, None]),
            ({"content": [], "structuredContent": "a"}, "a"),
            ({"content": [], "structuredContent": False}, False),
            ({"content": [{"type": "text", "text": ' {"a": 1}\n'}]}, {"a": 1}),
            ({"content": [{"type": "text", "text": "[1]"}]}, [1]),
            ({"content": [{"type": "text", "text": "[1]"}], "structuredContent": None}, [1]),
            ({"content": [{"type": "text", "text": "[1]"}], "structuredContent": {"b": 2}}, {"b": 2}),
            ({"content": [{"type": "text", "text": "{oops}"}]}, None),
            ({"content": [{"type": "text", "text": "[NaN]"}]}, None),
            ({"content": [{"type": "text", "text": "[" * 100_000 + "]" * 100_000}]}, None),
            ({"content": [{"type": "text", "text": "12"}]}, None),
            ({"content": [{"type": "text", "text": "[1]"}, TEXT]}, None),
            ({"content": [{"type": "image", "data": "", "mimeType": ""}]}, None),
            ({"content": []}, None),
        ],
    )
    def test_data(self, result: dict[str, Any], data: Any) -> None:
        """T-06, X13: the value for programs: structured content of any type, unwrapped; or one text block of JSON."""
        assert ToolResult.from_wire(result).data == data

    def test_content_may_be_left_out_beside_a_structured_value(self) -> None:
        """Servers that send a structured value alone are understood."""
        result = ToolResult.from_wire({"structuredContent": {"a": 1}})
        assert (result.content, result.data) == ((), {"a": 1})
        with pytest.raises(InvalidResult, match="content must be an array, got null"):
            ToolResult.from_wire({"structuredContent": {"a": 1}, "content": None})

    def test_errors_are_results(self) -> None:
        """T-08: a tool's failure is a result, with its content for the model."""
        result = ToolResult.from_wire({"content": [TEXT], "isError": True})
        assert result.is_error
        assert result.text == "hello"


class TestPages:
    @pytest.mark.parametrize(("_revision", "cls", "wire"), [e for e in EXAMPLES if issubclass(e[1], Page)])
    def test_items(self, _revision: str, cls: type[Page[Any]], wire: dict[str, Any]) -> None:
        """``items`` is what the page lists, whatever its field is called."""
        page = cls.from_wire(wire)
        (name,) = [key for key in wire if key not in ("nextCursor", "_meta", *CACHED)]
        assert [item.to_wire() for item in page.items] == wire[name]

    def test_cursor(self) -> None:
        """T-01, T-02, T-04, X18: the empty cursor is a cursor; the end is a missing or null one."""
        assert ListToolsResult.from_wire({"tools": [], "nextCursor": ""}).next_cursor == ""
        assert ListToolsResult.from_wire({"tools": [], "nextCursor": None}).next_cursor is None
        assert ListToolsResult.from_wire({"tools": []}).next_cursor is None


class TestCaching:
    @pytest.mark.parametrize("wrong", ["5000", [], {}, True])
    def test_hints_that_are_none(self, wrong: Any) -> None:
        """C26-03: a hint of another kind is no hint, and does not make a list unreadable; it is kept as it came."""
        wire = {"tools": [], "ttlMs": wrong, "cacheScope": 7}
        page = ListToolsResult.from_wire(wire)
        assert (page.ttl_ms, page.cache_scope) == (None, None)
        assert page.extra == {"ttlMs": wrong, "cacheScope": 7}
        assert page.to_wire() == wire

    def test_hints(self) -> None:
        """C26-03: hints are there as they came, also those that say nothing."""
        page = ListToolsResult.from_wire({"tools": [], "ttlMs": -5, "cacheScope": "shared"})
        assert (page.ttl_ms, page.cache_scope, page.result_type) == (-5, "shared", None)


class TestDiscover:
    def test_server_info(self) -> None:
        """V26-10: the server's name is in the metadata, where it is for display and may be missing or nonsense."""
        wire = {"supportedVersions": ["2026-07-28"], "capabilities": {}}
        found = DiscoverResult.from_wire(wire)
        assert (found.server_info, found.supported_versions) == (None, ("2026-07-28",))
        key = "io.modelcontextprotocol/serverInfo"
        found = DiscoverResult.from_wire({**wire, "_meta": {key: {"name": "s", "version": "1", "x": 2}}})
        assert found.server_info == Implementation("s", "1", extra={"x": 2})
        nonsenses: list[Any] = [None, 7, "s", [], {}, {"name": "s"}]
        for nonsense in nonsenses:
            assert DiscoverResult.from_wire({**wire, "_meta": {key: nonsense}}).server_info is None


class TestSubscriptions:
    @pytest.mark.parametrize(
        ("params", "id"),
        [
            (None, None),
            ({}, None),
            ({"_meta": None}, None),
            ({"_meta": {}}, None),
            ({"_meta": [1]}, None),
            (SUBSCRIPTION, 1),
            ({"_meta": {"io.modelcontextprotocol/subscriptionId": "1"}}, "1"),
            ({"_meta": {"io.modelcontextprotocol/subscriptionId": 0}}, 0),
            ({"_meta": {"io.modelcontextprotocol/subscriptionId": ""}}, ""),
            ({"_meta": {"io.modelcontextprotocol/subscriptionId": True}}, None),
            ({"_meta": {"io.modelcontextprotocol/subscriptionId": 1.0}}, None),
            ({"_meta": {"io.modelcontextprotocol/subscriptionId": None}}, None),
        ],
    )
    def test_subscription_id(self, params: Any, id: Any) -> None:
        """S26-03, S26-04: the id is that of the request, exactly and in its own kind; nonsense is none."""
        found = subscription_id(params)
        assert (found, type(found)) == (id, type(id))

    def test_each_notification_has_it(self) -> None:
        """S26-04: whatever comes on the stream says which subscription it is for, unknown kinds too."""
        meta: dict[str, Any] = {**SUBSCRIPTION}
        task = {**DEFERRED, **meta}
        for method, params in [
            ("notifications/tools/list_changed", meta),
            ("notifications/resources/updated", {"uri": "a", **meta}),
            ("notifications/subscriptions/acknowledged", {"notifications": {}, **meta}),
            ("notifications/tasks", task),
            ("notifications/future", meta),
        ]:
            notification: Any = parse_notification(method, params)
            assert notification.subscription_id == 1
            assert notification.to_wire() == params
        assert ToolListChanged().subscription_id is None
        assert SubscriptionsListenResult.from_wire({"resultType": "complete", **meta}).subscription_id == 1

    def test_filter(self) -> None:
        """S26-01, S26-02: what the server does not honour can be told from what it does."""
        wanted = SubscriptionFilter(
            tools_list_changed=True,
            prompts_list_changed=True,
            resource_subscriptions=["file:///a", "file:///b"],
            task_ids=("t",),
        )
        assert wanted.to_wire() == {
            "toolsListChanged": True,
            "promptsListChanged": True,
            "resourceSubscriptions": ["file:///a", "file:///b"],
            "taskIds": ["t"],
        }
        honoured = SubscriptionFilter(
            tools_list_changed=True, resources_list_changed=True, resource_subscriptions=["file:///b", "file:///c"]
        )
        missing = wanted.missing_from(honoured)
        assert missing == SubscriptionFilter(
            prompts_list_changed=True, resource_subscriptions=("file:///a",), task_ids=("t",)
        )
        assert missing
        assert not wanted.missing_from(wanted)
        assert not SubscriptionFilter.from_wire({"toolsListChanged": False, "resourceSubscriptions": []})
        assert SubscriptionFilter.from_wire({"x-clocksChanged": True})


class TestDeferredTasks:
    @pytest.mark.parametrize(
        ("status", "terminal"),
        [
            ("working", False),
            ("input_required", False),
            ("completed", True),
            ("failed", True),
            ("cancelled", True),
            ("future", False),
        ],
    )
    def test_terminal(self, status: str, terminal: bool) -> None:
        """T-17: polling goes on until a terminal status."""
        assert DeferredTask.from_wire({**DEFERRED, "status": status}).is_terminal is terminal

    def test_what_came_of_it(self) -> None:
        """T-17: the state holds the result, the error or the questions, each as it stands on the wire."""
        done = DeferredTask.from_wire({**DEFERRED, "status": "completed", "result": {"content": []}})
        assert (done.result, done.error, done.input_requests) == ({"content": []}, None, None)
        asking = DeferredTask.from_wire({**DEFERRED, "status": "input_required", "inputRequests": INPUT_REQUESTS})
        assert asking.input_requests is not None
        assert [request.method for request in asking.input_requests.values()] == [
            "elicitation/create", "sampling/createMessage", "roots/list",
        ]  # fmt: skip
        created = DeferredResult.from_wire({"resultType": "task", **DEFERRED, "pollIntervalMs": 50})
        assert (created.task_id, created.poll_interval_ms, created.ttl_ms) == ("t-1", 50, None)


class TestServerInfo:
    @pytest.mark.parametrize(
        ("path", "declared"),
        [
            ("tools", True),
            ("logging", True),
            ("resources", True),
            ("resources.subscribe", True),
            ("resources.listChanged", False),
            ("prompts", False),
            ("prompts.listChanged", False),
            ("completions", False),
            ("tasks.requests.tools.call", True),
            ("tasks.requests.sampling.createMessage", False),
            ("tasks.list", False),
            ("logging.x.y", False),
            ("future", True),
            ("extensions", True),
            ("extensions.io.modelcontextprotocol/tasks", True),
            ("extensions.io.modelcontextprotocol/tasks.x", False),
            ("extensions.com.example/off", False),
            ("extensions.io", False),
        ],
    )
    def test_declares(self, path: str, declared: bool) -> None:
        """L25-06: an empty object declares a feature; false, null and silence do not."""
        capabilities = ServerCapabilities.from_wire(
            {
                "tools": {},
                "extensions": {"io.modelcontextprotocol/tasks": {}, "com.example/off": None},
                "logging": {"x": 1},
                "resources": {"subscribe": True, "listChanged": False},
                "completions": None,
                "tasks": {"requests": {"tools": {"call": {}}}},
                "future": {},
            }
        )
        assert capabilities.declares(path) is declared

    def test_construction(self) -> None:
        """What a client says of itself."""
        assert Implementation("n", "1", title="N").to_wire() == {"name": "n", "version": "1", "title": "N"}


class TestReadResource:
    def test_text(self) -> None:
        """The parts that are text, one to a line."""
        result = ReadResourceResult([TextResourceContents("a", "x"), BlobResourceContents("b", "")])
        assert result.text == "x"


class TestSampling:
    def test_blocks(self) -> None:
        """One block and several read alike."""
        one = SamplingMessage.from_wire({"role": "user", "content": TEXT})
        two = SamplingMessage.from_wire({"role": "user", "content": [TEXT, TEXT]})
        assert isinstance(one.content, TextContent)
        assert (len(one.blocks), len(two.blocks)) == (1, 2)
        assert (one.text, two.text) == ("hello", "hello\nhello")

    def test_result(self) -> None:
        """What a handler returns, as short as it can be."""
        result = CreateMessageResult("assistant", TextContent("hi"), "m")
        assert result.to_wire() == {
            "role": "assistant",
            "content": {"type": "text", "text": "hi"},
            "model": "m",
        }
        asked = CreateMessageResult("assistant", [ToolUseContent("1", "t", {})], "m", "toolUse").to_wire()
        assert asked["content"] == [{"type": "tool_use", "id": "1", "name": "t", "input": {}}]

    @staticmethod
    def messages(*messages: tuple[str, Any]) -> CreateMessageParams:
        return CreateMessageParams.from_wire(
            {"maxTokens": 1, "messages": [{"role": role, "content": content} for role, content in messages]}
        )

    def test_tool_messages(self) -> None:
        """E-13: answered tool uses pass."""
        use = {"type": "tool_use", "id": "1", "name": "t", "input": {}}
        answer = {"type": "tool_result", "toolUseId": "1", "content": []}
        self.messages(("user", TEXT), ("assistant", [TEXT, use]), ("user", answer)).check_tool_messages()
        self.messages(("user", TEXT)).check_tool_messages()

    @pytest.mark.parametrize(
        ("messages", "problem"),
        [
            ([("assistant", "use")], "must be answered, got no message after"),
            (
                [("assistant", "use"), ("user", "text")],
                r"must answer the tool uses \['1'\], got answers to \[\]",
            ),
            ([("user", "answer")], r"must answer the tool uses \[\], got answers to \['1'\]"),
            ([("assistant", "use"), ("user", "both")], "must be from the user and hold tool results alone"),
            ([("assistant", "use"), ("assistant", "answer")], "must be from the user"),
        ],
    )
    def test_bad_tool_messages(self, messages: list[tuple[str, str]], problem: str) -> None:
        """E-12, E-13: a tool use without its answer, and answers mixed with other content, are refused."""
        use = {"type": "tool_use", "id": "1", "name": "t", "input": {}}
        answer = {"type": "tool_result", "toolUseId": "1", "content": []}
        content = {"use": [use], "answer": [answer], "both": [answer, TEXT], "text": TEXT}
        with pytest.raises(InvalidResult, match=problem):
            self.messages(*[(role, content[kind]) for role, kind in messages]).check_tool_messages()


class TestElicitation:
    def test_modes(self) -> None:
        """E-02: a missing mode means form."""
        form = parse_elicitation({"message": "m", "requestedSchema": FORM})
        assert isinstance(form, ElicitFormParams)
        assert form.mode == "form"
        assert isinstance(parse_elicitation({**form.to_wire(), "mode": "form"}), ElicitFormParams)
        url = parse_elicitation({"mode": "url", "message": "m", "url": "https://x", "elicitationId": "e"})
        assert isinstance(url, ElicitURLParams)
        assert url.mode == "url"

    @pytest.mark.parametrize("mode", ["voice", None, 7, []])
    def test_unknown_mode(self, mode: Any) -> None:
        """E-07: a mode that this version does not know is refused."""
        with pytest.raises(InvalidResult, match="mode must be 'form' or 'url', got "):
            parse_elicitation({"message": "m", "mode": mode})

    def test_choices(self) -> None:
        """The forms in which a list of choices may come read alike."""
        fields = ElicitationSchema.from_wire(FORM).properties
        choices = {
            name: [(choice.const, choice.title) for choice in field.choices]
            for name, field in fields.items()
            if isinstance(field, (ChoiceSchema, MultiChoiceSchema))
        }
        assert choices == {
            "old": [("r", "Red"), ("g", "Green")],
            "plain": [("a", "a"), ("b", "b")],
            "titled": [("x", "X"), ("y", "Y")],
            "many": [("p", "p"), ("q", "q")],
            "titled_many": [("s", "S"), ("t", "T")],
            "none": [("p", "p")],
        }
        assert ChoiceSchema(enum=["a", "b"], enum_names=["only one"]).choices[1] == Choice("b", "b")
        assert isinstance(fields["future"], UnknownSchema)

    def test_defaults(self) -> None:
        """E-04: strings, numbers, booleans and choices are filled in; what the user gave stays."""
        assert fill_defaults(FORM) == {
            "name": "Ada",
            "age": 42,
            "ratio": 0.5,
            "agree": False,
            "old": "r",
            "plain": "b",
            "titled": "y",
            "many": ["p"],
            "titled_many": ["s", "t"],
            "none": [],
            "future": "#fff",
        }
        given_by_user = {"name": "Bo", "age": 0, "agree": True, "mail": "x@y"}
        filled = fill_defaults(ElicitationSchema.from_wire(FORM), given_by_user)
        assert {key: filled[key] for key in given_by_user} == given_by_user
        assert filled["plain"] == "b"
        assert "plain" not in given_by_user

    @pytest.mark.parametrize(
        "field",
        [
            {"type": "string"},
            {"type": "string", "default": None},
            {"type": "string", "enum": ["a"], "default": "z"},
            {"type": "integer", "default": 1.5},
            {"type": "array", "items": {"enum": ["a"]}},
            {"type": "array", "items": {"enum": ["a"]}, "default": ["z"]},
        ],
    )
    def test_defaults_that_do_not_fit(self, field: dict[str, Any]) -> None:
        """E-05: no default, or one that its own schema does not allow, fills nothing."""
        assert fill_defaults({"type": "object", "properties": {"f": field}}) == {}

    def test_defaults_are_not_shared(self) -> None:
        """What is filled in can be changed without changing the form."""
        form = ElicitationSchema({"f": MultiChoiceSchema(ChoiceItems(["a"]), default=["a"])})
        fill_defaults(form)["f"].append("b")
        assert fill_defaults(form) == {"f": ["a"]}

    @pytest.mark.parametrize(
        ("url", "host", "suspicious"),
        [
            ("https://bank.example/login", "bank.example", False),
            ("https://bank.example@evil.example/", "evil.example", False),
            ("https://xn--bnk-sna.example/", "xn--bnk-sna.example", True),
            ("https://www.xn--bnk-sna.example/", "www.xn--bnk-sna.example", True),
            ("https://b\u00e4nk.example/", "b\u00e4nk.example", True),
            ("https://[bad", "", True),
            ("nonsense", "", True),
        ],
    )
    def test_host(self, url: str, host: str, suspicious: bool) -> None:
        """E-06: the host can be shown with emphasis, and warned of."""
        params = ElicitURLParams("m", url, "e")
        assert (params.host, params.is_suspicious) == (host, suspicious)

    def test_required_urls(self) -> None:
        """E-09: the pages of error -32042."""
        page = {"mode": "url", "message": "m", "url": "https://x", "elicitationId": "e"}
        assert parse_url_elicitations({"elicitations": [page]}) == (ElicitURLParams("m", "https://x", "e"),)
        with pytest.raises(InvalidResult, match=r"elicitations\[0\].url is missing"):
            parse_url_elicitations({"elicitations": [{"mode": "url", "message": "m"}]})
        with pytest.raises(InvalidResult, match="must be an object, got null"):
            parse_url_elicitations(None)

    def test_answer(self) -> None:
        """What a handler returns."""
        assert ElicitResult("decline").to_wire() == {"action": "decline"}
        assert ElicitResult("accept", {"a": 1}).to_wire() == {"action": "accept", "content": {"a": 1}}


class TestRoots:
    def test_only_files(self) -> None:
        """E-14: a root is a ``file://`` URI."""
        assert Root("file:///home", "h").to_wire() == {"uri": "file:///home", "name": "h"}
        with pytest.raises(LocalProtocolError, match="must start with 'file://', got 'https://x'"):
            Root("https://x")


class TestTasks:
    @pytest.mark.parametrize(
        ("status", "terminal"),
        [
            ("working", False),
            ("input_required", False),
            ("completed", True),
            ("failed", True),
            ("cancelled", True),
        ],
    )
    def test_terminal(self, status: str, terminal: bool) -> None:
        """T-15: polling goes on until a terminal status."""
        task = Task.from_wire({**TASK, "status": status})
        assert task.is_terminal is terminal
        assert task.ttl is None


class TestNotifications:
    @pytest.mark.parametrize(("_revision", "cls", "wire"), [e for e in EXAMPLES if hasattr(e[1], "method")])
    def test_known(self, _revision: str, cls: Any, wire: dict[str, Any]) -> None:
        """A method has its class."""
        notification = parse_notification(cls.method, wire)
        assert type(notification) is cls
        assert notification.to_wire() == wire

    def test_without_parameters(self) -> None:
        """P-01: list changes need no parameters."""
        assert parse_notification("notifications/tools/list_changed") == ToolListChanged()
        assert parse_notification("notifications/tools/list_changed", None).to_wire() == {}

    def test_unknown(self) -> None:
        """A notification that this version does not know is kept whole."""
        notification = parse_notification("notifications/x", {"a": 1})
        assert notification == UnknownNotification("notifications/x", {"a": 1})
        assert notification.to_wire() == {"a": 1}
        assert parse_notification("notifications/x") == UnknownNotification("notifications/x")

    def test_malformed(self) -> None:
        """A known method with parameters of another shape is refused."""
        with pytest.raises(InvalidResult, match="level is missing"):
            parse_notification("notifications/message", {"data": 1})


class TestThePackage:
    def test_all_is_complete(self) -> None:
        """Each module's ``__all__`` is re-exported, and nothing else."""
        exported = {name for module in MODULES for name in module.__all__ if module.__name__[-5:] != ".base"}
        assert sorted(exported | {"Model", "Page"}) == models.__all__ == sorted(models.__all__)
        assert set(models._HOMES) == set(models.__all__)
        for name in models.__all__:
            assert getattr(models, name) is getattr(
                importlib.import_module(f"{models.__name__}.{models._HOMES[name]}"), name
            )
        assert dir(models) == models.__all__
        with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
            _ = models.Nothing

    @pytest.mark.parametrize("cls", ALL_MODELS, ids=lambda cls: cls.__name__)
    def test_annotations_can_be_read(self, cls: type[Model]) -> None:
        """Every annotation is one of the forms that models read, and resolves for those who evaluate it."""
        assert set(cls._shape().wire_names) == set(cls._fields) - {"extra"}
        assert set(get_type_hints(cls)) >= set(cls._fields)

    def test_other_annotations_are_refused(self) -> None:
        """A form of annotation that models cannot read is an error of whoever writes the model."""

        class Odd(Model):
            when: complex

        with pytest.raises(TypeError, match="uses the annotation 'complex'"):
            Odd.from_wire({})

    def test_every_kind_in_every_place(self) -> None:
        """Subclasses of the JSON kinds are read like the kinds themselves, and so are arrays of each kind."""

        class Word(str):
            pass

        class Kinds(Model):
            words: Sequence[str]
            flags: Sequence[bool]
            counts: Sequence[int]
            by_name: Mapping[str, float]
            anything: Sequence[Any]
            word: str

        wire = {
            "words": ["a"],
            "flags": [True, False],
            "counts": [1],
            "byName": {"x": 0.5},
            "anything": [None],
            "word": Word("w"),
        }
        assert Kinds.from_wire(wire).to_wire() == wire
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"flags": [0]}, r"^flags\[0\] must be true or false, got 0$"),
            ({"counts": [1, "2"]}, r"^counts\[1\] must be an integer, got '2'$"),
            ({"byName": {"x": "y"}}, "^byName.x must be a number, got 'y'$"),
        ]
        for change, message in wrong:
            with pytest.raises(InvalidResult, match=message):
                Kinds.from_wire({**wire, **change})

    def test_a_page_of_its_own(self) -> None:
        """A page that does not say what it lists cannot be walked."""
        with pytest.raises(NotImplementedError):
            _ = Page[Any]().items

    def test_a_field_wins_over_extra(self) -> None:
        """A member that became known in the meantime is written once."""
        tool = dataclasses.replace(
            Tool.from_wire({"name": "x", "inputSchema": {}, "icons": None}), icons=[Icon("a")]
        )
        assert tool.to_wire()["icons"] == [{"src": "a"}]
        assert Tool("x", extra={"name": "y"}).to_wire()["name"] == "x"

    def test_immutable(self) -> None:
        """Results are frozen."""
        result = ToolResult.from_wire({"content": [TEXT]})
        with pytest.raises(dataclasses.FrozenInstanceError):
            result.content = ()  # type: ignore[misc]
        with pytest.raises(TypeError, match="cannot be changed"):
            result.meta["a"] = 1  # type: ignore[index]

    def test_calling_a_tool_loads_little(self) -> None:
        """A tool's result needs neither dataclasses nor inspect nor the other subjects."""
        script = (
            "import sys, types\n"
            "package = types.ModuleType('streamhttp_client')\n"
            "package.__path__ = [sys.argv[1]]  # without what the package itself imports\n"
            "sys.modules['streamhttp_client'] = package\n"
            "before = set(sys.modules)\n"
            "from streamhttp_client.protocol import calls\n"
            "operation = calls.call_tool('x', {})\n"
            "models = {m for m in sys.modules if m.startswith('streamhttp_client.protocol.models')}\n"
            "assert not models, models\n"
            "from streamhttp_client.protocol.models import Tool\n"
            "operation.parse({'content': [{'type': 'text', 'text': 'x'}]})\n"
            "new = set(sys.modules) - before\n"
            "assert not new & {'dataclasses', 'inspect', 'typing_extensions', 'base64'}, new\n"
            "print(*sorted(m.rpartition('.')[2] for m in new if '.models.' in m))\n"
        )
        root = str(Path(models.__file__).parents[2])
        done = subprocess.run(
            [sys.executable, "-c", script, root], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["base", "content", "tools"]
