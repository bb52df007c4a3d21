"""What a client has under way, and who is woken when it is closed."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from .. import jsonrpc
from ..net.retry import Effort
from ..net.timeouts import Deadline
from ..protocol.session import StreamCursor

__all__ = ["FAREWELL_SECONDS", "UnderWay", "Work"]

FAREWELL_SECONDS = 2.0
"""What closing and cancelling may take: a server on another continent answers in a second; one that does not answer
must not keep a script from ending."""


class UnderWay(Protocol):
    """A call."""

    def wake(self) -> None:
        """Have the thread that is blocked in it end it."""

    def owns(self, token: Any) -> bool:
        """Whether a progress token is this call's."""

    def take_elsewhere(self, message: jsonrpc.Notification) -> None:
        """Take a notification that came on the listening stream."""

    def end(self, reason: str, seconds: float) -> None:
        """Cancel it, telling the server within so many seconds, and let go of everything, if nobody iterates it."""

    def give_up(self, seconds: float) -> None:
        """Let go of it, since the client is closed, and say to the server within so many seconds what it must know."""

    @property
    def cursor(self) -> StreamCursor | None:
        """Where it stands."""


class Work:
    """Calls, and whatever else may be blocked. Threads share it.

    Single operations on its dicts and its deque are atomic, and it takes no lock: the collector drops calls, and signal
    handlers close clients, in the middle of anything.

    Attributes:
        closed: Whether nothing new may begin.
    """

    def __init__(self) -> None:
        self.closed = False
        self.begin_anew()

    def begin_anew(self) -> None:
        """Know of nothing."""
        self._pid = os.getpid()
        self._calls: dict[int, UnderWay] = {}  # by identity
        self._forsaken: deque[UnderWay] = deque()  # of them, those that nobody iterates any more
        self._efforts: dict[int, Effort] = {}  # of all else

    def check_process(self) -> None:
        """In a forked child, begin anew: nothing of the parent's goes on there."""
        if self._pid != os.getpid():
            self.begin_anew()

    def enter(self, call: UnderWay, effort: Effort) -> None:
        """A call begins, within these limits; those that were dropped meanwhile are ended."""
        self.check_process()
        if self._forsaken:
            self._end_forsaken(effort)
        self._calls[id(call)] = call
        if self.closed:  # since it was looked at
            call.wake()

    def _end_forsaken(self, effort: Effort) -> None:
        """End those that nobody waits for, where a server that does not answer must not use up the time of another."""
        left = effort.deadline.remaining()
        deadline = Deadline(FAREWELL_SECONDS if left is None else min(FAREWELL_SECONDS, left / 2))
        while self._forsaken and not self.closed:
            try:
                forsaken = self._forsaken.popleft()
            except IndexError:  # another thread was quicker
                break
            forsaken.end("nobody waits for it any more", deadline.remaining() or 0.0)

    def leave(self, call: UnderWay) -> None:
        """It has ended."""
        self._calls.pop(id(call), None)

    def forsake(self, call: UnderWay) -> None:
        """Nobody iterates it any more: the next one ends it."""
        if id(call) in self._calls:
            self._forsaken.append(call)

    def calls(self) -> list[UnderWay]:
        """Those that have begun and not ended."""
        return list(self._calls.values())

    def register(self, effort: Effort) -> None:
        """Have whatever this effort is for woken by the end."""
        self.check_process()
        effort.registered += 1
        self._efforts[id(effort)] = effort
        if self.closed:
            effort.interrupt.fire()

    def unregister(self, effort: Effort) -> None:
        effort.registered -= 1
        if not effort.registered:
            self._efforts.pop(id(effort), None)

    @contextmanager
    def awake(self, effort: Effort) -> Iterator[None]:
        """Have whatever the effort is for woken by the end, while this lasts."""
        self.register(effort)
        try:
            yield
        finally:
            self.unregister(effort)

    def close(self) -> list[UnderWay]:
        """Wake all that is blocked, and what will be; the calls among it, some of which have ended by now."""
        self.closed = True
        calls = self.calls()
        for call in calls:
            call.wake()
        for effort in list(self._efforts.values()):
            effort.interrupt.fire()
        return calls
