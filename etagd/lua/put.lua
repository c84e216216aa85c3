-- SPDX-License-Identifier: Apache-2.0
-- put: stores an entry unless a newer one of the same epoch, or a mark of conflict, stands there.
--
-- KEYS  1 <prefix>:e:<key>#<variant>
-- ARGV  1 value (etagd/entry_text.h)  2 epoch  3 as-of id  4 kind and tag as in the value  5 life in ms
--       6 oldest as-of id at which a mark of conflict still counts; "-": the value is a mark itself
-- ->    { 1 }                  stored
--       { 0, value, life ms }  not stored: this one is newer
--       { 2, value, life ms }  stored over another tag of the same as-of position or an older one
--       { 3, value, life ms }  not stored: this is a mark of conflict that counts
--
-- Whether 6 is right for a mark that has other scopes than the value does not matter: a mark that stays too
-- long keeps the entry from the other nodes for a while, one that goes too early is made again.

local CONFLICT = 4 -- ENTRY_CONFLICT of etagd/lib/entry.h
local NEARLY_OVER_MS = 1000 -- nobody takes what has less life left

local old = redis.call('GET', KEYS[1])
local epoch, as_of, tag, flags
if old then epoch, as_of, tag, flags = old:match('^1 (%S+) (%S+) (%S+) (%d+)') end

local function reply(what)
  return { what, old, redis.call('PTTL', KEYS[1]) }
end

local function is_mark_that_counts()
  return math.floor(tonumber(flags) / CONFLICT) % 2 == 1 and ARGV[6] ~= '-' and not is_newer(ARGV[6], as_of) and
         redis.call('PTTL', KEYS[1]) >= NEARLY_OVER_MS
end

if epoch ~= ARGV[2] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[5])
  return { 1 }
end
if is_newer(as_of, ARGV[3]) then return reply(0) end
if is_mark_that_counts() then return reply(3) end

local stored = tag == ARGV[4] and { 1 } or reply(2)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[5])
return stored
