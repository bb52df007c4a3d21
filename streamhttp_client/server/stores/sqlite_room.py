"""How much a :class:`~.sqlite.SQLiteStore` holds, and what goes when it is too much."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from .base import StoreFull
from .sqlite_file import next_change

__all__ = ["ENTRY_COST", "LOG_COST", "SESSION_COST", "Room"]

# What an entry, a log and a session cost besides their data, in bytes; a dropped log costs until its row goes too.
ENTRY_COST = 64
LOG_COST = 1024
SESSION_COST = 1024


class Room:
    """Counts bytes, and drops logs and entries. All of it is part of a transaction that the caller has begun; who gets
    names of logs back lets those look who wait for them, once that is over.

    Args:
        living: Processes that were seen after the moment that it returns are alive.
    """

    def __init__(
        self, *, max_bytes: int, max_log_events: int, living: Callable[[], float], clock: Callable[[], float]
    ) -> None:
        self._max_bytes = max_bytes
        self._max_log_events = max_log_events
        self._living = living
        self._clock = clock

    def count(self, sql: sqlite3.Connection, change: int) -> int:
        """Count bytes that came or went; return what there is now."""
        (held,) = sql.execute("UPDATE state SET bytes = bytes + ? RETURNING bytes", (change,)).fetchone()
        return int(held)

    def need(self, sql: sqlite3.Connection) -> list[tuple[str, str]]:
        """Make room if the store is full; return the logs that were dropped.

        Raises:
            StoreFull: There is none.
        """
        (held,) = sql.execute("SELECT bytes FROM state").fetchone()
        if held < self._max_bytes:
            return []
        dropped = self.reclaim(sql, held)
        if self.count(sql, 0) >= self._max_bytes:
            raise StoreFull(f"the store holds {self._max_bytes} bytes already")
        return dropped

    def reclaim(self, sql: sqlite3.Connection, held: int) -> list[tuple[str, str]]:
        """Drop the oldest finished logs that nobody reads, an eighth more than is needed, since it means to look at
        all; and what was left of those that were dropped before.
        """
        surplus = held - self._max_bytes * 7 // 8
        surplus += self.bury(sql, "1")
        found = sql.execute(
            "SELECT id, size + ? * (last - first + 1) + ? FROM logs"
            " WHERE ended AND NOT gone AND NOT EXISTS (SELECT 1 FROM workers WHERE worker = reading AND seen > ?)"
            " ORDER BY touched, id",
            (ENTRY_COST, LOG_COST, self._living()),
        ).fetchall()
        dropped = []
        for number, cost in found:
            if surplus <= 0:
                break
            surplus -= cost
            dropped += self.drop_logs(sql, "id = ?", number)
        self.bury(sql, "1")
        return dropped

    def bury(self, sql: sqlite3.Connection, which: str, *values: Any) -> int:
        """Delete the rows of logs that are gone; their readers in other processes find out at their next look. Returns
        what they had cost, as a negative number.
        """
        change = -LOG_COST * sql.execute(f"DELETE FROM logs WHERE gone AND ({which})", values).rowcount
        self.count(sql, change)
        return change

    def drop_logs(self, sql: sqlite3.Connection, which: str, *values: Any) -> list[tuple[str, str]]:
        """Empty logs and mark them as gone; their rows stay for a while, so that other processes notice."""
        rows = sql.execute(
            f"SELECT id, session, log, size + ? * (last - first + 1) FROM logs WHERE NOT gone AND ({which})",
            (ENTRY_COST, *values),
        ).fetchall()
        if rows:
            change = next_change(sql)
            now = self._clock()
            for number, *_ in rows:
                sql.execute("DELETE FROM entries WHERE log = ?", (number,))
                sql.execute(
                    "UPDATE logs SET gone = 1, will = NULL, changed = ?, touched = ? WHERE id = ?",
                    (change, now, number),
                )
            self.count(sql, -sum(cost for *_, cost in rows))
        return [(session, log) for _, session, log, _ in rows]

    def trim(
        self, sql: sqlite3.Connection, log: int, first: int, last: int, size: int, max_bytes: int
    ) -> tuple[int, int]:
        """Drop the oldest entries of a log that has too many; return the number of the first, and the size."""
        while last - first >= self._max_log_events or (size > max_bytes and first < last):
            (dropped,) = sql.execute(
                "DELETE FROM entries WHERE log = ? AND number = ? RETURNING length(data)", (log, first)
            ).fetchone()
            self.count(sql, -dropped - ENTRY_COST)
            size -= dropped
            first += 1
        return first, size
