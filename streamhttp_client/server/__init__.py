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

It stands on the pure layers only, and the client never imports it. What is where, from the outside inwards:

* What users write: :mod:`.server` (decorators, ``wsgi``, ``serve``), :mod:`.context` (what a handler speaks with),
  :mod:`.running` (a server of its own, in this process), :mod:`.bearer` (who may come in).
* HTTP: :mod:`.wsgi` takes each request and chooses the era; :mod:`.security`, :mod:`.http_requests`,
  :mod:`.request_bodies`, :mod:`.http_answers`; :mod:`.disconnect` finds out who has gone.
* The era with sessions: :mod:`.sessions`, :mod:`.runner` (handlers and streams of a POST), :mod:`.streams` (a log of
  the store as an event stream), :mod:`.listeners` (GET), :mod:`.delivery` and :mod:`.pace` (a store that is away, a
  client that is slow), :mod:`.hoards` (a caller who has too much).
* The era without: :mod:`.modern` (one POST), :mod:`.request_meta` (what it must say of itself), :mod:`.modern_runs` and
  :mod:`.modern_calls` (its handler), :mod:`.pipes` (its answer as a stream), :mod:`.inputs` (questions, from round to
  round), :mod:`.tasks` (results that are collected later), :mod:`.subscriptions` (``subscriptions/listen``).
* Both: :mod:`.calls` (a request that runs), :mod:`.inbox` (what it is told meanwhile), :mod:`.workers` (threads of
  handlers), :mod:`.stores` (what outlives a request, for one process or many).
* What is offered: :mod:`.offer` (which method is answered by what), :mod:`.tools`, :mod:`.resources`,
  :mod:`.templates`, :mod:`.prompts`, :mod:`.completions`, :mod:`.pages`; :mod:`.arguments` and :mod:`.schemas` check
  what comes in, :mod:`.forms` what a user has filled in; :mod:`.hints` reads what handlers say of themselves,
  :mod:`.results` and :mod:`.outputs` shape what goes out.

Imports go from the top of this list to its end, never back, not even for a type.
"""

from __future__ import annotations

from .bearer import BearerAuth, InsufficientScope
from .context import Context
from .hints import Header
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
