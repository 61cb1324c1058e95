-- units: ttl_s (ARGV[1]) in seconds; ids, payloads and notes are opaque bytes.
-- Appends usage entries of one partition, all or none, each id at most once in ttl_s. Answers how many were new.
-- KEYS[1] the partition's stream; KEYS[1 + i] the mark of entry i. ARGV[2] '1' for entries that may have come before;
-- then of each entry: its id, payload and note.
local stream, ttl_s, added = KEYS[1], ARGV[1], 0
for i = 1, #KEYS - 1 do
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then
    -- Appended before it is marked: a refused XADD must leave no mark that makes the second try a no-op.
    local id, data, note = ARGV[3 * i], ARGV[3 * i + 1], ARGV[3 * i + 2]
    if ARGV[2] == '1' then
      redis.call('XADD', stream, '*', 'id', id, 'data', data, 'note', note, 'again', '1')
    else
      redis.call('XADD', stream, '*', 'id', id, 'data', data, 'note', note)
    end
    redis.call('SET', KEYS[i + 1], '', 'EX', ttl_s)
    added = added + 1
  end
end
return added
