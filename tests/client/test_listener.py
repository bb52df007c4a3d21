"""The listening stream: what no call asked for, on this thread or on one of its own."""

from __future__ import annotations

import gc
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from streamhttp_client import (
    AuthenticationError,
    ClientClosed,
    HTTPStatusError,
    RemoteProtocolError,
    RetryPolicy,
    StreamHTTPError,
    Timeout,
)
from streamhttp_client.client import background
from streamhttp_client.client.eras import KNOWN_SERVERS
from tests.client._peer import AT_ONCE, BOUND, OK, note, open_client, progress, refuse, token_of
from tests.support.rawserver import Peer, RawMCPServer, Request
from tests.transport._faults import InThread, within

SAMPLE = {"messages": [], "maxTokens": 1}
SAID = {"role": "assistant", "content": {"type": "text", "text": "hi"}, "model": "m"}
CHANGED = note("notifications/tools/list_changed")


def streams(*scripts: Callable[[Peer, Request], None]) -> tuple[Callable[[Peer, Request], None], ...]:
    """Answers to GETs: ``scripts``, and silence after them."""

    def silence(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.hold()

    return (*scripts, silence)


def events(*messages: Any, hold: bool = True) -> Callable[[Peer, Request], None]:
    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        for number, message in enumerate(messages):
            peer.event(message, id=f"g-{number}")
        if hold:
            peer.hold()
        peer.end_stream()

    return answer


def test_what_comes_is_handed_out(server: RawMCPServer) -> None:
    """H25-12, H25-14, H25-16, S25-01: notifications in order, to the iteration and to the client's own callbacks, each
    once.
    """
    log = note("notifications/message", {"level": "error", "data": "bad"})
    server.on("GET", events(CHANGED, log, note("notifications/resources/updated", {"uri": "a:b"})))
    logs: list[Any] = []
    others: list[Any] = []
    with open_client(server, on_log=logs.append, on_notification=others.append) as client:
        with client.listen() as listener:
            got = [type(next(listener)).__name__ for _ in range(3)]
            assert listener.available
    assert got == ["ToolListChanged", "LogMessage", "ResourceUpdated"]
    assert [event.data for event in logs] == ["bad"]
    assert [type(event).__name__ for event in others] == ["ToolListChanged", "ResourceUpdated"]
    (get,) = server.seen("GET")
    assert "text/event-stream" in (get.header("Accept") or "")
    assert get.header("Last-Event-ID") is None


def test_a_thread_of_its_own(server: RawMCPServer) -> None:
    """With a callback it runs beside the calls, and ``close()`` leaves no thread."""
    server.on("GET", events(CHANGED))
    heard = threading.Event()
    threads: list[threading.Thread] = []

    def callback(event: Any) -> None:
        threads.append(threading.current_thread())
        heard.set()

    with open_client(server) as client:
        listener = client.listen(callback)
        assert listener.wait_open(BOUND)
        assert heard.wait(BOUND)
        assert client.call_tool("echo").text == "ok"
        with within(AT_ONCE):
            listener.close()
            listener.close()
        assert threads[0] is not threading.current_thread() and not threads[0].is_alive()
        assert listener.failure is None


def test_closing_the_client_leaves_no_thread(server: RawMCPServer) -> None:
    """The listener's thread has ended when the client's ``close()`` returns, though its callback was busy."""
    server.on("GET", events(CHANGED))
    heard, closing = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def callback(event: Any) -> None:
        threads.append(threading.current_thread())
        heard.set()
        closing.wait(BOUND)
        threading.Event().wait(0.05)  # as one that has still something to do

    with open_client(server) as client:
        assert client.listen(callback).wait_open(BOUND) and heard.wait(BOUND)
        closing.set()
    assert [thread.name for thread in threads if thread.is_alive()] == [] and len(threads) == 1


@pytest.mark.parametrize("status", [405, 501])
def test_a_server_without_the_stream(server: RawMCPServer, status: int) -> None:
    """H25-13: 405 ends the iteration and is asked for once; calls go on. So does what servers say that know no GET."""
    server.on("GET", refuse(status))
    with open_client(server) as client:
        with client.listen() as listener:
            assert list(listener) == []
            assert listener.available is False
        assert client.call_tool("echo").text == "ok"
        assert not client.listen(lambda event: None).wait_open(BOUND)
    assert len(server.seen("GET")) == 2


def test_404_without_a_session() -> None:
    """Where there is no session to lose, 404 is a status like any other."""
    with RawMCPServer(sessions=False) as server:
        server.on("GET", refuse(404))
        with open_client(server) as client:
            with pytest.raises(HTTPStatusError) as caught, client.listen() as listener:
                next(listener)
            assert caught.value.status == 404


def test_404_whatever_the_session(server: RawMCPServer) -> None:
    """H25-21: a server that answers each GET with 404 gets a few new sessions at most, and no flood of them."""
    server.on("GET", refuse(404))
    with open_client(server, timeout=5) as client:
        thread = InThread(lambda: list(client.listen(timeout=3)))
        thread.join(BOUND)
        assert thread.error is None or isinstance(thread.error, StreamHTTPError)
        client.send_ping()
    assert len(server.seen("initialize")) < 20


def test_it_goes_on_after_the_last_event(server: RawMCPServer) -> None:
    """H25-15, H25-17, H25-18: the stream that ended is opened again after its last event; ids of calls stay apart."""

    def call(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(progress(token_of(request), 1), id="call-1")
        peer.event_result(request, OK, id="call-2")
        peer.end_stream()

    server.on("tools/call", call)
    server.on("GET", *streams(events(CHANGED, CHANGED, hold=False), events(CHANGED)))
    with open_client(server) as client, client.listen() as listener:
        next(listener)
        client.call_tool("t", on_progress=lambda event: None)
        next(listener)
        next(listener)
    first, second = server.seen("GET")
    assert (first.header("Last-Event-ID"), second.header("Last-Event-ID")) == (None, "g-1")


def test_requests_on_the_listening_stream(server: RawMCPServer) -> None:
    """H25-09, H25-14: they are answered by POST, on the thread that listens, also while a call is under way."""
    server.on(
        "GET",
        events(
            {"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": SAMPLE},
            {"jsonrpc": "2.0", "id": 2, "method": "ping"},
            {"jsonrpc": "2.0", "id": 3, "method": "unknown"},
        ),
    )
    threads: list[str] = []

    def sample(params: Any) -> Any:
        threads.append(threading.current_thread().name)
        return SAID

    with open_client(server, sampling=sample) as client:
        listener = client.listen(lambda event: None)
        server.wait_for(lambda seen: len(server.seen("response")) == 3)
        listener.close()
    answers = [request.json for request in server.seen("response")]
    assert [answer["id"] for answer in answers] == [1, 2, 3]
    assert [answer.get("result") for answer in answers[:2]] == [SAID, {}]
    assert answers[2]["error"]["code"] == -32601
    assert threads == ["streamhttp-listener"]


def test_who_offers_something_listens_by_itself(server: RawMCPServer) -> None:
    """H25-12: many servers ask on the listening stream alone; so a client with callbacks opens it unasked."""
    server.on("GET", events({"jsonrpc": "2.0", "id": 1, "method": "roots/list"}))
    with open_client(server, roots=["file:///a"], listen_in_background=None) as client:
        client.connect()
        server.wait_for(lambda seen: server.seen("response"))
    (response,) = server.seen("response")
    assert response.json["result"]["roots"] == [{"uri": "file:///a"}]


def test_a_stream_that_failed_is_asked_for_again(server: RawMCPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """H25-12: a bad minute of the server does not end it for good: some time later the next call asks again, and not
    before.
    """
    asks = events({"jsonrpc": "2.0", "id": 1, "method": "roots/list"})
    server.on("GET", lambda peer, request: peer.respond(403), asks)
    with open_client(server, roots=["file:///a"], listen_in_background=None) as client:
        listening = client._engine.listening
        for _ in range(3):
            client.call_tool("t")
            (first,) = server.seen("GET")
            assert listening._listener is not None
            listening._listener.join(AT_ONCE)
        monkeypatch.setattr(background, "_AGAIN_SECONDS", 0.0)
        client.call_tool("t")
        server.wait_for(lambda seen: server.seen("response"))
    assert len(server.seen("GET")) == 2


def test_each_failure_doubles_the_pause(server: RawMCPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """H25-12: a server that never gives the stream is asked less and less often."""
    passed = [0.0]
    server.on("GET", lambda peer, request: peer.respond(403))
    monkeypatch.setattr(time, "monotonic", lambda clock=time.monotonic: clock() + passed[0])
    asked = []
    with open_client(server, roots=["file:///a"], listen_in_background=None) as client:
        listening = client._engine.listening
        for seconds in (0, 29, 2, 58, 3, 3600):
            passed[0] += seconds
            client.call_tool("t", timeout=Timeout(total=None))
            assert listening._listener is not None
            listening._listener.join(AT_ONCE)
            asked.append(len(server.seen("GET")))
    assert asked == [1, 1, 2, 2, 3, 4]


def test_a_call_does_without_a_thread(server: RawMCPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started for the stream, calls go on."""

    start = threading.Thread.start

    def no_thread(thread: threading.Thread) -> None:
        if thread.name == "streamhttp-listener":
            raise RuntimeError("can't start new thread")
        start(thread)

    server.on("GET", *streams())
    with open_client(server, roots=["file:///a"], listen_in_background=None) as client:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_thread)
            assert client.call_tool("t").text == "ok"
            with pytest.raises(RuntimeError):
                client.listen(lambda event: None)
        assert client.call_tool("t").text == "ok"
        server.wait_for(lambda seen: server.seen("GET"))


def test_progress_of_a_call_on_the_listening_stream(server: RawMCPServer) -> None:
    """P-03, H25-16: some servers send it there: it reaches the call's callback all the same."""
    asked, seen_it = threading.Event(), threading.Event()
    seen: list[float] = []

    def get(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.hold(asked)
        token = token_of(server.seen("tools/call")[0])
        peer.event(progress(token, 1))
        peer.event(progress(token, 2))
        peer.event(progress("unknown", 3))
        peer.hold()

    def call(peer: Peer, request: Request) -> None:
        asked.set()
        peer.hold(seen_it)
        peer.respond_result(request, OK)

    def on_progress(event: Any) -> None:
        seen.append(event.progress)
        if event.progress == 2:
            seen_it.set()

    server.on("GET", get)
    server.on("tools/call", call)
    with open_client(server) as client:
        listener = client.listen(lambda event: None)
        assert listener.wait_open(BOUND)
        assert client.call_tool("t", on_progress=on_progress).text == "ok"
        listener.close()
    assert seen == [1, 2]


def test_a_progress_callback_that_raises_on_the_listening_stream(server: RawMCPServer) -> None:
    """H25-11: its exception is the call's, which is cancelled; the listener, which did nothing wrong, goes on."""
    asked, heard = threading.Event(), threading.Event()
    error = RuntimeError("in the callback")

    def get(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.hold(asked)
        peer.event(progress(token_of(server.seen("tools/call")[0]), 1))
        peer.event(CHANGED)
        peer.hold()

    def call(peer: Peer, request: Request) -> None:
        asked.set()
        peer.hold()

    def on_progress(event: Any) -> None:
        raise error

    server.on("GET", get)
    server.on("tools/call", call, OK)
    with open_client(server, timeout=5) as client:
        listener = client.listen(lambda event: heard.set())
        assert listener.wait_open(BOUND)
        with pytest.raises(RuntimeError) as caught:
            client.call_tool("t", on_progress=on_progress)
        assert caught.value is error
        assert len(server.seen("notifications/cancelled")) == 1
        assert heard.wait(BOUND) and listener.failure is None
        listener.close()


def test_a_response_does_not_belong_there(server: RawMCPServer, caplog: pytest.LogCaptureFixture) -> None:
    """H25-14: "MUST NOT send a JSON-RPC response on the stream unless resuming": it is dropped, with a line."""
    server.on("GET", events({"jsonrpc": "2.0", "id": 1, "result": {}}, CHANGED))
    with open_client(server) as client, client.listen() as listener:
        assert type(next(listener)).__name__ == "ToolListChanged"
    assert "response" in caplog.text


def test_a_request_that_is_taken_back_there(server: RawMCPServer) -> None:
    """K-08: it is cancelled while its callback runs on the listening thread: no response is sent."""
    running, go = threading.Event(), threading.Event()

    def get(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event({"jsonrpc": "2.0", "id": "ask", "method": "sampling/createMessage", "params": SAMPLE})
        peer.hold(running)
        peer.event(note("notifications/cancelled", {"requestId": "ask"}))
        peer.event(CHANGED)
        go.set()
        peer.hold()

    def sample(params: Any) -> Any:
        running.set()
        assert go.wait(BOUND)
        return SAID

    heard = threading.Event()
    server.on("GET", get)

    def callback(event: Any) -> None:
        if type(event).__name__ == "ToolListChanged":
            heard.set()

    with open_client(server, sampling=sample) as client:
        listener = client.listen(callback)
        assert heard.wait(BOUND)
        listener.close()
    assert server.seen("response") == []


def test_nonsense_ends_it(server: RawMCPServer) -> None:
    """What is no JSON-RPC is the server's error, and is told to whoever iterates; calls go on."""
    server.on("GET", events("nonsense"))
    with open_client(server) as client:
        with client.listen() as listener, pytest.raises(RemoteProtocolError):
            next(listener)
        assert client.call_tool("echo").text == "ok"


def test_a_time_limit(server: RawMCPServer) -> None:
    """Without one it listens for ever; with one the iteration ends."""
    server.on("GET", events())
    with open_client(server) as client, client.listen(timeout=0.3) as listener, within(AT_ONCE):
        assert list(listener) == []


@pytest.mark.parametrize("known", [True, False])
def test_a_time_limit_that_is_over_at_once(server: RawMCPServer, known: bool) -> None:
    """Whenever the time is over, the iteration ends; that is no error."""
    with open_client(server) as client:
        if known:
            client.connect()
        assert list(client.listen(timeout=1e-9)) == []
    assert not server.seen("GET")


def test_a_time_limit_and_a_longer_pause(server: RawMCPServer) -> None:
    """A server that ends the stream and wants more of a pause than the listener has left is no failure."""

    def polite(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(retry=20_000)
        peer.end_stream()

    server.on("GET", polite)
    with open_client(server) as client, client.listen(timeout=BOUND) as listener, within(BOUND):
        assert list(listener) == []
    assert len(server.seen("GET")) == 1


def test_two_listeners(server: RawMCPServer) -> None:
    """H25-16: several streams at once are allowed; each has a cursor of its own."""
    server.on("GET", events(CHANGED))
    with open_client(server) as client, client.listen() as one, client.listen() as other:
        assert type(next(one)) is type(next(other))
    assert len(server.seen("GET")) == 2


@pytest.mark.parametrize("threaded", [False, True], ids=["block", "thread"])
@pytest.mark.parametrize(("status", "kind"), [(401, AuthenticationError), (403, AuthenticationError),
                                              (500, HTTPStatusError), (418, HTTPStatusError)])  # fmt: skip
@pytest.mark.parametrize("known", [False, True], ids=["unknown", "known"])
def test_a_server_that_cannot_be_connected_to(
    server: RawMCPServer, status: int, kind: type[StreamHTTPError], known: bool, threaded: bool
) -> None:
    """A listener of a client that is not connected yet connects; what the server has against that is its failure."""
    for key in ("server/discover", "initialize"):
        server.on(key, refuse(status))
    client = open_client(server, retry=RetryPolicy(attempts=1))
    if not known:
        KNOWN_SERVERS.forget(server.url)
    if threaded:
        listener = client.listen(lambda event: None)
        assert not listener.wait_open(BOUND)
        listener._listening.join(BOUND)
        failure = listener.failure
    else:
        with pytest.raises(kind) as caught, client.listen() as listener:
            next(listener)
        failure = caught.value
    client.close()
    assert isinstance(failure, kind) and getattr(failure, "status", None) == status
    assert server.seen("GET") == []


@pytest.mark.parametrize("form", ["thread", "block", "iteration"])
def test_a_client_that_nobody_else_holds(server: RawMCPServer, form: str) -> None:
    """A listener holds its client: ``Client(url).listen()`` goes on when the client has no name, and when nobody holds
    the listener either, all is let go of.
    """
    server.on("GET", events(CHANGED))
    heard = threading.Semaphore(0)
    if form == "thread":
        listener = open_client(server).listen(lambda event: heard.release())
        gc.collect()
        assert heard.acquire(timeout=BOUND)
        assert listener.failure is None and not listener.ended
        listener.close()
    elif form == "block":
        with open_client(server).listen() as listener:
            gc.collect()
            assert type(next(listener)).__name__ == "ToolListChanged"
    else:
        for event in open_client(server).listen():
            gc.collect()
            assert type(event).__name__ == "ToolListChanged"
            break
    listener = None  # type: ignore[assignment]
    gc.collect()
    server.wait_connected(0)


@pytest.mark.parametrize("begun", [True, False])
def test_a_listener_that_is_dropped_ends_with_the_next_call(server: RawMCPServer, begun: bool) -> None:
    """H25-12, H25-16: a loop that is left without a block leaves a stream that nobody reads; the next call ends it, and
    the client listens by itself again, for what the server asks.
    """
    gone = threading.Event()

    def first(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(CHANGED)
        peer.wait_gone()
        gone.set()

    asks = events({"jsonrpc": "2.0", "id": 1, "method": "roots/list"})
    server.on("GET", events(), *([first] if begun else []), asks)
    with open_client(server, roots=["file:///a"], listen_in_background=None) as client:
        own = client._engine.listening._listener
        assert own is not None and own.wait_open(BOUND)
        if begun:
            for _ in client.listen():
                break
            assert not gone.is_set()  # not in the collector
        else:
            client.listen()
        client.call_tool("t")
        server.wait_for(lambda seen: server.seen("response"))
        assert not begun or gone.wait(AT_ONCE)
        # One that was left in good order is not looked at again, nor one with a thread.
        with client.listen():
            pass
        client.listen(lambda event: None)
        assert not client._engine.listening._forsaken


def test_a_child_that_drops_its_parents_listener(server: RawMCPServer) -> None:
    """H25-12: it does so without a word, and the parent's stream goes on."""
    go_on = threading.Event()

    def later(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(CHANGED)
        peer.hold(go_on)
        peer.event(CHANGED)
        peer.hold()

    server.on("GET", later)
    with open_client(server) as client:
        events = client.listen()
        next(events)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                said: list[Any] = []
                sys.unraisablehook = lambda unraisable: said.append(unraisable.exc_type)
                del events
                client.send_ping()
                gc.collect()
                status = int(any(kind is not ResourceWarning for kind in said))  # a copy of the parent's socket
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        go_on.set()
        assert type(next(events)).__name__ == "ToolListChanged"
        events.close()


def test_a_callback_that_uses_a_closed_client(server: RawMCPServer) -> None:
    """H25-16: what ends listening is told, though it looks like the listener's own end."""
    other = open_client(server)
    other.close()
    server.on("GET", events(CHANGED))
    with open_client(server) as client:
        listener = client.listen(lambda event: other.send_ping())
        listener._listening.join(BOUND)
        assert listener.ended and isinstance(listener.failure, ClientClosed)


def test_a_listener_does_not_pickle(server: RawMCPServer) -> None:
    """It says what does, as a call does."""
    with open_client(server) as client, pytest.raises(TypeError, match="copy of the client"):
        pickle.dumps(client.listen())


def test_closing_while_a_listener_starts(server: RawMCPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is closed by one thread while another has made the listener's thread and not started it yet:
    closing does not fail, and the listener ends as soon as it runs.
    """
    made, closed = threading.Event(), threading.Event()

    class Slow(threading.Thread):
        def start(self) -> None:
            if self.name == "streamhttp-listener":
                made.set()
                assert closed.wait(BOUND)
            super().start()

    client = open_client(server)
    client.connect()
    monkeypatch.setattr("streamhttp_client.client.listening.threading.Thread", Slow)
    starter = InThread(lambda: client.listen(lambda event: None))
    assert made.wait(BOUND)
    client.close()
    closed.set()
    starter.join(AT_ONCE)
    assert starter.error is None
    starter.value._listening.join(AT_ONCE)
    assert starter.value.ended and starter.value.failure is None
