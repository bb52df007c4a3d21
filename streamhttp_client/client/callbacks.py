"""What the server asks of the user: sampling, elicitation, roots, and ping.

A callback runs on the thread that reads the stream on which the request came: the one that is blocked in the call, or
the listener's. It may call the client again. What it raises is told to the server as an error without internals, and
logged here; the call goes on. Since 2026-07-28 there is no way to tell it: there, it ends the call.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import Any

from .. import jsonrpc
from ..exceptions import InvalidResult, LocalProtocolError, RPCError
from ..protocol.names import RELATED_TASK

__all__ = ["Callbacks", "ElicitationCallback", "RootsLike", "SamplingCallback", "Unanswered", "check_function"]

logger = logging.getLogger("streamhttp_client")

_CO_COROUTINE = 0x80  # inspect.CO_COROUTINE; importing that module takes as long as a call

SamplingCallback = Callable[[Any], Any]
ElicitationCallback = Callable[[Any], Any]
RootsCallback = Callable[[], Any]
RootsLike = RootsCallback | Sequence[Any] | Mapping[str, Any]


class Callbacks:
    """The user's functions, and what they let us declare. Holds no state: threads share it.

    Args:
        sampling: Takes the parameters of ``sampling/createMessage``, gives its result.
        elicitation: Takes the parameters of ``elicitation/create``, gives its result, or None to decline. Either may
            return ``NotImplemented`` to put the answer off.
        roots: Gives the roots: a function, or simply a list of ``file://`` addresses or models.
        url_elicitation: Whether elicitations that send the user to a page are handled too (2025-11-25).
        sampling_tools: Whether the sampling function knows tools (2025-11-25).
    """

    def __init__(
        self,
        *,
        sampling: SamplingCallback | None = None,
        elicitation: ElicitationCallback | None = None,
        roots: RootsLike | None = None,
        url_elicitation: bool = False,
        sampling_tools: bool = False,
    ) -> None:
        check_function("sampling", sampling)
        check_function("elicitation", elicitation)
        if callable(roots):
            check_function("roots", roots)
        elif roots is not None and not isinstance(roots, (list, tuple, Mapping)):
            raise LocalProtocolError(f"roots must be a function, a list or a mapping, got {type(roots).__name__}")
        self.sampling = sampling
        self.elicitation = elicitation
        self.roots = roots
        self.url_elicitation = url_elicitation
        self.sampling_tools = sampling_tools

    def capabilities(self) -> dict[str, Any]:
        """What can be declared to a server: only what has a handler (MCP 2025-11-25, Operation)."""
        declared: dict[str, Any] = {}
        if self.sampling is not None:
            declared["sampling"] = {"tools": {}} if self.sampling_tools else {}
        if self.elicitation is not None:
            # An empty object means forms only; 2025-06-18 knows no other kind and ignores what is in it.
            declared["elicitation"] = {"form": {}, "url": {}} if self.url_elicitation else {}
        if self.roots is not None:
            declared["roots"] = {"listChanged": True}
        return declared

    def answers(self, method: str) -> bool:
        """Whether there is a callback for what a server asks."""
        return self._handler(method) is not None

    def result(self, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        """Run what the server asked for.

        Raises:
            Unanswered: Nobody answers: there is no callback, it puts the answer off, or this was not declared.
            BaseException: What the callback raised, or made of it: LocalProtocolError if its answer cannot be used.
            InvalidResult: The question is malformed.
        """
        handler = self._handler(method)
        if handler is None:
            raise Unanswered(f"nobody here answers {method!r}")
        try:
            result: dict[str, Any] = handler(params or {})
        except _PutOff:
            raise Unanswered(f"the callback puts off the answer to {method!r}") from None
        except _NotDeclared as error:
            raise Unanswered(error.message) from None
        jsonrpc.dump(jsonrpc.Response(0, result))  # what has no JSON form is the callback's mistake
        return result

    def answer(self, request: jsonrpc.Request) -> jsonrpc.Response | jsonrpc.ErrorResponse:
        """Run what the server asked for. Never raises but for what must end the program (KeyboardInterrupt…)."""
        try:
            handler = self._handler(request.method)
            if handler is None:
                return jsonrpc.ErrorResponse(
                    request.id, jsonrpc.METHOD_NOT_FOUND, f"this client does not offer {request.method!r:.80}"
                )
            params = request.params or {}
            answer = jsonrpc.Response(request.id, _related(handler(params), params))
            jsonrpc.dump(answer)  # what has no JSON form is the callback's mistake, and is dealt with as such
            return answer
        except _PutOff:
            return jsonrpc.ErrorResponse(request.id, jsonrpc.INTERNAL_ERROR, "the client cannot answer this now")
        except RPCError as error:  # the callback's own words to the server
            return jsonrpc.ErrorResponse(request.id, error.code, error.message, error.data)
        except InvalidResult as error:
            logger.warning("the server's request %r is malformed: %s", request.method, str(error))
            return jsonrpc.ErrorResponse(request.id, jsonrpc.INVALID_PARAMS, str(error))
        except Exception:
            # The words of a local error are not the server's business: a root that is refused names a path.
            logger.exception("the callback for %r failed", request.method)
            return jsonrpc.ErrorResponse(request.id, jsonrpc.INTERNAL_ERROR, "the client failed to handle the request")

    def _handler(self, method: str) -> Callable[[Mapping[str, Any]], Any] | None:
        if method == "ping":
            return lambda params: {}
        if method == "sampling/createMessage" and self.sampling is not None:
            return self._sample
        if method == "elicitation/create" and self.elicitation is not None:
            return self._elicit
        if method == "roots/list" and self.roots is not None:
            return self._list_roots
        return None

    def _sample(self, params: Mapping[str, Any]) -> Any:
        from ..protocol.models.sampling import CreateMessageParams

        assert self.sampling is not None
        asked = CreateMessageParams.from_wire(params)
        asked.check_tool_messages()
        return _to_wire(self.sampling(asked), "sampling")

    def _elicit(self, params: Mapping[str, Any]) -> Any:
        from ..protocol.models.elicitation import fill_defaults, parse_elicitation

        assert self.elicitation is not None
        mode = params.get("mode", "form")  # "A missing mode means form", MCP 2025-11-25, client/elicitation
        if mode != "form" and not (mode == "url" and self.url_elicitation):
            raise _NotDeclared(f"elicitation in mode {mode!r:.40} was not declared", code=jsonrpc.INVALID_PARAMS)
        result = self.elicitation(parse_elicitation(params))
        if result is None:
            return {"action": "decline"}
        wire = _to_wire(result, "elicitation")
        if wire.get("action") not in ("accept", "decline", "cancel"):
            raise LocalProtocolError("an elicitation must be answered with 'action': 'accept', 'decline' or 'cancel'")
        if wire["action"] == "accept" and mode == "form":
            wire["content"] = fill_defaults(params.get("requestedSchema") or {}, wire.get("content") or {})
        return wire

    def _list_roots(self, params: Mapping[str, Any]) -> Any:
        roots: Any = self.roots() if callable(self.roots) else self.roots
        if isinstance(roots, Mapping):
            return dict(roots)
        if hasattr(roots, "to_wire"):
            return roots.to_wire()
        listed = [_root(root) for root in roots or ()]
        return {"roots": listed}


def _related(result: dict[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The result, belonging to the same task as the request (MCP 2025-11-25, utilities/tasks, Associating)."""
    meta = params.get("_meta")
    task = meta.get(RELATED_TASK) if isinstance(meta, Mapping) else None
    if task is None:
        return result
    return {**result, "_meta": {**(result.get("_meta") or {}), RELATED_TASK: task}}


