"""The stateless era on a bad network: a stream that breaks is lost with its request, and closing one cancels it."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from streamhttp_client import (
    CallCancelled,
    CallTimeout,
    Client,
    ClientClosed,
    ConnectionLost,
    ContentTypeError,
    HTTPStatusError,
    MessageTooLarge,
    Progress,
    ReadTimeout,
    RemoteProtocolError,
    RetryPolicy,
    StreamHTTPError,
    Timeout,
)
from tests.client._modern import DONE, acknowledge, kept, meta_of, no_other_requests, only_posts, open_modern
from tests.support.rawserver import ModernMCPServer, Peer, Request, sse
from tests.transport._faults import AT_ONCE, InThread, _close, within

Script = Callable[[Peer, Request], None]
SOON = 1.0  # within which a server sees that a call is no longer wanted


_UNTOLD = "requests' public interface cannot close a connection before the head of the answer is here"

# What cannot hold through a session of the caller's, by a part of the test's name, and why.
_EXCEPT = {
    "cut_in_the_head": "http.client takes the end of the connection for the end of the headers",
    "-nothing]": _UNTOLD,
    "-half_a_head]": _UNTOLD,
    "test_closing_ends_all": _UNTOLD,
    "test_an_end_while_the_caller_is_busy": "urllib3 stops the reading half alone, until the reader comes back",
}


@pytest.fixture(params=["own network", "caller's session"])
def connect(request: pytest.FixtureRequest, _nothing_left: None) -> Iterator[Callable[..., Client]]:
    """Makes clients, on both networks in turn."""
    for name, reason in _EXCEPT.items():
        if request.param == "caller's session" and name in request.node.name:
            pytest.skip(reason)
    borrowed: list[requests.Session] = []

    def make(server: ModernMCPServer, **options: Any) -> Client:
        if request.param == "caller's session":
            borrowed.append(requests.Session())
            options["http"] = borrowed[-1]
        return open_modern(server, **options)

    yield make
    for session in borrowed:
        _close(session)


@pytest.fixture
def server(_nothing_left: None) -> Iterator[ModernMCPServer]:
    with ModernMCPServer() as server:
        yield server


def wire(request: Request, result: Any = None) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request.id, "result": DONE if result is None else result}


def ticks(request: Request, count: int = 1) -> dict[str, Any]:
    params = {"progressToken": meta_of(request)["progressToken"], "progress": count}
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}


# --- streams that break
# ----------------------------------------------------------------------------------------------------------------------


def cut_at_once(peer: Peer, request: Request) -> None:
    peer.cut()


def reset_at_once(peer: Peer, request: Request) -> None:
    peer.reset()


def cut_in_the_head(peer: Peer, request: Request) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Ty")
    peer.cut()


def cut_in_json(peer: Peer, request: Request) -> None:
    peer.send_head(200, {"Content-Type": "application/json", "Content-Length": "500"})
    peer.send(b'{"jsonrpc": "2.0", ')
    peer.cut()


def cut_before_any_event(peer: Peer, request: Request) -> None:
    peer.start_stream()
    peer.cut()


def end_before_any_event(peer: Peer, request: Request) -> None:
    peer.start_stream()
    peer.end_stream()


def cut_after_an_event(peer: Peer, request: Request) -> None:
    """With all that would let it be resumed in the session era."""
    peer.start_stream()
    peer.event("", id="e-0", retry=60_000)
    peer.event({"jsonrpc": "2.0", "method": "notifications/odd"}, id="e-1")
    peer.cut()


def end_after_an_event(peer: Peer, request: Request) -> None:
    peer.start_stream()
    peer.event("", id="e-0", retry=60_000)
    peer.event({"jsonrpc": "2.0", "method": "notifications/odd"}, id="e-1")
    peer.end_stream()


def cut_in_the_last_event(peer: Peer, request: Request) -> None:
    peer.start_stream(chunked=False)
    peer.write(sse(wire(request), id="e-1")[:-1])
    peer.cut()


BREAKS = pytest.mark.parametrize(
    "broken",
    [cut_at_once, reset_at_once, cut_in_the_head, cut_in_json, cut_before_any_event, end_before_any_event,
     cut_after_an_event, end_after_an_event, cut_in_the_last_event],
)  # fmt: skip


@BREAKS
def test_a_read_is_made_again(server: ModernMCPServer, connect: Callable[..., Client], broken: Script) -> None:
    """X1, X2, H26-05, H26-06, H26-07, BASE-03: a lost read is a new request with a new id, wherever it broke; ids and
    ``retry`` of the stream mean nothing; no GET is sent.
    """
    server.on("tools/list", broken, broken, kept(0, tools=[]))
    with within(AT_ONCE * 2), connect(server) as client:
        assert client.list_tools() == []
    assert no_other_requests(server, *["tools/list"] * 3) and only_posts(server)
    assert len({request.id for request in server.requests}) == 3
    bodies = [{**request.json, "id": 0} for request in server.requests]
    assert bodies[0] == bodies[1] == bodies[2]


@BREAKS
def test_a_tool_that_may_run_twice(server: ModernMCPServer, connect: Callable[..., Client], broken: Script) -> None:
    """X2, H26-06, T-07: the tool's own hint or the caller's word allows another attempt; the caller has the last."""
    hints = {"readOnlyHint": False, "idempotentHint": True}
    tool = {"name": "t", "inputSchema": {"type": "object"}, "annotations": hints}
    server.on("tools/list", kept(0, tools=[tool]))
    with connect(server) as client:
        server.on("tools/call", broken, DONE)
        assert client.call_tool("u", idempotent=True).text == "ok"
        client.list_tools()
        server.on("tools/call", broken, DONE)
        assert client.call_tool("t").text == "ok"
        server.on("tools/call", broken, DONE)
        with pytest.raises(ConnectionLost):
            client.call_tool("t", idempotent=False)
    assert len(server.seen("tools/call")) == 5 and only_posts(server)


@BREAKS
def test_a_tool_that_may_not(server: ModernMCPServer, connect: Callable[..., Client], broken: Script) -> None:
    """X1, H26-05, H26-06: else the call fails, and says that it may have run and cannot be resumed; others go on."""
    server.on("tools/call", broken)
    with within(AT_ONCE * 2), connect(server) as client:
        with pytest.raises(ConnectionLost) as caught:
            client.call_tool("t")
        error = caught.value
        assert error.may_have_executed and not error.resumable and error.cursor is None
        assert no_other_requests(server, "tools/call") and only_posts(server)
        assert client.list_tools()


@pytest.mark.parametrize("method", ["prompts/get", "resources/read", "completion/complete", "server/discover"])
def test_what_is_a_read(server: ModernMCPServer, method: str) -> None:
    """H26-06: every verb that changes nothing is made again."""
    ask: dict[str, Callable[[Client], Any]] = {
        "prompts/get": lambda client: client.get_prompt("p"),
        "resources/read": lambda client: client.read_resource("a:b"),
        "completion/complete": lambda client: client.complete(
            {"type": "ref/prompt", "name": "p"}, {"name": "a", "value": ""}
        ),
        "server/discover": lambda client: client.send_ping(),
    }
    values: dict[str, Any] = {
        "messages": [], "contents": [], "completion": {"values": []}, "supportedVersions": ["2026-07-28"],
    }  # fmt: skip
    server.on(method, cut_after_an_event, kept(0, **values, capabilities={}))
    with open_modern(server) as client:
        ask[method](client)
    assert no_other_requests(server, method, method)


def test_attempts_are_counted(server: ModernMCPServer, connect: Callable[..., Client]) -> None:
    """H26-06, K-06: a server that breaks each stream without a word is asked as often as the policy says, no more."""
    server.on("tools/list", end_before_any_event)
    with connect(server, retry=RetryPolicy(attempts=3, base=0.0)) as client:
        with pytest.raises(ConnectionLost) as caught:
            client.list_tools()
    assert caught.value.may_have_executed and len(server.requests) == 3
    assert caught.value.attempts <= 3


def test_progress_goes_on_in_the_next_attempt(server: ModernMCPServer, connect: Callable[..., Client]) -> None:
    """H26-06, P-01, P-03: each attempt has a token of its own; progress under the old one is dropped."""
    tokens: list[Any] = []

    def answer(peer: Peer, request: Request) -> None:
        tokens.append(meta_of(request)["progressToken"])
        peer.start_stream()
        old = {"progressToken": tokens[0], "progress": 1 if len(tokens) == 1 else 99}
        peer.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": old}, id="x")
        if len(tokens) == 1:
            peer.cut()
            return
        peer.event(ticks(request, 2), id="x")
        peer.event_result(request, DONE, id="x")
        peer.end_stream()

    server.on("tools/call", answer)
    seen: list[Progress] = []
    with connect(server) as client:
        client.call_tool("t", idempotent=True, on_progress=seen.append)
    assert [(update.progress, update.attempt) for update in seen] == [(1, 1), (2, 2)]
    assert len(set(tokens)) == 2


def test_repeated_event_ids_are_no_repetition(server: ModernMCPServer, connect: Callable[..., Client]) -> None:
    """H26-05: ids are ignored, so that events under an id that was seen before are handed out like all others."""

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(ticks(request, 1), id="same")
        peer.event(ticks(request, 2), id="other")
        peer.event(ticks(request, 3), id="same")
        peer.event_result(request, DONE, id="same")
        peer.end_stream()

    server.on("tools/call", answer)
    with connect(server) as client, client.stream_tool("t") as call:
        seen = []
        for event in call:
            assert isinstance(event, Progress)
            seen.append(event.progress)
            assert call.cursor is None
    assert seen == [1, 2, 3]


def test_a_cursor_of_the_session_era(server: ModernMCPServer) -> None:
    """H26-05, H26-07: there is nothing to resume, whatever the cursor; no GET is sent."""
    from streamhttp_client import StreamCursor

    with open_modern(server) as client:
        client.list_tools()
        with pytest.raises(ConnectionLost) as caught:
            client.resume_call(StreamCursor(7, "e-1", "tools/call", "t"))
        assert not caught.value.resumable
    assert no_other_requests(server, "tools/list")


def _answers(request: Request) -> dict[str, tuple[bytes, list[int]]]:
    """Whole answers, and the places at which cutting them is interesting: around each boundary."""
    body = sse(None, id="e-1", retry=5)[:-1] + b"data:\n\n: keep-alive\r\n\r\n" + sse(wire(request))
    data = json.dumps(wire(request)).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\n\r\n"
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:30], body[30:])) + b"0\r\n\r\n"
    whole = {
        "json": head % (b"application/json", b"Content-Length: %d" % len(data)) + data,
        "json chunked": head % (b"application/json", b"Transfer-Encoding: chunked")
        + b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data),
        "json to the end": head % (b"application/json", b"Connection: close") + data,
        "stream": head % (b"text/event-stream", b"Transfer-Encoding: chunked") + chunked,
        "stream to the end": head % (b"text/event-stream", b"Connection: close") + body,
    }
    cuts = {}
    for name, content in whole.items():
        start = content.index(b"\r\n\r\n") + 4
        end = len(content)
        boundaries = {0, 1, 15, start - 2, start - 1, start, start + 1, end - 5, end - 2, end - 1}
        for mark in (b"data:", b"\n\n", b'"result"', b"\r\n"):
            at = content.find(mark, start)
            while at >= 0:
                boundaries |= {at, at + 1, at + len(mark)}
                at = content.find(mark, at + 1)
        cuts[name] = content, sorted(place for place in boundaries if 0 <= place < len(content))
    return cuts


@pytest.mark.parametrize("kind", ["json", "json chunked", "json to the end", "stream", "stream to the end"])
def test_cut_at_every_interesting_byte(server: ModernMCPServer, connect: Callable[..., Client], kind: str) -> None:
    """H26-06, X2: wherever an answer is cut, the result is the whole one or there is none: a call that may run twice is
    made again until it is there, any other is lost or answered, never half.
    """
    places: Iterator[int] = iter(())

    def answer(peer: Peer, request: Request) -> None:
        content, _ = _answers(request)[kind]
        place = next(places, len(content))
        peer.send(content[:place])
        peer.cut()

    server.on("tools/call", answer)
    known = Request("POST", "/", (), b'{"id": 123456789012345}', 1)
    content, interesting = _answers(known)[kind]
    lost = 0
    with connect(server, retry=RetryPolicy(attempts=1000, base=0.0)) as client:
        if client._options.http is not None:  # http.client takes the end of the connection for the end of the headers
            interesting = [place for place in interesting if place == 0 or place > content.index(b"\r\n\r\n") + 3]
        for place in interesting:
            places = iter([place])
            try:
                assert client.call_tool("t").text == "ok"
            except ConnectionLost as error:
                assert error.may_have_executed and not error.resumable
                lost += 1
        assert lost > len(interesting) // 2
        before = len(server.requests)
        places = iter(interesting)
        results = 0
        while len(server.requests) - before < len(interesting):
            assert client.call_tool("t", idempotent=True).text == "ok"
            results += 1
    assert results + lost >= len(interesting) and only_posts(server)
    assert len({request.id for request in server.requests}) == len(server.requests)


def test_a_server_that_hangs_up_between_calls(server: ModernMCPServer, connect: Callable[..., Client]) -> None:
    """H26-06: a connection that the server closed between calls costs no call, not even one that may run once only."""
    server.on("tools/call", DONE)
    with connect(server) as client:
        for _ in range(5):
            assert client.call_tool("t").text == "ok"
            server.drop_connections()
            server.wait_connected(0)
    assert len(server.requests) == 5


# --- answers that are none
# ----------------------------------------------------------------------------------------------------------------------


def test_answers_that_cannot_be(server: ModernMCPServer, connect: Callable[..., Client]) -> None:
    """H26-03, BASE-04: another's response, none at all, an empty body, another type: errors, and no second request."""

    def others(peer: Peer, request: Request) -> None:
        peer.respond_json({"jsonrpc": "2.0", "id": request.id + 1, "result": DONE})

    def as_text(peer: Peer, request: Request) -> None:
        peer.respond_json({"jsonrpc": "2.0", "id": str(request.id), "result": DONE})

    def none(peer: Peer, request: Request) -> None:
        peer.respond_json({"jsonrpc": "2.0", "method": "notifications/odd"})

    def empty(peer: Peer, request: Request) -> None:
        peer.respond(200, b"", content_type="application/json")

    def accepted(peer: Peer, request: Request) -> None:
        peer.respond(202)

    def page(peer: Peer, request: Request) -> None:
        peer.respond(200, b"<html>", content_type="text/html")

    def big(peer: Peer, request: Request) -> None:
        peer.respond_result(request, {"content": [{"type": "text", "text": "x" * 20_000}]})

    with connect(server, max_message_size=10_000) as client:
        for script, kind in (
            (others, RemoteProtocolError), (as_text, RemoteProtocolError), (none, RemoteProtocolError),
            (empty, RemoteProtocolError), (accepted, ContentTypeError), (page, ContentTypeError),
            (big, MessageTooLarge),
        ):  # fmt: skip
            server.on("tools/call", script)
            before = len(server.requests)
            with pytest.raises(kind):
                client.call_tool("t", idempotent=True)
            assert len(server.requests) == before + 1, script
        assert client.list_tools()
    assert only_posts(server)


