//! The scripts: what must happen in one step, and is more than one command.

use std::sync::LazyLock;

use redis::Script;

/// Takes messages from lists, and claims those that are to be settled, in one step.
///
/// - `KEYS`: the claims, their index, then all lists of each source.
/// - `ARGV`: the time, the prefix of the claims' tags, the number of the first tag, the most bytes,
///   the number of lists of a source; then for each source the number of messages wanted, `1` if
///   they are claimed, what follows the message in its claim, and how many milliseconds its lists
///   live from now on, or 0.
///
/// It returns whether it stopped at the bytes, and for each message its source, its tag's number
/// (or -1), and itself. A claim that cannot be written is undone.
static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local time, prefix, number = ARGV[1], ARGV[2], tonumber(ARGV[3])
local room, lists = tonumber(ARGV[4]), tonumber(ARGV[5])
local sources = (#KEYS - 2) / lists
local wants, out = {}, {}
for s = 1, sources do
  wants[s] = tonumber(ARGV[4 * s + 2])
  local lifetime = tonumber(ARGV[4 * s + 5])
  if lifetime > 0 then
    for l = 1, lists do redis.call('PEXPIRE', KEYS[2 + (s - 1) * lists + l], lifetime) end
  end
end
for l = 1, lists do
  for s = 1, sources do
    local key, claimed, tail = KEYS[2 + (s - 1) * lists + l], ARGV[4 * s + 3], ARGV[4 * s + 4]
    while wants[s] > 0 do
      if room <= 0 then return {1, out} end
      local raw = redis.call('RPOP', key)
      if not raw then break end
      wants[s] = wants[s] - 1
      room = room - #raw
      if claimed == '1' then
        local tag = prefix .. number
        local done = redis.pcall('HSET', KEYS[1], tag, '[' .. raw .. tail)
        if not (type(done) == 'table' and done.err) then
          done = redis.pcall('ZADD', KEYS[2], time, tag)
        end
        if type(done) == 'table' and done.err then
          redis.pcall('HDEL', KEYS[1], tag)
          redis.call('RPUSH', key, raw)
          return done
        end
        out[#out + 1] = {s - 1, number, raw}
        number = number + 1
      else
        out[#out + 1] = {s - 1, -1, raw}
      end
    end
  end
end
return {0, out}
",
    )
});

/// Puts a message into `KEYS[key]` if it is wanted, in the way that `ARGV[at]` and the number
/// behind it say. Then follows the number of further keys, whose lists live as long as the first
/// from now on. It returns where the next place begins in both.
const PUT: &str = r"
local function put(wanted, key, at, raw)
  local how, number, last = ARGV[at], tonumber(ARGV[at + 1]), key + tonumber(ARGV[at + 2])
  if wanted and how == 'ZADD' then redis.call('ZADD', KEYS[key], number, raw)
  elseif wanted then
    redis.call(how, KEYS[key], raw)
    if number > 0 then
      for k = key, last do redis.call('PEXPIRE', KEYS[k], number) end
    end
    if number < 0 then redis.call('LTRIM', KEYS[key], 0, -number - 1) end
  end
  return last + 1, at + 3
end
";

/// Moves claimed messages elsewhere, each in one step; those that are not claimed any more stay
/// where they are.
///
/// - `KEYS`: the claims, their index, then those of the places that the messages go to.
/// - `ARGV`: for each message its tag, its claim (or nothing if the tag alone tells), what is put
///   elsewhere, the number of places, and the arguments of each place.
///
/// It returns 1 for each message that was moved, and 0 for the others.
static MOVE: LazyLock<Script> = LazyLock::new(|| {
    putting(
        r"
local key, at, moved = 3, 1, {}
while at <= #ARGV do
  local tag, claim, raw, places = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  at = at + 4
  local held
  if claim == '' then held = redis.call('HEXISTS', KEYS[1], tag) == 1
  else held = redis.call('HGET', KEYS[1], tag) == claim end
  for _ = 1, places do key, at = put(held, key, at, raw) end
  if held then
    redis.call('HDEL', KEYS[1], tag)
    redis.call('ZREM', KEYS[2], tag)
  end
  moved[#moved + 1] = held and 1 or 0
end
return moved
",
    )
});

/// Moves messages that are due, each in one step; those that another has moved are left out.
///
/// - `KEYS`: the sorted set that they wait in, then those of the place that each goes to.
/// - `ARGV`: for each message itself, what is put elsewhere, and the arguments of the place.
static DUE: LazyLock<Script> = LazyLock::new(|| {
    putting(
        r"
local key, at, moved = 2, 1, 0
while at <= #ARGV do
  local waiting, raw = ARGV[at], ARGV[at + 1]
  local due = redis.call('ZSCORE', KEYS[1], waiting)
  key, at = put(due, key, at + 2, raw)
  if due then
    redis.call('ZREM', KEYS[1], waiting)
    moved = moved + 1
  end
end
return moved
",
    )
});

/// A script that calls `put`.
fn putting(script: &str) -> Script {
    Script::new(&[PUT, script].concat())
}

/// Drops entries of the index that have no claim; returns how many.
///
/// - `KEYS`: the claims, their index.
/// - `ARGV`: the tags.
static DROP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local dropped = 0
for _, tag in ipairs(ARGV) do
  if redis.call('HEXISTS', KEYS[1], tag) == 0 then
    dropped = dropped + redis.call('ZREM', KEYS[2], tag)
  end
end
return dropped
",
    )
});

/// Sets how many milliseconds a lock lives, which ends with none, if it is still ours.
static RENEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0",
    )
});

pub(crate) fn claim_script() -> &'static Script {
    &CLAIM
}

pub(crate) fn move_script() -> &'static Script {
    &MOVE
}

pub(crate) fn drop_script() -> &'static Script {
    &DROP
}

pub(crate) fn due_script() -> &'static Script {
    &DUE
}

pub(crate) fn renew_script() -> &'static Script {
    &RENEW
}
