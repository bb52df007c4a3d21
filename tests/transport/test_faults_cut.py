"""Connections that break: where the cut is decides whether the call is resumed, repeated, or lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from streamhttp_client import (
    ConnectionFailed,
    ConnectionLost,
    Progress,
    ResumeRefused,
    RetryPolicy,
    TransportError,
)
from tests.support.rawserver import Peer, RawMCPServer, RawServer, Request, refusing_port, sse
from tests.transport._faults import NO_WAIT, RESULT, open_client, progress, result, stays_usable

ENDS = pytest.mark.parametrize("end", [Peer.cut, Peer.reset], ids=["fin", "rst"])
Script = Callable[[Peer, Request], None]


def before_the_status_line(peer: Peer, request: Request) -> None:
    pass


def in_the_status_line(peer: Peer, request: Request) -> None:
    peer.send(b"HTTP/1.1 20")


def in_the_headers(peer: Peer, request: Request) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/js")


def in_a_sized_body(peer: Peer, request: Request) -> None:
    peer.send_head(200, {"Content-Type": "application/json", "Content-Length": "500"})
    peer.send(b'{"jsonrpc": "2.0", "id"')


def in_a_chunk(peer: Peer, request: Request) -> None:
    peer.send_head(200, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"})
    peer.send(b"40\r\n{")


def before_any_event_id(peer: Peer, request: Request) -> None:
    peer.start_stream()
    peer.event(progress(request, 1))


def in_the_first_event(peer: Peer, request: Request) -> None:
    peer.start_stream()
    peer.write(b"id: never-finished\ndata: {}\n")


PLACES = pytest.mark.parametrize(
    "place",
    [
        before_the_status_line,
        in_the_status_line,
        in_the_headers,
        in_a_sized_body,
        in_a_chunk,
        before_any_event_id,
        in_the_first_event,
    ],
)


def ignore(update: Progress) -> None:
    """Asks for progress notifications."""


@PLACES
@ENDS
def test_a_call_that_may_have_run_is_not_repeated(place: Script, end: Callable[[Peer], None]) -> None:
    """Wherever the answer is cut before an event id, a plain call is lost, says so, and was sent once."""

    def script(peer: Peer, request: Request) -> None:
        place(peer, request)
        end(peer)

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        with pytest.raises(ConnectionLost) as caught:
            client.call_tool("echo", on_progress=ignore)
        assert caught.value.may_have_executed is True
        assert caught.value.resumable is False and caught.value.cursor is None
        assert len(server.seen("tools/call")) == 1 and not server.seen("GET")
        stays_usable(client)


@PLACES
@ENDS
def test_an_idempotent_call_is_repeated(place: Script, end: Callable[[Peer], None]) -> None:
    """With ``idempotent=True`` the same cut costs a second attempt and nothing else."""

    def script(peer: Peer, request: Request) -> None:
        place(peer, request)
        end(peer)

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script, RESULT)
        assert client.call_tool("echo", idempotent=True, on_progress=ignore).text == "ok"
        assert len(server.seen("tools/call")) == 2


@PLACES
def test_a_read_is_repeated(place: Script) -> None:
    """Listing changes nothing on the server, so a cut listing is asked for again without anybody's word."""

    def script(peer: Peer, request: Request) -> None:
        if place is before_any_event_id:
            peer.start_stream()
            peer.comment()
        else:
            place(peer, request)
        peer.cut()

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/list", script, script, {"tools": []})
        assert client.list_tools() == []
        assert len(server.seen("tools/list")) == 3


def test_attempts_end() -> None:
    """A read whose every answer is cut ends after the attempts of the policy."""
    with RawMCPServer() as server, open_client(server, retry=RetryPolicy(attempts=3, base=0)) as client:
        server.on("tools/list", lambda peer, request: peer.cut())
        with pytest.raises(ConnectionLost) as caught:
            client.list_tools()
        assert len(server.seen("tools/list")) == 3 and caught.value.attempts == 3


