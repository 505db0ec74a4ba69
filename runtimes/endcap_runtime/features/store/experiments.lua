-- SPDX-License-Identifier: Apache-2.0
-- What exposures and outcomes change: the state of a unit, and the sums of its part of the store, in one step.
-- It stands behind the text of library.lua: refusal is its.
--
-- A state is a hash: v variant, e epoch, t time of the first exposure, a its arrival, c whether the unit crossed, and
-- of a metric y|<name>, d|<name> and x|<name>. Sums are a hash: units|, crossed| and fallback|<epoch>|<variant> are
-- counts, sums|<epoch>|<variant>|<metric> eight doubles, newest the time of the newest that was counted.
-- All keys of a call are read before one is written: one of another type stops the call before it changed anything.

local KEEP = 7776000000      -- 90 days
local WAIT = 900000          -- how long before its exposure an outcome may arrive
local WAIT_KEPT = 1200000    -- for how long it is kept: longer, for exposures that wait in the stream themselves
local MOST_WAITING = 65536   -- bytes of a unit: some hundreds of outcomes
local SUMS = '<dddddddd'

local function group_of(epoch, variant) return epoch .. '|' .. variant end

local function heard(sums, time)
  local newest = redis.call('HGET', sums, 'newest')
  if not newest or tonumber(newest) < time then redis.call('HSET', sums, 'newest', time) end
  redis.call('PEXPIRE', sums, KEEP)
end

local function add(sums, group, metric, ...)
  local field = 'sums|' .. group .. '|' .. metric
  local packed = redis.call('HGET', sums, field)
  local now, more = packed and { struct.unpack(SUMS, packed) } or { 0, 0, 0, 0, 0, 0, 0, 0 }, { ... }
  for i = 1, 8 do now[i] = now[i] + more[i] end
  redis.call('HSET', sums, field, struct.pack(SUMS, unpack(now, 1, 8)))
end

-- One event's worth for one metric: y and d are what they are after it, and the sums follow.
local function tally(state, sums, group, metric, part, value)
  local found = redis.call('HMGET', state, 'y|' .. metric, 'd|' .. metric, 'x|' .. metric)
  local y, d, x = tonumber(found[1] or 0), tonumber(found[2] or 0), tonumber(found[3] or 0)
  local to_y, to_d = y, d
  if part == 'c' then to_y = 1 elseif part == 'y' then to_y = y + value else to_d = d + value end
  if to_y == y and to_d == d then return end
  add(sums, group, metric, to_y - y, to_y * to_y - y * y, 0, 0, x * (to_y - y), to_d - d, to_d * to_d - d * d,
    to_y * to_d - y * d)
  redis.call('HSET', state, 'y|' .. metric, to_y, 'd|' .. metric, to_d)
end

