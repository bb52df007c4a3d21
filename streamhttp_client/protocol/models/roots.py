"""Roots: the directories and files that the client lets a server know about."""

from __future__ import annotations

from collections.abc import Sequence

from ...exceptions import LocalProtocolError
from .base import MetaModel

__all__ = ["ListRootsResult", "Root"]


class Root(MetaModel):
    """A directory or file that servers may work on.

    Attributes:
        uri: A ``file://`` URI.
        name: For people.

    Raises:
        LocalProtocolError: ``uri`` is of another scheme: "This MUST be a file:// URI in the current
            specification." MCP 2025-11-25, client/roots.
    """

    uri: str
    name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.uri.lower().startswith("file://"):
            raise LocalProtocolError(f"the URI of a root must start with 'file://', got {self.uri!r}")


class ListRootsResult(MetaModel):
    """What the client answers to ``roots/list``."""

    roots: Sequence[Root]