def test_a_tool_said_to_be_read_only_is_repeated() -> None:
    """What ``tools/list`` said of a tool is remembered: ``readOnlyHint`` makes a repetition safe."""
    tool = {"name": "look", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/list", {"tools": [tool]})
        server.on("tools/call", lambda peer, request: peer.cut(), RESULT)
        client.list_tools()
        assert client.call_tool("look").text == "ok"
        assert len(server.seen("tools/call")) == 2


def test_a_refused_connection_ran_nothing() -> None:
    """Nobody listens: the error says that nothing was executed, after the attempts that are safe then."""
    with refusing_port() as held:
        server = RawServer(lambda peer: None)
        with server:
            server.url = f"http://127.0.0.1:{held.getsockname()[1]}/mcp"
            with pytest.raises(ConnectionFailed) as caught:
                open_client(server).list_tools()
    assert caught.value.may_have_executed is False and caught.value.resumable is False


def test_an_idle_connection_that_the_server_closed_is_not_used() -> None:
    """Servers close idle connections; the call after that goes out once, on a new one."""

    def closes_after(peer: Peer, request: Request) -> None:
        peer.respond_result(request, {"tools": []})
        peer.cut()

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/list", closes_after)
        client.list_tools()
        server.wait_connected(0)
        assert client.call_tool("echo").text == "ok"
        assert len(server.seen("tools/call")) == 1


# -- streams with event ids


def resumed(peer: Peer, request: Request) -> None:
    """The last part of a stream: the result of the call that was made before."""
    call = peer.server.seen("tools/call")[-1]
    peer.start_stream()
    peer.event(result(call), id="last")
    peer.end_stream()


@ENDS
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "close"])
def test_a_stream_with_an_event_id_is_resumed(end: Callable[[Peer], None], chunked: bool) -> None:
    """After an event id, the break is repaired with GET and ``Last-Event-ID``; the call is sent once."""
    seen: list[float] = []

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream(chunked=chunked)
        peer.event(progress(request, 1), id="e-1")
        if end is Peer.reset:
            peer.hold(read)
        end(peer)

    with RawMCPServer() as server, open_client(server) as client:
        read = threading.Event()

        def on_progress(update: Progress) -> None:
            seen.append(update.progress)
            read.set()  # a reset throws away what was not read

        server.on("tools/call", script)
        server.on("GET", resumed)
        assert client.call_tool("echo", on_progress=on_progress).text == "ok"
        (get,) = server.seen("GET")
        (call,) = server.seen("tools/call")
    assert seen == [1]
    assert get.header("Last-Event-ID") == "e-1" and get.header("Accept") == "text/event-stream"
    assert get.header("MCP-Session-Id") == call.header("MCP-Session-Id") == "session-1"
    assert get.header("MCP-Protocol-Version") == "2025-11-25"


