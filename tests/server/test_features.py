"""Tools, resources, prompts, completion, and what is sent to clients unasked."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import pytest

from streamhttp_client.exceptions import LocalProtocolError, RPCError, ToolError
from streamhttp_client.protocol.models.content import TextContent
from streamhttp_client.server import Blob, Context, Server, WSGIApp
from tests.server.kit import Direct, Reply

PNG = b"\x89PNG"


@dataclass
class Point:
    x: int
    y: int


def text(result: Any) -> Any:
    (block,) = result["content"]
    return block["text"]


# Results of tools.


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("words", [{"type": "text", "text": "words"}]),
        (7, [{"type": "text", "text": "7"}]),
        (None, []),
        ([1, 2], [{"type": "text", "text": "[1, 2]"}]),
        (["a", Blob(PNG, "image/png")], [{"type": "text", "text": "a"}, {"type": "image"}]),
        (Blob(PNG, "audio/wav"), [{"type": "audio", "mimeType": "audio/wav"}]),
        (Blob(PNG, "application/pdf", uri="file:///a.pdf"), [{"type": "resource"}]),
        (PNG, [{"type": "resource"}]),
        (TextContent("model"), [{"type": "text", "text": "model"}]),
        ({"type": "text", "text": "block"}, [{"type": "text", "text": "block"}]),
    ],
)
def test_content_of_a_result(server: Server, direct: Direct, value: Any, content: Any) -> None:
    """What a tool returns becomes blocks of the protocol."""

    @server.tool()
    def give() -> Any:
        return value

    result = direct.tool("give")
    assert "isError" not in result and "structuredContent" not in result
    assert len(result["content"]) == len(content)
    for found, wanted in zip(result["content"], content, strict=True):
        assert wanted.items() <= found.items()
        if found["type"] in ("image", "audio"):
            assert base64.b64decode(found["data"]) == PNG


@pytest.mark.parametrize("value", [{"x": 1, "y": 2}, Point(1, 2)])
def test_structured_result(server: Server, direct: Direct, value: Any) -> None:
    """An object is structured content, and text for clients that do not know that."""

    @server.tool()
    def give() -> Any:
        return value

    result = direct.tool("give")
    assert result["structuredContent"] == {"x": 1, "y": 2} == json.loads(text(result))


def test_output_schema_from_the_result(server: Server, direct: Direct) -> None:
    pytest.importorskip("msgspec")

    @server.tool()
    def give() -> Point:
        return Point(1, 2)

    listed = {tool["name"]: tool for tool in direct.answer("tools/list")["tools"]}
    assert listed["give"]["outputSchema"]["required"] == ["x", "y"]
    assert direct.tool("give")["structuredContent"] == {"x": 1, "y": 2}


def test_whole_result_made_by_the_tool(server: Server, direct: Direct) -> None:
    @server.tool()
    def give() -> Any:
        return {"content": ["text"], "isError": True, "_meta": {"a": 1}}

    assert direct.tool("give") == {
        "content": [{"type": "text", "text": "text"}],
        "isError": True,
        "_meta": {"a": 1},
    }


def test_errors_of_a_tool(server: Server, direct: Direct) -> None:
    """ToolError is an error result with its text; RPCError is an error of the protocol."""

    @server.tool()
    def fail() -> str:
        raise ToolError("no such row")

    @server.tool()
    def refuse() -> str:
        raise RPCError("go there first", code=-32042, data={"elicitations": []})

    assert direct.tool("fail") == {"content": [{"type": "text", "text": "no such row"}], "isError": True}
    assert direct.tool("refuse") == {"code": -32042, "message": "go there first", "data": {"elicitations": []}}


def test_generator_streams_progress(server: Server, direct: Direct) -> None:
    """What it yields is progress, what it returns is the result."""

    @server.tool()
    def steps() -> Generator[Any, None, str]:
        yield 1
        yield 2, 3
        yield 3, 3, "all"
        return "done"

    @server.tool()
    def words() -> Generator[str, None, str]:
        yield "one"
        yield "two"
        return "done"

    def progress(name: str) -> list[Any]:
        params = {"name": name, "arguments": {}, "_meta": {"progressToken": "t"}}
        with direct.request("tools/call", params) as reply:
            lines = reply.body().decode().splitlines()
        *found, last = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
        assert text(last["result"]) == "done"
        return [message["params"] for message in found]

    token = {"progressToken": "t"}
    assert progress("steps") == [
        {**token, "progress": 1},
        {**token, "progress": 2, "total": 3},
        {**token, "progress": 3, "total": 3, "message": "all"},
    ]
    assert [(step["progress"], step["message"]) for step in progress("words")] == [(1, "one"), (2, "two")]


def test_progress_grows_and_is_sent_only_if_asked_for(server: Server, direct: Direct) -> None:
    """P-02, P-05: values that do not grow are not sent, and nothing is without a token."""

    @server.tool()
    def report(ctx: Context) -> str:
        for done in (1, 1, 0.5, 2):
            ctx.progress(done)
        return ""

    def count(meta: Any) -> int:
        with direct.request("tools/call", {"name": "report", "_meta": meta}) as reply:
            return reply.body().count(b"notifications/progress")

    assert count({"progressToken": 0}) == 2
    assert count({}) == count({"progressToken": None}) == count({"progressToken": 1.5}) == count([]) == 0


def test_log_level(server: Server, direct: Direct) -> None:
    """G-01: messages below the level that the client set are not sent; "info" before it set any."""

    @server.tool()
    def talk(ctx: Context) -> str:
        for level in ("debug", "info", "error"):
            ctx.log(level, {"level": level}, logger="talker")
        with pytest.raises(LocalProtocolError):
            ctx.log("loud", "")
        return ""

    def levels() -> list[str]:
        with direct.request("tools/call", {"name": "talk"}) as reply:
            lines = reply.body().decode().splitlines()
        messages = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
        return [message["params"]["level"] for message in messages if "params" in message]

    assert levels() == ["info", "error"]
    assert direct.answer("logging/setLevel", {"level": "error"}) == {}
    assert levels() == ["error"]
    assert direct.answer("logging/setLevel", {"level": "debug"}) == {}
    assert levels() == ["debug", "info", "error"]
    for bad in ({"level": "loud"}, {"level": []}, {}):
        assert direct.answer("logging/setLevel", bad)["code"] == -32602


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 129])
def test_tool_names(server: Server, name: str) -> None:
    with pytest.raises(LocalProtocolError, match="tool name"):
        server.tool(name or " ")(lambda: "")


def test_registering_twice_or_without_parentheses(server: Server) -> None:
    with pytest.raises(LocalProtocolError, match="taken"):
        server.tool("add")(lambda: "")
    with pytest.raises(LocalProtocolError, match="parentheses"):
        server.tool(lambda: "")  # type: ignore[arg-type]


# Lists.


def test_pages(caplog: pytest.LogCaptureFixture) -> None:
    """Pages follow each other by cursor; a cursor that is none of the list's is refused with -32602."""
    server = Server("test", "1", page_size=2)
    for number in range(5):
        server.tool(f"t{number}")(lambda: "")
    app = server.wsgi()
    direct = Direct(app).initialize()
    names: list[str] = []
    cursors: list[str] = []
    params: dict[str, Any] = {}
    while True:
        page = direct.answer("tools/list", params)
        names += [tool["name"] for tool in page["tools"]]
        if "nextCursor" not in page:
            break
        cursors.append(page["nextCursor"])
        params = {"cursor": page["nextCursor"]}
    assert names == [f"t{number}" for number in range(5)] and len(cursors) == 2
    for bad in ("", "nonsense", "é", 7, base64.b64encode(b"after 99").decode(), base64.b64encode(b"after -1").decode()):
        assert direct.answer("tools/list", {"cursor": bad})["code"] == -32602, bad
    server.tools.remove("t0")
    assert len(direct.answer("tools/list")["tools"]) == 2
    app.close()


