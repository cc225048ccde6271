-- A process's sign of life, and what it is told: who else lives and has too much to do, and which users were sent away
-- meanwhile.
--
-- KEYS  1 the living, by last sign (ms)  2 revocations  3 those of the living who have too much to do, by last sign
-- ARGV  1 its name ('' at first)  2 how a new name ends  3 ms without a sign after which one is taken for dead
--       4 the last revocation it knows  5 most revocations to return  6 '1' when it has too much to do
-- Returns its name (a new one where it was taken for dead), now ms, the living, how many others have too much to do,
-- the first revocation kept ('' when they were begun anew there), the last one, and those after the one it knows.
local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)
local now = string.format('%.0f', ms)
local dead = string.format('%.0f', ms - ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', dead)
local name = ARGV[1]
if name == '' or not redis.call('ZSCORE', KEYS[1], name) then name = now .. '-' .. ARGV[2] end
redis.call('ZADD', KEYS[1], now, name)
local living = redis.call('ZRANGE', KEYS[1], 0, -1)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', dead)
redis.call('ZREM', KEYS[3], name)
local overloaded = #redis.call('ZRANGE', KEYS[3], 0, -1)
if ARGV[6] == '1' then redis.call('ZADD', KEYS[3], now, name) end

local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
if not first then
  redis.call('XADD', KEYS[2], '*', 'b', '')
  first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
end
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
return {
  name, now, living, overloaded,
  first[2][1] == 'b' and '' or first[1], last[1],
  redis.call('XRANGE', KEYS[2], '(' .. ARGV[4], '+', 'COUNT', ARGV[5]),
}
