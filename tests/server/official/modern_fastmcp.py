"""What the client of fastmcp gets from a server in revision 2026-07-28: prints JSON. Runs in the peer's own
environment.
"""

import asyncio
import json
import sys

import fastmcp_tasks  # noqa: F401  # clients know tasks from here on
from fastmcp import Client


async def main(url: str, mode: str) -> None:
    async def elicit(message, response_type, params, context):
        return {"name": "Ada"}

    async def sample(messages, params, context):
        return "fine"

    values = []

    async def record(progress, total, message):
        values.append(progress)

    client = Client(url, mode=mode, elicitation_handler=elicit, sampling_handler=sample, roots=["file:///a"])
    async with client:
        found = {"version": client.protocol_version, "server": client.server_info and client.server_info.name}
        found["tools"] = sorted(tool.name for tool in await client.list_tools())
        result = await client.call_tool("count", {"to": 5}, progress_handler=record)
        found["count"] = [values, result.content[0].text]
        found["ask"] = (await client.call_tool("ask", {})).content[0].text
        found["bad"] = (await client.call_tool("count", {"to": "five"}, raise_on_error=False)).is_error
        found["mirrored"] = (await client.call_tool("mirrored", {"region": "Zürich", "count": 3})).content[0].text
        found["prompt"] = (await client.get_prompt("greeting")).messages[0].content.text
        found["resource"] = (await client.read_resource("x://text"))[0].text
        found["errand"] = (await client.call_tool("errand", {})).content[0].text
        print(json.dumps(found))


asyncio.run(main(*sys.argv[1:]))
