"""What the fault tests share: a client without waits, messages, and proof that nothing is left behind."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import requests
import requests.adapters

from streamhttp_client import Client, RetryPolicy
from streamhttp_client.client.eras import KNOWN_SERVERS
from streamhttp_client.protocol.versions import LATEST_SESSION
from tests.support.rawserver import Peer, RawServer, Request

__all__ = [
    "AT_ONCE",
    "BOUND",
    "InThread",
    "NO_WAIT",
    "RESULT",
    "borrowed_sessions",
    "borrowing",
    "nothing_left",
    "open_client",
    "progress",
    "result",
    "silent",
    "stays_usable",
    "within",
]

BOUND = 15.0  # seconds for a whole call of these tests; none comes near unless it fails
AT_ONCE = 2.0  # seconds within which a woken thread must be back, on a slow and busy machine
NO_WAIT = RetryPolicy(attempts=4, base=0.0)
RESULT = {"content": [{"type": "text", "text": "ok"}]}


_borrowed: list[requests.Session] | None = None


@contextmanager
def borrowed_sessions() -> Iterator[None]:
    """Within the block, `open_client` passes a ``requests.Session`` of its own, which is closed at the end."""
    global _borrowed
    _borrowed = []
    try:
        yield
    finally:
        for session in _borrowed:
            _close(session)
        _borrowed = None


def _close(session: requests.Session) -> None:
    """Close a session and its idle connections, now.

    ``Session.close`` leaves them to the end of their pool, which an error in a log record can keep alive.
    """
    for adapter in session.adapters.values():
        assert isinstance(adapter, requests.adapters.HTTPAdapter)
        pools = adapter.poolmanager.pools
        for key in list(pools.keys()):
            pools[key].close()
    session.close()


def borrowing() -> bool:
    """Whether `open_client` passes sessions of its own just now."""
    return _borrowed is not None


def open_client(server: RawServer, **options: Any) -> Client:
    """A client of ``server`` that does not wait between attempts, and knows that it wants a handshake."""
    KNOWN_SERVERS.learn(server.url, LATEST_SESSION)
    if _borrowed is not None:
        _borrowed.append(requests.Session())
        options.setdefault("http", _borrowed[-1])
    return Client(server.url, **{"timeout": BOUND, "retry": NO_WAIT, **options})


def result(request: Request, value: Any = None) -> dict[str, Any]:
    """The message that answers ``request``."""
    return {"jsonrpc": "2.0", "id": request.id, "result": RESULT if value is None else value}


def progress(request: Request, count: int) -> dict[str, Any]:
    """A progress notification for ``request``, which must have asked for it."""
    token = request.json["params"]["_meta"]["progressToken"]
    return {
        "jsonrpc": "2.0",
        "method": "notifications/progress",
        "params": {"progressToken": token, "progress": count},
    }


def silent(peer: Peer, request: Request) -> None:
    """Take the request and say nothing."""
    peer.hold()


def stays_usable(client: Client) -> None:
    """The client still calls: a fault must cost one call and no more."""
    assert [tool.name for tool in client.list_tools()] == ["echo"]


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """The block must end in time."""
    start = time.monotonic()
    yield
    taken = time.monotonic() - start
    assert taken < seconds, f"took {taken:.2f} s, expected less than {seconds}"


def _open_sockets() -> int | None:
    """How many sockets this process holds, or None where that cannot be asked."""
    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:
        return None
    count = 0
    for number in numbers:
        try:
            count += stat.S_ISSOCK(os.stat(f"/proc/self/fd/{number}").st_mode)
        except OSError:
            pass  # the one of listdir itself
    return count


@contextmanager
def nothing_left() -> Iterator[None]:
    """No thread and no socket more than before, without the garbage collector's help."""
    threads, sockets = set(threading.enumerate()), _open_sockets()
    yield
    for thread in set(threading.enumerate()) - threads:
        thread.join(AT_ONCE)
    left = [thread.name for thread in set(threading.enumerate()) - threads if thread.is_alive()]
    assert not left, f"threads left: {left}"
    now = _open_sockets()
    assert sockets is None or now is None or now <= sockets, f"{now} sockets open, {sockets} before"


class InThread:
    """Runs a function on another thread and keeps what it returned or raised."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self.value: Any = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="in-thread", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.value = self._function()
        except BaseException as error:
            self.error = error

    def join(self, seconds: float) -> None:
        """Wait for the end, at most so long."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"still blocked after {seconds} s"
