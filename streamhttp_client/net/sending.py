"""Write a request to a socket: from memory or straight from a file, and with an ear for an answer that comes early.

A server may refuse a body before it has read it (too large, no permission) and may then read no more of it. So while
a body goes out the connection is watched: "If the client sees a response that indicates the server does not wish to
receive the message body and is closing the connection, the client SHOULD immediately cease transmitting" (RFC 9112,
section 9.5). Under TLS that cannot be seen from outside, and the end of the connection has to say it.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from ..exceptions import ConnectionLost, ReadTimeout, RemoteProtocolError, SourceChanged
from . import wire
from .errors import is_foreign

if TYPE_CHECKING:
    from .interrupt import Errands
    from .pool import Connection

__all__ = ["FilePart", "Piece", "RewindableBody", "in_memory", "send_request"]

# Below this, head and body go out in one write, and so mostly in one packet.
_ONE_WRITE = 64 * 1024
# A TLS write returns when all of it is on its way: so much must pass within the read timeout.
_TLS_SLICE = 64 * 1024
_READ_SIZE = 256 * 1024
# Where there is no limit: it only makes the socket return from a write that would block.
_FOREVER = 86_400.0


class FilePart:
    """Bytes of an open file as a piece of a body: sent by the system, without a copy in this process, if it can.

    Args:
        fd: Its position is neither used nor changed.
        offset, size: Which bytes. They must be there.
    """

    __slots__ = ("fd", "offset", "size")

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self.fd = fd
        self.offset = offset
        self.size = size

    def __len__(self) -> int:
        return self.size

    def blocks(self) -> Iterator[bytes]:
        """The bytes, in blocks of at most 256 KiB."""
        offset, end = self.offset, self.offset + self.size
        while offset < end:
            block = _read_at(self.fd, min(_READ_SIZE, end - offset), offset)
            if not block:
                raise _shorter()
            offset += len(block)
            yield block


Piece = bytes | memoryview | FilePart


def in_memory(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """The same body for who takes bytes only."""
    for piece in pieces:
        if isinstance(piece, FilePart):
            yield from piece.blocks()
        else:
            yield bytes(piece)


class RewindableBody:
    """A body as a file, for requests: response hooks such as HTTP Digest's go back to its beginning and send it again.

    Args:
        make: Gives the pieces from the beginning; raises if they cannot be had a second time.
    """

    def __init__(self, make: Callable[[], Iterable[Piece]]) -> None:
        self._make = make
        self._pieces: Iterator[bytes] | None = None
        self._rest = b""
        self.errands: Errands | None = None
        """Has the source read where the caller waits, whichever thread reads this; None to read it here."""

    def tell(self) -> int:
        """Where it begins; hooks ask before anything is read."""
        return 0

    def seek(self, offset: int) -> int:
        """Go back to the beginning, the only place to go."""
        if offset:
            raise ValueError("a body can only be read again from its beginning")
        self._pieces, self._rest = None, b""
        return 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most ``size``; all the rest if that is negative."""
        if size < 0:
            data, self._rest = self._rest + b"".join(iter(self._fetch, b"")), b""
            return data
        if not self._rest:
            self._rest = self._fetch()
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def close(self) -> None:
        """Let go of the source: who was left behind with this may hold it for long, and would end a generator there."""
        self._make, self._pieces = _nothing, None

    def _fetch(self) -> bytes:
        """A whole piece: each is a change of threads where there are two. Empty at the end."""
        return self._next() if self.errands is None else self.errands.ask(self._next)

    def _next(self) -> bytes:
        if self._pieces is None:
            self._pieces = in_memory(self._make())
        return next(filter(None, self._pieces), b"")


def _nothing() -> Iterable[Piece]:
    return ()


def send_request(
    connection: Connection, head: bytes, body: bytes | Iterable[Piece] | None, remaining: Callable[[], float | None]
) -> bool:
    """Write a request; False if the peer stopped reading before it was whole, which may still bring an answer.

    Args:
        connection: The one in use.
        head: Request line and fields, with the blank line.
        body: Whole, or in pieces that are framed already. Pieces are taken one at a time.
        remaining: Called before each wait for the seconds that it may take.

    Raises:
        ReadTimeout: The peer took nothing for so long.
        ConnectionLost: No time was left.
    """
    if body is None or (isinstance(body, bytes) and len(body) < _ONE_WRITE):
        return _send_small(connection, head + body if body else head, remaining)
    sender = _Sender(connection, remaining)
    try:
        if not sender.send(head):
            return False
        if isinstance(body, bytes):
            return sender.send(body)
        for piece in body:
            done = sender.send_file(piece) if isinstance(piece, FilePart) else sender.send(piece)
            if not done:
                return False
    finally:
        if not isinstance(body, bytes) and (close := getattr(body, "close", None)):
            close()  # a generator that was not read to its end
    return True


