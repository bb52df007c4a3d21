"""How fast a transfer goes: what is said about it, what is too slow, and what is too fast.

Nothing here reads a socket. Time is injected; one thread uses an object, or its owner holds a lock.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from ..exceptions import LocalProtocolError
from ..progress import OnProgress, ProgressMeter

__all__ = ["RateLimit", "Reporter", "SpeedWatch", "check_min_speed", "check_rate_limit"]

# Ten reports a second: more than an eye or a terminal follows, and no cost that could be measured.
_REPORT_SECONDS = 0.1


class Reporter:
    """Calls ``on_progress``: once at the beginning, once at the end, and at most ten times a second in between.

    The end is told of a transfer that failed too, unless it was the callback that failed. What it says never goes back,
    except with the state "restarted": when a resumed upload turns out to have lost its last bytes, the count stands
    still until they were sent again.
    """

    def __init__(self, on_progress: OnProgress | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._on_progress = on_progress
        self._clock = clock
        self._meter = ProgressMeter(clock)
        self._next = 0.0
        self._highest = 0
        self._said: int | None = None
        self._restarted: int | None = None  # from where it began again, if nobody was told of that yet
        self.total: int | None = None
        self.attempt = 1

    def begin(self, done: int, total: int | None) -> None:
        """The first report; later calls only set the total."""
        self.total = total
        if self._said is None:
            self._highest = done
            self._report(done)

    def tick(self, done: int) -> None:
        """So much is done now."""
        if done > self._highest:
            self._highest = done
        if self._on_progress is not None and self._clock() >= self._next:
            self._report_running()

    def restarted(self, done: int = 0) -> None:
        """What was done is of no use: it begins again, from ``done``."""
        self._highest = self._restarted = done
        self.tick(done)

    def finish(self, done: int) -> None:
        """The last report of a transfer that succeeded."""
        self._tell_restart()
        self.total = done
        self._report(done, "done")

    def stop(self) -> None:
        """The last report of one that failed."""
        self._tell_restart()
        self._report_running()

    def _tell_restart(self) -> None:
        """Before the last report, be it soon after another one."""
        if self._said is None:
            self.begin(0, self.total)
        if self._restarted is not None:
            self._report(self._restarted, "restarted")

    def _report_running(self) -> None:
        self._report(self._highest, "running" if self._restarted is None else "restarted")

    def _report(self, done: int, state: Literal["running", "restarted", "done"] = "running") -> None:
        self._said, self._restarted = done, None
        call = self._on_progress
        if call is None:
            return
        self._next = self._clock() + _REPORT_SECONDS
        self._on_progress = None  # for good, if it raises
        call(self._meter.update(done, self.total, attempt=self.attempt, state=state))
        self._on_progress = call


class SpeedWatch:
    """Notices a peer that is alive and useless: fewer than ``rate`` bytes a second over ``window`` seconds of waiting.

    Only time spent waiting for the peer counts, so a slow disk, a callback or our own rate limit is not held against
    it. None as the setting never complains.
    """

    def __init__(self, setting: tuple[float, float] | None) -> None:
        self._least = 0.0 if setting is None else setting[0] * setting[1]
        self.window = None if setting is None else setting[1]
        # (seconds waited, bytes) of what came in the window. Merged to tenths of a window, so it stays short.
        self._samples: deque[list[float]] = deque()
        self._waited = 0.0
        self._bytes = 0.0

    def too_slow(self, waited: float, size: int) -> bool:
        """Record one wait and what it brought; True if the last window brought too little."""
        window = self.window
        if window is None:
            return False
        samples = self._samples
        if samples and samples[-1][0] + waited < window / 10:
            samples[-1][0] += waited
            samples[-1][1] += size
        else:
            samples.append([waited, size])
        self._waited += waited
        self._bytes += size
        if self._waited < window:
            return False
        if self._bytes < self._least:
            return True
        while samples and self._waited - samples[0][0] >= window * 0.9:
            seconds, count = samples.popleft()
            self._waited -= seconds
            self._bytes -= count
        return False


class RateLimit:
    """Keeps a transfer below a number of bytes a second, by waiting after each piece.

    A pause of the peer is not made up for by going faster than that afterwards, but for a tenth of a second.
    """

    def __init__(
        self, rate: float, sleep: Callable[[float], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._sleep = sleep
        self._clock = clock
        self._free_at: float | None = None
        # A tenth of a second's worth at a time, so that it flows evenly and no wait is long.
        self.piece = max(1, int(rate / 10))

    def passed(self, size: int) -> None:
        """``size`` bytes went through; wait until the next ones may."""
        now = self._clock()
        free_at = now if self._free_at is None else max(self._free_at, now - 0.1)
        self._free_at = free_at + size / self._rate
        if self._free_at > now:
            self._sleep(self._free_at - now)


def check_min_speed(value: tuple[float, float] | None) -> None:
    """Raise LocalProtocolError unless it is (bytes a second, seconds) or None."""
    if value is None:
        return
    good = isinstance(value, (tuple, list)) and len(value) == 2 and all(_is_positive(part) for part in value)
    if not good:
        raise LocalProtocolError(f"min_speed must be (bytes a second, seconds), both above 0, or None, got {value!r}")


def check_rate_limit(value: float | None) -> None:
    """Raise LocalProtocolError unless it is a number above 0 or None."""
    if value is not None and not _is_positive(value):
        raise LocalProtocolError(f"rate_limit must be a number of bytes a second above 0 or None, got {value!r}")


def _is_positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")
