"""The tasks extension: tool calls that the server finishes later."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamhttp_client import (
    CallCancelled,
    CallTimeout,
    CapabilityError,
    Client,
    ClientClosed,
    ConnectionLost,
    InputRequired,
    InvalidParams,
    InvalidResult,
    LocalProtocolError,
    MethodNotFound,
    Progress,
    RPCError,
    StreamHTTPError,
    Timeout,
    ToolError,
)
from streamhttp_client.client import engine
from streamhttp_client.net.interrupt import Interrupt
from streamhttp_client.net.timeouts import Deadline
from tests.client._modern import (
    ALL,
    CAPABILITIES,
    DONE,
    TASKS,
    asks,
    elicit,
    kept,
    meta_of,
    no_other_requests,
    only_posts,
    open_modern,
    text,
)
from tests.client._peer import AT_ONCE, BOUND
from tests.support.rawserver import ModernMCPServer, Peer, Request, rpc_refusal
from tests.transport._faults import InThread, within

Script = Callable[[Peer, Request], None]
ADA = {"action": "accept", "content": {"name": "Ada"}}


@pytest.fixture
def server(_nothing_left: None) -> Iterator[ModernMCPServer]:
    with ModernMCPServer(capabilities=ALL) as server:
        server.on("tools/call", task("working", kind="task"))
        yield server


def task(status: str, *, kind: str = "complete", **more: Any) -> dict[str, Any]:
    """A task as it stands, asked after again at once."""
    return {
        "resultType": kind, "taskId": "t-1", "status": status, "ttlMs": None, "pollIntervalMs": 0,
        "createdAt": "2026-08-01T10:00:00Z", "lastUpdatedAt": "2026-08-01T10:00:01Z", **more,
    }  # fmt: skip


def done(words: str = "ok", **more: Any) -> dict[str, Any]:
    return task("completed", result={"content": [{"type": "text", "text": words}], **more})


def keys(server: ModernMCPServer) -> list[str]:
    return [request.key for request in server.requests]


class Pauses:
    """Records the pauses between questions, and does not wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds: list[float] = []
        monkeypatch.setattr(Interrupt, "sleep", lambda interrupt, seconds: self.seconds.append(seconds))


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    return Pauses(monkeypatch)


# --- to the end
# ----------------------------------------------------------------------------------------------------------------------


def test_a_call_that_becomes_a_task(server: ModernMCPServer) -> None:
    """T-17, X16, H26-10: the client offers the extension with the call and asks after the task until it has its result;
    each question names the task, in a header too, and is a request of its own.
    """
    server.on("tasks/get", task("working"), task("working"), done("later"))
    with open_modern(server) as client:
        result = client.call_tool("t", {"a": 1})
        assert result.text == "later"
        assert client.call_tool("t").text == "later"
    assert keys(server)[:4] == ["tools/call", "tasks/get", "tasks/get", "tasks/get"]
    assert meta_of(server.requests[0])[CAPABILITIES] == {"extensions": {TASKS: {}}}
    assert "task" not in server.requests[0].json["params"]
    for request in server.seen("tasks/get"):
        assert request.json["params"]["taskId"] == request.header("Mcp-Name") == "t-1"
        assert request.header("Mcp-Method") == "tasks/get"
        assert set(request.json["params"]) == {"taskId", "_meta"}
    assert len({request.id for request in server.requests}) == len(server.requests)
    assert only_posts(server)


def test_a_task_that_is_done_at_once(server: ModernMCPServer) -> None:
    """T-17: a task that has ended when it is made is not asked after."""
    server.on("tools/call", {**done("at once"), "resultType": "task"})
    with open_modern(server) as client:
        assert client.call_tool("t").text == "at once"
    assert keys(server) == ["tools/call"]


def test_a_tool_that_fails_as_a_task(server: ModernMCPServer) -> None:
    """T-17, T-08: a failure that the tool reports is the result of a task that is completed."""
    server.on("tasks/get", done("bad luck", isError=True))
    with open_modern(server) as client:
        with pytest.raises(ToolError, match="bad luck"):
            client.call_tool("t")
        assert client.call_tool("t", raise_on_error=False).is_error


def test_a_task_that_failed(server: ModernMCPServer) -> None:
    """T-17, T-08: of a task that failed the JSON-RPC error is raised, whatever of it there is."""
    errors: list[tuple[Any, int, str]] = [
        ({"code": -32602, "message": "odd", "data": [1]}, -32602, "odd"),
        ({"code": "x", "message": 7}, -32603, "failed"),
        ({}, -32603, "failed"),
        (None, -32603, "failed"),
    ]
    for error, code, words in errors:
        server.on("tasks/get", task("failed", **({} if error is None else {"error": error})))
        with open_modern(server) as client, pytest.raises(RPCError, match=words) as caught:
            client.call_tool("t")
        assert caught.value.code == code
    server.on("tasks/get", task("failed", error=errors[0][0]))
    with open_modern(server) as client, pytest.raises(InvalidParams) as refused:
        client.call_tool("t")
    assert refused.value.data == [1]