def test_comments_and_other_events(server: ModernMCPServer, connect: Callable[..., Client]) -> None:
    """H26-04, S26-09, W-06: comments, pings of other types and empty events between are no input, cut up in any way."""

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        for _ in range(3):
            peer.comment()
            peer.write(b":\n\n")
            peer.event("", id="")
            peer.event("not JSON", event="ping")
            peer.write(b"odd: field\n\n")
        peer.drip(b"e\r\n: keep-alive\n\n\r\n")
        peer.event_result(request, DONE)
        peer.end_stream()

    server.on("tools/call", answer)
    with connect(server) as client, client.stream_tool("t") as call:
        assert list(call) == [] and call.result.text == "ok"


def test_a_silent_server(server: ModernMCPServer, connect: Callable[..., Client]) -> None:
    """K-06, X1: silence beyond ``read`` loses the request and closes its stream; a read is made again."""

    def silence(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.comment()
        peer.wait_gone()

    server.on("tools/call", silence)
    server.on("tools/list", silence, kept(0, tools=[]))
    with connect(server, timeout=Timeout(read=0.3, total=20)) as client:
        with pytest.raises(ReadTimeout) as caught:
            client.call_tool("t")
        assert caught.value.may_have_executed
        assert client.list_tools() == []
        server.wait_connected(1, SOON)
    assert only_posts(server) and no_other_requests(server, "tools/call", "tools/list", "tools/list")


@pytest.mark.parametrize("status", [429, 503])
def test_what_did_not_begin_is_sent_again(
    server: ModernMCPServer, connect: Callable[..., Client], status: int
) -> None:
    """H26-06: a refusal that says "not now" is no lost call, and is asked again for any tool."""
    server.on("tools/call", lambda peer, request: peer.respond(status), DONE)
    with connect(server) as client:
        assert client.call_tool("t").text == "ok"
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [400, 404, 405, 500, 502])
def test_other_refusals_are_not(server: ModernMCPServer, connect: Callable[..., Client], status: int) -> None:
    """V26-08, X7, X8: after an error page it is found out at most how the server speaks; if as before, the call is not
    repeated.
    """
    server.on("tools/call", lambda peer, request: peer.respond(status, b"<html>", content_type="text/html"))
    with connect(server) as client:
        with pytest.raises(HTTPStatusError) as caught:
            client.call_tool("t", idempotent=True)
        assert caught.value.status == status
        assert client.era == "stateless"
    assert [request.key for request in server.requests if request.key != "server/discover"] == ["tools/call"]
    assert len(server.seen("server/discover")) <= 1


