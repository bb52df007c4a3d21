"""The stateless era at the endpoint: one request in, one answer out, and nothing kept in between (MCP 2026-07-28).

Strategy: a request is checked (:mod:`.request_meta`); what is quick is answered here and now; a handler gets a thread,
and its answer is decided by what it does first. If that is to end, the answer is JSON, with the HTTP status that its
error asks for; if it speaks, or takes longer than a moment, the answer is a stream (:mod:`.pipes`). Questions to the
client end the run of a handler (:mod:`.inputs`).
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from .. import jsonrpc
from ..exceptions import ClientClosed, LocalProtocolError, RPCError
from ..protocol.inputs import ASKING_METHODS
from ..protocol.names import (
    HEADER_MISMATCH,
    MISSING_CAPABILITY,
    RESOURCE_NOT_FOUND,
    SERVER_INFO,
    TASKS_EXTENSION,
    UNSUPPORTED_VERSION,
    URL_ELICITATION_REQUIRED,
)
from .calls import Call, JSONOutlet, MissingCapability, Outlet
from .disconnect import connection_probe
from .http_answers import Answer, HTTPError
from .inputs import InputNeeded, Inputs, Sealer, input_required, read_inputs
from .pipes import Pipe, PipeStream
from .request_meta import Caller, check_param_headers, read_caller
from .stores.base import Store, StoreError, StoreFull
from .subscriptions import SubscriptionStream, honoured, subscribe
from .tasks import TaskNeeded, TaskRun, Tasks, needs_tasks

if TYPE_CHECKING:
    from .runner import Runner
    from .server import Server

__all__ = ["ModernCall", "ModernEndpoint"]

_log = logging.getLogger("streamhttp_client.server")

# Seconds for which a handler may decide what its answer is to be: errors have HTTP statuses, and a client shall not
# wait long for the head of an answer.
_DECIDE = 1.0

# Seconds between two looks of a handler whether it is still wanted.
_LOOK_INTERVAL = 0.1

# "Cacheable Results", MCP 2026-07-28, server/utilities/caching; resources/read has hints of its own.
_LISTS = frozenset(("server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list"))

_ROUNDS = {"inputResponses", "requestState"}

# "Implementations … MUST NOT emit these codes", basic/index, Error Codes
_OLD_CODES = {RESOURCE_NOT_FOUND: jsonrpc.INVALID_PARAMS, URL_ELICITATION_REQUIRED: jsonrpc.INTERNAL_ERROR}
_OWN_CODES = frozenset((HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION))
_STATUSES = {jsonrpc.METHOD_NOT_FOUND: 404, **dict.fromkeys(_OWN_CODES, 400)}

K = TypeVar("K", str, "str | None")
Environ = Mapping[str, Any]
Method = Callable[[Call], "dict[str, Any]"]


class ModernCall(Call):
    """One request of the stateless era, while it runs."""

    _numbers = itertools.count(1)

    def __init__(
        self,
        runner: Runner,
        store: Store,
        caller: Caller,
        request: jsonrpc.Request,
        outlet: Outlet,
        inputs: Inputs,
        gone: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__(store, caller, request, outlet, runner.backlog)
        self._gone = gone
        self._next_look = 0.0
        # Two clients may use the same id at the same time.
        self.key = ("", str(next(self._numbers)))
        self.inputs = inputs
        self.becomes_task = False
        #: What kept the store from doing its part.
        self.store_error: StoreError | None = None

    @property
    def cancelled(self) -> bool:
        """Whether the client has gone, or the server stops. Cheap enough for a loop."""
        if not self._cancelled.is_set() and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOK_INTERVAL
            if self._is_unwanted():
                self._cancelled.set()
        return self._heard()

    def _is_unwanted(self) -> bool:
        return self._gone is not None and self._gone()

    def ask_all(self, questions: Mapping[K, tuple[str, Mapping[str, Any]]], timeout: float) -> dict[K, Any]:
        return self.inputs.ask(questions)

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        return self.inputs.once(key, make)

    def start_task(self, *, required: bool) -> None:
        assert isinstance(self.session, Caller)
        if self.session.has_extension(TASKS_EXTENSION):
            self.becomes_task = True
            raise TaskNeeded
        if required:
            needs_tasks()

    def lacks(self, capability: str) -> NoReturn:
        required: dict[str, Any] = {}
        inner = required
        for part in capability.split("."):
            inner = inner.setdefault(part, {})
        raise MissingCapability(f"this needs the client's capability {capability!r}", required)


class TaskCall(ModernCall):
    """One run of a task. Its progress is told whether the client asked for it or not."""

    progress_token = "task"

    def __init__(self, runner: Runner, store: Store, run: TaskRun) -> None:
        super().__init__(runner, store, run.caller, run.request, run, run.inputs)
        self._task_run = run

    def _is_unwanted(self) -> bool:
        return self._task_run.tasks.is_over(self._task_run.name, self._task_run.number)

    def start_task(self, *, required: bool) -> None:
        """It is one."""


class ModernEndpoint:
    """What a :class:`~.wsgi.WSGIApp` asks for requests of this era. Any thread may call it.

    Args:
        path: Where the endpoint is, if that is fixed.
        supported: Revisions that the endpoint speaks, the newest first.
        json_response: Nothing is ever a stream.
        state_secret: Signs what clients carry from round to round; None makes one up.
        state_ttl: Seconds that a client may take for one round.
        task_ttl: Seconds for which a task can be asked for after it last changed.
    """

    def __init__(
        self,
        server: Server,
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
        self._server = server
        self._runner = runner
        self._store = store
        self._json = json_response
        self._keepalive = keepalive
        self._state_secret = state_secret
        self._state_ttl = state_ttl
        # One secret may serve several endpoints, and what one of them has asked is nothing to the others.
        self._audience = (server.name, path or "")
        # Guards the making of the sealer: a secret that is made up must not be shared by processes that were forked
        # from this one by chance, so it is made at the first use.
        self._lock = threading.Lock()
        self._made_sealer: Sealer | None = None
        self._meta = {SERVER_INFO: server.info()}
        self._tasks = Tasks(store, runner.backlog, self._start_task, ttl=task_ttl)
        tools, resources, prompts = server.tools, server.resources, server.prompts
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
            "tasks/get": (self._tasks.get, lambda: len(tools)),
            "tasks/update": (self._tasks.update, lambda: len(tools)),
            "tasks/cancel": (self._tasks.cancel, lambda: len(tools)),
            "completion/complete": (server.completions.complete, lambda: len(server.completions)),
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
            tool = self._server.tools.get((message.params or {}).get("name"))
            if tool is not None and tool.mirrored:
                check_param_headers(environ, message, tool.mirrored)
        try:
            inputs = self._read_inputs(message, principal)
            if self._is_task(caller, message):
                result = self._dress(self._tasks.create(caller, message, inputs))
                return self._to_answer(jsonrpc.Response(message.id, result))
        except RPCError as error:
            return self._to_answer(jsonrpc.ErrorResponse(message.id, error.code, error.message, error.data))
        except MissingCapability as missing:
            return self._to_answer(_lacking(message, missing))
        if self._json or not self._server.streams(message):
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
        call = ModernCall(self._runner, self._store, caller, request, outlet, inputs, gone)
        self._runner.running.add(call)
        self._run(call)
        if call.store_error is not None:
            raise call.store_error  # 503 says better that it may be tried again
        if not outlet.responses:  # pragma: no cover - it cannot be cancelled from outside
            problem = "the server stopped before the call ended"
            outlet.finish(jsonrpc.ErrorResponse(request.id, jsonrpc.INTERNAL_ERROR, problem))
        return Answer(_status(outlet.last), outlet.responses[0])

    def _answer_from_thread(
        self, environ: Environ, caller: Caller, request: jsonrpc.Request, inputs: Inputs
    ) -> Answer | PipeStream:
        """Run a request on a thread of its own, and answer by what it does first."""
        pipe = Pipe()
        call = ModernCall(self._runner, self._store, caller, request, pipe, inputs)
        gone = connection_probe(environ)
        self._runner.begin_stream()

        def closed(whole: bool) -> None:
            self._runner.end_stream()
            if not whole:
                call.cancel()

        stream = PipeStream(pipe, keepalive=self._keepalive, gone=gone, on_close=closed)
        try:
            if not self._runner.submit(call, lambda: self._run(call)):
                # As an HTTP status it is clear to all that nothing ran.
                raise StoreFull("the server is busy")
            if not pipe.wait(_DECIDE) or pipe.has_messages or not pipe.ended:
                return stream
            (data,), _ = pipe.take()
        except BaseException:
            stream.close()
            raise
        stream.finish()
        return Answer(_status(pipe.response), data)

    # --- handlers

    def _run(self, call: ModernCall) -> None:
        """Answer one request, on this thread. Never raises."""
        request = call.request
        try:
            try:
                response = self._respond(call)
            except StoreError as error:
                _log.warning("%s failed: %s", request.method, error)
                call.store_error = error
                response = jsonrpc.ErrorResponse(request.id, jsonrpc.INTERNAL_ERROR, str(error))
            except BaseException:
                # Like Server.run: SystemExit and the like must not leave the client waiting.
                _log.exception("%s failed", request.method)
                response = _internal_error(request)
            try:
                call.finish(response)
            except LocalProtocolError:
                _log.exception("the result of %s cannot be sent", request.method)
                call.outlet.finish(_internal_error(request))
        finally:
            self._runner.running.discard(call)

    def _respond(self, call: ModernCall) -> jsonrpc.Response | jsonrpc.ErrorResponse:
        request = call.request
        try:
            try:
                result = self._methods[request.method][0](call)
            except (InputNeeded, TaskNeeded):
                result = {}
            if call.becomes_task:
                result = self._tasks.create(_caller(call), request, call.inputs)
                return jsonrpc.Response(request.id, self._dress(result))
            if call.inputs.pending:
                # Also if the handler, or a thread of it, has swallowed the signal.
                result = input_required(request, call.session.principal, self._sealer, call.inputs)
                return jsonrpc.Response(request.id, self._dress(result))
            return jsonrpc.Response(request.id, self._complete(request, result))
        except MissingCapability as missing:
            return _lacking(request, missing)
        except RPCError as error:
            return jsonrpc.ErrorResponse(request.id, _code(error.code), error.message, error.data)
        except ClientClosed:
            problem = "the server stopped before the call ended"
            return jsonrpc.ErrorResponse(request.id, jsonrpc.INTERNAL_ERROR, problem)
        except StoreError:
            raise
        except Exception:
            _log.exception("%s failed", request.method)
            return _internal_error(request)

    def _complete(self, request: jsonrpc.Request, result: dict[str, Any]) -> dict[str, Any]:
        """A result as this era wants it: its type, who the server is, and how long it may be cached."""
        method = request.method
        if method in _LISTS:
            result = {**result, "ttlMs": self._server.ttl_ms, "cacheScope": self._server.cache_scope}
        elif method == "resources/read":
            ttl, scope = self._server.resources.hints((request.params or {}).get("uri"))
            if _ROUNDS & (request.params or {}).keys():
                ttl = 0  # "MUST NOT be cached, as they depend on inputs that are not part of the cache key"
            result = {**result, "ttlMs": ttl, "cacheScope": scope}
        return self._dress({**result, "resultType": "complete"})

    def _dress(self, result: dict[str, Any]) -> dict[str, Any]:
        meta = result.get("_meta")
        result["_meta"] = self._meta if not meta else {**self._meta, **meta}
        return result

    def _to_answer(self, response: jsonrpc.Response | jsonrpc.ErrorResponse) -> Answer:
        return Answer(_status(response), jsonrpc.dump(response))

    # --- tasks

    def _is_task(self, caller: Caller, request: jsonrpc.Request) -> bool:
        """Whether a call is to be a task from its beginning.

        Raises:
            MissingCapability: It can be nothing else, and the client does not know tasks.
        """
        if request.method != "tools/call":
            return False
        tool = self._server.tools.get((request.params or {}).get("name"))
        if tool is None or not tool.task:
            return False
        if caller.has_extension(TASKS_EXTENSION):
            return True
        # "a server MUST NOT return CreateTaskResult to a client that did not include the extension capability"
        if tool.task == "required":
            needs_tasks()
        return False

    def _start_task(self, run: TaskRun) -> bool:
        call = TaskCall(self._runner, self._store, run)
        return self._runner.submit(call, lambda: self._run(call), task=True)

    # --- methods

    def capabilities(self) -> dict[str, Any]:
        """What the server declares in this era."""
        found = self._server.capabilities()
        if self._json:
            # Changes are told on streams, which this endpoint does not have.
            found = {name: {} for name in found}
        if "tools" in found:
            found["extensions"] = {TASKS_EXTENSION: {}}
        return found

    def _discover(self, call: Call) -> dict[str, Any]:
        result: dict[str, Any] = {"supportedVersions": list(self.supported), "capabilities": self.capabilities()}
        if self._server.instructions is not None:
            result["instructions"] = self._server.instructions
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
                self._server.resources.has,
                lambda name: self._tasks.can_be_followed(name, caller),
            )
        except RPCError as error:
            raise HTTPError(400, error.message, code=error.code, request_id=request.id) from None
        tasks = wanted.get("taskIds", ())
        self._runner.begin_stream()
        session = None

        def leave_tasks() -> None:
            assert session is not None
            for task in tasks:
                self._tasks.leave(task, session)

        try:
            session = subscribe(self._store, request.id, wanted)
            for task in tasks:
                self._tasks.follow(task, session, request.id)
            return SubscriptionStream(
                self._store,
                session,
                request.id,
                self._meta,
                keepalive=self._keepalive,
                backlog=self._runner.backlog,
                gone=connection_probe(environ),
                stopping=lambda: self._runner.stopping,
                on_end=leave_tasks,
                on_close=self._runner.end_stream,
            )
        except BaseException:
            self._runner.end_stream()
            if session is not None:
                with contextlib.suppress(StoreError):
                    self._store.delete_session(session)
            raise

    # --- rounds

    @property
    def _sealer(self) -> Sealer:
        if self._made_sealer is None:
            with self._lock:
                if self._made_sealer is None:
                    secret = self._state_secret or secrets.token_bytes(32)
                    self._made_sealer = Sealer(secret, audience=self._audience, ttl=self._state_ttl)
        return self._made_sealer

    def _read_inputs(self, request: jsonrpc.Request, principal: str | None) -> Inputs:
        if request.method not in ASKING_METHODS:
            return Inputs({}, {})
        return read_inputs(request, principal, lambda: self._sealer)


def _caller(call: Call) -> Caller:
    assert isinstance(call.session, Caller)
    return call.session


def _lacking(request: jsonrpc.Request, missing: MissingCapability) -> jsonrpc.ErrorResponse:
    data = {"requiredCapabilities": missing.required}
    return jsonrpc.ErrorResponse(request.id, MISSING_CAPABILITY, str(missing), data)


def _internal_error(request: jsonrpc.Request) -> jsonrpc.ErrorResponse:
    return jsonrpc.ErrorResponse(request.id, jsonrpc.INTERNAL_ERROR, "internal error")


def _code(code: int) -> int:
    """An error code that a handler chose, as this era allows it: "Implementations MUST NOT emit any code from this
    sub-range that is not defined by this specification" (basic/index, Error Codes).
    """
    if -32099 <= code <= -32020 and code not in _OWN_CODES:
        return _OLD_CODES.get(code, jsonrpc.INTERNAL_ERROR)
    return _OLD_CODES.get(code, code)


def _status(response: jsonrpc.Response | jsonrpc.ErrorResponse | None) -> int:
    return _STATUSES.get(response.code, 200) if isinstance(response, jsonrpc.ErrorResponse) else 200
