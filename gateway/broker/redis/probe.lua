-- Announce the tip on a process's own channel (tip.lua stands before this). Whoever hears it has heard every
-- announcement up to that id: pub/sub keeps order within a connection.
-- KEYS  1 journal  2 epoch     ARGV  1 pub/sub channel
local tip = tip_and_epoch(KEYS[1], KEYS[2])
redis.call('PUBLISH', ARGV[1], tip)
return tip
