"""Connections to one origin: made by urllib3, used again, thrown away in time.

urllib3 connects: names, socket options, TLS and its checks. From there on the socket is ours. A connection belongs to
one exchange at a time; idle ones wait here, the last used on top. One may be *parked*: an answer that was understood
before its body ended (an event stream whose last event was the result) gives its connection back at once, and whoever
takes it next looks whether the end has come by then. So neither this call nor the next one waits for it.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import urllib3.connection

from ..exceptions import ClientClosed, ConnectionFailed, ReadTimeout
from .errors import connect_error, is_foreign, read_error
from .interrupt import Interrupt

__all__ = ["Connection", "ConnectionPool", "readable", "tcp_connector"]

# Servers close idle connections after 5 (uvicorn, Node) to 75 s (nginx); one that is older is hardly alive.
_MAX_IDLE_SECONDS = 60.0
# Idle connections kept for one origin: a thread pool of usual size, and no file descriptors to speak of.
_MAX_IDLE = 32
# A parked answer that has not ended after this has been forgotten by its server.
_MAX_PARKED_SECONDS = 1.0
# About what a new connection on a fast network takes.
_WAIT_FOR_END = 0.005


def readable(sock: socket.socket, seconds: float = 0.0) -> bool:
    """Whether a read would return at once, with data or with the peer's close; waits so long for it."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    return bool(select.select([sock], [], [], seconds)[0])


class Parked(Protocol):
    """An answer whose end is still to come on a connection that was given back."""

    def ended_by_now(self, connection: Connection) -> bool | None:
        """Read what has come, without waiting. True at its end, None if that is still to come, else False."""


class Connection:
    """A connected socket and what was read beyond the last answer."""

    __slots__ = ("_timeout", "idle_since", "parked", "sock", "where")

    def __init__(self, sock: socket.socket, where: str) -> None:
        self.sock = sock
        self.where = where
        self.idle_since = 0.0
        self.parked: Parked | None = None
        self._timeout = -1.0

    def settimeout(self, seconds: float | None) -> None:
        """Set how long a send or a receive may block. Not 0.0, which means something else."""
        wanted = -2.0 if seconds is None else seconds
        if wanted != self._timeout:
            self.sock.settimeout(seconds)
            self._timeout = wanted

    def shutdown(self) -> None:
        """Wake a thread that is blocked on the socket. Any thread."""
        try:
            if isinstance(self.sock, socket.socket):
                # Not SSLSocket.shutdown, which takes the TLS layer away under the reading thread.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
            else:  # the socket of another TLS library
                self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # not connected any more: nobody is blocked on it

    def close(self) -> None:
        self.parked = None
        self.sock.close()

    def receive(self, size: int, seconds: float | None, buffer: bytearray | None = None) -> Any:
        """Read what there is; empty when the peer closed. Bytes, or a view on ``buffer`` if there is one.

        Raises ReadTimeout or ConnectionLost.
        """
        if seconds is not None and seconds <= 0:
            raise ReadTimeout("no time was left to wait for the answer")
        try:
            self.settimeout(seconds)
            if buffer is not None:
                return memoryview(buffer)[: self.sock.recv_into(buffer)]
            return self.sock.recv(size)
        except (OSError, ValueError) as error:
            if is_foreign(error):
                raise
            raise read_error(error, seconds) from error

    def is_ready(self, now: float) -> bool | None:
        """Whether a new request may go out on it; None while the end of a parked answer is still to come."""
        if now - self.idle_since > _MAX_IDLE_SECONDS:
            return False
        if self.parked is not None:
            ended = self.parked.ended_by_now(self)
            if not ended:
                return None if ended is None and now - self.idle_since < _MAX_PARKED_SECONDS else False
            self.parked = None
        # What can be read between two answers is the peer's close, or bytes that nobody asked for.
        return not readable(self.sock)


