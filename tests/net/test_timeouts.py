"""Limits in seconds, and deadlines, with the clock in the test's hand."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from streamhttp_client import LocalProtocolError, Timeout
from streamhttp_client.net.timeouts import Deadline


class Clock:
    """Stands until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_everything_has_a_limit_by_default() -> None:
    """L25-07, K-06: a maximum holds for every call unless the caller lifts it; silence alone is allowed."""
    assert Timeout() == Timeout(connect=10.0, read=None, total=300.0)


@pytest.mark.parametrize("name", ["connect", "read", "total"])
@pytest.mark.parametrize("value", [0, 0.0, -1, -0.5, float("nan"), True, False, "5", b"5", (1, 2), [], 1j])
def test_limits_that_cannot_be(name: str, value: Any) -> None:
    """A limit is a number of seconds above 0, or None; the error names which one it was."""
    with pytest.raises(LocalProtocolError, match=f"timeout '{name}'"):
        Timeout(**{name: value})


@pytest.mark.parametrize("value", [0, -1, True, "5", (3, 5), [], {}, float("nan")])
def test_what_is_no_timeout(value: Any) -> None:
    """What is given as ``timeout=`` is checked where it is given."""
    with pytest.raises(LocalProtocolError, match="timeout"):
        Timeout.of(value, Timeout())


def test_what_a_timeout_may_be() -> None:
    """A number is the total, a Timeout is all of it, None is the default; infinity is a number too."""
    default = Timeout(1, 2, 3)
    assert Timeout.of(None, default) is default
    assert Timeout.of(7, default) == Timeout(1, 2, 7)
    assert Timeout.of(0.5, default) == Timeout(1, 2, 0.5)
    other = Timeout(total=None)
    assert Timeout.of(other, default) is other


def test_a_timeout_is_a_value() -> None:
    """It is frozen, and pickles with the client's options."""
    timeout = Timeout(1, 2, 3)
    with pytest.raises(AttributeError):
        timeout.total = 9  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(timeout)) == timeout


def test_a_deadline_runs_down() -> None:
    """What is left gets less and never negative."""
    clock = Clock()
    deadline = Deadline(10, clock)
    assert (deadline.remaining(), deadline.expired) == (10.0, False)
    clock.now += 4
    assert (deadline.remaining(), deadline.expired) == (6.0, False)
    clock.now += 6
    assert (deadline.remaining(), deadline.expired) == (0.0, True)
    clock.now += 100
    assert (deadline.remaining(), deadline.expired) == (0.0, True)


def test_a_deadline_that_never_comes() -> None:
    """None is no limit."""
    clock = Clock()
    deadline = Deadline(None, clock)
    clock.now += 1e9
    assert (deadline.remaining(), deadline.expired, deadline.within(None), deadline.within(5)) == (None, False, None, 5)


def test_the_smaller_limit_counts() -> None:
    """A read may take what is left of the call, and no more than its own limit."""
    clock = Clock()
    deadline = Deadline(10, clock)
    assert (deadline.within(None), deadline.within(3), deadline.within(30)) == (10.0, 3, 10.0)
    clock.now += 8
    assert deadline.within(3) == 2.0
    clock.now += 8
    assert deadline.within(3) == 0.0
