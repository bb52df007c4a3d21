"""A handler that is faster than its client: it waits, or is thinned, and its result arrives."""

from __future__ import annotations

import threading

import pytest

from streamhttp_client.server import Context, MemoryStore, Server
from streamhttp_client.server.pace import Pace
from tests.server.kit import PATIENCE, Direct, Wire, events


def make(**store: int) -> Server:
    server = Server("test", "1")

    @server.tool()
    def count(to: int, ctx: Context) -> str:
        for number in range(1, to + 1):
            ctx.progress(number, to)
        return "counted"

    return server


def test_result_arrives_however_fast_the_handler_is() -> None:
    """Five times as many reports as a stream keeps, to a reader that is slower than the handler."""
    pytest.importorskip("cheroot")
    server = make()
    store = MemoryStore(max_log_events=4000)
    with server.serve(store=store) as running:
        wire = Wire(running.url).initialize()
        with wire.call("count", {"to": 20_000}, token=1) as response:
            seen = [event for event in events(response) if event["data"]]
    assert "counted" in seen[-1]["data"]
    numbers = [int(event["id"].partition(":")[2]) for event in seen]
    assert numbers == list(range(1, len(seen) + 1))


def test_result_is_kept_for_a_client_that_was_away() -> None:
    """It left at the first event and comes back when all is done."""
    server = make()
    finished = threading.Event()

    @server.tool()
    def notice(ctx: Context) -> str:
        for number in range(1, 20_000):
            ctx.progress(number)
        finished.set()
        return "counted"

    direct = Direct(server.wsgi(store=MemoryStore(max_log_events=4000))).initialize()
    params = {"name": "notice", "arguments": {}, "_meta": {"progressToken": 1}}
    with direct.request("tools/call", params) as reply:
        first = next(reply.chunks).decode()
    last_id = [line[4:] for line in first.splitlines() if line.startswith("id: ")][-1]
    assert finished.wait(PATIENCE)
    with direct.send("GET", LAST_EVENT_ID=last_id) as reply:
        assert reply.status == 200
        assert b"counted" in reply.body()


def test_waits_for_a_reader_that_reads() -> None:
    pace = Pace()
    pace.attach(0)
    assert pace.admit(999, 1)
    admitted = threading.Event()
    waiter = threading.Thread(target=lambda: pace.admit(1000, 1) and admitted.set())
    waiter.start()
    assert not admitted.is_set()
    pace.move(500)
    assert admitted.wait(PATIENCE)
    waiter.join(PATIENCE)


def test_does_not_wait_for_one_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """After one bounded wait the rest is dropped at once, until the reader moves."""
    monkeypatch.setattr("streamhttp_client.server.pace._STALL", 0.01)
    pace = Pace()
    pace.attach(0)
    assert [pace.admit(1000, 1) for _ in range(100)] == [False] * 100
    pace.move(1)
    assert pace.admit(1000, 1)


def test_waiting_has_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamhttp_client.server.pace._BUDGET", 0.0)
    pace = Pace()
    pace.attach(0)
    assert not pace.admit(1000, 1)


def test_thins_what_nobody_reads() -> None:
    """Everything up to twice the limit, then less and less, and never more than a store keeps."""
    now = 0.0
    pace = Pace(lambda: now)
    pace.attach(0)
    pace.detach()
    written = 0
    for _ in range(360_000):  # an hour of a hundred reports each second
        now += 0.01
        written += pace.admit(written, 1)
        if written == 2000:
            assert now < 20.1
    assert 3000 < written < 8000
    pace.attach(written)
    assert pace.admit(written, 1)


def test_large_events_count_by_their_bytes() -> None:
    pace = Pace(lambda: 0.0)
    assert pace.admit(100, 10_000) and not pace.admit(300, 10_000)
    assert pace.admit(0, 10 << 20)
