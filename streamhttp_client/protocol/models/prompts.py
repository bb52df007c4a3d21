"""Prompts: messages that a server has ready."""

from __future__ import annotations

from collections.abc import Sequence

from .base import MetaModel, Model, Page, Result
from .content import ContentBlock, Icon

__all__ = ["GetPromptResult", "ListPromptsResult", "Prompt", "PromptArgument", "PromptMessage"]


class PromptArgument(Model):
    """A value that a prompt takes; it is a string."""

    name: str
    title: str | None = None
    description: str | None = None
    required: bool = False


class Prompt(MetaModel):
    """A prompt, or a template of one, that the server offers."""

    name: str
    title: str | None = None
    description: str | None = None
    arguments: Sequence[PromptArgument] = ()
    icons: Sequence[Icon] = ()


class PromptMessage(Model):
    """One message of a prompt.

    Attributes:
        role: ``"user"`` or ``"assistant"``.
    """

    role: str
    content: ContentBlock


class ListPromptsResult(Page[Prompt]):
    """One page of prompts."""

    prompts: Sequence[Prompt]

    @property
    def items(self) -> Sequence[Prompt]:
        """The prompts."""
        return self.prompts


class GetPromptResult(Result):
    """A prompt with its arguments filled in."""

    messages: Sequence[PromptMessage]
    description: str | None = None
