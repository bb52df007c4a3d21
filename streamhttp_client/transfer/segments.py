"""Fetch the parts of one file over several connections at once.

Each part is a range of the same version, asked for with ``If-Range``. Threads write into the same file at their own
places and note what is missing still; the calling thread reports progress, saves the gaps once a second, and ends all
of them when one cannot go on. What a killed process had fetched since the last save is fetched again.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from .._record import Record
from ..exceptions import ClientClosed, RemoteProtocolError, StreamHTTPError, TransportError
from ..net.body import Response
from ..net.interrupt import Interrupt
from ..net.timeouts import Deadline
from .digests import ContentCheck
from .downloading import Settings
from .flow import BUFFER_SIZE, Effort, Failed, Flow, final_error, is_hopeless, is_progress, join, make_effort, refusal
from .pace import Reporter
from .partfile import PartFile
from .ranges import Verdict, judge, parse_content_range

__all__ = ["MIN_SEGMENT_SIZE", "Piece", "Segments"]

# Below this, another connection takes longer than it saves.
MIN_SEGMENT_SIZE = 1 << 20
# All threads together take no more memory than one would.
_LEAST_BUFFER = 64 * 1024
_TICK_SECONDS = 0.05
_SAVE_SECONDS = 1.0


class Piece(Record):
    """An answer whose body begins where a gap does, and the byte in the file after its last one; None: the end."""

    response: Response
    end: int | None


class Segments:
    """The threads of one download.

    Args:
        ask: Makes one request for the file with these headers; any thread may.
        settings: Of the download that they belong to.
        deadline: Of all of it.
        part: Its part file; ``gaps`` say what is missing, or all from ``offset`` on is.
        first: What is there for the first gap, or None.
        interrupt: What ends the reading of ``first``.

    Attributes:
        requests: Made here.
        verdict: The answer that showed that this does not work, or None.
    """

    def __init__(
        self,
        ask: Callable[[Mapping[str, str], Effort, Interrupt], Response],
        settings: Settings,
        deadline: Deadline,
        part: PartFile,
        first: Piece | None,
        interrupt: Interrupt,
    ) -> None:
        self.requests = 0
        self.verdict: Verdict | None = None
        self._send = ask
        self._settings = settings
        self._deadline = deadline
        self._part = part
        self._first = first
        # Guards everything below and part.gaps, and announces the end of each thread.
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._stopping = False
        self._running = 0
        self._interrupts = [interrupt]
        self._queue: deque[tuple[list[int], Piece | None]] = deque()

    def run(self, count: int, reporter: Reporter) -> None:
        """Fetch all gaps, or set ``verdict``, or raise what ended it."""
        part = self._part
        total = part.version.total or 0
        if part.gaps is None:
            part.gaps = [[part.offset, total]]
        part.gaps = _split(part.gaps, count)
        for gap in part.gaps:
            # The answer that is here already belongs to the first gap, whichever thread gets that.
            self._queue.append((gap, self._first))
            self._first = None
        part.save()
        threads = [
            threading.Thread(target=self._work, name=f"streamhttp-segment-{index}", daemon=True)
            for index in range(min(count, len(part.gaps)))
        ]
        self._running = len(threads)
        save_at = time.monotonic() + _SAVE_SECONDS
        try:
            for thread in threads:
                thread.start()
            with self._changed:
                while self._running:
                    self._changed.wait(_TICK_SECONDS)
                    kept = part.kept
                    now = time.monotonic()
                    self._changed.release()  # no lock is held while the disk works or user code runs
                    try:
                        if now >= save_at:
                            part.save()
                            save_at = now + _SAVE_SECONDS
                        reporter.attempt = max(reporter.attempt, self.requests)
                        reporter.tick(kept)
                    finally:
                        self._changed.acquire()
        finally:
            self._stop()
            join(threads)
            with self._changed:
                part.gaps = [gap for gap in part.gaps if gap[0] < gap[1]]
                part.save()
        if self._error is not None:
            raise self._error
        reporter.tick(part.kept)

    def _stop(self) -> None:
        with self._changed:
            self._stopping = True
            interrupts = list(self._interrupts)
        for interrupt in interrupts:
            interrupt.fire()

    def _work(self) -> None:
        """One thread: take gaps until there are none."""
        settings = self._settings
        fd = -1
        try:
            fd = self._part.open_again()
            while True:
                with self._changed:
                    if self._stopping or not self._queue:
                        return
                    gap, first = self._queue.popleft()
                    effort = make_effort(settings.timeout, settings.retry, self._deadline)
                    self._interrupts.append(effort.interrupt)
                rate = settings.rate_limit and settings.rate_limit / settings.segments
                flow = Flow(effort, settings.min_speed, rate, max(_LEAST_BUFFER, BUFFER_SIZE // settings.segments))
                self._fetch(gap, fd, effort, flow, first)
        except ClientClosed:
            pass  # stopped from outside
        except BaseException as error:
            with self._changed:
                if not self._stopping:
                    self._error = error
            self._stop()
        finally:
            if fd >= 0:
                os.close(fd)
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _fetch(self, gap: list[int], fd: int, effort: Effort, flow: Flow, piece: Piece | None) -> None:
        """Fill one gap, in as many attempts as it takes."""
        while gap[0] < gap[1]:
            before = gap[0]
            failure: StreamHTTPError = RemoteProtocolError("the answer brought nothing")
            floor = 0.0
            try:
                if piece is None:
                    piece = self._ask(gap, effort)
                if piece is None:
                    return
                self._take(piece, gap, fd, flow)
            except Failed as failed:
                failure, floor = failed.error, failed.floor
            except TransportError as error:
                failure = error
            piece = None
            if self._stopping:
                return
            if is_progress(gap[0] - before, failure):
                effort.progressed()
            if gap[0] < gap[1] and (is_hopeless(failure) or not effort.again(floor)):
                expired = effort.deadline.expired
                raise final_error(
                    failure, expired=expired, kept=self._part.kept, resumable=True, attempts=self.requests
                ) from failure

    def _ask(self, gap: list[int], effort: Effort) -> Piece | None:
        """Ask for what is missing of a gap; None, with ``verdict`` set, if the answer is not that."""
        start, end = gap
        version = self._part.version
        headers = {
            "accept-encoding": "identity",
            "range": f"bytes={start}-{end - 1}",
            "if-range": version.validator or "",
        }
        with self._changed:
            self.requests += 1
        response = self._send(headers, effort, effort.interrupt)
        try:
            verdict = judge(response.status, response.headers, version, start, end)
            if verdict.kind == "refused":
                error = refusal(response, "GET", effort.deadline)
                raise final_error(
                    error, expired=False, kept=self._part.kept, resumable=True, attempts=self.requests
                ) from error
            if verdict.kind != "append" or verdict.skip:
                with self._changed:
                    self.verdict = self.verdict or verdict
                response.body.abandon()
                self._stop()
                return None
        except BaseException:
            response.body.abandon()
            raise
        return Piece(response, verdict.end)

    def _take(self, piece: Piece, gap: list[int], fd: int, flow: Flow) -> None:
        """Put what an answer brings where it says that it belongs, and no more."""
        start, headers = gap[0], piece.response.headers
        stop = gap[1] if piece.end is None else min(gap[1], piece.end)
        place = parse_content_range(headers.get("content-range"))
        check = ContentCheck(headers, whole=place is not None and (place.start, place.end) == (start, stop))
        os.lseek(fd, start, os.SEEK_SET)

        def write(data: bytes | memoryview) -> None:
            check.update(data)
            view = memoryview(data)
            try:
                while view:
                    written = os.write(fd, view)
                    gap[0] += written  # one thread changes it; the others only read
                    view = view[written:]
            except OSError as error:
                raise self._part.disk_error(error) from error

        flow.pour(piece.response.body, write, length=stop - start)
        if check.fails():
            gap[0] = start
            raise Failed(RemoteProtocolError("the content is not what its Content-Digest says"))


def _split(gaps: list[list[int]], count: int) -> list[list[int]]:
    """Cut gaps into about ``count`` parts of one size, none of them tiny."""
    missing = sum(end - start for start, end in gaps)
    size = max(MIN_SEGMENT_SIZE, -(-missing // count))
    parts = []
    for start, end in gaps:
        while start < end:
            # What would be left is joined to the last part if it is small.
            stop = end if end - start < size + MIN_SEGMENT_SIZE // 2 else start + size
            parts.append([start, stop])
            start = stop
    return parts
