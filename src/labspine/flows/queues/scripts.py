"""
The steps of a queue that must be done in one piece, as functions of the server.

They are one library (FUNCTION LOAD, Redis 7 and Valkey), so that a user needs no right to run scripts of its
own, and so that they are still there after a restart. Its name holds a digest of its text: programs of two
versions work side by side.

A queue is these keys, all in one slot because of the braces (``base`` is ``labspine/queue/{name}``):

- ``base/high``, ``base/normal``, ``base/low``: streams with the group ``workers``. Fields of an entry: ``i``
  its id, ``d`` its content, ``n`` how often it had been handed out before it came into the stream. What is in
  the group's pending list is claimed; an entry is deleted when it is acknowledged.
- ``base/delayed``: a sorted set of packed entries by the time (ms) at which they are due.
- ``base/dead``: a stream of the buried; also ``r`` the reason, ``p`` the priority.
- ``base/seen``, ``base/seen-before``: the names of the last 10,000 to 20,000 puts: repeats are known by them.

A claimer is a consumer whose name begins with its lease in ms, so that everybody knows how long it may be
idle.
"""

from __future__ import annotations

import hashlib

__all__ = [
    "ACKNOWLEDGE",
    "BURY",
    "CLAIM",
    "DECLARE",
    "GIVE_BACK",
    "GROUP",
    "LIBRARY",
    "PURGE",
    "PUT",
    "REQUEUE",
    "TOUCH",
    "UNREAD",
]

GROUP = b"workers"

_HELPERS = """

local function now_ms() local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000) end

local function mine(key, id, count, me)
  local p = redis.pcall('XPENDING', key, 'workers', id, id, 1, me)
  return p[1] ~= nil and p[1][4] == tonumber(count)
end

local function drop(key, id) redis.call('XACK', key, 'workers', id) redis.call('XDEL', key, id) end

local function field(fields, name)
  for i = 1, #fields, 2 do if fields[i] == name then return fields[i + 1] end end
end

local function counted(fields, count)
  local copy = {}
  for i = 1, #fields, 2 do
    if fields[i] ~= 'n' then copy[#copy + 1] = fields[i] copy[#copy + 1] = fields[i + 1] end
  end
  copy[#copy + 1] = 'n' copy[#copy + 1] = tostring(count)
  return copy
end

local STREAMS = {'high', 'normal', 'low'}
local function entomb(base, priority, fields, count, reason)
  local copy = counted(fields, count)
  redis.call('XADD', base .. '/dead', '*', 'r', reason, 'p', priority, unpack(copy))
end

local function acknowledge_one(key, id, me, count, is_repeat)
  local p = redis.pcall('XPENDING', key, 'workers', id, id, 1, me)
  if p[1] and p[1][4] == count then
    drop(key, id)
    return 1
  end
  return is_repeat and #redis.call('XRANGE', key, id, id) == 0 and 1 or 0
end

local function acknowledge_many(key, me, count, ids, at, many, is_repeat, told)
  local held, done = {}, {}
  local p = redis.pcall('XPENDING', key, 'workers', '-', '+', many + 1000, me)
  for _, e in ipairs(p) do held[e[1]] = e[4] end
  for i = at, at + many - 1 do
    local id = ids[i]
    if held[id] == count then
      done[#done + 1] = id
      held[id] = nil
      told[#told + 1] = 1
    elseif held[id] == nil and #p < many + 1000 and not is_repeat then
      told[#told + 1] = 0
    else
      told[#told + 1] = acknowledge_one(key, id, me, count, is_repeat)
    end
  end
  if #done > 0 then
    redis.call('XACK', key, 'workers', unpack(done))
    redis.call('XDEL', key, unpack(done))
  end
end

local function acknowledge(KEYS, ARGV, is_repeat, at)
  local told = {}
  while at <= #ARGV do
    local key, me = KEYS[tonumber(ARGV[at])] .. '/' .. ARGV[at + 1], ARGV[at + 2]
    local count, many = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
    at = at + 5
    if many == 1 then told[#told + 1] = acknowledge_one(key, ARGV[at], me, count, is_repeat)
    else acknowledge_many(key, me, count, ARGV, at, many, is_repeat, told) end
    at = at + many
  end
  return told
end

local function is_new(base, name)
  local seen, before = base .. '/seen', base .. '/seen-before'
  if redis.call('HSETNX', seen, name, 1) == 0 then return false end
  if redis.call('HEXISTS', before, name) == 1 then return false end
  if redis.call('HLEN', seen) >= 10000 then
    redis.call('UNLINK', before) redis.call('RENAME', seen, before)
  end
  return true
end
local function is_known(base, name)
  return redis.call('HEXISTS', base .. '/seen', name) == 1
    or redis.call('HEXISTS', base .. '/seen-before', name) == 1
end

local function reclaim(q, base, s, me, want, most, found)
  local key, entries, counts = base .. '/' .. s, {}, {}
  local p = redis.pcall('XPENDING', key, 'workers', 'IDLE', 1, '-', '+', 1000)
  if p.err then return want end
  for _, e in ipairs(p) do
    if want > 0 and e[3] >= (tonumber(e[2]:match('^%d+')) or 30000) then
      local got = redis.call('XCLAIM', key, 'workers', me, 0, e[1])
      if got[1] then
        local total = e[4] + tonumber(field(got[1][2], 'n') or 0)
        if most > 0 and total >= most then
          entomb(base, s, got[1][2], total, 'handed out ' .. total .. ' times and never acknowledged')
          drop(key, e[1])
        else
          entries[#entries + 1] = got[1] counts[#counts + 1] = e[4] + 1
          want = want - 1
        end
      end
    end
  end
  if #entries > 0 then found[#found + 1] = {q, s, entries, counts} end
  for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', key, 'workers')) do
    if c[4] == 0 and c[6] > 600000 then redis.call('XGROUP', 'DELCONSUMER', key, 'workers', c[2]) end
  end
  return want
end
"""

