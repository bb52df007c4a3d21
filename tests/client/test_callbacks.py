"""What the server asks for: sampling, elicitation, roots and ping, answered during a call."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from streamhttp_client import InvalidParams, RPCError
from streamhttp_client.protocol.models import (
    CreateMessageResult,
    ElicitFormParams,
    ElicitResult,
    ElicitURLParams,
    Root,
    TextContent,
)
from tests.client._peer import BOUND, OK, asking, note, open_client
from tests.support.rawserver import Peer, RawMCPServer, Request

SAMPLE = {
    "messages": [{"role": "user", "content": {"type": "text", "text": "hello?"}}],
    "maxTokens": 100,
    "modelPreferences": {"hints": [{"name": "small"}], "costPriority": 0.5},
}
SAID = {"role": "assistant", "content": {"type": "text", "text": "hi"}, "model": "m", "stopReason": "endTurn"}
FORM = {
    "message": "who are you?",
    "requestedSchema": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "default": "anna"},
            "age": {"type": "integer", "default": 30},
            "score": {"type": "number", "default": 1.5},
            "good": {"type": "boolean", "default": True},
            "kind": {"type": "string", "enum": ["a", "b"], "default": "b"},
            "free": {"type": "string"},
        },
    },
}
PAGE = {"mode": "url", "message": "log in", "url": "https://example.com/a?b=c", "elicitationId": "e1"}


def ask(server: RawMCPServer, method: str, params: Any = None, **options: Any) -> dict[str, Any]:
    """Have the server ask once during a call, and return what it was answered."""
    answers: list[dict[str, Any]] = []
    server.on("tools/call", asking(server, (method, params), answers=answers))
    with open_client(server, **options) as client:
        assert client.call_tool("t").text == "ok"
    (answer,) = answers
    assert answer["jsonrpc"] == "2.0" and answer["id"] == "ask-0"
    return answer


# --- all of them


@pytest.mark.parametrize("options", [{}, {"sampling": lambda params: SAID}])
def test_ping_is_answered(server: RawMCPServer, options: Any) -> None:
    """L25-10, H25-09: "MUST respond promptly with an empty response", by a POST of its own."""
    assert ask(server, "ping", **options)["result"] == {}
    (response,) = server.seen("response")
    assert response.method == "POST"
    assert response.header("Accept") == "application/json, text/event-stream"


@pytest.mark.parametrize(
    "method", ["sampling/createMessage", "elicitation/create", "roots/list", "tasks/get", "future/method", "tools/list"]
)
def test_what_is_not_offered(server: RawMCPServer, method: str) -> None:
    """E-14, L25-06: a request that nothing was declared for is refused with -32601, and the call goes on."""
    assert ask(server, method, {})["error"]["code"] == -32601


@pytest.mark.parametrize(
    ("method", "params", "option"),
    [("sampling/createMessage", SAMPLE, "sampling"), ("elicitation/create", FORM, "elicitation")]
    + [("roots/list", None, "roots")],
)  # fmt: skip
def test_a_callback_that_fails(
    server: RawMCPServer, caplog: pytest.LogCaptureFixture, method: str, params: Any, option: str
) -> None:
    """The server learns that it failed and not how; the log has it all; the call goes on."""

    def fail(*args: Any) -> Any:
        raise RuntimeError("secret of this machine")

    error = ask(server, method, params, **{option: fail})["error"]
    assert error["code"] == -32603
    assert "secret" not in str(error)
    assert "secret of this machine" in caplog.text


def test_a_callback_that_says_why(server: RawMCPServer) -> None:
    """E-12: an RPCError is told to the server as it is: -1 when the user rejected the sampling."""

    def reject(params: Any) -> Any:
        raise RPCError("User rejected sampling request", code=-1, data={"a": 1})

    error = ask(server, "sampling/createMessage", SAMPLE, sampling=reject)["error"]
    assert error == {"code": -1, "message": "User rejected sampling request", "data": {"a": 1}}


@pytest.mark.parametrize("result", [None, 7, "text", [1], object(), {"a": object()}, {"a": float("nan")}])
@pytest.mark.parametrize(("method", "params", "option"), [("sampling/createMessage", SAMPLE, "sampling")])
def test_a_callback_that_returns_what_it_should_not(
    server: RawMCPServer, method: str, params: Any, option: str, result: Any
) -> None:
    """The server gets an error in place of nonsense, and the call goes on."""
    assert "error" in ask(server, method, params, **{option: lambda params: result})


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_callback_that_ends_the_program(server: RawMCPServer, error: type[BaseException]) -> None:
    """H25-11: Ctrl-C in a callback is Ctrl-C in the call: the server is told that the call is over."""

    def stop(params: Any) -> Any:
        raise error

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event({"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": SAMPLE})
        peer.hold()

    server.on("tools/call", answer)
    with open_client(server, sampling=stop) as client:
        with pytest.raises(error):
            client.call_tool("t")
        assert len(server.seen("notifications/cancelled")) == 1
        client.send_ping()


def test_callbacks_run_on_the_blocked_thread(server: RawMCPServer) -> None:
    """They may call the client again, on whose thread they run."""
    seen: list[Any] = []

    def sample(params: Any) -> Any:
        seen.append(threading.current_thread())
        seen.append(client.list_tools()[0].name)
        return SAID

    answers: list[Any] = []
    server.on("tools/call", asking(server, ("sampling/createMessage", SAMPLE), answers=answers))
    with open_client(server, sampling=sample) as client:
        assert client.call_tool("t").text == "ok"
    assert seen == [threading.current_thread(), "echo"]
    assert answers[0]["result"] == SAID


def test_many_questions_in_one_call(server: RawMCPServer) -> None:
    """H25-09: each is answered once, in order, with its own id."""
    answers: list[Any] = []
    questions: list[tuple[str, Any]] = [("ping", None), ("roots/list", None), ("future", {}), ("ping", None)]
    server.on("tools/call", asking(server, *questions, answers=answers))
    with open_client(server, roots=["file:///a"]) as client:
        client.call_tool("t")
    assert [answer["id"] for answer in answers] == ["ask-0", "ask-1", "ask-2", "ask-3"]
    assert ["result" in answer for answer in answers] == [True, True, False, True]


@pytest.mark.parametrize("id", [0, -1, 10**20, "", "é\u2028"])
def test_ids_of_the_server_are_sent_back_as_they_came(server: RawMCPServer, id: Any) -> None:
    """BASE-04: whatever id the server gave its request."""

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event({"jsonrpc": "2.0", "id": id, "method": "ping"})
        (response,) = (r for r in server.wait_for(lambda seen: server.seen("response")) if r.key == "response")
        assert response.json["id"] == id and type(response.json["id"]) is type(id)
        peer.event_result(request, OK)
        peer.end_stream()

    server.on("tools/call", answer)
    with open_client(server) as client:
        client.call_tool("t")


def test_a_request_that_the_server_takes_back(server: RawMCPServer) -> None:
    """K-08: it is cancelled while the callback runs: no response is sent, and the call goes on."""
    running, cancelled = threading.Event(), threading.Event()

    def sample(params: Any) -> Any:
        running.set()
        assert cancelled.wait(BOUND)
        return SAID

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event({"jsonrpc": "2.0", "id": "ask", "method": "sampling/createMessage", "params": SAMPLE})
        peer.hold(running)
        peer.event(note("notifications/cancelled", {"requestId": "ask", "reason": "no longer needed"}))
        peer.event_result(request, OK)
        cancelled.set()
        peer.end_stream()

    server.on("tools/call", answer)
    with open_client(server, sampling=sample) as client:
        assert client.call_tool("t").text == "ok"
    assert server.seen("response") == []


def test_cancelling_another_request_changes_nothing(server: RawMCPServer) -> None:
    """K-05, K-08: a cancellation for an unknown id is ignored, and the answer is sent."""
    running, go = threading.Event(), threading.Event()

    def sample(params: Any) -> Any:
        running.set()
        assert go.wait(BOUND)
        return SAID

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event({"jsonrpc": "2.0", "id": "ask", "method": "sampling/createMessage", "params": SAMPLE})
        peer.hold(running)
        for wrong in ("other", None, 7, ["ask"]):
            peer.event(note("notifications/cancelled", {"requestId": wrong}))
        go.set()
        server.wait_for(lambda seen: server.seen("response"))
        peer.event_result(request, OK)
        peer.end_stream()

    server.on("tools/call", answer)
    with open_client(server, sampling=sample) as client:
        assert client.call_tool("t").text == "ok"


def test_answers_belong_to_their_task(server: RawMCPServer) -> None:
    """T-16: "All requests, notifications, and responses related to a task MUST include" the task's id in ``_meta``."""
    related = {"io.modelcontextprotocol/related-task": {"taskId": "task-1"}}
    answer = ask(
        server, "elicitation/create", {**FORM, "_meta": {**related, "other": 1}},
        elicitation=lambda params: {"action": "decline", "_meta": {"mine": 2}},
    )  # fmt: skip
    assert answer["result"]["_meta"] == {**related, "mine": 2}


