"""One upload on a tus server, and the range of the source that belongs there."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from ..exceptions import NotReplayable, RemoteProtocolError, StreamHTTPError, TargetChanged, TransportError
from ..net.body import Response
from ..net.refusals import read_beginning, status_error
from ..net.retry import parse_retry_after
from ..net.sending import Piece
from .chunks import Chunks
from .flow import Failed, make_effort, refusal, unacceptable
from .payload import Payload
from .tus_server import Gone, TusServer, offset_of
from .uploading import UploadAnswer, answer_of

__all__ = ["Lane"]

# A checksum must be known before its data is sent, so that data is read twice; and it is held if it cannot be.
_CHECKED_CHUNK = 16 << 20


class Lane:
    """One upload on the server, and the range of the source that belongs there.

    Attributes:
        url: Of the upload.
        start, end: The range; ``end`` is None while the size is not known.
        offset: Bytes that the server has confirmed.
        sent: Bytes that have been handed to the network, confirmed or not.
        given: The most that can have left for the server in any request; None if an earlier process sent some too.
    """

    def __init__(self, server: TusServer, url: str, start: int, end: int | None, given: int | None = 0) -> None:
        self._server = server
        self.url = url
        self.start = start
        self.end = end
        self.length = None if end is None else end - start
        self.offset = 0
        self.sent = 0
        self.given = given
        settings = server.settings
        self.effort = make_effort(settings.timeout, settings.retry, server.effort.deadline)
        self._chunks = Chunks(None if settings.chunk_size == "auto" else settings.chunk_size)

    def run(self, payload: Payload, moved: Callable[[int], object], before: Callable[[int], object]) -> None:
        """Send what is missing of its range; ``before`` is told each time up to where."""
        assert self.length is not None and self.end is not None
        server = self._server
        while self.offset < self.length:
            size = self._chunks.next(self.length - self.offset)
            if server.checksum is not None:
                size = min(size, _CHECKED_CHUNK)
            start = self.start + self.offset
            end = start + size
            payload.check()
            before(end)
            headers = {}
            if server.checksum is not None:
                headers["upload-checksum"] = self._checksum(payload.pieces(start, end, in_memory=True))
            self._patch(lambda begin=start, stop=end: payload.pieces(begin, stop), size, headers, moved)  # type: ignore[misc]
        payload.check()

    def send_held(self, chunk: bytes, moved: Callable[[int], object]) -> None:
        """Send a chunk of a source that cannot be read again, in as many attempts as it takes."""
        base = self.offset
        goal = base + len(chunk)
        view = memoryview(chunk)
        first = True
        while self.offset < goal or (first and self.length is not None):
            first = False
            if self.offset < base:
                raise NotReplayable("the server lost data of a source that can be read only once")
            rest = view[self.offset - base :]
            headers = {}
            if self.length is not None:
                headers["upload-length"] = str(self.length)
            if self._server.checksum is not None:
                headers["upload-checksum"] = self._checksum([rest])
            self._patch(lambda piece=rest: iter((piece,)), len(rest), headers, moved, empty=not rest)  # type: ignore[misc]

    def ask_offset(self) -> int:
        """HEAD: how much the server has. Repeated as often as need be.

        Raises:
            Gone: It has nothing.
            TargetChanged: It has something else.
        """
        while True:
            try:
                response = self._server.send("HEAD", self.url, {}, None, self.effort)
                response.body.close()
                status = response.status
                # "If the resource is not found, the Server SHOULD return either the 404 Not Found, 410 Gone or 403
                # Forbidden status without the Upload-Offset header." tus 1.0.0, HEAD. Where there are credentials, 403
                # more probably means that they have ended.
                if status in (404, 410) or (status == 403 and not self._server.has_credentials):
                    raise Gone
                if not 200 <= status < 300:
                    if status == 423:
                        locked = status_error(response, "HEAD", self.effort.deadline)
                        raise Failed(locked, parse_retry_after(response.headers))
                    raise self._server.final(refusal(response, "HEAD", self.effort.deadline), self.effort)
                offset = offset_of(response.headers)
                if offset is None:
                    raise unacceptable("the server did not say how much it has of the upload", response)
                length = response.headers.get("upload-length")
                if self.length is not None and (
                    offset > self.length or (length is not None and length.strip() != str(self.length))
                ):
                    self._server.note.forget()  # it can never be gone on with, and the next call begins anew
                    raise TargetChanged(
                        f"the upload has {offset} of {length or 'unknown'} bytes on the server, expected {self.length}"
                    )
                if not self._is_possible(offset):
                    self._server.note.forget()  # the next call would believe it
                    raise TargetChanged(f"the server says that it has {offset} bytes, and {self.given} were sent to it")
                self._server.heard(UploadAnswer(status=status, headers=response.headers))
                return offset
            except Failed as failed:
                error, floor = failed.error, failed.floor
            except TransportError as lost:
                error, floor = lost, 0.0
            self._server.again(error, floor, self.effort)

    def _is_possible(self, offset: int) -> bool:
        """Whether the server can have so much from us."""
        return self.given is None or offset <= self.given

    def _patch(
        self,
        pieces: Callable[[], Iterator[Piece]],
        size: int,
        headers: dict[str, str],
        moved: Callable[[int], object],
        empty: bool = False,
    ) -> None:
        """One PATCH; after it, ``offset`` is what the server has, whatever happened."""
        server, effort, before = self._server, self.effort, self.offset
        server.count_attempt()
        self.sent = before
        floor = 0.0

        def body() -> Iterator[Piece]:
            self.sent = before
            for piece in pieces():
                if self.given is not None:
                    self.given = max(self.given, self.sent + len(piece))
                server.note.show_life()
                yield piece
                self.sent += len(piece)
                moved(self.sent)

        fields = {
            "content-type": "application/offset+octet-stream",
            "content-length": str(size),
            "upload-offset": str(before),
            **headers,
        }
        error: StreamHTTPError
        try:
            response = server.send("PATCH", self.url, fields, body, effort)
            if 200 <= response.status < 300:
                server.heard(answer_of(response, read_beginning(response, effort.deadline)))
                offset = offset_of(response.headers)
                moving = offset is not None and before < offset <= before + size and self._is_possible(offset)
                if offset is not None and (moving or (empty and offset == before)):
                    self.offset = offset
                    self._chunks.took(size)
                    effort.progressed()
                    moved(offset)
                    return
                error = RemoteProtocolError(f"after {before} and {size} more bytes the server says it has {offset}")
            else:
                error, floor = self._refused(response, size)
        except Failed as failed:
            error, floor = failed.error, failed.floor
        except TransportError as lost:
            error = lost
        sent = self.sent - before
        if floor:  # who asks to be left alone for a while is not asked anything
            server.again(error, floor, effort)
        self.offset = self.ask_offset()
        self.sent = self.offset
        if self.offset > before:  # an answer was lost, or part of the data arrived
            effort.progressed()
            effort.pause()
            return
        if isinstance(error, TransportError):
            self._chunks.lost(sent)
        if not floor:
            server.again(error, floor, effort)

    def _refused(self, response: Response, size: int) -> tuple[StreamHTTPError, float]:
        """What to do about a status: why to try again, and after how long; else it raises."""
        status, deadline = response.status, self.effort.deadline
        if status in (404, 410):
            response.body.abandon()
            raise Gone
        floor = parse_retry_after(response.headers)
        if status in (409, 423, 460):  # another offset, locked by a request that still hangs, damaged on the way
            return status_error(response, "PATCH", deadline), floor
        if status == 413 and self._chunks.too_large(size):
            return status_error(response, "PATCH", deadline), floor
        raise self._server.final(refusal(response, "PATCH", deadline), self.effort)

    def _checksum(self, pieces: Any) -> str:
        known = hashlib.new(self._server.checksum or "sha1", usedforsecurity=False)
        for piece in pieces:
            known.update(piece)
        return f"{self._server.checksum} {base64.b64encode(known.digest()).decode()}"
