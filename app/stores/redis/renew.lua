-- units: lease_ms in milliseconds.
-- Extends the lease of a hold, of its slots too, and replaces what it becomes if nobody settles.
-- KEYS: the hold, the partition's leases, its slots. ARGV: 1 id, 2 lease_ms, 3 the hold's new value.
-- Answers 1, or 0 if the hold is gone.
local hold = redis.call('GET', KEYS[1])
if not hold or hold == 'settled' or string.sub(hold, 1, 9) == 'orphaned\n' then return 0 end
local time = redis.call('TIME')
local expires = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[2])
redis.call('SET', KEYS[1], ARGV[3])
for i = 2, #KEYS do redis.call('ZADD', KEYS[i], expires, ARGV[1]) end
return 1
