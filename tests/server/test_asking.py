"""What a handler asks the client, and how calls end otherwise than by their result."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamhttp_client import jsonrpc
from streamhttp_client.exceptions import (
    CallTimeout,
    CapabilityError,
    ClientClosed,
    InvalidResult,
    LocalProtocolError,
    RPCError,
    ToolError,
)
from streamhttp_client.server import Context, MemoryStore, Server, ServerSession, WSGIApp
from streamhttp_client.server.calls import Call
from streamhttp_client.server.delivery import Backlog
from streamhttp_client.server.stores.base import Page
from tests.server.kit import PATIENCE, Direct, Reply

Handler = Callable[[Context], Any]


class Bench:
    """A server whose one tool does what a test says, and a client that answers its questions."""

    def __init__(self, app: WSGIApp, **capabilities: Any) -> None:
        self.app = app
        self.direct = Direct(app)
        params = {
            "protocolVersion": "2025-11-25",
            "capabilities": capabilities,
            "clientInfo": {"name": "bench", "version": "1"},
        }
        with self.direct.request("initialize", params) as reply:
            self.direct.session = reply.headers.get("mcp-session-id")
            reply.body()
        self.asked: list[Any] = []

    def call(self, answer: Any = None) -> Any:
        """The tool's result; ``answer`` is a result for each request of the server, or an error object."""
        params = {"name": "do", "arguments": {}, "_meta": {"progressToken": 1, "more": 2}}
        with self.direct.request("tools/call", params) as reply:
            for message in [reply.json()] if "json" in reply.headers["content-type"] else messages(reply):
                if "method" not in message:
                    return message.get("result", message.get("error"))
                self.asked.append(message)
                if "id" in message and answer is not None:
                    kind = "error" if "code" in answer else "result"
                    with self.direct.post({"jsonrpc": "2.0", "id": message["id"], kind: answer}) as accepted:
                        accepted.body()
        return None


def messages(reply: Reply) -> Iterator[Any]:
    for chunk in reply.chunks:
        for line in chunk.decode().splitlines():
            if line.startswith("data: "):
                yield json.loads(line[6:])


@pytest.fixture
def make() -> Iterator[Callable[..., Bench]]:
    apps: list[WSGIApp] = []

    def build(handler: Handler, options: Any = None, **capabilities: Any) -> Bench:
        server = Server("bench", "1")

        @server.tool()
        def do(ctx: Context) -> Any:
            return handler(ctx)

        apps.append(server.wsgi(**(options or {})))
        return Bench(apps[-1], **capabilities)

    yield build
    for app in apps:
        assert app.close()


def text(result: Any) -> str:
    return str(result["content"][0]["text"])


def test_sampling(make: Callable[..., Bench]) -> None:
    bench = make(
        lambda ctx: ctx.ask_sampling("Hello", max_tokens=5, system_prompt="Be kind.", temperature=0.5).text, sampling={}
    )
    answer = {"role": "assistant", "content": {"type": "text", "text": "Hi"}, "model": "m"}
    assert text(bench.call(answer)) == "Hi"
    assert bench.asked[0]["method"] == "sampling/createMessage"
    assert bench.asked[0]["params"] == {
        "messages": [{"role": "user", "content": {"type": "text", "text": "Hello"}}],
        "maxTokens": 5,
        "temperature": 0.5,
        "systemPrompt": "Be kind.",
    }


def test_elicitation_by_url(make: Callable[..., Bench]) -> None:
    bench = make(lambda ctx: ctx.elicit_url("Log in", "https://x.test/", "e1").action, elicitation={"url": {}})
    assert text(bench.call({"action": "decline"})) == "decline"
    assert bench.asked[0]["params"] == {
        "mode": "url",
        "message": "Log in",
        "url": "https://x.test/",
        "elicitationId": "e1",
    }


def test_roots(make: Callable[..., Bench]) -> None:
    bench = make(lambda ctx: [root.uri for root in ctx.roots()], roots={})
    assert text(bench.call({"roots": [{"uri": "file:///a"}]})) == '["file:///a"]'


@pytest.mark.parametrize(
    ("handler", "capabilities"),
    [
        (lambda ctx: ctx.ask_sampling("x", max_tokens=1), {}),
        (lambda ctx: ctx.elicit("x"), {"elicitation": {"url": {}}}),
        (lambda ctx: ctx.elicit_url("x", "https://x", "1"), {"elicitation": {}}),
        (lambda ctx: ctx.roots(), {"sampling": {}}),
    ],
)
def test_what_the_client_cannot_do_is_not_asked(
    make: Callable[..., Bench], handler: Handler, capabilities: Any
) -> None:
    """The tool fails with words for the model, and nothing is sent."""
    bench = make(handler, **capabilities)
    result = bench.call()
    assert result["isError"] and "declare" in text(result) and bench.asked == []


