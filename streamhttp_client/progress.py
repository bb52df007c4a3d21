"""Progress of a call, a download or an upload: one class for all of them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Literal

from ._record import Record

__all__ = ["OnProgress", "Progress", "ProgressMeter", "SharedMeter"]


class Progress(Record):
    """How far a call or a transfer has come.

    Attributes:
        progress: What is done. Bytes for transfers; for calls the server's own unit.
        total: What there is to do, in the same unit, or None if it is not known.
        message: The server's words, or None.
        rate: Units a second, smoothed over about five seconds; None until two points are known.
        eta: Seconds to the end at that rate, or None if the rate or the total is not known.
        attempt: The connection that brought this, counted from 1; it grows when a broken one was replaced.
        state: ``"running"``; ``"restarted"`` when a transfer had to begin again, the only time that ``progress`` goes
            back; ``"done"`` once at the end of a transfer.
    """

    progress: float
    total: float | None = None
    message: str | None = None
    rate: float | None = None
    eta: float | None = None
    attempt: int = 1
    state: Literal["running", "restarted", "done"] = "running"

    @property
    def fraction(self) -> float | None:
        """What is done as a share between 0 and 1, or None if the total is not known."""
        if not self.total or self.total < 0:
            return None
        return min(max(self.progress / self.total, 0.0), 1.0)


OnProgress = Callable[[Progress], object]
"""Called on the thread that is blocked in the call. An exception in it ends the call and reaches the caller."""

Number = int | float

# Seconds after which an old rate counts for 1/e: long enough to read, short enough to follow a change.
_SMOOTHING = 5.0
_MOST = 1e200


def _bounded(value: Number) -> Number:
    """A number that can be counted and divided with: JSON integers have no bound, floats do."""
    return value if abs(value) < _MOST else _MOST if value > 0 else -_MOST


class ProgressMeter:
    """Turns raw counts into :class:`Progress` with rate and time left. Not for several threads at once.

    Args:
        clock: Seconds from any fixed point; injected by tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: tuple[float, Number] | None = None
        self._rate: float | None = None

    def update(
        self,
        progress: Number,
        total: Number | None = None,
        message: str | None = None,
        *,
        attempt: int = 1,
        state: Literal["running", "restarted", "done"] = "running",
    ) -> Progress:
        """Record a new count and describe it."""
        now = self._clock()
        progress, total = _bounded(progress), None if total is None else _bounded(total)
        if self._last is None or state == "restarted":
            self._last, self._rate = (now, progress), None
        else:
            then, before = self._last
            elapsed, gained = now - then, progress - before
            if elapsed > 0 and gained >= 0:
                weight = min(1.0, elapsed / _SMOOTHING)
                rate = gained / elapsed
                self._rate = rate if self._rate is None else self._rate + weight * (rate - self._rate)
                self._last = (now, progress)
        eta = None
        if self._rate and total is not None and total >= progress:
            eta = (total - progress) / self._rate
            if eta == math.inf:
                eta = None
        return Progress(progress, total, message, self._rate, eta, attempt, state)


class SharedMeter:
    """How far something has come that several threads, or several requests, tell of."""

    def __init__(self) -> None:
        self._meter = ProgressMeter()
        self._last: tuple[float, float | None] = 0, None
        self._lock = threading.Lock()  # held for a moment

    def update(self, progress: float, total: float | None, words: str | None, attempt: int) -> Progress:
        """A new count, as an event."""
        with self._lock:
            self._last = progress, total
            return self._meter.update(progress, total, words, attempt=attempt)

    def words(self, words: str, attempt: int) -> Progress:
        """New words for the last count."""
        with self._lock:
            return self._meter.update(*self._last, words, attempt=attempt)
