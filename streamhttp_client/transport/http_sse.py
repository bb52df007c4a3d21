"""HTTP+SSE, the transport of MCP 2024-11-05: messages go out by POST, and everything comes back on one stream.

An :class:`HTTPSSEExchange` is one request under way, and looks like one of Streamable HTTP: iterating it gives what
arrives for it, in order, then the response. Who waits can be woken at once, by the deadline, by closing, and by the
end of the stream.

The stream is the session. When it ends, the requests that were sent are lost, and may have run: nothing can be
resumed. A request that finds it ended was surely not sent, which is the same as a session that the server does not
know any more: :class:`~..exceptions.SessionExpired`. Whoever begins a new session begins it on a new stream.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NoReturn

from .. import jsonrpc
from ..exceptions import (
    CallTimeout,
    ClientClosed,
    LocalProtocolError,
    ResumeRefused,
    SessionExpired,
    StreamHTTPError,
    TransportError,
)
from ..net.body import Response
from ..net.http import HTTP
from ..net.interrupt import Interrupt
from ..net.retry import Effort, parse_retry_after
from ..protocol.names import ECHOED
from ..protocol.session import Session
from ..protocol.two_channels import TwoChannelsEra
from .answers import NOT_EXECUTED, refused
from .channel import Channel
from .following import Follower, expired, timed_out
from .opening import open_channel
from .posting import Posting

if TYPE_CHECKING:
    from ..protocol.era import Era

__all__ = ["HTTPSSEExchange", "HTTPSSEListening", "HTTPSSETransport"]

logger = logging.getLogger("streamhttp_client")

# The answer to a POST is a moment behind what the message brought about. Its connection serves again then.
_POST_GRACE = 0.05
# When the stream ends while a POST is out, its answer tells whether the message arrived. A server that stops mostly
# ends both at once.
_VERDICT_SECONDS = 1.0
# Servers send a sign of life every 15 s, or never. A call that has timed out without any for so long leaves a stream
# which may well be dead without anybody knowing, as behind a router that has forgotten it.
_DEAD_SECONDS = 30.0


class HTTPSSETransport:
    """Sends messages to one MCP server of 2024-11-05. Threads share it; a forked child begins without a stream.

    Args:
        http: What sends the requests.
        url: Where a GET opens the stream.
        max_message_size: Bytes of one event, and of what may wait for one reader.
        era: The rules by which the stream is opened.
    """

    def __init__(self, http: HTTP, url: str, *, max_message_size: int, era: Era | None = None) -> None:
        self.http = http
        self.url = url
        self.max_message_size = max_message_size
        self._era = era or TwoChannelsEra()
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        # Guards all below; held for a moment. Taken again by the same thread when a signal handler closes in between.
        self._lock = threading.RLock()
        self._channel: Channel | None = None
        self._opening: list[Interrupt] = []
        self._closed = False

    # -- the stream

    def open(self, effort: Effort, patience: float | None = None) -> None:
        """Open a stream and wait until the server has named the address for messages. One that was open is closed.

        Repeated while the failure may pass. Mostly called by the first request without a session; by itself it tells
        whether the server speaks so at all.

        Args:
            effort: The limits of the whole.
            patience: Seconds for which an open stream may say nothing of the address, where the server may be another.

        Raises:
            HTTPStatusError, RPCError: The server refused it.
            ContentTypeError: It answered with something else than a stream.
            RemoteProtocolError: The stream does not begin with the event ``endpoint``, or with one that names another
                origin.
            TransportError: The server cannot be reached; ``CallTimeout`` at the deadline; ``ReadTimeout``
                where it is silent.
            ClientClosed: It was closed, or the effort interrupted.
        """
        self._check_process()
        interrupt = Interrupt()  # the stream's own: it outlives this effort
        with self._lock:
            if self._closed:
                raise ClientClosed("the client is closed")
            self._opening.append(interrupt)
        effort.interrupt.attach(interrupt.fire)
        try:
            channel = open_channel(
                self.http, self.url, self._era, effort, interrupt, patience, max_message_size=self.max_message_size
            )
        finally:
            effort.interrupt.detach(interrupt.fire)
            with self._lock:
                self._opening.remove(interrupt)
        with self._lock:
            channel.start()
            closed, old = self._closed, self._channel
            self._channel = channel
        if closed:
            channel.stop("the client is closed")
            raise ClientClosed("the client is closed")
        if old is not None:
            old.stop("a new one was opened")

    def _usable(self, session: Session | None, *, begins: bool = False) -> Channel:
        """The open stream, if it is the one of this session.

        Args:
            session: What is to be said in it; None before the handshake is done.
            begins: Whether this message is the one with which the handshake is done.

        Raises:
            SessionExpired: There is none. What was to be sent was not.
        """
        self._check_process()
        with self._lock:
            channel = self._channel
            if channel is not None and not channel.ended:
                if begins and channel.session is None:
                    channel.session = session
                # The same one, not an equal one: all sessions with a server look alike, for they have no id.
                if session is None or channel.session is session:
                    return channel
        raise expired("the stream of the session has ended")

    def _for_handshake(self, effort: Effort) -> Channel:
        """A stream on which no session was begun yet; opened, if need be."""
        try:
            channel = self._usable(None)
        except SessionExpired:
            pass
        else:
            if channel.session is None:
                return channel
        self.open(effort)
        return self._usable(None)

    # -- as of any transport

    def post(self, era: Era, session: Session | None, message: jsonrpc.Message, effort: Effort) -> None:
        """Send a notification or a response.

        Repeated only while it surely was not taken. ``notifications/initialized`` makes the session that of the stream.

        Raises:
            SessionExpired: There is no stream of that session.
            HTTPStatusError, RPCError: The server refused it.
            TransportError: It may not have arrived.
        """
        begins = isinstance(message, jsonrpc.Notification) and message.method == "notifications/initialized"
        channel = self._usable(session, begins=begins)
        headers, body = era.message_headers(session, message), jsonrpc.dump(message)
        while True:
            failure: StreamHTTPError
            floor = 0.0
            try:
                response = channel.outbox.send(
                    headers, body, timeout=effort.timeout, deadline=effort.deadline, interrupt=effort.interrupt
                )
            except TransportError as error:
                error.attempts = effort.attempts
                if effort.deadline.expired:
                    raise timed_out(effort, error.may_have_executed) from error
                if error.may_have_executed or error.permanent:
                    raise
                failure = error
            else:
                if response.status < 300:
                    response.body.close()
                    return
                failure = refused(response, era, session, effort)
                if response.status not in NOT_EXECUTED:
                    raise failure
                floor = parse_retry_after(response.headers)
            if channel.ended:
                raise expired("the stream of the session has ended") from failure
            if not effort.again(floor):
                raise failure

    def request(
        self,
        era: Era,
        session: Session | None,
        message: jsonrpc.Request,
        effort: Effort,
        more_headers: Mapping[str, str] | None = None,
    ) -> HTTPSSEExchange:
        """Prepare a request; it is sent when the exchange is first iterated.

        Without a session it begins one, on a new stream if need be.

        Raises:
            LocalProtocolError: The message has no JSON form.
        """
        headers = era.message_headers(session, message)
        if more_headers:
            headers.update(more_headers)
        return HTTPSSEExchange(self, era, session, effort, message.id, headers, jsonrpc.dump(message, echoed=ECHOED))

    def resume(
        self, era: Era, session: Session, request_id: jsonrpc.RequestId, last_event_id: str, effort: Effort
    ) -> NoReturn:
        """Nothing can be resumed: always raises ResumeRefused."""
        raise ResumeRefused("a stream of revision 2024-11-05 cannot be resumed", attempts=effort.attempts)

    def listen(self, effort: Effort) -> HTTPSSEListening:
        """What belongs to no call, from now on, while stream and effort last. The last one who listens hears it.

        Raises:
            SessionExpired: There is no stream.
        """
        return HTTPSSEListening(self._usable(None), effort)

    def open_stream(self, era: Era, session: Session, last_event_id: str, effort: Effort) -> NoReturn:
        """There is one stream, on which everything comes: see :meth:`listen`."""
        raise LocalProtocolError("revision 2024-11-05 has no stream of its own for listening")

    def end(self, era: Era, session: Session, effort: Effort) -> None:
        """End the session: close its stream. Takes a second at the most."""
        try:
            channel = self._usable(session)
        except SessionExpired:
            return
        channel.stop("the session was ended")

    def close(self) -> None:
        """Close the stream, for good. Any thread, more than once; takes a second at the most.

        Who still waits gets ConnectionLost, or ClientClosed if the effort was interrupted before; who comes later gets
        SessionExpired, since another transport may have the session's successor.
        """
        self._close(wait=True)

    def __del__(self) -> None:
        if hasattr(self, "_closed"):
            self._close(wait=False)

    def _close(self, *, wait: bool) -> None:
        if self._pid != os.getpid():
            return  # what is open is the parent's
        with self._lock:
            self._closed = True
            opening, channel = list(self._opening), self._channel
        for interrupt in opening:
            interrupt.fire()
        if channel is not None:
            channel.stop("the client is closed", wait=wait)

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            inherited, closed = self._channel, self._closed
            self._begin()
            self._closed = closed
            if inherited is not None:
                inherited.forget()


class HTTPSSEExchange(Follower):
    """One request under way."""

    def __init__(
        self,
        transport: HTTPSSETransport,
        era: Era,
        session: Session | None,
        effort: Effort,
        request_id: jsonrpc.RequestId,
        headers: dict[str, str],
        body: bytes,
    ) -> None:
        super().__init__(effort, request_id)
        self._transport = transport
        self._era = era
        self._session = session
        self._sending = (headers, body)
        self._posting: Posting | None = None
        self._answered = False

    def __iter__(self) -> Iterator[jsonrpc.Message]:
        """Send the request, and give the messages that arrive for it, the response at last.

        Raises:
            SessionExpired: There is no stream of that session, so that nothing was sent; or the server says so.
            TransportError: The answer is lost, see its attributes; ``CallTimeout`` at the deadline.
            HTTPStatusError, RPCError: The server refused the request.
            RemoteProtocolError: The answer cannot be understood.
            ClientClosed: The effort was interrupted, or the transport closed.
        """
        if self._session is None:
            channel = self._transport._for_handshake(self._effort)
        else:
            channel = self._transport._usable(self._session)
        self._enter(channel)
        try:
            self._send(channel)
            while not self._answered:
                message = self._next()
                self._answered = isinstance(message, (jsonrpc.Response, jsonrpc.ErrorResponse))
                yield message
        finally:
            self.close()

    def close(self) -> None:
        """Wait no more. The answer to the POST is given a moment to come, if the response is here."""
        posting, self._posting = self._posting, None
        if posting is not None:
            outcome = posting.leave(_POST_GRACE if self._answered else 0.0)
            if isinstance(outcome, Response):
                self.headers = outcome.headers
                outcome.body.close()
        super().close()

    def _send(self, channel: Channel) -> None:
        assert self._box is not None
        effort = self._effort
        self.in_flight = True
        self._posting = Posting(
            channel.outbox,
            *self._sending,
            timeout=effort.timeout,
            deadline=effort.deadline,
            on_end=self._box.wake,
        ).start()

    def _news(self) -> bool:
        """Whether the POST has ended; raises if that is the end of the request."""
        posting, channel, effort = self._posting, self._channel, self._effort
        outcome = None if posting is None else posting.take()
        if outcome is None or channel is None:
            return False
        self._posting = None
        failure: BaseException
        floor = 0.0
        if isinstance(outcome, Response):
            self.headers = outcome.headers
            if outcome.status < 300:
                outcome.body.close()
                return True
            self.in_flight = False
            failure = refused(outcome, self._era, self._session, effort)
            if outcome.status not in NOT_EXECUTED:
                raise failure
            floor = parse_retry_after(outcome.headers)
        else:
            failure = outcome
            if not isinstance(failure, TransportError):
                raise failure
            failure.attempts = effort.attempts
            self.in_flight = failure.may_have_executed
            if effort.deadline.expired:
                raise timed_out(effort, failure.may_have_executed) from failure
            if failure.may_have_executed or failure.permanent:
                raise failure
        if channel.ended:
            raise expired("the stream of the session has ended") from failure
        if not effort.again(floor):
            raise failure
        if channel.ended:
            raise expired("the stream of the session has ended") from failure
        self._send(channel)
        return True

    def _patience(self) -> float:
        known = self._posting is None or self._channel is None or self._channel.stopped
        return 0.0 if known else _VERDICT_SECONDS

    def _over(self) -> CallTimeout:
        channel, box = self._channel, self._box
        if channel is not None and box is not None and self.in_flight and channel.is_last(box):
            if time.monotonic() - max(self._since, channel.heard_at) >= _DEAD_SECONDS:
                logger.info("the stream of the session was silent during a call that has timed out: it is given up")
                channel.stop("it was silent during a call that has timed out", wait=False)
        return super()._over()


class HTTPSSEListening(Follower):
    """What belongs to no call: notifications of the server, and its requests while no call is under way.

    It listens from the moment it is made. Iterating it ends by an error only.
    """

    def __init__(self, channel: Channel, effort: Effort) -> None:
        super().__init__(effort)
        self._enter(channel)

    def __iter__(self) -> Iterator[jsonrpc.Message]:
        """Give the messages as they arrive.

        Raises:
            ConnectionLost: The stream has ended.
            MessageTooLarge: They came faster than they were taken, for too long.
            CallTimeout: The deadline of the effort has passed.
            ClientClosed: The effort was interrupted, or the transport closed.
        """
        try:
            while True:
                yield self._next()
        finally:
            self.close()
