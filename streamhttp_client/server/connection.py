"""The connections of the server that runs in this process: cheroot's, with other files on the socket.

cheroot reads with the pure Python ``_pyio`` and sends head, each chunk and the end of a body by themselves.
With these two classes a short answer leaves in one packet, and a request costs a third less processor time.
"""

from __future__ import annotations

import contextlib
import io
import socket
import time
from typing import Any

from cheroot import wsgi
from cheroot.server import HTTPConnection, HTTPRequest

from .disconnect import PROBE_KEY, peer_is_gone
from .request_bodies import ChunkedBody, LengthBody, read_fields

__all__ = ["Connection", "Gateway"]

_CHUNK = 65536
# Seconds in which the head and the body of a request must have come, however slowly they drip: each holds a
# thread. A peer that sends nothing at all has cheroot's timeout on top.
_HEAD_TIME, _BODY_TIME = 10.0, 60.0
# Seconds and bytes for which a peer whose body is not wanted is listened to after the answer.
_LINGER_TIME, _LINGER_SIZE = 2.0, 1 << 20
# The package's own type hints say that its methods return nothing, or say nothing.
_Gateway: Any = wsgi.Gateway_10
_Request: Any = HTTPRequest


class Reader:
    """What cheroot needs of a file to read from."""

    closed = False

    def __init__(self, connection: socket.socket) -> None:
        self.bytes_read = 0
        #: Monotonic time after which nothing more is waited for.
        self.deadline: float | None = None
        self._socket = connection
        self._buffer = b""
        self._at = 0

    def has_data(self) -> bool:
        """Whether something was read from the socket and not yet from here: a pipelined request."""
        return self._at < len(self._buffer)

    def _receive(self, most: int) -> bytes:
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise TimeoutError("timed out")  # the words by which cheroot knows it, and answers 408
        data = self._socket.recv(most)
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

    def __init__(self, connection: socket.socket) -> None:
        self.bytes_written = 0
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
            data = b"".join(self._held)
            self._held.clear()
            self.bytes_written += len(data)
            self._socket.sendall(data)

    def close(self) -> None:
        self.closed = True


def _make_file(connection: socket.socket, mode: str, size: int) -> Reader | Writer:
    return Reader(connection) if "r" in mode else Writer(connection)


class Request(_Request):  # type: ignore[misc]
    """One request and its answer; after an answer that did not wait for the whole body, the connection ends."""

    header_reader: Any = staticmethod(read_fields)
    rfile: Any

    def __init__(self, server: Any, connection: Any, *options: Any, **named: Any) -> None:
        super().__init__(server, connection, *options, **named)
        connection.rfile.deadline = time.monotonic() + _HEAD_TIME
        self._body: LengthBody | ChunkedBody = LengthBody(connection.rfile, 0)

    def parse_request(self) -> None:
        super().parse_request()
        if not self.ready:
            self._linger()

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

    def __init__(self, server: Any, connection: socket.socket, makefile: object = None) -> None:
        super().__init__(server, connection, _make_file)


class Gateway(_Gateway):  # type: ignore[misc]
    """Calls the application for one request."""

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        connection = self.req.conn.socket
        environ[PROBE_KEY] = lambda: peer_is_gone(connection)
        return environ

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
                    self.write(chunk)
        finally:
            writer.hold = False
            self.req.ensure_headers_sent()
            if hasattr(response, "close"):
                response.close()
