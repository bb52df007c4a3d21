"""What all stores have in common that several processes share: a connection for each process, and its thread."""

from __future__ import annotations

import logging
import os
import secrets
import threading
from abc import abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

from .base import Page, Store, StoreClosed
from .waiting import Waiters

__all__ = ["LIFE_LOOK", "LOOK", "ProcessConnection", "SharedStore"]

_log = logging.getLogger("streamhttp_client.server")

# Seconds before the thread of a store tries again what failed.
_PAUSE = 0.5
# Seconds between two signs of life of a process.
_HEARTBEAT = 2.0
#: Seconds after which a stream that waits for another process looks whether that one is still alive, and the longest
#: that any stream waits without a look.
LIFE_LOOK, LOOK = 1.0, 60.0


class ProcessConnection:
    """How one process reaches the database, and the name under which the others know it."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.worker = secrets.token_hex(8)
        #: Ends the thread, which gives signs of life and hears of changes.
        self.stop = threading.Event()
        self.thread: threading.Thread | None = None


C = TypeVar("C", bound=ProcessConnection)


class SharedStore(Store, Generic[C]):
    """Opens its connection at the first use, and anew after a fork.

    Args:
        worker_timeout: Seconds without a sign of life after which a process counts as dead.
    """

    shared = True

    def __init__(self, worker_timeout: float) -> None:
        self._worker_timeout = worker_timeout
        self._heartbeat = min(_HEARTBEAT, worker_timeout / 5)
        self._waiters = Waiters()
        # Guards the making of the connection, and the end.
        self._lock = threading.Lock()
        self._connection: C | None = None
        # Of parents of this process: kept, since the end of an object would close what is theirs.
        self._inherited: list[C] = []
        self._closed = False
        self._failing = False

    def _open(self) -> C:
        connection = self._connection
        if connection is not None and connection.process == os.getpid():
            return connection
        with self._lock:
            connection = self._connection
            if connection is None or connection.process != os.getpid():
                if self._closed:
                    raise StoreClosed("the store is closed")
                # After a fork the parent's connection is left as it is, and so are those who wait there.
                if connection is not None:
                    self._inherited.append(connection)
                    self._connection = None
                self._waiters = Waiters()
                connection = self._connect()
                connection.thread = threading.Thread(
                    target=self._watch, args=(connection,), name="streamhttp-store", daemon=True
                )
                connection.thread.start()
                self._connection = connection
            return connection

    @abstractmethod
    def _connect(self) -> C:
        """Make a connection, and give the first sign of life."""

    @abstractmethod
    def _watch(self, connection: C) -> None:
        """Give signs of life and hear of changes, on a thread of its own, until ``connection.stop`` is set."""

    @abstractmethod
    def _interrupt(self, connection: C) -> None:
        """Let the thread see at once that it is to stop."""

    @abstractmethod
    def _leave(self, connection: C) -> None:
        """Say goodbye and disconnect: what this process has not ended will not be, and nobody need wait for it."""

    def _note(self, connection: C, *, failed: bool) -> None:
        """Called by the thread when it could do its work, and in the ``except`` clause when it could not: the log has
        the first failure in a row with its reason, and then the end, since an outage may last for hours.
        """
        if failed:
            _log.log(logging.DEBUG if self._failing else logging.ERROR, "the store fails", exc_info=True)
            connection.stop.wait(min(_PAUSE, self._heartbeat))
        elif self._failing:
            _log.info("the store works again")
        self._failing = failed

    def read(
        self,
        session: str,
        log: str,
        after: int,
        *,
        wait: float = 0.0,
        reader: int = 0,
        until: Callable[[], bool] | None = None,
    ) -> Page:
        self._open()  # makes new waiters after a fork
        return self._waiters.read((session, log), wait, lambda: self._read(session, log, after, reader), until)

    @abstractmethod
    def _read(self, session: str, log: str, after: int, reader: int) -> tuple[Page, float]:
        """What there is, and the seconds after which to look again although nothing was heard."""

    def wake(self) -> None:
        self._waiters.wake_all()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            connection, self._connection = self._connection, None
            if connection is not None and connection.process != os.getpid():
                self._inherited.append(connection)
                return
        if connection is None:
            return
        connection.stop.set()
        self._interrupt(connection)
        if connection.thread is not None:
            connection.thread.join()
        self._leave(connection)
        self._waiters.wake_all()
