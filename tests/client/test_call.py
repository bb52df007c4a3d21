"""A call under way: what comes before its result, who gets to see it, and how it ends early."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from streamhttp_client import (
    CallCancelled,
    CallTimeout,
    ClientClosed,
    LogMessage,
    Progress,
    RemoteProtocolError,
    RetryPolicy,
    Timeout,
)
from streamhttp_client.net.interrupt import Interrupt
from tests.client._peer import AT_ONCE, BOUND, OK, note, open_client, progress, refuse, stream, token_of
from tests.support.rawserver import Peer, RawMCPServer, Request
from tests.transport._faults import InThread, within

LOG = note("notifications/message", {"level": "info", "logger": "l", "data": {"a": 1}})
CHANGED = note("notifications/tools/list_changed")


# --- progress


def test_progress_reaches_the_callback(server: RawMCPServer) -> None:
    """P-01, P-02, P-05: whole and broken numbers, with or without total and message, in order, on this thread."""
    server.on(
        "tools/call",
        stream(
            lambda r: progress(token_of(r), 1),
            lambda r: progress(token_of(r), 1.5, total=4, message="half"),
            lambda r: progress(token_of(r), 4, total=4.0),
        ),
    )
    seen: list[tuple[Progress, threading.Thread]] = []
    with open_client(server) as client:
        client.call_tool("t", on_progress=lambda event: seen.append((event, threading.current_thread())))
    assert [(event.progress, event.total, event.message) for event, _ in seen] == [
        (1, None, None), (1.5, 4, "half"), (4, 4.0, None),
    ]  # fmt: skip
    assert {thread for _, thread in seen} == {threading.current_thread()}


def test_a_token_only_where_progress_is_wanted(server: RawMCPServer) -> None:
    """P-01, P-05: without a callback there is no token; tokens of calls under way differ."""
    with open_client(server) as client:
        client.call_tool("t")
        client.call_tool("t", on_progress=lambda event: None)
        assert client.stream_tool("t").result.text == "ok"
        client.request("tools/call", {"name": "t"})
        client.request("tools/call", {"name": "t", "_meta": {"a": 1}}, on_progress=lambda event: None)
    tokens = [token_of(request) for request in server.seen("tools/call")]
    assert [token is None for token in tokens] == [True, False, False, True, False]
    given = [token for token in tokens if token is not None]
    assert len(set(given)) == 3 and all(type(token) in (int, str) for token in given)
    assert server.seen("tools/call")[-1].json["params"]["_meta"]["a"] == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda token: {"progressToken": 999_999}, lambda token: {"progressToken": str(token)},
        lambda token: {"progressToken": float(token) + 0.5}, lambda token: {"progressToken": None},
        lambda token: {"progressToken": [token]}, lambda token: {"progress": "1"}, lambda token: {"progress": None},
        lambda token: {"progress": True}, lambda token: {"progress": [1]},
    ],
)  # fmt: skip
def test_progress_that_is_not_ours_or_none(server: RawMCPServer, change: Any) -> None:
    """P-03: unknown tokens and malformed notifications are dropped, and the call goes on."""
    seen: list[Any] = []

    def wrong(request: Request) -> dict[str, Any]:
        token = token_of(request)
        return note("notifications/progress", {"progressToken": token, "progress": 1, **change(token)})

    server.on("tools/call", stream(wrong, note("notifications/progress"), lambda r: progress(token_of(r), 2)))
    with open_client(server) as client:
        assert client.call_tool("t", on_progress=seen.append).text == "ok"
    assert [event.progress for event in seen] == [2]


def test_progress_with_odd_extras(server: RawMCPServer) -> None:
    """P-02: a total or a message of another type is left out; progress that goes back is reported as it came."""
    seen: list[Any] = []
    server.on(
        "tools/call",
        stream(
            lambda r: progress(token_of(r), 5, total="many", message=7),
            lambda r: progress(token_of(r), 3, total=True, message=None),
        ),
    )
    with open_client(server) as client:
        client.call_tool("t", on_progress=seen.append)
    assert [(event.progress, event.total, event.message) for event in seen] == [(5, None, None), (3, None, None)]


def test_progress_of_a_call_that_has_ended(server: RawMCPServer) -> None:
    """P-03: a late notification on another call's stream reaches nobody."""
    first: list[Any] = []
    second: list[Any] = []
    tokens: list[Any] = []

    def remember(peer: Peer, request: Request) -> None:
        tokens.append(token_of(request))
        server.answer(peer, request)

    server.on("tools/call", remember, stream(lambda r: progress(tokens[0], 1), lambda r: progress(token_of(r), 2)))
    with open_client(server) as client:
        client.call_tool("t", on_progress=first.append)
        client.call_tool("t", on_progress=second.append)
    assert (first, [event.progress for event in second]) == ([], [2])


