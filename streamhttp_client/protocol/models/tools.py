"""Tools: what a server offers, and what a call to one gives back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..._record import FrozenDict
from .base import MetaModel, Model, Page, Result
from .content import ContentBlock, Icon, TextContent

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ListToolsResult", "Tool", "ToolAnnotations", "ToolExecution", "ToolResult"]


class ToolAnnotations(Model):
    """Hints about what a tool does. They are claims of the server: do not trust those of one you do not
    trust.

    None means that the server did not say. The protocol then lets one assume the worst: not read-only,
    destructive, not idempotent, open world.

    Attributes:
        title: For people.
        read_only_hint: It does not change its environment.
        destructive_hint: It may destroy, and not just add.
        idempotent_hint: Calling it again with the same arguments changes nothing more.
        open_world_hint: It deals with things outside (the web), not with a closed domain.
    """

    title: str | None = None
    read_only_hint: bool | None = None
    destructive_hint: bool | None = None
    idempotent_hint: bool | None = None
    open_world_hint: bool | None = None


class ToolExecution(Model):
    """How a tool may be run (2025-11-25).

    Attributes:
        task_support: ``"forbidden"`` (also if None), ``"optional"`` or ``"required"``.
    """

    task_support: str | None = None


class Tool(MetaModel):
    """A tool of the server.

    Attributes:
        name: What to call it by; case matters.
        title: For people; see :attr:`display_name`.
        description: For people and models.
        input_schema: JSON Schema of the arguments.
        output_schema: JSON Schema of the structured content, if the tool promises one.
    """

    _always = ("input_schema",)

    name: str
    title: str | None = None
    description: str | None = None
    input_schema: Mapping[str, Any] = FrozenDict(type="object")
    output_schema: Mapping[str, Any] | None = None
    annotations: ToolAnnotations | None = None
    execution: ToolExecution | None = None
    icons: Sequence[Icon] = ()

    @property
    def display_name(self) -> str:
        """The name to show: the title, else that of the annotations, else the name."""
        return self.title or (self.annotations and self.annotations.title) or self.name

    @property
    def task_support(self) -> str:
        """``"forbidden"``, ``"optional"`` or ``"required"``; forbidden if the tool does not say."""
        return (self.execution and self.execution.task_support) or "forbidden"


class ListToolsResult(Page[Tool]):
    """One page of tools."""

    tools: Sequence[Tool]

    @property
    def items(self) -> Sequence[Tool]:
        """The tools."""
        return self.tools


class ToolResult(Result):
    """What a tool gave back.

    Attributes:
        content: Blocks for people and models.
        structured_content: The value for programs exactly as the server sent it, or None; see :attr:`data`. Up to
            2025-11-25 it is an object; since 2026-07-28 any JSON value.
        is_error: The tool ran and failed; the content says how.
    """

    content: Sequence[ContentBlock]
    structured_content: Any = None
    is_error: bool = False

    @classmethod
    def _read(cls, value: Any) -> Self:
        # Some servers leave the content out when they send a structured value, though every revision requires
        # it.
        if isinstance(value, Mapping) and "content" not in value and "structuredContent" in value:
            value = {**value, "content": []}
        return super()._read(value)

    @property
    def text(self) -> str:
        """The text blocks, joined with line feeds; empty if there are none."""
        return "\n".join([block.text for block in self.content if isinstance(block, TextContent)])

    @property
    def data(self) -> Any:
        """The value for programs, or None if there is none.

        Whatever kind the tool's function returned, this is it:

        1. The structured content. If its only member is called ``result``, then that member's value: servers
           wrap what is not an object (a number, a list) in this way, because up to 2025-11-25 only an object
           may be sent. A tool that means such an object is told apart by :attr:`structured_content`, which is
           never unwrapped.
        2. Else, if the content is one text block that holds a JSON object or array, its value: how tools gave
           values before 2025-06-18. It is parsed anew on each access. Bare numbers and words stay text.
        """
        structured = self.structured_content
        if structured is not None:
            if isinstance(structured, Mapping) and len(structured) == 1 and "result" in structured:
                return structured["result"]
            return structured
        if len(self.content) == 1 and isinstance(self.content[0], TextContent):
            text = self.content[0].text.strip(" \t\r\n")
            if text[:1] + text[-1:] in ("{}", "[]"):
                try:
                    return json.loads(text, parse_constant=_refuse_constant)
                except (ValueError, RecursionError):
                    return None
        return None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
