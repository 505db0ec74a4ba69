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
local EXACT = 4503599627370496        -- 2^52: the sum of a tile is no longer exact beyond
local OVERFLOWN = -9223372036854775808

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
  local state = redis.call('GET', key)
  local why = refusal(keys[2], string.sub(event, at), time, arrival, lateness, keep)
  if why then return why end
  local size, most, longest, start = struct.unpack('<HHi8', change)
  local record = string.sub(change, start)
  local written, dropped, records = 0, 0, ''
  if state then
    written, dropped = struct.unpack('<i8i8', state, 9)
    records = string.sub(state, HEADER + 1)
  end
  written = math.max(written, arrival)
  local position = place(records, size, struct.unpack('<i8', record)) * size
  records = string.sub(records, 1, position) .. record .. string.sub(records, position + 1)
  records, dropped = without(records, size, place(records, size, written - longest), dropped)
  records, dropped = without(records, size, #records / size - most, dropped)
  redis.call('SET', key, header(LOG, written, dropped) .. records, 'PX', expire)
  return 'APPLIED'
end

local function total(a, b)
  local sum = a + b
  if a == OVERFLOWN or sum > EXACT or sum < -EXACT then return OVERFLOWN end
  return sum
end

-- What is done to two numbers of a tile, by the letter of layout/rings.py.
local merges = {
  c = function(a, b) return a + b end,
  s = total,
  n = function(a, b) return math.min(a, b) end,
  x = function(a, b) return math.max(a, b) end,
}
local widths = { t = 'I4', c = 'I4', p = 'I4', s = 'i8', n = 'i8', x = 'i8', L = 'i8', v = 'i8' }
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
  local i = 2
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

-- One slot of one ring: an older tile gives way, a newer one stays.
local function touch(key, offset, ops, fresh)
  local old = redis.call('GETRANGE', key, offset, offset + #fresh - 1)
  if #old == #fresh then
    local before, now = struct.unpack('<I4', old), struct.unpack('<I4', fresh)
    if before > now then return end
    if before == now then fresh = merged(ops, old, fresh) end
  end
  redis.call('SETRANGE', key, offset, fresh)
end

local function tiles(keys, args)
  local key, event, change = keys[1], args[1], args[2]
  local time, arrival, lateness, expire, keep, at = struct.unpack('<i8i8i8i8i8', event)
  local head = redis.call('GETRANGE', key, 0, HEADER - 1)
  local why = refusal(keys[2], string.sub(event, at), time, arrival, lateness, keep)
  if why then return why end
  local size, position = struct.unpack('<I4', change)
  local written = arrival
  if #head == HEADER then written = math.max(arrival, (struct.unpack('<i8', head, 9))) end
  local length = redis.call('SETRANGE', key, 0, header(RING, written, 0))
  if length < size then redis.call('SETRANGE', key, size - 1, '\0') end
  local offset, ops, fresh
  while position <= #change do
    offset, ops, fresh, position = struct.unpack('<I4Bc0Hc0', change, position)
    touch(key, offset, ops, fresh)
  end
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
