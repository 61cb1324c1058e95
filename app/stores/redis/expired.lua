-- units: none.
-- Answers the ids of holds whose lease has ended. KEYS[1] the partition's leases; ARGV[1] how many at most.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
