"""A file on a server, read in stretches of bytes that mend themselves.

What :mod:`.open_url` and :mod:`.lines` share. A *stretch* goes from one offset up to another one, or to the end. When
its connection breaks, the rest is asked for again, and only what surely belongs to the same version of the file is
given on (RFC 9110, sections 13.1.5 and 14):

- ``Content-Range`` of each partial answer is checked against what was asked for, and against what is known.
- The validators of each answer are compared with those of the first one, and ``If-Range`` is sent if they are strong.
- A whole answer in place of a partial one is used from the right offset on if a strong validator says that it is the
  same file, and refused if not.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .._headers import check_header
from ..exceptions import (
    ClientClosed,
    ConnectionLost,
    HTTPStatusError,
    LocalProtocolError,
    RangesNotSupported,
    RemoteProtocolError,
    SourceChanged,
    StreamHTTPError,
    TransferInterrupted,
    TransferTimeout,
    TransportError,
)
from ..net.body import CHUNK_SIZE, Body, Response
from ..net.http import AuthLike
from ..net.retry import RetryPolicy
from ..net.target import check_url
from ..net.timeouts import Deadline, Timeout
from ..progress import OnProgress
from .flow import Effort, Failed, final_error, is_hopeless, make_effort, open_http, refusal
from .pace import Reporter
from .ranges import Representation, parse_content_range, represented

if TYPE_CHECKING:
    import requests

__all__ = ["Source"]


class Source:
    """One file, of which one stretch is read at a time. For one thread; any thread may call :meth:`close`.

    Args:
        url: Asked anew for each stretch, whatever redirects there were: an address that a redirect gave may expire.
        timeout: ``read`` is the longest silence, ``total`` what :meth:`begin` starts.
        whole_first: Whether the first request shall have no Range field.

    Attributes:
        at: Offset of the next byte of the present stretch.
        size: Of the file, once an answer has told it.
        version: What the first answer said of the version; None before it.
        ranges: False once the server has shown that it serves no ranges of this file; None before it was asked.
    """

    def __init__(
        self,
        url: str,
        *,
        http: requests.Session | None,
        headers: Mapping[str, str] | None,
        auth: AuthLike,
        timeout: Timeout,
        retry: RetryPolicy | None,
        on_progress: OnProgress | None,
        whole_first: bool = False,
    ) -> None:
        self.name = check_url(url).partition("?")[0]
        for name, value in (headers or {}).items():
            check_header(name, value)
            if name.lower() in ("range", "if-range", "accept-encoding"):
                raise LocalProtocolError(f"header {name!r} is set by the reading itself")
        self._url = url
        self._timeout = timeout
        self._effort = make_effort(timeout, retry)
        self._http = open_http(http, headers, auth)
        self._reporter = Reporter(on_progress)
        self._whole_first = whole_first
        self.at = 0
        self.size: int | None = None
        self.version: Representation | None = None
        self.ranges: bool | None = None
        self.received = 0
        self._end: int | None = None  # of the stretch; None: of the file
        self._body: Body | None = None
        self._answer_end: int | None = None  # of the present answer; None if it does not say
        self._body_end: int | None = None  # up to where it is wanted
        self._skip = 0  # bytes of the present answer that come before the stretch
        # Held while the network is used: whoever finds it free may close the body. Nobody waits for it.
        self._in_use = threading.Lock()
        self._closed = False

    # Reading.

    def begin(self) -> None:
        """An operation of the caller's begins: so does its total deadline."""
        self._effort.deadline = Deadline(self._timeout.total)

    def open(self, start: int, end: int | None) -> None:
        """Begin a stretch, and leave the present one.

        Raises:
            TransferError: As :meth:`read`.
        """
        self._drop()
        self.at, self._end = start, end
        # Each stretch has the whole number of attempts.
        deadline, old = self._effort.deadline, self._effort
        self._effort = Effort(self._timeout, old.policy, old.interrupt)
        self._effort.deadline = deadline
        self._connect()

    @property
    def is_open(self) -> bool:
        """Whether there is more of the present stretch."""
        return self._body is not None

    def read(self) -> bytes:
        """The next bytes of the stretch, as soon as there are any; ``b""`` at its end.

        Raises:
            SourceChanged: The file is another one now.
            TransferInterrupted: The network failed, after all attempts, or there is no safe way to go on.
            TransferTimeout: The deadline of the operation passed.
            TransferRefused: The server answered with an error status.
            RemoteProtocolError: The answer contradicts what was asked for.
            ClientClosed: It was closed.
        """
        effort = self._effort
        silence = self._timeout.read
        while True:
            if self._end is not None and self.at >= self._end:
                self._finish()
                return b""
            body = self._body
            if body is None:
                self._connect()
                body = self._body
                if body is None:
                    return b""
            try:
                with self._in_use:
                    self._check_open()
                    data = body.read1(CHUNK_SIZE, timeout=effort.deadline.within(silence))
                self._check_open()
            except (TransportError, RemoteProtocolError) as error:
                self._drop()
                self._again(Failed(error))
                continue
            except BaseException:  # Ctrl-C too: what was being read is lost, and would be missing
                self._drop()
                raise
            if not data:
                if self._body_end is None or self.at >= self._body_end:
                    if self._body_end is None or self.at == self.size:
                        self._end = self.at  # the end of the file, known or not
                    self._finish()
                    continue  # or the server gave less than it was asked for, as it may
                self._drop()
                self._again(Failed(ConnectionLost(f"the answer ended at byte {self.at}, expected {self._body_end}")))
                continue
            if self._skip:
                dropped = min(self._skip, len(data))
                self._skip -= dropped
                data = data[dropped:]
            if self._body_end is not None and len(data) > self._body_end - self.at:
                data = data[: self._body_end - self.at]  # more than it said; the end above closes the answer
            if data:
                effort.progressed()
                try:
                    self._reporter.tick(self.received + len(data))
                except BaseException:
                    self._drop()  # this piece did not get through: ask for it again if reading goes on
                    raise
                self.at += len(data)
                self.received += len(data)
                return data

    # Asking.

    def _connect(self) -> None:
        """Ask for what is left of the stretch, as often as it takes."""
        while True:
            self._reporter.attempt = self._effort.attempts
            try:
                with self._in_use:
                    self._check_open()
                    self._ask()
                self._check_open()
                break
            except Failed as failed:
                self._again(failed)
            except HTTPStatusError as error:
                raise self._final(error) from error
            except BaseException:
                self._drop()
                raise
        try:
            self._reporter.begin(0, self.size)  # the first time only
        except BaseException:
            self._drop()
            raise

    def _ask(self) -> None:
        """Make one request and make its answer the present one."""
        known = self.version
        headers = {"accept-encoding": "identity"}
        if known is None:
            partial = not self._whole_first or self.at > 0
        else:
            partial = self.ranges is not False
        if partial:
            headers["range"] = f"bytes={self.at}-{'' if self._end is None else self._end - 1}"
            if known is not None and known.validator is not None:
                headers["if-range"] = known.validator
        effort = self._effort
        try:
            response = self._http.send(
                "GET",
                self._url,
                headers,
                timeout=self._timeout,
                deadline=effort.deadline,
                interrupt=effort.interrupt,
            )
        except TransportError as error:
            raise Failed(error) from error
        try:
            if response.status == 206 and partial:
                self._take_partial(response)
            elif response.status in (200, 203):
                self._take_whole(response, partial)
            elif response.status == 416 and partial:
                self._take_none(response)
            else:
                raise refusal(response, "GET", effort.deadline)
        except BaseException:
            response.body.abandon()
            raise

    def _take_partial(self, response: Response) -> None:
        """A 206: its Content-Range says where it belongs."""
        headers = response.headers
        if headers.get("content-type", "").lower().startswith("multipart/byteranges"):
            raise RemoteProtocolError("the partial answer has several parts, expected one")
        place = parse_content_range(headers.get("content-range"))
        if place is None or place.start is None or place.end is None:
            raise RemoteProtocolError(f"expected a usable content range, got {headers.get('content-range')!r:.80}")
        if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise RangesNotSupported("the server compresses partial answers, so offsets in the file mean nothing")
        if not place.start <= self.at < place.end:
            raise RemoteProtocolError(
                f"expected bytes from {self.at} on, got a content range of {place.start} to {place.end - 1}"
            )
        length = headers.get("content-length")
        if length is not None and "transfer-encoding" not in headers and length != str(place.end - place.start):
            raise RemoteProtocolError(
                f"expected {place.end - place.start} bytes by the content range, got a content length of {length!r:.40}"
            )
        version, known = represented(headers, place.total), self.version
        if known is not None and known.etag is not None and version.etag is None and (self.at or self.received):
            raise RemoteProtocolError(f"expected the entity tag {known.etag!r:.60} in the partial answer, got none")
        self._compare(version)
        self.ranges = True
        self._skip = self.at - place.start
        self._answer_end = place.end
        self._body_end = place.end if self._end is None else min(place.end, self._end)
        self._body = response.body

    def _take_whole(self, response: Response, partial: bool) -> None:
        """A 200: all of the file, whatever was asked for."""
        headers = response.headers
        coded = headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")
        length = headers.get("content-length") if "transfer-encoding" not in headers and not coded else None
        # Of a compressed answer neither the length nor the validators are those of what is read.
        total = int(length) if length is not None and length.isascii() and length.isdigit() else None
        version = Representation() if coded else represented(headers, total)
        known = self.version
        self._compare(version)
        proven = known is not None and known.confirmed_by(version)
        vouched = known is not None and known.validator is not None and self.received > 0
        if not proven and (self.at or vouched):
            raise self._interrupted("it sent the whole file in place of the rest, and nothing proves it is the same")
        if partial or coded or headers.get("accept-ranges", "").strip().lower() == "none":
            self.ranges = False
        self._skip = self.at
        self._answer_end = self._body_end = self.size if not coded else None
        if self._end is not None and self._body_end is not None:
            self._body_end = min(self._body_end, self._end)
        self._body = response.body

    def _take_none(self, response: Response) -> None:
        """A 416: there is nothing from there on."""
        place = parse_content_range(response.headers.get("content-range"))
        total = place.total if place is not None else None
        self._compare(represented(response.headers, total))
        if total is None or self.at < total:
            raise RemoteProtocolError(f"the server has no bytes from {self.at} on, in a file of {total or '?'} bytes")
        self.ranges = True
        self.size = self._body_end = total
        self._end = self.at
        response.body.close()
        self._body = None

    def _compare(self, version: Representation) -> None:
        """Remember what the first answer said of the file; refuse what later ones say otherwise.

        Entity tags are compared weakly here: what is a weak tag's fault would be refused with each second request
        otherwise, and equal ones are the server's word that nothing of meaning has changed. A whole answer in place of
        a partial one needs a strong tag.
        """
        known = self.version
        if known is None or (self.at == 0 and self.received == 0):
            self.version, self.size = version, version.total
            return
        for what, before, now in (
            ("size", self.size, version.total),
            ("entity tag", _opaque(known.etag), _opaque(version.etag)),
            ("date", known.last_modified, version.last_modified),
        ):
            if before is not None and now is not None and before != now:
                message = f"the file is another one now: its {what} was {before}, and is {now}"
                raise SourceChanged(message, attempts=self._effort.attempts)
        if self.size is None:
            self.size = version.total
        if known.etag is None and known.last_modified is None:
            # Caches are known to leave validators out of some answers. From now on they count.
            self.version = version

    # Trying again.

    def _again(self, failed: Failed) -> None:
        """Wait before another attempt, or raise why there is none."""
        if self.received and self._must_not_repeat() and not self._effort.deadline.expired:
            raise self._interrupted(str(failed.error)) from failed.error
        if is_hopeless(failed.error) or not self._effort.again(failed.floor):
            raise self._final(failed.error) from failed.error

    def _must_not_repeat(self) -> bool:
        """Whether an answer to a new request could not be told from the one of another version of the file."""
        version = self.version
        if self.ranges:  # each further stretch is checked as this one was
            return False
        return self.at > 0 and (version is None or version.validator is None)

    def _interrupted(self, reason: str) -> TransferInterrupted:
        return TransferInterrupted(
            f"the server gives no safe way to go on at byte {self.at}: {reason}",
            bytes_kept=self.at,
            attempts=self._effort.attempts,
        )

    def _final(self, error: StreamHTTPError) -> StreamHTTPError:
        attempts = self._effort.attempts
        resumable = not (self.received and self._must_not_repeat())
        if isinstance(error, HTTPStatusError):
            return final_error(error, expired=False, kept=self.at, resumable=False, attempts=attempts)
        if self._effort.deadline.expired:
            seconds = self._effort.deadline.seconds
            message = f"not done within {seconds:g} s, at byte {self.at}"
            return TransferTimeout(message, bytes_kept=self.at, resumable=resumable, attempts=attempts)
        message = f"gave up at byte {self.at} in attempt {attempts}: {error}"
        return TransferInterrupted(message, bytes_kept=self.at, resumable=resumable, attempts=attempts)

    # The end.

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed("the file was closed while it was read")

    def _finish(self) -> None:
        """The present answer was read as far as it is wanted."""
        body, self._body = self._body, None
        if body is None:
            return
        if self._answer_end is None or self.at >= self._answer_end:
            body.close()
        else:
            body.abandon()

    def _drop(self) -> None:
        """Leave the present answer, unless another thread is reading it: that one does so as soon as it wakes."""
        if self._in_use.acquire(blocking=False):
            try:
                body, self._body = self._body, None
                if body is not None:
                    body.abandon()
            finally:
                self._in_use.release()

    def done(self) -> None:
        """Report that all is read."""
        self._reporter.finish(self.received)

    def close(self) -> None:
        """Wake and end whoever reads, and let go of the connection. Any thread, more than once too."""
        self._closed = True
        self._effort.interrupt.fire()
        self._drop()
        self._http.close()


def _opaque(etag: str | None) -> str | None:
    return None if etag is None else etag.removeprefix("W/")
