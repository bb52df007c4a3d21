"""What was found out of a server is remembered, saved and shared; and given up when it turns out to be wrong."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from streamhttp_client import (
    Client,
    HTTPStatusError,
    InvalidParams,
    ResumeRefused,
    RetryPolicy,
    Session,
    SessionExpired,
    StreamHTTPError,
)
from streamhttp_client.client import agreement, engine
from streamhttp_client.client.eras import KNOWN_SERVERS
from streamhttp_client.protocol.versions import LATEST
from tests.client._kinds import (
    CHANNEL_BEGINS,
    ERAS,
    MODERN,
    SESSION_BEGINS,
    AnyServer,
    connect_to,
    keys,
    works,
)
from tests.client._peer import BOUND
from tests.support.rawserver import Peer, Request, rpc_refusal
from tests.transport._faults import InThread, within

Script = Callable[[Peer, Request], None]


def text(status: int, body: bytes = b"no", **headers: str) -> Script:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda peer, request: peer.respond(status, body, content_type="text/plain", headers=named)


# --- what was learned
# ----------------------------------------------------------------------------------------------------------------------

AGAIN = {
    "modern": ["tools/call"],
    "session": [*SESSION_BEGINS, "tools/call", "DELETE"],
    "channel": [*CHANNEL_BEGINS, "tools/call"],
}


@pytest.mark.parametrize("kind", AGAIN)
def test_the_second_client_asks_nothing(_nothing_left: None, kind: str) -> None:
    """V26-08: what one client has found out, the next one of this process knows: nothing is sent to find out."""
    with AnyServer(kind) as server:
        with connect_to(server) as client:
            works(client)
        before = len(server.requests)
        with connect_to(server) as client:
            works(client)
            assert client.era == ERAS[kind]
            assert client.negotiation[0] == "as this endpoint was known to speak"
        assert keys(server)[before:] == AGAIN[kind]


@pytest.mark.parametrize(
    ("kind", "requests"),
    [
        ("modern", ["server/discover", "tools/call"]),
        ("session", AGAIN["session"]),
        ("channel", ["server/discover", "initialize", *AGAIN["channel"]]),
    ],
)
def test_another_endpoint_of_the_origin(_nothing_left: None, kind: str, requests: list[str]) -> None:
    """V26-08: the era is remembered for the origin; what another endpoint of it speaks is a guess that is checked."""
    with AnyServer(kind) as server:
        with connect_to(server) as client:
            works(client)
        before = len(server.requests)
        with Client(f"{server.origin}/other", timeout=BOUND, listen_in_background=False) as client:
            works(client)
            assert client.era == ERAS[kind]
        assert keys(server)[before:] == requests


def test_a_gateway_with_several_kinds(_nothing_left: None) -> None:
    """V26-08: a wrong guess from another endpoint costs one question, and each endpoint keeps its own."""
    with AnyServer("modern") as server:
        with connect_to(server) as client:
            works(client)
        server.kind = "session"
        for _ in range(2):
            with Client(f"{server.origin}/old", timeout=BOUND, listen_in_background=False) as client:
                works(client)
                assert client.era == "session"
        assert keys(server).count("server/discover") == 2  # of the first endpoint, and of the second
        server.kind = "modern"
        with connect_to(server) as client:
            works(client)
            assert client.era == "stateless"
        assert keys(server).count("server/discover") == 2


@pytest.mark.parametrize(("first", "other"), [(one, two) for one in ERAS for two in ERAS])
def test_a_guess_for_another_endpoint(_nothing_left: None, first: str, other: str) -> None:
    """V26-08: whatever is guessed for another endpoint of the origin, it is found out how that one speaks."""
    with AnyServer(first) as server:
        with connect_to(server) as client:
            works(client)
        server.kind = other
        with Client(f"{server.origin}/other", timeout=BOUND, listen_in_background=False) as client:
            works(client)
            assert client.era == ERAS[other]


def test_a_half_deployed_server_heals(session_server: AnyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """V26-08: one whose gateway had led the probe to an old half is found to be new some minutes later, without a
    failure that says so; until then, one probe is enough.
    """
    passed = [0.0]
    monkeypatch.setattr(KNOWN_SERVERS, "_clock", lambda: passed[0])
    eras = []
    for seconds in (0, 590, 20, 590):
        passed[0] += seconds
        with connect_to(session_server) as client:
            works(client)
            eras.append(client.era)
        session_server.kind = "both"
    assert eras == ["session", "session", "stateless", "stateless"]
    assert keys(session_server).count("server/discover") == 2


CHANGES = [(before, after) for before in ERAS for after in ERAS if before != after]


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_a_wrong_memory_heals(_nothing_left: None, before: str, after: str) -> None:
    """V26-08: what was known fails, the server is asked anew, and the call that found out is answered."""
    with AnyServer(before) as server:
        with connect_to(server) as client:
            works(client)
        server.kind = after
        with connect_to(server) as client:
            works(client)
            assert client.era == ERAS[after]
        seen = len(server.requests)
        with connect_to(server) as client:
            works(client)
        assert keys(server)[seen:] == AGAIN[after]


@pytest.mark.parametrize("says", ["nothing", "comments"])
def test_a_stream_that_is_another(_nothing_left: None, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """V26-08, O-03: a server that was known to speak HTTP+SSE, and now opens a stream for the same GET which names no
    address, as one without sessions does: the call does not wait there until its time is over.
    """
    monkeypatch.setattr(agreement, "_PROBE_SECONDS", 0.2)

    def silent(peer: Peer, request: Request) -> None:
        peer.start_stream()
        while says == "comments" and not pause.wait(0.01):
            peer.comment()
        peer.hold()

    pause = threading.Event()
    with AnyServer("channel") as server:
        with connect_to(server) as client:
            works(client)
        server.kind = "session"
        server.on("GET", silent)
        with connect_to(server, timeout=4 * BOUND) as client, within(BOUND):
            works(client)
            assert client.era == "session"


@pytest.mark.parametrize(
    "use",
    [
        lambda client: client.session.to_json(),
        lambda client: client.list_tools(),
        lambda client: client.send_ping(),
        lambda client: client.stream_tool("echo").result,
        lambda client: client.notify("notifications/odd"),
        lambda client: list(client.listen(timeout=0.2)),
    ],
    ids=["session", "list_tools", "send_ping", "stream_tool", "notify", "listen"],
)
@pytest.mark.parametrize("after", ["session", "channel"])
def test_whatever_is_asked_first_heals(_nothing_left: None, after: str, use: Callable[[Client], object]) -> None:
    """V26-08: a server that was known as modern and is not any more is found out by the first use, whatever that is."""
    with AnyServer(after) as server:
        KNOWN_SERVERS.learn(server.url, LATEST)
        with connect_to(server) as client:
            use(client)
            assert client.era == ERAS[after]


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_a_server_that_changes_under_a_client(_nothing_left: None, before: str, after: str) -> None:
    """V26-08: a server that is rolled back or forward while a client is connected is spoken to in its new way."""
    with AnyServer(before) as server, connect_to(server) as client:
        works(client)
        server.kind = after
        server.expire_sessions()
        server.drop_connections()
        # What was under way may be lost with the old server; reads are repeated.
        assert [tool.name for tool in client.list_tools()] == ["echo"]
        works(client)
        assert client.era == ERAS[after]


@pytest.mark.parametrize(
    "refusal",
    [
        rpc_refusal(400, -32022, "no", {"supported": [MODERN], "requested": "2025-11-25"}),
        rpc_refusal(400, -32020),
        rpc_refusal(400, -32602, "_meta is required"),
        text(404),
    ],
    ids=["-32022", "-32020", "-32602", "404"],
)
def test_each_way_in_which_a_newer_server_refuses_an_old_session(session_server: AnyServer, refusal: Script) -> None:
    """V26-08, H25-21: however a server that has become modern refuses a request of the session, it is asked anew."""
    with connect_to(session_server) as client:
        works(client)
        session_server.kind = "modern"
        session_server.on("tools/call", refusal, session_server.answer)
        works(client)
        assert client.era == "stateless"


REFUSALS = {"404": text(404), "-32022": rpc_refusal(400, -32022, "no", {"supported": [MODERN], "requested": "?"})}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_the_end_of_a_session_is_told(session_server: AnyServer, refusal: str) -> None:
    """H25-21, V26-08: that a session has ended with the server's era is told as any other end of one."""
    renewed: list[tuple[Session, Session]] = []
    with connect_to(session_server, on_session_renewed=lambda old, new: renewed.append((old, new))) as client:
        works(client)
        session_server.kind = "modern"
        session_server.on("tools/call", REFUSALS[refusal], session_server.answer)
        works(client)
        ((old, new),) = renewed
        assert old.session_id == "session-1" and (new.session_id, new.era) == (None, "stateless")


