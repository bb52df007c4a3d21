"""What a store in memory holds is bounded, and what has expired goes."""

from __future__ import annotations

from typing import Any

import pytest

from streamhttp_client.server import MemoryStore
from streamhttp_client.server.stores.base import StoreFull

MiB = 1 << 20


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_finished_streams_make_room() -> None:
    """The oldest of any session go first; one that is read stays; all the rest is served as before."""
    store = MemoryStore(max_bytes=8 * MiB, clock=(clock := Clock()))
    for session in "st":
        store.create_session(session, {})
    for number in range(12):
        clock.now += 1
        session = "st"[number % 2]
        store.create_log(session, f"l{number}")
        if number == 0:
            store.claim(session, "l0")
        store.append(session, f"l{number}", b"x" * MiB, end=True)
        assert store._sum <= 8 * MiB
    held = [number for number in range(12) if store.read("st"[number % 2], f"l{number}", 0).state == "ended"]
    assert held[0] == 0 and held[1:] == list(range(held[1], 12)) and 6 <= len(held) <= 8


def test_unfinished_streams_are_bounded_together() -> None:
    """They keep their newest event, however many there are; new ones are refused until there is room."""
    store = MemoryStore(max_bytes=4 * MiB)
    store.create_session("s", {})
    for number in range(20):
        store.create_log("s", f"l{number}")
    for _ in range(10):
        for number in range(20):
            store.append("s", f"l{number}", b"x" * (MiB // 8))
    assert store._sum <= 4 * MiB + 20 * (MiB // 8)
    for number in range(20):
        last = store.append("s", f"l{number}", None)
        assert store.read("s", f"l{number}", last - 1).entries
    store.append("s", "l0", b"x" * 4 * MiB)
    with pytest.raises(StoreFull, match="bytes"):
        store.create_log("s", "more")
    with pytest.raises(StoreFull):
        store.create_session("t", {})
    with pytest.raises(StoreFull):
        store.update_session("s", {"a": 1})
    assert store.update_session("s", {"a": None})  # what only drops something may always be done
    for number in range(20):
        store.append("s", f"l{number}", None, end=True)
    assert store.create_log("s", "more")


class Counted(dict[str, Any]):
    """Sessions that count how often somebody walks over all of them."""

    walks = 0

    def values(self) -> Any:
        self.walks += 1
        return super().values()


def test_full_store_is_not_searched_at_each_write() -> None:
    """Where nothing can be dropped it is looked for again only after a while, or when something has ended."""
    store = MemoryStore(max_bytes=MiB, clock=(clock := Clock()))
    store._sessions = sessions = Counted()
    store.create_session("s", {})
    entry = b"x" * 4000  # what each stream may keep, even then
    number = 0
    while store._sum <= MiB:
        number += 1
        store.create_log("s", f"l{number}")
        store.append("s", f"l{number}", entry)
    walks = sessions.walks
    for _ in range(100):
        assert store.append("s", "l1", entry)
    assert sessions.walks == walks and store._sum < 2 * MiB
    clock.now += 1
    store.append("s", "l1", entry)
    assert sessions.walks == walks + 1
    store.append("s", "l2", None, end=True)
    store.append("s", "l1", entry)
    assert store.read("s", "l2", 0).state == "gone"


def test_fields_of_sessions_count() -> None:
    store = MemoryStore(max_bytes=MiB)
    with pytest.raises(StoreFull):
        for number in range(100):
            store.create_session(f"s{number}", {"client_info": {"name": "x" * 100_000}})
    assert len(dict(store.iter_sessions())) == 11


def test_everything_is_given_back() -> None:
    """Nothing stays counted of what is gone, in whatever way it went."""
    store = MemoryStore(session_ttl=100.0, log_ttl=10.0, max_finished=2, max_log_events=8, clock=(clock := Clock()))
    for name in "abc":
        store.create_session(name, {"x": 1})
        for number in range(5):
            store.create_log(name, f"l{number}")
            for _ in range(20):
                store.append(name, f"l{number}", b"data")
            store.append(name, f"l{number}", None, end=True)
        store.create_log(name, "l4")  # anew
        store.update_session(name, {"y": "long" * 100})
        store.update_session(name, {"y": None})
    store.delete_session("a")
    clock.now += 50
    store.get_session("b")
    clock.now += 60
    assert store.get_session("c") is None and store._sum > 0
    store.delete_session("b")
    assert store._sum == 0 and not dict(store.iter_sessions())


@pytest.mark.parametrize("use", ["get_session", "create_log", "read"])
def test_finished_streams_expire_without_new_sessions(use: str) -> None:
    """One session alone makes its old streams go."""
    store = MemoryStore(log_ttl=10.0, clock=(clock := Clock()))
    store.create_session("s", {})
    store.create_log("s", "done")
    store.append("s", "done", b"a", end=True)
    clock.now += 11
    if use == "get_session":
        store.get_session("s")
    elif use == "create_log":
        store.create_log("s", "next")
    assert store.read("s", "done", 0).state == "gone"
    if use != "read":
        assert "done" not in store._sessions["s"].logs
