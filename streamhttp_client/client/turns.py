"""A lock whose waiters can be woken."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from ..exceptions import CallTimeout, ClientClosed
from ..net.retry import Effort

__all__ = ["Turns"]


class Turns:
    """A lock whose waiters can be woken: by their deadline, and by whoever cancels or closes what they wait for.

    It belongs to an effort, not to a thread, so that whatever is raised at whatever moment, a Ctrl-C in the middle of
    taking it too, gives it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the two below; held for a moment
        self._owner: Effort | None = None
        self._waiting: deque[tuple[Effort, threading.Event]] = deque()  # in the order in which they came
        self._thread: int | None = None  # of whoever has it; written by that thread alone

    @property
    def is_here(self) -> bool:
        """Whether this thread has the turn already, so that waiting for it would be waiting for ever."""
        return self._thread == threading.get_ident()

    @contextmanager
    def turn(self, effort: Effort, why: str) -> Iterator[None]:
        """Wait for one's turn, and have it for the block.

        Args:
            effort: Whose turn it is. It has no other meanwhile.
            why: What whoever has it is doing, for the errors.

        Raises:
            CallTimeout: It did not come in time.
            ClientClosed: The effort was interrupted.
        """
        try:
            self._take(effort, why)
            self._thread = threading.get_ident()
            yield
        finally:
            if self._owner is effort:
                self._thread = None
            self._end(effort)

    def _take(self, effort: Effort, why: str) -> None:
        with self._lock:
            if self._owner is None:
                self._owner = effort
                return
            mine = threading.Event()
            self._waiting.append((effort, mine))
        effort.interrupt.wait(mine, effort.deadline.remaining())
        if effort.interrupt.fired:
            raise ClientClosed(f"closed while another thread was {why}")
        if self._owner is not effort:
            raise CallTimeout(f"another thread is still {why}", may_have_executed=False)

    def _end(self, effort: Effort) -> None:
        """Wait no more, and let the next one have its turn if this one has it."""
        with self._lock:
            self._waiting = deque(one for one in self._waiting if one[0] is not effort)
            if self._owner is effort:
                self._owner = None
                if self._waiting:
                    self._owner, event = self._waiting.popleft()
                    event.set()
