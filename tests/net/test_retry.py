"""How often, and after how long: with neither clock nor sleep of their own."""

from __future__ import annotations

import email.utils
import pickle
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamhttp_client import ClientClosed, LocalProtocolError, RetryPolicy, Timeout
from streamhttp_client._headers import Headers
from streamhttp_client.net.interrupt import Interrupt
from streamhttp_client.net.retry import Effort, parse_retry_after


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits that were asked for; none is waited."""
    waits: list[float] = []
    monkeypatch.setattr(Interrupt, "sleep", lambda self, seconds: waits.append(seconds))
    return waits


def effort(total: float | None = None, **policy: Any) -> Effort:
    return Effort(Timeout(total=total), RetryPolicy(**policy))


def test_attempts_end(slept: list[float]) -> None:
    """So many tries in a row, the first one included."""
    tries = effort(attempts=4)
    assert tries.attempts == 1
    assert [tries.again() for _ in range(5)] == [True, True, True, False, False]
    assert tries.attempts == 4
    assert len(slept) == 3


def test_one_attempt_is_no_repetition(slept: list[float]) -> None:
    """``attempts=1`` turns retrying off, progress or not."""
    tries = effort(attempts=1)
    tries.progressed()
    assert not tries.again()
    assert slept == []


def test_waits_grow_at_random_to_a_limit(slept: list[float]) -> None:
    """Each wait lies between nothing and twice the limit of the one before, and never above the maximum."""
    for _ in range(50):
        tries = effort(attempts=9, base=0.5, maximum=4.0)
        while tries.again():
            pass
    rounds = [slept[at : at + 8] for at in range(0, len(slept), 8)]
    for bound, waits in zip([0.5, 1, 2, 4, 4, 4, 4, 4], zip(*rounds, strict=True), strict=True):
        assert all(0 <= wait <= bound for wait in waits)
        assert len(set(waits)) > 25  # drawn, so that many clients do not come back in step
        assert max(waits) > bound / 2


def test_a_base_of_zero_never_waits(slept: list[float]) -> None:
    """Tests, and callers in a hurry, turn waiting off."""
    tries = effort(attempts=5, base=0)
    while tries.again():
        pass
    assert slept == []


def test_progress_counts_anew(slept: list[float]) -> None:
    """Whatever brings new data starts the count again, the first attempt of all included."""
    tries = effort(attempts=3, base=0)
    for _ in range(100):
        tries.progressed()
        assert tries.again()
    assert tries.attempts == 101
    # After the one that follows progress, ``attempts`` may bring nothing.
    outcome = [tries.again() for _ in range(4)]
    assert outcome == [True, True, False, False]


def test_progress_before_the_first_failure_counts_too(slept: list[float]) -> None:
    """A first attempt that brought something is not one of those that brought nothing."""
    with_progress, without = effort(attempts=3, base=0), effort(attempts=3, base=0)
    with_progress.progressed()
    assert [with_progress.again() for _ in range(4)] == [True, True, True, False]
    assert [without.again() for _ in range(4)] == [True, True, False, False]


def test_the_servers_word_is_a_floor(slept: list[float]) -> None:
    """H25-08: never earlier than the server asked, and at once after progress if it did not ask."""
    tries = effort(attempts=9, base=0.25, maximum=1)
    for floor in (5.0, 0.5, 7.0):
        assert tries.again(floor)
        assert slept[-1] >= floor
    tries.progressed()
    slept.clear()
    assert tries.again(0.5)
    assert slept == [0.5]


def test_a_server_that_asks_for_too_much_ends_it(slept: list[float]) -> None:
    """Coming back earlier than asked would break a rule, and coming back tomorrow is no use."""
    tries = effort(attempts=9, max_server_wait=10)
    assert not tries.again(10.1)
    assert tries.again(10)
    assert slept == [10]


def test_no_wait_outlives_the_deadline(slept: list[float]) -> None:
    """L25-07, K-06: an attempt that could begin only after the end is not waited for."""
    tries = effort(5.0, attempts=9)
    assert not tries.again(5.5)
    assert tries.again(1.0)
    assert slept == [1.0]


def test_an_interrupt_ends_the_attempts(slept: list[float]) -> None:
    """Whoever was closed does not try again."""
    tries = effort(attempts=9, base=0)
    tries.interrupt.fire()
    with pytest.raises(ClientClosed):
        tries.again()


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3", None])
def test_attempts_that_cannot_be(value: Any) -> None:
    """A count is an integer of at least 1."""
    with pytest.raises(LocalProtocolError, match="attempts"):
        RetryPolicy(attempts=value)


@pytest.mark.parametrize("name", ["base", "maximum", "max_server_wait"])
@pytest.mark.parametrize("value", [-1, -0.1, float("nan"), True, "3", None])
def test_seconds_that_cannot_be(name: str, value: Any) -> None:
    """A wait is a number of at least 0; the error names which one it was."""
    with pytest.raises(LocalProtocolError, match=name):
        RetryPolicy(**{name: value})


def test_a_policy_is_a_value() -> None:
    """It is shared by all calls of a client, so it is frozen; and it pickles."""
    policy = RetryPolicy(attempts=2)
    with pytest.raises(AttributeError):
        policy.attempts = 3  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(policy)) == policy


# --- Retry-After


def after(value: str) -> float:
    return parse_retry_after(Headers({"retry-after": value}))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0.0), ("5", 5.0), (" 120 ", 120.0), ("007", 7.0), ("999999999", 999999999.0)],
)
def test_retry_after_in_seconds(value: str, seconds: float) -> None:
    """RFC 9110, section 10.2.3: a number of seconds."""
    assert after(value) == seconds


def test_retry_after_of_many_digits_is_very_long() -> None:
    """A number that fits nothing is more than anybody waits, and no OverflowError."""
    assert after("9" * 5000) >= 1e9


def test_retry_after_as_a_date() -> None:
    """RFC 9110, section 10.2.3: or a date, which may have passed."""
    assert 50 < after(email.utils.formatdate(time.time() + 60, usegmt=True)) <= 61
    assert after(email.utils.formatdate(time.time() - 60, usegmt=True)) == 0.0
    assert after("Fri, 31 Dec 9999 23:59:59 GMT") > 1e9
    assert after("Mon, 01 Jan 0001 00:00:00 GMT") == 0.0


@pytest.mark.parametrize(
    "value",
    [
        "", "soon", "-5", "+5", "1.5", "1e3", "5 s", "0x10", "1_0", "\xb2", "Fri", "Fri, 99 Foo 2020 99:99:99 GMT",
        "Mon, 01 Jan 0001 00:00:00 -0000", "Mon, 01 Jan 99999 00:00:00 GMT", ",,,", "01 Jan 2020", "\x00",
        "Mon, 01 Jan 0001 00:00:00 +2359", "Fri, 31 Dec 9999 23:59:59 -2359",
        f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT", f"Mon, {'9' * 20} Jan 2001 00:00:00 GMT",
    ],
)  # fmt: skip
def test_retry_after_that_says_nothing(value: str) -> None:
    """What is neither is ignored."""
    assert after(value) == 0.0 or value.startswith("Fri, 31 Dec 9999")


def test_no_retry_after() -> None:
    """An answer without the field asks for nothing."""
    assert parse_retry_after(Headers()) == 0.0


@given(st.text() | st.from_regex(r"\A\w{3}, \d{1,2} \w{3} \d{1,25} \d\d:\d\d:\d\d [+-]?\w{1,6}\Z"))
def test_any_retry_after_is_a_wait(value: str) -> None:
    """Whatever a server writes there, it is a number of at least 0."""
    assert after(value) >= 0.0
