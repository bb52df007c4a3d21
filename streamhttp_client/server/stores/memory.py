"""A store in the memory of one process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .base import Page, State, Store, StoreFull

__all__ = ["MemoryStore"]

# One page becomes one chunk on the wire; this bounds what a slow reader makes us hold besides the log itself.
_PAGE_EVENTS = 256
_PAGE_BYTES = 1 << 18


class _Log:
    """Entries ``first`` .. ``first + len(entries) - 1``. ``ready`` guards all of it; readers wait on it."""

    __slots__ = (
        "claimed",
        "ended",
        "entries",
        "first",
        "gone",
        "position",
        "reader",
        "ready",
        "size",
        "touched",
    )

    def __init__(self, now: float) -> None:
        self.ready = threading.Condition(threading.Lock())
        self.entries: list[bytes] = []
        self.first = 1
        self.size = 0
        self.ended = self.gone = self.claimed = False
        self.reader = self.position = 0
        self.touched = now

    def drop(self) -> None:
        with self.ready:
            self.gone = True
            self.entries.clear()
            self.ready.notify_all()


class _Session:
    __slots__ = ("fields", "logs", "touched")

    def __init__(self, fields: dict[str, Any], now: float) -> None:
        self.fields = fields
        self.logs: dict[str, _Log] = {}
        self.touched = now


class MemoryStore(Store):
    """Sessions and events of one process; they end with it.

    What it holds is bounded by ``max_sessions * max_logs * max_log_bytes``, the worst case; a session that is
    idle and has no recent streams costs about 1 KiB.

    Args:
        session_ttl: Seconds after which an unused session is dropped. An open stream counts as use.
        log_ttl: Seconds for which the events of a finished stream can still be collected.
        max_sessions: More are refused with 503 until others expire.
        max_logs: Unfinished streams and running calls of one session; more are refused with 503.
        max_finished: Finished streams that a session keeps; the oldest are dropped first.
        max_log_events, max_log_bytes: What one stream keeps; the oldest events are dropped first, and a
            client that still needed them is told that the stream is gone.
        clock: Monotonic seconds; for tests.
    """

    shared = False

    def __init__(
        self,
        *,
        session_ttl: float = 3600.0,
        log_ttl: float = 300.0,
        max_sessions: int = 10_000,
        max_logs: int = 256,
        max_finished: int = 64,
        max_log_events: int = 10_000,
        max_log_bytes: int = 16 << 20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session_ttl = session_ttl
        self._log_ttl = log_ttl
        self._max_sessions = max_sessions
        self._max_logs = max_logs
        self._max_finished = max_finished
        self._max_log_events = max_log_events
        self._max_log_bytes = max_log_bytes
        self._clock = clock
        # Guards the two dicts below and each session's dict of logs; held for dict operations only.
        self._lock = threading.Lock()
        self._sessions: dict[str, _Session] = {}
        self._swept = clock()

    def create_session(self, session: str, fields: Mapping[str, Any]) -> None:
        now = self._clock()
        self._sweep(now)
        with self._lock:
            if len(self._sessions) >= self._max_sessions:
                raise StoreFull(f"there are {self._max_sessions} sessions already")
            self._sessions[session] = _Session(dict(fields), now)

    def get_session(self, session: str) -> dict[str, Any] | None:
        now = self._clock()
        with self._lock:
            held = self._sessions.get(session)
            if held is None:
                return None
            if now - held.touched <= self._session_ttl:
                held.touched = now
                return dict(held.fields)
        self._sweep(now, force=True)
        # An open stream keeps its session, so the sweep decides.
        with self._lock:
            held = self._sessions.get(session)
            return None if held is None else dict(held.fields)

    def update_session(self, session: str, changes: Mapping[str, Any]) -> bool:
        with self._lock:
            held = self._sessions.get(session)
            if held is not None:
                held.fields.update(changes)
                for key in [key for key, value in changes.items() if value is None]:
                    del held.fields[key]
            return held is not None

    def delete_session(self, session: str) -> bool:
        with self._lock:
            held = self._sessions.pop(session, None)
        if held is None:
            return False
        for log in held.logs.values():
            log.drop()
        return True

    def iter_sessions(self) -> Iterator[tuple[str, dict[str, Any]]]:
        with self._lock:
            found = [(name, dict(held.fields)) for name, held in self._sessions.items()]
        return iter(found)

    def create_log(self, session: str, log: str, *, will: bytes | None = None) -> bool:
        now = self._clock()
        dropped: list[_Log] = []
        with self._lock:
            held = self._sessions.get(session)
            if held is None:
                return False
            if len(held.logs) >= min(self._max_logs, self._max_finished):
                dropped = self._make_room(held, now)
            if (old := held.logs.pop(log, None)) is not None:
                dropped.append(old)
            held.logs[log] = _Log(now)
        for old in dropped:
            old.drop()
        return True

    def _make_room(self, held: _Session, now: float) -> list[_Log]:
        """Take finished logs out of a session that has many; the lock is held."""
        finished = [name for name, log in held.logs.items() if log.ended]
        if len(held.logs) - len(finished) >= self._max_logs:
            raise StoreFull(f"the session has {self._max_logs} unfinished streams already")
        # Insertion order is age, nearly: a dict keeps it, and logs are short-lived.
        surplus = len(finished) - self._max_finished + 1
        return [
            held.logs.pop(name)
            for index, name in enumerate(finished)
            if index < surplus or now - held.logs[name].touched > self._log_ttl
        ]

    def _find(self, session: str, log: str) -> _Log | None:
        held = self._sessions.get(session)
        return None if held is None else held.logs.get(log)

    def append(self, session: str, log: str, data: bytes | None, *, end: bool = False) -> int:
        found = self._find(session, log)
        if found is None:
            return 0
        with found.ready:
            if found.ended or found.gone:
                return 0
            if data is not None:
                found.entries.append(data)
                found.size += len(data)
                if len(found.entries) > self._max_log_events or found.size > self._max_log_bytes:
                    self._trim(found)
            found.ended = end
            found.touched = self._clock()
            found.ready.notify_all()
            return found.first + len(found.entries) - 1

    def _trim(self, log: _Log) -> None:
        """Drop an eighth at a time, since dropping one by one would move the whole list for each append."""
        surplus = max(len(log.entries) - self._max_log_events * 7 // 8, 0)
        size = sum(map(len, log.entries[:surplus]))
        while log.size - size > self._max_log_bytes and surplus < len(log.entries) - 1:
            size += len(log.entries[surplus])
            surplus += 1
        del log.entries[:surplus]
        log.first += surplus
        log.size -= size

    def read(self, session: str, log: str, after: int, *, wait: float = 0.0, reader: int = 0) -> Page:
        found = self._find(session, log)
        if found is None:
            return Page([], "gone")
        with found.ready:
            page = self._page(found, after, reader)
            if not page.entries and page.state == "open" and wait > 0:
                found.ready.wait(wait)
                page = self._page(found, after, reader)
            return page

    def _page(self, log: _Log, after: int, reader: int) -> Page:
        if reader and reader != log.reader:
            return Page([], "taken")
        begin = after + 1 - log.first
        if log.gone or begin < 0 or begin > len(log.entries):
            return Page([], "gone")
        entries: list[tuple[int, bytes]] = []
        room = _PAGE_BYTES
        for data in log.entries[begin : begin + _PAGE_EVENTS]:
            entries.append((after + len(entries) + 1, data))
            room -= len(data)
            if room <= 0:
                break
        state: State = "ended" if log.ended and begin + len(entries) == len(log.entries) else "open"
        return Page(entries, state)

    def claim(self, session: str, log: str) -> int:
        found = self._find(session, log)
        if found is None:
            return 0
        with found.ready:
            found.reader += 1
            found.claimed = True
            found.ready.notify_all()
            return found.reader

    def release(self, session: str, log: str, reader: int, position: int) -> None:
        found = self._find(session, log)
        if found is not None:
            with found.ready:
                if found.reader == reader:
                    found.claimed = False
                    found.position = position
                    found.touched = self._clock()

    def position(self, session: str, log: str) -> int | None:
        found = self._find(session, log)
        if found is None:
            return None
        with found.ready:
            return None if found.claimed or found.gone else found.position

    def _sweep(self, now: float, *, force: bool = False) -> None:
        """Drop what has expired; at most once in a tenth of the shortest life, since it walks everything."""
        with self._lock:
            if not force and now - self._swept < min(self._session_ttl, self._log_ttl) / 10:
                return
            self._swept = now
            expired: list[_Log] = []
            for name, held in list(self._sessions.items()):
                open_logs = [log for log in held.logs.values() if log.claimed or not log.ended]
                if now - held.touched > self._session_ttl and not any(log.claimed for log in open_logs):
                    expired.extend(self._sessions.pop(name).logs.values())
                    continue
                for log_name, log in list(held.logs.items()):
                    if log.ended and not log.claimed and now - log.touched > self._log_ttl:
                        expired.append(held.logs.pop(log_name))
        for log in expired:
            log.drop()

    def wake(self) -> None:
        with self._lock:
            logs = [log for held in self._sessions.values() for log in held.logs.values()]
        for log in logs:
            with log.ready:
                log.ready.notify_all()

    def close(self) -> None:
        with self._lock:
            names = list(self._sessions)
        for name in names:
            self.delete_session(name)
