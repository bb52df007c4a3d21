"""A loopback proxy that breaks the connection it carries, at chosen events of the stream that passes through.

It looks for two things only: the numbers of the events that go by downstream, so that a cut can hit the middle of one,
and requests upstream that take up a broken stream. Bytes are passed on unchanged.

One thread owns all sockets. A socket on which another thread is blocked would not send its reset before that thread
returned.
"""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from .._record import Record

__all__ = ["Cut", "Cutter"]

_CHUNK_SIZE = 64 * 1024
# Seconds for the connection to the server, which is on this machine.
_CONNECT_TIMEOUT = 5.0
# SO_LINGER with a time of zero: close() drops what is unsent and sends a reset.
_RESET = struct.pack("ii", 1, 0)

# A request that takes up a stream says so in this field (WHATWG, server-sent events); names have no case.
_RESUMES = re.compile(rb"\r\nlast-event-id:", re.IGNORECASE)
# Bytes of a chunk that are kept, to find a match that begins in it and ends in the next.
_LONGEST_MATCH = 64


class Cut(Record):
    """One connection that was broken.

    Attributes:
        number: Counted from 1.
        event: The event that was torn: its beginning was passed on, its end was not.
        how: ``"reset"`` (RST, as when a router or container dies) or ``"closed"`` (FIN, as a proxy's idle limit does).
    """

    number: int
    event: int
    how: Literal["reset", "closed"]


