-- ARGV: how many, the consumer, the ageing time in ms, the most bypasses, ms that an entry may be out, and as JSON the
-- sets `cannot`, `warm`, `homes`, how many jobs of an owner may run (`limit`; 0: any number), and by owner `limits` and
-- `weights`. Gives the ms until the next delayed entry is due (-1: none), then for each entry its lane, id, job and `since`.
-- A script whose first write needs no memory may go on when Redis is full; this frees some.
redis.call('DEL', P .. 'room')
local most, worker, ageing, bypasses = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
-- A server that was not heard of for so long has lost whatever prompts it had.
local AWAY = 10000
local PAGE = 32
local now = now_ms()

local function set(names)
  local found = {}
  for _, name in ipairs(names) do found[name] = true end
  return found
end

local out, offer = tonumber(ARGV[5]), cjson.decode(ARGV[6])
local cannot, warm, homes = set(offer.cannot), set(offer.warm), set(offer.homes)
local any_warm = #offer.warm > 0

-- How many jobs run, of those owners looked at whose running jobs are bounded.
local running = {}

-- Whether as many jobs of an owner run as may.
local function full(owner)
  local limit = offer.limits[owner] or offer.limit
  if limit == 0 then return false end
  if not running[owner] then running[owner] = count_runs(owner, now) end
  return running[owner] >= limit
end

local function can(lane)
  local _, owner, needs, home = parts(lane)
  if cannot[needs] or full(owner) then return false end
  if home == '-' or homes[home] then return true end
  local seen = redis.call('ZSCORE', P .. 'homes', home)
  return not seen or tonumber(seen) < now - AWAY
end

local function is_warm(lane)
  local _, _, needs = parts(lane)
  return warm[needs]
end

-- The first lane of a sorted set that `fits`, and its score.
local function first(key, fits)
  local from = 0
  while true do
    local page = redis.call('ZRANGE', key, from, from + PAGE - 1, 'WITHSCORES')
    if #page == 0 then return nil end
    for i = 1, #page, 2 do
      if fits(page[i]) then return page[i], tonumber(page[i + 1]) end
    end
    from = from + PAGE
  end
end

-- In place of a lane whose models are not loaded, one of the same owner whose models are; within bounds.
local function warmer(lane, lanes, since)
  if not any_warm or is_warm(lane) or since <= now - ageing then return lane, since end
  local read = redis.call('HGET', P .. 'read', lane) or '0-0'
  local head = redis.call('XRANGE', stream(lane), '(' .. read, '+', 'COUNT', 1)[1]
  local job = head and field(head[2], 'job')
  if not job or tonumber(redis.call('HGET', P .. 'bypassed', job) or 0) >= bypasses then return lane, since end
  local better, its = first(lanes, function(other) return is_warm(other) and can(other) end)
  if not better then return lane, since end
  redis.call('HINCRBY', P .. 'bypassed', job, 1)
  return better, its
end

-- The job of the owner that had least, of those that may have one.
local function in_turn(p)
  local from = 0
  while true do
    local owners = redis.call('ZRANGE', P .. 'owners:' .. p, from, from + PAGE - 1)
    if #owners == 0 then return nil end
    for _, owner in ipairs(owners) do
      local lanes = P .. 'lanes:' .. p .. ':' .. owner
      if not full(owner) then
        local lane, since = first(lanes, can)
        if lane then return lane, since, lanes end
      end
    end
    from = from + PAGE
  end
end

-- The next lane: of each priority from the highest, what is next in turn or has climbed up there by its age.
local function choose()
  for p = 2, 0, -1 do
    local lane, since, lanes = in_turn(p)
    local turn = true
    for from = 0, p - 1 do
      local other, its = first(P .. 'oldest:' .. from, can)
      if other and its <= now - (p - from) * ageing and (not lane or its < since) then
        lane, since, turn = other, its, false
      end
    end
    if lane then
      if turn then lane = warmer(lane, lanes, since) end
      return lane, turn
    end
  end
end

local function charge(p, owner, turn)
  local before = had(p, owner)
  local after = before + 1 / (offer.weights[owner] or 1)
  if turn and before > floor_of(p) then
    redis.call('HSET', P .. 'floor', p, before)
    redis.call('ZREMRANGEBYSCORE', P .. 'vtimes:' .. p, '-inf', before)
  end
  redis.call('ZADD', P .. 'vtimes:' .. p, after, owner)
  if redis.call('ZSCORE', P .. 'owners:' .. p, owner) then
    redis.call('ZADD', P .. 'owners:' .. p, after, owner)
  end
end

admit(now)
local answer = { -1 }
local tries = most + 256
while #answer <= most * 4 and tries > 0 do
  tries = tries - 1
  local lane, turn = choose()
  if not lane then break end
  local p, owner = parts(lane)
  local read = redis.pcall('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', 1, 'STREAMS', stream(lane), '>')
  if not read or read.err then
    -- What is noted of the lane is wrong: as the group has it, so it is.
    group(lane)
    local groups = redis.pcall('XINFO', 'GROUPS', stream(lane))
    local last = groups[1] and field(groups[1], 'last-delivered-id') or '0-0'
    redis.call('HSET', P .. 'read', lane, last)
    refresh(lane)
  else
    local id, fields = read[1][2][1][1], read[1][2][1][2]
    redis.call('HSET', P .. 'read', lane, id)
    local job, since = field(fields, 'job'), field(fields, 'since')
    if job and string.match(job, '^[%w_-]+$') and tonumber(since or '') then
      redis.call('ZREM', P .. 'waiting:' .. p, job)
      redis.call('HDEL', P .. 'bypassed', job)
      redis.call('HSET', P .. 'places', job, lane .. '|' .. id)
      charge(p, owner, turn)
      if running[owner] then
        hold(owner, job .. '@' .. worker, out, now)
        running[owner] = running[owner] + 1
      end
      refresh(lane)
      for _, value in ipairs({ lane, id, job, since }) do answer[#answer + 1] = value end
    else
      redis.call('XADD', P .. 'dead', 'MAXLEN', '~', 10000, '*', 'lane', lane, 'id', id, unpack(fields))
      remove(lane, id)
    end
  end
end
local due = redis.call('ZRANGE', P .. 'delayed', 0, 0, 'WITHSCORES')
if due[2] then answer[1] = math.max(tonumber(due[2]) - now, 1) end
return answer