def test_a_task_that_was_cancelled_elsewhere(server: ModernMCPServer) -> None:
    """T-17, K-03: it ends the call as cancelled; nothing is cancelled once more."""
    server.on("tasks/get", task("cancelled"))
    with open_modern(server) as client, pytest.raises(CallCancelled):
        client.call_tool("t")
    assert keys(server) == ["tools/call", "tasks/get"]


@pytest.mark.parametrize("result", [None, 7, "ok", [], {}, {"content": 7}], ids=repr)
def test_a_result_that_is_none(server: ModernMCPServer, result: Any) -> None:
    """T-17, BASE-07: a task that is completed without the result of a tool is the server's mistake."""
    server.on("tasks/get", task("completed", **({} if result is None else {"result": result})))
    with open_modern(server) as client, pytest.raises(InvalidResult):
        client.call_tool("t")


@pytest.mark.parametrize(
    "change",
    [{"taskId": None}, {"taskId": 7}, {"status": None}, {"status": []}, {"pollIntervalMs": "1"}, {"inputRequests": []}],
    ids=str,
)
@pytest.mark.parametrize("method", ["tools/call", "tasks/get"])
def test_a_malformed_task(server: ModernMCPServer, method: str, change: dict[str, Any]) -> None:
    """T-17: a task of another shape is an error, when it is made and later."""
    server.on("tasks/get", done())
    wrong = {**task("working", kind="task" if method == "tools/call" else "complete"), **change}
    server.on(method, {name: value for name, value in wrong.items() if value is not None})
    with open_modern(server) as client, pytest.raises(InvalidResult):
        client.call_tool("t")


def test_a_status_that_is_new(server: ModernMCPServer) -> None:
    """T-17: a status that is not known is not the end."""
    server.on("tasks/get", task("paused"), task("resuming"), done())
    with open_modern(server) as client:
        assert client.call_tool("t").text == "ok"


def test_structured_results(server: ModernMCPServer) -> None:
    """X13, T-06: what a task brings may hold any JSON value, and is what the call gives back."""
    for value in ({"a": 1}, [1, [2]], "text", 7, 1.5, True, False):
        server.on("tasks/get", done(structuredContent=value))
        with open_modern(server) as client:
            result = client.call_tool("t")
        assert result.structured_content == value and type(result.structured_content) is type(value)


@pytest.mark.parametrize("method", ["prompts/get", "resources/read", "tools/list", "tasks/get"])
def test_what_cannot_become_a_task(server: ModernMCPServer, method: str) -> None:
    """BASE-07, T-17: the extension is for tool calls; a task in place of another answer is invalid."""
    server.on(method, task("working", kind="task"))
    ask: dict[str, Callable[[Client], Any]] = {
        "prompts/get": lambda client: client.get_prompt("p"),
        "resources/read": lambda client: client.read_resource("a:b"),
        "tools/list": lambda client: client.list_tools(),
        "tasks/get": lambda client: client.get_task("t-1"),
    }
    with open_modern(server) as client, pytest.raises(InvalidResult):
        ask[method](client)
    assert no_other_requests(server, method)


def test_a_hint_of_the_session_era(server: ModernMCPServer) -> None:
    """X16, T-14: ``execution.taskSupport`` is of 2025-11-25: here the server decides, and the call is a plain one."""
    for support in ("required", "forbidden", "optional"):
        tool = {"name": "t", "inputSchema": {"type": "object"}, "execution": {"taskSupport": support}}
        server.on("tools/list", kept(0, tools=[tool]))
        server.on("tools/call", DONE, task("working", kind="task"))
        server.on("tasks/get", done("later"))
        with open_modern(server) as client:
            client.list_tools()
            assert client.call_tool("t").text == "ok"
            assert client.call_tool("t").text == "later"
            assert client.call_tool_as_task("t").task_id == "t-1"  # type: ignore[union-attr]
    assert all("task" not in request.json["params"] for request in server.seen("tools/call"))
    assert not server.seen("tasks/result")


# --- between the questions
# ----------------------------------------------------------------------------------------------------------------------


def test_the_servers_interval(server: ModernMCPServer, pauses: Pauses) -> None:
    """T-17: each pause is what the server last said; a second if it says nothing, and never a flood."""
    intervals: list[Any] = [1000, 2500, None, 0, -5, 0.5, 60_000]
    stages = [task("working", pollIntervalMs=interval) for interval in intervals[1:]]
    for stage in stages:
        if stage["pollIntervalMs"] is None:
            del stage["pollIntervalMs"]
    server.on("tools/call", task("working", kind="task", pollIntervalMs=intervals[0]))
    server.on("tasks/get", *stages, done())
    with open_modern(server, timeout=Timeout(total=None)) as client:
        assert client.call_tool("t").text == "ok"
    assert pauses.seconds == [1.0, 2.5, 1.0, 0.05, 0.05, 0.05, 60.0]


