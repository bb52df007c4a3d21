"""Streams of the stateless era over real sockets: progress, log messages, and a client that goes."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

pytest.importorskip("cheroot")

from streamhttp_client import jsonrpc
from streamhttp_client.exceptions import CallCancelled
from streamhttp_client.server import Context, RunningServer, Server, StoreError, pipes
from streamhttp_client.server.pipes import Pipe, PipeStream
from tests.server.kit import PATIENCE, Reply, cut, events
from tests.server.modern_kit import PREFIX, ModernDirect, ModernWire, meta


class Scene:
    """A server whose handlers wait for the test, and tell it what they saw."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.cancelled = threading.Event()
        self.server = Server("streams", "1")

        @self.server.tool()
        def count(to: int, ctx: Context) -> str:
            for number in range(1, to + 1):
                ctx.progress(number, to, "counting")
                ctx.log("info", f"at {number}")
                ctx.log("debug", "detail")
            return "counted"

        @self.server.tool()
        def until_cancelled(ctx: Context) -> str:
            ctx.progress(1)
            while not ctx.cancelled and not self.go.is_set():
                threading.Event().wait(0.01)
            if ctx.cancelled:
                self.cancelled.set()
            return "ended"

        @self.server.tool()
        def waiting(ctx: Context) -> str:
            ctx.progress(1)
            assert self.go.wait(PATIENCE)
            ctx.close_connection()
            return "waited"


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def running(scene: Scene) -> Iterator[RunningServer]:
    before = set(threading.enumerate())
    with scene.server.serve() as running:
        yield running
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in left), left


@pytest.fixture
def wire(running: RunningServer) -> ModernWire:
    return ModernWire(running.url)


def call(wire: ModernWire, name: str, arguments: Any = None, **fields: Any) -> http.client.HTTPResponse:
    found: http.client.HTTPResponse = wire.ask(
        "tools/call", {"name": name, "arguments": arguments or {}, "_meta": meta(**fields)}
    )
    return found


def test_progress_and_log_messages(wire: ModernWire) -> None:
    """P-02, G-02: on the request's own stream, before the response, and only what was asked for."""
    with call(wire, "count", {"to": 2}, progressToken="t", logLevel="info") as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["X-Accel-Buffering"] == "no"
        found = list(events(response))
    assert all(set(event) == {"data"} for event in found), "no ids, and no times to come back"
    messages = [json.loads(event["data"]) for event in found]
    assert [message.get("method") for message in messages] == [
        *("notifications/progress", "notifications/message") * 2,
        None,
    ]
    assert messages[0]["params"] == {"progressToken": "t", "progress": 1, "total": 2, "message": "counting"}
    assert messages[1]["params"] == {"level": "info", "data": "at 1"}
    assert messages[-1]["result"]["content"][0]["text"] == "counted"


@pytest.mark.parametrize(
    ("fields", "methods"), [({}, []), ({"progressToken": 0}, ["progress"]), ({"logLevel": "error"}, [])]
)
def test_nothing_without_being_asked(wire: ModernWire, fields: Any, methods: list[str]) -> None:
    """G-02, X10: "MUST NOT emit notifications/message for a request that does not include this field"."""
    with call(wire, "count", {"to": 1}, **fields) as response:
        streamed = response.headers["Content-Type"] == "text/event-stream"
        messages = [json.loads(event["data"]) for event in events(response)] if streamed else [json.load(response)]
    assert [message["method"].rpartition("/")[2] for message in messages[:-1]] == methods
    assert "result" in messages[-1]


def test_what_ends_without_a_word_is_json(wire: ModernWire, monkeypatch: pytest.MonkeyPatch) -> None:
    """H26-03: both kinds of answers, by what the handler does."""
    monkeypatch.setattr("streamhttp_client.server.modern._DECIDE", PATIENCE)
    with call(wire, "count", {"to": 3}) as response:
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Content-Length"] == str(len(response.read()))


