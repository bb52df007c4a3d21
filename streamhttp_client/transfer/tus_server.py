"""A server that speaks tus, as one upload sees it: what it can do, requests to it, and what to make of its answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from ..exceptions import HTTPStatusError, StreamHTTPError, TransferError, TransportError
from ..net.body import Response
from ..net.refusals import read_beginning, status_error
from ..net.sending import Piece
from ..net.target import Target
from ..net.timeouts import Timeout
from .flow import (
    Effort,
    Failed,
    TransferHTTP,
    final_error,
    is_hopeless,
    make_effort,
    open_http,
    refusal,
    surely_not_done,
    unacceptable,
)
from .pace import Reporter
from .tus_note import UploadNote
from .uploading import Settings, UploadAnswer, answer_of

if TYPE_CHECKING:
    import requests

__all__ = ["Gone", "TusServer", "offset_of"]

_VERSION = "1.0.0"
_TERMINATE_SECONDS = 5.0


class Gone(Exception):
    """The server does not know the upload (any more)."""


class TusServer:
    """The requests of one upload and their budget. Several lanes may use it at once.

    Args:
        settings: Of the upload.
        note: Where it is noted when the server means to forget the upload.
        reporter: Told of each attempt.
        kept: How many bytes the server has, for errors.

    Attributes:
        effort: Of the requests that belong to no lane.
        attempts: Requests that carried data, or tried to.
        extensions: What the server can do.
        checksum: The algorithm for ``Upload-Checksum``, or None.
        answer: The last one.
        has_credentials: Whether requests carry any.
    """

    def __init__(self, settings: Settings, note: UploadNote, reporter: Reporter, kept: Callable[[], int]) -> None:
        self.settings = settings
        self.note = note
        self._reporter = reporter
        self._kept = kept
        self.effort = make_effort(settings.timeout, settings.retry)
        self.attempts = 0
        self.extensions: frozenset[str] = frozenset(("creation",))
        self.checksum: str | None = None
        self.answer: UploadAnswer | None = None
        endpoint = Target(settings.url)
        self._origin = endpoint.origin
        headers = {name.lower(): value for name, value in (settings.headers or {}).items()}
        if endpoint.authorization and settings.auth is None:  # no address of an upload repeats it
            headers.setdefault("authorization", endpoint.authorization)
        session = settings.http
        login = settings.auth if settings.auth is not None or session is None else session.auth
        self.has_credentials = login is not None or "authorization" in headers
        self._http = open_http(session, headers, settings.auth)
        self._bare: TransferHTTP | None = None
        # Guards the counters and the last answer when several lanes run.
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        if self._bare is not None:
            self._bare.close()

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Callable[[], Iterator[Piece]] | None,
        effort: Effort,
        timeout: Timeout | None = None,
    ) -> Response:
        """One request. What the caller sends to the endpoint is not for an upload that lies at another origin.

        "The Client SHOULD NOT include the Tus-Resumable header" in OPTIONS (tus 1.0.0, Requests).
        """
        self.note.show_life()
        http = self._http
        if Target(url).origin != self._origin:
            if self._bare is None:
                self._bare = _without_credentials(self.settings.http)
            http = self._bare
        return http.send(
            method,
            url,
            headers if method == "OPTIONS" else {"tus-resumable": _VERSION, **headers},
            body,
            timeout=timeout or effort.timeout,
            deadline=effort.deadline,
            interrupt=effort.interrupt,
        )

    def discover(self, size: int | None) -> None:
        """What the server can do. One that does not say is taken to know nothing but creation."""
        try:
            response = self.send("OPTIONS", self.settings.url, {}, None, self.effort)
        except TransportError:
            return  # the next request tells, and is repeated if it fails
        read_beginning(response, self.effort.deadline)
        if not 200 <= response.status < 300:
            return
        headers = response.headers
        versions = [version.strip() for version in headers.get("tus-version", _VERSION).split(",")]
        if _VERSION not in versions:
            raise unacceptable(f"expected a server with tus 1.0.0, got {', '.join(versions)!r:.60}", response)
        if "tus-extension" in headers:
            self.extensions = frozenset(part.strip().lower() for part in headers["tus-extension"].split(","))
        largest = headers.get("tus-max-size", "")
        if largest.isascii() and largest.isdigit() and size is not None:
            if 0 < int(largest) < size:
                error = HTTPStatusError(
                    f"the server takes at most {largest} bytes, the source has {size}",
                    status=413,
                    headers=headers,
                    url=self.settings.address.partition("?")[0],
                )
                raise final_error(error, expired=False, kept=0, resumable=False, attempts=1) from error
        if self.settings.digest is not None and "checksum" in self.extensions:
            offered = [name.strip().lower() for name in headers.get("tus-checksum-algorithm", "").split(",")]
            for name in ("sha256", "sha512", "sha1", "md5"):
                if name in offered:
                    self.checksum = name
                    break

    def create(self, headers: dict[str, str], body: bytes = b"") -> tuple[str, int]:
        """Create an upload: its address, and how much of ``body`` it has. Repeated as often as need be.

        A creation whose answer was lost leaves an empty upload behind, which the server expires; that is the price.
        One that carries the data, or joins the parts, leaves a whole one, and servers act on those: it is repeated only
        if the last one surely did nothing, or if the caller says that twice does no harm.
        """
        whole = bool(body) or headers.get("upload-concat", "").startswith("final")
        must_not_repeat = whole and not self.settings.idempotent
        while True:
            try:
                if body:
                    self.count_attempt()
                response = self.send("POST", self.settings.url, headers, body or None, self.effort)
                if response.status != 201:
                    if 200 <= response.status < 400:
                        response.body.abandon()
                        raise unacceptable(f"expected status 201 for a new upload, got {response.status}", response)
                    if must_not_repeat and not surely_not_done(response):
                        raise self.final(status_error(response, "POST", self.effort.deadline), self.effort)
                    raise self.final(refusal(response, "POST", self.effort.deadline), self.effort)
                location = response.headers.get("location")
                answer = answer_of(response, read_beginning(response, self.effort.deadline))
                if location is None:
                    raise unacceptable("the server created an upload and did not say where", response)
                url = self._address(response, location)
                self.heard(answer)
                return url, offset_of(response.headers) or 0
            except Failed as failed:
                error, floor = failed.error, failed.floor
            except TransportError as lost:
                if must_not_repeat and lost.may_have_executed:
                    raise self.final(lost, self.effort) from lost
                error, floor = lost, 0.0
            self.again(error, floor, self.effort)

    def _address(self, response: Response, location: str) -> str:
        """Where a new upload is; refused if that is nowhere, or in the open while the endpoint is not."""
        try:
            url = urljoin(response.url, location)
            scheme = Target(url).scheme
        except ValueError as error:  # LocalProtocolError is one
            raise unacceptable(f"the upload has an address that cannot be used: {error}", response) from None
        if self._origin[0] == "https" and scheme == "http":
            raise unacceptable("refused an upload at an http address, created at an https one", response)
        return url

    def terminate(self, urls: Iterable[str]) -> None:
        """Tell the server that these uploads are of no use. Bounded, and without more attempts."""
        timeout = Timeout(connect=_TERMINATE_SECONDS, read=_TERMINATE_SECONDS, total=None)
        for url in urls:
            try:
                self.send("DELETE", url, {}, None, self.effort, timeout).body.close()
            except StreamHTTPError:
                pass  # it expires

    def count_attempt(self) -> None:
        with self._lock:
            self.attempts += 1
            self._reporter.attempt = self.attempts

    def heard(self, answer: UploadAnswer) -> None:
        """Remember the last answer, and when the upload ends if it says so."""
        with self._lock:
            self.answer = answer
            expires = answer.headers.get("upload-expires")
            changed = expires is not None and expires != self.note.expires
            if changed:
                self.note.expires = expires
        if changed:
            self.note.save()

    def final(self, error: StreamHTTPError, effort: Effort) -> TransferError:
        expired = effort.deadline.expired and not isinstance(error, HTTPStatusError)
        # Without a sidecar nobody could go on.
        resumable = self.note.is_kept and bool(self.note.parts)
        attempts = max(self.attempts, 1)
        return final_error(error, expired=expired, kept=self._kept(), resumable=resumable, attempts=attempts)

    def again(self, error: StreamHTTPError, floor: float, effort: Effort) -> None:
        """Wait before another attempt; raise if there must be none."""
        if effort.deadline.expired or is_hopeless(error) or not effort.again(floor):
            raise self.final(error, effort) from error


def _without_credentials(session: requests.Session | None) -> TransferHTTP:
    """Sends on the same ways as a session of the caller's, and nothing of what that one adds to a request."""
    if session is None:
        return TransferHTTP()
    verify = True if session.verify is None else session.verify
    return TransferHTTP(verify=verify, cert=session.cert, proxies=session.proxies, trust_env=session.trust_env)


def offset_of(headers: Mapping[str, str]) -> int | None:
    value = headers.get("upload-offset", "").strip()
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else None
