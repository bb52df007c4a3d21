"""Several workers on one store: a client may come to any of them, and any of them may stop."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from streamhttp_client.server import Context, RedisStore, Server, SQLiteStore, WSGIApp
from tests.server.kit import PATIENCE, Direct, Reply
from tests.server.redis_server import redis_url  # noqa: F401

MakeWorker = Callable[[], tuple[WSGIApp, Any]]


class Signals:
    """How the handlers of a test and the test itself wait for each other."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.cancelled = threading.Event()


@pytest.fixture
def signals() -> Signals:
    return Signals()


def make_server(signals: Signals) -> Server:
    server = Server("test", "1")

    @server.tool()
    def slow(ctx: Context) -> str:
        ctx.progress(1)
        assert signals.go.wait(PATIENCE)
        ctx.progress(2)
        return "slow"

    @server.tool()
    def ask(ctx: Context) -> str:
        return str((ctx.elicit("name?", timeout=PATIENCE).content or {})["name"])

    @server.tool()
    def until_cancelled(ctx: Context) -> str:
        ctx.progress(1)
        while not ctx.cancelled:
            threading.Event().wait(0.01)
        signals.cancelled.set()
        return "cancelled"

    @server.tool()
    def stubborn(ctx: Context) -> str:
        ctx.progress(1)
        signals.go.wait(PATIENCE)
        return "too late"

    return server


