"""One exchange on a connection of our own: reuse, parking, silence, uploads, forks and threads."""

from __future__ import annotations

import gzip
import os
import select
import socket
import threading
from collections.abc import Iterable, Iterator

import pytest

from streamhttp_client import ClientClosed, ConnectionFailed, ConnectionLost, ReadTimeout, TransportError
from streamhttp_client.net import pool
from streamhttp_client.net.http import HTTP
from streamhttp_client.net.interrupt import Interrupt
from streamhttp_client.net.timeouts import Timeout
from tests.net._send import BOUND, fetch, send
from tests.support.rawserver import Peer, RawServer, refusing_port
from tests.transport._faults import AT_ONCE, InThread, within

SHORT = Timeout(read=0.1)


@pytest.fixture
def http() -> Iterator[HTTP]:
    http = HTTP()
    yield http
    http.close()


def echo(peer: Peer) -> None:
    """Answer each request with its own body, on one connection."""
    while peer.open:
        request = peer.read_request()
        peer.respond(200, request.body)


# --- reuse


def test_a_connection_serves_again(http: HTTP) -> None:
    """L25-12, what ends with its length or last chunk leaves a connection for the next request; closing ends it."""

    def chunked(peer: Peer) -> None:
        while peer.open:
            peer.read_request()
            peer.start_stream()
            peer.write(b"chunk")
            peer.end_stream()

    for script, expected in ((echo, b""), (chunked, b"chunk")):
        with RawServer(script) as server:
            for _ in range(5):
                assert fetch(http, server.url) == (200, expected)
            assert server.accepted == 1
            http._pools.popitem()[1].close()
            http._targets.clear()
            server.wait_connected(0)


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("GET", 204), ("POST", 204), ("GET", 304)]
)
def test_answers_without_a_body(http: HTTP, method: str, status: int) -> None:
    """Whatever length they name, nothing is waited for, and the connection serves again."""

    def script(peer: Peer) -> None:
        while peer.open:
            peer.read_request()
            peer.send_head(status, {"Content-Length": "1000", "Content-Encoding": "gzip"})

    with RawServer(script) as server:
        for _ in range(3):
            assert fetch(http, server.url, method) == (status, b"")
        assert server.accepted == 1


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nmore",
    ],
    ids=["close", "http-1.0", "both-framings", "more-after-length", "more-after-chunks"],
)
def test_connections_that_must_not_serve_again(http: HTTP, head: bytes) -> None:
    """The peer says so, or has said things that nobody asked for: the next request goes out on a new one."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head)
        peer.wait_gone()

    with RawServer(script) as server:
        for _ in range(2):
            assert fetch(http, server.url) == (200, b"ok")
        assert server.accepted == 2
        http.close()
        server.wait_connected(0)


def test_bytes_that_nobody_asked_for(http: HTTP) -> None:
    """What arrives between two answers is not taken for the next one."""
    said = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.respond(200, b"first")
        if peer.number == 1:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
            said.set()
            peer.wait_gone()

    with RawServer(script) as server:
        assert fetch(http, server.url) == (200, b"first")
        assert said.wait(BOUND)
        assert fetch(http, server.url) == (200, b"first")
        assert server.accepted == 2
        server.wait_connected(0)


def test_an_idle_connection_that_was_closed(http: HTTP) -> None:
    """A connection that the peer closed while it was idle is replaced without a word."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.respond(200, b"ok")
        peer.cut()

    with RawServer(script) as server:
        for _ in range(3):
            assert fetch(http, server.url) == (200, b"ok")
            server.wait_connected(0)
        assert server.accepted == 3


def test_an_idle_connection_that_closes_under_the_request(http: HTTP) -> None:
    """Whether the request ran is not known then, and it is not sent a second time."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.respond(200, b"ok")
        peer.read_request()
        peer.cut()

    with RawServer(script) as server:
        fetch(http, server.url)
        with pytest.raises(ConnectionLost) as caught:
            fetch(http, server.url, "POST", b"{}")
        assert caught.value.may_have_executed
        assert len(server.requests) == 2


def test_a_connection_that_was_idle_for_too_long(http: HTTP, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers close idle connections after a minute at the latest: an older one is not tried."""
    with RawServer(echo) as server:
        fetch(http, server.url)
        monkeypatch.setattr(pool, "_MAX_IDLE_SECONDS", -1.0)
        fetch(http, server.url)
        assert server.accepted == 2
        server.wait_connected(1)


