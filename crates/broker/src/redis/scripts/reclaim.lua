-- ARGV: ms that an entry may be out. Puts back what was handed out and neither claimed nor given up since; forgets
-- consumers that are gone. Gives how many entries were put back.
-- A script whose first write needs no memory may go on when Redis is full; this frees some.
redis.call('DEL', P .. 'room')
local now, idle = now_ms(), tonumber(ARGV[1])
local GONE = 3600000
local back = 0
for _, lane in ipairs(redis.call('SMEMBERS', P .. 'streams')) do
  local found = redis.pcall('XAUTOCLAIM', stream(lane), GROUP, 'reclaimer', idle, '0-0', 'COUNT', 100)
  if not found.err then
    for _, entry in ipairs(found[2]) do
      if entry then
        local job, since = field(entry[2], 'job'), tonumber(field(entry[2], 'since') or '')
        local base = string.match(lane, '^(.*):[^:]*$')
        redis.call('HDEL', P .. 'places', job)
        redis.call('XACK', stream(lane), GROUP, entry[1])
        redis.call('XDEL', stream(lane), entry[1])
        add(job, base, since, 0, now)
        refresh(lane)
        back = back + 1
      end
    end
    local consumers = redis.pcall('XINFO', 'CONSUMERS', stream(lane))
    if not consumers.err then
      for _, consumer in ipairs(consumers) do
        if field(consumer, 'pending') == 0 and field(consumer, 'idle') > GONE then
          redis.call('XGROUP', 'DELCONSUMER', stream(lane), GROUP, field(consumer, 'name'))
        end
      end
    end
  end
end
if back > 0 then redis.call('PUBLISH', P .. 'bell', '') end
return back
