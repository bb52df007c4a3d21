"""Completion of the arguments of prompts and resource templates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from .base import Model, Result

__all__ = ["CompleteResult", "Completion", "PromptReference", "ResourceTemplateReference"]


class PromptReference(Model):
    """Says that an argument of this prompt is being completed."""

    name: str
    title: str | None = None
    type: Literal["ref/prompt"] = "ref/prompt"


class ResourceTemplateReference(Model):
    """Says that a variable of this resource template is being completed.

    Attributes:
        uri: The template's ``uri_template``.
    """

    uri: str
    type: Literal["ref/resource"] = "ref/resource"


class Completion(Model):
    """What the argument could be.

    Attributes:
        values: At most 100, best first.
        total: How many there are in all, if the server counted them.
        has_more: There are more than these.
    """

    values: Sequence[str]
    total: int | None = None
    has_more: bool = False


class CompleteResult(Result):
    """The answer to a request for completion."""

    completion: Completion
