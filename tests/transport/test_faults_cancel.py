"""Ends that the caller wants: Ctrl-C, ``cancel()``, ``close()``, and a callback that raises."""

from __future__ import annotations

import contextlib
import functools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streamhttp_client import CallCancelled, ClientClosed, ConnectionLost, Progress, RetryPolicy
from tests.support.rawserver import Peer, RawMCPServer, Request
from tests.transport._faults import (
    AT_ONCE,
    RESULT,
    InThread,
    borrowed_sessions,
    borrowing,
    open_client,
    progress,
    silent,
    stays_usable,
    within,
)

Script = Callable[[Peer, Request], None]


def in_the_headers(peer: Peer, request: Request) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\n")
    peer.hold()


def in_a_json_body(peer: Peer, request: Request) -> None:
    peer.send_head(200, {"Content-Type": "application/json", "Content-Length": "500"})
    peer.send(b"{")
    peer.hold()


def in_a_stream(peer: Peer, request: Request) -> None:
    peer.start_stream()
    peer.event("", id="e-1")
    peer.hold()


def in_a_close_delimited_stream(peer: Peer, request: Request) -> None:
    peer.start_stream(chunked=False)
    peer.comment()
    peer.hold()


def in_a_backoff(peer: Peer, request: Request) -> None:
    peer.respond(503, headers={"Retry-After": "30"})


PLACES = pytest.mark.parametrize(
    "place", [silent, in_the_headers, in_a_json_body, in_a_stream, in_a_close_delimited_stream, in_a_backoff]
)


def _reached(seen: list[Request]) -> bool:
    return any(request.key == "tools/call" for request in seen)


def _cancelled(seen: list[Request]) -> bool:
    return any(request.key == "notifications/cancelled" for request in seen)


@PLACES
def test_close_wakes_a_blocked_call(place: Script) -> None:
    """``close()`` from another thread ends a call at once, wherever it is blocked, as closed and not lost."""
    with RawMCPServer() as server:
        client = open_client(server, timeout=60)
        client.list_tools()
        server.on("tools/call", place)
        call = InThread(lambda: client.call_tool("echo"))
        server.wait_for(_reached)
        with within(AT_ONCE):
            client.close()
            call.join(AT_ONCE)
        assert isinstance(call.error, ClientClosed), repr(call.error)
        with pytest.raises(ClientClosed):
            client.call_tool("echo")


@PLACES
def test_cancel_wakes_a_blocked_call(place: Script) -> None:
    """``cancel()`` from another thread ends that call at once, tells the server, and harms no other call."""
    with RawMCPServer() as server, open_client(server, timeout=60) as client:
        server.on("tools/call", place)
        call = client.stream_tool("echo")
        reader = InThread(lambda: list(call))
        server.wait_for(_reached)
        with within(AT_ONCE):
            call.cancel()
            reader.join(AT_ONCE)
        assert isinstance(reader.error, CallCancelled), repr(reader.error)
        if place is not in_a_backoff:  # there the server has refused the request, and works on nothing
            server.wait_for(_cancelled)
            (sent,) = server.seen("notifications/cancelled")
            assert sent.json["params"]["requestId"] == server.seen("tools/call")[0].id
        call.cancel()  # twice is fine
        with pytest.raises(CallCancelled):
            call.result  # noqa: B018
        stays_usable(client)
        assert len(server.seen("notifications/cancelled")) <= 1


def test_cancel_leaves_other_calls_alone() -> None:
    """Of two calls under way, only the cancelled one ends."""
    go_on = threading.Event()

    def script(peer: Peer, request: Request) -> None:
        if request.json["params"]["name"] == "one":
            peer.hold()
        peer.hold(go_on)
        peer.respond_result(request, RESULT)

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        one = client.stream_tool("one")
        first, second = InThread(lambda: list(one)), InThread(lambda: client.call_tool("two").text)
        server.wait_for(lambda seen: sum(request.key == "tools/call" for request in seen) == 2)
        one.cancel()
        first.join(AT_ONCE)
        go_on.set()
        second.join(AT_ONCE)
        assert isinstance(first.error, CallCancelled) and second.value == "ok", second.error


def test_leaving_the_block_early_cancels() -> None:
    """The block is left before the result: the server is told, and the connection let go."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(progress(request, 1), id="e-1")
        peer.wait_gone()

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        with client.stream_tool("echo") as call:
            for event in call:
                assert isinstance(event, Progress)
                break
        server.wait_for(_cancelled)
        stays_usable(client)


def test_a_call_that_is_done_is_not_cancelled() -> None:
    """After the result there is nothing to cancel, for ``cancel()`` and for leaving the block alike."""
    with RawMCPServer() as server, open_client(server) as client:
        with client.stream_tool("echo") as call:
            assert list(call) == []
            assert call.result.text == "ok"
        call.cancel()
        assert call.result.text == "ok"
        stays_usable(client)
        assert not server.seen("notifications/cancelled")


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_a_callback_that_raises_ends_the_call(error: BaseException) -> None:
    """The very exception reaches the caller, after the server was told that the call is over."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(progress(request, 1), id="e-1")
        peer.hold()

    def on_progress(update: Progress) -> None:
        raise error

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        with within(AT_ONCE), pytest.raises(type(error)) as caught:
            client.call_tool("echo", on_progress=on_progress)
        assert caught.value is error
        error.__traceback__ = None  # pytest keeps the error, and so would keep all frames
        (cancelled,) = server.seen("notifications/cancelled")  # sent before the exception came here
        assert cancelled.json["params"]["requestId"] == server.seen("tools/call")[0].id
        assert not server.seen("GET")
        stays_usable(client)


