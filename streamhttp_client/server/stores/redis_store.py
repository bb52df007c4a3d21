"""A store in Redis: for several machines.

Events are entries of Redis streams, with the event's number as the entry's id; what else is known of a log is
a hash beside it. Each change is one Lua script, so that it happens whole, and each publishes the log's name
on one channel, on which every process hears when its readers should look again.

Keys, all below one prefix: ``s:<session>`` (fields), ``k:<session>`` (names of its logs), ``m:<session>:<log>``
(what is known of a log), ``e:<session>:<log>`` (its events), ``w:<worker>`` (signs of life). What expires by itself
cannot say how much it held, so there is also ``sessions``, ``open`` and ``finished`` (sessions and logs by their
expiry) and ``bytes`` (what each costs, and under the empty name the sum). The scripts reach several keys at once, so a
cluster is not supported.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ...exceptions import MissingExtra
from .base import Page, State, Store, StoreClosed, StoreFull, StoreUnavailable
from .waiting import Waiters

__all__ = ["RedisStore"]

_log = logging.getLogger("streamhttp_client.server")

# One page becomes one chunk on the wire.
_PAGE_EVENTS = 256
_PAGE_BYTES = 1 << 18
# Seconds between two signs of life of a process.
_HEARTBEAT = 2.0
# Sessions that are fetched together, when all are.
_SESSIONS_AT_ONCE = 200
# Connections of one process.
_CONNECTIONS = 32
# Seconds after which a stream that waits for another process looks whether that one is still alive; and the longest
# that any stream waits without a look.
_LIFE_LOOK, _LOOK = 1.0, 60.0
# What an entry, a log and a session cost besides their data, in bytes; measured with Redis 7, rounded up.
_COSTS = {"ENTRY_COST": "64", "LOG_COST": "2048", "SESSION_COST": "1024"}
# Seconds that a thread waits for one of them.
_POOL_TIMEOUT = 20.0

# Begins every script. ARGV[1] is the prefix, ARGV[2] the session, ARGV[3] the log; the clock is that of
# Redis, since machines need not agree on the time.
_HEAD = """
local p, session, log = ARGV[1], ARGV[2], ARGV[3]
local fields, names = p .. 's:' .. session, p .. 'k:' .. session
local meta, events = p .. 'm:' .. session .. ':' .. log, p .. 'e:' .. session .. ':' .. log
local function changed(name) redis.call('PUBLISH', p .. 'changed', session .. '/' .. name) end
local function count(name, change)
    redis.call('HINCRBY', p .. 'bytes', name, change)
    return redis.call('HINCRBY', p .. 'bytes', '', change)
end
local function forget(name)
    local cost = redis.call('HGET', p .. 'bytes', name)
    if cost then
        redis.call('HDEL', p .. 'bytes', name)
        redis.call('HINCRBY', p .. 'bytes', '', -cost)
    end
end
local function drop_of(session, name)
    local full = session .. '/' .. name
    redis.call('DEL', p .. 'm:' .. session .. ':' .. name, p .. 'e:' .. session .. ':' .. name)
    redis.call('ZREM', p .. 'k:' .. session, name)
    redis.call('ZREM', p .. 'open', full)
    redis.call('ZREM', p .. 'finished', full)
    forget(full)
    redis.call('PUBLISH', p .. 'changed', full)
end
local function drop(name) drop_of(session, name) end
local function now()
    local time = redis.call('TIME')
    return time[1] + time[2] / 1000000
end
local function held() return tonumber(redis.call('HGET', p .. 'bytes', '') or 0) end
-- Forget what has expired, some of it each time.
local function prune()
    for _, kind in ipairs({'sessions', 'open', 'finished'}) do
        for _, name in ipairs(redis.call('ZRANGEBYSCORE', p .. kind, '-inf', '(' .. now(), 'LIMIT', 0, 1000)) do
            forget(name)
            redis.call('ZREM', p .. kind, name)
        end
    end
