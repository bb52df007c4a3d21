"""A lock whose waiters can be woken."""

from __future__ import annotations

import threading
from collections import deque

from ..exceptions import CallTimeout, ClientClosed
from ..net.retry import Effort

__all__ = ["Turns"]


class Turns:
    """A lock whose waiters can be woken: by their deadline, and by whoever cancels or closes what they wait for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the two below; held for a moment
        self._taken = False
        self._waiting: deque[threading.Event] = deque()  # in the order in which they came

    def take(self, effort: Effort) -> None:
        """Wait for one's turn.

        Raises:
            CallTimeout: It did not come in time.
            ClientClosed: The effort was interrupted.
        """
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        effort.interrupt.wait(mine, effort.deadline.remaining())
        with self._lock:
            if mine in self._waiting:  # woken by something else
                self._waiting.remove(mine)
            elif effort.interrupt.fired:
                self._pass_on()
            else:
                return
        if effort.interrupt.fired:
            raise ClientClosed("closed while another thread was connecting")
        raise CallTimeout("another thread is still connecting", may_have_executed=False)

    def end(self) -> None:
        """Let the next one have its turn."""
        with self._lock:
            self._pass_on()

    def _pass_on(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._taken = False