class _Finder:
    """Finds a pattern in a stream of chunks, also where two chunks share it."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self._pattern = pattern
        self._tail = b""

    def find(self, chunk: bytes) -> Iterator[tuple[re.Match[bytes], int]]:
        """Give each match that ends in this chunk, and where in the chunk it ends."""
        text, before = self._tail + chunk, len(self._tail)
        self._tail = text[-_LONGEST_MATCH:]
        for match in self._pattern.finditer(text):
            if match.end() > before:
                yield match, match.end() - before


class _Side:
    """One end of a carried connection, and what waits to be sent to it."""

    def __init__(self, sock: socket.socket, pattern: re.Pattern[bytes]) -> None:
        self.sock = sock
        self.pending = bytearray()
        self.finder = _Finder(pattern)  # in what it sends
        self.ended = False  # it sends no more
        self.shut = False  # nothing more is sent to it


class _Link:
    def __init__(self, client: _Side, server: _Side) -> None:
        self.client = client
        self.server = server


class Cutter:
    """Stand between clients and a server on loopback, and cut. A context manager, which joins its thread at the end.

    Args:
        target: Address of the server.
        number: Finds the number of an event, as its group 1, and ends before the event does. At most 64 bytes long.
        at: Numbers of events at which to cut, rising. Resets and plain closes take turns.
        on_cut: Told of each cut, on the thread of the cutter.
        on_resume: Told how often a stream was taken up by now, on that thread too.
    """

    def __init__(
        self,
        target: str,
        *,
        number: re.Pattern[bytes],
        at: Iterable[int],
        on_cut: Callable[[Cut], object] | None = None,
        on_resume: Callable[[int], object] | None = None,
    ) -> None:
        parts = urlsplit(target)
        if parts.hostname is None or parts.port is None:
            raise ValueError(f"the target must name host and port, got {target!r}")
        self._target = (parts.hostname, parts.port)
        self._number = number
        self._plan = list(at)
        self._on_cut = on_cut
        self._on_resume = on_resume
        # Written by the cutter's thread, read by others when it has ended, or for display.
        self.cuts: list[Cut] = []
        self.resumed = 0
        self._failure: BaseException | None = None
        self._links: list[_Link] = []
        self._selector = selectors.DefaultSelector()
        self._stop_read, self._stop_write = socket.socketpair()
        self._listener = socket.create_server(("127.0.0.1", 0))
        for sock in (self._listener, self._stop_read):
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="streamhttp-cutter", daemon=True)
        host, port = self._listener.getsockname()
        self.url = urlunsplit(parts._replace(netloc=f"{host}:{port}"))

    def __enter__(self) -> Cutter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_write.send(b".")
        self._thread.join()
        self._stop_write.close()
        if self._failure is not None and error is None:
            raise self._failure

    # -- the cutter's thread

    def _run(self) -> None:
        try:
            while True:
                for key, ready in self._selector.select():
                    if key.fileobj is self._stop_read:
                        return
                    if key.fileobj is self._listener:
                        self._accept()
                        continue
                    link, side = key.data
                    if link in self._links:  # not dropped earlier in this turn
                        self._serve(link, side, ready)
        except BaseException as error:  # raised by __exit__: what waits for the proxy must not wait in vain
            self._failure = error
        finally:
            for link in list(self._links):
                self._drop(link)
            self._selector.close()
            self._listener.close()
            self._stop_read.close()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(self._target, _CONNECT_TIMEOUT)
        except OSError:
            client.close()
            return
        for sock in (client, server):
            sock.setblocking(False)
            # What is forwarded leaves at once, so that a cut leaves behind exactly what was passed on.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(_Side(client, _RESUMES), _Side(server, self._number))
        self._links.append(link)
        for side in (link.client, link.server):
            self._selector.register(side.sock, selectors.EVENT_READ, (link, side))

    def _serve(self, link: _Link, side: _Side, ready: int) -> None:
        other = link.server if side is link.client else link.client
        try:
            if ready & selectors.EVENT_WRITE:
                del side.pending[: side.sock.send(side.pending)]
            if ready & selectors.EVENT_READ and not side.ended:
                chunk = side.sock.recv(_CHUNK_SIZE)
                side.ended = not chunk
                if side is link.client:
                    self._look_for_resumption(side, chunk)
                elif self._tear(link, chunk):
                    return
                other.pending += chunk
                if other.pending:
                    with contextlib.suppress(BlockingIOError):
                        del other.pending[: other.sock.send(other.pending)]
            for source, sink in ((side, other), (other, side)):
                if source.ended and not sink.pending and not sink.shut:
                    sink.shut = True
                    sink.sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:  # one side has gone
            self._drop(link)
            return
        if side.shut and other.shut:
            self._drop(link)
        else:
            self._watch(link)

    def _look_for_resumption(self, client: _Side, chunk: bytes) -> None:
        for _ in client.finder.find(chunk):
            self.resumed += 1
            if self._on_resume is not None:
                self._on_resume(self.resumed)

    def _tear(self, link: _Link, chunk: bytes) -> bool:
        """If an event in this chunk is to be torn, pass on what precedes the tear, cut, and return True."""
        for match, end in link.server.finder.find(chunk):
            event = int(match[1])
            # An event that was missed, because something stood in the middle of it, is made up for at the next one.
            if self._plan and event >= self._plan[0]:
                del self._plan[0]
                cut = Cut(len(self.cuts) + 1, event, "closed" if len(self.cuts) % 2 else "reset")
                client = link.client
                client.pending += chunk[:end]
                with contextlib.suppress(OSError):
                    client.sock.send(client.pending)
                self._drop(link, reset=cut.how == "reset")
                self.cuts.append(cut)
                if self._on_cut is not None:
                    self._on_cut(cut)
                return True
        return False

    def _watch(self, link: _Link) -> None:
        for side, other in ((link.client, link.server), (link.server, link.client)):
            # A side is not read while what it sent last still waits: the proxy holds one chunk at the most.
            wanted = selectors.EVENT_READ if not side.ended and not other.pending else 0
            wanted |= selectors.EVENT_WRITE if side.pending else 0
            registered = side.sock in self._selector.get_map()
            if wanted and registered:
                self._selector.modify(side.sock, wanted, (link, side))
            elif wanted:
                self._selector.register(side.sock, wanted, (link, side))
            elif registered:
                self._selector.unregister(side.sock)

    def _drop(self, link: _Link, *, reset: bool = False) -> None:
        self._links.remove(link)
        for side in (link.client, link.server):
            if side.sock in self._selector.get_map():
                self._selector.unregister(side.sock)
            if reset:
                side.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            side.sock.close()
