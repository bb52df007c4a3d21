"""Rounds of input: a call that the server cannot finish without asking something first."""

from __future__ import annotations

import json
import logging
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamhttp_client import (
    CallCancelled,
    CallTimeout,
    Client,
    ClientClosed,
    ConnectionLost,
    InputRequired,
    InvalidResult,
    LocalProtocolError,
    RetryPolicy,
    RPCError,
    Timeout,
    ToolError,
)
from tests.client._modern import (
    ALL,
    CAPABILITIES,
    DONE,
    answered,
    asks,
    complete,
    elicit,
    kept,
    log_levels,
    meta_of,
    no_other_requests,
    only_posts,
    open_modern,
    text,
)
from tests.client._peer import AT_ONCE, note, progress, token_of
from tests.support.rawserver import ModernMCPServer, Peer, Request, rpc_refusal
from tests.transport._faults import InThread, within

SAMPLE = {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 5}}
SAID = {"role": "assistant", "content": {"type": "text", "text": "Paris"}, "model": "m"}
ROOTS = {"method": "roots/list"}
ADA = {"action": "accept", "content": {"name": "Ada"}}


@pytest.fixture
def server(_nothing_left: None) -> Iterator[ModernMCPServer]:
    with ModernMCPServer(capabilities=ALL) as server:
        yield server


def answer_ada(params: Any) -> dict[str, Any]:
    return ADA


#: Each way to ask that the server may answer with questions: the method, the call, and a last word.
ASKING: dict[str, tuple[str, Callable[[Client], Any], dict[str, Any]]] = {
    "tool": ("tools/call", lambda client: client.call_tool("t", {"a": 1}, meta={"com.example/k": 1}), DONE),
    "prompt": (
        "prompts/get",
        lambda client: client.get_prompt("p", {"a": "1"}, meta={"com.example/k": 1}),
        complete(messages=[], description="ok"),
    ),
    "resource": (
        "resources/read",
        lambda client: client.read_resource("a:b", meta={"com.example/k": 1}),
        kept(0, contents=[{"uri": "a:b", "text": "ok"}]),
    ),
}
EACH = pytest.mark.parametrize(("method", "ask", "last"), ASKING.values(), ids=ASKING.keys())


# --- one round
# ----------------------------------------------------------------------------------------------------------------------


@EACH
def test_a_round(server: ModernMCPServer, method: str, ask: Any, last: Any) -> None:
    """M26-02, M26-04, M26-06, M26-10, X4, X5: the call is made again with a new id, its own parameters, an answer under
    the server's name, and the state; the answer is no message of its own.
    """
    server.on(method, asks({"who": elicit()}, "st"), last)
    with open_modern(server, elicitation=answer_ada) as client:
        assert ask(client).result_type == "complete"
    first, second = server.requests
    assert first.id != second.id
    assert answered(first) == ("-", "-") and answered(second) == ({"who": ADA}, "st")
    added = ("inputResponses", "requestState")
    assert first.json["params"] == {key: value for key, value in second.json["params"].items() if key not in added}
    assert first.header("Mcp-Name") == second.header("Mcp-Name")
    assert only_posts(server)


def test_all_kinds_at_once(server: ModernMCPServer) -> None:
    """M26-02: questions of every kind are answered together, each under its own name, in the protocol's shapes."""
    questions = {"who": elicit(), "town": SAMPLE, "where": ROOTS, "0": elicit("again?"), "": ROOTS}
    server.on("tools/call", asks(questions), DONE)
    asked: list[str] = []

    def elicitation(params: Any) -> Any:
        asked.append(params.message)
        return ADA

    with open_modern(server, elicitation=elicitation, sampling=lambda params: SAID, roots=["file:///a"]) as client:
        assert client.call_tool("t").text == "ok"
    responses, state = answered(server.requests[1])
    roots = {"roots": [{"uri": "file:///a"}]}
    assert responses == {"who": ADA, "town": SAID, "where": roots, "0": ADA, "": roots}
    assert state == "-"
    assert asked == ["Your name?", "again?"]


def test_no_state_is_made_up(server: ModernMCPServer) -> None:
    """M26-05: a round without state carries none, and not that of an earlier round either, nor its answers."""
    server.on("tools/call", asks({"a": elicit()}, "one"), asks({"b": elicit()}), asks(None, "three"), DONE)
    with open_modern(server, elicitation=answer_ada) as client:
        client.call_tool("t")
    assert [answered(request) for request in server.requests] == [
        ("-", "-"), ({"a": ADA}, "one"), ({"b": ADA}, "-"), ("-", "three"),
    ]  # fmt: skip


