-- ARGV: a key, what one request costs, what can be spent at once (both in microseconds), how many requests this is.
-- The generic cell rate algorithm: the state is the time at which the key's burst is whole again. Answers whether it is
-- admitted, how many more could come at once, milliseconds until the burst is whole, milliseconds until the next try.
local P = KEYS[1]
local key, interval, tolerance, cost = P .. 'rate:' .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local limit = now + tolerance
local state = tonumber(redis.call('GET', key) or now)
if state > limit + 60000000 then state = limit end
if state < now then state = now end
local wanted = state + interval * cost
local allowed = wanted <= limit
if allowed then state = wanted end
if state > now then
  redis.call('SET', key, string.format('%.0f', state), 'PX', math.ceil((state - now) / 1000) + 1)
end
local left = limit - state
if left < 0 then left = 0 end
local retry = 0
if not allowed then retry = math.ceil((wanted - limit) / 1000) end
return {allowed and 1 or 0, math.floor(left / interval), math.ceil((state - now) / 1000), retry}
