"""The connections of the server that runs in this process: cheroot's, with other files on the socket.

cheroot reads with the pure Python ``_pyio`` and sends head, each chunk and the end of a body by themselves.
With these two classes a short answer leaves in one packet, and a request costs a third less processor time.
"""

from __future__ import annotations

import socket
from typing import Any

from cheroot import wsgi
from cheroot.server import HTTPConnection

from .disconnect import PROBE_KEY, peer_is_gone

__all__ = ["Connection", "Gateway"]

_CHUNK = 65536
# The package's own type hints say that its methods return nothing.
_Gateway: Any = wsgi.Gateway_10


class Reader:
    """What cheroot needs of a file to read from."""

    closed = False

    def __init__(self, connection: socket.socket) -> None:
        self.bytes_read = 0
        self._socket = connection
        self._buffer = b""
        self._at = 0

    def has_data(self) -> bool:
        """Whether something was read from the socket and not yet from here: a pipelined request."""
        return self._at < len(self._buffer)

    def _fill(self) -> bool:
        data = self._socket.recv(_CHUNK)
        self._buffer = self._buffer[self._at :] + data
        self._at = 0
        self.bytes_read += len(data)
        return bool(data)

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
        while (wanted < 0 or left > 0) and (data := self._socket.recv(min(left, _CHUNK) if left > 0 else _CHUNK)):
            parts.append(data)
            left -= len(data)
            self.bytes_read += len(data)
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


class Connection(HTTPConnection):
    """One client's connection."""

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
