-- units: times in milliseconds, sizes in bytes. Stands before the scripts that change what an organisation keeps.
-- KEYS[1] its index: a record of each entry under `<scope>/<id>`, and `#bytes` and `#seq`; KEYS[2] the same names in
-- the order of their putting, KEYS[3] in that of their expiry. ARGV[1] what the names of its other keys begin with.
local call = redis.call

-- How many entries one script removes at most, so that it takes some 2 ms.
local SLICE = 64

local function clock()
  local time = call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A server that evicts may have taken one of the three. Without all of them nothing can be said of any entry, so the
-- organisation begins anew: an entry without a record is never served, and expires.
local function heal()
  local entries = math.max(call('HLEN', KEYS[1]) - 2, 0)
  if call('ZCARD', KEYS[2]) ~= entries or call('ZCARD', KEYS[3]) ~= entries then
    call('UNLINK', KEYS[1], KEYS[2], KEYS[3])
  end
end

-- Removes an entry with its records and its sample; answers 1 if it was still there.
local function forget(member, packed)
  packed = packed or call('HGET', KEYS[1], member)
  if not packed then return 0 end
  local record = cmsgpack.unpack(packed)
  call('HINCRBY', KEYS[1], '#bytes', string.format('%.0f', -record[1]))
  call('HDEL', KEYS[1], member)
  call('ZREM', KEYS[2], member)
  call('ZREM', KEYS[3], member)
  if record[2] ~= '' then
    local stream = ARGV[1] .. 's:' .. string.sub(member, 1, -33) .. record[2]
    call('XDEL', stream, record[3])
    if call('XLEN', stream) == 0 then call('DEL', stream) end
  end
  return call('UNLINK', ARGV[1] .. 'e:' .. member)
end

-- Removes up to `most` entries whose time has passed; answers how many.
local function tidy(now, most)
  local expired = call('ZRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', now), 'LIMIT', 0, most)
  for _, member in ipairs(expired) do forget(member) end
  return #expired
end

local function held()
  return tonumber(call('HGET', KEYS[1], '#bytes') or 0)
end

-- Removes what has expired, then the oldest entries, until no more than `most` bytes are held; false if that takes more
-- than one slice.
local function make_room(now, most)
  for _ = 1, SLICE do
    if held() <= most then return true end
    if tidy(now, 1) == 0 then forget(call('ZRANGE', KEYS[2], 0, 0)[1]) end
  end
  return held() <= most
end
