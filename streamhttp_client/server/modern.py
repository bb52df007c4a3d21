"""The stateless era at the endpoint: one request in, one answer out, and nothing kept in between (MCP 2026-07-28).

Strategy: a request is checked (:mod:`.request_meta`); what is quick is answered here and now; a handler gets a thread,
and its answer is decided by what it does first. If that is to end, the answer is JSON, with the HTTP status that its
error asks for; if it speaks, or takes longer than a moment, the answer is a stream (:mod:`.pipes`). What becomes of a
handler's run is the matter of :mod:`.modern_runs`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import jsonrpc
from ..exceptions import RPCError
from ..protocol.inputs import ASKING_METHODS
from ..protocol.names import MISSING_CAPABILITY, TASKS_EXTENSION, UNSUPPORTED_VERSION
from .calls import Call, JSONOutlet, MissingCapability
from .disconnect import connection_probe
from .http_answers import Answer, HTTPError
from .inputs import Inputs, Sealer, read_inputs
from .modern_calls import ModernCall
from .modern_runs import Method, ModernRuns, lacking, status_of
from .offer import Offer
from .pipes import Pipe, PipeStream
from .request_meta import Caller, check_param_headers, read_caller
from .runner import Runner
from .stores.base import Store, StoreError, StoreFull
from .subscriptions import SubscriptionStream, honoured, subscribe

__all__ = ["ModernEndpoint"]

# Seconds for which a handler may decide what its answer is to be: errors have HTTP statuses, and a client shall not
# wait long for the head of an answer.
_DECIDE = 1.0

Environ = Mapping[str, Any]


class ModernEndpoint:
    """What a :class:`~.wsgi.WSGIApp` asks for requests of this era. Any thread may call it.

    Args:
        path: Where the endpoint is, if that is fixed.
        supported: Revisions that the endpoint speaks, the newest first.
        json_response: Nothing is ever a stream.
        state_secret: Signs what clients carry from round to round; None takes that of the store.
        state_ttl: Seconds that a client may take for one round.
        task_ttl: Seconds for which a task can be asked for after it last changed.
    """

    def __init__(
        self,
        offer: Offer,
        runner: Runner,
        store: Store,
        *,
        path: str | None,
        supported: Sequence[str],
        json_response: bool,
        keepalive: float,
        state_secret: bytes | None,
        state_ttl: float,
        task_ttl: float,
    ) -> None:
        self.supported = tuple(supported)
        self._offer = offer
        self._runner = runner
        self._store = store
        self._json = json_response
        self._keepalive = keepalive
        # One secret may serve several endpoints, and what one of them has asked is nothing to the others.
        secret = store.secret if state_secret is None else state_secret
        self._sealer = Sealer(secret, audience=(offer.name, path or ""), ttl=state_ttl)
        self._runs = ModernRuns(
            offer,
            runner,
            store,
            method=lambda name: self._methods[name][0],
            sealer=self._sealer,
            task_ttl=task_ttl,
        )
        tasks = self._runs.tasks
        tools, resources, prompts = offer.tools, offer.resources, offer.prompts
        # Each with what must be there for it: "or one gated behind a server capability the server did not advertise"
        # (schema, MethodNotFoundError).
        self._methods: dict[str, tuple[Method, Callable[[], Any]]] = {
            "server/discover": (self._discover, lambda: True),
            "tools/list": (tools.list, lambda: len(tools)),
            "tools/call": (tools.call, lambda: len(tools)),
            "resources/list": (resources.list, lambda: len(resources)),
            "resources/templates/list": (resources.list_templates, lambda: len(resources)),
            "resources/read": (resources.read, lambda: len(resources)),
            "prompts/list": (prompts.list, lambda: len(prompts)),
            "prompts/get": (prompts.get, lambda: len(prompts)),
            "tasks/get": (tasks.get, lambda: len(tools)),
            "tasks/update": (tasks.update, lambda: len(tools)),
            "tasks/cancel": (tasks.cancel, lambda: len(tools)),
            "completion/complete": (offer.completions.complete, lambda: len(offer.completions)),
        }

    # --- HTTP

    def post(
        self, environ: Environ, message: jsonrpc.Message, batch: bool, principal: str | None
    ) -> Answer | PipeStream | SubscriptionStream:
        """Answer one POST.

        Raises:
            HTTPError: It is refused.
            StoreFull: There are too many streams, or all handlers are busy.
        """
        if batch:
            raise HTTPError(400, f"revision {self.supported[0]} has no batches")
        if isinstance(message, jsonrpc.Notification):
            # None is defined that a client could send; "If the server accepts it, … 202 Accepted with no body".
            return Answer(202)
        if not isinstance(message, jsonrpc.Request):
            raise HTTPError(400, "a client must not send responses")
        caller = read_caller(environ, message, principal, self.supported)
        if message.method == "subscriptions/listen" and not self._json:
            return self._listen(environ, message, caller)
        method, offered = self._methods.get(message.method, (None, None))
        if method is None or offered is None or not offered():
            problem = f"unknown method: {message.method:.100}"
            raise HTTPError(404, problem, code=jsonrpc.METHOD_NOT_FOUND, request_id=message.id)
        if message.method == "tools/call":
            tool = self._offer.tools.get((message.params or {}).get("name"))
            if tool is not None and tool.mirrored:
                check_param_headers(environ, message, tool.mirrored)
        try:
            inputs = self._read_inputs(message, principal)
            if self._runs.is_task(caller, message):
                result = self._runs.dress(self._runs.tasks.create(caller, message, inputs))
                return self._to_answer(jsonrpc.Response(message.id, result))
        except RPCError as error:
            return self._to_answer(jsonrpc.ErrorResponse(message.id, error.code, error.message, error.data))
        except MissingCapability as missing:
            return self._to_answer(lacking(message, missing))
        if self._json or not self._offer.streams(message):
            return self._answer_here(environ, caller, message, inputs)
        return self._answer_from_thread(environ, caller, message, inputs)

    def post_foreign(
        self, environ: Environ, message: jsonrpc.Message, batch: bool, principal: str | None
    ) -> Answer | PipeStream | SubscriptionStream:
        """Refuse what is of the era with a handshake, where that is not spoken.

        Raises:
            HTTPError: Always, but for a notification.
        """
        if batch or not isinstance(message, jsonrpc.Request) or message.method != "initialize":
            return self.post(environ, message, batch, principal)
        # "SHOULD name the protocol versions it supports in any error it returns to an initialize request … this
        # message may be the only diagnostic they can surface to users" (basic/versioning)
        asked = (message.params or {}).get("protocolVersion")
        data = {"supported": list(self.supported), "requested": asked[:100] if isinstance(asked, str) else ""}
        problem = f"there is no handshake here, this server speaks {', '.join(self.supported)} only"
        raise HTTPError(400, problem, code=UNSUPPORTED_VERSION, request_id=message.id, data=data)

    def _answer_here(self, environ: Environ, caller: Caller, request: jsonrpc.Request, inputs: Inputs) -> Answer:
        """Run a request on this thread."""
        outlet = JSONOutlet()
        # Nobody else looks whether the client is there: this thread is busy.
        gone = connection_probe(environ) if self._json else None
        call = ModernCall(self._store, caller, request, outlet, self._runner.backlog, inputs, gone)
        self._runner.running.add(call)
        self._runs.run(call)
        if call.store_error is not None:
            raise call.store_error  # 503 says better that it may be tried again
        if not outlet.responses:  # pragma: no cover - it cannot be cancelled from outside
            problem = "the server stopped before the call ended"
            outlet.finish(jsonrpc.ErrorResponse(request.id, jsonrpc.INTERNAL_ERROR, problem))
        return Answer(status_of(outlet.last), outlet.responses[0])

    def _answer_from_thread(
        self, environ: Environ, caller: Caller, request: jsonrpc.Request, inputs: Inputs
    ) -> Answer | PipeStream:
        """Run a request on a thread of its own, and answer by what it does first."""
        pipe = Pipe()
        call = ModernCall(self._store, caller, request, pipe, self._runner.backlog, inputs)
        gone = connection_probe(environ)
        self._runner.begin_stream(caller.principal)

        def closed(whole: bool) -> None:
            self._runner.end_stream(caller.principal)
            if not whole:
                call.cancel()

        stream = PipeStream(pipe, keepalive=self._keepalive, gone=gone, on_close=closed)
        try:
            if not self._runner.submit(call, lambda: self._runs.run(call)):
                # As an HTTP status it is clear to all that nothing ran.
                raise StoreFull("the server is busy")
            if not pipe.wait(_DECIDE) or pipe.has_messages or not pipe.ended:
                return stream
            (data,), _ = pipe.take()
        except BaseException:
            stream.close()
            raise
        stream.finish()
        return Answer(status_of(pipe.response), data)

    def _to_answer(self, response: jsonrpc.Response | jsonrpc.ErrorResponse) -> Answer:
        return Answer(status_of(response), jsonrpc.dump(response))

    # --- methods

    def capabilities(self) -> dict[str, Any]:
        """What the server declares in this era."""
        # Changes are told on streams, which not every endpoint has.
        found = self._offer.capabilities(tells=not self._json)
        if "tools" in found:
            found["extensions"] = {TASKS_EXTENSION: {}}
        return found

    def _discover(self, call: Call) -> dict[str, Any]:
        result: dict[str, Any] = {"supportedVersions": list(self.supported), "capabilities": self.capabilities()}
        if self._offer.instructions is not None:
            result["instructions"] = self._offer.instructions
        return result

    def _listen(self, environ: Environ, request: jsonrpc.Request, caller: Caller) -> SubscriptionStream:
        given = (request.params or {}).get("notifications")
        if type(given) is dict and given.get("taskIds") and not caller.has_extension(TASKS_EXTENSION):
            data: dict[str, Any] = {"requiredCapabilities": {"extensions": {TASKS_EXTENSION: {}}}}
            problem = "task notifications need the extension"
            raise HTTPError(400, problem, code=MISSING_CAPABILITY, request_id=request.id, data=data)
        try:
            wanted = honoured(
                given,
                self.capabilities(),
                self._offer.resources.has,
                lambda name: self._runs.tasks.can_be_followed(name, caller),
            )
        except RPCError as error:
            raise HTTPError(400, error.message, code=error.code, request_id=request.id) from None
        tasks = wanted.get("taskIds", ())
        self._runner.begin_stream(caller.principal)
        session = None

        def leave_tasks() -> None:
            assert session is not None
            for task in tasks:
                self._runs.tasks.leave(task, session)

        try:
            session = subscribe(self._store, request.id, wanted)
            for task in tasks:
                self._runs.tasks.follow(task, session, request.id)
            return SubscriptionStream(
                self._store,
                session,
                request.id,
                self._runs.meta,
                keepalive=self._keepalive,
                backlog=self._runner.backlog,
                gone=connection_probe(environ),
                stopping=lambda: self._runner.stopping,
                on_end=leave_tasks,
                on_close=lambda: self._runner.end_stream(caller.principal),
            )
        except BaseException:
            self._runner.end_stream(caller.principal)
            if session is not None:
                with contextlib.suppress(StoreError):
                    self._store.delete_session(session)
            raise

    def _read_inputs(self, request: jsonrpc.Request, principal: str | None) -> Inputs:
        if request.method not in ASKING_METHODS:
            return Inputs({}, {})
        return read_inputs(request, principal, self._sealer)


