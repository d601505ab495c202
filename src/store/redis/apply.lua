-- Does a batch of writes whole or not at all: what `Store::apply` promises.
-- KEYS: the records, one for each write. ARGV: for each write what to do ("insert", "put", "raise" or "delete"), the expiry
-- in seconds since 1970, the value, and the channel of its space. A value is kept behind its expiry and a space.
--
-- Redis does not take back what a script wrote before it failed. So everything that may fail comes before the first write:
-- reading what is there, of whichever type it is, and looking at what is to be written.

-- The greater of two decimal numbers, as the text that it was: Lua would round a long one when it writes it.
local function greater(a, b)
  if tonumber(a) < tonumber(b) then return b end
  return a
end

-- The latest expiry that Redis takes, in seconds: it counts milliseconds in 63 bits.
local LATEST = 9223372036854775

-- What is there after the writes so far: a record, or false for none.
local after, expiries, raised = {}, {}, {}

local function current(key)
  if after[key] == nil then
    after[key] = redis.call('GET', key)
  end
  return after[key]
end

for i, key in ipairs(KEYS) do
  local what, expires, value, channel = unpack(ARGV, 4 * i - 3, 4 * i)
  if what == 'insert' and current(key) then
    return 0
  end
  if what == 'delete' then
    after[key] = false
  else
    if what == 'raise' then
      local old_expires, a, b = string.match(current(key) or '', '^(%d+) (%d+) (%d+)$')
      if old_expires then
        local x, y = string.match(value, '^(%d+) (%d+)$')
        expires, value = greater(old_expires, expires), greater(a, x) .. ' ' .. greater(b, y)
      end
    end
    if tonumber(expires) < 1 or tonumber(expires) > LATEST then
      return redis.error_reply('ERR a record cannot expire at ' .. expires)
    end
    after[key], expiries[key] = expires .. ' ' .. value, expires
    if what == 'raise' then
      raised[key] = channel
    end
  end
end

for key, record in pairs(after) do
  if record then
    redis.call('SET', key, record, 'EXAT', expiries[key])
  else
    redis.call('DEL', key)
  end
end
-- Last, and only of what is written: whoever may not publish has still written all of it.
for key, channel in pairs(raised) do
  if after[key] then
    redis.call('PUBLISH', channel, key .. ' ' .. after[key])
  end
end
return 1
