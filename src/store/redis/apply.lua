-- Does a batch of writes whole or not at all: what `Store::apply` promises.
-- KEYS: the records, one for each write. ARGV: for each write what to do ("insert", "put", "raise" or "delete"), the expiry
-- in seconds since 1970, the value, and the channel of its space. A value is kept behind its expiry and a space.

for i, key in ipairs(KEYS) do
  if ARGV[4 * i - 3] == 'insert' and redis.call('EXISTS', key) == 1 then
    return 0
  end
end

-- The greater of two decimal numbers, as the text that it was: Lua would round a long one when it writes it.
local function greater(a, b)
  if tonumber(a) < tonumber(b) then return b end
  return a
end

for i, key in ipairs(KEYS) do
  local what, expires, value, channel = unpack(ARGV, 4 * i - 3, 4 * i)
  if what == 'delete' then
    redis.call('DEL', key)
  else
    if what == 'raise' then
      local old_expires, a, b = string.match(redis.call('GET', key) or '', '^(%d+) (%d+) (%d+)$')
      if old_expires then
        local x, y = string.match(value, '^(%d+) (%d+)$')
        expires, value = greater(old_expires, expires), greater(a, x) .. ' ' .. greater(b, y)
      end
    end
    redis.call('SET', key, expires .. ' ' .. value, 'EXAT', expires)
    if what == 'raise' then
      redis.call('PUBLISH', channel, key .. ' ' .. expires .. ' ' .. value)
    end
  end
end
return 1
