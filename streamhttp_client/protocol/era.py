"""What transport and client ask about the rules of a conversation, instead of asking which revision is spoken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from ..exceptions import StreamHTTPError
from ..jsonrpc import Message, Notification, RequestId
from .calls import Operation
from .session import Session
from .versions import Revision

__all__ = ["Era", "Listening"]

Listening = Literal["get", "subscription", "channel"]
"""How one hears what no call asked for: on the stream of a GET, as the answer to ``subscriptions/listen``, or on the
one stream on which everything comes."""


class Era(Protocol):
    """One set of rules. It does not change: threads share it."""

    @property
    def name(self) -> str:
        """What it is called: ``"stateless"``, ``"session"`` or ``"http+sse"``."""

    @property
    def revision(self) -> Revision:
        """The revision that is spoken."""

    @property
    def listening(self) -> Listening:
        """How one hears what no call asked for."""

    @property
    def ends_session(self) -> bool:
        """Whether a DELETE on close tells the server that the session is over."""

    @property
    def session_lasts(self) -> bool:
        """Whether there is a session that outlives its connections, so that it is not begun anew without need."""

    @property
    def server_asks(self) -> bool:
        """Whether the server sends requests of its own, on any stream, which are answered by a POST."""

    @property
    def introduces_itself(self) -> bool:
        """Whether the server has said who it is, and what it can do, before the first call; else it has to be asked."""

    @property
    def tasks_carry_results(self) -> bool:
        """Whether asking how a task stands also brings what came of it, or what it wants to know."""

    @property
    def closing_cancels(self) -> bool:
        """Whether the server is to see the connection close when nobody wants the rest of an answer any more."""

    @property
    def keeps_wishes(self) -> bool:
        """Whether a log level, or a subscription, is told to the server once and kept there."""

    @property
    def hears_of_roots(self) -> bool:
        """Whether there is a notification that the roots of the client are others now."""

    @property
    def caches(self) -> bool:
        """Whether results say for how long they hold."""

    @property
    def mirrors_arguments(self) -> bool:
        """Whether arguments that a tool names are repeated in headers."""

    def dress(
        self,
        params: Mapping[str, Any] | None,
        *,
        log_level: str | None,
        also: Mapping[str, Any] | None = None,
    ) -> Mapping[str, Any] | None:
        """The parameters of a request, with what each request says of the client.

        Args:
            params: As the verb has them; left as they are.
            log_level: The least severe log messages that the caller wants, or None.
            also: Capabilities that this one request has, beside those of the client.
        """

    def greeting(self) -> Operation[Any]:
        """What to ask a server only to see whether it answers."""

    def ask_task(self, task_id: str) -> Operation[Any]:
        """Asks how a task stands."""

    def end_task(self, task_id: str) -> Operation[Any]:
        """Asks that a task be stopped."""

    def message_headers(self, session: Session | None, message: Message) -> dict[str, str]:
        """Headers of every POST. Before the handshake is done, ``session`` is None."""

    def stream_headers(self, session: Session) -> dict[str, str]:
        """Headers of a GET that opens or resumes a stream; the transport adds ``Last-Event-ID``."""

    def end_headers(self, session: Session) -> dict[str, str]:
        """Headers of the DELETE that ends the session."""

    def may_resume(self, last_event_id: str) -> bool:
        """Whether a stream that broke after this event can be opened again with a GET."""

    def cancellation(self, request_id: RequestId, reason: str) -> Notification | None:
        """What to POST so that the server stops working on a request, or None if closing the stream says it."""

    def result_kind(self, method: str, result: Any) -> str:
        """What a result is: ``"complete"``, ``"input_required"`` or ``"task"``.

        Raises:
            InvalidResult: Something else, or one that this method cannot have.
        """

    def session_is_gone(self, status: int, session: Session | None, message: str = "") -> bool:
        """Whether this refusal means that the server does not know the session any more."""

    def is_foreign(self, error: StreamHTTPError) -> bool:
        """Whether a refusal looks as if the server spoke by other rules than these, so that asking again is due."""

    def check_session_id(self, value: str) -> str:
        """Return a session id that is safe to send back; raise RemoteProtocolError for another."""

