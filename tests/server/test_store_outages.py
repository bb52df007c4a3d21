"""What a store thinks of processes, its own and others, after a time without contact."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from streamhttp_client import jsonrpc
from streamhttp_client.server import Context, RedisStore, Server, SQLiteStore
from streamhttp_client.server.calls import Call, LogOutlet
from streamhttp_client.server.delivery import Backlog
from streamhttp_client.server.sessions import ServerSession
from streamhttp_client.server.stores import shared
from tests.server.kit import PATIENCE, Wire, events
from tests.server.redis_server import free_port, redis_url, run_redis  # noqa: F401


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def begin(store: Any) -> None:
    store.create_session("s", {})
    store.create_log("s", "l", will=b"will")


def test_own_call_outlives_a_sleep_of_the_machine(tmp_path: Path, clock: Clock) -> None:
    """The process that asks is alive, however long it gave no sign of life; so its handler's result is kept."""
    store = SQLiteStore(tmp_path / "store.db", clock=clock)
    begin(store)
    reader = store.claim("s", "l")
    clock.now += 3600 - 1
    assert store.read("s", "l", 0) == ([], "open")
    assert store.position("s", "l") is None
    assert store.append("s", "l", b"result", end=True) == 1
    store.release("s", "l", reader, 1)
    store.close()


def test_calls_of_others_outlive_a_sleep_of_the_machine(tmp_path: Path, clock: Clock) -> None:
    """Who was away himself gives the others the time for a sign of life; without one they are dead."""
    first, second = (SQLiteStore(tmp_path / "store.db", clock=clock) for _ in range(2))
    begin(first)
    first.create_log("s", "m", will=b"will")
    assert second.read("s", "l", 0) == ([], "open")
    for has_spoken in (False, True):  # before and after its own sign of life
        clock.now += 30
        if has_spoken:
            second._beat(second._open())
        second._sweep(second._open())
        assert second.read("s", "l", 0) == ([], "open")
        first._beat(first._open())
    clock.now += 5.1
    second._beat(second._open())
    assert second.read("s", "l", 0) == ([], "open")
    for _ in range(3):
        clock.now += 4
        second._beat(second._open())
    assert second.read("s", "l", 0) == ([(1, b"will")], "ended")
    first.close()
    second.close()


def test_reads_go_on_while_a_write_waits(tmp_path: Path) -> None:
    """Another process holds the write lock: who writes waits, who reads does not."""
    store = SQLiteStore(tmp_path / "store.db")
    begin(store)
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writer = threading.Thread(target=lambda: store.append("s", "l", b"a"))
    writer.start()
    while store._open().lock.acquire(blocking=False):  # until the writer has it
        store._open().lock.release()
    began = time.monotonic()
    assert store.get_session("s") == {} and store.read("s", "l", 0) == ([], "open")
    assert time.monotonic() - began < PATIENCE / 10 and writer.is_alive()
    other.execute("COMMIT")
    writer.join(PATIENCE)
    assert store.read("s", "l", 0) == ([(1, b"a")], "open")
    other.close()
    store.close()


def test_use_of_a_session_waits_for_nobody(tmp_path: Path, clock: Clock) -> None:
    """Another process holds the write lock while the expiry of a session should be put off; a later request does it."""
    store = SQLiteStore(tmp_path / "store.db", clock=clock)
    begin(store)
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    clock.now += 1000
    began = time.monotonic()
    assert store.get_session("s") == {}
    assert time.monotonic() - began < PATIENCE / 10
    other.execute("COMMIT")
    touched = other.execute("SELECT touched FROM sessions")
    assert touched.fetchone() == (1000.0,)
    assert store.get_session("s") == {}
    assert other.execute("SELECT touched FROM sessions").fetchone() == (2000.0,)
    assert store._open().sql.execute("PRAGMA busy_timeout").fetchone() == (10_000,)
    other.close()
    store.close()


def test_session_is_found_when_its_use_cannot_be_noted(tmp_path: Path, clock: Clock) -> None:
    """A full disk or a locked file keeps nobody from reading."""
    store = SQLiteStore(tmp_path / "store.db", clock=clock)
    begin(store)
    clock.now += 1000
    with store._open().lock:
        store._open().sql.execute("PRAGMA query_only = 1")
    assert store.get_session("s") == {}
    store._open().sql.execute("PRAGMA query_only = 0")
    store.close()