STATES = ["", " ", "=", "\x00", "a\r\nb", '{"not": "json"}', "e\u0301", "\u00e9", "\u2028\u2029", "\ufeffx", "😀",
          "\x7f", "x" * 100_000, "\\ud800"]  # fmt: skip


def streamed(result: Any) -> Callable[[Peer, Request], None]:
    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event_result(request, result)
        peer.end_stream()

    return answer


@pytest.mark.parametrize("answer", [lambda result: result, streamed], ids=["json", "stream"])
def test_the_state_comes_back_as_it_was(server: ModernMCPServer, answer: Any) -> None:
    """M26-03, M26-04: whatever text a state is, in whatever normal form, it is echoed to the letter."""
    with open_modern(server) as client:
        for start in range(0, len(STATES), 3):
            states = STATES[start : start + 3]
            server.on("tools/call", *(answer(asks(None, state)) for state in states), answer(DONE))
            before = len(server.requests)
            client.call_tool("t")
            assert [answered(request) for request in server.requests[before:]] == [
                ("-", "-"), *(("-", state) for state in states)
            ]  # fmt: skip


@pytest.mark.parametrize("state", STATES, ids=lambda state: ascii(state)[:20])
def test_a_state_with_a_question(server: ModernMCPServer, state: str) -> None:
    """M26-04: the same beside a question, through the JSON text of an error too."""
    server.on("tools/call", asks({"who": elicit()}, state), asks({"who": elicit()}, state), DONE)
    with open_modern(server) as client:
        with pytest.raises(InputRequired) as caught:
            client.call_tool("t")
    assert caught.value.state == state
    with open_modern(server, elicitation=answer_ada) as client:
        assert client.continue_call(caught.value.to_json(), {"who": ADA}).text == "ok"
    assert [answered(request)[1] for request in server.requests] == ["-", state, state]


@pytest.mark.parametrize("state", ["a\ud800b", "\udc00\ud83d", "é\udfff\U0001f600"], ids=ascii)
def test_half_a_character_in_the_state(server: ModernMCPServer, state: str) -> None:
    """M26-04, BASE-01: a state with half a surrogate pair, which UTF-8 cannot say and JSON can, is sent as it came."""
    server.on("tools/call", asks({"who": elicit()}, state), asks(None, state), DONE)
    with open_modern(server, elicitation=answer_ada) as client:
        assert client.call_tool("t", {"a": "é"}).text == "ok"
    assert [answered(request)[1] for request in server.requests] == ["-", state, state]
    assert all(request.json["params"]["arguments"] == {"a": "é"} for request in server.requests)


def test_half_a_character_in_a_cursor(server: ModernMCPServer) -> None:
    """T-02, BASE-01: a cursor is as opaque as a state."""
    server.on("tools/list", complete(tools=[], nextCursor="\ud800"), complete(tools=[]))
    with open_modern(server) as client:
        assert client.list_tools() == []
    assert server.requests[1].json["params"]["cursor"] == "\ud800"


def test_a_state_alone_is_not_asked_in_haste(server: ModernMCPServer) -> None:
    """M26-03, M26-08: a server that only wants to be asked again is, with pauses and not for ever, in streams too."""

    stream = streamed(asks(None, "later"))
    for answer in (asks(None, "later"), stream):
        server.on("tools/call", answer)
        before = len(server.requests)
        with open_modern(server, retry=RetryPolicy(attempts=50, base=0.0)) as client:
            with pytest.raises(InputRequired) as caught:
                client.call_tool("t")
        assert caught.value.state == "later" and caught.value.requests == {}
        assert len(server.requests) - before == 11
    server.on("tools/call", stream)
    patient = RetryPolicy(attempts=50, base=1000.0, maximum=1000.0)
    # Without a deadline: a pause that does not fit into one is not begun.
    with open_modern(server, retry=patient, timeout=Timeout(total=None)) as client:
        call = client.stream_tool("t")
        before = len(server.requests)
        reader = InThread(lambda: call.result)
        server.wait_for(lambda seen: len(seen) > before)
        with within(AT_ONCE):  # it pauses, and hears that it is cancelled
            call.cancel()
            reader.join(AT_ONCE)
        assert isinstance(reader.error, CallCancelled)
        assert len(server.requests) <= before + 2


# --- nobody answers
# ----------------------------------------------------------------------------------------------------------------------


