"""Calls that run on the threads of HTTP requests: how they end when the server stops, or the client cancels."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from streamhttp_client.server import Context, MemoryStore, Server, WSGIApp
from streamhttp_client.server.delivery import Backlog
from streamhttp_client.server.stores.base import Page
from streamhttp_client.server.streams import EventStream
from tests.server.kit import PATIENCE, Direct


class Bench:
    """A server that answers by JSON, a tool and a resource that wait, and a call on a thread of its own."""

    def __init__(self) -> None:
        self.running, self.go = threading.Event(), threading.Event()
        self.until_cancelled = False
        server = Server("test", "1")

        def work(ctx: Context) -> str:
            self.running.set()
            if self.until_cancelled:
                while not ctx.cancelled:
                    assert not self.go.wait(0.001)
            else:
                assert self.go.wait(PATIENCE)
            return "done"

        @server.tool()
        def tool(ctx: Context) -> str:
            return work(ctx)

        @server.resource("test://plain")
        def plain() -> str:
            self.running.set()
            assert self.go.wait(PATIENCE)
            return "done"

        self.app: WSGIApp = server.wsgi(json_response=True)
        self.direct = Direct(self.app).initialize()
        self.answers: list[tuple[int, Any]] = []
        self.thread: threading.Thread | None = None

    def begin(self, method: str, params: Any) -> None:
        def run() -> None:
            with self.direct.request(method, params) as reply:
                self.answers.append((reply.status, reply.json()))

        self.thread = threading.Thread(target=run)
        self.thread.start()
        assert self.running.wait(PATIENCE)

    def answer(self) -> tuple[int, Any]:
        assert self.thread is not None
        self.thread.join(PATIENCE)
        return self.answers[0]


@pytest.mark.parametrize(
    ("method", "params"), [("tools/call", {"name": "tool"}), ("resources/read", {"uri": "test://plain"})]
)
def test_stop_waits_for_what_ends_in_time(method: str, params: Any) -> None:
    bench = Bench()
    bench.begin(method, params)
    ended: list[bool] = []
    stopper = threading.Thread(target=lambda: ended.append(bench.app.close(PATIENCE)))
    stopper.start()
    stopper.join(0.1)
    assert stopper.is_alive()
    bench.go.set()
    stopper.join(PATIENCE)
    status, answer = bench.answer()
    assert ended == [True] and status == 200 and "done" in str(answer["result"])


def test_within_the_grace_handlers_do_not_hear_of_a_stop() -> None:
    """Those that look whether they should end are not worse off than those that do not."""
    running, go = threading.Event(), threading.Event()
    server = Server("test", "1")

    @server.tool()
    def look(ctx: Context) -> str:
        running.set()
        assert go.wait(PATIENCE)
        return f"cancelled: {ctx.cancelled}"

    app = server.wsgi(json_response=True)
    direct = Direct(app).initialize()
    found: list[Any] = []
    caller = threading.Thread(target=lambda: found.append(direct.tool("look")))
    caller.start()
    assert running.wait(PATIENCE)
    stopper = threading.Thread(target=lambda: app.close(PATIENCE, grace=PATIENCE))
    stopper.start()
    deadline = time.monotonic() + PATIENCE
    while True:  # until it stops
        assert time.monotonic() < deadline
        with direct.request("ping") as reply:
            if reply.status == 503:
                break
    go.set()
    for thread in (caller, stopper):
        thread.join(PATIENCE)
    assert found[0]["content"][0]["text"] == "cancelled: False"


def test_streams_of_a_store_in_memory_last_for_the_grace() -> None:
    """What they still have to say could be collected nowhere else."""
    running, go = threading.Event(), threading.Event()
    server = Server("test", "1")

    @server.tool()
    def work() -> str:
        running.set()
        assert go.wait(PATIENCE)
        return "done"

    app = server.wsgi(keepalive=0.01)
    direct = Direct(app).initialize()
    with direct.request("tools/call", {"name": "work"}) as reply:
        assert next(reply.chunks) and running.wait(PATIENCE)
        stopper = threading.Thread(target=lambda: app.close(PATIENCE, grace=PATIENCE))
        stopper.start()
        while not app._runner.stopping:
            assert stopper.is_alive()
        assert next(reply.chunks).startswith(b":")  # it goes on
        go.set()
        assert b"done" in reply.body()
        stopper.join(PATIENCE)


def test_result_of_the_last_moment() -> None:
    """A stream that looked just before its handler ended, and the server stopped, looks once more."""
    stopped: list[bool] = []

    class Late(MemoryStore):
        def read(self, *given: Any, **options: Any) -> Page:
            page = super().read(*given, **{**options, "wait": 0.0})
            if not stopped:
                self.append("s", "l", b"{}", end=True)
                stopped.append(True)
            return page

    store = Late()
    store.create_session("s", {})
    store.create_log("s", "l")
    options: Any = {"ids": True, "polling": False, "retry_ms": 1, "keepalive": PATIENCE, "gone": None}
    stream = EventStream(
        store, "s", "l", 0, store.claim("s", "l"), backlog=Backlog(), stopping=lambda: bool(stopped), **options
    )
    assert b"data: {}" in b"".join(stream)
    stream.close()


def test_after_the_grace_they_do() -> None:
    bench = Bench()
    bench.until_cancelled = True
    bench.begin("tools/call", {"name": "tool"})
    assert bench.app.close(PATIENCE, grace=0.01)
    status, answer = bench.answer()
    assert status == 200 and "stopped" in answer["error"]["message"]


def test_stop_within_the_grace_of_another_ends_it() -> None:
    """Who has less patience decides."""
    bench = Bench()
    bench.until_cancelled = True
    bench.begin("tools/call", {"name": "tool"})
    stopper = threading.Thread(target=lambda: bench.app.close(4 * PATIENCE, grace=4 * PATIENCE))
    stopper.start()
    while not bench.app._runner.stopping:
        assert stopper.is_alive()
    assert bench.app.close(PATIENCE)
    stopper.join(PATIENCE)
    assert not stopper.is_alive()
    assert "stopped" in bench.answer()[1]["error"]["message"]


def test_stop_answers_for_what_does_not() -> None:
    """It tells so by what it returns, and the client is answered."""
    bench = Bench()
    bench.begin("tools/call", {"name": "tool"})
    assert not bench.app.close(0.01)
    bench.go.set()
    status, answer = bench.answer()
    assert status == 200 and "stopped" in answer["error"]["message"]


def test_cancelled_request_is_answered_by_json() -> None:
    """A request gets a JSON object or a stream, never an empty 202."""
    bench = Bench()
    bench.until_cancelled = True
    bench.begin("tools/call", {"name": "tool"})
    note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}}
    with bench.direct.post(note) as accepted:
        assert accepted.status == 202
        accepted.body()
    status, answer = bench.answer()
    assert status == 200 and answer["id"] == 2 and "cancelled" in answer["error"]["message"]
    assert bench.app.close()


def test_call_that_begins_while_the_server_stops() -> None:
    """A request that was let in just before hears of the stop like those that run."""
    server = Server("test", "1")
    cancelled = []

    @server.tool()
    def look(ctx: Context) -> str:
        cancelled.append(ctx.cancelled)
        return "done"

    def principal(environ: Any) -> None:
        if "look" in environ["HTTP_X_TOOL"]:
            app.close(0.0)

    app = server.wsgi(json_response=True, principal=principal)
    direct = Direct(app).initialize(X_TOOL="")
    with direct.request("tools/call", {"name": "look"}, X_TOOL="look") as reply:
        assert "stopped" in reply.json()["error"]["message"]
    assert cancelled == [True]
