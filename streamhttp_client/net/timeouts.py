"""How long things may take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from .._record import Record
from ..exceptions import LocalProtocolError

__all__ = ["Deadline", "Timeout", "TimeoutLike"]


# A year. Beyond some 292 years the system's own calls overflow; whoever means "for ever" says None.
_MAX_SECONDS = 31_536_000


class Timeout(Record):
    """Limits in seconds; ``None`` means no limit.

    Attributes:
        connect: For one TCP and TLS handshake. 10 s: three SYN retransmissions on Linux (1 + 2 + 4 s) fit in it.
            Looking up the name is included.
        read: Silence after which an answer counts as broken; it is then resumed where that is possible. Any byte
            ends a silence, keep-alive comments too. None, the default: only ``total`` ends it, because a tool may
            well think for minutes without a word.
        total: The whole call, with all its reconnects and callbacks. 300 s. Nothing that the server sends extends it.
    """

    connect: float | None = 10.0
    read: float | None = None
    total: float | None = 300.0

    def __post_init__(self) -> None:
        for name in ("connect", "read", "total"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= _MAX_SECONDS:
                raise LocalProtocolError(
                    f"timeout {name!r} must be None or seconds above 0 and up to {_MAX_SECONDS}, got {value!r:.40}"
                )

    @classmethod
    def of(cls, value: TimeoutLike | None, default: Timeout) -> Timeout:
        """Read what a caller gave as ``timeout=``: seconds for the whole call, a :class:`Timeout`, or None.

        Args:
            value: A number replaces the total of ``default``, and infinity says that there is none; None takes
                ``default`` as it is.
            default: What holds otherwise.
        """
        if value is None:
            return default
        if isinstance(value, Timeout):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return cls(default.connect, default.read, None if value == math.inf else value)
        raise LocalProtocolError(f"timeout must be a number of seconds or a Timeout, got {value!r}")


TimeoutLike = float | Timeout


class Deadline:
    """A point of monotonic time after which there is nothing more to wait for.

    Args:
        seconds: From now; None for never.
        clock: Injected by tests.
    """

    __slots__ = ("_clock", "at", "seconds")

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self.at = None if seconds is None else clock() + seconds
        self._clock = clock

    def remaining(self) -> float | None:
        """Seconds left, 0.0 if it has passed, None if it never does."""
        if self.at is None:
            return None
        return max(0.0, self.at - self._clock())

    @property
    def expired(self) -> bool:
        return self.at is not None and self._clock() >= self.at

    def within(self, seconds: float | None) -> float | None:
        """The smaller of ``seconds`` and what is left; None if neither is a limit."""
        left = self.remaining()
        if seconds is None:
            return left
        return seconds if left is None else min(seconds, left)
