"""What every store promises, tried on each of them."""

from __future__ import annotations

import gc
import multiprocessing
import socket
import sqlite3
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from streamhttp_client.exceptions import MissingExtra
from streamhttp_client.server import MemoryStore, RedisStore, Server, SQLiteStore, Store
from streamhttp_client.server.stores.base import StoreFull, StoreUnavailable
from streamhttp_client.server.stores.sqlite import _pause
from tests.server.kit import PATIENCE, Direct
from tests.server.redis_server import redis_url  # noqa: F401

MakeStore = Callable[..., Any]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[MakeStore]:
    """Makes stores; those of one test share what they hold, as those of several processes do."""
    made: list[Any] = []
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")

    def build(**options: Any) -> Any:
        if request.param == "memory":
            made.append(MemoryStore(clock=clock, **options))
        elif request.param == "sqlite":
            made.append(SQLiteStore(tmp_path / "store.db", clock=clock, **options))
        else:
            made.append(RedisStore(url, prefix=f"test:{tmp_path.name}", **options))
        return made[-1]

    yield build
    for store in made:
        store.close()
        store.close()


@pytest.fixture
def store(make: MakeStore) -> Store:
    store: Store = make()
    store.create_session("s", {"a": 1})
    return store


def test_sessions(store: Store) -> None:
    """Fields are kept and changed one by one; a deleted session is gone with its logs."""
    assert store.get_session("s") == {"a": 1}
    assert store.update_session("s", {"b": [1, {"c": "é"}], "a": None})
    assert store.get_session("s") == {"b": [1, {"c": "é"}]}
    store.create_session("t", {})
    assert dict(store.iter_sessions()) == {"s": {"b": [1, {"c": "é"}]}, "t": {}}
    assert store.create_log("s", "l") and store.append("s", "l", b"{}") == 1
    assert store.delete_session("s") and not store.delete_session("s")
    assert store.get_session("s") is None
    assert not store.update_session("s", {"a": 1}) and not store.create_log("s", "l")
    assert store.append("s", "l", b"{}") == 0 and store.claim("s", "l") == 0
    assert store.read("s", "l", 0) == ([], "gone") and store.position("s", "l") is None
    assert dict(store.iter_sessions()) == {"t": {}}


def test_log(store: Store) -> None:
    """Numbers count from 1 without gaps; a read gives what comes after a number, as often as it is asked."""
    assert store.read("s", "l", 0).state == "gone"
    assert store.create_log("s", "l")
    assert store.read("s", "l", 0) == ([], "open")
    assert [store.append("s", "l", data) for data in (b"a", b"", b"\0\xff")] == [1, 2, 3]
    assert store.read("s", "l", 0) == ([(1, b"a"), (2, b""), (3, b"\0\xff")], "open")
    assert store.read("s", "l", 2) == ([(3, b"\0\xff")], "open")
    assert store.read("s", "l", 3) == ([], "open")
    assert store.read("s", "l", 4).state == "gone"
    assert store.append("s", "l", b"end", end=True) == 4
    assert store.append("s", "l", b"late") == 0
    assert store.read("s", "l", 3) == ([(4, b"end")], "ended")
    assert store.read("s", "l", 4) == ([], "ended")


def test_end_without_an_entry(store: Store) -> None:
    store.create_log("s", "l")
    store.append("s", "l", b"a")
    assert store.append("s", "l", None, end=True) == 1
    assert store.read("s", "l", 0) == ([(1, b"a")], "ended")
    assert store.read("s", "l", 1) == ([], "ended")


def test_log_begun_anew_is_empty(store: Store) -> None:
    store.create_log("s", "l")
    store.append("s", "l", b"old", end=True)
    assert store.create_log("s", "l")
    assert store.read("s", "l", 0) == ([], "open") and store.append("s", "l", b"new") == 1


