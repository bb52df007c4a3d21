"""What the stores of several processes hold is bounded as a whole, on a real SQLite file and a real redis-server."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamhttp_client.server import RedisStore, SQLiteStore
from streamhttp_client.server.stores.base import StoreFull
from tests.server.redis_server import redis_url  # noqa: F401

MiB = 1 << 20
MakeStore = Callable[..., Any]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class InSQLite:
    """A store, and what it takes of the disk."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.clock = Clock()
        self.store: Any = SQLiteStore(path, clock=self.clock, **options)
        self._path = path

    def taken(self) -> int:
        """Bytes of the file; the log of the last changes beside it is as long as SQLite lets it become (4 MiB)."""
        return self._path.stat().st_size

    def counted(self) -> int:
        """What the store believes that it holds, without the rows of dropped logs, which others may still look for."""
        with self.store._writing() as sql:
            self.store._room.bury(sql, "1")
            return int(sql.execute("SELECT bytes FROM state").fetchone()[0])

    def left(self) -> list[Any]:
        """What is there though no session is."""
        with self.store._reading() as sql:
            rows = sql.execute("SELECT * FROM sessions").fetchall() + sql.execute("SELECT * FROM logs").fetchall()
            return rows + list(sql.execute("SELECT * FROM entries").fetchall())


class InRedis:
    """A store, and what it takes of the server's memory."""

    def __init__(self, url: str, prefix: str, **options: Any) -> None:
        import redis

        self.redis: Any = redis.Redis.from_url(url)
        self.store: Any = RedisStore(url, prefix=prefix, **options)
        self._prefix = prefix

    def taken(self) -> int:
        """Bytes of all keys. Not of the whole server: it counts the buffers of connections, which come and go."""
        return sum(self.redis.memory_usage(key, samples=0) or 0 for key in self.redis.keys(f"{self._prefix}:*"))

    def counted(self) -> int:
        return int(self.redis.hget(f"{self._prefix}:bytes", "") or 0)

    def left(self) -> list[Any]:
        kept = {f"{self._prefix}:{name}".encode() for name in ("bytes", "logs")}
        signs = f"{self._prefix}:w:".encode()
        keys = [key for key in self.redis.keys(f"{self._prefix}:*") if key not in kept and not key.startswith(signs)]
        return keys + [name for name in self.redis.hkeys(f"{self._prefix}:bytes") if name]


