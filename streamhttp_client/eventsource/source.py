"""Any endpoint that sends server-sent events, read for as long as it lasts.

Strategy. One thread iterates: it connects, reads and waits by itself, so there is no thread and no queue
behind it, and a slow reader slows the server down through the socket. What has to outlive a connection (the
last event id, the server's ``retry``, the budget of attempts) is kept here; what belongs to one connection
(parser, body) is made anew for each.

What a connection brought decides how the next one is begun. It made *progress* if it brought an event or a
new event id, or if it stayed open for half a minute: a feed may be quiet for hours behind a proxy that cuts
silent connections once a minute, and that is no failure. After progress, the wait is the server's ``retry``
and the count of attempts begins anew. Without progress, clean end or not, the attempt counts against the
budget and the waits grow.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .._record import EMPTY, Record
from ..exceptions import (
    ClientClosed,
    HTTPStatusError,
    LocalProtocolError,
    StreamHTTPError,
    TransportError,
)
from ..net.body import Body, Response
from ..net.http import HTTP, AuthLike
from ..net.interrupt import Interrupt
from ..net.refusals import is_temporary, status_error, type_error
from ..net.retry import RetryPolicy, parse_retry_after
from ..net.target import check_url
from ..net.timeouts import Deadline, Timeout, TimeoutLike
from ..sse.parser import Event, SSEParser, iter_batches
from .asking import DataLike, HeadersLike, ParamsLike, body_of, checked, with_params
from .reconnecting import CleanEnd, Reconnecting

if TYPE_CHECKING:
    import requests
    from typing_extensions import Self

__all__ = ["EventSource", "StreamOpened", "StreamStats"]

# No total: a feed has no end. 300 s of silence: proxies cut at 60 s and servers send comments every 15 to 30
# s, so five minutes without a byte mean a connection that died without a word, or a feed so quiet that
# reconnecting costs nothing.
_TIMEOUT = Timeout(connect=10.0, read=300.0, total=None)
# A connection that stayed open for this long was a good one, even if the feed had nothing to say.
_STEADY_SECONDS = 30.0
_DEFAULT_MAX_EVENT_SIZE = 64 * 1024 * 1024


class StreamOpened(Record):
    """A stream was opened.

    Attributes:
        url: The address that answered, after redirects; without user name, password and query.
        status: Always 200.
        headers: The answer's headers; names are looked up in any case.
        connects: How many streams were opened so far, this one included.
        last_event_id: The id that was sent to resume from; "" if none was.
    """

    url: str
    status: int = 200
    headers: Mapping[str, str] = EMPTY
    connects: int = 1
    last_event_id: str = ""


class StreamStats(Record):
    """What an :class:`EventSource` has seen so far.

    Attributes:
        connects: Streams that were opened.
        attempts: Requests that were made, the failed ones too. A redirect or a second request for the sake of
            authentication does not count apart.
        events: Events handed to the caller.
        bytes: Bytes of the streams, after content coding.
        last_event_at: When the last event was handed out, in seconds since the epoch; None before the first.
    """

    connects: int = 0
    attempts: int = 0
    events: int = 0
    bytes: int = 0
    last_event_at: float | None = None


class EventSource:
    """The events of an SSE endpoint, in order, over as many connections as it takes.

    Use it as a context manager and iterate it. The first iteration connects; :meth:`open` does so earlier,
    for whoever must be subscribed before something else happens. Iteration ends when the server says so (204)
    or after :meth:`close`; leaving a loop and beginning another one loses nothing.

    It reconnects when a stream ends, broken or not, as the HTML standard wants it (9.2.2): such a feed has no
    end. For an answer that does have one, as of most language models, pass ``retry=RetryPolicy(attempts=1)``:
    then the end of the stream ends the iteration, and a connection that broke is an error.

    One thread iterates; any thread may call :meth:`close` and read the attributes. Callbacks run on the
    iterating thread, and an exception in one ends the iteration and reaches the caller.

    Args:
        url: Where to. Each reconnect asks this address again, whatever redirects there were.
        method: In any case. A body needs one that carries it, ``"POST"`` mostly.
        data: The body, sent again with each reconnect: bytes, text (as UTF-8), a mapping (as a form), or a
            function that returns the pieces from the beginning, which are sent in the chunked coding.
        json: The body as JSON, in place of ``data``.
        headers: Sent to the origin of ``url``, never to another one. A function is asked anew for each request; an
            exception in it ends the iteration and reaches the caller.
        params: Added to the query, a list or tuple as several fields, None left out. A function is asked anew.
        auth: ``(user, password)``, any requests auth, or an object with ``apply`` and ``respond``; the latter
            is asked once for each connect that was answered with 401 or 403.
        last_event_id: Where to go on from, as an earlier ``last_event_id`` said.
        http: A ``requests.Session`` to use for proxies, certificates, cookies, adapters; it is not closed.
            A connection inside it is left behind by a :meth:`close` before the head of its answer, and ends by the
            timeouts; with response hooks, as of HTTP Digest, close takes effect only then.
        timeout: Seconds for everything, or a :class:`~streamhttp_client.Timeout`. ``read`` is the silence,
            comments included, after which the connection counts as dead and is replaced: 300 s by default. No
            total by default.
        retry: How often and how fast to reconnect. ``attempts`` counts those in a row that made no progress,
            10 by default. The wait is at least the server's ``retry``, or 1 s if it named none (0 s if
            ``base`` is 0).
        max_event_size: Most bytes of one event, 64 MiB by default.
        on_open: Called with a :class:`StreamOpened` each time a stream was opened.
        on_error: Called with the error each time a connect failed or a stream ended and another attempt will
            be made. A clean end comes as ConnectionLost too. The error that ends the iteration is raised
            instead.

    Attributes:
        last_event_id: The id of the last event that was handed out: what to store, and to pass as
            ``last_event_id`` another day. "" if the server has given none, or has reset it.

    Raises:
        LocalProtocolError: Something in the arguments cannot be sent.

    Iterating raises:
        HTTPStatusError: A status other than 200 and 204; 408, 429 and 5xx only after all attempts.
        AuthenticationError: 401 or 403.
        ContentTypeError: 200, but no event stream.
        MessageTooLarge: An event is larger than ``max_event_size``.
        TransportError: The network failed, after all attempts. ``resumable`` tells whether there is an event
        id.
        CallTimeout: The total of ``timeout`` has passed.
        RemoteProtocolError: The answer is no valid HTTP.
    """

    def __init__(
        self,
        url: str,
        *,
        method: str = "GET",
        data: DataLike = None,
        json: Any = None,
        headers: HeadersLike = None,
        params: ParamsLike = None,
        auth: AuthLike = None,
        last_event_id: str | None = None,
        http: requests.Session | None = None,
        timeout: TimeoutLike | None = None,
        retry: RetryPolicy | None = None,
        max_event_size: int = _DEFAULT_MAX_EVENT_SIZE,
        on_open: Callable[[StreamOpened], object] | None = None,
        on_error: Callable[[StreamHTTPError], object] | None = None,
    ) -> None:
        check_url(url)
        if not isinstance(method, str) or not method.isascii() or not method.isalpha():
            raise LocalProtocolError(f"method must be letters only, got {method!r:.40}")
        if last_event_id is not None and any(char in last_event_id for char in "\r\n\0"):
            raise LocalProtocolError(f"last_event_id must not have a line break or NUL, got {last_event_id!r:.80}")
        self._url = url
        self._method = method.upper()
        self._body, self._body_headers = body_of(data, json)
        if self._body is not None and self._method in ("GET", "HEAD"):
            raise LocalProtocolError(f"a body cannot be sent with {self._method}; pass method='POST'")
        self._headers = headers
        self._params = params
        if not callable(headers):
            checked(headers)
        self._timeout = Timeout.of(timeout, _TIMEOUT)
        self._max_event_size = max_event_size
        self._on_open = on_open
        self._on_error = on_error
        self._interrupt = Interrupt()
        self._reconnecting = Reconnecting(self._timeout.total, retry, self._interrupt)
        self._http = HTTP(session=http, auth=auth)

        self.last_event_id = last_event_id or ""
        self._retry_ms: int | None = None  # what earlier connections said
        self._connects = self._attempts = self._events = self._bytes = 0
        self._last_event_at: float | None = None

        # Held while the network is used, so that close() knows whether it may close the body itself or has to
        # leave that to the iterating thread. Nobody waits for it.
        self._in_use = threading.Lock()
        self._closed = False
        self._finished = False  # the server wants no more reconnects

        # The present connection. Its parser holds what goes over to the next one.
        self._answer: Body | None = None
        self._parser = SSEParser(max_event_size, last_event_id=self.last_event_id)
        self._stream: Iterator[list[Event]] = iter(())
        self._batch: Iterator[Event] = iter(())  # what one chunk of it brought
        self._opened_at = 0.0
        self._events_before = 0
        self._id_before = self.last_event_id
        self._broken: StreamHTTPError | None = None

    # Iterating.

    def __iter__(self) -> Iterator[Event]:
        """Yield events until the server or :meth:`close` ends it. The generator itself keeps no state."""
        now = time.time
        while not self._closed:
            # What is left of a batch stays in self._batch when a loop is left.
            try:
                while True:
                    for event in self._batch:
                        self.last_event_id = event.id
                        self._events += 1
                        self._last_event_at = now()
                        yield event
                        if self._closed:
                            return
                    batch = next(self._stream, None)
                    if batch is None:
                        break
                    self._batch = iter(batch)
            except StreamHTTPError:
                self._let_go()  # the parser refused it, in the middle of the answer
                raise
            if not self._reopen():
                return

    def __next__(self) -> Event:
        for event in self:
            return event
        raise StopIteration

    def open(self) -> Self:
        """Connect now, unless there is a stream already; with all attempts and waits that it takes.

        Raises:
            ClientClosed: It was closed.
        """
        if self._answer is None and not self._reopen() and self._closed:
            raise ClientClosed("the event source was closed")
        return self

    def _read(self, body: Body, deadline: Deadline) -> Iterator[bytes]:
        """Give the chunks of one answer; at its end leave in ``_broken`` what was wrong with it."""
        silence = self._timeout.read
        lock = self._in_use
        try:
            while True:
                with lock:
                    if self._closed:
                        return
                    chunk = body.read1(timeout=deadline.within(silence))
                if self._closed or not chunk:  # looked at again, since close() may have found the lock held
                    return
                self._bytes += len(chunk)
                yield chunk
        except TransportError as error:
            self._broken = error
        except ClientClosed:
            pass  # by our own close(): nothing else fires the interrupt
        finally:
            self._let_go()

    # Connecting.

    def _reopen(self) -> bool:
        """Open the first or the next stream, with all waits and attempts; False if there is none any more."""
        reconnecting = self._reconnecting
        deadline = reconnecting.begin()
        failure = self._look_back()
        floor = 0.0
        while not (self._closed or self._finished):
            if failure is not None:
                self._wait(failure, floor)
                if self._closed or self._finished:
                    break
            url, headers = self._compose()  # not in the "try": what the functions raise is no failed connect
            try:
                response = self._ask(url, headers, deadline)
            except (TransportError, HTTPStatusError) as error:
                if isinstance(error, HTTPStatusError):
                    if not is_temporary(error.status):
                        raise
                    floor = parse_retry_after(error.headers)
                else:
                    if error.permanent and not self._connects:
                        raise  # no such name, or the wrong certificate: a mistake, as long as it never worked
                    floor = 0.0
                failure = error
                reconnecting.failed()
                continue
            except ClientClosed:
                if not self._closed:
                    raise  # it came from a body or an auth of the caller's
                break
            if response is None:
                self._finished = True
                break
            self._begin(response, deadline)
            return not self._closed
        self._let_go()
        return False

    def _look_back(self) -> StreamHTTPError | None:
        """Judge the connection that has ended: why there must be another one; None if it is the first."""
        if not self._opened_at:
            return None
        parser = self._parser
        fresh = parser.last_event_id != self._id_before or self._events > self._events_before
        self._retry_ms = self.retry_ms
        self.last_event_id = parser.last_event_id  # blocks without data count too
        if fresh or time.monotonic() - self._opened_at >= _STEADY_SECONDS:
            self._reconnecting.progressed()
        else:
            self._reconnecting.failed()
        self._opened_at = 0.0
        failure, self._broken = self._broken, None
        if failure is not None:
            return failure
        came = self._events - self._events_before
        return CleanEnd(f"the server ended the stream after {came} events")

    def _wait(self, failure: StreamHTTPError, floor: float) -> None:
        """Wait before the next attempt, or raise why there is none. A clean end without retrying just ends it."""
        if self._reconnecting.is_off and isinstance(failure, CleanEnd):
            self._finished = True
            return
        error = self._reconnecting.wait(failure, floor, self.retry_ms, self._on_error)
        if error is None:
            return
        if isinstance(error, TransportError):
            error.resumable, error.attempts = bool(self.last_event_id), self._attempts
        raise error

    def _compose(self) -> tuple[str, dict[str, str]]:
        """The address and the headers of the next request; asks the functions of the caller's for theirs."""
        headers = {"accept": "text/event-stream", "cache-control": "no-cache", **self._body_headers}
        headers.update(checked(self._headers() if callable(self._headers) else self._headers))
        # Optional whitespace around a field value is no part of it (RFC 9110, section 5.5).
        last_event_id = self.last_event_id.strip(" \t")
        if last_event_id:
            # "encoded as UTF-8" (HTML, 9.2.3); a header's characters stand for one byte each.
            headers["last-event-id"] = last_event_id.encode("utf-8", "replace").decode("latin-1")
        return with_params(self._url, self._params() if callable(self._params) else self._params), headers

    def _ask(self, url: str, headers: dict[str, str], deadline: Deadline) -> Response | None:
        """Make one request; None if the server wants no more of them (204)."""
        self._attempts += 1
        with self._in_use:
            if self._closed:
                raise ClientClosed("the event source was closed")
            response = self._http.send(
                self._method,
                url,
                headers,
                self._body,
                timeout=self._timeout,
                deadline=deadline,
                interrupt=self._interrupt,
            )
            self._answer = response.body  # from now on close() and Ctrl-C find it
            try:
                if response.status == 204:
                    response.body.close()
                    self._answer = None
                    return None
                if response.status != 200:
                    raise status_error(response, self._method, deadline)
                if response.content_type != "text/event-stream":
                    raise type_error(response, "text/event-stream", deadline)
            except BaseException:
                self._answer = None
                response.body.abandon()
                raise
        if self._closed:  # as in _read
            raise ClientClosed("the event source was closed")
        return response

    def _begin(self, response: Response, deadline: Deadline) -> None:
        """Read from a new answer from now on."""
        self._connects += 1
        self._parser = SSEParser(self._max_event_size, last_event_id=self.last_event_id)
        self._id_before, self._events_before = self.last_event_id, self._events
        self._opened_at = time.monotonic()
        self._stream = iter_batches(self._read(response.body, deadline), self._parser)
        if self._on_open is not None:
            self._on_open(
                StreamOpened(
                    url=response.url.partition("?")[0],
                    status=response.status,
                    headers=response.headers,
                    connects=self._connects,
                    last_event_id=self.last_event_id,
                )
            )

    @property
    def retry_ms(self) -> int | None:
        """Milliseconds that the server last asked to wait before reconnecting; None if it named none. Any thread."""
        present = self._parser.retry_ms
        return self._retry_ms if present is None else present

    @property
    def stats(self) -> StreamStats:
        """What came so far. Any thread."""
        return StreamStats(self._connects, self._attempts, self._events, self._bytes, self._last_event_at)

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    # The end.

    def close(self) -> None:
        """End it; a thread that reads, connects or waits ends its iteration at once. Any thread, more than once too."""
        self._closed = True
        self._interrupt.fire()
        self._let_go()
        self._http.close()

    def _let_go(self) -> None:
        """Close the answer, unless the other thread is reading it: it does this itself as soon as it wakes."""
        if self._in_use.acquire(blocking=False):
            try:
                answer, self._answer = self._answer, None
                if answer is not None:
                    answer.abandon()
            finally:
                self._in_use.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