def _send_small(connection: Connection, data: bytes, remaining: Callable[[], float | None]) -> bool:
    seconds = remaining()
    _check(seconds)
    try:
        connection.settimeout(seconds)
        connection.sock.sendall(data)
    except OSError as error:
        if is_foreign(error):
            raise
        if isinstance(error, TimeoutError):
            raise _stuck(seconds) from error
        return False
    return True


class _Sender:
    """Sends one body over one connection."""

    def __init__(self, connection: Connection, remaining: Callable[[], float | None]) -> None:
        self._connection = connection
        self._sock: socket.socket = connection.sock
        self._remaining = remaining
        self._poll = None
        if not isinstance(self._sock, ssl.SSLSocket) and hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(self._sock, select.POLLIN | select.POLLOUT)

    def send(self, data: bytes | memoryview) -> bool:
        """False if the peer takes no more."""
        view = memoryview(data)
        while view:
            if not self._wait():
                return False
            try:
                view = view[self._sock.send(view if self._poll is not None else view[:_TLS_SLICE]) :]
            except OSError as error:
                if is_foreign(error):
                    raise
                if not isinstance(error, TimeoutError):
                    return False
                if self._poll is None:
                    raise _stuck(self._remaining()) from error
        return True

    def send_file(self, part: FilePart) -> bool:
        """False if the peer takes no more."""
        if self._poll is None or not hasattr(os, "sendfile"):
            return all(self.send(block) for block in part.blocks())
        offset, end = part.offset, part.offset + part.size
        sock = self._sock.fileno()
        while offset < end:
            if not self._wait():
                return False
            try:
                sent = os.sendfile(sock, part.fd, offset, end - offset)
            except BlockingIOError:
                continue
            except OSError as error:
                if is_foreign(error):
                    raise
                if error.errno in _NO_SENDFILE:
                    return all(self.send(block) for block in FilePart(part.fd, offset, end - offset).blocks())
                return False
            if not sent:
                raise _shorter()
            offset += sent
        return True

    def _wait(self) -> bool:
        """Wait until more can be sent; False if the peer has answered that it wants no more."""
        poll = self._poll
        if poll is None:
            seconds = self._remaining()
            _check(seconds)
            self._connection.settimeout(seconds)
            return True
        self._connection.settimeout(_FOREVER)
        while True:
            seconds = self._remaining()
            _check(seconds)
            events = poll.poll(None if seconds is None else seconds * 1000)
            if not events:
                raise _stuck(seconds)
            flags = events[0][1]
            if flags & select.POLLIN and self._is_refused():
                return False
            if flags & ~select.POLLIN:  # it takes more, or it is broken and sending will say so
                return True

    def _is_refused(self) -> bool:
        """Look at an answer that came while we send, and leave it to be read later, but for interim ones."""
        try:
            data = self._sock.recv(wire.MAX_HEAD_SIZE, socket.MSG_PEEK)
            if not data:
                return True
            end = wire.find_head_end(data)
            if end >= 0:
                status = wire.parse_head(data[:end]).status
                if 100 <= status < 200 and status != 101:
                    self._sock.recv(end)
                    return False
                if status >= 300:
                    return True
        except (OSError, RemoteProtocolError):
            return True
        # A success before the end, or half a head: go on, and do not look again, as it stays readable.
        assert self._poll is not None
        self._poll.modify(self._sock, select.POLLOUT)
        return False


# Files that cannot be sent so, such as those of some network and user-space file systems.
_NO_SENDFILE = frozenset((errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP))


def _read_at(fd: int, size: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(fd, size, offset)
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, size)


def _check(seconds: float | None) -> None:
    if seconds is not None and seconds <= 0:
        raise ConnectionLost("no time was left to send the request", may_have_executed=False)


def _stuck(seconds: float | None) -> ReadTimeout:
    return ReadTimeout(f"the request could not be sent within {seconds or 0:g} s", may_have_executed=False)


def _shorter() -> SourceChanged:
    return SourceChanged("the file became shorter while it was sent")
