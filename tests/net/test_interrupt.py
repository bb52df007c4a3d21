"""Waking a blocked thread: at once, once and for all, and never a connection that serves somebody else."""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable

import pytest

from streamhttp_client.exceptions import ClientClosed
from streamhttp_client.net.interrupt import Errands, Interrupt
from tests.transport._faults import AT_ONCE, InThread, within


def test_fire_breaks_what_is_attached() -> None:
    """The connection in use is broken, once for each call of ``fire``; after that there is none."""
    interrupt, broken = Interrupt(), []
    def break_it() -> None:
        broken.append(1)

    interrupt.attach(break_it)
    assert not interrupt.fired and broken == []
    interrupt.fire()
    assert interrupt.fired and broken == [1]
    interrupt.detach(break_it)
    interrupt.fire()
    assert broken == [1]


def test_attaching_after_fire_breaks_at_once() -> None:
    """A call that was closed between two connections does not block on the next one."""
    interrupt, broken = Interrupt(), []
    interrupt.fire()
    interrupt.attach(lambda: broken.append(1))
    assert broken == [1]


def test_sleep_ends_when_fired() -> None:
    """A backoff of an hour ends at once."""
    interrupt = Interrupt()
    thread = InThread(lambda: interrupt.sleep(3600))
    interrupt.fire()
    thread.join(AT_ONCE)
    with within(AT_ONCE):
        interrupt.sleep(3600)  # and each later one


def test_sleep_waits() -> None:
    """Without it, a wait is as long as it says."""
    start = time.monotonic()
    Interrupt().sleep(0.02)
    assert time.monotonic() - start >= 0.02


def test_run_gives_what_the_function_gives() -> None:
    """The result, or the very exception, of the function; nothing is discarded."""
    interrupt = Interrupt()
    late: list[int] = []
    assert interrupt.run(lambda: 7, late.append) == 7
    error = OSError("no route")
    with pytest.raises(OSError) as caught:
        interrupt.run(lambda: _raise(error), late.append)
    assert caught.value is error
    assert late == []


def _raise(error: Exception) -> int:
    raise error


def test_run_is_left_when_fired() -> None:
    """The caller goes at once, and what comes too late is discarded."""
    interrupt, release, late = Interrupt(), threading.Event(), threading.Event()

    def slow() -> int:
        assert release.wait(20)
        return 7

    def discard(value: int) -> None:
        assert value == 7
        late.set()

    thread = InThread(lambda: interrupt.run(slow, discard))
    interrupt.fire()
    thread.join(AT_ONCE)
    assert thread.value is None and thread.error is None
    assert not late.is_set()
    release.set()
    assert late.wait(AT_ONCE)


def test_run_does_not_begin_what_is_over() -> None:
    """Fired before: nobody waits for a connection, and none is kept."""
    interrupt, late = Interrupt(), threading.Event()
    interrupt.fire()
    with within(AT_ONCE):
        assert interrupt.run(lambda: 7, lambda value: late.set()) is None
    assert late.wait(AT_ONCE)


def test_many_runs_race_with_fire() -> None:
    """Whoever is first: a connection is either given or discarded, never both and never lost."""
    for _ in range(200):
        interrupt, late = Interrupt(), threading.Event()
        fire = threading.Thread(target=interrupt.fire)
        fire.start()

        def discard(value: int, late: threading.Event = late) -> None:
            assert not late.is_set()
            late.set()

        given = interrupt.run(lambda: 7, discard)
        fire.join()
        if given is None:
            assert late.wait(AT_ONCE)
        else:
            assert given == 7 and not late.is_set()


def test_fire_never_hits_a_connection_that_was_given_back() -> None:
    """After ``detach`` has returned, no ``fire`` breaks it, however close they come."""
    for _ in range(300):
        interrupt, in_use = Interrupt(), threading.Event()
        wrong: list[int] = []
        in_use.set()

        def break_it(in_use: threading.Event = in_use, wrong: list[int] = wrong) -> None:
            if not in_use.is_set():
                wrong.append(1)

        interrupt.attach(break_it)
        fire: Callable[[], None] = interrupt.fire
        thread = threading.Thread(target=fire)
        thread.start()
        interrupt.detach(break_it)
        in_use.clear()
        thread.join()
        assert wrong == []


