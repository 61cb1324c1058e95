-- units: ttl_s (ARGV[1]) in seconds; ids and payloads are opaque bytes, notes begin with a time and a cost.
-- Appends usage entries of one partition, all or none, each id at most once in ttl_s, and adds what they cost to the
-- accounts of their scopes. Answers how many were new.
-- KEYS[1] the partition's stream; then of each entry: its mark, and the sets of accounts of its three scopes.
-- ARGV[2] '1' for entries that may have come before; then of each entry: its id, payload and note.
local stream, ttl_s, added = KEYS[1], ARGV[1], 0
for i = 0, (#KEYS - 1) / 4 - 1 do
  local mark = KEYS[2 + 4 * i]
  if redis.call('EXISTS', mark) == 0 then
    -- Appended before it is marked: a refused XADD must leave no mark that makes the second try a no-op.
    local id, data, note = ARGV[3 + 3 * i], ARGV[4 + 3 * i], ARGV[5 + 3 * i]
    if ARGV[2] == '1' then
      redis.call('XADD', stream, '*', 'id', id, 'data', data, 'note', note, 'again', '1')
    else
      redis.call('XADD', stream, '*', 'id', id, 'data', data, 'note', note)
      local at, cost = string.match(note, '^(%d+) (-?%d+)')
      if cost ~= '0' then spend({KEYS[3 + 4 * i], KEYS[4 + 4 * i], KEYS[5 + 4 * i]}, tonumber(at), cost) end
    end
    redis.call('SET', mark, '', 'EX', ttl_s)
    added = added + 1
  end
end
return added