# --- sampling


@pytest.mark.parametrize(
    "result",
    [SAID, CreateMessageResult(role="assistant", content=TextContent("hi"), model="m", stop_reason="endTurn"),
     {**SAID, "content": TextContent("hi")}],
    ids=["mapping", "model", "mixed"],
)  # fmt: skip
def test_sampling(server: RawMCPServer, result: Any) -> None:
    """E-11: the callback gets messages, limits and preferences; it returns a mapping, a model, or a mixture."""
    asked: list[Any] = []

    def sample(params: Any) -> Any:
        asked.append(params)
        return result

    assert ask(server, "sampling/createMessage", SAMPLE, sampling=sample)["result"] == SAID
    assert asked[0].max_tokens == 100
    assert asked[0].model_preferences.hints[0].name == "small"


@pytest.mark.parametrize("params", [None, {}, {"messages": [], "maxTokens": "many"}, {"messages": 7, "maxTokens": 1}])
def test_sampling_parameters_of_the_wrong_shape(server: RawMCPServer, params: Any) -> None:
    """E-11, E-12: they are checked before anybody is asked; the server is told -32602."""
    answer = ask(server, "sampling/createMessage", params, sampling=lambda params: pytest.fail("was asked"))
    assert answer["error"]["code"] == -32602


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "assistant", "content": {"type": "tool_use", "id": "1", "name": "t", "input": {}}}],
        [
            {"role": "assistant", "content": {"type": "tool_use", "id": "1", "name": "t", "input": {}}},
            {"role": "user", "content": [{"type": "tool_result", "toolUseId": "1", "content": []},
                                         {"type": "text", "text": "and more"}]},
        ],
    ],
    ids=["missing", "mixed"],
)  # fmt: skip
def test_sampling_with_tools_that_do_not_fit(server: RawMCPServer, messages: Any) -> None:
    """E-12, E-13: a missing tool result, or one mixed with other content, is -32602."""
    params = {"messages": messages, "maxTokens": 10}
    answer = ask(server, "sampling/createMessage", params, sampling=lambda params: SAID, sampling_tools=True)
    assert answer["error"]["code"] == -32602


