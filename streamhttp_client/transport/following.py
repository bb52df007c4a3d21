"""Waiting for what comes on a channel, so that whatever ends the waiting ends it at once."""

from __future__ import annotations

import time
from collections.abc import Iterator

from .. import jsonrpc
from .._headers import Headers
from ..exceptions import (
    CallTimeout,
    ClientClosed,
    ConnectionLost,
    MessageTooLarge,
    ReadTimeout,
    RemoteProtocolError,
    SessionExpired,
    StreamHTTPError,
)
from ..net.retry import Effort
from .channel import Box, Channel

__all__ = ["Follower", "expired", "timed_out"]


class Follower:
    """One who waits for what comes on a channel. Iterate it once, from one thread.

    Attributes:
        request_id: Of the request whose response is waited for; "" where there is none.
        in_flight: Whether the server may be working on it.
        last_event_id: Always "": nothing can be resumed.
        retry_ms: The reconnection time that the server asked for, or None.
        headers: Of the answer to the POST; None before it, and where the response came first.
    """

    def __init__(self, effort: Effort, request_id: jsonrpc.RequestId | None = None) -> None:
        self._wanted = request_id
        self.request_id: jsonrpc.RequestId = "" if request_id is None else request_id
        self.in_flight = False
        self.last_event_id = ""
        self.retry_ms: int | None = None
        self.headers: Headers | None = None
        self._effort = effort
        self._channel: Channel | None = None
        self._box: Box | None = None
        self._since = 0.0  # monotonic time from which silence counts

    def look_ahead(self) -> Iterator[jsonrpc.Message]:
        """What has arrived but was not handed out yet; it will be, all the same. Does not wait."""
        return iter(()) if self._box is None else iter(self._box.ahead())

    def close(self) -> None:
        """Wait no more. What the server asked and nobody has taken goes to the next who waits."""
        box, self._box = self._box, None
        if box is not None and self._channel is not None:
            self._effort.interrupt.detach(box.wake)
            self._channel.leave(box, self._wanted)

    def _enter(self, channel: Channel) -> None:
        box = channel.new_box()
        self._channel, self._box = channel, box
        self._since = time.monotonic()
        self._effort.interrupt.attach(box.wake)
        if not channel.enter(box, self._wanted):
            self.close()
            raise expired("the stream of the session has ended")

    def _next(self) -> jsonrpc.Message:
        """Wait for a message."""
        channel, box, effort = self._channel, self._box, self._effort
        if channel is None or box is None:
            raise ClientClosed("the answer was closed before it was read")
        end_seen: float | None = None  # monotonic time
        while True:
            if effort.interrupt.fired:
                raise ClientClosed("the answer was closed while it was waited for")
            ended = channel.ended  # asked before the box: what came before the end is in it by then
            message = box.take()
            if message is not None:
                is_response = isinstance(message, (jsonrpc.Response, jsonrpc.ErrorResponse))
                if effort.deadline.expired and not is_response:
                    raise self._over()  # a callback took long; what is waiting must not make it longer
                effort.progressed()
                self.retry_ms = channel.retry_ms
                return message
            if box.overflowed:
                raise MessageTooLarge(
                    f"more than {box.limit} bytes of messages are waiting to be read here (max_message_size)",
                    limit=box.limit,
                )
            if box.nonsense:
                raise RemoteProtocolError(box.nonsense)
            if self._news():
                continue
            wait = effort.deadline.remaining()
            if wait == 0.0:
                raise self._over()
            now, read = time.monotonic(), effort.timeout.read
            left: float | None = None
            if ended:
                end_seen = end_seen or now
                left = self._patience() - (now - end_seen)
                if left <= 0:
                    raise self._lost(channel)
            elif read is not None:
                left = read - (now - max(self._since, channel.heard_at))
                if left <= 0:
                    # A silence that long counts as a break, and who comes next must not wait for it again.
                    channel.stop(f"it was silent for {read:g} s", wait=False)
                    raise ReadTimeout(f"the server was silent for {read:g} s", attempts=effort.attempts)
            box.wait(left if wait is None else wait if left is None else min(wait, left))

    def _news(self) -> bool:
        """Whether something else has changed meanwhile; may raise."""
        return False

    def _patience(self) -> float:
        """Seconds to wait at the end of the stream for what else may become known."""
        return 0.0

    def _lost(self, channel: Channel) -> StreamHTTPError:
        """The error for what does not come any more, at the end of the stream."""
        if channel.limit_passed:
            return MessageTooLarge(channel.why, limit=channel.max_message_size)
        return ConnectionLost(
            f"the stream on which the answers come is lost: {channel.why}", attempts=self._effort.attempts
        )

    def _over(self) -> CallTimeout:
        return timed_out(self._effort, self.in_flight)


def expired(message: str) -> SessionExpired:
    # No answer says so, but 404 is what the server would say.
    return SessionExpired(message, status=404, headers=Headers())


def timed_out(effort: Effort, may_have_executed: bool) -> CallTimeout:
    seconds = effort.deadline.seconds
    return CallTimeout(f"no answer within {seconds:g} s", may_have_executed=may_have_executed, attempts=effort.attempts)
