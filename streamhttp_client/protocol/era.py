"""What transport and client ask about the rules of a conversation, instead of asking which revision is spoken."""

from __future__ import annotations

from typing import Protocol

from ..jsonrpc import Notification, RequestId
from .session import Session
from .versions import Revision

__all__ = ["Era"]


class Era(Protocol):
    """One set of rules. Holds no state: threads share it."""

    @property
    def revision(self) -> Revision:
        """The revision that is spoken."""

    @property
    def has_listening_stream(self) -> bool:
        """Whether a GET opens a stream of what no call asked for."""

    @property
    def ends_session(self) -> bool:
        """Whether a DELETE on close tells the server that the session is over."""

    def message_headers(self, session: Session | None) -> dict[str, str]:
        """Headers of every POST. Before the handshake is done, ``session`` is None."""

    def stream_headers(self, session: Session) -> dict[str, str]:
        """Headers of a GET that opens or resumes a stream; the transport adds ``Last-Event-ID``."""

    def end_headers(self, session: Session) -> dict[str, str]:
        """Headers of the DELETE that ends the session."""

    def may_resume(self, last_event_id: str) -> bool:
        """Whether a stream that broke after this event can be opened again with a GET."""

    def cancellation(self, request_id: RequestId, reason: str) -> Notification | None:
        """What to POST so that the server stops working on a request, or None if closing the stream says it."""

    def session_is_gone(self, status: int, session: Session | None, message: str = "") -> bool:
        """Whether this refusal means that the server does not know the session any more."""

    def check_session_id(self, value: str) -> str:
        """Return a session id that is safe to send back; raise RemoteProtocolError for another."""
