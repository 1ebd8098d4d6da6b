-- Does the steps of one ask, all at one moment of Redis' own clock, and answers each.
--
-- KEYS[1] is the run: a random text that is here for as long as the data is. KEYS[2..] and ARGV are
-- the keys and the arguments of the steps, in their order; ARGV[1] is a text for a new run.
-- Answers: the run, and then the numbers of each step. After a look that stopped there are no more.
--
-- A window is one string: a head and a ring of entries of one width, oldest first, in what was
-- accepted. An entry of 6 bytes is a time, of a cost of 1; one of 12 bytes is a time and the sum of
-- all costs up to it. Times are microseconds of the window's own clock, which is Redis' clock and
-- never goes back: when that does, `ahead` grows, and the window goes on from its newest entry. Times
-- and sums are kept modulo 2^48, as a window is shorter than 2^47 and holds less.

local WRAP = 281474976710656
local FORM = '>BI3I3I3I7I7I6I6'
local HEAD = 36
-- Windows of a limit up to this keep one entry for each request, whatever happens.
local UNITS = 16384
-- Entries after which a window of amounts puts what comes within one part of its length together, as
-- if it all had come with the last: at most one in 4096 of the length too long, never too short.
local FINE = 4096
-- Rings up to this size do not shrink.
local KEPT = 64

local floor, max, min, ceil = math.floor, math.max, math.min, math.ceil
local call, pack, unpack = redis.call, struct.pack, struct.unpack

local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]

-- Milliseconds until a key may go: a little late, as what it holds says itself when it is over.
local function life(micros)
  return ceil(micros / 1000) + 2
end

local function read(key)
  local head = call('GETRANGE', key, 0, HEAD - 1)
  local w = { key = key, width = 6, head = 0, count = 0, cap = 0, newest = 0, ahead = 0, left = 0, sum = 0 }
  if #head == HEAD then
    w.width, w.head, w.count, w.cap, w.newest, w.ahead, w.left, w.sum = unpack(FORM, head)
  end
  return w
end

local function head_of(w)
  return pack(FORM, w.width, w.head, w.count, w.cap, w.newest, w.ahead, w.left, w.sum)
end

-- Where the entry of a number lies.
local function place(w, number)
  return HEAD + (w.head + number) % w.cap * w.width
end

-- The time and the sum of an entry; the sum counts from what has left.
local function entry(w, number)
  local from = place(w, number)
  local bytes = call('GETRANGE', w.key, from, from + w.width - 1)
  local at, sum
  if w.width == 6 then
    at, sum = unpack('>I6', bytes), number + 1
  else
    at, sum = unpack('>I6I6', bytes)
    sum = (sum - w.left) % WRAP
  end
  return w.newest - (w.newest - at) % WRAP, sum
end

-- The first entry of which `is` holds: it holds of the last, and of all after one of which it does.
-- Near the front first, so that a look costs a constant for each entry that has left since.
local function first(w, is)
  local low, high, step = 0, w.count - 1, 0
  while step < high do
    if is(entry(w, step)) then
      high = step
    else
      low, step = step + 1, step * 2 + 1
    end
  end
  while low < high do
    local middle = floor((low + high) / 2)
    if is(entry(w, middle)) then high = middle else low = middle + 1 end
  end
  return low
end

local function held(w)
  if w.width == 6 then return w.count end
  return (w.sum - w.left) % WRAP
end

-- Lets what is as old as the window's length leave.
local function leave(w, gone)
  if w.count == 0 or w.newest <= gone then
    w.width, w.head, w.count, w.cap, w.left, w.sum = 6, 0, 0, 0, 0, 0
    return
  end
  local stays = first(w, function(at) return at > gone end)
  if stays > 0 then
    if w.width == 12 then
      local _, sum = entry(w, stays - 1)
      w.left = (w.left + sum) % WRAP
    end
    w.head, w.count = (w.head + stays) % w.cap, w.count - stays
  end
end

-- The entries as they lie, oldest first, in entries of a width.
local function entries(w, width)
  if w.count == 0 then return '' end
  local from, size = place(w, 0), w.count * w.width
  local stop = HEAD + w.cap * w.width
  local bytes = call('GETRANGE', w.key, from, min(from + size, stop) - 1)
  if from + size > stop then
    bytes = bytes .. call('GETRANGE', w.key, HEAD, HEAD + from + size - stop - 1)
  end
  if width == w.width then return bytes end
  local wide = {}
  for number = 1, w.count do
    wide[number] = bytes:sub(number * 6 - 5, number * 6) .. pack('>I6', number)
  end
  w.left, w.sum = 0, w.count
  return table.concat(wide)
end

