"""Threads that wait for a log which other processes write too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from .base import PROBE_INTERVAL, Page

__all__ = ["Waiters"]

Key = tuple[str, str]


class _Wait(threading.Event):
    released = False


class Waiters:
    """Who waits for which log. A store wakes them when it hears of a change, from whatever process."""

    def __init__(self) -> None:
        # Guards the dict; held for dict operations only.
        self._lock = threading.Lock()
        self._waiting: dict[Key, set[_Wait]] = {}
        #: Set when somebody begins to wait; whoever looks for changes only then clears it.
        self.begun = threading.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def read(
        self, key: Key, wait: float, look: Callable[[], tuple[Page, float]], until: Callable[[], bool] | None = None
    ) -> Page:
        """Look at a log until there is something, for at most ``wait`` seconds or until :meth:`wake_all`.

        Args:
            look: Returns what there is, and the seconds after which to look again although nothing was heard.
            until: Ends the wait once it is true; asked each second, which costs the store nothing.
        """
        if wait <= 0:
            return look()[0]
        deadline = time.monotonic() + wait
        event = _Wait()
        with self._lock:
            self._waiting.setdefault(key, set()).add(event)
        if not self.begun.is_set():
            self.begun.set()
        try:
            while True:
                # Cleared before the look, so that a change after it is not slept through. Not each waking
                # means a change of this very log.
                event.clear()
                page, patience = look()
                if page.entries or page.state != "open" or event.released:
                    return page
                again = min(time.monotonic() + patience, deadline)
                while not event.is_set() and (left := again - time.monotonic()) > 0:
                    if not event.wait(left if until is None else min(left, PROBE_INTERVAL)) and until and until():
                        return page
                if not event.is_set() and again == deadline:
                    return page
        finally:
            with self._lock:
                events = self._waiting[key]
                events.discard(event)
                if not events:
                    del self._waiting[key]

    def wake(self, keys: Iterable[Key]) -> None:
        """Let who waits for these logs look again."""
        with self._lock:
            events = [event for key in keys for event in self._waiting.get(key, ())]
        for event in events:
            event.set()

    def wake_for_a_look(self) -> None:
        """Let all look again, since something may have been missed."""
        with self._lock:
            keys = list(self._waiting)
        self.wake(keys)

    def wake_all(self) -> None:
        """End all waits."""
        with self._lock:
            events = [event for waiting in self._waiting.values() for event in waiting]
        for event in events:
            event.released = True
            event.set()
