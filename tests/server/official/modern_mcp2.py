"""What the official Python client, 2.x, gets from a server in revision 2026-07-28: prints JSON. Runs in the peer's own
environment.
"""

import asyncio
import json
import sys

from mcp import types
from mcp.client.client import Client


async def main(url: str, mode: str) -> None:
    async def elicit(context, params):
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    async def sample(context, params):
        text = types.TextContent(type="text", text="fine")
        return types.CreateMessageResult(role="assistant", model="m", content=text)

    async def roots(context):
        return types.ListRootsResult(roots=[types.Root(uri="file:///a")])

    values = []

    async def record(progress, total, message):
        values.append(progress)

    client = Client(url, mode=mode, elicitation_callback=elicit, sampling_callback=sample, list_roots_callback=roots)
    async with client:
        found = {"version": client.protocol_version, "server": client.server_info and client.server_info.name}
        found["tools"] = sorted(tool.name for tool in (await client.list_tools()).tools)
        result = await client.call_tool("count", {"to": 5}, progress_callback=record)
        found["count"] = [values, result.content[0].text]
        found["ask"] = (await client.call_tool("ask", {})).content[0].text
        found["bad"] = (await client.call_tool("count", {"to": "five"})).is_error
        found["mirrored"] = (await client.call_tool("mirrored", {"region": "Zürich", "count": 3})).content[0].text
        found["prompt"] = (await client.get_prompt("greeting")).messages[0].content.text
        found["resource"] = (await client.read_resource("x://text")).contents[0].text
        async with client.listen(tools_list_changed=True) as subscription:
            await client.call_tool("change", {})
            async for event in subscription:
                found["heard"] = type(event).__name__
                break
        print(json.dumps(found))


asyncio.run(main(*sys.argv[1:]))
