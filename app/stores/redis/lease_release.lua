-- units: none.
-- Gives the lease KEYS[1] up if holder ARGV[1] has it. Answers 1, or 0 if it does not.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
