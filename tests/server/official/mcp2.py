"""What the official Python client, 2.x, gets from a server with sessions: prints JSON. Runs in the peer's own
environment.
"""

import asyncio
import json
import sys

from mcp.client.client import Client
from mcp.types import ElicitResult


async def main(url: str) -> None:
    async def elicit(context, params):
        return ElicitResult(action="accept", content={"name": "Ada"})

    def recorder():
        values = []

        async def record(progress, total, message):
            values.append(progress)

        return values, record

    async with Client(url, mode="legacy", elicitation_callback=elicit) as client:
        found = {"tools": sorted(tool.name for tool in (await client.list_tools()).tools)}
        for tool in ("count", "broken_off", "polled"):
            values, record = recorder()
            result = await client.call_tool(tool, {"to": 5}, progress_callback=record)
            found[tool] = [values, result.content[0].text]
        found["ask"] = (await client.call_tool("ask", {})).content[0].text
        found["bad"] = (await client.call_tool("count", {"to": "five"})).is_error
        print(json.dumps(found))


asyncio.run(main(sys.argv[1]))
