"""What an answer means: an HTTP one that is no success, a JSON-RPC error, a response."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .. import jsonrpc
from ..exceptions import (
    AuthenticationError,
    HeaderMismatch,
    HTTPStatusError,
    InvalidParams,
    MethodNotFound,
    MissingCapability,
    RemoteProtocolError,
    ResourceNotFound,
    RPCError,
    SessionExpired,
    StreamHTTPError,
    UnsupportedVersion,
    URLElicitationRequired,
)
from ..net.body import Response
from ..net.refusals import read_beginning
from ..net.retry import Effort
from ..protocol import names
from ..protocol.session import Session

if TYPE_CHECKING:
    from ..protocol.era import Era
    from .link import RequestUnderWay

__all__ = ["NOT_EXECUTED", "await_response", "blame_size", "refused", "rpc_error"]

NOT_EXECUTED = frozenset((429, 503))
"""Statuses with which a server or gateway says that it did not begin: the same request may be sent again."""

# "431 Request Header Fields Too Large" (RFC 6585), and what servers and gateways say in its place.
_TOO_LARGE = frozenset((400, 413, 414, 431, 502))
# Servers and gateways allow 8 KiB for one header or for all, seldom less than 4.
_LARGE = 4000

_BY_CODE: dict[int, type[RPCError]] = {
    jsonrpc.METHOD_NOT_FOUND: MethodNotFound,
    jsonrpc.INVALID_PARAMS: InvalidParams,
    names.RESOURCE_NOT_FOUND: ResourceNotFound,
    names.URL_ELICITATION_REQUIRED: URLElicitationRequired,
    names.HEADER_MISMATCH: HeaderMismatch,
    names.MISSING_CAPABILITY: MissingCapability,
}


def rpc_error(
    answer: jsonrpc.ErrorResponse, response: Response | None = None, body: bytes = b""
) -> RPCError | UnsupportedVersion:
    """The exception for a JSON-RPC error object."""
    message = answer.message or "the server reported an error"
    error: RPCError | UnsupportedVersion
    if answer.code == names.UNSUPPORTED_VERSION:
        error = _unsupported_version(message, answer)
    else:
        error = _BY_CODE.get(answer.code, RPCError)(message, code=answer.code, data=answer.data)
        if isinstance(error, MissingCapability) and (options := _would_offer(error.required_capabilities)):
            error.args = (f"{error}; Client({', '.join(options)}) offers it",)
    if response is not None:
        error.status, error.headers, error.body = response.status, response.headers, body
    return error


def _would_offer(required: Mapping[str, Any]) -> list[str]:
    """The options of a client with which it has what a server needs of it."""
    options = [f"{name}=…" for name in ("sampling", "elicitation", "roots") if name in required]
    for name, ability, option in (("sampling", "tools", "sampling_tools"), ("elicitation", "url", "url_elicitation")):
        wanted = required.get(name)
        if isinstance(wanted, Mapping) and ability in wanted:
            options.append(f"{option}=True")
    return options


def _unsupported_version(message: str, answer: jsonrpc.ErrorResponse) -> UnsupportedVersion:
    """What the server says of revisions, as far as it can be understood (UnsupportedProtocolVersionError)."""
    data = answer.data if isinstance(answer.data, dict) else {}
    requested, supported = data.get("requested"), data.get("supported")
    return UnsupportedVersion(
        f"{message} (code {answer.code})",
        requested=requested if isinstance(requested, str) else "",
        supported=tuple(name for name in supported if isinstance(name, str)) if isinstance(supported, list) else (),
        code=answer.code,
        data=answer.data,
    )


def refused(response: Response, era: Era, session: Session | None, effort: Effort) -> StreamHTTPError:
    """Read what there is of an answer that is no success, and say what it means. The answer is closed."""
    body = read_beginning(response, effort.deadline)
    status, headers, url = response.status, response.headers, response.url.partition("?")[0]
    answer = _json_rpc_error(response, body)
    elsewhere = ""
    if response.redirected_to is not None:
        elsewhere = f", after a redirect to {response.redirected_to}, which gets no credentials of this origin"
    if era.session_is_gone(status, session, "" if answer is None else answer.message):
        if elsewhere:  # where the session id did not go either
            return HTTPStatusError(
                f"{url} answered with {status}{elsewhere} and no session; use that address in the first place",
                status=status,
                headers=headers,
                body=body,
                url=url,
            )
        return SessionExpired("the server has ended the session", status=status, headers=headers, body=body, url=url)
    if status in (401, 403):
        hint = "the server wants credentials, or others" if status == 401 else "the credentials are not enough"
        return AuthenticationError(
            f"{hint} (HTTP {status}{elsewhere})", status=status, headers=headers, body=body, url=url
        )
    if answer is not None:
        return rpc_error(answer, response, body)
    reason = f" {response.reason}" if response.reason else ""
    hint = "; is this the address of an MCP endpoint?" if session is None and status in (404, 405, 501) else ""
    return HTTPStatusError(
        f"{url} answered with {status}{reason}{elsewhere}{hint}", status=status, headers=headers, body=body, url=url
    )


def blame_size(error: StreamHTTPError, headers: Mapping[str, str]) -> None:
    """Have a refusal say which headers of the request are large, if it may be for that: nobody guesses that an argument
    is sent in one. Their names and lengths, for what is in them may be private.
    """
    if not isinstance(error, HTTPStatusError) or error.status not in _TOO_LARGE:
        return
    size = sum(len(name) + len(value) + 4 for name, value in headers.items())
    if size < _LARGE and error.status != 431:
        return
    words = f"the headers of this request take {size} bytes, besides cookies and those of the client's options"
    if size >= _LARGE:
        largest = sorted(headers, key=lambda name: -len(headers[name]))[:3]
        named = ", ".join(f"{name} ({len(headers[name])} bytes)" for name in largest)
        words += f"; the largest are {named}; mcp-name and mcp-param-… repeat what is in the body"
    error.args = (f"{error}; {words}",)


def _json_rpc_error(response: Response, body: bytes) -> jsonrpc.ErrorResponse | None:
    """The JSON-RPC error in an answer with an HTTP error status, if there is one.

    "The HTTP response body MAY comprise a JSON-RPC error response that has no id." MCP 2025-11-25, basic/transports,
    Sending Messages to the Server.
    """
    if response.content_type != "application/json":
        return None
    try:
        messages = jsonrpc.parse(body)
    except RemoteProtocolError:
        return None  # some other JSON; the status says enough
    return next((message for message in messages if isinstance(message, jsonrpc.ErrorResponse)), None)


def await_response(exchange: RequestUnderWay, serve: Callable[[jsonrpc.Request], object]) -> Any:
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
