-- units: money in nano-USD, times in milliseconds.
-- Adds an event that proved new only when it reached the ledger to the accounts that were made before it came.
-- Once for each event: whoever hears no answer asks again.
-- KEYS: the mark of the event, then sets of accounts, all of one partition as their members are. ARGV: 1 cost, 2 the
--   event's id in the stream, 3 when it was, 4 ttl of the mark in seconds. Answers 1, or 0 if it was added before.
if not redis.call('SET', KEYS[1], '', 'NX', 'EX', ARGV[4]) then return 0 end
local ms, seq = string.match(ARGV[2], '^(%d+)-(%d+)$')
ms, seq = tonumber(ms), tonumber(seq)
spend({unpack(KEYS, 2)}, tonumber(ARGV[3]), ARGV[1], function(since)
  local since_ms, since_seq = string.match(since, '^(%d+)-(%d+)$')
  since_ms, since_seq = tonumber(since_ms), tonumber(since_seq)
  return ms > since_ms or (ms == since_ms and seq > since_seq)
end)
return 1
