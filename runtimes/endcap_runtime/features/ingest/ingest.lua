-- SPDX-License-Identifier: Apache-2.0
-- What must happen whole or not at all on the stream of a store. The keys of one call share a slot (streams.py).
-- The text of store/counts.lua stands before this one: add_counts and now_ms are its.
-- VERSION in a name is replaced by a digest of this text, so that two versions of Endcap share one Redis.

local GROUP = 'endcap'

-- Fields of an entry, or what XINFO tells, by name.
local function named(row)
  local found = {}
  for i = 1, #row, 2 do
    found[row[i]] = row[i + 1]
  end
  return found
end

-- KEYS events; ARGV most that may wait, then field `e` an event.
-- Takes all of them or none; answers {taken, waiting}.
local function accept(keys, argv)
  local waiting = redis.call('XLEN', keys[1])
  local count = #argv - 1
  if waiting + count > tonumber(argv[1]) then
    return {0, waiting}
  end
  for i = 2, #argv do
    redis.call('XADD', keys[1], '*', 'e', argv[i])
  end
  return {count, waiting}
end

-- KEYS events, dead, views; ARGV most dead letters, how many entries, the entries,
-- how many letters, five a letter (entry, e, reason, message, view), then pairs for the counts.
-- Who settles an entry first writes its letters, so that a batch that two workers had is not told twice.
local function settle(keys, argv)
  local most, entries = argv[1], tonumber(argv[2])
  local mine, settled = {}, 0
  for i = 3, 2 + entries do
    redis.call('XACK', keys[1], GROUP, argv[i])
    if redis.call('XDEL', keys[1], argv[i]) == 1 then
      mine[argv[i]] = true
      settled = settled + 1
    end
  end
  local at = 3 + entries
  local letters = tonumber(argv[at])
  for i = 1, letters do
    local from = at + 1 + (i - 1) * 5
    if mine[argv[from]] then
      local arrival = string.match(argv[from], '^%d+')
      redis.call('XADD', keys[2], 'MAXLEN', '~', most, '*', 'e', argv[from + 1], 'reason', argv[from + 2],
        'message', argv[from + 3], 'view', argv[from + 4], 'arrival', arrival)
    end
  end
  local now = now_ms()
  for i = at + 1 + letters * 5, #argv, 2 do
    add_counts(keys[3], argv[i], argv[i + 1], now)
  end
  return settled
end

-- KEYS events, dead; ARGV most that may wait, then dead letters. Answers how many, or -1 where they are too many.
-- A letter goes back for its own view alone: the others had the event.
local function replay(keys, argv)
  if redis.call('XLEN', keys[1]) + #argv - 1 > tonumber(argv[1]) then
    return -1
  end
  local replayed = 0
  for i = 2, #argv do
    local letter = redis.call('XRANGE', keys[2], argv[i], argv[i])[1]
    if letter then
      local fields = named(letter[2])
      redis.call('XADD', keys[1], '*', 'e', fields.e, 'view', fields.view)
      redis.call('XDEL', keys[2], argv[i])
      replayed = replayed + 1
    end
  end
  return replayed
end

local function delivered(events)
  for _, row in ipairs(redis.call('XINFO', 'GROUPS', events)) do
    local group = named(row)
    if group.name == GROUP then
      return group['last-delivered-id']
    end
  end
end

local function is_after(one, other)
  local ms, number = string.match(one, '^(%d+)-(%d+)$')
  local other_ms, other_number = string.match(other, '^(%d+)-(%d+)$')
  if ms == other_ms then
    return tonumber(number) > tonumber(other_number)
  end
  return tonumber(ms) > tonumber(other_ms)
end