_DECLARE = """
for _, s in ipairs(STREAMS) do
  redis.pcall('XGROUP', 'CREATE', KEYS[1] .. '/' .. s, 'workers', '0', 'MKSTREAM')
end
return 1
"""

# ARGV: token, priority, limit, '+delay ms' or 'time ms' or '', then id and content of each.
_PUT = """
local base, token, limit, due = KEYS[1], ARGV[1], ARGV[3], ARGV[4]
local key = base .. '/' .. ARGV[2]
if limit ~= '' and not (token ~= '' and is_known(base, token)) then
  local held, more = redis.call('ZCARD', base .. '/delayed'), 0
  for _, s in ipairs(STREAMS) do held = held + redis.call('XLEN', base .. '/' .. s) end
  if token ~= '' then more = (#ARGV - 4) / 2 else
    for i = 5, #ARGV, 2 do if not is_known(base, ARGV[i]) then more = more + 1 end end
  end
  if more > 0 and held + more > tonumber(limit) then return -1 - held end
end
if token ~= '' and not is_new(base, token) then return 0 end
if due ~= '' then due = due:sub(1, 1) == '+' and now_ms() + tonumber(due) or tonumber(due) end
local put = 0
for i = 5, #ARGV, 2 do
  if token ~= '' or is_new(base, ARGV[i]) then
    if due == '' then redis.call('XADD', key, '*', 'i', ARGV[i], 'd', ARGV[i + 1])
    else
      redis.call('ZADD', base .. '/delayed', due, cmsgpack.pack({ARGV[2], {'i', ARGV[i], 'd', ARGV[i + 1]}}))
    end
    put = put + 1
  end
end
return put
"""

