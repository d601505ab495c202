-- For wrk: a request for each line of a file of tokens, one after the other, to a path and with so many bytes to upload. The
-- last line printed is read by lab.py.
local requests, at = {}, 0

function init(arguments)
  local path, upload = arguments[2], tonumber(arguments[3])
  local method, body = "GET", nil
  if upload > 0 then
    method, body = "POST", string.rep("x", upload)
  end
  for token in io.lines(arguments[1]) do
    local headers = { Authorization = "Bearer " .. token, Host = "app.example" }
    requests[#requests + 1] = wrk.format(method, path, headers, body)
  end
  if #requests == 0 then
    requests[1] = wrk.format(method, path, { Host = "app.example" }, body)
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary)
  io.write(string.format("DONE %d %d\n", summary.requests, summary.errors.status))
end
