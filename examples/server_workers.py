"""Several worker processes, here or on several machines, with one store. Run it with gunicorn:

    STORE=redis://localhost gunicorn -k gthread --workers 4 --threads 64 --chdir examples server_workers:app

``server_gunicorn.py`` beside this file is a configuration that stops such workers without losing calls.

A client may come to any worker with any request: the events of a call are in the store, and so is what it
answers. Without STORE the processes of one machine share an SQLite file in the current folder; it holds
session ids, so it does not belong into a folder where others may write. Each open stream keeps a thread, so
give enough of them.
"""

from __future__ import annotations

import os
import threading

from streamhttp_client.server import Context, RedisStore, Server, SQLiteStore, Store

server = Server("workers", "1.0")


@server.tool()
def count(to: int, ctx: Context, seconds: float = 0.01) -> str:
    """Count, and say who counted."""
    for number in range(1, to + 1):
        threading.Event().wait(seconds)
        ctx.progress(number, to)
    return f"counted by process {os.getpid()}"


def make_store() -> Store:
    address = os.environ.get("STORE", "")
    if address.startswith("redis"):
        return RedisStore(address)
    return SQLiteStore(address or "streamhttp-example.db")


# Behind a proxy, name the host under which clients know this service.
hosts = os.environ.get("HOSTS")
app = server.wsgi(
    "/mcp",
    store=make_store(),
    allowed_hosts=hosts.split(",") if hosts else None,
)