-- KEYS events; ARGV consumer, how many of the oldest to look at. Takes up what was delivered and is held by nobody:
-- a group that was lost, or set to another place, would never give it out again. A group that stands beyond the
-- end of the stream is set to its end, or all that comes would be such. Answers the entries that are now held.
local function take_up(keys, argv)
  local last = redis.call('EXISTS', keys[1]) == 1 and delivered(keys[1])
  if not last then
    return {}
  end
  local stray = {}
  for _, entry in ipairs(redis.call('XRANGE', keys[1], '-', last, 'COUNT', argv[2])) do
    if #redis.call('XPENDING', keys[1], GROUP, entry[1], entry[1], 1) == 0 then
      stray[#stray + 1] = entry[1]
    end
  end
  local finish = named(redis.call('XINFO', 'STREAM', keys[1]))['last-generated-id']
  if is_after(last, finish) then
    redis.call('XGROUP', 'SETID', keys[1], GROUP, finish)
  end
  if #stray == 0 then
    return {}
  end
  stray[#stray + 1] = 'FORCE'
  return redis.call('XCLAIM', keys[1], GROUP, argv[1], 0, unpack(stray))
end

-- The log of exposures keeps what is applied, so that people can read it: what waits is what its group has not
-- acknowledged. Answers how many, and the id of the first, if there is one.
local function unapplied(log, most)
  if redis.call('EXISTS', log) == 0 then return 0 end
  local group
  for _, row in ipairs(redis.call('XINFO', 'GROUPS', log)) do
    local found = named(row)
    if found.name == GROUP then group = found end
  end
  if not group then
    local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
    return redis.call('XLEN', log), first and first[1]
  end
  local after = '(' .. group['last-delivered-id']
  local new = group.lag or #redis.call('XRANGE', log, after, '+', 'COUNT', most)
  if group.pending > 0 then return group.pending + new, redis.call('XPENDING', log, GROUP)[2] end
  local first = redis.call('XRANGE', log, after, '+', 'COUNT', 1)[1]
  return new, first and first[1]
end

-- KEYS log; ARGV most that may wait, then field `e` an exposure. Takes all of them or none; answers {taken, waiting}.
local function log_accept(keys, argv)
  local most, count = tonumber(argv[1]), #argv - 1
  local waiting = unapplied(keys[1], most + 1)
  if waiting + count > most then return {0, waiting} end
  for i = 2, #argv do
    redis.call('XADD', keys[1], '*', 'e', argv[i])
  end
  return {count, waiting}
end

-- KEYS log; ARGV how many are kept, by how many more it may have grown, then the entries that were applied.
-- What is trimmed is the oldest, a thousand at a time, and never what is not applied. Answers how many it acknowledged.
local function log_settle(keys, argv)
  local kept, applied = tonumber(argv[1]), 0
  for i = 3, #argv do
    applied = applied + redis.call('XACK', keys[1], GROUP, argv[i])
  end
  local excess = redis.call('XLEN', keys[1]) - kept
  if excess <= tonumber(argv[2]) then return applied end
  local rows = redis.call('XRANGE', keys[1], '-', '+', 'COUNT', math.min(excess, 1000) + 1)
  local bound = rows[#rows][1]
  local _, first = unapplied(keys[1], 1)
  if first and is_after(bound, first) then bound = first end
  redis.call('XTRIM', keys[1], 'MINID', '=', bound)
  return applied
end

-- KEYS log; ARGV most that may wait. Answers how many wait, and the id of the first or ''.
local function log_pulse(keys, argv)
  local waiting, first = unapplied(keys[1], tonumber(argv[1]))
  return {waiting, first or ''}
end

-- KEYS events; ARGV ms. Forgets consumers that were not heard of for so long and hold nothing.
local function prune(keys, argv)
  local gone = 0
  local rows = redis.pcall('XINFO', 'CONSUMERS', keys[1], GROUP)
  if rows.err then
    return 0
  end
  for _, row in ipairs(rows) do
    local consumer = named(row)
    if consumer.pending == 0 and consumer.idle > tonumber(argv[1]) then
      redis.call('XGROUP', 'DELCONSUMER', keys[1], GROUP, consumer.name)
      gone = gone + 1
    end
  end
  return gone
end

redis.register_function('endcap_accept_VERSION', accept)
redis.register_function('endcap_settle_VERSION', settle)
redis.register_function('endcap_replay_VERSION', replay)
redis.register_function('endcap_take_up_VERSION', take_up)
redis.register_function('endcap_prune_VERSION', prune)
redis.register_function('endcap_log_accept_VERSION', log_accept)
redis.register_function('endcap_log_settle_VERSION', log_settle)
redis.register_function('endcap_log_pulse_VERSION', log_pulse)
