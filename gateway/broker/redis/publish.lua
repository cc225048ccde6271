-- Publish a list of events in one atomic step: for each give the id, store, announce.
--
-- KEYS  1 journal; then for each event: history, last, dedupe
-- ARGV  1 retention ('1' or '0')  2 history length  3 history ttl ms  4 last-id ttl ms  5 journal length
--       6 idempotency ttl ms; then for each event: channel, pub/sub channel, envelope, 'k' if its dedupe key counts
-- Returns for each event: id ('' without retention), receivers.
local retention = ARGV[1] == '1'
local answers = {}

local function store(history, id, previous, envelope)
  return redis.pcall('XADD', history, 'MAXLEN', '~', ARGV[2], id, 'e', envelope, 'p', previous)
end

for item = 0, (#KEYS - 1) / 3 - 1 do
  local history, last, dedupe = KEYS[2 + item * 3], KEYS[3 + item * 3], KEYS[4 + item * 3]
  local channel, pubsub = ARGV[7 + item * 4], ARGV[8 + item * 4]
  local envelope, once = ARGV[9 + item * 4], ARGV[10 + item * 4] == 'k'
  local answer = once and redis.call('GET', dedupe)
  if answer then
    local id, receivers = string.match(answer, '^(%S*) (%d+)$')
    answers[item + 1] = {id, tonumber(receivers)}
  else
    local id, message = '', envelope
    if retention then
      id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[5], '*', 'c', channel)
      local previous = redis.call('GET', last) or '0-0'
      redis.call('SET', last, id, 'PX', ARGV[4])
      if store(history, id, previous, envelope).err then
        -- The journal was deleted and the clock stepped back: the old history holds greater ids. Begin anew.
        redis.call('DEL', history)
        local stored = store(history, id, previous, envelope)
        if stored.err then return stored end
      end
      redis.call('PEXPIRE', history, ARGV[3])
      message = '{"id":"' .. id .. '","previous":"' .. previous .. '",' .. string.sub(envelope, 2)
    end
    local receivers = redis.call('PUBLISH', pubsub, message)
    if once then
      redis.call('SET', dedupe, id .. ' ' .. receivers, 'PX', ARGV[6])
    end
    answers[item + 1] = {id, receivers}
  end
end
return answers
