-- SPDX-License-Identifier: Apache-2.0
-- What must happen whole or not at all on the stream of a store. The keys of one call share a slot (streams.py).
-- The text of store/counts.lua stands before this one: add_counts and now_ms are its.
-- VERSION in a name is replaced by a digest of this text, so that two versions of Endcap share one Redis.

local GROUP = 'endcap'

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
      local fields = {}
      for j = 1, #letter[2], 2 do
        fields[letter[2][j]] = letter[2][j + 1]
      end
      redis.call('XADD', keys[1], '*', 'e', fields.e, 'view', fields.view)
      redis.call('XDEL', keys[2], argv[i])
      replayed = replayed + 1
    end
  end
  return replayed
end

-- KEYS events; ARGV ms. Forgets consumers that were not heard of for so long and hold nothing.
local function prune(keys, argv)
  local gone = 0
  local rows = redis.pcall('XINFO', 'CONSUMERS', keys[1], GROUP)
  if rows.err then
    return 0
  end
  for _, row in ipairs(rows) do
    local consumer = {}
    for j = 1, #row, 2 do
      consumer[row[j]] = row[j + 1]
    end
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
redis.register_function('endcap_prune_VERSION', prune)