def test_a_flood_of_progress(server: RawMCPServer) -> None:
    """P-04: ten thousand notifications are handed out one by one and none is kept."""
    count = 10_000

    def flood(peer: Peer, request: Request) -> None:
        peer.start_stream()
        token = token_of(request)
        peer.write(b"".join(b'data: {"jsonrpc":"2.0","method":"notifications/progress","params":'
                            b'{"progressToken":%d,"progress":%d}}\n\n' % (token, n) for n in range(count)))  # fmt: skip
        peer.event_result(request, OK)
        peer.end_stream()

    server.on("tools/call", flood)
    seen = 0

    def on_progress(event: Progress) -> None:
        nonlocal seen
        assert event.progress == seen
        seen += 1

    with open_client(server) as client:
        client.call_tool("t", on_progress=on_progress)
    assert seen == count


def test_attempts_count_on_progress(server: RawMCPServer) -> None:
    """H25-07, H25-17: after a break the same call goes on, and its progress says on which connection."""

    def broken(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(progress(token_of(request), 1), id="e-1")
        peer.cut()

    def rest(peer: Peer, request: Request) -> None:
        (call,) = server.seen("tools/call")
        assert request.header("Last-Event-ID") == "e-1"
        peer.start_stream()
        peer.event(progress(token_of(call), 2), id="e-2")
        peer.event_result(call, OK)
        peer.end_stream()

    server.on("tools/call", broken)
    server.on("GET", rest)
    with open_client(server) as client, client.stream_tool("t") as call:
        events = [event for event in call if isinstance(event, Progress)]
        assert call.result.text == "ok"
    assert [(event.progress, event.attempt) for event in events] == [(1, 1), (2, 2)]


# --- log messages and other notifications


def test_log_messages_go_to_the_call_or_to_the_client(server: RawMCPServer) -> None:
    """G-01, G-03: the call's own callback comes first, else the client's; one message reaches one of them."""
    server.on("tools/call", stream(LOG))
    ours: list[LogMessage] = []
    theirs: list[LogMessage] = []
    with open_client(server, on_log=theirs.append) as client:
        client.call_tool("t", on_log=ours.append)
        client.call_tool("t")
    assert (len(ours), len(theirs)) == (1, 1)
    assert (ours[0].level, ours[0].logger, ours[0].data) == ("info", "l", {"a": 1})


def test_other_notifications_go_to_the_client(server: RawMCPServer) -> None:
    """H25-09: whatever comes on a call's stream before its result is handed on, known or not."""
    server.on("tools/call", stream(CHANGED, note("notifications/future", {"a": 1}), LOG))
    seen: list[Any] = []
    with open_client(server, on_notification=seen.append) as client:
        client.call_tool("t")
    assert [type(event).__name__ for event in seen] == ["ToolListChanged", "UnknownNotification"]


@pytest.mark.parametrize(
    "bad",
    [
        note("notifications/message", {"level": "info"}), note("notifications/message"),
        note("notifications/message", {"data": 1}), note("notifications/message", {"level": 7, "data": 1}),
        note("notifications/cancelled", {"requestId": "unknown"}), note("notifications/cancelled"),
        note("notifications/cancelled", {"requestId": None}), note("notifications/elicitation/complete"),
        note("notifications/elicitation/complete", {"elicitationId": "never-heard-of"}),
        note("notifications/resources/updated", {"uri": 7}), note("", {}),
    ],
)  # fmt: skip
def test_malformed_notifications_are_dropped(
    server: RawMCPServer, bad: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """G-03, K-05, E-08: what a notification holds is checked; a bad or unknown one costs a log line and no call."""
    server.on("tools/call", stream(bad, lambda r: progress(token_of(r), 1)))
    seen: list[Any] = []
    with open_client(server) as client, caplog.at_level(logging.DEBUG):
        assert client.call_tool("t", on_progress=seen.append).text == "ok"
    assert len(seen) == 1
    assert [request.key for request in server.requests].count("response") == 0


def test_no_callback_is_no_error(server: RawMCPServer) -> None:
    """Without any callback the events are let go."""
    server.on("tools/call", stream(LOG, CHANGED, lambda r: progress(7, 1)))
    with open_client(server) as client:
        assert client.call_tool("t").text == "ok"


def test_events_as_an_iterator(server: RawMCPServer) -> None:
    """``stream_tool`` gives them all in order, and the result after the loop, or instead of it."""
    server.on("tools/call", stream(lambda r: progress(token_of(r), 1), LOG, CHANGED, note("notifications/x")))
    with open_client(server) as client:
        with client.stream_tool("t") as call:
            assert not call.done
            kinds = [type(event).__name__ for event in call]
            assert call.done
            assert call.result.text == "ok"
            assert list(call) == []
        assert kinds == ["Progress", "LogMessage", "ToolListChanged", "UnknownNotification"]
        seen: list[Any] = []
        call = client.stream_tool("t", on_progress=seen.append)
        assert call.result.text == "ok"
        assert len(seen) == 1


def test_the_request_goes_out_with_the_first_step(server: RawMCPServer) -> None:
    """Making a call object costs nothing; leaving it unused sends nothing, not even a cancellation."""
    with open_client(server) as client:
        with client.stream_tool("t"):
            pass
        client.stream_tool("t").cancel()
    assert server.seen("tools/call") == server.seen("notifications/cancelled") == []


@pytest.mark.parametrize("kind", ["on_progress", "on_log", "on_notification", "client_on_log"])
def test_a_callback_that_raises(server: RawMCPServer, kind: str) -> None:
    """H25-11, K-04: its exception reaches the caller as it is, after the server was told with a reason."""
    server.on("tools/call", stream(lambda r: progress(token_of(r), 1), LOG, CHANGED), OK)
    error = RuntimeError("in the callback")

    def fail(event: Any) -> None:
        raise error

    options: dict[str, Any] = {"on_notification": fail} if kind == "on_notification" else {}
    options = {"on_log": fail} if kind == "client_on_log" else options
    call_options: dict[str, Any] = {"on_progress": print} | ({kind: fail} if kind in ("on_progress", "on_log") else {})
    with open_client(server, **options) as client:
        with pytest.raises(RuntimeError) as caught:
            client.call_tool("t", **call_options)
        assert caught.value is error
        (call,) = server.seen("tools/call")
        (told,) = server.seen("notifications/cancelled")
        assert told.json["params"]["requestId"] == call.id
        assert told.json["params"]["reason"]
        assert client.call_tool("t").text == "ok"


def test_calls_from_inside_callbacks(server: RawMCPServer) -> None:
    """A callback may call the client, which may again run callbacks; each call gets its own result."""
    server.on("tools/call", stream(lambda r: progress(token_of(r), 1)), stream(LOG), OK)
    inner: list[Any] = []

    def on_log(event: Any) -> None:
        inner.append(client.call_tool("third").text)

    def on_progress(event: Any) -> None:
        inner.append(client.call_tool("second", on_log=on_log).text)

    with open_client(server) as client:
        assert client.call_tool("first", on_progress=on_progress).text == "ok"
    assert inner == ["ok", "ok"]
    names = [request.json["params"]["name"] for request in server.seen("tools/call")]
    assert names == ["first", "second", "third"]


# --- ends


def test_a_cancelled_call(server: RawMCPServer) -> None:
    """H25-10, H25-11, K-01, K-04, K-07: the server is told once, with id and reason; later steps say so too."""

    def held(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(progress(token_of(request), 1))
        peer.hold()

    server.on("tools/call", held)
    with open_client(server) as client:
        call = client.stream_tool("t")
        next(call)
        call.cancel("not needed any more")
        call.cancel("twice")
        for _ in range(2):
            with pytest.raises(CallCancelled, match="not needed any more"):
                next(call)
        (request,) = server.seen("tools/call")
        (told,) = server.seen("notifications/cancelled")
        assert told.json["params"] == {"requestId": request.id, "reason": "not needed any more"}
        client.send_ping()
        call.__exit__(None, None, None)


def test_cancelling_what_has_ended(server: RawMCPServer) -> None:
    """K-01: only what is believed to be under way is cancelled."""
    with open_client(server) as client:
        call = client.stream_tool("t")
        assert call.result.text == "ok"
        call.cancel()
        assert call.result.text == "ok"
    assert server.seen("notifications/cancelled") == []


def test_an_answer_that_was_on_its_way(server: RawMCPServer) -> None:
    """K-02, K-03: a response that comes after we cancelled goes nowhere, and the next call gets its own."""
    told = threading.Event()

    def late(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(progress(token_of(request), 1))
        peer.hold(told)
        peer.event_result(request, {"content": [{"type": "text", "text": "too late"}]})
        peer.end_stream()

    def hear(peer: Peer, request: Request) -> None:
        told.set()
        peer.respond(202)

    server.on("tools/call", late, OK)
    server.on("notifications/cancelled", hear)
    with open_client(server) as client:
        call = client.stream_tool("t")
        next(call)
        call.cancel()
        assert told.wait(BOUND)
        with pytest.raises(CallCancelled):
            call.result  # noqa: B018 - asking for it is the test
        assert client.call_tool("t").text == "ok"


def test_the_time_for_one_call(server: RawMCPServer) -> None:
    """L25-07, K-06, K-07: each call has its own limit; at its end the server is told, and nobody waits any longer."""
    server.on("tools/call", lambda peer, request: peer.hold())
    with open_client(server) as client, within(AT_ONCE + 2):
        with pytest.raises(CallTimeout) as caught:
            client.call_tool("t", timeout=0.2)
        assert caught.value.may_have_executed and isinstance(caught.value, TimeoutError)
        (told,) = server.seen("notifications/cancelled")
        assert told.json["params"]["requestId"] == server.seen("tools/call")[0].id
        client.send_ping()


@pytest.mark.parametrize("end", ["timeout", "close"])
def test_a_handshake_is_never_cancelled(server: RawMCPServer, end: str) -> None:
    """L25-09, K-07: "The initialize request MUST NOT be cancelled by clients", however its wait ends."""
    server.on("initialize", lambda peer, request: peer.hold())
    client = open_client(server, timeout=0.3 if end == "timeout" else BOUND)
    thread = InThread(client.connect)
    server.wait_for(lambda seen: server.seen("initialize"))
    if end == "close":
        client.close()
    thread.join(AT_ONCE)
    assert isinstance(thread.error, CallTimeout if end == "timeout" else ClientClosed)
    client.close()
    assert [request.key for request in server.requests] == ["initialize"]


def test_a_limit_for_silence_alone(server: RawMCPServer) -> None:
    """L25-07: progress extends what is left by nothing, and a call without any limit may still end by silence."""

    def slow(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.hold()

    server.on("tools/call", slow)
    with open_client(server) as client, within(AT_ONCE + 2):
        with pytest.raises(TimeoutError):
            client.call_tool("t", timeout=Timeout(read=0.2, total=None))


def test_no_limit_at_all(server: RawMCPServer) -> None:
    """``Timeout(total=None)`` is what the caller has to ask for."""
    with open_client(server, timeout=Timeout(total=None)) as client:
        assert client.call_tool("t").text == "ok"


@pytest.mark.parametrize(("status", "wait"), [(429, "7"), (503, "7"), (503, None)])
def test_the_server_says_when(
    server: RawMCPServer, monkeypatch: pytest.MonkeyPatch, status: int, wait: str | None
) -> None:
    """``Retry-After`` is a floor under the wait before a call that surely did not run is sent again."""
    waits: list[float] = []
    monkeypatch.setattr(Interrupt, "sleep", lambda self, seconds: waits.append(seconds))
    server.on("tools/call", refuse(status, {"Retry-After": wait} if wait else None), OK)
    with open_client(server, retry=RetryPolicy(base=0.001), timeout=60) as client:
        assert client.call_tool("t").text == "ok"
    assert all(seconds >= 7 for seconds in waits) == (wait is not None)
    assert len(server.seen("tools/call")) == 2
    assert len({request.id for request in server.seen("tools/call")}) == 1


def test_two_answers_in_two_streams(server: RawMCPServer) -> None:
    """H25-16: calls of two threads have a stream each, and neither sees what is on the other's."""
    both = threading.Barrier(2)
    seen: dict[str, list[float]] = {"a": [], "b": []}

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        both.wait(BOUND)
        for number in range(5):
            peer.event(progress(token_of(request), number))
        peer.event_result(request, {"content": [{"type": "text", "text": request.json["params"]["name"]}]})
        peer.end_stream()

    server.on("tools/call", answer)
    with open_client(server) as client:
        client.connect()

        def work(name: str) -> str:
            return client.call_tool(name, on_progress=lambda event: seen[name].append(event.progress)).text

        threads = {name: InThread(lambda name=name: work(name)) for name in seen}  # type: ignore[misc]
        for name, thread in threads.items():
            thread.join(BOUND)
            assert thread.error is None and thread.value == name
    assert seen == {"a": [0, 1, 2, 3, 4], "b": [0, 1, 2, 3, 4]}


@pytest.mark.parametrize("event", [None, "message", "ping", "endpoint", "Message"])
def test_only_messages_are_messages(server: RawMCPServer, event: str | None) -> None:
    """W-06, H25-06: events of another type, and those with empty data, hold no message and are no error."""

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event("", id="0")
        peer.event("not JSON at all" if event not in (None, "message") else "", event=event)
        peer.event_result(request, OK)
        peer.end_stream()

    server.on("tools/call", answer)
    with open_client(server) as client:
        assert client.call_tool("t").text == "ok"


def test_a_stream_that_says_nothing_of_its_charset(server: RawMCPServer) -> None:
    """BASE-01, W-02: text is UTF-8 whatever the header says, and separators of Unicode split nothing."""
    text = "grün\u2028\u2029\u0085\u000b 漢字 🙂"

    def answer(peer: Peer, request: Request) -> None:
        kind = "text/event-stream; charset=iso-8859-1" if request.id % 2 else "text/event-stream"
        peer.start_stream(content_type=kind)
        wire = '{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":%s}]}}'
        quoted = '"' + text.replace("\u000b", "\\u000b") + '"'
        peer.write(b"data: " + (wire % (request.id, quoted)).encode() + b"\n\n")
        peer.end_stream()

    server.on("tools/call", answer)
    with open_client(server) as client:
        for _ in range(2):
            assert client.call_tool("t").text == text


def test_an_answer_for_nobody_is_an_error(server: RawMCPServer) -> None:
    """BASE-04: a response with an id that nobody waits for ends the call, with both ids in the message."""

    def answer(peer: Peer, request: Request) -> None:
        peer.respond_json({"jsonrpc": "2.0", "id": 10**9, "result": OK})

    server.on("tools/call", answer)
    with open_client(server) as client, pytest.raises(RemoteProtocolError, match="1000000000"):
        client.call_tool("t")
