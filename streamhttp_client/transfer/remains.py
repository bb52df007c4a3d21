"""What an earlier download left: whether it is of the same file, and can be gone on with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from .._headers import check_field
from ..exceptions import LocalProtocolError
from .ranges import Representation
from .sidecar import is_ours, open_regular

__all__ = ["Remains", "is_of", "open_remains"]


class Remains(NamedTuple):
    """A part file, and what is known of it; see :class:`~.partfile.PartFile`."""

    fd: int
    path: str
    version: Representation
    offset: int
    gaps: list[list[int]] | None


def is_of(key: Mapping[str, str], state: Mapping[str, Any]) -> bool | None:
    """True for a part of this address, False for one whose address differs in its query, None for any other."""
    if state.get("key") == key["key"]:
        return True
    return False if state.get("url") == key["url"] else None


def open_remains(path: str, key: Mapping[str, str], state: Mapping[str, Any]) -> Remains | None:
    """Open what is there, if it is what the sidecar says, of this address, and can be resumed at all.

    Args:
        path: Of the part file.
        key: Of the address, as :func:`~.sidecar.address_key` gives it.
        state: What the sidecar says.
    """
    sure = is_of(key, state)
    if sure is None:
        return None
    etag, modified, total = state.get("etag"), state.get("last_modified"), state.get("total")
    for value, kind in ((etag, str), (modified, str), (total, int)):
        if value is not None and type(value) is not kind:
            return None
    version = Representation(etag, modified, state.get("dated") is True, total)
    if version.validator is None:
        return None
    if not sure and (version.strong_etag is None or not total):
        return None
    try:
        check_field("if-range", version.validator)
        fd, about = open_regular(path, os.O_RDWR)
    except (LocalProtocolError, OSError):
        return None
    gaps = _checked_gaps(state.get("gaps"), total)
    fits = about.st_size > 0 and (total is None or about.st_size <= total)
    if gaps is not None and total is not None:
        # All that is no gap must be there.
        fits = fits and about.st_size >= _end_of_data(gaps, total)
    # Of another user, it holds what he likes; under a second name, writing changes what that one stands for, be it
    # the target itself, if the process was killed while the file got its name.
    fits = fits and is_ours(about) and about.st_nlink == 1
    if not fits or ("gaps" in state and gaps is None):
        os.close(fd)
        return None
    offset = os.lseek(fd, 0, os.SEEK_END)
    if (not sure or state.get("late") is True) and offset == total and not gaps:
        # Under another query it may be another file, and of what found its place taken nobody knows how old it is: an
        # answer has to say that it is the same. One byte brings one.
        os.ftruncate(fd, total - 1)
        offset = os.lseek(fd, 0, os.SEEK_END)
    return Remains(fd, path, version, offset, gaps or None)


def _checked_gaps(value: Any, total: int | None) -> list[list[int]] | None:
    """Gaps as a sidecar had them: ascending, apart, within the file; None if they are not."""
    if not isinstance(value, list) or total is None:
        return None
    at = 0
    for gap in value:
        if not isinstance(gap, list) or len(gap) != 2 or not all(type(place) is int for place in gap):
            return None
        if not at <= gap[0] < gap[1] <= total:
            return None
        at = gap[1]
    return value


def _end_of_data(gaps: list[list[int]], total: int) -> int:
    """The byte after the last one that is in no gap."""
    end = total
    for start, stop in reversed(gaps):
        if stop != end:
            break
        end = start
    return end
