"""A store in Redis: for several machines.

Events are entries of Redis streams, with the event's number as the entry's id; what else is known of a log is
a hash beside it. Each change is one script (:mod:`.redis_scripts`), and each publishes the log's name on one channel,
on which every process hears when its readers should look again.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ...exceptions import LocalProtocolError, MissingExtra
from .base import PAGE_BYTES, PAGE_EVENTS, Page, SessionsFull, State, StoreFull, StoreUnavailable
from .redis_scripts import LISTENER, SCRIPTS
from .shared import LIFE_LOOK, LOOK, ProcessConnection, SharedStore

__all__ = ["RedisStore"]

_log = logging.getLogger("streamhttp_client.server")

# Sessions that are fetched together, when all are.
_SESSIONS_AT_ONCE = 200
# Connections of one process, and seconds that a thread waits for one of them.
_CONNECTIONS, _POOL_TIMEOUT = 32, 20.0
# Seconds that Redis may take to accept a connection, or to answer; the url may say other ones. redis-py 5 has no limit.
_TIMEOUT = 5.0


class _Connection(ProcessConnection):
    """One process's connections."""

    def __init__(self, url: str, channel: str) -> None:
        try:
            import redis
        except ImportError as error:
            raise MissingExtra("RedisStore", "redis") from error
        super().__init__()
        # A pool that waits: there are many more threads than connections are needed, since no script takes long.
        options = {"max_connections": _CONNECTIONS, "timeout": _POOL_TIMEOUT, "protocol": 2}
        options |= {"socket_timeout": _TIMEOUT, "socket_connect_timeout": _TIMEOUT}
        self.pool: Any = redis.BlockingConnectionPool.from_url(url, **options)
        client: Any = redis.Redis
        self.redis = client(connection_pool=self.pool)
        self.scripts = {name: self.redis.register_script(script) for name, script in SCRIPTS.items()}
        self.channel = channel
        self.listening = self.redis.pubsub()
        # By the monotonic clock: the last sign of life, and from when on others may be taken for dead.
        self.beaten = time.monotonic()
        self.judging = self.beaten


