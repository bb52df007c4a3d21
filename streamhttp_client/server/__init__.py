"""The server half: a Streamable HTTP endpoint as a WSGI application, for services that are synchronous.

::

    from streamhttp_client.server import Context, Server

    server = Server("crunch", "1.0")

    @server.tool()
    def crunch(rows: int, ctx: Context) -> str:
        '''Crunch some rows.'''
        for row in range(rows):
            ctx.progress(row + 1, rows)
        return "done"

    app = server.wsgi(path="/mcp")          # for gunicorn, Flask, Django …
    with server.serve(port=8000) as running:  # or in this process
        ...

One endpoint answers both eras of the protocol, request by request: 2025-03-26 to 2025-11-25 with sessions, and
2026-07-28 without. Handlers are the same; :class:`Context` says where the difference shows.

It stands on the pure layers only, and the client never imports it.
"""

from __future__ import annotations

from .arguments import Header
from .bearer import BearerAuth, InsufficientScope
from .context import Context
from .results import Blob
from .running import RunningServer
from .server import Server
from .sessions import ServerSession
from .stores import MemoryStore, RedisStore, SQLiteStore, Store, StoreError, StoreFull, StoreUnavailable
from .wsgi import WSGIApp

__all__ = [
    "BearerAuth",
    "Blob",
    "Context",
    "Header",
    "InsufficientScope",
    "MemoryStore",
    "RedisStore",
    "RunningServer",
    "SQLiteStore",
    "Server",
    "ServerSession",
    "Store",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "WSGIApp",
]
