-- units: money in nano-USD, times in milliseconds.
-- Adds an event that proved new only when it reached the ledger to the accounts that were made before it came.
-- Once for each event: whoever hears no answer asks again.
-- KEYS: the mark of the event, then sets of accounts, all of one partition as their members are. ARGV: 1 cost, 2 the
--   event's id in the stream, 3 when it was, 4 ttl of the mark in seconds. Answers how many accounts it was added to.
if not redis.call('SET', KEYS[1], '', 'NX', 'EX', ARGV[4]) then return 0 end
local ms, seq = string.match(ARGV[2], '^(%d+)-(%d+)$')
ms, seq = tonumber(ms), tonumber(seq)
local at, added = tonumber(ARGV[3]), 0
for i = 2, #KEYS do
  for _, account in ipairs(redis.call('SMEMBERS', KEYS[i])) do
    local known = redis.call('HMGET', account, 'since', 'start', 'end')
    if not known[1] then
      redis.call('SREM', KEYS[i], account)
    else
      local since_ms, since_seq = string.match(known[1], '^(%d+)-(%d+)$')
      since_ms, since_seq = tonumber(since_ms), tonumber(since_seq)
      local is_later = ms > since_ms or (ms == since_ms and seq > since_seq)
      local ends = tonumber(known[3])
      if is_later and at >= tonumber(known[2]) and (ends == 0 or at < ends) then
        redis.call('HINCRBY', account, 'used', ARGV[1])
        added = added + 1
      end
    end
  end
end
return added