@EACH
def test_without_a_handler(server: ModernMCPServer, method: str, ask: Any, last: Any) -> None:
    """M26-01, M26-09: nothing more is sent; the error has the questions, and another client goes on from its JSON."""
    server.on(method, asks({"who": elicit(), "town": SAMPLE}, "st"), last)
    with open_modern(server) as client, pytest.raises(InputRequired) as caught:
        ask(client)
    error = caught.value
    assert no_other_requests(server, method)
    assert error.method == method and error.state == "st"
    assert list(error.requests) == ["who", "town"] and error.requests["who"]["method"] == "elicitation/create"
    assert pickle.loads(pickle.dumps(error)).to_json() == error.to_json()
    json.loads(error.to_json())

    with open_modern(server) as other:
        for wrong in ({}, {"who": ADA}, {"who": ADA, "town": SAID, "more": ADA}, {"who": ADA, "town": "Paris"}):
            with pytest.raises(LocalProtocolError):
                other.continue_call(error.to_json(), wrong)
        assert len(server.requests) == 1
        assert other.continue_call(error.to_json(), {"who": ADA, "town": SAID}).result_type == "complete"
    first, second = server.requests
    assert first.id != second.id and answered(second) == ({"who": ADA, "town": SAID}, "st")
    assert first.json["params"].get("arguments") == second.json["params"].get("arguments")
    assert first.header("Mcp-Name") == second.header("Mcp-Name")
    assert second.json["params"]["_meta"]["com.example/k"] == 1


def test_going_on_may_need_more(server: ModernMCPServer) -> None:
    """M26-05, M26-08: a call that goes on may be asked again; a further error has the original call in it."""
    server.on("tools/call", asks({"a": elicit()}, "1"), asks({"b": elicit()}, "2"), asks({"c": elicit()}), DONE)
    with open_modern(server) as client:
        with pytest.raises(InputRequired) as caught:
            client.call_tool("t", {"x": 1})
        with pytest.raises(InputRequired) as again:
            client.continue_call(caught.value, {"a": ADA})
    assert again.value.params is not None and "inputResponses" not in again.value.params
    with open_modern(server, elicitation=answer_ada) as client:
        assert client.continue_call(again.value.to_json(), {"b": ADA}).text == "ok"
    assert [answered(request) for request in server.requests] == [
        ("-", "-"), ({"a": ADA}, "1"), ({"b": ADA}, "2"), ({"c": ADA}, "-"),
    ]  # fmt: skip
    assert all(request.json["params"]["arguments"] == {"x": 1} for request in server.requests)


def test_going_on_ends_as_a_call_does(server: ModernMCPServer) -> None:
    """M26-10, T-08: a failing tool raises ToolError here too, progress and log messages are heard."""
    heard: list[Any] = []

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(progress(token_of(request), 1))
        peer.event(note("notifications/message", {"level": "info", "data": "hi"}))
        peer.event_result(request, complete(content=[{"type": "text", "text": "bad"}], isError=True))
        peer.end_stream()

    server.on("tools/call", asks({"a": elicit()}), answer)
    with open_modern(server) as client:
        with pytest.raises(InputRequired) as caught:
            client.call_tool("t")
        with pytest.raises(ToolError, match="bad"):
            client.continue_call(caught.value, {"a": ADA}, on_progress=heard.append, on_log=heard.append)
        result = client.continue_call(caught.value, {"a": ADA}, on_progress=heard.append, raise_on_error=False)
    assert result.is_error
    assert [type(event).__name__ for event in heard] == ["Progress", "LogMessage", "Progress"]


@pytest.mark.parametrize("saved", ["", "{}", "[]", "null", b"\xff", '{"message": 1}'], ids=repr)
def test_going_on_from_nothing(server: ModernMCPServer, saved: Any) -> None:
    """BASE-10: what is not such an error is refused here, and nothing is sent."""
    with open_modern(server) as client, pytest.raises(LocalProtocolError):
        client.continue_call(saved, {})
    assert server.accepted == 0


def test_going_on_with_what_never_asked(server: ModernMCPServer) -> None:
    """M26-01: a saved text that names another method, or no question, is refused here."""
    saved = {"message": "m", "method": "tools/list", "params": None, "result": asks(None, "s")}
    with open_modern(server) as client:
        for change in ({}, {"method": "tools/call", "params": {}}, {"method": "tools/call", "params": {"name": 1}},
                       {"method": "tools/call", "params": {"name": "t"}, "result": DONE}):  # fmt: skip
            with pytest.raises((LocalProtocolError, InvalidResult)):
                client.continue_call(json.dumps({**saved, **change}), {})
    assert server.accepted == 0


def _fail(params: Any) -> Any:
    raise RuntimeError("a secret path: /home/me")


