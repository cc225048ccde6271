-- One moment of several channels' histories (tip.lua stands before this).
--
-- KEYS  1 journal  2 epoch; then for each channel: history, last
-- ARGV  1 cursor  2 most entries of each channel  3 history ttl ms  4 most bytes of each channel, and one entry
--       5 last-id ttl ms
-- Returns tip, epoch, now ms, the newest id older than the last-id ttl (or ''); then for each channel: entries
-- after the cursor, 1 if there are more, last id, oldest id kept.
local FIRST_STEP = 16
local most, budget = tonumber(ARGV[2]), tonumber(ARGV[4])

local function entries_after(history, from)
  local entries, bytes, step = {}, 0, FIRST_STEP
  while true do
    local count = math.min(step, most - #entries)
    local rows = redis.call('XRANGE', history, from, '+', 'COUNT', count + 1)
    for index = 1, math.min(count, #rows) do
      entries[#entries + 1] = rows[index]
      bytes = bytes + #rows[index][2][2]
    end
    if #rows <= count then return entries, 0 end
    if #entries >= most or bytes >= budget then return entries, 1 end
    from = '(' .. entries[#entries][1]
    step = math.max(1, math.floor((budget - bytes) * #entries / bytes))
  end
end

local tip, epoch = tip_and_epoch(KEYS[1], KEYS[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept_since = string.format('%.0f', math.max(now - ARGV[3], 0))
local from = '(' .. ARGV[1]
if tonumber(string.match(ARGV[1], '^%d+')) < tonumber(kept_since) then
  from = kept_since
end
local remembered_since = string.format('%.0f', math.max(now - ARGV[5], 0))
local first, beyond = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1], nil
if tonumber(string.match(first[1], '^%d+')) <= tonumber(remembered_since) then
  -- only then: where no entry is that old, looking for one walks the whole journal
  beyond = redis.call('XREVRANGE', KEYS[1], remembered_since, '-', 'COUNT', 1)[1]
end
local answer = {tip, epoch, string.format('%.0f', now), beyond and beyond[1] or ''}
for key = 3, #KEYS, 2 do
  local oldest = redis.call('XRANGE', KEYS[key], kept_since, '+', 'COUNT', 1)[1]
  local entries, more = entries_after(KEYS[key], from)
  answer[#answer + 1] = entries
  answer[#answer + 1] = more
  answer[#answer + 1] = redis.call('GET', KEYS[key + 1]) or ''
  answer[#answer + 1] = oldest and oldest[1] or ''
end
return answer
