"""The rules of MCP 2024-11-05, whose transport is HTTP+SSE; see :class:`~.era.Era` for the questions.

Messages go out by POST, and everything comes back on the one stream that a GET has opened. That stream **is** the
session: there is no id in a header, no end but closing it, and nothing to resume. It is deprecated, and spoken with
servers that speak nothing else.
"""

from __future__ import annotations

from .era import Listening
from .session import Session
from .stateful import StatefulEra
from .versions import REVISIONS, Revision

__all__ = ["TwoChannelsEra"]


class TwoChannelsEra(StatefulEra):
    """The handshake and its messages are those of the session era; what differs is said here.

    Args:
        revision: What was agreed; servers that kept this transport may agree on a later one.
    """

    name = "http+sse"
    listening: Listening = "channel"
    ends_session = False
    session_lasts = False

    def __init__(self, revision: Revision = REVISIONS["2024-11-05"]) -> None:
        super().__init__(revision)

    def _session_headers(self, session: Session | None) -> dict[str, str]:
        """None: the address that the server has named for messages says whose they are."""
        return {}

    def may_resume(self, last_event_id: str) -> bool:
        """Never: a new stream is a new session."""
        return False

    def session_is_gone(self, status: int, session: Session | None, message: str = "") -> bool:
        """Whether this refusal of a message means that the server does not know its stream any more.

        The revision does not say how that looks: the official SDKs answer 404, or 400 where they cannot read the id in
        the address. Before the handshake is done, the same statuses say that there never was such an endpoint.
        """
        return session is not None and status in (400, 404)