def _refuse(params: Any) -> Any:
    raise RPCError("not now", code=-1)


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (_fail, RuntimeError),
        (_refuse, RPCError),
        (lambda params: 7, LocalProtocolError),
        (lambda params: {"action": "maybe"}, LocalProtocolError),
        (lambda params: {"action": "accept", "content": {"name": {1, 2}}}, LocalProtocolError),
    ],
    ids=["raises", "refuses", "no mapping", "no action", "no JSON"],
)
def test_a_handler_that_fails(server: ModernMCPServer, handler: Any, kind: type[Exception]) -> None:
    """M26-09: its error is the caller's; the call is not made again, and the server hears nothing of it."""
    server.on("tools/call", asks({"who": elicit()}, "st"), DONE)
    with open_modern(server, elicitation=handler) as client:
        with pytest.raises(kind):
            client.call_tool("t")
        assert no_other_requests(server, "tools/call")
        assert client.list_tools()


@pytest.mark.parametrize("handler", [_fail, lambda params: {"name": "Ada"}], ids=["raises", "no action"])
@pytest.mark.parametrize("kind", ["call", "task"])
def test_a_handler_that_fails_tells_no_secrets(
    server: ModernMCPServer, handler: Any, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """M26-04, G-03: neither the log nor the traceback of a handler's error, with all that led to it, has the server's
    state or questions in it; the error is the handler's own.
    """
    secret = "verborgen"
    question = elicit(secret)
    if kind == "call":
        server.on("tools/call", asks({"who": question}, secret), DONE)
    else:
        task = {"taskId": "t", "ttlMs": None, "pollIntervalMs": 0, "createdAt": "2026-08-01T10:00:00Z",
                "lastUpdatedAt": "2026-08-01T10:00:00Z", "_meta": {"x/y": secret}}  # fmt: skip
        server.on("tools/call", {**task, "resultType": "task", "status": "working"})
        server.on("tasks/get", complete(**task, status="input_required", inputRequests={"who": question}))
        server.on("tasks/cancel", complete())
    with caplog.at_level(logging.DEBUG), open_modern(server, elicitation=handler) as client:
        with pytest.raises((RuntimeError, LocalProtocolError)) as caught:
            client.call_tool("t")
    if handler is not _fail:
        assert "action" in str(caught.value)
    told = "".join(traceback.format_exception(caught.value))
    error: BaseException | None = caught.value
    while error is not None:
        assert secret not in repr((error.args, vars(error)))
        error = error.__context__
    assert secret not in told and secret not in caplog.text


def test_nobody_is_asked_in_vain(server: ModernMCPServer) -> None:
    """M26-09, M26-02: if one of the questions has no handler, none of the others is put to the user."""
    asked: list[Any] = []

    def handler(params: Any) -> Any:
        asked.append(params)
        return ADA

    server.on("tools/call", asks({"a": elicit(), "b": SAMPLE}, "s"), asks({"b": ROOTS, "a": elicit()}, "s"))
    with open_modern(server, elicitation=handler) as client:
        for method in ("sampling/createMessage", "roots/list"):
            with pytest.raises(InputRequired, match=method):
                client.call_tool("t")
    assert asked == [] and no_other_requests(server, "tools/call", "tools/call")


#: What a question needs of the client, as it is declared.
NEEDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "form": (elicit(), ADA, {"elicitation": {"form": {}}}),
    "no mode": (
        {"method": "elicitation/create", "params": {"message": "m", "requestedSchema": {"type": "object"}}},
        ADA,
        {"elicitation": {"form": {}}},
    ),
    "page": (
        {"method": "elicitation/create", "params": {"mode": "url", "message": "m", "url": "https://example.com/"}},
        {"action": "accept"},
        {"elicitation": {"url": {}}},
    ),
    "sampling": (SAMPLE, SAID, {"sampling": {}}),
    "roots": (ROOTS, {"roots": []}, {"roots": {}}),
}


@pytest.mark.parametrize("name", NEEDS)
def test_going_on_without_callbacks(server: ModernMCPServer, name: str) -> None:
    """M26-01, V26-09: a client that carries answers says for that call that it can answer such questions, for a server
    looks at it again, and says nothing of it in other calls.
    """
    question, answer, needed = NEEDS[name]
    needs = rpc_refusal(400, -32021, "needs it", {"requiredCapabilities": needed})

    def last(peer: Peer, request: Request) -> None:
        declared = meta_of(request)[CAPABILITIES]
        fits = all(declared.get(part) == what for part, what in needed.items())
        peer.respond_result(request, DONE) if fits else needs(peer, request)

    server.on("tools/call", asks({"q": question}, "s"), last)
    with open_modern(server) as client:
        with pytest.raises(InputRequired) as caught:
            client.call_tool("t")
        assert client.continue_call(caught.value.to_json(), {"q": answer}).text == "ok"
        client.list_tools()
    first, *_, later = (meta_of(request)[CAPABILITIES] for request in server.requests)
    assert first == later and not set(needed) & set(first)


