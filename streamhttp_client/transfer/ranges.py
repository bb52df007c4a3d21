"""What an answer to a request for a file, or for the rest of one, means. Pure: no sockets, no files, no clock.

A server may honour a range, ignore it, honour half of it, or say one thing in one field and another in the next. What
arrived is only ever put where it surely belongs; whenever that is in doubt, the file begins again (RFC 9110, sections
13 to 15).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from .._headers import parse_date
from .._record import Record

__all__ = ["ContentRange", "Representation", "Verdict", "judge", "parse_content_range", "represented"]

_CONTENT_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-([0-9]{1,18})|(\*))/(?:([0-9]{1,18})|\*)")


class ContentRange(Record):
    """``Content-Range``: the first byte and the one after the last; both None in a 416. ``total`` is None for ``*``."""

    start: int | None
    end: int | None
    total: int | None


def parse_content_range(value: str | None) -> ContentRange | None:
    """Read a field value; None if it is missing, not in bytes, or contradicts itself."""
    match = _CONTENT_RANGE.fullmatch((value or "").strip().replace("bytes=", "bytes "))
    if match is None:
        return None
    total = int(match[4]) if match[4] is not None else None
    if match[3]:
        return ContentRange(None, None, total) if total is not None else None
    start, end = int(match[1]), int(match[2]) + 1
    if end <= start or (total is not None and end > total):
        return None
    return ContentRange(start, end, total)


class Representation(Record):
    """Which version of a file is being read.

    Attributes:
        etag: Its entity tag, as sent; it may be weak.
        last_modified: ``Last-Modified``, as sent.
        dated: Whether that date identifies the version (see :func:`represented`).
        total: Its size in bytes, or None.
    """

    etag: str | None = None
    last_modified: str | None = None
    dated: bool = False
    total: int | None = None

    @property
    def strong_etag(self) -> str | None:
        return self.etag if self.etag and re.fullmatch(r'"[\x21\x23-\xff]*"', self.etag) else None

    @property
    def validator(self) -> str | None:
        """What may stand in ``If-Range``, where only a strong validator may (RFC 9110, section 13.1.5)."""
        if self.etag is not None:
            return self.strong_etag
        return self.last_modified if self.dated else None

    def differs(self, other: Representation) -> bool:
        """Whether another answer shows that it speaks of another version.

        What one of the two does not say cannot differ. Weak tags that are equal are no sign of a change, and no proof
        of the same bytes either.
        """
        if self.total is not None and other.total is not None and self.total != other.total:
            return True
        if self.etag is not None and other.etag is not None:
            return self.etag.removeprefix("W/") != other.etag.removeprefix("W/")
        if self.last_modified is not None and other.last_modified is not None:
            return self.last_modified != other.last_modified
        return False

    def confirmed_by(self, other: Representation) -> bool:
        """Whether another answer surely speaks of the same version, by its own strong validator."""
        return not self.differs(other) and self.validator is not None and self.validator == other.validator

    def is_continued_by(self, other: Representation) -> bool:
        """Whether a 206 to a request under our validator may be joined to what is here.

        The tag must be in it if it would be in a 200, and is what tells when a server ignored ``If-Range``; a date need
        not be (RFC 9110, section 15.3.7).
        """
        if self.differs(other) or self.validator is None:
            return False
        return self.etag is None or self.etag == other.etag


def represented(headers: Mapping[str, str], total: int | None) -> Representation:
    """What an answer says of the version that it carries.

    A date is a strong validator only if the answer was made at least one second later (RFC 9110, section 8.8.2.2):
    within one second a file can change twice.
    """
    modified = headers.get("last-modified")
    then, now = parse_date(modified), parse_date(headers.get("date"))
    dated = then is not None and now is not None and now - then >= 1
    return Representation(headers.get("etag"), modified, dated, total)


class Verdict(Record):
    """What to do with an answer.

    Attributes:
        kind: ``"append"``: its body belongs at ``start``, up to ``end`` (None: as far as it goes).
            ``"whole"``: its body is the whole file, and another version than what is there, or nothing is there.
            ``"complete"``: nothing is missing.
            ``"again"``: ask for the whole file; what is there cannot be gone on with.
            ``"refused"``: the status is an error.
        skip: Bytes at the beginning of the body that are there already.
        version: What the answer said of the version.
        ranges: False if the server has shown that its ranges cannot be relied on.
        changed: True if the server shows that the file is another one now.
        reason: In words, for a log and for an error.
    """

    kind: Literal["append", "whole", "complete", "again", "refused"]
    start: int = 0
    end: int | None = None
    skip: int = 0
    version: Representation = Representation()
    ranges: bool = True
    changed: bool = False
    reason: str = ""


def judge(
    status: int, headers: Mapping[str, str], have: Representation, offset: int, end: int | None = None
) -> Verdict:
    """Say what an answer means to who has ``offset`` bytes of the version ``have``.

    Args:
        status, headers: Of the answer. With ``offset`` 0 and no ``end`` the request was for the whole file.
        have: What earlier answers said; empty at the beginning.
        offset: The first byte that is missing.
        end: The byte after the last one that was asked for; None for the rest.
    """
    coded = headers.get("content-encoding", "").strip().lower() not in ("", "identity")
    length = _length(headers)
    if status == 206:
        return _partial(headers, have, offset, end, coded, length)
    if status in (200, 203):
        total = None if coded else length
        version = represented(headers, total)
        if coded:
            # Offsets in the plain file say nothing about offsets in the coded one: never to be resumed.
            version = Representation(None, None, False, None)
        if offset or end is not None:
            if have.confirmed_by(version):  # the server ignored the range, and has the same file still
                return Verdict("append", offset, end, skip=offset, version=version, ranges=False)
            return Verdict("whole", version=version, changed=have.differs(version))
        return Verdict("whole", version=version, changed=have.differs(version), ranges=not coded)
    if status == 416 and (offset or end is not None):
        place = parse_content_range(headers.get("content-range"))
        version = represented(headers, place.total if place else None)
        # If-Range comes before Range (RFC 9110, section 13.2.2): a changed file would have been a 200. So an offset
        # at the very end says that all is there, unless something contradicts. If nobody had named that size before,
        # a shorter file of another version may end there by chance: then the validator has to say that it is the same.
        known = have.total == offset or have.confirmed_by(version)
        if place is not None and place.total == offset and end is None and known and not have.differs(version):
            return Verdict("complete", version=version)
        changed = have.differs(version)
        size = f"{place.total} bytes" if place else "a size it does not name"
        return Verdict("again", changed=changed, ranges=changed, reason=f"no range from {offset} in {size}")
    return Verdict("refused", reason=f"status {status}")


def _partial(
    headers: Mapping[str, str], have: Representation, offset: int, end: int | None, coded: bool, length: int | None
) -> Verdict:
    def useless(reason: str) -> Verdict:
        return Verdict("again", ranges=False, reason=f"the partial answer {reason}")

    if headers.get("content-type", "").lower().startswith("multipart/byteranges"):
        return useless("has several parts, expected one")
    place = parse_content_range(headers.get("content-range"))
    if place is None or place.start is None or place.end is None:
        return useless(f"has no usable content range: {headers.get('content-range')!r:.60}")
    if coded:
        return useless("is compressed, though identity was asked for")
    if length is not None and length != place.end - place.start:
        return useless(f"is {length} bytes long, and its content range {place.end - place.start}")
    version = represented(headers, place.total)
    if have.differs(version):
        return Verdict("again", changed=True, reason="the file on the server is another one now")
    if place.start > offset:
        return useless(f"begins at {place.start}, expected {offset}")
    if place.end <= offset:
        return useless(f"ends at {place.end}, expected more than {offset}")
    if have != Representation() and not have.is_continued_by(version):
        return useless("does not show that it is of the same version")
    stop = place.end if end is None else min(place.end, end)
    return Verdict("append", offset, stop, skip=offset - place.start, version=version)


def _length(headers: Mapping[str, str]) -> int | None:
    """Content-Length where it counts: not beside a transfer coding (RFC 9112, section 6.3)."""
    if "transfer-encoding" in headers:
        return None
    value = headers.get("content-length", "").split(",")[0].strip()
    return int(value) if value.isascii() and value.isdigit() else None
