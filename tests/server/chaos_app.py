"""The application of the chaos command, for gunicorn. ``CHAOS_STORE`` is a Redis URL or the path of an SQLite
file.
"""

from __future__ import annotations

import os
import threading

from streamhttp_client.server import Context, RedisStore, Server, SQLiteStore, Store

server = Server("chaos", "1.0")


@server.tool()
def count(to: int, pause: float, ctx: Context) -> str:
    """Report each number, with a pause in between; give the process that counted."""
    clock = threading.Event()
    for number in range(1, to + 1):
        clock.wait(pause)
        ctx.progress(number, to)
    return str(os.getpid())


@server.tool()
def ask(ctx: Context) -> str:
    """Ask the client, whose answer may come to another process."""
    return str((ctx.elicit("name?", timeout=30).content or {})["name"])


def make_store() -> Store:
    address = os.environ["CHAOS_STORE"]
    # A dead process shall be noticed soon here; still long enough for one that is only slow.
    options = {"worker_timeout": 5.0}
    return RedisStore(address, **options) if address.startswith("redis") else SQLiteStore(address, **options)  # type: ignore[arg-type]


app = server.wsgi("/mcp", store=make_store(), max_threads=300, max_streams=2000, retry_ms=100)
