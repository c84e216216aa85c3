-- SPDX-License-Identifier: Apache-2.0
-- name: the first one wins. Replaces what stands there only if that is exactly what the caller judged;
-- otherwise the caller judges again.
--
-- KEYS  1 <prefix>:e:<key>#<variant of a name>
-- ARGV  1 the value that was judged, '' for none  2 the value in its place, '' to look only  3 life in ms
-- ->    { the value that stands there now or '', its life left in ms, the server's clock in ms,
--         1 if it is the caller's }

local value, mine = redis.call('GET', KEYS[1]) or '', 0

if ARGV[2] ~= '' and value == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  value, mine = ARGV[2], 1
end

local time = redis.call('TIME')
return { value, redis.call('PTTL', KEYS[1]), time[1] * 1000 + math.floor(time[2] / 1000), mine }
