"""The server as its users see it: functions are registered on it, and endpoints made of it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar

from ..exceptions import LocalProtocolError
from .bearer import BearerAuth
from .hints import name_of
from .listeners import tell
from .offer import Offer
from .prompts import Prompt
from .resources import Resource
from .running import RunningServer
from .sessions import ServerSession
from .stores.base import Store
from .tools import Tool
from .wsgi import Principal, WSGIApp

__all__ = ["Server"]

F = TypeVar("F", bound=Callable[..., Any])


def _need_parentheses(word: str, first: Any) -> None:
    if callable(first):  # the function itself, which would be registered nowhere
        example = '("uri")' if word == "resource" else "()"
        raise LocalProtocolError(f"write @server.{word}{example}, with parentheses")


class Server(Offer):
    """What one endpoint offers: register functions on it, then mount :meth:`wsgi` or run :meth:`serve`.

    Registering is safe from any thread, also while the server runs. Handlers are plain blocking functions,
    and each running one has a thread of its own.

    Args:
        name: Of the program, for the client's users.
        version: Of the program.
        instructions: A text for the client's model on how to use this server.
        title: A name to show, if it differs.
        page_size: Items on one page of a list; None puts all on one.
        ttl: Seconds for which a client may keep a list of tools, resources or prompts without asking again; it is
            told of changes if it listens (since 2026-07-28). A resource has a ``ttl`` of its own.
        cache_scope: Who may keep them: "private", the one who asked, or "public", also caches that serve others.
    """

    def __init__(
        self,
        name: str,
        version: str,
        instructions: str | None = None,
        *,
        title: str | None = None,
        page_size: int | None = None,
        ttl: float = 0.0,
        cache_scope: Literal["public", "private"] = "private",
    ) -> None:
        super().__init__(
            name, version, instructions, title=title, page_size=page_size, ttl=ttl, cache_scope=cache_scope
        )
        # The endpoints made from this server, for what is sent to all clients; and what guards them.
        self._apps: weakref.WeakSet[WSGIApp] = weakref.WeakSet()
        self._apps_lock = threading.Lock()

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
        task: bool | Literal["required"] = False,
    ) -> Callable[[F], F]:
        """Register the decorated function as a tool; the function itself stays as it is.

        It may return a text, a number, an object (a dict or dataclass: structured content), a
        :class:`~streamhttp_client.server.Blob`, content blocks, or None. If it is a generator, what it yields
        is progress (a number, a text, nothing, or the arguments of :meth:`Context.progress` as a tuple), and what it
        returns is the result. :class:`~streamhttp_client.exceptions.ToolError` gives an error result with its
        text; any other exception gives one without, and is logged.

        Args:
            name: The function's name if not given.
            description: The function's docstring if not given.
            input_schema: JSON schema of the arguments; derived from the type hints if not given. Types, enums,
                required and unknown members are checked by it.
            output_schema: JSON schema of the structured result; derived if the function's result is annotated
                with a dataclass, ``TypedDict`` or msgspec ``Struct``.
            annotations: Hints for the client: ``{"readOnlyHint": True}``.
            task: Answer clients that know the extension ``io.modelcontextprotocol/tasks`` (2026-07-28) with a task,
                whose result they collect later, from any process that shares the store; its progress is the task's
                status message. Others wait as for any tool, or are refused, if it is "required" and they are of that
                revision.

        Raises:
            LocalProtocolError: The name is taken or not allowed, or no schema can be derived.
        """

        def register(function: F) -> F:
            self.tools.add(
                Tool(
                    function,
                    name=name_of(function, name),
                    title=title,
                    description=description,
                    input_schema=input_schema,
                    output=output_schema,
                    annotations=annotations,
                    meta=meta,
                    task=task,
                )
            )
            return function

        _need_parentheses("tool", name)
        return register

    def resource(
        self,
        uri: str,
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        media_type: str | None = None,
        annotations: Mapping[str, Any] | None = None,
        size: int | None = None,
        ttl: float = 0.0,
        cache_scope: Literal["public", "private"] = "private",
    ) -> Callable[[F], F]:
        """Register the decorated function as a resource: it returns a text, bytes, a ``Blob``, or any JSON
        value.

        Args:
            uri: With ``{name}`` in it it is a template, and the function's parameters are its variables, as
                strings or what their hints say. ``{name}`` gives no slashes and no ``..``; one ``{+name}`` may be
                there, which gives both, so check it before it becomes a file name.
            name: The function's name if not given.
            media_type: Of what is returned.
            ttl: Seconds for which a client may keep what it read, without asking again (since 2026-07-28).
            cache_scope: Who may keep it: "private", the one who asked, or "public", also caches that serve others.
        """

        def register(function: F) -> F:
            self.resources.add(
                Resource(
                    function,
                    uri,
                    name=name_of(function, name),
                    title=title,
                    description=description,
                    media_type=media_type,
                    annotations=annotations,
                    size=size,
                    ttl=ttl,
                    cache_scope=cache_scope,
                )
            )
            return function

        _need_parentheses("resource", uri)
        return register

    def prompt(
        self, name: str | None = None, *, title: str | None = None, description: str | None = None
    ) -> Callable[[F], F]:
        """Register the decorated function as a prompt: it returns a text, a message, or a list of them."""

        def register(function: F) -> F:
            self.prompts.add(Prompt(function, name=name_of(function, name), title=title, description=description))
            return function

        _need_parentheses("prompt", name)
        return register

    def completion(self, *, prompt: str | None = None, resource: str | None = None, argument: str) -> Callable[[F], F]:
        """Register what suggests values for an argument of a prompt, or a variable of a resource template.

        The function takes what was typed so far, and a dict of the arguments that are filled in already; it
        returns texts, best first.
        """

        def register(function: F) -> F:
            self.completions.add(prompt, resource, argument, function)
            return function

        return register

    def notify_resource_updated(self, uri: str) -> int:
        """Tell all clients that subscribed to a resource that it has changed; return how many listen now.

        With a store that several processes share, one of them has to say it, for the clients of all.

        Raises:
            StoreUnavailable: The store does not answer; some clients may have been told.
        """
        return self._tell("notifications/resources/updated", {"uri": uri}, lambda session: uri in session.subscriptions)

    def notify_list_changed(self, kind: Literal["tools", "resources", "prompts"]) -> int:
        """Tell all clients that something was added or removed; return how many listen now.

        Raises:
            StoreUnavailable: The store does not answer; some clients may have been told.
        """
        if kind not in ("tools", "resources", "prompts"):
            raise LocalProtocolError(f"kind must be 'tools', 'resources' or 'prompts', got {kind!r}")
        return self._tell(f"notifications/{kind}/list_changed", None, lambda session: True)

    def _tell(self, method: str, params: dict[str, str] | None, wanted: Callable[[ServerSession], bool]) -> int:
        # Endpoints may share a store, whose clients shall hear of it once.
        with self._apps_lock:
            apps = list(self._apps)
        stores = {id(app.store): app.store for app in apps}
        return sum(tell(store, method, params, wanted) for store in stores.values())

    def wsgi(
        self,
        path: str | None = "/mcp",
        *,
        protocol: Literal["auto", "2026-07-28", "2025-11-25"] = "auto",
        stateless: bool = False,
        json_response: bool = False,
        store: Store | None = None,
        allowed_hosts: Iterable[str] | None = None,
        allowed_origins: Iterable[str] | None = None,
        principal: Principal | None = None,
        bearer: BearerAuth | None = None,
        max_body: int = 4 << 20,
        max_threads: int = 64,
        max_streams: int = 1000,
        session_ttl: float | None = None,
        keepalive: float = 15.0,
        retry_ms: int = 1000,
        state_secret: str | bytes | None = None,
        state_ttl: float = 600.0,
        task_ttl: float = 900.0,
    ) -> WSGIApp:
        """Return the endpoint as a WSGI application, to be mounted in any WSGI service.

        Each open stream occupies a thread of the WSGI server, so give that one enough of them.

        Args:
            path: Where the endpoint is; None answers at every path that reaches the application.
            protocol: Which revisions are spoken. "auto": all, and each request chooses; "2026-07-28": only that one,
                where each request stands alone; "2025-11-25": those with a handshake, down to 2025-03-26.
            stateless: No sessions before 2026-07-28 either: each request stands alone, and any worker can answer it.
                Streams cannot be resumed, and a client of those revisions cannot be asked anything. Tasks,
                subscriptions and questions of 2026-07-28 need a common ``store`` all the same.
            json_response: Answer every request with one JSON object. Progress, log messages and questions to
                the client have no place in it.
            store: Where sessions and events are kept; in memory if not given. All processes of one server share it;
                give each server its own (a file, a prefix), or their clients hear of each other's changes.
            allowed_hosts: Names in ``Host`` that are let in, against DNS rebinding. None: only those of the
                loopback interface. ``["*"]``: any.
            allowed_origins: Web pages that are let in (``Origin``). None: only those of the allowed hosts.
            principal: Takes the WSGI environ and says who calls; a session then belongs to who opened it. It refuses
                with ``PermissionError``, which is answered with 403.
            bearer: Lets in only who has a token, and says where to get one; it also is the ``principal``.
            max_body: Bytes of one request.
            max_threads: Handlers that run at the same time, and tasks beside them; four times as many may wait. One
                session has at most half of both, or one ``principal`` since 2026-07-28; what is more is answered
                with 503.
            max_streams: Streams that are open at the same time; one more is answered with 503, and so is one of a
                ``principal`` who has three quarters of them.
            session_ttl: Seconds after which an unused session ends, an hour if not given; an open stream counts as
                use, and so does a call that runs. A store that is given has its own.
            keepalive: Seconds of silence on a stream after which a comment is sent.
            retry_ms: Milliseconds after which a client that lost a stream shall come back.
            state_secret: Signs what a client carries while it answers questions (2026-07-28), at least 16 bytes that
                nobody can guess. If not given, the store makes one up, for all processes that share it. So processes
                that serve the same clients need a common store or the same secret; else an answer that reaches
                another process than the question is refused.
            state_ttl: Seconds that a client, and its user, may take for one round of answers.
            task_ttl: Seconds for which a task can be asked for after it last changed, and while it runs; at most the
                store's ``session_ttl``.
        """
        app = WSGIApp(
            self,
            path=path,
            protocol=protocol,
            stateless=stateless,
            json_response=json_response,
            store=store,
            allowed_hosts=allowed_hosts,
            allowed_origins=allowed_origins,
            principal=principal,
            bearer=bearer,
            max_body=max_body,
            max_threads=max_threads,
            max_streams=max_streams,
            session_ttl=session_ttl,
            keepalive=keepalive,
            retry_ms=retry_ms,
            state_secret=state_secret,
            state_ttl=state_ttl,
            task_ttl=task_ttl,
        )
        with self._apps_lock:
            self._apps.add(app)
        return app

    def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        path: str | None = "/mcp",
        *,
        max_connections: int = 256,
        **options: Any,
    ) -> RunningServer:
        """Run the endpoint in this process, on background threads; needs the extra ``[server]``.

        ``with server.serve() as running: print(running.url)``

        Args:
            host: "When running locally, servers SHOULD bind only to localhost" (MCP, basic/transports).
            port: 0 takes a free one.
            max_connections: Requests and open streams at the same time, each on a thread; a stream that waits costs
                about 45 KiB, at most 56, and 0.005 % of a core; one whose client does not read, 1.5 MiB at most
                besides its answer. A client that vanished is noticed within about a second.
            options: As for :meth:`wsgi`; but ``max_streams`` is at most, and by default, three quarters of
                ``max_connections``, since a stream keeps its thread, and others shall have some.

        Raises:
            OSError: The port is taken.
            StoreUnavailable: The store does not answer.
            MissingExtra: cheroot is not installed, or what the store needs.
        """
        if not isinstance(max_connections, int) or max_connections < 1:
            raise LocalProtocolError(f"max_connections must be 1 or more, got {max_connections!r:.60}")
        most = max(max_connections * 3 // 4, 1)
        options["max_streams"] = min(options.get("max_streams", most), most)
        return RunningServer(self.wsgi(path, **options), host, port, path, max_connections)
