//! The commands and scripts of Redis, one for each operation, and what it stores: one value under one name for each
//! session.
//!
//! The value is a string, and is one of three things: an entry, a lease, or guards. They exclude each other: a guard
//! removes entry and lease, and an entry replaces the lease that filled it.
//!
//! ```text
//! E incarnation(8) check(16) expires_at(18 digits) payload      an entry
//! L incarnation(8) token(8)                                     the right to fill
//! G { nonce(16) ends(16 digits, ms) }...                        one mark for each writer
//! ```
//!
//! Any other value under the name, of any type, counts as none and is replaced.

use ::redis::{Cmd, Script, ScriptInvocation, Value, cmd};
use sha2::{Digest, Sha256};
use switchover_core::capabilities::{Lease, Nonce};
use switchover_core::{Payload, Session, SessionKey, Timestamp};

/// Longer than any call may take from its miss to its fill. A lease that expires sooner costs a fill; one that stays
/// longer costs memory.
pub(super) const LEASE_MS: u64 = 5_000;
/// The version of this format. It is in every name, so another version never reads these values.
const LAYOUT: &str = "s1:";
const EXPIRES_DIGITS: usize = 18;

/// Functions for every script. `read` returns nothing for a value of another type. `living` returns the guards that
/// have not ended, without those of one writer, and when the last of them ends.
const WORDS: &str = r"
local function read(name)
  local value = redis.pcall('GET', name)
  if type(value) == 'string' then return value end
  return ''
