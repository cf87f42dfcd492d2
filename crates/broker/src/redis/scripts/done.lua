-- ARGV: for each entry its lane, id and job: what was handed out needs no hint any more.
-- A script whose first write needs no memory may go on when Redis is full; this frees some.
redis.call('DEL', P .. 'room')
for i = 1, #ARGV, 3 do
  local lane, id, job = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if redis.call('HGET', P .. 'places', job) == lane .. '|' .. id then
    redis.call('HDEL', P .. 'places', job)
  end
  remove(lane, id)
end
return 0
