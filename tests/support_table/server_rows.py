"""The rows of what a server offers."""

from __future__ import annotations

from typing import Any

import pytest

from streamhttp_client import Client, InvalidResult, LogMessage, Progress
from tests.support.rawserver import Peer, Request
from tests.support_table.table import proves
from tests.support_table.worlds import OK, PREFIX, World, meta_of, note

HANDSHAKES = "2024-11-05 2025-03-26 2025-06-18 2025-11-25"
ALL = f"{HANDSHAKES} 2026-07-28"


# --- tools, resources, templates, prompts


@proves("tools, resources, templates, prompts", ALL, "yes")
def features(world: World) -> None:
    world.declare(resources={}, prompts={})
    results: dict[str, dict[str, Any]] = {
        "tools/list": {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]},
        "resources/list": {"resources": [{"uri": "a:1", "name": "one"}]},
        "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "a:{n}", "name": "many"}]},
        "resources/read": {"contents": [{"uri": "a:1", "text": "words"}, {"uri": "a:1", "blob": "AAE="}]},
        "prompts/list": {"prompts": [{"name": "ask", "arguments": [{"name": "who", "required": True}]}]},
        "prompts/get": {"messages": [{"role": "user", "content": {"type": "text", "text": "who?"}}]},
        "tools/call": OK,
    }
    for key, result in results.items():
        world.on(key, result)
    with world.client() as client:
        assert [tool.name for tool in client.list_tools()] == ["echo"]
        assert [resource.uri for resource in client.list_resources()] == ["a:1"]
        assert [template.uri_template for template in client.list_resource_templates()] == ["a:{n}"]
        text, blob = client.read_resource("a:1").contents
        assert (text.text, blob.blob) == ("words", "AAE=")  # type: ignore[union-attr]
        assert [prompt.name for prompt in client.list_prompts()] == ["ask"]
        (message,) = client.get_prompt("ask", {"who": "you"}).messages
        assert message.content.text == "who?"  # type: ignore[union-attr]
        assert client.call_tool("echo", {"a": [1]}).text == "ok"
    assert [key for key in world.keys() if key != "GET"] == list(results)
    sent = {request.key: request.json.get("params") or {} for request in world.server.requests if request.json}
    assert sent["tools/call"]["arguments"] == {"a": [1]}
    assert sent["prompts/get"]["arguments"] == {"who": "you"}
    assert sent["resources/read"]["uri"] == "a:1"


# --- structured content

STRUCTURED_ROW = "`structuredContent`, output schemas"


def _tool(output_schema: dict[str, Any]) -> dict[str, Any]:
    return {"tools": [{"name": "echo", "inputSchema": {"type": "object"}, "outputSchema": output_schema}]}


def _structured(value: Any) -> dict[str, Any]:
    return {"content": [], "structuredContent": value}


@proves(STRUCTURED_ROW, "2024-11-05 2025-03-26", "not in it")
def no_structured_content(world: World) -> None:
    """It is not waited for, and nothing is listed for its sake: values come as text."""
    world.on("tools/call", {"content": [{"type": "text", "text": '{"n": 1}'}]})
    with world.client() as client:
        result = client.call_tool("echo")
        assert result.structured_content is None and result.data == {"n": 1}
    assert [key for key in world.keys() if key != "GET"] == ["tools/call"]


def _checked(client: Client, world: World, schema: dict[str, Any], good: Any, bad: Any) -> None:
    pytest.importorskip("jsonschema", reason="checking needs the extra [schema]")
    world.on("tools/list", _tool(schema))
    assert client.list_tools(cache="refresh")[0].output_schema == schema
    world.on("tools/call", _structured(good), _structured(bad))
    assert client.call_tool("echo").structured_content == good
    with pytest.raises(InvalidResult, match="does not fit"):
        client.call_tool("echo")


@proves(STRUCTURED_ROW, "2025-06-18 2025-11-25", "yes")
def structured_content(world: World) -> None:
    world.on("tools/call", _structured({"n": 1, "m": 2}), _structured({"result": [1]}))
    with world.client() as client:
        assert client.call_tool("echo").data == {"n": 1, "m": 2}
        assert client.call_tool("echo").data == [1]  # how servers wrap what is no object
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        _checked(client, world, schema, {"n": 1}, {"n": "one"})


