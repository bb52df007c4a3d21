"""A loopback TCP proxy that can cut connections, to stand between our client and a real server.

One thread owns every socket and waits in one selector; commands reach it through a socket pair and are done
when the method that gave them returns. That is what makes a reset possible at all: closing a socket on which
another thread is blocked in ``recv`` sends nothing until that thread returns.

Bytes are forwarded unseen. The proxy counts and cuts; it neither delays nor changes anything.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

How = Literal["rst", "fin"]

#: Bytes read in one go, and held for a peer that does not read before its counterpart is no longer read from.
CHUNK_SIZE = 64 * 1024
#: Seconds that a command may take; it only has to get through one turn of the loop.
COMMAND_BOUND = 10.0
#: Bytes that are remembered of what went to clients.
TAIL_SIZE = 4096

# l_onoff, l_linger: with a linger time of zero, close() discards what is unsent and sends a reset.
_RESET = struct.pack("ii", 1, 0)


class _End:
    """One side of a forwarded connection: its socket and what waits to be sent to it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.pending = bytearray()
        self.ended = False  # nothing more will be read from it
        self.shut = False  # nothing more will be sent to it
        self.events = 0  # what the selector watches it for; 0 = not registered


class _Link:
    """A client's connection and the one opened to the server for it."""

    def __init__(self, client: _End, server: _End) -> None:
        self.client = client
        self.server = server
        self.draining = False  # cut with FIN: wait for the client to close, forward nothing


