-- SPDX-License-Identifier: Apache-2.0
-- names: the names that select a variant of a resource. They only grow until something covers the
-- resource: a response without Vary does not make an earlier one with Vary wrong.
--
-- KEYS  1 <prefix>:e:<key>
-- ARGV  1 epoch  2 as-of id  3 names, sorted, joined by ","  4 oldest as-of id that is still valid
--       5 life in ms
-- ->    the value stored (etagd/entry_text.h), and 1 when others that were valid there did not have all of these names

-- By bytes: Lua's own comparison follows the server's locale.
local function is_before(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

local names, as_of = ARGV[3], ARGV[2]
local old = redis.call('GET', KEYS[1])
local old_epoch, old_as_of, old_names
local grew = 0
if old then old_epoch, old_as_of, old_names = old:match('^1 (%S+) (%d+%-%d+) N:(%S*) 0 %- %-$') end

if old_epoch == ARGV[1] and not is_newer(ARGV[4], old_as_of) then
  local seen, list = {}, {}
  for name in (names .. ',' .. old_names):gmatch('[^,]+') do
    if not seen[name] then
      seen[name] = true
      list[#list + 1] = name
    end
  end
  table.sort(list, is_before)
  names = table.concat(list, ',')
  if #old_names > 400 then names = old_names end -- more than any node can hold: the page is looked up by none
  if names ~= old_names then grew = 1 end
  if is_newer(old_as_of, as_of) then as_of = old_as_of end
end

local value = '1 ' .. ARGV[1] .. ' ' .. as_of .. ' N:' .. names .. ' 0 - -'
redis.call('SET', KEYS[1], value, 'PX', ARGV[5])
return {value, grew}
