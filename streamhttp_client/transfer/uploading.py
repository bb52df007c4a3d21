"""What the upload protocols have in common: the checked arguments, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from .._headers import Headers
from .._record import EMPTY, Record
from ..exceptions import DigestMismatch
from ..net.body import Response
from ..net.http import AuthLike
from ..net.retry import RetryPolicy
from ..net.timeouts import Timeout

if TYPE_CHECKING:
    import requests

__all__ = ["Outcome", "Settings", "UploadAnswer", "answer_of", "compare_digest"]


class Settings(Record, kw_only=True):
    """The arguments, checked."""

    url: str
    address: str
    protocol: str
    chunk_size: int | Literal["auto"]
    resume: bool
    segments: int
    digest: tuple[str, str] | None
    metadata: dict[str, str] | None
    field: str
    filename: str | None
    content_type: str | None
    idempotent: bool
    sidecar: str | None
    timeout: Timeout
    retry: RetryPolicy | None
    headers: Mapping[str, str] | None
    auth: AuthLike
    http: requests.Session | None


class UploadAnswer(Record, kw_only=True):
    """What the server said in the end.

    Attributes:
        status: HTTP status.
        headers: Its headers; names are looked up in any case.
        body: At most the first 64 KiB.
    """

    status: int
    headers: Mapping[str, str] = EMPTY
    body: bytes = b""


class Outcome(Record, kw_only=True):
    """What a protocol hands back; the rest of the result is the same for all."""

    url: str
    resumed_from: int = 0
    restarts: int = 0
    attempts: int = 1
    response: UploadAnswer | None = None


def compare_digest(found: str, digest: tuple[str, str]) -> None:
    """Raise DigestMismatch unless it is the one."""
    name, wanted = digest
    if found != wanted:
        raise DigestMismatch(f"the {name} digest of the source is {found}, expected {wanted}")


def answer_of(response: Response, body: bytes) -> UploadAnswer:
    return UploadAnswer(status=response.status, headers=Headers(response.headers), body=body)
