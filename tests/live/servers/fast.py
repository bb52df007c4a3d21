"""A server made with ``fastmcp``, offering what ``sdk.py`` does as far as that framework goes.

It has no resource subscriptions and, being built on ``mcp`` 2.x, relates its requests to the running call.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import mcp_types as types
from common import FILLERS, FORM, PAGE_SIZE, RETRY_INTERVAL_MS, STYLES, Gates, options, serve
from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.server.dependencies import get_http_headers
from fastmcp.server.event_store import EventStore
from fastmcp.utilities.tasks import TaskConfig
from pydantic import BaseModel

mode = options()
gates = Gates()
hints: dict[str, Any] = {"cache_ttl": 60, "cache_scope": "public"} if mode.watched else {}
server: FastMCP = FastMCP("peer", instructions="Ask me anything.", version="4.0", list_page_size=PAGE_SIZE, **hints)


class Sum(BaseModel):
    total: int


@server.tool(annotations={"readOnlyHint": True})
def echo(text: str) -> str:
    """Give the text back."""
    return text


@server.tool
def add(a: int, b: int) -> Sum:
    """Add two integers."""
    return Sum(total=a + b)


@server.tool
def fail(reason: str) -> str:
    """Always fail."""
    raise ToolError(reason)


@server.tool
async def work(steps: int, ctx: Context) -> str:
    """Report progress and log, step by step."""
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps, f"step {step}")
        await ctx.info(f"finished {step}")
    return f"did {steps}"


@server.tool
async def gated(name: str, before: int, after: int, ctx: Context) -> str:
    """Report some progress, wait for ``open_gate``, report the rest."""
    gates.started[name] += 1
    total = before + after
    for step in range(1, before + 1):
        await ctx.report_progress(step, total)
    await gates.wait(name)
    for step in range(before + 1, total + 1):
        await ctx.report_progress(step, total)
    return f"passed {name}"


@server.tool
async def polled(name: str, ctx: Context) -> str:
    """Close the stream of this very call in the middle, as SEP-1699 allows."""
    gates.started[name] += 1
    await ctx.report_progress(1, 2)
    await ctx.close_sse_stream()
    await gates.wait(name)
    await ctx.report_progress(2, 2)
    return f"polled {name}"


@server.tool
async def open_gate(name: str) -> str:
    """Let a waiting call go on."""
    gates.open(name)
    return name


@server.tool
async def counts(name: str) -> str:
    """Tell how often the named call was started and cancelled."""
    return json.dumps({"started": gates.started[name], "cancelled": gates.cancelled[name]})


@server.tool
async def ask_model(prompt: str, ctx: Context) -> str:
    """Ask the client's model."""
    message = types.SamplingMessage(role="user", content=types.TextContent(text=prompt))
    answer = await ctx.session.create_message([message], max_tokens=100, related_request_id=ctx.request_id)
    return f"{answer.model} said {answer.content.text}"


@server.tool
async def ask_user(ctx: Context) -> str:
    """Ask the user for a form whose fields have defaults."""
    answer = await ctx.session.elicit_form("Who are you?", FORM, related_request_id=ctx.request_id)
    return json.dumps({"action": answer.action, "content": answer.content}, sort_keys=True)


@server.tool
async def ask_roots(ctx: Context) -> str:
    """List the client's roots."""
    answer = await ctx.session.list_roots()
    return json.dumps([str(root.uri) for root in answer.roots])


@server.tool
async def grow(name: str, ctx: Context) -> str:
    """Offer one more tool from now on, and say so."""

    def grown() -> str:
        return name

    server.tool(grown, name=name, description="Appeared later.")
    await ctx.send_notification(types.ToolListChangedNotification())
    return name


@server.tool
async def whoami(ctx: Context) -> str:
    """Tell which session and revision the request named in its headers."""
    headers = get_http_headers(include_all=True)
    session, revision = headers.get("mcp-session-id"), headers.get("mcp-protocol-version")
    return json.dumps({"session": session, "revision": revision})


if mode.watched:
    from asking import form, offer, want
    from fastmcp_tasks import TasksExtension

    offer(server, Context, gates)
    # Tasks wait in the memory of this process, and its own worker takes them up.
    server.add_extension(TasksExtension())
    at_intervals = TaskConfig(mode="required", poll_interval=timedelta(milliseconds=50))

    @server.tool(task=at_intervals)
    async def simmer(name: str) -> str:
        """Wait for ``open_gate``, as a task."""
        gates.started[name] += 1
        await gates.wait(name)
        return f"simmered {name}"

    @server.tool(task=at_intervals)
    async def simmer_asking(ctx: Context) -> str | types.InputRequiredResult:
        """Ask the user, as a task."""
        if not ctx.input_responses:
            return want(who=form("Who?"))
        return f"simmered for {ctx.input_responses['who'].content['name']}"

    @server.tool(task=at_intervals)
    async def simmer_over(reason: str) -> str:
        """Fail, as a task."""
        raise ToolError(reason)


def filled() -> str:
    return "filled"


for filler in FILLERS:
    server.tool(filled, name=filler, description="One of many.")


@server.resource("note://greeting", name="greeting", description="A text.", mime_type="text/plain")
def greeting() -> str:
    return "grüß dich\u2028twice"


@server.resource("note://logo", name="logo", description="Some bytes.", mime_type="image/png")
def logo() -> bytes:
    return bytes(range(256))


@server.resource("note://item/{name}", name="item", description="Any item.", mime_type="text/plain")
def item(name: str) -> str:
    return f"item {name}"


@server.prompt(description="Greet someone.")
def greet(name: str, style: str = "plain") -> str:
    return f"Greet {name} in a {style} way."


@server.completion
async def complete(ref: Any, argument: Any, context: Any) -> Any:
    if argument.name == "style":
        return [style for style in STYLES if style.startswith(argument.value)]
    return None


settings: dict[str, Any] = {"json_response": mode.json, "stateless_http": mode.stateless}
if not mode.stateless:
    settings |= {"event_store": EventStore(), "retry_interval": RETRY_INTERVAL_MS}
serve(server.http_app(path="/mcp", **settings))
