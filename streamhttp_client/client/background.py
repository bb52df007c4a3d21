"""The listening stream that a client holds open by itself, for a server that asks outside of a call's own stream."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..net.retry import Effort
from ..net.timeouts import Deadline, Timeout

if TYPE_CHECKING:
    from ..transport.link import Link
    from .listening import Hub, Listening

__all__ = ["BackgroundListening"]

logger = logging.getLogger("streamhttp_client")

# What a call waits for the stream, once: a server that lets a GET wait for its first event must not stop us.
_SOON = 1.0
# After which a stream that failed is asked for again, with the next call; each further failure doubles it.
_AGAIN_SECONDS = 30.0
_LONGEST_SECONDS = 3600.0


class BackgroundListening:
    """Keeps one listener on a daemon thread, and steps back while the user has one open.

    Many servers allow one listening stream a session, and each message goes to one stream only.

    Args:
        wanted: Whether to listen at all without being asked.

    Attributes:
        engine: Whose stream it is; set by it.
    """

    engine: Hub

    def __init__(self, *, wanted: bool) -> None:
        self._wanted = wanted
        self.begin_anew()

    def begin_anew(self) -> None:
        """Know of no listener: at the beginning, and in a forked child, where the parent's does not run."""
        self._lock = threading.Lock()  # guards all below; not held while a listener starts or ends
        self._listener: Listening | None = None
        self._failures = 0  # in a row, of listeners that were never open
        self._others: list[Listening] = []
        self._forsaken: deque[Listening] = deque()  # of them, those that nobody iterates any more; without the lock

    def ensure(self, link: Link, effort: Effort, *, wait: bool) -> None:
        """Start the listener, if it is wanted and there is none; on wish, wait a moment for its stream."""
        if self._forsaken:
            self._end_forsaken()
        if not self._wanted or not link.era.server_asks:
            return
        new = None
        with self._lock:
            listener = self._listener
            if not self._others and (listener is None or self._is_due(listener)):
                from .listening import Listening

                engine = self.engine
                self._failures = 0 if listener is None or listener.available else self._failures + 1
                limits = Timeout(engine.timeout.connect, engine.timeout.read, None)
                new = Listening(engine, Effort(limits, engine.retry), _ignore, asked_for=False)
                listener = self._listener = new
        if new is not None:
            try:
                new.start()
            except RuntimeError as error:  # no more threads; the call can do without
                logger.warning("the server is not listened to for what it asks outside of calls: %s", str(error))
                with self._lock:
                    self._listener = listener = None if self._listener is new else self._listener
        if wait and listener is not None and not listener.answered and listener.is_elsewhere():
            # Once: if the server lets the GET wait for its first event, nothing is gained by waiting again.
            listener.answered = True
            effort.interrupt.wait(listener.opened, effort.deadline.within(_SOON))

    def _is_due(self, listener: Listening) -> bool:
        """Whether it is to be replaced: it was open and has ended, or it failed a while ago. A server that has no such
        stream is not asked again.
        """
        if not listener.ended or listener.available is False:
            return False
        pause = min(_AGAIN_SECONDS * 2.0 ** min(self._failures, 10), _LONGEST_SECONDS)
        return bool(listener.available) or time.monotonic() - listener.ended_at >= pause

    def replace(self, effort: Effort, callback: Callable[[Any], object] | None) -> Listening:
        """A listener for the user, in place of the one in the background."""
        from .listening import Listening

        listener = Listening(self.engine, effort, callback, on_end=self._other_ended)
        with self._lock:
            self._others.append(listener)
            background, self._listener = self._listener, None
        if background is not None:
            background.close()
        if callback is not None:
            listener.start()
        return listener

    def forsake(self, listener: Listening) -> None:
        """Nobody iterates it any more: the next call ends it. The collector may say so, in the middle of anything."""
        if listener in self._others:
            self._forsaken.append(listener)

    def _end_forsaken(self) -> None:
        while self._forsaken:
            try:
                listener = self._forsaken.popleft()
            except IndexError:  # another thread was quicker
                return
            listener.close()

    def _other_ended(self, listener: Listening) -> None:
        with self._lock:
            self._others.remove(listener)

    def listen_anew(self) -> None:
        """What is to be listened for has changed."""
        with self._lock:
            others = list(self._others)
        for listener in others:
            listener.listen_anew()

    def stop(self, seconds: float) -> None:
        """End the listener; wait so long for its thread and for those of the user's, which the client has woken."""
        deadline = Deadline(seconds)
        self._end_forsaken()
        with self._lock:
            listener, others = self._listener, list(self._others)
        if listener is not None:
            listener.close(seconds)
        for other in others:
            other.join(deadline.remaining() or 0.0)


def _ignore(event: object) -> None:
    """The listener has handed the event to the client's callbacks already."""
