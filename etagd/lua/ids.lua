-- SPDX-License-Identifier: Apache-2.0
-- ids: stands in front of every script (etagd/lua/embed.awk), since a script of Redis can load no other.

-- Numbers of an id have up to 20 digits, more than a double holds: so digits are compared.
local function compare_digits(a, b)
  if #a ~= #b then return #a - #b end
  for i = 1, #a do
    local d = a:byte(i) - b:byte(i)
    if d ~= 0 then return d end
  end
  return 0
end

-- Below, at or above 0; what is no id comes first.
local function compare_ids(a, b)
  local a_ms, a_seq = a:match('^(%d+)%-(%d+)$')
  local b_ms, b_seq = b:match('^(%d+)%-(%d+)$')
  if not a_ms or not b_ms then return -1 end
  local d = compare_digits(a_ms, b_ms)
  if d ~= 0 then return d end
  return compare_digits(a_seq, b_seq)
end

local function is_newer(a, b)
  return compare_ids(a, b) > 0
end

