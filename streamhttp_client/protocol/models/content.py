"""What tools, prompts and models say: content blocks, and what stands in and around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from .base import MetaModel, Mismatch, Model, shorten, tagged_union, union

__all__ = [
    "Annotations",
    "AudioContent",
    "BlobResourceContents",
    "ContentBlock",
    "EmbeddedResource",
    "Icon",
    "ImageContent",
    "ResourceContents",
    "ResourceLink",
    "TextContent",
    "TextResourceContents",
    "ToolResultContent",
    "ToolUseContent",
    "UnknownContent",
    "safe_icon_url",
]


class Annotations(Model):
    """Hints for whoever shows or uses an object.

    Attributes:
        audience: Whom it is for: ``"user"``, ``"assistant"``.
        priority: From 0 (optional) to 1 (required).
        last_modified: ISO 8601 date and time.
    """

    audience: Sequence[str] = ()
    priority: float | None = None
    last_modified: str | None = None


class Icon(Model):
    """An icon for a server, tool, resource or prompt.

    Attributes:
        src: Where it is. Written by the server: fetch or show :attr:`safe_url` only.
        mime_type: Overrides what the source says.
        sizes: Such as ``"48x48"``, or ``"any"``. Empty: any size.
        theme: ``"light"`` or ``"dark"``, the background it is made for.
    """

    src: str
    mime_type: str | None = None
    sizes: Sequence[str] = ()
    theme: str | None = None

    @property
    def safe_url(self) -> str | None:
        """``src`` if its scheme may be fetched, else None; see :func:`safe_icon_url`."""
        return safe_icon_url(self.src)


def safe_icon_url(src: str) -> str | None:
    """Return ``src`` if it is an ``https:`` or ``data:`` URI without credentials, else None.

    "Clients MUST reject icon URIs that use unsafe schemes and redirects, such as javascript:, file:, ftp:,
    ws:, or local app URI schemes." MCP 2025-11-25, basic/index, icons. Whoever fetches the icon must also
    send no credentials, follow no redirect to another origin or scheme, limit the size and check the magic
    bytes.
    """
    # Browsers skip control characters and spaces, so that "java\nscript:" runs, and take a backslash for a
    # slash, so that not all agree on the host: whatever has one of these is refused.
    if any(character <= " " or character in "\x7f\\" for character in src):
        return None
    scheme, colon, rest = src.partition(":")
    if not colon:
        return None
    if scheme.lower() == "data":
        return src
    host = rest[2:].partition("/")[0]
    if scheme.lower() == "https" and rest.startswith("//") and host and "@" not in host:
        return src
    return None


class TextResourceContents(MetaModel):
    """A resource, or a part of it, that is text."""

    uri: str
    text: str
    mime_type: str | None = None


class BlobResourceContents(MetaModel):
    """A resource, or a part of it, that is bytes.

    Attributes:
        blob: The bytes, in base64; see :attr:`data_bytes`.
    """

    uri: str
    blob: str
    mime_type: str | None = None

    @property
    def data_bytes(self) -> bytes:
        """The bytes.

        Raises:
            ValueError: ``blob`` is not base64.
        """
        return _from_base64(self.blob)

    def _repr_value(self, name: str, value: Any) -> str:
        return shorten(value) if name == "blob" else super()._repr_value(name, value)


def _read_resource_contents(value: Any) -> ResourceContents:
    if not isinstance(value, Mapping) or "text" in value:
        return TextResourceContents._read(value)
    if "blob" in value:
        return BlobResourceContents._read(value)
    raise Mismatch("must have a member 'text' or 'blob', got neither")


ResourceContents: TypeAlias = TextResourceContents | BlobResourceContents
union("ResourceContents", _read_resource_contents)


class TextContent(MetaModel):
    """Text."""

    text: str
    annotations: Annotations | None = None
    type: Literal["text"] = "text"


class _MediaContent(MetaModel):
    data: str
    mime_type: str
    annotations: Annotations | None = None

    @property
    def data_bytes(self) -> bytes:
        """The decoded ``data``.

        Raises:
            ValueError: ``data`` is not base64.
        """
        return _from_base64(self.data)

    def _repr_value(self, name: str, value: Any) -> str:
        return shorten(value) if name == "data" else super()._repr_value(name, value)


class ImageContent(_MediaContent):
    """An image.

    Attributes:
        data: The bytes, in base64.
        mime_type: Such as ``image/png``.
    """

    type: Literal["image"] = "image"


class AudioContent(_MediaContent):
    """A sound.

    Attributes:
        data: The bytes, in base64.
        mime_type: Such as ``audio/wav``.
    """

    type: Literal["audio"] = "audio"


class ResourceDescription(MetaModel):
    """What is known about a resource without reading it.

    Attributes:
        uri: Names the resource; for :meth:`Client.read_resource`.
        name: For programs.
        title: For people.
        size: In bytes, before any encoding.
    """

    uri: str
    name: str
    title: str | None = None
    description: str | None = None
    mime_type: str | None = None
    size: int | None = None
    annotations: Annotations | None = None
    icons: Sequence[Icon] = ()


class ResourceLink(ResourceDescription):
    """A resource that can be read; it need not be among those that the server lists."""

    type: Literal["resource_link"] = "resource_link"


class EmbeddedResource(MetaModel):
    """The contents of a resource, put into a message."""

    resource: ResourceContents
    annotations: Annotations | None = None
    type: Literal["resource"] = "resource"


class ToolUseContent(MetaModel):
    """A model asks, during sampling, that a tool be called.

    Attributes:
        id: Ties the later :class:`ToolResultContent` to this.
    """

    id: str
    name: str
    input: Mapping[str, Any]
    type: Literal["tool_use"] = "tool_use"


class UnknownContent(Model):
    """A block of a type that this version does not know; its members are in ``extra``."""

    type: str


class ToolResultContent(MetaModel):
    """What a tool answered, given to a model during sampling.

    Attributes:
        tool_use_id: The id of the :class:`ToolUseContent` that this answers.
    """

    _always = ("content",)

    tool_use_id: str
    content: Sequence[ContentBlock] = ()
    structured_content: Any = None
    is_error: bool = False
    type: Literal["tool_result"] = "tool_result"


ContentBlock: TypeAlias = (
    TextContent
    | ImageContent
    | AudioContent
    | ResourceLink
    | EmbeddedResource
    | UnknownContent
)
"""A block of a tool's result or of a prompt's message. Tell them apart by class, or by ``type``."""

tagged_union(
    "ContentBlock",
    TextContent,
    ImageContent,
    AudioContent,
    ResourceLink,
    EmbeddedResource,
    unknown=UnknownContent,
)


def _from_base64(data: str) -> bytes:
    import base64

    return base64.b64decode(data, validate=True)