end
-- Drop the oldest finished logs that nobody reads, an eighth more than is needed; whether there is room now.
local function has_room(most)
    if held() < most then return true end
    prune()
    local skipped = 0
    while held() > most * 7 / 8 do
        local full = redis.call('ZRANGE', p .. 'finished', skipped, skipped)[1]
        if not full then break end
        local owner, name = string.match(full, '^([^/]*)/(.*)$')
        local reading = redis.call('HGET', p .. 'm:' .. owner .. ':' .. name, 'reading')
        if reading and redis.call('EXISTS', p .. 'w:' .. reading) == 1 then
            skipped = skipped + 1
        else
            drop_of(owner, name)
        end
    end
    return held() < most
end
local function touch(ttl)
    redis.call('ZADD', p .. 'sessions', 'XX', now() + ttl, session)
    redis.call('EXPIRE', fields, ttl)
    redis.call('EXPIRE', names, ttl)
end
"""

_APPEND_BODY = """
local function trim(last, first, size, most, bytes)
    while last - first >= most or (size > bytes and first < last) do
        local oldest = redis.call('XRANGE', events, '-', '+', 'COUNT', 1)[1]
        local dropped = #oldest[2][2]
        size = size - dropped
        redis.call('XDEL', events, oldest[1])
        count(session .. '/' .. log, -dropped - ENTRY_COST)
        first = first + 1
    end
    return first, size
