"""Servers that say nothing, or nothing that matters: every wait has an end."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from streamhttp_client import CallTimeout, ConnectionLost, RetryPolicy, Timeout, TransportError
from tests.support.rawserver import Peer, RawMCPServer, Request, sse
from tests.transport._faults import (
    AT_ONCE,
    BOUND,
    open_client,
    progress,
    result,
    silent,
    stays_usable,
    within,
)

SHORT = 0.2  # seconds; long enough for a loopback exchange, and all that these tests wait for


def after_the_head(peer: Peer, request: Request) -> None:
    peer.start_stream()
    peer.hold()


def in_a_sized_body(peer: Peer, request: Request) -> None:
    peer.send_head(200, {"Content-Type": "application/json", "Content-Length": "500"})
    peer.send(b'{"jsonrpc"')
    peer.hold()


def in_the_headers(peer: Peer, request: Request) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nContent-")
    peer.hold()


def after_an_event(peer: Peer, request: Request) -> None:
    peer.start_stream()
    peer.event("", id="e-1")
    peer.hold()


PLACES = pytest.mark.parametrize(
    "place", [silent, in_the_headers, in_a_sized_body, after_the_head, after_an_event]
)


@PLACES
def test_silence_ends_with_the_total(place: Callable[[Peer, Request], None]) -> None:
    """The deadline ends the call wherever it stands, cancels it on the wire, and harms no later one."""
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", place)
        with within(SHORT + AT_ONCE), pytest.raises(CallTimeout) as caught:
            client.call_tool("echo", timeout=SHORT)
        assert isinstance(caught.value, TimeoutError) and caught.value.may_have_executed
        server.wait_for(lambda seen: any(request.key == "notifications/cancelled" for request in seen))
        (call,) = server.seen("tools/call")
        (cancelled,) = server.seen("notifications/cancelled")
        assert cancelled.json["params"]["requestId"] == call.id
        assert cancelled.header("MCP-Session-Id") == "session-1"
        stays_usable(client)


def test_the_clients_own_timeout_is_the_default() -> None:
    """What was given to ``Client`` holds for each of its calls."""
    with RawMCPServer() as server, open_client(server, timeout=Timeout(total=SHORT)) as client:
        server.on("tools/call", silent)
        with within(SHORT + AT_ONCE), pytest.raises(CallTimeout):
            client.call_tool("echo")


def test_a_silent_handshake_is_not_cancelled() -> None:
    """The deadline holds for ``initialize`` too, which "MUST NOT be cancelled by clients" on the wire."""
    with RawMCPServer() as server:
        client = open_client(server, timeout=SHORT)
        server.on("initialize", silent)
        with within(SHORT + AT_ONCE), pytest.raises(CallTimeout):
            client.list_tools()
        client.close()
        assert not server.seen("notifications/cancelled") and not server.seen("DELETE")


def test_keep_alive_comments_do_not_extend_the_total() -> None:
    """A server that says ``: keep-alive`` for ever is cut off at the deadline of the call."""
    stop = threading.Event()

    def comments(peer: Peer, request: Request) -> None:
        peer.start_stream()
        while not stop.wait(0.01):
            peer.comment()

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", comments)
        with within(SHORT + AT_ONCE), pytest.raises(CallTimeout):
            client.call_tool("echo", timeout=Timeout(read=SHORT / 2, total=SHORT))
        # The connection was let go of too: its script ends because the client is gone, not because of `stop`.
        server.wait_for(lambda seen: any(request.key == "notifications/cancelled" for request in seen))
        stop.set()


def test_progress_does_not_extend_the_total() -> None:
    """"SHOULD always enforce a maximum timeout, regardless of progress notifications", MCP 2025-11-25."""
    stop = threading.Event()

    def busy(peer: Peer, request: Request) -> None:
        peer.start_stream()
        count = 0
        while not stop.wait(0.01):
            count += 1
            peer.event(progress(request, count), id=str(count))

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", busy)
        with within(SHORT + AT_ONCE), pytest.raises(CallTimeout) as caught:
            client.call_tool("echo", timeout=SHORT, on_progress=lambda update: None)
        # It was cancelled, so there is nothing to come back to.
        assert caught.value.cursor is None and not caught.value.resumable
        server.wait_for(lambda seen: any(request.key == "notifications/cancelled" for request in seen))
        stop.set()


def test_a_silent_stream_is_resumed() -> None:
    """``Timeout.read`` of silence counts as a break: after an event id the stream is opened again."""

    def resumed(peer: Peer, request: Request) -> None:
        (call,) = server.seen("tools/call")
        peer.start_stream()
        peer.event(result(call))
        peer.end_stream()

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", after_an_event)
        server.on("GET", after_an_event, silent, resumed)
        answer = client.call_tool("echo", timeout=Timeout(read=SHORT, total=BOUND))
        assert answer.text == "ok"
        assert [get.header("Last-Event-ID") for get in server.seen("GET")] == ["e-1"] * 3
        assert not server.seen("notifications/cancelled")


@pytest.mark.parametrize("place", [silent, in_a_sized_body, after_the_head])
def test_silence_that_cannot_be_resumed_ends_the_call(place: Callable[[Peer, Request], None]) -> None:
    """Without an event id, ``Timeout.read`` of silence ends a call that may have run; it is not repeated."""
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", place)
        with within(SHORT + AT_ONCE), pytest.raises(TransportError) as caught:
            client.call_tool("echo", timeout=Timeout(read=SHORT, total=BOUND))
        assert caught.value.may_have_executed and not caught.value.resumable
        assert len(server.seen("tools/call")) == 1
        stays_usable(client)


def test_a_backoff_ends_with_the_total() -> None:
    """No wait between attempts outlives the deadline of the call."""
    with RawMCPServer() as server, open_client(server, retry=RetryPolicy(attempts=50, base=30.0)) as client:
        server.on("tools/list", lambda peer, request: peer.cut())
        with within(SHORT + AT_ONCE), pytest.raises((CallTimeout, ConnectionLost)):
            client.list_tools(timeout=SHORT)


def test_closing_does_not_wait_for_the_end_of_the_session() -> None:
    """A DELETE that is never answered delays ``close()`` by a few seconds at most."""
    with RawMCPServer() as server:
        client = open_client(server)
        client.list_tools()
        server.on("DELETE", silent)
        with within(6.0):
            client.close()
        assert len(server.seen("DELETE")) == 1
        client.close()  # twice is fine, and sends nothing more
        assert len(server.seen("DELETE")) == 1


def test_a_cancellation_that_is_never_answered_is_bounded() -> None:
    """The server answers neither the call nor its cancellation: the caller gets the timeout all the same."""
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", silent)
        server.on("notifications/cancelled", silent)
        with within(8.0), pytest.raises(CallTimeout):
            client.call_tool("echo", timeout=SHORT)
        stays_usable(client)


def test_a_dripping_answer_is_read() -> None:
    """One byte at a time is slow and right: status line, headers, chunk sizes and events are put together."""

    def drips(peer: Peer, request: Request) -> None:
        sent = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        peer.drip(sent)
        for byte in sse(result(request), id="e-1").replace(b"\n", b"\r\n"):
            peer.drip(b"1\r\n%c\r\n" % byte)
        peer.drip(b"0\r\n\r\n")

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", drips)
        assert client.call_tool("echo").text == "ok"
        stays_usable(client)