def test_going_on_with_callbacks(server: ModernMCPServer) -> None:
    """M26-01, V26-09: what the client declares by itself is not made less by the answers that it carries."""
    server.on("tools/call", asks({"a": elicit(), "b": SAMPLE}, "s"), DONE)
    with open_modern(server, elicitation=answer_ada, url_elicitation=True) as client:
        with pytest.raises(InputRequired) as caught:
            client.call_tool("t")
        client.continue_call(caught.value, {"a": ADA, "b": SAID})
    declared = meta_of(server.seen("tools/call")[1])[CAPABILITIES]
    assert declared["elicitation"] == {"form": {}, "url": {}} and declared["sampling"] == {}


@pytest.mark.parametrize("saved", [5, None, 1.5, [], object()], ids=lambda value: type(value).__name__)
def test_going_on_from_something_else(server: ModernMCPServer, saved: Any) -> None:
    """BASE-10: what is neither such an error nor a text is refused as it is."""
    with open_modern(server) as client, pytest.raises(LocalProtocolError):
        client.continue_call(saved, {})
    assert server.requests == []


@pytest.mark.parametrize("kind", ["elicitation", "sampling"])
def test_a_handler_that_puts_its_answer_off(server: ModernMCPServer, kind: str) -> None:
    """M26-09, E-03: ``NotImplemented`` means "not now": the call ends, and goes on with the answer another day."""
    question, answer = (elicit(), ADA) if kind == "elicitation" else (SAMPLE, SAID)
    server.on("tools/call", asks({"later": question}, "st"), DONE)
    options: dict[str, Any] = {kind: lambda params: NotImplemented}
    with open_modern(server, **options) as client:
        with pytest.raises(InputRequired, match=f"puts off the answer to '{question['method']}'") as caught:
            client.call_tool("t")
        assert no_other_requests(server, "tools/call")
        assert client.continue_call(caught.value.to_json(), {"later": answer}).text == "ok"
    assert answered(server.requests[1]) == ({"later": answer}, "st")


@pytest.mark.parametrize(
    ("said", "sent"), [(None, {"action": "decline"}), ({"action": "cancel"}, {"action": "cancel"})], ids=["no", "later"]
)
def test_declining(server: ModernMCPServer, said: Any, sent: dict[str, str]) -> None:
    """E-03, M26-02: to decline is an answer: the server is told, and decides."""
    server.on("tools/call", asks({"who": elicit()}), DONE)
    with open_modern(server, elicitation=lambda params: said) as client:
        assert client.call_tool("t").text == "ok"
    assert answered(server.requests[1])[0] == {"who": sent}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_handler_that_ends_the_program(server: ModernMCPServer, error: type[BaseException]) -> None:
    """M26-09, K-07: Ctrl-C in a handler reaches the caller as it is, and nothing more is sent."""

    def handler(params: Any) -> Any:
        raise error

    server.on("tools/call", asks({"who": elicit()}))
    with open_modern(server, elicitation=handler) as client:
        with pytest.raises(error):
            client.call_tool("t")
        assert no_other_requests(server, "tools/call")
        assert client.list_tools()


# --- many rounds
# ----------------------------------------------------------------------------------------------------------------------


def test_ten_rounds(server: ModernMCPServer) -> None:
    """M26-08: ten rounds are gone through; the eleventh raises, with the last question and its state."""
    server.on("tools/call", *(asks({"n": elicit(str(number))}, str(number)) for number in range(10)), DONE)
    with open_modern(server, elicitation=answer_ada) as client:
        assert client.call_tool("t").text == "ok"
        assert len(server.requests) == 11
        server.on("tools/call", *(asks({"n": elicit(str(number))}, str(number)) for number in range(100)))
        with pytest.raises(InputRequired) as caught:
            client.call_tool("t")
    assert len(server.requests) == 22
    assert caught.value.state == "10" and caught.value.requests["n"]["params"]["message"] == "10"
    assert len({request.id for request in server.requests}) == 22


