"""How another thread ends a blocked exchange at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["Interrupt"]

_T = TypeVar("_T")


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

    def run(self, function: Callable[[], _T], discard: Callable[[_T], object]) -> _T | None:
        """Call what nothing can wake, on a thread of its own, and wait for it; None if fired meanwhile.

        For connecting: neither a name lookup nor the system's ``connect`` nor a TLS handshake has an end that another
        thread could bring about, and a lookup does not even hear Ctrl-C. What is left behind goes on by itself until
        its own limits end it.

        Args:
            function: It must not depend on the calling thread.
            discard: Given the result that came too late.
        """
        done = threading.Event()
        lock = threading.Lock()  # guards the two below
        outcome: list[tuple[_T | None, BaseException | None]] = []
        left = False

        def work() -> None:
            result: _T | None = None
            error: BaseException | None = None
            try:
                result = function()
            except BaseException as raised:
                error = raised
            with lock:
                outcome.append((result, error))
                late = left
            done.set()
            if late and result is not None:
                discard(result)

        thread = threading.Thread(target=work, name="streamhttp-connect", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or none since the interpreter is shutting down
            return function()
        self.attach(done.set)
        try:
            done.wait()
        finally:
            self.detach()
            with lock:
                left = not outcome or self.fired
                finished = outcome[0] if outcome else (None, None)
            if left and finished[0] is not None:
                discard(finished[0])
        result, error = finished
        if left:
            return None
        if error is not None:
            try:
                raise error
            finally:
                del error, finished, outcome  # or the error would hold itself through this frame
        return result

    def sleep(self, seconds: float) -> None:
        """Wait, unless or until fired."""
        with self._lock:
            if self.fired:
                return
            if self._woken is None:
                self._woken = threading.Event()
        self._woken.wait(seconds)
