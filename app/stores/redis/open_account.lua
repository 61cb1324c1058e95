-- units: money in nano-USD, times in milliseconds.
-- Makes a budget's account of the ledger's sum and of what the stream took since; what requests hold stays.
-- KEYS: the account, the partition's stream, the set of the scope's accounts.
-- ARGV: 1 sum, 2 last id seen in the stream, 3 how many entries it had ever taken, 4 position of the scope in a note,
--   5 the scope's id, 6 start_ms, 7 end_ms (0: never), 8 '1' to correct an account that is there, '2' only to compare,
--   9 how long the account outlives its period.
-- Answers {1}, or {1, used, expected} when it compares; {0} if the stream has lost entries since, so that nobody can tell what they were: all must be read anew.
local call = redis.call
local known = call('HGET', KEYS[1], 'held')
if known and ARGV[8] == '0' then return {1} end
if not known and ARGV[8] == '2' then return {0} end
local sum, start, ends = tonumber(ARGV[1]), tonumber(ARGV[6]), tonumber(ARGV[7])
local taken, last = 0, '0-0'
if call('EXISTS', KEYS[2]) == 1 then
  local about = call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #about, 2 do
    if about[i] == 'entries-added' then taken = about[i + 1] end
    if about[i] == 'last-generated-id' then last = about[i + 1] end
  end
  local since = call('XRANGE', KEYS[2], '(' .. ARGV[2], '+')
  if #since ~= taken - tonumber(ARGV[3]) then return {0} end
  for _, entry in ipairs(since) do
    local fields = entry[2]
    -- Whether the ledger has an entry that came again already, only the ledger can tell.
    if fields[7] then return {0} end
    if fields[5] == 'note' then
      local words = {}
      for word in string.gmatch(fields[6], '%S+') do words[#words + 1] = word end
      local at = tonumber(words[1])
      if words[3 + tonumber(ARGV[4])] == ARGV[5] and at >= start and (ends == 0 or at < ends) then
        sum = sum + tonumber(words[2])
      end
    end
  end
elseif tonumber(ARGV[3]) ~= 0 then
  return {0}
end
if ARGV[8] == '2' then return {1, tonumber(call('HGET', KEYS[1], 'used')), sum} end
call('HSET', KEYS[1], 'used', string.format('%.0f', sum), 'held', known or '0', 'since', last,
  'start', ARGV[6], 'end', ARGV[7])
if ends > 0 then call('PEXPIREAT', KEYS[1], ends + tonumber(ARGV[9])) end
call('SADD', KEYS[3], KEYS[1])
return {1}
