"""What a request of the stateless era says of itself: in ``_meta``, and once more in its headers (2026-07-28).

Strategy: :func:`is_modern` chooses the era of a message, :func:`read_caller` then either returns who calls, or
refuses the request with the error that the specification has for it. Nothing is kept from one request to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from .. import jsonrpc
from ..protocol.mirrored import ParamHeaders, standard_misfit
from ..protocol.names import (
    CLIENT_CAPABILITIES,
    CLIENT_INFO,
    HEADER_MISMATCH,
    LOG_LEVEL,
    PROTOCOL_VERSION,
    UNSUPPORTED_VERSION,
)
from ..protocol.versions import Revision, find_session_revision, find_stateless_revision
from .http_answers import HTTPError
from .sessions import LOG_LEVELS, ServerSession

__all__ = ["Caller", "check_param_headers", "is_modern", "read_caller"]

Environ = Mapping[str, Any]


class Caller(ServerSession):
    """Who calls, by what this one request says. There is no session, so ``session_id`` is None.

    ``log_level`` is "" if the request asked for no log messages.
    """

    def __init__(
        self,
        revision: Revision,
        capabilities: dict[str, Any],
        info: dict[str, Any],
        log_level: str,
        principal: str | None,
    ) -> None:
        # Not that of the base class, which reads what a store keeps.
        self.session_id = None
        self.key = ""
        self.revision = revision
        self.client_info = info
        self.client_capabilities = capabilities
        self.principal = principal
        self.log_level = log_level
        self.subscriptions = frozenset()
        self.listeners = ()
        self.next_listener = 1

    def wants_log(self, level: str) -> bool:
        """ "The server MUST NOT emit notifications/message for a request that does not include this field"
        (server/utilities/logging).
        """
        return self.log_level != "" and super().wants_log(level)

    def has_extension(self, name: str) -> bool:
        """Whether the client declared an extension."""
        found = self.client_capabilities.get("extensions")
        return isinstance(found, Mapping) and name in found


def is_modern(environ: Environ, message: jsonrpc.Message) -> bool:
    """Whether a message is of the stateless era.

    It is if its header names a revision that no handshake can agree on; or if it has the version in ``_meta``: "A
    request carrying modern per-request _meta is served statelessly" (basic/versioning). A revision that nobody knows,
    in a request that belongs to a session, is an error of the session era.
    """
    version = environ.get("HTTP_MCP_PROTOCOL_VERSION")
    if version is not None and find_session_revision(version) is None:
        if find_stateless_revision(version.strip()) or "HTTP_MCP_SESSION_ID" not in environ:
            return True
    if not isinstance(message, (jsonrpc.Request, jsonrpc.Notification)) or message.params is None:
        return False
    meta = message.params.get("_meta")
    return type(meta) is dict and PROTOCOL_VERSION in meta


def read_caller(environ: Environ, request: jsonrpc.Request, principal: str | None, supported: Sequence[str]) -> Caller:
    """Check the version, the metadata and the standard headers of a request.

    Args:
        supported: What this endpoint speaks, for the error of a version that it does not.

    Raises:
        HTTPError: 400 with -32022, -32602 or -32020, and the id of the request.
    """
    header = _field(environ, "mcp-protocol-version")
    meta = (request.params or {}).get("_meta")
    if type(meta) is not dict or type(meta.get(PROTOCOL_VERSION)) is not str:
        if header is not None and header not in supported:
            _refuse_version(request, header, supported)
        _refuse(request, jsonrpc.INVALID_PARAMS, f"'_meta' must have {PROTOCOL_VERSION!r}, a string")
    version = meta[PROTOCOL_VERSION]
    if header != version:
        # "The header value MUST match the … field carried in the request body's _meta."
        said = "is missing" if header is None else f"is {header!r:.40}"
        _refuse(request, HEADER_MISMATCH, f"header MCP-Protocol-Version {said}, and the body has {version!r:.40}")
    revision = find_stateless_revision(version)
    if revision is None or version not in supported:
        _refuse_version(request, version, supported)
    capabilities, info, level = meta.get(CLIENT_CAPABILITIES), meta.get(CLIENT_INFO, {}), meta.get(LOG_LEVEL, "")
    if type(capabilities) is not dict:
        # "A request missing any required field is malformed; the server MUST reject it with … -32602"
        _refuse(request, jsonrpc.INVALID_PARAMS, f"'_meta' must have {CLIENT_CAPABILITIES!r}, an object")
    if type(info) is not dict:
        _refuse(request, jsonrpc.INVALID_PARAMS, f"{CLIENT_INFO!r} must be an object")
    if level not in LOG_LEVELS and LOG_LEVEL in meta:
        _refuse(request, jsonrpc.INVALID_PARAMS, f"{LOG_LEVEL!r} must be one of {', '.join(LOG_LEVELS)}")
    problem = standard_misfit(_fields(environ, ("mcp-method", "mcp-name")), request.method, request.params)
    if problem is not None:
        _refuse(request, HEADER_MISMATCH, problem)
    return Caller(revision, capabilities, info, level, principal)


def check_param_headers(environ: Environ, request: jsonrpc.Request, mirrored: ParamHeaders) -> None:
    """Check the headers that mirror arguments of a tool.

    Raises:
        HTTPError: 400 with -32020.
    """
    arguments = (request.params or {}).get("arguments")
    problem = mirrored.fits(
        _fields(environ, (name for name, _ in mirrored.fields)), arguments if isinstance(arguments, dict) else None
    )
    if problem is not None:
        _refuse(request, HEADER_MISMATCH, problem)


def _field(environ: Environ, name: str) -> str | None:
    value = environ.get("HTTP_" + name.upper().replace("-", "_"))
    # "a field parsing implementation MUST exclude such whitespace prior to evaluating the field value" (RFC 9110,
    # section 5.5); not every WSGI server does.
    return None if value is None else value.strip(" \t")


def _fields(environ: Environ, names: Any) -> dict[str, str]:
    found = ((name, _field(environ, name)) for name in names)
    return {name: value for name, value in found if value is not None}


def _refuse(request: jsonrpc.Request, code: int, problem: str, data: Any = None) -> NoReturn:
    raise HTTPError(400, problem, code=code, request_id=request.id, data=data)


def _refuse_version(request: jsonrpc.Request, version: str, supported: Sequence[str]) -> NoReturn:
    data = {"supported": list(supported), "requested": version[:100]}
    _refuse(request, UNSUPPORTED_VERSION, f"unsupported protocol version, this server has {', '.join(supported)}", data)
