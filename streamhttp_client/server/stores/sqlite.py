"""A store in an SQLite file: for several processes on one machine, and for restarts.

Every change counts up one number, and each changed log remembers the number of its change. A thread per
process looks every few milliseconds whether another process has written (``PRAGMA data_version`` tells
without reading the file), and then wakes who waits for the logs with higher numbers. Changes of the own
process wake at once.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ...exceptions import LocalProtocolError
from .base import PAGE_BYTES, PAGE_EVENTS, Page, SessionsFull, State, StoreFull, StoreUnavailable
from .shared import LIFE_LOOK, LOOK, SharedStore
from .sqlite_file import BUSY_TIMEOUT, Connection, next_change, translated
from .sqlite_room import ENTRY_COST, LOG_COST, SESSION_COST, Room

__all__ = ["SQLiteStore"]

_log = logging.getLogger("streamhttp_client.server")

# Seconds between two looks for changes of other processes, while somebody waits: a fiftieth of the time since the last
# change, within these bounds. An idle process needs 0.6 % of a core for it; looking each 5 ms it would be 3 %.
_POLL, _SLOW_POLL = 0.005, 0.025
# And while nobody does.
_IDLE_POLL = 0.05
# Seconds without anybody who waits after which it is looked no more, until somebody does.
_WAKEFUL = 1.0

# The sessions to one of whose streams somebody is connected, or one of whose calls runs; in processes that were seen
# after a moment.
_USED = (
    "SELECT session FROM logs JOIN workers ON worker = reading OR (worker = writer AND will IS NOT NULL AND NOT ended)"
    " WHERE NOT gone AND seen > ?"
)


class SQLiteStore(SharedStore[Connection]):
    """Sessions and events in a file. Give each process its own object on the same path, or fork with one.

    Args:
        path: The file; it is made if it is not there. It holds session ids and what signs ``requestState``: keep it
            readable for the service alone.
        session_ttl, log_ttl, max_sessions, max_logs, max_finished, max_log_events, max_log_bytes, max_bytes: As for
            :class:`MemoryStore`. The file stays below twice ``max_bytes``, since pages are not always full.
        worker_timeout: Seconds without a sign of life after which a process counts as dead, and its calls as
            failed.
        clock: Seconds since the epoch, since processes must agree on it; for tests.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        session_ttl: float = 3600.0,
        log_ttl: float = 300.0,
        max_sessions: int = 10_000,
        max_logs: int = 256,
        max_finished: int = 64,
        max_log_events: int = 10_000,
        max_log_bytes: int = 16 << 20,
        max_bytes: int = 1 << 30,
        worker_timeout: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(worker_timeout)
        self._path = os.fspath(path)
        if self._path in ("", ":memory:"):
            raise LocalProtocolError("a store in memory is a MemoryStore; this one needs a file")
        self.session_ttl: float = session_ttl
        self._log_ttl = log_ttl
        self._max_sessions = max_sessions
        self._max_logs = max_logs
        self._max_finished = max_finished
        self._max_log_bytes = max_log_bytes
        self._max_bytes = max_bytes
        self._clock = clock
        self._room = Room(max_bytes=max_bytes, max_log_events=max_log_events, living=self._living, clock=clock)
        self._changed = 0
        # When this process last gave a sign of life, and from when on it may take others for dead; by the clock.
        self._beaten = clock()
        self._judging = float("-inf")
        if not os.path.exists(self._path):
            # Made with these rights and not by SQLite, so that it is never open to others, not even for a
            # moment.
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))

    # The connection.

    def _connect(self) -> Connection:
        with translated():
            connection = Connection(self._path)
            try:
                self._beaten = self._clock()  # the time before the first use is no gap
                connection.prepare()
                self._beat(connection)
            except BaseException:
                connection.close()
                raise
            return connection

    def _reading(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._open().read()

    def _writing(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._open().write()

    def _watch(self, connection: Connection) -> None:
        version = beaten = swept = 0.0
        waited = changed = time.monotonic()
        while not connection.stop.wait(_pause(time.monotonic() - changed) if len(self._waiters) else _IDLE_POLL):
            now = time.monotonic()
            if len(self._waiters):
                waited = now
            elif now - waited > _WAKEFUL:
                self._waiters.begun.clear()
                if not len(self._waiters) and not connection.stop.is_set():
                    self._waiters.begun.wait(self._heartbeat / 2)
            try:
                with connection.read() as sql:
                    (found,) = sql.execute("PRAGMA data_version").fetchone()
                if found != version:
                    version, changed = found, now
                    self._wake_changed(connection)
                if now - beaten >= self._heartbeat:
                    with connection.lock:
                        self._beat(connection)
                    beaten = now  # only now: a sign of life that failed is given again
                if now - swept >= min(self.session_ttl, self._log_ttl) / 10:
                    swept = now
                    self._sweep(connection)
            except (sqlite3.Error, StoreUnavailable):
                # The file may be locked for long, or the disk full; the next round tries again.
                self._note(connection, failed=True)
            else:
                self._note(connection, failed=False)

    def _beat(self, connection: Connection) -> None:
        now = self._clock()
        self._living()  # notices a gap, which is over then
        connection.sql.execute("INSERT OR REPLACE INTO workers (worker, seen) VALUES (?, ?)", (connection.worker, now))
        self._beaten = now

    def _wake_changed(self, connection: Connection) -> None:
        with connection.read() as sql:
            rows = sql.execute("SELECT session, log, changed FROM logs WHERE changed > ?", (self._changed,)).fetchall()
        for _, _, changed in rows:
            self._changed = max(self._changed, changed)
        self._waiters.wake((session, log) for session, log, _ in rows)

    def _living(self) -> float:
        """Processes that were seen after this moment are alive."""
        now = self._clock()
        if abs(now - self._beaten) > self._worker_timeout / 2:
            # This process has not run for a while: the machine slept, or the file was locked. Then the others
            # may not have run either, and get the time for a sign of life before they count as dead.
            self._judging = max(self._judging, now + self._worker_timeout / 2)
            return float("-inf")
        return float("-inf") if now < self._judging else now - self._worker_timeout

    def secret(self) -> bytes:
        with self._reading() as sql:
            row = sql.execute("SELECT value FROM secret").fetchone()
        if row is None:
            with self._writing() as sql:
                # Several may come here at the same time.
                sql.execute("INSERT OR IGNORE INTO secret VALUES (1, ?)", (secrets.token_bytes(32),))
                row = sql.execute("SELECT value FROM secret").fetchone()
        return bytes(row[0])

    # Sessions.

    def create_session(self, session: str, fields: Mapping[str, Any]) -> None:
        text = json.dumps(dict(fields))
        with self._writing() as sql:
            (count,) = sql.execute("SELECT count(*) FROM sessions").fetchone()
            if count >= self._max_sessions:
                raise SessionsFull(f"there are {self._max_sessions} sessions already")
            dropped = self._room.need(sql)
            sql.execute("INSERT INTO sessions VALUES (?, ?, ?)", (session, text, self._clock()))
            self._room.count(sql, SESSION_COST + len(text))
        self._waiters.wake(dropped)

    def get_session(self, session: str) -> dict[str, Any] | None:
        now = self._clock()
        with self._reading() as sql:
            row = sql.execute("SELECT fields, touched FROM sessions WHERE session = ?", (session,)).fetchone()
            if row is None:
                return None
            fields, touched = row
            if now - touched > self.session_ttl and not self._is_used(sql, session):
                return None
        if now - touched > self.session_ttl / 10:
            # Not each time: reads are cheap, writes wait for each other.
            self._note_use(session, now)
        found: dict[str, Any] = json.loads(fields)
        return found

    def _note_use(self, session: str, now: float) -> None:
        """Put off the expiry, unless that has to wait for somebody else; then the next request does."""
        connection = self._open()
        if not connection.lock.acquire(blocking=False):
            return
        try:
            connection.sql.execute("PRAGMA busy_timeout = 0")
            with connection.write() as sql:
                self._touch(sql, session, now)
        except StoreUnavailable:
            _log.debug("the store could not note the use of a session", exc_info=True)
        finally:
            connection.sql.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}")
            connection.lock.release()

    def _touch(self, sql: sqlite3.Connection, session: str, now: float) -> None:
        sql.execute("UPDATE sessions SET touched = ? WHERE session = ? AND touched < ?", (now, session, now))

    def _is_used(self, sql: sqlite3.Connection, session: str) -> bool:
        return sql.execute(f"{_USED} AND session = ?", (self._living(), session)).fetchone() is not None

    def update_session(self, session: str, changes: Mapping[str, Any]) -> bool:
        with self._writing() as sql:
            row = sql.execute("SELECT fields FROM sessions WHERE session = ?", (session,)).fetchone()
            if row is None:
                return False
            fields = {**json.loads(row[0]), **changes}
            kept = json.dumps({key: value for key, value in fields.items() if value is not None})
            dropped = self._room.need(sql) if len(kept) > len(row[0]) else []
            sql.execute("UPDATE sessions SET fields = ? WHERE session = ?", (kept, session))
            self._room.count(sql, len(kept) - len(row[0]))
        self._waiters.wake(dropped)
        return True

    def delete_session(self, session: str) -> bool:
        with self._writing() as sql:
            found, logs = self._drop_session(sql, session)
        self._waiters.wake(logs)
        return found

    def _drop_session(self, sql: sqlite3.Connection, session: str) -> tuple[bool, list[tuple[str, str]]]:
        row = sql.execute("DELETE FROM sessions WHERE session = ? RETURNING length(fields)", (session,)).fetchone()
        if row is not None:
            self._room.count(sql, -SESSION_COST - row[0])
        return row is not None, self._room.drop_logs(sql, "session = ?", session)

    def iter_sessions(self, having: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        with self._reading() as sql:
            found = "SELECT session, fields FROM sessions WHERE instr(fields, ?)"
            rows = sql.execute(found, (json.dumps(having)[:-1] if having else "",)).fetchall()
        for session, fields in rows:
            yield session, json.loads(fields)

    # Logs.

    def create_log(self, session: str, log: str, *, will: bytes | None = None) -> bool:
        worker = self._open().worker
        with self._writing() as sql:
            if sql.execute("SELECT 1 FROM sessions WHERE session = ?", (session,)).fetchone() is None:
                return False
            dropped = self._room.drop_logs(sql, "session = ? AND log = ?", session, log)
            kind = "session = ? AND (substr(log, 1, 1) = 'i') = (substr(?, 1, 1) = 'i') AND NOT gone"
            counts = sql.execute(
                f"SELECT count(*), count(*) FILTER (WHERE ended) FROM logs WHERE {kind}", (session, log)
            ).fetchone()
            if counts[0] - counts[1] >= self._max_logs:
                raise StoreFull(f"the session has {self._max_logs} unfinished streams already")
            dropped += self._room.need(sql)
            if counts[1] >= self._max_finished:
                dropped += self._room.drop_logs(
                    sql,
                    f"id IN (SELECT id FROM logs WHERE {kind} AND ended ORDER BY id LIMIT ?)",
                    session,
                    log,
                    counts[1] - self._max_finished + 1,
                )
            self._room.bury(sql, "session = ? AND log = ?", session, log)
            self._room.count(sql, LOG_COST)
            sql.execute(
                "INSERT INTO logs (session, log, writer, will, touched, changed) VALUES (?, ?, ?, ?, ?, ?)",
                (session, log, worker, will, self._clock(), next_change(sql)),
            )
        self._waiters.wake(dropped)
        return True

    def delete_log(self, session: str, log: str) -> None:
        with self._writing() as sql:
            dropped = self._room.drop_logs(sql, "session = ? AND log = ?", session, log)
        self._waiters.wake(dropped)

    def append(self, session: str, log: str, data: bytes | None, *, end: bool = False) -> int:
        with self._writing() as sql:
            row = sql.execute(
                "SELECT id, last, first, size FROM logs WHERE session = ? AND log = ? AND NOT ended AND NOT gone",
                (session, log),
            ).fetchone()
            if row is None:
                return 0
            number, dropped = self._append(sql, row, data, end)
            if end:
                self._touch(sql, session, self._clock())
        self._waiters.wake([(session, log), *dropped])
        return number

    def _append(
        self, sql: sqlite3.Connection, row: tuple[int, int, int, int], data: bytes | None, end: bool
    ) -> tuple[int, list[tuple[str, str]]]:
        log, last, first, size = row
        held = 0
        if data is not None:
            last += 1
            size += len(data)
            sql.execute("INSERT INTO entries VALUES (?, ?, ?)", (log, last, data))
            held = self._room.count(sql, len(data) + ENTRY_COST)
        first, size = self._room.trim(sql, log, first, last, size, self._max_log_bytes)
        sql.execute(
            "UPDATE logs SET last = ?, first = ?, size = ?, ended = ?, touched = ?, changed = ? WHERE id = ?",
            (last, first, size, end, self._clock(), next_change(sql), log),
        )
        if held <= self._max_bytes:
            return last, []
        dropped = self._room.reclaim(sql, held)
        if self._room.count(sql, 0) > self._max_bytes:
            first, size = self._room.trim(sql, log, first, last, size, self._max_bytes // 256)
            sql.execute("UPDATE logs SET first = ?, size = ? WHERE id = ?", (first, size, log))
        return last, dropped

    def _read(self, session: str, log: str, after: int, reader: int) -> tuple[Page, float]:
        orphaned, patience = False, LOOK
        with self._reading() as sql:
            row = sql.execute(
                "SELECT id, first, last, ended, reader, will, writer FROM logs"
                " WHERE session = ? AND log = ? AND NOT gone",
                (session, log),
            ).fetchone()
            if row is None:
                return Page([], "gone"), 0.0
            number, first, last, ended, current, will, writer = row
            if reader and reader != current:
                return Page([], "taken"), 0.0
            if not first - 1 <= after <= last:
                return Page([], "gone"), 0.0
            entries: list[tuple[int, bytes]] = []
            if after < last:
                room = PAGE_BYTES
                found = sql.execute(
                    "SELECT number, data FROM entries WHERE log = ? AND number > ? ORDER BY number LIMIT ?",
                    (number, after, PAGE_EVENTS),
                )
                for entry in found:
                    if entry[0] != after + len(entries) + 1:
                        break  # dropped between the two looks, so the next read finds a log that begins later
                    entries.append(entry)
                    room -= len(entry[1])
                    if room <= 0:
                        break
                found.close()
            elif not ended and will is not None and not self._is_own(writer):
                orphaned, patience = not self._is_alive(sql, writer), LIFE_LOOK
        if orphaned:
            self._execute_will(session, log, will)
            return self._read(session, log, after, reader)
        state: State = "ended" if ended and after + len(entries) == last else "open"
        return Page(entries, state), patience

    def _is_own(self, worker: str) -> bool:
        own = self._connection
        return own is not None and own.worker == worker

    def _is_alive(self, sql: sqlite3.Connection, worker: str) -> bool:
        if self._is_own(worker):
            return True  # who asks is alive, however long its last sign of life is ago
        row = sql.execute("SELECT 1 FROM workers WHERE worker = ? AND seen > ?", (worker, self._living())).fetchone()
        return row is not None

    def _execute_will(self, session: str, log: str, will: bytes) -> None:
        # If two processes come here, the log has ended when the second appends, which then does nothing.
        self.append(session, log, will, end=True)

    def claim(self, session: str, log: str) -> int:
        worker = self._open().worker
        with self._writing() as sql:
            row = sql.execute(
                "UPDATE logs SET reader = reader + 1, reading = ?, changed = ?"
                " WHERE session = ? AND log = ? AND NOT gone RETURNING reader",
                (worker, next_change(sql), session, log),
            ).fetchone()
        self._waiters.wake([(session, log)])
        return 0 if row is None else int(row[0])

    def release(self, session: str, log: str, reader: int, position: int) -> None:
        now = self._clock()
        with self._writing() as sql:
            sql.execute(
                "UPDATE logs SET reading = NULL, position = ?, touched = ?"
                " WHERE session = ? AND log = ? AND reader = ?",
                (position, now, session, log, reader),
            )
            self._touch(sql, session, now)

    def position(self, session: str, log: str) -> int | None:
        with self._reading() as sql:
            row = sql.execute(
                "SELECT position, reading FROM logs WHERE session = ? AND log = ? AND NOT gone", (session, log)
            ).fetchone()
            if row is None or row[1] is not None and self._is_alive(sql, row[1]):
                return None
            return int(row[0])

    # The rest.

    def _sweep(self, connection: Connection) -> None:
        """Drop what has expired, and the rows of what was dropped a while ago."""
        now = self._clock()
        with connection.write() as sql:
            unread = "NOT EXISTS (SELECT 1 FROM workers WHERE worker = reading AND seen > ?)"
            self._room.bury(sql, "touched < ?", now - self._log_ttl)
            sql.execute("DELETE FROM workers WHERE seen < ?", (self._living() - 9 * self._worker_timeout,))
            dropped = self._room.drop_logs(
                sql, f"ended AND touched < ? AND {unread}", now - self._log_ttl, self._living()
            )
            # What processes that have died left unfinished, with nobody coming to execute their wills.
            dead = "NOT EXISTS (SELECT 1 FROM workers WHERE worker = writer AND seen > ?)"
            dropped += self._room.drop_logs(
                sql,
                f"NOT ended AND touched < ? AND {unread} AND {dead}",
                now - max(self._log_ttl, self._worker_timeout),
                self._living(),
                self._living(),
            )
            used = f"UPDATE sessions SET touched = ? WHERE touched < ? AND session IN ({_USED})"
            sql.execute(used, (now, now - self.session_ttl / 2, self._living()))
            old = sql.execute("SELECT session FROM sessions WHERE touched < ?", (now - self.session_ttl,)).fetchall()
            for (session,) in old:
                dropped += self._drop_session(sql, session)[1]
        self._waiters.wake(dropped)

    def _interrupt(self, connection: Connection) -> None:
        self._waiters.begun.set()

    def _leave(self, connection: Connection) -> None:
        with connection.lock, connection.read_lock:
            try:
                connection.sql.execute("DELETE FROM workers WHERE worker = ?", (connection.worker,))
            except sqlite3.DatabaseError:
                _log.warning("the store could not say goodbye", exc_info=True)
            connection.close()


def _pause(quiet: float) -> float:
    """Seconds until the next look, after some without a change."""
    return min(max(quiet / 50, _POLL), _SLOW_POLL)
