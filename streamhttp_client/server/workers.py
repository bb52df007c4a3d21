"""The threads on which handlers run: bounded, reused, and joined at the end."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable

__all__ = ["Workers"]

_log = logging.getLogger("streamhttp_client.server")


class Workers:
    """A pool of daemon threads that grows to a bound.

    Not ``concurrent.futures``: its threads are joined at interpreter exit without a bound, so that one
    handler that hangs would keep a whole service from ending.

    Threads are made at the first need, so a pool that was built before a fork works after it.

    Args:
        name: Of what the threads do, for their names.
        max_threads: Jobs that run at the same time.
        max_waiting: Jobs that wait for a thread; one more is refused. One owner has at most half of both.
    """

    def __init__(self, name: str, max_threads: int, max_waiting: int) -> None:
        self._name = name
        self._max_threads = max_threads
        self._max_waiting = max_waiting
        self._jobs: queue.SimpleQueue[tuple[str, Callable[[], None]] | None] = queue.SimpleQueue()
        # Guards the fields below; held for a few statements, never while a job runs.
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._unfinished = 0
        # Of each owner: jobs that run or are about to, and those that wait until one of these has ended.
        self._shares: dict[str, int] = {}
        self._held: dict[str, deque[Callable[[], None]]] = {}
        self._closed = False

    def submit(self, job: Callable[[], None], owner: str = "") -> bool:
        """Run ``job`` on a thread of the pool; return False if the pool is full or closed. A job must not raise.

        Args:
            owner: On whose behalf, so that nobody alone can take all threads; "" is nobody.
        """
        with self._lock:
            if self._closed or self._unfinished >= self._max_threads + self._max_waiting:
                return False
            if owner and self._shares.get(owner, 0) >= max(self._max_threads // 2, 1):
                held = self._held.setdefault(owner, deque())
                if len(held) >= self._max_waiting // 2:
                    return False
                held.append(job)
                self._unfinished += 1
                return True
            if not self._has_thread():
                return False
            self._unfinished += 1
            self._start(job, owner)
            return True

    def _has_thread(self) -> bool:
        """Make one more thread if all have something to do; return whether there is any. The lock is held."""
        busy = self._unfinished - sum(map(len, self._held.values()))
        if busy >= len(self._threads) and len(self._threads) < self._max_threads:
            number = len(self._threads) + 1
            thread = threading.Thread(target=self._work, name=f"streamhttp-{self._name}-{number}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has no more threads; those that there are will come to it
                _log.warning("no more %s threads can be started", self._name)
            else:
                self._threads.append(thread)
        return bool(self._threads)

    def _start(self, job: Callable[[], None], owner: str) -> None:
        if owner:
            self._shares[owner] = self._shares.get(owner, 0) + 1
        self._jobs.put((owner, job))

    def _end(self, owner: str) -> None:
        """A job has ended: the next of the same owner has its turn. The lock is held."""
        self._unfinished -= 1
        if owner:
            self._shares[owner] -= 1
            if held := self._held.get(owner):
                self._start(held.popleft(), owner)
                if not held:
                    del self._held[owner]
            elif not self._shares[owner]:
                del self._shares[owner]

    @property
    def has_spare(self) -> bool:
        """Whether at least a quarter of the threads has nothing to do."""
        return self._unfinished <= self._max_threads * 3 // 4

    def _work(self) -> None:
        while (found := self._jobs.get()) is not None:
            owner, job = found
            try:
                job()
            except BaseException:
                _log.exception("a job of the server failed")
            finally:
                del found, job
                with self._lock:
                    self._end(owner)

    def close(self, timeout: float) -> bool:
        """Let running and waiting jobs end, for at most ``timeout`` seconds, and join the threads.

        Returns:
            True if all have ended. A thread whose handler does not return is left behind; it is a daemon.
        """
        with self._lock:
            if not self._closed:
                self._closed = True
                for owner, held in self._held.items():
                    while held:
                        self._start(held.popleft(), owner)
                self._held.clear()
                for _ in self._threads:
                    self._jobs.put(None)
            threads = self._threads
        deadline = time.monotonic() + timeout
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(deadline - time.monotonic(), 0))
        left = sum(thread.is_alive() for thread in threads)
        if left:
            _log.warning("%d %s threads were still running after %.1f s", left, self._name, timeout)
        return not left