def test_refusal_of_the_client(make: Callable[..., Bench]) -> None:
    """It is an error that the handler can catch; otherwise the call ends with it."""
    caught: list[RPCError] = []

    def catching(ctx: Context) -> str:
        try:
            ctx.roots()
        except RPCError as error:
            caught.append(error)
        return "went on"

    refusal = {"code": -1, "message": "not today", "data": {"a": 1}}
    assert text(make(catching, roots={}).call(refusal)) == "went on"
    assert (caught[0].code, caught[0].message, caught[0].data) == (-1, "not today", {"a": 1})
    assert make(lambda ctx: ctx.roots(), roots={}).call(refusal) == refusal


def test_answer_of_another_shape(make: Callable[..., Bench]) -> None:
    def handler(ctx: Context) -> str:
        with pytest.raises(InvalidResult):
            ctx.roots()
        return "noticed"

    assert text(make(handler, roots={}).call({"roots": 7})) == "noticed"


def test_answer_of_another_shape_that_is_not_caught(make: Callable[..., Bench], caplog: Any) -> None:
    """It is the client's mistake: the client hears what it was, and the log of the server is spared."""
    result = make(lambda ctx: ctx.elicit("?").action, elicitation={}).call({"action": 7})
    assert result["isError"] and "action must be a string" in text(result)
    assert not caplog.records


FORM = {"type": "object", "properties": {"name": {"type": "string", "minLength": 1}}, "required": ["name"]}


@pytest.mark.parametrize("content", [{}, {"name": ""}, {"name": 7}, None])
def test_form_filled_in_with_something_else(make: Callable[..., Bench], content: Any) -> None:
    """E-05: "Servers SHOULD validate received data matches the requested schema"."""

    def handler(ctx: Context) -> str:
        with pytest.raises(InvalidResult, match="'name'"):
            ctx.elicit("Your name?", FORM)
        return "noticed"

    answer = {"action": "accept", "content": content}
    assert text(make(handler, elicitation={}).call(answer)) == "noticed"


def test_fields_that_the_form_does_not_have(make: Callable[..., Bench]) -> None:
    """E-05: a handler gets what it asked for, and not what else a client sends."""
    answer = {"action": "accept", "content": {"name": "Ada", "zzz": {"deep": [1]}}}
    for more, got in (({}, {"name": "Ada"}), ({"additionalProperties": True}, answer["content"])):
        bench = make(lambda ctx, more=more: ctx.elicit("?", FORM | more).content, elicitation={})
        assert json.loads(text(bench.call(answer))) == got
    bench = make(lambda ctx: ctx.elicit("?").content, elicitation={})
    assert json.loads(text(bench.call(answer))) == answer["content"], "a form without fields says nothing of them"
    bench = make(lambda ctx: ctx.elicit("?", FORM).action, elicitation={})
    assert text(bench.call({"action": "decline", "content": {"zzz": 1}})) == "decline"


def test_no_answer(make: Callable[..., Bench]) -> None:
    """The handler gets a CallTimeout, and the client is told that its answer is not wanted any more."""

    def handler(ctx: Context) -> str:
        with pytest.raises(CallTimeout):
            ctx.roots(timeout=0.01)
        raise CallTimeout("gave up")

    bench = make(handler, roots={})
    result = bench.call()
    assert result["isError"] and text(result) == "gave up"
    asked, cancelled = bench.asked
    assert cancelled["method"] == "notifications/cancelled" and cancelled["params"]["requestId"] == asked["id"]


class Answering:
    """The way to a client that answers at once, and a handler with a second thread, which looks before the first does
    whether it is still wanted.
    """

    interactive = True

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.call: Call

    def send(self, message: jsonrpc.Message) -> None:
        assert isinstance(message, jsonrpc.Request)
        answer = jsonrpc.Response(message.id, {"to": message.method})
        self.store.append("s", "i1", jsonrpc.dump(answer))
        assert not self.call.cancelled

    def finish(self, response: Any) -> None: ...
    def pause(self, retry_ms: int | None) -> None: ...


def test_threads_of_a_handler() -> None:
    """One may ask, others may look meanwhile whether the client has cancelled, or ask something else."""
    store = MemoryStore()
    store.create_session("s", {})
    outlet = Answering(store)
    call = outlet.call = Call(store, ServerSession("s", {}), jsonrpc.Request(1, "tools/call", {}), outlet, Backlog())
    assert [call.ask(method, {}, PATIENCE) for method in ("a", "b")] == [{"to": "a"}, {"to": "b"}]
    store.append("s", "i1", jsonrpc.dump(jsonrpc.Notification("notifications/cancelled", {"requestId": 1})))
    assert call.cancelled
    call.finish(None)
    assert store.read("s", "i1", 0).state == "gone"