end
local function append(data, finish, most, bytes, ttl, log_ttl, max_bytes)
    local full = session .. '/' .. log
    local m = redis.call('HMGET', meta, 'last', 'first', 'size', 'ended')
    if not m[1] or m[4] == '1' then return 0 end
    local last, first, size = tonumber(m[1]), tonumber(m[2]), tonumber(m[3])
    if data then
        last = last + 1
        size = size + #data
        redis.call('XADD', events, last .. '-0', 'd', data)
        local sum = count(full, #data + ENTRY_COST)
        first, size = trim(last, first, size, most, bytes)
        if sum > max_bytes and not has_room(max_bytes) then
            first, size = trim(last, first, size, most, math.floor(max_bytes / 256))
        end
    end
    redis.call('HSET', meta, 'last', last, 'first', first, 'size', size, 'ended', finish)
    if finish == '1' then
        redis.call('EXPIRE', meta, log_ttl)
        redis.call('EXPIRE', events, log_ttl)
        redis.call('ZREM', p .. 'open', full)
        redis.call('ZADD', p .. 'finished', now() + log_ttl, full)
    else
        redis.call('ZADD', p .. 'open', now() + ttl, full)
        redis.call('EXPIRE', meta, ttl)
        redis.call('EXPIRE', events, ttl)
    end
    changed(log)
    return last
end
"""

_SCRIPTS = {
    # ttl, max_sessions, max_bytes, name and value of each field
    "create_session": """
local ttl = tonumber(ARGV[4])
prune()
if redis.call('ZCARD', p .. 'sessions') >= tonumber(ARGV[5]) then return 0 end
if not has_room(tonumber(ARGV[6])) then return -2 end
local cost = SESSION_COST
redis.call('ZADD', p .. 'sessions', now() + ttl, session)
redis.call('HSET', fields, '', '')
for i = 7, #ARGV, 2 do
    redis.call('HSET', fields, ARGV[i], ARGV[i + 1])
    cost = cost + #ARGV[i] + #ARGV[i + 1] + ENTRY_COST
end
count(session, cost)
redis.call('EXPIRE', fields, ttl)
return 1
""",
    # ttl
    "get_session": """
local found = redis.call('HGETALL', fields)
if #found > 0 then touch(tonumber(ARGV[4])) end
return found
""",
    # max_bytes, name and value of each field; an empty value drops it
    "update_session": """
if redis.call('EXISTS', fields) == 0 then return 0 end
local change = 0
for i = 5, #ARGV, 2 do
    local field = #ARGV[i] + ENTRY_COST
    if redis.call('HEXISTS', fields, ARGV[i]) == 1 then
        change = change - field - redis.call('HSTRLEN', fields, ARGV[i])
    end
    if ARGV[i + 1] ~= '' then change = change + field + #ARGV[i + 1] end
end
if change > 0 and not has_room(tonumber(ARGV[4])) then return -2 end
for i = 5, #ARGV, 2 do
    if ARGV[i + 1] == '' then redis.call('HDEL', fields, ARGV[i])
    else redis.call('HSET', fields, ARGV[i], ARGV[i + 1]) end
end
count(session, change)
return 1
""",
    "delete_session": """
for _, name in ipairs(redis.call('ZRANGE', names, 0, -1)) do drop(name) end
redis.call('ZREM', p .. 'sessions', session)
forget(session)
return redis.call('DEL', fields)
""",
    # ttl, max_logs, max_finished, worker, will ('' for none), max_bytes
    "create_log": """
local ttl = tonumber(ARGV[4])
if redis.call('EXISTS', fields) == 0 then return 0 end
if redis.call('EXISTS', meta) == 1 then drop(log) end
local open, finished = 0, {}
if redis.call('ZCARD', names) >= math.min(tonumber(ARGV[5]), tonumber(ARGV[6])) then
    local inbox = string.sub(log, 1, 1) == 'i'
    for _, name in ipairs(redis.call('ZRANGE', names, 0, -1)) do
        local ended = redis.call('HGET', p .. 'm:' .. session .. ':' .. name, 'ended')
        if not ended then drop(name)
        elseif (string.sub(name, 1, 1) == 'i') == inbox then
            if ended == '0' then open = open + 1 else finished[#finished + 1] = name end
        end
    end
    if open >= tonumber(ARGV[5]) then return -1 end
    for i = 1, #finished - tonumber(ARGV[6]) + 1 do drop(finished[i]) end
end
if not has_room(tonumber(ARGV[9])) then return -2 end
redis.call('ZADD', names, redis.call('INCR', p .. 'logs'), log)
redis.call('ZADD', p .. 'open', now() + ttl, session .. '/' .. log)
count(session .. '/' .. log, LOG_COST + #ARGV[8])
redis.call('HSET', meta, 'last', 0, 'first', 1, 'size', 0, 'ended', 0, 'reader', 0, 'position', 0,
    'writer', ARGV[7], 'will', ARGV[8])
redis.call('EXPIRE', meta, ttl)
redis.call('EXPIRE', names, ttl)
return 1
""",
    "delete_log": """
drop(log)
return 1
""",
    # data, whether there is data, whether it ends, max_log_events, max_log_bytes, ttl, log_ttl, max_bytes
    "append": _APPEND_BODY
    + """
local data = nil
if ARGV[5] == '1' then data = ARGV[4] end
local limits = {}
for i = 7, 11 do limits[#limits + 1] = tonumber(ARGV[i]) end
return append(data, ARGV[6], unpack(limits))
""",
    # after, reader, events of a page, worker, whether it may take others for dead, max_log_events, max_log_bytes, ttl,
    # log_ttl, max_bytes. An inbox is read by its call alone, without being claimed, and lives as long as that looks.
    # The last value says whether the end of another process would end the log.
    "read": _APPEND_BODY
    + """
local after, reader, worker, ttl = tonumber(ARGV[4]), ARGV[5], ARGV[7], ARGV[11]
local m = redis.call('HMGET', meta, 'first', 'last', 'ended', 'reader', 'writer', 'will')
if not m[1] then return {'gone'} end
if reader ~= '0' then
    if m[4] ~= reader then return {'taken'} end
    touch(tonumber(ttl))
end
if m[3] == '0' and (reader ~= '0' or m[5] == worker) then
    redis.call('EXPIRE', meta, ttl)
    redis.call('EXPIRE', events, ttl)
    redis.call('ZADD', p .. 'open', now() + ttl, session .. '/' .. log)
end
local first, last, ended = tonumber(m[1]), tonumber(m[2]), m[3]
if after < first - 1 or after > last then return {'gone'} end
local foreign = m[6] ~= '' and m[5] ~= worker
if after == last and ended == '0' and foreign and ARGV[8] == '1' and redis.call('EXISTS', p .. 'w:' .. m[5]) == 0 then
    local limits = {}
    for i = 9, 13 do limits[#limits + 1] = tonumber(ARGV[i]) end
    last = append(m[6], '1', unpack(limits))
    ended = '1'
end
if after == last then return {ended, last, {}, foreign} end
return {ended, last, redis.call('XRANGE', events, (after + 1) .. '-0', '+', 'COUNT', ARGV[6]), foreign}
""",
    # worker
    "claim": """
if redis.call('EXISTS', meta) == 0 then return 0 end
redis.call('HSET', meta, 'reading', ARGV[4])
local reader = redis.call('HINCRBY', meta, 'reader', 1)
changed(log)
return reader
""",
    # reader, position
    "release": """
if redis.call('HGET', meta, 'reader') == ARGV[4] then
    redis.call('HDEL', meta, 'reading')
    redis.call('HSET', meta, 'position', ARGV[5])
end
return 1
""",
    # worker
    "position": """
local m = redis.call('HMGET', meta, 'position', 'reading')
if not m[1] or (m[2] and (m[2] == ARGV[4] or redis.call('EXISTS', p .. 'w:' .. m[2]) == 1)) then return -1 end
return tonumber(m[1])
""",
}


def _with_costs(script: str) -> str:
    for name, cost in _COSTS.items():
        script = script.replace(name, cost)
    return script


class _Connection:
    """One process's connections, and the name under which it is known to the others."""

    def __init__(self, url: str) -> None:
        try:
            import redis
        except ImportError as error:
            raise MissingExtra("RedisStore", "redis") from error
        self.process = os.getpid()
        self.worker = secrets.token_hex(8)
        # A pool that waits: there are many more threads than connections are needed, since no script takes long.
        options = {"max_connections": _CONNECTIONS, "timeout": _POOL_TIMEOUT, "protocol": 2}
        self.pool: Any = redis.BlockingConnectionPool.from_url(url, **options)
        self.redis: Any = redis.Redis(connection_pool=self.pool)
        self.scripts = {name: self.redis.register_script(_with_costs(_HEAD + text)) for name, text in _SCRIPTS.items()}
        self.stop = threading.Event()
        self.thread: threading.Thread | None = None
        # By the monotonic clock: the last sign of life, and from when on others may be taken for dead.
        self.beaten = time.monotonic()
        self.judging = self.beaten


class RedisStore(Store):
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

    shared = True

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
        self._url = url
        self._prefix = prefix + ":"
        self._session_ttl = session_ttl
        self._log_ttl = log_ttl
        self._max_sessions = max_sessions
        self._max_logs = max_logs
        self._max_finished = max_finished
        self._limits = (max_log_events, max_log_bytes, session_ttl, log_ttl, max_bytes)
        self._max_bytes = max_bytes
        # A look also puts off the expiry of the session.
        self._look = min(_LOOK, session_ttl / 4)
        self._worker_timeout = worker_timeout
        self._heartbeat = min(_HEARTBEAT, worker_timeout / 5)
        self._waiters = Waiters()
        # Guards the making of the connection.
        self._lock = threading.Lock()
        self._connection: _Connection | None = None
        self._closed = False

    # The connection.

    def _open(self) -> _Connection:
        connection = self._connection
        if connection is not None and connection.process == os.getpid():
            return connection
        with self._lock:
            connection = self._connection
            if connection is None or connection.process != os.getpid():
                if self._closed:
                    raise StoreClosed("the store is closed")
                # After a fork the parent's sockets are left alone.
                self._waiters = Waiters()
                with _translated():
                    connection = _Connection(self._url)
                    self._beat(connection)
                    listening = connection.redis.pubsub()
                    listening.subscribe(self._prefix + "changed")
                    connection.thread = threading.Thread(
                        target=self._watch, args=(connection, listening), name="streamhttp-store", daemon=True
                    )
                    connection.thread.start()
                self._connection = connection
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

    def _watch(self, connection: _Connection, listening: Any) -> None:
        """The thread of the store: signs of life, and changes from all processes."""
        while not connection.stop.is_set():
            try:
                if time.monotonic() - connection.beaten >= self._heartbeat:
                    self._beat(connection)
                # Comes back at once when something is said; redis-py subscribes anew after a broken
                # connection.
                message = listening.get_message(timeout=self._heartbeat / 4)
                if message is not None and message["type"] == "subscribe":
                    # Perhaps not for the first time: what was said while the connection was broken is lost.
                    self._waiters.wake_for_a_look()
                elif message is not None:
                    session, _, log = message["data"].decode().partition("/")
                    self._waiters.wake([(session, log)])
            except Exception:
                _log.exception("the store could not hear of changes")
                connection.stop.wait(1.0)
        listening.close()

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

    # Sessions. The values of fields are JSON; an empty one stands for none. Each session has a field without
    # a name, so that its hash exists.

    def create_session(self, session: str, fields: Mapping[str, Any]) -> None:
        pairs = [part for key, value in fields.items() for part in (key, json.dumps(value))]
        limits = (self._session_ttl, self._max_sessions, self._max_bytes)
        if not self._with_room(self._run("create_session", session, "", *limits, *pairs)):
            raise StoreFull(f"there are {self._max_sessions} sessions already")

    def _with_room(self, answer: int) -> int:
        if answer == -2:
            raise StoreFull(f"the store holds {self._max_bytes} bytes already")
        return answer

    def get_session(self, session: str) -> dict[str, Any] | None:
        found = self._run("get_session", session, "", self._session_ttl)
        return _fields(dict(zip(found[::2], found[1::2], strict=True))) if found else None

    def update_session(self, session: str, changes: Mapping[str, Any]) -> bool:
        pairs = [part for key, value in changes.items() for part in (key, "" if value is None else json.dumps(value))]
        return bool(self._with_room(self._run("update_session", session, "", self._max_bytes, *pairs)))

    def delete_session(self, session: str) -> bool:
        return bool(self._run("delete_session", session, ""))

    def iter_sessions(self, having: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        redis = self._open().redis
        with _translated():
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
        options = (self._session_ttl, self._max_logs, self._max_finished, worker, will or b"", self._max_bytes)
        made = self._with_room(self._run("create_log", session, log, *options))
        if made < 0:
            raise StoreFull(f"the session has {self._max_logs} unfinished streams already")
        return bool(made)

    def delete_log(self, session: str, log: str) -> None:
        self._run("delete_log", session, log)

    def append(self, session: str, log: str, data: bytes | None, *, end: bool = False) -> int:
        return int(self._run("append", session, log, data or b"", int(data is not None), int(end), *self._limits))

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

    def _read(self, session: str, log: str, after: int, reader: int) -> tuple[Page, float]:
        """What there is, and when to look again."""
        connection = self._open()
        judging = int(self._may_judge(connection))
        found = self._run("read", session, log, after, reader, _PAGE_EVENTS, connection.worker, judging, *self._limits)
        if found[0] == b"gone":
            return Page([], "gone"), 0.0
        if found[0] == b"taken":
            return Page([], "taken"), 0.0
        entries: list[tuple[int, bytes]] = []
        room = _PAGE_BYTES
        for name, pairs in found[2]:
            entries.append((int(name.partition(b"-")[0]), pairs[1]))
            room -= len(pairs[1])
            if room <= 0:
                break
        state: State = "ended" if found[0] == b"1" and after + len(entries) == found[1] else "open"
        return Page(entries, state), _LIFE_LOOK if found[3] else self._look

    def claim(self, session: str, log: str) -> int:
        return int(self._run("claim", session, log, self._open().worker))

    def release(self, session: str, log: str, reader: int, position: int) -> None:
        self._run("release", session, log, reader, position)

    def position(self, session: str, log: str) -> int | None:
        found = int(self._run("position", session, log, self._open().worker))
        return None if found < 0 else found

    # The rest.

    def wake(self) -> None:
        self._waiters.wake_all()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            connection, self._connection = self._connection, None
        if connection is None or connection.process != os.getpid():
            return
        connection.stop.set()
        try:
            # Ends the wait of the thread, which looks up only now and then by itself.
            connection.redis.publish(self._prefix + "changed", "/")
        except Exception:
            _log.debug("the store could not wake its thread", exc_info=True)
        if connection.thread is not None:
            connection.thread.join()
        try:
            # Said, and not left to the timeout: whatever this process has not ended will not be.
            connection.redis.delete(f"{self._prefix}w:{connection.worker}")
        except Exception:
            _log.warning("the store could not say goodbye", exc_info=True)
        connection.redis.close()
        connection.pool.disconnect()
        self._waiters.wake_all()


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