@pytest.mark.parametrize("refusal", REFUSALS)
def test_the_end_of_a_session_may_be_an_error(session_server: AnyServer, refusal: str) -> None:
    """H25-21, V26-08: with ``on_session_expired="raise"`` a session is not replaced by what knows nothing of it; the
    next ``connect()`` begins anew.
    """
    with connect_to(session_server, on_session_expired="raise") as client:
        works(client)
        session_server.kind = "modern"
        session_server.on("tools/call", REFUSALS[refusal], session_server.answer)
        for _ in range(2):
            with pytest.raises(SessionExpired, match=r"the session is over|has ended the session"):
                works(client)
        assert client.era == "session"
        client.connect()
        works(client)
        assert client.era == "stateless"


@pytest.mark.parametrize("code", [-32021, -32022])
def test_an_odd_refusal_does_not_cost_the_session(session_server: AnyServer, code: int) -> None:
    """V26-08, H25-21: a modern error from a server that is as it was is this request's failure, and the session, which
    the server still holds, goes on.
    """
    with connect_to(session_server) as client:
        works(client)
        session_server.on("tools/call", rpc_refusal(400, code), session_server.answer)
        with pytest.raises(StreamHTTPError) as caught:
            works(client)
        assert getattr(caught.value, "code", None) == code
        works(client)
        assert client.session.session_id == "session-1" and session_server.sessions == {"session-1"}


