"""Tasks of 2025-11-25: started, polled at the server's own pace, asked and answered, cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from streamhttp_client import (
    CallTimeout,
    ClientClosed,
    InvalidParams,
    ReadTimeout,
    RemoteProtocolError,
    RetryPolicy,
    Timeout,
    ToolError,
)
from streamhttp_client.net.interrupt import Interrupt
from tests.client._peer import AT_ONCE, BOUND, OK, fail, note, open_client, progress, token_of
from tests.support.rawserver import Peer, RawMCPServer, Request
from tests.transport._faults import InThread, within

RELATED = {"io.modelcontextprotocol/related-task": {"taskId": "t-1"}}


def task(status: str = "working", **more: Any) -> dict[str, Any]:
    return {
        "taskId": "t-1", "status": status, "ttl": 60_000, "createdAt": "2025-11-25T10:00:00Z",
        "lastUpdatedAt": "2025-11-25T10:00:01Z", **more,
    }  # fmt: skip


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between questions; none is waited."""
    waits: list[float] = []
    monkeypatch.setattr(Interrupt, "sleep", lambda self, seconds: waits.append(seconds))
    return waits


@pytest.fixture
def required(server: RawMCPServer) -> RawMCPServer:
    """A server whose tool ``slow`` can only be called as a task, and ``fast`` never."""
    schema = {"type": "object"}
    tools = [
        {"name": "slow", "inputSchema": schema, "execution": {"taskSupport": "required"}},
        {"name": "either", "inputSchema": schema, "execution": {"taskSupport": "optional"}},
        {"name": "fast", "inputSchema": schema, "execution": {"taskSupport": "forbidden"}},
        {"name": "silent", "inputSchema": schema},
    ]
    server.on("tools/list", {"tools": tools})
    server.on("tools/call", {"task": task()})
    server.on("tasks/get", task(), task("completed"))
    server.on("tasks/result", {**OK, "_meta": RELATED})
    return server


def test_a_task_step_by_step(required: RawMCPServer, waits: list[float]) -> None:
    """T-14, T-15: started with a time to live in milliseconds, asked about, waited for, and its result fetched."""
    with open_client(required) as client:
        started = client.call_tool_as_task("slow", {"a": 1}, ttl=1.5, meta={"x": 1})
        assert (started.task_id, started.status, started.is_terminal) == ("t-1", "working", False)
        assert client.get_task("t-1").status == "working"
        assert client.get_task_result("t-1").text == "ok"
        assert client.wait_task(started).text == "ok"
    (call,) = required.seen("tools/call")
    assert call.json["params"] == {"name": "slow", "arguments": {"a": 1}, "task": {"ttl": 1500}, "_meta": {"x": 1}}
    for key in ("tasks/get", "tasks/result"):
        for request in required.seen(key):
            assert request.json["params"] == {"taskId": "t-1"}  # T-16: no related-task here


def test_no_meta_on_what_names_its_task(required: RawMCPServer, waits: list[float]) -> None:
    """T-16: tasks/get, tasks/list and tasks/cancel carry the id in their parameters, and not in ``_meta``."""
    required.on("tasks/list", {"tasks": [task()]})
    required.on("tasks/cancel", task("cancelled"))
    with open_client(required) as client:
        client.get_task("t-1")
        assert [one.task_id for one in client.list_tasks()] == ["t-1"]
        assert client.cancel_task("t-1").status == "cancelled"
    for key in ("tasks/get", "tasks/list", "tasks/cancel"):
        for request in required.seen(key):
            assert "_meta" not in (request.json.get("params") or {})


def test_polling_at_the_servers_pace(server: RawMCPServer, waits: list[float]) -> None:
    """T-15: ``pollInterval`` is kept to, anew each time, whatever status notifications say; else a second."""
    server.on(
        "tasks/get", task(pollInterval=5000), task(pollInterval=250), task(), task(pollInterval=0), task("completed")
    )
    server.on("tasks/result", OK)
    with open_client(server, timeout=600) as client:
        assert client.wait_task("t-1").text == "ok"
    assert waits[:3] == [5.0, 0.25, 1.0]
    assert waits[3] > 0  # 0 would be a busy loop
    assert len(server.seen("tasks/get")) == 5


