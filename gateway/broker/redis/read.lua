-- One moment of several channels' histories (tip.lua stands before this).
--
-- KEYS  1 journal  2 epoch; then for each channel: history, last
-- ARGV  1 cursor  2 most entries of each channel  3 history ttl ms
-- Returns tip, epoch, now ms; then for each channel: entries after the cursor, last id, oldest id kept.
local tip, epoch = tip_and_epoch(KEYS[1], KEYS[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept_since = string.format('%.0f', math.max(now - ARGV[3], 0))
local from = '(' .. ARGV[1]
if tonumber(string.match(ARGV[1], '^%d+')) < tonumber(kept_since) then
  from = kept_since
end
local answer = {tip, epoch, string.format('%.0f', now)}
for key = 3, #KEYS, 2 do
  local oldest = redis.call('XRANGE', KEYS[key], kept_since, '+', 'COUNT', 1)[1]
  answer[#answer + 1] = redis.call('XRANGE', KEYS[key], from, '+', 'COUNT', ARGV[2])
  answer[#answer + 1] = redis.call('GET', KEYS[key + 1]) or ''
  answer[#answer + 1] = oldest and oldest[1] or ''
end
return answer
