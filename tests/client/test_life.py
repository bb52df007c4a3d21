"""From making to closing: threads, forks, pickles, and what is left behind, which is nothing."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from streamhttp_client import (
    CallCancelled,
    Client,
    ClientClosed,
    LocalProtocolError,
    RetryPolicy,
    SessionExpired,
    Timeout,
)
from streamhttp_client.client import work
from streamhttp_client.client.engine import Engine
from streamhttp_client.client.listener import Listener
from streamhttp_client.net.retry import Effort
from tests.client._peer import AT_ONCE, BOUND, OK, asking, open_client, progress, token_of
from tests.support.rawserver import Peer, RawMCPServer, Request, refusing_port
from tests.transport._faults import InThread, within

QUESTION = {"message": "?", "requestedSchema": {"type": "object", "properties": {}}}

# --- closing


def test_closing_twice(server: RawMCPServer) -> None:
    """H25-22, L25-12: the session is ended once, with DELETE, and the connections are closed."""
    client = open_client(server)
    client.call_tool("echo")
    client.close()
    client.close()
    with pytest.raises(ClientClosed), client:
        pass
    (delete,) = server.seen("DELETE")
    assert delete.header("MCP-Session-Id") == "session-1"
    assert server.sessions == set()
    server.wait_connected(0)


@pytest.mark.parametrize(
    "use",
    [lambda c: c.call_tool("t"), lambda c: c.connect(), lambda c: c.send_ping(), lambda c: next(c.listen()),
     lambda c: c.stream_tool("t").result, lambda c: c.notify("n"), lambda c: next(c.iter_tools())],
)  # fmt: skip
def test_a_closed_client(server: RawMCPServer, use: Any) -> None:
    """It says so, and sends nothing."""
    client = open_client(server)
    client.connect()
    client.close()
    known = len(server.requests)
    with pytest.raises(ClientClosed):
        use(client)
    assert len(server.requests) == known


def test_closing_what_was_never_used(server: RawMCPServer) -> None:
    """Nothing was opened, so nothing is said."""
    client = open_client(server)
    client.close()
    assert server.accepted == 0
    assert "closed" in repr(client)


def test_the_session_may_be_kept(server: RawMCPServer) -> None:
    """``end_session=False``, for the client or for one ``close()``, leaves it on the server."""
    with open_client(server, end_session=False) as client:
        client.send_ping()
    other = open_client(server)
    other.connect()
    other.close(end_session=False)
    assert server.seen("DELETE") == []
    assert server.sessions == {"session-1", "session-2"}
    third = open_client(server, end_session=False)
    third.connect()
    third.close(end_session=True)
    assert len(server.seen("DELETE")) == 1


def test_an_error_in_the_block_closes_too(server: RawMCPServer) -> None:
    """``with`` closes however it is left."""
    with pytest.raises(KeyError), open_client(server) as client:
        raise KeyError("mine")
    assert len(server.seen("DELETE")) == 1
    assert repr(client) == f"<Client {server.url} closed>"


def test_a_server_that_never_says_goodbye(server: RawMCPServer) -> None:
    """H25-22: the DELETE is bounded to a few seconds."""
    server.on("DELETE", lambda peer, request: peer.hold())
    client = open_client(server)
    client.connect()
    with within(4.0):
        client.close()


def test_closing_with_many_calls_under_way(server: RawMCPServer) -> None:
    """All of them end at once, as closed, on whatever thread."""
    server.on("tools/call", lambda peer, request: peer.hold())
    client = open_client(server)
    client.connect()
    threads = [InThread(lambda: client.call_tool("t")) for _ in range(6)]
    server.wait_for(lambda seen: len(server.seen("tools/call")) == 6)
    with within(AT_ONCE):
        client.close()
        for thread in threads:
            thread.join(AT_ONCE)
    assert all(isinstance(thread.error, ClientClosed) for thread in threads)
    assert not any(isinstance(thread.error, CallCancelled) for thread in threads)


def test_closing_from_inside_a_callback(server: RawMCPServer) -> None:
    """It does not wait for the call that it is in."""

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(progress(token_of(request), 1))
        peer.hold()

    server.on("tools/call", answer)
    client = open_client(server)
    with within(AT_ONCE + 2), pytest.raises(ClientClosed):
        client.call_tool("t", on_progress=lambda event: client.close())


def _silent(peer: Peer, request: Request) -> None:
    peer.hold()


@pytest.mark.parametrize(
    ("key", "use"),
    [
        ("notifications/x", lambda client: client.notify("notifications/x")),
        ("initialize", lambda client: client.notify("notifications/x")),
        ("initialize", lambda client: client.session),
        ("notifications/initialized", lambda client: client.connect()),
        ("resources/subscribe", lambda client: client.subscribe_resource("a:b")),
        ("logging/setLevel", lambda client: client.set_logging_level("info")),
        ("notifications/roots/list_changed", lambda client: client.send_roots_list_changed()),
    ],
)
def test_closing_wakes_whatever_waits(server: RawMCPServer, key: str, use: Any) -> None:
    """K-07, L25-12: a thread that is blocked in anything, not only in a call, is back at once, and is told why."""
    server.on(key, _silent)
    client = open_client(server, roots=[])
    thread = InThread(lambda: use(client))
    server.wait_for(lambda seen: any(request.key == key for request in seen))
    with within(AT_ONCE * 2):
        client.close()
        thread.join(AT_ONCE)
    assert isinstance(thread.error, ClientClosed)


@pytest.mark.parametrize(
    "use", [lambda client: client.connect(), lambda client: client.notify("notifications/x")]
)
def test_closing_wakes_who_waits_for_another_thread(server: RawMCPServer, use: Any) -> None:
    """K-07: so does one that waits for the thread which begins the session."""
    server.on("initialize", _silent)
    client = open_client(server)
    first = InThread(client.connect)
    server.wait_for(lambda seen: seen)
    second = InThread(lambda: use(client))
    with within(AT_ONCE * 2):
        client.close()
        for thread in (first, second):
            thread.join(AT_ONCE)
            assert isinstance(thread.error, ClientClosed)


def test_a_suspended_call_does_not_outlive_the_client(server: RawMCPServer) -> None:
    """L25-12: whoever stopped iterating and closed the client has let go of the connection."""

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(progress(token_of(request), 1))
        peer.hold()

    server.on("tools/call", answer)
    with open_client(server) as client:
        call = client.stream_tool("t")
        next(call)
    server.wait_connected(0)
    with pytest.raises(ClientClosed):
        next(call)


def test_a_call_that_is_dropped_ends_with_the_next_one(server: RawMCPServer) -> None:
    """K-01, L25-12: a loop that is left without a block leaves a call that nobody holds; the next one cancels it."""
    gone = threading.Event()

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(progress(token_of(request), 1))
        peer.wait_gone()
        gone.set()

    server.on("tools/call", answer, OK)
    with open_client(server) as client:
        for _ in client.stream_tool("t"):
            break
        assert server.seen("notifications/cancelled") == []  # not in the collector
        assert client.call_tool("t").text == "ok"
        assert gone.wait(AT_ONCE)
        (cancelled,) = server.seen("notifications/cancelled")
        assert cancelled.json["params"]["requestId"] == server.seen("tools/call")[0].id
        assert client._engine.work.calls() == []
        # One that has ended, or was left in good order, is not looked at again.
        list(client.stream_tool("t"))
        with client.stream_tool("t"):
            pass
        client.send_ping()
        assert len(server.seen("notifications/cancelled")) == 1


def test_dropped_calls_take_little_of_the_next_ones_time(
    server: RawMCPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K-06, L25-12: a server that does not hear of their end is not waited for once for each of them."""
    monkeypatch.setattr(work, "FAREWELL_SECONDS", 0.2)
    server.on("tools/call", _one_event, _one_event, _one_event, OK)
    server.on("notifications/cancelled", lambda peer, request: peer.wait_gone())
    with open_client(server) as client:
        calls: list[Any] = [client.stream_tool("t") for _ in range(3)]
        for _ in map(next, calls):
            pass
        calls.clear()
        assert client.call_tool("t").text == "ok"
        assert len(server.seen("notifications/cancelled")) == 1
        assert client._engine.work.calls() == []


