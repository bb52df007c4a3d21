"""Digests: as a user writes them (``sha256:<hex>``), as HTTP does (RFC 9530), and over a file that is being written."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any, BinaryIO

from ..exceptions import LocalProtocolError

__all__ = ["ContentCheck", "Digester", "dump_digest_field", "parse_digest", "parse_digest_field"]

# What hashlib calls them. RFC 9530, section 5: the others of its registry are "insecure" or no cryptographic digests.
_FIELD_NAMES = {"sha-256": "sha256", "sha-512": "sha512"}
_BLOCK = 1 << 20


def parse_digest(value: str | None) -> tuple[str, str] | None:
    """Read what a caller gave: the name for hashlib and the hex digits in lower case; None for None.

    Raises:
        LocalProtocolError: It is not ``algorithm:hex`` of a known algorithm and of its length.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise LocalProtocolError(f"a digest must be a string 'algorithm:hex', got {type(value).__name__}")
    name, colon, digits = value.partition(":")
    name, digits = name.strip().lower(), digits.strip().lower()
    name = _FIELD_NAMES.get(name, name)
    if not colon or not digits:
        raise LocalProtocolError(f"a digest must be 'algorithm:hex', got {value!r:.80}")
    if name not in hashlib.algorithms_available or name.startswith("shake"):
        raise LocalProtocolError(f"the digest algorithm must be one of hashlib's, such as 'sha256', got {name!r:.40}")
    size = hashlib.new(name, usedforsecurity=False).digest_size
    if len(digits) != 2 * size or not set("0123456789abcdef").issuperset(digits):
        raise LocalProtocolError(f"a {name} digest must be {2 * size} hexadecimal digits, got {digits!r:.140}")
    return name, digits


def parse_digest_field(value: str | None) -> dict[str, str]:
    """Read ``Repr-Digest`` or ``Content-Digest`` into hashlib's names and hex digits.

    What cannot be read or is of an algorithm that we do not trust is left out: the field is there to be ignored by who
    does not know it (RFC 9530, section 2).
    """
    found: dict[str, str] = {}
    for member in (value or "").split(","):
        key, _, rest = member.strip().partition("=")
        name = _FIELD_NAMES.get(key.strip().lower())
        coded = rest.partition(";")[0].strip()
        if name is None or len(coded) < 3 or coded[0] != ":" or coded[-1] != ":":
            continue
        try:
            raw = base64.b64decode(coded[1:-1], validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(raw) == hashlib.new(name).digest_size:
            found[name] = raw.hex()
    return found


def dump_digest_field(name: str, digits: str) -> str | None:
    """Write a digest as a field of RFC 9530; None if the registry has no name for it."""
    for field, known in _FIELD_NAMES.items():
        if known == name:
            return f"{field}=:{base64.b64encode(bytes.fromhex(digits)).decode()}:"
    return None


class ContentCheck:
    """``Content-Digest`` of one answer (RFC 9530, section 2): over its content, so only if all of that is read.

    Args:
        headers: Of the answer.
        whole: Whether all of its content will be seen.
    """

    def __init__(self, headers: Mapping[str, str], *, whole: bool) -> None:
        plain = headers.get("content-encoding", "identity").strip().lower() in ("", "identity")
        self._wanted = parse_digest_field(headers.get("content-digest")) if plain and whole else {}
        self._hashes = {name: hashlib.new(name) for name in self._wanted}

    def update(self, data: bytes | memoryview) -> None:
        for known in self._hashes.values():
            known.update(data)

    def fails(self) -> bool:
        return any(known.hexdigest() != self._wanted[name] for name, known in self._hashes.items())


class Digester:
    """Digests of a file that is written mostly from front to end: what passes is hashed at once, the rest later.

    Attributes:
        wanted: The digests that must come out, by hashlib's name. More may be added until the first byte has passed.
    """

    def __init__(self, wanted: dict[str, str] | None = None) -> None:
        self.wanted = dict(wanted or {})
        self._hashes: dict[str, Any] = {}
        self._position = 0

    def want(self, more: dict[str, str]) -> None:
        """Check these too, as far as nothing else is wanted of their algorithm."""
        for name, digits in more.items():
            self.wanted.setdefault(name, digits)

    def restart(self, wanted: dict[str, str]) -> None:
        """Begin again, at the first byte, with other digests."""
        self.wanted, self._hashes, self._position = dict(wanted), {}, 0

    def update(self, data: bytes | memoryview, at: int) -> None:
        """These bytes were written at an offset. Ignored if they do not follow what has been hashed."""
        if not self.wanted or at != self._position:
            return
        for name in self.wanted:
            known = self._hashes.get(name)
            if known is None:
                if at:  # asked for too late: it is read from the file in the end
                    continue
                known = self._hashes[name] = hashlib.new(name, usedforsecurity=False)
            known.update(data)
        self._position = at + len(data)

    def finish(self, file: BinaryIO, size: int) -> dict[str, str]:
        """Hash what has not been yet, and return all digests by name."""
        found: dict[str, str] = {}
        for name in self.wanted:
            known = self._hashes.get(name)
            position = self._position
            if known is None:
                known, position = hashlib.new(name, usedforsecurity=False), 0
            file.seek(position)
            while position < size and (block := file.read(min(_BLOCK, size - position))):
                known.update(block)
                position += len(block)
            found[name] = known.hexdigest()
        return found