def test_a_question_on_the_way(server: RawMCPServer, waits: list[float]) -> None:
    """T-15, T-16: at input_required the result is asked for, and what the server asks there is answered."""
    answers: list[Any] = []

    def result(peer: Peer, request: Request) -> None:
        peer.start_stream()
        question = {"message": "sure?", "requestedSchema": {"type": "object", "properties": {}}, "_meta": RELATED}
        peer.event({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": question})
        server.wait_for(lambda seen: server.seen("response"))
        peer.event_result(request, {**OK, "_meta": RELATED})
        peer.end_stream()

    def elicit(params: Any) -> Any:
        answers.append(params.message)
        return {"action": "accept", "content": {}}

    server.on("tasks/get", task(), task("input_required"))
    server.on("tasks/result", result)
    with open_client(server, elicitation=elicit) as client:
        assert client.wait_task("t-1").text == "ok"
    assert answers == ["sure?"]
    assert len(waits) == 1
    (response,) = server.seen("response")
    assert response.json["result"]["_meta"] == RELATED


@pytest.mark.parametrize("status", ["failed", "cancelled", "completed"])
def test_every_end_has_a_result(server: RawMCPServer, waits: list[float], status: str) -> None:
    """T-15: at a terminal status the result is fetched: what the call would have given, an error included."""
    server.on("tasks/get", task(status))
    with open_client(server) as client:
        server.on("tasks/result", fail(-32603, "it broke"))
        with pytest.raises(Exception, match="it broke"):
            client.wait_task("t-1")
        server.on("tasks/result", {"content": [{"type": "text", "text": "bad"}], "isError": True})
        with pytest.raises(ToolError, match="bad"):
            client.wait_task("t-1")
        assert client.wait_task("t-1", raise_on_error=False).text == "bad"
    assert waits == []


def test_tools_that_need_a_task(required: RawMCPServer, waits: list[float]) -> None:
    """T-14: ``call_tool`` uses a task where the tool requires it, and never else, once the tools are known."""
    with open_client(required) as client:
        client.list_tools()
        assert client.call_tool("slow").text == "ok"
        required.on("tools/call", OK)
        for name in ("either", "fast", "silent"):
            assert client.call_tool(name).text == "ok"
    given = {r.json["params"]["name"]: "task" in r.json["params"] for r in required.seen("tools/call")}
    assert given == {"slow": True, "either": False, "fast": False, "silent": False}


@pytest.mark.parametrize("name", ["fast", "silent"])
def test_tools_that_must_not_be_a_task(required: RawMCPServer, name: str) -> None:
    """T-14: "MUST NOT" where ``taskSupport`` is forbidden or absent: the caller is told before anything is sent."""
    with open_client(required) as client:
        client.list_tools()
        with pytest.raises(ValueError, match="task"):
            client.call_tool_as_task(name)
        assert required.seen("tools/call") == []


def test_a_tool_that_answers_at_once(server: RawMCPServer) -> None:
    """T-14: a result in place of a task is the server's error, and says so."""
    with open_client(server) as client, pytest.raises(RemoteProtocolError, match="task"):
        client.call_tool_as_task("echo")


def test_progress_lasts_as_long_as_the_task(required: RawMCPServer, waits: list[float]) -> None:
    """P-06: the token of the call is good until the task has ended: progress that comes with the result is seen."""
    seen: list[float] = []

    def result(peer: Peer, request: Request) -> None:
        token = token_of(required.seen("tools/call")[0])
        peer.start_stream()
        peer.event(progress(token, 1, _meta=RELATED))
        peer.event(progress(token, 2, _meta=RELATED))
        peer.event_result(request, OK)
        peer.end_stream()

    required.on("tasks/result", result)
    with open_client(required) as client:
        client.list_tools()
        client.call_tool("slow", on_progress=lambda event: seen.append(event.progress))
    assert seen == [1, 2]


def test_status_notifications_are_events(server: RawMCPServer) -> None:
    """T-15: they are handed to the client and not relied on."""

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(note("notifications/tasks/status", task("completed")))
        peer.event_result(request, OK)
        peer.end_stream()

    seen: list[Any] = []
    server.on("tools/call", answer)
    with open_client(server, on_notification=seen.append) as client:
        client.call_tool("echo")
    assert [(event.task_id, event.status) for event in seen] == [("t-1", "completed")]


def test_cancelling_a_task_that_has_ended(server: RawMCPServer) -> None:
    """K-01, K-07: -32602 says that it has ended; the notification for calls is not used for tasks."""
    server.on("tasks/cancel", fail(-32602, "already terminal"))
    with open_client(server) as client, pytest.raises(InvalidParams, match="already terminal"):
        client.cancel_task("t-1")
    assert server.seen("notifications/cancelled") == []


def test_the_time_for_a_task(server: RawMCPServer) -> None:
    """K-06: waiting ends with its limit; the task goes on, as it may be waited for again."""
    server.on("tasks/get", task(pollInterval=60_000))
    with open_client(server) as client, within(AT_ONCE):
        with pytest.raises(CallTimeout):
            client.wait_task("t-1", timeout=0.3)
    assert len(server.seen("tasks/get")) <= 3
    assert server.seen("tasks/cancel") == server.seen("notifications/cancelled") == []


@pytest.mark.parametrize("end", ["timeout", "interrupt"])
def test_a_call_that_became_a_task_ends_early(
    required: RawMCPServer, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """K-07: "For task-augmented requests, the tasks/cancel request MUST be used instead of" the notification."""
    required.on("tasks/get", task(pollInterval=60_000 if end == "timeout" else 1))
    required.on("tasks/cancel", task("cancelled"))

    def interrupted(self: Interrupt, seconds: float) -> None:
        raise KeyboardInterrupt

    if end == "interrupt":
        monkeypatch.setattr(Interrupt, "sleep", interrupted)
    kinds: dict[str, type[BaseException]] = {"timeout": CallTimeout, "interrupt": KeyboardInterrupt}
    with open_client(required) as client:
        client.list_tools()
        with pytest.raises(kinds[end]):
            client.call_tool("slow", timeout=0.5)
    (told,) = required.seen("tasks/cancel")
    assert told.json["params"]["taskId"] == "t-1"
    assert required.seen("notifications/cancelled") == []


def test_a_callback_that_raises_while_a_task_runs(required: RawMCPServer) -> None:
    """T-16, K-07: nobody waits for the task any more then, so it is cancelled; the very error reaches the caller."""

    def with_progress(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(progress(token_of(required.seen("tools/call")[0]), 1))
        peer.event_result(request, task())
        peer.end_stream()

    def on_progress(event: object) -> None:
        raise ZeroDivisionError

    required.on("tasks/get", with_progress)
    required.on("tasks/cancel", task("cancelled"))
    with open_client(required) as client:
        client.list_tools()
        with pytest.raises(ZeroDivisionError):
            client.call_tool("slow", on_progress=on_progress)
    assert len(required.seen("tasks/cancel")) == 1


def test_a_silent_server_while_a_task_runs(required: RawMCPServer) -> None:
    """T-14, K-06: silence is told from the end of the time, which need not have one."""
    required.on("tasks/get", lambda peer, request: peer.hold())
    with open_client(required, retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(ReadTimeout, match="silent"):
            client.wait_task("t-1", timeout=Timeout(read=0.2, total=None))


def test_closing_wakes_a_wait_between_questions(server: RawMCPServer) -> None:
    """``close()`` from another thread ends a wait for a task at once, however long its interval is."""
    server.on("tasks/get", task(pollInterval=100_000))
    client = open_client(server, timeout=1000)
    thread = InThread(lambda: client.wait_task("t-1"))
    server.wait_for(lambda seen: server.seen("tasks/get"))
    client.close()
    thread.join(AT_ONCE)
    assert isinstance(thread.error, ClientClosed)


def test_two_tasks_at_once(server: RawMCPServer) -> None:
    """Two threads wait for two tasks of one session."""
    both = threading.Barrier(2)

    def result(peer: Peer, request: Request) -> None:
        both.wait(BOUND)
        text = {"content": [{"type": "text", "text": request.json["params"]["taskId"]}]}
        peer.respond_result(request, text)

    server.on("tasks/get", task("completed"))
    server.on("tasks/result", result)
    with open_client(server) as client:
        client.connect()
        work: Callable[[str], str] = lambda name: client.wait_task(name).text  # noqa: E731
        threads = {name: InThread(lambda name=name: work(name)) for name in ("a", "b")}  # type: ignore[misc]
        for name, thread in threads.items():
            thread.join(BOUND)
            assert (thread.error, thread.value) == (None, name)
