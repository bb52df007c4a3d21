"""A server for ``test_crowd.py``: ``python crowd_app.py max_connections max_bytes`` prints its port, and ends with its
standard input.
"""

from __future__ import annotations

import logging
import sys

from streamhttp_client.server import Context, MemoryStore, Server

server = Server("crowd", "1")
ended: list[str | int] = []


@server.tool()
def flood(events: int, size: int, ctx: Context) -> str:
    """Say much that may not be dropped."""
    for number in range(events):
        ctx.log("info", f"{number:06}" + "x" * size)
    ended.append(ctx.request_id)
    return "flooded"


@server.tool()
def count_ended() -> int:
    """How many floods have ended."""
    return len(ended)


@server.tool()
def announce() -> int:
    """Tell all that listen; return how many those are."""
    return server.notify_list_changed("tools")


@server.tool()
def count_streams() -> int:
    """How many streams are open, with that of this call."""
    return sum(app._runner._streams for app in server._apps)


def main(max_connections: int, max_bytes: int) -> None:
    logging.basicConfig(level=logging.ERROR)
    store = MemoryStore(max_bytes=max_bytes)
    with server.serve(max_connections=max_connections, store=store, keepalive=600.0) as running:
        print(running.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
