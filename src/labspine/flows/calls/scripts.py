"""
The steps of calls that the server does in one piece.

They are one library (FUNCTION LOAD, Redis 7 and Valkey), so that a user needs no right to run scripts of its
own. The names carry a digest of the text: programs of two versions can work side by side.
"""

from __future__ import annotations

import hashlib
from typing import Any

from ...errors import PermissionDenied, ServerError
from ..exchange import Argument, Command, Exchange, Flow
from .keys import GROUP, MOST_AT_ONCE, REPLY_KEPT_MS, SILENCE_MS

__all__ = ["BEAT", "END", "INHERIT", "INQUIRE", "LIBRARY", "LOCATE", "WITHDRAW", "fcall", "stepped"]

KEPT_MS = 60_000

_HELPERS = f"""
local GROUP, SILENCE, KEPT = '{GROUP}', {SILENCE_MS}, {KEPT_MS}
local function now_ms() local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000) end
local function score(ms) return string.format('%.0f', ms) end
"""

# KEYS: stream, beats. ARGV: entry. Where the request is, and how many instances live.
_INQUIRE = """
local now = now_ms()
local live = redis.call('ZCOUNT', KEYS[2], score(now - SILENCE), '+inf')
if ARGV[1] == '' then return {'gone', live} end
local held = redis.pcall('XPENDING', KEYS[1], GROUP, ARGV[1], ARGV[1], 1)
if not held.err and held[1] then
  local heard = redis.call('ZSCORE', KEYS[2], held[1][2])
  return {heard and tonumber(heard) >= now - SILENCE and 'held' or 'orphan', live}
end
if redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1] then return {'waiting', live} end
return {'gone', live}
"""

# KEYS: stream, alive. ARGV: entry, call, whether to take it from its holder. Whether it was taken back.
_WITHDRAW = f"""
local held = redis.pcall('XPENDING', KEYS[1], GROUP, ARGV[1], ARGV[1], 1)
if not held.err and held[1] then
  if ARGV[3] == '' then
    local inbox = KEYS[1] .. '/inbox/' .. held[1][2]
    redis.call('RPUSH', inbox, 'c' .. ARGV[2])
    redis.call('PEXPIRE', inbox, {REPLY_KEPT_MS})
    return 0
  end
  redis.call('XACK', KEYS[1], GROUP, ARGV[1])
end
local removed = redis.call('XDEL', KEYS[1], ARGV[1])
if redis.call('EXISTS', KEYS[2]) == 0 and redis.call('XLEN', KEYS[1]) == 0 then
  redis.call('DEL', KEYS[1])
end
return removed
"""

# KEYS: stream. ARGV: call. The entry of its request.
_LOCATE = """
local last = '-'
for page = 1, 20 do
  local entries = redis.call('XRANGE', KEYS[1], last, '+', 'COUNT', 1000)
  for _, entry in ipairs(entries) do
    if entry[2][2] == ARGV[1] then return entry[1] end
    last = '(' .. entry[1]
  end
  if #entries < 1000 then return false end
end
return false
"""

# KEYS: stream, alive, beats, facts. ARGV: instance, facts, x if exclusive. The clock, a usurper, the dead.
_BEAT = """
local now, me, exclusive = now_ms(), ARGV[1], ARGV[3]
local since, holder = score(now - SILENCE), redis.call('GET', KEYS[2])
for _, other in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], since, '+inf')) do
  if other ~= me and (holder == 'x' .. other or (exclusive == 'x' and holder ~= 'x' .. me)) then
    return {now, other}
  end
end
redis.call('SET', KEYS[2], exclusive .. me, 'PX', SILENCE)
redis.call('ZADD', KEYS[3], score(now), me)
redis.call('HSET', KEYS[4], me, ARGV[2])
redis.call('PEXPIRE', KEYS[3], KEPT)
redis.call('PEXPIRE', KEYS[4], KEPT)
return {now, false, redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', '(' .. since, 'LIMIT', 0, 8)}
"""

# KEYS: stream, beats, facts. ARGV: the dead, instance. The requests that the dead one held.
_INHERIT = f"""
local heard = redis.call('ZSCORE', KEYS[2], ARGV[1])
if heard and tonumber(heard) >= now_ms() - SILENCE then return {{}} end
local held = redis.call('XPENDING', KEYS[1], GROUP, '-', '+', {MOST_AT_ONCE}, ARGV[1])
if #held == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], GROUP, ARGV[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[3], ARGV[1])
  redis.call('DEL', KEYS[1] .. '/inbox/' .. ARGV[1])
  return {{}}
end
local command = {{'XCLAIM', KEYS[1], GROUP, ARGV[2], 0}}
for _, one in ipairs(held) do command[#command + 1] = one[1] end
return redis.call(unpack(command))
"""

# KEYS: stream, alive, beats, facts. ARGV: instance. How many others live.
_END = """
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[4], ARGV[1])
redis.call('DEL', KEYS[1] .. '/inbox/' .. ARGV[1])
local held = redis.pcall('XPENDING', KEYS[1], GROUP, '-', '+', 1, ARGV[1])
if not held.err and not held[1] then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], GROUP, ARGV[1]) end
if redis.call('ZCARD', KEYS[3]) > 0 then return 1 end
redis.call('DEL', KEYS[2])
if redis.call('XLEN', KEYS[1]) == 0 then redis.call('DEL', KEYS[1]) end
return 0
"""

_STEPS = {
    "inquire": _INQUIRE,
    "withdraw": _WITHDRAW,
    "locate": _LOCATE,
    "beat": _BEAT,
    "inherit": _INHERIT,
    "end": _END,
}
_DIGEST = hashlib.sha256("".join([_HELPERS, *_STEPS.values()]).encode()).hexdigest()[:12]
INQUIRE, WITHDRAW, LOCATE, BEAT, INHERIT, END = (f"labspine_calls_{name}_{_DIGEST}" for name in _STEPS)


def _library() -> str:
    parts = [f"#!lua name=labspine_calls_{_DIGEST}\n", _HELPERS]
    for step, body in _STEPS.items():
        name = f"labspine_calls_{step}_{_DIGEST}"
        parts.append(f"redis.register_function('{name}', function(KEYS, ARGV)\n{body}\nend)\n")
    return "".join(parts)


LIBRARY = _library()
"""What FUNCTION LOAD is given."""


def fcall(name: str, keys: tuple[str, ...], *words: Argument) -> Command:
    """Ask for one of the steps."""
    return ("FCALL", name, len(keys), *keys, *words)


def stepped(ask: Exchange) -> Flow[list[Any]]:
    """
    Do a step; bring the library if the server does not know it.

    Asks:
        What is given; FUNCTION LOAD and the same again if the server has lost its functions.

    Returns:
        The replies; none if there is no library and this user may not bring it: no service was here then.
    """
    try:
        return (yield ask)
    except ServerError as error:
        if "Function not found" not in str(error):
            raise
    try:
        yield Exchange((("FUNCTION", "LOAD", "REPLACE", LIBRARY),))
    except PermissionDenied:
        return []
    return (yield ask)
