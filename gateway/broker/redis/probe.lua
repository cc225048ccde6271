-- Announce the tip on a process's own channel (tip.lua stands before this). Whoever hears it has heard every
-- announcement up to that id: pub/sub keeps order within a connection.
-- KEYS  1 journal  2 epoch     ARGV  1 pub/sub channel  2 the probe's number
-- Announced is the tip, the number, and the server's clock in seconds.
local tip = tip_and_epoch(KEYS[1], KEYS[2])
local time = redis.call('TIME')
redis.call('PUBLISH', ARGV[1], string.format('%s %s %s.%06d', tip, ARGV[2], time[1], time[2]))
return tip
