"""Loopback servers whose every byte is written by the test.

Real servers will not cut a stream between CR and LF, answer with somebody else's id, or stay silent for ever.
Here a *script*, a plain function, plays the server on a socket::

    def cut_in_the_body(peer: Peer) -> None:
        peer.read_request()
        peer.send_head(200, {"Content-Length": "100"})
        peer.send(b"only this")
        peer.cut()

    with RawServer(cut_in_the_body) as server:
        ...                                                   # talk to server.url
        server.wait_for(lambda seen: len(seen) == 2)          # never sleep: wait for what must come

`RawMCPServer` plays a well-behaved MCP server of the session era, in which a test overrides single answers::

    with RawMCPServer() as server:
        server.on("tools/call", cut_before_any_event, {"content": []})  # first attempt, later ones

`ModernMCPServer` is the same for the stateless era, and refuses what a server of 2026-07-28 must refuse.

Threads: one accepts, and one per connection runs its script. Leaving the ``with`` block closes every socket,
joins every thread within `JOIN_SECONDS`, and raises the first error that a script raised. A peer that goes
away is no error: it ends the script quietly.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any

from typing_extensions import Self

__all__ = [
    "Answer",
    "ModernMCPServer",
    "Peer",
    "PeerGone",
    "RawMCPServer",
    "RawServer",
    "Request",
    "refusing_port",
    "rpc_refusal",
    "sse",
]

WAIT_SECONDS = 20.0  # Bound of every wait in here. A test that meets it has failed; none should come near.
JOIN_SECONDS = 5.0
_GRACE_SECONDS = 2.0  # For the end that a script waits for to arrive; passes in full only if it never does.
_POLL_SECONDS = 0.02  # How soon a wait on a test's own event notices that the server is being closed.

HeadersLike = Mapping[str, str] | Sequence[tuple[str, str]]


class PeerGone(Exception):
    """The client closed, reset or half-closed its connection; ends a script without failing the test."""


@dataclass(frozen=True)
class Request:
    """One HTTP request as it came.

    Attributes:
        connection: Which accepted connection carried it, counted from 1.
        headers: In wire order, repeated names and all.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    connection: int

    def header(self, name: str) -> str | None:
        """The value of ``name``, repeated lines joined with a comma; None if it did not come."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(found) if found else None

    @property
    def json(self) -> Any:
        """The body as JSON; None if it is empty or none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def key(self) -> str:
        """What `RawMCPServer.on` goes by: the JSON-RPC method, "response" for one, else the HTTP method."""
        message = self.json
        if self.method != "POST" or not isinstance(message, dict):
            return self.method
        return str(message.get("method", "response"))

    @property
    def id(self) -> Any:
        """The JSON-RPC id, or None."""
        message = self.json
        return message.get("id") if isinstance(message, dict) else None


def sse(
    data: Any = None, *, id: str | None = None, event: str | None = None, retry: int | None = None
) -> bytes:
    """One SSE block. ``data`` is sent as it is if it is a string, else as JSON; None leaves the field out."""
    lines = []
    if event is not None:
        lines.append(f"event: {event}")
    if id is not None:
        lines.append(f"id: {id}")
    if retry is not None:
        lines.append(f"retry: {retry}")
    if data is not None:
        text = data if isinstance(data, str) else json.dumps(data)
        lines.extend(f"data: {line}" for line in text.split("\n"))
    return ("\n".join(lines) + "\n\n").encode()


