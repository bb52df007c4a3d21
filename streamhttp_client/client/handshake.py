"""Beginning a session, MCP 2025-11-25, basic/lifecycle, Initialization."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .. import jsonrpc
from ..exceptions import ContentTypeError, RemoteProtocolError, RPCError, StreamHTTPError, UnsupportedVersion
from ..net.retry import Effort
from ..protocol import calls
from ..protocol.negotiation import is_modern_error, supported
from ..protocol.session import Session
from ..protocol.versions import Revision, find_session_revision
from ..transport.answers import await_response
from ..transport.link import Link, RequestUnderWay, Transport

if TYPE_CHECKING:
    from ..protocol.era import Era

__all__ = ["Handshake"]

logger = logging.getLogger("streamhttp_client")


class Handshake:
    """Agrees with a server on a revision and a session. Holds no state: threads share it.

    Args:
        shown_url: The endpoint without credentials, for the session.
        capabilities: What this client can be asked for; of it, what there is in a revision is declared.
        client_info: How it introduces itself.
        next_id: Gives request ids.
    """

    def __init__(
        self,
        *,
        shown_url: str,
        capabilities: Mapping[str, Any],
        client_info: Mapping[str, Any],
        next_id: Callable[[], jsonrpc.RequestId],
    ) -> None:
        self._shown_url = shown_url
        self._capabilities = capabilities
        self._client_info = client_info
        self._next_id = next_id

    def shake(
        self,
        transport: Transport,
        make_era: Callable[[Revision], Era],
        offer: Revision,
        effort: Effort,
        farewell: Callable[[Link], object],
        *,
        pinned: bool,
    ) -> Link:
        """Begin a session.

        Args:
            transport: What carries the messages.
            make_era: Gives the rules of a revision on this transport.
            offer: The revision to offer first.
            effort: The limits of the call that needs it.
            farewell: Ends a session that was begun and cannot be used.
            pinned: Whether no other revision will do.

        Raises:
            UnsupportedVersion: No revision in common.
        """
        tried = {offer.name}
        while True:
            try:
                link = self._initialize(transport, make_era, offer, effort, farewell, pinned)
                break
            except RPCError as error:
                names = supported(error)
                if names is None or is_modern_error(error):
                    raise  # it is about something else, or for others to say what it means
                other = None if pinned else _newest(names, tried)
                if other is None:
                    raise UnsupportedVersion(
                        f"the server speaks {', '.join(map(repr, names)) or 'no revision'}, and none that is "
                        "acceptable here",
                        requested=offer.name,
                        supported=names,
                    ) from error
                offer = other
                tried.add(other.name)
        try:
            link.post(calls.initialized(), effort)
        except BaseException:
            farewell(link)
            raise
        return link

    def _initialize(
        self,
        transport: Transport,
        make_era: Callable[[Revision], Era],
        offer: Revision,
        effort: Effort,
        farewell: Callable[[Link], object],
        pinned: bool,
    ) -> Link:
        capabilities = offer.declared(self._capabilities)
        operation = calls.initialize(offer.name, capabilities=capabilities, client_info=self._client_info)
        era = make_era(offer)
        while True:
            request = jsonrpc.Request(self._next_id(), operation.method, operation.params)
            exchange = transport.request(era, None, request, effort)
            try:
                result = operation.parse(
                    await_response(exchange, self._answer_ping(transport, era, exchange, effort))
                )
                break
            except (ContentTypeError, RemoteProtocolError) as error:
                if not isinstance(error, UnsupportedVersion):  # which only an MCP server says
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
            era=era.name,
        )
        agreed = find_session_revision(result.protocol_version)
        if agreed is None or (pinned and agreed.name != offer.name):
            farewell(Link(era, session, transport))  # "the client SHOULD disconnect", Version Negotiation
            raise UnsupportedVersion(
                f"offered revision {offer.name!r}, and the server wants {result.protocol_version!r:.40}, "
                "which is not acceptable here",
                requested=offer.name,
                supported=(result.protocol_version,),
            )
        return Link(make_era(agreed), session, transport)

    def _answer_ping(
        self, transport: Transport, era: Era, exchange: RequestUnderWay, effort: Effort
    ) -> Callable[[jsonrpc.Request], object]:
        def answer(request: jsonrpc.Request) -> None:
            # "The server SHOULD NOT send requests other than pings and logging before receiving the initialized
            # notification." So no callback of the user runs in here.
            if request.method != "ping":
                logger.warning("the server asked %r before the handshake was done", request.method)
                return
            session_id = None if exchange.headers is None else exchange.headers.get("mcp-session-id")
            session = Session(self._shown_url, None if session_id is None else era.check_session_id(session_id))
            transport.post(era, session, jsonrpc.Response(request.id, {}), effort)

        return answer


def _newest(names: tuple[str, ...], tried: set[str]) -> Revision | None:
    """The newest revision among them that is spoken here and was not tried yet."""
    known = (find_session_revision(name) for name in names if name not in tried)
    return max((revision for revision in known if revision), key=lambda revision: revision.name, default=None)