@pytest.fixture
def redis_pair(redis_url: str, tmp_path: Path) -> Any:  # noqa: F811
    made = [RedisStore(redis_url, prefix=f"outage:{tmp_path.name}", session_ttl=2) for _ in range(2)]
    yield made
    for store in made:
        store.close()


def forget(store: Any) -> None:
    """As after a time without contact: the sign of life has expired."""
    connection = store._open()
    connection.redis.delete(f"{store._prefix}w:{connection.worker}")


def test_redis_own_call_outlives_an_outage(redis_pair: Any) -> None:
    store, other = redis_pair
    begin(store)
    assert other.read("s", "l", 0) == ([], "open")
    reader = store.claim("s", "l")
    forget(store)
    assert store.read("s", "l", 0, reader=reader) == ([], "open") and store.position("s", "l") is None
    other._open().judging = time.monotonic() + PATIENCE  # as after an outage
    assert other.read("s", "l", 0) == ([], "open")
    other._open().judging = 0.0
    assert other.read("s", "l", 0) == ([(1, b"will")], "ended")


def test_redis_time_without_contact_is_noticed(redis_pair: Any) -> None:
    """Before the next sign of life of its own a process does not judge, and for a while after it."""
    store, _ = redis_pair
    connection = store._open()
    assert store._may_judge(connection)
    connection.beaten -= 6.0
    assert not store._may_judge(connection)
    store._beat(connection)
    assert not store._may_judge(connection)
    connection.judging = 0.0
    assert store._may_judge(connection)


def test_redis_inbox_lives_as_long_as_its_call_looks(redis_pair: Any) -> None:
    """A call that runs for longer than the life of a session must not lose its inbox, and take that for its end."""
    store, other = redis_pair
    begin(store)
    store.create_log("s", "i1")
    meta = f"{store._prefix}m:s:i1"
    redis = store._open().redis
    redis.pexpire(meta, 100)
    assert other.read("s", "i1", 0) == ([], "open")  # somebody else's look does not count
    assert redis.pttl(meta) <= 100
    assert store.read("s", "i1", 0) == ([], "open")
    assert redis.pttl(meta) > 1000


def test_redis_keeps_what_a_running_call_needs(redis_pair: Any) -> None:
    """Nobody has to ask for a call that runs for longer than a session lives without use."""
    store, _ = redis_pair
    begin(store)
    connection = store._open()
    keys = [f"{store._prefix}{name}" for name in ("s:s", "k:s", "m:s:l")]

    def expire_soon() -> list[bool]:
        for key in keys:
            connection.redis.pexpire(key, 900)
        store._keep_running(connection)
        return [connection.redis.pttl(key) > 900 for key in keys]

    assert expire_soon() == [True] * 3
    store.append("s", "l", b"result", end=True)
    assert expire_soon() == [False] * 3
    store.create_log("s", "l2", will=b"will")
    store.delete_session("s")
    store._keep_running(connection)
    assert store._running == set()


def test_redis_finished_log_lives_as_long_as_it_is_read(redis_pair: Any) -> None:
    """A client that reads a large result slowly gets all of it; one that has gone keeps nothing."""
    store, _ = redis_pair
    begin(store)
    store.append("s", "l", b"result", end=True)
    reader = store.claim("s", "l")
    redis, meta = store._open().redis, f"{store._prefix}m:s:l"
    for number, kept in ((0, False), (reader, True)):
        redis.pexpire(meta, 900)
        assert store.read("s", "l", 0, reader=number).state == "ended"
        assert (redis.pttl(meta) > 900) is kept


def test_redis_has_limits_of_time(redis_url: str) -> None:  # noqa: F811
    """Also with versions of redis-py that have none of their own, and unless the address says others."""
    for more, limit in (("", 5.0), ("?socket_timeout=2", 2.0)):
        store = RedisStore(redis_url + more)
        options = store._open().pool.connection_kwargs
        assert (options["socket_timeout"], options["socket_connect_timeout"]) == (limit, 5.0)
        store.close()


