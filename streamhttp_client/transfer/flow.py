"""What downloads and uploads share: limits, the budget of attempts, and the errors that end a transfer."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..exceptions import (
    AuthenticationError,
    ConnectionLost,
    HTTPStatusError,
    LocalProtocolError,
    MessageTooLarge,
    ReadTimeout,
    RemoteProtocolError,
    StreamHTTPError,
    TooSlow,
    TransferError,
    TransferForbidden,
    TransferInterrupted,
    TransferRefused,
    TransferTimeout,
    TransportError,
)
from ..net import retry as retrying
from ..net.body import Body, Response
from ..net.errors import RefusedAnswer, causes_of
from ..net.http import HTTP, AuthLike
from ..net.interrupt import Interrupt
from ..net.refusals import is_temporary, status_error
from ..net.retry import RetryPolicy, parse_retry_after
from ..net.timeouts import Deadline, Timeout
from .pace import RateLimit, SpeedWatch

if TYPE_CHECKING:
    import requests

__all__ = [
    "BUFFER_SIZE",
    "Effort",
    "Failed",
    "Flow",
    "TransferHTTP",
    "final_error",
    "is_hopeless",
    "is_progress",
    "join",
    "make_effort",
    "open_http",
    "refusal",
    "surely_not_done",
    "unacceptable",
]

# Attempts begin at least so far apart: a peer that gives one byte, or one event, with each connection brings progress,
# and would else be asked a thousand times a second.
_SPACING = 0.05
# Linux gives several hundred KiB at once on a fast link; more brought nothing, and it counts in peak memory.
BUFFER_SIZE = 1 << 20
_JOIN_SECONDS = 5.0


class Failed(Exception):
    """One attempt failed and may be made again. Never leaves the package.

    Attributes:
        error: Why.
        floor: Seconds that the server asked to wait.
    """

    def __init__(self, error: StreamHTTPError, floor: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.floor = floor


class Slow(TransferError):
    """Below the least speed, once.

    Attributes:
        least: Bytes that the window of this speed has at the least.
    """

    least = 0.0


def is_progress(gained: int, error: StreamHTTPError) -> bool:
    """Whether a failed attempt brought so much that the count of attempts begins again.

    Any byte counts, so that a link that breaks all the time still finishes. But what is too slow brings some bytes each
    time: unless it has once been as fast as was asked for, it would never be given up.
    """
    return gained > 0 and not (isinstance(error, Slow) and gained < error.least)


class TransferHTTP(HTTP):
    """Takes an answer that makes no sense for a broken connection: mostly somebody on the way garbled it, once.

    The first of all that is clear, and not to be gone along with (a redirect to http, say), is the server's own.
    """

    _answered = False

    def send(self, method: str, url: str, headers: Mapping[str, str], body: Any = None, **how: Any) -> Response:
        """As :meth:`HTTP.send`, but that it raises only TransportError and LocalProtocolError."""
        try:
            response = super().send(method, url, headers, body, **how)
        except (RemoteProtocolError, MessageTooLarge) as error:
            settled = isinstance(error, RefusedAnswer) and not self._answered
            raise ConnectionLost(str(error), may_have_executed=True, permanent=settled) from error
        except TransportError as error:
            # A name that was known a moment ago will be again, when the network is back.
            error.permanent = error.permanent and not self._answered
            raise
        self._answered = True
        return response


def open_http(http: requests.Session | None, headers: Mapping[str, str] | None, auth: AuthLike) -> HTTP:
    """What sends the requests of one transfer."""
    if http is not None and not callable(getattr(http, "send", None)):
        raise LocalProtocolError(f"http must be a requests.Session or None, got {type(http).__name__}")
    return TransferHTTP(session=http, headers=headers, auth=auth)


class Effort(retrying.Effort):
    """The attempts of a transfer: they begin some time apart, unless the policy says not to wait at all."""

    __slots__ = ("_began",)

    def __init__(self, timeout: Timeout, policy: RetryPolicy, interrupt: Interrupt | None = None) -> None:
        super().__init__(timeout, policy, interrupt)
        self._began = time.monotonic()

    def again(self, floor: float = 0.0) -> bool:
        if not super().again(floor):
            return False
        self.pause()
        return True

    def pause(self) -> None:
        """Before a request that follows one that brought something."""
        seconds = self.deadline.within(self._too_early())
        if seconds:
            self.interrupt.sleep(seconds)
        self._began = time.monotonic()

    def _too_early(self) -> float:
        return max(0.0, self._began + _SPACING - time.monotonic()) if self.policy.base > 0 else 0.0


def make_effort(timeout: Timeout, retry: RetryPolicy | None, deadline: Deadline | None = None) -> Effort:
    """One budget of attempts; with a ``deadline``, one of several under the same."""
    if retry is not None and not isinstance(retry, RetryPolicy):
        raise LocalProtocolError(f"retry must be a RetryPolicy or None, got {type(retry).__name__}")
    effort = Effort(timeout, retry or RetryPolicy(), Interrupt())
    if deadline is not None:
        effort.deadline = deadline
    return effort


def refusal(response: Response, method: str, deadline: Deadline) -> StreamHTTPError:
    """The error for a status that is an error: :class:`Failed` if it may pass, else what to raise at once."""
    error = status_error(response, method, deadline)
    if is_temporary(response.status):
        raise Failed(error, parse_retry_after(response.headers))
    return error


def join(threads: Iterable[threading.Thread]) -> None:
    """Wait for threads that were told to end, all together no longer than 5 s; one may hang in a slow disk."""
    end = time.monotonic() + _JOIN_SECONDS
    for thread in threads:
        if thread.ident is not None:
            thread.join(max(0.0, end - time.monotonic()))


def unacceptable(text: str, response: Response) -> TransferError:
    """The error for an answer that is none to what was asked, whatever its status says."""
    url = response.url.partition("?")[0]
    error = HTTPStatusError(text, status=response.status, headers=response.headers, url=url)
    return final_error(error, expired=False, kept=0, resumable=False, attempts=1)


def surely_not_done(response: Response) -> bool:
    """Whether a status says that nothing was done, so that even what must not happen twice may be asked for again.

    429 is said before anything is done. 503 and 408 are also what a gateway says when the server behind it was cut off
    in the middle of its work; one that asks to come back later speaks of its load.
    """
    return response.status == 429 or (response.status == 503 and "retry-after" in response.headers)


def is_hopeless(error: BaseException) -> bool:
    """Whether another attempt would fail in the same way: a certificate does not become better by waiting."""
    if isinstance(error, TransportError) and error.permanent:
        return True
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes_of(error))


def final_error(error: StreamHTTPError, *, expired: bool, kept: int, resumable: bool, attempts: int) -> TransferError:
    """What is raised in the end for the last failure; the caller chains the failure itself."""
    facts: dict[str, Any] = {"bytes_kept": kept, "resumable": resumable, "attempts": attempts}
    if isinstance(error, HTTPStatusError):
        kind = TransferForbidden if isinstance(error, AuthenticationError) else TransferRefused
        return kind(str(error), status=error.status, headers=error.headers, body=error.body, url=error.url, **facts)
    if expired:
        return TransferTimeout(f"the deadline passed with {kept} bytes kept, in attempt {attempts}", **facts)
    if isinstance(error, Slow):
        return TooSlow(str(error), **facts)
    return TransferInterrupted(f"gave up in attempt {attempts} with {kept} bytes kept: {error}", **facts)


class Flow:
    """Reads bodies under one set of limits. For one thread.

    Args:
        effort: Its deadline and read timeout bound each wait.
        min_speed: ``(bytes a second, seconds)``, or None.
        rate_limit: Bytes a second, or None.
        buffer_size: Bytes taken at once, at most.
        clock: Injected by tests.
    """

    def __init__(
        self,
        effort: Effort,
        min_speed: tuple[float, float] | None,
        rate_limit: float | None,
        buffer_size: int = BUFFER_SIZE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._effort = effort
        self._min_speed = min_speed
        self._limit = None if rate_limit is None else RateLimit(rate_limit, self._sleep, clock)
        self._clock = clock
        self._buffer_size = buffer_size if self._limit is None else min(buffer_size, self._limit.piece)
        self._buffer: bytearray | None = None

    def _sleep(self, seconds: float) -> None:
        within = self._effort.deadline.within(seconds)
        self._effort.interrupt.sleep(seconds if within is None else within)

    def pour(
        self, body: Body, write: Callable[[bytes | memoryview], object], *, skip: int = 0, length: int | None = None
    ) -> None:
        """Read a body and hand on each piece as it arrives.

        Args:
            body: Closed on every way out.
            write: Given the pieces. A view is good until it returns.
            skip: Bytes at the beginning that are not handed on.
            length: Bytes after them to hand on; None for all.

        Raises:
            Failed: The body broke, was silent or too slow. All that arrived was handed on.
        """
        watch = SpeedWatch(self._min_speed)
        clock, limit, effort = self._clock, self._limit, self._effort
        buffer = self._buffer
        if buffer is None:
            buffer = self._buffer = bytearray(self._buffer_size)
        silence = effort.timeout.read
        if watch.window is not None:
            silence = watch.window if silence is None else min(silence, watch.window)
        complete = False
        try:
            while length != 0:
                began = clock()
                try:
                    data = body.read1_into(buffer, timeout=effort.deadline.within(silence))
                except ReadTimeout as error:
                    waited = clock() - began
                    if not effort.deadline.expired and watch.too_slow(waited, 0):
                        raise Failed(_slow(self._min_speed)) from error
                    raise Failed(error) from error
                except (ConnectionLost, RemoteProtocolError) as error:
                    raise Failed(error) from error
                waited = clock() - began
                size = len(data)
                if not size:
                    complete = True
                    return
                if skip:
                    dropped = min(skip, size)
                    skip -= dropped
                    data = data[dropped:]
                if length is not None:
                    data = data[:length]
                    length -= len(data)
                if data:
                    write(data)
                if limit is not None:
                    limit.passed(size)
                if watch.too_slow(waited, size):
                    raise Failed(_slow(self._min_speed))
                if effort.deadline.expired:
                    raise Failed(ReadTimeout("the deadline passed"))
        finally:
            # What is known to be whole may serve again; of all else, much more may come that nobody wants.
            if complete:
                body.close()
            else:
                body.abandon()


def _slow(setting: tuple[float, float] | None) -> Slow:
    assert setting is not None
    error = Slow(f"less than {setting[0]:g} bytes a second over {setting[1]:g} s")
    error.least = setting[0] * setting[1]
    return error