class ConnectionPool:
    """Idle connections to one origin. Threads share it.

    A forked process must not speak on its parent's connections: when the process id has changed, they are closed here
    (the parent's stay open) and the pool begins anew.
    """

    def __init__(self, connect: Callable[[float | None], tuple[socket.socket, str]]) -> None:
        self._connect = connect
        self._idle: deque[Connection] = deque()  # append and pop are atomic: no lock
        self._pid = os.getpid()
        self._closed = False

    def take(self, connect_timeout: float | None, interrupt: Interrupt) -> Connection:
        """Give an idle connection that is alive, or a new one.

        Raises:
            ConnectionFailed: The server cannot be reached.
            ClientClosed: The interrupt was fired while connecting.
        """
        if self._pid != os.getpid():
            self.forget()
        connection = self._take_idle()
        if connection is not None:
            return connection
        if connect_timeout is not None and connect_timeout <= 0:
            raise ConnectionFailed("no time was left to connect", may_have_executed=False)
        connected = interrupt.run(
            lambda: self._connect(connect_timeout), lambda late: late[0].close(), connect_timeout
        )
        if connected is None:
            if interrupt.fired:
                raise ClientClosed("the request was closed before it was sent")
            raise ConnectionFailed(
                f"no connection within the connect timeout of {connect_timeout:g} s", may_have_executed=False
            )
        return Connection(*connected)

    def _take_idle(self) -> Connection | None:
        now = time.monotonic()
        ending: list[Connection] = []
        found: Connection | None = None
        while found is None:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            ready = connection.is_ready(now)
            if ready:
                found = connection
            elif ready is None:
                ending.append(connection)
            else:
                connection.close()
        if found is None and ending:
            # Servers write the result and the end of its stream in two steps, so in a loop of calls the end is often a
            # moment away. A new connection takes longer than that, and under TLS much longer.
            last = ending.pop(0)
            if readable(last.sock, _WAIT_FOR_END) and last.is_ready(now):
                found = last
            else:
                last.close()
        self._idle.extendleft(ending)
        return found

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        if self._closed or len(self._idle) >= _MAX_IDLE or self._pid != os.getpid():
            connection.close()
            return
        connection.idle_since = now = time.monotonic()
        try:
            if now - self._idle[0].idle_since > _MAX_IDLE_SECONDS:  # the oldest: nobody may come to that one again
                self._idle.popleft().close()
        except IndexError:
            pass
        self._idle.append(connection)
        if self._closed:  # closed in between: do not leave it behind
            self.forget()

    def forget(self) -> None:
        """Close all idle connections."""
        self._pid = os.getpid()
        while True:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def close(self) -> None:
        """Close all idle connections, and each busy one when it is given back."""
        self._closed = True
        self.forget()


def tcp_connector(
    scheme: str, host: str, port: int, ssl_context: Callable[[], ssl.SSLContext]
) -> Callable[[float | None], tuple[socket.socket, str]]:
    """Return a function that connects to an origin with urllib3, within a number of seconds."""
    where = f"{host}:{port}"
    # Packets out at once (urllib3's own default), and a dead peer noticed although nothing is ever sent on a stream.
    options = [*urllib3.connection.HTTPConnection.default_socket_options, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]

    def connect(seconds: float | None) -> tuple[socket.socket, str]:
        extra: dict[str, Any] = {}
        kind: type[urllib3.connection.HTTPConnection] = urllib3.connection.HTTPConnection
        if scheme == "https":
            kind = urllib3.connection.HTTPSConnection
            context = ssl_context()
            extra = {"ssl_context": context, "cert_reqs": context.verify_mode}
        connection = kind(host.strip("[]"), port, timeout=seconds, socket_options=options, **extra)
        try:
            connection.connect()
        except (OSError, urllib3.exceptions.HTTPError) as error:
            connection.close()
            raise connect_error(error, where) from error
        sock = connection.sock
        connection.sock = None  # the socket is ours now
        return sock, where

    return connect
