"""A server of 2024-11-05: HTTP+SSE as the official SDK, ``mcp`` 1.x, has it. Offers a part of what ``sdk.py`` does."""

from __future__ import annotations

import json
from typing import Any

from common import Gates, serve
from mcp import types
from mcp.server.fastmcp import Context, FastMCP

gates = Gates()
server = FastMCP("peer", instructions="Ask me anything.", log_level="ERROR", sse_path="/mcp", message_path="/messages/")


@server.tool(annotations=types.ToolAnnotations(readOnlyHint=True))
def echo(text: str) -> str:
    """Give the text back."""
    return text


@server.tool()
async def work(steps: int, ctx: Context[Any, Any, Any]) -> str:
    """Report progress and log, step by step."""
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps, f"step {step}")
        await ctx.info(f"finished {step}")
    return f"did {steps}"


@server.tool()
async def gated(name: str, before: int, after: int, ctx: Context[Any, Any, Any]) -> str:
    """Report some progress, wait for ``open_gate``, report the rest."""
    gates.started[name] += 1
    total = before + after
    for step in range(1, before + 1):
        await ctx.report_progress(step, total)
    await gates.wait(name)
    for step in range(before + 1, total + 1):
        await ctx.report_progress(step, total)
    return f"passed {name}"


@server.tool()
async def open_gate(name: str) -> str:
    """Let a waiting call go on."""
    gates.open(name)
    return name


@server.tool()
async def counts(name: str) -> str:
    """Tell how often the named call was started and cancelled."""
    return json.dumps({"started": gates.started[name], "cancelled": gates.cancelled[name]})


@server.tool()
async def ask_model(prompt: str, ctx: Context[Any, Any, Any]) -> str:
    """Ask the client's model."""
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))
    answer = await ctx.session.create_message([message], max_tokens=100)
    return f"{answer.model} said {answer.content.text}"  # type: ignore[union-attr]


@server.tool()
async def ask_roots(ctx: Context[Any, Any, Any]) -> str:
    """List the client's roots."""
    answer = await ctx.session.list_roots()
    return json.dumps([str(root.uri) for root in answer.roots])


@server.tool()
async def ping(ctx: Context[Any, Any, Any]) -> str:
    """Ping the client."""
    await ctx.session.send_ping()
    return "pong"


@server.tool()
async def grow(name: str, ctx: Context[Any, Any, Any]) -> str:
    """Offer one more tool from now on, and say so."""
    server.add_tool(lambda: name, name=name, description="Appeared later.")
    await ctx.session.send_tool_list_changed()
    return name


serve(server.sse_app())