# ARGV: consumer, count, most deliveries or 0, whether to look for ended leases, whether it is a repeat,
# groups of acknowledgements.
_CLAIM = """
local me, want, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local told = acknowledge(KEYS, ARGV, ARGV[5] == '1', 6)
local found, next_due, now = {}, -1, nil
for _, base in ipairs(KEYS) do
  local delayed = base .. '/delayed'
  local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  if first[1] then
    now = now or now_ms()
    if tonumber(first[2]) <= now then
      for _, packed in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, 200)) do
        local one = cmsgpack.unpack(packed)
        redis.call('XADD', base .. '/' .. one[1], '*', unpack(one[2]))
        redis.call('ZREM', delayed, packed)
      end
      first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
    end
    if first[1] then
      local left = math.max(0, math.ceil(tonumber(first[2]) - now))
      if next_due < 0 or left < next_due then next_due = left end
    end
  end
end
local busy = 0
for q, base in ipairs(KEYS) do
  for _, s in ipairs(STREAMS) do
    local key = base .. '/' .. s
    if redis.call('XLEN', key) > 0 then
      busy = busy + 1
      if ARGV[4] == '1' and want > 0 then want = reclaim(q, base, s, me, want, most, found) end
      if want > 0 then
        local got = redis.pcall('XREADGROUP', 'GROUP', 'workers', me, 'COUNT', want, 'STREAMS', key, '>')
        if got and got.err then
          if not got.err:find('NOGROUP') then return got end
          redis.call('XGROUP', 'CREATE', key, 'workers', '0', 'MKSTREAM')
          got = redis.call('XREADGROUP', 'GROUP', 'workers', me, 'COUNT', want, 'STREAMS', key, '>')
        end
        if got then
          found[#found + 1] = {q, s, got[1][2], {}}
          want = want - #got[1][2]
        end
      end
    end
  end
end
return {told, found, next_due, busy}
"""

# ARGV: whether it is a repeat, then groups: number of the key, stream, consumer, count, how many, their ids.
_ACKNOWLEDGE = """
return acknowledge(KEYS, ARGV, ARGV[1] == '1', 2)
"""

# ARGV: consumer, then stream, id and count of each.
_TOUCH = """
local told = {}
for i = 2, #ARGV, 3 do
  local key = KEYS[1] .. '/' .. ARGV[i]
  local is_mine = mine(key, ARGV[i + 1], ARGV[i + 2], ARGV[1])
  if is_mine then redis.call('XCLAIM', key, 'workers', ARGV[1], 0, ARGV[i + 1], 'JUSTID') end
  told[#told + 1] = is_mine and 1 or 0
end
return told
"""

# ARGV: consumer, stream, id, count, delay ms, most deliveries or 0, 1 if this delivery counts.
_GIVE_BACK = """
local base, s, id, delay, most = KEYS[1], ARGV[2], ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[6])
local key = base .. '/' .. s
if not mine(key, id, ARGV[4], ARGV[1]) then return 0 end
local entry = redis.call('XRANGE', key, id, id)[1]
if entry then
  local total = tonumber(ARGV[4]) + tonumber(field(entry[2], 'n') or 0)
  if ARGV[7] ~= '1' then total = total - 1 end
  local fields = counted(entry[2], total)
  if most > 0 and total >= most then
    entomb(base, s, fields, total, 'given back after ' .. total .. ' deliveries')
  elseif delay > 0 then
    redis.call('ZADD', base .. '/delayed', now_ms() + delay, cmsgpack.pack({s, fields, id}))
  else redis.call('XADD', key, '*', unpack(fields)) end
end
drop(key, id)
return 1
"""

# ARGV: consumer, stream, ids in order; deliveries that nobody has seen. If they were the last that the group
# read, its position goes back, so that they keep their place; else they go to the end.
_UNREAD = """
local key, me, first, last = KEYS[1] .. '/' .. ARGV[2], ARGV[1], ARGV[3], ARGV[#ARGV]
local position
for _, g in ipairs(redis.call('XINFO', 'GROUPS', key)) do
  if g[2] == 'workers' then position = g[8] end
end
local ms, seq = first:match('^(%d+)-(%d+)$')
local before = tonumber(seq) > 0 and ms .. '-' .. string.format('%.0f', tonumber(seq) - 1)
  or string.format('%.0f', tonumber(ms) - 1) .. '-18446744073709551615'
for i = 3, #ARGV do
  if mine(key, ARGV[i], '1', me) then
    if position == last then redis.call('XACK', key, 'workers', ARGV[i])
    else
      local entry = redis.call('XRANGE', key, ARGV[i], ARGV[i])[1]
      if entry then redis.call('XADD', key, '*', unpack(entry[2])) end
      drop(key, ARGV[i])
    end
  end
end
if position == last then redis.call('XGROUP', 'SETID', key, 'workers', before) end
return 1
"""

