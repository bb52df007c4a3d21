"""How another thread ends a blocked exchange at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Interrupt"]


class Interrupt:
    """Wakes whoever is blocked on behalf of one call: in connect, in a read, or in a wait between attempts.

    One interrupt accompanies a call over all its connections. The blocked thread attaches a function that breaks its
    connection while it holds it, and detaches it **before** the connection goes back into a pool; both happen under
    the lock, so a late :meth:`fire` can never hit a connection that serves somebody else by then.
    """

    __slots__ = ("_break", "_lock", "_woken", "fired")

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the three below; held for a moment, never while blocked
        self._break: Callable[[], object] | None = None
        self._woken: threading.Event | None = None
        self.fired = False

    def attach(self, break_connection: Callable[[], object]) -> None:
        """Say how to break the connection in use. If it was fired before, that happens now."""
        with self._lock:
            self._break = break_connection
            if self.fired:
                break_connection()

    def detach(self) -> None:
        """The connection is no longer in use."""
        with self._lock:
            self._break = None

    def fire(self) -> None:
        """Wake the blocked thread, now and each time that it would block again. Any thread; never blocks."""
        with self._lock:
            self.fired = True
            if self._break is not None:
                self._break()
            if self._woken is not None:
                self._woken.set()

    def sleep(self, seconds: float) -> None:
        """Wait, unless or until fired."""
        with self._lock:
            if self.fired:
                return
            if self._woken is None:
                self._woken = threading.Event()
        self._woken.wait(seconds)
