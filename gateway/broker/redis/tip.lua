-- Shared by the reading scripts: the tip of the journal, and its epoch (the first id it ever held).
-- A journal that is not there is begun, so that a cursor from before a FLUSHALL is known to be one.
local function tip_and_epoch(journal, epoch_key)
  local newest = redis.call('XREVRANGE', journal, '+', '-', 'COUNT', 1)[1]
  if not newest then
    local born = redis.call('XADD', journal, '*', 'c', '')
    redis.call('SET', epoch_key, born)
    return born, born
  end
  local epoch = redis.call('GET', epoch_key)
  if not epoch then
    epoch = redis.call('XRANGE', journal, '-', '+', 'COUNT', 1)[1][1]
    redis.call('SET', epoch_key, epoch)
  end
  return newest[1], epoch
end