def test_answer_while_the_server_stops(make: Callable[..., Bench]) -> None:
    """Nothing new is begun, but what waits for an answer of its client gets it, and so ends within the grace."""
    bench = make(lambda ctx: ctx.elicit("?").action, elicitation={})
    with bench.direct.request("tools/call", {"name": "do"}) as reply:
        found = messages(reply)
        asked = next(found)
        stopper = threading.Thread(target=lambda: bench.app.close(PATIENCE, grace=PATIENCE))
        stopper.start()
        while not bench.app._runner.stopping:
            assert stopper.is_alive()
        with bench.direct.request("ping") as refused:
            assert refused.status == 503 and refused.headers["retry-after"] == "1"
            refused.body()
        answer = {"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "decline"}}
        with bench.direct.post(answer) as accepted:
            assert accepted.status == 202
            accepted.body()
        assert text(next(found)["result"]) == "decline"
    stopper.join(PATIENCE)


@pytest.mark.parametrize("moment", ["send", "read"])
def test_question_that_outlives_its_call(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """A thread that asks when its handler returns does not wait for an answer that cannot come, and leaves no inbox
    behind.
    """
    store = MemoryStore()
    store.create_session("s", {})
    outlet = Answering(store)
    call = outlet.call = Call(store, ServerSession("s", {}), jsonrpc.Request(1, "tools/call", {}), outlet, Backlog())
    read = store.read

    def read_late(*given: Any, **options: Any) -> Page:
        call.finish(jsonrpc.Response(1, {}))
        return read(*given, **options)

    if moment == "send":
        monkeypatch.setattr(outlet, "send", lambda message: call.finish(jsonrpc.Response(1, {})))
    else:
        monkeypatch.setattr(outlet, "send", lambda message: None)
        monkeypatch.setattr(store, "read", read_late)
    with pytest.raises(LocalProtocolError, match="the call has ended"):
        call.ask("a", {}, 1.0)
    assert store.read("s", "i1", 0).state == "gone"


def test_several_questions(make: Callable[..., Bench]) -> None:
    """Each has its own id, and a late or foreign answer is not taken for another's."""

    def handler(ctx: Context) -> str:
        with pytest.raises(CallTimeout):
            ctx.elicit("first", timeout=0.01)
        return str([ctx.elicit(str(number)).action for number in range(3)])

    bench = make(handler, elicitation={})

    params = {"name": "do", "arguments": {}}
    actions = iter(["accept", "decline", "cancel"])
    with bench.direct.request("tools/call", params) as reply:
        first = ""
        for message in messages(reply):
            if message.get("method") == "elicitation/create":
                if message["params"]["message"] == "first":
                    first = message["id"]
                    continue
                for answered, action in ((first, "accept"), (message["id"], next(actions))):
                    answer = {"jsonrpc": "2.0", "id": answered, "result": {"action": action}}
                    with bench.direct.post(answer) as accepted:
                        accepted.body()
            elif "result" in message:
                assert text(message["result"]) == "['accept', 'decline', 'cancel']"


@pytest.mark.parametrize("options", [{"json_response": True}, {"stateless": True}])
def test_where_nothing_can_be_asked(make: Callable[..., Bench], options: Any) -> None:
    """A JSON answer has no room for questions, and a stateless server has no way back for the answer."""

    def handler(ctx: Context) -> str:
        ctx.progress(1)
        ctx.close_connection()
        try:
            ctx._call.ask("roots/list", {}, 1.0)
        except CapabilityError:
            return "could not"
        return "could"

    assert text(make(handler, options, roots={}).call({"roots": []})) == "could not"


def test_what_a_handler_knows(make: Callable[..., Bench]) -> None:
    seen: list[Any] = []

    def handler(ctx: Context) -> None:
        seen.extend([ctx.request_id, dict(ctx.meta), ctx.session.client_info, ctx.cancelled, repr(ctx.session)])

    bench = make(handler, sampling={"tools": {}})
    bench.call()
    info = {"name": "bench", "version": "1"}
    assert seen[:4] == [2, {"progressToken": 1, "more": 2}, info, False]
    assert bench.direct.session and bench.direct.session not in seen[4]


def test_same_id_at_the_same_time(make: Callable[..., Bench]) -> None:
    """BASE-03: the second request with the id of a running one is refused, and the first goes on."""
    go = threading.Event()

    def handler(ctx: Context) -> str:
        assert go.wait(PATIENCE)
        return "first"

    bench = make(handler)
    request = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "do"}}
    with bench.direct.post(request) as first:
        next(first.chunks)
        with bench.direct.post(request) as second:
            (refused,) = messages(second)
        with bench.direct.post({**request, "method": "ping"}) as third:
            assert third.json()["error"]["code"] == -32600
        with bench.direct.post({**request, "id": "5", "method": "ping"}) as other:
            assert other.json()["result"] == {}
        go.set()
        (answer,) = messages(first)
    assert refused["error"]["code"] == -32600 and text(answer["result"]) == "first"


