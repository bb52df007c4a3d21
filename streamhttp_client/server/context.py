"""What a handler is given to speak with the client while it runs."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ..exceptions import LocalProtocolError
from ..protocol.models.elicitation import ElicitResult
from ..protocol.models.inputs import ANSWERS
from ..protocol.models.roots import ListRootsResult, Root
from ..protocol.models.sampling import CreateMessageResult
from .calls import Call
from .results import content_blocks, plain
from .sessions import LOG_LEVELS, ServerSession

__all__ = ["Context"]

_log = logging.getLogger("streamhttp_client.server")

# A person may have to answer. Longer than that, and a proxy or the client's own deadline has ended the call.
_ASK_TIMEOUT = 300.0


def _number(name: str, value: Any) -> float:
    if type(value) is int or type(value) is float:
        return value
    try:
        if not isinstance(value, (str, bytes)):
            return float(value)  # numpy's, or a Decimal
    except (TypeError, ValueError, OverflowError):
        pass
    raise LocalProtocolError(f"{name} must be a number, got {value!r:.60}")


class Context:
    """The running call, as its handler sees it; a parameter annotated with this class is filled in by the
    server.

    The handler's own threads may share it.

    **Asking the client** (:meth:`elicit`, :meth:`ask_sampling`, :meth:`roots`, :meth:`ask`) differs between the eras.
    With a session the handler waits on its thread for the answer. Since 2026-07-28 nothing waits: the first question
    without an answer ends the run of the handler, the client gets the question as the answer to its request, and
    comes again with what it was asked for; then **the handler is run again from its beginning**, perhaps in another
    process, and the question returns at once. So what stands before a question is done once in each round, and must
    bear that: read, compute, ask first, and change things after the last question; or put it into :meth:`once`. The
    run ends by an exception that is no ``Exception``: let it pass. Questions must be the same in each round; one
    that differs is a new one, and its answer is asked for anew. A client may send answers that it was not asked for,
    and a round once more within ``state_ttl``, with all that :meth:`once` kept: who spends money on an answer needs a
    mark of its own that it has been spent, in a place of its own.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        # Guards the fields below: "The progress value MUST increase with each notification." Not held while one is
        # sent, since that may wait for the client; one thread at a time sends, and takes along what others report
        # meanwhile.
        self._lock = threading.Lock()
        self._progress: float | None = None
        self._next_report: dict[str, Any] | None = None
        self._reports = False

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
        """True once the client has cancelled the call (since 2026-07-28 that is: has gone), its session has ended, or
        the server stops. Look often, and return early.

        What is returned after this was seen to be true is half of a result, and reaches nobody. Where the server stops,
        the client gets an error.
        """
        return self._call.cancelled

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Report progress. Nothing is sent if the caller did not ask for progress, or ``done`` has not grown.

        A handler that reports faster than its client reads waits for it, at most 30 seconds in a call; what is
        still too much is dropped, so that the result always has its place. While one thread waits, others do not:
        the last of what they report follows.

        A report that cannot be sent, such as one of NaN, is left out with a line in the server's log.

        Args:
            done: Must grow from call to call (MCP 2025-11-25, basic/utilities/progress).
            total: What ``done`` will be at the end, if that is known.
            message: A text for people.

        Raises:
            LocalProtocolError: ``done`` or ``total`` is no number, whether the caller asked for progress or not.
        """
        done = _number("done", done)
        if total is not None:
            total = _number("total", total)
        token = self._call.progress_token
        if token is None:
            return
        params: dict[str, Any] = {"progressToken": token, "progress": done}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = str(message)
        if not -math.inf < done < math.inf:  # it would also hide what comes after it
            _log.warning("progress of %r cannot be sent", done)
            return
        with self._lock:
            if self._progress is not None and done <= self._progress:
                return
            self._progress = done
            self._next_report = params
            if self._reports:
                return
            self._reports = True
        try:
            while (report := self._take_report()) is not None:
                self._tell("notifications/progress", report)
        except BaseException:
            with self._lock:
                self._reports = False
            raise

    def _tell(self, method: str, params: Mapping[str, Any]) -> None:
        """Send what is only for information: if it cannot be sent, that is no reason to fail."""
        try:
            self._call.notify(method, params)
        except LocalProtocolError as error:
            _log.warning("a handler's %s was left out: %s", method, error)

    def _take_report(self) -> dict[str, Any] | None:
        """What is to be sent next; None if this thread's turn has ended."""
        with self._lock:
            report, self._next_report = self._next_report, None
            self._reports = report is not None
            return report

    def log(self, level: str, data: Any, *, logger: str | None = None) -> None:
        """Send a log message if the client wants messages of this level; "info" and above until it says
        otherwise, and since 2026-07-28 none until it does.

        Args:
            level: One of debug, info, notice, warning, error, critical, alert, emergency.
            data: Any JSON value. Never put secrets into it. What has no JSON form is left out, with a line in the
                server's log.
            logger: Name of the part that logs.
        """
        if level not in LOG_LEVELS:
            raise LocalProtocolError(f"level must be one of {', '.join(LOG_LEVELS)}, got {level!r}")
        if self.session.wants_log(level):
            try:
                params = {"level": level, "data": plain(data)}
            except (TypeError, RecursionError) as error:
                _log.warning("a handler's log message was left out: %s", error)
                return
            if logger is not None:
                params["logger"] = logger
            self._tell("notifications/message", params)

    def close_connection(self, retry_ms: int | None = None) -> None:
        """Close the client's connection and go on; the client comes back for what follows.

        For calls that take long, where an open connection costs more than coming back (SEP-1699). Clients of
        revisions before 2025-11-25 do not know this, and keep their connection; so do those of 2026-07-28, for which
        a closed connection is a cancelled call.

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
        key: str | None = None,
        **params: Any,
    ) -> CreateMessageResult:
        """Let the client's model write something; block until it has, or end this run (see above).

        Args:
            messages: One text of the user, or messages of the protocol (``{"role": …, "content": …}``).
            max_tokens: Bound for the answer.
            timeout: Seconds to wait; with a session only.
            key: Names the question on the wire, since 2026-07-28, and its answer counts for whatever is asked by
                that name. One is made of the question if not given.
            params: Further fields, in the protocol's own names: ``temperature``, ``modelPreferences``,
                ``tools``.

        Raises:
            CapabilityError: The client did not declare sampling, or cannot be asked on this answer.
            RPCError: The client refused.
            CallTimeout, CallCancelled: No answer came.
            InvalidResult: The answer is of another shape.
        """
        # "Servers MUST NOT send tool-enabled sampling requests to Clients that have not declared support for tool use"
        self._need("sampling.tools" if {"tools", "toolChoice"} & params.keys() else "sampling")
        if isinstance(messages, str):
            messages = [{"role": "user", "content": content_blocks(messages)[0]}]
        wire: dict[str, Any] = {"messages": plain(messages), "maxTokens": max_tokens, **plain(params)}
        if system_prompt is not None:
            wire["systemPrompt"] = system_prompt
        return CreateMessageResult.from_wire(self._ask("sampling/createMessage", wire, timeout, key))

    def elicit(
        self,
        message: str,
        schema: Mapping[str, Any] | None = None,
        *,
        timeout: float = _ASK_TIMEOUT,
        key: str | None = None,
    ) -> ElicitResult:
        """Ask the user for data through a form; block until the client answers, or end this run (see above).

        Args:
            message: What the user reads.
            schema: A flat object schema (``requestedSchema``); None asks only for consent.
            timeout, key: As for :meth:`ask_sampling`.

        Returns:
            ``action`` is "accept" (``content`` has the values), "decline" or "cancel". Of the values only those that
            the schema names; they fit it, as far as types, choices, lengths and limits go. Since 2026-07-28 values
            that do not are asked for once more.

        Raises:
            InvalidResult: With a session: they do not fit.
            CapabilityError, RPCError, CallTimeout, CallCancelled: As for :meth:`ask_sampling`.
        """
        self._need_elicitation("form")
        requested = {"type": "object", "properties": {}} if schema is None else dict(schema)
        params = {"message": message, "requestedSchema": requested}
        return ElicitResult.from_wire(self._ask("elicitation/create", params, timeout, key))

    def elicit_url(
        self,
        message: str,
        url: str,
        elicitation_id: str | None = None,
        *,
        timeout: float = _ASK_TIMEOUT,
        key: str | None = None,
    ) -> ElicitResult:
        """Ask the user to visit a page, for what must not pass through the client; block until they agreed or
        not, or end this run (see above).

        Since 2025-11-25. An ``action`` of "accept" means that the user agreed, not that they are done there.

        Args:
            elicitation_id: Names the visit in the session era; made up if not given. 2026-07-28 has none.
        """
        self._need_elicitation("url")
        params = {"mode": "url", "message": message, "url": url, **self._call.name_visit(elicitation_id)}
        return ElicitResult.from_wire(self._ask("elicitation/create", params, timeout, key))

    def roots(self, *, timeout: float = _ASK_TIMEOUT, key: str | None = None) -> tuple[Root, ...]:
        """Return the directories and files that the client lets the server know about; blocks, or ends this run (see
        above).
        """
        self._need("roots")
        return tuple(ListRootsResult.from_wire(self._ask("roots/list", {}, timeout, key)).roots)

    def ask(
        self, questions: Mapping[str, Mapping[str, Any]], *, timeout: float = _ASK_TIMEOUT
    ) -> dict[str, ElicitResult | CreateMessageResult | ListRootsResult]:
        """Ask several things at once, in one round; in the session era one after the other.

        Args:
            questions: In the protocol's own shape, by a key of your choice: ``{"name": {"method":
                "elicitation/create", "params": {"message": "Your name?", "requestedSchema": {…}}}}``.
            timeout: As for :meth:`ask_sampling`.

        Returns:
            The answers by the same keys.

        Raises:
            LocalProtocolError: A method is none of ``elicitation/create``, ``sampling/createMessage`` and
                ``roots/list``.
            CapabilityError, RPCError, CallTimeout, CallCancelled, InvalidResult: As for :meth:`ask_sampling`.
        """
        wire: dict[str, tuple[str, Mapping[str, Any]]] = {}
        for name, question in questions.items():
            method, params = question.get("method"), question.get("params") or {}
            if method not in ANSWERS:
                raise LocalProtocolError(f"a client can be asked {', '.join(ANSWERS)}, got {method!r}")
            wire[name] = (method, plain(params))
            if method == "elicitation/create":
                self._need_elicitation(params.get("mode", "form"))
            else:
                self._need("sampling.tools" if "tools" in params else method.partition("/")[0])
        answers = self._call.ask_all(wire, timeout)
        return {name: ANSWERS[wire[name][0]].from_wire(answer) for name, answer in answers.items()}

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """Do something only once in all rounds of a request, such as to reserve what is then asked about.

        What ``make`` returned in the first round travels with the client: signed, so that it cannot change it, but
        readable. It is lost with a client that does not come again, and two copies of one request do it twice.

        Args:
            key: Names it within the handler.
            make: Called without arguments; returns a JSON value.
        """
        return self._call.once(key, make)

    def start_task(self, *, required: bool = False) -> None:
        """Go on as a task from here: the client gets a handle now, and collects the result later.

        For tools that ask first and then work for long; ``@server.tool(task=True)`` makes each call a task from its
        beginning. It ends this run of the handler, and the next one comes back here; see above for what that means.
        Nothing happens if it is a task already, if the client does not know the extension
        ``io.modelcontextprotocol/tasks``, or with a session.

        Args:
            required: Refuse a client of 2026-07-28 that does not know it.
        """
        self._call.start_task(required=required)

    def _ask(self, method: str, params: Mapping[str, Any], timeout: float, key: str | None) -> Any:
        questions: dict[str | None, tuple[str, Mapping[str, Any]]] = {key: (method, params)}
        return self._call.ask_all(questions, timeout)[key]

    def _need_elicitation(self, mode: str) -> None:
        # "{}" alone means forms; MCP 2025-11-25, client/elicitation, Capabilities
        if mode == "form" and not self.session.can("elicitation.url"):
            self._need("elicitation")
        else:
            self._need(f"elicitation.{mode}")

    def _need(self, capability: str) -> None:
        if not self.session.can(capability):
            self._call.lacks(capability)