end
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function living(value, but, now)
  local kept, last = {}, now
  if string.sub(value, 1, 1) == 'G' then
    for at = 2, #value, 32 do
      local nonce, ends = string.sub(value, at, at + 15), tonumber(string.sub(value, at + 16, at + 31))
      if ends and ends > now and nonce ~= but then
        kept[#kept + 1] = string.sub(value, at, at + 31)
        last = math.max(last, ends)
      end
    end
  end
  return kept, last
end
";

/// Returns an entry, or a new lease (1), or nothing while there is a guard (0). It writes only the lease.
const GET: &str = r"
local function later(one, other)
  local a, b = tonumber(string.sub(one, 1, 9)), tonumber(string.sub(other, 1, 9))
  if not a then return false end
  if a ~= b then return a > b end
  return (tonumber(string.sub(one, 10)) or 0) > tonumber(string.sub(other, 10))
end
local value = read(KEYS[1])
local kind = string.sub(value, 1, 1)
if kind == 'E' and string.sub(value, 2, 25) == ARGV[1] and later(string.sub(value, 26, 43), ARGV[2]) then
  return string.sub(value, 26)
end
if kind == 'G' and #living(value, '', now_ms()) > 0 then return 0 end
local done = redis.pcall('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
if done.err then return done end
return 1
";

/// Replaces the lease with the entry. The entry ends as if it had been filled when the lease was given: so a fill that
/// a paused server executes late does not make an old row young.
const FILL: &str = r"
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local ttl = ARGV[3] - (ARGV[4] - redis.call('PTTL', KEYS[1]))
if ttl < 1 then
  redis.call('DEL', KEYS[1])
  return 0
end
local done = redis.pcall('SET', KEYS[1], ARGV[2], 'PX', string.format('%.0f', ttl))
if done.err then return done end
return 1
";

/// The `DEL` comes first. A guard must not be refused, and once a script has written, a server without memory lets it
/// go on writing. If a key has more than 128 writers at once, they share one mark that nobody releases.
const GUARD: &str = r"
local now = now_ms()
local kept, last = living(read(KEYS[1]), ARGV[1], now)
local ends = now + ARGV[2]
last = math.max(last, ends)
if #kept >= 128 then kept = { string.rep('-', 16) .. string.format('%016.0f', last) } end
kept[#kept + 1] = ARGV[1] .. string.format('%016.0f', ends)
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], 'G' .. table.concat(kept), 'PX', string.format('%.0f', last - now))
return 1
";

/// Removes entry, lease and the mark of this writer. Without a writer it is an invalidation.
const RELEASE: &str = r"
local now = now_ms()
local kept, last = living(read(KEYS[1]), ARGV[1], now)
redis.call('DEL', KEYS[1])
if #kept > 0 then
  redis.call('SET', KEYS[1], 'G' .. table.concat(kept), 'PX', string.format('%.0f', last - now))
end
return 1
";

/// SHA-256 of a session key. Redis sees only this, so names in a slow log, a monitor or a dump are useless to log in
/// with.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct KeyDigest([u8; 32]);

impl KeyDigest {
    pub(super) fn of(key: &SessionKey) -> Self {
        Self(Sha256::digest(key.expose().as_bytes()).into())
    }

    /// The name has half of the digest. The other half is in the entry, so that the whole is compared.
    fn name(&self, prefix: &str) -> String {
        let mut name = String::with_capacity(name_len(prefix));
        self.write_name(prefix, &mut name);
        name
    }

    fn write_name(&self, prefix: &str, name: &mut String) {
        name.push_str(prefix);
        name.push_str(LAYOUT);
        for byte in &self.0[..16] {
            name.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
            name.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
        }
    }

    fn check(&self) -> &[u8] {
        &self.0[16..]
    }
}

fn name_len(prefix: &str) -> usize {
    prefix.len() + LAYOUT.len() + 32
}

/// Identifies one life of one server. Nobody reads what an earlier life left, or what the snapshot of another server
/// brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Incarnation(pub(super) [u8; 8]);

/// A look-up of one key.
pub(super) struct Look {
    pub(super) key: SessionKey,
    pub(super) digest: KeyDigest,
    /// An entry that has ended by this time counts as none.
    pub(super) now: Timestamp,
    /// The lease to store if there is nothing.
    pub(super) lease: Lease,
}

/// The result of `get`.
pub(super) enum Found {
    Entry(Session),
    Leased,
    Guarded,
}

/// The scripts, with the prefix of every name.
pub(super) struct Scripts {
    prefix: String,
    get: Script,
    fill: Script,
    guard: Script,
    release: Script,
}

impl Scripts {
    pub(super) fn new(prefix: String) -> Self {
        let script = |own: &str| Script::new(&format!("{WORDS}{own}"));
        Self { prefix, get: script(GET), fill: Script::new(FILL), guard: script(GUARD), release: script(RELEASE) }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn all(&self) -> [&Script; 4] {
        [&self.get, &self.fill, &self.guard, &self.release]
    }

    /// Does the same as `get` without Lua, from Redis 7.0 on, if there is an entry or nothing. If there is a value, it
    /// returns it and changes nothing; otherwise it stores a lease.
    pub(super) fn look(&self, look: &Look, server: Incarnation) -> Cmd {
        let (name, lease) = (look.digest.name(&self.prefix), lease_value(server, look.lease));
        let mut call = cmd("SET");
        call.arg(name).arg(lease).arg("NX").arg("GET").arg("PX").arg(LEASE_MS);
        call
    }

    /// The same for many keys, but it stores no lease if there is nothing.
    pub(super) fn look_many<'a>(&self, looks: impl ExactSizeIterator<Item = &'a Look>) -> Cmd {
        let name_len = name_len(&self.prefix);
        let mut name = String::with_capacity(name_len);
        let mut call = Cmd::with_capacity(1 + looks.len(), "MGET".len() + looks.len() * name_len);
        call.arg("MGET");
        for look in looks {
            name.clear();
            look.digest.write_name(&self.prefix, &mut name);
            call.arg(name.as_str());
        }
        call
    }

    pub(super) fn get(&self, look: &Look, server: Incarnation) -> ScriptInvocation<'_> {
        let mut call = self.get.key(look.digest.name(&self.prefix));
        let entry = [&server.0, look.digest.check()].concat();
        call.arg(entry).arg(digits(look.now)).arg(lease_value(server, look.lease)).arg(LEASE_MS);
        call
    }

    pub(super) fn fill(
        &self,
        server: Incarnation,
        lease: Lease,
        session: &Session,
        ttl_ms: u64,
    ) -> ScriptInvocation<'_> {
        let key = KeyDigest::of(&session.key);
        let payload = session.payload.expose();
        let entry = [b"E", &server.0[..], key.check(), digits(session.expires_at).as_bytes(), payload].concat();
        let mut call = self.fill.key(key.name(&self.prefix));
        call.arg(lease_value(server, lease)).arg(entry).arg(ttl_ms).arg(LEASE_MS);
        call
    }

    pub(super) fn guard(&self, key: &KeyDigest, nonce: Nonce, ttl_ms: u64) -> ScriptInvocation<'_> {
        let mut call = self.guard.key(key.name(&self.prefix));
        call.arg(&nonce.0.to_be_bytes()[..]).arg(ttl_ms);
        call
    }

    /// `nonce` is `None` for an invalidation, which belongs to no writer.
    pub(super) fn release(&self, key: &KeyDigest, nonce: Option<Nonce>) -> ScriptInvocation<'_> {
        let mut call = self.release.key(key.name(&self.prefix));
        call.arg(nonce.map(|nonce| nonce.0.to_be_bytes().to_vec()).unwrap_or_default());
        call
    }

    /// A write that changes no data, to check that the server takes writes.
    pub(super) fn trial(&self) -> ScriptInvocation<'_> {
        let mut call = self.release.key(self.trial_name());
        call.arg("");
        call
    }

    /// Checks whether the server knows the command of [`Scripts::look`]. [`Scripts::trial`] removes what it leaves.
    pub(super) fn trial_look(&self) -> Cmd {
        let mut call = cmd("SET");
        call.arg(self.trial_name()).arg("").arg("NX").arg("GET").arg("PX").arg(LEASE_MS);
        call
    }

    /// Checks whether the user may use the command of [`Scripts::look_many`].
    pub(super) fn trial_look_many(&self) -> Cmd {
        let mut call = cmd("MGET");
        call.arg(self.trial_name());
        call
    }

    fn trial_name(&self) -> String {
        format!("{}{LAYOUT}trial", self.prefix)
    }
}

