"""The server: what it offers, and which method of the protocol is answered by what."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from .. import jsonrpc
from ..exceptions import CallCancelled, ClientClosed, LocalProtocolError, RPCError
from ..protocol.versions import LATEST, find_revision
from .calls import Call
from .sessions import LOG_LEVELS
from .tools import Tool, Tools

if TYPE_CHECKING:
    from .running import RunningServer
    from .stores.base import Store
    from .wsgi import Principal, WSGIApp

__all__ = ["Server"]

_log = logging.getLogger("streamhttp_client.server")

F = TypeVar("F", bound=Callable[..., Any])


class Server:
    """What one endpoint offers: register functions on it, then mount :meth:`wsgi` or run :meth:`serve`.

    Registering is safe from any thread, also while the server runs. Handlers are plain blocking functions,
    and each running one has a thread of its own.

    Args:
        name: Of the program, for the client's users.
        version: Of the program.
        instructions: A text for the client's model on how to use this server.
        title: A name to show, if it differs.
        page_size: Items on one page of a list; None puts all on one.
    """

    def __init__(
        self,
        name: str,
        version: str,
        instructions: str | None = None,
        *,
        title: str | None = None,
        page_size: int | None = None,
    ) -> None:
        self.name = name
        self.version = version
        self.title = title
        self.instructions = instructions
        self.tools = Tools(page_size)
        self._methods: dict[str, Callable[[Call], dict[str, Any]]] = {
            "ping": lambda call: {},
            "logging/setLevel": self._check_level,
            "tools/list": self.tools.list,
            "tools/call": self.tools.call,
        }

    def tool(
        self,
        name: str | None = None,
        *,
        title: str | None = None,
        description: str | None = None,
        input_schema: Mapping[str, Any] | None = None,
        output_schema: Mapping[str, Any] | None = None,
        annotations: Mapping[str, Any] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Callable[[F], F]:
        """Register the decorated function as a tool; the function itself stays as it is.

        It may return a text, a number, an object (a dict or dataclass: structured content), a
        :class:`~streamhttp_client.server.Blob`, content blocks, or None. If it is a generator, what it yields
        is progress (a number, a text, or the arguments of :meth:`Context.progress` as a tuple), and what it
        returns is the result. :class:`~streamhttp_client.exceptions.ToolError` gives an error result with its
        text; any other exception gives one without, and is logged.

        Args:
            name: The function's name if not given.
            description: The function's docstring if not given.
            input_schema: JSON schema of the arguments; derived from the type hints if not given.
            output_schema: JSON schema of the structured result; derived if the function's result is annotated
                with a dataclass, ``TypedDict`` or msgspec ``Struct``.
            annotations: Hints for the client: ``{"readOnlyHint": True}``.

        Raises:
            LocalProtocolError: The name is taken or not allowed, or no schema can be derived.
        """

        def register(function: F) -> F:
            self.tools.add(
                Tool(
                    function,
                    name=name or function.__name__,
                    title=title,
                    description=description,
                    input_schema=input_schema,
                    output=output_schema,
                    annotations=annotations,
                    meta=meta,
                )
            )
            return function

        if callable(name):
            raise LocalProtocolError("write @server.tool(), with parentheses")
        return register

    def wsgi(
        self,
        path: str | None = "/mcp",
        *,
        json_response: bool = False,
        store: Store | None = None,
        allowed_hosts: Iterable[str] | None = None,
        allowed_origins: Iterable[str] | None = None,
        principal: Principal | None = None,
        max_body: int = 4 << 20,
        max_threads: int = 64,
        keepalive: float = 15.0,
        retry_ms: int = 1000,
    ) -> WSGIApp:
        """Return the endpoint as a WSGI application, to be mounted in any WSGI service.

        Each open stream occupies a thread of the WSGI server, so give that one enough of them.

        Args:
            path: Where the endpoint is; None answers at every path that reaches the application.
            json_response: Answer every request with one JSON object. Progress, log messages and questions to
                the client have no place in it.
            store: Where sessions and events are kept; in memory if not given.
            allowed_hosts: Names in ``Host`` that are let in, against DNS rebinding. None: only those of the
                loopback interface. ``["*"]``: any.
            allowed_origins: Web pages that are let in (``Origin``). None: only those of the allowed hosts.
            principal: Takes the WSGI environ and says who calls; a session then belongs to who opened it.
            max_body: Bytes of one request.
            max_threads: Handlers that run at the same time; four times as many may wait.
            keepalive: Seconds of silence on a stream after which a comment is sent.
            retry_ms: Milliseconds after which a client that lost a stream shall come back.
        """
        from .wsgi import WSGIApp

        return WSGIApp(
            self,
            path=path,
            json_response=json_response,
            store=store,
            allowed_hosts=allowed_hosts,
            allowed_origins=allowed_origins,
            principal=principal,
            max_body=max_body,
            max_threads=max_threads,
            keepalive=keepalive,
            retry_ms=retry_ms,
        )

    def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        path: str = "/mcp",
        *,
        max_connections: int = 256,
        **options: Any,
    ) -> RunningServer:
        """Run the endpoint in this process, on background threads; needs the extra ``[server]``.

        ``with server.serve() as running: print(running.url)``

        Args:
            host: "When running locally, servers SHOULD bind only to localhost" (MCP, basic/transports).
            port: 0 takes a free one.
            max_connections: Requests and open streams at the same time, each on a thread.
            options: As for :meth:`wsgi`.

        Raises:
            OSError: The port is taken.
            MissingExtra: cheroot is not installed.
        """
        from .running import RunningServer

        return RunningServer(self.wsgi(path, **options), host, port, path, max_connections)

    # What the HTTP half asks.

    def capabilities(self) -> dict[str, Any]:
        """What the server declares in the handshake."""
        return {"tools": {"listChanged": True}, "logging": {}}

    def initialize(self, params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Answer the handshake: the result, and what is to be kept of the client.

        "If the server supports the requested protocol version, it MUST respond with the same version.
        Otherwise, the server MUST respond with another protocol version it supports." MCP 2025-11-25,
        basic/lifecycle

        Raises:
            RPCError: The parameters are not those of a handshake.
        """
        asked, client, capabilities = (
            params.get(key) for key in ("protocolVersion", "clientInfo", "capabilities")
        )
        if not isinstance(asked, str) or not isinstance(client, dict) or not isinstance(capabilities, dict):
            raise RPCError(
                "initialize needs 'protocolVersion' (a string), 'capabilities' and 'clientInfo' (objects)",
                code=jsonrpc.INVALID_PARAMS,
            )
        revision = find_revision(asked) or LATEST
        info = {"name": self.name, "version": self.version}
        if self.title is not None:
            info["title"] = self.title
        result = {"protocolVersion": revision.name, "capabilities": self.capabilities(), "serverInfo": info}
        if self.instructions is not None:
            result["instructions"] = self.instructions
        return result, {"revision": revision.name, "client_info": client, "client_capabilities": capabilities}

    def streams(self, request: jsonrpc.Request) -> bool:
        """Whether a request deserves a stream and a thread: its handler may take long, or speak meanwhile."""
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
            call.outlet.finish(
                jsonrpc.ErrorResponse(call.request.id, jsonrpc.INTERNAL_ERROR, "internal error")
            )

    def _answer(self, call: Call) -> jsonrpc.Response | jsonrpc.ErrorResponse | None:
        request = call.request
        method = self._methods.get(request.method)
        if method is None:
            return jsonrpc.ErrorResponse(
                request.id, jsonrpc.METHOD_NOT_FOUND, f"unknown method: {request.method:.100}"
            )
        try:
            return jsonrpc.Response(request.id, method(call))
        except RPCError as error:
            return jsonrpc.ErrorResponse(request.id, error.code, error.message, error.data)
        except (CallCancelled, ClientClosed):
            return None
        except Exception:
            _log.exception("%s failed", request.method)
            return jsonrpc.ErrorResponse(request.id, jsonrpc.INTERNAL_ERROR, "internal error")

    def _check_level(self, call: Call) -> dict[str, Any]:
        if call.params.get("level") not in LOG_LEVELS:
            raise RPCError(f"'level' must be one of {', '.join(LOG_LEVELS)}", code=jsonrpc.INVALID_PARAMS)
        call.update_session({"log_level": call.params["level"]})
        return {}
