-- units: lease_ms (ARGV[4]) in milliseconds.
-- Finds an entry that is KEYS[1], and whose record is in the index KEYS[2] under ARGV[1] (what was purged, or lost its
-- record, has none); the entry begins with its key, which must be ARGV[2]. If there is none, its maker has the lease
-- KEYS[3]; ARGV[3], unless it is '', takes it if nobody else has. Answers the entry, or {maker, 1 if it is ARGV[3]}.
local kept = redis.call('GET', KEYS[1])
if kept and string.sub(kept, 1, 32) == ARGV[2] and redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return kept end
local holder, maker = redis.call('GET', KEYS[3]), ARGV[3]
if maker ~= '' and (not holder or holder == maker) then
  redis.call('SET', KEYS[3], maker, 'PX', ARGV[4])
  return {maker, 1}
end
return holder and {holder, 0}
