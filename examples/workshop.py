"""The server that the other examples talk to, unless they are given the address of another one.

    python examples/call_tool.py                            # against the server below
    python examples/call_tool.py https://example.com/mcp    # against yours
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from streamhttp_client.server import Context, Server

server = Server("workshop", "1.0")


@server.tool(annotations={"readOnlyHint": True})
def crunch(rows: int, ctx: Context, seconds: float = 0.5) -> dict[str, int]:
    """Add up the numbers of some rows, slowly."""
    total = 0
    for row in range(1, rows + 1):
        time.sleep(seconds / rows)
        total += row
        ctx.progress(row, rows, f"row {row}")
        if row == rows // 2:
            ctx.log("info", "half of it is done")
    return {"rows": rows, "total": total}


@server.tool()
def ponder(seconds: float, ctx: Context) -> str:
    """Think without a word, and then know."""
    ctx.progress(1, 2, "thinking")
    time.sleep(seconds)
    ctx.progress(2, 2, "done")
    return "42"


@server.tool(task=True)
def dig(metres: int, ctx: Context) -> str:
    """Dig a hole, which takes long: a client that knows tasks gets one at once, and the result later."""
    for metre in range(1, metres + 1):
        time.sleep(0.5)
        ctx.progress(metre, metres, f"{metre} m deep")
    return f"a hole of {metres} m"


@server.tool()
def write_letter(topic: str, ctx: Context) -> str:
    """Ask the user for a name and the user's model for a text."""
    answer = ctx.elicit(
        "Who shall sign the letter?",
        {"type": "object", "properties": {"name": {"type": "string", "default": "A. Nonymous"}}, "required": ["name"]},
    )
    if answer.action != "accept":
        return "no letter was written"
    places = ", ".join(root.uri for root in ctx.roots())
    text = ctx.ask_sampling(f"Write a short letter about {topic}.", max_tokens=200).text
    return f"{text}\n-- {answer.content['name']} (to be kept in {places})"


@server.resource("workshop://board")
def board() -> str:
    """What is written on the board."""
    return "back in five minutes"


@server.tool()
def wipe_board() -> str:
    """Change the board, and tell whoever subscribed to it."""
    return f"told {server.notify_resource_updated('workshop://board')} listeners"


@contextmanager
def endpoint() -> Iterator[str]:
    """The address on the command line, or that of the workshop, which runs for as long as it is needed."""
    if len(sys.argv) > 1:
        yield sys.argv[1]
    else:
        os.environ.setdefault("NO_PROXY", "127.0.0.1")  # no proxy of yours could reach it
        with server.serve() as running:
            yield running.url
