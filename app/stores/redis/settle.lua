-- units: ttl_s (ARGV[1]) in seconds; ids and payloads are opaque bytes.
-- Appends usage entries of one partition, all or none, each id at most once in ttl_s. Answers how many were new.
-- KEYS[1] the partition's stream; KEYS[1 + i] the mark of entry i. ARGV[2i], ARGV[2i + 1]: its id and payload.
local stream, ttl_s, added = KEYS[1], ARGV[1], 0
for i = 1, #KEYS - 1 do
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then
    -- Appended before it is marked: a refused XADD must leave no mark that makes the second try a no-op.
    redis.call('XADD', stream, '*', 'id', ARGV[2 * i], 'data', ARGV[2 * i + 1])
    redis.call('SET', KEYS[i + 1], '', 'EX', ttl_s)
    added = added + 1
  end
end
return added