def test_more_after_the_response(server: ModernMCPServer, connect: Callable[..., Client]) -> None:
    """K-02, BASE-04: what a server still sends on a stream after the response reaches no other call."""

    def talkative(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event_result(request, DONE)
        for number in range(100):
            peer.event({"jsonrpc": "2.0", "id": request.id + number, "result": {"content": 7}})
        peer.hold()

    server.on("tools/call", talkative, DONE, talkative, DONE)
    with connect(server) as client:
        for _ in range(4):
            assert client.call_tool("t").text == "ok"
    assert len(server.requests) == 4


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["same origin", "another origin"])
def test_a_redirect(server: ModernMCPServer, connect: Callable[..., Client], status: int, elsewhere: bool) -> None:
    """H26-01, H26-09, H26-10, H26-13: a request that is sent on has the headers that fit its body at its new place."""
    properties = {"region": {"type": "string", "x-mcp-header": "Region"}}
    tools = kept(0, tools=[{"name": "t", "inputSchema": {"type": "object", "properties": properties}}])
    with ModernMCPServer() as other:
        target = other if elsewhere else server
        for each in (server, other):
            each.on("tools/list", tools)

        def send_on(peer: Peer, request: Request) -> None:
            if request.target != "/mcp":
                server.answer(peer, request)
            else:
                peer.respond(status, headers={"Location": f"{target.origin}/moved"})

        server.on("tools/call", send_on)
        with connect(server) as client:
            client.list_tools()
            assert client.call_tool("t", {"region": "eu"}).text == "ok"
        arrived = target.seen("tools/call")[-1]
    assert arrived.target == "/moved" and arrived.header("Mcp-Param-Region") == "eu"
    assert arrived.header("Mcp-Method") == "tools/call" and arrived.header("Mcp-Name") == "t"


