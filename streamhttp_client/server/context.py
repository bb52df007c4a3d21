"""What a handler is given to speak with the client while it runs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from ..exceptions import CapabilityError, LocalProtocolError
from ..protocol.models.elicitation import ElicitResult
from ..protocol.models.roots import ListRootsResult, Root
from ..protocol.models.sampling import CreateMessageResult
from .calls import Call
from .results import content_blocks, plain
from .sessions import LOG_LEVELS, ServerSession

__all__ = ["Context"]

# A person may have to answer. Longer than that, and a proxy or the client's own deadline has ended the call.
_ASK_TIMEOUT = 300.0


class Context:
    """The running call, as its handler sees it; a parameter annotated with this class is filled in by the
    server.

    The handler's own threads may share it.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        # Guards the last value: "The progress value MUST increase with each notification."
        self._lock = threading.Lock()
        self._progress: float | None = None

    @property
    def session(self) -> ServerSession:
        """Who called."""
        return self._call.session

    @property
    def request_id(self) -> str | int:
        """The JSON-RPC id of the call."""
        return self._call.request.id

    @property
    def meta(self) -> Mapping[str, Any]:
        """``_meta`` of the request."""
        meta = self._call.params.get("_meta")
        return meta if isinstance(meta, Mapping) else {}

    @property
    def cancelled(self) -> bool:
        """True once the client has cancelled the call, or its session has ended. Look often, and return
        early.
        """
        return self._call.cancelled

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Report progress. Nothing is sent if the caller did not ask for progress, or ``done`` has not grown.

        A handler that reports faster than its client reads waits for it, at most 30 seconds in a call; what is
        still too much is dropped, so that the result always has its place.

        Args:
            done: Must grow from call to call (MCP 2025-11-25, basic/utilities/progress).
            total: What ``done`` will be at the end, if that is known.
            message: A text for people.
        """
        token = self._call.progress_token
        if token is None:
            return
        params: dict[str, Any] = {"progressToken": token, "progress": done}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        with self._lock:
            # Sent under the lock, so that two threads cannot swap their places on the wire.
            if self._progress is None or done > self._progress:
                self._progress = done
                self._call.notify("notifications/progress", params)

    def log(self, level: str, data: Any, *, logger: str | None = None) -> None:
        """Send a log message if the client wants messages of this level; "info" and above until it says
        otherwise.

        Args:
            level: One of debug, info, notice, warning, error, critical, alert, emergency.
            data: Any JSON value. Never put secrets into it.
            logger: Name of the part that logs.
        """
        if level not in LOG_LEVELS:
            raise LocalProtocolError(f"level must be one of {', '.join(LOG_LEVELS)}, got {level!r}")
        if self.session.wants_log(level):
            params = {"level": level, "data": plain(data)}
            if logger is not None:
                params["logger"] = logger
            self._call.notify("notifications/message", params)

    def close_connection(self, retry_ms: int | None = None) -> None:
        """Close the client's connection and go on; the client comes back for what follows.

        For calls that take long, where an open connection costs more than coming back (SEP-1699). Clients of
        revisions before 2025-11-25 do not know this, and keep their connection.

        Args:
            retry_ms: Milliseconds until the client should come back; None leaves the server's default.
        """
        self._call.outlet.pause(retry_ms)

    def ask_sampling(
        self,
        messages: str | list[Any],
        *,
        max_tokens: int,
        system_prompt: str | None = None,
        timeout: float = _ASK_TIMEOUT,
        **params: Any,
    ) -> CreateMessageResult:
        """Let the client's model write something; block until it has.

        Args:
            messages: One text of the user, or messages of the protocol (``{"role": …, "content": …}``).
            max_tokens: Bound for the answer.
            timeout: Seconds to wait.
            params: Further fields, in the protocol's own names: ``temperature``, ``modelPreferences``,
                ``tools``.

        Raises:
            CapabilityError: The client did not declare sampling, or cannot be asked on this answer.
            RPCError: The client refused.
            CallTimeout, CallCancelled: No answer came.
            InvalidResult: The answer is of another shape.
        """
        self._need("sampling")
        if isinstance(messages, str):
            messages = [{"role": "user", "content": content_blocks(messages)[0]}]
        wire: dict[str, Any] = {"messages": plain(messages), "maxTokens": max_tokens, **plain(params)}
        if system_prompt is not None:
            wire["systemPrompt"] = system_prompt
        return CreateMessageResult.from_wire(self._call.ask("sampling/createMessage", wire, timeout))

    def elicit(
        self, message: str, schema: Mapping[str, Any] | None = None, *, timeout: float = _ASK_TIMEOUT
    ) -> ElicitResult:
        """Ask the user for data through a form; block until the client answers.

        Args:
            message: What the user reads.
            schema: A flat object schema (``requestedSchema``); None asks only for consent.
            timeout: Seconds to wait.

        Returns:
            ``action`` is "accept" (``content`` has the values), "decline" or "cancel".

        Raises:
            CapabilityError, RPCError, CallTimeout, CallCancelled, InvalidResult: As for :meth:`ask_sampling`.
        """
        self._need("elicitation")
        if self.session.can("elicitation.url") and not self.session.can("elicitation.form"):
            # "{}" alone means forms; MCP 2025-11-25, client/elicitation, Capabilities
            raise CapabilityError("the client declared elicitation by URL only")
        requested = {"type": "object", "properties": {}} if schema is None else dict(schema)
        params = {"message": message, "requestedSchema": requested}
        return ElicitResult.from_wire(self._call.ask("elicitation/create", params, timeout))

    def elicit_url(self, message: str, url: str, elicitation_id: str, *, timeout: float = _ASK_TIMEOUT) -> ElicitResult:
        """Ask the user to visit a page, for what must not pass through the client; block until they agreed or
        not.

        Since 2025-11-25. An ``action`` of "accept" means that the user agreed, not that they are done there.
        """
        self._need("elicitation.url")
        params = {"mode": "url", "message": message, "url": url, "elicitationId": elicitation_id}
        return ElicitResult.from_wire(self._call.ask("elicitation/create", params, timeout))

    def roots(self, *, timeout: float = _ASK_TIMEOUT) -> tuple[Root, ...]:
        """Return the directories and files that the client lets the server know about."""
        self._need("roots")
        return tuple(ListRootsResult.from_wire(self._call.ask("roots/list", {}, timeout)).roots)

    def _need(self, capability: str) -> None:
        if not self.session.can(capability):
            raise CapabilityError(f"the client did not declare the capability {capability!r}")
