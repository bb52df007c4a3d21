"""The attempts of one download: what each asks for, and what is done with what it brings.

The bytes go into ``<target>.part`` (:mod:`.partfile`), what an answer means is decided in :mod:`.ranges`, and each
attempt asks the original address for what is still missing. The attempts are bounded by those in a row that bring
nothing new, so a link that dies every megabyte still finishes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ..exceptions import (
    DigestMismatch,
    RemoteProtocolError,
    SizeMismatch,
    SourceChanged,
    StreamHTTPError,
    TargetChanged,
    TransferError,
    TransportError,
)
from ..net.body import Response
from ..net.http import AuthLike
from ..net.interrupt import Interrupt
from .codings import as_stored
from .digests import ContentCheck, Digester, parse_digest_field
from .downloading import DownloadResult, Settings
from .flow import (
    Effort,
    Failed,
    Flow,
    final_error,
    is_hopeless,
    is_progress,
    make_effort,
    open_http,
    refusal,
    unacceptable,
)
from .names import name_for
from .pace import Reporter
from .partfile import PartFile, disk_error
from .ranges import Representation, Verdict, judge
from .segments import MIN_SEGMENT_SIZE, Piece, Segments
from .target import check_folder, check_target

if TYPE_CHECKING:
    import requests

__all__ = ["Fetch"]

# A file that changes more often while it is fetched is never going to be whole.
_MAX_CHANGES = 5


class Fetch:
    """One download, on one thread. ``part`` is None until the name of the target is known."""

    def __init__(
        self,
        url: str,
        address: str,
        target: str,
        settings: Settings,
        http: requests.Session | None,
        headers: Mapping[str, str] | None,
        auth: AuthLike,
    ) -> None:
        self._url = url
        self._settings = settings
        self._effort = make_effort(settings.timeout, settings.retry)
        self.part: PartFile | None = None
        self._address = address
        self._target = target
        self._is_folder = os.path.isdir(target)
        if self._is_folder:
            check_folder(target)
        elif target.endswith(os.sep):
            raise NotADirectoryError(f"{target!r} is no folder")
        else:
            check_target(target, settings.overwrite)
        wanted = dict([settings.digest]) if settings.digest else {}
        self._digester = Digester(wanted)
        self._restarts = 0
        self._changes = 0
        self._requests = 0
        self._decoded = ""  # the content coding that was undone, or nothing
        self._resumed_from = self._found = 0
        self._highest = 0
        self._ranges = True  # False once the server has shown that its ranges cannot be relied on
        self._asks_range = True  # whether the next request does
        self._interrupt = Interrupt()
        self._clock: Callable[[], float] = time.monotonic
        self._http = open_http(http, headers, auth)

    def run(self, reporter: Reporter) -> DownloadResult:
        began = self._clock()
        self._reporter = reporter
        try:
            if not self._is_folder:
                self._claim(self._target)
            self._flow = Flow(self._effort, self._settings.min_speed, self._settings.rate_limit)
            if self.part is not None:  # else how much is there shows with the name that the answer gives
                reporter.begin(self._kept, self.part.version.total)
            try:
                while not self._attempt():
                    pass
                result = self._finish(began)
            except Exception:
                reporter.stop()
                raise
        except TransferError as error:
            # Where it was raised, not all of it was known.
            if not isinstance(error, TargetChanged):  # then nothing is there
                error.bytes_kept = max(error.bytes_kept, self._kept)
                error.resumable = error.resumable or (self._resumable and self._ranges)
            error.attempts = max(self._requests, 1)
            raise
        except OSError as error:
            # Without a part there was no room for the very first file.
            part = self.part
            full = disk_error(error, self._target) if part is None else part.disk_error(error)
            if full is error:
                raise
            raise full from error
        finally:
            if self.part is not None:
                self.part.release()
            self._http.close()
        reporter.finish(result.bytes)
        return result

    # -- attempts

    @property
    def _kept(self) -> int:
        return self.part.kept if self.part is not None else 0

    @property
    def _resumable(self) -> bool:
        return self.part is not None and self.part.kept > 0 and self.part.version.validator is not None

    def _attempt(self) -> bool:
        """Make one request and take what it brings; True if the file is whole. Waits before the next one."""
        try:
            complete, reason = self._request()
        except Failed as failed:
            self._before_next(failed.error, failed.floor)
            return False
        except TransportError as error:
            self._before_next(error, 0.0)
            return False
        if complete:
            return True
        if self._kept > self._highest:  # it went well and was not all: the next request is no retry
            self._highest = self._kept
            self._effort.progressed()
            self._effort.pause()
            return False
        self._before_next(RemoteProtocolError(reason), 0.0)
        return False

    def _before_next(self, error: StreamHTTPError, floor: float) -> None:
        """Count a failed attempt and wait; raise if that was the last one."""
        if is_progress(self._kept - self._highest, error):
            self._effort.progressed()
        self._highest = max(self._highest, self._kept)
        if not self._effort.deadline.expired and not is_hopeless(error) and self._effort.again(floor):
            return
        raise final_error(
            error,
            expired=self._effort.deadline.expired,
            kept=self._kept,
            resumable=self._resumable and self._ranges,
            attempts=self._requests,
        ) from error

    def _request(self) -> tuple[bool, str]:
        """One request: whether the file is whole now, and what was wrong if nothing came."""
        part = self.part
        offset = 0
        headers = {"accept-encoding": "identity"}
        if part is not None and part.kept:
            if part.kept == part.version.total:
                return True, ""
            if part.gaps is not None and self._asks_range:
                return self._in_segments(None)
            offset = part.offset if part.gaps is None else 0
            if self._asks_range and part.version.validator is not None:
                headers["range"] = f"bytes={offset}-"
                headers["if-range"] = part.version.validator
        effort = self._effort
        self._requests += 1
        self._reporter.attempt = self._requests
        # One of its own: another thread may go on reading this answer, and must be woken without ending the rest.
        self._interrupt = Interrupt()
        response = self._ask(headers, effort, self._interrupt)
        complete = False
        try:
            have = part.version if part is not None else Representation()
            verdict = judge(response.status, response.headers, have, offset)
            complete, reason = self._obey(response, verdict, offset)
            return complete, reason
        finally:
            response.body.abandon()
            if not complete:
                self._fall_back()

    def _ask(self, headers: Mapping[str, str], effort: Effort, interrupt: Interrupt) -> Response:
        """One request for the file or a part of it. Any thread."""
        response = self._http.send(
            "GET", self._url, headers, timeout=effort.timeout, deadline=effort.deadline, interrupt=interrupt
        )
        named = [name_for(response.headers.get("content-disposition"), url) for url in (self._url, response.url)]
        return as_stored(response, [self._target, *named])

    def _obey(self, response: Response, verdict: Verdict, offset: int) -> tuple[bool, str]:
        """Do what an answer calls for."""
        if verdict.kind == "refused":
            if 200 <= response.status < 400:
                raise unacceptable(f"expected a file, got status {response.status}", response)
            error = refusal(response, "GET", self._effort.deadline)
            raise final_error(
                error, expired=False, kept=self._kept, resumable=self._resumable, attempts=self._requests
            ) from error
        # An answer that no validator vouches for may be anybody's: it proves nothing about the file.
        unproven = verdict.kind == "whole" and verdict.version.validator is None and self._resumable
        if verdict.changed and not unproven:
            self._count_change()
        if verdict.kind == "again":
            # The whole file is asked for, and what is here stays until it comes: it may well be the same one still.
            self._asks_range = False
            self._ranges = self._ranges and verdict.ranges
            return False, verdict.reason
        part = self.part
        if part is None:
            self._claim(os.path.join(self._target, name_for(response.headers.get("content-disposition"), self._url)))
            part = self.part
            assert part is not None
            if part.kept and part.version.confirmed_by(verdict.version):
                return False, "asking for the rest"  # what is here counts as progress
        if (
            part.gaps is not None
            and part.kept
            and (verdict.kind == "append" or (self._ranges and part.version.confirmed_by(verdict.version)))
        ):
            self._asks_range = self._ranges
            return False, "asking for the rest"
        self._check_size(verdict.version.total)
        if verdict.kind == "complete":
            part.set_total(part.offset)
            return True, ""
        if verdict.kind == "whole" or part.version == Representation():
            restarts = part.kept > 0
            part.begin(verdict.version, lay_aside=unproven)
            if restarts:
                self._restarted()
            if verdict.changed and not unproven:
                self._highest = 0  # what comes now is progress again
            self._digester.restart(self._user_digest)
            self._asks_range = self._ranges
        part.set_total(verdict.version.total)
        total = part.version.total
        self._reporter.total = total
        self._want_digests(response)
        if self._settings.segments > 1 and self._may_split(response, verdict):
            return self._in_segments(response, verdict.end)
        length = None if verdict.end is None else verdict.end - part.offset
        self._pour(response, verdict.skip, length)
        if total is None:
            # Nobody said where it ends. If it was the answer to a range, its end can still be asked for.
            return verdict.kind == "whole" and self._is_expected(), "the answer ended early"
        return part.offset == total, f"the answer ended after {part.offset} of {total} bytes"

    def _pour(self, response: Response, skip: int, length: int | None) -> None:
        part, digester, reporter = self.part, self._digester, self._reporter
        assert part is not None
        check = ContentCheck(response.headers, whole=not skip)
        total, expected = part.version.total, self._settings.expected_size

        def write(data: bytes | memoryview) -> None:
            at = part.offset
            if total is not None and at + len(data) > total:
                self._restart()
                raise Failed(RemoteProtocolError(f"the answer goes on after the {total} bytes of the file"))
            if expected is not None and at + len(data) > expected:
                part.discard()
                raise SizeMismatch(f"the file has more than {expected} bytes, which were expected")
            part.write(data)
            digester.update(data, at)
            check.update(data)
            reporter.tick(part.offset)

        self._flow.pour(response.body, write, skip=skip, length=length)
        if check.fails():
            self._restart()
            raise Failed(RemoteProtocolError("the content is not what its Content-Digest says"))

    def _restart(self) -> None:
        """Throw away what is there, since it is wrong."""
        part = self.part
        assert part is not None
        if not part.is_provisional:  # else it is fallen back from in the end
            part.begin(Representation())
            self._restarted()

    def _restarted(self) -> None:
        self._restarts += 1
        self._resumed_from = 0
        self._digester.restart(self._user_digest)
        self._reporter.total = None
        self._reporter.restarted()

    def _fall_back(self) -> None:
        """An answer that nothing vouched for did not become a whole file: go on with what was there before it."""
        part = self.part
        if part is None or not part.fall_back():
            return
        self._resumed_from = self._found
        self._digester.restart(self._user_digest)
        self._reporter.total = part.version.total
        self._reporter.restarted(part.kept)

    def _count_change(self) -> None:
        """The file on the server is another one than the one that was begun."""
        self._changes += 1
        if self._changes > _MAX_CHANGES:
            raise SourceChanged(f"the file on the server changed {self._changes} times while it was fetched")

    # -- segments

    def _may_split(self, response: Response, verdict: Verdict) -> bool:
        part = self.part
        assert part is not None
        total = part.version.total
        if total is None or part.version.validator is None or not self._ranges or not verdict.ranges:
            return False
        ranges = response.status == 206 or response.headers.get("accept-ranges", "").strip().lower() == "bytes"
        return ranges and verdict.skip == 0 and total - part.offset >= 2 * MIN_SEGMENT_SIZE

    def _in_segments(self, response: Response | None, end: int | None = None) -> tuple[bool, str]:
        part = self.part
        assert part is not None
        first = None if response is None else Piece(response, end)
        crew = Segments(self._ask, self._settings, self._effort.deadline, part, first, self._interrupt)
        try:
            crew.run(self._settings.segments, self._reporter)
        finally:
            self._requests += crew.requests
        if crew.verdict is not None:
            # Ranges do not work after all, or the file changed, or who answered knows nothing of it. The whole file is
            # asked for, and what comes then says which; until then, what is here stays.
            unproven = crew.verdict.kind == "whole" and crew.verdict.version.validator is None
            if not crew.verdict.changed and not unproven:
                self._ranges = False
            self._asks_range = False
            return False, crew.verdict.reason or "the whole file came for a part of it"
        part.gaps = None
        part.offset = part.version.total or 0
        return True, ""

    # -- the target

    def _claim(self, target: str) -> None:
        """Get the part file, and find what an earlier call has left."""
        if self._is_folder:
            check_target(target, self._settings.overwrite)
        self.part = part = PartFile(target, self._address, resume=self._settings.resume)
        self._resumed_from = self._found = part.kept
        expected = self._settings.expected_size
        if part.kept and expected is not None and part.version.total not in (None, expected):
            part.begin(Representation())
            self._resumed_from = self._found = 0
        if self._is_folder:
            self._reporter.begin(part.kept, part.version.total)
        else:
            self._highest = part.kept

    def _check_size(self, total: int | None) -> None:
        expected = self._settings.expected_size
        if expected is not None and total is not None and total != expected:
            raise SizeMismatch(f"the server says that the file has {total} bytes, expected {expected}")

    def _is_expected(self) -> bool:
        expected = self._settings.expected_size
        return expected is None or self._kept >= expected

    @property
    def _user_digest(self) -> dict[str, str]:
        return dict([self._settings.digest]) if self._settings.digest else {}

    def _want_digests(self, response: Response) -> None:
        """Check what the server says of the whole file; of a compressed answer it would not be the file as written."""
        headers = response.headers
        coding = headers.get("content-encoding", "").strip().lower()
        self._decoded = "" if coding == "identity" else coding
        if self._decoded:
            return
        self._digester.want(parse_digest_field(headers.get("repr-digest")))

    def _finish(self, began: float) -> DownloadResult:
        part = self.part
        assert part is not None
        if not part.begun:  # an empty file, of which no byte made the part file
            part.begin(Representation())
        size, expected = part.offset, self._settings.expected_size
        if expected is not None and size != expected:
            part.discard()
            raise SizeMismatch(f"the file has {size} bytes, expected {expected}")
        shown = None
        wanted = self._digester.wanted
        if wanted:
            with part.reader() as file:
                found = self._digester.finish(file, size)
            for name, digits in wanted.items():
                if found[name] != digits:
                    part.discard()
                    text = f"the {name} digest of the file is {found[name]}, expected {digits}"
                    if self._decoded:
                        text += f"; the server sent it under Content-Encoding {self._decoded!r:.40}, which was undone"
                    raise DigestMismatch(text)
            shown = "{}:{}".format(*(self._settings.digest or next(iter(wanted.items()))))
        version = part.version
        part.finish(overwrite=self._settings.overwrite)
        return DownloadResult(
            path=part.target,
            bytes=size,
            total=version.total,
            resumed_from=self._resumed_from,
            restarts=self._restarts,
            attempts=self._requests,
            etag=version.etag,
            digest=shown,
            verified=bool(wanted),
            elapsed=self._clock() - began,
        )
