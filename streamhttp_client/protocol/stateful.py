"""The session era, MCP 2025-03-26 to 2025-11-25, as an object that answers questions.

Strategy: transport and client never ask which revision is spoken. They ask the era "which headers?", "may this stream
be resumed, and how?", "how is a call cancelled?", "has the session ended?". Another era answers the same questions
otherwise. Inputs are the session and plain values; outputs are plain values; nothing here holds state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import jsonrpc
from ..exceptions import RemoteProtocolError, StreamHTTPError
from . import calls
from .era import Listening
from .negotiation import is_modern_error
from .session import Session, is_session_id
from .versions import Revision

__all__ = ["StatefulEra"]

# "The client MUST include an Accept header, listing both application/json and text/event-stream as supported content
# types." MCP 2025-11-25, basic/transports, Sending Messages to the Server
_ACCEPT_BOTH = "application/json, text/event-stream"
# "The client MUST include an Accept header, listing text/event-stream", ibid., Listening for Messages
_ACCEPT_STREAM = "text/event-stream"


class StatefulEra:
    """The rules of one revision of the session era; see :class:`~.era.Era` for the questions."""

    name = "session"
    listening: Listening = "get"
    ends_session = True
    session_lasts = True
    server_asks = True
    introduces_itself = True
    tasks_carry_results = False
    closing_cancels = False
    keeps_wishes = True
    hears_of_roots = True
    caches = False
    mirrors_arguments = False

    def __init__(self, revision: Revision) -> None:
        self.revision = revision

    def dress(
        self,
        params: Mapping[str, Any] | None,
        *,
        log_level: str | None,
        also: Mapping[str, Any] | None = None,
    ) -> Mapping[str, Any] | None:
        """The parameters as they are: the handshake has said all there is to say of the client."""
        return params

    def greeting(self) -> calls.Operation[Any]:
        """A ping."""
        return calls.ping()

    def ask_task(self, task_id: str) -> calls.Operation[Any]:
        """Asks how a task stands (2025-11-25)."""
        return calls.get_task(task_id)

    def end_task(self, task_id: str) -> calls.Operation[Any]:
        """Asks that a task be cancelled (2025-11-25)."""
        return calls.cancel_task(task_id)

    def message_headers(self, session: Session | None, message: jsonrpc.Message) -> dict[str, str]:
        """Headers of every POST. Before the handshake is done, ``session`` is None."""
        headers = {"accept": _ACCEPT_BOTH, "content-type": "application/json"}
        headers.update(self._session_headers(session))
        return headers

    def stream_headers(self, session: Session) -> dict[str, str]:
        """Headers of a GET that opens or resumes a stream; the transport adds ``Last-Event-ID``."""
        return {"accept": _ACCEPT_STREAM, "cache-control": "no-store", **self._session_headers(session)}

    def end_headers(self, session: Session) -> dict[str, str]:
        """Headers of the DELETE that ends the session."""
        return self._session_headers(session)

    def _session_headers(self, session: Session | None) -> dict[str, str]:
        headers: dict[str, str] = {}
        if session is not None and session.session_id is not None:
            headers["mcp-session-id"] = session.session_id
        if session is not None and session.protocol_version is not None:
            # Defined since 2025-06-18; a server of 2025-03-26 ignores it.
            headers["mcp-protocol-version"] = session.protocol_version
        return headers

    def may_resume(self, last_event_id: str) -> bool:
        """Whether a stream that broke after this event can be opened again with a GET."""
        return bool(last_event_id)

    def cancellation(self, request_id: jsonrpc.RequestId, reason: str) -> jsonrpc.Notification | None:
        """What to POST so that the server stops working on a request, or None if closing the stream says it."""
        return calls.cancelled(request_id, reason)

    def result_kind(self, method: str, result: Any) -> str:
        """What a result is: there is but one kind."""
        return "complete"

    def session_is_gone(self, status: int, session: Session | None, message: str = "") -> bool:
        """Whether this refusal means that the server does not know the session any more.

        "The server MAY terminate the session at any time, after which it MUST respond to requests containing that
        session ID with HTTP 404 Not Found." Ibid., Session Management 3. Servers written after the official TypeScript
        examples say 400 and "No valid session ID provided" instead.

        Args:
            status: HTTP status.
            session: What the request was sent with.
            message: Of the JSON-RPC error that came with it, or "".
        """
        if session is None or session.session_id is None:
            return False
        return status == 404 or status == 400 and "session id" in message.lower()

    def is_foreign(self, error: StreamHTTPError) -> bool:
        """Whether a refusal is one that servers of another era have for such a request.

        "A request missing any required field is malformed; the server MUST reject it with JSON-RPC error code -32602.
        On HTTP, the response status MUST be 400." MCP 2026-07-28, basic/index. Older ones say it with 200 as a rule.
        """
        status, code = getattr(error, "status", None), getattr(error, "code", None)
        # 405: the address does not take messages any more, as that of HTTP+SSE does not.
        return is_modern_error(error) or status == 405 or (status == 400 and code == jsonrpc.INVALID_PARAMS)

    def check_session_id(self, value: str) -> str:
        """Return a session id that is safe to send back.

        Raises:
            RemoteProtocolError: It is empty, longer than 8 KiB, or not visible ASCII.
        """
        if not is_session_id(value):
            raise RemoteProtocolError(
                f"a session id must be 1 to 8192 characters of visible ASCII, got {len(value)} characters"
            )
        return value
