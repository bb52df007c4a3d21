"""One does something, the others wait for it, and whatever ends the waiting ends it at once."""

from __future__ import annotations

import functools
import threading
from typing import Any

import pytest

from streamhttp_client import CallTimeout, ClientClosed, RetryPolicy, Timeout
from streamhttp_client.client.turns import Turns
from streamhttp_client.net.interrupt import Interrupt
from streamhttp_client.net.retry import Effort
from tests.client._peer import AT_ONCE, BOUND
from tests.transport._faults import InThread


def effort(total: float = BOUND) -> Effort:
    return Effort(Timeout(total=total), RetryPolicy())


def take(turns: Turns, whose: Effort) -> None:
    with turns.turn(whose, "busy"):
        pass


def test_who_waits_too_long_is_told() -> None:
    """K-07: the deadline ends the waiting, and the turn is not lost with it."""
    turns = Turns()
    with turns.turn(effort(), "busy"), pytest.raises(CallTimeout, match="another thread is still busy") as caught:
        take(turns, effort(0.01))
    assert not caught.value.may_have_executed
    take(turns, effort(AT_ONCE))


def test_who_is_woken_is_told() -> None:
    """K-07: closing ends the waiting."""
    turns, mine = Turns(), effort()
    with turns.turn(effort(), "busy"):
        thread = InThread(lambda: take(turns, mine))
        mine.interrupt.fire()
        thread.join(AT_ONCE)
    assert isinstance(thread.error, ClientClosed)
    take(turns, effort(AT_ONCE))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ClientClosed])
def test_a_turn_that_comes_while_something_is_raised(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """Ctrl-C, or a close, in the moment in which one gets one's turn gives it to the next one."""
    turns, first, second = Turns(), effort(), effort()

    def wait(*_: object) -> bool:
        turns._end(first)  # as the other thread does
        if error is ClientClosed:
            second.interrupt.fired = True
            return True
        raise error

    monkeypatch.setattr(type(second.interrupt), "wait", wait)
    with pytest.raises(error):
        with turns.turn(first, "busy"):
            take(turns, second)
    monkeypatch.undo()
    take(turns, effort(AT_ONCE))


def test_they_come_in_the_order_in_which_they_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is passed over."""
    turns, waiting, wait = Turns(), threading.Semaphore(0), Interrupt.wait
    order: list[int] = []

    def told(*arguments: Any) -> bool:
        waiting.release()
        return wait(*arguments)

    def work(number: int) -> None:
        with turns.turn(effort(), "busy"):
            order.append(number)

    monkeypatch.setattr(Interrupt, "wait", told)
    threads = []
    with turns.turn(effort(), "busy"):
        for number in range(3):
            threads.append(InThread(functools.partial(work, number)))
            assert waiting.acquire(timeout=AT_ONCE)
    for thread in threads:
        thread.join(AT_ONCE)
    assert order == [0, 1, 2]
