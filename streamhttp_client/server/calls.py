"""A request that runs: where its messages go, and what the client tells it meanwhile.

A call writes to an *outlet* and never knows whether anybody listens. The usual outlet is a log of the store,
which an HTTP answer reads at its own pace, so that a broken connection changes nothing for the handler. An
answer that is one JSON object has an outlet that keeps the responses and drops the rest.

What comes the other way (answers to the server's own requests, cancellation) arrives in other POSTs, perhaps
at another process; see :mod:`.inbox`.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol, TypeVar

from .. import jsonrpc
from ..exceptions import (
    CallCancelled,
    CallTimeout,
    CapabilityError,
    InvalidResult,
    LocalProtocolError,
    RPCError,
)
from .delivery import Backlog, LogWriter
from .forms import SchemaError, read_form
from .inbox import Inbox, Place, canonical, inbox_of
from .pace import Pace
from .results import plain
from .sessions import ServerSession, new_token
from .stores.base import Store, StoreError

__all__ = [
    "Call",
    "JSONOutlet",
    "LogOutlet",
    "MissingCapability",
    "Outlet",
    "RunningCalls",
]

# Longer waits are cut into pieces of this many seconds, after which a call looks whether it should end.
_SLICE = 1.0
# A store that other processes share is asked for a cancellation at most this often, in seconds.
_PEEK_INTERVAL = 0.1


#: Of all messages of a handler only these can be spared: each replaces the one before.
PROGRESS = "notifications/progress"

K = TypeVar("K", str, "str | None")


class MissingCapability(CapabilityError):
    """The client did not declare what a handler needs, in an era that has an error code for it.

    Attributes:
        required: In the form in which a client declares it.
    """

    def __init__(self, message: str, required: dict[str, Any]) -> None:
        super().__init__(message)
        self.required = required


class Outlet(Protocol):
    """Where the messages of the calls of one POST go."""

    interactive: bool
    """Whether the client can be asked something on this way."""

    def send(self, message: jsonrpc.Notification | jsonrpc.Request) -> None:
        """Pass on what belongs to a call but does not end it."""

    def finish(self, response: jsonrpc.Response | jsonrpc.ErrorResponse | None) -> None:
        """End one call; None ends it without an answer, since it was cancelled."""

    def pause(self, retry_ms: int | None) -> None:
        """Close the connection, not the stream: the client comes back for the rest."""


class LogOutlet:
    """Writes to a log of the store, and ends it when all calls of the POST have ended. The store may be away for
    a moment.
    """

    def __init__(
        self, store: Store, session: str, log: str, calls: int, *, backlog: Backlog, interactive: bool, polling: bool
    ) -> None:
        self.interactive = interactive
        self._store = store
        self._session = session
        self._log = log
        self._writer = LogWriter(store, session, log, backlog)
        self._polling = polling
        #: Told by the streams of this process what their clients have read.
        self.pace = Pace()
        # Guards the count, and that the last to count down writes last; a batch has several calls, each on its
        # own thread.
        self._lock = threading.Lock()
        self._left = calls

    def send(self, message: jsonrpc.Notification | jsonrpc.Request) -> None:
        data = jsonrpc.dump(message)
        droppable = isinstance(message, jsonrpc.Notification)
        if droppable and not self.pace.admit(self._writer.last, len(data)) and message.method == PROGRESS:
            return
        self._writer.append(data, droppable=droppable)

    def finish(self, response: jsonrpc.Response | jsonrpc.ErrorResponse | None) -> None:
        data = instead = None
        if response is not None:
            data = jsonrpc.dump(response)
            problem = "the server had no room to keep the result"
            instead = jsonrpc.dump(jsonrpc.ErrorResponse(response.id, jsonrpc.INTERNAL_ERROR, problem))
        with self._lock:
            self._left -= 1
            self._writer.append(data, end=not self._left, instead=instead)

    def pause(self, retry_ms: int | None) -> None:
        # Before 2025-11-25 a client may take a stream without its response for a lost one.
        try:
            connected = self._store.position(self._session, self._log) is None
        except StoreError:
            return  # the connection may stay
        if self._polling and connected:
            self._writer.append(b"" if retry_ms is None else b"%d" % retry_ms, droppable=True)


class JSONOutlet:
    """Keeps the responses for an answer of type ``application/json``; there is no room for anything else in
    it.
    """

    interactive = False

    def __init__(self) -> None:
        #: As bytes, since what has no JSON form must be found while the call can still be answered otherwise.
        self.responses: list[bytes] = []
        self.last: jsonrpc.Response | jsonrpc.ErrorResponse | None = None

    def send(self, message: jsonrpc.Notification | jsonrpc.Request) -> None:
        pass

    def finish(self, response: jsonrpc.Response | jsonrpc.ErrorResponse | None) -> None:
        if response is not None:
            self.responses.append(jsonrpc.dump(response))
            self.last = response

    def pause(self, retry_ms: int | None) -> None:
        pass


class Call:
    """One request of a client, while it runs.

    The handler's thread uses it; :meth:`cancel` may come from any thread.
    """

    def __init__(
        self, store: Store, session: ServerSession, request: jsonrpc.Request, outlet: Outlet, backlog: Backlog
    ) -> None:
        self.session = session
        self.request = request
        self.outlet = outlet
        self.key = (session.key, canonical(request.id))
        self._store = store
        self._backlog = backlog
        self._cancelled = threading.Event()
        self._inbox = Inbox(store, session.key, inbox_of(request.id), self._cancelled.wait)
        # How far it was looked at for a cancellation.
        self._peeked = self._inbox.place()
        self._numbers_asked = itertools.count(1)
        self._stopping = False
        self._ends_early = False  # the handler has been told that the server stops
        self._next_peek = 0.0
        # Guards ``_finished``: exactly one of response and cancellation ends the call.
        self._lock = threading.Lock()
        self._finished = False

    def begin(self) -> None:
        """Get ready to be told something from other processes."""
        if self._store.shared and self.outlet.interactive:
            self._inbox.begin()

    @property
    def params(self) -> Mapping[str, Any]:
        return self.request.params or {}

    @property
    def progress_token(self) -> str | int | None:
        meta = self.params.get("_meta")
        token = meta.get("progressToken") if isinstance(meta, Mapping) else None
        return token if type(token) in (str, int) else None

    def update_session(self, changes: Mapping[str, Any]) -> None:
        """Keep something with the session, for its later calls. Nothing happens on a stateless server."""
        if self.session.session_id is not None:
            self._store.update_session(self.session.session_id, changes)

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Send a notification on the stream of this call; nothing happens after its end."""
        if not self._finished:
            self.outlet.send(jsonrpc.Notification(method, params))

    def finish(self, response: jsonrpc.Response | jsonrpc.ErrorResponse | None) -> None:
        """End the call, once."""
        with self._lock:
            if self._finished:
                return
            self._finished = True
        if self._ends_early and isinstance(response, jsonrpc.Response):
            # What a handler returns that was told to end is half of a result, and must not be taken for one.
            response = self._stopped()
        try:
            self.outlet.finish(response)
        finally:
            self._backlog.attempt(self._inbox.drop, "the end of an inbox")

    def cancel(self) -> None:
        """The client does not want the result any more.

        The stream ends now and without a response: "receivers … SHOULD … not send a response for the cancelled
        request" (MCP 2025-11-25, basic/utilities/cancellation). The handler finds out when it looks.
        """
        self._cancelled.set()
        if self.request.method != "initialize":
            self.finish(None)

    def stop(self) -> None:
        """The server stops: the handler is asked to end. What it returns counts only if it has not heard of it."""
        self._stopping = True
        self._cancelled.set()

    def abandon(self) -> None:
        """The server stops, and the handler has not ended. The client shall not wait for it."""
        self.finish(self._stopped())

    def _stopped(self) -> jsonrpc.ErrorResponse:
        problem = "the server stopped before the call ended"
        return jsonrpc.ErrorResponse(self.request.id, jsonrpc.INTERNAL_ERROR, problem)

    def _heard(self) -> bool:
        """What the handler is told of ``cancelled``."""
        if not self._cancelled.is_set():
            return False
        self._ends_early = self._ends_early or self._stopping
        return True

    @property
    def cancelled(self) -> bool:
        """Whether the client cancelled, its session ended, or the server stops. Cheap enough for a loop."""
        if not self._cancelled.is_set() and self._inbox.begun:
            now = time.monotonic()
            if now >= self._next_peek:
                self._next_peek = now + (_PEEK_INTERVAL if self._store.shared else 0)
                self._hear(self._peeked, 0.0)
        return self._heard()

    def ask(self, method: str, params: Mapping[str, Any], timeout: float) -> Any:
        """Send a request to the client on this call's stream and wait for its result.

        Raises:
            RPCError: The client answered with an error.
            CallTimeout: No answer within ``timeout`` seconds. The client was told that it is not wanted any
                more.
            CallCancelled: The client cancelled this call, or ended its session.
            CapabilityError: The answer of this call is one JSON object, so nothing can be asked.
            LocalProtocolError: The call has ended.
        """
        self._refuse_late()
        if self.session.session_id is None or not self.outlet.interactive:
            raise CapabilityError(f"{method} needs a server with sessions and event streams")
        self._inbox.begin()
        place = self._inbox.place()
        answer_id = f"{next(self._numbers_asked)}~{canonical(self.request.id)}"
        self.outlet.send(jsonrpc.Request(answer_id, method, params))
        deadline = time.monotonic() + timeout
        while True:
            if self._cancelled.is_set():
                raise CallCancelled("the client cancelled this call, or the server stops")
            self._refuse_late()
            left = deadline - time.monotonic()
            if left <= 0:
                reason = {"requestId": answer_id, "reason": f"no answer within {timeout:g} s"}
                self.notify("notifications/cancelled", reason)
                raise CallTimeout(f"the client did not answer {method} within {timeout:g} s")
            for message in self._hear(place, min(left, _SLICE)):
                if isinstance(message, jsonrpc.Response) and message.id == answer_id:
                    return message.result
                if isinstance(message, jsonrpc.ErrorResponse) and message.id == answer_id:
                    raise RPCError(message.message, code=message.code, data=message.data)

    def _refuse_late(self) -> None:
        """For a context that was kept, or is used by a thread that has outlived its handler."""
        if self._finished and not self._cancelled.is_set():
            raise LocalProtocolError("the call has ended, so its client cannot be asked any more")

    def ask_all(self, questions: Mapping[K, tuple[str, Mapping[str, Any]]], timeout: float) -> dict[K, Any]:
        """Ask several things, here one after the other; for what is raised see :meth:`ask`.

        Args:
            questions: Method and parameters by a key; None where the caller needs no name for it.

        Raises:
            InvalidResult: A form was filled in with what it does not allow.
        """
        found = {}
        for key, (method, params) in questions.items():
            answer = self.ask(method, params, timeout)
            if method == "elicitation/create" and isinstance(answer, Mapping):
                try:
                    answer = read_form(params, answer)
                except SchemaError as error:
                    raise InvalidResult(f"the answer does not fit the form: {error}", result=answer) from None
            found[key] = answer
        return found

    def name_visit(self, name: str | None) -> dict[str, str]:
        """What a question for a visit to a page has to name it by, so that its end can be told."""
        return {"elicitationId": name or new_token()}

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """Return what ``make`` returns, as JSON has it. Here a handler runs only once."""
        return plain(make())

    def start_task(self, *, required: bool) -> None:
        """Go on as a task, where there are some; here there are none."""

    def lacks(self, capability: str) -> NoReturn:
        """Say that the client did not declare a capability.

        Raises:
            CapabilityError: Always.
        """
        raise CapabilityError(f"the client did not declare the capability {capability!r}")

    def _hear(self, place: Place, wait: float) -> list[jsonrpc.Message]:
        """What the client has said after a place."""
        found = self._inbox.read(place, wait)
        # What is gone because the call has ended was not cancelled.
        if (found is None and not self._finished) or any(map(_is_cancellation, found or ())):
            self.cancel()
        return found or []


