-- units: times in milliseconds. Keeps traces; forgets those past their time, and the oldest beyond the most.
local call, index = redis.call, KEYS[1]
local ttl, most, prefix = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
for i = 4, #ARGV, 3 do
  call('SET', prefix .. ARGV[i], ARGV[i + 1] .. ARGV[i + 2], 'PX', ttl)
  call('ZADD', index, 0, ARGV[i] .. ARGV[i + 1])
end
-- An id begins with its moment, in hexadecimal digits of which a dash stands behind the eighth.
local time = call('TIME')
local oldest = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) - ttl
local id = string.format('%08x-%04x', math.floor(oldest / 65536), oldest % 65536)
call('ZREMRANGEBYLEX', index, '-', '(' .. id)
local surplus = call('ZCARD', index) - most
while surplus > 0 do
  local found = call('ZPOPMIN', index, math.min(surplus, 500))
  for i = 1, #found, 2 do call('DEL', prefix .. string.sub(found[i], 1, 36)) end
  surplus = surplus - 500
end
call('PEXPIRE', index, ttl)