# Resources.


@pytest.fixture
def resources(server: Server) -> Server:
    @server.resource("test://text", media_type="text/plain", annotations={"priority": 1.0}, size=4)
    def words() -> str:
        """Some words."""
        return "text"

    @server.resource("test://bytes")
    def raw() -> bytes:
        return PNG

    @server.resource("test://json/{id}/of/{+path}")
    def family(id: str, path: str) -> Any:
        return {"id": id, "path": path}

    @server.resource("test://several")
    def several() -> Any:
        return [{"uri": "test://several/1", "text": "1"}, {"uri": "test://several/2", "blob": "AA=="}]

    @server.resource("test://slow")
    def slow(ctx: Context) -> str:
        ctx.progress(1)
        return "slow"

    return server


def test_resources(resources: Server, direct: Direct) -> None:
    listed = direct.answer("resources/list")["resources"]
    assert [item["uri"] for item in listed] == ["test://text", "test://bytes", "test://several", "test://slow"]
    assert listed[0] == {
        "uri": "test://text",
        "name": "words",
        "description": "Some words.",
        "mimeType": "text/plain",
        "annotations": {"priority": 1.0},
        "size": 4,
    }
    (template,) = direct.answer("resources/templates/list")["resourceTemplates"]
    assert template == {"uriTemplate": "test://json/{id}/of/{+path}", "name": "family"}


