-- units: money in nano-USD, times in milliseconds. Stands before the scripts that charge.
-- Adds an amount to every account of some sets whose period holds a moment; `later` is asked, if given, whether an
-- account was made before. An account that is not there is made from the ledger, never from one charge.
local function spend(sets, at, amount, later)
  for _, set in ipairs(sets) do
    for _, account in ipairs(redis.call('SMEMBERS', set)) do
      local known = redis.call('HMGET', account, 'since', 'start', 'end')
      if not known[1] then
        redis.call('SREM', set, account)
      else
        local ends = tonumber(known[3])
        if at >= tonumber(known[2]) and (ends == 0 or at < ends) and (not later or later(known[1])) then
          redis.call('HINCRBY', account, 'used', amount)
        end
      end
    end
  end
end
