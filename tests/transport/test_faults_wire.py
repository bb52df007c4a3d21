"""Many threads and odd servers: every call gets its own answer, and no connection is lost track of."""

from __future__ import annotations

import itertools
import json
import random
import threading
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from streamhttp_client import (
    Client,
    HTTPStatusError,
    Progress,
    RemoteProtocolError,
    RetryPolicy,
    Session,
    StreamHTTPError,
    TransportError,
)
from tests.support.rawserver import Peer, RawMCPServer, RawServer, Request, sse
from tests.transport._faults import (
    AT_ONCE,
    RESULT,
    InThread,
    borrowing,
    open_client,
    progress,
    result,
    stays_usable,
    within,
)

Script = Callable[[Peer, Request], None]


def _echoed(request: Request) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": request.json["params"]["arguments"]["say"]}]}


# -- whose answer is it


def test_threads_and_faults_never_cross_answers() -> None:
    """Eight threads, one client, a fault in every third answer: each call returns what it asked for."""
    dice = random.Random(20251125)
    lock = threading.Lock()
    taken: list[int] = []

    def script(peer: Peer, request: Request) -> None:
        with lock:
            turn = dice.randrange(12)
            if turn != 2:
                taken.append(request.id)
        answer = result(request, _echoed(request))
        if turn == 0:
            peer.cut()
        elif turn == 1:
            peer.send_head(200, {"Content-Type": "application/json", "Content-Length": "1000"})
            peer.send(json.dumps(answer).encode())
            peer.reset()
        elif turn == 2:
            peer.respond(503)
        elif turn == 3:
            if not borrowing():  # http.client cannot read past it
                peer.send_head(103)
            peer.respond_json(answer)
        elif turn < 6:
            peer.start_stream()
            peer.comment()
            peer.event(answer)
            peer.end_stream()
        elif turn == 6:
            peer.start_stream(chunked=False)
            peer.event(answer)
            peer.end_stream()
        else:
            peer.respond_json(answer)
            if turn == 7:
                peer.cut()

    with RawMCPServer() as server:
        server.on("tools/call", script)
        with open_client(server, retry=RetryPolicy(attempts=12, base=0)) as client:

            def work(name: int) -> None:
                for count in range(50):
                    say = f"{name}-{count}"
                    assert client.call_tool("echo", {"say": say}, idempotent=True).text == say

            workers = [InThread(lambda name=name: work(name)) for name in range(8)]  # type: ignore[misc]
            for worker in workers:
                worker.join(60)
            assert [worker.error for worker in workers] == [None] * 8
        assert len(taken) == len(set(taken)) > 400, "what may have run was sent again under the same id"


