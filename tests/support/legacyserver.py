"""A scripted server of MCP 2024-11-05, of HTTP+SSE: messages come by POST, and all answers go on one stream.

It stands beside `RawMCPServer`, whose manners it has: a test replaces single answers, and sees all requests::

    with LegacyServer() as server:
        server.on("tools/call", lambda server, peer, request: peer.cut())
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from tests.support.rawserver import Peer, RawServer, Request

__all__ = ["LegacyScript", "LegacyServer"]

#: Plays one exchange.
LegacyScript = Callable[["LegacyServer", Peer, Request], None]


class LegacyServer(RawServer):
    """A well-behaved server of 2024-11-05, of which a test replaces single answers.

    A GET opens a stream that names ``endpoint``; a POST is answered by 202, and then on the newest stream. Before there
    is a stream, a POST gets 405.

    Args:
        endpoint: The address for messages, as the stream names it; ``{number}`` and ``{origin}`` are filled in.
        capabilities: The server's; tools by default.

    Attributes:
        scripts: What was given to `on` and is still to be played.
        streams: The connections on which a stream was opened, oldest first.
    """

    def __init__(
        self, endpoint: str = "/messages?session={number}", *, capabilities: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.capabilities = dict({"tools": {}} if capabilities is None else capabilities)
        self.scripts: dict[str, list[LegacyScript]] = {}
        self.streams: list[Peer] = []
        self._writing = threading.Lock()  # guards the streams: the threads of all connections write to the newest

    def on(self, key: str, *scripts: LegacyScript) -> None:
        """As of `RawMCPServer`: the first request of this key gets the first script, the last one all later ones."""
        self.scripts[key] = list(scripts)

    def handle(self, peer: Peer) -> None:
        while peer.open:
            request = peer.read_request()
            scripts = self.scripts.get(request.key)
            if scripts:
                script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
                script(self, peer, request)
            elif request.method == "GET":
                self.stream(peer)
                peer.hold()
            elif not self.streams:
                peer.respond(405, headers={"Allow": "GET"})
            else:
                self.accept(peer)
                self.answer(request)

    def stream(self, peer: Peer) -> None:
        """Open a stream and name the address."""
        with self._writing:
            self.streams.append(peer)
        peer.start_stream(headers={"Connection": "close"})
        peer.event(self.endpoint.format(number=len(self.streams), origin=self.origin), event="endpoint")

    def accept(self, peer: Peer) -> None:
        """Answer a POST."""
        peer.respond(202, b"Accepted", content_type="text/plain")

    def answer(self, request: Request) -> None:
        """Say on the stream what answers a request; nothing to what is none."""
        results: dict[str, Any] = {
            "initialize": {
                "protocolVersion": "2024-11-05",
                "capabilities": self.capabilities,
                "serverInfo": {"name": "legacy", "version": "1"},
            },
            "ping": {},
            "logging/setLevel": {},
            "tools/list": {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]},
            "tools/call": {"content": [{"type": "text", "text": "ok"}]},
        }
        if request.id is None or request.key == "response":
            return
        if request.key in results:
            self.say({"jsonrpc": "2.0", "id": request.id, "result": results[request.key]})
        else:
            error = {"code": -32601, "message": f"no method {request.key}"}
            self.say({"jsonrpc": "2.0", "id": request.id, "error": error})

    def say(self, *messages: Any) -> None:
        """Send messages on the newest stream, in one piece."""
        with self._writing:
            for message in messages:
                self.streams[-1].event(message, event="message")
