"""One HTTP/1.1 exchange on a connected socket, without the layers above it.

The request is written and the answer is read here (see :mod:`.wire` for why). Used when there is no proxy, no response
hook and no session of the caller's; otherwise :mod:`.borrowed` goes through ``requests.Session.send``.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..exceptions import ClientClosed, ConnectionLost, MessageTooLarge, ReadTimeout, RemoteProtocolError
from . import wire
from .body import CHUNK_SIZE, Body, Decoder, decoder_for
from .interrupt import Interrupt
from .pool import Connection, ConnectionPool, readable
from .sending import Piece, send_request
from .timeouts import Deadline

__all__ = ["DirectBody", "exchange"]

# A parked body that has more than this still to come costs more to read than a new connection.
_MAX_PARKED = 64 * 1024


class DirectBody(Body):
    """The body of an answer that was read with :func:`exchange`."""

    def __init__(
        self,
        connection: Connection,
        pool: ConnectionPool,
        framing: wire.Framing,
        decoder: Decoder | None,
        keep_alive: bool,
        pending: bytes,
        interrupt: Interrupt,
    ) -> None:
        self._connection: Connection | None = connection
        self._pool = pool
        self._framing = framing
        self._decoder = decoder
        self._keep_alive = keep_alive
        self._pending = pending
        self._pieces: Iterator[bytes] | None = None
        self._interrupt = interrupt
        self._failure: ConnectionLost | None = None  # raised again by each further read
        self.end_is_known = not isinstance(framing, wire.CloseFraming)
        if framing.done:
            framing.rest = pending
            self._finish()

    def read1(self, size: int = CHUNK_SIZE, *, timeout: float | None = None) -> bytes:
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            if self._pieces is not None:
                for piece in self._pieces:
                    return piece
                self._pieces = None
            if self._framing.done:
                self._end_decoder()
                return b""
            data: bytes = self._take(size, timeout)
            if data:
                if self._decoder is None:
                    return data
                self._pieces = self._decoder.feed(data)
            if end is not None:
                # What came may be framing or padding only; a peer that drips it must not make this last for ever.
                timeout = max(0.0, end - time.monotonic())

    def _end_decoder(self) -> None:
        decoder, self._decoder = self._decoder, None
        if decoder is not None:
            try:
                decoder.end()
            except ConnectionLost as error:
                self._failure = error
        if self._failure is not None:
            raise self._failure

    def read1_into(self, buffer: bytearray, *, timeout: float | None = None) -> bytes | memoryview:
        framing = self._framing
        plain = self._decoder is None and isinstance(framing, (wire.LengthFraming, wire.CloseFraming))
        if not plain or framing.done or self._pending:
            return super().read1_into(buffer, timeout=timeout)
        data: bytes | memoryview = self._take(0, timeout, buffer)
        return data

    def _take(self, size: int, timeout: float | None, buffer: bytearray | None = None) -> Any:
        """One read from the network, less the framing; a view on ``buffer`` if there is one."""
        data: Any = self._pending
        if data:
            self._pending = b""
        else:
            connection = self._connection
            if connection is None:
                if self._failure is not None:
                    raise self._failure
                raise ClientClosed("the answer was closed before it was read")
            try:
                data = connection.receive(size, timeout, buffer)
            except ReadTimeout:
                raise
            except ConnectionLost as error:
                self._drop(error)
                if self._interrupt.fired:
                    raise ClientClosed("the answer was closed while it was read") from None
                raise
            if not data:
                self._drop()
                if self._interrupt.fired:
                    raise ClientClosed("the answer was closed while it was read")
                try:
                    self._framing.end()
                except ConnectionLost as error:
                    self._failure = error
                    raise
                return b""
        try:
            data = self._framing.feed(data)
        except BaseException:
            self._drop()
            raise
        if self._framing.done:
            self._finish()
        return data

    def read_ready(self) -> bytes:
        if self._framing.done or self._connection is None or self._decoder is not None:
            return b""
        sock = self._connection.sock
        if not self._pending and not (isinstance(sock, ssl.SSLSocket) and sock.pending()) and not readable(sock):
            return b""
        try:
            # Under TLS a record may be there only in part; so bound the wait.
            data: bytes = self._take(CHUNK_SIZE, 0.05)
            return data
        except ReadTimeout:
            return b""

    def close(self) -> None:
        connection = self._connection
        if connection is None:
            return
        if not self._keep_alive or not self._framing.reusable or isinstance(self._framing, wire.CloseFraming):
            self._drop()
            return
        self._connection = self._decoder = None
        self._interrupt.detach(connection.shutdown)
        if self._interrupt.fired:
            connection.close()
            return
        connection.parked = self
        self._pool.give_back(connection)

    def abandon(self) -> None:
        self._drop()

    def ended_by_now(self, connection: Connection) -> bool | None:
        """Read what has come of a parked body, without waiting. True at its end, None if that is still to come."""
        size = 0
        try:
            while not self._framing.done and size < _MAX_PARKED:
                if self._pending:
                    data, self._pending = self._pending, b""
                else:
                    if not readable(connection.sock):
                        return None
                    data = connection.receive(CHUNK_SIZE, 0.05)
                    if not data:
                        return False
                size += len(data)
                self._framing.feed(data)
        except Exception:  # whatever is wrong with this answer, it was not needed any more
            return False
        return self._framing.done and not self._framing.rest

    def _finish(self) -> None:
        """The body is whole: the connection may serve again."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._interrupt.detach(connection.shutdown)
        if self._keep_alive and self._framing.reusable and not self._framing.rest and not self._interrupt.fired:
            self._pool.give_back(connection)
        else:
            connection.close()

    def _drop(self, failure: ConnectionLost | None = None) -> None:
        self._failure = failure
        connection, self._connection = self._connection, None
        if connection is not None:
            self._interrupt.detach(connection.shutdown)
            connection.close()