def check_function(name: str, value: Any) -> None:
    """Refuse a callback that cannot be called, before anything is sent.

    Raises:
        LocalProtocolError: It is neither None nor a function; or it is one for `asyncio`, as the official SDK wants.
    """
    if value is None:
        return
    if not callable(value):
        raise LocalProtocolError(f"{name} must be a function, got {type(value).__name__}")
    while isinstance(value, functools.partial):
        value = value.func
    for function in (value, value.__call__):
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        if isinstance(code, CodeType) and code.co_flags & _CO_COROUTINE:  # what mocks have there is anything
            raise LocalProtocolError(f"{name} must be a plain function: an 'async def' would never be awaited here")


def _root(root: Any) -> dict[str, Any]:
    wire = {"uri": root} if isinstance(root, str) else _to_wire(root, "roots")
    uri = wire.get("uri")
    # "This MUST be a file:// URI in the current specification." MCP 2025-11-25, client/roots
    if not isinstance(uri, str) or not uri.startswith("file://"):
        raise LocalProtocolError(f"a root must be a file:// address, got {uri!r:.80}")
    return wire


class Unanswered(Exception):
    """A server asks what nobody answers now; says why. It never reaches the user."""


class _NotDeclared(RPCError):
    """The server asks for something that it was not told of. It never leaves this module."""


class _PutOff(Exception):
    """The callback has no answer now. It never leaves this module."""


def _to_wire(value: Any, what: str) -> dict[str, Any]:
    if value is NotImplemented:
        raise _PutOff
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if hasattr(value, "to_wire"):
        wire: dict[str, Any] = value.to_wire()
        return wire
    raise LocalProtocolError(f"the {what} callback must return a mapping or a model, got {type(value).__name__}")


def _plain(value: Any) -> Any:
    """A value of a mapping in which models may be mixed."""
    if hasattr(value, "to_wire"):
        return value.to_wire()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
