"""Which content codings are undone when a file is downloaded. Pure.

Identity is asked for. A server that codes all the same mostly does so on its own account, and the plain file is what
was meant. But there are files that are compressed themselves, and servers that call their compression a coding of the
transfer: Apache's ``AddEncoding x-gzip .gz .tgz`` makes of ``a.tar.gz`` a tar under gzip. Undone, it would be no
``.tar.gz``, and no published digest would fit. curl and wget leave every coding that was not asked for alone; here that
is done where the name or the type says that the file itself is the compressed one. Its lengths, ranges and validators
are of the bytes as they are sent (RFC 9110, section 8.4), so it can be resumed like any other.
"""

from __future__ import annotations

from collections.abc import Iterable

from .._headers import Headers
from ..net.body import Response

__all__ = ["as_stored"]

_GZIP = frozenset(("gzip", "x-gzip"))
_SUFFIXES = (".gz", ".tgz", ".taz", ".svgz")
_TYPES = frozenset(("application/gzip", "application/x-gzip", "application/x-gtar-compressed", "application/x-tgz"))


def as_stored(response: Response, names: Iterable[str]) -> Response:
    """Make an answer one without a coding if what it carries is a compressed file; else leave it as it is.

    Args:
        response: Of which nothing was read yet.
        names: All that the file may be called.
    """
    coding = response.headers.get("content-encoding", "").strip().lower()
    if coding in _GZIP and (response.content_type in _TYPES or any(name.lower().endswith(_SUFFIXES) for name in names)):
        response.body.leave_coded()
        kept = ((name, value) for name, value in response.headers.items() if name != "content-encoding")
        response.headers = Headers(kept)
    return response