@pytest.mark.parametrize(
    ("uri", "contents"),
    [
        ("test://text", {"mimeType": "text/plain", "text": "text"}),
        ("test://bytes", {"mimeType": "application/octet-stream", "blob": base64.b64encode(PNG).decode()}),
        ("test://json/a%20b/of/c/d", {"mimeType": "application/json", "text": '{"id": "a b", "path": "c/d"}'}),
        ("test://slow", {"text": "slow"}),
    ],
)
def test_read_resource(resources: Server, direct: Direct, uri: str, contents: Any) -> None:
    assert direct.answer("resources/read", {"uri": uri}) == {"contents": [{"uri": uri, **contents}]}


def test_read_several(resources: Server, direct: Direct) -> None:
    found = direct.answer("resources/read", {"uri": "test://several"})["contents"]
    assert [item["uri"] for item in found] == ["test://several/1", "test://several/2"]


def test_resource_that_speaks_is_answered_by_a_stream(resources: Server, direct: Direct) -> None:
    params = {"uri": "test://slow", "_meta": {"progressToken": 1}}
    with direct.request("resources/read", params) as reply:
        assert b"notifications/progress" in reply.body()


@pytest.mark.parametrize("method", ["resources/read", "resources/subscribe"])
@pytest.mark.parametrize(
    ("params", "code"),
    [({"uri": "test://none"}, -32002), ({"uri": "test://json/a"}, -32002), ({"uri": 7}, -32602), ({}, -32602)],
)
def test_unknown_resource(resources: Server, direct: Direct, method: str, params: Any, code: int) -> None:
    assert direct.answer(method, params)["code"] == code


@pytest.mark.parametrize("uri", ["test://{a}/{a}", "test://{a", "test://{?q}", "test://{b}"])
def test_bad_templates(server: Server, uri: str) -> None:
    """Templates that cannot be read back, or whose variables are not the parameters."""
    with pytest.raises(LocalProtocolError):
        server.resource(uri)(lambda a: "")


# Prompts and completion.


def test_prompts(server: Server, direct: Direct) -> None:
    @server.prompt(title="Greet")
    def greet(name: str, tone: str = "kind") -> Any:
        """Greets somebody."""
        return [f"Greet {name}, be {tone}.", {"role": "assistant", "content": "Hello!"}, Blob(PNG, "image/png")]

    (listed,) = direct.answer("prompts/list")["prompts"]
    assert listed == {
        "name": "greet",
        "title": "Greet",
        "description": "Greets somebody.",
        "arguments": [{"name": "name", "required": True}, {"name": "tone", "required": False}],
    }
    result = direct.answer("prompts/get", {"name": "greet", "arguments": {"name": "Ada"}})
    assert result["description"] == "Greets somebody."
    assert [(message["role"], message["content"]["type"]) for message in result["messages"]] == [
        ("user", "text"),
        ("assistant", "text"),
        ("user", "image"),
    ]
    assert result["messages"][0]["content"]["text"] == "Greet Ada, be kind."


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"name": "none"},
        {"name": "greet"},
        {"name": "greet", "arguments": []},
        {"name": "greet", "arguments": {"x": ""}},
    ],
)
def test_bad_prompt_requests(server: Server, direct: Direct, params: Any) -> None:
    server.prompt("greet")(lambda name: name)
    assert direct.answer("prompts/get", params)["code"] == -32602


def test_prompt_that_fails_tells_nothing(server: Server, direct: Direct) -> None:
    @server.prompt()
    def broken(ctx: Context) -> str:
        raise ValueError("the password is hunter2")

    assert direct.answer("prompts/get", {"name": "broken"}) == {"code": -32603, "message": "internal error"}


