"""The values of tus: metadata, expiry, what a sidecar says of an upload, and chunks of a stream. Pure."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Mapping
from typing import Any

from .._headers import parse_date
from ..exceptions import LocalProtocolError
from ..net.sending import FilePart, Piece
from ..net.target import check_url

__all__ = ["dump_metadata", "expired", "is_past", "parse_parts", "rechunk"]


def dump_metadata(metadata: Mapping[str, str] | None, name: str | None) -> str:
    """``Upload-Metadata``: keys in ASCII without space and comma, values in base64."""
    if metadata is None:
        metadata = {"filename": name} if name else {}
    parts = []
    for key, value in metadata.items():
        if not isinstance(key, str) or not key or not key.isascii() or not key.isprintable() or set(" ,") & set(key):
            raise LocalProtocolError(f"a metadata key must be ASCII without space and comma, got {key!r:.60}")
        if not isinstance(value, str):
            raise LocalProtocolError(f"metadata {key!r} must be a string, got {type(value).__name__}")
        parts.append(f"{key} {base64.b64encode(value.encode('utf-8', 'surrogatepass')).decode()}".strip())
    return ",".join(parts)


def parse_parts(value: Any, size: int | None) -> list[tuple[str, int, int]]:
    """The address, start and end of each part that a sidecar names, if they cover the source without gap or overlap."""
    parts: list[tuple[str, int, int]] = []
    at = 0
    for entry in value if isinstance(value, list) else []:
        if not isinstance(entry, list) or len(entry) != 3 or not isinstance(entry[0], str):
            return []
        url, start, end = entry
        if type(start) is not int or type(end) is not int or start != at or end < start:
            return []
        try:
            check_url(url)
        except LocalProtocolError:
            return []
        parts.append((url, start, end))
        at = end
    return parts if at == size else []


def is_past(expires: str | None) -> bool:
    when = parse_date(expires)
    return when is not None and when < time.time()


def expired(expires: str | None) -> str:
    return f", which expired at {expires}" if is_past(expires) else ""


def rechunk(pieces: Iterator[Piece], size: int) -> Iterator[bytes]:
    """Join pieces to chunks of one size; the last one is what is left."""
    held = bytearray()
    for piece in pieces:
        assert not isinstance(piece, FilePart)
        held += piece
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)
