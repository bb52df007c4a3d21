"""The stateless era, MCP 2026-07-28, as an object that answers questions; see :class:`~.era.Era` for them.

There is no session: every request says which revision it is in, what the client can do and who it is, in ``_meta``,
and some of it again in headers. A stream that breaks is lost with its request, and closing one is how a request is
cancelled.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from .. import jsonrpc
from ..exceptions import InvalidResult, LocalProtocolError, RemoteProtocolError, StreamHTTPError
from . import calls
from .era import Listening
from .mirrored import standard_headers
from .names import CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL, PROTOCOL_VERSION, TASKS_EXTENSION, UNSUPPORTED_VERSION
from .negotiation import is_modern_error, looks_legacy
from .session import Session
from .versions import Revision

__all__ = ["StatelessEra"]

# "The client MUST include an Accept header listing both", MCP 2026-07-28, basic/transports/streamable-http
_ACCEPT = "application/json, text/event-stream"

_TRACE_CONTEXT = frozenset(("traceparent", "tracestate", "baggage"))


class StatelessEra:
    """The rules of one revision without handshake.

    Args:
        revision: Which one.
        capabilities: What this client can be asked for.
        client_info: How it introduces itself.
    """

    name = "stateless"
    listening: Listening = "subscription"
    ends_session = False
    session_lasts = False
    server_asks = False
    introduces_itself = False
    tasks_carry_results = True
    closing_cancels = True
    keeps_wishes = False
    hears_of_roots = False
    caches = True
    mirrors_arguments = True

    def __init__(
        self, revision: Revision, *, capabilities: Mapping[str, Any], client_info: Mapping[str, Any]
    ) -> None:
        self.revision = revision
        extensions = capabilities.get("extensions") or ()
        self._result_types = ("task",) if TASKS_EXTENSION in extensions else ()
        self._meta: dict[str, Any] = {
            PROTOCOL_VERSION: revision.name,
            CLIENT_INFO: dict(client_info),
            CLIENT_CAPABILITIES: dict(capabilities),
        }

    def dress(
        self,
        params: Mapping[str, Any] | None,
        *,
        log_level: str | None,
        also: Mapping[str, Any] | None = None,
    ) -> Mapping[str, Any]:
        """The parameters with ``_meta`` as every request has it (basic/index, Per-request protocol fields).

        A trace context that is under way is added (ibid., OpenTelemetry trace context). What the caller has put into
        ``_meta`` stays, but for the fields that describe the client.
        """
        meta: dict[str, Any] = {}
        if "opentelemetry.context" in sys.modules:  # without it, nobody can have begun a trace
            from . import trace

            meta.update(trace.current())
        if log_level is not None:
            meta[LOG_LEVEL] = log_level
        own = self._meta
        if also:
            own = {**own, CLIENT_CAPABILITIES: {**also, **own[CLIENT_CAPABILITIES]}}
        if params is None:
            meta.update(own)
            return {"_meta": meta}
        given = params.get("_meta")
        if given is not None:
            if not isinstance(given, Mapping):
                raise LocalProtocolError(f"'_meta' must be a mapping, got {type(given).__name__}")
            if not _TRACE_CONTEXT.isdisjoint(given):
                from . import trace

                trace.check(given)
            meta.update(given)
        meta.update(own)
        return {**params, "_meta": meta}

    def greeting(self) -> calls.Operation[Any]:
        """``server/discover``, since there is no ping any more, and every server must answer this."""
        return calls.discover()

    def ask_task(self, task_id: str) -> calls.Operation[Any]:
        """Asks how a task of the extension stands."""
        return calls.poll_task(task_id)

    def end_task(self, task_id: str) -> calls.Operation[Any]:
        """Says that a task of the extension is no longer wanted."""
        return calls.stop_task(task_id)

    def message_headers(self, session: Session | None, message: jsonrpc.Message) -> dict[str, str]:
        """Headers of every POST: what a gateway needs to know is in them too (streamable-http, Request Metadata)."""
        headers = {
            "accept": _ACCEPT,
            "content-type": "application/json",
            "mcp-protocol-version": self.revision.name,
        }
        if isinstance(message, (jsonrpc.Request, jsonrpc.Notification)):
            headers.update(standard_headers(message.method, message.params))
        return headers

    def stream_headers(self, session: Session) -> dict[str, str]:
        """There is no GET in this era."""
        raise RemoteProtocolError(f"revision {self.revision.name} has no stream that a GET opens")

    def end_headers(self, session: Session) -> dict[str, str]:
        """There is no DELETE in this era."""
        raise RemoteProtocolError(f"revision {self.revision.name} has no session to end")

    def may_resume(self, last_event_id: str) -> bool:
        """Never: "Resumable SSE streams via Last-Event-ID are not supported." Ibid., Receiving Messages"""
        return False

    def cancellation(self, request_id: jsonrpc.RequestId, reason: str) -> jsonrpc.Notification | None:
        """None: closing the stream says it (ibid., Cancellation)."""
        return None

    def result_kind(self, method: str, result: Any) -> str:
        """What ``resultType`` says; an absent one is as good as ``"complete"`` (basic/index, ResultType).

        Raises:
            InvalidResult: A kind that this client did not declare, or one that the method cannot have.
        """
        if type(result) is dict and result.get("resultType", "complete") == "complete":
            return "complete"
        from . import inputs  # seldom needed

        kind = inputs.check_result_type(result, self._result_types if method == "tools/call" else ())
        if kind == "input_required" and method not in inputs.ASKING_METHODS:
            raise InvalidResult(f"a result of {method!r} must not ask for input", result=result)
        return kind

    def session_is_gone(self, status: int, session: Session | None, message: str = "") -> bool:
        """Never: there is none. A 404 is an unknown method, or no endpoint."""
        return False

    def is_foreign(self, error: StreamHTTPError) -> bool:
        """Whether a refusal is one of an older server, or of one that does not know this revision any more."""
        return looks_legacy(error) or (is_modern_error(error) and getattr(error, "code", None) == UNSUPPORTED_VERSION)

    def check_session_id(self, value: str) -> str:
        """Any: "ignore it" (ibid., Earlier Streamable HTTP Revisions)."""
        return value