def refusing_port() -> socket.socket:
    """A socket that is bound and does not listen: its port refuses connections for as long as it is open."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    return held


def _header_items(headers: HeadersLike | None) -> Iterable[tuple[str, str]]:
    if headers is None:
        return ()
    return headers.items() if isinstance(headers, Mapping) else headers


def _head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    reason = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unnamed"
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Peer:
    """One accepted connection, as its script drives it.

    A Peer belongs to the thread of its script, except `cut`, which any thread may call.

    Attributes:
        server: The server that accepted it.
        number: Which connection this is, counted from 1.
        open: False once this side has cut or must not reuse the connection.
        expects_end: True while the script insists on the client's closing.
        dropped: True once the server, being closed itself, has ended the connection.
    """

    def __init__(self, server: RawServer, sock: socket.socket, number: int) -> None:
        self.number = number
        self.open = True
        self.expects_end = False
        self.dropped = False
        self.server = server
        self._sock = sock
        self._thread: threading.Thread | None = None  # the script's, once it runs
        self._received = bytearray()
        self._chunked = False

    # -- reading

    def read_request(self, *, body: bool = True) -> Request:
        """Read one whole request, and record it.

        Args:
            body: False leaves the body on the socket; the request is recorded without it.

        Raises:
            PeerGone: The client closed before a whole request had come.
        """
        head = self._read_until(b"\r\n\r\n").decode("latin-1")
        start, *lines = head.rstrip("\r\n").split("\r\n")
        method, target, _version = start.split(" ")
        headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
        fields = {name.lower(): value for name, value in headers}
        content = b""
        if body and "chunked" in fields.get("transfer-encoding", "").lower():
            content = self._read_chunked()
        elif body:
            content = self._read_exactly(int(fields.get("content-length", "0")))
        request = Request(method, target, headers, content, self.number)
        self.server._record(request)
        return request

    def _read_chunked(self) -> bytes:
        parts = []
        while size := int(self._read_until(b"\r\n").split(b";")[0], 16):
            parts.append(self._read_exactly(size))
            self._read_exactly(2)
        while self._read_until(b"\r\n") != b"\r\n":
            pass  # trailers
        return b"".join(parts)

    def _read_until(self, mark: bytes) -> bytes:
        while (at := self._received.find(mark)) < 0:
            self._receive()
        return self._take(at + len(mark))

    def _read_exactly(self, size: int) -> bytes:
        while len(self._received) < size:
            self._receive()
        return self._take(size)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    def _receive(self) -> None:
        try:
            data = self._sock.recv(65536)
        except TimeoutError:
            raise self._overdue("the client sent nothing") from None
        except OSError as error:
            raise PeerGone(str(error)) from error
        if not data:
            raise PeerGone("closed by the client")
        self._received += data

    # -- writing

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        try:
            self._sock.sendall(data)
        except TimeoutError:
            raise self._overdue("the client read nothing") from None
        except OSError as error:
            raise PeerGone(str(error)) from error

    def drip(self, data: bytes, size: int = 1) -> None:
        """Send bytes in segments of ``size``; each leaves at once, as TCP_NODELAY is set."""
        for start in range(0, len(data), size):
            self.send(data[start : start + size])

    def send_head(self, status: int, headers: HeadersLike | None = None) -> None:
        """Send a status line and headers, and the blank line after them. Also good for 1xx."""
        self.send(_head(status, _header_items(headers)))

    def respond(
        self,
        status: int = 200,
        body: bytes = b"",
        *,
        content_type: str | None = None,
        headers: HeadersLike | None = None,
    ) -> None:
        """Send a whole answer with a Content-Length, head and body in one segment."""
        items = list(_header_items(headers))
        if content_type is not None:
            items.append(("Content-Type", content_type))
        if status >= 200 and status != 204:
            items.append(("Content-Length", str(len(body))))
        self.send(_head(status, items) + body)

    def respond_json(self, value: Any, status: int = 200, *, headers: HeadersLike | None = None) -> None:
        """Send a whole JSON answer."""
        self.respond(status, json.dumps(value).encode(), content_type="application/json", headers=headers)

    def respond_result(self, request: Request, result: Any, *, headers: HeadersLike | None = None) -> None:
        """Send ``result`` as the JSON-RPC answer to ``request``, as one JSON body."""
        self.respond_json({"jsonrpc": "2.0", "id": request.id, "result": result}, headers=headers)

    # -- streaming

    def start_stream(
        self,
        status: int = 200,
        *,
        chunked: bool = True,
        content_type: str = "text/event-stream",
        headers: HeadersLike | None = None,
    ) -> None:
        """Send the head of a body without a length: chunked, or (``chunked=False``) ended by closing."""
        framing = ("Transfer-Encoding", "chunked") if chunked else ("Connection", "close")
        self.send_head(status, [("Content-Type", content_type), framing, *_header_items(headers)])
        self._chunked = chunked
        self.open = self.open and chunked

    def write(self, data: bytes) -> None:
        """Send a piece of the body that `start_stream` began, as one chunk if it is chunked."""
        self.send(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data)

    def event(
        self, data: Any = None, *, id: str | None = None, event: str | None = None, retry: int | None = None
    ) -> None:
        """Send one SSE block as one piece of the body."""
        self.write(sse(data, id=id, event=event, retry=retry))

    def comment(self, text: str = "keep-alive") -> None:
        """Send one SSE comment."""
        self.write(f": {text}\n\n".encode())

    def event_result(self, request: Request, result: Any, *, id: str | None = None) -> None:
        """Send ``result`` as an SSE event that answers ``request``."""
        self.event({"jsonrpc": "2.0", "id": request.id, "result": result}, id=id)

    def end_stream(self) -> None:
        """End the body: the last chunk, or FIN."""
        if self._chunked:
            self.send(b"0\r\n\r\n")
        else:
            self.cut()

    # -- silence and ends

    def hold(self, until: threading.Event | None = None) -> None:
        """Stay silent: until ``until`` is set, or without it until the client or the server closes.

        Bytes that the client sends meanwhile stay unread if ``until`` is given, and are dropped otherwise.
        """
        if until is None:
            while True:
                self._receive()
                self._received.clear()
        for _ in range(int(WAIT_SECONDS / _POLL_SECONDS)):
            if until.wait(_POLL_SECONDS):
                return
            if self.server.closing:
                raise PeerGone("the server is closing")
        raise self._overdue("held and never released")

    def wait_gone(self) -> None:
        """Wait until the client has closed this connection.

        Raises:
            AssertionError: The server was closed first, or the bound passed.
        """
        self.expects_end = True
        try:
            self.hold()
        except PeerGone:
            if self.dropped:
                raise AssertionError(f"connection {self.number}: the client never closed it") from None

    def _ended(self) -> bool:
        """Whether the client has closed this connection; what it sent before is dropped, for it hides the end."""
        try:
            # Of its own timeout: the script's thread may be faster, and reading would then wait for more.
            with self._sock.dup() as sock:
                sock.settimeout(0.0)
                wait = 0.0
                for _ in range(10_000):  # hundreds of megabytes: a client that still sends has not closed
                    if not select.select([sock], [], [], wait)[0]:
                        return False
                    with contextlib.suppress(BlockingIOError):
                        if not sock.recv(1 << 16):
                            return True
                        wait = _POLL_SECONDS  # for what the client's side still holds
                return False
        except (OSError, ValueError):  # reset by the client, or closed here
            return True
        except NotImplementedError:  # TLS has no copy; whoever speaks it is given the benefit of the doubt
            return True

    def cut(self) -> None:
        """Close with FIN: the client reads what was sent, then the end."""
        self.open = False
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the client was faster
        if threading.current_thread() is self._thread:
            # Another thread leaves that to the script's own, which has been woken: it may be about to wait for this
            # socket by its number, and a closed number is given out again.
            self._sock.close()

    def reset(self) -> None:
        """Close with RST: the client gets ECONNRESET, and may lose what it has not read yet.

        For the script's own thread only: while another one reads, the kernel would put the RST off.
        """
        self.open = False
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        self._sock.close()

    def _overdue(self, what: str) -> AssertionError:
        return AssertionError(f"connection {self.number}: {what} for {WAIT_SECONDS} s")


Script = Callable[[Peer], None]


class RawServer:
    """A loopback server on a free port that runs ``script`` once for each connection, in its own thread.

    Attributes:
        url: ``http://127.0.0.1:<port>/mcp``.
        closing: True once the ``with`` block is being left.
    """

    def __init__(self, script: Script | None = None) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.origin}/mcp"
        self.closing = False
        # Guards all lists below; notified on each new request, and on each new or ended connection.
        self._changed = threading.Condition()
        self._requests: list[Request] = []
        self._errors: list[BaseException] = []
        self._peers: list[Peer] = []
        self._threads: list[threading.Thread] = []
        self._accepted = 0
        self._wake_reader, self._wake_writer = socket.socketpair()

    def handle(self, peer: Peer) -> None:
        """Run the script of one connection. A subclass may override this in place of passing a script."""
        if self._script is None:
            raise NotImplementedError("pass a script, or override handle()")
        self._script(peer)

    # -- what was seen

    @property
    def requests(self) -> list[Request]:
        """All whole requests so far, in the order in which they were read."""
        with self._changed:
            return list(self._requests)

    @property
    def accepted(self) -> int:
        """Connections accepted so far."""
        with self._changed:
            return self._accepted

    @property
    def connected(self) -> int:
        """Connections whose script is still running."""
        with self._changed:
            return len(self._peers)

    def seen(self, key: str) -> list[Request]:
        """The requests whose `Request.key` is ``key``."""
        return [request for request in self.requests if request.key == key]

    def wait_for(
        self, predicate: Callable[[list[Request]], object], timeout: float = WAIT_SECONDS
    ) -> list[Request]:
        """Wait until ``predicate`` is true of all requests seen so far, and return them.

        Raises:
            AssertionError: ``timeout`` seconds passed first; names what was seen.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: predicate(list(self._requests)), timeout):
                seen = ", ".join(f"#{request.connection} {request.key}" for request in self._requests)
                raise AssertionError(f"not seen within {timeout} s; seen: {seen or 'nothing'}")
            return list(self._requests)

    def wait_connected(self, count: int, timeout: float = WAIT_SECONDS) -> None:
        """Wait until exactly ``count`` connections are open, to prove that a client let go of the others."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._peers) == count, timeout):
                raise AssertionError(f"{len(self._peers)} connections open after {timeout} s, not {count}")

    def drop_connections(self) -> None:
        """Cut every open connection now, from the outside of its script."""
        with self._changed:
            peers = list(self._peers)
        for peer in peers:
            peer.cut()

    def _record(self, request: Request) -> None:
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()

    # -- life

    def __enter__(self) -> Self:
        self._start(self._accept, "rawserver-accept")
        return self

    def _start(self, target: Callable[..., None], name: str, *args: Any) -> None:
        thread = threading.Thread(target=target, name=name, args=args, daemon=True)
        with self._changed:
            # Ended ones are dropped here, so that a thousand reconnects do not keep a thousand threads.
            self._threads = [known for known in self._threads if known.is_alive()] + [thread]
            thread.start()

    def _accept(self) -> None:
        while True:
            ready, _, _ = select.select([self._listener, self._wake_reader], [], [])
            if self._wake_reader in ready:
                return
            sock, _ = self._listener.accept()
            sock.settimeout(WAIT_SECONDS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                self._accepted += 1
                peer = Peer(self, sock, self._accepted)
                self._peers.append(peer)
                self._changed.notify_all()
            self._start(self._serve, f"rawserver-{peer.number}", peer)

    def _serve(self, peer: Peer) -> None:
        peer._thread = threading.current_thread()
        try:
            self.handle(peer)
        except PeerGone:
            pass
        except BaseException as error:  # whatever it was, the test must hear of it
            with self._changed:
                self._errors.append(error)
        finally:
            peer.cut()
            with self._changed:
                self._peers.remove(peer)
                self._changed.notify_all()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing = True
        self._wake_writer.send(b"x")
        with self._changed:
            threads = list(self._threads)
        for thread in threads[:1]:
            thread.join(JOIN_SECONDS)  # the accepting one, so that no connection is added below
        self._listener.close()
        self._wake_reader.close()
        self._wake_writer.close()
        with self._changed:
            threads = list(self._threads)
            peers = list(self._peers)
        with self._changed:
            # A client that has closed just now must not be blamed because this thread was faster than the script's.
            self._changed.wait_for(lambda: not any(peer.expects_end for peer in self._peers), _GRACE_SECONDS)
        for peer in peers:
            # Nor one that had closed before the script came to ask for it.
            peer.dropped = not peer._ended()
            try:
                # Not closed here: see Peer.cut().
                peer._sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in threads:
            thread.join(JOIN_SECONDS)
        stuck = [thread.name for thread in threads if thread.is_alive()]
        if error is not None:
            if self._errors:  # the test's own error comes first, the script's tells why
                error.__cause__ = error.__cause__ or self._errors[0]
            return
        if self._errors:
            raise self._errors[0]
        assert not stuck, f"scripts still running {JOIN_SECONDS} s after the server closed: {stuck}"


#: What `RawMCPServer.on` takes: a script for one exchange, or the result to send as JSON.
Answer = Callable[[Peer, Request], None] | Mapping[str, Any]

_JSON_RPC_METHOD_NOT_FOUND = -32601


@dataclass
class _Scripts:
    """The answers of one key, in the order of the attempts; the last one serves all later attempts."""

    answers: list[Answer]
    used: int = 0

    def next(self) -> Answer:
        answer = self.answers[min(self.used, len(self.answers) - 1)]
        self.used += 1
        return answer


@dataclass
class _State:
    """What the MCP server remembers; guarded by the server's condition."""

    sessions: set[str] = field(default_factory=set)
    issued: int = 0
    scripts: dict[str, _Scripts] = field(default_factory=dict)


