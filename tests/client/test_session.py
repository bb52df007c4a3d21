"""The session from call to call and from process to process: saved, resumed, renewed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import Any

import pytest

from streamhttp_client import (
    Client,
    LocalProtocolError,
    Progress,
    ResumeRefused,
    RPCError,
    Session,
    SessionExpired,
    StreamCursor,
)
from tests.client._peer import AT_ONCE, BOUND, OK, fail, open_client, progress, refuse, token_of
from tests.support.rawserver import Peer, RawMCPServer, Request
from tests.transport._faults import InThread


def held(peer: Peer, request: Request) -> None:
    """Say one thing with an id, and then nothing more."""
    peer.start_stream()
    peer.event(progress(token_of(request), 1), id="e-1", retry=7)
    peer.hold()


def rest_of(server: RawMCPServer, *values: int) -> Any:
    """Answer a GET with the rest of the first call."""

    def answer(peer: Peer, request: Request) -> None:
        if request.header("Last-Event-ID") is None:
            return peer.respond(405)
        call = server.seen("tools/call")[0]
        peer.start_stream()
        for value in values:
            peer.event(progress(token_of(call), value), id=f"e-{value}")
        peer.event_result(call, {"content": [{"type": "text", "text": "late"}]}, id="e-last")
        peer.end_stream()

    return answer


# --- what is in it


def test_running_calls_are_in_the_session(server: RawMCPServer) -> None:
    """``client.session`` is a snapshot: the cursors of calls that run now, and nothing of those that have ended."""
    server.on("tools/call", held)
    with open_client(server) as client:
        assert client.session.cursors == ()
        with client.stream_tool("crunch") as call:
            assert call.cursor is None
            next(call)
            (request,) = server.seen("tools/call")
            expected = StreamCursor(request.id, "e-1", "tools/call", "crunch", 7)
            assert call.cursor == expected
            snapshot = client.session
            assert snapshot.cursors == (expected,)
            assert Session.from_json(snapshot.to_json()) == snapshot
        assert client.session.cursors == ()


def test_no_cursor_where_there_is_no_id(server: RawMCPServer) -> None:
    """H25-18: a stream without event ids cannot be resumed, and nothing pretends that it can."""

    def no_ids(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(progress(token_of(request), 1))
        peer.hold()

    server.on("tools/call", no_ids)
    with open_client(server) as client, client.stream_tool("t") as call:
        next(call)
        assert call.cursor is None
        assert client.session.cursors == ()


def test_no_secrets_in_a_saved_session(server: RawMCPServer) -> None:
    """H25-19: no credentials, no headers and no login of the address are saved; the id is not shown."""
    url = server.url.replace("//", "//user:hidden-1@")
    with Client(url, headers={"x-key": "hidden-2"}, auth=("user", "hidden-3"), timeout=BOUND) as client:
        saved = client.session.to_json()
        shown = repr(client) + repr(client.session)
    assert "hidden" not in saved.replace("<hidden>", "")
    assert "hidden-" not in shown and "session-1" not in shown
    assert json.loads(saved)["url"] == server.url


# --- taken up again


def test_resuming_shakes_no_hands(server: RawMCPServer) -> None:
    """H25-20, H25-22: another client goes on in the same session, and does not initialize; it ends it if told to."""
    with open_client(server, end_session=False) as client:
        saved = client.session.to_json()
    for end_session in (None, True):
        with Client.resume(saved, timeout=BOUND, end_session=end_session) as again:
            assert again.call_tool("echo").text == "ok"
            assert again.session == Session.from_json(saved)
        # Only who began a session ends it unasked: the one that saved it may still be using it.
        assert len(server.seen("DELETE")) == (end_session is True)
    assert len(server.seen("initialize")) == 1
    call = server.seen("tools/call")[0]
    assert (call.header("MCP-Session-Id"), call.header("MCP-Protocol-Version")) == ("session-1", "2025-11-25")


def test_resuming_with_another_address(server: RawMCPServer) -> None:
    """The address may have changed; credentials are given again."""
    with open_client(server, end_session=False) as client:
        saved = client.session.to_json()
    with Client.resume(saved, url=f"{server.origin}/moved", headers={"x-key": "1"}, timeout=BOUND) as again:
        again.call_tool("echo")
    (call,) = server.seen("tools/call")
    assert (call.target, call.header("x-key")) == ("/moved", "1")


@pytest.mark.parametrize("form", ["object", "json"])
def test_a_call_goes_on_in_another_client(server: RawMCPServer, form: str) -> None:
    """H25-17: with its cursor, as an object or as text, what was missed and the result are collected."""
    server.on("tools/call", held)
    server.on("GET", rest_of(server, 2, 3))
    client = open_client(server, end_session=False)
    call = client.stream_tool("crunch")
    next(call)
    cursor = call.cursor
    assert cursor is not None
    saved = client.session.to_json()
    server.drop_connections()
    seen: list[Progress] = []
    with Client.resume(saved, timeout=BOUND) as again:
        assert again.session.cursors == (cursor,)
        result = again.resume_call(cursor if form == "object" else cursor.to_json(), on_progress=seen.append)
    assert result.text == "late"
    assert [event.progress for event in seen] == [2, 3]
    (get,) = server.seen("GET")
    assert get.header("Last-Event-ID") == "e-1"
    assert get.header("MCP-Session-Id") == "session-1"
    assert len(server.seen("tools/call")) == 1
    call.__exit__(None, None, None)
    client.close()


def test_another_process(server: RawMCPServer) -> None:
    """BASE-03: a process that knows the saved text alone finishes the call, and its request ids are other ones."""
    server.on("tools/call", held, OK)
    server.on("GET", rest_of(server, 2))
    client = open_client(server, end_session=False)
    client.send_ping()
    call = client.stream_tool("crunch")
    next(call)
    saved = client.session.to_json()
    server.drop_connections()
    script = (
        "import sys; from streamhttp_client import Client\n"
        "saved = sys.stdin.read()\n"
        "with Client.resume(saved, timeout=30, end_session=False) as client:\n"
        "    seen = []\n"
        "    (cursor,) = client.session.cursors\n"
        "    result = client.resume_call(cursor, on_progress=seen.append)\n"
        "    again = client.call_tool('echo')\n"
        "    print(result.text, [event.progress for event in seen], again.text)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=saved, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("late [2] ok", "")
    call.__exit__(None, None, None)
    client.send_ping()
    client.close()
    ids = [request.id for request in server.requests if request.id is not None]
    assert len(ids) == len(set(ids)) == 5


def test_a_stream_that_is_gone(server: RawMCPServer) -> None:
    """A server that no longer holds it says so, and the call is not sent again."""
    server.on("GET", refuse(400))
    with open_client(server) as client:
        with pytest.raises(ResumeRefused):
            client.resume_call(StreamCursor(5, "e-1"))
        assert server.seen("tools/call") == []


def test_other_calls_resume_too(server: RawMCPServer) -> None:
    """What is no tool gives its result as it came."""

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event({"jsonrpc": "2.0", "id": "own", "result": {"a": 1}})
        peer.end_stream()

    server.on("GET", answer)
    with open_client(server) as client:
        assert client.resume_call(StreamCursor("own", "e-1", "custom/method")) == {"a": 1}
        with client.stream_call(StreamCursor("own", "e-1", "custom/method").to_json()) as call:
            assert list(call) == [] and call.result == {"a": 1}


def test_a_saved_revision_that_is_not_spoken_here() -> None:
    """A session of a newer release names a revision that this one does not know: that is said, not guessed."""
    with RawMCPServer() as server:
        saved = json.dumps({"url": server.url, "session_id": "s", "protocol_version": "2031-01-01"})
        with pytest.raises(LocalProtocolError, match="2031-01-01"):
            with Client.resume(saved, timeout=BOUND) as client:
                client.send_ping()
        assert server.accepted == 0


@pytest.mark.parametrize("value", ["a\r\nb: c", "a b", "é", ""])
def test_a_saved_session_id_that_cannot_be_sent(value: str) -> None:
    """H25-26: a damaged file does not get into a header."""
    with RawMCPServer() as server:
        saved = json.dumps({"url": server.url, "session_id": value, "protocol_version": "2025-11-25"})
        with pytest.raises(LocalProtocolError):
            with Client.resume(saved, timeout=BOUND) as client:
                client.send_ping()
        assert server.accepted == 0


# --- renewed


def test_what_was_set_is_set_again(server: RawMCPServer) -> None:
    """H25-21: in the new session subscriptions and the log level are as they were, and the caller is told."""
    server.on("resources/subscribe", {})
    server.on("resources/unsubscribe", {})
    renewed: list[tuple[Session, Session]] = []
    with open_client(server, on_session_renewed=lambda old, new: renewed.append((old, new))) as client:
        for uri in ("a:1", "a:2", "a:3"):
            client.subscribe_resource(uri)
        client.unsubscribe_resource("a:2")
        client.set_logging_level("warning")
        server.expire_sessions()
        assert client.call_tool("echo").text == "ok"
        ((old, new),) = renewed
        assert (old.session_id, new.session_id) == ("session-1", "session-2")
        assert client.session is new
    second = [r for r in server.requests if r.header("MCP-Session-Id") == "session-2" and r.method == "POST"]
    assert second[0].key == "notifications/initialized"
    assert [r.json["params"]["uri"] for r in second if r.key == "resources/subscribe"] == ["a:1", "a:3"]
    assert [r.json["params"]["level"] for r in second if r.key == "logging/setLevel"] == ["warning"]
    assert second[-1].key == "tools/call"
    again = server.seen("initialize")[1]
    assert again.header("MCP-Session-Id") is None and again.header("MCP-Protocol-Version") is None


def test_what_cannot_be_set_again_is_logged(server: RawMCPServer, caplog: pytest.LogCaptureFixture) -> None:
    """The call counts more: that a subscription was refused in the new session is a line in the log."""
    server.on("resources/subscribe", {}, fail(-32602, "gone"))
    with open_client(server) as client:
        client.subscribe_resource("a:1")
        server.expire_sessions()
        assert client.call_tool("echo").text == "ok"
    assert "resources/subscribe could not be repeated" in caplog.text


def test_sessions_may_be_raised_for(server: RawMCPServer) -> None:
    """``on_session_expired="raise"``: the error has the status; a later call shakes hands only if asked to."""
    with open_client(server, on_session_expired="raise") as client:
        client.send_ping()
        server.expire_sessions()
        for _ in range(2):
            with pytest.raises(SessionExpired) as caught:
                client.call_tool("echo")
            assert caught.value.status == 404
        assert len(server.seen("initialize")) == 1


def test_a_renewal_that_fails(server: RawMCPServer) -> None:
    """The error of the new handshake is the call's; the next call tries again."""
    with open_client(server) as client:
        client.send_ping()
        server.expire_sessions()
        server.on("initialize", fail(-32000, "full"), lambda peer, request: server.answer(peer, request))
        with pytest.raises(Exception, match="full"):
            client.call_tool("echo")
        assert client.call_tool("echo").text == "ok"