def test_errands_are_done_by_who_waits() -> None:
    """On its thread; what they give and what they raise goes to who asked."""
    errands, error = Errands(), KeyError()

    def fail() -> None:
        raise error

    def work() -> list[object]:
        seen: list[object] = [threading.get_ident(), errands.ask(threading.get_ident)]
        try:
            errands.ask(fail)
        except KeyError as raised:
            seen.append(raised)
        return seen

    there, here, raised = Interrupt().run(work, lambda _: None, AT_ONCE, errands) or (0, 0, 0)
    assert there != here == threading.get_ident() and raised is error
    assert errands.ask(threading.get_ident) == threading.get_ident()  # at home there is nobody to ask


def test_an_errand_for_who_has_left_is_not_done() -> None:
    """What it would have read from may be closed by then."""
    interrupt, errands, done = Interrupt(), Errands(), []
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def work() -> None:
        begun.set()
        assert go_on.wait(AT_ONCE)
        try:
            errands.ask(lambda: done.append(1))
        except ClientClosed as error:
            errors.append(error)
        ended.set()

    def leave() -> None:
        assert begun.wait(AT_ONCE)
        interrupt.fire()

    other = threading.Thread(target=leave)
    other.start()
    assert interrupt.run(work, lambda _: None, AT_ONCE, errands) is None
    other.join()
    go_on.set()
    assert ended.wait(AT_ONCE) and done == [] and len(errors) == 1


def test_ctrl_c_while_the_thread_starts_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have begun already: what it asks for and what it brings is for nobody then."""
    real, errands, gone = threading.Thread.start, Errands(), threading.Event()

    def start(thread: threading.Thread) -> None:
        real(thread)
        raise KeyboardInterrupt

    def work() -> int:
        with pytest.raises(ClientClosed):
            errands.ask(int)
        return 1

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(KeyboardInterrupt):
            Interrupt().run(work, lambda _: gone.set(), AT_ONCE, errands)
    assert gone.wait(AT_ONCE)


def test_ctrl_c_right_after_an_errand_leaves_nobody_waiting() -> None:
    """Who asked for it gets its answer, or is told that nobody waits."""
    errands, called, gone = Errands(), threading.Event(), threading.Event()
    real, home = errands._lock, threading.get_ident()

    class Interrupted:
        def __enter__(self) -> None:
            real.acquire()

        def __exit__(self, *_: object) -> None:
            real.release()
            if threading.get_ident() == home and called.is_set():
                called.clear()
                raise KeyboardInterrupt

    def work() -> int:
        with contextlib.suppress(ClientClosed):
            errands.ask(called.set)
        return 1

    errands._lock = Interrupted()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        Interrupt().run(work, lambda _: gone.set(), AT_ONCE, errands)
    assert gone.wait(AT_ONCE)


def test_what_comes_together_with_ctrl_c_is_discarded() -> None:
    """After an errand too: nobody else would close the connection that it is."""
    errands, discarded = Errands(), []

    class Interrupted(Interrupt):
        def wait(self, event: threading.Event, seconds: float | None) -> bool:
            assert super().wait(event, seconds)
            if asked:
                assert ended.wait(AT_ONCE)
                raise KeyboardInterrupt
            return True

    asked: list[int] = []
    ended = threading.Event()

    def work() -> int:
        errands.ask(lambda: asked.append(1))
        return 1

    class Ended(threading.Thread):
        def run(self) -> None:
            super().run()
            ended.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "Thread", Ended)
        with pytest.raises(KeyboardInterrupt):
            Interrupted().run(work, discarded.append, AT_ONCE, errands)
    assert discarded == [1]


def test_the_error_of_an_errand_goes_with_who_caught_it() -> None:
    """It holds files and connections in its frames, which must not wait for the garbage collector."""

    class Failure(Exception):
        pass

    def fail() -> None:
        raise Failure

    errands = Errands()
    try:
        Interrupt().run(lambda: errands.ask(fail), lambda _: None, AT_ONCE, errands)
    except Failure as error:
        seen = weakref.ref(error)
    assert seen() is None