def test_a_stormy_network(server: ModernMCPServer, connect: Callable[..., Client]) -> None:
    """H26-06, K-01, K-03, M26-07, BASE-03: threads call, list, listen and cancel on one client, while answers break,
    stall and ask: each gets its own answer or an error of ours in time; no id is taken twice, and nothing is left.
    """
    taken: list[Any] = []
    calm = threading.Event()
    dice = random.Random(20260728)
    lock = threading.Lock()

    def chance() -> float:
        with lock:
            return dice.random()

    def stormy(peer: Peer, request: Request) -> None:
        params, luck = request.json["params"], 1.0 if calm.is_set() else chance()
        name = params.get("name", "")
        if not 0.3 <= luck < 0.35:  # what is refused with 503 may come again as it was
            taken.append(request.id)
        if luck < 0.1:
            peer.cut()
        elif luck < 0.2:
            peer.reset()
        elif luck < 0.3:
            peer.start_stream()
            peer.event(ticks(request), id="e-1", retry=60_000) if "progressToken" in meta_of(request) else None
            peer.cut()
        elif luck < 0.35:
            peer.respond(503)
        elif luck < 0.4:
            peer.wait_gone()
        elif luck < 0.6 and "requestState" not in params:
            peer.respond_result(request, {"resultType": "input_required", "requestState": name})
        else:
            assert params.get("requestState", name) == name
            peer.start_stream()
            peer.comment()
            peer.event_result(request, {"content": [{"type": "text", "text": name}]})
            peer.end_stream()

    def listening(peer: Peer, request: Request) -> None:
        tell = acknowledge(peer, request)
        while chance() < 0.5:
            tell("notifications/tools/list_changed")
        peer.cut() if chance() < 0.5 else peer.wait_gone()

    def listing(peer: Peer, request: Request) -> None:
        if not calm.is_set() and chance() < 0.3:
            peer.cut()
        else:
            peer.respond_result(request, kept(600_000, tools=[{"name": "echo", "inputSchema": {"type": "object"}}]))

    server.on("tools/call", stormy)
    server.on("tools/list", listing)
    server.on("subscriptions/listen", listening)
    client = connect(server, timeout=2, retry=RetryPolicy(attempts=6, base=0.001, maximum=0.01))
    borrowed = client._options.http is not None
    outcomes: list[str] = []

    def work(number: int) -> None:
        for step in range(25):
            name = f"{number}-{step}"
            try:
                if step % 5 == 4:
                    client.list_tools()
                    client.subscribe_resource(f"r:{step}")
                elif step % 5 == 3:
                    with client.stream_tool(name, timeout=0.3) as call:
                        next(call, None)
                else:
                    assert client.call_tool(name, timeout=0.3, idempotent=bool(step % 2)).text == name
                outcomes.append("ok")
            except StreamHTTPError as error:
                outcomes.append(type(error).__name__)

    listener = client.listen(lambda event: None)
    threads = [InThread(lambda number=number: work(number)) for number in range(6)]  # type: ignore[misc]
    for thread in threads:
        thread.join(40)
    calm.set()
    assert [thread.error for thread in threads] == [None] * 6
    assert len(outcomes) == 150 and outcomes.count("ok") > 50
    known = {"ok", "ConnectionLost", "CallTimeout", "HTTPStatusError", "InputRequired", "CallCancelled"}
    assert set(outcomes) <= known
    assert client.call_tool("after").text == "after"
    listener.close()
    client.close()
    if not borrowed:
        server.wait_connected(0, SOON)
    assert only_posts(server)
    assert len(taken) == len(set(taken))


