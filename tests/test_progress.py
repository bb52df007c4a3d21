"""Progress: its numbers, with the clock in the test's hand."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamhttp_client.display import describe
from streamhttp_client.progress import Progress, ProgressMeter


class Clock:
    """Stands until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_first_point_has_no_rate() -> None:
    """A rate needs two points; without it there is no time left either."""
    event = ProgressMeter(Clock()).update(5, 10, "begun")
    assert event == Progress(5, 10, "begun", rate=None, eta=None, attempt=1, state="running")


def test_rate_and_time_left() -> None:
    """Two points give units a second; what is left, divided by it, is the time left."""
    clock = Clock()
    meter = ProgressMeter(clock)
    meter.update(0, 100)
    clock.now += 2
    event = meter.update(20, 100)
    assert (event.rate, event.eta) == (10.0, 8.0)


def test_the_rate_is_smoothed() -> None:
    """A sudden change moves the rate towards the new one and not onto it."""
    clock = Clock()
    meter = ProgressMeter(clock)
    meter.update(0)
    clock.now += 1
    assert meter.update(10).rate == 10.0
    clock.now += 1
    after = meter.update(110).rate
    assert after is not None and 10.0 < after < 100.0
    clock.now += 60  # longer than it smooths over: only the new rate counts
    assert meter.update(110 + 60 * 7).rate == pytest.approx(7.0)


def test_two_points_at_the_same_moment() -> None:
    """No time has passed: the rate stays, and nothing is divided by zero."""
    meter = ProgressMeter(Clock())
    meter.update(0, 10)
    event = meter.update(5, 10)
    assert (event.progress, event.rate, event.eta) == (5, None, None)


def test_progress_that_goes_back() -> None:
    """P-02: a peer that goes back breaks the rule: its number is reported, and the rate does not turn negative."""
    clock = Clock()
    meter = ProgressMeter(clock)
    meter.update(0, 10)
    clock.now += 1
    meter.update(5, 10)
    clock.now += 1
    event = meter.update(3, 10)
    assert event.progress == 3
    assert event.rate == 5.0


def test_a_restart_begins_anew() -> None:
    """After a restart nothing of the old rate counts."""
    clock = Clock()
    meter = ProgressMeter(clock)
    meter.update(0, 10)
    clock.now += 1
    meter.update(8, 10)
    clock.now += 1
    event = meter.update(0, 10, state="restarted", attempt=2)
    assert (event.rate, event.eta, event.state, event.attempt) == (None, None, "restarted", 2)
    clock.now += 1
    assert meter.update(2, 10).rate == 2.0


@pytest.mark.parametrize("total", [None, 3])
def test_no_time_left_without_a_total_ahead(total: int | None) -> None:
    """Without a total, or beyond it, there is no telling when it ends."""
    clock = Clock()
    meter = ProgressMeter(clock)
    meter.update(0, total)
    clock.now += 1
    assert meter.update(5, total).eta is None


@pytest.mark.parametrize(
    ("progress", "total", "fraction"),
    [(0, 10, 0.0), (5, 10, 0.5), (10, 10, 1.0), (12, 10, 1.0), (-1, 10, 0.0)]
    + [(1, None, None), (1, 0, None), (1, -4, None)],
)
def test_fraction(progress: float, total: float | None, fraction: float | None) -> None:
    """The share that is done lies between 0 and 1, or is not known."""
    assert Progress(progress, total).fraction == fraction


def test_progress_is_frozen_and_pickles() -> None:
    """An event may be kept, compared and sent to another process."""
    event = Progress(1, 2, "half")
    with pytest.raises(AttributeError):
        event.progress = 2  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(event)) == event


@given(st.lists(st.tuples(st.floats(0, 1e3), st.floats(-1e9, 1e9)), min_size=1))
def test_whatever_comes_the_numbers_are_sound(points: list[tuple[float, float]]) -> None:
    """Rates are finite and not negative, times left too, for any progress at any pace."""
    clock = Clock()
    meter = ProgressMeter(clock)
    for elapsed, progress in points:
        clock.now += elapsed
        event = meter.update(progress, 1e9)
        assert event.progress == progress
        assert event.rate is None or event.rate >= 0
        assert event.eta is None or event.eta >= 0
        assert event.rate is None or math.isfinite(event.rate)


WILD = st.one_of(st.integers(-(10**400), 10**400), st.floats(allow_nan=False), st.sampled_from([10**400, -(10**400)]))


@given(st.lists(st.tuples(st.floats(0, 1e3), WILD, st.none() | WILD), min_size=1))
def test_whatever_json_can_say(points: list[tuple[float, float, float | None]]) -> None:
    """No number of a server makes counting fail, nor its words: JSON has no largest one."""
    clock = Clock()
    meter = ProgressMeter(clock)
    for elapsed, progress, total in points:
        clock.now += elapsed
        event = meter.update(progress, total)
        numbers = (event.progress, event.total, event.rate, event.eta, event.fraction)
        assert all(number is None or math.isfinite(number) for number in numbers)
        assert len(describe(event)) < 120
