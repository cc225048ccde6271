-- Shared by the registry's scripts: what is known of one user, in one hash, so that it is read at once and in one slot.
--   <instance>  how many streams that process has. A process's name begins with the time (ms) it was given at.
--   away        until when (ms) the user is kept away
--   t:<digest>  until when (ms) a ticket is good
-- What is over, and the counts of processes that died, are removed on the way. `living` are those that had shown a
-- sign of life at `seen` (ms); a name given later is of one that was not looked for then.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function names(text)
  local found = {}
  for name in string.gmatch(text, '%S+') do found[name] = true end
  return found
end

local function known(key, living, seen)
  local counts, total, away, tickets, waiting = {}, 0, 0, {}, 0
  local fields = redis.pcall('HGETALL', key)
  if fields.err then  -- not ours: it would fail the call for all users who are asked about together
    redis.call('DEL', key)
    fields = {}
  end
  for index = 1, #fields, 2 do
    local field, value = fields[index], tonumber(fields[index + 1]) or 0
    if field == 'away' and value > now then
      away = value - now
    elseif string.sub(field, 1, 2) == 't:' and value > now then
      tickets[field], waiting = value, waiting + 1
    elseif living[field] or (tonumber(string.match(field, '^(%d+)%-')) or 0) >= seen then
      counts[field], total = value, total + value
    else
      redis.call('HDEL', key, field)
    end
  end
  return counts, total, away, tickets, waiting
end
