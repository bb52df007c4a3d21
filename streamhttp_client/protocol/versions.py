"""The revisions of MCP, and what each of them can do.

A revision is data. Code asks it a question (``revision.batches``) and never compares dates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._record import FrozenDict, Record
from ..exceptions import LocalProtocolError

__all__ = [
    "LATEST",
    "LATEST_SESSION",
    "REVISIONS",
    "Revision",
    "find_revision",
    "find_session_revision",
    "find_stateless_revision",
    "get_revision",
]


_NOTHING: frozenset[str] = frozenset()
_FIRST_ABILITIES = FrozenDict({"roots": frozenset(("listChanged",)), "sampling": _NOTHING})
_SECOND_ABILITIES = FrozenDict({**_FIRST_ABILITIES, "elicitation": _NOTHING})
_ABILITIES = FrozenDict({
    **_FIRST_ABILITIES, "sampling": frozenset(("context", "tools")), "elicitation": frozenset(("form", "url")),
})  # fmt: skip
_LATEST_ABILITIES = FrozenDict({**_ABILITIES, "roots": _NOTHING, "extensions": None})


class Revision(Record):
    """One dated revision of the protocol.

    Attributes:
        name: Its date, as it stands on the wire.
        handshake: Version and capabilities are agreed once, by ``initialize``. Where not, every request carries them
            (since 2026-07-28).
        batches: An HTTP body may be an array of messages (2025-03-26 only).
        polling: A server may close a stream early and expect the client to come back (2025-11-25).
        tasks: Requests can be turned into tasks by the core protocol (2025-11-25, experimental).
        two_channels: Its own transport is HTTP+SSE, where answers come on one common stream (2024-11-05).
        undeclared: Capabilities that a server may have without being able to say so.
        client_abilities: Capabilities that a client may declare, each with what may be said of it; None for anything.
    """

    name: str
    handshake: bool = True
    batches: bool = False
    polling: bool = False
    tasks: bool = False
    two_channels: bool = False
    undeclared: frozenset[str] = frozenset()
    client_abilities: Mapping[str, frozenset[str] | None] = _ABILITIES

    def declared(self, capabilities: Mapping[str, Any]) -> dict[str, Any]:
        """What of a client's capabilities there is in this revision (ClientCapabilities of its schema)."""
        known = self.client_abilities
        found = {}
        for name, said in capabilities.items():
            if name in known:
                members = known[name]
                found[name] = {key: value for key, value in said.items() if members is None or key in members}
        return found


REVISIONS = {
    revision.name: revision
    for revision in (
        Revision("2026-07-28", handshake=False, client_abilities=_LATEST_ABILITIES),
        Revision("2025-11-25", polling=True, tasks=True),
        Revision("2025-06-18", client_abilities=_SECOND_ABILITIES),
        Revision("2025-03-26", batches=True, client_abilities=_FIRST_ABILITIES),
        Revision(
            "2024-11-05",
            two_channels=True,
            undeclared=frozenset(("completions",)),
            client_abilities=_FIRST_ABILITIES,
        ),
    )
}
"""The revisions that this package speaks, newest first."""

LATEST = REVISIONS["2026-07-28"]

LATEST_SESSION = REVISIONS["2025-11-25"]
"""The newest revision that is agreed by a handshake."""


def find_revision(name: str) -> Revision | None:
    """The revision of that name, or None if it is not spoken here."""
    return REVISIONS.get(name)


def find_session_revision(name: str) -> Revision | None:
    """The revision of that name, or None if it is not spoken here or cannot be agreed by a handshake."""
    revision = REVISIONS.get(name)
    return revision if revision is not None and revision.handshake else None


def find_stateless_revision(name: str) -> Revision | None:
    """The revision of that name, or None if it is not spoken here or has a handshake."""
    revision = REVISIONS.get(name)
    return revision if revision is not None and not revision.handshake else None


def get_revision(name: str) -> Revision:
    """The revision of that name.

    Raises:
        LocalProtocolError: It is not spoken here.
    """
    revision = REVISIONS.get(name)
    if revision is None:
        raise LocalProtocolError(f"protocol must be 'auto' or one of {', '.join(map(repr, REVISIONS))}, got {name!r}")
    return revision