@pytest.fixture(params=["sqlite", "redis"])
def worker(request: pytest.FixtureRequest, tmp_path: Path, signals: Signals) -> Iterator[MakeWorker]:
    """Makes workers: each has a store object of its own, as if it were another process."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
    with ExitStack() as stack:

        def build() -> tuple[WSGIApp, Any]:
            store: Any
            if request.param == "redis":
                store = RedisStore(url, prefix=f"workers:{tmp_path.name}")
            else:
                store = SQLiteStore(tmp_path / "store.db")
            app = make_server(signals).wsgi(store=store, keepalive=PATIENCE)
            stack.callback(store.close)
            stack.callback(app.close, 1.0)
            return app, store

        yield build


def at(app: WSGIApp, direct: Direct) -> Direct:
    """The same session, at another worker."""
    there = Direct(app)
    there.session = direct.session
    return there


def call(direct: Direct, tool: str) -> Reply:
    return direct.request("tools/call", {"name": tool, "arguments": {}, "_meta": {"progressToken": "t"}})


def parse(text: bytes) -> list[tuple[str, Any]]:
    """Id and message of each event that has a message."""
    found = []
    for block in text.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "data" in fields:
            found.append((fields["id"], json.loads(fields["data"])))
    return found


def read_until(reply: Reply, count: int) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    while len(found) < count:
        found += parse(next(reply.chunks))
    return found


def test_resume_at_another_worker(worker: MakeWorker, signals: Signals) -> None:
    """The call runs at A; the client comes back at B and gets the rest, once and in order."""
    (a, _), (b, _) = worker(), worker()
    direct = Direct(a).initialize()
    with call(direct, "slow") as reply:
        (first,) = read_until(reply, 1)
    with at(b, direct).send("GET", LAST_EVENT_ID=first[0]) as reply:
        assert b": 1000" in next(reply.chunks)  # it is connected, and there is nothing yet
        signals.go.set()
        rest = parse(reply.body())
    assert [event.partition(":")[2] for event, _ in rest] == ["2", "3"]
    assert rest[0][1]["params"]["progress"] == 2 and rest[1][1]["result"]["content"][0]["text"] == "slow"


def test_answer_at_another_worker(worker: MakeWorker) -> None:
    """The handler asks at A; the answer is posted to C."""
    (a, _), (c, _) = worker(), worker()
    direct = Direct(a)
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"elicitation": {}},
        "clientInfo": {"name": "x", "version": "1"},
    }
    with direct.request("initialize", params) as reply:
        direct.session = reply.headers["mcp-session-id"]
        reply.body()
    with call(direct, "ask") as reply:
        ((_, asked),) = read_until(reply, 1)
        answer = {"action": "accept", "content": {"name": "Ada"}}
        with at(c, direct).post({"jsonrpc": "2.0", "id": asked["id"], "result": answer}) as accepted:
            assert accepted.status == 202
            accepted.body()
        ((_, result),) = parse(reply.body())
    assert result["result"]["content"][0]["text"] == "Ada"


def test_cancel_at_another_worker(worker: MakeWorker, signals: Signals) -> None:
    (a, _), (b, _) = worker(), worker()
    direct = Direct(a).initialize()
    with call(direct, "until_cancelled") as reply:
        read_until(reply, 1)
        note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}}
        with at(b, direct).post(note) as accepted:
            assert accepted.status == 202
            accepted.body()
        assert signals.cancelled.wait(PATIENCE)
        assert parse(reply.body()) == []


def test_delete_at_another_worker(worker: MakeWorker, signals: Signals) -> None:
    """The session ends everywhere: the stream at A, and its handler."""
    (a, _), (b, _) = worker(), worker()
    direct = Direct(a).initialize()
    with call(direct, "until_cancelled") as reply:
        read_until(reply, 1)
        with at(b, direct).send("DELETE") as deleted:
            assert deleted.status == 204
        assert signals.cancelled.wait(PATIENCE)
        assert parse(reply.body()) == []
    with direct.request("ping") as reply:
        assert reply.status == 404
        reply.body()


def test_notification_from_another_worker(worker: MakeWorker) -> None:
    """The client listens at A, what changed is said at B."""
    (a, _), (b, _) = worker(), worker()
    direct = Direct(a).initialize()
    with direct.send("GET") as listening:
        next(listening.chunks)
        b._offer.notify_list_changed("tools")
        ((_, message),) = read_until(listening, 1)
    assert message["method"] == "notifications/tools/list_changed"


def test_worker_dies_in_the_middle_of_a_call(worker: MakeWorker, signals: Signals) -> None:
    """Whoever comes back elsewhere is told at once, and does not wait for a handler that is no more."""
    (a, store), (b, _) = worker(), worker()
    direct = Direct(a).initialize()
    with call(direct, "slow") as reply:
        (first,) = read_until(reply, 1)
    store.close()  # no sign of life any more, as after a kill; what A still does goes nowhere
    with at(b, direct).send("GET", LAST_EVENT_ID=first[0]) as reply:
        ((_, answer),) = parse(reply.body())
    assert answer["id"] == 2 and "died" in answer["error"]["message"]
    signals.go.set()


def test_graceful_stop_and_restart(worker: MakeWorker, signals: Signals) -> None:
    """Streams end with a retry, and the next server has it all; of a handler that was told to end an error, since what
    it returned is no whole result.
    """
    before, store = worker()
    direct = Direct(before).initialize()
    with call(direct, "until_cancelled") as reply:
        (first,) = read_until(reply, 1)
        assert before.close()
        last = reply.body()
    store.close()
    after, _ = worker()
    again = at(after, direct)
    assert again.answer("ping") == {}
    if b'"error"' not in last:
        assert b"retry: 1000" in last
    with again.send("GET", LAST_EVENT_ID=first[0]) as reply:
        ((_, answer),) = parse(reply.body())
    assert "the server stopped" in answer["error"]["message"]


def test_a_handler_that_ends_while_the_server_stops(worker: MakeWorker, signals: Signals) -> None:
    """One that did not look whether it should end leaves its result, and the next server has it."""
    before, store = worker()
    direct = Direct(before).initialize()
    with call(direct, "slow") as reply:
        (first,) = read_until(reply, 1)
        stopping = threading.Thread(target=before.close)
        stopping.start()
        signals.go.set()
        stopping.join(PATIENCE)
        reply.body()
    store.close()
    after, _ = worker()
    with at(after, direct).send("GET", LAST_EVENT_ID=first[0]) as reply:
        *_, (_, answer) = parse(reply.body())
    assert answer["result"]["content"][0]["text"] == "slow"


def test_stop_does_not_wait_for_ever(worker: MakeWorker, signals: Signals) -> None:
    """A handler that does not end is answered for with an error."""
    before, store = worker()
    direct = Direct(before).initialize()
    with call(direct, "stubborn") as reply:
        (first,) = read_until(reply, 1)
    assert not before.close(0.01)
    after, _ = worker()
    with at(after, direct).send("GET", LAST_EVENT_ID=first[0]) as reply:
        ((_, answer),) = parse(reply.body())
    assert "stopped" in answer["error"]["message"]
    signals.go.set()
    assert before.close()
