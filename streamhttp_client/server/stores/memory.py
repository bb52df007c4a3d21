"""A store in the memory of one process."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from .base import PAGE_BYTES, PAGE_EVENTS, PROBE_INTERVAL, Page, SessionsFull, State, Store, StoreFull

__all__ = ["MemoryStore"]

# What an entry, a log and a session cost besides their data, in bytes; measured on CPython 3.11, rounded up.
_ENTRY_COST = 64
_LOG_COST = 1024
_SESSION_COST = 1024
# Seconds in which a store that is full of what must stay does not look again: that means walking everything.
_FRUITLESS = 0.1


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
        "runs",
        "size",
        "touched",
    )

    def __init__(self, now: float, *, runs: bool) -> None:
        self.ready = threading.Condition(threading.Lock())
        self.entries: list[bytes] = []
        self.first = 1
        self.size = 0
        #: A call writes it, until it has ended.
        self.runs = runs
        self.ended = self.gone = self.claimed = False
        self.reader = self.position = 0
        self.touched = now

    @property
    def in_use(self) -> bool:
        return self.claimed or self.runs and not self.ended

    @property
    def cost(self) -> int:
        return 0 if self.gone else _LOG_COST + self.size + _ENTRY_COST * len(self.entries)

    def drop(self) -> int:
        """Mark as gone; return what it had cost."""
        with self.ready:
            cost = self.cost
            self.gone = True
            self.entries.clear()
            self.ready.notify_all()
            return cost


def _cost_of(fields: Mapping[str, Any]) -> int:
    return _SESSION_COST + sum(_ENTRY_COST + len(key) + len(repr(value)) for key, value in fields.items())


class _Session:
    __slots__ = ("cost", "fields", "logs", "touched")

    def __init__(self, fields: dict[str, Any], now: float) -> None:
        self.fields = fields
        self.cost = _cost_of(fields)
        self.logs: dict[str, _Log] = {}
        self.touched = now


class MemoryStore(Store):
    """Sessions and events of one process; they end with it.

    What it holds is bounded by ``max_bytes``, and then by the newest event of each unfinished stream; a session
    that is idle and has no recent streams costs at most 2 KiB. What has expired goes when the store is next used.

    Args:
        session_ttl: Seconds after which an unused session is dropped. An open stream counts as use, and so does a call
            that runs.
        log_ttl: Seconds for which the events of a finished stream can still be collected.
        max_sessions: More are refused with 503 until others expire; but where a ``principal=`` or ``bearer=`` tells
            callers apart, one who holds more than an eighth of them loses some to who has less than half as many.
        max_logs: Unfinished streams and running calls of one session; more are refused with 503.
        max_finished: Finished streams that a session keeps, or an eighth more; the oldest are dropped first.
        max_log_events, max_log_bytes: What one stream keeps; the oldest events are dropped first, and a
            client that still needed them is told that the stream is gone.
        max_bytes: What all sessions and streams keep together. Beyond it the oldest finished streams are dropped;
            if that is not enough, unfinished ones keep only their newest events (1/256 of it each), and new
            sessions and streams are refused with 503.
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
        max_bytes: int = 256 << 20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.session_ttl = session_ttl
        self._log_ttl = log_ttl
        self._max_sessions = max_sessions
        self._max_logs = max_logs
        self._max_finished = max_finished
        self._max_log_events = max_log_events
        self._max_log_bytes = max_log_bytes
        self._max_bytes = max_bytes
        self._clock = clock
        self._secret = b""
        # Guards the secret, the two dicts below and each session's dict of logs; held for such operations only.
        self._lock = threading.Lock()
        self._sessions: dict[str, _Session] = {}
        self._swept = clock()
        # Guards the sum of all costs; no other lock is taken while it is held.
        self._sum_lock = threading.Lock()
        self._sum = 0
        # When it was last looked for what can be dropped, and not enough was there.
        self._fruitless = float("-inf")

    def _count(self, change: int) -> None:
        with self._sum_lock:
            self._sum += change

    def _drop(self, logs: Iterable[_Log]) -> None:
        """Drop logs that were taken out of their sessions; no lock is held."""
        self._count(-sum(log.drop() for log in logs))

    def _need_room(self) -> None:
        """Make room if the store is full.

        Raises:
            StoreFull: There is none.
        """
        if self._sum >= self._max_bytes and not self._reclaim():
            raise StoreFull(f"the store holds {self._max_bytes} bytes already")

    def _reclaim(self) -> bool:
        """Drop the oldest finished logs that nobody reads, an eighth more than is needed, since finding them means
        walking everything; return whether there is room now.
        """
        if self._clock() - self._fruitless < _FRUITLESS:
            return False
        dropped: list[_Log] = []
        with self._lock:
            surplus = self._sum - self._max_bytes * 7 // 8
            finished = [
                (log.touched, held, name, log)
                for held in self._sessions.values()
                for name, log in held.logs.items()
                if log.ended and not log.claimed
            ]
            finished.sort(key=lambda found: found[0])
            for _, held, name, log in finished:
                if surplus <= 0:
                    break
                surplus -= log.cost
                dropped.append(held.logs.pop(name))
        self._drop(dropped)
        if self._sum < self._max_bytes:
            return True
        self._fruitless = self._clock()
        return False

    def secret(self) -> bytes:
        with self._lock:
            # Not when the store is made: processes that are forked from this one have each a store of their own.
            self._secret = self._secret or secrets.token_bytes(32)
            return self._secret

    def create_session(self, session: str, fields: Mapping[str, Any]) -> None:
        now = self._clock()
        self._sweep(now)
        self._need_room()
        with self._lock:
            if len(self._sessions) >= self._max_sessions:
                raise SessionsFull(f"there are {self._max_sessions} sessions already")
            held = self._sessions[session] = _Session(dict(fields), now)
        self._count(held.cost)

    def get_session(self, session: str) -> dict[str, Any] | None:
        now = self._clock()
        self._sweep(now)
        with self._lock:
            held = self._sessions.get(session)
            if held is None:
                return None
            if now - held.touched <= self.session_ttl:
                held.touched = now
                return dict(held.fields)
        self._sweep(now, force=True)
        # What runs or is read keeps its session, so the sweep decides.
        with self._lock:
            held = self._sessions.get(session)
            return None if held is None else dict(held.fields)

    def update_session(self, session: str, changes: Mapping[str, Any]) -> bool:
        if any(value is not None for value in changes.values()):
            self._need_room()
        with self._lock:
            held = self._sessions.get(session)
            if held is None:
                return False
            held.fields.update(changes)
            for key in [key for key, value in changes.items() if value is None]:
                del held.fields[key]
            before, held.cost = held.cost, _cost_of(held.fields)
            change = held.cost - before
        self._count(change)
        return True

    def delete_session(self, session: str) -> bool:
        with self._lock:
            held = self._sessions.pop(session, None)
        if held is None:
            return False
        self._count(-held.cost)
        self._drop(held.logs.values())
        return True

    def iter_sessions(self, having: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        self._sweep(self._clock())
        with self._lock:
            found = [(name, dict(held.fields)) for name, held in self._sessions.items()]
        return iter(found)

    def create_log(self, session: str, log: str, *, will: bytes | None = None) -> bool:
        now = self._clock()
        self._sweep(now)
        self._need_room()
        dropped: list[_Log] = []
        with self._lock:
            held = self._sessions.get(session)
            if held is None:
                return False
            # An eighth more than should be there, so that not each new log looks at all others.
            if len(held.logs) >= min(self._max_logs, self._max_finished * 9 // 8):
                dropped = self._make_room(held, now, log.startswith("i"))
            if (old := held.logs.pop(log, None)) is not None:
                dropped.append(old)
            held.logs[log] = _Log(now, runs=will is not None)
        self._count(_LOG_COST)
        self._drop(dropped)
        return True

    def _make_room(self, held: _Session, now: float, inboxes: bool) -> list[_Log]:
        """Take finished logs out of a session that has many; the lock is held."""
        found = [name for name in held.logs if name.startswith("i") is inboxes]
        finished = [name for name in found if held.logs[name].ended]
        if len(found) - len(finished) >= self._max_logs:
            raise StoreFull(f"the session has {self._max_logs} unfinished streams already")
        # Insertion order is age, nearly: a dict keeps it, and logs are short-lived.
        surplus = len(finished) - self._max_finished + 1
        return [
            held.logs.pop(name)
            for index, name in enumerate(finished)
            if index < surplus or now - held.logs[name].touched > self._log_ttl
        ]

    def delete_log(self, session: str, log: str) -> None:
        with self._lock:
            held = self._sessions.get(session)
            found = None if held is None else held.logs.pop(log, None)
        if found is not None:
            self._drop([found])

    def _touch(self, session: str, now: float) -> None:
        """Put off the expiry of a session, one of whose logs has ended or lost its reader. Single assignments, so no
        lock is needed.
        """
        if (held := self._sessions.get(session)) is not None:
            held.touched = now
        self._fruitless = float("-inf")  # that one can be dropped now

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
            before = found.cost
            if data is not None:
                found.entries.append(data)
                found.size += len(data)
                if len(found.entries) > self._max_log_events or found.size > self._max_log_bytes:
                    self._trim(found, self._max_log_bytes)
            found.ended = end
            found.touched = self._clock()
            if end:
                self._touch(session, found.touched)
            found.ready.notify_all()
            number = found.first + len(found.entries) - 1
            self._count(found.cost - before)
        if self._sum > self._max_bytes and not self._reclaim():
            with found.ready:
                before = found.cost
                if not found.gone and found.size > self._max_bytes // 256:
                    self._trim(found, self._max_bytes // 256)
                self._count(found.cost - before)
        return number

    def _trim(self, log: _Log, max_bytes: int) -> None:
        """Drop an eighth at a time, since dropping one by one would move the whole list for each append."""
        surplus = max(len(log.entries) - max(self._max_log_events * 7 // 8, 1), 0)
        size = sum(map(len, log.entries[:surplus]))
        while log.size - size > max_bytes and surplus < len(log.entries) - 1:
            size += len(log.entries[surplus])
            surplus += 1
        del log.entries[:surplus]
        log.first += surplus
        log.size -= size

    def read(
        self,
        session: str,
        log: str,
        after: int,
        *,
        wait: float = 0.0,
        reader: int = 0,
        until: Callable[[], bool] | None = None,
    ) -> Page:
        found = self._find(session, log)
        if found is None:
            return Page([], "gone")
        while True:
            piece = wait if until is None else min(wait, PROBE_INTERVAL)
            with found.ready:
                page = self._page(found, after, reader)
                if page.entries or page.state != "open" or wait <= 0:
                    return page
                if found.ready.wait(piece):
                    return self._page(found, after, reader)
            wait -= piece
            if until is not None and until():
                return page

    def _page(self, log: _Log, after: int, reader: int) -> Page:
        if reader and reader != log.reader:
            return Page([], "taken")
        begin = after + 1 - log.first
        if log.gone or begin < 0 or begin > len(log.entries) or self._has_expired(log, self._clock()):
            return Page([], "gone")
        entries: list[tuple[int, bytes]] = []
        room = PAGE_BYTES
        for data in log.entries[begin : begin + PAGE_EVENTS]:
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
                    self._touch(session, found.touched)

    def position(self, session: str, log: str) -> int | None:
        found = self._find(session, log)
        if found is None:
            return None
        with found.ready:
            return None if found.claimed or found.gone else found.position

    def _has_expired(self, log: _Log, now: float) -> bool:
        return log.ended and not log.claimed and now - log.touched > self._log_ttl

    def _sweep(self, now: float, *, force: bool = False) -> None:
        """Drop what has expired; at most once in a tenth of the shortest life, since it walks everything."""
        with self._lock:
            if not force and now - self._swept < min(self.session_ttl, self._log_ttl) / 10:
                return
            self._swept = now
            expired: list[_Log] = []
            freed = 0
            for name, held in list(self._sessions.items()):
                if any(log.in_use for log in held.logs.values()):
                    held.touched = now
                elif now - held.touched > self.session_ttl:
                    expired.extend(self._sessions.pop(name).logs.values())
                    freed += held.cost
                    continue
                for log_name, log in list(held.logs.items()):
                    if self._has_expired(log, now):
                        expired.append(held.logs.pop(log_name))
        self._count(-freed)
        self._drop(expired)

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
