"""The connections of the server that runs in this process: cheroot's, with other files on the socket.

cheroot reads with the pure Python ``_pyio``, sends head, each chunk and the end of a body by themselves, and builds
much anew for each request. With these classes a short answer leaves in one packet, and a request costs a third of the
processor time. What is unusual, cheroot still reads, and answers what is wrong.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
import re
import socket
import sys
import time
from email.utils import formatdate
from typing import Any

from cheroot import wsgi
from cheroot.server import HTTPConnection, HTTPRequest

from .disconnect import PROBE_KEY, is_ready, peer_is_gone
from .request_bodies import ChunkedBody, LengthBody, environ_key, read_fields

__all__ = ["Connection", "Gateway"]

_CHUNK = 65536
# Seconds in which the head and the body of a request must have come, however slowly they drip: each holds a
# thread, and so does a new connection on which nothing comes.
_HEAD_TIME, _BODY_TIME = 10.0, 60.0
# Seconds and bytes for which a peer whose body is not wanted is listened to after the answer.
_LINGER_TIME, _LINGER_SIZE = 2.0, 1 << 20
# The words by which cheroot knows it, and answers 408.
_TIMED_OUT = "timed out"
# The usual request line: in it nothing has to be decoded or refused.
_USUAL = re.compile(rb"(GET|POST|DELETE) ((/(?!/)[!$&->@-~]*)(?:\?([!$&-~]*))?) HTTP/1\.1\r\n")
# The package's own type hints say that its methods return nothing, or say nothing.
_Gateway: Any = wsgi.Gateway_10
_Request: Any = HTTPRequest


def _await(connection: socket.socket, timeout: float, *, writing: bool = False) -> None:
    if not is_ready(connection, timeout, writing=writing):
        raise TimeoutError(_TIMED_OUT)


class Reader:
    """What cheroot needs of a file to read from.

    Args:
        connection: It does not block.
        timeout: Seconds of silence after which ``TimeoutError`` is raised.
    """

    closed = False

    def __init__(self, connection: socket.socket, timeout: float) -> None:
        self.bytes_read = 0
        self._timeout = timeout
        #: Monotonic time after which nothing more is waited for.
        self.deadline: float | None = None
        self._socket = connection
        self._buffer = b""
        self._at = 0

    def has_data(self) -> bool:
        """Whether something was read from the socket and not yet from here: a pipelined request."""
        return self._at < len(self._buffer)

    def wait(self, timeout: float) -> bool:
        """Wait for the begin of the next request; False if none came within ``timeout`` seconds."""
        return self.has_data() or is_ready(self._socket, timeout)

    def peek_head(self, most: int) -> bytes | None:
        """The head of a request without its empty line, if it comes in one piece. It stays here to be read."""
        if not self.has_data():
            self._fill()
        end = self._buffer.find(b"\r\n\r\n", self._at)
        return self._buffer[self._at : end + 2] if 0 <= end - self._at < most else None

    def skip(self, size: int) -> None:
        """Go on behind what was seen by :meth:`peek_head`."""
        self._at += size

    def _receive(self, most: int) -> bytes:
        while True:
            left = math.inf if self.deadline is None else self.deadline - time.monotonic()
            if left < 0:
                raise TimeoutError(_TIMED_OUT)
            try:
                data = self._socket.recv(most)
                break
            except BlockingIOError:
                _await(self._socket, min(self._timeout, left))
        self.bytes_read += len(data)
        return data

    def _fill(self) -> bool:
        data = self._receive(_CHUNK)
        self._buffer = self._buffer[self._at :] + data
        self._at = 0
        return bool(data)

    def read_some(self, most: int) -> bytes:
        """Some bytes, as soon as there are any; none at the end of the stream."""
        if not self.has_data():
            return self._receive(min(most, _CHUNK))
        begin, self._at = self._at, min(self._at + most, len(self._buffer))
        return self._buffer[begin : self._at]

    def readline(self, size: int | None = -1) -> bytes:
        """One line with its end; less at the end of the stream, or if it is longer than ``size``."""
        most = _CHUNK if size is None or size < 0 else size
        searched = self._at
        while True:
            end = self._buffer.find(b"\n", searched) + 1
            if not end and len(self._buffer) - self._at < most:
                searched = len(self._buffer) - self._at
                if self._fill():
                    continue
                end = len(self._buffer)
            begin = self._at
            self._at = min(end or len(self._buffer), begin + most)
            return self._buffer[begin : self._at]

    def read(self, size: int | None = -1) -> bytes:
        """``size`` bytes, or all up to the end of the stream."""
        wanted = -1 if size is None else size
        held = self._buffer[self._at :] if wanted < 0 else self._buffer[self._at : self._at + wanted]
        self._at += len(held)
        if len(held) == wanted:
            return held
        parts, left = [held], wanted - len(held)
        while (wanted < 0 or left > 0) and (data := self._receive(min(left, _CHUNK) if left > 0 else _CHUNK)):
            parts.append(data)
            left -= len(data)
        return b"".join(parts)

    def close(self) -> None:
        self.closed = True


class Writer:
    """What cheroot needs of a file to write to. Data waits here while ``hold`` is set, and leaves with what
    follows.
    """

    closed = False

    def __init__(self, connection: socket.socket, timeout: float) -> None:
        self.bytes_written = 0
        self._timeout = timeout
        self.hold = False
        self._socket = connection
        self._held: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._held.append(data)
        if not self.hold:
            self.flush()
        return len(data)

    def flush(self) -> None:
        if self._held:
            held, self._held = self._held, []
            size = sum(map(len, held))
            self.bytes_written += size
            # One packet for what is short; no second copy, for as long as a client does not read, of what is long.
            for data in [b"".join(held)] if size <= _CHUNK else held:
                self._send(data)

    def _send(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                _await(self._socket, self._timeout, writing=True)

    def close(self) -> None:
        self.closed = True


class Request(_Request):  # type: ignore[misc]
    """One request and its answer; after an answer that did not wait for the whole body, the connection ends."""

    rfile: Any = None

    def __init__(self, server: Any, connection: Any, *options: Any, **named: Any) -> None:
        super().__init__(server, connection, *options, **named)
        connection.rfile.deadline = time.monotonic() + _HEAD_TIME
        self._body: LengthBody | ChunkedBody = LengthBody(connection.rfile, 0)
        self._fields: bytes | None = None

    def parse_request(self) -> None:
        """Read the head: the usual one here, in a quarter of the time; the rest is for cheroot."""
        reader = self.conn.rfile
        head = reader.peek_head(self.server.max_request_header_size)
        if head is None or (found := _USUAL.match(head)) is None:
            super().parse_request()
        else:
            reader.skip(len(head) + 2)
            self.started_request = True
            self.method, self.uri, self.path, query = found.groups()
            self.qs, self.authority = query or b"", b""
            self.request_protocol, self.response_protocol = b"HTTP/1.1", "HTTP/1.1"
            self._fields = head[found.end() :]
            self.ready = self.read_request_headers()
        if not self.ready:
            self._linger()

    def header_reader(self, lines: Any, fields: dict[bytes, bytes]) -> None:
        """Called by cheroot with what it reads from, and the fields to fill."""
        rest = iter(lines.readline, b"\r\n") if self._fields is None else self._fields.splitlines(True)
        read_fields(rest, fields)

    def read_request_headers(self) -> bool:
        if not super().read_request_headers():
            return False
        if b"Transfer-Encoding" in self.inheaders and not self.chunked_read:
            # HTTP/1.0 has none, and whoever passed it on may have seen another end of the body.
            self.simple_response("400 Bad Request", "This version of HTTP has no Transfer-Encoding.")
            return False
        return True

    def respond(self) -> None:
        reader = self.conn.rfile
        reader.deadline = time.monotonic() + _BODY_TIME
        if self.chunked_read:
            self._body = ChunkedBody(reader)
            self.rfile = io.BufferedReader(self._body)
        else:
            self.rfile = self._body = LengthBody(reader, int(self.inheaders.get(b"Content-Length", 0)))
        self.server.gateway(self).respond()
        self.ensure_headers_sent()
        if self.chunked_write:
            self.conn.wfile.write(b"0\r\n\r\n")
        if not self._body.finished:
            self._linger()

    def send_headers(self) -> None:
        if not self._body.skip() or (b"Connection", b"close") in self.outheaders:
            self.close_connection = True
        # Else cheroot writes the date anew for each answer.
        self.outheaders.append((b"Date", _date(int(time.time()))))
        super().send_headers()

    def _linger(self) -> None:
        """Listen for a moment: closing on data that was not read would take the answer away from the peer."""
        connection, deadline, size = self.conn.socket, time.monotonic() + _LINGER_TIME, 0
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
            while size < _LINGER_SIZE and (left := deadline - time.monotonic()) > 0:
                connection.settimeout(left)
                if not (data := connection.recv(_CHUNK)):
                    break
                size += len(data)


class Connection(HTTPConnection):
    """One client's connection."""

    RequestHandlerClass = Request
    #: What is the same in the WSGI environment of all its requests; made at the first.
    environ: dict[str, Any] | None = None

    def __init__(self, server: Any, connection: socket.socket, makefile: object = None) -> None:
        # A socket that has a timeout asks the system twice whenever it is used, and lets other threads take over
        # each time; so it has none, and who finds nothing waits.
        connection.setblocking(False)

        def make_file(connection: socket.socket, mode: str, size: int) -> Reader | Writer:
            return (Reader if "r" in mode else Writer)(connection, server.timeout)

        super().__init__(server, connection, make_file)


