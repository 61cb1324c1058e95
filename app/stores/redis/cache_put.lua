-- units: ttl and times in milliseconds, sizes in bytes.
-- Keeps an entry in the place of what was there, with its sample; the oldest of its organisation make room.
-- KEYS: 1 to 3 as in cache_forget, 4 the entry, 5 its maker's lease, 6 the stream of samples if there is one.
-- ARGV: 1 prefix, 2 `<scope>/<id>`, 3 maker or '', 4 the entry, 5 its size, 6 the most of the organisation, 7 how many
--   of its parts one entry may have at most one of, 8 ttl, 9 semantic partition, 10 id of a new stream, 11 most
--   samples, 12 when the sample expires, 13 the sample, 14 model; then the tags.
-- Answers 1 if kept, 0 if too large, -1 if so many must make room that the organisation is to be trimmed first.
if ARGV[3] ~= '' and call('GET', KEYS[5]) == ARGV[3] then call('DEL', KEYS[5]) end
local member, size, most, ttl = ARGV[2], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[8])
if size * tonumber(ARGV[7]) > most or ttl < 1 then return 0 end
heal()
-- A server without memory refuses this first write, before anything is removed.
local number, now = call('HINCRBY', KEYS[1], '#seq', 1), clock()
tidy(now, 10)
forget(member)
if not make_room(now, most - size) then return -1 end
call('SET', KEYS[4], ARGV[4], 'PX', ARGV[8])
local stream, id = KEYS[6], ''
if stream then
  -- All ids of one life of the stream begin alike, so that a cursor tells which life it is of.
  local last = call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  local life = last and string.match(last[1], '^%d+') or ARGV[10]
  id = call('XADD', stream, 'MAXLEN', '=', ARGV[11], life .. '-*', 'x', ARGV[12], 'd', ARGV[13])
  if call('PTTL', stream) < ttl then call('PEXPIRE', stream, ARGV[8]) end
end
local record = {size, ARGV[9], id, ARGV[14]}
for i = 15, #ARGV do record[i - 10] = ARGV[i] end
call('HSET', KEYS[1], member, cmsgpack.pack(record))
call('HINCRBY', KEYS[1], '#bytes', size)
call('ZADD', KEYS[2], number, member)
call('ZADD', KEYS[3], string.format('%.0f', now + ttl), member)
if call('PTTL', KEYS[1]) < ttl then
  for i = 1, 3 do call('PEXPIRE', KEYS[i], ARGV[8]) end
end
return 1
