"""The listening stream: it comes back by itself, stops when told, and keeps nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from streamhttp_client import ClientClosed, HTTPStatusError, RetryPolicy, StreamHTTPError, Timeout
from tests.support.rawserver import Peer, RawMCPServer, Request
from tests.transport._faults import AT_ONCE, NO_WAIT, InThread, open_client, silent, stays_usable, within


def changed(number: int) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "method": "notifications/resources/updated",
        "params": {"uri": f"test://{number}"},
    }


def brings(number: int, end: Callable[[Peer], None] = Peer.cut) -> Callable[[Peer, Request], None]:
    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(changed(number), id=f"e-{number}")
        end(peer)

    return script


def test_it_reconnects_from_the_last_event() -> None:
    """However the stream ends, it is opened again after the last event, for as long as events come."""

    def unfinished(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.write(b"id: e-9\ndata: {")
        peer.reset()

    with RawMCPServer() as server, open_client(server) as client:
        server.on(
            "GET", brings(1), brings(2, Peer.end_stream), unfinished, brings(3), *(brings(n) for n in range(4, 20))
        )
        uris = []
        with client.listen() as events:
            for event in events:
                uris.append(event.uri)
                if len(uris) == 19:
                    break
        ids = [get.header("Last-Event-ID") for get in server.seen("GET")]
        stays_usable(client)
    assert uris == [f"test://{number}" for number in range(1, 20)]
    assert ids[:5] == [None, "e-1", "e-2", "e-2", "e-3"]


def test_a_server_without_the_stream() -> None:
    """405 is no error and is asked for once: the iteration is just empty."""
    with RawMCPServer() as server, open_client(server) as client:
        with client.listen() as events:
            assert list(events) == []
            assert events.available is False
        assert len(server.seen("GET")) == 1
        stays_usable(client)


def test_streams_that_bring_nothing_end() -> None:
    """A server that closes each stream at once is not asked for ever."""

    def nothing(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.end_stream()

    with RawMCPServer() as server, open_client(server, retry=RetryPolicy(attempts=3, base=0)) as client:
        server.on("GET", nothing)
        with client.listen() as events, pytest.raises(StreamHTTPError):
            list(events)
        assert len(server.seen("GET")) <= 4
        stays_usable(client)


@pytest.mark.parametrize("status", [400, 500])
def test_a_refused_stream_is_an_error(status: int) -> None:
    """Other statuses are raised: at once, or after the attempts if they may pass."""
    with RawMCPServer() as server, open_client(server) as client:
        server.on("GET", lambda peer, request: peer.respond(status))
        with pytest.raises(HTTPStatusError) as caught:
            with client.listen():
                raise AssertionError("entered a listener whose stream was refused")
        assert caught.value.status == status
        assert len(server.seen("GET")) == (1 if status == 400 else NO_WAIT.attempts)


@pytest.mark.parametrize("closes", ["client", "listener"])
@pytest.mark.parametrize("place", [silent, brings(1, Peer.hold)], ids=["silence", "stream"])
def test_closing_wakes_it(place: Callable[[Peer, Request], None], closes: str) -> None:
    """From another thread, ``close()`` of the listener ends the iteration, and that of the client says so."""
    with RawMCPServer() as server:
        client = open_client(server)
        client.list_tools()
        server.on("GET", place)
        listener = client.listen()
        reader = InThread(lambda: list(listener))
        server.wait_for(lambda seen: any(request.key == "GET" for request in seen))
        with within(AT_ONCE):
            (listener if closes == "listener" else client).close()
            reader.join(AT_ONCE)
        if closes == "client":
            assert reader.error is None or isinstance(reader.error, ClientClosed), repr(reader.error)
        else:
            assert reader.error is None, repr(reader.error)
        listener.close()
        client.close()


def test_a_callback_that_raises_ends_listening_only() -> None:
    """The thread ends with the error kept, and calls go on as before."""

    raised = threading.Event()

    def callback(event: Any) -> None:
        raised.set()
        raise ValueError("mine")

    with RawMCPServer() as server, open_client(server) as client:
        server.on("GET", brings(1, Peer.hold))
        listener = client.listen(callback)
        assert raised.wait(AT_ONCE)
        stays_usable(client)
        listener.close()  # joins the thread, which keeps the error as the last thing it does
        assert isinstance(listener.failure, ValueError)


def test_calls_go_on_beside_it() -> None:
    """While one thread listens through breaks, another one calls; neither waits for the other."""
    go_on = threading.Event()

    def held(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.hold(go_on)
        peer.event(changed(7), id="e-7")
        peer.hold()

    heard = threading.Event()
    with RawMCPServer() as server, open_client(server) as client:
        server.on("GET", brings(1), held)
        listener = client.listen(lambda event: heard.set() if event.uri == "test://7" else None)
        server.wait_for(lambda seen: sum(request.key == "GET" for request in seen) == 2)
        with within(AT_ONCE):
            stays_usable(client)
        go_on.set()
        assert heard.wait(AT_ONCE)
        with within(AT_ONCE):
            listener.close()
        assert listener.failure is None


def test_a_session_that_ends_while_listening() -> None:
    """404 on the GET renews the session, and the new stream begins without an id of the old one."""
    with RawMCPServer() as server, open_client(server) as client:

        def gone(peer: Peer, request: Request) -> None:
            server.expire_sessions()
            peer.respond(404)

        server.on("GET", brings(1), gone, brings(2, Peer.hold))
        with client.listen() as events:
            assert [next(events).uri, next(events).uri] == ["test://1", "test://2"]
        first, second, third = server.seen("GET")
        assert (second.header("Last-Event-ID"), third.header("Last-Event-ID")) == ("e-1", None)
        assert third.header("MCP-Session-Id") == "session-2"
        stays_usable(client)


def test_silence_counts_as_a_break_if_asked_for() -> None:
    """``Timeout.read`` of silence: the stream is opened again where it was."""
    with RawMCPServer() as server, open_client(server) as client:
        server.on("GET", brings(1, Peer.hold), brings(2, Peer.hold))
        with client.listen(timeout=Timeout(read=0.1, total=None)) as events:
            assert [next(events).uri, next(events).uri] == ["test://1", "test://2"]
        assert [get.header("Last-Event-ID") for get in server.seen("GET")] == [None, "e-1"]


@pytest.mark.parametrize("status", [502, 503, 404])
def test_a_bad_minute_of_the_server(status: int) -> None:
    """Whoever listens goes on in a new session, though a gateway answers in the server's place for a while."""
    with RawMCPServer() as server, open_client(server, retry=RetryPolicy(attempts=6, base=0.0)) as client:

        def forgets(peer: Peer, request: Request) -> None:
            server.expire_sessions()
            brings(1)(peer, request)

        away = [lambda peer, request: peer.respond(status)] * 3
        server.on("GET", forgets, server.answer)
        server.on("initialize", *away, server.answer)
        server.on("notifications/initialized", lambda peer, request: (server.on("GET", brings(2)), peer.respond(202)))
        with client.listen() as events:
            assert [next(events).uri for _ in range(2)] == ["test://1", "test://2"]
        assert client.session.session_id == "session-2"


def test_what_a_callback_raises_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A callback that asks another server, or this one, and is refused, says nothing of the listening stream."""
    refusal = HTTPStatusError("mine", status=405, headers={})

    def fails(event: Any) -> None:
        raise refusal

    with RawMCPServer() as server, open_client(server, on_notification=fails) as client:
        server.on("GET", brings(1), brings(2))
        with pytest.raises(HTTPStatusError) as caught, client.listen() as events:
            next(events)
        assert caught.value is refusal
        assert [request.key for request in server.requests] == ["initialize", "notifications/initialized", "GET"]
        refusal.__traceback__ = None