-- An outcome of a unit that is exposed; `told` gets a word for each of its metrics.
local function join(state, sums, record, word, told)
  local unit = redis.call('HMGET', state, 't', 'a', 'e', 'v')
  local first, exposed, group = tonumber(unit[1]), tonumber(unit[2]), group_of(unit[3], unit[4])
  local time, arrival, position = struct.unpack('<i8i8', record)
  local metric, part, value, window
  while position <= #record do
    metric, part, value, window, position = struct.unpack('<Bc0c1di8', record, position)
    if exposed > arrival + WAIT or time < first or time > first + window then
      told[#told + 1] = 'OUTSIDE'
    else
      tally(state, sums, group, metric, part, value)
      heard(sums, time)
      told[#told + 1] = word
    end
  end
end

-- The outcomes that came before the exposure; answers what `told` is then: a metric and a word, by turns.
local function join_waiting(state, sums, records)
  local told, position, record = {}, 1
  while position <= #records do
    record, position = struct.unpack('<I4c0', records, position + 8)
    local words = {}
    join(state, sums, record, 'JOINED', words)
    local at, metric, before = 17
    for _, word in ipairs(words) do
      metric, at = struct.unpack('<Bc0', record, at)
      at = at + 17
      if metric ~= before then told[#told + 1], told[#told + 2] = metric, word end
      before = metric
    end
  end
  return told
end

local function exposed_again(state, sums, variant, time)
  local known = redis.call('HMGET', state, 'v', 'e')
  redis.call('PEXPIRE', state, KEEP)
  heard(sums, time)
  if known[1] == variant or redis.call('HSETNX', state, 'c', 1) == 0 then return { 'AGAIN' } end
  redis.call('HINCRBY', sums, 'crossed|' .. group_of(known[2], known[1]), 1)
  return { 'CROSSED' }
end

-- KEYS state, sums, wait; ARGV variant, epoch, time, arrival, 1 where another variant served, then a metric and its
-- covariate by turns. Answers FIRST, AGAIN or CROSSED, then the waiting outcomes: a metric and a word by turns.
local function expose(keys, args)
  local state, sums, wait = keys[1], keys[2], keys[3]
  local variant, epoch, time, arrival = args[1], args[2], tonumber(args[3]), tonumber(args[4])
  local records = redis.call('GET', wait)
  redis.call('HGET', sums, 'newest')
  if redis.call('HEXISTS', state, 'v') == 1 then return exposed_again(state, sums, variant, time) end
  local group = group_of(epoch, variant)
  redis.call('HSET', state, 'v', variant, 'e', epoch, 't', time, 'a', arrival)
  redis.call('HINCRBY', sums, 'units|' .. group, 1)
  if args[5] == '1' then redis.call('HINCRBY', sums, 'fallback|' .. group, 1) end
  for i = 6, #args, 2 do
    local x = tonumber(args[i + 1])
    redis.call('HSET', state, 'x|' .. args[i], x)
    add(sums, group, args[i], 0, 0, x, x * x, 0, 0, 0, 0)
  end
  heard(sums, time)
  local told = { 'FIRST' }
  if records then
    for _, part in ipairs(join_waiting(state, sums, records)) do told[#told + 1] = part end
    redis.call('DEL', wait)
  end
  redis.call('PEXPIRE', state, KEEP)
  return told
end

-- What waits of a unit, without what waits for too long or is too much, the oldest first. An outcome is kept with the
-- time at which it began to wait, which after an outage is long after it arrived: its exposure may be as late.
local function still_waiting(records, now)
  local position = 1
  while position <= #records do
    local since, length = struct.unpack('<i8I4', records, position)
    if since >= now - WAIT_KEPT and #records - position < MOST_WAITING then break end
    position = position + 12 + length
  end
  return string.sub(records, position)
end

local function wait_for_exposure(wait, records, record)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local waiting = still_waiting(records or '', now) .. struct.pack('<i8I4c0', now, #record, record)
  redis.call('SET', wait, waiting, 'PX', WAIT_KEPT)
end

-- KEYS state, sums, seen, wait; ARGV q time, q arrival, q lateness, q keep (ms) and the outcome's id, as one; then its
-- record: q time that counts, q arrival, and for each metric a name, y, c (conversion) or d, the value, the window.
-- Answers DUPLICATE, LATE, FUTURE or WAITING, or a word for each metric: COUNTED or OUTSIDE of its window.
local function outcome(keys, args)
  local state, sums, seen, wait = keys[1], keys[2], keys[3], keys[4]
  local time, arrival, lateness, keep, at = struct.unpack('<i8i8i8i8', args[1])
  local exposed = redis.call('HEXISTS', state, 'v') == 1
  redis.call('HGET', sums, 'newest')
  local records = redis.call('GET', wait)
  local why = refusal(seen, string.sub(args[1], at), time, arrival, lateness, keep)
  if why then return { why } end
  if not exposed then
    wait_for_exposure(wait, records, args[2])
    return { 'WAITING' }
  end
  local told = {}
  join(state, sums, args[2], 'COUNTED', told)
  redis.call('PEXPIRE', state, KEEP)
  return told
end

redis.register_function('endcap_expose_VERSION', expose)
redis.register_function('endcap_outcome_VERSION', outcome)
