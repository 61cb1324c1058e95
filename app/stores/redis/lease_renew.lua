-- units: ttl_ms (ARGV[2]) in milliseconds.
-- Extends the lease KEYS[1] if holder ARGV[1] has it. Answers 1, or 0 if it does not.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
