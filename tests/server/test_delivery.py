"""A store that is away for a moment: handlers do not notice, nothing is lost, and nothing stays behind."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamhttp_client.server import Context, MemoryStore, Server, SQLiteStore, WSGIApp
from streamhttp_client.server.delivery import Backlog, LogWriter
from streamhttp_client.server.stores.base import Page, StoreClosed, StoreUnavailable
from tests.server.kit import PATIENCE, Direct, Reply


class Away(MemoryStore):
    """A store that fails while ``away``: before it has done what it should, or after."""

    late = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.away = threading.Event()
        self.refused = 0

    def _fail(self) -> None:
        if self.away.is_set():
            self.refused += 1
            raise StoreUnavailable("the store does not answer")

    def append(self, session: str, log: str, data: bytes | None, *, end: bool = False) -> int:
        if not self.late:
            self._fail()
        number = super().append(session, log, data, end=end)
        self._fail()
        return number

    def read(self, session: str, log: str, after: int, **options: Any) -> Page:
        if not options.get("reader"):
            self._fail()
        return super().read(session, log, after, **options)

    def release(self, session: str, log: str, reader: int, position: int) -> None:
        self._fail()
        super().release(session, log, reader, position)


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamhttp_client.server.delivery._INTERVAL", 0.01)


@pytest.fixture
def away() -> Away:
    return Away()


@pytest.fixture
def backlog() -> Iterator[Backlog]:
    backlog = Backlog()
    yield backlog
    backlog.close(0.0)


def messages(reply: Reply) -> Iterator[Any]:
    for chunk in reply.chunks:
        for line in chunk.decode().splitlines():
            if line.startswith("data: {"):
                yield json.loads(line[6:])


def call(direct: Direct, tool: str) -> Reply:
    return direct.request("tools/call", {"name": tool, "arguments": {}, "_meta": {"progressToken": "t"}})


@pytest.mark.parametrize("late", [False, True])
def test_handler_does_not_notice(away: Away, late: bool) -> None:
    """Progress during an outage raises nothing, also one longer than any number of tries, and arrives once."""
    away.late = late
    server, gone, back = Server("test", "1"), threading.Event(), threading.Event()

    @server.tool()
    def work(ctx: Context) -> str:
        ctx.progress(1)
        away.away.set()
        for done in (2, 3, 4):
            ctx.progress(done)
        assert not ctx.cancelled
        gone.set()
        return "kept"

    app = server.wsgi(store=away)
    direct = Direct(app).initialize()
    with call(direct, "work") as reply:
        found = messages(reply)
        assert next(found)["params"]["progress"] == 1
        assert gone.wait(PATIENCE)
        while away.refused < 20:
            back.wait(0.001)
        away.away.clear()
        rest = list(found)
    assert [message.get("params", {}).get("progress") for message in rest] == [2, 3, 4, None]
    assert rest[-1]["result"]["content"][0]["text"] == "kept"
    assert app.close() and not app._runner._backlog._jobs


def test_question_during_an_outage(away: Away) -> None:
    """It is sent when the store is back, and its answer is waited for."""
    server, asked = Server("test", "1"), threading.Event()

    @server.tool()
    def ask(ctx: Context) -> str:
        away.away.set()
        threading.Timer(0.1, away.away.clear).start()
        asked.set()
        return str(ctx.elicit("name?", timeout=PATIENCE).action)

    app = server.wsgi(store=away)
    direct = Direct(app)
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"elicitation": {}},
        "clientInfo": {"name": "x", "version": "1"},
    }
    with direct.request("initialize", params) as reply:
        direct.session = reply.headers["mcp-session-id"]
        reply.body()
    with call(direct, "ask") as reply:
        found = messages(reply)
        question = next(found)
        with direct.post({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}}) as accepted:
            assert accepted.status == 202
            accepted.body()
        assert next(found)["result"]["content"][0]["text"] == "decline"
    assert app.close()


def test_disk_without_room_for_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call ends with an error that has room, and nobody waits for ever."""
    monkeypatch.setattr("streamhttp_client.server.delivery._PATIENCE", 0.1)
    store = SQLiteStore(tmp_path / "store.db")
    server = Server("test", "1")

    @server.tool()
    def big() -> str:
        return "x" * 2_000_000

    app = server.wsgi(store=store)
    direct = Direct(app).initialize()
    with store._open().lock:
        (pages,) = store._open().sql.execute("PRAGMA page_count").fetchone()
        store._open().sql.execute(f"PRAGMA max_page_count = {pages + 20}")
    assert "no room" in direct.tool("big")["message"]
    assert app.close()
    store.close()


