"""The one stream of HTTP+SSE on which everything comes, and whose each message is.

One daemon thread reads it and sorts; nobody else touches the network here. Whoever waits for something has a
:class:`Box`, which the thread fills. Responses go by their id, progress by its token. What else the server says or
asks goes to the newest request under way, for it is likely what that brought about; else to who listens; else it is
kept for who comes next. Every box is bounded, and so is what is kept.

The thread holds the channel and nothing above it, so that a client which is dropped is not kept alive by it.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable

from .. import jsonrpc
from ..exceptions import MessageTooLarge, RemoteProtocolError, StreamHTTPError
from ..net.body import Body
from ..net.direct import DirectBody
from ..net.interrupt import Interrupt
from ..protocol.session import Session
from ..sse import Event, SSEParser
from .posting import Outbox, Pongs

__all__ = ["Box", "Channel"]

logger = logging.getLogger("streamhttp_client")

# What a message costs in memory beyond its text, about.
_OVERHEAD = 512
# What is kept while nobody is there to take it: what happens between two calls, not what happens over night.
_MAX_UNCLAIMED = 64
_MAX_UNCLAIMED_SIZE = 1024 * 1024
# Requests of the server of which is remembered who was given them, for when it takes one back.
_MAX_ASKED = 1024
# The longest single wait: some systems take no more than 49 days.
_LONGEST_WAIT = 86_400.0
_JOIN_SECONDS = 0.9
# In a forked child: what must not even be collected.
_INHERITED: list[Channel] = []


class Box:
    """What has arrived for one who waits. The channel's thread puts, one other takes, anybody wakes.

    A ``SimpleQueue`` is below, since its ``put`` may interrupt itself: signal handlers cancel calls.

    Args:
        limit: Bytes of messages that may wait here, about; of one message alone, any number.

    Attributes:
        overflowed: Whether something was lost because there was no room.
        nonsense: What was wrong with something that came in place of a response; "" if nothing did.
        closed: Whether nobody takes any more.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.overflowed = False
        self.nonsense = ""
        self.closed = False
        self._queue: queue.SimpleQueue[tuple[jsonrpc.Message, int] | None] = queue.SimpleQueue()
        self._arrived: deque[tuple[jsonrpc.Message, int]] = deque()  # of the taking thread
        # Each is written by one thread only, so that their difference needs no lock.
        self._put = 0
        self._taken = 0

    def put(self, message: jsonrpc.Message, size: int) -> None:
        """Never blocks. What there is no room for is lost, and said to be. A response ends it all, and has room."""
        size += _OVERHEAD
        waiting = self._put - self._taken
        is_response = isinstance(message, (jsonrpc.Response, jsonrpc.ErrorResponse))
        if self.overflowed or (waiting and not is_response and waiting + size > self.limit):
            if not self.overflowed:
                self.overflowed = True
                self._queue.put(None)
            return
        self._put += size
        self._queue.put((message, size))

    def wake(self) -> None:
        """Have the waiting thread look around. Any thread, signal handlers too."""
        self._queue.put(None)

    def wait(self, seconds: float | None) -> None:
        """Wait until something arrives or it is woken, or so long."""
        try:
            item = self._queue.get(timeout=_LONGEST_WAIT if seconds is None else min(seconds, _LONGEST_WAIT))
        except queue.Empty:
            return
        if item is not None:
            self._arrived.append(item)

    def take(self) -> jsonrpc.Message | None:
        """The next message, if there is one."""
        self._collect()
        if not self._arrived:
            return None
        message, size = self._arrived.popleft()
        self._taken += size
        return message

    def ahead(self) -> list[jsonrpc.Message]:
        """What the next calls of :meth:`take` will give."""
        self._collect()
        return [message for message, _ in self._arrived]

    def empty(self) -> list[tuple[jsonrpc.Message, int]]:
        """Take all that is left, with sizes."""
        self._collect()
        left = [(message, size - _OVERHEAD) for message, size in self._arrived]
        self._arrived.clear()
        return left

    def _collect(self) -> None:
        while True:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return
            if item is not None:
                self._arrived.append(item)