def test_calls_beside_each_other(server: ModernMCPServer) -> None:
    """M26-07: what one call is asked for gets into no other, of the same tool and at the same time."""
    rounds, calls = 3, 8
    together = threading.Barrier(calls)

    def answer(peer: Peer, request: Request) -> None:
        params = request.json["params"]
        name, state = params["arguments"]["who"], params.get("requestState")
        number = 0 if state is None else int(state.partition("-")[2])
        if state is None:
            together.wait(AT_ONCE * 5)
        else:
            assert state == f"{name}-{number}"
            assert params["inputResponses"] == {f"{name}{number}": {"action": "accept", "content": {"name": name}}}
        if number == rounds:
            peer.respond_result(request, text(name))
        else:
            peer.respond_result(request, asks({f"{name}{number + 1}": elicit(name)}, f"{name}-{number + 1}"))

    server.on("tools/call", answer)
    answer_name = lambda params: {"action": "accept", "content": {"name": params.message}}  # noqa: E731
    with open_modern(server, elicitation=answer_name) as client:
        threads = [
            InThread(lambda name=f"n{number}": client.call_tool("t", {"who": name}).text)  # type: ignore[misc]
            for number in range(calls)
        ]
        for thread in threads:
            thread.join(20)
    assert [thread.value for thread in threads] == [f"n{number}" for number in range(calls)]
    assert len(server.requests) == calls * (rounds + 1)


def test_what_comes_in_each_round(server: ModernMCPServer) -> None:
    """M26-06, P-01, P-03, G-02: progress and log messages of every round arrive, each under the token of its own
    request; what still comes under the token of an earlier round is dropped.
    """
    tokens: list[Any] = []

    def answer(peer: Peer, request: Request) -> None:
        tokens.append(token_of(request))
        number = len(tokens)
        peer.start_stream()
        peer.event(progress(tokens[-1], number))
        if number > 1:
            peer.event(progress(tokens[0], 99))
        peer.event(note("notifications/message", {"level": "info", "data": number}))
        peer.event_result(request, asks({"n": elicit()}) if number < 3 else DONE)
        peer.end_stream()

    server.on("tools/call", answer)
    heard: list[Any] = []
    with open_modern(server, elicitation=answer_ada) as client:
        with client.stream_tool("t", on_progress=heard.append, on_log=heard.append) as call:
            events = list(call)
    assert events == heard
    assert [getattr(event, "progress", None) or getattr(event, "data", None) for event in events] == [1, 1, 2, 2, 3, 3]
    assert len(set(tokens)) == 3 and tokens == [request.id for request in server.requests]
    assert log_levels(server.requests) == ["info"] * 3


def test_a_lost_round_is_asked_again(server: ModernMCPServer) -> None:
    """H26-06, M26-06, M26-04: a lost round of a read is repeated, with its answers and another id; a tool's is not."""
    server.on("resources/read", asks({"a": elicit()}, "s"), lambda peer, request: peer.cut(), kept(0, contents=[]))
    with open_modern(server, elicitation=answer_ada) as client:
        client.read_resource("a:b")
        rounds = [answered(request) for request in server.requests]
        assert rounds == [("-", "-"), ({"a": ADA}, "s"), ({"a": ADA}, "s")]
        assert len({request.id for request in server.requests}) == 3
        server.on("tools/call", asks({"a": elicit()}, "s"), lambda peer, request: peer.cut())
        with pytest.raises(ConnectionLost) as caught:
            client.call_tool("t")
    assert caught.value.may_have_executed and not caught.value.resumable
    assert len(server.seen("tools/call")) == 2


def test_a_round_whose_headers_did_not_fit(server: ModernMCPServer) -> None:
    """H26-18, M26-04, M26-06: a round that is refused for its headers is made again with its answers, a new id and the
    headers of now.
    """
    properties = {"region": {"type": "string", "x-mcp-header": "Region"}}
    server.on("tools/list", kept(0, tools=[{"name": "t", "inputSchema": {"type": "object", "properties": properties}}]))
    server.on("tools/call", asks({"a": elicit()}, "s"), rpc_refusal(400, -32020), DONE)
    with open_modern(server, elicitation=answer_ada) as client:
        assert client.call_tool("t", {"region": "eu"}).text == "ok"
    assert no_other_requests(server, "tools/call", "tools/call", "tools/list", "tools/call")
    calls = server.seen("tools/call")
    assert [answered(request) for request in calls] == [("-", "-"), ({"a": ADA}, "s"), ({"a": ADA}, "s")]
    assert [request.header("Mcp-Param-Region") for request in calls] == [None, None, "eu"]
    assert len({request.id for request in calls}) == 3


