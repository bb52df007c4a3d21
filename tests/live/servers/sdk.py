"""A server made with the official SDK, ``mcp`` 1.x or 2.x, whichever the running interpreter has.

Both are driven through their high-level class, as users do; subscriptions, the log level and pages are not
offered there and are registered one level below.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from common import (
    FILLERS,
    FORM,
    RETRY_INTERVAL_MS,
    STYLES,
    Gates,
    MemoryEventStore,
    one_store_per_session,
    options,
    page,
    serve,
)
from pydantic import BaseModel

try:
    import mcp_types as types
    from mcp.server.mcpserver import Context, MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    V2 = True
except ImportError:
    from mcp import types  # type: ignore[no-redef]
    from mcp.server.fastmcp import Context  # type: ignore[assignment]
    from mcp.server.fastmcp import FastMCP as MCPServer  # type: ignore[assignment]
    from mcp.server.fastmcp.exceptions import ToolError  # type: ignore[assignment]

    V2 = False

mode = options()
gates = Gates()
subscribed: set[str] = set()
levels: list[str] = []

settings: dict[str, Any] = {"json_response": mode.json, "stateless_http": mode.stateless}
if not mode.stateless:
    store = MemoryEventStore() if mode.shared else one_store_per_session()
    settings |= {"event_store": store, "retry_interval": RETRY_INTERVAL_MS}
if V2:
    from mcp.server.caching import CacheHint

    # Long enough that nothing gets stale on its own while a test runs.
    hints = {method: CacheHint(60_000, "public") for method in ("tools/list", "resources/read")} if mode.watched else {}
    server = MCPServer("peer", instructions="Ask me anything.", version="2.0", log_level="ERROR", cache_hints=hints)
    low = server._lowlevel_server
else:
    server = MCPServer("peer", instructions="Ask me anything.", log_level="ERROR", **settings)
    low = server._mcp_server


class Sum(BaseModel):
    total: int


class Who(BaseModel):
    name: str


# --- tools --------------------------------------------------------------------------------------------------


@server.tool(annotations=types.ToolAnnotations(**{"readOnlyHint": True}))
def echo(text: str) -> str:
    """Give the text back."""
    return text


@server.tool()
def add(a: int, b: int) -> Sum:
    """Add two integers."""
    return Sum(total=a + b)


@server.tool()
def fail(reason: str) -> str:
    """Always fail."""
    raise ToolError(reason)


@server.tool()
async def work(steps: int, ctx: Context) -> str:
    """Report progress and log, step by step."""
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps, f"step {step}")
        await ctx.info(f"finished {step}")
    return f"did {steps}"


@server.tool()
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


@server.tool()
async def polled(name: str, ctx: Context) -> str:
    """Close the stream of this very call in the middle, as SEP-1699 allows."""
    gates.started[name] += 1
    await ctx.report_progress(1, 2)
    await ctx.close_sse_stream()
    await gates.wait(name)
    await ctx.report_progress(2, 2)
    return f"polled {name}"


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
async def ask_model(prompt: str, ctx: Context) -> str:
    """Ask the client's model."""
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))
    answer = await ctx.session.create_message([message], max_tokens=100, related_request_id=ctx.request_id)
    return f"{answer.model} said {answer.content.text}"


@server.tool()
async def ask_user(ctx: Context) -> str:
    """Ask the user for a form whose fields have defaults."""
    answer = await ctx.session.elicit_form("Who are you?", FORM, related_request_id=ctx.request_id)
    return json.dumps({"action": answer.action, "content": answer.content}, sort_keys=True)


@server.tool()
async def ask_roots(ctx: Context) -> str:
    """List the client's roots. Neither SDK relates this request to the call, so it takes the GET stream."""
    answer = await ctx.session.list_roots()
    return json.dumps([str(root.uri) for root in answer.roots])


@server.tool()
async def grow(name: str, ctx: Context) -> str:
    """Offer one more tool from now on, and say so."""
    server.add_tool(lambda: name, name=name, description="Appeared later.")
    await ctx.session.send_tool_list_changed()
    return name


@server.tool()
async def touch(uri: str, ctx: Context) -> str:
    """Announce an update of a resource, if someone subscribed to it."""
    if uri not in subscribed:
        return "nobody listens"
    await ctx.session.send_resource_updated(uri)
    return "announced"


@server.tool()
async def whoami(ctx: Context) -> str:
    """Tell which session and revision the request named in its headers, and the last log level set."""
    headers = ctx.request_context.request.headers
    return json.dumps(
        {
            "session": headers.get("mcp-session-id"),
            "revision": headers.get("mcp-protocol-version"),
            "level": levels[-1] if levels else None,
        }
    )


