"""Runs the requests of one POST, and makes the HTTP answer that carries their responses.

Quick methods run on the thread of the HTTP request and are answered by JSON. What may take long gets a
handler's thread and a log, and the answer is a stream that reads the log; from then on the two know nothing
of each other.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import jsonrpc
from .calls import Call, JSONOutlet, LogOutlet, RunningCalls
from .delivery import Backlog
from .disconnect import connection_probe
from .http_answers import Answer, HTTPError
from .offer import Offer
from .pace import Pace
from .sessions import ServerSession, new_token
from .stores.base import Store, StoreFull
from .streams import EventStream
from .workers import Workers

__all__ = ["Runner"]

_log = logging.getLogger("streamhttp_client.server")


def _will(requests: Sequence[jsonrpc.Request]) -> bytes:
    """What the client shall be told if this process dies in the middle of these requests."""
    problem = "the process that ran this call has died"
    answers = [jsonrpc.ErrorResponse(request.id, jsonrpc.INTERNAL_ERROR, problem) for request in requests]
    return jsonrpc.dump(answers[0]) if len(answers) == 1 else jsonrpc.dump_batch(answers)


class Runner:
    """The handlers' threads, the calls that run on them, and the streams that are open.

    Args:
        max_threads: Handlers that run at the same time; four times as many may wait.
        max_streams: Streams that are open at the same time; one more is answered with 503.
    """

    def __init__(self, offer: Offer, *, max_threads: int, max_streams: int, keepalive: float, retry_ms: int) -> None:
        self.running = RunningCalls()
        self.stopping = False
        # Until when handlers are not told that the server stops, by the monotonic clock.
        self._told = math.inf
        self._backlog = Backlog()
        self._offer = offer
        self._workers = Workers("handler", max_threads, max_waiting=max_threads * 4)
        # Tasks may take hours, and shall not keep others waiting.
        self._task_workers = Workers("task", max_threads, max_waiting=max_threads * 4)
        self._max_streams = max_streams
        self._keepalive = keepalive
        self._retry_ms = retry_ms
        # Guards the number of open streams, and of those of each caller who is known by name; and the time above.
        self._lock = threading.Lock()
        self._streams = 0
        self._streams_of: Counter[str] = Counter()
        # Of the handlers that run here, so that a client that comes back is waited for like one that stayed.
        self._paces: weakref.WeakValueDictionary[tuple[str, str], Pace] = weakref.WeakValueDictionary()

    def answer_json(
        self, store: Store, session: ServerSession, requests: Sequence[jsonrpc.Request], batch: bool
    ) -> Answer:
        """Run requests here and now."""
        outlet = JSONOutlet()
        for request in requests:
            call = Call(store, session, request, outlet, self._backlog)
            if self._begin(call):
                self._run(call)
        if not outlet.responses:
            # All were cancelled, so nobody cares; yet "the server MUST either return Content-Type:
            # text/event-stream … or Content-Type: application/json" (MCP 2025-11-25, basic/transports).
            problem = "the call was cancelled, or the server stopped before it ended"
            for request in requests:
                outlet.finish(jsonrpc.ErrorResponse(request.id, jsonrpc.INTERNAL_ERROR, problem))
        return Answer(200, b"[" + b",".join(outlet.responses) + b"]" if batch else outlet.responses[0])

    def answer_stream(
        self, environ: Mapping[str, Any], store: Store, session: ServerSession, requests: Sequence[jsonrpc.Request]
    ) -> EventStream:
        """Run requests on threads of their own; what they say comes on the stream.

        Raises:
            HTTPError: The session is gone.
            StoreFull: There are too many streams.
        """
        log = "s" + new_token()
        # A store of this process alone keeps none.
        if not store.create_log(session.key, log, will=_will(requests) if store.shared else b""):
            raise HTTPError(404, "the session has ended")
        try:
            return self._start(environ, store, session, log, requests)
        except BaseException:
            # Nobody will write it or read it, and unfinished logs count against the session's limit, and keep it alive.
            self._backlog.attempt(lambda: store.append(session.key, log, None, end=True), "the end of a stream")
            raise

    def _start(
        self,
        environ: Mapping[str, Any],
        store: Store,
        session: ServerSession,
        log: str,
        requests: Sequence[jsonrpc.Request],
    ) -> EventStream:
        outlet = LogOutlet(
            store,
            session.key,
            log,
            len(requests),
            backlog=self._backlog,
            interactive=session.session_id is not None,
            polling=self._polling(session),
        )
        self._paces[session.key, log] = outlet.pace
        calls = [Call(store, session, request, outlet, self._backlog) for request in requests]
        stream = self.open_stream(environ, store, session, log, 0, calls)
        try:
            for call in calls:
                if not self._begin(call):
                    continue
                if not self._workers.submit(lambda call=call: self._run(call), session.key):  # type: ignore[misc]
                    self.running.discard(call)
                    call.finish(jsonrpc.ErrorResponse(call.request.id, jsonrpc.INTERNAL_ERROR, "the server is busy"))
                    if len(calls) == 1:
                        # Nothing else was begun: as an HTTP status it is clear to all that nothing ran.
                        raise StoreFull("the server is busy")
        except BaseException:
            stream.close()
            raise
        return stream

    def _begin(self, call: Call) -> bool:
        if self.running.add(call):
            try:
                call.begin()
            except BaseException:
                self.running.discard(call)
                raise
            return True
        # "The request ID MUST NOT have been previously used by the requestor within the same session."
        problem = "a request with this id is running already"
        call.finish(jsonrpc.ErrorResponse(call.request.id, jsonrpc.INVALID_REQUEST, problem))
        return False

    def _run(self, call: Call) -> None:
        try:
            self._offer.run(call)
        finally:
            self.running.discard(call)

    @staticmethod
    def _polling(session: ServerSession) -> bool:
        return session.session_id is not None and session.revision.polling

    def open_stream(
        self,
        environ: Mapping[str, Any],
        store: Store,
        session: ServerSession,
        log: str,
        after: int,
        calls: Sequence[Call] = (),
    ) -> EventStream:
        """Answer with what a log holds after a number.

        Raises:
            StoreFull: There are too many streams.
        """
        self.begin_stream(session.principal)
        try:
            reader = store.claim(session.key, log)
        except BaseException:
            self.end_stream(session.principal)
            raise

        def closed(whole: bool) -> None:
            self.end_stream(session.principal)
            if session.session_id is None:
                # Nobody can come back for the rest, so a client that has gone has cancelled.
                if not whole:
                    for call in calls:
                        call.cancel()
                store.delete_session(session.key)

        return EventStream(
            store,
            session.key,
            log,
            after,
            reader,
            ids=session.session_id is not None,
            polling=self._polling(session),
            retry_ms=self._retry_ms,
            keepalive=self._keepalive,
            backlog=self._backlog,
            pace=self._paces.get((session.key, log)),
            gone=connection_probe(environ),
            # What is in the memory of this process cannot be collected at another, so there it is waited for.
            stopping=lambda: self.stopping and (store.shared or time.monotonic() >= self._told),
            on_close=closed,
        )

    @property
    def backlog(self) -> Backlog:
        return self._backlog

    def begin_stream(self, principal: str | None) -> None:
        """Count a stream. Nobody who is known by name has more than three quarters of them.

        Raises:
            StoreFull: There are too many.
        """
        with self._lock:
            if self._streams >= self._max_streams:
                raise StoreFull(f"there are {self._max_streams} open streams already")
            if principal is not None:
                most = max(self._max_streams * 3 // 4, 1)
                if self._streams_of[principal] >= most:
                    raise StoreFull(f"this caller has {most} open streams already")
                self._streams_of[principal] += 1
            self._streams += 1

    def end_stream(self, principal: str | None) -> None:
        """A stream that was counted has ended."""
        with self._lock:
            self._streams -= 1
            if principal is not None:
                self._streams_of[principal] -= 1
                if not self._streams_of[principal]:
                    del self._streams_of[principal]

    def submit(self, call: Call, job: Callable[[], None], *, task: bool = False) -> bool:
        """Run a call of the stateless era on a handler's thread; False if all are busy, and many wait. The job takes
        it out of the running calls.

        Nobody who is known by name has more than half of the threads, as no session has.

        Args:
            task: Nobody waits for it on a connection; such calls have threads of their own.
        """
        self.running.add(call)
        if (self._task_workers if task else self._workers).submit(job, call.session.principal or ""):
            return True
        self.running.discard(call)
        return False

    def close(self, stores: Sequence[Store], timeout: float, grace: float = 0.0) -> bool:
        """End all streams, let the handlers end, for a while without being told, and answer for those that do not.

        Of several calls the one with the least grace decides.
        """
        now = time.monotonic()
        deadline = now + timeout
        with self._lock:
            told = self._told = min(self._told, now + grace, deadline)
            self.stopping = True
        if told > now:
            for store in stores:
                store.wake()
            self.running.wait_for_all(told - now)
            self._told = now  # perhaps earlier than was said
        for store in stores:
            store.wake()
        self.running.stop_all()
        ended = self._workers.close(max(deadline - time.monotonic(), 0.0))
        ended = self._task_workers.close(max(deadline - time.monotonic(), 0.0)) and ended
        # Those on the threads of HTTP requests, too.
        ended = self.running.wait_for_all(max(deadline - time.monotonic(), 0.0)) and ended
        try:
            self.running.abandon_all()
        except Exception:
            _log.exception("calls that did not end could not be answered for")
        self._backlog.close(max(deadline - time.monotonic(), 0.0))
        return ended
