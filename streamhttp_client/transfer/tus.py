"""tus 1.0: uploads that go on where the server says they have got to (https://tus.io/protocols/resumable-upload).

An upload is created with POST and has an address of its own. PATCH appends at an offset; HEAD asks for the offset
after anything went wrong, so a lost answer costs one small request and no byte is sent twice that the server has. A
:class:`~.tus_lane.Lane` does that for one range of the source. There is one lane, or, if the
server can join uploads, several at once over parts of it. The addresses are kept in a sidecar, with a fingerprint of
the source.

Extensions used when the server offers them: creation, creation-with-upload for what fits into one small request,
creation-defer-length for a source of unknown size, expiration, termination (of what is of no use any more), checksum
(if a digest was given), concatenation (if several segments were asked for).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urljoin

from ..exceptions import (
    CapabilityError,
    HTTPStatusError,
    NotReplayable,
    RemoteProtocolError,
    StreamHTTPError,
    TransferError,
    TransportError,
    UploadGone,
)
from ..net.body import Response
from ..net.refusals import read_beginning, status_error
from ..net.sending import FilePart, Piece
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
)
from .pace import Reporter
from .payload import Payload
from .tus_lane import Gone, Lane, offset_of
from .tus_note import UploadNote
from .tus_values import dump_metadata, expired, is_past, rechunk
from .uploading import Outcome, Settings, UploadAnswer, answer_of, compare_digest

__all__ = ["TusUpload"]

_VERSION = "1.0.0"
# A file up to this size goes along with its creation; of a larger one, a cut would lose the address with the data.
_WITH_CREATION = 256 * 1024
_STREAM_CHUNK = 4 << 20
_TERMINATE_SECONDS = 5.0
_TICK_SECONDS = 0.05


class TusUpload:
    """One upload, as seen by :func:`~.upload.upload`."""

    def __init__(self, settings: Settings, payload: Payload, reporter: Reporter) -> None:
        self.settings = settings
        self.payload = payload
        self.reporter = reporter
        self.effort = make_effort(settings.timeout, settings.retry)
        self.http = open_http(settings.http, settings.headers, settings.auth)
        self.size = payload.size or 0
        self.attempts = 0
        self.extensions: frozenset[str] = frozenset(("creation",))
        self.checksum: str | None = None
        self.answer: UploadAnswer | None = None
        self.expires: str | None = None
        self._origin = Target(settings.url).origin
        names = [name.lower() for name in settings.headers or ()]
        self.has_credentials = settings.auth is not None or "authorization" in names
        self._bare: TransferHTTP | None = None
        fingerprint = payload.fingerprint() if settings.sidecar is not None else None
        self.note = UploadNote(settings.sidecar, settings.address, fingerprint)
        self._restarts = 0
        self._lanes: list[Lane] = []
        self._resumed_from = 0
        # Guards the counters and the last answer when several lanes run.
        self._lock = threading.Lock()
        self._metadata = dump_metadata(settings.metadata, settings.filename or payload.name)
        self._digesting: Any = None
        self._digested = 0
        if settings.digest is not None:
            self._digesting = hashlib.new(settings.digest[0], usedforsecurity=False)

    def close(self) -> None:
        self._save(released=True)
        self.http.close()
        if self._bare is not None:
            self._bare.close()

    def run(self) -> Outcome:
        payload = self.payload
        self._claim()
        begun = bool(self._lanes)
        self._resumed_from = self._done() if begun else 0
        self.reporter.begin(self._resumed_from, payload.size)
        while True:
            try:
                url = self._run_lanes()
                break
            except Gone:
                # Once is what happens: it expired while nobody was looking, or the server was cleaned up. Twice is
                # no accident.
                if self._restarts:
                    self.note.forget()
                    raise UploadGone(
                        f"the server no longer holds the upload{expired(self.expires)}", attempts=max(self.attempts, 1)
                    ) from None
                if not payload.replayable:
                    raise NotReplayable(
                        "the server no longer holds the upload, and the source can be read only once"
                    ) from None
                self._restarts += 1
                self._resumed_from = 0
                self._lanes = []
                self._save()
                self.reporter.restarted()
        self.note.forget()
        return Outcome(
            url=url,
            resumed_from=self._resumed_from,
            restarts=self._restarts,
            attempts=max(self.attempts, 1),
            response=self.answer,
        )

    # -- lanes

    def _done(self) -> int:
        return sum(lane.offset for lane in self._lanes)

    def _run_lanes(self) -> str:
        """Bring every lane to its end, and say where the whole is."""
        if self._lanes:
            for lane in self._lanes:
                lane.offset = lane.ask_offset()
            self._resumed_from = max(self._resumed_from, self._done()) if not self._restarts else 0
            self.reporter.tick(self._done())
            if len(self._lanes) > 1 or self.settings.digest:
                self._discover()
        else:
            self._begin()
        if self.payload.size is None:
            return self._stream(self._lanes[0])
        if len(self._lanes) == 1:
            lane = self._lanes[0]
            lane.run(lambda _: self.reporter.tick(self._done_or_sent()))
            return lane.url
        self._run_threads()
        return self._join()

    def _done_or_sent(self) -> int:
        return sum(max(lane.offset, lane.sent) for lane in self._lanes)

    def _begin(self) -> None:
        """Create the upload, or its parts."""
        self._discover()
        size = self.payload.size
        count = self.settings.segments if size is not None and "concatenation" in self.extensions else 1
        if size is None:
            if "creation-defer-length" not in self.extensions:
                raise CapabilityError("the size of the source is not known, and the server takes only what has one")
            self._lanes = [Lane(self, self._create({"upload-defer-length": "1"})[0], 0, None)]
            return
        count = max(1, min(count, size // (1 << 20)))
        if count > 1:
            step = -(-size // count)
            for start in range(0, size, step):
                end = min(start + step, size)
                headers = {"upload-length": str(end - start), "upload-concat": "partial"}
                self._lanes.append(Lane(self, self._create(headers)[0], start, end))
        else:
            headers = {"upload-length": str(size)}
            body = b""
            if size and size <= _WITH_CREATION and "creation-with-upload" in self.extensions:
                body = b"".join(bytes(piece) for piece in self._in_memory(0, size))  # type: ignore[arg-type]
                self._digest(body, 0)
                self._check_digest_at(size)
                headers["content-type"] = "application/offset+octet-stream"
            url, offset = self._create(headers, body)
            lane = Lane(self, url, 0, size)
            lane.given = len(body)
            lane.offset = offset if 0 <= offset <= size else lane.ask_offset()
            self._lanes = [lane]
        self._save()
        self.reporter.tick(self._done())

    def _in_memory(self, start: int, end: int) -> Iterator[Piece]:
        return self.payload.pieces(start, end, in_memory=True)

    def _run_threads(self) -> None:
        """All lanes at once. Progress is told on this thread."""
        lanes = self._lanes
        failures: list[BaseException] = []
        running = [len(lanes)]
        ended = threading.Condition()  # guards the two above

        def stop() -> None:
            for lane in lanes:
                lane.effort.interrupt.fire()

        def work(lane: Lane) -> None:
            try:
                lane.run(lambda _: None)
            except BaseException as error:
                with ended:
                    failures.append(error)
                stop()
            finally:
                with ended:
                    running[0] -= 1
                    ended.notify_all()

        threads = [threading.Thread(target=work, args=(lane,), name="streamhttp-upload", daemon=True) for lane in lanes]
        try:
            for thread in threads:
                thread.start()
            while True:
                with ended:
                    if not running[0]:
                        break
                    ended.wait(_TICK_SECONDS)
                self.reporter.attempt = max(self.attempts, 1)
                self.reporter.tick(self._done_or_sent())
        finally:
            if running[0]:
                stop()
            for thread in threads:
                if thread.ident is not None:
                    thread.join(_TERMINATE_SECONDS)
        if failures:
            raise failures[0]  # the others are of being stopped

    def _join(self) -> str:
        """Concatenation: one upload out of the parts."""
        if self.settings.digest is not None:
            self._digest_rest()
        places = " ".join(lane.url for lane in self._lanes)
        return self._create({"upload-concat": f"final;{places}"})[0]

    def _stream(self, lane: Lane) -> str:
        """A source of unknown size: one chunk at a time is held, so that it can be sent again."""
        wanted = self.settings.chunk_size
        size = _STREAM_CHUNK if wanted == "auto" else wanted
        chunks = rechunk(self.payload.pieces(in_memory=True), size)
        chunk: bytes | None = next(chunks, b"")
        while chunk is not None:
            after = next(chunks, None)
            start = lane.offset
            self._digest(chunk, start)
            if after is None:
                lane.length = lane.end = start + len(chunk)
                self.size = lane.end
                self._check_digest_at(lane.end)
            lane.send_held(chunk, lambda _: self.reporter.tick(self._done_or_sent()))
            chunk = after
        return lane.url

    # -- digest of the whole source

    def _digest(self, data: bytes | memoryview, at: int) -> None:
        if self._digesting is not None and at == self._digested:
            self._digesting.update(data)
            self._digested += len(data)

    def digest_up_to(self, offset: int) -> None:
        """Hash what an earlier process, or an earlier attempt, has sent."""
        if self._digesting is not None and self._digested < offset and self.payload.size is not None:
            for piece in self._in_memory(self._digested, offset):
                assert not isinstance(piece, FilePart)
                self._digest(piece, self._digested)

    def _digest_rest(self) -> None:
        self.digest_up_to(self.size)
        self._check_digest_at(self.size)

    def _check_digest_at(self, offset: int) -> None:
        """Before the last byte goes out: is it the file that was meant?"""
        if self._digesting is None or self.settings.digest is None or offset != self._digested:
            return
        try:
            compare_digest(self._digesting.hexdigest(), self.settings.digest)
        except TransferError:
            self._terminate()
            self.note.forget()
            raise

    def before_last(self, end: int) -> None:
        """A lane is about to send up to ``end``."""
        if self._digesting is not None and end == self.payload.size and len(self._lanes) == 1:
            self.digest_up_to(end)
            self._check_digest_at(end)

    # -- requests

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Callable[[], Iterator[Piece]] | None,
        effort: Effort,
        timeout: Timeout | None = None,
    ) -> Response:
        """One request. What the caller sends to the endpoint is not for an upload that lies at another origin."""
        self.note.show_life()
        http = self.http
        if Target(url).origin != self._origin:
            if self._bare is None:
                session = self.settings.http
                verify, cert = (session.verify, session.cert) if session is not None else (True, None)
                self._bare = TransferHTTP(verify=True if verify is None else verify, cert=cert)
            http = self._bare
        return http.send(
            method,
            url,
            {"tus-resumable": _VERSION, **headers},
            body,
            timeout=timeout or effort.timeout,
            deadline=effort.deadline,
            interrupt=effort.interrupt,
        )

    def _discover(self) -> None:
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
            raise RemoteProtocolError(f"expected a server with tus 1.0.0, got {', '.join(versions)!r:.60}")
        if "tus-extension" in headers:
            self.extensions = frozenset(part.strip().lower() for part in headers["tus-extension"].split(","))
        largest = headers.get("tus-max-size", "")
        if largest.isascii() and largest.isdigit() and self.payload.size is not None:
            if 0 < int(largest) < self.payload.size:
                error = HTTPStatusError(
                    f"the server takes at most {largest} bytes, the source has {self.payload.size}",
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

    def _create(self, headers: dict[str, str], body: bytes = b"") -> tuple[str, int]:
        """Create an upload: its address, and how much of ``body`` it has. Repeated as often as need be.

        A creation whose answer was lost leaves an empty upload behind, which the server expires; that is the price.
        One that carries the data, or joins the parts, leaves a whole one, and servers act on those: it is repeated only
        if the last one surely did nothing, or if the caller says that twice does no harm.
        """
        whole = bool(body) or headers.get("upload-concat", "").startswith("final")
        must_not_repeat = whole and not self.settings.idempotent
        if self._metadata and headers.get("upload-concat") != "partial":
            headers = {**headers, "upload-metadata": self._metadata}
        while True:
            try:
                if body:
                    self.count_attempt()
                response = self.send("POST", self.settings.url, headers, body or None, self.effort)
                if response.status != 201:
                    if 200 <= response.status < 400:
                        response.body.abandon()
                        raise RemoteProtocolError(f"expected status 201 for a new upload, got {response.status}")
                    if must_not_repeat and not surely_not_done(response):
                        raise self.final(status_error(response, "POST", self.effort.deadline), self.effort)
                    raise self.final(refusal(response, "POST", self.effort.deadline), self.effort)
                location = response.headers.get("location")
                answer = answer_of(response, read_beginning(response, self.effort.deadline))
                if location is None:
                    raise RemoteProtocolError("the server created an upload and did not say where")
                url = urljoin(response.url, location)
                self.heard(answer)
                return url, offset_of(response.headers) or 0
            except Failed as failed:
                error, floor = failed.error, failed.floor
            except TransportError as lost:
                if must_not_repeat and lost.may_have_executed:
                    raise self.final(lost, self.effort) from lost
                error, floor = lost, 0.0
            self.again(error, floor, self.effort)

    def _terminate(self) -> None:
        """Tell the server that the upload is of no use. Bounded, and without more attempts."""
        timeout = Timeout(connect=_TERMINATE_SECONDS, read=_TERMINATE_SECONDS, total=None)
        for lane in self._lanes:
            try:
                self.send("DELETE", lane.url, {}, None, self.effort, timeout).body.close()
            except StreamHTTPError:
                pass  # it expires

    def count_attempt(self) -> None:
        with self._lock:
            self.attempts += 1
            self.reporter.attempt = self.attempts

    def heard(self, answer: UploadAnswer) -> None:
        """Remember the last answer, and when the upload ends if it says so."""
        with self._lock:
            self.answer = answer
            expires = answer.headers.get("upload-expires")
            changed = expires is not None and expires != self.expires
            if changed:
                self.expires = expires
        if changed:
            self._save()

    def final(self, error: StreamHTTPError, effort: Effort) -> TransferError:
        expired = effort.deadline.expired and not isinstance(error, HTTPStatusError)
        kept = self._done()
        # Without a sidecar nobody could go on.
        resumable = self.note.is_kept and bool(self._lanes)
        return final_error(error, expired=expired, kept=kept, resumable=resumable, attempts=max(self.attempts, 1))

    def again(self, error: StreamHTTPError, floor: float, effort: Effort) -> None:
        """Wait before another attempt; raise if there must be none."""
        if effort.deadline.expired or is_hopeless(error) or not effort.again(floor):
            raise self.final(error, effort) from error

    # -- what is noted for another process

    def _claim(self) -> None:
        """Go on with what an earlier process left, or have the server throw it away."""
        found = self.note.claim(self.payload.size)
        if found is None:
            return
        # What the earlier process sent may still be on its way to the disk of the server.
        self._lanes = [Lane(self, *part, given=None) for part in found.parts]
        if found.same_source and self.settings.resume and not is_past(found.expires):
            self.expires = found.expires
        else:
            if found.same_address:
                self._terminate()
            self._lanes = []
        self._save()

    def _save(self, released: bool = False) -> None:
        parts = [(lane.url, lane.start, lane.end) for lane in self._lanes]
        self.note.write(parts, self.expires, released=released)
