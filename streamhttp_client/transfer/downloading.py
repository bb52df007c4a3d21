"""The checked arguments of a download, and what comes out."""

from __future__ import annotations

from .._record import Record
from ..net.retry import RetryPolicy
from ..net.timeouts import Timeout

__all__ = ["DownloadResult", "Settings"]


class Settings(Record, kw_only=True):
    """The arguments of a download, checked."""

    resume: bool
    overwrite: bool
    digest: tuple[str, str] | None
    expected_size: int | None
    segments: int
    min_speed: tuple[float, float] | None
    rate_limit: float | None
    timeout: Timeout
    retry: RetryPolicy | None


class DownloadResult(Record, kw_only=True):
    """What a download came to.

    Attributes:
        path: The file, whole and in its place.
        bytes: Its size.
        total: The size that the server had named, or None: then the end of the answer was taken for the end of the
            file, and nobody can know whether it was.
        resumed_from: Bytes that an earlier call had left and that were not fetched again.
        restarts: How often it had to begin again: the file changed, or the server does not do ranges.
        attempts: Requests made.
        etag: The entity tag of what was fetched, or None.
        digest: ``algorithm:hex`` of the file, if one was asked for or the server named one.
        verified: True if that digest was compared with one that was given, and is equal.
        elapsed: Seconds.
    """

    path: str
    bytes: int
    total: int | None = None
    resumed_from: int = 0
    restarts: int = 0
    attempts: int = 1
    etag: str | None = None
    digest: str | None = None
    verified: bool = False
    elapsed: float = 0.0
