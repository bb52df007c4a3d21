"""Keeps a handler from running so far ahead of its client that the store drops what the client has not read.

A store keeps the newest events of a stream, and a client that needed an older one loses the stream, and with it
the result. So a handler that reports more than its client reads waits for it a little; and where nobody reads,
or not any more, or at another process, progress is thinned: each report replaces the one before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Pace"]

# Events and bytes that may be unread before a handler waits; a tenth and less of what stores keep.
_MAX_EVENTS, _MAX_BYTES = 1000, 1 << 20
# Seconds after which a reader that takes nothing is no more waited for, and seconds of one call for one that is
# slow: a client must not hold a handler for ever.
_STALL, _BUDGET = 1.0, 30.0
# Seconds between two reports that are written for nobody, beyond twice the limits; four times as long after each
# further multiple of them.
_INTERVAL = 0.01


class Pace:
    """Of one stream: how much was written, and how much was read by who is connected here. Any thread may call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Guards all fields but the position, which is looked at without it, and tells of a reader that moved or
        # went.
        self._moved = threading.Condition(threading.Lock())
        self._waiting = 0
        self._readers = 0
        self._read = 0
        self._stalled = False
        self._budget = _BUDGET
        self._last = 0.0

    def attach(self, position: int) -> None:
        """A reader has come, who has the events up to a number."""
        with self._moved:
            self._readers += 1
        self.move(position)

    def move(self, position: int) -> None:
        """The reader has taken the events up to a number."""
        self._read = position
        # Without the lock where nobody waits: who begins to wait looks at the position after it has said so.
        if self._waiting or self._stalled:
            with self._moved:
                self._stalled = False
                self._moved.notify_all()

    def detach(self) -> None:
        """The reader has gone."""
        with self._moved:
            self._readers -= 1
            self._moved.notify_all()

    def admit(self, written: int, size: int) -> bool:
        """Wait until one more event fits, for a bounded time.

        Args:
            written: Number of the last event.
            size: Bytes of the next.

        Returns:
            Whether to write it, if it can be spared.
        """
        most = max(min(_MAX_EVENTS, _MAX_BYTES // max(size, 1)), 1)
        if written - self._read < most:
            return True
        with self._moved:
            self._waiting += 1
            before = self._read
            while written - before >= most and self._readers and not self._stalled and self._budget > 0:
                begin = self._clock()
                moved = self._moved.wait_for(lambda: self._read != before or not self._readers, _STALL)  # noqa: B023
                self._budget -= self._clock() - begin
                self._stalled = not moved
                before = self._read
            self._waiting -= 1
            unread = written - self._read
            if unread < most or not self._readers and unread < 2 * most:
                return True
            now = self._clock()
            if self._readers or now - self._last < _INTERVAL * 4.0 ** min(unread // most - 2, 20):
                return False
            self._last = now
            return True
