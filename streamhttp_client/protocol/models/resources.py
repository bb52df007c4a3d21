"""Resources: what a server lets one read."""

from __future__ import annotations

from collections.abc import Sequence

from .base import CacheableResult, MetaModel, Page
from .content import (
    Annotations,
    BlobResourceContents,
    Icon,
    ResourceContents,
    ResourceDescription,
    TextResourceContents,
)

__all__ = [
    "BlobResourceContents",
    "ListResourceTemplatesResult",
    "ListResourcesResult",
    "ReadResourceResult",
    "Resource",
    "ResourceTemplate",
    "TextResourceContents",
]


class Resource(ResourceDescription):
    """A resource that the server lists.

    Attributes:
        uri: Names the resource; for :meth:`Client.read_resource`.
        name: For programs.
        title: For people.
        size: In bytes, before any encoding.
    """


class ResourceTemplate(MetaModel):
    """A family of resources.

    Attributes:
        uri_template: RFC 6570: the resources' URIs.
        mime_type: If all of them are of one type.
    """

    uri_template: str
    name: str
    title: str | None = None
    description: str | None = None
    mime_type: str | None = None
    annotations: Annotations | None = None
    icons: Sequence[Icon] = ()


class ListResourcesResult(Page[Resource]):
    """One page of resources."""

    resources: Sequence[Resource]

    @property
    def items(self) -> Sequence[Resource]:
        """The resources."""
        return self.resources


class ListResourceTemplatesResult(Page[ResourceTemplate]):
    """One page of resource templates."""

    resource_templates: Sequence[ResourceTemplate]

    @property
    def items(self) -> Sequence[ResourceTemplate]:
        """The templates."""
        return self.resource_templates


class ReadResourceResult(CacheableResult):
    """The contents of a resource: of a directory, for instance, there may be several."""

    contents: Sequence[ResourceContents]

    @property
    def text(self) -> str:
        """The contents that are text, joined with line feeds."""
        return "\n".join([part.text for part in self.contents if isinstance(part, TextResourceContents)])
