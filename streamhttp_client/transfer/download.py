"""Download a file: whole or not at all, going on where it was cut, in this process or the next.

What is asked of the server, and when that is given up, is the matter of :mod:`.fetching`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from ..exceptions import LocalProtocolError
from ..net.http import AuthLike
from ..net.retry import RetryPolicy
from ..net.target import check_url
from ..net.timeouts import Timeout, TimeoutLike
from ..progress import OnProgress
from . import progressbar
from .callers import report_to
from .digests import parse_digest
from .downloading import DownloadResult, Settings
from .fetching import Fetch
from .pace import check_min_speed, check_rate_limit

if TYPE_CHECKING:
    import requests

__all__ = ["DownloadResult", "download"]

# No limit on the whole, since a large file takes as long as it takes: silence, slowness and failing attempts are
# limited instead.
_TIMEOUT = Timeout(connect=10.0, read=60.0, total=None)


def download(
    url: str,
    dest: str | os.PathLike[str],
    *,
    resume: bool = True,
    overwrite: bool = False,
    digest: str | None = None,
    expected_size: int | None = None,
    segments: int = 1,
    min_speed: tuple[float, float] | None = (1024, 30),
    rate_limit: float | None = None,
    timeout: TimeoutLike | None = None,
    retry: RetryPolicy | None = None,
    on_progress: OnProgress | None = None,
    progress: bool | Literal["always"] = False,
    http: requests.Session | None = None,
    headers: Mapping[str, str] | None = None,
    auth: AuthLike = None,
) -> DownloadResult:
    """Fetch a file. At ``dest`` there is either the whole right file in the end, or what was there before.

    A failed or killed download leaves ``<dest>.part`` and ``<dest>.part.json``; the same call goes on from there, if
    the server's strong validator says that the file is still the same one. That holds for another query too, as signed
    links have it from day to day, if the strong entity tag and the size are the same; then, and for an answer without a
    strong validator in the place of the rest, what is there stays until the new file is whole. If all of it was there
    already, it is put in its place without asking again, unless something else had come there (``TargetExists``) when
    it was to get its name. It blocks; threads and processes may download to the same
    target at once without harm.

    A content coding that nobody asked for is undone, unless the name (``.gz``, ``.tgz``) or the type says that the file
    itself is the compressed one: that is kept as it was sent, as curl and wget do.

    Args:
        url: Where from. Each attempt asks this address, and follows redirects anew.
        dest: The file, or a folder, in which case the name comes from ``Content-Disposition`` or the address, as one
            harmless component. A symbolic link at ``dest`` is replaced, not followed.
        resume: False to fetch all of it in any case.
        overwrite: True to replace what is at ``dest``.
        digest: ``"sha256:<hex>"``, or another algorithm of hashlib. Digests that the server sends (RFC 9530) are
            checked anyway.
        expected_size: Bytes.
        segments: Connections at once, if the server does ranges and the file is large enough for them.
        min_speed: ``(bytes a second, seconds)``: an attempt that brings less over that time has failed, and counts
            as one that brought nothing if it was never faster. None for any.
        rate_limit: Bytes a second not to exceed.
        timeout: Seconds for everything, or a :class:`Timeout`. Default: 10 s to connect, 60 s of silence, no total.
        retry: How many attempts in a row may bring nothing.
        on_progress: Called on this thread at the beginning, at the end, good or bad, and at most ten times a second in
            between. An exception in it stops the download, keeps what has arrived and reaches the caller.
        progress: True for a progress bar on a terminal or in a notebook (extra ``[progress]``); ``"always"`` for
            one wherever the output goes.
        http: A session to send through; it is not closed.
        headers: Sent to the origin of ``url`` only. ``Range`` is not for them.
        auth: Credentials for it.

    Raises:
        LocalProtocolError: An argument makes no sense; nothing was sent.
        OSError: The target cannot be written, as ``open`` would say; nothing was sent.
        TargetExists: There is something at ``dest``.
        TransferRefused: An HTTP error status.
        TransferInterrupted, TooSlow, TransferTimeout: The network; call again to go on.
        SourceChanged, SizeMismatch, DigestMismatch, DiskFull, TargetChanged: See there.
    """
    reporter_of = progressbar.chosen(on_progress, progress)
    check_min_speed(min_speed)
    check_rate_limit(rate_limit)
    if isinstance(segments, bool) or not isinstance(segments, int) or not 1 <= segments <= 64:
        raise LocalProtocolError(f"segments must be an integer from 1 to 64, got {segments!r}")
    if expected_size is not None:
        if isinstance(expected_size, bool) or not isinstance(expected_size, int) or expected_size < 0:
            raise LocalProtocolError(f"expected_size must be a number of bytes, got {expected_size!r}")
    for name in headers or ():
        if str(name).lower() in ("range", "if-range"):
            raise LocalProtocolError(f"header {name!r} is set by the download itself; open_url() reads parts of a file")
    settings = Settings(
        resume=resume,
        overwrite=overwrite,
        digest=parse_digest(digest),
        expected_size=expected_size,
        segments=segments,
        min_speed=min_speed,
        rate_limit=rate_limit,
        timeout=Timeout.of(timeout, _TIMEOUT),
        retry=retry,
    )
    address = check_url(url)
    target = os.fspath(dest)
    if isinstance(target, bytes):
        target = os.fsdecode(target)
    job = Fetch(url, address, target, settings, http, headers, auth)
    with reporter_of(os.path.basename(target)) as callback:
        return report_to(callback, job.run)
