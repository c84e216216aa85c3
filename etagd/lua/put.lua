-- SPDX-License-Identifier: Apache-2.0
-- put: stores an entry unless a newer one of the same epoch stands there.
--
-- KEYS  1 <prefix>:e:<key>#<variant>
-- ARGV  1 value (etagd/entry_text.h)  2 epoch  3 as-of id  4 kind and tag as in the value  5 life in ms
-- ->    { 1 }         stored
--       { 0, value }  not stored: this one is newer
--       { 2, value }  stored over another tag of the same as-of position or an older one

local old = redis.call('GET', KEYS[1])
local epoch, as_of, tag
if old then epoch, as_of, tag = old:match('^1 (%S+) (%S+) (%S+)') end
if epoch == ARGV[2] and is_newer(as_of, ARGV[3]) then return { 0, old } end

redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[5])
if epoch == ARGV[2] and tag ~= ARGV[4] then return { 2, old } end
return { 1 }
