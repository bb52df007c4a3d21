"""What no call asked for: the listening stream, opened again as often as it breaks."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .. import jsonrpc
from ..exceptions import (
    CallTimeout,
    ClientClosed,
    ConnectionLost,
    HTTPStatusError,
    LocalProtocolError,
    RPCError,
    SessionExpired,
    StreamHTTPError,
    TransportError,
    UnsupportedVersion,
)
from ..net.refusals import is_temporary
from ..net.retry import Effort
from ..net.timeouts import Timeout
from ..transport.listening import open_feed
from .callbacks import check_function

if TYPE_CHECKING:
    from .._record import Record
    from ..net.retry import RetryPolicy
    from ..transport.link import Link, LookAhead
    from .work import Work

__all__ = ["Hub", "Listening"]

logger = logging.getLogger("streamhttp_client")

# A stream that was open for this long, or brought a message, was worth opening: closing it then is no failure. Idle
# limits of proxies and servers begin at some ten seconds.
_WORTHWHILE_SECONDS = 1.0
# The least pause after one that was not.
_BRIEF_PAUSE = 0.1
# The pause after a stream that the server has ended on purpose.
_AFTER_THE_END = 1.0
_JOIN_SECONDS = 2.0


class Hub(Protocol):
    """What a listener needs of the client behind it."""

    link: Link | None
    timeout: Timeout
    retry: RetryPolicy
    on_log: Callable[[Any], object] | None
    on_notification: Callable[[Any], object] | None
    work: Work

    @property
    def closed(self) -> bool: ...

    def ready(self, effort: Effort) -> Link: ...

    def heal(self, link: Link, failure: StreamHTTPError, effort: Effort, tried: set[str]) -> bool: ...

    def subscription(self, link: Link) -> jsonrpc.Request: ...

    def missed(self, link: Link) -> None: ...

    def serve(self, link: Link, request: jsonrpc.Request, effort: Effort, stream: LookAhead) -> None: ...

    def read_notification(self, message: jsonrpc.Notification) -> Record | None: ...


class Listening:
    """The client's side of a listener. It knows nothing of who waits for it, so that one which is dropped is noticed.

    Args:
        engine: Whose stream it is.
        effort: The limits of the whole.
        callback: Called on a thread of its own, by :meth:`start`; None to be iterated.
        on_end: Told once, when it is over.
        asked_for: Whether the user has asked for it.

    Attributes:
        available, honoured: See :class:`~.listener.Listener`.
        owner: A client that nobody else holds must not be closed by being collected.
        opened: Set when the server has answered, or it is over.
        ended_at: The monotonic time at which the thread has ended.
        answered: Whether a call has waited for it.
    """

    def __init__(
        self,
        engine: Hub,
        effort: Effort,
        callback: Callable[[Any], object] | None = None,
        *,
        on_end: Callable[[Listening], object] | None = None,
        asked_for: bool = True,
    ) -> None:
        check_function("callback", callback)
        self._engine = engine
        self._effort = effort
        self._callback = callback
        self._on_end = on_end
        self._asked_for = asked_for
        self._thread: threading.Thread | None = None
        self._events: Generator[Any, None, None] | None = None
        self._failure: BaseException | None = None
        self._closed = False
        self._pid = os.getpid()
        self._attempt = effort
        self._anew: Effort | None = None  # the attempt that was ended because something else is to be listened for
        self.owner: object = None
        self.opened = threading.Event()
        self.ended_at = 0.0
        self.answered = False
        self.available: bool | None = None
        self.honoured: Mapping[str, Any] | None = None

    def start(self) -> None:
        """Read on a thread of its own from now on, for the callback."""
        self._thread = threading.Thread(target=self._serve, name="streamhttp-listener", daemon=True)
        try:
            self._thread.start()
        except BaseException:  # no more threads
            self._thread = None
            self._end()
            raise

    @property
    def has_thread(self) -> bool:
        """Whether it reads on a thread of its own, and so is not iterated."""
        return self._thread is not None

    def open(self) -> None:
        """Wait until the stream is open."""
        self._check_process()
        if self._thread is not None:
            self.wait_open()
        elif self._events is None:
            self._events = self._run()
            next(self._events, None)  # None, once the stream is open

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self._check_process()
        if self._events is None:
            self._events = self._run()
        try:
            while (event := next(self._events)) is None:
                pass
        except ValueError:
            if getattr(self._events, "gi_running", False):
                raise LocalProtocolError("this listener is iterated by another thread") from None
            raise
        return event

    def wait_open(self, timeout: float | None = 10.0) -> bool:
        """Wait until the server has answered; whether the stream is open."""
        self.opened.wait(timeout)
        return bool(self.available)

    @property
    def ended(self) -> bool:
        """Whether the thread has ended."""
        return self._thread is not None and not self._thread.is_alive()

    @property
    def failure(self) -> BaseException | None:
        """Why the thread has ended, if it failed."""
        return self._failure

    def close(self, seconds: float = _JOIN_SECONDS) -> None:
        """Stop listening. Any thread; waits so long for a callback that is running."""
        self._closed = True
        if self._pid != os.getpid():
            return  # a forked child leaves it as well; its connection is the parent's
        self._effort.interrupt.fire()
        self._attempt.interrupt.fire()
        if self._events is not None:
            try:
                self._events.close()
            except ValueError:
                pass  # another thread is in it, and has been woken
        if self._thread is None:
            self._end()
        else:
            self.join(seconds)

    def join(self, seconds: float) -> None:
        """Wait so long for the thread, if there is one and it is not the caller's own."""
        if self._thread is not None and self.is_elsewhere():
            with contextlib.suppress(RuntimeError):  # it is about to start on yet another thread, and will find the end
                self._thread.join(seconds)

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise LocalProtocolError("this listener is one of the parent process; listen anew here")

    def is_elsewhere(self) -> bool:
        """Whether it runs on another thread than the caller's."""
        return self._thread is not None and self._thread is not threading.current_thread()

    def _end(self) -> None:
        """Say that it is over, once; not in a forked child, which knows nothing of it."""
        on_end, self._on_end = self._on_end, None
        if on_end is not None and self._pid == os.getpid():
            on_end(self)

    def _serve(self) -> None:
        assert self._callback is not None
        try:
            for event in self._run():
                if event is not None:
                    self._callback(event)
        except BaseException as error:
            if isinstance(error, ClientClosed) and (self._closed or self._engine.closed):
                return  # else a callback has raised it, of another client
            self._failure = error
            if self._asked_for:
                logger.exception("listening has ended")
            else:
                logger.warning("the server is no longer listened to for what it asks outside of calls: %s", str(error))
        finally:
            self.ended_at = time.monotonic()
            self.opened.set()

    def _run(self) -> Generator[Any, None, None]:
        """The notifications, and None each time that the stream is open."""
        engine, effort = self._engine, self._effort
        engine.work.register(effort)
        last_event_id, retry_seconds = "", 0.0
        heard_on: Link | None = None
        forgotten = opened = False
        effort.begin()
        try:
            while not self._closed:
                # Listening has no end, but connecting has: it may hold up the calls of other threads.
                usual, within = engine.timeout, effort.deadline.within(engine.timeout.total)
                opening = Timeout(usual.connect, usual.read, within or None)
                self._attempt = attempt = Effort(opening, engine.retry)
                engine.work.register(attempt)
                floor, failure, link, ended, handing_out = 0.0, None, None, False, False
                try:
                    if self._closed:
                        return  # meanwhile
                    link = engine.ready(attempt)
                    if not self._asked_for and not link.era.server_asks:
                        return  # the server has changed, and there is nothing to hear any more
                    if link is not heard_on:
                        heard_on, last_event_id = link, ""  # ids belong to the session that gave them
                    # Reading goes on for as long as the listening as a whole.
                    left = effort.deadline.remaining()
                    if left == 0.0:
                        return
                    reading = Timeout(effort.timeout.connect, effort.timeout.read, left)
                    feed = open_feed(
                        link,
                        opening=attempt,
                        reading=Effort(reading, engine.retry, attempt.interrupt),
                        last_event_id=last_event_id,
                        subscribe=lambda: engine.subscription(link),  # noqa: B023  # called at once
                    )
                    since = time.monotonic()
                    with contextlib.closing(feed.messages()) as messages:
                        for message in messages:
                            if message is not None:
                                effort.progressed()
                                last_event_id = feed.last_event_id
                                handing_out = True
                                yield from self._take(link, message, feed)
                                handing_out = False
                                continue
                            if opened:
                                engine.missed(link)
                            opened = self.available = True
                            forgotten = False
                            self.honoured = feed.honoured
                            self.opened.set()
                            yield None
                    last_event_id, failure, ended = feed.last_event_id, feed.failure, feed.over
                    if feed.unavailable:
                        logger.info("the server has no listening stream")
                        self.available = False
                        return
                    if feed.over and not feed.agreed:
                        return  # it does not want to, and says so politely
                    if feed.over:
                        # As a server does that stops, to be started again perhaps.
                        logger.info("the server has ended the listening stream; asking for another")
                        retry_seconds = max(retry_seconds, _AFTER_THE_END)
                    if failure is None or not isinstance(failure, HTTPStatusError):
                        retry_seconds = feed.retry_seconds or retry_seconds
                    floor = max(feed.retry_seconds, retry_seconds)
                    if self.opened.is_set():
                        if time.monotonic() - since > _WORTHWHILE_SECONDS:
                            effort.progressed()
                        else:
                            floor = max(floor, _BRIEF_PAUSE)  # it may have brought something, and still not be a loop
                except (HTTPStatusError, RPCError, UnsupportedVersion) as error:
                    # Without a link, it was refused while the server was being found out. What a callback raises is its
                    # own failure.
                    if link is None or handing_out:
                        raise
                    expired = isinstance(error, SessionExpired)
                    # A server that forgets each session at once would have us begin one after the other.
                    if expired and forgotten and not effort.again():
                        raise
                    try:
                        if engine.heal(link, error, attempt, set()):
                            forgotten = forgotten or expired
                            continue
                        failure = error
                    except (HTTPStatusError, TransportError) as worse:
                        failure = worse
                    if not opened or not _may_pass(failure):
                        raise failure  # noqa: B904  # it is the one that is dealt with, or came of that
                except ClientClosed:
                    if self._closed or engine.closed or self._anew is not attempt:
                        raise
                    continue  # something else is to be listened for
                finally:
                    engine.work.unregister(attempt)
                if effort.deadline.expired:
                    return
                if not effort.again(floor):
                    left = effort.deadline.remaining()
                    pause = floor if failure is None else 0.0
                    if self._closed or left is not None and left < max(pause, _WORTHWHILE_SECONDS) and opened:
                        return  # what is left is less than a pause
                    if engine.closed:
                        raise ClientClosed("the client is closed")
                    if ended:
                        return  # again and again: it means it
                    raise failure or ConnectionLost("the server ends each listening stream at once")
                logger.debug("listening again: %s", failure or "the stream had ended")
        except CallTimeout:
            if not effort.deadline.expired:
                raise
        except ClientClosed:
            if not self._closed:
                raise
        finally:
            self.opened.set()
            engine.work.unregister(effort)
            self._end()

    def listen_anew(self) -> None:
        """What is to be listened for has changed: ask the server again, if it has to be told. Any thread."""
        link = self._engine.link
        if link is not None and link.era.listening == "subscription":
            # If the next attempt begins just now, it will ask for what is wanted by then.
            self._anew = attempt = self._attempt
            attempt.interrupt.fire()

    def _take(self, link: Link, message: jsonrpc.Message, stream: LookAhead) -> Iterator[Any]:
        engine = self._engine
        if isinstance(message, jsonrpc.Request):
            try:
                engine.serve(link, message, Effort(engine.timeout, engine.retry, self._attempt.interrupt), stream)
            except CallTimeout as error:  # the server will ask again, or not: others are to be heard meanwhile
                logger.warning("the answer to %r could not be sent: %s", message.method, str(error))
        elif isinstance(message, jsonrpc.Notification):
            if message.method == "notifications/progress":
                token = (message.params or {}).get("progressToken")
                for call in engine.work.calls():
                    if call.owns(token):
                        call.take_elsewhere(message)
                return
            event = engine.read_notification(message)
            if event is None:
                return
            if message.method == "notifications/message" and engine.on_log is not None:
                engine.on_log(event)
            elif message.method != "notifications/message" and engine.on_notification is not None:
                engine.on_notification(event)
            yield event
        else:
            # "The server MUST NOT send a JSON-RPC response on the stream unless resuming", ibid.
            logger.warning("dropped a response that came on the listening stream")


def _may_pass(failure: StreamHTTPError) -> bool:
    """Whether a server that was listened to may be back in a moment: also from what a gateway says while it is away."""
    if isinstance(failure, TransportError):
        return not failure.permanent
    if not isinstance(failure, HTTPStatusError) or isinstance(failure, SessionExpired):
        return False
    return is_temporary(failure.status) or failure.status in (404, 405)
