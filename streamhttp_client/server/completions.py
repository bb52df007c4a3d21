"""Completion: suggestions for an argument of a prompt, or for a variable of a resource template."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from .. import jsonrpc
from ..exceptions import LocalProtocolError, RPCError
from .calls import Call
from .hints import refuse_async
from .results import plain

__all__ = ["Completions"]

# "Maximum 100 items per response", MCP 2025-11-25, server/utilities/completion
_MOST = 100

Completer = Callable[[str, "dict[str, str]"], "Iterable[str]"]


class Completions:
    """What suggests values, by prompt or template and argument."""

    def __init__(self) -> None:
        self._completers: dict[tuple[str, str, str], Completer] = {}

    def __len__(self) -> int:
        return len(self._completers)

    def add(self, prompt: str | None, resource: str | None, argument: str, completer: Completer) -> None:
        if (prompt is None) == (resource is None):
            raise LocalProtocolError("a completion belongs to one of prompt= and resource=")
        refuse_async(completer, generators=True)
        try:
            inspect.signature(completer).bind("", {})
        except TypeError as error:
            problem = f"a completion takes what was typed, and a dict of what is known: {error}"
            raise LocalProtocolError(problem) from None
        except ValueError:  # it does not say what it takes
            pass
        kind = ("ref/prompt", prompt) if prompt is not None else ("ref/resource", resource or "")
        key = (*kind, argument)
        if self._completers.setdefault(key, completer) is not completer:
            raise LocalProtocolError(f"there is a completion for {argument!r} of {kind[1]!r} already")

    def complete(self, call: Call) -> dict[str, Any]:
        ref, argument = call.params.get("ref"), call.params.get("argument")
        if not isinstance(ref, dict) or not isinstance(argument, dict):
            raise RPCError("'ref' and 'argument' must be objects", code=jsonrpc.INVALID_PARAMS)
        kind, name, value = ref.get("type"), argument.get("name"), argument.get("value")
        target = ref.get("name") if kind == "ref/prompt" else ref.get("uri")
        if not (isinstance(kind, str) and isinstance(name, str) and isinstance(value, str) and isinstance(target, str)):
            raise RPCError("'ref' or 'argument' is not of its shape", code=jsonrpc.INVALID_PARAMS)
        completer = self._completers.get((kind, target, name))
        context = call.params.get("context")
        known = context.get("arguments") if isinstance(context, dict) else None
        # No completer is no error: a client asks for each argument as it is typed.
        found = None if completer is None else completer(value, known if isinstance(known, dict) else {})
        values = [str(plain(value)) for value in found or ()]
        return {"completion": {"values": values[:_MOST], "total": len(values), "hasMore": len(values) > _MOST}}