# --- elicitation


DEFAULTS = {"name": "anna", "age": 30, "score": 1.5, "good": True, "kind": "b"}


@pytest.mark.parametrize("mode", [{}, {"mode": "form"}])
@pytest.mark.parametrize(
    ("result", "content"),
    [
        ({"action": "accept"}, DEFAULTS),
        ({"action": "accept", "content": {}}, DEFAULTS),
        ({"action": "accept", "content": {"name": "bert", "free": "x"}}, {**DEFAULTS, "name": "bert", "free": "x"}),
        (ElicitResult("accept", content={"good": False}), {**DEFAULTS, "good": False}),
    ],
)
def test_forms_are_filled_in(server: RawMCPServer, mode: Any, result: Any, content: Any) -> None:
    """E-02, E-04: what the answer leaves out is filled in with its default; a missing mode means form."""
    asked: list[Any] = []

    def elicit(params: Any) -> Any:
        asked.append(params)
        return result

    answer = ask(server, "elicitation/create", {**FORM, **mode}, elicitation=elicit)
    assert answer["result"] == {"action": "accept", "content": content}
    assert isinstance(asked[0], ElicitFormParams) and asked[0].message == "who are you?"


@pytest.mark.parametrize(
    ("result", "wire"),
    [
        (None, {"action": "decline"}), ({"action": "decline"}, {"action": "decline"}),
        ({"action": "cancel"}, {"action": "cancel"}), (ElicitResult("cancel"), {"action": "cancel"}),
    ],
)  # fmt: skip
def test_the_user_may_say_no(server: RawMCPServer, result: Any, wire: Any) -> None:
    """E-03: declining and cancelling are answers of their own, into which nothing is filled."""
    assert ask(server, "elicitation/create", FORM, elicitation=lambda params: result)["result"] == wire


@pytest.mark.parametrize(
    "result", [{}, {"action": "maybe"}, {"action": None}, "accept", {"action": "accept", "content": 7}, True]
)
def test_elicitation_answers_that_cannot_be(server: RawMCPServer, result: Any) -> None:
    """E-05: what is no answer is not sent as one."""
    assert "error" in ask(server, "elicitation/create", FORM, elicitation=lambda params: result)


@pytest.mark.parametrize(
    "params", [PAGE, {**FORM, "mode": "voice"}, {**FORM, "mode": 7}, {**FORM, "mode": None}, {"mode": "url"}]
)
def test_modes_that_were_not_declared(server: RawMCPServer, params: Any) -> None:
    """E-07: -32602, and nobody is asked."""
    answer = ask(server, "elicitation/create", params, elicitation=lambda params: pytest.fail("was asked"))
    assert answer["error"]["code"] == -32602


@pytest.mark.parametrize("params", [None, {}, {"message": "m"}, {"message": 7, "requestedSchema": {}}])
def test_forms_of_the_wrong_shape(server: RawMCPServer, params: Any) -> None:
    """E-07: parameters that are no form are the server's fault, and told so."""
    answer = ask(server, "elicitation/create", params, elicitation=lambda params: pytest.fail("was asked"))
    assert answer["error"]["code"] == -32602


