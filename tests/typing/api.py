"""Typical code of a user. Nothing runs it: test_typing.py lets mypy --strict read it.

``assert_type`` states what each expression is; a line with ``type: ignore`` must be an error, since unneeded ones are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import requests
from typing_extensions import assert_type

from streamhttp_client import (
    Call,
    CallTimeout,
    Client,
    ConnectionLost,
    HTTPStatusError,
    LogMessage,
    MessageTooLarge,
    Progress,
    RetryPolicy,
    RPCError,
    Session,
    StreamCursor,
    StreamHTTPError,
    Timeout,
    Tool,
    ToolError,
    ToolResult,
)
from streamhttp_client.notebook import ProgressBar
from streamhttp_client.server import Context, Server
from streamhttp_client.sse import Event, SSEParser, iter_events

URL = "https://example.com/mcp"


def connect() -> Client:
    Client(URL, auth=("user", "password"), timeout=60)
    Client(URL, headers={"X-Team": "blue"}, timeout=Timeout(connect=5, read=30.0, total=None))
    Client(URL, http=requests.Session(), retry=RetryPolicy(attempts=3), protocol="2025-06-18")
    Client(URL, auth=requests.auth.HTTPDigestAuth("user", "password"))
    Client(URL, verify="/etc/ca.pem", cert=("cert.pem", "key.pem"), proxies={"https": "http://proxy:3128"})
    Client(URL, 60)  # type: ignore[call-arg, arg-type]
    Client(url=URL, timeout="60")  # type: ignore[arg-type]
    return Client(URL, on_session_expired="raise", max_message_size=1 << 20)


def call(client: Client) -> None:
    tools = client.list_tools()
    assert_type(tools, list[Tool])
    assert_type(client.iter_tools(), Iterator[Tool])
    assert_type(tools[0].name, str)
    assert_type(tools[0].description, str | None)
    assert_type(tools[0].input_schema, Mapping[str, Any])
    if tools[0].annotations is not None:
        assert_type(tools[0].annotations.read_only_hint, bool | None)

    result = client.call_tool("crunch", {"rows": 10}, on_progress=print, timeout=5, idempotent=True)
    assert_type(result, ToolResult)
    assert_type(result.text, str)
    assert_type(result.is_error, bool)
    for block in result.content:
        if block.type == "text":
            assert_type(block.type, str)
    client.call_tool("crunch", {"rows": 10}, 5)  # type: ignore[call-arg]
    client.call_tool("crunch", ["rows"])  # type: ignore[arg-type]
    client.call_tool("crunch", on_progress=lambda: None)  # type: ignore[misc, arg-type]

    assert_type(client.request("x/y", {"a": 1}), dict[str, Any])
    client.notify("x/z")


def stream(client: Client) -> ToolResult:
    with client.stream_tool("crunch", {"rows": 10}) as running:
        assert_type(running, Call[ToolResult])
        for event in running:
            if isinstance(event, Progress):
                assert_type(event.progress, float)
                assert_type(event.total, float | None)
                assert_type(event.fraction, float | None)
                assert_type(event.eta, float | None)
            elif isinstance(event, LogMessage):
                assert_type(event.level, str)
        assert_type(running.cursor, StreamCursor | None)
        return running.result


def verbs(client: Client) -> None:
    assert_type(client.read_resource("file:///a").text, str)
    assert_type([resource.uri for resource in client.list_resources()], list[str])
    assert_type([template.uri_template for template in client.list_resource_templates()], list[str])
    assert_type([prompt.name for prompt in client.list_prompts()], list[str])
    for message in client.get_prompt("greet", {"name": "Ada"}).messages:
        assert_type(message.role, str)
    client.complete({"type": "ref/prompt", "name": "greet"}, {"name": "name", "value": "A"})
    client.subscribe_resource("file:///a")
    client.set_logging_level("info")
    client.send_ping(timeout=1)


def resume(saved: str) -> Any:
    session = Session.from_json(saved)
    assert_type(session.session_id, str | None)
    assert_type(session.cursors, tuple[StreamCursor, ...])
    if session.server_info is not None:
        assert_type(session.server_info.name, str)
    with Client.resume(session, auth=("user", "password")) as client:
        assert_type(client, Client)
        assert_type(client.session.to_json(), str)
        return client.resume_call(session.cursors[0], on_progress=ProgressBar("crunch"))


def handle(client: Client) -> None:
    try:
        client.call_tool("crunch")
    except ToolError as error:
        print(error.result.text)
    except (ConnectionLost, CallTimeout) as error:
        assert_type(error.may_have_executed, bool)
        print(error.cursor, error.attempts)
    except RPCError as error:
        assert_type(error.code, int)
    except HTTPStatusError as error:
        assert_type(error.status, int)
        assert_type(error.headers, Mapping[str, str])
        assert_type(error.body, bytes)
    except MessageTooLarge as error:
        assert_type(error.limit, int)
    except StreamHTTPError as error:
        raise SystemExit(1) from error


def ask(params: Any) -> dict[str, Any]:
    return {"action": "accept", "content": {}}


def answer(url: str) -> None:
    Client(url, elicitation=ask, sampling=ask, roots=["file:///srv"], on_log=print, on_notification=print)
    Client(url, roots=lambda: [{"uri": "file:///srv", "name": "data"}])


def listen(client: Client) -> None:
    with client.listen() as events:
        for event in events:
            print(event)
    with client.listen(print) as listener:
        assert_type(listener.wait_open(5), bool)
        assert_type(listener.failure, BaseException | None)


def parse(chunks: list[bytes]) -> None:
    parser = SSEParser(max_event_size=1 << 20)
    for chunk in chunks:
        for event in parser.feed(chunk):
            assert_type(event, Event)
            assert_type(event.data, str)
    assert_type(parser.retry_ms, int | None)
    for event in iter_events(chunks):
        assert_type(event.id, str)


def serve() -> None:
    server = Server("crunch", "1.0")

    @server.tool()
    def crunch(rows: int, ctx: Context) -> str:
        assert_type(ctx.cancelled, bool)
        ctx.progress(1, rows, "one")
        return "done"

    assert_type(crunch(1, None), str)  # type: ignore[arg-type]
    with server.serve(port=0, json_response=True) as running:
        assert_type(running.url, str)