def test_what_takes_long_without_a_word_is_a_stream(
    scene: Scene, wire: ModernWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H26-03, S26-09: a client hears soon that it is waited for, and the result comes when it is there."""
    monkeypatch.setattr("streamhttp_client.server.modern._DECIDE", 0.01)
    with call(wire, "waiting") as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.readline() == b":\n"
        scene.go.set()
        (event,) = events(response)
    assert json.loads(event["data"])["result"]["content"][0]["text"] == "waited"


def test_many_messages_are_all_there(wire: ModernWire) -> None:
    """P-04: a handler that says more than is read at once waits for its reader."""
    with call(wire, "count", {"to": 2000}, progressToken="t", logLevel="debug") as response:
        messages = [json.loads(event["data"]) for event in events(response)]
    assert len(messages) == 6001 and "result" in messages[-1]


def test_client_that_goes_has_cancelled(scene: Scene, wire: ModernWire) -> None:
    """X1, X3, K-07: the end of the stream is the cancellation, and the handler sees it."""
    response = call(wire, "until_cancelled", progressToken="t")
    assert next(events(response))
    cut(response)
    assert scene.cancelled.wait(PATIENCE)


def test_client_that_goes_before_there_is_an_answer(scene: Scene) -> None:
    """K-07: the same where the answer is to be JSON."""
    with scene.server.serve(json_response=True) as running:
        wire = ModernWire(running.url)
        connection = http.client.HTTPConnection(wire.address, timeout=PATIENCE)
        params = {"name": "until_cancelled", "arguments": {}, "_meta": meta()}
        headers = {"Mcp-Method": "tools/call", "Mcp-Name": "until_cancelled", "Mcp-Protocol-Version": "2026-07-28"}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        connection.request("POST", wire.path, json.dumps(message), wire.headers() | headers)
        connection.close()
        assert scene.cancelled.wait(PATIENCE)


def test_other_calls_with_the_same_id_go_on(scene: Scene, wire: ModernWire, running: RunningServer) -> None:
    """X12: ids are the client's own affair; those of two clients have nothing to do with each other."""
    first = call(wire, "waiting", progressToken="t")
    second = call(ModernWire(running.url), "waiting", progressToken="t")
    for response in (first, second):
        assert next(events(response))
    cut(first)
    scene.go.set()
    with second:
        assert json.loads([event["data"] for event in events(second)][-1])["result"]["content"][0]["text"] == "waited"


def test_keepalive(scene: Scene) -> None:
    """H26-04: a comment in a silence; and the connection is not closed to be taken up again."""
    with scene.server.serve(keepalive=0.05) as running:
        with call(ModernWire(running.url), "waiting", progressToken="t") as response:
            lines = iter(response.readline, b"")
            assert any(line.startswith(b"data") for line in lines) and b":\n" in lines
            scene.go.set()
            assert any(b"waited" in line for line in lines)


def test_stopping_server_waits_for_results(scene: Scene) -> None:
    """X2: a stream cannot be taken up elsewhere, so what ends in time is still answered."""
    running = scene.server.serve()
    with call(ModernWire(running.url), "waiting", progressToken="t") as response:
        found = events(response)
        assert next(found)
        stopping = threading.Thread(target=running.stop)
        stopping.start()
        scene.go.set()
        (last,) = (json.loads(event["data"]) for event in found)
        stopping.join(PATIENCE)
    assert last["result"]["content"][0]["text"] == "waited"


def test_half_a_result_is_none(scene: Scene) -> None:
    """X2: what a handler returns that has seen that it should end is not passed off as its result."""
    running = scene.server.serve()
    with call(ModernWire(running.url), "until_cancelled", progressToken="t") as response:
        found = events(response)
        assert next(found)
        running.stop()
        (last,) = (json.loads(event["data"]) for event in found)
    assert last["error"] == {"code": -32603, "message": "the server stopped before the call ended"}


def test_stopping_server_does_not_wait_for_ever(scene: Scene) -> None:
    """H26-06: and what does not end is answered by an error."""
    running = scene.server.serve()
    with call(ModernWire(running.url), "waiting", progressToken="t") as response:
        found = events(response)
        assert next(found)
        running.stop(timeout=0.05)
        (last,) = (json.loads(event["data"]) for event in found)
    assert last["error"]["code"] == -32603
    scene.go.set()


def test_too_many_streams(scene: Scene) -> None:
    """One more than may be is answered with 503, and can be tried again."""
    with scene.server.serve(max_streams=1) as running:
        wire = ModernWire(running.url)
        with call(wire, "waiting", progressToken="t") as response:
            assert next(events(response))
            with call(wire, "count", {"to": 1}) as refused:
                assert refused.status == 503 and refused.headers["Retry-After"]
            scene.go.set()
            assert list(events(response))
        with call(wire, "count", {"to": 1}) as response:
            assert response.status == 200


def test_busy_server(scene: Scene) -> None:
    """A call that finds no thread and no place to wait is answered at once; by its status all know that nothing ran."""
    app = scene.server.wsgi(max_threads=0, max_streams=1)
    for _ in range(2):  # and no stream is left open
        with ModernDirect(app).ask("tools/call", {"name": "count", "arguments": {"to": 1}}) as busy:
            assert (busy.status, busy.headers["retry-after"]) == (503, "5")
            assert busy.json()["error"]["message"] == "the server is busy"
    assert app.close()


def test_one_caller_does_not_take_all_threads(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is known by name has half of the threads and of the places to wait; the rest is for others."""
    monkeypatch.setattr("streamhttp_client.server.modern._DECIDE", 0.01)
    app = scene.server.wsgi(max_threads=2, principal=lambda environ: environ.get("HTTP_X_USER"))
    direct = ModernDirect(app)

    def wait(user: str) -> Reply:
        return direct.ask("tools/call", {"name": "waiting"}, X_USER=user)

    with ExitStack() as stack:
        replies = [stack.enter_context(wait("ada")) for _ in range(6)]
        assert [reply.status for reply in replies] == [200] * 5 + [503]
        found = stack.enter_context(direct.ask("tools/call", {"name": "count", "arguments": {"to": 1}}, X_USER="bob"))
        assert b"counted" in found.body()
        scene.go.set()
        assert all(b"waited" in reply.body() for reply in replies[:5])
    assert app.close()


def test_handlers_that_give_up(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """What ends a program or a call in a handler is answered, too."""

    @scene.server.tool()
    def leave() -> None:
        raise SystemExit

    @scene.server.resource("x://broken")
    def broken() -> str:
        raise ValueError("the password is hunter2")

    @scene.server.tool()
    def given_up() -> None:
        raise CallCancelled("nobody wants it")

    app = scene.server.wsgi()
    direct = ModernDirect(app)
    assert direct.call("leave")["code"] == -32603
    assert direct.call("given_up")["code"] == -32603
    error = direct.result("resources/read", {"uri": "x://broken"})
    assert error == {"code": -32603, "message": "internal error"}
    assert "hunter2" in caplog.text
    app.close()


def test_result_without_json_form(scene: Scene) -> None:
    """What cannot be sent is an internal error, not a silence."""

    @scene.server.tool()
    def broken() -> Any:
        return {"value": float("nan")}

    app = scene.server.wsgi()
    assert ModernDirect(app).call("broken")["code"] == -32603
    app.close()


def test_stream_that_was_never_started(scene: Scene) -> None:
    """PEP 3333: ``close()`` comes in every case, and lets go of everything."""
    app = scene.server.wsgi(max_streams=1)
    direct = ModernDirect(app)
    for _ in range(3):
        fields = meta(progressToken="t")
        with direct.ask("tools/call", {"name": "until_cancelled", "_meta": fields}) as reply:
            assert reply.headers["content-type"] == "text/event-stream"
        assert scene.cancelled.wait(PATIENCE)
        scene.cancelled.clear()
    assert app.close()


def test_slow_reader_does_not_hold_a_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """P-04: after its patience a handler goes on, and what is too much is dropped; the response has its place."""
    monkeypatch.setattr(pipes, "_BUDGET", 0.05)
    monkeypatch.setattr(pipes, "_MAX_EVENTS", 10)
    pipe = Pipe()
    for number in range(100):
        pipe.send(jsonrpc.Notification("notifications/progress", {"progress": number}))
    pipe.finish(jsonrpc.Response(1, {}))
    closed: list[bool] = []
    stream = PipeStream(pipe, keepalive=1, gone=None, on_close=closed.append)
    assert b"".join(stream).count(b"data:") == 11
    stream.close()
    stream.close()
    assert closed == [True]


def test_lost_log_messages_are_noticed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What a client does not read is lost at some point; the log of the server says so, once."""
    monkeypatch.setattr(pipes, "_BUDGET", 0.0)
    pipe = Pipe()
    for number in range(30):
        pipe.send(jsonrpc.Notification("notifications/message", {"level": "info", "data": f"{number}" * 100_000}))
    (record,) = caplog.records
    assert record.levelname == "WARNING" and "does not read" in record.getMessage()
    pipe.finish(jsonrpc.Response(1, {}))
    assert 10 < len(pipe.take()[0]) < 25


def test_reports_from_several_threads() -> None:
    """P-02: while one waits for the client, others do not; the last of what they say follows."""
    entered, go, sent = threading.Event(), threading.Event(), list[Any]()

    class SlowCall:
        progress_token = "t"

        def notify(self, method: str, params: Any) -> None:
            sent.append(params["progress"])
            if len(sent) == 1:
                entered.set()
                assert go.wait(PATIENCE)

    ctx = Context(SlowCall())  # type: ignore[arg-type]
    slow = threading.Thread(target=ctx.progress, args=(1,))
    slow.start()
    assert entered.wait(PATIENCE)
    for value in (2, 3, 2.5):
        other = threading.Thread(target=ctx.progress, args=(value,), daemon=True)
        other.start()
        other.join(PATIENCE)
        assert not other.is_alive()
    assert sent == [1]
    go.set()
    slow.join(PATIENCE)
    ctx.progress(4)
    assert sent == [1, 3, 4]


def test_report_that_cannot_be_sent() -> None:
    """P-02: the next one is."""
    sent: list[Any] = []

    class BrokenCall:
        progress_token = "t"

        def notify(self, method: str, params: Any) -> None:
            sent.append(params["progress"])
            if len(sent) == 1:
                raise StoreError("away")

    ctx = Context(BrokenCall())  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        ctx.progress(1)
    ctx.progress(2)
    assert sent == [1, 2]


def test_cross_origin_headers(scene: Scene) -> None:
    """H26-09: a page that may call may send the headers of this era, those of arguments too."""
    app = scene.server.wsgi(allowed_origins=["https://app.example.com"])
    with ModernDirect(app).send(
        "OPTIONS",
        ORIGIN="https://app.example.com",
        ACCESS_CONTROL_REQUEST_METHOD="POST",
        ACCESS_CONTROL_REQUEST_HEADERS="content-type,mcp-method, mcp-param-region,x-evil,mcp-param-\x85",
    ) as reply:
        allowed = reply.headers["access-control-allow-headers"].lower().split(", ")
    assert reply.status == 204
    assert {"mcp-method", "mcp-name", "mcp-param-region", "mcp-protocol-version"} <= set(allowed)
    assert "x-evil" not in allowed and len(allowed) == 9
    app.close()


def test_request_metadata_in_the_context(scene: Scene) -> None:
    """BASE-12, V26-02: handlers see who calls and what came along, trace context too."""

    @scene.server.tool()
    def who(ctx: Context) -> Any:
        return [ctx.session.client_info, ctx.meta["traceparent"], ctx.session.revision.name, ctx.session.session_id]

    app = scene.server.wsgi()
    fields = {**meta(), "traceparent": "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"}
    (block,) = ModernDirect(app).call("who", _meta=fields)["content"]
    assert json.loads(block["text"]) == [fields[f"{PREFIX}clientInfo"], fields["traceparent"], "2026-07-28", None]
    app.close()