def test_a_notification_in_a_session_that_is_gone(server: RawMCPServer) -> None:
    """H25-21: 404 to a notification means a new session as well."""
    with open_client(server) as client:
        client.send_ping()
        server.expire_sessions()
        client.notify("notifications/custom")
        assert client.session.session_id == "session-2"
        last = server.seen("notifications/custom")[-1]
        assert last.header("MCP-Session-Id") == "session-2"


def test_page_cursors_do_not_outlive_the_session(server: RawMCPServer) -> None:
    """T-03: "Don't persist cursors across sessions": a walk whose session ends says so, or begins anew, and never
    sends an old cursor to a new session."""

    def first_page(peer: Peer, request: Request) -> None:
        server.answer(peer, request) if request.header("MCP-Session-Id") not in server.sessions else (
            peer.respond_result(request, {"tools": [{"name": "a", "inputSchema": {}}], "nextCursor": "old"})
        )

    server.on("tools/list", first_page)
    with open_client(server) as client:
        walk = client.iter_tools()
        next(walk)
        server.expire_sessions()
        try:
            next(walk)
        except Exception as error:
            assert type(error).__module__.startswith("streamhttp_client")
    for request in server.seen("tools/list"):
        if request.header("MCP-Session-Id") == "session-2":
            assert (request.json.get("params") or {}).get("cursor") != "old"


