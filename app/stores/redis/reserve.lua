-- units: times in milliseconds of this server, windows in milliseconds, money in nano-USD, rates per million tokens.
-- Takes a reservation of every rule or of none; a refusal writes nothing. The same id again answers what it answered.
-- KEYS: the hold, the partition's leases, then windows, slots, budgets.
-- ARGV: 1 id, 2 lease_ms, 3 orphan, 4 fixed, 5 rate, 6 cap, 7 min_cap, 8 windows, 9 slots, 10 budgets (counts);
--   then of each window: limit, window_ms, amount (-1: the money reserved), 1 for a token bucket or 0;
--   of each slot: limit; of each budget: limit, start_ms, end_ms (0: never).
-- Answers {1, at, cap, held, used of windows…, used and held of budgets before it…}, {0, kind, index, at, used, held, retry_ms (-1: none), asked of a window,
-- used of windows…}, {2, at, index…} for budgets that have no account, {3, at} for a budget whose period it is not, or what has ended already.
-- Kinds: 1 window, 2 slots, 3 budget, 4 too large.
local call, floor = redis.call, math.floor
local hold = call('GET', KEYS[1])
if hold then
  local at, cap, held = string.match(hold, '^(%d+):(%d+):(%d+)\n')
  if at then return {1, tonumber(at), tonumber(cap), tonumber(held)} end
end
local time = call('TIME')
local at = tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)
-- It was given up while it was on its way, and nobody would settle it.
if hold then return {3, at} end
local fixed, rate, cap, min_cap = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local windows, slots, budgets = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local first_slot, first_budget = 3 + windows, 3 + windows + slots
local slot_args, budget_args = 11 + 4 * windows, 11 + 4 * windows + slots

-- A product of tokens and a rate may not fit into a double; the rate's two parts do.
local rate_whole = floor(rate / 1000000)
local rate_part = rate - rate_whole * 1000000
local function cost(tokens)
  return fixed + tokens * rate_whole + math.ceil(tokens * rate_part / 1000000)
end