@proves(STRUCTURED_ROW, "2026-07-28", "yes, any JSON value")
def any_structured_content(world: World) -> None:
    values = [{"n": 1, "m": 2}, [1, None], "text", 1.5, False, 0, None]
    world.on("tools/call", *map(_structured, values))
    with world.client() as client:
        assert [client.call_tool("echo").data for _ in values] == values
        _checked(client, world, {"type": "array", "items": {"type": "integer"}}, [1, 2], [1, "two"])


# --- completion

COMPLETION_ROW = "completion, with the arguments chosen before"
PROMPT = {"type": "ref/prompt", "name": "ask"}


def _complete(world: World, context: dict[str, str] | None) -> Any:
    """The parameters with which the server was asked."""
    world.on("completion/complete", {"completion": {"values": ["Ada", "Alan"]}})
    with world.client() as client:
        result = client.complete(PROMPT, {"name": "who", "value": "A"}, context)
        assert list(result.completion.values) == ["Ada", "Alan"]
    params = world.server.seen("completion/complete")[-1].json["params"]
    assert params["ref"] == PROMPT and params["argument"] == {"name": "who", "value": "A"}
    return params


@proves(COMPLETION_ROW, "2024-11-05 2025-03-26", "they are sent, though not in it")
@proves(COMPLETION_ROW, "2025-06-18 2025-11-25 2026-07-28", "yes")
def completion(world: World) -> None:
    if world.revision != "2024-11-05":  # which has no capability to declare for it
        world.declare(completions={})
    assert _complete(world, {"where": "here"})["context"] == {"arguments": {"where": "here"}}
    assert "context" not in _complete(world, None)


# --- progress, pages


@proves("progress, pages", ALL, "yes")
def progress_and_pages(world: World) -> None:
    def step(count: int) -> Any:
        def make(request: Request) -> dict[str, Any]:
            token = meta_of(request)["progressToken"]
            return note("notifications/progress", {"progressToken": token, "progress": count, "total": 2})

        return make

    def page(peer: Peer, request: Request) -> None:
        cursor = (request.json.get("params") or {}).get("cursor", "page-1")
        after = {"page-1": {"nextCursor": "page-2"}, "page-2": {"nextCursor": ""}, "": {}}[cursor]
        tools = [{"name": f"tool of {cursor!r}", "inputSchema": {"type": "object"}}]
        world.says(result={"tools": tools, **after})(peer, request)

    world.on("tools/list", page)
    world.on("tools/call", world.says(step(1), step(2)))
    seen: list[Progress] = []
    with world.client() as client:
        assert client.call_tool("echo", on_progress=seen.append).text == "ok"
        names = [tool.name for tool in client.list_tools()]
    assert [(event.progress, event.total) for event in seen] == [(1, 2), (2, 2)]
    assert names == ["tool of 'page-1'", "tool of 'page-2'", "tool of ''"]


# --- log messages


def _logs(world: World) -> list[str | None]:
    """The levels that calls named, before and after one was set; what the server then said was heard."""
    world.declare(logging={})
    world.on("tools/call", OK, world.says(note("notifications/message", {"level": "warning", "data": "hot"})))
    heard: list[LogMessage] = []
    with world.client() as client:
        client.call_tool("echo")
        client.set_logging_level("warning")
        client.call_tool("echo", on_log=heard.append)
        client.call_tool("echo")
    assert [(message.level, message.data) for message in heard] == [("warning", "hot")]
    return [meta_of(call).get(f"{PREFIX}logLevel") for call in world.calls]


@proves("log messages", HANDSHAKES, "level set once")
def level_set_once(world: World) -> None:
    assert _logs(world) == [None, None, None]
    (request,) = world.server.seen("logging/setLevel")
    assert request.json["params"] == {"level": "warning"}


@proves("log messages", "2026-07-28", "level in each request")
def level_in_each_request(world: World) -> None:
    assert _logs(world) == [None, "warning", "warning"]
    assert world.keys() == ["tools/call"] * 3


# --- ping


@proves("ping", HANDSHAKES, "yes")
def ping(world: World) -> None:
    """In both directions."""
    answers = world.asks("ping")
    with world.client() as client:
        client.send_ping()
        client.call_tool("echo")
    assert len(world.server.seen("ping")) == 1 and answers == [{"result": {}}]


@proves("ping", "2026-07-28", "`server/discover` in its place")
def discovering_for_ping(world: World) -> None:
    with world.client() as client:
        client.send_ping()
    assert [request.key for request in world.server.requests] == ["server/discover"]
