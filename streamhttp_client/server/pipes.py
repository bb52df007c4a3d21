"""The answer to one request of the stateless era: what its handler says goes straight to the client's connection.

There is no store between the two, since nothing can be resumed: "Closing the SSE response stream MUST be treated by
the server as cancellation of that request" (MCP 2026-07-28, basic/transports/streamable-http). A handler that says
more than its client reads waits for it, for a bounded time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator

from .. import jsonrpc
from ..sse import encode_comment
from .calls import PROGRESS
from .http_answers import in_pieces

__all__ = ["Pipe", "PipeStream"]

_log = logging.getLogger("streamhttp_client.server")

# Messages and bytes that may be unread before a handler waits.
_MAX_EVENTS, _MAX_BYTES = 1000, 1 << 20
# Seconds that all sends of one call may wait for a reader that is slow; then notifications are dropped.
_BUDGET = 30.0
# How long a stream waits for a message before it looks whether its client is still there, in seconds.
_PROBE_INTERVAL = 1.0


class Pipe:
    """The outlet of one call, and what reads it. The handler's threads write, the thread of the HTTP request reads."""

    #: Nothing is asked on this way; see :mod:`.inputs`.
    interactive = False

    def __init__(self) -> None:
        # Guards all fields below, and tells both sides of a change. Held for a few statements.
        self._changed = threading.Condition(threading.Lock())
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._budget = _BUDGET
        self._ended = False
        self._closed = False
        # Whether a message was dropped that is not made up for by the next one.
        self._lost = False
        #: The response, once the call has one; it is not in the queue.
        self.response: jsonrpc.Response | jsonrpc.ErrorResponse | None = None
        self._last = b""

    def send(self, message: jsonrpc.Notification | jsonrpc.Request) -> None:
        data = jsonrpc.dump(message)
        progress = isinstance(message, jsonrpc.Notification) and message.method == PROGRESS
        with self._changed:
            if self._is_full() and not self._wait_for_room() and progress:
                return
            if self._closed or self._ended:
                return
            if self._size < 2 * _MAX_BYTES:
                self._queue.append(data)
                self._size += len(data)
                self._changed.notify_all()
                return
            first, self._lost = not self._lost, True
        if first:
            _log.warning("a client does not read the answer to its call; log messages of it are lost")

    def _is_full(self) -> bool:
        return (len(self._queue) >= _MAX_EVENTS or self._size >= _MAX_BYTES) and not self._closed

    def _wait_for_room(self) -> bool:
        begin = time.monotonic()
        try:
            return self._changed.wait_for(lambda: not self._is_full(), max(self._budget, 0.0))
        finally:
            self._budget -= time.monotonic() - begin

    def finish(self, response: jsonrpc.Response | jsonrpc.ErrorResponse | None) -> None:
        data = b"" if response is None else jsonrpc.dump(response)
        with self._changed:
            self.response = response
            self._last = data
            self._ended = True
            self._changed.notify_all()

    def pause(self, retry_ms: int | None) -> None:
        """A connection that is closed would be a cancellation, so it stays open."""

    def wait(self, seconds: float) -> bool:
        """Wait until there is something to read; False if there still is nothing."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._queue) or self._ended, seconds)

    @property
    def has_messages(self) -> bool:
        """Whether anything but the response is there to be read."""
        return bool(self._queue)

    @property
    def ended(self) -> bool:
        return self._ended

    def take(self) -> tuple[list[bytes], bool]:
        """What was written since the last time, the response at its end; and whether that was the last."""
        with self._changed:
            found = list(self._queue)
            self._queue.clear()
            self._size = 0
            ended = self._ended
            if ended and self._last:
                found.append(self._last)
                self._last = b""
            self._changed.notify_all()
        return found, ended

    def close(self) -> None:
        """Nobody reads any more."""
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._changed.notify_all()


class PipeStream:
    """Iterates the bytes of an answer of type ``text/event-stream``, at the pace of the client.

    A class and not a generator, so that ``close()`` works on one that was never started.

    Args:
        keepalive: Seconds of silence after which a comment is sent.
        gone: Says whether the client has disconnected, if the WSGI server can tell.
        on_close: Called once at the end, whatever the reason was; it gets True if the stream was read to its end.
    """

    def __init__(
        self, pipe: Pipe, *, keepalive: float, gone: Callable[[], bool] | None, on_close: Callable[[bool], None]
    ) -> None:
        self._pipe = pipe
        self._keepalive = keepalive
        self._gone = gone
        self._on_close = on_close
        self._closed = self._whole = False
        #: Whether the chunk that was just given is the last: it may leave together with the end of the body.
        self.is_last = False
        self._chunks = self._run()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def finish(self) -> None:
        """The pipe was read to its end in another way."""
        self._whole = True
        self.close()

    def close(self) -> None:
        """Let go of the call. Called by the WSGI server in every case; calling it again does nothing."""
        if not self._closed:
            self._closed = True
            self._chunks.close()
            self._pipe.close()
            self._on_close(self._whole)

    def _run(self) -> Generator[bytes, None, None]:
        # WSGI holds the headers back until the first bytes of the body, so there is always something to begin with.
        head = b"" if self._pipe.wait(0) else encode_comment()
        spoke = time.monotonic()
        while True:
            messages, ended = self._pipe.take()
            if messages or head:
                # A message has no line break, so one line carries it; there are no ids, since nothing is resumed.
                parts = [head, *(part for data in messages for part in (b"data: ", data, b"\n\n"))]
                left = sum(map(len, parts))
                messages.clear()
                if ended:
                    self._pipe.response = None  # it is in the parts, and shall not be kept twice
                for piece in in_pieces(parts):
                    left -= len(piece)
                    self.is_last = ended and not left
                    yield piece
                parts.clear()
                head = b""
                spoke = time.monotonic()
            if ended:
                self._whole = True
                return
            silent = time.monotonic() - spoke
            if silent >= self._keepalive:
                yield encode_comment()
                spoke, silent = time.monotonic(), 0.0
            if not self._pipe.wait(min(self._keepalive - silent, _PROBE_INTERVAL)):
                if self._gone is not None and self._gone():
                    return