def _is_cancellation(message: jsonrpc.Message) -> bool:
    return isinstance(message, jsonrpc.Notification) and message.method == "notifications/cancelled"


class RunningCalls:
    """The calls that run in this process, found by session and request id."""

    def __init__(self) -> None:
        # Guards the dict; held for single operations.
        self._lock = threading.Lock()
        # Tells, under the lock, when the dict is empty.
        self._empty = threading.Condition(self._lock)
        self._calls: dict[tuple[str, str], Call] = {}
        self._stopping = False

    def add(self, call: Call) -> bool:
        """Return False if the session already runs a request with this id."""
        with self._lock:
            added = self._calls.setdefault(call.key, call) is call
            stopping = self._stopping
        if stopping:
            call.stop()
        return added

    def __len__(self) -> int:
        return len(self._calls)

    def discard(self, call: Call) -> None:
        with self._lock:
            if self._calls.get(call.key) is call:
                del self._calls[call.key]
                if not self._calls:
                    self._empty.notify_all()

    def wait_for_all(self, timeout: float) -> bool:
        """Wait until none runs; return False if some still do after ``timeout`` seconds."""
        with self._lock:
            return self._empty.wait_for(lambda: not self._calls, timeout)

    def cancel(self, session: str, request_id: jsonrpc.RequestId) -> bool:
        """Cancel one call; return False if it does not run here."""
        with self._lock:
            call = self._calls.get((session, canonical(request_id)))
        if call is not None:
            call.cancel()
        return call is not None

    def cancel_session(self, session: str) -> None:
        for call in self._snapshot():
            if call.session.key == session:
                call.cancel()

    def stop_all(self) -> None:
        """Ask all to end, also those that begin in this moment."""
        with self._lock:
            self._stopping = True
        for call in self._snapshot():
            call.stop()

    def abandon_all(self) -> None:
        for call in self._snapshot():
            call.abandon()

    def _snapshot(self) -> list[Call]:
        with self._lock:
            return list(self._calls.values())
