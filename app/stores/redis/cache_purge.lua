-- units: none.
-- Removes, of one slice of an organisation's index, the entries that match all that is given. KEYS as in cache_forget.
-- ARGV: 1 prefix, 2 cursor of the slice, 3 its size, then pairs: id, model, tag or scope, and which.
-- Answers {the next cursor, 0 at the end, how many entries there were}.
local function matches(member, record)
  for i = 4, #ARGV, 2 do
    local what, wanted, has = ARGV[i], ARGV[i + 1], false
    if what == 'id' then
      has = string.sub(member, -32) == wanted
    elseif what == 'scope' then
      has = string.sub(member, 1, -34) == wanted
    elseif what == 'model' then
      has = record[4] == wanted
    else
      for j = 5, #record do has = has or record[j] == wanted end
    end
    if not has then return false end
  end
  return true
end

local slice, removed = call('HSCAN', KEYS[1], ARGV[2], 'COUNT', ARGV[3]), 0
for i = 1, #slice[2], 2 do
  local member, packed = slice[2][i], slice[2][i + 1]
  -- A table that shrinks may tell of an entry twice.
  if string.len(member) > 32 and call('HEXISTS', KEYS[1], member) == 1 then
    if matches(member, cmsgpack.unpack(packed)) then removed = removed + forget(member, packed) end
  end
end
if slice[1] == '0' and call('HLEN', KEYS[1]) == 2 then call('UNLINK', KEYS[1], KEYS[2], KEYS[3]) end
return {slice[1], removed}