@pytest.mark.parametrize("late", [b"", b"0\r\n\r\n", b"5\r\nextra\r\n0\r\n\r\n", b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"])
def test_a_stream_that_ends_after_its_result(late: bytes) -> None:
    """The call returns at its result, and what comes after it on the stream disturbs no other call."""
    go_on = threading.Event()

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(result(request, _echoed(request)))
        if request.json["params"]["arguments"]["say"] == "first":
            peer.hold(go_on)
        peer.send(late)
        if not late:
            peer.hold()

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        with within(AT_ONCE):
            assert client.call_tool("echo", {"say": "first"}).text == "first"
            assert client.call_tool("echo", {"say": "second"}).text == "second"
        go_on.set()
        for count in range(10):
            assert client.call_tool("echo", {"say": str(count)}).text == str(count)
        stays_usable(client)


def test_streams_that_never_end_are_let_go() -> None:
    """A server that leaves each stream open after the result does not collect connections."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event_result(request, RESULT)
        peer.hold()

    with RawMCPServer() as server:
        server.on("tools/call", script)
        with open_client(server) as client:
            for _ in range(100):
                assert client.call_tool("echo").text == "ok"
            assert server.connected <= 3
        if not borrowing():  # a session of the caller's keeps its idle connection
            server.wait_connected(0)


def test_an_unasked_answer_on_an_idle_connection() -> None:
    """Bytes that nobody asked for make a connection useless: the next call takes another one."""
    sent = threading.Event()

    def script(peer: Peer, request: Request) -> None:
        peer.respond_result(request, RESULT)
        wrong = {"jsonrpc": "2.0", "id": request.id + 1, "result": {"content": [{"type": "text", "text": "wrong"}]}}
        peer.respond_json(wrong)
        sent.set()

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script, RESULT)
        assert client.call_tool("echo").text == "ok"
        assert sent.wait(AT_ONCE)
        assert client.call_tool("echo").text == "ok"
        assert server.accepted == 2


@pytest.mark.parametrize("headers", [{"Connection": "close"}, {"Connection": "Keep-Alive, Close"}])
def test_a_connection_that_the_server_will_close(headers: Mapping[str, str]) -> None:
    """``Connection: close`` is obeyed, so that no call is sent into a closing connection."""

    def script(peer: Peer, request: Request) -> None:
        peer.respond_result(request, RESULT, headers=headers)
        peer.wait_gone()

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        assert [client.call_tool("echo").text for _ in range(3)] == ["ok"] * 3


def test_an_answer_of_http_1_0() -> None:
    """No keep-alive and no length: the body ends with the connection."""

    def script(peer: Peer, request: Request) -> None:
        peer.send(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + json.dumps(result(request)).encode())
        peer.cut()

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        assert [client.call_tool("echo").text for _ in range(2)] == ["ok"] * 2


@pytest.mark.parametrize(
    "wrap",
    [
        lambda body: b"%x;name=value\r\n%b\r\n0\r\nTrailer: x\r\n\r\n" % (len(body), body),
        lambda body: b"%X \r\n%b\r\n000\r\n\r\n" % (len(body), body),
        lambda body: b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n",
    ],
    ids=["extension-and-trailer", "capitals-and-zeros", "one-byte-chunks"],
)
def test_the_chunked_coding_in_full(wrap: Callable[[bytes], bytes]) -> None:
    """Extensions, trailers and every spelling of a size (RFC 9112, section 7.1), with the connection kept."""

    def script(peer: Peer, request: Request) -> None:
        peer.send_head(200, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"})
        peer.send(wrap(json.dumps(result(request)).encode()))

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        assert [client.call_tool("echo").text for _ in range(3)] == ["ok"] * 3
        assert server.accepted == 1


# -- content codings


def _gzip(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(data) + packer.flush()


def test_an_event_stream_in_gzip() -> None:
    """Events come out as the server flushes them, not when the stream ends."""
    go_on = threading.Event()

    def script(peer: Peer, request: Request) -> None:
        packer = zlib.compressobj(wbits=31)
        peer.start_stream(headers={"Content-Encoding": "gzip"})
        peer.write(packer.compress(sse(progress(request, 1))) + packer.flush(zlib.Z_SYNC_FLUSH))
        peer.hold(go_on)
        peer.write(packer.compress(sse(result(request))) + packer.flush())
        peer.end_stream()

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        answer = client.call_tool("echo", on_progress=lambda update: go_on.set())
        assert answer.text == "ok" and go_on.is_set()
        stays_usable(client)


@pytest.mark.parametrize("kind", ["cut short", "not gzip", "unknown coding"])
def test_a_coding_that_does_not_hold(kind: str) -> None:
    """A body that cannot be unpacked is a typed error, never a foreign one."""

    def script(peer: Peer, request: Request) -> None:
        packed = _gzip(json.dumps(result(request)).encode() * 1)
        data = {"cut short": packed[:-12], "not gzip": b"{}" * 40, "unknown coding": packed}[kind]
        coding = "snappy" if kind == "unknown coding" else "gzip"
        peer.respond(200, data, content_type="application/json", headers={"Content-Encoding": coding})

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        with pytest.raises((RemoteProtocolError, TransportError)):
            client.call_tool("echo")
        assert len(server.seen("tools/call")) == 1
        stays_usable(client)


# -- requests that are refused early


def test_a_refusal_before_the_body_was_read() -> None:
    """413 while the request is still being sent is the answer; it is not taken for a lost connection."""
    shaking = RawMCPServer()

    def script(peer: Peer) -> None:
        while peer.open:
            request = peer.read_request(body=False)
            if int(request.header("Content-Length") or 0) < 100_000:
                body = peer._read_exactly(int(request.header("Content-Length") or 0))
                shaking.answer(peer, Request(request.method, request.target, request.headers, body, peer.number))
                continue
            peer.respond(413, b"too much", content_type="text/plain", headers={"Connection": "close"})
            peer.hold()  # not closed: that would reset the connection, and could take the answer with it

    with shaking, RawServer(script) as server, open_client(server) as client:
        with pytest.raises(HTTPStatusError) as caught:
            client.call_tool("echo", {"say": "x" * 16_000_000})
        assert (caught.value.status, caught.value.body) == (413, b"too much")
        stays_usable(client)


# -- requests of the server, on a stream that breaks


def _ask(request_id: str = "s-1") -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": "roots/list"}


def _not_listening(script: Script) -> Script:
    """A client that can be asked listens too; to that GET this server says 405, to a resuming one ``script``."""

    def choose(peer: Peer, request: Request) -> None:
        if request.header("Last-Event-ID") is None:
            peer.respond(405)
        else:
            script(peer, request)

    return choose


def test_events_that_arrive_while_a_request_is_served() -> None:
    """What comes meanwhile is handed out afterwards, in order and once, and the cursor follows that."""
    arrived = threading.Event()
    asked = threading.Event()
    seen: list[float] = []
    cursors: list[str | None] = []

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        first = sse(progress(request, 1), id="e-1") + sse(_ask(), id="e-2") + sse(progress(request, 2), id="e-3")
        peer.write(first)
        peer.hold(asked)
        peer.write(sse(progress(request, 3), id="e-4") + sse(progress(request, 4)))
        peer.write(sse(progress(request, 5), id="e-5") + b"id: e-6\ndata: {")
        arrived.set()
        peer.cut()

    def roots() -> list[str]:
        asked.set()
        assert arrived.wait(AT_ONCE)
        return []

    def resumed(peer: Peer, request: Request) -> None:
        (call,) = server.seen("tools/call")
        peer.start_stream()
        peer.event(progress(call, 6), id="e-6")
        peer.event(result(call), id="e-7")
        peer.end_stream()

    with RawMCPServer() as server, open_client(server, roots=roots) as client:
        server.on("tools/call", script)
        server.on("GET", _not_listening(resumed))
        with client.stream_tool("echo") as call:
            for event in call:
                assert isinstance(event, Progress)
                seen.append(event.progress)
                cursors.append(call.cursor.last_event_id if call.cursor else None)
            assert call.result.text == "ok"
        assert [get.header("Last-Event-ID") for get in server.seen("GET")][-1:] == ["e-5"]
        (answer,) = server.seen("response")
        assert answer.json == {"jsonrpc": "2.0", "id": "s-1", "result": {"roots": []}}
    assert seen == [1, 2, 3, 4, 5, 6]
    assert cursors == ["e-1", "e-3", "e-4", "e-4", "e-5", "e-6"]


def test_nonsense_that_arrives_while_a_request_is_served() -> None:
    """It is not lost: the call ends with the error when its turn comes."""
    arrived, asked = threading.Event(), threading.Event()
    seen: list[float] = []

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(_ask(), id="e-1")
        peer.hold(asked)
        peer.event(progress(request, 1), id="e-2")
        peer.event("nonsense", id="e-3")
        peer.event_result(request, RESULT, id="e-4")
        arrived.set()
        peer.end_stream()

    def roots() -> list[str]:
        asked.set()
        assert arrived.wait(AT_ONCE)
        return []

    with RawMCPServer() as server, open_client(server, roots=roots) as client:
        server.on("tools/call", script)
        with pytest.raises(RemoteProtocolError):
            client.call_tool("echo", on_progress=lambda update: seen.append(update.progress))
        assert seen == [1]
        stays_usable(client)


def test_a_request_that_the_server_takes_back_is_not_answered() -> None:
    """``notifications/cancelled`` for its own request came while the callback ran: no answer is sent."""
    arrived, asked = threading.Event(), threading.Event()

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(_ask())
        peer.hold(asked)
        params = {"requestId": "s-1", "reason": "changed my mind"}
        peer.event({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})
        arrived.set()
        peer.event_result(request, RESULT)
        peer.end_stream()

    def roots() -> list[str]:
        asked.set()
        assert arrived.wait(AT_ONCE)
        return []

    with RawMCPServer() as server, open_client(server, roots=roots) as client:
        server.on("tools/call", script)
        assert client.call_tool("echo").text == "ok"
        assert not server.seen("response")


def test_a_request_that_is_sent_twice_over_a_break() -> None:
    """The server replays its request on the resumed stream, from before the cursor: it is answered once."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(_ask(), id="e-1")
        server.wait_for(lambda seen: any(request.key == "response" for request in seen))
        peer.cut()

    def replayed(peer: Peer, request: Request) -> None:
        (call,) = server.seen("tools/call")
        peer.start_stream()
        peer.event(_ask(), id="e-1")
        peer.event(result(call), id="e-2")
        peer.end_stream()

    with RawMCPServer() as server, open_client(server, roots=list) as client:
        server.on("tools/call", script)
        server.on("GET", _not_listening(replayed))
        assert client.call_tool("echo").text == "ok"
        assert len(server.seen("response")) == 1


@pytest.mark.parametrize("status", [400, 500])
def test_an_answer_that_the_server_does_not_take(status: int) -> None:
    """The server asks and then refuses the answer: the call goes on, or ends with a typed error."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(_ask())
        server.wait_for(lambda seen: any(request.key == "response" for request in seen))
        peer.event_result(request, RESULT)
        peer.end_stream()

    with RawMCPServer() as server, open_client(server, roots=list) as client:
        server.on("tools/call", script)
        server.on("response", lambda peer, request: peer.respond(status))
        try:
            assert client.call_tool("echo").text == "ok"
        except StreamHTTPError as error:
            assert getattr(error, "status", None) == status
        stays_usable(client)


# -- another process


def test_a_call_is_taken_up_by_another_client() -> None:
    """Cursor and session as JSON are enough for a client that knows nothing else."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event(progress(request, 1), id="e-1")
        peer.hold()

    breaks = itertools.count()

    def resumed(peer: Peer, request: Request) -> None:
        (call,) = server.seen("tools/call")
        peer.start_stream()
        if next(breaks):
            peer.event(progress(call, 3), id="e-3")
            peer.event(result(call), id="e-4")
        else:
            peer.event(progress(call, 2), id="e-2")
        peer.end_stream()

    seen: list[float] = []
    with RawMCPServer() as server:
        server.on("tools/call", script)
        server.on("GET", resumed)
        client = open_client(server)
        with client.stream_tool("echo") as call:
            for _ in call:
                saved = client.session.to_json()
                cursor = call.cursor
                break
            client.close(end_session=False)
        assert cursor is not None
        assert Session.from_json(saved).cursors == (cursor,)
        with Client.resume(saved, retry=RetryPolicy(base=0), timeout=10) as later:
            got = later.resume_call(cursor.to_json(), on_progress=lambda update: seen.append(update.progress))
            assert got.text == "ok"
        assert [get.header("Last-Event-ID") for get in server.seen("GET")] == ["e-1", "e-2"]
        assert {get.header("MCP-Session-Id") for get in server.seen("GET")} == {"session-1"}
        assert len(server.seen("initialize")) == 1 and len(server.seen("tools/call")) == 1
    assert seen == [2, 3]
