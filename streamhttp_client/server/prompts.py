"""Prompts: messages that the server has ready, with places to fill in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .. import jsonrpc
from ..exceptions import RPCError
from .arguments import ArgumentError, read_signature
from .calls import Call
from .context import Context
from .hints import doc_of, refuse_async
from .pages import Listing, listed
from .results import content_blocks, plain

__all__ = ["Prompt", "Prompts"]


class Prompt:
    """One registered prompt. Its arguments are the function's parameters; they come as strings, and become what
    the type hints say."""

    def __init__(self, function: Callable[..., Any], *, name: str, title: str | None, description: str | None) -> None:
        self.name = name
        self.description = doc_of(function) if description is None else description
        self._function = function
        refuse_async(function)
        self._signature = read_signature(function, Context, texts=True)
        properties = self._signature.input_schema.get("properties", {})
        arguments = []
        for key in self._signature.names:
            argument: dict[str, Any] = {"name": key, "required": key in self._signature.required}
            if "description" in properties.get(key, {}):
                argument["description"] = properties[key]["description"]
            arguments.append(argument)
        self._wire = listed(
            f"prompt {name!r:.100}", name=name, title=title, description=self.description, arguments=arguments or None
        )

    @property
    def wants_context(self) -> bool:
        return self._signature.context is not None

    def to_wire(self) -> dict[str, Any]:
        return self._wire

    def get(self, call: Call, arguments: Mapping[str, Any]) -> dict[str, Any]:
        try:
            values = self._signature.convert(arguments)
        except ArgumentError as error:
            raise RPCError(str(error), code=jsonrpc.INVALID_PARAMS) from None
        if self._signature.context is not None:
            values[self._signature.context] = Context(call)
        value = self._function(**values)
        result: dict[str, Any] = {"messages": _messages(value)}
        if self.description is not None:
            result["description"] = self.description
        return result


def _messages(value: Any) -> list[dict[str, Any]]:
    """A text or block is one message of the user, a list is several; ``{"role": …, "content": …}`` is one as
    it is.
    """
    messages: list[dict[str, Any]] = []
    for item in value if isinstance(value, (list, tuple)) else [value]:
        wire = item.to_wire() if hasattr(item, "to_wire") else item
        if isinstance(wire, Mapping) and "role" in wire:
            wire = plain(wire)
            if not isinstance(wire.get("content"), Mapping):
                wire = {**wire, "content": content_blocks(wire.get("content"))[0]}
            messages.append(wire)
        else:
            messages.extend({"role": "user", "content": block} for block in content_blocks(wire))
    return messages


class Prompts:
    """All prompts of one server, and the methods that the client calls."""

    def __init__(self, page_size: int | None) -> None:
        self._prompts: Listing[Prompt] = Listing("prompts", page_size)

    def __len__(self) -> int:
        return len(self._prompts)

    def add(self, prompt: Prompt) -> None:
        self._prompts.add(prompt.name, prompt)

    def remove(self, name: str) -> None:
        self._prompts.remove(name)

    def list(self, call: Call) -> dict[str, Any]:
        return self._prompts.page(call.params)

    def wants_stream(self, params: Mapping[str, Any]) -> bool:
        found = self._find(params)
        return found is not None and found.wants_context

    def get(self, call: Call) -> dict[str, Any]:
        prompt, arguments = self._find(call.params), call.params.get("arguments")
        if prompt is None:
            # "Invalid prompt name: -32602", MCP 2025-11-25, server/prompts, Error Handling
            raise RPCError(f"unknown prompt: {call.params.get('name')!r:.100}", code=jsonrpc.INVALID_PARAMS)
        if arguments is not None and not isinstance(arguments, dict):
            raise RPCError("'arguments' must be an object", code=jsonrpc.INVALID_PARAMS)
        return prompt.get(call, arguments or {})

    def _find(self, params: Mapping[str, Any]) -> Prompt | None:
        name = params.get("name")
        return self._prompts.get(name) if isinstance(name, str) else None
