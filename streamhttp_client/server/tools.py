"""Tools: functions that the client's model may call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from typing import Any, Literal

from .. import jsonrpc
from ..exceptions import (
    CallCancelled,
    CallTimeout,
    CapabilityError,
    ClientClosed,
    InvalidResult,
    LocalProtocolError,
    RPCError,
    ToolError,
)
from ..protocol.mirrored import ParamHeaders
from .arguments import ArgumentError, read_signature
from .calls import Call, MissingCapability
from .context import Context
from .hints import doc_of, refuse_async
from .outputs import output_check, output_schema
from .pages import Listing, listed
from .results import tool_result

__all__ = ["Tool", "Tools"]

_log = logging.getLogger("streamhttp_client.server")

# "Tool names SHOULD be between 1 and 128 characters … A-Z, a-z, 0-9, _, - and ." MCP 2025-11-25, server/tools
_NAME_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./")

_OBJECT: dict[str, Any] = {"type": "object"}


class Tool:
    """One registered tool."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str,
        title: str | None = None,
        description: str | None = None,
        input_schema: Mapping[str, Any] | None = None,
        output: Mapping[str, Any] | None = None,
        annotations: Mapping[str, Any] | None = None,
        meta: Mapping[str, Any] | None = None,
        task: bool | Literal["required"] = False,
    ) -> None:
        if not isinstance(name, str) or not 1 <= len(name) <= 128 or not _NAME_CHARS.issuperset(name):
            raise LocalProtocolError(f"a tool name must be 1 to 128 letters, digits and _-./ only, got {name!r:.150}")
        if task not in (True, False, "required"):
            raise LocalProtocolError(f"tool {name!r}: task must be True, False or 'required', got {task!r}")
        for what, given in (("input_schema", input_schema), ("output_schema", output)):
            if given is not None and not isinstance(given, Mapping):
                raise LocalProtocolError(f"tool {name!r}: {what} must be a mapping, got {given!r:.60}")
        if input_schema is not None and input_schema.get("type") != "object":
            # Clients that check it would refuse the whole list: schema, Tool.inputSchema.
            raise LocalProtocolError(f"tool {name!r}: input_schema must have 'type': 'object'")
        refuse_async(function, generators=True)
        self.name = name
        self.task = task
        self._function = function
        self._signature = read_signature(function, Context, input_schema=input_schema)
        #: The arguments that clients repeat in headers.
        self.mirrored = _mirrored(name, self._signature.input_schema)
        schema = dict(output) if output is not None else output_schema(self._signature.returns)
        self._structured = schema is not None
        self._check = output_check(self._signature.returns, schema, derived=output is None)
        self._wire = listed(
            f"tool {name!r}",
            name=name,
            inputSchema=self._signature.input_schema,
            title=title,
            description=doc_of(function) if description is None else description,
            outputSchema=schema,
            annotations=annotations,
            _meta=meta,
        )

    def to_wire(self) -> dict[str, Any]:
        return self._wire

    def run(self, call: Call, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call the function and return the result object. Errors that are the tool's own become ``isError``
        results.

        Raises:
            RPCError: The function raised it, to answer with a protocol error.
        """
        try:
            # "Input validation errors … Tool Execution Errors" (SEP-1303), so that a model can correct itself
            values = self._signature.convert(arguments)
        except ArgumentError as error:
            return _failure(f"invalid arguments for tool {self.name!r}: {error}")
        context = Context(call)
        if self._signature.context is not None:
            values[self._signature.context] = context
        try:
            value = self._function(**values)
            if isinstance(value, Generator) and not _is_expression(value):
                value = _drain(value, context)
            result = tool_result(value, structured=self._structured)
            if not result.get("isError"):
                # "Servers MUST provide structured results that conform to this schema", Output Schema
                self._check(result.get("structuredContent"))
            if call.session.revision.handshake and not isinstance(result.get("structuredContent", {}), Mapping):
                # Any JSON value since 2026-07-28, before that an object; the text says the same.
                del result["structuredContent"]
            return result
        except ToolError as error:
            return _failure(str(error)) if error.result is None else tool_result(error.result, structured=False)
        except (MissingCapability, RPCError, ClientClosed):
            raise
        except (CapabilityError, CallTimeout, InvalidResult) as error:
            return _failure(str(error))
        except Exception:
            # What went wrong inside is for the log of this server; to the peer it could give secrets away.
            _log.exception("tool %r failed", self.name)
            return _failure(f"the tool {self.name!r} failed")


def _is_expression(value: Generator[Any, Any, Any]) -> bool:
    """Whether it is ``(… for … in …)``, which has no result of its own: meant as a list, it fails as one would see."""
    return getattr(getattr(value, "gi_code", None), "co_name", "") == "<genexpr>"


def _drain(steps: Generator[Any, None, Any], context: Context) -> Any:
    """Run a generator: what it yields is progress, what it returns is the result."""
    try:
        count = 0
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                return stop.value
            count += 1
            if isinstance(step, str):
                context.progress(count, None, step)
            elif isinstance(step, tuple):
                context.progress(*step)
            elif step is None:
                context.progress(count)
            else:
                context.progress(step)
            if context.cancelled:
                raise CallCancelled("the client cancelled this call")
    finally:
        steps.close()


def _mirrored(name: str, schema: Any) -> ParamHeaders:
    try:
        found = ParamHeaders.from_schema(schema)
    except ValueError as error:
        # "Clients … MUST reject tool definitions where any x-mcp-header value violates these constraints", so
        # nobody could call it. MCP 2026-07-28, basic/transports/streamable-http
        raise LocalProtocolError(f"tool {name!r}: {error}") from None
    for header, _ in found.fields:
        if "_" in header:
            raise LocalProtocolError(f"tool {name!r}: many servers drop headers with an underscore, got {header!r}")
    return found


def _without_plain_output(tool: dict[str, Any]) -> dict[str, Any]:
    if tool.get("outputSchema", _OBJECT).get("type") == "object":
        return tool
    return {key: value for key, value in tool.items() if key != "outputSchema"}


def _failure(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": True}


class Tools:
    """All tools of one server, and the methods that the client calls."""

    def __init__(self, page_size: int | None) -> None:
        self._tools: Listing[Tool] = Listing("tools", page_size)

    def __len__(self) -> int:
        return len(self._tools)

    def add(self, tool: Tool) -> None:
        self._tools.add(tool.name, tool)

    def remove(self, name: str) -> None:
        self._tools.remove(name)

    def get(self, name: Any) -> Tool | None:
        return self._tools.get(name) if isinstance(name, str) else None

    def list(self, call: Call) -> dict[str, Any]:
        page = self._tools.page(call.params)
        if call.session.revision.handshake:
            # There a schema of a result is one of an object, and clients that check it would refuse the whole list.
            page["tools"] = [_without_plain_output(tool) for tool in page["tools"]]
        return page

    def call(self, call: Call) -> dict[str, Any]:
        name, arguments = call.params.get("name"), call.params.get("arguments")
        tool = self.get(name)
        if tool is None:
            # "Protocol Errors: … Unknown tools", MCP 2025-11-25, server/tools
            raise RPCError(f"unknown tool: {name!r:.100}", code=jsonrpc.INVALID_PARAMS)
        if arguments is not None and not isinstance(arguments, dict):
            raise RPCError("'arguments' must be an object", code=jsonrpc.INVALID_PARAMS)
        return tool.run(call, arguments or {})
