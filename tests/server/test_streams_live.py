"""The server over real sockets: streams, and what happens to them when connections break."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("cheroot")

from streamhttp_client.server import Context, RunningServer, Server
from tests.server.kit import PATIENCE, Wire, cut, events


class Gate:
    """Lets a test decide when a handler goes on."""

    def __init__(self) -> None:
        self.steps = threading.Semaphore(0)
        self.cancelled = threading.Event()

    def open(self, steps: int = 1) -> None:
        for _ in range(steps):
            self.steps.release()

    def wait(self) -> None:
        assert self.steps.acquire(timeout=PATIENCE)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def running(gate: Gate) -> Iterator[RunningServer]:
    server = Server("test", "1.0", instructions="Count.")

    @server.tool()
    def count(to: int, ctx: Context) -> str:
        """Count as the gate allows."""
        for number in range(1, to + 1):
            gate.wait()
            ctx.progress(number, to)
        return "counted"

    @server.tool()
    def ask(ctx: Context) -> str:
        return str((ctx.elicit("Your name?", timeout=PATIENCE).content or {})["name"])

    @server.tool()
    def until_cancelled(ctx: Context) -> str:
        ctx.progress(1)
        while not ctx.cancelled:
            threading.Event().wait(0.01)
        gate.cancelled.set()
        return "never seen"

    @server.tool()
    def polled(ctx: Context) -> str:
        gate.wait()
        ctx.close_connection(retry_ms=7)
        gate.wait()
        return "collected"

    before = set(threading.enumerate())
    with server.serve(retry_ms=50) as running:
        yield running
    left = set(threading.enumerate()) - before
    assert not left, f"threads were left: {left}"


@pytest.fixture
def wire(running: RunningServer) -> Wire:
    return Wire(running.url, elicitation={}).initialize()


def test_stream_begins_with_an_id_and_ends_with_the_response(wire: Wire, gate: Gate) -> None:
    """H25-06: the first event has an id, a retry and no data; the response is the last, each id counts on."""
    gate.open(2)
    with wire.call("count", {"to": 2}, token="t") as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        first, *rest = events(response)
    assert first["data"] == "" and first["retry"] == "50"
    stream = first["id"].partition(":")[0]
    assert [event["id"] for event in [first, *rest]] == [f"{stream}:{number}" for number in range(4)]
    messages = [json.loads(event["data"]) for event in rest]
    assert [message.get("params", {}).get("progress") for message in messages] == [1, 2, None]
    assert messages[-1]["result"]["content"] == [{"type": "text", "text": "counted"}]


def test_first_event_comes_before_the_handler_says_anything(wire: Wire, gate: Gate) -> None:
    """A client can come back from the first moment on."""
    with wire.call("count", {"to": 1}) as response:
        assert next(events(response))["data"] == ""
        gate.open()
        assert len(list(events(response))) == 1


@pytest.mark.parametrize("seen", range(5))
def test_resume_gives_what_came_after_the_id(wire: Wire, gate: Gate, seen: int) -> None:
    """The connection breaks after any event; GET with Last-Event-ID goes on exactly there, and the handler
    went on.
    """
    gate.open(3)
    response = wire.call("count", {"to": 3}, token=1)
    stream = events(response)
    got = [next(stream) for _ in range(seen + 1)]
    cut(response)
    with wire.send("GET", Last_Event_Id=got[-1]["id"]) as response:
        assert response.status == 200
        got += [event for event in events(response) if event["data"]]
    numbers = [int(event["id"].partition(":")[2]) for event in got]
    assert numbers == list(range(5))


def test_cut_while_the_handler_waits(wire: Wire, gate: Gate) -> None:
    """Nobody is connected while the events come; all of them are there for who comes back."""
    response = wire.call("count", {"to": 3}, token=1)
    first = next(events(response))
    cut(response)
    gate.open(3)
    with wire.send("GET", Last_Event_Id=first["id"]) as response:
        data = [json.loads(event["data"]) for event in events(response) if event["data"]]
    assert [message.get("params", {}).get("progress") for message in data] == [1, 2, 3, None]


def test_who_comes_back_takes_the_stream_over(wire: Wire, gate: Gate) -> None:
    """The dead connection may look alive to the server for long: the newer one gets the events, and only
    it.
    """
    old = wire.call("count", {"to": 1}, token=1)
    old_events = events(old)
    first = next(old_events)
    with wire.send("GET", Last_Event_Id=first["id"]) as new:
        assert list(old_events) == []
        gate.open()
        assert sum(bool(event["data"]) for event in events(new)) == 2


def test_finished_stream_can_be_collected_again(wire: Wire, gate: Gate) -> None:
    """The client may have lost the very last bytes."""
    gate.open()
    with wire.call("count", {"to": 1}) as response:
        first, last = events(response)
    for _ in range(2):
        with wire.send("GET", Last_Event_Id=first["id"]) as response:
            assert [event for event in events(response) if event["data"]] == [last]


def test_stream_of_another_session_is_not_found(running: RunningServer, wire: Wire, gate: Gate) -> None:
    """An event id opens nothing without its session."""
    gate.open()
    with wire.call("count", {"to": 1}) as response:
        first = next(events(response))
    other = Wire(running.url).initialize()
    with other.send("GET", Last_Event_Id=first["id"]) as response:
        assert response.status == 410


@pytest.mark.parametrize(("value", "status"), [("nonsense", 400), ("s" + "0" * 32 + ":1", 410)])
def test_unknown_event_id(wire: Wire, value: str, status: int) -> None:
    with wire.send("GET", Last_Event_Id=value) as response:
        assert response.status == status


def test_close_connection_and_come_back(wire: Wire, gate: Gate) -> None:
    """SEP-1699: the handler closes the connection with a retry, and the result is collected later."""
    response = wire.call("polled")
    stream = events(response)
    next(stream)
    gate.open()
    (pause,) = stream
    assert (pause["retry"], pause["data"]) == ("7", "")
    gate.open()
    with wire.send("GET", Last_Event_Id=pause["id"]) as response:
        (last,) = [event for event in events(response) if event["data"]]
    assert json.loads(last["data"])["result"]["content"][0]["text"] == "collected"


def test_older_revision_has_no_empty_events(running: RunningServer, gate: Gate) -> None:
    """O-01: before 2025-11-25 there is no priming event and no early close."""
    wire = Wire(running.url, "2025-06-18").initialize()
    gate.open(2)
    with wire.call("polled") as response:
        (only,) = events(response)
    assert json.loads(only["data"])["result"]["content"][0]["text"] == "collected"


def test_elicitation_on_the_stream_of_the_call(wire: Wire) -> None:
    """H25-09: the server's request comes on the call's stream; the answer comes by a POST of its own."""
    response = wire.call("ask")
    stream = events(response)
    asked = json.loads([event for event in (next(stream), next(stream)) if event["data"]][0]["data"])
    assert asked["method"] == "elicitation/create"
    answer = {"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "accept", "content": {"name": "Ada"}}}
    with wire.post(answer) as accepted:
        assert accepted.status == 202
    (last,) = stream
    assert json.loads(last["data"])["result"]["content"][0]["text"] == "Ada"


def test_client_without_the_capability_is_not_asked(running: RunningServer) -> None:
    """L25-06: only what was negotiated is used."""
    wire = Wire(running.url).initialize()
    result = wire.tool("ask")
    assert result["isError"] and "elicitation" in result["content"][0]["text"]


def test_cancellation_ends_the_stream_without_a_response(wire: Wire, gate: Gate) -> None:
    """K: the handler sees it, the stream ends, and no response is sent."""
    response = wire.call("until_cancelled", token=1)
    stream = events(response)
    next(stream), next(stream)
    params = {"requestId": wire.next_id() - 1, "reason": "enough"}
    with wire.post({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}) as accepted:
        assert accepted.status == 202
    assert list(stream) == []
    assert gate.cancelled.wait(PATIENCE)


def test_delete_ends_the_session_and_its_streams(wire: Wire, gate: Gate) -> None:
    """H25-22: DELETE ends streams and handlers; the session is unknown from then on."""
    response = wire.call("until_cancelled", token=1)
    stream = events(response)
    next(stream), next(stream)
    with wire.send("DELETE") as deleted:
        assert deleted.status == 204
    assert list(stream) == []
    assert gate.cancelled.wait(PATIENCE)
    with wire.request("ping") as response:
        assert response.status == 404


def test_stop_ends_streams_with_a_retry() -> None:
    """A client that is connected when the server stops knows when to come back, though handlers still run."""
    server = Server("test", "1.0")
    released = threading.Event()

    @server.tool()
    def wait() -> str:
        released.wait(PATIENCE)
        return ""

    with server.serve(retry_ms=50) as running:
        wire = Wire(running.url).initialize()
        listening = wire.send("GET")
        stream = events(listening)
        assert next(stream)["retry"] == "50"
        calling = wire.call("wait")
        next(events(calling))
        stopping = threading.Thread(target=running.stop)
        stopping.start()
        assert [event.get("retry") for event in stream] == ["50"]
        assert [event.get("retry") for event in events(calling)] == ["50"]
        released.set()
        stopping.join(PATIENCE)
    running.stop()


def test_stop_that_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while handlers are waited for: nothing listens any more, since a second stop does nothing."""
    running = Server("test", "1.0").serve()

    def interrupted(*given: Any, **options: Any) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(running.app, "close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        running.stop()
    running.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((running.host, running.port), PATIENCE).close()


def test_half_a_result_is_none() -> None:
    """What a handler returns at once when it is told is no result; the stream may have ended before it came."""
    server = Server("test", "1.0")

    @server.tool()
    def wait(ctx: Context) -> str:
        while not ctx.cancelled:
            threading.Event().wait(0.01)
        return "half"

    with server.serve(retry_ms=50) as running:
        calling = Wire(running.url).initialize().call("wait")
        next(events(calling))
    (last,) = events(calling)
    stopped = {"code": -32603, "message": "the server stopped before the call ended"}
    assert last.get("retry") == "50" or json.loads(last["data"])["error"] == stopped


@pytest.mark.parametrize("revision", ["2025-03-26", "2025-06-18"])
def test_stop_tells_older_clients_too(revision: str) -> None:
    """By a retry time without an event, which none of them takes for a message."""
    with Server("test", "1.0").serve(retry_ms=50) as running:
        listening = Wire(running.url, revision).initialize().send("GET")
        assert listening.readline() == b":\n"
    assert listening.read() == b"\nretry: 50\n\n"
