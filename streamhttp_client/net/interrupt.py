"""How another thread ends a blocked exchange at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ..exceptions import ClientClosed

__all__ = ["Errands", "Interrupt"]

_T = TypeVar("_T")


class Errands:
    """Calls that a thread of :meth:`Interrupt.run` leaves to the one that waits for it.

    For code of the caller's, which belongs on the thread of the caller's: a cursor of a database refuses any other, and
    callbacks say where they run. It also ends with the wait: who was left behind calls nothing any more.
    """

    def __init__(self) -> None:
        self._home = threading.get_ident()
        self._lock = threading.Lock()  # guards the two below
        self._errand: tuple[Callable[[], Any], list[Any], threading.Event] | None = None
        self._left = False
        self.wake = threading.Event()
        """Set when there is something to do; whoever ends the wait sets it too."""

    def ask(self, function: Callable[[], _T]) -> _T:
        """Have the waiting thread call a function, and give or raise what comes of it.

        Raises:
            ClientClosed: Nobody waits any more.
        """
        if threading.get_ident() == self._home:
            return function()
        outcome: list[Any] = []  # whether it went well, and what came of it
        done = threading.Event()
        with self._lock:
            if self._left:
                raise ClientClosed("the request was left before its body was sent")
            self._errand = function, outcome, done
        self.wake.set()
        done.wait()
        well, what = outcome
        outcome.clear()
        if well:
            result: _T = what
            return result
        try:
            raise what
        finally:
            del what  # with the list above, or the error would hold itself through these frames

    def do(self) -> None:
        """Call what was asked for, if anything was. The waiting thread."""
        with self._lock:
            errand = self._errand
        if errand is None:
            return
        function, outcome, done = errand
        try:
            outcome[:] = True, function()
        except BaseException as error:
            outcome[:] = False, error
        # First: Ctrl-C may come between any two of these lines, and whoever asked must not wait for ever.
        done.set()
        with self._lock:
            if self._errand is errand:  # by now there may be another one
                self._errand = None

    def leave(self) -> None:
        """Nobody waits any more."""
        with self._lock:
            self._left = True
            errand, self._errand = self._errand, None
        if errand is not None:
            _, outcome, done = errand
            outcome[:] = False, ClientClosed("the request was left before its body was sent")
            done.set()


class Interrupt:
    """Wakes whoever is blocked on behalf of one call: in connect, in a read, or in a wait between attempts.

    One interrupt accompanies a call over all its connections, of which there may be several at a time: answering a
    request of the server takes one while the call's own stands open. The blocked thread attaches a function that breaks
    a connection while it uses that, and detaches it **before** the connection goes back into a pool; both happen under
    the lock, so a late :meth:`fire` can never hit a connection that serves somebody else by then.
    """

    __slots__ = ("_breaks", "_lock", "fired")

    def __init__(self) -> None:
        # Guards the two below; held for a moment, never while blocked. Taken again by the same thread when a signal
        # handler closes or cancels in between.
        self._lock = threading.RLock()
        self._breaks: list[Callable[[], object]] = []
        self.fired = False

    def attach(self, break_connection: Callable[[], object]) -> None:
        """Say how to break a connection in use. If it was fired before, that happens now."""
        with self._lock:
            self._breaks.append(break_connection)
            if self.fired:
                break_connection()

    def detach(self, break_connection: Callable[[], object]) -> None:
        """That connection is no longer in use. Nothing happens if it was detached before."""
        with self._lock:
            if break_connection in self._breaks:
                self._breaks.remove(break_connection)

    def fire(self) -> None:
        """Wake the blocked thread, now and each time that it would block again. Any thread; never blocks."""
        with self._lock:
            self.fired = True
            for break_connection in list(self._breaks):
                break_connection()

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        """Wait until ``event`` is set, the seconds are over, or fired; whether it was the event, or both."""
        self.attach(event.set)
        try:
            return event.wait(seconds) and not self.fired
        finally:
            self.detach(event.set)

    def sleep(self, seconds: float) -> None:
        """Wait, unless or until fired."""
        self.wait(threading.Event(), seconds)

    def run(
        self,
        function: Callable[[], _T],
        discard: Callable[[_T], object],
        seconds: float | None = None,
        errands: Errands | None = None,
    ) -> _T | None:
        """Call what nothing can wake, on a thread of its own, and wait for it; None if fired or late.

        For connecting: neither a name lookup nor the system's ``connect`` nor a TLS handshake has an end that another
        thread could bring about, and a lookup does not even hear Ctrl-C. What is left behind goes on by itself until
        its own limits end it.

        Args:
            function: It must not depend on the calling thread, but for its ``errands``.
            discard: Given the result that came too late.
            seconds: How long to wait; None for as long as it takes.
            errands: What it asks to be called here meanwhile.
        """
        done = threading.Event() if errands is None else errands.wake
        end = None if seconds is None else time.monotonic() + seconds
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
            del error  # as below
            done.set()
            if late and result is not None:
                discard(result)

        thread = threading.Thread(target=work, name="streamhttp-connect", daemon=True)
        taken = False
        try:
            try:
                thread.start()
            except RuntimeError:  # no more threads, or none since the interpreter is shutting down
                return function()
            while self.wait(done, None if end is None else max(0.0, end - time.monotonic())):
                done.clear()
                with lock:
                    taken = bool(outcome)
                if taken:
                    break
                if errands is not None:
                    errands.do()
        finally:  # on Ctrl-C too, which may come while the thread starts
            if errands is not None:
                errands.leave()
            with lock:
                left = not taken
                result, error = outcome[0] if outcome else (None, None)
            if left and result is not None:
                discard(result)
        if left:
            return None
        if error is not None:
            try:
                raise error
            finally:
                del error, outcome  # or the error would hold itself through this frame
        return result