@pytest.mark.parametrize("interval", [1e12, 1e308, 10**400], ids=["long", "float", "int"])
def test_an_interval_without_end(server: ModernMCPServer, interval: Any) -> None:
    """T-17, K-06: an interval beyond all measure is waited for within the limits of the call, and no other error."""
    server.on("tools/call", task("working", kind="task", pollIntervalMs=interval))
    server.on("tasks/get", task("working", pollIntervalMs=interval))
    with open_modern(server, timeout=Timeout(total=None)) as client:
        call = client.stream_tool("t")
        reader = InThread(lambda: call.result)
        server.wait_for(lambda seen: bool(seen))
        rest = threading.Event()
        assert not rest.wait(0.2)  # so that it has come to the pause, which cannot be seen from here
        call.cancel()
        reader.join(AT_ONCE)
        assert isinstance(reader.error, CallCancelled), repr(reader.error)
        with within(0.6 + AT_ONCE), pytest.raises(CallTimeout):
            client.call_tool("t", timeout=0.6)


def test_what_is_told_meanwhile(server: ModernMCPServer) -> None:
    """T-17, P-02, P-06: the call yields the task whenever its status or words change, and progress under its own token;
    ``call.task`` is the task as it was last seen. Words are progress too, which does not go back for them.
    """

    def with_progress(peer: Peer, request: Request) -> None:
        token = meta_of(server.seen("tools/call")[0])["progressToken"]
        peer.start_stream()
        params = {"progressToken": token, "progress": 5, "total": 10}
        peer.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        peer.event_result(request, task("working", statusMessage="half"))
        peer.end_stream()

    server.on("tasks/get", task("working"), with_progress, task("working", statusMessage="half"), done())
    told: list[Progress] = []
    with open_modern(server) as client, client.stream_tool("t", on_progress=told.append) as call:
        assert call.task is None
        events = []
        for event in call:
            events.append(event)
            assert call.task is not None and call.task.task_id == "t-1"
        assert call.task is not None and call.task.status == "completed"
        assert call.result.text == "ok"
    kinds = [getattr(event, "status", None) or event.progress for event in events]
    assert kinds == ["working", 5, "working", "completed"]
    assert [(update.progress, update.total, update.message) for update in told] == [(5, 10, None), (5, 10, "half")]