def _environ_of(server: Any, connection: Any) -> dict[str, Any]:
    peer = connection.socket
    return {
        "REMOTE_ADDR": connection.remote_addr or "",
        "REMOTE_PORT": str(connection.remote_port or ""),
        "SCRIPT_NAME": "",
        "SERVER_NAME": server.server_name,
        "SERVER_PORT": str(server.bind_addr[1]),
        "SERVER_SOFTWARE": server.software,
        "wsgi.errors": sys.stderr,
        "wsgi.multiprocess": False,
        "wsgi.multithread": True,
        "wsgi.run_once": False,
        "wsgi.url_scheme": "http",
        "wsgi.version": (1, 0),
        PROBE_KEY: lambda: peer_is_gone(peer),
    }


@functools.lru_cache(maxsize=1)
def _date(now: int) -> bytes:
    return formatdate(now, usegmt=True).encode()


class Gateway(_Gateway):  # type: ignore[misc]
    """Calls the application for one request."""

    def get_environ(self) -> dict[str, Any]:
        request, connection = self.req, self.req.conn
        if connection.environ is None:
            connection.environ = _environ_of(request.server, connection)
        environ: dict[str, Any] = connection.environ | {
            "PATH_INFO": request.path.decode("latin-1"),
            "QUERY_STRING": request.qs.decode("latin-1"),
            "REQUEST_METHOD": request.method.decode("latin-1"),
            "REQUEST_URI": request.uri.decode("latin-1"),
            "SERVER_PROTOCOL": request.request_protocol.decode("latin-1"),
            "wsgi.input": request.rfile,
            "wsgi.input_terminated": request.chunked_read,
        }
        for name, value in request.inheaders.items():
            environ[environ_key(name)] = value.decode("latin-1")
        return environ

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """PEP 3333; called once, by our own application, which begins again after no error."""
        self.req.status = status.encode("latin-1")
        self.req.outheaders = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return self.write

    def respond(self) -> None:
        """Send the answer; an iterable may have ``is_last``, true when the chunk that it just gave is its
        last.
        """
        writer = self.req.conn.wfile
        response = self.req.server.wsgi_app(self.env, self.start_response)
        try:
            for chunk in response:
                if chunk:
                    writer.hold = True
                    self.req.ensure_headers_sent()
                    # The end of a chunked body is written after this method, and takes the last chunk along.
                    writer.hold = self.req.chunked_write and getattr(response, "is_last", False)
                    self.req.write(chunk)
        finally:
            writer.hold = False
            self.req.ensure_headers_sent()
            if hasattr(response, "close"):
                response.close()