def test_pages(server: RawMCPServer) -> None:
    """E-06: the callback gets the whole address and its host, and nothing is fetched from it before or after."""
    with RawMCPServer() as other:
        page = {**PAGE, "url": f"{other.origin}/login?state=1"}
        asked: list[Any] = []

        def elicit(params: Any) -> Any:
            asked.append(params)
            return {"action": "accept"}

        answer = ask(server, "elicitation/create", page, elicitation=elicit, url_elicitation=True)
        assert answer["result"] == {"action": "accept"}
        (params,) = asked
        assert isinstance(params, ElicitURLParams) and params.url == page["url"]
        assert other.accepted == 0


def test_a_page_that_was_visited(server: RawMCPServer) -> None:
    """E-08: ``notifications/elicitation/complete`` reaches the client, with the id, known or not."""
    seen: list[Any] = []

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(note("notifications/elicitation/complete", {"elicitationId": "e1"}))
        peer.event_result(request, OK)
        peer.end_stream()

    server.on("tools/call", answer)
    with open_client(server, on_notification=seen.append) as client:
        assert client.call_tool("t").text == "ok"
    assert [event.elicitation_id for event in seen] == ["e1"]


# --- roots


@pytest.mark.parametrize(
    "roots",
    [
        ["file:///a", "file:///b c"], lambda: ["file:///a", "file:///b c"], (Root("file:///a"), {"uri": "file:///b c"}),
        lambda: {"roots": [{"uri": "file:///a"}, {"uri": "file:///b c"}]},
        lambda: iter([Root("file:///a"), "file:///b c"]),
    ],
    ids=["list", "function", "mixed", "wire", "iterator"],
)  # fmt: skip
def test_roots(server: RawMCPServer, roots: Any) -> None:
    """E-14: addresses, models or the protocol's own shape, as a list or from a function that is asked each time."""
    answer = ask(server, "roots/list", roots=roots)
    assert [root["uri"] for root in answer["result"]["roots"]] == ["file:///a", "file:///b c"]


def test_no_roots_at_all(server: RawMCPServer) -> None:
    """E-14: an empty list is a list."""
    assert ask(server, "roots/list", roots=[])["result"] == {"roots": []}


@pytest.mark.parametrize("root", ["https://example.com/", "/etc", "file:/etc", "", 7, None, {"name": "x"}, {"uri": 7}])
def test_roots_that_cannot_be(server: RawMCPServer, root: Any) -> None:
    """E-14: "This MUST be a file:// URI": anything else is not told to the server, and the log says so."""
    answer = ask(server, "roots/list", roots=lambda: [root])
    assert "error" in answer and "result" not in answer
    assert "/etc" not in str(answer) or root not in ("/etc", "file:/etc")


# --- what the answer meets


@pytest.mark.parametrize("status", [400, 404, 500])
def test_an_answer_that_the_server_refuses(
    server: RawMCPServer, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """Its result counts more than its manners: the call goes on and gets it."""

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event({"jsonrpc": "2.0", "id": 1, "method": "ping"})
        server.wait_for(lambda seen: server.seen("response"))
        peer.event_result(request, OK)
        peer.end_stream()

    server.on("tools/call", answer)
    server.on("response", lambda peer, request: peer.respond(status, b"no"))
    with open_client(server) as client, caplog.at_level(logging.INFO):
        try:
            assert client.call_tool("t").text == "ok"
        except Exception as error:  # an error of ours is as good, as long as the server is told
            assert type(error).__module__.startswith("streamhttp_client")
            assert len(server.seen("notifications/cancelled")) == 1 or status == 404
        client.send_ping()


def test_invalid_params_from_a_callback(server: RawMCPServer) -> None:
    """A callback may say -32602 itself."""

    def refuse(params: Any) -> Any:
        raise InvalidParams("no such thing", code=-32602)

    make: Callable[..., Any] = refuse
    assert ask(server, "elicitation/create", FORM, elicitation=make)["error"] == {
        "code": -32602, "message": "no such thing",
    }  # fmt: skip


def test_an_answer_that_is_put_off(server: RawMCPServer, caplog: pytest.LogCaptureFixture) -> None:
    """NotImplemented from a callback: in the session era the server is told that there is none, and nothing is logged
    as a failure."""
    answers: list[Any] = []
    question = ("elicitation/create", {"message": "?", "requestedSchema": {"type": "object", "properties": {}}})
    server.on("tools/call", asking(server, question, answers=answers))
    with open_client(server, elicitation=lambda params: NotImplemented) as client:
        assert client.call_tool("echo").text == "ok"
    (answer,) = answers
    assert answer["error"] == {"code": -32603, "message": "the client cannot answer this now"}
    assert caplog.text == ""
