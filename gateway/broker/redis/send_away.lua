-- Take back a user's tickets, and keep the user away if asked to (known.lua stands before).
-- KEYS  1 the user's hash     ARGV  1 the living  2 seen  3 ms to keep away ('' leaves it as it is, 0 ends it)
--                                   4 ms for which a count is kept
-- Returns the user's streams over all processes.
local counts, total, away, tickets = known(KEYS[1], names(ARGV[1]), tonumber(ARGV[2]))
for ticket in pairs(tickets) do redis.call('HDEL', KEYS[1], ticket) end
if ARGV[3] ~= '' then
  away = tonumber(ARGV[3])
  if away > 0 then
    redis.call('HSET', KEYS[1], 'away', string.format('%.0f', now + away))
  else
    redis.call('HDEL', KEYS[1], 'away')
  end
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(tonumber(ARGV[4]), away)))
end
return total
