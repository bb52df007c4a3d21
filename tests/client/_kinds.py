"""What the tests of agreeing share: a server that changes its ways, and a client that knows nothing of it."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import Any

from streamhttp_client import Client, RetryPolicy
from tests.client._peer import BOUND
from tests.support.legacyserver import LegacyServer
from tests.support.rawserver import ModernMCPServer, Peer, RawMCPServer, RawServer, Request

__all__ = [
    "CHANNEL_BEGINS",
    "ERAS",
    "MODERN",
    "ONCE",
    "SESSION_BEGINS",
    "AnyServer",
    "connect_to",
    "keys",
    "not_yet",
    "works",
]

MODERN = "2026-07-28"
ONCE = RetryPolicy(attempts=1)
SESSION_BEGINS = ["initialize", "notifications/initialized"]
CHANNEL_BEGINS = ["GET", *SESSION_BEGINS]
ERAS = {"modern": "stateless", "session": "session", "channel": "http+sse"}


class AnyServer(RawMCPServer):
    """A server that speaks as its ``kind`` says at the moment, which may change while clients are connected.

    Attributes:
        kind: ``"modern"``, ``"session"``, ``"both"`` of these, or ``"channel"``, for HTTP+SSE alone.
        refusal: The status with which the last of them refuses a POST to the endpoint.
    """

    def __init__(self, kind: str, *, protocol_version: str = "2025-11-25", refusal: int = 404) -> None:
        super().__init__(protocol_version=protocol_version)
        self.kind = kind
        self.refusal = refusal
        # They play, and nobody connects to them.
        self._modern = ModernMCPServer()
        self._channel = LegacyServer("/messages")
        self._players = ExitStack()

    def __enter__(self) -> AnyServer:
        self._players.enter_context(self._modern)
        self._players.enter_context(self._channel)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        try:
            super().__exit__(*error)
        finally:
            self._players.close()

    def answer(self, peer: Peer, request: Request) -> None:
        if self.kind == "modern" or (self.kind == "both" and self._modern._is_modern(request)):
            self._modern.answer(peer, request)
        elif self.kind != "channel":
            super().answer(peer, request)
        elif request.method == "GET":
            self._channel.stream(peer)
            peer.hold()
        elif request.target == "/messages":
            self._channel.accept(peer)
            self._channel.answer(request)
        else:
            peer.respond(self.refusal, b"Cannot POST", content_type="text/plain")


def keys(server: RawServer) -> list[str]:
    """What came, in order."""
    return [request.key for request in server.requests]


def connect_to(server: RawServer, **options: Any) -> Client:
    """A client that knows nothing but what others have learned, and does not wait between attempts."""
    defaults = {"timeout": BOUND, "retry": RetryPolicy(attempts=4, base=0.0), "listen_in_background": False}
    return Client(server.url, **{**defaults, **options})


def not_yet(server: RawServer, **options: Any) -> closing[Client]:
    """A client that is closed at the end of the block, and has not connected at its beginning."""
    return closing(connect_to(server, **options))


def works(client: Client) -> None:
    assert client.call_tool("echo").text == "ok"