WISHES = {
    "resources/subscribe": lambda client: client.subscribe_resource("a:b"),
    "logging/setLevel": lambda client: client.set_logging_level("debug"),
}


@pytest.mark.parametrize("method", WISHES)
def test_a_wish_while_the_session_is_renewed(server: RawMCPServer, method: str) -> None:
    """H25-21: what is asked for while another thread begins a new session is asked for in that one too."""
    renewed = threading.Event()

    def slow(peer: Peer, request: Request) -> None:
        server.expire_sessions()
        peer.hold(renewed)
        peer.respond_result(request, {})

    server.on(method, slow, {})
    with open_client(server) as client:
        client.connect()
        thread = InThread(lambda: WISHES[method](client))
        server.wait_for(lambda seen: server.seen(method))
        client.send_ping()
        renewed.set()
        thread.join(AT_ONCE)
        assert thread.error is None
    assert [request.header("Mcp-Session-Id") for request in server.seen(method)] == ["session-1", "session-2"]


@pytest.mark.parametrize("method", WISHES)
def test_a_wish_that_was_refused_is_none(server: RawMCPServer, method: str) -> None:
    """H25-21: what the server did not grant is not asked for again in the next session."""
    server.on(method, fail(-32603))
    with open_client(server) as client:
        with pytest.raises(RPCError):
            WISHES[method](client)
        server.expire_sessions()
        client.send_ping()
    assert len(server.seen(method)) == 1 and len(server.seen("initialize")) == 2
