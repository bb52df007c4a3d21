"""When to ask again how a task stands."""

from __future__ import annotations

from ..exceptions import CallTimeout, ClientClosed
from ..net.retry import Effort

__all__ = ["check_time", "pause", "time_is_over"]

# Where the server names no interval. The specification's examples use 5 s; a second is soon enough to feel quick, and
# no more than a heartbeat to the server.
_USUAL_SECONDS = 1.0
_LEAST_SECONDS = 0.05
_MOST_MS = 86_400_000  # a day; clocks cannot wait for as long as JSON can say
# What is kept back of a deadline for the last question.
_LAST_LOOK = 0.25


def pause(interval_ms: float | None, effort: Effort) -> None:
    """Wait until it is time to ask again; one more look at the end is better than giving up before it.

    Args:
        interval_ms: What the server wants, or None.
        effort: The limits of the whole.

    Raises:
        CallTimeout: There is no time for another look.
        ClientClosed: The effort was interrupted.
    """
    seconds = _USUAL_SECONDS if interval_ms is None else max(min(interval_ms, _MOST_MS) / 1000, _LEAST_SECONDS)
    left = effort.deadline.remaining()
    if left is not None:
        if left <= _LAST_LOOK:
            raise time_is_over(effort)
        seconds = min(seconds, left - _LAST_LOOK)
    effort.interrupt.sleep(seconds)
    if effort.interrupt.fired:
        raise ClientClosed("closed while waiting for a task")


def check_time(effort: Effort) -> None:
    """Raise CallTimeout if no time is left to ask in."""
    if effort.deadline.expired:
        raise time_is_over(effort)


def time_is_over(effort: Effort) -> CallTimeout:
    seconds = effort.deadline.seconds
    return CallTimeout("the task had not ended" if seconds is None else f"the task had not ended within {seconds:g} s")