def test_a_round_at_a_server_that_speaks_otherwise_now(_nothing_left: None) -> None:
    """M26-07, V26-08: answers and state are of the round alone: a server that has gone back to sessions gets the call
    as it was at first.
    """
    with ModernMCPServer(sessions=True, supported=["2025-11-25"]) as server:
        older = lambda peer, request: peer.respond(400, b"unknown session", content_type="text/plain")  # noqa: E731
        server.on("server/discover", older)
        server.on("tools/call", asks({"a": elicit()}, "s"), older, DONE)
        with open_modern(server, elicitation=answer_ada, listen_in_background=False) as client:
            assert client.call_tool("t").text == "ok"
            assert client.era == "session"
    calls = server.seen("tools/call")
    assert [answered(request) for request in calls] == [("-", "-"), ({"a": ADA}, "s"), ("-", "-")]


# --- time and ends
# ----------------------------------------------------------------------------------------------------------------------


def test_the_deadline_passes_in_a_handler(server: ModernMCPServer) -> None:
    """K-06, M26-09: a user who takes too long is too late: the call raises, and the answer is not sent."""
    over = threading.Event()

    def handler(params: Any) -> Any:
        over.wait(1.0)  # never set: longer than the call may take
        return ADA

    server.on("tools/call", asks({"who": elicit()}), DONE)
    with open_modern(server, elicitation=handler) as client:
        with pytest.raises(CallTimeout):
            client.call_tool("t", timeout=0.5)
        assert no_other_requests(server, "tools/call")
        assert client.call_tool("t").text == "ok"


@pytest.mark.parametrize("end", ["cancel", "close"])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["in it", "from another thread"])
def test_an_end_in_a_handler(server: ModernMCPServer, end: str, elsewhere: bool) -> None:
    """K-07, M26-09: a call that is cancelled while the user is asked ends with the answer, which is not sent."""
    server.on("tools/call", asks({"who": elicit()}), DONE)

    def handler(params: Any) -> Any:
        act = call.cancel if end == "cancel" else client.close
        if elsewhere:
            InThread(act).join(5)
        else:
            act()
        return ADA

    with open_modern(server, elicitation=handler) as client:
        call = client.stream_tool("t")
        with pytest.raises(CallCancelled if end == "cancel" else ClientClosed):
            call.result  # noqa: B018
        assert no_other_requests(server, "tools/call")
        if end == "cancel":
            assert client.list_tools()


def test_a_handler_calls_the_client(server: ModernMCPServer) -> None:
    """M26-07, M26-02: a handler may call the client, and be asked again in that call; each has its own rounds."""

    def answer(peer: Peer, request: Request) -> None:
        name = request.json["params"]["name"]
        state = request.json["params"].get("requestState")
        if state is None:
            peer.respond_result(request, asks({name: elicit(name)}, f"state of {name}"))
        else:
            assert state == f"state of {name}" and list(request.json["params"]["inputResponses"]) == [name]
            content = request.json["params"]["inputResponses"][name]["content"]
            peer.respond_result(request, text(content["name"]))

    def handler(params: Any) -> Any:
        inside = client.call_tool("inner").text if params.message == "outer" else "Ada"
        return {"action": "accept", "content": {"name": inside}}

    server.on("tools/call", answer)
    with open_modern(server, elicitation=handler) as client:
        assert client.call_tool("outer").text == "Ada"
    assert [request.json["params"]["name"] for request in server.requests] == ["outer", "inner", "inner", "outer"]


# --- nonsense
# ----------------------------------------------------------------------------------------------------------------------

NONSENSE: dict[str, Any] = {
    "neither": {"resultType": "input_required"},
    "both null": {"resultType": "input_required", "inputRequests": None, "requestState": None},
    "requests a list": {"resultType": "input_required", "inputRequests": [elicit()]},
    "requests a text": {"resultType": "input_required", "inputRequests": "who"},
    "request a text": asks({"who": "name?"}),
    "request null": asks({"who": None}),
    "no method": asks({"who": {"params": {}}}),
    "method a number": asks({"who": {"method": 7}}),
    "params a list": asks({"who": {"method": "roots/list", "params": []}}),
    "state a number": asks(None, 7),
    "state an object": asks({"who": elicit()}, {"a": 1}),
}


@pytest.mark.parametrize("result", NONSENSE.values(), ids=NONSENSE.keys())
def test_malformed_questions(server: ModernMCPServer, result: Any) -> None:
    """M26-02, BASE-07: a result that asks in the wrong shape is the server's mistake, and is not answered."""
    server.on("tools/call", result)
    with open_modern(server, elicitation=answer_ada, roots=[], sampling=lambda params: SAID) as client:
        with pytest.raises(InvalidResult) as caught:
            client.call_tool("t")
    assert caught.value.result == result
    assert no_other_requests(server, "tools/call")


