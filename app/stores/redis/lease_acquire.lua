-- units: ttl_ms (ARGV[2]) in milliseconds.
-- Takes the lease KEYS[1] for holder ARGV[1], or extends it if that holder has it. Answers 1, or 0 if another has it.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
