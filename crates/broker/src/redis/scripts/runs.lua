-- ARGV: a worker, ms that what it has in hand counts, how many that is, owner and job of each; then those of what has
-- ended. Room for an owner whose jobs wait wakes whoever waits for work.
-- A script whose first write needs no memory may go on when Redis is full; this frees some.
redis.call('DEL', P .. 'room')
local worker, ms, held = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now, room = now_ms(), false
for i = 4, #ARGV, 2 do
  local owner, run = ARGV[i], ARGV[i + 1] .. '@' .. worker
  if i < 4 + 2 * held then
    hold(owner, run, ms, now)
  else
    redis.call('ZREM', P .. 'runs:' .. owner, run)
    for p = 0, 2 do
      room = room or redis.call('EXISTS', P .. 'lanes:' .. p .. ':' .. owner) == 1
    end
  end
end
if room then redis.call('PUBLISH', P .. 'bell', '') end
return 0
