"""Threads that wait for a log which other processes write too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from .base import Page

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

    def __len__(self) -> int:
        return len(self._waiting)

    def read(self, key: Key, wait: float, look: Callable[[], Page]) -> Page:
        """Look at a log until there is something, for at most ``wait`` seconds or until :meth:`wake_all`."""
        page = look()
        if page.entries or page.state != "open" or wait <= 0:
            return page
        deadline = time.monotonic() + wait
        event = _Wait()
        with self._lock:
            self._waiting.setdefault(key, set()).add(event)
        try:
            while True:
                # Cleared before the look, so that a change after it is not slept through. Not each waking
                # means a change of this very log.
                event.clear()
                page = look()
                left = deadline - time.monotonic()
                if page.entries or page.state != "open" or event.released or left <= 0:
                    return page
                event.wait(left)
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

    def wake_all(self) -> None:
        """End all waits."""
        with self._lock:
            events = [event for waiting in self._waiting.values() for event in waiting]
        for event in events:
            event.released = True
            event.set()