def test_more_calls_than_threads(make: Callable[..., Bench]) -> None:
    """Of one session some wait for a thread; those beyond are refused, which says that they did not run."""
    go = threading.Event()
    ran: list[object] = []

    def handler(ctx: Context) -> str:
        ran.append(ctx.request_id)
        assert go.wait(PATIENCE)
        return "done"

    bench = make(handler, {"max_threads": 1})
    replies = [bench.direct.request("tools/call", {"name": "do"}) for _ in range(7)]
    # One runs, two wait.
    for busy in replies[3:]:
        with busy:
            assert busy.status == 503 and "retry-after" in busy.headers
            assert busy.json()["error"]["message"] == "the server is busy"
    go.set()
    for reply in replies[:3]:
        with reply:
            (message,) = messages(reply)
            assert text(message["result"]) == "done"
    assert len(ran) == 3


def test_one_session_does_not_take_all_threads(make: Callable[..., Bench]) -> None:
    """Twenty questions that nobody answers, and connections that are closed at once: others are served meanwhile."""
    go = threading.Event()

    def handler(ctx: Context) -> str:
        if ctx.session.revision.name == "2025-06-18":
            assert go.wait(PATIENCE)
        return "done"

    bench = make(handler, {"max_threads": 4})
    greedy = Direct(bench.direct.app).initialize("2025-06-18")
    for _ in range(20):
        with greedy.request("tools/call", {"name": "do"}):
            pass
    for _ in range(3):
        with bench.direct.request("tools/call", {"name": "do"}) as reply:
            (message,) = messages(reply)
            assert text(message["result"]) == "done"
    go.set()


def test_client_of_a_stateless_server_vanishes(make: Callable[..., Bench]) -> None:
    """Nobody can collect the result, so the handler is told."""
    cancelled = threading.Event()

    def handler(ctx: Context) -> None:
        while not ctx.cancelled:
            threading.Event().wait(0.01)
        cancelled.set()

    bench = make(handler, {"stateless": True})
    with bench.direct.request("tools/call", {"name": "do"}) as reply:
        next(reply.chunks)
    assert cancelled.wait(PATIENCE)


def test_session_ends_before_the_question(make: Callable[..., Bench]) -> None:
    ended: list[BaseException] = []
    go = threading.Event()

    def handler(ctx: Context) -> None:
        assert go.wait(PATIENCE)
        try:
            ctx.roots(timeout=PATIENCE)
        except ClientClosed as error:
            ended.append(error)

    bench = make(handler, roots={})
    with bench.direct.request("tools/call", {"name": "do"}) as reply:
        next(reply.chunks)
        with bench.direct.send("DELETE") as deleted:
            deleted.body()
        go.set()
    assert bench.app.close()
    assert len(ended) == 1


class FailingStore(MemoryStore):
    """Fails a few times when a response is to be kept."""

    failures = 2

    def append(self, session: str, log: str, data: bytes | None, *, end: bool = False) -> int:
        if end and data is not None and self.failures:
            self.failures -= 1
            raise OSError("the disk is on fire")
        return super().append(session, log, data, end=end)


def test_response_survives_a_store_that_fails(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is handed over again, and the failure is in the log."""
    monkeypatch.setattr("streamhttp_client.server.delivery._INTERVAL", 0.0)
    store = FailingStore()
    assert text(make(lambda ctx: "kept", {"store": store}).call()) == "kept"
    assert store.failures == 0 and caplog.text.count("it is tried again") == 1


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_handler_that_wants_to_end_the_process(
    make: Callable[..., Bench], error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends the call, not the thread."""

    def handler(ctx: Context) -> None:
        raise error

    bench = make(handler)
    for _ in range(2):
        assert bench.call()["code"] == -32603
    assert "tools/call failed" in caplog.text


def test_error_with_a_result(make: Callable[..., Bench]) -> None:
    """ToolError may carry the whole result."""

    def handler(ctx: Context) -> None:
        raise ToolError("no", result={"content": ["details"], "isError": True})

    assert make(handler).call() == {"content": [{"type": "text", "text": "details"}], "isError": True}