class Cutter:
    """Forward 127.0.0.1 connections to a server, and cut them when told.

    Its methods may be called from any thread. Entering starts it; leaving closes every connection and joins
    its thread.

    Args:
        target: URL of the server, or its ``(host, port)``. May be assigned again later, for new connections.
    """

    def __init__(self, target: str | tuple[str, int]) -> None:
        self.target = target
        self.connections = 0  # accepted so far
        self.cuts = 0  # connections cut so far
        self.bytes_up = 0  # from clients to the server
        self.bytes_down = 0  # from the server to clients
        self._links: list[_Link] = []
        # Bytes downstream until the next cut, and how; None = not armed.
        self._countdown: tuple[int, How] | None = None
        self._refusing = False
        self._failure: BaseException | None = None
        # The last bytes that went to clients; guarded by the condition, which is told of more.
        self._tail = b""
        self._more = threading.Condition()
        # Guards _commands only; the loop never runs a command while holding it.
        self._lock = threading.Lock()
        self._commands: list[tuple[Callable[[], None], threading.Event]] = []
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        for sock in (self._listener, self._wake_read):
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ)
        self._running = True
        self._thread = threading.Thread(target=self._run, name="cutter", daemon=True)

    # --- for tests ------------------------------------------------------------------------------------------

    @property
    def target(self) -> tuple[str, int]:
        return self._target

    @target.setter
    def target(self, target: str | tuple[str, int]) -> None:
        if isinstance(target, str):
            parts = urlsplit(target)
            if parts.hostname is None or parts.port is None:
                raise ValueError(f"target must name a host and a port, got {target!r}")
            target = (parts.hostname, parts.port)
        self._target = target

    @property
    def address(self) -> tuple[str, int]:
        """Where the proxy listens."""
        host, port = self._listener.getsockname()
        return host, port

    def through(self, url: str) -> str:
        """The same URL, by way of this proxy."""
        host, port = self.address
        return urlunsplit(urlsplit(url)._replace(netloc=f"{host}:{port}"))

    @property
    def open(self) -> int:
        """Connections that are being forwarded now."""
        return sum(not link.draining for link in list(self._links))

    def cut(self, how: How = "rst") -> int:
        """Cut every open connection now; return how many there were."""
        count = 0

        def command() -> None:
            nonlocal count
            count = sum(not link.draining for link in self._links)
            for link in list(self._links):
                self._cut(link, how)

        self._do(command)
        return count

    def cut_after(self, size: int, how: How = "rst") -> None:
        """Cut the connection that carries the ``size``-th byte downstream from now on, just behind that byte.

        Bytes of all connections count together; it happens once, then the proxy forwards as before.
        """

        def command() -> None:
            self._countdown = (size, how)

        self._do(command)

    def wait_for(self, text: bytes, seconds: float = COMMAND_BOUND) -> None:
        """Wait until ``text`` is among the last bytes that went to clients."""
        with self._more:
            assert self._more.wait_for(lambda: text in self._tail, seconds), f"{text!r} did not pass"

    def refuse(self, refusing: bool = True) -> None:
        """Reset new connections as soon as they come in, or accept them again."""

        def command() -> None:
            self._refusing = refusing

        self._do(command)

    def __enter__(self) -> Cutter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        def command() -> None:
            self._running = False

        with contextlib.suppress(RuntimeError):
            self._do(command)
        self._thread.join(COMMAND_BOUND)
        if self._failure is not None:
            raise self._failure
        assert not self._thread.is_alive()

    # --- the loop's thread ----------------------------------------------------------------------------------

    def _do(self, command: Callable[[], None]) -> None:
        done = threading.Event()
        if not self._thread.is_alive():
            raise RuntimeError("the cutter is not running")
        with self._lock:
            self._commands.append((command, done))
        self._wake_write.send(b"!")
        if not done.wait(COMMAND_BOUND):
            raise RuntimeError("the cutter did not obey")

    def _run(self) -> None:
        try:
            while self._running:
                for key, events in self._selector.select():
                    if key.fileobj is self._wake_read:
                        self._obey()
                    elif key.fileobj is self._listener:
                        self._accept()
                    elif self._selector.get_map().get(key.fd) is key:  # not dropped earlier in this turn
                        link, end = key.data
                        self._serve(link, end, events)
        except BaseException as error:  # raised again by __exit__: a dead proxy is no dead server
            self._failure = error
        finally:
            for link in list(self._links):
                self._drop(link, reset=False)
            self._selector.close()
            for sock in (self._listener, self._wake_read, self._wake_write):
                sock.close()

    def _obey(self) -> None:
        self._wake_read.recv(CHUNK_SIZE)
        with self._lock:
            commands, self._commands = self._commands, []
        for command, done in commands:
            command()
            done.set()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:  # the client was quicker in leaving
            return
        self.connections += 1
        server = None
        if not self._refusing:
            with contextlib.suppress(OSError):
                server = socket.create_connection(self._target, timeout=COMMAND_BOUND)
        if server is None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            sock.close()
            return
        for each in (sock, server):
            each.setblocking(False)
            # Every piece leaves at once: what a cut leaves behind must be what was forwarded.
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(_End(sock), _End(server))
        self._links.append(link)
        self._watch(link)

    def _serve(self, link: _Link, end: _End, events: int) -> None:
        other = link.server if end is link.client else link.client
        try:
            if events & selectors.EVENT_WRITE:
                self._flush(end)
            if events & selectors.EVENT_READ:
                chunk = end.sock.recv(CHUNK_SIZE)
                if link.draining:
                    if not chunk:
                        self._drop(link, reset=False)
                    return
                if not chunk:
                    end.ended = True
                elif self._forward(link, other, chunk):
                    return
            self._finish(end, other)
            self._finish(other, end)
        except BlockingIOError:
            pass
        except OSError:  # one side reset its connection: so does the proxy
            self._drop(link, reset=True)
            return
        if link.client.shut and link.server.shut:
            self._drop(link, reset=False)
        else:
            self._watch(link)

    def _forward(self, link: _Link, other: _End, chunk: bytes) -> bool:
        """Pass a chunk on; True if that cut the link."""
        if other is link.server:
            self.bytes_up += len(chunk)
            other.pending += chunk
            self._flush(other)
            return False
        how: How | None = None
        if self._countdown is not None:
            left, how = self._countdown
            self._countdown = (left - len(chunk), how) if left > len(chunk) else None
            if self._countdown is None:
                chunk = chunk[:left]
            else:
                how = None
        self.bytes_down += len(chunk)
        other.pending += chunk
        self._flush(other)
        with self._more:
            self._tail = (self._tail + chunk)[-TAIL_SIZE:]
            self._more.notify_all()
        if how is not None:
            self._cut(link, how)
        return how is not None

    def _flush(self, end: _End) -> None:
        if end.pending:
            with contextlib.suppress(BlockingIOError):
                del end.pending[: end.sock.send(end.pending)]

    def _finish(self, source: _End, end: _End) -> None:
        """Pass the end of a stream on, once everything before it was sent."""
        if source.ended and not end.pending and not end.shut:
            end.shut = True
            with contextlib.suppress(OSError):
                end.sock.shutdown(socket.SHUT_WR)

    def _watch(self, link: _Link) -> None:
        for end, other in ((link.client, link.server), (link.server, link.client)):
            events = 0
            if not end.ended and len(other.pending) < CHUNK_SIZE:
                events |= selectors.EVENT_READ
            if end.pending:
                events |= selectors.EVENT_WRITE
            self._watch_for(link, end, events)

    def _watch_for(self, link: _Link, end: _End, events: int) -> None:
        if end.events and not events:
            self._selector.unregister(end.sock)
        elif events and not end.events:
            self._selector.register(end.sock, events, (link, end))
        elif events != end.events:
            self._selector.modify(end.sock, events, (link, end))
        end.events = events

    def _cut(self, link: _Link, how: How) -> None:
        if link.draining:
            return
        self.cuts += 1
        if how == "rst" or link.client.ended:
            self._drop(link, reset=how == "rst")
            return
        # A close() with unread bytes in the socket is a reset too, so the client is read until it closes.
        self._close(link.server, reset=True)
        link.draining = True
        link.client.pending.clear()
        try:
            link.client.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(link, reset=True)
        else:
            self._watch_for(link, link.client, selectors.EVENT_READ)

    def _drop(self, link: _Link, *, reset: bool) -> None:
        self._close(link.client, reset=reset)
        self._close(link.server, reset=reset)
        self._links.remove(link)

    def _close(self, end: _End, *, reset: bool) -> None:
        if end.sock.fileno() < 0:
            return
        if end.events:
            self._selector.unregister(end.sock)
            end.events = 0
        if reset:
            with contextlib.suppress(OSError):
                end.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.sock.close()
