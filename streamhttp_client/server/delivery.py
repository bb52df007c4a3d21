"""How what is written survives a store that is away for a moment: kept here, and handed over later.

A handler never waits for a store that is away, and never fails because of it. What the store did not take
stays in memory, in order, and one thread tries again until the store takes it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from .stores.base import Store, StoreClosed

__all__ = ["Backlog", "LogWriter"]

_log = logging.getLogger("streamhttp_client.server")

# Seconds between two tries while the store fails.
_INTERVAL = 0.5
# Bytes of one endpoint that wait for its store; beyond it notifications are dropped, and results are replaced.
_MAX_HELD = 64 << 20
# Seconds after which a result that the store does not take is replaced by a short error, which perhaps has room
# on its disk. A restart of the store takes less; a client's deadline is longer.
_PATIENCE = 20.0


class Backlog:
    """What could not be done because a store failed, and the thread that tries again; it lives only while needed."""

    def __init__(self) -> None:
        # Guards all fields, and tells of a new job and of the end. Never held while a job runs.
        self._changed = threading.Condition(threading.Lock())
        self._jobs: deque[Callable[[], object]] = deque()
        self._thread: threading.Thread | None = None
        self._held = 0
        self._given_up = False

    def add(self, job: Callable[[], object]) -> None:
        """Do this as soon as it can be done. A job that raises is tried again, but for :class:`StoreClosed`."""
        with self._changed:
            self._jobs.append(job)
            if self._thread is None and not self._given_up:
                self._thread = threading.Thread(target=self._work, name="streamhttp-backlog", daemon=True)
                self._thread.start()

    def attempt(self, job: Callable[[], object], what: str) -> None:
        """Do this now, or later if the store fails."""
        try:
            job()
        except StoreClosed:
            _log.debug("%s came after the store was closed", what)
        except Exception:
            _log.warning("the store did not take %s; it is tried again", what, exc_info=True)
            self.add(job)

    def reserve(self, size: int, *, force: bool = False) -> bool:
        """Count bytes that are held; False if they are too many."""
        with self._changed:
            if self._held + size > _MAX_HELD and not force:
                return False
            self._held += size
            return True

    def free(self, size: int) -> None:
        with self._changed:
            self._held -= size

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._jobs or self._given_up:
                    self._thread = None
                    return
                job = self._jobs[0]
            try:
                job()
            except StoreClosed:
                _log.warning("something was left for a store that is closed")
                failed = False
            except Exception:
                _log.debug("the store still fails", exc_info=True)
                failed = True
            else:
                failed = False
            with self._changed:
                self._jobs.popleft()
                if failed:
                    # Behind the others, for which there may be room.
                    self._jobs.append(job)
                    self._changed.wait_for(lambda: self._given_up, _INTERVAL)

    def close(self, timeout: float) -> None:
        """Go on trying for at most ``timeout`` seconds, then let go."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        with self._changed:
            self._given_up = True
            self._changed.notify_all()
            left = len(self._jobs)
        if left:
            _log.error("the store did not come back, %d answers are lost", left)


class _Entry(NamedTuple):
    data: bytes | None
    end: bool
    instead: bytes | None
    since: float


class LogWriter:
    """The one writer of a log. Any thread may call it; the order of the calls is that of the entries."""

    def __init__(self, store: Store, session: str, log: str, backlog: Backlog) -> None:
        self._store = store
        self._session = session
        self._log = log
        self._backlog = backlog
        # Guards the fields below, and keeps the order; held while the store is asked, but not by the thread that tries
        # again: while anything is left, only that one uses the store, and others put what they have behind it.
        self._lock = threading.Lock()
        self._left: deque[_Entry] = deque()
        self._last = 0
        # The last try failed, perhaps only after the store had done it.
        self._in_doubt = False

    def append(
        self, data: bytes | None, *, end: bool = False, droppable: bool = False, instead: bytes | None = None
    ) -> None:
        """Append an entry, at the latest when the store is back. Never raises because of the store.

        Args:
            droppable: Nobody waits for it, so it may be lost if too much is held.
            instead: A short entry for a store that has no room for this one.
        """
        with self._lock:
            if not self._left:
                try:
                    self._put(data, end)
                    return
                except StoreClosed:
                    _log.warning("a handler wrote after its store was closed")
                    return
                except Exception:
                    _log.warning("the store did not take a message; it is tried again", exc_info=True)
                    self._in_doubt = True
            size = 0 if data is None else len(data)
            if not self._backlog.reserve(size, force=not droppable and instead is None):
                if droppable:
                    return
                data, instead = instead, None
                self._backlog.reserve(0 if data is None else len(data), force=True)
            self._left.append(_Entry(data, end, instead, time.monotonic()))
            if len(self._left) == 1:
                self._backlog.add(self._drain)

    @property
    def last(self) -> int:
        """Number of the last entry that the store took."""
        return self._last

    def _put(self, data: bytes | None, end: bool) -> None:
        # 0 says that the log is gone: nobody waits for it any more.
        self._last = max(self._store.append(self._session, self._log, data, end=end), self._last)

    def _drain(self) -> None:
        while True:
            with self._lock:
                if not self._left:
                    return
                entry = self._left[0]
            if not (self._in_doubt and entry.data is not None and self._was_done()):
                self._in_doubt = True
                self._hand_over(entry)
            self._in_doubt = False
            with self._lock:
                self._left.popleft()
            self._backlog.free(0 if entry.data is None else len(entry.data))

    def _hand_over(self, entry: _Entry) -> None:
        try:
            self._put(entry.data, entry.end)
        except StoreClosed:
            raise
        except Exception:
            if entry.instead is None or time.monotonic() - entry.since < _PATIENCE:
                raise
            self._put(entry.instead, entry.end)
            _log.error("the store has no room for a result of %d bytes", len(entry.data or b""))

    def _was_done(self) -> bool:
        """Whether the store did take the entry whose append failed: nobody else writes here."""
        entries = self._store.read(self._session, self._log, self._last).entries
        if entries:
            self._last = entries[-1][0]
        return bool(entries)
