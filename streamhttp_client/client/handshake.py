"""Beginning a session: one thread at a time, MCP 2025-11-25, basic/lifecycle, Initialization."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .. import jsonrpc
from ..exceptions import (
    CallTimeout,
    ClientClosed,
    ContentTypeError,
    RemoteProtocolError,
    RPCError,
    StreamHTTPError,
    UnsupportedVersion,
)
from ..net.retry import Effort
from ..protocol import calls
from ..protocol.session import Session
from ..protocol.stateful import StatefulEra
from ..protocol.versions import Revision, find_session_revision
from ..transport.answers import rpc_error
from ..transport.streamable import Exchange, StreamableTransport

if TYPE_CHECKING:
    from ..protocol.era import Era

__all__ = ["Handshake", "Turns", "await_response"]

logger = logging.getLogger("streamhttp_client")


class Turns:
    """A lock whose waiters can be woken: by their deadline, and by whoever cancels or closes what they wait for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the two below; held for a moment
        self._taken = False
        self._waiting: deque[threading.Event] = deque()  # in the order in which they came

    def take(self, effort: Effort) -> None:
        """Wait for one's turn.

        Raises:
            CallTimeout: It did not come in time.
            ClientClosed: The effort was interrupted.
        """
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        effort.interrupt.wait(mine, effort.deadline.remaining())
        with self._lock:
            if mine in self._waiting:  # woken by something else
                self._waiting.remove(mine)
            elif effort.interrupt.fired:
                self._pass_on()
            else:
                return
        if effort.interrupt.fired:
            raise ClientClosed("closed while another thread was connecting")
        raise CallTimeout("another thread is still connecting", may_have_executed=False)

    def end(self) -> None:
        """Let the next one have its turn."""
        with self._lock:
            self._pass_on()

    def _pass_on(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._taken = False


class Handshake:
    """Agrees with a server on a revision and a session. Holds no state: threads share it.

    Args:
        transport: What carries the messages.
        shown_url: The endpoint without credentials, for the session.
        offer: The revision to offer first.
        pinned: Whether no other will do.
        capabilities: What this client can be asked for.
        client_info: How it introduces itself.
        next_id: Gives request ids.
    """

    def __init__(
        self,
        transport: StreamableTransport,
        *,
        shown_url: str,
        offer: Revision,
        pinned: bool,
        capabilities: Mapping[str, Any],
        client_info: Mapping[str, Any],
        next_id: Callable[[], jsonrpc.RequestId],
    ) -> None:
        self._transport = transport
        self._shown_url = shown_url
        self._offer = offer
        self._pinned = pinned
        self._capabilities = capabilities
        self._client_info = client_info
        self._next_id = next_id

    def shake(self, effort: Effort, farewell: Callable[[Era, Session], object]) -> tuple[Era, Session]:
        """Begin a session.

        Args:
            effort: The limits of the call that needs it.
            farewell: Ends a session that was begun and cannot be used.

        Raises:
            UnsupportedVersion: No revision in common.
        """
        offer, tried = self._offer, {self._offer.name}
        while True:
            try:
                era, session = self._initialize(offer, effort, farewell)
                break
            except RPCError as error:
                supported = _supported(error)
                if supported is None:
                    raise  # it is about something else
                other = None if self._pinned else _newest(supported, tried)
                if other is None:
                    raise UnsupportedVersion(
                        f"the server speaks {', '.join(map(repr, supported)) or 'no revision'}, and none that is "
                        "acceptable here",
                        requested=offer.name,
                        supported=supported,
                    ) from error
                offer = other
                tried.add(other.name)
        try:
            self._transport.post(era, session, calls.initialized(), effort)
        except BaseException:
            farewell(era, session)
            raise
        return era, session

    def _initialize(
        self, offer: Revision, effort: Effort, farewell: Callable[[Era, Session], object]
    ) -> tuple[Era, Session]:
        operation = calls.initialize(offer.name, capabilities=self._capabilities, client_info=self._client_info)
        era: Era = StatefulEra(offer)
        while True:
            request = jsonrpc.Request(self._next_id(), operation.method, operation.params)
            exchange = self._transport.request(era, None, request, effort)
            try:
                result = operation.parse(await_response(exchange, self._answer_ping(era, exchange, effort)))
                break
            except (ContentTypeError, RemoteProtocolError) as error:
                error.args = (f"{error}; is {self._shown_url.partition('?')[0]} the address of an MCP endpoint?",)
                raise
            except StreamHTTPError as error:
                # Nothing was agreed yet, so beginning again changes nothing.
                if not getattr(error, "may_have_executed", False) or effort.deadline.expired or not effort.again():
                    raise
            finally:
                exchange.close()
        session_id = None if exchange.headers is None else exchange.headers.get("mcp-session-id")
        session = Session(
            url=self._shown_url,
            session_id=None if session_id is None else era.check_session_id(session_id),
            protocol_version=result.protocol_version,
            server_info=result.server_info,
            capabilities=result.capabilities,
            instructions=result.instructions,
        )
        agreed = find_session_revision(result.protocol_version)
        if agreed is None or (self._pinned and agreed.name != offer.name):
            farewell(era, session)  # "the client SHOULD disconnect", Version Negotiation
            raise UnsupportedVersion(
                f"offered revision {offer.name!r}, and the server wants {result.protocol_version!r:.40}, "
                "which is not acceptable here",
                requested=offer.name,
                supported=(result.protocol_version,),
            )
        return StatefulEra(agreed), session

    def _answer_ping(
        self, era: Era, exchange: Exchange, effort: Effort
    ) -> Callable[[jsonrpc.Request], object]:
        def answer(request: jsonrpc.Request) -> None:
            # "The server SHOULD NOT send requests other than pings and logging before receiving the initialized
            # notification." So no callback of the user runs in here.
            if request.method != "ping":
                logger.warning("the server asked %r before the handshake was done", request.method)
                return
            session_id = None if exchange.headers is None else exchange.headers.get("mcp-session-id")
            session = Session(self._shown_url, None if session_id is None else era.check_session_id(session_id))
            self._transport.post(era, session, jsonrpc.Response(request.id, {}), effort)

        return answer


def _supported(error: RPCError) -> tuple[str, ...] | None:
    """The revisions that the server named when it refused ours, or None if that is not what it says."""
    supported = error.data.get("supported") if isinstance(error.data, Mapping) else None
    if not isinstance(supported, list):
        return None
    return tuple(name for name in supported if isinstance(name, str))


def _newest(names: tuple[str, ...], tried: set[str]) -> Revision | None:
    """The newest revision among them that is spoken here and was not tried yet."""
    known = (find_session_revision(name) for name in names if name not in tried)
    return max((revision for revision in known if revision), key=lambda revision: revision.name, default=None)


def await_response(exchange: Exchange, serve: Callable[[jsonrpc.Request], object]) -> Any:
    """The result of a request whose notifications interest nobody.

    Args:
        exchange: The request under way.
        serve: Answers what the server asks meanwhile.

    Raises:
        RPCError: The server answered with an error.
        RemoteProtocolError: The answer holds no response, or another one.
    """
    for message in exchange:
        if isinstance(message, jsonrpc.Response):
            if message.id != exchange.request_id:
                raise RemoteProtocolError(
                    f"expected the response to request {exchange.request_id!r}, got one for {message.id!r:.80}"
                )
            return message.result
        if isinstance(message, jsonrpc.ErrorResponse):
            raise rpc_error(message)
        if isinstance(message, jsonrpc.Request):
            serve(message)
    raise RemoteProtocolError("the answer holds no response")
