"""Sessions that end, session ids that cannot be, and redirects that lead elsewhere."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from streamhttp_client import (
    Client,
    HTTPStatusError,
    RemoteProtocolError,
    Session,
    SessionExpired,
    StreamHTTPError,
    UnsupportedVersion,
)
from tests.support.rawserver import Peer, RawMCPServer, RawServer, Request, rpc_refusal
from tests.transport._faults import RESULT, InThread, open_client, stays_usable

# -- the end of a session


def test_an_expired_session_is_renewed_once() -> None:
    """404 for a known session: a handshake without the old id, the call once more, and the user is told."""
    told: list[tuple[str | None, str | None]] = []

    def renewed(old: Session, new: Session) -> None:
        told.append((old.session_id, new.session_id))

    with RawMCPServer() as server:
        with open_client(server, on_session_renewed=renewed) as client:
            assert client.call_tool("echo").text == "ok"
            server.expire_sessions()
            assert client.call_tool("echo").text == "ok"
            assert client.session.session_id == "session-2"
        ids = [(request.key, request.header("MCP-Session-Id")) for request in server.requests]
    assert [key_and_id for key_and_id in ids if key_and_id[0] != "server/discover"] == [
        ("initialize", None),
        ("notifications/initialized", "session-1"),
        ("tools/call", "session-1"),
        ("tools/call", "session-1"),
        ("initialize", None),
        ("notifications/initialized", "session-2"),
        ("tools/call", "session-2"),
        ("DELETE", "session-2"),
    ]
    assert told == [("session-1", "session-2")]
    first, second, third = (request.id for request in server.seen("tools/call"))
    assert first != second


def test_a_server_that_forgets_every_session_does_not_loop() -> None:
    """The repeated call gets 404 too: that is the answer, after two attempts."""
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", lambda peer, request: peer.respond(404, b"no such session"))
        with pytest.raises(SessionExpired) as caught:
            client.call_tool("echo")
        assert caught.value.status == 404
        assert len(server.seen("tools/call")) == 2 and len(server.seen("initialize")) == 2
        stays_usable(client)


def test_an_expired_session_may_be_an_error() -> None:
    """``on_session_expired="raise"`` leaves it to the caller; the call is sent once."""
    with RawMCPServer() as server, open_client(server, on_session_expired="raise") as client:
        client.list_tools()
        server.expire_sessions()
        with pytest.raises(SessionExpired):
            client.call_tool("echo")
        assert len(server.seen("tools/call")) == 1 and len(server.seen("initialize")) == 1


def test_many_threads_renew_one_session_once() -> None:
    """Eight calls that find the session gone at the same time share one new handshake."""
    threads = 8
    together = threading.Barrier(threads)

    def gone(peer: Peer, request: Request) -> None:
        if request.header("MCP-Session-Id") == "session-1":
            together.wait(10)
        server.answer(peer, request)

    with RawMCPServer() as server, open_client(server) as client:
        client.list_tools()
        server.expire_sessions()
        server.on("tools/call", gone)
        calls = [InThread(lambda: client.call_tool("echo").text) for _ in range(threads)]
        for call in calls:
            call.join(20)
        assert [call.value for call in calls] == ["ok"] * threads, [call.error for call in calls]
        assert len(server.seen("initialize")) == 2


def test_404_without_a_session_is_a_status() -> None:
    """A server that gave no session id cannot have ended the session: 404 is what it says."""
    with RawMCPServer(sessions=False) as server, open_client(server) as client:
        server.on("tools/call", lambda peer, request: peer.respond(404, b"nothing here"))
        with pytest.raises(HTTPStatusError) as caught:
            client.call_tool("echo")
        assert not isinstance(caught.value, SessionExpired)
        assert caught.value.status == 404 and len(server.seen("tools/call")) == 1
        stays_usable(client)
    assert not server.seen("DELETE")


@pytest.mark.parametrize("status", [200, 202, 204, 404, 405, 500])
def test_closing_takes_any_answer(status: int) -> None:
    """Whatever the server says to DELETE, the client is closed, without an error."""
    with RawMCPServer() as server:
        server.on("DELETE", lambda peer, request: peer.respond(status))
        with open_client(server) as client:
            client.list_tools()
        (delete,) = server.seen("DELETE")
        assert delete.header("MCP-Session-Id") == "session-1"
        assert delete.header("MCP-Protocol-Version") == "2025-11-25"


def test_closing_a_client_whose_server_is_gone() -> None:
    """A DELETE that cannot be sent is no error of ``close()``."""
    with RawMCPServer() as server:
        client = open_client(server)
        client.list_tools()
    client.close()


# -- the handshake


@pytest.mark.parametrize(
    "value",
    ["", "with space", "tab\there", "caf\xe9", "del\x7f", "x" * 9000],
    ids=["empty", "space", "tab", "latin", "del", "long"],
)
def test_a_session_id_that_cannot_be(value: str) -> None:
    """Only visible ASCII may be sent back: all else is refused, not echoed, and a later handshake works."""

    def hands_out(peer: Peer, request: Request) -> None:
        outcome = {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "raw", "version": "1"},
        }
        peer.respond_result(request, outcome, headers={"MCP-Session-Id": value})

    with RawMCPServer() as server, open_client(server) as client_of_nothing_yet:
        # Entering connects, so the bad handshake is given to a second client.
        server.on("initialize", hands_out, server.answer)
        client = open_client(server)
        with pytest.raises(RemoteProtocolError):
            client.list_tools()
        stays_usable(client)
        client.close()
        sent = {request.header("MCP-Session-Id") for request in server.requests}
        stays_usable(client_of_nothing_yet)
    assert sent == {None, "session-1", "session-2"}


def test_no_revision_in_common() -> None:
    """A server of another age is named as that; nothing more is sent to it."""
    with RawMCPServer(protocol_version="1999-12-31") as server:
        client = open_client(server)
        with pytest.raises(UnsupportedVersion):
            client.list_tools()
        client.close()
        assert not server.seen("notifications/initialized") and not server.seen("tools/list")


@pytest.mark.parametrize("wrong", [{}, {"protocolVersion": 7}, {"protocolVersion": "2025-11-25"}])
def test_a_handshake_of_the_wrong_shape(wrong: dict[str, Any]) -> None:
    """The handshake is checked like any result; the next call shakes hands again."""
    with RawMCPServer() as server:
        server.on("initialize", wrong, server.answer)
        client = open_client(server)
        try:
            client.list_tools()
        except RemoteProtocolError:
            stays_usable(client)
        else:
            assert isinstance(wrong.get("protocolVersion"), str)  # all else may be forgiven
        client.close()


def test_a_cut_handshake_is_repeated() -> None:
    """``initialize`` changes nothing that matters: a broken one is tried again."""
    with RawMCPServer() as server, RawServer() as _:
        server.on("initialize", lambda peer, request: peer.cut(), server.answer)
        client = open_client(server)
        stays_usable(client)
        client.close()
        assert len(server.seen("initialize")) == 2


@pytest.mark.parametrize("status", [200, 204, 400, 404, 500])
def test_a_server_that_does_not_care_for_initialized(status: int) -> None:
    """What is said to ``notifications/initialized`` is let be, or fails the handshake with a typed error."""
    with RawMCPServer() as server:
        server.on("notifications/initialized", lambda peer, request: peer.respond(status), server.answer)
        client = open_client(server)
        try:
            client.list_tools()
        except StreamHTTPError:
            assert status >= 400
        stays_usable(client)
        client.close()


# -- redirects


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_within_the_origin_keeps_everything(status: int) -> None:
    """Method, body, credentials and session follow to another path of the same origin."""
    with RawMCPServer() as server:
        client = Client(server.url, auth=("user", "pw"), headers={"X-Api-Key": "k"}, timeout=10)
        with client:

            def elsewhere(peer: Peer, request: Request) -> None:
                if request.target == "/mcp":
                    peer.respond(status, headers={"Location": "/moved?to=here"})
                else:
                    peer.respond_result(request, RESULT)

            server.on("tools/call", elsewhere)
            assert client.call_tool("echo", {"a": "b"}).text == "ok"
        before, after = server.seen("tools/call")
    assert (after.method, after.target, after.body) == ("POST", "/moved?to=here", before.body)
    names = ("Authorization", "X-Api-Key", "MCP-Session-Id", "MCP-Protocol-Version", "Content-Type", "Accept")
    for name in names:
        assert after.header(name) == before.header(name) is not None, name


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("own_session", [False, True], ids=["ours", "theirs"])
def test_secrets_do_not_follow_to_another_origin(status: int, own_session: bool) -> None:
    """Another port is another origin: the call arrives there, without credentials, cookies and session id."""
    import requests

    secrets = ("Authorization", "Cookie", "MCP-Session-Id", "X-Api-Key", "Proxy-Authorization")
    with RawMCPServer() as server, RawMCPServer() as other, requests.Session() as session:

        def with_cookie(peer: Peer, request: Request) -> None:
            peer.respond_result(request, {"tools": []}, headers={"Set-Cookie": "flavour=oatmeal; Path=/"})

        def elsewhere(peer: Peer, request: Request) -> None:
            peer.respond(status, headers={"Location": other.url})

        server.on("tools/list", with_cookie)
        server.on("tools/call", elsewhere)
        other.on("tools/call", RESULT)
        options: dict[str, Any] = {"http": session} if own_session else {}
        client = Client(
            server.url,
            auth=("user", "pw"),
            headers={"X-Api-Key": "k", "Proxy-Authorization": "Basic abc"},
            timeout=10,
            **options,
        )
        with client:
            client.list_tools()
            assert client.call_tool("echo", {"a": "b"}).text == "ok"
            (sent,) = server.seen("tools/call")
            (arrived,) = other.seen("tools/call")
            assert all(sent.header(name) is not None for name in secrets)
            assert {name: arrived.header(name) for name in secrets} == dict.fromkeys(secrets)
            assert (arrived.method, arrived.body) == ("POST", sent.body)
            assert arrived.header("Content-Type") == "application/json"
            client.call_tool("echo")
            assert server.seen("tools/call")[1].header("Authorization") == sent.header("Authorization")
        assert all(request.header(name) is None for request in other.requests for name in secrets)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize(
    ("answer", "code"),
    [(rpc_refusal(400, -32600, "Bad Request: Missing session ID"), 400), (rpc_refusal(404, -32001), 404)],
)
def test_a_server_behind_a_redirect_to_another_origin(status: int, answer: Any, code: int) -> None:
    """H25-18: a session that is begun behind a redirect to another origin, where its id does not follow, is no session
    that has ended: the error names the address to use, and no second one is begun.
    """
    with RawMCPServer() as other:

        def elsewhere(peer: Peer) -> None:
            while peer.open:
                peer.read_request()
                peer.respond(status, headers={"Location": other.url})

        other.on("notifications/initialized", lambda peer, request: peer.respond(202))
        other.on("tools/call", answer)
        with RawServer(elsewhere) as server, open_client(server, listen_in_background=False) as client:
            with pytest.raises(HTTPStatusError, match=f"redirect to .*{other.port}.*use that address") as caught:
                client.call_tool("echo")
            assert caught.value.status == code and not isinstance(caught.value, SessionExpired)
        assert len(other.seen("initialize")) == 1
        assert all(request.header("MCP-Session-Id") is None for request in other.requests)


def test_a_redirect_never_turns_a_call_into_a_get() -> None:
    """303 would: it is refused, and nothing is sent to where it leads."""
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", lambda peer, request: peer.respond(303, headers={"Location": "/result"}))
        with pytest.raises(StreamHTTPError):
            client.call_tool("echo")
        assert not server.seen("GET") and len(server.seen("tools/call")) == 1
        stays_usable(client)


def test_redirects_in_a_circle_end() -> None:
    """A loop is the server's error, after a few turns."""
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", lambda peer, request: peer.respond(307, headers={"Location": server.url}))
        with pytest.raises(StreamHTTPError):
            client.call_tool("echo")
        assert len(server.seen("tools/call")) <= 31
        stays_usable(client)


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/mcp", "http://[", "http://127.0.0.1:99999/", "data:1"])
def test_a_redirect_to_nowhere(location: str) -> None:
    """An address that cannot be used is the server's error, not the caller's."""
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", lambda peer, request: peer.respond(307, headers={"Location": location}))
        with pytest.raises((RemoteProtocolError, HTTPStatusError)):
            client.call_tool("echo")
        stays_usable(client)
