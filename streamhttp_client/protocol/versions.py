"""The revisions of MCP, and what each of them can do.

A revision is data. Code asks it a question (``revision.batches``) and never compares dates.
"""

from __future__ import annotations

from .._record import Record
from ..exceptions import LocalProtocolError

__all__ = ["LATEST", "REVISIONS", "Revision", "find_revision", "get_revision"]


class Revision(Record):
    """One dated revision of the protocol.

    Attributes:
        name: Its date, as it stands on the wire.
        batches: An HTTP body may be an array of messages (2025-03-26 only).
        polling: A server may close a stream early and expect the client to come back (since 2025-11-25).
        tasks: Requests can be turned into tasks (2025-11-25, experimental).
    """

    name: str
    batches: bool = False
    polling: bool = False
    tasks: bool = False


REVISIONS = {
    revision.name: revision
    for revision in (
        Revision("2025-11-25", polling=True, tasks=True),
        Revision("2025-06-18"),
        Revision("2025-03-26", batches=True),
    )
}
"""The revisions of the session era that this package speaks, newest first."""

LATEST = REVISIONS["2025-11-25"]


def find_revision(name: str) -> Revision | None:
    """The revision of that name, or None if it is not spoken here."""
    return REVISIONS.get(name)


def get_revision(name: str) -> Revision:
    """The revision of that name.

    Raises:
        LocalProtocolError: It is not spoken here.
    """
    revision = REVISIONS.get(name)
    if revision is None:
        raise LocalProtocolError(f"protocol must be 'auto' or one of {', '.join(map(repr, REVISIONS))}, got {name!r}")
    return revision
