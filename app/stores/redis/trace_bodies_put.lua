-- units: times in milliseconds, sizes in bytes. Keeps sealed bodies; forgets the oldest beyond the most, and those
-- whose traces are gone.
local call, traces, index, total = redis.call, KEYS[1], KEYS[2], KEYS[3]
local ttl, most, prefix = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
-- A member is an id, of 36 characters, and a size.
local function size_of(member) return tonumber(string.sub(member, 37)) end
local size = tonumber(call('GET', total) or '0')
if call('EXISTS', index) == 0 then size = 0 end
for i = 4, #ARGV, 2 do
  call('SET', prefix .. ARGV[i], ARGV[i + 1], 'PX', ttl)
  size = size + call('ZADD', index, 0, ARGV[i] .. #ARGV[i + 1]) * #ARGV[i + 1]
end
local oldest = call('ZRANGE', traces, 0, 0)[1]
local before = oldest and '(' .. string.sub(oldest, 1, 36) or '+'
for _, member in ipairs(call('ZRANGEBYLEX', index, '-', before)) do
  call('DEL', prefix .. string.sub(member, 1, 36))
  size = size - size_of(member)
end
call('ZREMRANGEBYLEX', index, '-', before)
while size > most do
  local member = call('ZPOPMIN', index)[1]
  if not member then break end
  call('DEL', prefix .. string.sub(member, 1, 36))
  size = size - size_of(member)
end
if call('EXISTS', index) == 0 then
  call('DEL', total)
  return
end
-- Both outlive every body, also of a time when bodies were kept for longer.
local left = math.max(ttl, call('PTTL', index))
call('PEXPIRE', index, left)
call('SET', total, size, 'PX', left)
