-- units: none.
-- Answers the entry KEYS[1] if its record is in the index KEYS[2] under ARGV[1].
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return false end
return redis.call('GET', KEYS[1])
