-- units: times in milliseconds, money in nano-USD, ttls in seconds.
-- Ends a hold: corrects its windows, frees its slots, releases what it held, appends its usage events, and adds what
-- they cost to every account of their scopes; once for each id. What ended leaves a mark: the same again does nothing.
-- KEYS: the hold, the partition's leases, its stream, the sets of accounts of the three scopes, then windows, slots,
--   budgets.
-- ARGV: 1 id, 2 mode (settle, orphan, late), 3 orphan (of a late one that the sweeper had charged), 4 windows, 5 slots,
--   6 budgets, 7 events (counts), 8 ttl of the mark, 9 ttl of an orphan's mark; then of each window: limit, window_ms,
--   reserved (-1: the money held), actual, 1 for a token bucket or 0; of each event: id, payload, note.
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
local windows, slots, budgets, held = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), 0
if hold then
  -- The caller may not have heard what it was granted.
  local at, its_held = string.match(hold, '^(%d+):%d+:(%d+)\n')
  at, held = tonumber(at), tonumber(its_held)
  for i = 0, windows - 1 do
    local key, from = KEYS[7 + i], 10 + 5 * i
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
  for i = 0, slots - 1 do call('ZREM', KEYS[7 + windows + i], ARGV[1]) end
  call('ZREM', KEYS[2], ARGV[1])
end
if held > 0 then
  for i = 0, budgets - 1 do
    local key = KEYS[7 + windows + slots + i]
    if call('HEXISTS', key, 'used') == 1 then call('HINCRBY', key, 'held', string.format('%.0f', -held)) end
  end
end
local first = 10 + 5 * windows
for i = 0, tonumber(ARGV[7]) - 1 do
  local event = first + 3 * i
  if hold or mode == 'settle' then
    local happened, cost = string.match(ARGV[event + 2], '^(%d+) (-?%d+)')
    if cost ~= '0' then spend({KEYS[4], KEYS[5], KEYS[6]}, tonumber(happened), cost) end
    call('XADD', KEYS[3], '*', 'id', ARGV[event], 'data', ARGV[event + 1], 'note', ARGV[event + 2])
  else
    call('XADD', KEYS[3], '*', 'id', ARGV[event], 'data', ARGV[event + 1], 'note', ARGV[event + 2], 'again', '1')
  end
end
local orphan = ARGV[3]
if mode == 'orphan' then orphan = string.match(hold, '^[^\n]*\n(.*)$') end
if mode == 'orphan' or orphan ~= '' then
  call('SET', KEYS[1], 'orphaned\n' .. orphan, 'EX', ARGV[9])
else
  call('SET', KEYS[1], 'settled', 'EX', ARGV[8])
end
return {1}
