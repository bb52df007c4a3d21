"""Upload a file with PUT, POST, a multipart form, or tus.

A body streams from its source in bounded pieces and is made anew for each attempt. Whether another attempt is safe
depends on the method and on how far the last one came: PUT may always be repeated (RFC 9110, section 9.2.2), POST only
if the server surely did not act on it. :mod:`.tus` goes on where the server says that it has got to.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urljoin

from .._headers import check_header
from .._record import Record
from ..exceptions import (
    ConnectionLost,
    HTTPStatusError,
    LocalProtocolError,
    NotReplayable,
    TransferError,
    TransportError,
)
from ..net.body import Response
from ..net.http import AuthLike
from ..net.refusals import read_beginning, status_error
from ..net.retry import RetryPolicy
from ..net.sending import FilePart, Piece
from ..net.target import check_url
from ..net.timeouts import Timeout, TimeoutLike
from ..progress import OnProgress
from . import progressbar
from .callers import report_to
from .digests import dump_digest_field, parse_digest
from .flow import Failed, final_error, is_hopeless, make_effort, open_http, refusal, surely_not_done
from .names import name_beside
from .pace import Reporter
from .payload import Payload, Source, open_payload
from .uploading import Outcome, Settings, UploadAnswer, answer_of, compare_digest

if TYPE_CHECKING:
    import requests

__all__ = ["UploadAnswer", "UploadResult", "sidecar_path", "upload"]

# No limit on the whole. A server may well work on a large file for a while before it answers.
_TIMEOUT = Timeout(connect=10.0, read=120.0, total=None)


_OCTETS = "application/octet-stream"


class UploadResult(Record, kw_only=True):
    """What an upload came to.

    Attributes:
        url: Where it is now: the upload's own address for tus, ``Location`` of a 201, else the address that took it,
            without its query, which may be a signature or a token.
        bytes: The size of the source.
        resumed_from: Bytes that the server had from an earlier call and that were not sent again.
        restarts: How often it had to begin again.
        attempts: Requests that carried data, or tried to.
        response: The last answer, or None if tus found everything there.
        digest: ``algorithm:hex`` of what was sent, if one was asked for; it is the one asked for.
        elapsed: Seconds.
    """

    url: str
    bytes: int
    resumed_from: int = 0
    restarts: int = 0
    attempts: int = 1
    response: UploadAnswer | None = None
    digest: str | None = None
    elapsed: float = 0.0


def upload(
    source: Source,
    url: str,
    *,
    protocol: Literal["put", "post", "multipart", "tus"] = "put",
    chunk_size: int | Literal["auto"] = "auto",
    resume: bool = True,
    segments: int = 1,
    digest: str | None = None,
    metadata: Mapping[str, str] | None = None,
    field: str = "file",
    filename: str | None = None,
    content_type: str | None = None,
    idempotent: bool | None = None,
    sidecar: str | os.PathLike[str] | None = None,
    timeout: TimeoutLike | None = None,
    retry: RetryPolicy | None = None,
    on_progress: OnProgress | None = None,
    progress: bool | Literal["always"] = False,
    http: requests.Session | None = None,
    headers: Mapping[str, str] | None = None,
    auth: AuthLike = None,
) -> UploadResult:
    """Send a file. Memory is bounded whatever its size; it blocks until the server has answered.

    Args:
        source: A path, a binary file (from where it stands), bytes, or an iterable of bytes. What can be read only
            once is sent in the chunked coding and never sent twice.
        url: Where to; for tus, the address at which uploads are created.
        protocol: ``"put"`` and ``"post"`` send the bytes as they are, ``"multipart"`` as a form, ``"tus"`` by tus 1.0.
        chunk_size: For tus, the bytes of one request. ``"auto"`` sends all that is left at once, and less if that is
            refused or if what was sent is lost with a broken connection.
        resume: For tus: go on where an earlier call was cut. That is kept in ``<source>.<hash>.upload`` if the source
            is a path, or in ``sidecar``.
        segments: For tus: send so many parts at once, if the server can join them, and if the source is bytes or a file
            of the system.
        digest: ``"sha256:<hex>"`` of the source. It is checked before the last piece is sent, and told to the server
            (``Repr-Digest``, RFC 9530; for tus ``Upload-Checksum`` with each request, if the server knows that).
        metadata: For tus, what the server is told of the file, by default its name; for a form, fields before it.
        field: The form field of the file.
        filename: Its name in the form; by default that of the source.
        content_type: By default ``application/octet-stream``.
        idempotent: True if a POST may be repeated without harm. By default only what surely was not acted on is; for
            tus, that holds for a creation that carries the whole of a small source, and for the joining of segments.
        sidecar: Where to keep what another process needs to go on.
        timeout: Seconds for everything, or a :class:`Timeout`. Default: 10 s to connect, 120 s of silence, no total.
        retry: How many attempts in a row may bring nothing.
        on_progress: Called on this thread at the beginning, at the end, good or bad, and at most ten times a second in
            between. An exception in it stops the upload and reaches the caller.
        progress: True for a progress bar, as for :func:`~streamhttp_client.download`.
        http: A session to send through; it is not closed. A connection inside it that is left by Ctrl-C or a deadline
            ends by the timeouts.
        headers: Sent to the origin of ``url`` only.
        auth: Credentials for it.

    Raises:
        LocalProtocolError: An argument makes no sense; nothing was sent.
        OSError: The source cannot be read; nothing was sent.
        TransferRefused: An HTTP error status.
        TransferInterrupted, TransferTimeout: The network.
        NotReplayable: It broke after an iterator was begun.
        SourceChanged, DigestMismatch, UploadGone, TargetChanged: See there.
    """
    if protocol not in ("put", "post", "multipart", "tus"):
        raise LocalProtocolError(f"protocol must be 'put', 'post', 'multipart' or 'tus', got {protocol!r}")
    if chunk_size != "auto" and (isinstance(chunk_size, bool) or not isinstance(chunk_size, int) or chunk_size < 1):
        raise LocalProtocolError(f"chunk_size must be a number of bytes above 0 or 'auto', got {chunk_size!r}")
    if isinstance(segments, bool) or not isinstance(segments, int) or not 1 <= segments <= 64:
        raise LocalProtocolError(f"segments must be an integer from 1 to 64, got {segments!r}")
    if metadata is not None and protocol in ("put", "post"):
        raise LocalProtocolError("metadata goes with protocol 'tus' or 'multipart' only; use headers")
    if content_type is not None:
        check_header("content-type", content_type)
    shown = progressbar.chosen(on_progress, progress)
    wanted = parse_digest(digest)
    address = check_url(url)
    settings = Settings(
        url=url,
        address=address,
        protocol=protocol,
        chunk_size=chunk_size,
        resume=resume,
        segments=segments,
        digest=wanted,
        metadata=dict(metadata) if metadata is not None else None,
        field=field,
        filename=filename,
        content_type=content_type or (None if _has_type(headers) else _OCTETS),
        idempotent=protocol == "put" if idempotent is None else idempotent,
        sidecar=os.fspath(sidecar) if sidecar is not None else sidecar_path(source, address),
        timeout=Timeout.of(timeout, _TIMEOUT),
        retry=retry,
        headers=headers,
        auth=auth,
        http=http,
    )
    began = time.monotonic()
    payload = open_payload(source)
    try:
        with shown(filename or payload.name or "") as callback:
            outcome, size = report_to(callback, lambda reporter: _run(settings, payload, reporter))
    finally:
        payload.close()
    return UploadResult(
        url=outcome.url,
        bytes=size,
        resumed_from=outcome.resumed_from,
        restarts=outcome.restarts,
        attempts=outcome.attempts,
        response=outcome.response,
        digest="{}:{}".format(*wanted) if wanted else None,
        elapsed=time.monotonic() - began,
    )


def _has_type(headers: Mapping[str, str] | None) -> bool:
    return any(name.lower() == "content-type" for name in headers or ())


def sidecar_path(source: object, address: str) -> str | None:
    """Where an upload of a file to an address is noted: beside the file; None if the source has no path."""
    if not isinstance(source, (str, os.PathLike)):
        return None
    return f"{name_beside(os.fsdecode(source))}.{hashlib.sha256(address.encode()).hexdigest()[:8]}.upload"


def _run(settings: Settings, payload: Payload, reporter: Reporter) -> tuple[Outcome, int]:
    job: Any
    if settings.protocol == "tus":
        from .tus import TusUpload

        job = TusUpload(settings, payload, reporter)
    else:
        job = _PlainUpload(settings, payload, reporter)
    try:
        outcome: Outcome = job.run()
    except Exception as error:
        if isinstance(error, TransferError):  # where it was raised, the attempts were not always known
            error.attempts = max(error.attempts, job.attempts)
        reporter.stop()
        raise
    finally:
        job.close()
    reporter.finish(job.size)
    return outcome, job.size


class Checked:
    """The bytes of a payload on their way out, counted and hashed.

    The digest is compared before the last piece is given, so that a wrong file never arrives whole.
    """

    def __init__(self, payload: Payload, digest: tuple[str, str] | None) -> None:
        self._payload = payload
        self._digest = digest

    def pieces(self, moved: Callable[[int], object]) -> Iterator[Piece]:
        """All of it; ``moved`` is told after each piece how much has gone out."""
        done = 0
        known = hashlib.new(self._digest[0], usedforsecurity=False) if self._digest else None
        held: Piece | None = None
        for piece in self._payload.pieces(in_memory=known is not None):
            if held is not None:
                yield held
                done += len(held)
                moved(done)
            held = piece
            if known is not None and not isinstance(piece, FilePart):
                known.update(piece)
        self._payload.check()
        if known is not None and self._digest is not None:
            compare_digest(known.hexdigest(), self._digest)
        if held is not None:
            yield held
            done += len(held)
        moved(done)


class _PlainUpload:
    """PUT, POST or a form: one request that carries everything."""

    def __init__(self, settings: Settings, payload: Payload, reporter: Reporter) -> None:
        self._settings = settings
        self._payload = payload
        self._reporter = reporter
        self._effort = make_effort(settings.timeout, settings.retry)
        self._checked = Checked(payload, settings.digest)
        self.attempts = 0
        self._sent = 0
        self._is_cut = False  # the body was begun and not asked for to its end
        self.size = payload.size or 0
        self._before, self._after = b"", b""
        self._headers: dict[str, str] = {}
        if settings.content_type is not None:
            self._headers["content-type"] = settings.content_type
        if settings.protocol == "multipart":
            self._make_form()
        elif settings.digest and (field := dump_digest_field(*settings.digest)):
            self._headers["repr-digest"] = field
        if payload.size is not None:
            self._headers["content-length"] = str(len(self._before) + payload.size + len(self._after))
        self._http = open_http(settings.http, settings.headers, settings.auth)

    def close(self) -> None:
        self._http.close()

    def run(self) -> Outcome:
        settings = self._settings
        self._reporter.begin(0, self._payload.size)
        restarts = 0
        while True:
            if self._sent:
                restarts += 1
                self._sent = 0
                self._reporter.restarted()
            try:
                response, body = self._attempt()
            except Failed as failed:
                self._before_next(failed.error, failed.floor)
                continue
            except TransportError as error:
                if error.may_have_executed and not settings.idempotent:
                    raise self._final(error) from error
                self._before_next(error, 0.0)
                continue
            url = response.url.partition("?")[0]
            if response.status == 201 and "location" in response.headers:
                with contextlib.suppress(ValueError):  # it is there, whatever its address may be
                    url = check_url(urljoin(response.url, response.headers["location"]))
            return Outcome(url=url, restarts=restarts, attempts=self.attempts, response=answer_of(response, body))

    def _attempt(self) -> tuple[Response, bytes]:
        settings, effort = self._settings, self._effort
        method = "PUT" if settings.protocol == "put" else "POST"
        self.attempts += 1
        self._reporter.attempt = self.attempts
        response = self._http.send(
            method,
            settings.url,
            self._headers,
            self._body,
            timeout=effort.timeout,
            deadline=effort.deadline,
            interrupt=effort.interrupt,
        )
        done = 200 <= response.status < 300 or response.status == 303
        done = done or (method == "POST" and response.status in (301, 302))
        if done and (self._is_cut or not response.request_sent):
            # It speaks of a body that it has not seen the end of.
            response.body.abandon()
            raise ConnectionLost(
                f"the server answered {response.status} and took no more after {self._sent} bytes",
                may_have_executed=True,
            )
        if done:
            return response, read_beginning(response, effort.deadline)
        if not settings.idempotent and not surely_not_done(response):
            error = status_error(response, method, effort.deadline)
            raise self._final(error) from error
        refused = refusal(response, method, effort.deadline)
        raise self._final(refused) from refused

    def _body(self) -> Iterator[Piece]:
        self._is_cut = True
        if self._before:
            yield self._before
        yield from self._checked.pieces(self._moved)
        if self._after:
            yield self._after
        self._is_cut = False

    def _moved(self, done: int) -> None:
        self._sent = self.size = done
        self._reporter.tick(done)

    def _before_next(self, error: Any, floor: float) -> None:
        """Wait before another attempt; raise if there must be none."""
        if self._sent and not self._payload.replayable:
            raise NotReplayable(
                f"it broke after {self._sent} bytes of a source that can be read only once: {error}",
                attempts=self.attempts,
            ) from error
        if self._effort.deadline.expired or is_hopeless(error) or not self._effort.again(floor):
            raise self._final(error) from error

    def _final(self, error: Any) -> TransferError:
        expired = self._effort.deadline.expired and not isinstance(error, HTTPStatusError)
        return final_error(error, expired=expired, kept=0, resumable=False, attempts=self.attempts)

    def _make_form(self) -> None:
        """A form of RFC 7578: the fields, then the file, whose bytes go between two fixed pieces."""
        settings = self._settings
        boundary = f"streamhttp-{os.urandom(16).hex()}"
        self._headers["content-type"] = f"multipart/form-data; boundary={boundary}"
        lines = []
        for name, value in (settings.metadata or {}).items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise LocalProtocolError("metadata of a form must be strings")
            lines.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n{value}\r\n')
        name, filename = _quoted(settings.field), _quoted(settings.filename or self._payload.name or "file")
        lines.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
            f"Content-Type: {settings.content_type or _OCTETS}\r\n\r\n"
        )
        self._before = "".join(lines).encode("utf-8", "replace")
        self._after = f"\r\n--{boundary}--\r\n".encode()


def _quoted(text: str) -> str:
    """As browsers write it: "replace any U+000A with %0A, U+000D with %0D and U+0022 with %22" (HTML, 4.10.21.8)."""
    return text.replace("\n", "%0A").replace("\r", "%0D").replace('"', "%22")