class Channel:
    """An open stream that has named the address for messages. Threads share it.

    Args:
        outbox: Where messages go.
        headers: Of the answers to pings.
        body: Of the GET; the channel closes it.
        parser: What its beginning was read with.
        events: What came with the beginning, and is to be sorted.
        interrupt: What the GET was sent with, and nothing else.
        max_message_size: Bytes that may wait for one reader, about, besides its response.

    Attributes:
        session: The session that was begun on it; None until the handshake is done.
        ended: True once nothing comes any more. What came before is in the boxes by then.
        stopped: Whether it was ended here, so that nothing more is to be learned of it.
        why: In words, once it has ended.
        limit_passed: Whether it has ended because an event was too large.
        heard_at: Monotonic time of the last byte.
    """

    def __init__(
        self,
        outbox: Outbox,
        headers: dict[str, str],
        body: Body,
        parser: SSEParser,
        events: Iterable[Event],
        interrupt: Interrupt,
        max_message_size: int,
    ) -> None:
        self.outbox = outbox
        self.session: Session | None = None
        self.ended = False
        self.stopped = False
        self.why = ""
        self.limit_passed = False
        self.heard_at = time.monotonic()
        self.max_message_size = max_message_size
        self._body = body
        self._parser = parser
        self._events = list(events)
        self._interrupt = interrupt
        self._pongs = Pongs(outbox, headers, interrupt)
        # Guards all below; held for a moment, never while blocked. Taken again by the same thread when a signal handler
        # closes in between.
        self._lock = threading.RLock()
        self._boxes: dict[jsonrpc.RequestId, Box] = {}  # of requests under way, the newest last
        self._listeners: list[Box] = []
        self._unclaimed: deque[tuple[jsonrpc.Message, int]] = deque()
        self._unclaimed_size = 0
        self._asked: dict[jsonrpc.RequestId, Box] = {}
        self._thread = threading.Thread(target=self._read, name="streamhttp-channel", daemon=True)

    def start(self) -> None:
        """Read from now on."""
        try:
            self._thread.start()
        except BaseException:  # no more threads
            self._body.abandon()
            raise

    @property
    def retry_ms(self) -> int | None:
        """The reconnection time that the server has named, or None."""
        return self._parser.retry_ms

    # -- for who waits

    def new_box(self) -> Box:
        # Small limits are for messages, not for how many of them may come before one gets to read them.
        return Box(max(self.max_message_size, _MAX_UNCLAIMED_SIZE))

    def enter(self, box: Box, request_id: jsonrpc.RequestId | None) -> bool:
        """Have what is for this request, or for listeners if there is none, put into the box; False at the end."""
        with self._lock:
            if self.ended:
                return False
            if request_id is None:
                self._listeners.append(box)
            else:
                self._boxes[request_id] = box
            unclaimed, self._unclaimed, self._unclaimed_size = self._unclaimed, deque(), 0
            for message, size in unclaimed:
                self._sort(message, size)
        return True

    def leave(self, box: Box, request_id: jsonrpc.RequestId | None) -> None:
        """Nobody takes from the box any more. What the server asked in there is somebody else's to answer."""
        with self._lock:
            if box.closed:
                return
            box.closed = True
            if request_id is None:
                self._listeners = [other for other in self._listeners if other is not box]
            elif self._boxes.get(request_id) is box:
                del self._boxes[request_id]
            for message, size in box.empty():
                if isinstance(message, (jsonrpc.Request, jsonrpc.Notification)) and not self.ended:
                    self._sort(message, size)

    def is_last(self, box: Box) -> bool:
        """Whether nobody but this one waits for a response."""
        with self._lock:
            return all(other is box for other in self._boxes.values())

    # -- the end

    def stop(self, why: str, *, wait: bool = True) -> None:
        """End it, now. Any thread; takes a second at the most, and with ``wait=False`` no time at all."""
        self.stopped = True
        self._end(why)
        self._interrupt.fire()
        if wait and self._thread is not threading.current_thread() and self._thread.ident is not None:
            self._thread.join(_JOIN_SECONDS)

    def forget(self) -> None:
        """In a forked child: let go of what is the parent's, without a word to the server."""
        self.stopped = self.ended = True
        if isinstance(self._body, DirectBody):
            self._body.abandon()
        else:
            # The parent's thread was reading, and the locks that it held inside of requests' file were copied with it:
            # to close this would wait for ever.
            _INHERITED.append(self)

    def _end(self, why: str, *, limit_passed: bool = False) -> None:
        with self._lock:
            if self.ended:
                return
            self.why, self.limit_passed = why, limit_passed
            self.ended = True
            for box in (*self._boxes.values(), *self._listeners):
                box.wake()
            self._unclaimed.clear()
            self._asked.clear()

    # -- the thread

    def _read(self) -> None:
        why, limit_passed = "the reader of the stream failed", False
        try:
            while True:
                for event in self._events:
                    self._take(event)
                self._parser.feed(b"")  # raises now what it has kept back for the sake of events that came before
                chunk = self._body.read1()
                if not chunk:
                    why = "the server has ended the stream"
                    return
                self.heard_at = time.monotonic()
                self._events = self._parser.feed(chunk)
        except MessageTooLarge as error:
            why, limit_passed = str(error), True
        except StreamHTTPError as error:
            why = str(error)
        finally:
            self._end(why, limit_passed=limit_passed)
            self._events = []
            self._body.abandon()
            self._interrupt.fire()  # pongs under way, of which there is no use now

    def _take(self, event: Event) -> None:
        if event.type != "message" or not event.data:
            # One address is named, at the beginning: a later one would take the session elsewhere.
            logger.debug("ignored an event of type %.40r", event.type)
            return
        size = len(event.data)
        try:
            messages = jsonrpc.parse(event.data)
        except RemoteProtocolError as error:
            self._take_nonsense(error)
            return
        with self._lock:
            for message in messages:
                self._sort(message, size // len(messages))

    def _take_nonsense(self, error: RemoteProtocolError) -> None:
        """Something that is no message. Whose it was cannot be told, unless only one waits."""
        with self._lock:
            if len(self._boxes) == 1:
                _, box = self._boxes.popitem()
                box.nonsense = str(error)
                box.wake()
                return
        logger.warning("dropped what the server sent: %s", error)

    def _sort(self, message: jsonrpc.Message, size: int) -> None:
        """Put a message where it belongs. With the lock."""
        if isinstance(message, (jsonrpc.Response, jsonrpc.ErrorResponse)):
            box = self._box_for(message)
            if box is None:
                logger.debug("dropped the response to a request that nobody waits for")
            else:
                box.put(message, size)
        elif isinstance(message, jsonrpc.Request):
            if message.method == "ping":
                self._pongs.answer(message.id)
            else:
                self._ask(message, size)
        elif message.method == "notifications/progress":
            token = (message.params or {}).get("progressToken")
            # "1", 1 and true are different tokens, and True is 1 for a dict.
            box = self._boxes.get(token) if type(token) in (int, str) else None  # type: ignore[arg-type]
            if box is None:
                box = self._listener()
            if box is None:
                logger.debug("dropped progress for an unknown token")
            else:
                box.put(message, size)
        elif message.method == "notifications/cancelled":
            self._take_back(message, size)
        elif message.method == "notifications/message":
            self._give(self._newest() or self._listener(), message, size)
        else:
            self._give(self._listener() or self._newest(), message, size)

    def _box_for(self, message: jsonrpc.Response | jsonrpc.ErrorResponse) -> Box | None:
        """Who waits for a response; nobody does any more then."""
        if message.id is not None:
            return self._boxes.pop(message.id, None)  # ids are texts and integers only, which never are equal
        # "If there was an error in detecting the id in the Request object, it MUST be Null": JSON-RPC 2.0, section 5.
        return self._boxes.popitem()[1] if len(self._boxes) == 1 else None

    def _newest(self) -> Box | None:
        return next(reversed(self._boxes.values()), None)

    def _listener(self) -> Box | None:
        return self._listeners[-1] if self._listeners else None

    def _ask(self, request: jsonrpc.Request, size: int) -> None:
        box = self._newest() or self._listener()
        if box is not None:
            self._asked[request.id] = box
            if len(self._asked) > _MAX_ASKED:
                del self._asked[next(iter(self._asked))]
        self._give(box, request, size)

    def _take_back(self, message: jsonrpc.Notification, size: int) -> None:
        """The server has cancelled a request of its own: whoever was given that must know."""
        request_id = (message.params or {}).get("requestId")
        if type(request_id) not in (int, str):
            return
        box = self._asked.get(request_id)  # type: ignore[arg-type]
        if box is not None and not box.closed:
            box.put(message, size)
        kept = [(other, n) for other, n in self._unclaimed if getattr(other, "id", None) != request_id]
        self._unclaimed = deque(kept)
        self._unclaimed_size = sum(n for _, n in kept)

    def _give(self, box: Box | None, message: jsonrpc.Message, size: int) -> None:
        if box is not None:
            box.put(message, size)
            return
        self._unclaimed.append((message, size))
        self._unclaimed_size += size
        while len(self._unclaimed) > _MAX_UNCLAIMED or self._unclaimed_size > _MAX_UNCLAIMED_SIZE:
            dropped, its_size = self._unclaimed.popleft()
            self._unclaimed_size -= its_size
            method = getattr(dropped, "method", "a response")
            logger.debug("dropped %.40r of the server: nobody was there to take it", method)