def exchange(
    pool: ConnectionPool,
    method: str,
    head: bytes,
    body: bytes | Iterable[Piece] | None,
    *,
    connect_timeout: float | None,
    remaining: Callable[[], float | None],
    interrupt: Interrupt,
) -> tuple[wire.Head, DirectBody, bool]:
    """Send one request and read the head of its final answer. The last of the three is whether all of it was sent.

    Args:
        pool: Where the connection comes from and goes back to.
        method: Its method; HEAD answers have no body.
        head: Request line and header fields, with the blank line.
        body: The body whole, or in pieces that are framed already. Pieces are taken one at a time.
        connect_timeout: Seconds.
        remaining: Called before each send and receive for the seconds that it may take.
        interrupt: Attached while the connection is in use.

    Raises:
        ConnectionFailed: Nothing was sent.
        ConnectionLost: ``may_have_executed`` is False if the request surely did not arrive whole.
        ReadTimeout: No answer in time.
        ClientClosed: The interrupt was fired.
    """
    connection = pool.take(connect_timeout, interrupt)
    interrupt.attach(connection.shutdown)
    try:
        sent = send_request(connection, head, body, remaining)
        try:
            answer, rest = _read_head(connection, remaining)
        except ConnectionLost as error:
            # What could not be sent whole was not executed, whatever the peer did to the connection.
            error.may_have_executed = sent
            raise
        framing = wire.framing_for(method, answer)
        decoder = None if framing.done else decoder_for(answer.headers)
    except BaseException:
        interrupt.detach(connection.shutdown)
        connection.close()
        if interrupt.fired:
            raise ClientClosed("the request was closed before its answer came") from None
        raise
    keep_alive = answer.keep_alive and sent
    return answer, DirectBody(connection, pool, framing, decoder, keep_alive, rest, interrupt), sent


def _read_head(connection: Connection, remaining: Callable[[], float | None]) -> tuple[wire.Head, bytes]:
    """Read the head of the final answer; what was read beyond it comes with it.

    All of it, interim answers included, has the time of one read: a head in drips is no sign of life.
    """
    remaining = Deadline(remaining()).remaining
    data = connection.receive(CHUNK_SIZE, remaining())
    while True:
        if not data:
            raise ConnectionLost("the connection was closed before an answer came")
        searched = 0
        while (end := wire.find_head_end(data, searched)) < 0:
            if len(data) > wire.MAX_HEAD_SIZE:
                raise MessageTooLarge(
                    f"the head of the answer is longer than {wire.MAX_HEAD_SIZE} bytes", limit=wire.MAX_HEAD_SIZE
                )
            searched = max(0, len(data) - 3)
            more = connection.receive(CHUNK_SIZE, remaining())
            if not more:
                if not data.startswith(b"HTTP/"[: len(data)]):
                    raise RemoteProtocolError(f"expected an HTTP/1.1 status line, got {data[:40]!r}")
                raise ConnectionLost("the connection was closed in the head of the answer")
            data += more
        answer, data = wire.parse_head(data[:end]), data[end:]
        # "A client MUST be able to parse one or more 1xx responses received prior to a final response"
        # (RFC 9110, section 15.2). 101 would end HTTP on this connection; it was not asked for.
        if not 100 <= answer.status < 200 or answer.status == 101:
            return answer, data
        if not data:
            data = connection.receive(CHUNK_SIZE, remaining())
