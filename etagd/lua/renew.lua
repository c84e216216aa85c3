-- SPDX-License-Identifier: Apache-2.0
-- renew: proves that this server still holds the whole history of the log, or opens a new epoch.
--
-- KEYS  1 {prefix}:epoch  2 {prefix}:log  3 {prefix}:nodes
-- ARGV  1 node  2 id applied there  3 epoch known there  4 fresh random id  5 "1": that epoch must end
--       6 horizon in ms  7 records to keep  8 remark about the node
-- ->    { epoch, id of its first record, records ever added then,
--         last id, records ever added, first id kept, greatest id ever deleted, reason if just opened, ms }
--
-- An epoch stands for an unbroken history. Whenever a record could have been lost (another process,
-- another server, a log that is gone or shorter than it was) a new one is opened; what was learned in
-- an older epoch is void. Redis 7.0 or newer.

local epoch_key, log_key, nodes_key = KEYS[1], KEYS[2], KEYS[3]
local TRIM_MS, FORGET_NODE_MS = 60000, 86400000
local ID_EXHAUSTED = '18446744073709551615'

local function type_of(key)
  return redis.call('TYPE', key).ok
end

-- Somebody else's key is not ours to delete.
for key, wanted in pairs({ [epoch_key] = 'hash', [log_key] = 'stream', [nodes_key] = 'hash' }) do
  local found = type_of(key)
  if found ~= 'none' and found ~= wanted then
    return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. found .. ', not a ' .. wanted)
  end
end

local function log_info()
  if type_of(log_key) == 'none' then return nil end
  local reply, info = redis.call('XINFO', 'STREAM', log_key), {}
  for i = 1, #reply, 2 do info[reply[i]] = reply[i + 1] end
  return info
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

-- The process and its replication history. replid also changes when the first replica attaches, which
-- loses nothing: replid2 is then still all zeros.
local run_id = redis.call('INFO', 'server'):match('run_id:(%x+)')
local replication = redis.call('INFO', 'replication')
local replid, replid2 = replication:match('master_replid:(%x+)'), replication:match('master_replid2:(%x+)')
local history = run_id .. ':' .. replid

local fields = redis.call('HMGET', epoch_key, 'id', 'history', 'born', 'born_added', 'last', 'added', 'trimmed_ms')
local id, old_history, born, born_added, last, added = unpack(fields, 1, 6)
local trimmed_ms = tonumber(fields[7] or 0) or 0
local log = log_info()

-- The epoch's first record may be missing only when at least as many records as there were up to it have
-- been removed from this stream.
local function first_record_is_plausible()
  local first = redis.call('XRANGE', log_key, born, born)[1]
  if first and first[2][2] == id then return true end
  return log['entries-added'] - log['length'] >= tonumber(born_added)
end

local function reason_for_new_epoch()
  if not (id and old_history and born and tonumber(born_added) and last and tonumber(added)) or
     not born:match('^%d+%-%d+$') then
    return 'no-epoch'
  end
  if old_history ~= history and (old_history:sub(1, #run_id) ~= run_id or replid2:find('[^0]')) then
    return 'other-history'
  end
  if not log then return 'log-missing' end
  if log['entries-added'] < tonumber(added) or compare_ids(log['last-generated-id'], last) < 0 then
    return 'log-replaced'
  end
  if ARGV[5] == '1' and ARGV[3] == id then return 'records-lost' end
  if not first_record_is_plausible() then return 'log-replaced' end
  return nil
end

local why = reason_for_new_epoch()
if log and log['last-generated-id']:sub(1, #ID_EXHAUSTED) == ID_EXHAUSTED then
  -- Nothing can be appended to this stream any more.
  redis.call('DEL', log_key)
  why = 'ids-exhausted'
end

if why then
  id = ARGV[4]
  born = redis.call('XADD', log_key, '*', 'epoch', id, 'by', ARGV[1], 'why', why)
  log = log_info()
  born_added = tostring(log['entries-added'])
  redis.call('DEL', epoch_key)
  redis.call('HSET', epoch_key, 'id', id, 'born', born, 'born_added', born_added, 'trimmed_ms', now_ms,
             'opened_ms', now_ms, 'by', ARGV[1], 'why', why)
elseif now_ms - trimmed_ms >= TRIM_MS or now_ms < trimmed_ms then
  redis.call('XTRIM', log_key, 'MAXLEN', '~', ARGV[7])
  if now_ms > tonumber(ARGV[6]) then
    redis.call('XTRIM', log_key, 'MINID', '~', string.format('%.0f-0', now_ms - ARGV[6]))
  end
  redis.call('HSET', epoch_key, 'trimmed_ms', now_ms)
  local nodes = redis.call('HGETALL', nodes_key)
  for i = 1, #nodes, 2 do
    local seen = tonumber(nodes[i + 1]:match('^%S+ %S+ (%d+)'))
    if not seen or now_ms - seen > FORGET_NODE_MS then redis.call('HDEL', nodes_key, nodes[i]) end
  end
  log = log_info()
end

redis.call('HSET', epoch_key, 'last', log['last-generated-id'], 'added', log['entries-added'], 'history', history)
redis.call('HSET', nodes_key, ARGV[1], ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. string.format('%.0f', now_ms) .. ' ' .. ARGV[8])
return { id, born, tonumber(born_added), log['last-generated-id'], log['entries-added'],
         log['recorded-first-entry-id'], log['max-deleted-entry-id'], why or '', now_ms }
