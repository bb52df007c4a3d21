"""The revisions of MCP, and what each of them can do.

A revision is data. Code asks it a question (``revision.batches``) and never compares dates.
"""

from __future__ import annotations

from .._record import Record
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
    """

    name: str
    handshake: bool = True
    batches: bool = False
    polling: bool = False
    tasks: bool = False
    two_channels: bool = False
    undeclared: frozenset[str] = frozenset()


REVISIONS = {
    revision.name: revision
    for revision in (
        Revision("2026-07-28", handshake=False),
        Revision("2025-11-25", polling=True, tasks=True),
        Revision("2025-06-18"),
        Revision("2025-03-26", batches=True),
        Revision("2024-11-05", two_channels=True, undeclared=frozenset(("completions",))),
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
