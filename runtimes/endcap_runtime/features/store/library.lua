-- SPDX-License-Identifier: Apache-2.0
-- All that changes features in Redis. A call is atomic: an event is counted whole, once, or not at all.
-- While it loads, Redis has no string, math or struct: they are looked up where they are used.
-- VERSION in a name is replaced by a digest of this text, so that two versions of Endcap share one Redis.
--
-- events and tiles take two keys (the state; the ids seen in the event's minute) and two arguments:
--   event   <q time, q arrival, q lateness, q expire, q keep (all ms), the event's id as a decimal
--   change  what layout/logs.py and layout/rings.py make of the event

local SKEW = 60000
local HEADER = 24
local LOG, RING = 1, 2
local FOREIGN = 'what lies there is no state of this view'
local EXACT = 4503599627370496        -- 2^52: the sum of a tile is no longer exact beyond

-- Why the event does not count, or nothing; remembers its id when it does.
local function refusal(seen, id, time, arrival, lateness, keep)
  if time < arrival - lateness then return 'LATE' end
  if time > arrival + SKEW then return 'FUTURE' end
  if redis.call('SADD', seen, id) == 0 then return 'DUPLICATE' end
  -- A view that is gone has nobody who removes its ids: they go by themselves.
  if redis.call('SCARD', seen) == 1 then redis.call('PEXPIRE', seen, keep) end
end

local function header(kind, written, extra)
  return struct.pack('<BBHI4i8i8', 1, kind, 0, 0, written, extra)
end

-- Where a record of that time belongs: behind the last that is not newer. Most are the newest.
local function place(records, size, time)
  local low, high = 0, #records / size
  if high > 0 and struct.unpack('<i8', records, (high - 1) * size + 1) <= time then return high end
  while low < high do
    local middle = math.floor((low + high) / 2)
    if struct.unpack('<i8', records, middle * size + 1) <= time then low = middle + 1 else high = middle end
  end
  return low
end

-- Without the records before `keep`; the newest time that went is remembered.
local function without(records, size, gone, dropped)
  if gone <= 0 then return records, dropped end
  local newest = struct.unpack('<i8', records, (gone - 1) * size + 1)
  return string.sub(records, gone * size + 1), math.max(dropped, newest)
end

local function events(keys, args)
  local key, event, change = keys[1], args[1], args[2]
  local time, arrival, lateness, expire, keep, at = struct.unpack('<i8i8i8i8i8', event)
  local size, most, longest, start = struct.unpack('<HHi8', change)
  local record = string.sub(change, start)
  local state = redis.call('GET', key)
  local written, dropped, records = 0, 0, ''
  if state then
    if #state < HEADER or (#state - HEADER) % size ~= 0 then error(FOREIGN) end
    written, dropped = struct.unpack('<i8i8', state, 9)
    records = string.sub(state, HEADER + 1)
  end
  local why = refusal(keys[2], string.sub(event, at), time, arrival, lateness, keep)
  if why then return why end
  written = math.max(written, arrival)
  local position = place(records, size, struct.unpack('<i8', record)) * size
  records = string.sub(records, 1, position) .. record .. string.sub(records, position + 1)
  records, dropped = without(records, size, place(records, size, written - longest), dropped)
  records, dropped = without(records, size, #records / size - most, dropped)
  redis.call('SET', key, header(LOG, written, dropped) .. records, 'PX', expire)
  return 'APPLIED'
end

-- What is done to two numbers of a tile, by the letter of layout/rings.py. A sum that grows beyond what is exact stays,
-- and says so: who reads a window that reaches to it is told.
local lost
local merges = {
  c = function(a, b) return a + b end,
  s = function(a, b)
    local sum = a + b
    if sum <= EXACT and sum >= -EXACT then return sum end
    lost = true
    return a
  end,
  n = function(a, b) return math.min(a, b) end,
  x = function(a, b) return math.max(a, b) end,
}
local widths = { c = 'I4', p = 'I4', s = 'i8', n = 'i8', x = 'i8', L = 'i8', v = 'i8' }
local formats = {}

local function format_of(ops)
  local format = formats[ops]
  if not format then
    format = '<' .. string.gsub(ops, '.', widths)
    formats[ops] = format
  end
  return format
end

local function merged(ops, old, fresh)
  local format = format_of(ops)
  local a, b = { struct.unpack(format, old) }, { struct.unpack(format, fresh) }
  local i = 1
  while i <= #ops do
    local op = string.sub(ops, i, i)
    if op == 'L' then
      -- The newest value, and of those of one millisecond the greatest.
      if b[i] > a[i] or (b[i] == a[i] and b[i + 1] > a[i + 1]) then a[i], a[i + 1] = b[i], b[i + 1] end
      i = i + 2
    else
      if op ~= 'p' then a[i] = merges[op](a[i], b[i]) end
      i = i + 1
    end
  end
  return struct.pack(format, unpack(a, 1, #ops))
end

-- Slots from `first` on, around the end of the ring.
local function write(key, offset, slots, size, first, run)
  local fits = (slots - first) * size
  redis.call('SETRANGE', key, offset + first * size, string.sub(run, 1, fits))
  if #run > fits then redis.call('SETRANGE', key, offset, string.sub(run, fits + 1)) end
end

-- One tile of one ring, which holds the `slots` tiles up to its newest; returns which that is now. Tiles in which
-- nothing happened are emptied when time passes over them, so a slot is never of another time than it seems.
local function touch(key, newest, offset, slots, tile, ops, fresh, empty)
  local size = #fresh
  if tile > newest then
    local passed = math.min(tile - newest - 1, slots - 1)
    write(key, offset, slots, size, (tile - passed) % slots, string.rep(empty, passed) .. fresh)
    return tile
  end
  if tile > newest - slots then
    local at = offset + tile % slots * size
    local old = redis.call('GETRANGE', key, at, at + size - 1)
    redis.call('SETRANGE', key, at, merged(ops, old, fresh))
  end
  return newest
end

local function tiles(keys, args)
  local key, event, change = keys[1], args[1], args[2]
  local time, arrival, lateness, expire, keep, at = struct.unpack('<i8i8i8i8i8', event)
  local size, start, position = struct.unpack('<I4H', change)
  local head = redis.call('GETRANGE', key, 0, start - 1)
  if #head > 0 and redis.call('STRLEN', key) ~= size then error(FOREIGN) end
  local why = refusal(keys[2], string.sub(event, at), time, arrival, lateness, keep)
  if why then return why end
  local written, loss = 0, 0
  if #head == start then
    written, loss = struct.unpack('<i8i8', head, 9)
  else
    head = string.rep('\0', start)
    redis.call('SETRANGE', key, size - 1, '\0')
  end
  lost = false
  while position <= #change do
    local mark, offset, slots, tile, ops, fresh, empty
    mark, offset, slots, tile, ops, fresh, empty, position = struct.unpack('<HI4I4I4Bc0Hc0Hc0', change, position)
    local newest = touch(key, struct.unpack('<I4', head, mark + 1), offset, slots, tile, ops, fresh, empty)
    head = string.sub(head, 1, mark) .. struct.pack('<I4', newest) .. string.sub(head, mark + 5)
  end
  if lost then loss = math.max(loss, math.min(time, arrival)) end
  head = header(RING, math.max(written, arrival), loss) .. string.sub(head, HEADER + 1)
  redis.call('SETRANGE', key, 0, head)
  redis.call('PEXPIRE', key, expire)
  return 'APPLIED'
end

-- A row replaces an older one; key: the row; arguments: the row, its time, when Redis may forget it (ms).
local function put(keys, args)
  local old = redis.call('GETRANGE', keys[1], 8, 15)
  if #old == 8 and struct.unpack('<i8', old) >= tonumber(args[2]) then return 0 end
  redis.call('SET', keys[1], args[1], 'PXAT', args[3])
  return 1
end

redis.register_function('endcap_events_VERSION', events)
redis.register_function('endcap_tiles_VERSION', tiles)
redis.register_function('endcap_put_VERSION', put)
