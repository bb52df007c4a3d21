"""One open event stream: what was read of it, and what was parsed and not handled yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from .. import jsonrpc
from ..exceptions import ConnectionLost, StreamHTTPError
from ..net.body import Body
from ..sse import Event, SSEParser

__all__ = ["EventReader"]


class EventReader:
    """Reads the events of one answer. One thread uses it.

    Args:
        body: Of the answer.
        max_event_size: Bytes of one event.
        last_event_id: The id that events without one have, from the stream which this one continues.

    Attributes:
        parser: Knows the reconnection time and the last id.
        events: What has arrived and is to be handled, oldest first.
    """

    def __init__(self, body: Body, *, max_event_size: int, last_event_id: str = "") -> None:
        self._body = body
        self._ahead: StreamHTTPError | None = None  # what look_ahead() ran into
        self.parser = SSEParser(max_event_size=max_event_size, last_event_id=last_event_id)
        self.events: deque[Event] = deque()

    def fill(self, timeout: float | None) -> bool:
        """Wait for more; False at the end.

        Raises:
            ConnectionLost: The stream broke.
            MessageTooLarge: An event is over the limit.
        """
        if self._ahead is not None:
            raise self._ahead
        chunk = self._body.read1(timeout=timeout)
        if not chunk:
            return False
        self.events += self.parser.feed(chunk)
        return True

    def look_ahead(self) -> Iterator[jsonrpc.Message]:
        """What has arrived but was not handled yet; it will be, all the same. Does not wait."""
        try:
            chunk = self._body.read_ready()
            if chunk:
                self.events += self.parser.feed(chunk)
            for event in self.events:
                if event.data and event.type == "message":
                    yield from jsonrpc.parse(event.data)
        except ConnectionLost:
            pass  # the next read says so again
        except StreamHTTPError as error:
            self._ahead = error  # of an event that is dealt with when its turn comes
