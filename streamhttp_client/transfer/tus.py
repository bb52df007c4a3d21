"""tus 1.0: uploads that go on where the server says they have got to (https://tus.io/protocols/resumable-upload).

An upload is created with POST and has an address of its own. PATCH appends at an offset; HEAD asks for the offset
after anything went wrong, so a lost answer costs one small request and no byte is sent twice that the server has. A
:class:`~.tus_lane.Lane` does that for one range of the source, through a :class:`~.tus_server.TusServer`. There is one
lane, or, if the server can join uploads, several at once over parts of it. The addresses are kept in a sidecar, with a
fingerprint of the source.

Extensions used when the server offers them: creation, creation-with-upload for what fits into one small request,
creation-defer-length for a source of unknown size, expiration, termination (of what is of no use any more), checksum
(if a digest was given), concatenation (if several segments were asked for).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from typing import Any

from ..exceptions import CapabilityError, NotReplayable, TransferError, UploadGone
from ..net.sending import FilePart, Piece
from .flow import join
from .pace import Reporter
from .payload import Payload
from .tus_lane import Lane
from .tus_note import UploadNote
from .tus_server import Gone, TusServer
from .tus_values import dump_metadata, expired, is_past, rechunk
from .uploading import Outcome, Settings, compare_digest

__all__ = ["TusUpload"]

# A file up to this size goes along with its creation; of a larger one, a cut would lose the address with the data.
_WITH_CREATION = 256 * 1024
_STREAM_CHUNK = 4 << 20
_TICK_SECONDS = 0.05


class TusUpload:
    """One upload, as seen by :func:`~.upload.upload`."""

    def __init__(self, settings: Settings, payload: Payload, reporter: Reporter) -> None:
        self._settings = settings
        self._payload = payload
        self._reporter = reporter
        self.size = payload.size or 0
        fingerprint = payload.fingerprint() if settings.sidecar is not None else None
        self._note = UploadNote(settings.sidecar, settings.address, fingerprint)
        self._server = TusServer(settings, self._note, reporter, self._done)
        self._restarts = 0
        self._lanes: list[Lane] = []
        self._resumed_from = 0
        metadata = dump_metadata(settings.metadata, settings.filename or payload.name)
        self._metadata = {"upload-metadata": metadata} if metadata else {}
        self._digesting: Any = None
        self._digested = 0
        if settings.digest is not None:
            self._digesting = hashlib.new(settings.digest[0], usedforsecurity=False)

    def close(self) -> None:
        self._note.save(released=True)
        self._server.close()

    @property
    def attempts(self) -> int:
        """Requests that carried data, or tried to."""
        return self._server.attempts

    def run(self) -> Outcome:
        payload = self._payload
        self._claim()
        begun = bool(self._lanes)
        self._resumed_from = self._done() if begun else 0
        self._reporter.begin(self._resumed_from, payload.size)
        while True:
            try:
                url = self._run_lanes()
                break
            except Gone:
                # Once is what happens: it expired while nobody was looking, or the server was cleaned up. Twice is
                # no accident.
                if self._restarts:
                    self._note.forget()
                    raise UploadGone(
                        f"the server no longer holds the upload{expired(self._note.expires)}",
                        attempts=max(self._server.attempts, 1),
                    ) from None
                if not payload.replayable:
                    raise NotReplayable(
                        "the server no longer holds the upload, and the source can be read only once"
                    ) from None
                self._restarts += 1
                self._resumed_from = 0
                self._lanes = []
                self._save()
                self._reporter.restarted()
        self._note.forget()
        return Outcome(
            url=url,
            resumed_from=self._resumed_from,
            restarts=self._restarts,
            attempts=max(self._server.attempts, 1),
            response=self._server.answer,
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
            self._reporter.tick(self._done())
            if len(self._lanes) > 1 or self._settings.digest:
                self._server.discover(self._payload.size)
        else:
            self._begin()
        if self._payload.size is None:
            return self._stream(self._lanes[0])
        if len(self._lanes) == 1:
            lane = self._lanes[0]
            lane.run(self._payload, lambda _: self._reporter.tick(self._done_or_sent()), self._before_last)
            return lane.url
        self._run_threads()
        return self._join()

    def _done_or_sent(self) -> int:
        return sum(max(lane.offset, lane.sent) for lane in self._lanes)

    def _begin(self) -> None:
        """Create the upload, or its parts."""
        self._server.discover(self._payload.size)
        size = self._payload.size
        joins = "concatenation" in self._server.extensions and self._payload.shared
        count = self._settings.segments if size is not None and joins else 1
        if size is None:
            if "creation-defer-length" not in self._server.extensions:
                raise CapabilityError("the size of the source is not known, and the server takes only what has one")
            self._lanes = [
                Lane(self._server, self._server.create({"upload-defer-length": "1", **self._metadata})[0], 0, None)
            ]
            return
        count = max(1, min(count, size // (1 << 20)))
        if count > 1:
            step = -(-size // count)
            for start in range(0, size, step):
                end = min(start + step, size)
                headers = {"upload-length": str(end - start), "upload-concat": "partial"}
                self._lanes.append(Lane(self._server, self._server.create(headers)[0], start, end))
        else:
            headers = {"upload-length": str(size), **self._metadata}
            body = b""
            if size and size <= _WITH_CREATION and "creation-with-upload" in self._server.extensions:
                body = b"".join(bytes(piece) for piece in self._in_memory(0, size))  # type: ignore[arg-type]
                self._digest(body, 0)
                self._check_digest_at(size)
                headers["content-type"] = "application/offset+octet-stream"
            url, offset = self._server.create(headers, body)
            lane = Lane(self._server, url, 0, size)
            lane.given = len(body)
            lane.offset = offset if offset <= len(body) else lane.ask_offset()
            self._lanes = [lane]
        self._save()
        self._reporter.tick(self._done())

    def _in_memory(self, start: int, end: int) -> Iterator[Piece]:
        return self._payload.pieces(start, end, in_memory=True)

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
                lane.run(self._payload, lambda _: None, lambda _: None)
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
                self._reporter.attempt = max(self._server.attempts, 1)
                self._reporter.tick(self._done_or_sent())
        finally:
            if running[0]:
                stop()
            join(threads)
        if failures:
            raise failures[0]  # the others are of being stopped

    def _join(self) -> str:
        """Concatenation: one upload out of the parts."""
        if self._settings.digest is not None:
            self._digest_rest()
        places = " ".join(lane.url for lane in self._lanes)
        return self._server.create({"upload-concat": f"final;{places}", **self._metadata})[0]

    def _stream(self, lane: Lane) -> str:
        """A source of unknown size: one chunk at a time is held, so that it can be sent again."""
        wanted = self._settings.chunk_size
        size = _STREAM_CHUNK if wanted == "auto" else wanted
        chunks = rechunk(self._payload.pieces(in_memory=True), size)
        chunk: bytes | None = next(chunks, b"")
        while chunk is not None:
            after = next(chunks, None)
            start = lane.offset
            self._digest(chunk, start)
            if after is None:
                lane.length = lane.end = start + len(chunk)
                self.size = lane.end
                self._check_digest_at(lane.end)
            lane.send_held(chunk, lambda _: self._reporter.tick(self._done_or_sent()))
            chunk = after
        return lane.url

    # -- digest of the whole source

    def _digest(self, data: bytes | memoryview, at: int) -> None:
        if self._digesting is not None and at == self._digested:
            self._digesting.update(data)
            self._digested += len(data)

    def _digest_up_to(self, offset: int) -> None:
        """Hash what an earlier process, or an earlier attempt, has sent."""
        if self._digesting is not None and self._digested < offset and self._payload.size is not None:
            for piece in self._in_memory(self._digested, offset):
                assert not isinstance(piece, FilePart)
                self._digest(piece, self._digested)

    def _digest_rest(self) -> None:
        self._digest_up_to(self.size)
        self._check_digest_at(self.size)

    def _check_digest_at(self, offset: int) -> None:
        """Before the last byte goes out: is it the file that was meant?"""
        if self._digesting is None or self._settings.digest is None or offset != self._digested:
            return
        try:
            compare_digest(self._digesting.hexdigest(), self._settings.digest)
        except TransferError:
            self._server.terminate(lane.url for lane in self._lanes)
            self._note.forget()
            raise

    def _before_last(self, end: int) -> None:
        """A lane is about to send up to ``end``."""
        if self._digesting is not None and end == self._payload.size and len(self._lanes) == 1:
            self._digest_up_to(end)
            self._check_digest_at(end)

    # -- what is noted for another process

    def _claim(self) -> None:
        """Go on with what an earlier process left, or have the server throw it away."""
        found = self._note.claim(self._payload.size)
        if found is None:
            return
        if found.same_source and self._settings.resume and not is_past(found.expires):
            # What the earlier process sent may still be on its way to the disk of the server.
            self._lanes = [Lane(self._server, *part, given=None) for part in found.parts]
            self._note.expires = found.expires
        elif found.same_address:
            self._server.terminate(url for url, _, _ in found.parts)
        self._save()

    def _save(self) -> None:
        self._note.parts = [(lane.url, lane.start, lane.end) for lane in self._lanes]
        self._note.save()