def test_long_page_is_cut(store: Store) -> None:
    """What one read brings is bounded; going on from its end gives all."""
    store.create_log("s", "l")
    for number in range(300):
        store.append("s", "l", b"%d" % number)
    for _ in range(3):
        store.append("s", "l", b"x" * 200_000)
    store.append("s", "l", None, end=True)
    found: list[tuple[int, bytes]] = []
    reads = 0
    while True:
        page = store.read("s", "l", len(found))
        found += page.entries
        reads += 1
        if page.state == "ended":
            break
    assert [number for number, _ in found] == list(range(1, 304)) and reads >= 3


def test_claim(store: Store) -> None:
    """Only the last reader is served; where it ended is remembered once it has let go."""
    store.create_log("s", "l")
    assert store.position("s", "l") == 0
    first = store.claim("s", "l")
    assert store.position("s", "l") is None
    second = store.claim("s", "l")
    store.append("s", "l", b"a")
    assert store.read("s", "l", 0, reader=first) == ([], "taken")
    assert store.read("s", "l", 0, reader=second) == ([(1, b"a")], "open")
    store.release("s", "l", first, 7)
    assert store.position("s", "l") is None
    store.release("s", "l", second, 1)
    assert store.position("s", "l") == 1


@pytest.mark.parametrize("change", ["append", "end", "claim", "delete", "wake"])
def test_what_wakes_a_reader(store: Store, change: str) -> None:
    """A waiting read returns long before its time is over."""
    store.create_log("s", "l")
    reader = store.claim("s", "l")
    pages: list[Any] = []
    thread = threading.Thread(target=lambda: pages.append(store.read("s", "l", 0, wait=PATIENCE * 3, reader=reader)))
    thread.start()
    thread.join(0.05)
    assert not pages
    {
        "append": lambda: store.append("s", "l", b"a"),
        "end": lambda: store.append("s", "l", None, end=True),
        "claim": lambda: store.claim("s", "l"),
        "delete": lambda: store.delete_session("s"),
        "wake": lambda: store.wake(),
    }[change]()
    thread.join(PATIENCE)
    expected = {
        "append": ([(1, b"a")], "open"),
        "end": ([], "ended"),
        "claim": ([], "taken"),
        "delete": ([], "gone"),
        "wake": ([], "open"),
    }
    assert pages == [expected[change]]


