"""Runs the handlers of the stateless era, and makes the responses of what comes of them.

A run ends with a result, with questions to the client (:mod:`.inputs`), with the wish to go on as a task
(:mod:`.tasks`), or with an error. Whatever it is, the call is answered, once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from .. import jsonrpc
from ..exceptions import ClientClosed, LocalProtocolError, RPCError
from ..protocol.names import (
    HEADER_MISMATCH,
    MISSING_CAPABILITY,
    RESOURCE_NOT_FOUND,
    SERVER_INFO,
    TASKS_EXTENSION,
    UNSUPPORTED_VERSION,
    URL_ELICITATION_REQUIRED,
)
from .calls import Call, MissingCapability
from .inputs import InputNeeded, Sealer, input_required
from .modern_calls import ModernCall, TaskCall
from .offer import Offer
from .request_meta import Caller
from .runner import Runner
from .stores.base import Store, StoreError
from .tasks import TaskNeeded, TaskRun, Tasks, needs_tasks

__all__ = ["Method", "ModernRuns", "lacking", "status_of"]

_log = logging.getLogger("streamhttp_client.server")

# "Cacheable Results", MCP 2026-07-28, server/utilities/caching; resources/read has hints of its own.
_LISTS = frozenset(("server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list"))

_ROUNDS = {"inputResponses", "requestState"}

# "Implementations … MUST NOT emit these codes", basic/index, Error Codes
_OLD_CODES = {RESOURCE_NOT_FOUND: jsonrpc.INVALID_PARAMS, URL_ELICITATION_REQUIRED: jsonrpc.INTERNAL_ERROR}
_OWN_CODES = frozenset((HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION))
_STATUSES = {jsonrpc.METHOD_NOT_FOUND: 404, **dict.fromkeys(_OWN_CODES, 400)}

Method = Callable[[Call], "dict[str, Any]"]


class ModernRuns:
    """What runs the requests of one endpoint. Any thread may call it.

    Args:
        method: Finds what answers a method that the endpoint has.
        sealer: Signs what clients carry from round to round.
        task_ttl: Seconds for which a task can be asked for after it last changed.
    """

    def __init__(
        self,
        offer: Offer,
        runner: Runner,
        store: Store,
        *,
        method: Callable[[str], Method],
        sealer: Sealer,
        task_ttl: float,
    ) -> None:
        self._offer = offer
        self._runner = runner
        self._store = store
        self._method = method
        self._sealer = sealer
        #: ``_meta`` of each result.
        self.meta = {SERVER_INFO: offer.info()}
        self.tasks = Tasks(store, runner.backlog, self._start_task, ttl=task_ttl)

    def run(self, call: ModernCall) -> None:
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
                # Like Offer.run: SystemExit and the like must not leave the client waiting.
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
                result = self._method(request.method)(call)
            except (InputNeeded, TaskNeeded):
                result = {}
            if call.becomes_task:
                result = self.tasks.create(_caller(call), request, call.inputs)
                return jsonrpc.Response(request.id, self.dress(result))
            if call.inputs.pending:
                # Also if the handler, or a thread of it, has swallowed the signal.
                result = input_required(request, call.session.principal, self._sealer, call.inputs)
                return jsonrpc.Response(request.id, self.dress(result))
            return jsonrpc.Response(request.id, self._complete(request, result))
        except MissingCapability as missing:
            return lacking(request, missing)
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
            result = {**result, "ttlMs": self._offer.ttl_ms, "cacheScope": self._offer.cache_scope}
        elif method == "resources/read":
            ttl, scope = self._offer.resources.hints((request.params or {}).get("uri"))
            if _ROUNDS & (request.params or {}).keys():
                ttl = 0  # "MUST NOT be cached, as they depend on inputs that are not part of the cache key"
            result = {**result, "ttlMs": ttl, "cacheScope": scope}
        return self.dress({**result, "resultType": "complete"})

    def dress(self, result: dict[str, Any]) -> dict[str, Any]:
        """Say in a result who the server is."""
        meta = result.get("_meta")
        result["_meta"] = self.meta if not meta else {**self.meta, **meta}
        return result

    def is_task(self, caller: Caller, request: jsonrpc.Request) -> bool:
        """Whether a call is to be a task from its beginning.

        Raises:
            MissingCapability: It can be nothing else, and the client does not know tasks.
        """
        if request.method != "tools/call":
            return False
        tool = self._offer.tools.get((request.params or {}).get("name"))
        if tool is None or not tool.task:
            return False
        if caller.has_extension(TASKS_EXTENSION):
            return True
        # "a server MUST NOT return CreateTaskResult to a client that did not include the extension capability"
        if tool.task == "required":
            needs_tasks()
        return False

    def _start_task(self, run: TaskRun) -> bool:
        call = TaskCall(self._store, run, self._runner.backlog)
        return self._runner.submit(call, lambda: self.run(call), task=True)


def _caller(call: Call) -> Caller:
    assert isinstance(call.session, Caller)
    return call.session


def lacking(request: jsonrpc.Request, missing: MissingCapability) -> jsonrpc.ErrorResponse:
    """The refusal of a request whose client did not declare what it needs."""
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


def status_of(response: jsonrpc.Response | jsonrpc.ErrorResponse | None) -> int:
    """The HTTP status of a response that is JSON."""
    return _STATUSES.get(response.code, 200) if isinstance(response, jsonrpc.ErrorResponse) else 200
