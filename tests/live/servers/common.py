"""What every Python peer shares: how it is started and stopped, its event store, and its gates.

Runs under the peer's own interpreter, so it imports nothing of this project and nothing that one of the peers
might not have. Starting: the process binds 127.0.0.1 on a free port and prints one line of JSON with its URL.
Stopping: it leaves when its standard input ends, so that no peer outlives a test run that was killed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from mcp.server.streamable_http import EventMessage, EventStore, StreamableHTTPServerTransport

#: What an event stream tells the client to wait before it comes back (SEP-1699). Short, because tests wait.
RETRY_INTERVAL_MS = 50

#: Names of the tools that are there only to make several pages, and the size of a page.
FILLERS = [f"filler_{number:02}" for number in range(24)]
PAGE_SIZE = 10

STYLES = ["formal", "friendly", "frosty", "plain"]

#: The form that `ask_user` shows: a default of each kind (SEP-1034), and one field without.
FORM: Any = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
        "note": {"type": "string"},
    },
    "required": [],
}


def options() -> argparse.Namespace:
    """Read the mode from the command line; the default is stateful, answering with event streams."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true", help="answer with JSON bodies instead of streams")
    parser.add_argument("--stateless", action="store_true", help="no sessions")
    parser.add_argument("--shared", action="store_true", help="one event store for all sessions")
    parser.add_argument("--watched", action="store_true", help="tell what was asked here, and offer more to ask")
    return parser.parse_args()


class Watch:
    """Notes each HTTP request to the endpoint, and tells at ``/watched`` what it has noted, as a list in JSON."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._seen: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == "/watched":
            body = json.dumps(self._seen).encode()
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        else:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            note = {"http": scope["method"], "headers": headers, "body": None}
            self._seen.append(note)
            body = bytearray()

            async def noting() -> Any:
                message = await receive()
                body.extend(message.get("body", b""))
                if message["type"] == "http.request" and not message.get("more_body") and body:
                    note["body"] = json.loads(body)
                return message

            await self._app(scope, noting, send)


def serve(app: Any) -> None:
    """Serve an ASGI app on a free loopback port until standard input ends."""
    if options().watched:
        app = Watch(app)
    # The protocol is named since asyncio turns Nagle's algorithm off for such sockets only; an answer written
    # in two parts would wait 40 ms for the acknowledgement of the first.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    # Listening before the line is printed: whoever reads it may connect at once and waits in the backlog.
    listener.listen(128)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    print(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"}), flush=True)
    config = uvicorn.Config(app, log_level="warning", timeout_keep_alive=60)
    uvicorn.Server(config).run(sockets=[listener])


def _leave_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


def page(items: list[Any], cursor: str | None) -> tuple[list[Any], str | None]:
    """Cut one page out of ``items``; the cursor is opaque to clients and an offset here."""
    start = int(cursor.removeprefix("page-")) if cursor else 0
    end = start + PAGE_SIZE
    return items[start:end], f"page-{end}" if end < len(items) else None


class MemoryEventStore(EventStore):
    """Keeps every event of every stream of one session, so that any cut stream can be finished."""

    def __init__(self) -> None:
        self._events: list[tuple[str, Any]] = []

    async def store_event(self, stream_id: str, message: Any) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events))

    async def replay_events_after(
        self, last_event_id: str, send_callback: Callable[[EventMessage], Awaitable[None]]
    ) -> str | None:
        if not last_event_id.isdigit() or not 0 < int(last_event_id) <= len(self._events):
            return None
        stream_id = self._events[int(last_event_id) - 1][0]
        # A snapshot: events stored while this replay is being sent reach the client through the live stream.
        for number, (owner, message) in enumerate(self._events[int(last_event_id) :], int(last_event_id) + 1):
            if owner == stream_id and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream_id


def one_store_per_session() -> EventStore:
    """Return a store to configure a server with, after seeing to it that each session gets one of its own.

    Without this, the SDK hands one store to all sessions and names streams by the JSON-RPC id of the request:
    two clients whose ids coincide get each other's answers when they resume. fastmcp scopes its store itself.
    """
    original = StreamableHTTPServerTransport.__init__

    def scoped(self: Any, *arguments: Any, event_store: EventStore | None = None, **options: Any) -> None:
        own = None if event_store is None else MemoryEventStore()
        original(self, *arguments, event_store=own, **options)

    StreamableHTTPServerTransport.__init__ = scoped  # type: ignore[method-assign]
    return MemoryEventStore()


class Gates:
    """Lets one call hold another at a known point, so that no test has to guess with a clock.

    Also the record of what really ran here: how often each named call was started, and how often cancelled.
    """

    def __init__(self) -> None:
        self._events: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.started: dict[str, int] = defaultdict(int)
        self.cancelled: dict[str, int] = defaultdict(int)

    def open(self, name: str) -> None:
        self._events[name].set()

    async def wait(self, name: str) -> None:
        try:
            await self._events[name].wait()
        except BaseException:
            self.cancelled[name] += 1
            raise