def test_a_long_wait_asks_nobody_but_its_client(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it asks whether its client is still there, the log is looked at twice."""
    for module in ("waiting", "memory"):
        monkeypatch.setattr(f"streamhttp_client.server.stores.{module}.PROBE_INTERVAL", 0.001)
    store.create_log("s", "l")
    looks = 0

    def look(*values: Any) -> Any:
        nonlocal looks
        looks += 1
        return original(*values)

    name = "_page" if isinstance(store, MemoryStore) else "_read"
    original = getattr(store, name)
    monkeypatch.setattr(store, name, look)
    asked = iter(range(50))
    assert store.read("s", "l", 0, wait=PATIENCE, until=lambda: next(asked) == 49) == ([], "open")
    if not isinstance(store, MemoryStore):  # there a look costs nothing
        assert looks <= 2


def test_the_newest_event_is_always_held(make: MakeStore) -> None:
    """Even if a stream may keep only one."""
    store = make(max_log_events=1)
    store.create_session("s", {})
    store.create_log("s", "l")
    for number in range(1, 4):
        assert store.append("s", "l", b"%d" % number) == number
        assert store.read("s", "l", number - 1) == ([(number, b"%d" % number)], "open")


def test_inboxes_take_no_place_of_streams(make: MakeStore) -> None:
    """They are counted by themselves, and one that is no more needed goes at once."""
    store = make(max_logs=2, max_finished=2)
    store.create_session("s", {})
    for number in range(2):
        assert store.create_log("s", f"i{number}") and store.create_log("s", f"l{number}")
    with pytest.raises(StoreFull):
        store.create_log("s", "i2")
    store.delete_log("s", "i0")
    store.delete_log("s", "i0")
    assert store.read("s", "i0", 0).state == "gone" and store.create_log("s", "i2")
    for number in range(2):
        store.append("s", f"l{number}", b"{}", end=True)
        store.append("s", f"i{number + 1}", b"{}", end=True)
    assert [store.read("s", f"l{number}", 0).state for number in range(2)] == ["ended"] * 2


def test_walk_over_those_with_a_field(store: Store) -> None:
    """All of them, whatever else is given too."""
    for number in range(450):
        store.create_session(f"t{number}", {"listener:a": 1} if number % 3 else {})
    found = dict(store.iter_sessions("listener:"))
    assert {f"t{number}" for number in range(450) if number % 3} <= found.keys()


def test_a_wait_ends_by_itself(store: Store) -> None:
    store.create_log("s", "l")
    assert store.read("s", "l", 0, wait=0.01) == ([], "open")


def test_limit_of_events(make: MakeStore) -> None:
    """The oldest go first, and who needed them is told; nobody gets a stream with a hole."""
    store = make(max_log_events=8)
    store.create_session("s", {})
    store.create_log("s", "l")
    for number in range(1, 21):
        assert store.append("s", "l", b"%d" % number) == number
    assert store.read("s", "l", 0).state == "gone"
    held = [after for after in range(20) if store.read("s", "l", after).state == "open"]
    assert held == list(range(held[0], 20)) and 12 <= held[0] <= 14
    assert store.read("s", "l", held[0]).entries[0] == (held[0] + 1, b"%d" % (held[0] + 1))


def test_limit_of_bytes(make: MakeStore) -> None:
    """An entry larger than the limit is held alone."""
    store = make(max_log_bytes=100)
    store.create_session("s", {})
    store.create_log("s", "l")
    for _ in range(10):
        store.append("s", "l", b"x" * 40)
    assert store.read("s", "l", 8).entries and store.read("s", "l", 7).state == "gone"
    store.append("s", "l", b"x" * 1000)
    assert store.read("s", "l", 10).entries == [(11, b"x" * 1000)]
    assert store.read("s", "l", 9).state == "gone"


def test_limit_of_logs(make: MakeStore) -> None:
    """Unfinished ones are refused, finished ones make room, the oldest first."""
    store = make(max_logs=3, max_finished=2)
    store.create_session("s", {})
    for name in "abc":
        store.create_log("s", name)
    with pytest.raises(StoreFull):
        store.create_log("s", "d")
    for name in "abc":
        store.append("s", name, None, end=True)
    assert store.create_log("s", "d")
    assert [store.read("s", name, 0).state for name in "abcd"] == ["gone", "gone", "ended", "open"]


def test_limit_of_sessions(make: MakeStore) -> None:
    store = make(max_sessions=1)
    store.create_session("s", {})
    with pytest.raises(StoreFull):
        store.create_session("t", {})
    store.delete_session("s")
    store.create_session("t", {})


# What processes do to each other. Two stores on the same data are as good as two processes.


@pytest.fixture
def others(make: MakeStore) -> tuple[Any, Any]:
    first = make(worker_timeout=60.0) if not isinstance(make(), MemoryStore) else None
    if first is None:
        pytest.skip("a store in memory is for one process")
    second = make(worker_timeout=60.0)
    first.create_session("s", {})
    return first, second


def test_other_process_sees_and_wakes(others: tuple[Any, Any]) -> None:
    """A reader in one process is woken by a writer in another."""
    reader, writer = others
    assert writer.get_session("s") == {}
    reader.create_log("s", "l")
    pages: list[Any] = []
    thread = threading.Thread(target=lambda: pages.append(reader.read("s", "l", 0, wait=PATIENCE)))
    thread.start()
    thread.join(0.05)
    assert writer.append("s", "l", b"a") == 1
    thread.join(PATIENCE / 2)
    assert pages == [([(1, b"a")], "open")]


def test_will_of_a_dead_process(others: tuple[Any, Any]) -> None:
    """A process that is no more cannot end its logs, so its will does; a log without one stays open."""
    dying, living = others
    for name, will in (("with", b"will"), ("without", None), ("done", b"will")):
        dying.create_log("s", name, will=will)
        dying.append("s", name, b"a")
    dying.append("s", "done", b"b", end=True)
    living.create_log("s", "own", will=b"will")
    assert living.read("s", "with", 1) == ([], "open")
    dying.claim("s", "with")
    dying.close()
    assert living.position("s", "with") == 0
    assert living.read("s", "with", 0) == ([(1, b"a")], "open")
    assert living.read("s", "with", 1) == ([(2, b"will")], "ended")
    assert living.append("s", "with", b"late") == 0
    assert living.read("s", "without", 1) == ([], "open")
    assert living.read("s", "done", 1) == ([(2, b"b")], "ended")
    assert living.read("s", "own", 0) == ([], "open")


def test_data_outlives_the_process(others: tuple[Any, Any]) -> None:
    """A server that is started again carries the sessions on."""
    before, after = others
    before.create_log("s", "l")
    before.append("s", "l", b"a", end=True)
    before.close()
    assert after.get_session("s") == {} and after.read("s", "l", 0) == ([(1, b"a")], "ended")


def test_writers_at_the_same_time(others: tuple[Any, Any]) -> None:
    """Numbers stay unique and without gaps when processes and threads append to one log."""
    first, second = others
    first.create_log("s", "l")
    numbers: list[int] = []

    def write(store: Any) -> None:
        numbers.extend(store.append("s", "l", b"x") for _ in range(25))

    threads = [threading.Thread(target=write, args=(store,)) for store in (first, second) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(numbers) == list(range(1, 101))


def _append_in_child(store: Any) -> None:
    store.append("s", "l", b"from the child")


def test_store_works_after_a_fork(others: tuple[Any, Any]) -> None:
    """gunicorn --preload: the child makes a connection of its own, and the parent's still works."""
    store, _ = others
    store.create_log("s", "l")
    child = multiprocessing.get_context("fork").Process(target=_append_in_child, args=(store,))
    child.start()
    child.join(PATIENCE)
    assert child.exitcode == 0
    assert store.append("s", "l", b"from the parent") == 2
    assert [data for _, data in store.read("s", "l", 0).entries] == [b"from the child", b"from the parent"]


def test_store_that_does_not_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A request gets 503 without internals, the log has them, and the next request is answered again."""
    store = SQLiteStore(tmp_path / "store.db")
    app = Server("test", "1").wsgi(store=store)
    direct = Direct(app).initialize()
    with store._open().lock:
        store._open().sql.execute("ALTER TABLE sessions RENAME TO hidden")
    with direct.request("ping") as reply:
        assert reply.status == 503 and b"sessions" not in reply.body()
    assert "no such table: sessions" in caplog.text
    with store._open().lock:
        store._open().sql.execute("ALTER TABLE hidden RENAME TO sessions")
    assert direct.answer("ping") == {}
    app.close()
    store.close()


def test_redis_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("redis")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    store = RedisStore(f"redis://127.0.0.1:{port}/0?retry_on_timeout=false")
    app = Server("test", "1").wsgi(store=store)
    with Direct(app).request("ping", MCP_SESSION_ID="a") as reply:
        assert reply.status == 503 and reply.headers["retry-after"] == "5"
        assert str(port).encode() not in reply.body()
    assert app.close()
    store.close()


def test_without_redis_py(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra."""
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingExtra, match="redis"):
        RedisStore("redis://127.0.0.1:1").get_session("a")


