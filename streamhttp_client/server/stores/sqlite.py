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
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...exceptions import LocalProtocolError
from .base import Page, State, Store, StoreClosed, StoreFull, StoreUnavailable
from .waiting import Waiters

__all__ = ["SQLiteStore"]

_log = logging.getLogger("streamhttp_client.server")

# One page becomes one chunk on the wire.
_PAGE_EVENTS = 256
_PAGE_BYTES = 1 << 18
# Seconds between two looks for changes of other processes, while somebody waits.
_POLL = 0.005
# Seconds between two signs of life of a process.
_HEARTBEAT = 2.0
# Seconds that a write waits for those of other processes.
_BUSY_TIMEOUT = 10.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS changes (number INTEGER NOT NULL);
INSERT INTO changes SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM changes);
CREATE TABLE IF NOT EXISTS workers (worker TEXT PRIMARY KEY, seen REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sessions (
    session TEXT PRIMARY KEY, fields TEXT NOT NULL, touched REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS logs (
    id INTEGER PRIMARY KEY, session TEXT NOT NULL, log TEXT NOT NULL,
    first INTEGER NOT NULL DEFAULT 1, last INTEGER NOT NULL DEFAULT 0, size INTEGER NOT NULL DEFAULT 0,
    ended INTEGER NOT NULL DEFAULT 0, gone INTEGER NOT NULL DEFAULT 0,
    reader INTEGER NOT NULL DEFAULT 0, reading TEXT, position INTEGER NOT NULL DEFAULT 0,
    writer TEXT NOT NULL, will BLOB, touched REAL NOT NULL, changed INTEGER NOT NULL,
    UNIQUE (session, log));
CREATE INDEX IF NOT EXISTS logs_changed ON logs (changed);
CREATE TABLE IF NOT EXISTS entries (
    log INTEGER NOT NULL, number INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (log, number)) WITHOUT
    ROWID;
"""


class _Connection:
    """One process's connections, and the name under which it is known to the others.

    One connection writes and one reads, so that reads go on while a write waits for another process. Each has a
    lock that guards it: a statement takes microseconds, and a connection for each thread would cost more than it
    gives, since SQLite lets one write at a time anyway. Nobody who holds the lock of the reads may ask for the
    other.
    """

    def __init__(self, path: str) -> None:
        self.process = os.getpid()
        self.worker = secrets.token_hex(8)
        self.lock = threading.RLock()
        self.sql = sqlite3.connect(path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        _patiently(lambda: self.sql.execute("PRAGMA journal_mode = WAL"))
        # What the last milliseconds before a power cut wrote may be lost, never the file's consistency.
        self.sql.execute("PRAGMA synchronous = NORMAL")
        self.read_lock = threading.Lock()
        self.reading = sqlite3.connect(path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        self.reading.execute("PRAGMA query_only = 1")
        self.stop = threading.Event()
        self.thread: threading.Thread | None = None


def _patiently(change: Callable[[], object]) -> None:
    """Change the journal mode, which does not wait by itself while another process does the same."""
    deadline = time.monotonic() + _BUSY_TIMEOUT
    while True:
        try:
            change()
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _translated(error: sqlite3.DatabaseError) -> Exception:
    """What the server says: the file is locked for too long, broken, or its disk is full. Or the error is ours."""
    if isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError:
        return StoreUnavailable("the store does not answer")
    return error


class SQLiteStore(Store):
    """Sessions and events in a file. Give each process its own object on the same path, or fork with one.

    Args:
        path: The file; it is made if it is not there. It holds session ids: keep it readable for the service
            alone.
        session_ttl, log_ttl, max_sessions, max_logs, max_finished, max_log_events, max_log_bytes: As for
            :class:`MemoryStore`.
        worker_timeout: Seconds without a sign of life after which a process counts as dead, and its calls as
            failed.
        clock: Seconds since the epoch, since processes must agree on it; for tests.
    """

    shared = True

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
        worker_timeout: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = os.fspath(path)
        if self._path in ("", ":memory:"):
            raise LocalProtocolError("a store in memory is a MemoryStore; this one needs a file")
        self._session_ttl = session_ttl
        self._log_ttl = log_ttl
        self._max_sessions = max_sessions
        self._max_logs = max_logs
        self._max_finished = max_finished
        self._max_log_events = max_log_events
        self._max_log_bytes = max_log_bytes
        self._worker_timeout = worker_timeout
        self._heartbeat = min(_HEARTBEAT, worker_timeout / 5)
        self._clock = clock
        self._waiters = Waiters()
        self._changed = 0
        # When this process last gave a sign of life, and from when on it may take others for dead; by the clock.
        self._beaten = clock()
        self._judging = float("-inf")
        # Guards the making of the connection.
        self._lock = threading.Lock()
        self._connection: _Connection | None = None
        self._closed = False
        if not os.path.exists(self._path):
            # Made with these rights and not by SQLite, so that it is never open to others, not even for a
            # moment.
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))

    # The connection.

    def _open(self) -> _Connection:
        connection = self._connection
        if connection is not None and connection.process == os.getpid():
            return connection
        with self._lock:
            connection = self._connection
            if connection is None or connection.process != os.getpid():
                if self._closed:
                    raise StoreClosed("the store is closed")
                # After a fork: "Do not open an SQLite database connection, then fork(2), then try to use that
                # database connection in the child process" (sqlite.org, How To Corrupt). The parent's is left
                # as it is.
                self._waiters = Waiters()
                try:
                    connection = _Connection(self._path)
                    self._beaten = self._clock()  # the time before the first use is no gap
                    connection.sql.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
                    self._beat(connection)
                except sqlite3.DatabaseError as error:
                    raise _translated(error) from error
                connection.thread = threading.Thread(
                    target=self._watch, args=(connection,), name="streamhttp-store", daemon=True
                )
                connection.thread.start()
                self._connection = connection
            return connection

    @contextmanager
    def _reading(self, connection: _Connection | None = None) -> Iterator[sqlite3.Connection]:
        connection = connection or self._open()
        with connection.read_lock:
            try:
                yield connection.reading
            except sqlite3.DatabaseError as error:
                raise _translated(error) from error

    @contextmanager
    def _writing(self, connection: _Connection | None = None) -> Iterator[sqlite3.Connection]:
        connection = connection or self._open()
        with connection.lock:
            try:
                connection.sql.execute("BEGIN IMMEDIATE")
                yield connection.sql
                connection.sql.execute("COMMIT")
            except BaseException as error:
                # A failed COMMIT leaves the transaction open too; and SQLite may have ended it by itself.
                if connection.sql.in_transaction:
                    connection.sql.execute("ROLLBACK")
                if isinstance(error, sqlite3.DatabaseError):
                    raise _translated(error) from error
                raise

    def _watch(self, connection: _Connection) -> None:
        """The thread of the store: signs of life, changes of others, and what has expired."""
        version = beaten = swept = 0.0
        while not connection.stop.wait(_POLL if len(self._waiters) else _POLL * 10):
            try:
                now = time.monotonic()
                with self._reading(connection) as sql:
                    (found,) = sql.execute("PRAGMA data_version").fetchone()
                if found != version:
                    version = found
                    self._wake_changed(connection)
                if now - beaten >= self._heartbeat:
                    with connection.lock:
                        self._beat(connection)
                    beaten = now  # only now: a sign of life that failed is given again
                if now - swept >= min(self._session_ttl, self._log_ttl) / 10:
                    swept = now
                    self._sweep(connection)
            except (sqlite3.Error, StoreUnavailable):
                # The file may be locked for long, or the disk full; the next round tries again.
                _log.exception("the store could not look for changes")

    def _beat(self, connection: _Connection) -> None:
        now = self._clock()
        self._living()  # notices a gap, which is over then
        connection.sql.execute("INSERT OR REPLACE INTO workers (worker, seen) VALUES (?, ?)", (connection.worker, now))
        self._beaten = now

    def _wake_changed(self, connection: _Connection) -> None:
        with self._reading(connection) as sql:
            rows = sql.execute("SELECT session, log, changed FROM logs WHERE changed > ?", (self._changed,)).fetchall()
        for _, _, changed in rows:
            self._changed = max(self._changed, changed)
        self._waiters.wake((session, log) for session, log, _ in rows)

    def _next_change(self, sql: sqlite3.Connection) -> int:
        sql.execute("UPDATE changes SET number = number + 1")
        (number,) = sql.execute("SELECT number FROM changes").fetchone()
        return int(number)

    def _living(self) -> float:
        """Processes that were seen after this moment are alive."""
        now = self._clock()
        if abs(now - self._beaten) > self._worker_timeout / 2:
            # This process has not run for a while: the machine slept, or the file was locked. Then the others
            # may not have run either, and get the time for a sign of life before they count as dead.
            self._judging = max(self._judging, now + self._worker_timeout / 2)
            return float("-inf")
        return float("-inf") if now < self._judging else now - self._worker_timeout

    # Sessions.

    def create_session(self, session: str, fields: Mapping[str, Any]) -> None:
        with self._writing() as sql:
            (count,) = sql.execute("SELECT count(*) FROM sessions").fetchone()
            if count >= self._max_sessions:
                raise StoreFull(f"there are {self._max_sessions} sessions already")
            sql.execute("INSERT INTO sessions VALUES (?, ?, ?)", (session, json.dumps(dict(fields)), self._clock()))

    def get_session(self, session: str) -> dict[str, Any] | None:
        now = self._clock()
        with self._reading() as sql:
            row = sql.execute("SELECT fields, touched FROM sessions WHERE session = ?", (session,)).fetchone()
            if row is None:
                return None
            fields, touched = row
            if now - touched > self._session_ttl and not self._is_read(sql, session):
                return None
        if now - touched > self._session_ttl / 10:
            # Not each time: reads are cheap, writes wait for each other.
            try:
                with self._writing() as sql:
                    sql.execute("UPDATE sessions SET touched = ? WHERE session = ?", (now, session))
            except StoreUnavailable:
                # The request may go on; the next one puts the expiry off.
                _log.debug("the store could not note the use of a session", exc_info=True)
        found: dict[str, Any] = json.loads(fields)
        return found

    def _is_read(self, sql: sqlite3.Connection, session: str) -> bool:
        """Whether somebody is connected to one of the session's streams."""
        return (
            sql.execute(
                "SELECT 1 FROM logs JOIN workers ON reading = worker WHERE session = ? AND seen > ?",
                (session, self._living()),
            ).fetchone()
            is not None
        )

    def update_session(self, session: str, changes: Mapping[str, Any]) -> bool:
        with self._writing() as sql:
            row = sql.execute("SELECT fields FROM sessions WHERE session = ?", (session,)).fetchone()
            if row is None:
                return False
            fields = {**json.loads(row[0]), **changes}
            kept = json.dumps({key: value for key, value in fields.items() if value is not None})
            sql.execute("UPDATE sessions SET fields = ? WHERE session = ?", (kept, session))
            return True

    def delete_session(self, session: str) -> bool:
        with self._writing() as sql:
            found = sql.execute("DELETE FROM sessions WHERE session = ?", (session,)).rowcount > 0
            logs = self._drop_logs(sql, "session = ?", session)
        self._waiters.wake(logs)
        return found

    def _drop_logs(self, sql: sqlite3.Connection, which: str, *values: Any) -> list[tuple[str, str]]:
        """Empty logs and mark them as gone; their rows stay for a while, so that other processes notice."""
        rows = sql.execute(f"SELECT id, session, log FROM logs WHERE NOT gone AND ({which})", values).fetchall()
        if rows:
            change = self._next_change(sql)
            now = self._clock()
            for number, _, _ in rows:
                sql.execute("DELETE FROM entries WHERE log = ?", (number,))
                sql.execute("UPDATE logs SET gone = 1, changed = ?, touched = ? WHERE id = ?", (change, now, number))
        return [(session, log) for _, session, log in rows]

    def iter_sessions(self) -> Iterator[tuple[str, dict[str, Any]]]:
        with self._reading() as sql:
            rows = sql.execute("SELECT session, fields FROM sessions").fetchall()
        for session, fields in rows:
            yield session, json.loads(fields)

    # Logs.

    def create_log(self, session: str, log: str, *, will: bytes | None = None) -> bool:
        worker = self._open().worker
        with self._writing() as sql:
            if sql.execute("SELECT 1 FROM sessions WHERE session = ?", (session,)).fetchone() is None:
                return False
            counts = sql.execute(
                "SELECT count(*), count(*) FILTER (WHERE ended) FROM logs WHERE session = ? AND NOT gone", (session,)
            ).fetchone()
            if counts[0] - counts[1] >= self._max_logs:
                raise StoreFull(f"the session has {self._max_logs} unfinished streams already")
            dropped = self._drop_logs(sql, "session = ? AND log = ?", session, log)
            if counts[1] >= self._max_finished:
                dropped += self._drop_logs(
                    sql,
                    "id IN (SELECT id FROM logs WHERE session = ? AND ended AND NOT gone ORDER BY id LIMIT ?)",
                    session,
                    counts[1] - self._max_finished + 1,
                )
            sql.execute("DELETE FROM logs WHERE session = ? AND log = ?", (session, log))
            sql.execute(
                "INSERT INTO logs (session, log, writer, will, touched, changed) VALUES (?, ?, ?, ?, ?, ?)",
                (session, log, worker, will, self._clock(), self._next_change(sql)),
            )
        self._waiters.wake(dropped)
        return True

    def append(self, session: str, log: str, data: bytes | None, *, end: bool = False) -> int:
        with self._writing() as sql:
            row = sql.execute(
                "SELECT id, last, first, size FROM logs WHERE session = ? AND log = ? AND NOT ended AND NOT gone",
                (session, log),
            ).fetchone()
            if row is None:
                return 0
            number: int = self._append(sql, row, data, end)
        self._waiters.wake([(session, log)])
        return number

    def _append(self, sql: sqlite3.Connection, row: tuple[int, int, int, int], data: bytes | None, end: bool) -> int:
        log, last, first, size = row
        if data is not None:
            last += 1
            size += len(data)
            sql.execute("INSERT INTO entries VALUES (?, ?, ?)", (log, last, data))
            while last - first >= self._max_log_events or (size > self._max_log_bytes and first < last):
                (dropped,) = sql.execute(
                    "DELETE FROM entries WHERE log = ? AND number = ? RETURNING length(data)", (log, first)
                ).fetchone()
                size -= dropped
                first += 1
        sql.execute(
            "UPDATE logs SET last = ?, first = ?, size = ?, ended = ?, touched = ?, changed = ? WHERE id = ?",
            (last, first, size, end, self._clock(), self._next_change(sql), log),
        )
        return last

    def read(self, session: str, log: str, after: int, *, wait: float = 0.0, reader: int = 0) -> Page:
        return self._waiters.read((session, log), wait, lambda: self._read(session, log, after, reader))

    def _read(self, session: str, log: str, after: int, reader: int) -> Page:
        orphaned = False
        with self._reading() as sql:
            row = sql.execute(
                "SELECT id, first, last, ended, reader, will, writer FROM logs"
                " WHERE session = ? AND log = ? AND NOT gone",
                (session, log),
            ).fetchone()
            if row is None:
                return Page([], "gone")
            number, first, last, ended, current, will, writer = row
            if reader and reader != current:
                return Page([], "taken")
            if not first - 1 <= after <= last:
                return Page([], "gone")
            entries: list[tuple[int, bytes]] = []
            if after < last:
                room = _PAGE_BYTES
                found = sql.execute(
                    "SELECT number, data FROM entries WHERE log = ? AND number > ? ORDER BY number LIMIT ?",
                    (number, after, _PAGE_EVENTS),
                )
                for entry in found:
                    entries.append(entry)
                    room -= len(entry[1])
                    if room <= 0:
                        break
                found.close()
            elif not ended and will is not None and not self._is_alive(sql, writer):
                orphaned = True
        if orphaned:
            self._execute_will(session, log, will)
            return self._read(session, log, after, reader)
        state: State = "ended" if ended and after + len(entries) == last else "open"
        return Page(entries, state)

    def _is_alive(self, sql: sqlite3.Connection, worker: str) -> bool:
        own = self._connection
        if own is not None and own.worker == worker:
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
                (worker, self._next_change(sql), session, log),
            ).fetchone()
        self._waiters.wake([(session, log)])
        return 0 if row is None else int(row[0])

    def release(self, session: str, log: str, reader: int, position: int) -> None:
        with self._writing() as sql:
            sql.execute(
                "UPDATE logs SET reading = NULL, position = ?, touched = ?"
                " WHERE session = ? AND log = ? AND reader = ?",
                (position, self._clock(), session, log, reader),
            )

    def position(self, session: str, log: str) -> int | None:
        with self._reading() as sql:
            row = sql.execute(
                "SELECT position, reading FROM logs WHERE session = ? AND log = ? AND NOT gone", (session, log)
            ).fetchone()
            if row is None or row[1] is not None and self._is_alive(sql, row[1]):
                return None
            return int(row[0])

    # The rest.

    def _sweep(self, connection: _Connection) -> None:
        """Drop what has expired, and the rows of what was dropped a while ago."""
        now = self._clock()
        with self._writing(connection) as sql:
            unread = "NOT EXISTS (SELECT 1 FROM workers WHERE worker = reading AND seen > ?)"
            sql.execute("DELETE FROM logs WHERE gone AND touched < ?", (now - self._log_ttl,))
            sql.execute("DELETE FROM workers WHERE seen < ?", (self._living() - 9 * self._worker_timeout,))
            dropped = self._drop_logs(sql, f"ended AND touched < ? AND {unread}", now - self._log_ttl, self._living())
            # What processes that have died left unfinished, with nobody coming to execute their wills.
            dead = "NOT EXISTS (SELECT 1 FROM workers WHERE worker = writer AND seen > ?)"
            dropped += self._drop_logs(
                sql,
                f"NOT ended AND touched < ? AND {unread} AND {dead}",
                now - max(self._log_ttl, self._worker_timeout),
                self._living(),
                self._living(),
            )
            old = sql.execute("SELECT session FROM sessions WHERE touched < ?", (now - self._session_ttl,)).fetchall()
            for (session,) in old:
                if not self._is_read(sql, session):
                    sql.execute("DELETE FROM sessions WHERE session = ?", (session,))
                    dropped += self._drop_logs(sql, "session = ?", session)
        self._waiters.wake(dropped)

    def wake(self) -> None:
        self._waiters.wake_all()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            connection, self._connection = self._connection, None
        if connection is None or connection.process != os.getpid():
            return
        connection.stop.set()
        if connection.thread is not None:
            connection.thread.join()
        with connection.lock:
            # Said, and not left to the timeout: whatever this process has not ended will not be.
            connection.sql.execute("DELETE FROM workers WHERE worker = ?", (connection.worker,))
            connection.sql.close()
        with connection.read_lock:
            connection.reading.close()
        self._waiters.wake_all()