def test_streams_that_end_in_an_outage_are_not_counted_for_ever(away: Away) -> None:
    """Else a few of them close the endpoint until it is started again."""
    server = Server("test", "1")
    app: WSGIApp = server.wsgi(store=away, max_streams=2)
    direct = Direct(app).initialize()
    for _ in range(3):
        with direct.send("GET") as reply:
            assert reply.status == 200
            next(reply.chunks)
            away.away.set()
        away.away.clear()
    assert app.close()


def test_what_is_held_is_bounded(away: Away, backlog: Backlog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notifications are dropped, a long result becomes a short error, a question is kept."""
    monkeypatch.setattr("streamhttp_client.server.delivery._MAX_HELD", 100)
    away.create_session("s", {})
    away.create_log("s", "l")
    writer = LogWriter(away, "s", "l", backlog)
    away.away.set()
    writer.append(b"1" * 60, droppable=True)
    writer.append(b"2" * 60, droppable=True)
    writer.append(b"3" * 60)
    writer.append(b"4" * 60, end=True, instead=b"short")
    away.away.clear()
    backlog.close(PATIENCE)
    assert away.read("s", "l", 0) == ([(1, b"1" * 60), (2, b"3" * 60), (3, b"short")], "ended")
    assert backlog._held == 0


def test_end_of_the_backlog(away: Away, caplog: pytest.LogCaptureFixture) -> None:
    """Closing waits for a bounded time, says what is lost, and a closed store is not asked again."""
    backlog, calls = Backlog(), []

    def closed() -> None:
        calls.append(1)
        raise StoreClosed("closed")

    backlog.attempt(closed, "something")
    backlog.add(closed)
    away.away.set()
    backlog.add(away._fail)
    backlog.close(0.2)
    backlog.add(closed)  # after the end nothing is tried any more
    assert len(calls) == 2 and "1 answers are lost" in caplog.text


def test_stream_that_could_not_begin(away: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that fails in the middle of it keeps no log for good, and by it the session."""
    server = Server("test", "1")

    @server.tool()
    def work() -> str:
        raise AssertionError("it was refused")

    app = server.wsgi(store=away)
    direct = Direct(app).initialize()

    def fail(*given: Any) -> int:
        away.away.set()
        raise StoreUnavailable("the store does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(away, "claim", fail)
        with direct.request("tools/call", {"name": "work"}) as reply:
            assert reply.status == 503
            reply.body()
    away.away.clear()
    assert app.close(PATIENCE)
    ((_, held),) = away._sessions.items()
    assert [log.ended for log in held.logs.values()] == [True]


def test_nobody_waits_for_what_is_tried_again(away: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that takes its time to fail holds up the thread that tries again, and no handler."""
    away.create_session("s", {})
    away.create_log("s", "l")
    backlog = Backlog()
    writer = LogWriter(away, "s", "l", backlog)
    away.away.set()
    writer.append(b"1")
    tried, go = threading.Event(), threading.Event()

    def hang(*given: Any, **options: Any) -> Any:
        tried.set()
        assert go.wait(PATIENCE)
        raise StoreUnavailable("the store does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(away, "append", hang)
        patch.setattr(away, "read", hang)
        assert tried.wait(PATIENCE)
        handler = threading.Thread(target=lambda: writer.append(b"2", end=True))
        handler.start()
        handler.join(1.0)
        assert not handler.is_alive()
    away.away.clear()
    go.set()
    backlog.close(PATIENCE)
    assert away.read("s", "l", 0) == ([(1, b"1"), (2, b"2")], "ended")