# --- parking


@pytest.mark.parametrize("rest", [b"0\r\n\r\n", b"5\r\nafter\r\n0\r\n\r\n", b"0\r\ntrailer: x\r\n\r\n"])
def test_a_parked_answer_that_ends_by_the_next_request(http: HTTP, rest: bytes) -> None:
    """H25-09: what was understood before its end does not cost the next request a connection, nor any time."""
    go, done = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.start_stream()
        peer.write(b"data: 1\n\n")
        peer.hold(go)
        peer.send(rest)
        done.set()
        echo(peer)

    with RawServer(script) as server:
        response = send(http, server.url)
        assert response.body.read1(timeout=BOUND) == b"data: 1\n\n"
        response.body.close()
        go.set()
        assert done.wait(BOUND)
        assert fetch(http, server.url, "POST", b"next") == (200, b"next")
        assert server.accepted == 1


@pytest.mark.parametrize("rest", [b"", b"5\r\naf", b"40000\r\n" + b"x" * 200_000, b"nonsense\r\n", b"0\r\n\r\nmore"])
def test_a_parked_answer_that_goes_on(http: HTTP, rest: bytes) -> None:
    """One that never ends, brings much more, or lies, is dropped when the next request comes; nobody waits for it."""
    got, sent = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        if peer.number > 1:
            echo(peer)
        peer.read_request()
        peer.start_stream()
        peer.write(b"data: 1\n\n")
        peer.hold(got)
        peer.send(rest)
        sent.set()
        peer.wait_gone()

    with RawServer(script) as server:
        response = send(http, server.url)
        assert response.body.read1(timeout=BOUND)
        got.set()
        assert sent.wait(BOUND)
        response.body.close()
        with within(AT_ONCE):
            assert fetch(http, server.url, "POST", b"next") == (200, b"next")
        assert server.accepted == 2
        server.wait_connected(1)


def test_an_abandoned_answer_is_cut(http: HTTP) -> None:
    """Of a long answer that nobody wants any more, the connection is closed at once."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.start_stream()
        peer.write(b"much more to come")
        peer.wait_gone()

    with RawServer(script) as server:
        response = send(http, server.url)
        response.body.read1(timeout=BOUND)
        response.body.abandon()
        server.wait_connected(0)


def test_closing_leaves_no_connection() -> None:
    """L25-12: idle and parked connections end with the client; one in use ends when it is given back."""
    with RawServer(echo) as server:
        http = HTTP()
        fetch(http, server.url)
        busy = send(http, server.url, "POST", b"x" * 10)
        server.wait_connected(1)
        http.close()
        busy.body.read_all(100, lambda: BOUND)
        busy.body.close()
        server.wait_connected(0)


# --- reading


@pytest.mark.parametrize("chunked", [True, False])
def test_pieces_come_as_they_arrive(http: HTTP, chunked: bool) -> None:
    """Each piece is handed out before the next one is sent, whatever the framing."""
    got = [threading.Event() for _ in range(5)]

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.start_stream(chunked=chunked)
        for number, event in enumerate(got):
            peer.write(b"%d" % number)
            peer.hold(event)
        peer.end_stream()

    with RawServer(script) as server:
        response = send(http, server.url)
        for number, event in enumerate(got):
            assert response.body.read1(timeout=BOUND) == b"%d" % number
            event.set()
        assert response.body.read1(timeout=BOUND) == b""
        assert response.body.read1(timeout=BOUND) == b""


@pytest.mark.parametrize("flush", [True, False])
def test_gzip_comes_as_it_arrives(http: HTTP, flush: bool) -> None:
    """A coded body is decoded piece by piece, and is whole at its end."""
    data = gzip.compress(b"first") + gzip.compress(b"second")

    def script(peer: Peer) -> None:
        while peer.open:
            request = peer.read_request()
            assert "gzip" in (request.header("Accept-Encoding") or "")
            peer.start_stream(headers={"Content-Encoding": "gzip"})
            for at in range(0, len(data), 1 if flush else len(data)):
                peer.write(data[at : at + 1] if flush else data)
            peer.end_stream()

    with RawServer(script) as server:
        for _ in range(2):
            assert fetch(http, server.url) == (200, b"firstsecond")
        assert server.accepted == 1


def test_gzip_that_stops_in_the_middle(http: HTTP) -> None:
    """The length was right and the coded data was not whole: the answer is lost all the same."""
    data = gzip.compress(b"text" * 1000)[:-9]

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.respond(200, data, headers={"Content-Encoding": "gzip"})

    with RawServer(script) as server, pytest.raises(ConnectionLost, match="gzip"):
        fetch(http, server.url)


def test_a_silence_can_be_outlived(http: HTTP) -> None:
    """After ReadTimeout the body can be read on."""
    go = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.start_stream()
        peer.hold(go)
        peer.write(b"late")
        peer.end_stream()

    with RawServer(script) as server:
        response = send(http, server.url)
        with pytest.raises(ReadTimeout, match="silent for 0.05 s"):
            response.body.read1(timeout=0.05)
        go.set()
        assert response.body.read1(timeout=BOUND) == b"late"
        assert response.body.read1(timeout=BOUND) == b""


def test_no_time_left(http: HTTP) -> None:
    """L25-07: nothing is begun when the time is over already, and 0 seconds are not taken for no limit."""
    with RawServer(echo) as server:
        with pytest.raises(ConnectionFailed):
            send(http, server.url, total=1e-9)
        assert server.accepted == 0
        response = send(http, server.url, "POST", b"x" * 3)
        assert response.body.read1(timeout=BOUND) == b"xxx"
        with pytest.raises(TransportError) as caught:
            send(http, server.url, total=1e-9)
        assert not caught.value.may_have_executed
        assert len(server.requests) == 1


def test_a_lost_body_stays_lost(http: HTTP) -> None:
    """Each further read says the same; what arrived before was handed out before."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send_head(200, {"Content-Length": "10"})
        peer.send(b"only")
        peer.cut()

    with RawServer(script) as server:
        response = send(http, server.url)
        assert response.body.read1(timeout=BOUND) == b"only"
        for _ in range(3):
            with pytest.raises(ConnectionLost, match="after 4 bytes, expected 10"):
                response.body.read1(timeout=BOUND)
        response.body.close()