def test_completion(server: Server, direct: Direct) -> None:
    """T-13: at most 100 values, how many there are, and what was chosen before."""
    server.prompt("greet")(lambda name: name)

    @server.completion(prompt="greet", argument="name")
    def names(typed: str, known: dict[str, str]) -> list[str]:
        return [f"{typed}{known.get('suffix', '')}{number}" for number in range(int(known.get("count", "2")))]

    def complete(**changes: Any) -> Any:
        params = {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "name", "value": "a"}}
        return direct.answer("completion/complete", params | changes)

    assert complete() == {"completion": {"values": ["a0", "a1"], "total": 2, "hasMore": False}}
    many = complete(context={"arguments": {"count": "150", "suffix": "-"}})["completion"]
    assert (len(many["values"]), many["total"], many["hasMore"], many["values"][0]) == (100, 150, True, "a-0")
    assert complete(argument={"name": "other", "value": ""})["completion"]["values"] == []
    assert complete(ref={"type": "ref/resource", "uri": "test://x"})["completion"]["values"] == []
    for bad in ({"ref": 1}, {"argument": {}}, {"ref": {}}, {"argument": {"name": "name", "value": 1}}):
        assert complete(**bad)["code"] == -32602
    with pytest.raises(LocalProtocolError):
        server.completion(argument="x")(names)


# What is sent unasked.


def heard(listening: Reply, count: int) -> list[Any]:
    """The next messages on a listening stream, at least ``count``; the stream stays open."""
    found: list[Any] = []
    while len(found) < count:
        lines = next(listening.chunks).decode().splitlines()
        found += [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    return found


def silent(listening: Reply, direct: Direct) -> bool:
    """Whether nothing more came; this ends the session."""
    with direct.send("DELETE") as reply:
        assert reply.status == 204
    return b"data: " not in listening.body()


def test_updates_reach_who_subscribed(resources: Server, app: WSGIApp) -> None:
    """Only sessions that listen and subscribed; unsubscribing ends it."""
    first, second, third = (Direct(app).initialize() for _ in range(3))
    assert resources.notify_resource_updated("test://text") == 0
    for direct in (first, second):
        assert direct.answer("resources/subscribe", {"uri": "test://text"}) == {}
    assert second.answer("resources/unsubscribe", {"uri": "test://text"}) == {}
    with first.send("GET") as one, second.send("GET") as two, third.send("GET") as three:
        assert resources.notify_resource_updated("test://text") == 1
        assert resources.notify_resource_updated("test://bytes") == 0
        assert resources.notify_list_changed("tools") == 3
        changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        updated = {
            "jsonrpc": "2.0",
            "method": "notifications/resources/updated",
            "params": {"uri": "test://text"},
        }
        assert heard(one, 2) == [updated, changed]
        assert heard(two, 1) == heard(three, 1) == [changed]
        assert silent(one, first) and silent(two, second) and silent(three, third)
    with pytest.raises(LocalProtocolError):
        resources.notify_list_changed("roots")  # type: ignore[arg-type]


def test_each_message_goes_to_one_stream_only(server: Server, app: WSGIApp) -> None:
    """The newest of several listening streams; more than four are refused."""
    direct = Direct(app).initialize()
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(direct.send("GET")) for _ in range(4)]
        with direct.send("GET") as reply:
            assert (reply.status, reply.headers["retry-after"]) == (503, "5")
            reply.body()
        assert server.notify_list_changed("tools") == 1
        assert len(heard(streams[3], 1)) == 1
        assert all(silent(stream, direct) for stream in streams[3:])
        assert not any(b"data: " in stream.body() for stream in streams[:3])


def test_listening_again_goes_on_where_it_was_left(server: Server) -> None:
    """What is sent while nobody is connected is not lost, and what was delivered does not come again."""
    app = server.wsgi(keepalive=0.01)
    direct = Direct(app).initialize()
    with direct.send("GET") as listening:
        server.notify_list_changed("tools")
        server.notify_list_changed("prompts")
        assert len(heard(listening, 2)) == 2
        assert next(listening.chunks) == b":\n\n"  # so the server has seen that the rest was taken
    assert server.notify_list_changed("resources") == 1
    with direct.send("GET") as listening:
        assert [message["method"] for message in heard(listening, 1)] == ["notifications/resources/list_changed"]
        assert silent(listening, direct)
    app.close()


def test_capabilities_follow_what_is_registered() -> None:
    def capabilities(server: Server) -> set[str]:
        return set(server.capabilities())

    server = Server("test", "1")
    assert capabilities(server) == {"logging"}
    server.resource("test://x")(lambda: "")
    server.prompt("p")(lambda a: "")
    server.completion(prompt="p", argument="a")(lambda value, known: [])
    assert capabilities(server) == {"logging", "resources", "prompts", "completions"}
