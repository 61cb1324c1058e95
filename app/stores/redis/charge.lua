-- units: times in milliseconds, money in nano-USD, ttls in seconds.
-- Ends a hold: corrects its windows, frees its slots, turns what it held into what was used, and appends its usage
-- events; once for each id. What ended leaves a mark, so that the same again does nothing.
-- KEYS: the hold, the partition's leases, its stream, then windows, slots, budgets.
-- ARGV: 1 id, 2 mode (settle, orphan, late), 3 orphan (of a late one that the sweeper had charged), 4 cost, 5 windows,
--   6 slots, 7 budgets, 8 events (counts), 9 ttl of the mark, 10 ttl of an orphan's mark; then of each window: limit,
--   window_ms, reserved (-1: the money held), actual, 1 for a token bucket or 0; of each event: id, payload, note.
-- Answers {1} done, {0, 1} made before, {0, 0} nothing to do, {2, orphan} for what the sweeper has charged.
local call = redis.call
local mode, hold = ARGV[2], call('GET', KEYS[1])
if hold == 'settled' then return {0, mode == 'orphan' and 0 or 1} end
if hold and string.sub(hold, 1, 9) == 'orphaned\n' then
  if mode == 'settle' then return {2, string.sub(hold, 10)} end
  return {0, mode == 'orphan' and 1 or 0}
end
if mode == 'orphan' then
  if not hold then
    call('ZREM', KEYS[2], ARGV[1])
    return {0, 0}
  end
  -- Renewed since somebody looked: its owner lives.
  local time, ends = call('TIME'), call('ZSCORE', KEYS[2], ARGV[1])
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  if ends and tonumber(ends) > now then return {0, 0} end
end
local windows, slots, budgets = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local cost, held = ARGV[4], 0
if hold then
  -- The caller may not have heard what it was granted.
  local at, its_held = string.match(hold, '^(%d+):%d+:(%d+)\n')
  at, held = tonumber(at), tonumber(its_held)
  for i = 0, windows - 1 do
    local key, from = KEYS[4 + i], 11 + 5 * i
    local reserved = tonumber(ARGV[from + 2])
    if reserved < 0 then reserved = held end
    local delta = tonumber(ARGV[from + 3]) - reserved
    if delta ~= 0 then
      if ARGV[from + 4] == '1' then
        local balance = call('HGET', key, 'balance')
        if balance then
          balance = math.min(tonumber(ARGV[from]), tonumber(balance) - delta)
          call('HSET', key, 'balance', string.format('%.0f', balance))
        end
      else
        local slot = math.floor(at / (tonumber(ARGV[from + 1]) / 100))
        local stored = call('HMGET', key, 'o', slot)
        if stored[2] and slot >= tonumber(stored[1]) then
          call('HINCRBY', key, slot, string.format('%.0f', delta))
          call('HINCRBY', key, 't', string.format('%.0f', delta))
        end
      end
    end
  end
  for i = 0, slots - 1 do call('ZREM', KEYS[4 + windows + i], ARGV[1]) end
  call('ZREM', KEYS[2], ARGV[1])
end
if hold or mode == 'settle' then
  for i = 0, budgets - 1 do
    local key = KEYS[4 + windows + slots + i]
    -- An account that is not there is made from the ledger, never from one charge.
    if call('HEXISTS', key, 'used') == 1 then
      if held > 0 then call('HINCRBY', key, 'held', string.format('%.0f', -held)) end
      if cost ~= '0' then call('HINCRBY', key, 'used', cost) end
    end
  end
end
local first = 11 + 5 * windows
for i = 0, tonumber(ARGV[8]) - 1 do
  local event = first + 3 * i
  if hold or mode == 'settle' then
    call('XADD', KEYS[3], '*', 'id', ARGV[event], 'data', ARGV[event + 1], 'note', ARGV[event + 2])
  else
    call('XADD', KEYS[3], '*', 'id', ARGV[event], 'data', ARGV[event + 1], 'note', ARGV[event + 2], 'again', '1')
  end
end
local orphan = ARGV[3]
if mode == 'orphan' then orphan = string.match(hold, '^[^\n]*\n(.*)$') end
if mode == 'orphan' or orphan ~= '' then
  call('SET', KEYS[1], 'orphaned\n' .. orphan, 'EX', ARGV[10])
else
  call('SET', KEYS[1], 'settled', 'EX', ARGV[9])
end
return {1}