@pytest.mark.parametrize("chunked", [True, False])
def test_reading_into_a_buffer(http: HTTP, chunked: bool) -> None:
    """The same bytes come through a buffer that is used over and over."""
    data = os.urandom(500_000)

    def script(peer: Peer) -> None:
        peer.read_request()
        if chunked:
            peer.start_stream()
            for at in range(0, len(data), 7001):
                peer.write(data[at : at + 7001])
            peer.end_stream()
        else:
            peer.respond(200, data)

    with RawServer(script) as server:
        response = send(http, server.url)
        buffer, got = bytearray(65536), b""
        while piece := bytes(response.body.read1_into(buffer, timeout=BOUND)):
            got += piece
        assert got == data


# --- sending


def test_a_body_of_known_length_in_pieces(http: HTTP) -> None:
    """With a length, the pieces go out as they are, asked for one at a time."""
    asked: list[int] = []

    def pieces() -> Iterable[bytes]:
        for number in range(3):
            asked.append(number)
            yield b"piece"

    with RawServer(echo) as server:
        answer = fetch(http, server.url, "PUT", pieces, headers={"content-length": "15"})
        assert answer == (200, b"piece" * 3)
        assert server.requests[0].header("Transfer-Encoding") is None
        assert asked == [0, 1, 2]


def test_a_body_of_unknown_length_in_chunks(http: HTTP) -> None:
    """Without one, they go out in chunks; an empty piece is no end."""
    with RawServer(echo) as server:
        assert fetch(http, server.url, "PUT", lambda: [b"a", b"", b"bc"]) == (200, b"abc")
        assert server.requests[0].header("Transfer-Encoding") == "chunked"
        assert server.requests[0].header("Content-Length") is None
        assert fetch(http, server.url, "PUT", lambda: []) == (200, b"")
        assert server.accepted == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_no_body_has_length_0(http: HTTP, method: str) -> None:
    """RFC 9110, section 8.6: methods that usually have a body say that there is none."""
    with RawServer(echo) as server:
        fetch(http, server.url, method)
        assert server.requests[0].header("Content-Length") == "0"


def test_a_large_body_arrives_whole(http: HTTP) -> None:
    """Head and body may go out in one packet or in many."""
    with RawServer(echo) as server:
        for size in (1, 65_000, 66_000, 3_000_000):
            body = os.urandom(size)
            assert fetch(http, server.url, "POST", body) == (200, body)


