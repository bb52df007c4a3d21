"""How a client and a server have agreed to talk: by which rules, in which session, over which transport."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from .. import jsonrpc
from .._headers import Headers
from .._record import Record
from ..exceptions import StreamHTTPError
from ..net.body import Response
from ..net.retry import Effort
from ..protocol.session import Session

if TYPE_CHECKING:
    from ..protocol.era import Era

__all__ = ["Link", "LookAhead", "RequestUnderWay", "Transport"]


class LookAhead(Protocol):
    """A stream on which the server may take back what it asked."""

    def look_ahead(self) -> Iterator[jsonrpc.Message]:
        """What has arrived but was not handed out yet; it will be, all the same. Does not wait."""


class RequestUnderWay(LookAhead, Protocol):
    """One request, from its sending to its answer. Iterate it once, from one thread.

    Attributes:
        request_id: Its JSON-RPC id.
        in_flight: Whether the server may be working on it: False before it was sent, and while it is being refused.
        last_event_id: Id of the last event that was handed out; "" before the first one, or if there are none.
        retry_ms: The reconnection time that the server asked for, or None.
        headers: Those of the first answer; None before it.
    """

    request_id: jsonrpc.RequestId
    in_flight: bool
    last_event_id: str
    retry_ms: int | None
    headers: Headers | None

    def __iter__(self) -> Iterator[jsonrpc.Message]:
        """Send the request, and give the messages that arrive for it."""

    def close(self) -> None:
        """Let go of it; where closing is how a request is cancelled, this does it."""


class Transport(Protocol):
    """Carries messages. Threads share it."""

    @property
    def max_message_size(self) -> int:
        """Bytes of one message that comes in."""

    def post(self, era: Era, session: Session | None, message: jsonrpc.Message, effort: Effort) -> None:
        """Send a notification or a response."""

    def request(
        self,
        era: Era,
        session: Session | None,
        message: jsonrpc.Request,
        effort: Effort,
        more_headers: Mapping[str, str] | None = None,
    ) -> RequestUnderWay:
        """Prepare a request; it is sent when the result is first iterated."""

    def resume(
        self, era: Era, session: Session, request_id: jsonrpc.RequestId, last_event_id: str, effort: Effort
    ) -> RequestUnderWay:
        """Take up the answer of a request that was sent before, perhaps by another process."""

    def open_stream(
        self, era: Era, session: Session, last_event_id: str, effort: Effort
    ) -> Response | StreamHTTPError:
        """Open the listening stream of a GET; an error that may pass is given, not raised."""

    def listen(self, effort: Effort) -> RequestUnderWay:
        """What belongs to no call, where everything comes on one stream."""

    def end(self, era: Era, session: Session, effort: Effort) -> None:
        """Tell the server that the session is over."""

    def close(self) -> None:
        """Let go of what is held open between messages."""


class Link(Record):
    """How it was agreed to talk. Frozen: another agreement is another link, and threads may go on with the old one.

    Attributes:
        era: The rules.
        session: Whom one talks with.
        transport: What carries the messages.
        steps: How it was agreed, in words.
    """

    era: Era
    session: Session
    transport: Transport
    steps: tuple[str, ...] = ()

    def post(self, message: jsonrpc.Message, effort: Effort) -> None:
        """Send a notification or a response."""
        self.transport.post(self.era, self.session, message, effort)

    def request(
        self, message: jsonrpc.Request, effort: Effort, more_headers: Mapping[str, str] | None = None
    ) -> RequestUnderWay:
        """Prepare a request."""
        return self.transport.request(self.era, self.session, message, effort, more_headers)

    def resume(self, request_id: jsonrpc.RequestId, last_event_id: str, effort: Effort) -> RequestUnderWay:
        """Take up the answer of a request that was sent before."""
        return self.transport.resume(self.era, self.session, request_id, last_event_id, effort)

    def end(self, effort: Effort) -> None:
        """Tell the server that the session is over, if it wants to know."""
        if self.era.ends_session and self.session.session_id is not None:
            self.transport.end(self.era, self.session, effort)
