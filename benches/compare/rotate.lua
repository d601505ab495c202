-- For wrk: a request for each line of a file of tokens, one after the other. The last line printed is read by compare.py.
local requests, at = {}, 0

function init(arguments)
  for token in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("GET", "/", { Authorization = "Bearer " .. token, Host = "app.example" })
  end
  if #requests == 0 then
    requests[1] = wrk.format("GET", "/", { Host = "app.example" })
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  io.write(string.format("DONE %d %d %d\n", summary.requests, summary.errors.status, latency:percentile(99)))
end
