"""The file of a :class:`~.sqlite.SQLiteStore`: what is in it, and how one process reads and writes it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...exceptions import LocalProtocolError
from .base import StoreUnavailable
from .shared import ProcessConnection

__all__ = ["BUSY_TIMEOUT", "Connection", "next_change", "translated"]

#: Seconds that a write waits for those of other processes.
BUSY_TIMEOUT = 10.0

# What is in the file; a version that keeps something else counts it up. Files of before have 0.
_FORMAT = 1
_SCHEMA = """
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
    log INTEGER NOT NULL, number INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (log, number));
CREATE TABLE IF NOT EXISTS secret (one INTEGER PRIMARY KEY CHECK (one = 1), value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS state (change INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO state SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM state);
"""


class Connection(ProcessConnection):
    """One process's connections.

    One connection writes and one reads, so that reads go on while a write waits for another process. Each has a
    lock that guards it: a statement takes microseconds, and a connection for each thread would cost more than it
    gives, since SQLite lets one write at a time anyway. Nobody who holds the lock of the reads may ask for the
    other.

    None of it is used after a fork: "Do not open an SQLite database connection, then fork(2), then try to use that
    database connection in the child process" (sqlite.org, How To Corrupt).
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.lock = threading.RLock()
        self.read_lock = threading.Lock()
        self.sql = _connect(path)
        try:
            self.reading = _connect(path)
        except BaseException:
            self.sql.close()
            raise

    def prepare(self) -> None:
        """Make the file ready, which others may do at the same time."""
        (found,) = self.sql.execute("PRAGMA user_version").fetchone()
        if found not in (0, _FORMAT):
            reason = LocalProtocolError("the file is of another version of this package, so give each version its own")
            raise StoreUnavailable("the store does not answer") from reason
        _patiently(lambda: self.sql.execute("PRAGMA journal_mode = WAL"))
        # What the last milliseconds before a power cut wrote may be lost, never the file's consistency.
        self.sql.execute("PRAGMA synchronous = NORMAL")
        self.sql.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_FORMAT}; COMMIT;")
        self.reading.execute("PRAGMA query_only = 1")

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Read; each statement by itself sees one moment."""
        with self.read_lock, translated():
            yield self.reading

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Write, all or nothing."""
        with self.lock, translated():
            try:
                self.sql.execute("BEGIN IMMEDIATE")
                yield self.sql
                self.sql.execute("COMMIT")
            except BaseException:
                # A failed COMMIT leaves the transaction open too; and SQLite may have ended it by itself.
                if self.sql.in_transaction:
                    self.sql.execute("ROLLBACK")
                raise

    def close(self) -> None:
        self.sql.close()
        self.reading.close()


def _connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)


def _patiently(change: Callable[[], object]) -> None:
    """Change the journal mode, which does not wait by itself while another process does the same."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            change()
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def next_change(sql: sqlite3.Connection) -> int:
    """The number of one more change, by which processes find out what is new."""
    (number,) = sql.execute("UPDATE state SET change = change + 1 RETURNING change").fetchone()
    return int(number)


@contextmanager
def translated() -> Iterator[None]:
    """Say that the store does not answer: the file is locked for too long, broken, or its disk is full."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError:
            raise StoreUnavailable("the store does not answer") from error
        raise  # a fault of ours
