-- units: times in milliseconds.
-- Answers what is used of a window, and in how many milliseconds all of it is free again; writes nothing.
-- KEYS[1] the window. ARGV: 1 limit, 2 window_ms, 3 '1' for a token bucket.
local floor = math.floor
local time = redis.call('TIME')
local at = tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
if ARGV[3] == '1' then
  local grain = window <= 86400000 and 1 or 1000
  local length = window / grain
  local stored = redis.call('HMGET', KEYS[1], 'balance', 'at', 'rest')
  if not stored[1] then return {0, 0} end
  local elapsed = math.max(0, math.min(floor(at / grain) - tonumber(stored[2]), length))
  local whole = floor(limit / length)
  local gained = floor((elapsed * (limit - whole * length) + tonumber(stored[3])) / length)
  local used = limit - math.min(limit, tonumber(stored[1]) + elapsed * whole + gained)
  return {used, math.ceil(used / limit * length) * grain}
end
local slot_ms = window / 100
local lowest, used, newest = floor(at / slot_ms) - 100, 0, nil
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local slot = tonumber(all[i])
  if slot and slot >= lowest then
    used = used + tonumber(all[i + 1])
    if not newest or slot > newest then newest = slot end
  end
end
if not newest then return {0, 0} end
return {used, (newest + 101) * slot_ms - at}
