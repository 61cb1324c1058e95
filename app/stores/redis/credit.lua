-- units: money in nano-USD.
-- Adds an event that proved new only when it reached the ledger to the accounts that were made before it came.
-- KEYS: accounts. ARGV: 1 cost, 2 the event's id in the stream.
local ms, seq = string.match(ARGV[2], '^(%d+)-(%d+)$')
ms, seq = tonumber(ms), tonumber(seq)
for i = 1, #KEYS do
  local since = redis.call('HGET', KEYS[i], 'since')
  if since then
    local since_ms, since_seq = string.match(since, '^(%d+)-(%d+)$')
    since_ms, since_seq = tonumber(since_ms), tonumber(since_seq)
    if ms > since_ms or (ms == since_ms and seq > since_seq) then
      redis.call('HINCRBY', KEYS[i], 'used', ARGV[1])
    end
  end
end
return #KEYS
