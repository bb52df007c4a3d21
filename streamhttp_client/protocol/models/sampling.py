"""Sampling: a server asks the client's model to say something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ...exceptions import InvalidResult
from .base import MetaModel, Model, read_many, tagged_union, union
from .content import (
    AudioContent,
    ImageContent,
    TextContent,
    ToolResultContent,
    ToolUseContent,
    UnknownContent,
)
from .tasks import TaskMetadata
from .tools import Tool

__all__ = [
    "CreateMessageParams",
    "CreateMessageResult",
    "ModelHint",
    "ModelPreferences",
    "SamplingContent",
    "SamplingMessage",
    "ToolChoice",
]

SamplingContent: TypeAlias = (
    TextContent
    | ImageContent
    | AudioContent
    | ToolUseContent
    | ToolResultContent
    | UnknownContent
)
"""A block of a message to or from a model."""

SamplingContents: TypeAlias = SamplingContent | Sequence[SamplingContent]

_read_block = tagged_union(
    "SamplingContent",
    TextContent,
    ImageContent,
    AudioContent,
    ToolUseContent,
    ToolResultContent,
    unknown=UnknownContent,
)
_read_blocks = read_many(_read_block)
# One block stands alone up to 2025-06-18, and may do so still; since 2025-11-25 there may be an array of
# them.
union("SamplingContents", lambda value: (_read_blocks if isinstance(value, list) else _read_block)(value))


class SamplingMessage(MetaModel):
    """A message to or from a model.

    Attributes:
        role: ``"user"`` or ``"assistant"``.
        content: One block, or several; :attr:`blocks` is the same for both.
    """

    role: str
    content: SamplingContents

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.content, list):
            self.__dict__["content"] = tuple(self.content)

    @property
    def blocks(self) -> Sequence[SamplingContent]:
        """The content as a sequence."""
        return self.content if isinstance(self.content, Sequence) else (self.content,)

    @property
    def text(self) -> str:
        """The text blocks, joined with line feeds."""
        return "\n".join([block.text for block in self.blocks if isinstance(block, TextContent)])


class ModelHint(Model):
    """A part of a model's name; the client may take a like model of another provider for it."""

    name: str | None = None


class ModelPreferences(Model):
    """Which model the server would like. Priorities go from 0 to 1.

    Attributes:
        hints: Best first.
        cost_priority: How much cheapness matters.
        speed_priority: How much speed matters.
        intelligence_priority: How much capability matters.
    """

    hints: Sequence[ModelHint] = ()
    cost_priority: float | None = None
    speed_priority: float | None = None
    intelligence_priority: float | None = None


class ToolChoice(Model):
    """Whether the model may, must or must not use tools.

    Attributes:
        mode: ``"auto"`` (also if None), ``"required"`` or ``"none"``.
    """

    mode: str | None = None


class CreateMessageParams(MetaModel):
    """What the server asks of the model.

    Attributes:
        max_tokens: The most to generate. "The client MUST respect the maxTokens parameter." MCP 2026-07-28,
            client/sampling.
        include_context: ``"none"`` (also if None), ``"thisServer"`` or ``"allServers"``.
        metadata: For the provider, in its own format.
        tools: What the model may use; only if the client declared ``sampling.tools``.
        task: The server wants this run as a task.
    """

    messages: Sequence[SamplingMessage]
    max_tokens: int
    system_prompt: str | None = None
    model_preferences: ModelPreferences | None = None
    include_context: str | None = None
    temperature: float | None = None
    stop_sequences: Sequence[str] = ()
    metadata: Mapping[str, Any] | None = None
    tools: Sequence[Tool] = ()
    tool_choice: ToolChoice | None = None
    task: TaskMetadata | None = None

    def check_tool_messages(self) -> None:
        """Check that each use of a tool is answered by the next message, and that answers stand alone in
        theirs.

        "When a user message contains tool results (type: "tool_result"), it MUST contain ONLY tool results."
        "Every assistant message containing ToolUseContent blocks MUST be followed by a user message that
        consists entirely of ToolResultContent blocks". MCP 2025-11-25, client/sampling.

        Raises:
            InvalidResult: They do not; the error to answer with is -32602.
        """
        asked: set[str] = set()
        for index, message in enumerate(self.messages):
            answers = [block for block in message.blocks if isinstance(block, ToolResultContent)]
            place = f"messages[{index}]"
            if answers and (message.role != "user" or len(answers) != len(message.blocks)):
                raise InvalidResult(f"{place} must be from the user and hold tool results alone")
            answered = {block.tool_use_id for block in answers}
            if answered != asked:
                raise InvalidResult(
                    f"{place} must answer the tool uses {sorted(asked)}, got answers to {sorted(answered)}"
                )
            asked = {block.id for block in message.blocks if isinstance(block, ToolUseContent)}
        if asked:
            raise InvalidResult(f"the tool uses {sorted(asked)} must be answered, got no message after them")


class CreateMessageResult(SamplingMessage):
    """What the model said.

    Attributes:
        model: Its name.
        stop_reason: ``"endTurn"``, ``"stopSequence"``, ``"maxTokens"``, ``"toolUse"`` or the provider's own.
    """

    model: str
    stop_reason: str | None = None
