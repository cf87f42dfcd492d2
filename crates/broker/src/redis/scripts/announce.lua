-- ARGV: worker, its report, ms after which a worker that is silent is gone, then the names of its servers that can be used.
-- A script whose first write needs no memory may go on when Redis is full; a report takes the place of the last one.
redis.call('DEL', P .. 'room')
local now = now_ms()
redis.call('ZADD', P .. 'workers', now, ARGV[1])
redis.call('HSET', P .. 'reports', ARGV[1], ARGV[2])
for i = 4, #ARGV do
  redis.call('ZADD', P .. 'homes', now, ARGV[i])
end
local silent = redis.call('ZRANGEBYSCORE', P .. 'workers', '-inf', now - tonumber(ARGV[3]))
for _, worker in ipairs(silent) do
  redis.call('ZREM', P .. 'workers', worker)
  redis.call('HDEL', P .. 'reports', worker)
end
redis.call('ZREMRANGEBYSCORE', P .. 'homes', '-inf', now - 3600000)
return 0