# --- ends that the caller wants
# ----------------------------------------------------------------------------------------------------------------------


class Watch:
    """A script that shows when the client has closed the connection of a call."""

    def __init__(self, begin: Script) -> None:
        self._begin = begin
        self.begun = threading.Event()
        self.gone = threading.Event()

    def __call__(self, peer: Peer, request: Request) -> None:
        try:
            self._begin(peer, request)
            self.begun.set()
            peer.wait_gone()
        finally:
            self.gone.set()


def nothing(peer: Peer, request: Request) -> None:
    pass


def half_a_head(peer: Peer, request: Request) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\n")


def half_json(peer: Peer, request: Request) -> None:
    peer.send_head(200, {"Content-Type": "application/json", "Content-Length": "500"})
    peer.send(b"{")


def a_stream(peer: Peer, request: Request) -> None:
    peer.start_stream()
    peer.event({"jsonrpc": "2.0", "method": "notifications/odd"}, id="e-1")


def a_stream_without_length(peer: Peer, request: Request) -> None:
    peer.start_stream(chunked=False)
    peer.comment()


PLACES = pytest.mark.parametrize("place", [nothing, half_a_head, half_json, a_stream, a_stream_without_length])


@PLACES
@pytest.mark.parametrize("end", ["cancel", "close"])
def test_an_end_from_another_thread(
    server: ModernMCPServer, connect: Callable[..., Client], place: Script, end: str
) -> None:
    """K-01, K-07, X3: the call ends at once; the server sees its connection close, and no notification."""
    watch = Watch(place)
    server.on("tools/call", watch)
    client = connect(server, timeout=60)
    call = client.stream_tool("t")
    reader = InThread(lambda: list(call))
    assert watch.begun.wait(AT_ONCE)
    with within(AT_ONCE):
        (call.cancel if end == "cancel" else client.close)()
        assert watch.gone.wait(SOON)
        reader.join(AT_ONCE)
    assert isinstance(reader.error, CallCancelled if end == "cancel" else ClientClosed), repr(reader.error)
    call.cancel()
    if end == "cancel":
        assert client.list_tools()
    client.close()
    assert not server.seen("notifications/cancelled") and only_posts(server)
    assert len(server.seen("tools/call")) == 1