-- Room for as many entries as it comes to: doubled when full, halved when three quarters are empty.
local function room(w, limit, width)
  -- Of amounts, as many as are kept one by one, and one for each part of the length.
  local most = width == 12 and min(limit, 2 * FINE + 8) or limit
  if w.count >= w.cap then return min(max(w.count * 2, 4), max(most, w.count + 1)) end
  if w.cap > KEPT and w.count < w.cap / 4 then return max(floor(w.cap / 2), w.count + 1) end
  return w.cap
end

-- Puts what was accepted into the ring.
local function put(w, at, cost, limit, length)
  local width = w.width
  if cost ~= 1 or limit > UNITS then width = 12 end
  if width == 12 and w.width == 12 and w.count > 0 then
    local part = ceil(length / FINE)
    local together = w.newest == at
      or w.count >= FINE and floor(w.newest / part) == floor(at / part)
    if together then
      w.newest, w.sum = at, (w.sum + cost) % WRAP
      call('SETRANGE', w.key, place(w, w.count - 1), pack('>I6I6', at % WRAP, w.sum))
      call('SETRANGE', w.key, 0, head_of(w))
      return
    end
  end
  local cap = room(w, limit, width)
  local anew = cap ~= w.cap or width ~= w.width or w.count == 0
  local kept = anew and entries(w, width)
  w.newest, w.width = at, width
  local new
  if width == 6 then
    new = pack('>I6', at % WRAP)
  else
    w.sum = (w.sum + cost) % WRAP
    new = pack('>I6I6', at % WRAP, w.sum)
  end
  if anew then
    -- Written whole: Redis keeps just as many bytes, where a string that grows gets twice as many.
    w.head, w.cap, w.count = 0, cap, w.count + 1
    call('SET', w.key, head_of(w) .. kept .. new .. ('\0'):rep((cap - w.count) * width))
  else
    call('SETRANGE', w.key, place(w, w.count), new)
    w.count = w.count + 1
    call('SETRANGE', w.key, 0, head_of(w))
  end
end

-- Allowed, remaining, microseconds until it would be let through (-1: never) and until all is free.
local function take(key, limit, length, cost)
  local w = read(key)
  local at, ahead = now + w.ahead, w.ahead
  if at < w.newest then at, w.ahead = w.newest, w.newest - now end
  leave(w, at - length)
  local before = held(w)
  local allowed = before + cost <= limit
  if allowed and cost > 0 then
    put(w, at, cost, limit, length)
    call('PEXPIRE', key, life(length))
  elseif w.ahead ~= ahead and w.count > 0 then
    call('SETRANGE', key, 0, head_of(w))
    call('PEXPIRE', key, life(w.newest + length - at))
  end
  local retry = 0
  if not allowed then
    retry = -1
    if cost <= limit then
      local must = before - (limit - cost)
      local enough = w.width == 6 and must - 1 or first(w, function(_, sum) return sum >= must end)
      retry = entry(w, enough) + length - at
    end
  end
  local free = w.count > 0 and w.newest + length - at or 0
  return allowed, max(limit - held(w), 0), retry, free
end

-- For how long a key is marked. A mark is when it ends and how long it was to last: where the clock
-- went back, it lasts that long from now and no longer.
local function marked(key)
  local mark = call('GET', key)
  if not mark then return nil end
  local stop, length = unpack('>I7I6', mark)
  if stop - now > length then
    stop = now + length
    call('SET', key, pack('>I7I6', stop, length), 'PX', life(length))
  end
  if stop > now then return stop - now end
end

-- Marks a key; a mark that ends later stays.
local function mark(key, length)
  local still = marked(key)
  if length > 0 and not (still and still >= length) then
    call('SET', key, pack('>I7I6', now + length, length), 'PX', life(length))
  end
end

local run = call('GET', KEYS[1])
if not run then
  run = ARGV[1]
  call('SET', KEYS[1], run)
end

local answers = { run }
local function answer(...)
  for _, number in ipairs({ ... }) do answers[#answers + 1] = number end
end

local key, arg = 1, 1
local function next_key()
  key = key + 1
  return KEYS[key]
end
local function next_arg()
  arg = arg + 1
  return tonumber(ARGV[arg])
end

-- Of each step the first argument says what it is: see `ask.rs`.
while arg < #ARGV do
  local what = next_arg()
  if what == 0 or what == 1 then
    local limit, length, cost = next_arg(), next_arg(), next_arg()
    local window, is_first = next_key(), 1
    if what == 1 then
      local once = next_key()
      if marked(once) then is_first, cost = 0, 0 else mark(once, length) end
    end
    local allowed, remaining, retry, free = take(window, limit, length, cost)
    answer(allowed and 1 or 0, allowed and cost > 0 and 1 or 0, is_first, remaining, retry, free)
  elseif what == 2 or what == 3 then
    local still = marked(next_key())
    answer(still or -1)
    if still and what == 3 then break end
  elseif what == 4 then
    mark(next_key(), next_arg())
    answer(0)
  else
    call('DEL', next_key(), next_key())
    answer(0)
  end
end
return answers
