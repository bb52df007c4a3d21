"""How often to try again, and how long to wait before it."""

from __future__ import annotations

import time
from collections.abc import Mapping

from .._headers import parse_date
from .._record import Record
from ..exceptions import ClientClosed, LocalProtocolError
from .interrupt import Interrupt
from .timeouts import Deadline, Timeout

__all__ = ["Backoff", "Effort", "RetryPolicy", "parse_retry_after"]


class RetryPolicy(Record):
    """When a broken connection is not worth another attempt, and how long to wait before one.

    What is repeated at all is not decided here: only what surely did not run on the server, or may run twice.

    Attributes:
        attempts: Tries in a row that bring nothing new. Whatever brings new data starts the count again, so a call
            or transfer over a link that breaks every minute still ends. 1 turns retrying off.
        base: Seconds of the first wait, at most; each further one may be twice as long. A wait is drawn at random
            between nothing and that ("full jitter"), so that many clients do not come back in step. 0 never waits.
        maximum: Seconds that no wait of our own exceeds.
        max_server_wait: Seconds up to which the server's own word (``retry`` of an event stream, ``Retry-After``) is
            obeyed. It is a floor: we never come back earlier. One that asks for more ends the attempts.
    """

    attempts: int = 8
    base: float = 0.25
    maximum: float = 15.0
    max_server_wait: float = 120.0

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise LocalProtocolError(f"retry 'attempts' must be an integer of at least 1, got {self.attempts!r}")
        for name in ("base", "maximum", "max_server_wait"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
                raise LocalProtocolError(f"retry {name!r} must be a number of seconds of at least 0, got {value!r}")


class Backoff:
    """One operation's attempts under a policy. Made when the first attempt has failed, since most never do."""

    def __init__(self, policy: RetryPolicy, deadline: Deadline, interrupt: Interrupt) -> None:
        # Here and not above: tenacity takes longer to import than all of this package, and most calls succeed.
        import tenacity

        self._policy = policy
        self._deadline = deadline
        self._interrupt = interrupt
        self._wait = tenacity.wait_random_exponential(multiplier=policy.base, max=policy.maximum)
        self._stop = tenacity.stop_after_attempt(policy.attempts)
        self._retrying = tenacity.Retrying(stop=self._stop, wait=self._wait, sleep=interrupt.sleep)
        self._state = tenacity.RetryCallState(self._retrying, None, (), {})
        self.attempts = 1
        """All tries so far, those with progress too."""

    def progressed(self) -> None:
        """The last attempt brought something new: count from the beginning."""
        self._state.attempt_number = 0

    def again(self, floor: float = 0.0) -> bool:
        """Wait before the next attempt; False if there must be none.

        Args:
            floor: Seconds that the server asked to wait.

        Raises:
            ClientClosed: The interrupt was fired.
        """
        state = self._state
        self._check_interrupt()
        if self._policy.attempts == 1 or floor > self._policy.max_server_wait:
            return False
        if state.attempt_number == 0:  # after progress the first wait is the server's alone
            state.attempt_number, seconds = 1, floor
        else:
            if self._stop(state):
                return False
            seconds = max(floor, self._wait(state))
            state.attempt_number += 1
        left = self._deadline.remaining()
        if left is not None and seconds >= left:
            return False
        self.attempts += 1
        if seconds > 0:
            self._retrying.sleep(seconds)
        self._check_interrupt()
        return True

    def _check_interrupt(self) -> None:
        if self._interrupt.fired:
            raise ClientClosed("closed while waiting for the next attempt")


def parse_retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that an answer asks to wait; 0.0 if it says nothing or nothing sensible (RFC 9110, section 10.2.3)."""
    value = headers.get("retry-after")
    if value is None:
        return 0.0
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value) if len(value) <= 9 else 1e9
    when = parse_date(value)
    return 0.0 if when is None else max(0.0, when - time.time())


class Effort:
    """How long and how often one operation may try: its limits, its interrupt, its attempts so far.

    Made for each call and handed down with it, so that reconnecting a stream, repeating a request and renewing a
    session all draw on one budget. One thread uses it; others only fire its interrupt.
    """

    __slots__ = ("_backoff", "_begun", "_progressed", "deadline", "interrupt", "policy", "registered", "timeout")

    def __init__(self, timeout: Timeout, policy: RetryPolicy, interrupt: Interrupt | None = None) -> None:
        self.timeout = timeout
        self.policy = policy
        self.deadline = Deadline(timeout.total)
        self.interrupt = interrupt or Interrupt()
        self.registered = 0  # how often it was handed to whoever wakes all work
        self._backoff: Backoff | None = None
        self._progressed = False
        self._begun = False

    def begin(self) -> Effort:
        """Start the clock, once: an effort is made before its work begins. Gives the effort itself."""
        if not self._begun:
            self._begun = True
            self.deadline = Deadline(self.timeout.total)
        return self

    def part(self) -> Effort:
        """For one of several requests within this: the same deadline and interrupt, attempts of its own."""
        part = Effort(self.timeout, self.policy, self.interrupt)
        part.deadline, part._begun = self.begin().deadline, True
        return part

    @property
    def attempts(self) -> int:
        """Tries so far, the present one included."""
        return 1 if self._backoff is None else self._backoff.attempts

    def remaining(self) -> float | None:
        """Seconds that the next read may take."""
        return self.deadline.within(self.timeout.read)

    def progressed(self) -> None:
        """Something new arrived."""
        self._progressed = True
        if self._backoff is not None:
            self._backoff.progressed()

    def again(self, floor: float = 0.0) -> bool:
        """Wait before another attempt; False if there must be none. See :meth:`Backoff.again`."""
        if self._backoff is None:
            self._backoff = Backoff(self.policy, self.deadline, self.interrupt)
            if self._progressed:
                self._backoff.progressed()
        return self._backoff.again(floor)