def test_secret(make: MakeStore) -> None:
    """All who share a store have one secret, whoever asked first and however many did at once; it outlives them."""
    stores = [make() for _ in range(4)]
    found: list[bytes] = []
    barrier = threading.Barrier(len(stores))

    def ask(store: Store) -> None:
        barrier.wait(PATIENCE)
        found.append(store.secret())

    threads = [threading.Thread(target=ask, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert [len(secret) for secret in found] == [32] * len(stores)
    assert stores[0].secret() == stores[0].secret()
    if not stores[0].shared:
        assert len(set(found)) == len(stores)
        return
    for store in stores:
        store.close()
    assert {*found, make().secret()} == {found[0]}


def test_no_hole_where_another_process_drops_entries(tmp_path: Path) -> None:
    """SQLite: what was dropped while a page was read is not skipped in silence."""
    store, other = (SQLiteStore(tmp_path / "store.db", max_log_events=8) for _ in range(2))
    store.create_session("s", {})
    store.create_log("s", "l")
    for number in range(1, 9):
        store.append("s", "l", b"%d" % number)

    def look(statement: str) -> None:
        if "FROM entries" in statement:
            store._open().reading.set_trace_callback(None)
            for number in range(9, 13):
                other.append("s", "l", b"%d" % number)

    store._open().reading.set_trace_callback(look)
    assert store.read("s", "l", 2) == ([], "open")
    assert store.read("s", "l", 2) == ([], "gone")
    assert [number for number, _ in store.read("s", "l", 4).entries] == list(range(5, 13))
    for made in (store, other):
        made.close()


def test_file_of_another_version(tmp_path: Path) -> None:
    """SQLite: what a later version keeps is not touched."""
    path = tmp_path / "store.db"
    store = SQLiteStore(path)
    store.create_session("s", {})
    store.close()
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (1,)
        file.execute("PRAGMA user_version = 2")
    with pytest.raises(StoreUnavailable) as caught:
        SQLiteStore(path).get_session("s")
    assert "another version" in str(caught.value.__cause__)
    with pytest.raises(StoreUnavailable, match="another version"):
        Server("a", "1").serve(store=SQLiteStore(path))


def test_connection_of_the_parent_is_left_open(tmp_path: Path) -> None:
    """SQLite: closing it in a forked process could take the parent's locks away."""
    store = SQLiteStore(tmp_path / "store.db")
    store.create_session("s", {})
    parents = weakref.ref(store._open())
    thread, stop = store._open().thread, store._open().stop
    store._open().process = -1  # as after a fork
    assert store.get_session("s") == {} and store._open() is not parents()
    stop.set()
    assert thread is not None
    thread.join(PATIENCE)
    gc.collect()
    connection = parents()
    assert connection is not None and connection.sql.execute("SELECT 1").fetchone() == (1,)
    store.close()
    connection.close()


def test_forked_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps the parent's connection, once, whatever comes first in it; and waits for no lock of the parent."""
    store = SQLiteStore(tmp_path / "store.db")
    store.create_session("s", {})
    store.create_log("s", "l")
    parents = store._open()
    parents.stop.set()
    assert parents.thread is not None
    parents.thread.join(PATIENCE)

    def away() -> Any:
        raise StoreUnavailable("the store does not answer")

    parents.process = -1  # as after a fork
    with monkeypatch.context() as patch:
        patch.setattr(store, "_connect", away)
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                store.get_session("s")
    assert store._inherited == [parents]
    reader = threading.Thread(target=lambda: store.read("s", "l", 0, wait=0.01))
    with store._waiters._lock:  # a thread of the parent had it at that moment
        reader.start()
        reader.join(PATIENCE)
    assert not reader.is_alive()
    store.close()

    unused = SQLiteStore(tmp_path / "store.db")
    parents = unused._open()
    parents.stop.set()
    parents.thread.join(PATIENCE)  # type: ignore[union-attr]
    parents.process = -1
    unused.close()
    assert unused._inherited == [parents]
    for connection in (*store._inherited, *unused._inherited):
        connection.close()


def test_sessions_that_listen_are_found_alone(redis_url: str, tmp_path: Path) -> None:  # noqa: F811
    """Redis: what is told to all who listen costs nothing for those who do not."""
    store = RedisStore(redis_url, prefix=f"test:{tmp_path.name}")
    store.create_session("silent", {"revision": "x"})
    store.create_session("first", {"listener:g1": 1})
    store.create_session("later", {})
    store.update_session("later", {"listener:g1": 1})
    assert {name for name, _ in store.iter_sessions()} == {"silent", "first", "later"}
    assert dict(store.iter_sessions("listener:")) == {"first": {"listener:g1": 1}, "later": {"listener:g1": 1}}
    store.delete_session("first")
    redis = store._open().redis
    assert redis.smembers(f"{store._prefix}listening") == {b"later"}
    redis.delete(f"{store._prefix}s:later")  # it has expired
    redis.zadd(f"{store._prefix}sessions", {"later": 0})
    assert list(store.iter_sessions("listener:")) == []
    store.create_session("next", {})
    assert redis.smembers(f"{store._prefix}listening") == set()
    store.close()


def test_idle_process_looks_less_often() -> None:
    """SQLite: waiting costs little where nothing happens, and soon after something did it is not late."""
    pauses = [_pause(quiet) for quiet in (0.0, 0.5, 10.0)]
    assert pauses == [0.005, 0.01, 0.025]


# Time, for the stores that take a clock.


@pytest.fixture(params=["memory", "sqlite"])
def timed(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Any]:
    options: dict[str, Any] = {"session_ttl": 100.0, "log_ttl": 10.0, "clock": clock}
    if request.param == "memory":
        store: Any = MemoryStore(**options)
        store.expire = lambda: store._sweep(clock.now, force=True)
    else:
        store = SQLiteStore(tmp_path / "store.db", worker_timeout=1e6, **options)
        store.expire = lambda: store._sweep(store._open())
    store.create_session("s", {})
    yield store
    store.close()


def test_unused_session_expires(timed: Any, clock: Clock) -> None:
    """Use puts the expiry off."""
    clock.now += 90
    assert timed.get_session("s") == {}
    clock.now += 90
    assert timed.get_session("s") == {}
    clock.now += 101
    timed.expire()
    assert timed.get_session("s") is None


def test_open_stream_keeps_the_session(timed: Any, clock: Clock) -> None:
    timed.create_log("s", "l")
    reader = timed.claim("s", "l")
    clock.now += 150
    timed.expire()
    assert timed.get_session("s") == {}
    timed.release("s", "l", reader, 0)
    clock.now += 150
    timed.expire()
    assert timed.get_session("s") is None


def test_session_outlives_a_long_stream(timed: Any, clock: Clock) -> None:
    """A client that was connected for long comes back after its connection broke."""
    timed.create_log("s", "l")
    reader = timed.claim("s", "l")
    clock.now += 150
    timed.release("s", "l", reader, 0)
    clock.now += 90
    timed.expire()
    assert timed.get_session("s") == {}


def test_running_call_keeps_the_session(timed: Any, clock: Clock) -> None:
    """Nobody has to ask for a call that runs for long, and there is time for it after the end."""
    timed.create_log("s", "l", will=b"will")
    for _ in range(3):
        clock.now += 150
        timed.expire()
    clock.now += 150
    assert timed.append("s", "l", b"result", end=True) == 1
    clock.now += 5
    assert timed.read("s", "l", 0).entries == [(1, b"result")]
    clock.now += 90
    timed.expire()
    assert timed.get_session("s") == {}
    clock.now += 150
    timed.expire()
    assert timed.get_session("s") is None


def test_what_a_dead_process_left_expires(tmp_path: Path, clock: Clock) -> None:
    """An unfinished log goes when its writer is dead, nobody reads it, and it is old."""
    options: dict[str, Any] = {"log_ttl": 10.0, "worker_timeout": 1.0, "clock": clock}
    dying, living = (SQLiteStore(tmp_path / "store.db", **options) for _ in range(2))
    dying.create_session("s", {})
    dying.create_log("s", "left", will=b"will")
    living.create_log("s", "own")
    dying.close()
    clock.now += 11
    living._beat(living._open())
    living._sweep(living._open())
    assert living.read("s", "left", 0).state == "gone" and living.read("s", "own", 0).state == "open"
    living.close()


def test_finished_log_expires(timed: Any, clock: Clock) -> None:
    """An unfinished one does not, since its handler still runs."""
    timed.create_log("s", "done")
    timed.append("s", "done", b"a", end=True)
    timed.create_log("s", "running")
    clock.now += 11
    timed.expire()
    assert timed.read("s", "done", 0).state == "gone" and timed.read("s", "running", 0).state == "open"