def test_a_refusal_that_changes_nothing(modern_server: AnyServer) -> None:
    """V26-08: a refusal that looks foreign costs one probe; if the server speaks as before, it is passed on."""
    with connect_to(modern_server) as client:
        works(client)
        modern_server.on("tools/call", text(400, b"a gateway says no"), modern_server.answer)
        with pytest.raises(HTTPStatusError) as caught:
            works(client)
        assert caught.value.status == 400 and caught.value.body == b"a gateway says no"
        works(client)
    assert keys(modern_server) == ["server/discover", "tools/call", "tools/call", "server/discover", "tools/call"]


def _gateway(server: AnyServer, *keys: str) -> None:
    """For each of these, the gateway before the server says that there is nothing; for none, it is gone."""
    for key in ("tools/call", "server/discover", "initialize", "GET"):
        server.on(key, text(404, b"no such application") if key in keys else server.answer)


@pytest.mark.parametrize("kind", ["modern", "both"])
def test_a_gateway_without_its_server(_nothing_left: None, kind: str) -> None:
    """V26-08: while a gateway says 404 to all, as it does when a server is replaced, the first call looks around, the
    next ones are one request each; the server is spoken to as before when it is back.
    """
    with AnyServer(kind) as server, connect_to(server) as client:
        works(client)
        _gateway(server, "tools/call", "server/discover", "initialize", "GET")
        with pytest.raises(HTTPStatusError):
            works(client)
        for _ in range(3):
            before = len(server.requests)
            with pytest.raises(HTTPStatusError) as caught:
                works(client)
            assert caught.value.status == 404 and keys(server)[before:] == ["tools/call"]
        _gateway(server)
        works(client)
        assert client.era == "stateless"


