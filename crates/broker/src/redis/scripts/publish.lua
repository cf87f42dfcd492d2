-- ARGV: how many events of a job are kept and for how long (seconds), how long its progress is (seconds); then for each
-- event its job, its kind (status, progress, log, preview) and its text.
-- What happened (status, log) is kept for a while in stream `said:<job>`, so that whoever was away can catch up.
local P = KEYS[1]
local keep, keep_for, progress_for = ARGV[1], ARGV[2], ARGV[3]
for i = 4, #ARGV, 3 do
  local job, kind, text = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local id = ''
  if kind == 'progress' then
    redis.pcall('SET', P .. 'progress:' .. job, text, 'EX', progress_for)
  elseif kind ~= 'preview' then
    if kind == 'status' then redis.call('DEL', P .. 'progress:' .. job) end
    local said = P .. 'said:' .. job
    local added = redis.pcall('XADD', said, 'MAXLEN', '~', keep, '*', 'event', text)
    if type(added) == 'string' then
      id = added
      redis.call('EXPIRE', said, keep_for)
    end
  end
  redis.call('PUBLISH', P .. 'events', job .. ' ' .. id .. ' ' .. text)
end
return 0
