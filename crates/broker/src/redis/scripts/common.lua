-- Shared by all scripts but `limit` and `publish`. KEYS[1] is what every key begins with: a hash tag, so that all of them lie in one slot.
--
--   lane:<lane>            stream   the entries of a lane (job, since), read by the group `workers`
--   streams                set      the lanes that have a stream
--   read                   hash     lane -> id of its last entry that was handed out
--   tails                  hash     lane -> the newest `since` in it
--   owners:<p>             zset     owners with work of priority p, by how much they have had
--   vtimes:<p>, floor      zset, hash  how much each owner has had for its weight, and the least that counts
--   runs:<owner>           zset     job@worker by when it no longer counts as running; where the owner's are bounded
--   lanes:<p>:<owner>      zset     the owner's lanes by the `since` of their heads
--   oldest:<p>             zset     all lanes by the `since` of their heads
--   waiting:<p>            zset     waiting jobs by `since`
--   places                 hash     job -> lane|id, or `delayed`
--   delayed, later         zset, hash  jobs by when they are due, and where they go then
--   bypassed               hash     job -> how many went before it because their models were loaded
--
-- A lane is <p>:<owner>:<needs>:<home>:<generation>; its parts hold no colon.
local P = KEYS[1]
local GROUP = 'workers'

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function stream(lane)
  return P .. 'lane:' .. lane
end

local function parts(lane)
  return string.match(lane, '^([^:]*):([^:]*):([^:]*):([^:]*):([^:]*)$')
end

local function field(fields, name)
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
end

-- Whether stream id `a` is not behind `b`.
local function reached(a, b)
  local am, as = string.match(a, '^(%d+)-(%d+)$')
  local bm, bs = string.match(b, '^(%d+)-(%d+)$')
  am, as, bm, bs = tonumber(am), tonumber(as), tonumber(bm), tonumber(bs)
  return am > bm or (am == bm and as >= bs)
end

local function floor_of(p)
  return tonumber(redis.call('HGET', P .. 'floor', p) or 0)
end

local function had(p, owner)
  return math.max(tonumber(redis.call('ZSCORE', P .. 'vtimes:' .. p, owner) or 0), floor_of(p))
end

-- What an owner runs counts for `ms` from now.
local function hold(owner, run, ms, now)
  local key = P .. 'runs:' .. owner
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  redis.call('ZADD', key, now + ms, run)
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, ms) end
end

-- How many jobs of an owner run.
local function count_runs(owner, now)
  return redis.call('ZCOUNT', P .. 'runs:' .. owner, '(' .. string.format('%.0f', now), '+inf')
end

local function group(lane)
  redis.pcall('XGROUP', 'CREATE', stream(lane), GROUP, '0', 'MKSTREAM')
end

-- Brings what is noted of a lane's head up to date; a lane that is empty and has nothing out is removed.
local function refresh(lane)
  local p, owner = parts(lane)
  local read = redis.call('HGET', P .. 'read', lane) or '0-0'
  local head = redis.call('XRANGE', stream(lane), '(' .. read, '+', 'COUNT', 1)[1]
  local lanes = P .. 'lanes:' .. p .. ':' .. owner
  if head then
    local since = tonumber(field(head[2], 'since') or '') or 0
    redis.call('ZADD', lanes, since, lane)
    redis.call('ZADD', P .. 'oldest:' .. p, since, lane)
    if not redis.call('ZSCORE', P .. 'owners:' .. p, owner) then
      redis.call('ZADD', P .. 'owners:' .. p, had(p, owner), owner)
    end
    return
  end
  redis.call('ZREM', lanes, lane)
  redis.call('ZREM', P .. 'oldest:' .. p, lane)
  if redis.call('EXISTS', lanes) == 0 then
    redis.call('ZREM', P .. 'owners:' .. p, owner)
  end
  if redis.call('XLEN', stream(lane)) == 0 then
    redis.call('DEL', stream(lane))
    redis.call('HDEL', P .. 'read', lane)
    redis.call('HDEL', P .. 'tails', lane)
    redis.call('SREM', P .. 'streams', lane)
  end
end

-- Removes an entry of a lane, whether it was handed out or not.
local function remove(lane, id)
  redis.call('XACK', stream(lane), GROUP, id)
  redis.call('XDEL', stream(lane), id)
  refresh(lane)
end

-- Removes whatever hints at a job.
local function forget(job)
  local place = redis.call('HGET', P .. 'places', job)
  if not place then return end
  redis.call('HDEL', P .. 'places', job)
  redis.call('HDEL', P .. 'bypassed', job)
  if place == 'delayed' then
    redis.call('ZREM', P .. 'delayed', job)
    redis.call('HDEL', P .. 'later', job)
    return
  end
  local lane, id = string.match(place, '^(.*)|(.-)$')
  redis.call('ZREM', P .. 'waiting:' .. parts(lane), job)
  remove(lane, id)
end

-- Adds a hint. `base` is a lane without its generation: what is older than the newest of its lane goes to another, so
-- that a job that comes back keeps its age.
local function add(job, base, since, due, now)
  if due > now then
    forget(job)
    redis.call('ZADD', P .. 'delayed', due, job)
    redis.call('HSET', P .. 'later', job, base .. '|' .. string.format('%.0f', since))
    redis.call('HSET', P .. 'places', job, 'delayed')
    return
  end
  local place = redis.call('HGET', P .. 'places', job)
  if place then
    local at, id = string.match(place, '^(.*)|(.-)$')
    if at == base .. ':first' or at == base .. ':again' then
      local read = redis.call('HGET', P .. 'read', at)
      if not read or not reached(read, id) then return end
    end
    forget(job)
  end
  local lane = base .. ':first'
  local tail = tonumber(redis.call('HGET', P .. 'tails', lane) or '')
  if tail and tail > since + 1000 then
    lane = base .. ':again'
    tail = tonumber(redis.call('HGET', P .. 'tails', lane) or '')
  end
  if redis.call('SADD', P .. 'streams', lane) == 1 then group(lane) end
  local text = string.format('%.0f', since)
  local id = redis.call('XADD', stream(lane), '*', 'job', job, 'since', text)
  redis.call('HSET', P .. 'places', job, lane .. '|' .. id)
  if not tail or tail < since then redis.call('HSET', P .. 'tails', lane, text) end
  local p = parts(lane)
  redis.call('ZADD', P .. 'waiting:' .. p, since, job)
  if not redis.call('ZSCORE', P .. 'oldest:' .. p, lane) then refresh(lane) end
end

-- How many of a job's priority and above wait longer, plus 1; -1 where it does not wait.
local function position(job)
  local place = redis.call('HGET', P .. 'places', job)
  if not place or place == 'delayed' then return -1 end
  local p = tonumber((parts(string.match(place, '^(.*)|'))))
  local rank = redis.call('ZRANK', P .. 'waiting:' .. p, job)
  if not rank then return -1 end
  for higher = p + 1, 2 do
    rank = rank + redis.call('ZCARD', P .. 'waiting:' .. higher)
  end
  return rank + 1
end

-- Moves what is due to its lane.
local function admit(now)
  local due = redis.call('ZRANGEBYSCORE', P .. 'delayed', '-inf', now, 'LIMIT', 0, 256)
  for _, job in ipairs(due) do
    local later = redis.call('HGET', P .. 'later', job)
    redis.call('ZREM', P .. 'delayed', job)
    redis.call('HDEL', P .. 'later', job)
    redis.call('HDEL', P .. 'places', job)
    if later then
      local base, since = string.match(later, '^(.*)|(%d+)$')
      add(job, base, tonumber(since), 0, now)
    end
  end
end
