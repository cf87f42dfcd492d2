-- ARGV: for each entry its job, its lane without generation, `since` and `due` in ms. Gives each one's position.
local now = now_ms()
local positions = {}
for i = 1, #ARGV, 4 do
  add(ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), now)
end
for i = 1, #ARGV, 4 do
  positions[#positions + 1] = position(ARGV[i])
end
redis.call('PUBLISH', P .. 'bell', '')
return positions