@pytest.mark.parametrize("ending", ["drain", "cut", "reset"])
@pytest.mark.parametrize("form", ["bytes", "pieces"])
def test_an_answer_before_the_upload_is_over(http: HTTP, ending: str, form: str) -> None:
    """413 while the body is on its way is the answer, and not a lost connection (RFC 9112, section 9.5)."""

    def script(peer: Peer) -> None:
        peer._read_until(b"\r\n\r\n")
        peer.respond(413, b"too large", headers={"Connection": "close"})
        if ending == "drain":
            peer._sock.shutdown(socket.SHUT_WR)
            peer.hold()
        elif ending == "cut":
            peer.cut()
        else:
            peer.reset()

    size = 20_000_000
    body = bytes(size) if form == "bytes" else lambda: (bytes(100_000) for _ in range(size // 100_000))
    with RawServer(script) as server:
        assert fetch(http, server.url, "POST", body) == (413, b"too large")
        assert fetch(http, server.url, "POST", body)[0] == 413  # on another connection
        assert server.accepted == 2


def test_a_peer_that_reads_no_more(http: HTTP) -> None:
    """A body that cannot be sent in time was surely not executed, and the connection is not used again."""

    def script(peer: Peer) -> None:
        peer._read_until(b"\r\n\r\n")
        peer.hold(threading.Event())

    with RawServer(script) as server:
        with pytest.raises(ReadTimeout) as caught:
            fetch(http, server.url, "POST", bytes(50_000_000), timeout=SHORT)
        assert not caught.value.may_have_executed


def test_a_body_whose_pieces_fail(http: HTTP) -> None:
    """The caller's own error comes out as it is, and the half-sent request ends with its connection."""

    def pieces() -> Iterable[bytes]:
        yield b"first"
        raise RuntimeError("the disk is gone")

    with RawServer(lambda peer: echo(peer)) as server:
        with pytest.raises(RuntimeError, match="the disk is gone"):
            fetch(http, server.url, "POST", pieces)
        server.wait_connected(0)
        assert fetch(http, server.url, "POST", b"next") == (200, b"next")


# --- connecting


def test_nobody_listens(http: HTTP) -> None:
    """A refused connection says where, and that nothing was sent."""
    with refusing_port() as held:
        port = held.getsockname()[1]
        with pytest.raises(ConnectionFailed, match=f"127.0.0.1:{port}: Connection refused") as caught:
            fetch(http, f"http://127.0.0.1:{port}/")
        assert not caught.value.may_have_executed


def test_a_name_that_is_none(http: HTTP) -> None:
    """RFC 6761: names under ``.invalid`` are never found."""
    with pytest.raises(ConnectionFailed, match="no connection to nobody.invalid:80"):
        fetch(http, "http://nobody.invalid/")


def test_ipv6() -> None:
    """An address in brackets is connected to, and named so in ``Host``."""

    class Server6(RawServer):
        def __init__(self) -> None:
            super().__init__(echo)
            self._listener.close()
            self._listener = socket.create_server(("::1", 0), family=socket.AF_INET6, backlog=128)
            self.port = self._listener.getsockname()[1]
            self.url = f"http://[::1]:{self.port}/mcp"

    try:
        server = Server6()
    except OSError:
        pytest.skip("this machine has no IPv6 on loopback")
    http = HTTP()
    with server:
        assert fetch(http, server.url, "POST", b"six") == (200, b"six")
        assert server.requests[0].header("Host") == f"[::1]:{server.port}"
        http.close()


# --- interrupts


def _silent_head(peer: Peer) -> None:
    peer.read_request()
    peer.hold()


def _silent_body(peer: Peer) -> None:
    peer.read_request()
    peer.start_stream()
    peer.write(b"first")
    peer.hold()


def _unread_request(peer: Peer) -> None:
    peer._read_until(b"\r\n\r\n")
    peer.server._record(None)  # type: ignore[arg-type]  # so that wait_for() below is woken
    peer.hold(threading.Event())


@pytest.mark.parametrize("script", [_silent_head, _silent_body, _unread_request])
def test_an_interrupt_wakes_an_exchange(http: HTTP, script: object) -> None:
    """Wherever it is blocked: sending, waiting for the head, or in the body; and the connection is closed."""
    with RawServer(script) as server:  # type: ignore[arg-type]
        interrupt = Interrupt()
        body = bytes(50_000_000) if script is _unread_request else b""
        thread = InThread(lambda: fetch(http, server.url, "POST", body, interrupt=interrupt))
        server.wait_for(lambda seen: len(seen) == 1)
        interrupt.fire()
        thread.join(AT_ONCE)
        assert isinstance(thread.error, ClientClosed)
        if script is not _unread_request:
            server.wait_connected(0)


def test_an_interrupt_wakes_a_handshake(http: HTTP) -> None:
    """A TLS handshake that the peer never answers is left at once."""
    began = threading.Event()

    def script(peer: Peer) -> None:
        peer._receive()  # the client's first flight
        began.set()
        peer.hold()

    with RawServer(script) as server:
        interrupt = Interrupt()
        url = server.url.replace("http:", "https:")
        timeout = Timeout(connect=1.0)
        thread = InThread(lambda: fetch(http, url, interrupt=interrupt, timeout=timeout))
        assert began.wait(BOUND)
        interrupt.fire()
        thread.join(AT_ONCE)
        assert isinstance(thread.error, ClientClosed)
        server.wait_connected(0)  # what was left behind ends by its own limit


def test_an_interrupt_that_came_before(http: HTTP) -> None:
    """What was closed before it began is not sent."""
    with RawServer(echo) as server:
        interrupt = Interrupt()
        interrupt.fire()
        with pytest.raises(ClientClosed):
            fetch(http, server.url, interrupt=interrupt)
        assert server.requests == []


def test_an_interrupt_does_not_hit_the_next_exchange(http: HTTP) -> None:
    """Fired after the end, it does nothing to the connection that serves somebody else by then."""
    with RawServer(echo) as server:
        for number in range(50):
            interrupt = Interrupt()
            fetch(http, server.url, interrupt=interrupt)
            fire = threading.Thread(target=interrupt.fire)
            fire.start()
            body = b"%d" % number
            assert fetch(http, server.url, "POST", body) == (200, body)
            fire.join()


# --- threads and forks


def test_many_threads_share_it(http: HTTP) -> None:
    """H25-16: each of 16 threads gets the answers to its own requests, on connections that nobody shares."""

    def work(name: int) -> None:
        for number in range(25):
            body = b"%d-%d" % (name, number)
            assert fetch(http, server.url, "POST", body) == (200, body)

    with RawServer(echo) as server:
        threads = [InThread(lambda name=name: work(name)) for name in range(16)]  # type: ignore[misc]
        for thread in threads:
            thread.join(BOUND)
        assert [thread.error for thread in threads] == [None] * 16
        assert server.accepted <= 16
        assert len(server.requests) == 16 * 25


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_makes_its_own_connections(http: HTTP) -> None:
    """Two processes that speak on one connection would read each other's answers."""
    with RawServer(echo) as server:
        fetch(http, server.url, "POST", b"parent")
        assert server.accepted == 1
        readable, writable = os.pipe()
        child = os.fork()
        if child == 0:  # nothing but this may run in the child, and never an exception of its own
            try:
                answers = [fetch(http, server.url, "POST", b"child %d" % number) for number in range(2)]
                os.write(writable, repr(answers).encode())
            except BaseException as error:
                os.write(writable, repr(error).encode())
            finally:
                os._exit(0)
        os.close(writable)
        ready, _, _ = select.select([readable], [], [], BOUND)
        said = os.read(readable, 10_000) if ready else b"nothing"
        os.close(readable)
        os.waitpid(child, 0)
        assert said == repr([(200, b"child 0"), (200, b"child 1")]).encode()
        assert {request.connection for request in server.requests if request.body.startswith(b"child")} == {2}
        assert fetch(http, server.url, "POST", b"parent again") == (200, b"parent again")
        assert server.requests[-1].connection == 1


def test_an_answer_before_the_request_was_whole_says_so(http: HTTP) -> None:
    """A 200 that comes before the body has gone out is not about that body: the response tells."""

    def script(peer: Peer) -> None:
        peer._receive()  # the head and some of the body
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        peer.reset()

    size = 64 * 1024 * 1024
    with RawServer(script) as server:
        response = send(http, server.url, "POST", bytes(size))
        assert response.status == 200 and response.request_sent is False
        response.body.close()