# ARGV: consumer, stream, id, count, reason.
_BURY = """
local key, id = KEYS[1] .. '/' .. ARGV[2], ARGV[3]
if not mine(key, id, ARGV[4], ARGV[1]) then return 0 end
local entry = redis.call('XRANGE', key, id, id)[1]
if entry then
  local total = tonumber(ARGV[4]) + tonumber(field(entry[2], 'n') or 0)
  entomb(KEYS[1], ARGV[2], entry[2], total, ARGV[5])
end
drop(key, id)
return 1
"""

# ARGV: from where in the dead letters, then the wanted ids; none for all. Returns how many, and where to go
# on.
_REQUEUE = """
local base, wanted, moved = KEYS[1], {}, 0
for i = 2, #ARGV do wanted[ARGV[i]] = true end
local page = redis.call('XRANGE', base .. '/dead', ARGV[1], '+', 'COUNT', 500)
for _, e in ipairs(page) do
  local fields, priority, id = {}, 'normal', nil
  for i = 1, #e[2], 2 do
    local name, value = e[2][i], e[2][i + 1]
    if name == 'p' then priority = value
    elseif name == 'i' then id = value end
    if name ~= 'p' and name ~= 'r' and name ~= 'n' then
      fields[#fields + 1] = name fields[#fields + 1] = value
    end
  end
  if #ARGV == 1 or wanted[id] or wanted[e[1]] then
    redis.call('XADD', base .. '/' .. priority, '*', unpack(fields))
    redis.call('XDEL', base .. '/dead', e[1])
    moved = moved + 1
  end
end
return {moved, #page == 500 and '(' .. page[500][1] or ''}
"""

# ARGV: consumer. Returns how many; call it again while that is 1000 or more.
_PURGE = """
local base, gone = KEYS[1], 0
for _, s in ipairs(STREAMS) do
  local key = base .. '/' .. s
  local got = redis.pcall('XREADGROUP', 'GROUP', 'workers', ARGV[1], 'COUNT', 1000, 'STREAMS', key, '>')
  if got and not got.err then
    for _, e in ipairs(got[1][2]) do
      redis.call('XACK', key, 'workers', e[1]) redis.call('XDEL', key, e[1])
      gone = gone + 1
    end
  end
end
gone = gone + redis.call('ZCARD', base .. '/delayed')
redis.call('UNLINK', base .. '/delayed')
return gone
"""

_STEPS = {
    "declare": _DECLARE,
    "put": _PUT,
    "claim": _CLAIM,
    "acknowledge": _ACKNOWLEDGE,
    "touch": _TOUCH,
    "give_back": _GIVE_BACK,
    "bury": _BURY,
    "unread": _UNREAD,
    "requeue": _REQUEUE,
    "purge": _PURGE,
}
_DIGEST = hashlib.sha256("".join([_HELPERS, *_STEPS.values()]).encode()).hexdigest()[:12]


def _named(step: str) -> str:
    return f"labspine_queue_{step}_{_DIGEST}"


def _library() -> str:
    steps = (
        f"redis.register_function('{_named(step)}', function(KEYS, ARGV)\n{code.strip()}\nend)"
        for step, code in _STEPS.items()
    )
    return "\n".join((f"#!lua name=labspine_queues_{_DIGEST}", _HELPERS.strip(), *steps))


LIBRARY = _library()
"""What FUNCTION LOAD is given."""

DECLARE, PUT, CLAIM, ACKNOWLEDGE, TOUCH, GIVE_BACK, BURY, UNREAD, REQUEUE, PURGE = (
    _named(step).encode() for step in _STEPS
)
