"""Who the two sides are, and what they can do: the handshake of the session era, and what took its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...exceptions import InvalidResult
from ..names import SERVER_INFO
from .base import CacheableResult, MetaModel, Model
from .content import Icon

__all__ = [
    "SERVER_INFO",
    "ClientCapabilities",
    "DiscoverResult",
    "Implementation",
    "InitializeResult",
    "ListChangedCapability",
    "ResourcesCapability",
    "ServerCapabilities",
]


class Implementation(Model):
    """A client or server program. For display: nothing should depend on it.

    Attributes:
        name: For programs.
        title: For people.
    """

    name: str
    version: str
    title: str | None = None
    description: str | None = None
    website_url: str | None = None
    icons: Sequence[Icon] = ()


class ListChangedCapability(Model):
    """A feature whose list may change.

    Attributes:
        list_changed: A notification will say so.
    """

    list_changed: bool = False


class ResourcesCapability(ListChangedCapability):
    """The server has resources.

    Attributes:
        subscribe: It tells of changes to one of them.
    """

    subscribe: bool = False


class ServerCapabilities(Model):
    """What a server can do. A feature that is None was not declared, and must not be used."""

    tools: ListChangedCapability | None = None
    resources: ResourcesCapability | None = None
    prompts: ListChangedCapability | None = None
    completions: Mapping[str, Any] | None = None
    logging: Mapping[str, Any] | None = None
    tasks: Mapping[str, Any] | None = None
    experimental: Mapping[str, Any] | None = None
    extensions: Mapping[str, Any] | None = None

    def declares(self, path: str) -> bool:
        """Return whether the server declared what ``path`` names, such as ``tools`` or
        ``resources.subscribe``.

        A path is made of names on the wire. An empty object declares; ``false`` and ``null`` do not. What follows
        ``extensions.`` is one name, dots and all: ``extensions.io.modelcontextprotocol/tasks``.
        """
        value: Any = self.to_wire()
        head, _, name = path.partition(".")
        for step in (head, name) if name and head == "extensions" else path.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        return value is not None and value is not False


class ClientCapabilities(Model):
    """What a client can do for a server. A server must not ask for what is None."""

    roots: ListChangedCapability | None = None
    sampling: Mapping[str, Any] | None = None
    elicitation: Mapping[str, Any] | None = None
    tasks: Mapping[str, Any] | None = None
    experimental: Mapping[str, Any] | None = None
    extensions: Mapping[str, Any] | None = None


class InitializeResult(MetaModel):
    """The server's half of the handshake.

    Attributes:
        protocol_version: The revision that the server chose.
        instructions: How to use the server, for a model.
    """

    protocol_version: str
    capabilities: ServerCapabilities
    server_info: Implementation
    instructions: str | None = None


class DiscoverResult(CacheableResult):
    """What a server says of itself when it is asked (since 2026-07-28).

    Attributes:
        supported_versions: The revisions that it speaks; any of them may be used from now on.
        instructions: How to use the server, for a model.
    """

    supported_versions: Sequence[str]
    capabilities: ServerCapabilities
    instructions: str | None = None

    @property
    def server_info(self) -> Implementation | None:
        """Who the server says that it is, or None if it does not say so understandably. For display alone."""
        try:
            return Implementation.from_wire(self.meta[SERVER_INFO])
        except (KeyError, InvalidResult):
            return None
