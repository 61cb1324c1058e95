-- units: times in milliseconds.
-- Reads the stream KEYS[1] after the cursor ARGV[1] = `<life>-<number>` (or '': from the beginning), at most ARGV[2].
-- Answers {1 if the cursor is of another life or everything up to it is gone, the new cursor, 1 if more may follow},
-- then the samples that have not expired.
local after, most = ARGV[1], tonumber(ARGV[2])
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if not first then return {after == '' and 0 or 1, '', 0} end
local from, is_anew = '(' .. after, 0
local life, number = string.match(after, '^(%d+)-(%d+)$')
local its_life, oldest = string.match(first[1], '^(%d+)-(%d+)$')
if life ~= its_life or tonumber(number) + 1 < tonumber(oldest) then
  from, is_anew = '-', after == '' and 0 or 1
end
local rows = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', most)
local cursor = #rows > 0 and rows[#rows][1] or after
local reply = {is_anew, cursor, #rows == most and 1 or 0}
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
for _, row in ipairs(rows) do
  if tonumber(row[2][2]) > now then reply[#reply + 1] = row[2][4] end
end
return reply
