-- units: none; ARGV holds stream ids.
-- Forgets entries of one partition: out of the group's pending list and out of the stream, in one step.
-- KEYS[1] the partition's stream; ARGV[1] the consumer group; ARGV[2..] the entries' stream ids.
for i = 2, #ARGV do
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  redis.call('XDEL', KEYS[1], ARGV[i])
end
return #ARGV - 1