def test_waiting_tells_too(server: ModernMCPServer) -> None:
    """T-17: whoever waits for a task by its id hears its words as progress, and its log messages."""

    def with_log(peer: Peer, request: Request) -> None:
        peer.start_stream()
        params = {"level": "info", "data": "digging"}
        peer.event({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
        peer.event_result(request, task("working", statusMessage="half"))
        peer.end_stream()

    server.on("tasks/get", task("working"), with_log, done())
    told: list[Progress] = []
    logged: list[Any] = []
    with open_modern(server) as client:
        assert client.wait_task("t-1", on_progress=told.append, on_log=logged.append).text == "ok"
        with pytest.raises(LocalProtocolError, match="on_progress"):
            client.wait_task("t-1", on_progress=7)  # type: ignore[arg-type]
    assert [update.message for update in told] == ["half"] and [message.data for message in logged] == ["digging"]


@pytest.mark.parametrize("broken", ["cut", "503"])
def test_a_question_that_is_lost(server: ModernMCPServer, broken: str) -> None:
    """T-17, H26-06: to ask how a task stands is a read: it is asked again, and the tool is not called again."""
    lost: Script = (lambda peer, request: peer.cut()) if broken == "cut" else (lambda peer, request: peer.respond(503))
    server.on("tasks/get", lost, task("working"), lost, lost, done())
    with open_modern(server) as client:
        assert client.call_tool("t", idempotent=False).text == "ok"
    assert len(server.seen("tools/call")) == 1 and len(server.seen("tasks/get")) == 5


def test_a_server_that_is_lost_for_good(server: ModernMCPServer) -> None:
    """T-17, K-06: the call fails, the task goes on, and its id is there for another attempt."""
    server.on("tasks/get", lambda peer, request: peer.cut())
    with open_modern(server) as client:
        call = client.stream_tool("t")
        with pytest.raises(ConnectionLost) as caught:
            call.result  # noqa: B018
        assert caught.value.may_have_executed
        assert call.task is not None
        server.on("tasks/get", done())
        assert client.wait_task(call.task).text == "ok"
    assert len(server.seen("tools/call")) == 1 and not server.seen("tasks/cancel")


def test_a_task_that_is_gone(server: ModernMCPServer) -> None:
    """T-17: what the server says of a task that it does not know is raised."""
    server.on("tasks/get", rpc_refusal(200, -32602, "no such task"))
    with open_modern(server) as client:
        with pytest.raises(InvalidParams, match="no such task"):
            client.call_tool("t")
        with pytest.raises(InvalidParams, match="no such task"):
            client.wait_task("t-9")


# --- input
# ----------------------------------------------------------------------------------------------------------------------


def test_a_task_that_asks(server: ModernMCPServer) -> None:
    """T-17, M26-02, M26-07: its questions are answered by the callbacks, once each, however often they are shown; new
    ones as they come. The answers are in ``tasks/update`` and in no other request.
    """
    one, two = {"who": elicit("1")}, {"who": elicit("1"), "town": elicit("2")}
    server.on(
        "tasks/get",
        task("input_required", inputRequests=one),
        task("input_required", inputRequests=one),
        task("input_required", inputRequests=two),
        task("working"),
        done(),
    )
    server.on("tasks/update", {"resultType": "complete"}, {})
    asked: list[str] = []

    def handler(params: Any) -> Any:
        asked.append(params.message)
        return ADA

    with open_modern(server, elicitation=handler) as client:
        assert client.call_tool("t").text == "ok"
    assert asked == ["1", "2"]
    updates = server.seen("tasks/update")
    assert [request.json["params"]["inputResponses"] for request in updates] == [{"who": ADA}, {"town": ADA}]
    assert [request.json["params"]["taskId"] for request in updates] == ["t-1", "t-1"]
    assert [request.header("Mcp-Name") for request in updates] == ["t-1", "t-1"]
    others = [request for request in server.requests if request.key != "tasks/update"]
    assert all("inputResponses" not in request.json["params"] for request in others)


def test_a_task_that_asks_and_asks(server: ModernMCPServer, pauses: Pauses) -> None:
    """T-17, K-06: a task that has another question after each answer is looked at in its own interval after the first
    one, so that it cannot keep client and server busy where no user has to think.
    """
    questions = [task("input_required", inputRequests={str(n): elicit(str(n))}, pollIntervalMs=500) for n in range(4)]
    server.on("tasks/get", *questions, task("working", pollIntervalMs=700), done())
    server.on("tasks/update", {})
    with open_modern(server, elicitation=lambda params: ADA) as client:
        assert client.call_tool("t").text == "ok"
    assert len(server.seen("tasks/update")) == 4
    assert pauses.seconds == [0.05, 0.5, 0.5, 0.5, 0.7]


def test_an_answer_that_does_not_fit(server: ModernMCPServer) -> None:
    """T-17, M26-02: a server that refuses an answer as invalid still wants one: the question is asked again, and what
    was answered well meanwhile is not.
    """
    question = {"who": elicit("1")}
    server.on("tasks/get", task("input_required", inputRequests=question),
              task("input_required", inputRequests=question), task("working"), done())  # fmt: skip
    server.on("tasks/update", rpc_refusal(200, -32602, "who: name is too short"), {"resultType": "complete"})
    answers = iter([{"action": "accept", "content": {"name": name}} for name in ("A", "Ada")])
    with open_modern(server, elicitation=lambda params: next(answers)) as client:
        assert client.call_tool("t").text == "ok"
    sent = [request.json["params"]["inputResponses"]["who"]["content"] for request in server.seen("tasks/update")]
    assert sent == [{"name": "A"}, {"name": "Ada"}] and not server.seen("tasks/cancel")


@pytest.mark.parametrize("status", [200, 400])
def test_answers_that_never_fit(server: ModernMCPServer, status: int) -> None:
    """T-17, M26-08, M26-09: it is not asked for ever: after ten refusals the call ends with the question and the
    server's words, and the task goes on with what another gives it.
    """
    server.on("tasks/get", task("input_required", inputRequests={"who": elicit()}))
    server.on("tasks/update", rpc_refusal(status, -32602, "who: name is too short"))
    asked: list[Any] = []

    def handler(params: Any) -> Any:
        asked.append(params)
        return ADA

    with open_modern(server, elicitation=handler) as client, within(BOUND):
        with pytest.raises(InputRequired, match="who: name is too short") as caught:
            client.call_tool("t")
        assert len(asked) == len(server.seen("tasks/update")) == 10
        assert isinstance(caught.value.__cause__, InvalidParams)
        server.on("tasks/update", {"resultType": "complete"})
        server.on("tasks/get", done("at last"))
        assert client.continue_call(caught.value.to_json(), {"who": ADA}).text == "at last"
    assert not server.seen("tasks/cancel")


def test_another_refusal_of_an_answer(server: ModernMCPServer) -> None:
    """T-17, BASE-09: what is refused for another reason than its content is not asked again."""
    server.on("tasks/get", task("input_required", inputRequests={"who": elicit()}))
    server.on("tasks/update", rpc_refusal(200, -32603, "no"))
    with open_modern(server, elicitation=lambda params: ADA) as client, pytest.raises(RPCError) as caught:
        client.call_tool("t")
    assert caught.value.code == -32603 and len(server.seen("tasks/update")) == 1


WHOLE = 40.0  # seconds for a verb with all that it takes
LEFT = 0.5  # what is left of them after its first request

#: Verbs of several requests: the first of them, and the one that is never answered.
LONG: dict[str, tuple[str, str, Callable[..., Any]]] = {
    "wait_task": ("tasks/get", "tasks/get", lambda client, **k: client.wait_task("t-1", **k)),
    "get_task_result": ("tasks/get", "tasks/get", lambda client, **k: client.get_task_result("t-1", **k)),
    "cancel_task": ("tasks/cancel", "tasks/get", lambda client, **k: client.cancel_task("t-1", **k)),
    "call_tool": ("tools/call", "tasks/get", lambda client, **k: client.call_tool("t", **k)),
    "continue_call": (
        "tasks/update",
        "tasks/get",
        lambda client, **k: client.continue_call(
            InputRequired(
                "m", method="tasks/update", params={"taskId": "t-1"},
                result=task("input_required", inputRequests={"who": elicit()}),
            ),
            {"who": ADA}, **k,
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LONG)
def test_one_time_for_all_requests(server: ModernMCPServer, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """T-17, K-06: the time that the caller gives a verb is for all of its requests, and it is what the error names."""
    first, last, ask = LONG[name]
    passed = [0.0]
    monkeypatch.setattr(Deadline.__init__, "__defaults__", (lambda: time.monotonic() + passed[0],))

    def slow(peer: Peer, request: Request) -> None:
        passed[0] += WHOLE - LEFT
        peer.respond_result(request, task("working", kind="task" if first == "tools/call" else "complete"))

    server.on(last, lambda peer, request: peer.hold())
    server.on(first, slow, lambda peer, request: peer.hold())
    server.on("tasks/cancel" if first != "tasks/cancel" else "unknown", {"resultType": "complete"})
    with open_modern(server) as client, within(WHOLE / 4), pytest.raises(CallTimeout, match=r"\b40 s"):
        ask(client, timeout=WHOLE)


def test_a_call_that_asks_and_then_becomes_a_task(server: ModernMCPServer) -> None:
    """T-17, M26-10: rounds of the call come first, then questions of the task."""
    server.on("tools/call", asks({"a": elicit()}, "s"), task("working", kind="task"))
    server.on("tasks/get", task("input_required", inputRequests={"b": elicit()}), done())
    server.on("tasks/update", {})
    with open_modern(server, elicitation=lambda params: ADA) as client:
        assert client.call_tool("t").text == "ok"
    assert keys(server) == ["tools/call", "tools/call", "tasks/get", "tasks/update", "tasks/get"]


def test_a_task_whose_question_nobody_answers(server: ModernMCPServer) -> None:
    """T-17, M26-09: the call ends, the task does not; another client goes on from the JSON of the error."""
    question = task("input_required", inputRequests={"who": elicit()})
    server.on("tasks/get", question)
    with open_modern(server) as client, pytest.raises(InputRequired) as caught:
        client.call_tool("t")
    assert list(caught.value.requests) == ["who"]
    assert not server.seen("tasks/cancel") and not server.seen("tasks/update")

    server.on("tasks/get", task("working"), done("after all"))
    server.on("tasks/update", {})
    with open_modern(server) as other:
        assert other.continue_call(caught.value.to_json(), {"who": ADA}).text == "after all"
    (update,) = server.seen("tasks/update")
    assert update.json["params"]["taskId"] == "t-1" and update.json["params"]["inputResponses"] == {"who": ADA}


def test_answers_by_hand(server: ModernMCPServer) -> None:
    """T-17: a caller may ask and answer step by step, some of the questions at a time."""
    question = {"who": elicit(), "town": elicit()}
    server.on("tasks/get", task("input_required", inputRequests=question), done())
    server.on("tasks/update", {})
    with open_modern(server) as client:
        seen = client.get_task("t-1")
        assert seen.status == "input_required" and set(seen.input_requests or {}) == {"who", "town"}  # type: ignore[union-attr]
        client.update_task("t-1", {"town": ADA})
        client.update_task("t-1", {"who": {"action": "decline"}})
        assert client.get_task_result("t-1").text == "ok"
    assert [request.json["params"]["inputResponses"] for request in server.seen("tasks/update")] == [
        {"town": ADA}, {"who": {"action": "decline"}},
    ]  # fmt: skip


# --- the end that the caller wants
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["pause", "question"])
@pytest.mark.parametrize("how", ["cancel", "block"])
def test_cancelling(server: ModernMCPServer, where: str, how: str) -> None:
    """T-17, K-07, K-01: the thread that waits is back at once, and the server is told with ``tasks/cancel``, once."""
    polled = threading.Event()

    def silent(peer: Peer, request: Request) -> None:
        polled.set()
        peer.wait_gone()

    interval = 0 if where == "question" else 60_000
    server.on("tools/call", task("working", kind="task", pollIntervalMs=interval))
    server.on("tasks/get", silent)
    server.on("tasks/cancel", {})
    with open_modern(server, timeout=60) as client:
        call = client.stream_tool("t")
        if how == "block":
            with call:
                next(call)
        else:
            made = threading.Event()

            def read() -> None:
                for _ in call:
                    made.set()

            reader = InThread(read)
            assert made.wait(BOUND) and (where == "pause" or polled.wait(BOUND))
            with within(AT_ONCE):
                call.cancel()
                reader.join(AT_ONCE)
            assert isinstance(reader.error, CallCancelled), repr(reader.error)
        call.cancel()
        server.wait_for(lambda seen: any(request.key == "tasks/cancel" for request in seen))
        assert client.list_tools()
    (cancel,) = server.seen("tasks/cancel")
    assert cancel.json["params"]["taskId"] == cancel.header("Mcp-Name") == "t-1"
    assert only_posts(server) and not server.seen("notifications/cancelled")


@pytest.mark.parametrize("interval", [0, 60_000])
def test_a_deadline(server: ModernMCPServer, interval: int) -> None:
    """T-17, K-06: when the time of the call is over, after a last look, the task is cancelled."""
    server.on("tools/call", task("working", kind="task", pollIntervalMs=interval))
    server.on("tasks/get", task("working", pollIntervalMs=interval))
    server.on("tasks/cancel", {})
    with open_modern(server) as client:
        with within(0.7 + AT_ONCE), pytest.raises(CallTimeout):
            client.call_tool("t", timeout=0.7)
    assert len(server.seen("tasks/cancel")) == 1
    assert server.seen("tasks/get")


def test_a_deadline_of_whoever_waits(server: ModernMCPServer) -> None:
    """T-17, K-06: who only waits for a task gives up alone; the task goes on, and can be waited for again."""
    server.on("tasks/get", task("working"))
    with open_modern(server) as client:
        with within(0.6 + AT_ONCE), pytest.raises(CallTimeout):
            client.wait_task("t-1", timeout=0.6)
        server.on("tasks/get", done())
        assert client.wait_task("t-1").text == "ok"
    assert not server.seen("tasks/cancel")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("mine")], ids=repr)
def test_a_callback_that_raises(server: ModernMCPServer, error: BaseException) -> None:
    """T-17, K-07: the very error reaches the caller, and the task is cancelled."""
    server.on("tasks/get", task("working", statusMessage="hello"))
    server.on("tasks/cancel", {})

    def on_progress(update: Progress) -> None:
        raise error

    with open_modern(server) as client:
        with pytest.raises(type(error)) as caught:
            client.call_tool("t", on_progress=on_progress)
        assert caught.value is error
        error.__traceback__ = None  # pytest keeps the error, and so would keep all frames
    assert len(server.seen("tasks/cancel")) == 1


@pytest.mark.parametrize(
    "answer",
    [
        rpc_refusal(404, -32601),
        rpc_refusal(200, -32602),
        lambda peer, request: peer.cut(),
        lambda peer, request: peer.wait_gone(),
    ],
    ids=["404", "-32602", "cut", "silent"],
)
def test_cancelling_is_a_wish(server: ModernMCPServer, answer: Script) -> None:
    """T-17, K-03: whatever the server makes of it, the caller gets its own news, and soon."""
    server.on("tasks/get", task("working"))
    server.on("tasks/cancel", answer)
    with open_modern(server) as client:
        with within(0.5 + 2 + AT_ONCE), pytest.raises(CallTimeout):
            client.call_tool("t", timeout=0.5)
        assert client.list_tools()


def test_closing_the_client_cancels_tasks(server: ModernMCPServer) -> None:
    """K-07, T-17: a call that has become a task is cancelled like any other; a task that is only waited for is not."""
    server.on("tools/call", task("working", kind="task", taskId="t-2", pollIntervalMs=60_000))
    server.on("tasks/get", task("working", pollIntervalMs=60_000))
    server.on("tasks/cancel", {})
    client = open_modern(server, timeout=60)
    made = threading.Event()

    def read() -> None:
        for _ in client.stream_tool("t"):
            made.set()

    readers = [InThread(read), InThread(lambda: client.wait_task("t-1"))]
    assert made.wait(BOUND)
    server.wait_for(lambda seen: any(request.key == "tasks/get" for request in seen))
    with within(AT_ONCE):
        client.close()
        for reader in readers:
            reader.join(AT_ONCE)
    assert all(isinstance(reader.error, ClientClosed) for reader in readers), [reader.error for reader in readers]
    (cancel,) = server.seen("tasks/cancel")
    assert cancel.json["params"]["taskId"] == "t-2"


def test_closing_where_tasks_cannot_be_cancelled(server: ModernMCPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """K-07: a server that does not answer keeps nobody: the time to say goodbye in is for all tasks together."""
    monkeypatch.setattr(engine, "FAREWELL_SECONDS", 0.5)
    server.on("tools/call", task("working", kind="task", pollIntervalMs=60_000))
    server.on("tasks/cancel", lambda peer, request: peer.wait_gone())
    client = open_modern(server, timeout=60)
    calls = [client.stream_tool("t") for _ in range(4)]
    for call in calls:
        next(call)
    with within(AT_ONCE):
        client.close()
    server.wait_for(lambda seen: server.seen("tasks/cancel"))
    assert len(server.seen("tasks/cancel")) == 1


def test_leaving_in_the_middle_of_a_question(server: ModernMCPServer) -> None:
    """K-07, L25-12: whoever leaves while the answer about the task is still coming lets go of that too."""

    def with_progress(peer: Peer, request: Request) -> None:
        token = meta_of(server.seen("tools/call")[0])["progressToken"]
        peer.start_stream()
        params = {"progressToken": token, "progress": 1}
        peer.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        peer.wait_gone()
        gone.set()

    gone = threading.Event()
    server.on("tasks/get", with_progress)
    server.on("tasks/cancel", {})
    with open_modern(server) as client:
        with client.stream_tool("t") as call:
            for event in call:
                if isinstance(event, Progress):
                    break
        assert gone.wait(AT_ONCE)
        assert client._engine.work.calls() == []


def test_closing_the_client(server: ModernMCPServer) -> None:
    """K-07: ``close()`` ends the waiting at once; with ``end_session=False`` the task may be followed later, by id."""
    server.on("tools/call", task("working", kind="task", pollIntervalMs=60_000))
    client = open_modern(server, timeout=60)
    made = threading.Event()
    call = client.stream_tool("t")

    def read() -> None:
        for _ in call:
            made.set()

    server.on("tasks/get", task("working", pollIntervalMs=60_000))
    readers = [InThread(read), InThread(lambda: client.wait_task("t-1"))]
    assert made.wait(BOUND)
    server.wait_for(lambda seen: any(request.key == "tasks/get" for request in seen))
    with within(AT_ONCE):
        client.close(end_session=False)
        for reader in readers:
            reader.join(AT_ONCE)
    assert all(isinstance(reader.error, ClientClosed) for reader in readers), [reader.error for reader in readers]
    assert not server.seen("tasks/cancel")
    server.on("tasks/get", done())
    with open_modern(server) as other:
        assert call.task is not None
        assert other.wait_task(call.task).text == "ok"


# --- the verbs
# ----------------------------------------------------------------------------------------------------------------------


def test_starting_a_task(server: ModernMCPServer) -> None:
    """T-17: ``call_tool_as_task`` gives the task at once, or the result where the server makes none; nothing waits."""
    with open_modern(server) as client:
        made = client.call_tool_as_task("t", {"a": 1})
        assert made.task_id == "t-1" and made.status == "working"  # type: ignore[union-attr]
        assert keys(server) == ["tools/call"]
        server.on("tools/call", text("at once"))
        result = client.call_tool_as_task("t")
        assert result.text == "at once"  # type: ignore[union-attr]
    assert not server.seen("tasks/cancel")


def test_coming_back_to_a_task(server: ModernMCPServer) -> None:
    """T-17: its id is all that another client needs, in a process that never called the tool."""
    with open_modern(server) as client:
        made = client.call_tool_as_task("t")
    server.on("tasks/get", task("working"), done("a"), done("b"), done("c", isError=True))
    with open_modern(server) as other:
        assert other.wait_task("t-1").text == "a"
        assert other.wait_task(made).text == "b"  # type: ignore[arg-type]
        with pytest.raises(ToolError, match="c"):
            other.get_task_result("t-1")
        assert other.wait_task("t-1", raise_on_error=False).is_error
    assert set(keys(server)) == {"tools/call", "tasks/get"}


@pytest.mark.parametrize("ended", ["cancelled", "completed", "working"])
def test_cancelling_by_id(server: ModernMCPServer, ended: str) -> None:
    """T-17, K-03: cancelling is cooperative: the answer is an empty one, so the task is asked how it stands then."""
    server.on("tasks/cancel", {"resultType": "complete"})
    server.on("tasks/get", {**done(), "status": ended})
    with open_modern(server) as client:
        assert client.cancel_task("t-1").status == ended
    assert keys(server) == ["tasks/cancel", "tasks/get"]


@pytest.mark.parametrize("known", [True, False])
def test_there_is_no_list(server: ModernMCPServer, known: bool) -> None:
    """X16, T-17: tasks cannot be listed in this era: where the server has said what it can, this is refused here."""
    with open_modern(server, known=known) as client:
        client.connect()
        with pytest.raises((CapabilityError, MethodNotFound)):
            client.list_tasks()
        assert set(keys(server)) <= ({"tasks/list"} if known else {"server/discover"})


@pytest.mark.parametrize("known", [True, False])
def test_a_list_is_not_asked_for(server: ModernMCPServer, known: bool) -> None:
    """X16, T-17: what the revision does not have is refused as such, whatever the server has said of itself, and
    nothing is sent.
    """
    with open_modern(server, known=known) as client:
        client.connect()
        before = len(server.requests)
        for ask in (client.list_tasks, lambda: next(client.iter_tasks()), lambda: list(client.iter_tasks())):
            with pytest.raises(CapabilityError, match="2026-07-28 has no list of tasks"):
                ask()
        assert len(server.requests) == before


def test_a_server_without_the_extension(_nothing_left: None) -> None:
    """T-17, V26-09: where the server says that it lacks it, nothing about tasks is sent; calls are calls."""
    with ModernMCPServer() as server, open_modern(server, known=False) as client:
        asked: list[Callable[[], Any]] = [
            lambda: client.get_task("t"),
            lambda: client.cancel_task("t"),
            lambda: client.wait_task("t"),
            lambda: client.get_task_result("t"),
            lambda: client.update_task("t", {}),
        ]
        for ask in asked:
            with pytest.raises(CapabilityError):
                ask()
        assert set(keys(server)) == {"server/discover"}
        assert client.call_tool("t").text == "ok"


@pytest.mark.parametrize("name", ["täsk", " t ", "a\nb", "=?base64?eA==?="], ids=ascii)
def test_ids_that_headers_cannot_say(server: ModernMCPServer, name: str) -> None:
    """H26-11, T-17: the id of a task is encoded in the header as any name is."""
    server.on("tools/call", {**task("working", kind="task"), "taskId": name})
    server.on("tasks/get", {**done(), "taskId": name})
    with open_modern(server) as client:
        assert client.call_tool("t").text == "ok"
    (request,) = server.seen("tasks/get")
    assert request.json["params"]["taskId"] == name
    header = request.header("Mcp-Name")
    assert header is not None and header.startswith("=?base64?") and header != name


def test_many_tasks_at_once(server: ModernMCPServer) -> None:
    """T-17, M26-07: threads follow tasks of their own on one client, each with its own questions."""
    states: dict[str, int] = {}
    lock = threading.Lock()

    def call(peer: Peer, request: Request) -> None:
        name = request.json["params"]["arguments"]["n"]
        peer.respond_result(request, {**task("working", kind="task"), "taskId": name})

    def get(peer: Peer, request: Request) -> None:
        name = request.json["params"]["taskId"]
        with lock:
            step = states[name] = states.get(name, 0) + 1
        stage = done(name)
        if step == 2:
            stage = task("input_required", inputRequests={f"q-{name}": elicit(name)})
        elif step < 5:
            stage = task("working", statusMessage=f"{name} {step}")
        peer.respond_result(request, {**stage, "taskId": name})

    def update(peer: Peer, request: Request) -> None:
        name = request.json["params"]["taskId"]
        content = {"action": "accept", "content": {"name": name}}
        assert request.json["params"]["inputResponses"] == {f"q-{name}": content}
        peer.respond_result(request, {})

    server.on("tools/call", call)
    server.on("tasks/get", get)
    server.on("tasks/update", update)
    answer = lambda params: {"action": "accept", "content": {"name": params.message}}  # noqa: E731
    with open_modern(server, elicitation=answer) as client:
        threads = [
            InThread(lambda name=f"n{number}": client.call_tool("t", {"n": name}).text)  # type: ignore[misc]
            for number in range(8)
        ]
        for thread in threads:
            thread.join(BOUND)
    assert [thread.value for thread in threads] == [f"n{number}" for number in range(8)], [
        thread.error for thread in threads
    ]


def test_a_task_of_another_name(server: ModernMCPServer) -> None:
    """T-17: a question about one task that is answered with another one is a mistake, and not followed."""
    server.on("tasks/get", {**task("working"), "taskId": "t-2"}, done())
    with open_modern(server) as client:
        try:
            client.call_tool("t")
        except StreamHTTPError:
            pass
    assert {request.json["params"]["taskId"] for request in server.seen("tasks/get")} == {"t-1"}
