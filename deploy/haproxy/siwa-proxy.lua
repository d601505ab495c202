-- Asks siwa-proxy whether a request may pass, and as whom: `http-request lua.siwa_proxy`.
--
-- Sets txn.siwa_status to the answer's status, and after a 200 txn.siwa_allowed, and txn.siwa_sub, txn.siwa_email and
-- txn.siwa_issuer to what was told. Whatever goes wrong, txn.siwa_allowed is not set.

local ASKED_AT = "abns@siwa-proxy-asks"
local DOOR = "http://siwa-proxy/auth/apple/verify"

-- All that a decision depends on: the credential, and what a preflight is known by.
local SHOWN = { authorization = true, origin = true, ["access-control-request-method"] = true }

-- Some frameworks take a request for one of another method by such a header, however it is spelt.
local function is_shown(name)
    return SHOWN[name] or string.match(name, "^x%Whttp%Wmethod") or string.match(name, "^x%Wmethod%Woverride$")
end

-- Of the answer, what the application is told: X-Apple-Sub and so on. haproxy.cfg sets it.
local TOLD = { "sub", "email", "issuer" }

local function question(txn)
    local headers = {
        -- All of it: a comma in it separates nothing.
        ["host"] = { txn.sf:req_fhdr("host") },
        ["x-original-method"] = { txn.sf:method() },
        ["x-original-uri"] = { txn.sf:pathq() },
        ["x-forwarded-for"] = { txn.sf:src() },
    }
    for name, lines in pairs(txn.http:req_get_headers()) do
        if is_shown(name) then
            -- From zero, as HAProxy counts them. Each line is shown: two credentials are one too many.
            headers[name] = {}
            for index = 0, #lines do
                table.insert(headers[name], lines[index])
            end
        end
    end
    return headers
end

core.register_action("siwa_proxy", { "http-req" }, function(txn)
    local answer = core.httpclient():get({ url = DOOR, dst = ASKED_AT, headers = question(txn) })
    if not answer or not answer.status then
        return
    end
    txn:set_var("txn.siwa_status", answer.status)
    local function told(name)
        local lines = answer.headers and answer.headers[name]
        return lines and lines[0]
    end
    txn:set_var("txn.siwa_challenge", told("www-authenticate") or "Bearer")
    if answer.status ~= 200 then
        return
    end
    for _, header in ipairs(TOLD) do
        local value = told("x-apple-" .. header)
        if value then
            txn:set_var("txn.siwa_" .. header, value)
        end
    end
    txn:set_var("txn.siwa_allowed", true)
end)
