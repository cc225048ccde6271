-- A process tells how many streams each of these users has there, and asks for newcomers (known.lua stands before).
--
-- KEYS  a user's hash each
-- ARGV  1 the process's name  2 the living  3 seen  4 limit (0: none)  5 ms for which a count is kept
--       then for each user: the streams held, and for each newcomer its ticket, or '-'; spaces between
-- Returns for each user: streams over all processes, ms kept away (0: not), and for each newcomer
-- 1 admitted, 0 too many, -1 ticket not good, -2 kept away.
local me, living, seen, limit, keep = ARGV[1], names(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local answers = {}
for index, key in ipairs(KEYS) do
  local counts, total, away, tickets = known(key, living, seen)
  local said = string.gmatch(ARGV[5 + index], '%S+')
  local before, mine = counts[me] or 0, tonumber(said())
  local others = total - before
  local answer = {0, away}
  for ticket in said do
    local field, verdict = 't:' .. ticket, 1
    if away > 0 then
      verdict = -2
    elseif ticket ~= '-' and not tickets[field] then
      verdict = -1
    elseif limit > 0 and others + mine >= limit then
      verdict = 0
    else
      mine = mine + 1
      if ticket ~= '-' then
        redis.call('HDEL', key, field)
        tickets[field] = nil
      end
    end
    answer[#answer + 1] = verdict
  end
  if mine > 0 then
    redis.call('HSET', key, me, mine)
    redis.call('PEXPIRE', key, string.format('%.0f', math.max(keep, away)))
  elseif before > 0 then
    redis.call('HDEL', key, me)
  end
  answer[1] = others + mine
  answers[index] = answer
end
return answers