@pytest.mark.parametrize("end", ["cancel", "close"])
def test_an_end_while_the_caller_is_busy(server: ModernMCPServer, connect: Callable[..., Client], end: str) -> None:
    """K-07, X3: the stream closes at once although the thread that iterates does something else just now."""
    watch = Watch(a_stream)
    server.on("tools/call", watch)
    client = connect(server, timeout=60)
    with pytest.raises(ClientClosed), client.stream_tool("t") as call:
        for _ in call:
            ender = InThread(call.cancel if end == "cancel" else client.close)
            ender.join(AT_ONCE)
            assert watch.gone.wait(SOON), "the server still believes that the call is wanted"
    client.close()
    assert not server.seen("notifications/cancelled")


def test_cancelling_in_a_callback(server: ModernMCPServer, connect: Callable[..., Client]) -> None:
    """K-07: a callback of the call may cancel it."""

    def begin(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(ticks(request, 1))

    watch = Watch(begin)
    server.on("tools/call", watch)
    with connect(server) as client:
        call = client.stream_tool("t", on_progress=lambda update: call.cancel())
        with pytest.raises(CallCancelled):
            list(call)
        assert watch.gone.wait(SOON)
        assert client.list_tools()
    assert not server.seen("notifications/cancelled")


def test_leaving_the_block(server: ModernMCPServer, connect: Callable[..., Client]) -> None:
    """K-01, K-07: leaving the block early closes the stream; before the beginning and after the end it does nothing."""
    watch = Watch(a_stream)
    server.on("tools/call", watch)
    with connect(server) as client:
        with client.stream_tool("t"):
            pass
        assert server.accepted == 0
        with client.stream_tool("t") as call:
            next(call)
        assert watch.gone.wait(SOON)
        server.on("tools/call", DONE)
        with client.stream_tool("t") as call:
            assert call.result.text == "ok"
        connections = server.accepted
        assert client.list_tools() and server.accepted == connections  # the connection still serves
    assert not server.seen("notifications/cancelled")


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_a_callback_that_raises(
    server: ModernMCPServer, connect: Callable[..., Client], error: BaseException
) -> None:
    """K-07: the very exception reaches the caller, and the stream is closed by then or soon after."""

    def begin(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(ticks(request, 1))

    def on_progress(update: Progress) -> None:
        raise error

    watch = Watch(begin)
    server.on("tools/call", watch)
    with connect(server) as client:
        with pytest.raises(type(error)) as caught:
            client.call_tool("t", on_progress=on_progress)
        assert caught.value is error
        error.__traceback__ = None  # pytest keeps the error, and so would keep all frames
        assert watch.gone.wait(SOON)
        assert client.list_tools()
    assert not server.seen("notifications/cancelled")


@PLACES
def test_a_deadline(server: ModernMCPServer, connect: Callable[..., Client], place: Script) -> None:
    """K-06, K-07: at the deadline the call raises and its connection closes; a read is not made again after it."""
    watch = Watch(place)
    server.on("tools/call", watch)
    with connect(server) as client:
        with within(0.4 + AT_ONCE), pytest.raises(CallTimeout) as caught:
            client.call_tool("t", timeout=0.4, idempotent=True)
        assert caught.value.may_have_executed and not caught.value.resumable
        assert watch.gone.wait(SOON)
        assert client.list_tools()
    assert no_other_requests(server, "tools/call", "tools/list")


def test_a_deadline_with_a_busy_server(server: ModernMCPServer, connect: Callable[..., Client]) -> None:
    """K-06: neither progress nor keep-alive comments move the deadline."""
    stop = threading.Event()

    def chatter(peer: Peer, request: Request) -> None:
        peer.start_stream()
        for count in itertools.count():
            if stop.wait(0.02):
                return
            peer.comment()
            peer.event(ticks(request, count))

    server.on("tools/call", chatter)
    with connect(server) as client:
        with within(0.5 + AT_ONCE), pytest.raises(CallTimeout):
            client.call_tool("t", timeout=0.5, on_progress=lambda update: None)
        stop.set()
        assert client.list_tools()


def test_other_calls_go_on(server: ModernMCPServer, connect: Callable[..., Client]) -> None:
    """K-01, K-02, K-03: of many calls under way the cancelled ones end, and all others get their results."""
    go_on = threading.Event()

    def answer(peer: Peer, request: Request) -> None:
        if request.json["params"]["name"].startswith("cancel"):
            peer.start_stream()
            with contextlib.suppress(Exception):
                peer.wait_gone()
            return
        peer.start_stream()
        peer.hold(go_on)
        peer.event_result(request, DONE)
        peer.end_stream()

    server.on("tools/call", answer)
    with connect(server) as client:
        unwanted = [client.stream_tool(f"cancel{number}") for number in range(3)]
        ending = [InThread(lambda call=call: call.result) for call in unwanted]  # type: ignore[misc]
        staying = [InThread(lambda: client.call_tool("stay").text) for _ in range(3)]
        server.wait_for(lambda seen: len(seen) == 6)
        for call in unwanted:
            call.cancel()
        for thread in ending:
            thread.join(AT_ONCE)
        server.wait_connected(3, SOON)
        go_on.set()
        for thread in staying:
            thread.join(AT_ONCE)
    assert [type(thread.error) for thread in ending] == [CallCancelled] * 3
    assert [thread.value for thread in staying] == ["ok"] * 3


def test_cancelling_when_the_answer_is_on_its_way(server: ModernMCPServer, connect: Callable[..., Client]) -> None:
    """K-02, K-03: a cancellation that crosses the answer ends in one or the other, and harms nobody."""
    with connect(server) as client:
        for _ in range(30):
            call = client.stream_tool("t")
            before = len(server.requests)
            reader = InThread(lambda: call.result.text)  # noqa: B023
            server.wait_for(lambda seen: len(seen) > before)  # noqa: B023
            call.cancel()
            reader.join(AT_ONCE)
            assert reader.value == "ok" or isinstance(reader.error, CallCancelled), repr(reader.error)
        assert client.list_tools()
    assert not server.seen("notifications/cancelled")


def test_closing_ends_all(server: ModernMCPServer, connect: Callable[..., Client]) -> None:
    """K-07, X6: ``close()`` ends calls, and pauses between attempts; there is no DELETE and no notification."""
    server.on("tools/call", lambda peer, request: peer.wait_gone())
    server.on("tools/list", lambda peer, request: peer.respond(503, headers={"Retry-After": "30"}))
    client = connect(server, timeout=60)
    threads = [InThread(lambda: client.call_tool("t")), InThread(client.list_tools)]
    server.wait_for(lambda seen: len(seen) >= 2)
    with within(AT_ONCE):
        client.close()
        for thread in threads:
            thread.join(AT_ONCE)
    assert all(isinstance(thread.error, ClientClosed) for thread in threads)
    server.wait_connected(0, SOON)
    assert sorted(request.key for request in server.requests) == ["tools/call", "tools/list"]


_SCRIPT = """
import sys
from streamhttp_client import Client
with Client(sys.argv[1], protocol="2026-07-28", timeout=60) as client:
    try:
        client.call_tool("t", on_progress=lambda update: print("going", flush=True))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        print(len(client.list_tools()), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT for one process")
def test_ctrl_c(server: ModernMCPServer) -> None:
    """K-07: Ctrl-C closes the stream and raises KeyboardInterrupt; the client goes on."""

    def begin(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(ticks(request, 1))

    watch = Watch(begin)
    server.on("tools/call", watch)
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, server.url], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            assert process.stdout.readline() == "going\n", process.stderr.read()
            process.send_signal(signal.SIGINT)
            assert watch.gone.wait(AT_ONCE * 2)
            out, err = process.communicate(timeout=10)
        finally:
            process.kill()
    assert out.split() == ["interrupted", "1"], err
    assert no_other_requests(server, "tools/call", "tools/list")


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT for one process")
def test_ctrl_c_while_waiting_for_a_task(server: ModernMCPServer) -> None:
    """K-07, T-17: Ctrl-C in the pause between two questions cancels the task and raises KeyboardInterrupt."""

    server.on("tools/call", {
        "resultType": "task", "taskId": "t-1", "status": "working", "ttlMs": None, "pollIntervalMs": 60_000,
        "createdAt": "2026-08-01T10:00:00Z", "lastUpdatedAt": "2026-08-01T10:00:00Z", "statusMessage": "begun",
    })  # fmt: skip
    server.on("tasks/cancel", {})
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, server.url], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            assert process.stdout.readline() == "going\n", process.stderr.read()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=10)
        finally:
            process.kill()
    assert out.split() == ["interrupted", "1"], err
    assert no_other_requests(server, "tools/call", "tasks/cancel", "tools/list")
