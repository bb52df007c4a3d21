"""Streamable HTTP: one request is one POST, and its answer survives broken connections.

An :class:`Exchange` is one JSON-RPC request under way. Iterating it gives the messages that arrive for it, in order
and each once: notifications and requests of the server, then the response. Reconnecting happens inside. The cursor
(the last event id) moves when a message is handed out, never when it has merely been received, so that whoever stores
it while handling a message loses nothing and sees nothing twice. It never moves back: a server that replays too much
after a reconnect has the repeated events dropped.

What may be tried again here is what surely did not run. A request that may have run is the caller's to repeat, with a
new id.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from .. import jsonrpc
from .._headers import Headers
from ..exceptions import (
    AuthenticationError,
    CallTimeout,
    ConnectionLost,
    ContentTypeError,
    HTTPStatusError,
    LocalProtocolError,
    ReadTimeout,
    RemoteProtocolError,
    ResumeRefused,
    RPCError,
    StreamHTTPError,
    TransportError,
)
from ..net.body import Response
from ..net.http import HTTP
from ..net.refusals import is_temporary, type_error
from ..net.retry import Effort, parse_retry_after
from ..protocol.names import ECHOED
from ..protocol.session import Session
from .answers import NOT_EXECUTED, blame_size, refused

if TYPE_CHECKING:
    from ..protocol.era import Era
    from .reading import EventReader

__all__ = ["Exchange", "StreamableTransport"]

logger = logging.getLogger("streamhttp_client")

# Event ids remembered for one stream, to recognise what is replayed twice. A server that replays more than this
# many events too many is beyond help.
_MAX_SEEN_IDS = 4096
# An id goes back in a header, and more than this is refused there by most servers.
_MAX_EVENT_ID = 8192
# A server that closes a stream and names a reconnection time invites polling (2025-11-25), which is no failure. Below
# this it would be a busy loop, and counts as one.
_POLLING_INTERVAL = 0.1


class StreamableTransport:
    """Sends messages to one MCP endpoint. Threads share it.

    Args:
        http: What sends the requests.
        url: The endpoint.
        max_message_size: Bytes of one JSON answer or one event.
    """

    def __init__(self, http: HTTP, url: str, *, max_message_size: int) -> None:
        self.http = http
        self.url = url
        self.max_message_size = max_message_size

    def post(self, era: Era, session: Session | None, message: jsonrpc.Message, effort: Effort) -> None:
        """Send a notification or a response, which is answered by 202 and no more.

        Repeated only while it surely was not taken. What the server may have taken is left at that: repeating a
        notification would say it twice.

        Raises:
            HTTPStatusError, RPCError: The server refused it.
            TransportError: It may not have arrived.
        """
        # "If the server accepts the input, the server MUST return HTTP status code 202 Accepted with no body." What
        # else a server may say is not needed, and not waited for: some open an event stream here and leave it open.
        headers = era.message_headers(session, message)
        self._send(era, session, headers, jsonrpc.dump(message), effort).body.close()

    def request(
        self,
        era: Era,
        session: Session | None,
        message: jsonrpc.Request,
        effort: Effort,
        more_headers: Mapping[str, str] | None = None,
    ) -> Exchange:
        """Prepare a request; it is sent when the exchange is first iterated.

        Raises:
            LocalProtocolError: The message has no JSON form.
        """
        headers = era.message_headers(session, message)
        if more_headers:
            headers.update(more_headers)
        return Exchange(self, era, session, effort, message.id, (headers, jsonrpc.dump(message, echoed=ECHOED)))

    def resume(
        self, era: Era, session: Session, request_id: jsonrpc.RequestId, last_event_id: str, effort: Effort
    ) -> Exchange:
        """Take up the answer of a request that another exchange, or another process, has sent."""
        return Exchange(self, era, session, effort, request_id, None, last_event_id)

    def listen(self, effort: Effort) -> Exchange:
        """There is no common stream here."""
        raise LocalProtocolError("Streamable HTTP has no stream on which everything comes")

    def end(self, era: Era, session: Session, effort: Effort) -> None:
        """Tell the server that the session is over. 405 means that it does not care to know.

        Raises:
            TransportError: It may not have heard.
        """
        self._ask("DELETE", era.end_headers(session), effort).body.close()

    def close(self) -> None:
        """Nothing is held open between messages but the connections of ``http``."""

    def _ask(self, method: str, headers: dict[str, str], effort: Effort, body: bytes | None = None) -> Response:
        """One HTTP request to the endpoint, within the limits of an effort."""
        return self.http.send(
            method,
            self.url,
            headers,
            body,
            timeout=effort.timeout,
            deadline=effort.deadline,
            interrupt=effort.interrupt,
            keep_method=True,  # a server that has moved has not acted on the message
        )

    def _send(
        self,
        era: Era,
        session: Session | None,
        headers: dict[str, str],
        body: bytes,
        effort: Effort,
        exchange: Exchange | None = None,
    ) -> Response:
        """POST until the server has taken it, or may have; give an answer of success."""
        failure: StreamHTTPError | None = None
        try:
            while True:
                floor = 0.0
                if exchange is not None:
                    exchange.in_flight = True
                try:
                    response = self._ask("POST", headers, effort, body)
                except TransportError as error:
                    error.attempts = effort.attempts
                    if exchange is not None:
                        exchange.in_flight = error.may_have_executed
                    if effort.deadline.expired:
                        raise _timed_out(effort, error) from error
                    if error.may_have_executed or error.permanent:
                        raise
                    failure = error
                else:
                    if response.status < 300:
                        return response
                    if exchange is not None:
                        exchange.in_flight = False
                    failure = refused(response, era, session, effort)
                    if response.status not in NOT_EXECUTED:
                        blame_size(failure, headers)
                        raise failure
                    floor = parse_retry_after(response.headers)
                if not effort.again(floor):
                    raise failure
        finally:
            failure = None  # its traceback leads here: together they would keep the connection

    def open_stream(
        self, era: Era, session: Session, last_event_id: str, effort: Effort
    ) -> Response | StreamHTTPError:
        """GET a stream, new or from an event on; an error that may pass is given, not raised.

        Raises:
            HTTPStatusError: The server will not do this however often it is asked.
            ContentTypeError: It answered with something else.
        """
        headers = era.stream_headers(session)
        if last_event_id:
            # The id goes out as UTF-8 (WHATWG, server-sent events), and fields are written as ISO-8859-1.
            headers["last-event-id"] = last_event_id.encode().decode("latin-1")
        try:
            response = self._ask("GET", headers, effort)
        except TransportError as error:
            return error
        if response.status == 200:
            if response.content_type == "text/event-stream":
                return response
            raise type_error(response, "text/event-stream", effort.deadline)
        failure = refused(response, era, session, effort)
        if is_temporary(response.status):
            return failure
        raise failure


class Exchange:
    """One request under way. Iterate it once, from one thread.

    Attributes:
        request_id: Its JSON-RPC id.
        in_flight: Whether the server may be working on it: False before it was sent, and while it is being refused.
        last_event_id: Id of the last event that was handed out; "" before the first one.
        retry_ms: The reconnection time that the server asked for, or None.
        headers: Those of the first answer; None before it.
    """

    def __init__(
        self,
        transport: StreamableTransport,
        era: Era,
        session: Session | None,
        effort: Effort,
        request_id: jsonrpc.RequestId,
        sending: tuple[dict[str, str], bytes] | None,
        last_event_id: str = "",
    ) -> None:
        self._transport = transport
        self._era = era
        self._session = session
        self._effort = effort
        self._sending = sending  # headers and body, or None where the request was sent before
        self._response: Response | None = None
        self._reader: EventReader | None = None
        self._seen: dict[str, None] = {last_event_id: None} if last_event_id else {}
        self._group = ""
        self._repeated = False
        self._resumed = False
        self._answered = False  # the response was handed out
        self.in_flight = sending is None
        self.request_id = request_id
        self.last_event_id = last_event_id
        self.retry_ms: int | None = None
        self.headers: Headers | None = None

    def __iter__(self) -> Iterator[jsonrpc.Message]:
        """Send the request, and give the messages that arrive for it.

        Ends when the answer does, for an event stream only by an error: whoever has got the response stops iterating
        and calls :meth:`close`.

        Raises:
            TransportError: The answer is lost, see its attributes; ``CallTimeout`` at the deadline.
            HTTPStatusError, RPCError: The server refused the request.
            RemoteProtocolError: The answer cannot be understood.
        """
        if self._sending is None:
            response = self._reopen(None, at_once=True)
        else:
            response = self._transport._send(self._era, self._session, *self._sending, self._effort, self)
        self._response = response
        self.headers = response.headers
        kind = response.content_type
        if kind == "application/json":
            yield from self._read_json(response)
        elif kind == "text/event-stream":
            yield from self._read_streams(response)
        else:
            raise type_error(response, "application/json or text/event-stream", self._effort.deadline)

    def close(self) -> None:
        """Let go of the connection; it serves again if the answer has ended or is about to.

        Where closing is how a request is cancelled, it serves again only if the answer has come.
        """
        self._reader = None
        if self._response is not None:
            body, self._response = self._response.body, None
            if self._answered or not self._era.closing_cancels:
                body.close()
            else:
                body.abandon()

    def look_ahead(self) -> Iterator[jsonrpc.Message]:
        """What has arrived but was not handed out yet; it will be, all the same. Does not wait."""
        return iter(()) if self._reader is None else self._reader.look_ahead()

    def _read_json(self, response: Response) -> Iterator[jsonrpc.Message]:
        try:
            data = response.body.read_all(self._transport.max_message_size, self._effort.remaining)
            self._answered = True
        except ConnectionLost as error:
            raise self._lost(error) from error
        finally:
            self.close()
        try:
            messages = jsonrpc.parse(data)
        except RemoteProtocolError as error:
            if response.body.end_is_known:
                raise
            cut = ConnectionLost(f"it has no length, and was cut or is wrong: {error}")
            raise self._lost(cut) from error
        yield from messages

    def _read_streams(self, response: Response) -> Iterator[jsonrpc.Message]:
        """The messages of a stream and of those that continue it."""
        from .reading import EventReader  # a script whose server answers in JSON need not load it

        effort, limit = self._effort, self._transport.max_message_size
        while True:
            failure: ConnectionLost | None = None
            self._response = response
            # The id is not carried over into the reader: so an id that is seen here was sent on this connection.
            self._reader = reader = EventReader(response.body, max_event_size=limit)
            self._group, self._repeated = "", False
            parser, events, fill = reader.parser, reader.events, reader.fill
            while True:
                try:
                    if not fill(effort.remaining()):
                        break
                except ConnectionLost as error:
                    failure = error
                    break
                if parser.retry_ms is not None:
                    self.retry_ms = parser.retry_ms
                while events:
                    event = events.popleft()
                    if event.id != self._group:
                        self._move(event.id)
                    if event.type == "endpoint" and self._resumed:
                        raise ResumeRefused("the server now speaks HTTP+SSE, and has not kept the stream of this call")
                    if event.data and event.type == "message":
                        yield from self._wanted(jsonrpc.parse(event.data))
                # An id without data, as the first event of a stream has it since 2025-11-25, counts too.
                if parser.last_event_id != self._group:
                    self._move(parser.last_event_id)
            self.close()
            response = self._reopen(failure)

    def _wanted(self, messages: list[jsonrpc.Message]) -> Iterator[jsonrpc.Message]:
        """What of an event is handed out. After a reconnect, that is not always all of it."""
        for message in messages:
            if isinstance(message, (jsonrpc.Response, jsonrpc.ErrorResponse)):
                # Ours counts wherever it comes, also behind an id that was seen: some servers number the events of each
                # connection from 1. Some replay all streams of the session, answers to other requests among them.
                if self._resumed and message.id is not None and message.id != self.request_id:
                    logger.debug("dropped the response to another request on a resumed stream")
                    continue
                self._answered = True
            elif self._repeated:
                continue
            elif self._effort.deadline.expired:
                raise self._lost(None)  # a callback took long; what is buffered must not make it longer
            self._effort.progressed()
            yield message

    def _move(self, event_id: str) -> None:
        self._group = event_id
        self._repeated = False
        if event_id and not self._era.may_resume(event_id):
            return  # ids mean nothing in this era
        if len(event_id) > _MAX_EVENT_ID:
            logger.warning("ignored an event id of %d characters", len(event_id))
            return
        self._repeated = event_id in self._seen and bool(event_id)
        if self._repeated:
            return
        self.last_event_id = event_id
        if event_id:
            self._seen[event_id] = None
            if len(self._seen) > _MAX_SEEN_IDS:
                del self._seen[next(iter(self._seen))]

    def _reopen(self, failure: StreamHTTPError | None, *, at_once: bool = False) -> Response:
        """Connect to the rest of a stream that ended too early; the first time after a pause, or ``at_once``."""
        effort = self._effort
        if effort.deadline.expired:
            raise self._lost(failure)
        if self._session is None or not self._era.may_resume(self.last_event_id):
            raise self._lost(failure)
        floor = (self.retry_ms or 0) / 1000
        if failure is None and floor >= _POLLING_INTERVAL:
            effort.progressed()
        while True:
            if not at_once and not effort.again(floor):
                raise self._lost(failure)
            at_once = False
            try:
                answer = self._transport.open_stream(self._era, self._session, self.last_event_id, effort)
            except AuthenticationError:
                raise
            except (HTTPStatusError, ContentTypeError, RPCError) as error:
                raise ResumeRefused(
                    f"the server does not continue the stream of this call: {error}", attempts=effort.attempts
                ) from error
            if isinstance(answer, Response):
                self._resumed = True
                return answer
            failure = answer
            floor = (self.retry_ms or 0) / 1000
            if isinstance(failure, HTTPStatusError):
                floor = max(floor, parse_retry_after(failure.headers))

    def _lost(self, failure: StreamHTTPError | None) -> StreamHTTPError:
        """The error for an answer that will not come any more."""
        effort = self._effort
        if effort.deadline.expired:
            error: TransportError = _timed_out(effort, failure)
        elif isinstance(failure, ReadTimeout):
            error = ReadTimeout(str(failure), attempts=effort.attempts)
        elif failure is not None:
            error = ConnectionLost(f"the answer was lost: {failure}", attempts=effort.attempts)
        else:
            error = ConnectionLost("the server ended the stream before the answer", attempts=effort.attempts)
        error.resumable = self._session is not None and self._era.may_resume(self.last_event_id)
        error.__cause__ = failure
        return error


def _timed_out(effort: Effort, failure: StreamHTTPError | None) -> CallTimeout:
    seconds = effort.deadline.seconds
    executed = not (isinstance(failure, TransportError) and not failure.may_have_executed)
    return CallTimeout(
        f"no answer within {seconds:g} s", may_have_executed=executed, attempts=effort.attempts
    )
