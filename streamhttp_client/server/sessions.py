"""One client's session as the server sees it, and what the store keeps of it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from ..protocol.versions import LATEST, Revision, find_revision
from .stores.base import Store

__all__ = ["LOG_LEVELS", "ServerSession", "new_token"]

# RFC 5424 severities, least severe first; MCP 2025-11-25, server/utilities/logging
LOG_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


def new_token() -> str:
    """A name that cannot be guessed: 128 bits."""
    return secrets.token_hex(16)


class ServerSession:
    """What is known of the client that called.

    It is read from the store once per HTTP request, so a change made by another request is not seen in a call
    that already runs.

    Attributes:
        session_id: None on a stateless server.
        revision: What was agreed in the handshake.
        client_info, client_capabilities: As the client declared them.
        principal: Who it is, as the server's ``principal=`` function said; None without one.
        log_level: Least severe level that the client wants to be sent.
        subscriptions: URIs whose updates it wants.
        listeners: Logs of its listening streams, the newest last.
    """

    def __init__(self, session_id: str | None, fields: Mapping[str, Any]) -> None:
        self.session_id = session_id
        #: Names the session inside the server; for a stateless call too, which has no other name.
        self.key = session_id or new_token()
        self.revision: Revision = find_revision(fields.get("revision", "")) or LATEST
        self.client_info: dict[str, Any] = fields.get("client_info") or {}
        self.client_capabilities: dict[str, Any] = fields.get("client_capabilities") or {}
        self.principal: str | None = fields.get("principal")
        self.log_level: str = fields.get("log_level") or "info"
        # One field each, so that two requests at the same time do not undo each other.
        self.subscriptions: frozenset[str] = frozenset(
            key.removeprefix("subscribed:") for key, on in fields.items() if on and key.startswith("subscribed:")
        )
        found = {key.removeprefix("listener:"): age for key, age in fields.items() if key.startswith("listener:")}
        self.listeners: tuple[str, ...] = tuple(sorted(found, key=lambda log: (found[log], log)))
        #: What the field of the next one is set to, so that their order is known.
        self.next_listener: int = max(found.values(), default=0) + 1

    def wants_log(self, level: str) -> bool:
        """Whether a message of this level is severe enough for the client."""
        return LOG_LEVELS.index(level) >= LOG_LEVELS.index(self.log_level)

    def can(self, capability: str) -> bool:
        """Whether the client declared a capability: ``"sampling"``, ``"elicitation"``,
        ``"elicitation.url"``.
        """
        found: Any = self.client_capabilities
        for part in capability.split("."):
            if not isinstance(found, Mapping) or part not in found:
                return False
            found = found[part]
        return True

    def __repr__(self) -> str:
        """Without the id, since what is printed ends in logs."""
        return f"ServerSession(revision={self.revision.name!r}, client_info={self.client_info!r})"


def open_session(store: Store, fields: Mapping[str, Any]) -> ServerSession:
    """Begin a session in the store.

    Raises:
        StoreFull: There are too many.
    """
    session_id = new_token()
    store.create_session(session_id, fields)
    return ServerSession(session_id, fields)
