-- SPDX-License-Identifier: Apache-2.0
-- What is counted of each view of a store: since when it is fed, its newest write, and how much came.
-- It stands before the text of each library that counts.

-- A view of events has one layout that is fed. While pods of two configurations work, each event reaches one of two
-- layouts, and after a view was changed back its old states lack what came in between: what is fed now begins anew.
-- A row is whole whoever wrote it, so rows go on being counted.
local function end_others(key, field)
  local view = string.match(field, '^[^@]*@')
  for _, other in ipairs(redis.call('HKEYS', key)) do
    if other ~= field and string.sub(other, 1, #view) == view and
        not cjson.decode(redis.call('HGET', key, other)).rows then
      redis.call('HDEL', key, other)
    end
  end
end

local function add_counts(key, field, delta, now)
  local stored = redis.call('HGET', key, field)
  if not stored then
    end_others(key, field)
  end
  local counts = stored and cjson.decode(stored) or {since_ms = now, updated_ms = 0}
  for name, value in pairs(cjson.decode(delta)) do
    if name == 'updated_ms' then
      counts[name] = math.max(counts[name] or 0, value)
    else
      counts[name] = (counts[name] or 0) + value
    end
  end
  redis.call('HSET', key, field, cjson.encode(counts))
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- KEYS views; ARGV pairs of field and JSON of what to add. A field that is not there begins to be fed now.
local function count(keys, argv)
  local now = now_ms()
  for i = 1, #argv, 2 do
    add_counts(keys[1], argv[i], argv[i + 1], now)
  end
  return #argv / 2
end
