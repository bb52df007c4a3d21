"""What a server offers, and which method of the protocol is answered by what.

It knows nothing of HTTP and threads, and they know it; what users see of it is :class:`~.server.Server`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal

from .. import jsonrpc
from ..exceptions import ClientClosed, LocalProtocolError, RPCError
from ..protocol.versions import LATEST_SESSION
from .calls import Call
from .completions import Completions
from .pages import cache_hints, listed
from .prompts import Prompts
from .resources import Resources
from .sessions import LOG_LEVELS, find_served, kept_of_client
from .stores.base import StoreError
from .tools import Tools

__all__ = ["Offer"]

_log = logging.getLogger("streamhttp_client.server")


class Offer:
    """Tools, resources, prompts and completions, and the program that has them. The arguments are those of
    :class:`~.server.Server`. Any thread may call it.
    """

    def __init__(
        self,
        name: str,
        version: str,
        instructions: str | None,
        *,
        title: str | None,
        page_size: int | None,
        ttl: float,
        cache_scope: Literal["public", "private"],
    ) -> None:
        listed("server", name=name, version=version, title=title, instructions=instructions)
        self.name = name
        self.version = version
        self.title = title
        self.instructions = instructions
        self.ttl_ms, self.cache_scope = cache_hints(ttl, cache_scope)
        self.tools = Tools(page_size)
        self.resources = Resources(page_size)
        self.prompts = Prompts(page_size)
        self.completions = Completions()
        self._methods: dict[str, Callable[[Call], dict[str, Any]]] = {
            "ping": lambda call: {},
            "logging/setLevel": self._check_level,
            "tools/list": self.tools.list,
            "tools/call": self.tools.call,
            "resources/list": self.resources.list,
            "resources/templates/list": self.resources.list_templates,
            "resources/read": self.resources.read,
            "resources/subscribe": self.resources.subscribe,
            "resources/unsubscribe": self.resources.unsubscribe,
            "prompts/list": self.prompts.list,
            "prompts/get": self.prompts.get,
            "completion/complete": self.completions.complete,
        }

    def capabilities(self, *, tells: bool = True) -> dict[str, Any]:
        """What the server declares.

        Args:
            tells: Clients have a way to hear of changes.
        """
        offered: dict[str, Any] = {"logging": {}}
        if len(self.tools):
            offered["tools"] = {"listChanged": True}
        if len(self.resources):
            offered["resources"] = {"subscribe": True, "listChanged": True}
        if len(self.prompts):
            offered["prompts"] = {"listChanged": True}
        if len(self.completions):
            offered["completions"] = {}
        return offered if tells else {name: {} for name in offered}

    def info(self) -> dict[str, Any]:
        """Who the server says that it is."""
        info = {"name": self.name, "version": self.version}
        if self.title is not None:
            info["title"] = self.title
        return info

    def initialize(self, params: Mapping[str, Any], *, tells: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        """Answer the handshake: the result, and what is to be kept of the client.

        "If the server supports the requested protocol version, it MUST respond with the same version.
        Otherwise, the server MUST respond with another protocol version it supports." MCP 2025-11-25,
        basic/lifecycle

        Args:
            tells: As for :meth:`capabilities`.

        Raises:
            RPCError: The parameters are not those of a handshake.
        """
        asked, client, capabilities = (params.get(key) for key in ("protocolVersion", "clientInfo", "capabilities"))
        if not isinstance(asked, str) or not isinstance(client, dict) or not isinstance(capabilities, dict):
            raise RPCError(
                "initialize needs 'protocolVersion' (a string), 'capabilities' and 'clientInfo' (objects)",
                code=jsonrpc.INVALID_PARAMS,
            )
        revision = find_served(asked) or LATEST_SESSION
        result = {
            "protocolVersion": revision.name,
            "capabilities": self.capabilities(tells=tells),
            "serverInfo": self.info(),
        }
        if self.instructions is not None:
            result["instructions"] = self.instructions
        return result, {"revision": revision.name, **kept_of_client(client, capabilities)}

    def streams(self, request: jsonrpc.Request) -> bool:
        """Whether a request deserves a stream and a thread: its handler may take long, or speak meanwhile."""
        params = request.params or {}
        if request.method == "resources/read":
            return self.resources.wants_stream(params)
        if request.method == "prompts/get":
            return self.prompts.wants_stream(params)
        return request.method == "tools/call"

    def run(self, call: Call) -> None:
        """Answer one request, on this thread. Never raises."""
        try:
            response = self._answer(call)
        except BaseException:
            # What a handler raises is caught below; this is for SystemExit and the like, which a thread may
            # not swallow without an answer, since the client would wait for it.
            _log.exception("%s failed", call.request.method)
            response = jsonrpc.ErrorResponse(call.request.id, jsonrpc.INTERNAL_ERROR, "internal error")
        try:
            call.finish(response)
        except LocalProtocolError:
            # The result has no JSON form: NaN, a lone surrogate.
            _log.exception("the result of %s cannot be sent", call.request.method)
            call.outlet.finish(jsonrpc.ErrorResponse(call.request.id, jsonrpc.INTERNAL_ERROR, "internal error"))

    def _answer(self, call: Call) -> jsonrpc.Response | jsonrpc.ErrorResponse:
        request = call.request
        method = self._methods.get(request.method)
        if method is None:
            return jsonrpc.ErrorResponse(request.id, jsonrpc.METHOD_NOT_FOUND, f"unknown method: {request.method:.100}")
        try:
            return jsonrpc.Response(request.id, method(call))
        except RPCError as error:
            return jsonrpc.ErrorResponse(request.id, error.code, error.message, error.data)
        except ClientClosed:
            # Cancelled, then nobody hears this; or the server stops, then the client shall know.
            problem = "the server stopped before the call ended"
            return jsonrpc.ErrorResponse(request.id, jsonrpc.INTERNAL_ERROR, problem)
        except StoreError as error:
            _log.warning("%s failed: %s", request.method, error)
            return jsonrpc.ErrorResponse(request.id, jsonrpc.INTERNAL_ERROR, str(error))
        except Exception:
            _log.exception("%s failed", request.method)
            return jsonrpc.ErrorResponse(request.id, jsonrpc.INTERNAL_ERROR, "internal error")

    def _check_level(self, call: Call) -> dict[str, Any]:
        if call.params.get("level") not in LOG_LEVELS:
            raise RPCError(f"'level' must be one of {', '.join(LOG_LEVELS)}", code=jsonrpc.INVALID_PARAMS)
        call.update_session({"log_level": call.params["level"]})
        return {}