def test_a_fruitless_doubt_does_not_last(_nothing_left: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """V26-08: after some seconds it is looked into again, and a server that has changed meanwhile is found."""
    monkeypatch.setattr(engine, "_DOUBT_SECONDS", -1.0)
    with AnyServer("modern") as server, connect_to(server) as client:
        works(client)
        _gateway(server, "tools/call", "server/discover", "initialize", "GET")
        with pytest.raises(HTTPStatusError):
            works(client)
        _gateway(server)
        server.kind = "session"
        works(client)
        assert client.era == "session"


def test_bad_arguments_are_doubted_once(session_server: AnyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """V26-08, H25-21: 400 and -32602 to a call of a session may mean another era; it is asked once, and a server that
    stays silent to the probe is not asked at each bad argument. The session goes on.
    """
    monkeypatch.setattr(agreement, "_PROBE_SECONDS", 0.2)
    monkeypatch.setattr(engine, "_DOUBT_SECONDS", -1.0)
    with connect_to(session_server) as client:
        works(client)
        before = len(session_server.requests)
        session_server.on("server/discover", lambda peer, request: peer.hold())
        session_server.on("tools/call", rpc_refusal(400, -32602, "name is missing"))
        for _ in range(4):
            with pytest.raises(InvalidParams, match="name is missing"):
                works(client)
        assert keys(session_server)[before:] == ["tools/call", "server/discover", *["tools/call"] * 3]
        session_server.on("tools/call", session_server.answer)
        works(client)
        assert client.session.session_id == "session-1"


def test_bad_arguments_do_not_end_a_session(session_server: AnyServer) -> None:
    """H25-21, V26-08: with ``on_session_expired="raise"`` too, the session of a refused call is kept by all means."""
    renewed: list[Any] = []
    options: dict[str, Any] = {
        "on_session_expired": "raise", "on_session_renewed": lambda old, new: renewed.append((old, new)),
    }  # fmt: skip
    with connect_to(session_server, **options) as client:
        works(client)
        session_server.on("tools/call", rpc_refusal(400, -32602, "name is missing"), session_server.answer)
        with pytest.raises(InvalidParams, match="name is missing"):
            works(client)
        assert client.connect().session_id == "session-1"
        works(client)
        assert client.session.session_id == "session-1" and session_server.sessions == {"session-1"}
    assert keys(session_server).count("initialize") == 1 and renewed == []


@pytest.mark.parametrize("use", [lambda client: client.session, lambda client: client.send_ping()])
def test_an_introduction_beside_a_call(_nothing_left: None, use: Callable[[Client], object]) -> None:
    """V26-08: what another thread is told of the server meanwhile does not keep a call from finding out that the
    server is another by now.
    """
    asked, go_on = threading.Event(), threading.Event()

    def refuse(peer: Peer, request: Request) -> None:
        asked.set()
        peer.hold(go_on)
        text(400, b"unknown")(peer, request)

    with AnyServer("modern") as server:
        KNOWN_SERVERS.learn(server.url, LATEST)
        server.on("tools/call", refuse, server.answer)
        with connect_to(server) as client:
            thread = InThread(lambda: works(client))
            assert asked.wait(BOUND)
            use(client)
            server.kind = "session"
            go_on.set()
            thread.join(BOUND)
            assert thread.error is None and client.era == "session"


@pytest.mark.parametrize("refusal", [404, 405])
@pytest.mark.parametrize("resumed", [False, True], ids=["connected", "resumed"])
def test_a_session_server_that_is_one_of_http_sse_now(
    channel_server: AnyServer, refusal: int, resumed: bool
) -> None:
    """V26-08, H26-21, O-03: however such a server refuses a message of the session, its stream is opened."""
    channel_server.kind = "session"
    with connect_to(channel_server, end_session=False) as client:
        works(client)
        saved = client.session.to_json()
        channel_server.kind, channel_server.refusal = "channel", refusal
        channel_server.expire_sessions()
        if not resumed:
            works(client)
            assert client.era == "http+sse"
            return
    with Client.resume(saved, timeout=BOUND, listen_in_background=False) as client:
        works(client)
        assert client.era == "http+sse"


@pytest.mark.parametrize("refusal", [404, 405])
@pytest.mark.parametrize("idempotent", [False, True])
def test_a_call_that_meets_http_sse_when_it_resumes(
    channel_server: AnyServer, refusal: int, idempotent: bool
) -> None:
    """V26-08, O-03, H25-19: a server that is one of HTTP+SSE by the time that a broken answer is resumed has not kept
    it, which is known at once from its stream; a call that may run twice is made again.
    """
    channel_server.kind = "session"

    def breaking(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info"}}, id="e")
        channel_server.kind, channel_server.refusal = "channel", refusal
        channel_server.expire_sessions()
        peer.cut()

    channel_server.on("tools/call", breaking, channel_server.answer)
    with connect_to(channel_server) as client, within(BOUND / 2):
        if idempotent:
            assert client.call_tool("echo", idempotent=True).text == "ok"
        else:
            with pytest.raises(ResumeRefused, match="speaks HTTP") as caught:
                client.call_tool("echo")
            assert caught.value.may_have_executed
        works(client)
        assert client.era == "http+sse"
    assert len(channel_server.seen("tools/call")) >= 2


def test_what_is_learned_is_no_secret(_nothing_left: None) -> None:
    """V26-08: neither credentials nor queries are remembered with a server."""
    with AnyServer("modern") as server:
        url = server.url.replace("http://", "http://user:geheim@") + "?key=verborgen"
        with Client(url, timeout=BOUND, auth=("name", "passwort"), listen_in_background=False) as client:
            works(client)
    known = repr(vars(KNOWN_SERVERS))
    assert f"127.0.0.1:{server.port}/mcp" in known
    for secret in ("user", "geheim", "key", "verborgen", "name@", "passwort"):
        assert secret not in known


@pytest.mark.parametrize("before", ["modern", "session"])
def test_threads_and_a_wrong_memory(_nothing_left: None, before: str) -> None:
    """V26-08: all threads whose requests are refused at once find out once, and all their calls are answered; what was
    found out is remembered.
    """
    after = {"modern": "session", "session": "modern"}[before]
    count = 8
    with AnyServer(before) as server, connect_to(server) as client:
        works(client)
        together = threading.Barrier(count)

        def refused_together(peer: Peer, request: Request) -> None:
            together.wait(BOUND)
            server.answer(peer, request)

        server.kind = after
        server.expire_sessions()
        known = len(server.requests)
        server.on("tools/call", *[refused_together] * count, server.answer)
        threads = [InThread(lambda: works(client)) for _ in range(count)]
        for thread in threads:
            thread.join(BOUND)
        assert [thread.error for thread in threads] == [None] * count
        assert client.era == ERAS[after]
        begun = {"session": "initialize", "modern": "server/discover"}[after]
        assert keys(server)[known:].count(begun) == 1
        assert KNOWN_SERVERS.first_step(server.url) is not None


# --- saved sessions
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", AGAIN)
@pytest.mark.parametrize("forgotten", [False, True])
def test_a_saved_session(_nothing_left: None, kind: str, forgotten: bool) -> None:
    """V26-08, O-03: a session is saved and taken up in each era, also by a process that knows nothing of the server;
    the one of HTTP+SSE has ended with its stream, so another one begins.
    """
    with AnyServer(kind) as server:
        with connect_to(server, end_session=False) as client:
            works(client)
            saved = client.session.to_json()
        before = len(server.requests)
        if forgotten:
            KNOWN_SERVERS.clear()
        assert Session.from_json(saved).era == ERAS[kind]
        with Client.resume(saved, timeout=BOUND, listen_in_background=False) as client:
            works(client)
            assert client.era == ERAS[kind]
            assert client.session.protocol_version == Session.from_json(saved).protocol_version
            assert client.session.server_info == Session.from_json(saved).server_info
        begin = CHANNEL_BEGINS if kind == "channel" else []
        assert keys(server)[before:] == [*begin, "tools/call"]


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_a_saved_session_of_a_server_that_has_changed(_nothing_left: None, before: str, after: str) -> None:
    """V26-08: a persisted era is an assumption too, and is given up if it fails."""
    with AnyServer(before) as server:
        with connect_to(server, end_session=False) as client:
            works(client)
            saved = client.session.to_json()
        server.kind = after
        server.expire_sessions()
        KNOWN_SERVERS.clear()
        options: dict[str, Any] = {"timeout": BOUND, "listen_in_background": False}
        with Client.resume(saved, retry=RetryPolicy(attempts=4, base=0.0), **options) as client:
            works(client)
            assert client.era == ERAS[after]


@pytest.mark.parametrize("kind", AGAIN)
def test_a_client_pickles(_nothing_left: None, kind: str) -> None:
    """V26-08: a copy of a client goes on in its era, without asking what is known."""
    with AnyServer(kind) as server:
        with connect_to(server, end_session=False) as client:
            works(client)
            before = len(server.requests)
            with pickle.loads(pickle.dumps(client)) as copy:
                works(copy)
                assert copy.era == ERAS[kind]
        assert keys(server)[before:] == [*(CHANNEL_BEGINS if kind == "channel" else []), "tools/call"]


def test_a_copy_of_a_client_that_was_never_used(modern_server: AnyServer) -> None:
    """V26-08: there is nothing to save before the first use; the copy finds out for itself."""
    client = connect_to(modern_server)
    with pickle.loads(pickle.dumps(client)) as copy:
        works(copy)
    client.close()
    assert keys(modern_server) == ["server/discover", "tools/call"]


def _in_a_child(client: Client, answers: Any) -> None:
    try:
        answers.put((client.call_tool("echo").text, client.era))
    except BaseException as error:
        answers.put(repr(error))
    finally:
        client.close()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.parametrize("kind", ["modern", "session"])
def test_a_fork(_nothing_left: None, kind: str) -> None:
    """V26-08: a forked child knows what its parent found out, and goes on with connections of its own."""
    with AnyServer(kind) as server, connect_to(server) as client:
        works(client)
        before, accepted = len(server.requests), server.accepted
        context = multiprocessing.get_context("fork")
        answers = context.SimpleQueue()
        child = context.Process(target=_in_a_child, args=(client, answers))
        child.start()
        child.join(BOUND)
        assert child.exitcode == 0 and answers.get() == ("ok", ERAS[kind])
        answers.close()
        child.close()
        assert keys(server)[before:] == ["tools/call"] and server.accepted == accepted + 1
        works(client)
