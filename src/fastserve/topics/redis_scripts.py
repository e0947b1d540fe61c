"""What Redis does at once: scripts in Lua, run with EVAL."""

from __future__ import annotations

# KEYS: meta, log. ARGV: epoch of a new history, size, milliseconds that it is kept, channel, fields of the message.
KEEP = b"""
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch then
    epoch = ARGV[1]
    redis.call('DEL', KEYS[2])
    redis.call('HSET', KEYS[1], 'epoch', epoch)
end
local offset = redis.call('HINCRBY', KEYS[1], 'offset', 1)
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[2], offset .. '-1', 'm', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
local position = epoch .. ':' .. offset
redis.call('PUBLISH', ARGV[4], '\\0' .. position .. ' ' .. ARGV[5])
return position
"""

NOW = b"""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local exact = string.format('%.0f', time[1] * 1000000 + time[2]) -- of which JSON would not have all digits
local function tell(what, member, info)
    redis.call('PUBLISH', ARGV[1], '\\0\\1' .. cjson.encode({what, member, info}))
end
"""
# KEYS: members. ARGV: channel, milliseconds that they stay, how many of these are over, node, and members, each with
# its info.
JOIN = (
    NOW
    + b"""
for at = 5, #ARGV, 2 do
    local known = redis.call('HGET', KEYS[1], ARGV[at])
    local nodes = known and cjson.decode(known) or {}
    local own = nodes[ARGV[4]]
    local since = own and own[2] == ARGV[at + 1] and own[3] or exact
    nodes[ARGV[4]] = {now - ARGV[3], ARGV[at + 1], since}
    redis.call('HSET', KEYS[1], ARGV[at], cjson.encode(nodes))
    if not known then tell('join', ARGV[at], ARGV[at + 1]) end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
)
# KEYS: members. ARGV: channel, node, member.
LEAVE = (
    NOW
    + b"""
local known = redis.call('HGET', KEYS[1], ARGV[3])
if not known then return end
local nodes = cjson.decode(known)
local own = nodes[ARGV[2]]
if not own then return end
nodes[ARGV[2]] = nil
if next(nodes) then
    redis.call('HSET', KEYS[1], ARGV[3], cjson.encode(nodes))
else
    redis.call('HDEL', KEYS[1], ARGV[3])
    tell('leave', ARGV[3], own[2])
end
"""
)
# KEYS: members. ARGV: channel, milliseconds that members stay. Returns members, each with its info.
MEMBERS = (
    NOW
    + b"""
local found = {0} -- no text: a member may have the name of a kind of push
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
    local newest, changed = nil, false
    local nodes = cjson.decode(all[at + 1])
    for node, entry in pairs(nodes) do
        if not newest or tonumber(entry[3]) > tonumber(newest[3]) then newest = entry end
    end
    for node, entry in pairs(nodes) do
        if entry[1] <= now - ARGV[2] then
            nodes[node] = nil
            changed = true
        end
    end
    if next(nodes) then
        if changed then redis.call('HSET', KEYS[1], all[at], cjson.encode(nodes)) end
        found[#found + 1] = all[at]
        found[#found + 1] = newest[2]
    else
        redis.call('HDEL', KEYS[1], all[at])
        tell('leave', all[at], newest[2])
    end
end
return found
"""
)