def test_half_of_the_time_is_left_to_the_call() -> None:
    """K-06: ending calls that were dropped does not use up the time of the one that does it."""
    given: list[float] = []

    class Dropped:
        def end(self, reason: str, seconds: float) -> None:
            given.append(seconds)

    under_way, dropped, next_one = work.Work(), Dropped(), Dropped()
    under_way._calls[id(dropped)] = dropped  # type: ignore[assignment]
    under_way.forsake(dropped)  # type: ignore[arg-type]
    under_way.enter(next_one, Effort(Timeout(total=1.0), RetryPolicy()))  # type: ignore[arg-type]
    assert len(given) == 1 and 0 < given[0] <= 0.5


@pytest.mark.parametrize("what", ["tell_cancelled", "_say_goodbye"])
def test_ctrl_c_in_a_goodbye_leaves_nothing_open(
    server: RawMCPServer, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """K-07: whoever does not want to wait until the server has been told goes, and the connections go too."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    server.on("tools/call", _one_event)
    client = open_client(server)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Engine, what, interrupted)
        with client.stream_tool("t") as call:
            next(call)
            if what == "_say_goodbye":
                client.close()
    assert client._engine.work.calls() == []
    client.close()
    server.wait_connected(0)


def test_a_dropped_call_of_a_forked_client(server: RawMCPServer) -> None:
    """A child that drops its parent's call does not end it."""
    server.on("tools/call", _one_event)
    with open_client(server) as client:
        call = client.stream_tool("t")
        next(call)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                del call
                client.send_ping()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert server.seen("notifications/cancelled") == []


def _one_event(peer: Peer, request: Request) -> None:
    peer.start_stream()
    peer.event(progress(token_of(request), 1))
    peer.hold()


@pytest.mark.parametrize("begin", [lambda c: c.stream_tool("t"), lambda c: c.stream("tools/call", {"name": "t"})])
def test_a_call_holds_its_client(server: RawMCPServer, begin: Any) -> None:
    """A client that nobody else holds is not closed under its call."""
    assert begin(open_client(server)).result
    server.wait_connected(0)


def test_the_callers_own_session_stays_open(server: RawMCPServer) -> None:
    """``http=`` is used and not closed."""
    with requests.Session() as session:
        for _ in range(2):
            with open_client(server, http=session) as client:
                assert client.call_tool("echo").text == "ok"
        assert session.get(server.url, timeout=BOUND).status_code == 400  # it still works


def test_nobody_there() -> None:
    """A client that cannot connect is closed without a word."""
    with refusing_port() as held:
        client = Client(f"http://127.0.0.1:{held.getsockname()[1]}/mcp", retry=RetryPolicy(attempts=1), timeout=BOUND)
        with pytest.raises(Exception, match="no connection"), client:
            pass
        client.close()


# --- threads


def test_many_threads_share_a_client(server: RawMCPServer) -> None:
    """BASE-03, P-01, H25-16: 16 threads, one handshake, ids and tokens all different, each its own result."""

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(progress(token_of(request), 1, message=request.json["params"]["name"]))
        peer.event_result(request, {"content": [{"type": "text", "text": request.json["params"]["name"]}]})
        peer.end_stream()

    server.on("tools/call", answer)
    with open_client(server) as client:

        def work(name: str) -> None:
            for _ in range(10):
                seen: list[Any] = []
                assert client.call_tool(name, on_progress=seen.append).text == name
                assert [event.message for event in seen] == [name]

        threads = [InThread(lambda name=f"tool-{n}": work(name)) for n in range(16)]  # type: ignore[misc]
        for thread in threads:
            thread.join(BOUND)
        assert [thread.error for thread in threads] == [None] * 16
    assert len(server.seen("initialize")) == 1
    calls = server.seen("tools/call")
    assert len({request.id for request in calls}) == len({token_of(request) for request in calls}) == 160


def test_no_thread_where_none_is_needed(server: RawMCPServer) -> None:
    """Connected and called, a client without callbacks has no thread."""
    before = set(threading.enumerate())
    with open_client(server) as client:
        client.call_tool("echo", on_progress=lambda event: None)
        names = [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("streamhttp")]
        assert names == []


# --- forks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_client(server: RawMCPServer) -> None:
    """BASE-03: the child goes on in the same session, on connections and with ids of its own, and its end does not
    end the parent's session."""
    client = open_client(server)
    client.call_tool("echo")
    before = server.accepted
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            text = client.call_tool("echo").text
            client.close()
            os.write(writable, text.encode())
        except BaseException as error:
            os.write(writable, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writable)
    ready, _, _ = select.select([readable], [], [], BOUND)
    said = os.read(readable, 10_000) if ready else b"nothing"
    os.close(readable)
    os.waitpid(child, 0)
    assert said == b"ok"
    assert server.accepted == before + 1
    assert server.seen("DELETE") == []
    assert client.call_tool("echo").text == "ok"
    calls = server.seen("tools/call")
    assert [call.connection for call in calls] == [calls[0].connection, before + 1, calls[0].connection]
    assert len({call.id for call in calls}) == 3
    assert len(server.seen("initialize")) == 1
    client.close()
    assert len(server.seen("DELETE")) == 1


def _in_child(work: Callable[[], object]) -> bytes:
    """Do it in a forked child, which then ends at once; what it raised, or "ok"."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        said = "ok"
        try:
            work()
        except BaseException as error:
            said = repr(error)
        finally:
            os.write(writable, said.encode())
            os._exit(0)
    os.close(writable)
    ready, _, _ = select.select([readable], [], [], BOUND)
    said = os.read(readable, 10_000) if ready else b"nothing"
    os.close(readable)
    if not ready:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return said


def _open(peer: Peer, request: Request) -> None:
    peer.start_stream()
    peer.hold()


def _listen_in_child(client: Client, events: Any) -> None:
    with client.listen() as own:
        assert own.available


def _leave_in_child(client: Client, events: Any) -> None:
    events.__exit__(None, None, None)
    events.close()


def _read_in_child(client: Client, events: Any) -> None:
    with pytest.raises(LocalProtocolError, match="parent"):
        next(events)


@pytest.mark.parametrize("work", [_listen_in_child, _leave_in_child, _read_in_child])
@pytest.mark.parametrize("background", [True, False])
def test_a_child_leaves_its_parents_listening_alone(server: RawMCPServer, work: Any, background: bool) -> None:
    """BASE-03, H25-12: whatever a child does with what its parent listens with, the parent's stream goes on."""
    go_on = threading.Event()

    def ask_later(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        peer.hold(go_on)
        peer.event({"jsonrpc": "2.0", "id": 1, "method": "roots/list"})
        peer.hold()

    server.on("GET", ask_later, _open)
    with open_client(server, roots=["file:///a"], listen_in_background=background) as client:
        if background:
            client.call_tool("t")
            listening = client._engine.listening._listener
            assert listening is not None and listening.wait_open()
            events = Listener(listening, client._engine.listening.forsake)
        else:
            events = client.listen()
            events.__enter__()
            next(events)
        assert _in_child(lambda: work(client, events)) == b"ok"
        go_on.set()
        reader = None if background else InThread(lambda: next(events))
        server.wait_for(lambda seen: server.seen("response"))
        assert server.seen("response")[0].json["result"] == {"roots": [{"uri": "file:///a"}]}
        assert len({get.connection for get in server.seen("GET")}) == len(server.seen("GET")) == (
            2 if work is _listen_in_child else 1
        )
        client.close()
        if reader is not None:
            reader.join(AT_ONCE)


def test_a_childs_handshake_has_an_id_of_its_own(server: RawMCPServer) -> None:
    """BASE-03: a client that was not connected before the fork begins two sessions, with ids that differ."""
    with closing(open_client(server, end_session=False)) as client:
        assert _in_child(client.connect) == b"ok"
        client.connect()
    first, second = server.seen("initialize")
    assert first.id != second.id


def test_a_childs_first_call_can_be_woken(server: RawMCPServer) -> None:
    """K-07: what a child begins first is as much under way there as what it begins later."""
    server.on("tools/call", _one_event)
    with open_client(server) as client:
        client.connect()

        def work() -> None:
            call = client.stream_tool("t")
            next(call)
            assert len(client._engine.work.calls()) == 1
            client.close()
            with pytest.raises(ClientClosed):
                next(call)

        assert _in_child(work) == b"ok"


# --- pickles


def _use(data: bytes) -> str:
    client: Client = pickle.loads(data)
    with client:
        return str(client.call_tool("echo").text)


def test_a_connected_client_pickles(server: RawMCPServer) -> None:
    """With options and session, and without connections: the copy goes on in the same session."""
    options: dict[str, Any] = {
        "headers": {"x-key": "1"}, "auth": ("user", "pw"), "timeout": Timeout(total=7), "on_log": print,
        "end_session": False,
    }  # fmt: skip
    with open_client(server, **options) as client:
        client.call_tool("echo")
        again = pickle.loads(pickle.dumps(client))
        assert again.session == client.session
        assert again.call_tool("echo").text == "ok"
        again.close()
    assert len(server.seen("initialize")) == 1
    first, second = server.seen("tools/call")
    assert second.header("x-key") == "1"
    assert second.header("Authorization") == first.header("Authorization") is not None
    assert first.id != second.id and first.connection != second.connection


def test_what_was_set_survives_a_pickle(server: RawMCPServer) -> None:
    """H25-21: log level and subscriptions are set again also in the copy's next session."""
    server.on("resources/subscribe", {})
    with open_client(server, end_session=False) as client:
        client.set_logging_level("error")
        client.subscribe_resource("a:b")
        again = pickle.loads(pickle.dumps(client))
    server.expire_sessions()
    again.call_tool("echo")
    again.close()
    second = [request.key for request in server.requests if request.header("MCP-Session-Id") == "session-2"]
    assert "resources/subscribe" in second and "logging/setLevel" in second


def test_a_client_that_is_not_connected_pickles(server: RawMCPServer) -> None:
    """Its copy connects for itself."""
    client = open_client(server)
    again = pickle.loads(pickle.dumps(client))
    copied = copy.copy(client)
    for one in (client, again, copied):
        assert one.call_tool("echo").text == "ok"
        one.close()
    assert len(server.seen("initialize")) == 3


@pytest.mark.parametrize("method", ["spawn"])
def test_a_client_in_a_process_pool(server: RawMCPServer, method: str) -> None:
    """``multiprocessing`` sends it to another process, where it works."""
    with open_client(server, end_session=False) as client:
        client.connect()
        data = pickle.dumps(client)
    context = multiprocessing.get_context(method)
    with context.Pool(1) as pool:
        assert pool.apply_async(_use, (data,)).get(60) == "ok"
        pool.close()
        pool.join()
    assert len(server.seen("initialize")) == 1


def test_secrets_are_not_shown(server: RawMCPServer, caplog: pytest.LogCaptureFixture) -> None:
    """H25-19: neither the representation nor the log holds credentials, session id or what was sent."""
    url = server.url.replace("//", "//user:secret-1@") + "?key=secret-2"
    caplog.set_level(0)
    with Client(url, headers={"x-key": "secret-3"}, timeout=BOUND) as client:
        client.call_tool("echo", {"a": "secret-4"})
        server.expire_sessions()
        client.call_tool("echo")
        shown = repr(client) + repr(client.session)
    ours = "".join(record.getMessage() for record in caplog.records if record.name.startswith("streamhttp"))
    for text in (shown, ours):
        assert "secret-" not in text.replace("secret-2", "") and "session-1" not in text and "session-2" not in text
    assert "secret-2" not in ours


# --- alone


def test_a_script_without_close(server: RawMCPServer, tmp_path: Path) -> None:
    """A script that forgets to close ends all the same, at once and without a word."""
    script = f"from streamhttp_client import Client\nprint(Client({server.url!r}).call_tool('echo').text)\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "ok", "")


def test_a_client_cannot_be_made_of_nothing() -> None:
    """The address is needed."""
    with pytest.raises(TypeError):
        Client()  # type: ignore[call-arg]
    with pytest.raises(LocalProtocolError):
        Client("")


def test_results_may_be_any_size_up_to_the_limit(server: RawMCPServer) -> None:
    """W-08: a result just below the limit is read."""
    text = "x" * 100_000
    server.on("tools/call", {"content": [{"type": "text", "text": text}]}, OK)
    with open_client(server, max_message_size=110_000) as client:
        assert client.call_tool("t").text == text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_leaves_its_parents_call_alone(server: RawMCPServer) -> None:
    """A child that was forked in the middle of a call can neither read it, nor cancel it by leaving."""
    go_on = threading.Event()

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        for count in (1, 2):
            peer.event(progress(token_of(request), count))
        peer.hold(go_on)
        peer.event_result(request, OK)
        peer.end_stream()

    server.on("tools/call", answer)
    with open_client(server) as client, client.stream_tool("t") as call:
        assert next(call).progress == 1
        child = os.fork()
        if not child:
            status = 1
            try:
                with call:
                    next(call)
            except LocalProtocolError:
                call.cancel()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert server.seen("notifications/cancelled") == []
        assert next(call).progress == 2
        go_on.set()
        assert call.result.text == "ok"


def test_connecting_after_an_expired_session_begins_another(server: RawMCPServer) -> None:
    """With ``on_session_expired="raise"`` the caller decides, and its decision to go on works."""
    server.on("tools/call", lambda peer, request: peer.respond(404), OK)
    with open_client(server, on_session_expired="raise") as client:
        with pytest.raises(SessionExpired):
            client.call_tool("t")
        client.connect()
        client.connect()
        assert client.call_tool("t").text == "ok"
        assert len(server.seen("initialize")) == 2


def test_closing_while_the_handshake_ends(server: RawMCPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """L25-12: a session that is begun while the client is closed is ended too, though nobody has had it."""
    client = open_client(server)
    agreement: Any = client._engine._agreement
    agree = agreement.agree

    def agree_late(*args: Any) -> Any:
        link = agree(*args)
        client.close()
        return link

    monkeypatch.setattr(agreement, "agree", agree_late)
    with pytest.raises(ClientClosed):
        client.call_tool("t")
    assert server.sessions == set()
    assert server.seen("tools/call") == []


def test_ids_of_another_session_are_other_ids(server: RawMCPServer) -> None:
    """BASE-03: what the server asked in a session that is over says nothing of what it asks in the next one."""
    engine: Any = None
    answers: list[Any] = []

    def renew(params: Any) -> None:
        if engine.link.session.session_id == "session-1":
            engine.renew(engine.link, Effort(Timeout(total=BOUND), RetryPolicy()))

    server.on("tools/call", asking(server, ("elicitation/create", QUESTION), answers=answers))
    with open_client(server, elicitation=renew) as client:
        engine = client._engine
        for _ in range(2):
            assert client.call_tool("t", timeout=AT_ONCE).text == "ok"
    assert [answer["id"] for answer in answers] == ["ask-0", "ask-0"]


def _listens(client: Client) -> None:
    next(client.listen())


@pytest.mark.parametrize(
    ("key", "use"), [("notifications/x", lambda client: client.notify("notifications/x")), ("GET", _listens)]
)
def test_whatever_finds_the_session_over_says_so(server: RawMCPServer, key: str, use: Any) -> None:
    """H25-21: not calls alone find out that a session has ended; ``connect()`` begins another after each of them."""
    server.on(key, lambda peer, request: peer.respond(404))
    with open_client(server, on_session_expired="raise") as client:
        client.connect()
        with pytest.raises(SessionExpired):
            use(client)
        client.connect()
        assert client.session.session_id == "session-2"
