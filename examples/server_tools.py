"""A server with a few tools, in this process: ``python examples/server_tools.py 8000``.

Handlers are plain blocking functions. Arguments come by name and are checked against the type hints.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from typing import Annotated

from streamhttp_client.exceptions import ToolError
from streamhttp_client.server import Context, Server

server = Server("warehouse", "1.0", instructions="Ask for stock before you reserve.")
stock = {"bolt": 120, "nut": 80}


@dataclass
class Stock:
    """The client gets the fields as structured content, and their schema beforehand."""

    item: str
    pieces: int


@server.tool(annotations={"readOnlyHint": True})
def look_up(item: Annotated[str, "name of the article"]) -> Stock:
    """Say how many pieces of an article there are."""
    if item not in stock:
        raise ToolError(f"there is no article {item!r}; there are {', '.join(stock)}")
    return Stock(item, stock[item])


@server.tool()
def recount(ctx: Context, seconds_per_item: float = 0.1) -> str:
    """Count all articles. Takes a while, says how far it is, and can be cancelled."""
    for done, item in enumerate(stock, 1):
        threading.Event().wait(seconds_per_item)
        if ctx.cancelled:
            return "given up"
        ctx.progress(done, len(stock), f"counted {item}")
    ctx.log("info", {"counted": len(stock)})
    return f"{len(stock)} articles counted"


@server.resource("stock://{item}", media_type="application/json")
def article(item: str) -> dict[str, object]:
    """One article."""
    return {"item": item, "pieces": stock.get(item, 0)}


@server.prompt()
def reorder(item: Annotated[str, "name of the article"]) -> str:
    """Asks for a letter to the supplier."""
    return f"Write to our supplier that we need more of {item}; we have {stock.get(item, 0)} left."


@server.completion(prompt="reorder", argument="item")
def items(typed: str, known: dict[str, str]) -> list[str]:
    return [item for item in stock if item.startswith(typed)]


if __name__ == "__main__":
    with server.serve(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0) as running:
        print(running.url, flush=True)
        sys.stdin.read()  # until Ctrl-D
