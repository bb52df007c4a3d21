"""What happens in Redis: each change of a :class:`~.redis_store.RedisStore` is one script in Lua, so that it happens
whole.

Keys, all below one prefix: ``s:<session>`` (fields), ``k:<session>`` (names of its logs), ``m:<session>:<log>``
(what is known of a log), ``e:<session>:<log>`` (its events), ``w:<worker>`` (signs of life). What expires by itself
cannot say how much it held, so there is also ``sessions``, ``open`` and ``finished`` (sessions and logs by their
expiry) and ``bytes`` (what each costs, and under the empty name the sum). ``listening`` holds the sessions that have
had a field of :data:`LISTENER`, ``secret`` is that of all processes. The scripts reach several keys at once, so a
cluster is not supported.
"""

from __future__ import annotations

__all__ = ["LISTENER", "SCRIPTS"]

#: How the names of fields begin by which sessions are looked for: often, and among many.
LISTENER = "listener:"

# What an entry, a log and a session cost besides their data, in bytes; measured with Redis 7, rounded up.
_WORDS = {"ENTRY_COST": "64", "LOG_COST": "2048", "SESSION_COST": "1024", "LISTENER": f"'{LISTENER}'"}

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
local function set_field(name, value)
    redis.call('HSET', fields, name, value)
    if string.sub(name, 1, #LISTENER) == LISTENER then redis.call('SADD', p .. 'listening', session) end
end
local function held() return tonumber(redis.call('HGET', p .. 'bytes', '') or 0) end
-- Forget what has expired, some of it each time.
local function prune()
    for _, kind in ipairs({'sessions', 'open', 'finished'}) do
        for _, name in ipairs(redis.call('ZRANGEBYSCORE', p .. kind, '-inf', '(' .. now(), 'LIMIT', 0, 1000)) do
            forget(name)
            redis.call('ZREM', p .. kind, name)
            if kind == 'sessions' then redis.call('SREM', p .. 'listening', name) end
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
        touch(ttl)
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
    set_field(ARGV[i], ARGV[i + 1])
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
    else set_field(ARGV[i], ARGV[i + 1]) end
end
count(session, change)
return 1
""",
    "delete_session": """
for _, name in ipairs(redis.call('ZRANGE', names, 0, -1)) do drop(name) end
redis.call('ZREM', p .. 'sessions', session)
redis.call('SREM', p .. 'listening', session)
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
elseif reader ~= '0' then -- finished, and read slowly
    redis.call('EXPIRE', meta, ARGV[12])
    redis.call('EXPIRE', events, ARGV[12])
    redis.call('ZADD', p .. 'finished', now() + ARGV[12], session .. '/' .. log)
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
    # ttl
    "keep": """
local ttl = tonumber(ARGV[4])
if redis.call('HGET', meta, 'ended') ~= '0' then return 0 end
redis.call('EXPIRE', meta, ttl)
redis.call('EXPIRE', events, ttl)
redis.call('ZADD', p .. 'open', now() + ttl, session .. '/' .. log)
touch(ttl)
return 1
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


def _with_words(script: str) -> str:
    for name, word in _WORDS.items():
        script = script.replace(name, word)
    return script


#: By name. Each takes the prefix, the session, the log, and what its comment says.
SCRIPTS = {name: _with_words(_HEAD + text) for name, text in _SCRIPTS.items()}