class RawMCPServer(RawServer):
    """A well-behaved MCP server of the session era, of which a test replaces single answers with raw bytes.

    By default: ``initialize`` gives a new session id each time; notifications and responses get 202; GET gets
    405; DELETE ends the session; ``tools/list`` lists ``echo``; ``tools/call`` answers with the text "ok";
    ``ping`` with ``{}``. A session id that is not known gets 404, none at all 400, another method -32601.
    Answers are JSON bodies on kept-alive connections.

    Args:
        protocol_version: What ``initialize`` answers with.
        capabilities: The server's; tools and logging by default.
        sessions: False for a server that gives no session id.
    """

    def __init__(
        self,
        *,
        protocol_version: str = "2025-11-25",
        capabilities: Mapping[str, Any] | None = None,
        sessions: bool = True,
    ) -> None:
        super().__init__()
        self.protocol_version = protocol_version
        self.capabilities = dict({"tools": {}, "logging": {}} if capabilities is None else capabilities)
        self._uses_sessions = sessions
        self._state = _State()

    def on(self, key: str, *answers: Answer) -> None:
        """Answer the first request with this `Request.key` with the first of ``answers``, and so on.

        The last answer serves all later requests too. Overrides come before every check of the session. A
        script finds the request read and recorded; when it returns and the connection is still open, the next
        one is read.
        """
        assert answers, "at least one answer"
        with self._changed:
            self._state.scripts[key] = _Scripts(list(answers))

    def expire_sessions(self) -> None:
        """Forget all sessions, as a restarted server does: requests that name one get 404 from now on."""
        with self._changed:
            self._state.sessions.clear()

    @property
    def sessions(self) -> set[str]:
        """The ids of the sessions that are alive."""
        with self._changed:
            return set(self._state.sessions)

    def handle(self, peer: Peer) -> None:
        while peer.open:
            request = peer.read_request()
            with self._changed:
                scripts = self._state.scripts.get(request.key)
                answer = scripts.next() if scripts else None
            if answer is None:
                self.answer(peer, request)
            elif isinstance(answer, Mapping):
                peer.respond_result(request, dict(answer))
            else:
                answer(peer, request)

    def answer(self, peer: Peer, request: Request) -> None:
        """Answer as a well-behaved server does; for scripts too, before or after what they do themselves."""
        if request.key == "initialize":
            self._initialize(peer, request)
        elif self.refuse(peer, request):
            pass
        elif request.method == "DELETE":
            with self._changed:
                self._state.sessions.discard(request.header("MCP-Session-Id") or "")
            peer.respond(200)
        elif request.method != "POST":
            peer.respond(405, headers={"Allow": "POST, DELETE"})
        elif request.id is None or request.key == "response":
            peer.respond(202)
        elif (result := self._results().get(request.key)) is not None:
            peer.respond_result(request, result)
        else:
            error = {"code": _JSON_RPC_METHOD_NOT_FOUND, "message": f"no method {request.key}"}
            peer.respond_json({"jsonrpc": "2.0", "id": request.id, "error": error})

    def refuse(self, peer: Peer, request: Request) -> bool:
        """Refuse a request that must be refused, and say whether it was; for scripts that do not want to hear those."""
        refused = None if request.key == "initialize" else self._refusal(request)
        if refused is not None:
            peer.respond(refused[0], refused[1], content_type="text/plain")
        return refused is not None

    def _initialize(self, peer: Peer, request: Request) -> None:
        headers = {}
        if self._uses_sessions:
            with self._changed:
                self._state.issued += 1
                session_id = f"session-{self._state.issued}"
                self._state.sessions.add(session_id)
            headers["MCP-Session-Id"] = session_id
        result = {
            "protocolVersion": self.protocol_version,
            "capabilities": self.capabilities,
            "serverInfo": {"name": "raw", "version": "1"},
        }
        peer.respond_result(request, result, headers=headers)

    def _refusal(self, request: Request) -> tuple[int, bytes] | None:
        if not self._uses_sessions:
            return (400, b"not initialized") if request.key == "server/discover" else None
        session_id = request.header("MCP-Session-Id")
        if session_id is None:
            return 400, b"no session id"
        return None if session_id in self.sessions else (404, b"no such session")

    def _results(self) -> dict[str, dict[str, Any]]:
        schema = {"type": "object"}
        return {
            "ping": {},
            "logging/setLevel": {},
            "tools/list": {"tools": [{"name": "echo", "inputSchema": schema}]},
            "tools/call": {"content": [{"type": "text", "text": "ok"}]},
        }