def test_an_empty_first_event_is_enough_to_resume() -> None:
    """An event with an id and an empty data field (MCP 2025-11-25) is a cursor, and no message."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event("", id="primed", retry=0)
        peer.end_stream()

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        server.on("GET", resumed)
        assert client.call_tool("echo").text == "ok"
        assert [get.header("Last-Event-ID") for get in server.seen("GET")] == ["primed"]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_a_cut_at_every_byte_of_a_stream(ending: str) -> None:
    """A whole event moves the cursor, part of one does not, and a whole result ends the call."""
    line_ends = len(ending)
    with RawMCPServer() as server, open_client(server) as client:
        server.on("GET", resumed)

        def stream(request: Request) -> tuple[bytes, bytes]:
            first = sse(progress(request, 1), id="e-1").replace(b"\n", ending.encode())
            return first, sse(result(request), id="e-2").replace(b"\n", ending.encode())

        size = one = at = 0

        def script(peer: Peer, request: Request) -> None:
            nonlocal size, one
            first, second = stream(request)
            size, one = len(first + second), len(first)
            peer.start_stream()
            peer.write((first + second)[:at] or b": nothing\n")
            peer.cut()

        while at <= size or not size:
            server.on("tools/call", script)
            gets, calls = len(server.seen("GET")), len(server.seen("tools/call"))
            try:
                answer = client.call_tool("echo", on_progress=ignore).text
            except ConnectionLost as error:
                answer = "lost"
                assert not error.resumable
            later = server.seen("GET")[gets:]
            assert len(server.seen("tools/call")) == calls + 1, at
            # The last byte of CRLF CRLF adds nothing: the CR before it has ended the blank line.
            slack = line_ends - 1
            if at >= size - slack:
                assert (answer, later) == ("ok", []), at
            elif at >= one - slack:
                assert answer == "ok" and [get.header("Last-Event-ID") for get in later] == ["e-1"], at
            else:
                assert (answer, later) == ("lost", []), at
            at += 1
        assert at > 100


def test_the_cursor_never_moves_back() -> None:
    """A resumed stream that breaks before a new id, or in an event, is resumed from where it was."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(progress(request, 1), id="e-1")
        peer.event(progress(request, 2), id="e-2")
        peer.cut()

    def nothing(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.cut()

    def half_an_event(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.write(b"id: e-3\ndata: {")
        peer.cut()

    def without_an_id(peer: Peer, request: Request) -> None:
        call = server.seen("tools/call")[0]
        peer.start_stream()
        peer.event(progress(call, 3))
        peer.cut()

    def next_one(peer: Peer, request: Request) -> None:
        call = server.seen("tools/call")[0]
        peer.start_stream()
        peer.event(progress(call, 4), id="e-4")
        peer.cut()

    seen: list[float] = []
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        server.on("GET", nothing, half_an_event, without_an_id, next_one, nothing, resumed)
        call = client.call_tool("echo", on_progress=lambda update: seen.append(update.progress))
        assert call.text == "ok"
        ids = [get.header("Last-Event-ID") for get in server.seen("GET")]
    assert ids == ["e-2", "e-2", "e-2", "e-2", "e-4", "e-4"]
    assert seen == [1, 2, 3, 4]


def test_two_calls_keep_their_cursors_apart() -> None:
    """Event ids belong to one stream each: a call made inside another one resumes from its own."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(progress(request, 1), id=f"stream-{request.json['params']['name']}")
        peer.cut()

    def resume_that(peer: Peer, request: Request) -> None:
        name = str(request.header("Last-Event-ID")).removeprefix("stream-")
        (call,) = (c for c in server.seen("tools/call") if c.json["params"]["name"] == name)
        peer.start_stream()
        peer.event(result(call, {"content": [{"type": "text", "text": name}]}))
        peer.end_stream()

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        server.on("GET", resume_that)
        inner: list[str] = []

        def call_inside(update: Progress) -> None:
            if not inner:
                inner.append("")
                inner[0] = client.call_tool("inner", on_progress=ignore).text

        assert client.call_tool("outer", on_progress=call_inside).text == "outer"
        assert inner == ["inner"]


def test_a_thousand_reconnects_in_one_call() -> None:
    """Each connection brings one event: no recursion, no flat count, no thread, all in order."""
    turns = 1000

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream(headers={"Connection": "close"})
        peer.event(progress(request, 0), id="0")
        peer.end_stream()
        peer.cut()

    def again(peer: Peer, request: Request) -> None:
        call = server.seen("tools/call")[0]
        number = int(request.header("Last-Event-ID") or "") + 1
        peer.start_stream()
        if number == turns:
            peer.event(result(call), id=str(number))
        else:
            peer.event(progress(call, number), id=str(number))
        peer.end_stream()
        if number % 2:  # half of them over a new connection, half over the same one
            peer.cut()

    seen: list[float] = []
    with RawMCPServer() as server, open_client(server, timeout=100) as client:
        server.on("tools/call", script)
        server.on("GET", again)
        call = client.call_tool("echo", on_progress=lambda update: seen.append(update.progress))
        assert call.text == "ok"
        assert len(server.seen("GET")) == turns and len(server.seen("tools/call")) == 1
    assert seen == list(range(turns))


def test_reconnects_without_progress_end() -> None:
    """A stream that opens again and again and brings nothing is given up, with a cursor to come back to."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(progress(request, 1), id="e-1")
        peer.cut()

    def nothing(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.comment()
        peer.end_stream()

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        server.on("GET", nothing)
        with pytest.raises(ConnectionLost) as caught:
            client.call_tool("echo", on_progress=ignore)
        assert NO_WAIT.attempts - 1 <= len(server.seen("GET")) <= NO_WAIT.attempts + 1
        assert caught.value.resumable and caught.value.may_have_executed
        assert caught.value.cursor.last_event_id == "e-1"
        server.on("GET", resumed)
        assert client.resume_call(caught.value.cursor).text == "ok"
        stays_usable(client)


@pytest.mark.parametrize("status", [400, 405, 410])
def test_a_refused_resumption_is_not_repeated(status: int) -> None:
    """The server no longer holds the stream: that is said once, and the call is not sent again."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(progress(request, 1), id="e-1")
        peer.cut()

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        server.on("GET", lambda peer, request: peer.respond(status))
        with pytest.raises(ResumeRefused) as caught:
            client.call_tool("echo", on_progress=ignore)
        assert caught.value.may_have_executed and not caught.value.resumable
        assert len(server.seen("GET")) == 1 and len(server.seen("tools/call")) == 1
        stays_usable(client)


def test_a_resumption_that_is_put_off_is_tried_again() -> None:
    """503, a refused connection's kin, and a cut before the head are reasons to try the GET again."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(progress(request, 1), id="e-1")
        peer.cut()

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        server.on("GET", lambda peer, request: peer.respond(503), lambda peer, request: peer.reset(), resumed)
        assert client.call_tool("echo", on_progress=ignore).text == "ok"
        assert [get.header("Last-Event-ID") for get in server.seen("GET")] == ["e-1"] * 3


def test_the_retry_field_is_a_floor() -> None:
    """"The client MUST respect the retry field, waiting the given number of milliseconds", MCP 2025-11-25."""
    times: list[float] = []

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event("", id="e-1", retry=150)
        times.append(time.monotonic())
        peer.cut()

    def reopened(peer: Peer, request: Request) -> None:
        times.append(time.monotonic())
        resumed(peer, request)

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        server.on("GET", reopened)
        assert client.call_tool("echo").text == "ok"
    # 1 ms for the clock's own grain; the time was taken after the event left.
    assert times[1] - times[0] >= 0.149


def test_an_absurd_retry_field_does_not_hang_the_call() -> None:
    """A server that asks to come back in a month is not waited for: the call ends with a cursor."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event("", id="e-1", retry=2_592_000_000)
        peer.cut()

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        with pytest.raises(TransportError) as caught:
            client.call_tool("echo")
        assert caught.value.resumable and caught.value.cursor.last_event_id == "e-1"
        assert not server.seen("GET")
        stays_usable(client)
