-- Make a ticket good for its user (known.lua stands before).
-- KEYS  1 the user's hash     ARGV  1 the living  2 seen  3 digest  4 ms it is good for  5 most tickets of a user
--                                   6 ms for which a count is kept
-- Returns ms kept away (0: not), and 1 if it was issued, 0 if there are too many.
local counts, total, away, tickets, waiting = known(KEYS[1], names(ARGV[1]), tonumber(ARGV[2]))
if away > 0 or waiting >= tonumber(ARGV[5]) then return {away, 0} end
redis.call('HSET', KEYS[1], 't:' .. ARGV[3], string.format('%.0f', now + tonumber(ARGV[4])))
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return {0, 1}
