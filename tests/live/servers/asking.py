"""What the Python peers offer besides where they are watched: tools that ask, and one that names headers.

A handler of MCP 2026-07-28 asks by returning what it wants to know, and is called again with the answers. ``mcp`` 2.x
and ``fastmcp`` have the same words for that, so one module serves both.
"""

# Annotations are looked at when a tool is registered, and those below name arguments of a function: they must be
# evaluated where they stand, so there is no `from __future__ import annotations` here.
import json
from typing import Annotated, Any

import mcp_types as types
from common import FORM, Gates
from pydantic import Field

#: What is to come back as it is: quotes, a separator that JSON allows, and a character outside the first plane.
STATE = 'round "1"\\ gr\u00fc\u00df\u2028\U0001f600'


def form(message: str) -> types.ElicitRequest:
    """A question to the user."""
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=FORM))


def prompting(text: str) -> types.CreateMessageRequest:
    """A question to the model."""
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=text))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[message], max_tokens=100))


def want(state: str | None = None, **requests: Any) -> types.InputRequiredResult:
    """The result that asks."""
    return types.InputRequiredResult(input_requests=requests or None, request_state=state)


def offer(server: Any, context: Any, gates: Gates) -> None:
    """Add the tools, a prompt, a template and a resource that counts.

    Args:
        server: What they are added to.
        context: The class of the argument that handlers get from the framework.
        gates: Counts how often a handler is called.
    """

    @server.tool()
    async def want_user(question: str, ctx: context) -> str | types.InputRequiredResult:
        """Ask the user for a form."""
        gates.started["want_user"] += 1
        if not ctx.input_responses:
            return want(who=form(question))
        answer = ctx.input_responses["who"]
        return json.dumps({"action": answer.action, "content": answer.content}, sort_keys=True)

    @server.tool()
    async def want_model(prompt: str, ctx: context) -> str | types.InputRequiredResult:
        """Ask the client's model."""
        if not ctx.input_responses:
            return want(model=prompting(prompt))
        answer = ctx.input_responses["model"]
        return f"{answer.model} said {answer.content.text}"

    @server.tool()
    async def want_roots(ctx: context) -> str | types.InputRequiredResult:
        """List the client's roots."""
        if not ctx.input_responses:
            return want(roots=types.ListRootsRequest())
        return json.dumps([str(root.uri) for root in ctx.input_responses["roots"].roots])

    @server.tool()
    async def want_all(ctx: context) -> str | types.InputRequiredResult:
        """Ask everything at once."""
        if not ctx.input_responses:
            return want(who=form("Who?"), model=prompting("What?"), roots=types.ListRootsRequest())
        return json.dumps(sorted(ctx.input_responses))

    @server.tool()
    async def want_twice(ctx: context) -> str | types.InputRequiredResult:
        """Ask in two rounds, and remember the first in the state."""
        answers = ctx.input_responses or {}
        if "first" in answers:
            return want(json.dumps([STATE, answers["first"].content["name"]]), second=form("And who else?"))
        if "second" in answers:
            state, first = json.loads(ctx.request_state)
            return json.dumps({"kept": state == STATE, "first": first, "second": answers["second"].content["name"]})
        return want(STATE, first=form("Who?"))

    @server.tool()
    async def want_patience(times: int, ctx: context) -> str | types.InputRequiredResult:
        """Ask for nothing but to be called again."""
        done = int(ctx.request_state or 0)
        return f"after {done}" if done == times else want(str(done + 1))

    @server.tool()
    async def want_ever_more(ctx: context) -> str | types.InputRequiredResult:
        """Never be content."""
        gates.started["want_ever_more"] += 1
        return want(more=form("More?"))

    @server.prompt(name="asking", description="Ask before it says anything.")
    async def asking(ctx: context) -> str | types.InputRequiredResult:
        if not ctx.input_responses:
            return want(who=form("Who?"))
        return f"Greet {ctx.input_responses['who'].content['name']}."

    @server.resource("note://asked/{topic}", name="asked", mime_type="text/plain")
    async def asked(topic: str, ctx: context) -> str | types.InputRequiredResult:
        if not ctx.input_responses:
            return want(who=form(f"Who wants {topic}?"))
        return f"{topic} for {ctx.input_responses['who'].content['name']}"

    @server.tool()
    async def route(
        region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})],
        count: Annotated[int, Field(json_schema_extra={"x-mcp-header": "Count"})] = 0,
        urgent: Annotated[bool, Field(json_schema_extra={"x-mcp-header": "Urgent"})] = False,
    ) -> str:
        """Want three arguments in headers too."""
        return f"{region} {count} {urgent}"

    @server.resource("note://counter", name="counter", mime_type="text/plain")
    async def counter() -> str:
        gates.started["counter"] += 1
        return str(gates.started["counter"])