@pytest.mark.parametrize(
    "request_",
    [{"method": "ping"}, {"method": "tools/list"}, {"method": "elicitation/create"}, {"method": "Roots/List"},
     {"method": "elicitation/create", "params": {"mode": "form", "requestedSchema": {}}},
     {"method": "elicitation/create", "params": {"mode": "url", "message": "m", "url": "https://example.com"}},
     {"method": "elicitation/create", "params": {"mode": "smell", "message": "m"}},
     {"method": "sampling/createMessage", "params": {"messages": 7}}, {"method": ""}],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_questions_that_must_not_be(server: ModernMCPServer, request_: Any) -> None:
    """M26-01, E-07: what may not be asked, or not so, has no answer; nor have the good questions beside it."""
    server.on("tools/call", asks({"good": ROOTS, "bad": request_}, "s"), DONE)
    with open_modern(server, elicitation=answer_ada, roots=[], sampling=lambda params: SAID) as client:
        with pytest.raises((InputRequired, InvalidResult)):
            client.call_tool("t")
        assert no_other_requests(server, "tools/call")
        assert client.list_tools()


def test_a_page_that_was_not_declared(server: ModernMCPServer) -> None:
    """E-07, BASE-09: there is a callback, but not for pages; the error says which of the two it is."""
    question = {"method": "elicitation/create", "params": {"mode": "url", "message": "m", "url": "https://example.com/x"}}
    server.on("tools/call", asks({"visit": question}, "s"))
    with open_modern(server, elicitation=answer_ada) as client:
        with pytest.raises(InputRequired, match="elicitation in mode 'url' was not declared"):
            client.call_tool("t")


def test_a_page_to_visit(server: ModernMCPServer) -> None:
    """X15, E-06, M26-02: sending the user to a page needs no ``elicitationId`` any more; accepting has no content."""
    question = {"method": "elicitation/create", "params": {"mode": "url", "message": "m", "url": "https://example.com/x"}}
    server.on("tools/call", asks({"visit": question}, "s"), DONE)
    urls: list[str] = []

    def handler(params: Any) -> Any:
        urls.append(params.url)
        return {"action": "accept"}

    with open_modern(server, elicitation=handler, url_elicitation=True) as client:
        assert client.call_tool("t").text == "ok"
    assert urls == ["https://example.com/x"]
    assert answered(server.requests[1]) == ({"visit": {"action": "accept"}}, "s")


def test_a_missing_mode_is_a_form(server: ModernMCPServer) -> None:
    """E-02, E-04: without a mode a form is meant; defaults are filled in."""
    question = elicit(name={"type": "string"}, age={"type": "integer", "default": 36})
    del question["params"]["mode"]
    server.on("tools/call", asks({"who": question}), DONE)
    with open_modern(server, elicitation=answer_ada) as client:
        client.call_tool("t")
    assert answered(server.requests[1])[0]["who"]["content"] == {"name": "Ada", "age": 36}


@pytest.mark.parametrize("kind", ["task ", "Complete", "", "task", "incomplete", 7, [], {}, True], ids=repr)
@pytest.mark.parametrize("method", ["resources/read", "tools/list"])
def test_unknown_result_types(server: ModernMCPServer, method: str, kind: Any) -> None:
    """BASE-07, T-17: a result of a type that is not known, or was not offered for this method, is no result."""
    server.on(method, {"resultType": kind, "contents": [], "tools": [], "taskId": "t"})
    with open_modern(server) as client:
        with pytest.raises(InvalidResult):
            client.read_resource("a:b") if method == "resources/read" else client.list_tools()


@pytest.mark.parametrize("method", ["tools/list", "completion/complete", "server/discover", "tasks/get"])
def test_other_requests_must_not_ask(server: ModernMCPServer, method: str) -> None:
    """M26-01: questions in the answer to any other request are an error, however good they are."""
    server.on(method, asks({"who": elicit()}, "s"))
    asked: dict[str, Callable[[Client], Any]] = {
        "tools/list": lambda client: client.list_tools(),
        "completion/complete": lambda client: client.complete(
            {"type": "ref/prompt", "name": "p"}, {"name": "a", "value": ""}
        ),
        "server/discover": lambda client: client.send_ping(),
        "tasks/get": lambda client: client.get_task("t"),
    }
    with open_modern(server, elicitation=answer_ada) as client, pytest.raises(InvalidResult):
        asked[method](client)
    assert no_other_requests(server, method)


def test_no_type_means_complete(server: ModernMCPServer) -> None:
    """BASE-06: an answer that does not say its type is complete, even if it holds what looks like questions."""
    server.on("tools/call", {"content": [], "inputRequests": {"who": elicit()}, "requestState": "s"})
    with open_modern(server, elicitation=answer_ada) as client:
        client.call_tool("t")
    assert no_other_requests(server, "tools/call")