def test_redis_end_of_a_call_is_use(redis_pair: Any) -> None:
    """Its client has the whole life of a session to come back for the result."""
    store, _ = redis_pair
    store.create_session("s", {})
    store.create_log("s", "l")
    redis = store._open().redis
    redis.pexpire(f"{store._prefix}s:s", 900)
    store.append("s", "l", b"result", end=True)
    assert redis.pttl(f"{store._prefix}s:s") > 900


def test_redis_inbox_that_expired_is_no_cancellation(redis_pair: Any) -> None:
    """A handler that did not look for long goes on, and can still be cancelled; the end of its session ends it."""
    store, _ = redis_pair
    begin(store)
    backlog = Backlog()
    outlet = LogOutlet(store, "s", "l", 1, backlog=backlog, interactive=True, polling=True)
    call = Call(store, ServerSession("s", {}), jsonrpc.Request(1, "tools/call", {}), outlet, backlog)
    call.begin()
    for cancel in (False, True):
        store._open().redis.delete(f"{store._prefix}m:s:i1")
        call._next_peek = 0.0
        assert not call.cancelled
        if cancel:
            store.delete_session("s")
            call._next_peek = 0.0
            assert call.cancelled
    backlog.close(0.0)


def follow(wire: Wire, found: list[Any]) -> None:
    """Call, and come back until there is a result; the time is bounded by that of the test."""
    last = ""
    deadline = time.monotonic() + 4 * PATIENCE
    while time.monotonic() < deadline:
        try:
            with wire.send("GET", Last_Event_Id=last) if last else wire.call("count", token=1) as response:
                for event in events(response) if response.status == 200 else ():
                    last = event["id"]
                    if event["data"]:
                        message = json.loads(event["data"])
                        found.append(message.get("result") or message["params"]["progress"])
                        if "result" in message:
                            return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.05)


def test_calls_go_on_when_redis_comes_back(tmp_path: Path) -> None:
    """Redis is away in the middle of a call, which speaks meanwhile: all of it arrives once and in order."""
    pytest.importorskip("redis")
    pytest.importorskip("cheroot")
    began, away, back = threading.Event(), threading.Event(), threading.Event()
    server = Server("test", "1")

    @server.tool()
    def count(ctx: Context) -> str:
        ctx.progress(1)
        began.set()
        for number, moment in enumerate((away, back), 2):
            assert moment.wait(4 * PATIENCE)
            ctx.progress(number)
        return "counted"

    port = free_port()
    with contextlib.ExitStack() as first:
        store = RedisStore(first.enter_context(run_redis(tmp_path, port, keep=True)))
        with server.serve(store=store) as running:
            found: list[Any] = []
            client = threading.Thread(target=follow, args=(Wire(running.url).initialize(), found))
            client.start()
            assert began.wait(PATIENCE)
            first.close()
            with Wire(running.url).send("GET", Mcp_Session_Id="a") as response:
                assert response.status == 503
            away.set()
            with run_redis(tmp_path, port, keep=True):
                back.set()
                client.join(4 * PATIENCE)
                assert found[:-1] == [1, 2, 3] and found[-1]["content"][0]["text"] == "counted"
    store.close()


def test_an_outage_is_one_error_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk may be full for hours: the thread of the store tries again at its pace, and does not fill the log."""
    monkeypatch.setattr(shared, "_PAUSE", 0.001)
    caplog.set_level(logging.INFO, "streamhttp_client.server")
    tries, works = threading.Semaphore(0), threading.Event()

    class Failing(SQLiteStore):
        def _beat(self, connection: Any) -> None:
            if connection.thread is not None:
                tries.release()
                if not works.is_set():
                    raise sqlite3.OperationalError("disk I/O error")
            super()._beat(connection)

    store = Failing(tmp_path / "store.db", worker_timeout=0.05)
    try:
        store.get_session("")
        for _ in range(3):
            assert tries.acquire(timeout=PATIENCE)
        works.set()
        for _ in range(3):  # a try may have begun before, and what it came to is noted after it
            assert tries.acquire(timeout=PATIENCE)
    finally:
        store.close()
    assert [record.message for record in caplog.records] == ["the store fails", "the store works again"]