@pytest.fixture(params=["sqlite", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeStore]:
    made: list[Any] = []

    def build(**options: Any) -> Any:
        if request.param == "sqlite":
            made.append(InSQLite(tmp_path / "store.db", **options))
        else:
            made.append(InRedis(request.getfixturevalue("redis_url"), f"bounds:{tmp_path.name}", **options))
        return made[-1]

    yield build
    for held in made:
        held.store.close()
        if isinstance(held, InRedis):
            held.redis.close()


def test_finished_streams_make_room(make: MakeStore) -> None:
    """The oldest of any session go first; one that is read stays; all the rest is served as before."""
    held = make(max_bytes=8 * MiB)
    store = held.store
    for session in "st":
        store.create_session(session, {})
    for number in range(12):
        if isinstance(held, InSQLite):
            held.clock.now += 1
        session = "st"[number % 2]
        store.create_log(session, f"l{number}")
        if number == 0:
            store.claim(session, "l0")
        store.append(session, f"l{number}", b"x" * MiB, end=True)
        assert held.counted() <= 8 * MiB
    kept = [number for number in range(12) if store.read("st"[number % 2], f"l{number}", 0).state == "ended"]
    assert kept[0] == 0 and kept[1:] == list(range(kept[1], 12)) and 6 <= len(kept) <= 8


def test_unfinished_streams_are_bounded_together(make: MakeStore) -> None:
    """They keep their newest event, however many there are; new ones are refused until there is room."""
    held = make(max_bytes=4 * MiB)
    store = held.store
    store.create_session("s", {})
    for number in range(20):
        store.create_log("s", f"l{number}")
    for _ in range(10):
        for number in range(20):
            store.append("s", f"l{number}", b"x" * (MiB // 8))
    assert held.counted() <= 4 * MiB + 20 * (MiB // 8)
    for number in range(20):
        last = store.append("s", f"l{number}", None)
        assert store.read("s", f"l{number}", last - 1).entries
    store.append("s", "l0", b"x" * 4 * MiB)
    with pytest.raises(StoreFull, match="bytes"):
        store.create_log("s", "more")
    with pytest.raises(StoreFull, match="bytes"):
        store.create_session("t", {})
    with pytest.raises(StoreFull, match="bytes"):
        store.update_session("s", {"a": 1})
    assert store.update_session("s", {"a": None})  # what only drops something may always be done
    for number in range(20):
        store.append("s", f"l{number}", None, end=True)
    assert store.create_log("s", "more")


@pytest.mark.parametrize("size", [1000, 1500, 100_000])
def test_what_it_really_takes(make: MakeStore, size: int) -> None:
    """Six times the bound is written: the file stays below twice the bound, Redis near it, and all is counted."""
    most = 2 * MiB
    held = make(max_bytes=most)
    store = held.store
    for number in range(4):
        store.create_session(f"s{number}", {"client_info": {"name": "x" * 500}})
    data = random.Random(1).randbytes(size)
    for number in range(6 * most // (size * 10)):
        session, log = f"s{number % 4}", f"l{number}"
        store.create_log(session, log)
        for _ in range(9):
            store.append(session, log, data)
        store.append(session, log, data, end=True)
        assert held.counted() <= most
    assert most // 2 < held.taken() <= (2 * most if isinstance(held, InSQLite) else 1.25 * most)


def test_sessions_are_counted_too(make: MakeStore) -> None:
    """What clients make a session keep cannot fill the store: subscriptions, say."""
    store = make(max_bytes=MiB // 4).store
    store.create_session("s", {})
    with pytest.raises(StoreFull, match="bytes"):
        for number in range(1000):
            store.update_session("s", {f"subscribed:{number:2000}": True})
    assert 50 < len(store.get_session("s")) < 1000
    with pytest.raises(StoreFull):
        store.create_session("t", {})
    assert store.delete_session("s")
    store.create_session("t", {})


def test_the_count_never_drifts(make: MakeStore) -> None:
    """After anything that can happen, an empty store counts nothing and holds nothing."""
    chance = random.Random(3)
    held = make(max_bytes=200_000, max_log_events=20, max_log_bytes=30_000, max_logs=6, max_finished=4)
    store = held.store
    for _ in range(1500):
        session, log = f"s{chance.randrange(4)}", f"{chance.choice('lgi')}{chance.randrange(8)}"
        with contextlib.suppress(StoreFull):
            match chance.randrange(10):
                case 0:
                    if store.get_session(session) is None:
                        store.create_session(session, {"a": "x" * chance.randrange(3000)})
                case 1:
                    store.update_session(session, {chance.choice("abc"): chance.choice([None, "é" * 500, 1])})
                case 2 | 3:
                    store.create_log(session, log, will=chance.choice([None, b"{}"]))
                case 4:
                    store.append(session, log, chance.choice([None, b"{}"]), end=True)
                case 5:
                    store.delete_log(session, log)
                case 6:
                    if chance.randrange(10) == 0:
                        store.delete_session(session)
                case 7:
                    if reader := store.claim(session, log):
                        store.release(session, log, reader, 0)
                case _:
                    store.append(session, log, b"x" * chance.randrange(20_000))
        assert 0 <= held.counted() <= 300_000
    for session in ("s0", "s1", "s2", "s3"):
        store.delete_session(session)
    assert held.counted() == 0 and held.left() == []


def test_age(make: MakeStore) -> None:
    """A finished stream can be collected for ``log_ttl``, an unused session for ``session_ttl``; then their room is
    free.
    """
    held = make(log_ttl=30, session_ttl=60, max_bytes=MiB)
    store = held.store
    store.create_session("s", {})
    store.create_log("s", "l")
    store.append("s", "l", b"x" * 1000)
    if isinstance(held, InRedis):
        # Redis keeps the time: what it was told is what counts.
        prefix = held._prefix
        assert 0 < held.redis.ttl(f"{prefix}:m:s:l") <= 60 and 0 < held.redis.ttl(f"{prefix}:s:s") <= 60
        store.append("s", "l", None, end=True)
        assert 0 < held.redis.ttl(f"{prefix}:m:s:l") <= 30 and 0 < held.redis.ttl(f"{prefix}:e:s:l") <= 30
        # As if the time had passed.
        held.redis.delete(f"{prefix}:m:s:l", f"{prefix}:e:s:l", f"{prefix}:s:s", f"{prefix}:k:s")
        held.redis.zadd(f"{prefix}:finished", {"s/l": 1})
        held.redis.zadd(f"{prefix}:sessions", {"s": 1})
        store.create_session("t", {})
    else:
        store.append("s", "l", None, end=True)
        held.clock.now += 31
        store._sweep(store._open())
        assert store.read("s", "l", 0).state == "gone"
        held.clock.now += 31
        store._sweep(store._open())
        assert store.get_session("s") is None
        store.create_session("t", {})
    assert store.delete_session("t") and held.counted() == 0
