-- ARGV: ms after which a worker that is silent is gone. Gives the reports of those that live.
local living = redis.call('ZRANGEBYSCORE', P .. 'workers', '(' .. (now_ms() - tonumber(ARGV[1])), '+inf')
local reports = {}
for _, worker in ipairs(living) do
  local report = redis.call('HGET', P .. 'reports', worker)
  if report then reports[#reports + 1] = report end
end
return reports