local money, balances, refusal = cost(cap), {}, nil
if budgets > 0 then
  local unknown, available, tightest, tight_used, tight_held = {2, at}, nil, 0, 0, 0
  for i = 0, budgets - 1 do
    local account = call('HMGET', KEYS[first_budget + i], 'used', 'held')
    if not account[1] then
      unknown[#unknown + 1] = i
    else
      local used, held = tonumber(account[1]), tonumber(account[2])
      balances[2 * i + 1], balances[2 * i + 2] = used, held
      local left = tonumber(ARGV[budget_args + 3 * i]) - used - held
      if available == nil or left < available then
        available, tightest, tight_used, tight_held = left, i, used, held
      end
    end
  end
  if #unknown > 2 then return unknown end
  for i = 0, budgets - 1 do
    local ends = tonumber(ARGV[budget_args + 3 * i + 2])
    if at < tonumber(ARGV[budget_args + 3 * i + 1]) or (ends > 0 and at >= ends) then return {3, at} end
  end
  if money > available then
    local afforded = -1
    if available >= fixed then
      afforded = math.min(cap, floor((available - fixed) / rate * 1000000))
      while afforded > 0 and cost(afforded) > available do afforded = afforded - 1 end
      while afforded < cap and cost(afforded + 1) <= available do afforded = afforded + 1 end
    end
    if afforded < math.min(min_cap, cap) then
      refusal = {0, 3, tightest, at, tight_used, tight_held, -1, 0}
    else
      cap = afforded
      money = cost(cap)
    end
  end
end

local state, worst, worst_index, worst_used = {}, 0, 0, 0
-- What is refused for good still looks at the other windows, for what is used of them.
for i = 0, windows - 1 do
  local key, from = KEYS[3 + i], 11 + 4 * i
  local limit, window, amount = tonumber(ARGV[from]), tonumber(ARGV[from + 1]), tonumber(ARGV[from + 2])
  if refusal then amount = 0 elseif amount < 0 then amount = money end
  local wait, used = 0, 0
  if ARGV[from + 3] == '1' then
    local grain = window <= 86400000 and 1 or 1000
    local now, length = floor(at / grain), window / grain
    local stored = call('HMGET', key, 'balance', 'at', 'rest')
    local balance, rest = limit, 0
    if stored[1] then
      local elapsed = math.max(0, math.min(now - tonumber(stored[2]), length))
      local whole = floor(limit / length)
      local flow = elapsed * (limit - whole * length) + tonumber(stored[3])
      local gained = floor(flow / length)
      rest = flow - gained * length
      balance = tonumber(stored[1]) + elapsed * whole + gained
      now = math.max(now, tonumber(stored[2]))
      if balance >= limit then balance, rest = limit, 0 end
    end
    used = limit - balance
    if balance < amount then wait = math.ceil((amount - balance) / limit * length) * grain end
    state[i] = {true, amount, balance, now, rest, grain}
  else
    local slot_ms = window / 100
    local slot = floor(at / slot_ms)
    local lowest = slot - 100
    local stored = call('HMGET', key, 't', 'o')
    local oldest, gone = slot, nil
    if stored[1] then
      used, oldest = tonumber(stored[1]), tonumber(stored[2])
      if oldest < lowest then
        gone = {}
        for old = math.max(oldest, lowest - 101), lowest - 1 do gone[#gone + 1] = old end
        if oldest < lowest - 101 then
          used = 0
          gone = false
        else
          for _, count in ipairs(call('HMGET', key, unpack(gone))) do
            if count then used = used - tonumber(count) end
          end
        end
        oldest = lowest
      end
    end
    if used + amount > limit then
      local excess, counts = used + amount - limit, {}
      local all = call('HGETALL', key)
      for f = 1, #all, 2 do
        local number = tonumber(all[f])
        if number and number >= lowest then counts[#counts + 1] = {number, tonumber(all[f + 1])} end
      end
      table.sort(counts, function(one, other) return one[1] < other[1] end)
      wait = 101 * slot_ms
      for _, pair in ipairs(counts) do
        excess = excess - pair[2]
        if excess <= 0 then
          wait = (pair[1] + 101) * slot_ms - at
          break
        end
      end
    end
    state[i] = {false, amount, used, oldest, slot, gone}
  end
  if amount > limit then refusal = {0, 4, i, at, used, 0, -1, amount} end
  if wait > worst then worst, worst_index, worst_used = wait, i, used end
end
if worst > 0 and not refusal then refusal = {0, 1, worst_index, at, worst_used, 0, worst, state[worst_index][2]} end
for i = 0, slots - 1 do
  if refusal then break end
  local taken = call('ZCOUNT', KEYS[first_slot + i], at + 1, '+inf')
  if taken >= tonumber(ARGV[slot_args + i]) then refusal = {0, 2, i, at, taken, taken, -1, 0} end
end
if refusal then
  for i = 0, windows - 1 do
    local is_bucket, left_or_used = state[i][1], state[i][3]
    refusal[9 + i] = is_bucket and tonumber(ARGV[11 + 4 * i]) - left_or_used or left_or_used
  end
  return refusal
end

local expires = at + tonumber(ARGV[2])
local answer = {1, at, cap, money}
for i = 0, windows - 1 do
  local key, from, found = KEYS[3 + i], 11 + 4 * i, state[i]
  local window, amount = tonumber(ARGV[from + 1]), found[2]
  if found[1] then
    local balance = found[3] - amount
    call('HSET', key, 'balance', string.format('%.0f', balance), 'at', string.format('%.0f', found[4]),
      'rest', string.format('%.0f', found[5]))
    call('PEXPIRE', key, window + 1000)
    answer[4 + i + 1] = tonumber(ARGV[from]) - balance
  else
    local used, slot = found[3] + amount, found[5]
    if found[6] == false then
      call('DEL', key)
    elseif found[6] then
      call('HDEL', key, unpack(found[6]))
    end
    call('HSET', key, 't', string.format('%.0f', used), 'o', string.format('%.0f', found[4]))
    if call('HINCRBY', key, slot, string.format('%.0f', amount)) == amount then
      call('PEXPIRE', key, window + window / 50)
    end
    answer[4 + i + 1] = used
  end
end
for i = 0, slots - 1 do
  local key = KEYS[first_slot + i]
  call('ZREMRANGEBYSCORE', key, '-inf', at)
  call('ZADD', key, expires, ARGV[1])
  call('PEXPIRE', key, 3600000)
end
for i = 0, budgets - 1 do
  call('HINCRBY', KEYS[first_budget + i], 'held', string.format('%.0f', money))
  answer[5 + windows + 2 * i], answer[6 + windows + 2 * i] = balances[2 * i + 1], balances[2 * i + 2]
end
call('SET', KEYS[1], string.format('%.0f:%.0f:%.0f\n', at, cap, money) .. ARGV[3])
call('ZADD', KEYS[2], expires, ARGV[1])
return answer