/// Reads the answer of `get`. `None`: it is not an answer of that script, or the entry is invalid.
pub(super) fn found(look: &Look, answer: &Value) -> Option<Found> {
    match answer {
        Value::Int(1) => Some(Found::Leased),
        Value::Int(0) => Some(Found::Guarded),
        Value::BulkString(entry) => session(&look.key, entry).map(Found::Entry),
        _ => None,
    }
}

/// Reads the answer of `look`. `None`: there is a value, but neither a living entry of this server nor a guard; `get`
/// can handle it.
pub(super) fn seen(look: &Look, server: Incarnation, answer: &Value) -> Option<Found> {
    match answer {
        Value::Nil => Some(Found::Leased),
        there => seen_by_many(look, server, there),
    }
}

/// Reads one answer of `look_many`. `None`: there is neither a living entry of this server nor a guard.
pub(super) fn seen_by_many(look: &Look, server: Incarnation, answer: &Value) -> Option<Found> {
    match answer {
        Value::BulkString(value) if is_guarded(value, look.now) => Some(Found::Guarded),
        Value::BulkString(value) => {
            let entry = value.strip_prefix(b"E")?.strip_prefix(&server.0)?.strip_prefix(look.digest.check())?;
            session(&look.key, entry).filter(|session| session.expires_at > look.now).map(Found::Entry)
        }
        _ => None,
    }
}

/// Whether there is a guard that has not ended by this host's clock. A guard that has may be alive by the server's
/// clock, which `get` uses. A guard that has ended by the server's clock is no longer there.
fn is_guarded(value: &[u8], now: Timestamp) -> bool {
    let Some(marks) = value.strip_prefix(b"G") else { return false };
    let ends = |mark: &[u8]| std::str::from_utf8(mark.get(16..)?).ok()?.parse::<u64>().ok();
    marks.len() % 32 == 0 && marks.chunks(32).any(|mark| ends(mark).is_some_and(|ms| ms > now.as_micros() / 1_000))
}

/// Reads end and payload of an entry.
fn session(key: &SessionKey, entry: &[u8]) -> Option<Session> {
    let (expires_at, payload) = entry.split_at_checked(EXPIRES_DIGITS)?;
    let expires_at = Timestamp::from_micros(std::str::from_utf8(expires_at).ok()?.parse().ok()?);
    Some(Session::new(key.clone(), Payload::from(payload), expires_at))
}

/// Eighteen digits hold [`Timestamp::MAX`]. Lua's numbers do not, so it compares nine at a time.
fn digits(time: Timestamp) -> String {
    format!("{:018}", time.as_micros())
}

fn lease_value(server: Incarnation, lease: Lease) -> Vec<u8> {
    [b"L", &server.0[..], &lease.0.to_be_bytes()].concat()
}
