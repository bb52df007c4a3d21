"""What a handler returns, as content of the protocol."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from typing import Any

__all__ = ["Blob", "content_blocks", "plain", "tool_result"]


class Blob:
    """Bytes with a media type, as the result of a tool, prompt or resource.

    Images and audio become content of that kind in a tool's result; everything else needs a ``uri`` there,
    and becomes an embedded resource.
    """

    def __init__(self, data: bytes, media_type: str, *, uri: str = "") -> None:
        self.data = data
        self.media_type = media_type
        self.uri = uri

    @property
    def base64(self) -> str:
        """The data as it goes over the wire."""
        return base64.b64encode(self.data).decode("ascii")

    def to_wire(self) -> dict[str, Any]:
        """The content block: an image, a sound, or an embedded resource."""
        text = self.base64
        family = self.media_type.partition("/")[0]
        if family in ("image", "audio"):
            return {"type": family, "data": text, "mimeType": self.media_type}
        resource = {"uri": self.uri or "data:", "mimeType": self.media_type, "blob": text}
        return {"type": "resource", "resource": resource}


def plain(value: Any) -> Any:
    """Turn records, dataclasses, msgspec structs and what is in them into what ``json`` can write, as msgspec would.

    Raises:
        TypeError: It has no form but the address of an object, such as a coroutine.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if hasattr(value, "to_wire"):
        return value.to_wire()
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # Not by ``__dataclass_fields__``, which also has ClassVar and InitVar.
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "__struct_fields__"):
        import msgspec

        return msgspec.to_builtins(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, timedelta):
        return _duration(value)
    own: Any = type(value).__str__
    if own is object.__str__:
        raise TypeError(f"a result of type {type(value).__name__!r} has no JSON form")
    return str(value)


def _duration(value: timedelta) -> str:
    """As "format": "duration" of JSON Schema wants it (ISO 8601), in seconds."""
    micros = value // timedelta(microseconds=1)
    whole, rest = divmod(abs(micros), 1_000_000)
    fraction = f".{rest:06}".rstrip("0") if rest else ""
    return f"{'-' if micros < 0 else ''}PT{whole}{fraction}S"


# The members that a block must have (MCP 2025-11-25, schema, ContentBlock); what lacks them is data of the
# handler that looks alike.
_BLOCKS: dict[Any, dict[str, type]] = {
    "text": {"text": str},
    "image": {"data": str, "mimeType": str},
    "audio": {"data": str, "mimeType": str},
    "resource": {"resource": Mapping},
    "resource_link": {"uri": str, "name": str},
}
_RESULT_MEMBERS = frozenset({"content", "structuredContent", "isError", "_meta"})


def _is_block(value: Any) -> bool:
    if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
        return False
    members = _BLOCKS.get(value["type"])
    return members is not None and all(isinstance(value.get(name), kind) for name, kind in members.items())


def _is_result(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("content"), (list, tuple))
        and _RESULT_MEMBERS.issuperset(value)
        and all(isinstance(item, str) or _is_content(item) for item in value["content"])
    )


def content_blocks(value: Any) -> list[dict[str, Any]]:
    """Return ``value`` as a list of content blocks: one for a text, number or object, several for a list of
    blocks.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return [{"type": "text", "text": value}]
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = Blob(bytes(value), "application/octet-stream")
    if hasattr(value, "to_wire"):
        value = value.to_wire()
    if _is_block(value):
        return [dict(value)]
    if isinstance(value, (list, tuple)) and any(_is_content(item) for item in value):
        return [block for item in value for block in content_blocks(item)]
    return [{"type": "text", "text": json.dumps(plain(value), ensure_ascii=False)}]


def _is_content(value: Any) -> bool:
    return _is_block(value) or isinstance(value, Blob) or hasattr(value, "to_wire") and _is_block(value.to_wire())


def tool_result(value: Any, *, structured: bool) -> dict[str, Any]:
    """Return the result object of ``tools/call``.

    Args:
        structured: The tool has an output schema, so the value goes into ``structuredContent`` whatever it
            is.
    """
    if hasattr(value, "to_wire") and not isinstance(value, Blob):
        value = value.to_wire()
    if _is_result(value):
        # A whole result, made by the handler; "isError" and "_meta" are in it as it wants.
        return {**value, "content": [block for item in value["content"] for block in content_blocks(item)]}
    fields = hasattr(value, "__dataclass_fields__") or hasattr(value, "__struct_fields__")
    if structured or fields or isinstance(value, Mapping) and not _is_block(value):
        # "a tool that returns structured content SHOULD also return the serialized JSON in a TextContent
        # block" MCP 2025-11-25, server/tools, Structured Content
        data = plain(value)
        text = json.dumps(data, ensure_ascii=False)
        return {"content": [{"type": "text", "text": text}], "structuredContent": data}
    return {"content": content_blocks(value)}
