"""What no call asked for, as it comes in each era: a feed is one attempt at hearing it.

Its messages are None once, when the server has agreed, and then those that come. They end when the feed does: with
``failure`` set, where something broke that another attempt may mend; with ``over`` set, where the server has said that
there will be no more. It raises what no further attempt can mend.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

from .. import jsonrpc
from ..exceptions import ConnectionLost, HTTPStatusError, MethodNotFound, RPCError, StreamHTTPError, TransportError
from ..net.body import Response
from ..net.refusals import is_temporary
from ..net.retry import Effort, parse_retry_after
from ..protocol.models.subscriptions import SUBSCRIPTION_ID
from .answers import rpc_error
from .link import Link, RequestUnderWay
from .reading import EventReader

__all__ = ["Feed", "open_feed"]

_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"


class Feed(ABC):
    """See the module. One thread iterates it.

    Attributes:
        last_event_id: Where the next attempt goes on; "" where nothing is sent again.
        retry_seconds: What the server asked to be waited before the next attempt.
        failure: What broke it, or None.
        over: Whether the server has ended it for good.
        unavailable: Whether the server does not offer it.
        agreed: Whether it was open.
        honoured: What of the filter the server agreed to; None where there is no filter.
    """

    def __init__(self, link: Link, last_event_id: str = "") -> None:
        self._link = link
        self.last_event_id = last_event_id
        self.retry_seconds = 0.0
        self.failure: StreamHTTPError | None = None
        self.over = False
        self.unavailable = False
        self.agreed = False
        self.honoured: Mapping[str, Any] | None = None

    @abstractmethod
    def messages(self) -> Generator[jsonrpc.Message | None, None, None]:
        """None when it is open, then the messages."""

    @abstractmethod
    def look_ahead(self) -> Iterator[jsonrpc.Message]:
        """What has arrived but was not handed out yet."""


def open_feed(
    link: Link,
    *,
    opening: Effort,
    reading: Effort,
    last_event_id: str,
    subscribe: Callable[[], jsonrpc.Request],
) -> Feed:
    """The feed of the era.

    Args:
        link: How one talks with the server.
        opening: The limits of this attempt to open it.
        reading: Those of what follows; it has the same interrupt.
        last_event_id: Where the last feed ended.
        subscribe: Makes the request that asks for notifications.
    """
    if link.era.listening == "get":
        return _GetFeed(link, opening, reading, last_event_id)
    if link.era.listening == "subscription":
        return _SubscriptionFeed(link, opening, reading, subscribe())
    return _ChannelFeed(link, reading)


class _GetFeed(Feed):
    """The stream of a GET, MCP 2025-11-25, basic/transports, Listening for Messages from the Server."""

    def __init__(self, link: Link, opening: Effort, reading: Effort, last_event_id: str) -> None:
        super().__init__(link, last_event_id)
        self._opening = opening
        self._reading = reading
        self._reader: EventReader | None = None

    def messages(self) -> Generator[jsonrpc.Message | None, None, None]:
        link = self._link
        try:
            answer = link.transport.open_stream(link.era, link.session, self.last_event_id, self._opening)
        except RPCError as error:
            # Some servers allow one stream a session, and have not noticed yet that the last one has ended.
            if error.status != 409:
                raise
            self.failure = error
            return
        except HTTPStatusError as error:
            if error.status == 409:
                self.failure = error
                return
            # "or else return HTTP 405 Method Not Allowed, indicating that the server does not offer an SSE stream at
            # this endpoint." Ibid. Simple servers say 501 to whatever method they do not know.
            if error.status not in (405, 501):
                raise
            self.unavailable = True
            return
        if not isinstance(answer, Response):
            self.failure = answer
            if isinstance(answer, HTTPStatusError):
                self.retry_seconds = parse_retry_after(answer.headers)
            return
        limit = link.transport.max_message_size
        self._reader = reader = EventReader(answer.body, max_event_size=limit, last_event_id=self.last_event_id)
        try:
            yield None
            while reader.fill(self._reading.remaining()):
                if reader.parser.retry_ms is not None:
                    self.retry_seconds = reader.parser.retry_ms / 1000
                while reader.events:
                    event = reader.events.popleft()
                    self.last_event_id = event.id
                    if event.data and event.type == "message":
                        yield from jsonrpc.parse(event.data)
                self.last_event_id = reader.parser.last_event_id
        except ConnectionLost as error:
            self.failure = error
        finally:
            answer.body.close()

    def look_ahead(self) -> Iterator[jsonrpc.Message]:
        return iter(()) if self._reader is None else self._reader.look_ahead()


class _RequestFeed(Feed):
    """A feed that comes as the answer to something."""

    _source: RequestUnderWay

    def look_ahead(self) -> Iterator[jsonrpc.Message]:
        return self._source.look_ahead()


class _SubscriptionFeed(_RequestFeed):
    """The answer to ``subscriptions/listen``, MCP 2026-07-28, basic/patterns/subscriptions."""

    def __init__(self, link: Link, opening: Effort, reading: Effort, request: jsonrpc.Request) -> None:
        super().__init__(link)
        self._effort = opening
        self._reading = reading
        self._source = link.request(request, opening)

    def messages(self) -> Generator[jsonrpc.Message | None, None, None]:
        source = self._source
        try:
            for message in source:
                if isinstance(message, jsonrpc.Notification):
                    params = message.params or {}
                    if not self._is_ours(params):
                        continue
                    if not self.agreed:
                        # Now it is open, and what limits the opening of it is over.
                        self._effort.timeout, self._effort.deadline = self._reading.timeout, self._reading.deadline
                        self.agreed = True
                        if message.method == _ACKNOWLEDGED:
                            self.honoured = params.get("notifications")
                        yield None
                    if message.method == _ACKNOWLEDGED:
                        continue
                    if not self._ends(message.method, params):
                        yield _bare(message)
                elif isinstance(message, jsonrpc.Response):
                    if message.id == source.request_id:
                        self.over = True  # "signals that the subscription ended gracefully", Graceful Closure
                        return
                elif isinstance(message, jsonrpc.ErrorResponse):
                    raise rpc_error(message)
        except MethodNotFound:
            self.unavailable = True
        except HTTPStatusError as error:
            if not is_temporary(error.status):
                raise
            self.failure, self.retry_seconds = error, parse_retry_after(error.headers)
        except ConnectionLost as error:
            self.failure = error
        except TransportError as error:
            if error.may_have_executed or error.permanent:
                raise
            self.failure = error
        finally:
            source.close()

    def _is_ours(self, params: Mapping[str, Any]) -> bool:
        """Whether a message belongs to this subscription: one without an id does, for the stream is of this alone."""
        meta, wanted = params.get("_meta"), self._source.request_id
        named = meta.get(SUBSCRIPTION_ID, wanted) if isinstance(meta, Mapping) else wanted
        return bool(named == wanted) and type(named) is type(wanted)

    def _ends(self, method: str, params: Mapping[str, Any]) -> bool:
        """Whether the server says that it takes the subscription away; the end of the stream follows."""
        return method == "notifications/cancelled" and params.get("requestId") == self._source.request_id


def _bare(message: jsonrpc.Notification) -> jsonrpc.Notification:
    """A notification without the id of the subscription that it came by, which says nothing to whoever listens."""
    params = dict(message.params or {})
    meta = params.pop("_meta", None)
    if isinstance(meta, Mapping):
        rest = {name: value for name, value in meta.items() if name != SUBSCRIPTION_ID}
        if rest:
            params["_meta"] = rest
    return jsonrpc.Notification(message.method, params or None)


class _ChannelFeed(_RequestFeed):
    """What comes on the one stream of MCP 2024-11-05 and belongs to no call."""

    def __init__(self, link: Link, reading: Effort) -> None:
        super().__init__(link)
        self._source = link.transport.listen(reading)

    def messages(self) -> Generator[jsonrpc.Message | None, None, None]:
        yield None
        try:
            yield from self._source
        except ConnectionLost as error:
            self.failure = error
        finally:
            self._source.close()
