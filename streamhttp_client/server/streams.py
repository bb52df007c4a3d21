"""A log of the store as an answer of type ``text/event-stream``."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator

from ..sse import encode_comment, encode_event
from .delivery import Backlog
from .http_answers import in_pieces
from .pace import Pace
from .stores.base import Store

__all__ = ["EVENT_STREAM_HEADERS", "EventStream", "event_id", "is_message", "read_event_id"]

EVENT_STREAM_HEADERS = [
    ("Content-Type", "text/event-stream"),
    # "no-transform" keeps proxies from compressing, which would hold events back.
    ("Cache-Control", "no-cache, no-transform"),
    ("X-Accel-Buffering", "no"),  # nginx: pass on each event at once
]

# A result that is ready this soon, in seconds, goes out with the first event, in one packet.
_FIRST_WAIT = 0.001

_EVENT_ID = re.compile(r"([a-z][0-9a-f]{32}):([0-9]{1,15})")


def is_message(data: bytes) -> bool:
    """Whether an entry is a JSON-RPC message. Else a handler asked to close the connection, and it is a retry
    time.
    """
    return data[:1] in (b"{", b"[")


def event_id(log: str, number: int) -> str:
    """ "Event IDs SHOULD encode sufficient information to identify the originating stream" (MCP,
    basic/transports).
    """
    return f"{log}:{number}"


def read_event_id(value: str) -> tuple[str, int] | None:
    """Return log and number of an event id, or None if it is none of ours."""
    found = _EVENT_ID.fullmatch(value)
    return None if found is None else (found[1], int(found[2]))


class EventStream:
    """Iterates the bytes of the answer; a WSGI server takes them at the pace of its client.

    Its end never ends the handler that writes the log. A class and not a generator, so that ``close()`` works
    on one that was never started.

    Args:
        after: Number of the last event that the client has.
        reader: From :meth:`Store.claim`.
        ids: False where nothing can be resumed: on a stateless server.
        polling: The client knows events with an id and no data, which let it come back from the first moment
            on. Older ones take them for broken messages.
        retry_ms: Milliseconds after which a client that lost the stream should come back.
        keepalive: Seconds of silence after which a comment is sent.
        backlog: Lets go of the log later if the store is away at the end.
        pace: Of the handler that writes the log, if it runs here.
        gone: Says whether the client has disconnected.
        stopping: Says whether the server stops.
        on_close: Called once at the end, whatever the reason was; it gets True if the stream was read to its
            end.
    """

    def __init__(
        self,
        store: Store,
        session: str,
        log: str,
        after: int,
        reader: int,
        *,
        ids: bool,
        polling: bool,
        retry_ms: int,
        keepalive: float,
        backlog: Backlog,
        pace: Pace | None = None,
        gone: Callable[[], bool] | None,
        stopping: Callable[[], bool],
        on_close: Callable[[bool], None] | None = None,
    ) -> None:
        self._store = store
        self._session = session
        self._log = log
        self._position = after
        self._reader = reader
        self._ids = ids
        self._polling = polling
        self._retry_ms = retry_ms
        self._keepalive = keepalive
        self._backlog = backlog
        self._pace = pace
        self._gone = gone
        self._stopping = stopping
        self._on_close = on_close
        self._closed = self._whole = False
        #: Whether the chunk that was just given is the last: it may leave together with the end of the body.
        self.is_last = False
        self._chunks = self._run()
        if pace is not None:
            pace.attach(after)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        """Let go of the log. Called by the WSGI server in every case; calling it again does nothing."""
        if not self._closed:
            self._closed = True
            self._chunks.close()
            if self._pace is not None:
                self._pace.detach()
            try:
                self._backlog.attempt(self._release, "the end of a stream")
            finally:
                # Whatever the store does: who counts the open streams must hear of it.
                if self._on_close is not None:
                    self._on_close(self._whole)

    def _release(self) -> None:
        self._store.release(self._session, self._log, self._reader, self._position)

    def _run(self) -> Generator[bytes, None, None]:
        # WSGI holds the headers back until the first bytes of the body, so there is always something to begin
        # with.
        head = self._prime(self._position, self._retry_ms) if self._polling else encode_comment()
        position, wait = self._position, _FIRST_WAIT
        spoke = time.monotonic()
        while True:
            # Asked before the look, so that what came until then is not left behind.
            stopping = self._stopping()
            page = self._store.read(
                self._session,
                self._log,
                position,
                wait=0.0 if stopping else wait,
                reader=self._reader,
                until=self._is_over,
            )
            parts = [head] if head else []
            head = b""
            pause = False
            for position, data in page.entries:
                if not is_message(data):
                    parts.append(self._prime(position, int(data) if data else self._retry_ms))
                    pause = True
                    break
                # A message has no line break, so one line carries it.
                name = b"id: %b\n" % event_id(self._log, position).encode() if self._ids else b""
                parts += (b"%bdata: " % name, data, b"\n\n")
            ended = page.state == "ended" and not pause
            stopping = stopping and not ended and not pause
            if stopping:
                parts.append(self._farewell(position))
            if page.state in ("gone", "taken"):
                parts.append(self._loss())
            over, left = pause or stopping or page.state != "open", sum(map(len, parts))
            if spoken := bool(left):
                for piece in in_pieces(parts):
                    left -= len(piece)
                    self.is_last = over and not left
                    yield piece
                spoke = time.monotonic()
                # Only now: if the write failed, the generator was closed at the yield.
                self._position = position
                if self._pace is not None:
                    self._pace.move(position)
            del page, parts
            if over:
                self._whole = ended
                return
            if self._gone is not None and not spoken and self._gone():
                return
            silent = time.monotonic() - spoke
            if silent >= self._keepalive:
                yield encode_comment()
                spoke, silent = time.monotonic(), 0.0
            wait = self._keepalive - silent

    def _is_over(self) -> bool:
        return self._stopping() or self._gone is not None and self._gone()

    def _farewell(self, position: int) -> bytes:
        """What is said when the server stops."""
        # Without data it is no event, so clients of all revisions only take the time from it.
        return self._prime(position, self._retry_ms) if self._polling else b"retry: %d\n\n" % self._retry_ms

    def _loss(self) -> bytes:
        """What is said when there is nothing more to read here: nothing, the client comes back."""
        return b""

    def _prime(self, position: int, retry_ms: int) -> bytes:
        """ "an SSE event consisting of an event ID and an empty data field" (MCP 2025-11-25,
        basic/transports).
        """
        return encode_event("", id=event_id(self._log, position), retry_ms=retry_ms)
