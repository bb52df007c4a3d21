"""Where a request ends: its header fields and its body, read strictly (RFC 9112).

Who finds another end of a request than the proxy before it takes the rest for a request of its own (request
smuggling). So whatever can be read in two ways is refused, a body gives exactly its own bytes, in pieces of
bounded size, and says whether it was read to its end: else the connection must not be used again.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Iterable
from typing import Any, Protocol

__all__ = ["BodyError", "ChunkedBody", "LengthBody", "Source", "environ_key", "read_fields"]

_CRLF = b"\r\n"
# Bytes of a chunk's first line, and of all trailers.
_MAX_CHUNK_LINE, _MAX_TRAILERS = 1024, 8192
# Bytes of an unwanted body that are read and dropped to keep a connection; a longer one costs the connection.
_MAX_SKIPPED = 1 << 16

# "field-name = token", RFC 9110, section 5.1; of a bounded length, since names are kept.
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;[^\r\n]*)?\r\n")
# Two of them are two opinions on what the request is.
_ONCE = frozenset({b"Host", b"Content-Length", b"Content-Type", b"Transfer-Encoding"})


class BodyError(OSError):
    """A body is not what its framing says."""


class Source(Protocol):
    """What bodies are read from."""

    def read_some(self, most: int) -> bytes: ...
    def read(self, size: int) -> bytes: ...
    def readline(self, size: int) -> bytes: ...


@functools.lru_cache(maxsize=512)
def _name(name: bytes) -> bytes | None:
    """A field's name as in ``Content-Type``; None if WSGI could not tell it from the name with a dash."""
    if not _NAME.fullmatch(name):
        raise ValueError("Illegal header line.")
    return None if b"_" in name else name.title()


@functools.lru_cache(maxsize=512)
def environ_key(name: bytes) -> str:
    """Under which key WSGI gives a field."""
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def read_fields(lines: Iterable[bytes], found: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Add header fields, with names as in ``Content-Type``.

    Args:
        lines: With their ends, up to the empty one, which is not among them.

    Raises:
        ValueError: They break the rules of HTTP, or can be read in two ways.
    """
    for line in lines:
        field, colon, value = line.partition(b":")
        # This refuses folded lines and a space before the colon too.
        if not line.endswith(_CRLF) or not colon:
            raise ValueError("Illegal header line.")
        name = _name(field)
        value = value.strip(b" \t\r\n")
        if b"\r" in value or b"\0" in value:
            raise ValueError("Illegal header line.")
        if name is None:
            continue
        if name in found:
            if name in _ONCE:
                raise ValueError(f"The {name.decode()} header must come once.")
            value = found[name] + b", " + value
        found[name] = value
    length, coding = found.get(b"Content-Length"), found.get(b"Transfer-Encoding")
    if length is not None and not (length.isdigit() and len(length) <= 18):
        raise ValueError("Malformed Content-Length Header.")
    if coding is not None and (length is not None or coding.lower() != b"chunked"):
        raise ValueError("The Transfer-Encoding must be chunked, without a Content-Length.")
    return found


class LengthBody(io.RawIOBase):
    """A body of a known length."""

    def __init__(self, source: Source, length: int) -> None:
        self._source = source
        self._left = length

    @property
    def finished(self) -> bool:
        """Whether all of it was read."""
        return self._left == 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read_some(min(len(buffer), self._left)) if self._left else b""
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1) -> bytes:
        """As many bytes as asked for, or all; less if the connection ends. The usual case needs no buffer on top."""
        wanted = self._left if size is None or size < 0 else min(size, self._left)
        data = self._source.read(wanted) if wanted else b""
        self._left -= len(data)
        return data

    def skip(self) -> bool:
        """Read what is left if that is little; return whether all was read."""
        if self._left <= _MAX_SKIPPED:
            while self._left and (data := self._source.read_some(self._left)):
                self._left -= len(data)
        return self.finished


class ChunkedBody(io.RawIOBase):
    """A body in chunks (RFC 9112, section 7.1); its trailers are read and dropped."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._left = 0
        self.finished = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self.finished and not self._left:
            self._begin_chunk()
        if self.finished:
            return 0
        data = self._source.read_some(min(len(buffer), self._left))
        if not data:
            raise BodyError("the body ended early")
        self._left -= len(data)
        if not self._left and self._source.read(2) != _CRLF:
            raise BodyError("a chunk is longer than it says")
        buffer[: len(data)] = data
        return len(data)

    def _begin_chunk(self) -> None:
        found = _CHUNK_SIZE.fullmatch(self._source.readline(_MAX_CHUNK_LINE))
        if found is None:
            raise BodyError("a chunk has no size")
        self._left = int(found[1], 16)
        if self._left:
            return
        room = _MAX_TRAILERS
        while (line := self._source.readline(room)) != _CRLF:
            room -= len(line)
            if room <= 0 or not line.endswith(_CRLF):
                raise BodyError("the trailers are broken or too long")
        self.finished = True

    def skip(self) -> bool:
        """Whether all was read. Nothing is skipped: nobody knows how much there is."""
        return self.finished
