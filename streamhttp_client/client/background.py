"""The listening stream that a client holds open by itself, for a server that asks outside of a call's own stream."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..net.retry import Effort
from ..net.timeouts import Deadline, Timeout

if TYPE_CHECKING:
    from ..transport.link import Link
    from .listening import Hub, Listener

__all__ = ["BackgroundListening"]

# What a call waits for the stream, once: a server that lets a GET wait for its first event must not stop us.
_SOON = 1.0


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
        self._lock = threading.Lock()  # guards the two below; not held while a listener starts or ends
        self._listener: Listener | None = None
        self._others: list[Listener] = []

    def ensure(self, link: Link, effort: Effort, *, wait: bool) -> None:
        """Start the listener, if it is wanted and there is none; on wish, wait a moment for its stream."""
        if not self._wanted or not link.era.server_asks:
            return
        new = None
        with self._lock:
            listener = self._listener
            if not self._others and (listener is None or (listener.ended and listener.available)):
                from .listening import Listener

                engine = self.engine
                limits = Timeout(engine.timeout.connect, engine.timeout.read, None)
                new = Listener(engine, Effort(limits, engine.retry), _ignore, asked_for=False)
                listener = self._listener = new
        if new is not None:
            new.start()
        if wait and listener is not None and not listener.answered and listener.is_elsewhere():
            # Once: if the server lets the GET wait for its first event, nothing is gained by waiting again.
            listener.answered = True
            effort.interrupt.wait(listener.opened, effort.deadline.within(_SOON))

    def replace(self, effort: Effort, callback: Callable[[Any], object] | None) -> Listener:
        """A listener for the user, in place of the one in the background."""
        from .listening import Listener

        listener = Listener(self.engine, effort, callback, on_end=self._other_ended)
        with self._lock:
            self._others.append(listener)
            background, self._listener = self._listener, None
        if background is not None:
            background.close()
        return listener if callback is None else listener.start()

    def _other_ended(self, listener: Listener) -> None:
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
        with self._lock:
            listener, others = self._listener, list(self._others)
        if listener is not None:
            listener.close(seconds)
        for other in others:
            other.join(deadline.remaining() or 0.0)


def _ignore(event: object) -> None:
    """The listener has handed the event to the client's callbacks already."""
