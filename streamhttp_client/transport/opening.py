"""Opening the one stream of HTTP+SSE, and hearing on it where messages go."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from .. import jsonrpc
from ..exceptions import (
    CallTimeout,
    HTTPStatusError,
    LocalProtocolError,
    ReadTimeout,
    RemoteProtocolError,
    StreamHTTPError,
    TransportError,
)
from ..net.body import Response
from ..net.http import HTTP
from ..net.interrupt import Interrupt
from ..net.refusals import is_temporary, type_error
from ..net.retry import Effort, parse_retry_after
from ..net.target import Target
from ..net.timeouts import Deadline
from ..protocol.era import Era
from ..protocol.session import Session
from ..sse import Event, SSEParser
from .answers import refused
from .channel import Channel
from .posting import Outbox

__all__ = ["open_channel"]

# Addresses are far shorter, and most servers refuse longer ones.
_MAX_ENDPOINT = 8192


def open_channel(
    http: HTTP,
    url: str,
    era: Era,
    effort: Effort,
    interrupt: Interrupt,
    patience: float | None,
    *,
    max_message_size: int,
) -> Channel:
    """Open a stream, and wait until the server has named the address for messages. Repeated while the failure may pass.

    Args:
        http: What sends the requests.
        url: Where a GET opens the stream.
        era: The rules by which it is opened.
        effort: The limits of the whole.
        interrupt: The stream's own, which outlives the effort.
        patience: Seconds for which an open stream may say nothing of the address, where the server may be another.
        max_message_size: Bytes of one event.

    Raises:
        StreamHTTPError: See :meth:`HTTPSSETransport.open`.
    """
    failure: StreamHTTPError
    while True:
        floor = 0.0
        try:
            return _open_once(http, url, era, effort, interrupt, patience, max_message_size)
        except TransportError as error:
            error.may_have_executed = False  # nothing was asked but to listen
            error.attempts = effort.attempts
            if effort.deadline.expired:
                raise CallTimeout(
                    f"the server named no address for messages within {effort.deadline.seconds:g} s",
                    may_have_executed=False,
                    attempts=effort.attempts,
                ) from error
            if error.permanent or isinstance(error, ReadTimeout):
                raise
            failure = error
        except HTTPStatusError as error:
            if not is_temporary(error.status):
                raise
            failure, floor = error, parse_retry_after(error.headers)
        if not effort.again(floor):
            raise failure


def _open_once(
    http: HTTP,
    url: str,
    era: Era,
    effort: Effort,
    interrupt: Interrupt,
    patience: float | None,
    max_message_size: int,
) -> Channel:
    response = http.send(
        "GET",
        url,
        era.stream_headers(Session(url)),
        timeout=effort.timeout,
        deadline=effort.deadline,
        interrupt=interrupt,
    )
    if response.status != 200:
        raise refused(response, era, None, effort)
    if response.content_type != "text/event-stream":
        raise type_error(response, "text/event-stream", effort.deadline)
    try:
        parser = SSEParser(max_event_size=max_message_size)
        events = _read_to_endpoint(response, parser, effort, Deadline(patience))
        outbox = Outbox(http, _resolve(url, events.pop(0).data, response.url))
    except BaseException:
        response.body.abandon()
        raise
    headers = era.message_headers(None, jsonrpc.Response(0, {}))
    return Channel(outbox, headers, response.body, parser, events, interrupt, max_message_size)


def _read_to_endpoint(response: Response, parser: SSEParser, effort: Effort, bound: Deadline) -> list[Event]:
    """The event ``endpoint`` and what came together with it.

    "When a client connects, the server MUST send an endpoint event containing a URI for the client to use for
    sending messages." MCP 2024-11-05, basic/transports, HTTP with SSE
    """
    while chunk := response.body.read1(timeout=bound.within(effort.remaining())):
        if bound.expired:  # comments have come, and nothing else
            raise ReadTimeout(f"the server named no address for messages within {bound.seconds:.3g} s")
        events = parser.feed(chunk)
        for at, event in enumerate(events):
            if event.type == "endpoint":
                return events[at:]
            if event.type == "message":
                raise RemoteProtocolError("expected the event 'endpoint' first, got a message")
    raise RemoteProtocolError("expected the event 'endpoint', and the stream ended without it")


def _resolve(url: str, reference: str, base: str) -> str:
    """The address for messages. The server's word never takes credentials to another origin.

    Not even to the one that the GET was redirected to, which is why this is compared with our own address.
    """
    if not reference.strip() or len(reference) > _MAX_ENDPOINT:
        raise RemoteProtocolError(f"expected an address in the event 'endpoint', got {len(reference)} characters")
    home = Target(url)
    try:
        parts = urlsplit(urljoin(base, reference.strip()))
        login, host = urlsplit(url).netloc.rpartition("@")[:2], parts.netloc.rpartition("@")[2]
        endpoint = parts._replace(netloc="".join(login) + host, fragment="").geturl()
        target = Target(endpoint)
    except (ValueError, LocalProtocolError):
        raise RemoteProtocolError("the event 'endpoint' names an address that cannot be used") from None
    if target.origin != home.origin:
        raise RemoteProtocolError(
            f"the event 'endpoint' must name an address at {home.where}, got one at {target.where}"
        )
    return endpoint
