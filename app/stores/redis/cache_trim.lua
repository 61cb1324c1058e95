-- units: sizes in bytes.
-- Removes what has expired of an organisation, and its oldest entries while it holds more than ARGV[2], unless that is
-- ''. Answers how many entries it keeps and how large they are, or {-1, 0} if there is so much to remove that it must be
-- asked again. KEYS and ARGV[1] as in cache_forget.
heal()
local now = clock()
if tidy(now, SLICE) == SLICE then return {-1, 0} end
if ARGV[2] ~= '' and not make_room(now, tonumber(ARGV[2])) then return {-1, 0} end
return {call('ZCARD', KEYS[2]), held()}