class RedisStore(SharedStore[_Connection]):
    """Sessions and events in Redis. Each process makes its own object on the same address, or forks with one.

    All services with the same prefix hold at most ``max_bytes`` together; sessions and logs expire by themselves. Set
    no eviction policy that drops keys at will.

    Args:
        url: As redis-py takes it: ``redis://[[user]:password@]host[:port]/database``, ``rediss://…``,
            ``unix://…``.
        prefix: Of all keys, so that several services can share one Redis.
        session_ttl, log_ttl, max_sessions, max_logs, max_finished, max_log_events, max_log_bytes, max_bytes: As for
            :class:`MemoryStore`; the times are whole seconds.
        worker_timeout: Seconds without a sign of life after which a process counts as dead, and its calls as
            failed.

    Raises:
        MissingExtra: At the first use, if redis-py is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "streamhttp",
        session_ttl: int = 3600,
        log_ttl: int = 300,
        max_sessions: int = 10_000,
        max_logs: int = 256,
        max_finished: int = 64,
        max_log_events: int = 10_000,
        max_log_bytes: int = 16 << 20,
        max_bytes: int = 1 << 30,
        worker_timeout: float = 10.0,
    ) -> None:
        super().__init__(worker_timeout)
        if not isinstance(url, str) or not url.startswith(("redis://", "rediss://", "unix://")):
            # It may hold a password, so it is not shown.
            raise LocalProtocolError("the url of a RedisStore begins with redis://, rediss:// or unix://")
        self._url = url
        self._prefix = prefix + ":"
        self.session_ttl: float = session_ttl
        self._log_ttl = log_ttl
        self._max_sessions = max_sessions
        self._max_logs = max_logs
        self._max_finished = max_finished
        self._limits = (max_log_events, max_log_bytes, session_ttl, log_ttl, max_bytes)
        self._max_bytes = max_bytes
        # A look also puts off the expiry of the session.
        self._look = min(LOOK, session_ttl / 4)
        # The logs with a will that this process has not ended; guarded by a lock that is held for set operations only.
        self._running: set[tuple[str, str]] = set()
        self._running_lock = threading.Lock()

    # The connection.

    def _connect(self) -> _Connection:
        with _translated():
            connection = _Connection(self._url, self._prefix + "changed")
            with self._running_lock:
                self._running.clear()  # after a fork they are the parent's
            self._beat(connection)
            connection.listening.subscribe(connection.channel)
            return connection

    def _beat(self, connection: _Connection) -> None:
        life = int(self._worker_timeout * 1000)
        connection.redis.set(f"{self._prefix}w:{connection.worker}", 1, px=life)
        now = time.monotonic()
        if self._had_gap(connection, now):
            # Redis was away, perhaps for all; the others get the time for a sign of life before they count as
            # dead.
            connection.judging = now + 2 * self._heartbeat + 1.0
        connection.beaten = now

    def _had_gap(self, connection: _Connection, now: float) -> bool:
        return now - connection.beaten > self._worker_timeout / 2

    def _may_judge(self, connection: _Connection) -> bool:
        """Whether a process without a sign of life is dead, and not only this one was without contact."""
        now = time.monotonic()
        return now >= connection.judging and not self._had_gap(connection, now)

    def _watch(self, connection: _Connection) -> None:
        kept = time.monotonic()
        while not connection.stop.is_set():
            try:
                now = time.monotonic()
                if now - connection.beaten >= self._heartbeat:
                    self._beat(connection)
                if now - kept >= self._look:
                    self._keep_running(connection)
                    kept = now
                # Comes back at once when something is said; redis-py subscribes anew after a broken
                # connection.
                message = connection.listening.get_message(timeout=self._heartbeat / 4)
                if message is not None and message["type"] == "subscribe":
                    # Perhaps not for the first time: what was said while the connection was broken is lost.
                    self._waiters.wake_for_a_look()
                elif message is not None:
                    session, _, log = message["data"].decode().partition("/")
                    self._waiters.wake([(session, log)])
            except Exception:
                self._note(connection, failed=True)
            else:
                self._note(connection, failed=False)
        connection.listening.close()

    def _keep_running(self, connection: _Connection) -> None:
        """Put off the expiry of what calls of this process need."""
        with self._running_lock:
            running = list(self._running)
        for session, log in running:
            if not connection.scripts["keep"](args=[self._prefix, session, log, self.session_ttl]):
                self._note_end(session, log)

    def _note_end(self, session: str, log: str) -> None:
        with self._running_lock:
            self._running.discard((session, log))

    def _run(self, script: str, session: str, log: str, *arguments: Any) -> Any:
        """Run a script.

        Raises:
            StoreUnavailable: Redis cannot be reached.
            MissingExtra: redis-py is not installed.
        """
        # No keys are declared: the scripts make them from the prefix, which is fine without a cluster.
        connection = self._open()
        with _translated():
            return connection.scripts[script](args=[self._prefix, session, log, *arguments])

    def secret(self) -> bytes:
        redis, key = self._open().redis, self._prefix + "secret"
        with _translated():
            found = redis.get(key)
            if found is None:
                made = secrets.token_bytes(32)
                # Several may come here at the same time.
                found = made if redis.set(key, made, nx=True) else redis.get(key)
        return bytes(found)

    # Sessions. The values of fields are JSON; an empty one stands for none. Each session has a field without
    # a name, so that its hash exists.

    def create_session(self, session: str, fields: Mapping[str, Any]) -> None:
        pairs = [part for key, value in fields.items() for part in (key, json.dumps(value))]
        limits = (self.session_ttl, self._max_sessions, self._max_bytes)
        if not self._with_room(self._run("create_session", session, "", *limits, *pairs)):
            raise SessionsFull(f"there are {self._max_sessions} sessions already")

    def _with_room(self, answer: int) -> int:
        if answer == -2:
            raise StoreFull(f"the store holds {self._max_bytes} bytes already")
        return answer

    def get_session(self, session: str) -> dict[str, Any] | None:
        found = self._run("get_session", session, "", self.session_ttl)
        return _fields(dict(zip(found[::2], found[1::2], strict=True))) if found else None

    def update_session(self, session: str, changes: Mapping[str, Any]) -> bool:
        pairs = [part for key, value in changes.items() for part in (key, "" if value is None else json.dumps(value))]
        return bool(self._with_room(self._run("update_session", session, "", self._max_bytes, *pairs)))

    def delete_session(self, session: str) -> bool:
        return bool(self._run("delete_session", session, ""))

    def iter_sessions(self, having: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        redis = self._open().redis
        with _translated():
            if having == LISTENER:
                names = list(redis.smembers(self._prefix + "listening"))
            else:
                names = redis.zrange(self._prefix + "sessions", 0, -1)
        for at in range(0, len(names), _SESSIONS_AT_ONCE):
            some = [name.decode() for name in names[at : at + _SESSIONS_AT_ONCE]]
            with _translated(), redis.pipeline(transaction=False) as pipeline:
                for session in some:
                    pipeline.hgetall(f"{self._prefix}s:{session}")
                answers = pipeline.execute()
            for session, found in zip(some, answers, strict=True):
                if found:
                    yield session, _fields(found)

    # Logs.

    def create_log(self, session: str, log: str, *, will: bytes | None = None) -> bool:
        worker = self._open().worker
        options = (self.session_ttl, self._max_logs, self._max_finished, worker, will or b"", self._max_bytes)
        made = self._with_room(self._run("create_log", session, log, *options))
        if made < 0:
            raise StoreFull(f"the session has {self._max_logs} unfinished streams already")
        if made and will is not None:
            with self._running_lock:
                self._running.add((session, log))
        return bool(made)

    def delete_log(self, session: str, log: str) -> None:
        self._run("delete_log", session, log)

    def append(self, session: str, log: str, data: bytes | None, *, end: bool = False) -> int:
        limits = self._limits
        number = int(self._run("append", session, log, data or b"", int(data is not None), int(end), *limits))
        if end or not number:
            self._note_end(session, log)
        return number

    def _read(self, session: str, log: str, after: int, reader: int) -> tuple[Page, float]:
        connection = self._open()
        judging = int(self._may_judge(connection))
        found = self._run("read", session, log, after, reader, PAGE_EVENTS, connection.worker, judging, *self._limits)
        if found[0] == b"gone":
            return Page([], "gone"), 0.0
        if found[0] == b"taken":
            return Page([], "taken"), 0.0
        entries: list[tuple[int, bytes]] = []
        room = PAGE_BYTES
        for name, pairs in found[2]:
            entries.append((int(name.partition(b"-")[0]), pairs[1]))
            room -= len(pairs[1])
            if room <= 0:
                break
        state: State = "ended" if found[0] == b"1" and after + len(entries) == found[1] else "open"
        return Page(entries, state), LIFE_LOOK if found[3] else self._look

    def claim(self, session: str, log: str) -> int:
        return int(self._run("claim", session, log, self._open().worker))

    def release(self, session: str, log: str, reader: int, position: int) -> None:
        self._run("release", session, log, reader, position)

    def position(self, session: str, log: str) -> int | None:
        found = int(self._run("position", session, log, self._open().worker))
        return None if found < 0 else found

    # The end.

    def _interrupt(self, connection: _Connection) -> None:
        try:
            # The thread looks up only now and then by itself.
            connection.redis.publish(connection.channel, "/")
        except Exception:
            _log.debug("the store could not wake its thread", exc_info=True)

    def _leave(self, connection: _Connection) -> None:
        try:
            connection.redis.delete(f"{self._prefix}w:{connection.worker}")
        except Exception:
            _log.warning("the store could not say goodbye", exc_info=True)
        connection.redis.close()
        connection.pool.disconnect()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not _is_unavailable(error):
            raise
        raise StoreUnavailable("the store does not answer") from error


#: How Redis begins an error that says that it takes no writes now: no memory, a replica, a disk that fails.
_NO_WRITES = ("OOM ", "READONLY ", "MISCONF ", "NOREPLICAS ")


def _is_unavailable(error: Exception) -> bool:
    """Whether redis-py gave up after its own retries, or Redis takes no writes. What failed otherwise is a fault of
    ours.
    """
    if isinstance(error, ImportError):
        return False
    from redis import exceptions

    if isinstance(error, exceptions.ResponseError):
        # redis-py takes the word off where it has a class for it; and within a script it may stand in the text.
        classes = (exceptions.OutOfMemoryError, exceptions.ReadOnlyError)
        return isinstance(error, classes) or any(word in f"{error} " for word in _NO_WRITES)
    return isinstance(error, (exceptions.ConnectionError, exceptions.TimeoutError))


def _fields(found: Mapping[bytes, bytes]) -> dict[str, Any]:
    return {key.decode(): json.loads(value) for key, value in found.items() if value}