def test_close_wakes_a_backoff_between_reconnects() -> None:
    """A call that waits to resume its stream is woken too."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event("", id="e-1", retry=60_000)
        peer.cut()

    with RawMCPServer() as server:
        client = open_client(server, timeout=100)
        client.list_tools()
        server.on("tools/call", script)
        call = InThread(lambda: client.call_tool("echo"))
        server.wait_for(_reached)
        server.wait_connected(0)
        with within(AT_ONCE):
            client.close()
            call.join(AT_ONCE)
        assert isinstance(call.error, ClientClosed), repr(call.error)
        assert not server.seen("GET")


def test_close_wakes_a_call_that_is_connecting() -> None:
    """A handshake under way is woken as well."""
    with RawMCPServer() as server:
        server.on("initialize", silent)
        client = open_client(server, timeout=60, retry=RetryPolicy(attempts=1))
        call = InThread(client.list_tools)
        server.wait_for(lambda seen: any(request.key == "initialize" for request in seen))
        with within(AT_ONCE):
            client.close()
            call.join(AT_ONCE)
        assert isinstance(call.error, ClientClosed), repr(call.error)


def test_closing_and_answering_race() -> None:
    """Whichever comes first, the call ends with its result or as closed, and at once."""
    outcomes = set()
    for turn in range(40):
        with RawMCPServer() as server:
            client = open_client(server)
            client.list_tools()
            go = threading.Event()

            def script(peer: Peer, request: Request, go: threading.Event = go) -> None:
                peer.hold(go)
                peer.respond_result(request, RESULT)

            server.on("tools/call", script)
            call = InThread(functools.partial(client.call_tool, "echo"))
            server.wait_for(_reached)
            if turn % 2:
                go.set()
            closer = InThread(client.close)
            go.set()
            closer.join(AT_ONCE)
            call.join(AT_ONCE)
            if call.error is not None:
                assert isinstance(call.error, ClientClosed), repr(call.error)
            outcomes.add(type(call.error))
    assert outcomes <= {ClientClosed, CallCancelled, type(None)}


# -- Ctrl-C

_CHILD = """
import signal, sys
# A background process of a shell starts with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
from streamhttp_client import Client
with Client(sys.argv[1], timeout=60) as client:
    client.list_tools()
    try:
        client.call_tool("slow", on_progress=lambda update: None)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    print(client.call_tool("echo").text, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to one process on Windows")
@pytest.mark.parametrize("place", [silent, in_a_json_body, in_a_stream, in_a_close_delimited_stream])
def test_ctrl_c_in_a_call(place: Script) -> None:
    """A real SIGINT: the server is told at once, the process gets KeyboardInterrupt and can go on."""

    def then_holds(peer: Peer, request: Request) -> None:
        if place is in_a_stream:
            peer.start_stream()
            peer.event(progress(request, 1), id="e-1")
            peer.hold()
        place(peer, request)

    with RawMCPServer() as server:
        server.on("tools/call", then_holds, RESULT)
        process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, server.url],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            server.wait_for(_reached)
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            server.wait_for(_cancelled)
            assert time.monotonic() - start < AT_ONCE
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
            process.communicate()
        assert (process.returncode, out) == (0, "interrupted\nok\n"), err
        (cancelled,) = server.seen("notifications/cancelled")
        assert cancelled.json["params"]["requestId"] == server.seen("tools/call")[0].id
        server.wait_for(lambda seen: any(request.key == "DELETE" for request in seen))


def test_a_lost_call_is_not_taken_for_a_cancelled_one() -> None:
    """The server's cut is ConnectionLost, even on a client that has cancelled another call before."""
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", silent, lambda peer, request: peer.cut())
        call = client.stream_tool("echo")
        reader = InThread(lambda: list(call))
        server.wait_for(_reached)
        call.cancel()
        reader.join(AT_ONCE)
        with pytest.raises(ConnectionLost):
            client.call_tool("echo")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs alarms of the system")
@pytest.mark.parametrize(
    ("way", "where", "kind"),
    [
        ("direct", "head", TimeoutError), ("direct", "head", ConnectionResetError), ("direct", "stream", ValueError),
        ("borrowed", "stream", TimeoutError), ("borrowed", "body", ConnectionResetError),
        ("hooked", "head", TimeoutError), ("hooked", "head", ConnectionResetError),
    ],
)  # fmt: skip
def test_what_a_signal_handler_raises_reaches_the_caller(way: str, where: str, kind: type[Exception]) -> None:
    """The usual way to limit a script is an alarm that raises TimeoutError, which a socket could have raised too, and
    of which requests and urllib3 would make errors of theirs.
    """
    error = kind("from the handler")
    def begun(peer: Peer, request: Request) -> None:
        if where == "stream":
            peer.start_stream()
            peer.comment()
        else:
            peer.send_head(200, {"Content-Type": "application/json", "Content-Length": "100"})
            peer.send(b"{")
        peer.hold()

    def handler(number: int, frame: object) -> None:
        raise error

    with contextlib.ExitStack() as stack:
        if way != "direct" and not borrowing():
            stack.enter_context(borrowed_sessions())
        server = stack.enter_context(RawMCPServer())
        client = stack.enter_context(open_client(server, timeout=60))
        if way == "hooked":
            client._options.http.hooks["response"].append(lambda response, **_: None)
        client.list_tools()
        server.on("tools/call", silent if where == "head" else begun)
        before = signal.signal(signal.SIGALRM, handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with within(AT_ONCE), pytest.raises(kind) as caught:
                client.call_tool("echo", idempotent=True)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert caught.value is error
        server.wait_for(lambda seen: any(request.key == "notifications/cancelled" for request in seen))
        stays_usable(client)
