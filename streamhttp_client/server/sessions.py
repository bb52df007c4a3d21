"""One client's session as the server sees it, and what the store keeps of it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ..protocol.versions import LATEST_SESSION, Revision, find_session_revision
from .stores.base import Store

__all__ = ["LOG_LEVELS", "ServerSession", "find_served", "kept_of_client", "new_token", "open_session"]

# RFC 5424 severities, least severe first; MCP 2025-11-25, server/utilities/logging
LOG_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


def find_served(name: str) -> Revision | None:
    """The revision of that name if a session can be of it: not 2024-11-05, which has a transport of its own."""
    revision = find_session_revision(name)
    return None if revision is None or revision.two_channels else revision


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
        client_info, client_capabilities: As the client declared them; of more than some KiB only what matters.
        principal: Who it is, as the server's ``principal=`` function said; None without one.
        log_level: Least severe level that the client wants to be sent.
        subscriptions: URIs whose updates it wants.
        listeners: Logs of its listening streams, the newest last.
    """

    def __init__(self, session_id: str | None, fields: Mapping[str, Any]) -> None:
        self.session_id = session_id
        #: Names the session inside the server; for a stateless call too, which has no other name.
        self.key = session_id or new_token()
        self.revision: Revision = find_session_revision(fields.get("revision", "")) or LATEST_SESSION
        self.client_info: dict[str, Any] = fields.get("client_info") or {}
        self.client_capabilities: dict[str, Any] = fields.get("client_capabilities") or {}
        self.principal: str | None = fields.get("principal")
        self.log_level: str = fields.get("log_level") or "info"
        self._fields = fields

    # Looked for only when they are asked for: most requests have no need of them. One field each, so that two
    # requests at the same time do not undo each other.

    @cached_property
    def subscriptions(self) -> frozenset[str]:
        return frozenset(
            key.removeprefix("subscribed:") for key, on in self._fields.items() if on and key.startswith("subscribed:")
        )

    @cached_property
    def listeners(self) -> tuple[str, ...]:
        found = self._ages()
        return tuple(sorted(found, key=lambda log: (found[log], log)))

    @cached_property
    def next_listener(self) -> int:
        """What the field of the next one is set to, so that their order is known."""
        return max(self._ages().values(), default=0) + 1

    def _ages(self) -> dict[str, int]:
        start = "listener:"
        return {key.removeprefix(start): age for key, age in self._fields.items() if key.startswith(start)}

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


# Bytes as JSON of what a session keeps of ``clientInfo`` and of the client's capabilities; real ones have some
# hundred. It is kept before anybody knows who calls, so it must not be the client's choice.
_MAX_INFO = 1024
_MAX_CAPABILITIES = 4096
_MAX_WORD = 256
# The capabilities that this server asks for, and what it asks below them.
_ASKED = ("sampling", "elicitation", "roots")
_ASKED_BELOW = ("form", "url", "tools", "context", "listChanged")


def _is_longer(value: Mapping[str, Any], size: int) -> bool:
    try:
        return len(json.dumps(value)) > size
    except RecursionError:
        return True


def kept_of_client(info: Mapping[str, Any], capabilities: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a session that say what the client declared; of what is too long only the part that counts."""
    if _is_longer(info, _MAX_INFO):
        words = {key: info[key] for key in ("name", "version", "title") if isinstance(info.get(key), str)}
        info = {key: word[:_MAX_WORD] for key, word in words.items()}
    if _is_longer(capabilities, _MAX_CAPABILITIES):
        capabilities = {
            name: {key: {} for key in _ASKED_BELOW if isinstance(value, Mapping) and key in value}
            for name, value in capabilities.items()
            if name in _ASKED
        }
    return {"client_info": dict(info), "client_capabilities": dict(capabilities)}


def open_session(store: Store, fields: Mapping[str, Any]) -> ServerSession:
    """Begin a session in the store.

    Raises:
        StoreFull: There are too many.
    """
    session_id = new_token()
    store.create_session(session_id, fields)
    return ServerSession(session_id, fields)
