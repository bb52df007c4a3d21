"""Lists that come in pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from .base import MetaModel

__all__ = ["Page"]

T = TypeVar("T")


class Page(MetaModel, Generic[T], kw_only=True):
    """One page of a list.

    Attributes:
        next_cursor: What to ask for the next page with, or None at the end. Opaque, and valid in this session
            only. "An empty string is a valid cursor and thus MUST NOT be treated as the end of results." MCP
            2026-07-28, server/utilities/pagination.
    """

    next_cursor: str | None = None

    @property
    def items(self) -> Sequence[T]:
        """What the page lists, whatever the field is called."""
        raise NotImplementedError