if V2 and mode.watched:
    from asking import offer
    from mcp.server.mcpserver.resolve import Elicit, Resolve, Sample

    offer(server, Context, gates)

    @server.tool()
    async def announce(what: str, ctx: Context, name: str = "") -> str:
        """Tell those who listen that something has changed; a new tool comes with a change of the tools."""
        if what == "tools":
            server.add_tool(lambda: name, name=name, description="Appeared later.")
            await ctx.notify_tools_changed()
        elif what == "prompts":
            await ctx.notify_prompts_changed()
        elif what == "resources":
            await ctx.notify_resources_changed()
        else:
            await ctx.notify_resource_updated(name)
        return what

    def who() -> Elicit[Who]:
        return Elicit("Who are you?", Who)

    def what(ctx: Context) -> Sample:
        message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text="What?"))
        return Sample([message], max_tokens=100)

    @server.tool()
    async def depend(
        who: Annotated[Who, Resolve(who)], what: Annotated[types.CreateMessageResult, Resolve(what)]
    ) -> str:
        """Have the SDK itself ask, in whatever way the client's revision has for it."""
        return f"{who.name}: {what.content.text}"

    @server.tool()
    async def hang_up(ctx: Context) -> str:
        """End all subscriptions, as a server that goes away does."""
        low.get_request_handler("subscriptions/listen").handler.close()
        return "hung up"


for filler in FILLERS:
    server.add_tool(lambda: "filled", name=filler, description="One of many.")


# --- resources, prompts, completion -------------------------------------------------------------------------


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


@server.completion()
async def complete(ref: Any, argument: Any, context: Any) -> Any:
    if argument.name == "style":
        values = [style for style in STYLES if style.startswith(argument.value)]
        return types.Completion(values=values, total=len(values), **{"hasMore": False})
    if argument.name == "name" and context is not None and context.arguments:
        return types.Completion(values=[f"{argument.value}-{context.arguments['kind']}"])
    return None


# --- one level below ----------------------------------------------------------------------------------------


async def list_tools(cursor: str | None) -> dict[str, Any]:
    offered = list(await server.list_tools())
    if V2 and mode.watched:
        # What no client may offer to a model: a header cannot have such a name.
        properties = {"region": {"type": "string", "x-mcp-header": "no such header"}}
        offered.append(types.Tool(name="crooked", input_schema={"type": "object", "properties": properties}))
    tools, following = page(offered, cursor)
    return {"tools": tools, "nextCursor": following}


if V2:

    async def on_list_tools(ctx: Any, params: Any) -> Any:
        return types.ListToolsResult(**await list_tools(params.cursor))

    async def on_subscribe(ctx: Any, params: Any) -> Any:
        subscribed.add(str(params.uri))
        return types.EmptyResult()

    async def on_unsubscribe(ctx: Any, params: Any) -> Any:
        subscribed.discard(str(params.uri))
        return types.EmptyResult()

    async def on_set_level(ctx: Any, params: Any) -> Any:
        levels.append(params.level)
        return types.EmptyResult()

    low.add_request_handler("tools/list", types.PaginatedRequestParams, on_list_tools)
    low.add_request_handler("resources/subscribe", types.SubscribeRequestParams, on_subscribe)
    low.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, on_unsubscribe)
    low.add_request_handler("logging/setLevel", types.SetLevelRequestParams, on_set_level)
    app = server.streamable_http_app(**settings)
else:
    from mcp.server.lowlevel.server import NotificationOptions

    async def on_list_tools_1(request: Any) -> Any:
        # The SDK itself calls this with None when it fills its cache of schemas before a call.
        cursor = request.params.cursor if request and request.params else None
        return types.ServerResult(types.ListToolsResult(**await list_tools(cursor)))

    low.request_handlers[types.ListToolsRequest] = on_list_tools_1

    @low.subscribe_resource()
    async def on_subscribe_1(uri: Any) -> None:
        subscribed.add(str(uri))

    @low.unsubscribe_resource()
    async def on_unsubscribe_1(uri: Any) -> None:
        subscribed.discard(str(uri))

    @low.set_logging_level()
    async def on_set_level_1(level: str) -> None:
        levels.append(level)

    # 1.x declares `subscribe: false` whatever is registered, and leaves listChanged to the caller.
    declared = low.get_capabilities

    def get_capabilities(notification_options: Any, experimental: Any) -> Any:
        capabilities = declared(NotificationOptions(True, True, True), experimental)
        capabilities.resources.subscribe = True
        return capabilities

    low.get_capabilities = get_capabilities
    app = server.streamable_http_app()

serve(app)
