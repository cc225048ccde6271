-- Renew a process's report, or only read them all.
--
-- KEYS  1 reports: a hash, by process, of `<ms> <report>`  2 watched: a sorted set, by until when
-- ARGV  1 the process's name, '' to read  2 its report  3 ms after which a report is forgotten
-- Returns what is watched, or all reports.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[1] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f ', now) .. ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  return redis.call('ZRANGE', KEYS[2], 0, -1)
end
local reports, fields = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  local at, report = string.match(fields[i + 1], '^(%d+) (.*)$')
  if at and now - tonumber(at) < tonumber(ARGV[3]) then
    reports[#reports + 1] = report
  else
    redis.call('HDEL', KEYS[1], fields[i])
  end
end
return reports