_PREFIX = "io.modelcontextprotocol/"
_NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_INVALID_REQUEST = -32600
_INVALID_PARAMS = -32602
_HEADER_MISMATCH = -32020
_UNSUPPORTED_VERSION = -32022


def rpc_refusal(
    status: int, code: int, message: str = "refused", data: Any = None
) -> Callable[[Peer, Request], None]:
    """An answer that refuses any request, with an HTTP status and a JSON-RPC error."""

    def refuse(peer: Peer, request: Request) -> None:
        error = {"code": code, "message": message} | ({} if data is None else {"data": data})
        peer.respond_json({"jsonrpc": "2.0", "id": request.id, "error": error}, status)

    return refuse


class ModernMCPServer(RawMCPServer):
    """A well-behaved MCP server of the stateless era (2026-07-28), of which a test replaces single answers.

    By default: ``server/discover``, ``tools/list`` (lists ``echo``) and ``tools/call`` (the text "ok") are answered as
    one JSON body; another method gets 404 with -32601. A request whose headers do not fit its body gets 400 with
    -32020, one in another revision 400 with -32022, one that lacks a field 400 with -32602; what is no POST gets 405.
    It knows nothing of sessions. What it must ignore (``Mcp-Session-Id``, ``Last-Event-ID``) it ignores: whether a
    client sends that is for the test to ask of ``requests``.

    What `on` replaces comes before every check, as in the other era; a script may call `answer` for them.

    Args:
        supported: The revisions that it speaks; both errors and ``server/discover`` name them.
        capabilities: The server's; tools by default.
        sessions: True for a server that serves the session era beside this one: it then answers every request that has
            no version in ``_meta`` as `RawMCPServer` does.
    """

    def __init__(
        self,
        *,
        supported: Sequence[str] = ("2026-07-28",),
        capabilities: Mapping[str, Any] | None = None,
        sessions: bool = False,
    ) -> None:
        super().__init__(capabilities={"tools": {}} if capabilities is None else capabilities)
        self.supported = tuple(supported)
        self._has_both = sessions

    def answer(self, peer: Peer, request: Request) -> None:
        if self._has_both and not self._is_modern(request):
            super().answer(peer, request)
        elif self.refuse(peer, request):
            pass
        elif request.id is None:
            peer.respond(202)
        elif (result := self._modern_results().get(request.key)) is not None:
            peer.respond_result(request, {"resultType": "complete"} | result)
        else:
            rpc_refusal(404, _JSON_RPC_METHOD_NOT_FOUND, f"no method {request.key}")(peer, request)

    def refuse(self, peer: Peer, request: Request) -> bool:
        if self._has_both and not self._is_modern(request):
            return super().refuse(peer, request)
        if request.method != "POST":
            peer.respond(405, headers={"Allow": "POST"})
        elif (refusal := self._misfit(request)) is not None:
            refusal(peer, request)
        else:
            return False
        return True

    @staticmethod
    def _is_modern(request: Request) -> bool:
        return f"{_PREFIX}protocolVersion" in _meta_of(request)

    def _misfit(self, request: Request) -> Callable[[Peer, Request], None] | None:
        """How a request of this form must be refused (streamable-http, Server Validation), or None."""
        message = request.json
        if not isinstance(message, dict) or "method" not in message:
            return rpc_refusal(400, _INVALID_REQUEST, "the body must be a single request or notification")
        accepted = {kind.strip() for kind in (request.header("Accept") or "").split(",")}
        if not {"application/json", "text/event-stream"} <= accepted:
            return rpc_refusal(406, _INVALID_REQUEST, "Accept must list both types")
        if request.id is None:
            return None  # "header requirements for notification POSTs are not defined by this revision"
        meta, header = _meta_of(request), request.header("MCP-Protocol-Version")
        version = meta.get(f"{_PREFIX}protocolVersion")
        if header is None:
            spoken = ", ".join(self.supported)
            return rpc_refusal(400, _HEADER_MISMATCH, f"header MCP-Protocol-Version is missing; spoken here: {spoken}")
        if version is None:
            return rpc_refusal(400, _INVALID_PARAMS, "_meta has no version")
        if header != version:
            return rpc_refusal(400, _HEADER_MISMATCH, f"the header says {header}, the body {version}")
        if version not in self.supported:
            data = {"supported": list(self.supported), "requested": version}
            return rpc_refusal(400, _UNSUPPORTED_VERSION, "unsupported protocol version", data)
        if not isinstance(meta.get(f"{_PREFIX}clientCapabilities"), dict):
            return rpc_refusal(400, _INVALID_PARAMS, "_meta has no capabilities")
        if request.header("Mcp-Method") != message["method"]:
            return rpc_refusal(400, _HEADER_MISMATCH, "Mcp-Method does not fit")
        name = (message.get("params") or {}).get(_NAMED_BY.get(message["method"], ""))
        if name is not None and _plain(request.header("Mcp-Name")) != name:
            return rpc_refusal(400, _HEADER_MISMATCH, "Mcp-Name does not fit")
        return None

    def _modern_results(self) -> dict[str, dict[str, Any]]:
        kept = {"ttlMs": 0, "cacheScope": "private"}
        results = self._results()
        return {
            "server/discover": {
                "supportedVersions": list(self.supported),
                "capabilities": self.capabilities,
                "_meta": {f"{_PREFIX}serverInfo": {"name": "raw", "version": "1"}},
                **kept,
            },
            "tools/list": results["tools/list"] | kept,
            "tools/call": results["tools/call"],
        }


def _meta_of(request: Request) -> dict[str, Any]:
    message = request.json
    params = message.get("params") if isinstance(message, dict) else None
    meta = params.get("_meta") if isinstance(params, dict) else None
    return meta if isinstance(meta, dict) else {}


def _plain(value: str | None) -> str | None:
    """What a header stands for, which may be in base64 (Value Encoding)."""
    if value is None or not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    try:
        return base64.b64decode(value[9:-2], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
