"""When an event source is asked again, and when it is given up."""

from __future__ import annotations

import random
from collections.abc import Callable

from ..exceptions import CallTimeout, ClientClosed, ConnectionLost, LocalProtocolError, StreamHTTPError, TransportError
from ..net.interrupt import Interrupt
from ..net.retry import Backoff, RetryPolicy
from ..net.timeouts import Deadline

__all__ = ["CleanEnd", "Reconnecting"]

# Waits of 1, 2, 4, 8, 16, 30, 30 … s, half of that on average: a feed outlives a server's restart of a minute
# or two.
_RETRY = RetryPolicy(attempts=10, base=1.0, maximum=30.0)
# Before reconnecting to a server that named no time. "An implementation-defined value, probably in the region
# of a few seconds" (HTML, 9.2.2), since millions of browsers come back at once. We are few, and want to miss
# little; yet a server that sends one event and closes must not be asked more than once a second.
_RECONNECTION_TIME = 1.0
# What a server can ask for is no less than this: one that says 0 and sends an event with each connection would else be
# asked a thousand times a second.
_LEAST_RECONNECTION_TIME = 0.05
# A wait that the server asks for is made longer by up to this share, so that its clients do not all come back
# at once.
_JITTER = 0.25


class CleanEnd(ConnectionLost):
    """The server ended the stream in the way that its framing provides for; or so it seems, without any framing."""


class Reconnecting:
    """The budget of attempts and the waits between them, over all connections of one source. For one thread.

    Args:
        total: Seconds for everything, or None.
        policy: None for the usual one.
        interrupt: Ends a wait.

    Attributes:
        is_off: Whether there is one attempt only.
    """

    def __init__(self, total: float | None, policy: RetryPolicy | None, interrupt: Interrupt) -> None:
        if policy is not None and not isinstance(policy, RetryPolicy):
            raise LocalProtocolError(f"retry must be a RetryPolicy or None, got {type(policy).__name__}")
        self._total = total
        self._policy = _RETRY if policy is None else policy
        self._interrupt = interrupt
        self._deadline: Deadline | None = None
        self._backoff: Backoff | None = None
        self._fruitless = 0  # attempts in a row without progress
        self.is_off = self._policy.attempts == 1

    def begin(self) -> Deadline:
        """The deadline, which begins with the first attempt."""
        if self._deadline is None:
            self._deadline = Deadline(self._total)
        return self._deadline

    def progressed(self) -> None:
        """The last connection brought something."""
        self._fruitless = 0
        if self._backoff is not None:
            self._backoff.progressed()

    def failed(self) -> None:
        """The last attempt brought nothing."""
        self._fruitless += 1

    def wait(
        self,
        failure: StreamHTTPError,
        floor: float,
        retry_ms: int | None,
        announce: Callable[[StreamHTTPError], object] | None,
    ) -> StreamHTTPError | None:
        """Wait before the next attempt; the error to raise if there must be none. Returns early if interrupted.

        Args:
            failure: Why there must be another one.
            floor: Seconds that the last answer asked to wait.
            retry_ms: What the stream asked for.
            announce: Told of the failure if there will be another attempt.
        """
        policy, deadline = self._policy, self.begin()
        if retry_ms is not None:
            floor = max(floor, retry_ms / 1000)
        longest = policy.max_server_wait
        too_long = floor if floor > longest else None
        if policy.base > 0:  # our own: it is no more than what would be obeyed, and no reason to give up
            floor = max(floor, _RECONNECTION_TIME if retry_ms is None else _LEAST_RECONNECTION_TIME)
        if too_long is None:
            floor = min(floor * (1 + _JITTER * random.random()), longest)
        if self._backoff is None:
            self._backoff = Backoff(policy, deadline, self._interrupt)
            if not self._fruitless:
                self._backoff.progressed()
        hopeless = too_long is not None or self._fruitless >= policy.attempts or deadline.expired
        if not hopeless and announce is not None and not self.is_off:
            announce(failure)
        try:
            if self._interrupt.fired or not hopeless and self._backoff.again(floor):
                return None
        except ClientClosed:
            return None  # while waiting
        return self._give_up(failure, too_long, deadline)

    def _give_up(self, failure: StreamHTTPError, too_long: float | None, deadline: Deadline) -> StreamHTTPError:
        """The error that ends the iteration. Iterating again begins with a new budget."""
        attempts = self._fruitless
        self._backoff, self._fruitless, self._deadline = None, 0, None
        if too_long is None and attempts < self._policy.attempts and not self.is_off:
            error = CallTimeout(f"the event source was not done within {deadline.seconds:g} s")
            error.__cause__ = failure
            return error
        if isinstance(failure, TransportError):
            if too_long is not None:
                longest = self._policy.max_server_wait
                failure.args = (f"{failure}; the server asks to wait {too_long:g} s, more than {longest:g} s",)
            elif attempts > 1:
                failure.args = (f"{failure}; no progress in {attempts} attempts",)
        return failure
