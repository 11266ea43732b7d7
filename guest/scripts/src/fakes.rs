//! Databases, cache, flags, settings and clock in memory, which record what they are asked and fail where they are told
//! to.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fmt, mem};

use switchover_guest::{ErrorCode, Instant, Level, Lookup, Result};

use super::function::{Function, Scope};
use super::session::{FakeLease, FakeSession};
use super::state::{Fault, Row, State, text_of};
use super::text;

/// Everything that a policy can ask of a host, in memory. Share it as `Arc<Fakes>`.
///
/// Every question to a database or the cache, and every log line, is a line of the trace, in the order of the calls.
/// Latency moves the virtual clock and nothing waits.
///
/// A call that meets an injected error does nothing, with one exception: a write that meets an `unknown-outcome` at its
/// home or a mirror is done, and returns that error unless the mirror is `best-effort`. The lock is no exception: it
/// comes before any write, so an `unknown-outcome` at the lock means that nothing was written.
pub struct Fakes {
    state: Mutex<State>,
}

impl Fakes {
    /// Empty databases of these names, an empty cache, no flags, the clock at [`START`](super::START).
    pub fn new<'a>(databases: impl IntoIterator<Item = &'a str>) -> Self {
        let databases = databases.into_iter().map(|name| (name.to_owned(), BTreeMap::new())).collect();
        Self { state: Mutex::new(State::new(databases)) }
    }

    /// Sets a flag: `true` is on.
    pub fn set_flag(&self, name: &str, value: &str) {
        self.state().flags.insert(name.to_owned(), value.to_owned());
    }

    /// Sets what the operator configured.
    pub fn set_setting(&self, name: &str, value: &str) {
        self.state().settings.insert(name.to_owned(), value.to_owned());
    }

    /// Lets the policy read payloads from here on.
    pub fn grant_payload(&self) {
        self.state().payload_granted = true;
    }

    /// Puts a row into a database, which is made if it is not there.
    pub fn put_row(&self, database: &str, session: &FakeSession) {
        self.state().databases.entry(database.to_owned()).or_default().insert(session.key.clone(), Row::of(session));
    }

    /// Puts an entry into the cache.
    pub fn put_cached(&self, session: &FakeSession) {
        self.state().cache.insert(session.key.clone(), Row::of(session));
    }

    /// Moves the clock on.
    pub fn advance(&self, micros: u64) {
        self.state().advance(micros);
    }

    /// Makes a function fail at a database (`None` for the cache), the next `times` times or from here on.
    pub fn fail(&self, function: Function, database: Option<&str>, code: ErrorCode, times: Option<u32>) {
        let place = (function, database.map(str::to_owned));
        self.state().faults.push(Fault { place, code, times });
    }

    /// Makes each call of a function at a database (`None` for the cache) move the clock.
    pub fn delay(&self, function: Function, database: Option<&str>, micros: u64) {
        let place = (function, database.map(str::to_owned));
        self.state().latencies.push((place, micros));
    }

    /// Sets which key may be named from here on; any other is `denied`.
    pub fn set_scope(&self, scope: Scope) {
        self.state().scope = scope;
    }

    /// A session as this host hands it to the policy: its payload can be read if that was granted.
    pub fn hand_out(&self, session: &FakeSession) -> FakeSession {
        FakeSession { readable: self.state().payload_granted, ..session.clone() }
    }

    /// Adds a line to the trace. A line break in it is written `\n`.
    pub fn record(&self, line: impl Into<String>) {
        self.state().push(line.into().replace('\n', "\\n"));
    }

    /// The trace so far.
    pub fn trace(&self) -> Vec<String> {
        self.state().trace.clone()
    }

    /// The trace so far; the next one begins empty.
    pub(super) fn take_trace(&self) -> Vec<String> {
        mem::take(&mut self.state().trace)
    }

    /// Every row, mark and entry of the cache, one a line, in order.
    pub fn contents(&self) -> Vec<String> {
        let state = self.state();
        let line = |key: &str, row: &Row| {
            format!("{} expires={} payload={}", text::short_key(key), text::instant(row.expires_at), row.payload)
        };
        let rows = state.databases.iter().flat_map(|(database, rows)| {
            rows.iter().map(move |(key, row)| format!("row {database} {}", line(key, row)))
        });
        let marks = state.marks.iter().map(|(database, key)| format!("mark {database} {}", text::short_key(key)));
        let cache = state.cache.iter().map(|(key, row)| format!("cache {}", line(key, row)));
        rows.chain(marks).chain(cache).collect()
    }

    /// The names of the databases.
    pub fn databases(&self) -> Vec<String> {
        self.state().databases.keys().cloned().collect()
    }

    /// All flags and their values.
    pub fn flags(&self) -> BTreeMap<String, String> {
        self.state().flags.clone()
    }

    /// All settings and their values.
    pub fn settings(&self) -> BTreeMap<String, String> {
        self.state().settings.clone()
    }

    /// Whether the policy may read payloads.
    pub fn payload_granted(&self) -> bool {
        self.state().payload_granted
    }

    /// Whether a flag is on.
    pub fn flag_enabled(&self, name: &str) -> bool {
        self.state().flags.get(name).is_some_and(|value| value == "true")
    }

    /// The text of a flag.
    pub fn flag_value(&self, name: &str) -> Option<String> {
        self.state().flags.get(name).cloned()
    }

    /// What the operator configured.
    pub fn setting(&self, name: &str) -> Option<String> {
        self.state().settings.get(name).cloned()
    }

    /// The virtual clock.
    pub fn now(&self) -> Instant {
        self.state().now
    }

    /// Records a line for the operator.
    pub fn log(&self, level: Level, message: &str) {
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        self.record(format!("log {level} {message}"));
    }

    /// Looks a session up in the cache.
    ///
    /// # Errors
    ///
    /// An injected fault, or `denied`.
    pub fn cache_get(&self, key: &str) -> Result<Lookup<FakeSession, FakeLease>> {
        let mut state = self.state();
        let answer = state.cache_get(key);
        let shown = match &answer {
            Ok(Lookup::Hit(session)) => format!("hit {}", session.payload),
            Ok(Lookup::Miss(_)) => "miss".to_owned(),
            Err(error) => text_of(error),
        };
        state.trace.push(format!("cache.get {} -> {shown}", text::short_key(key)));
        answer
    }

    /// Stores what was loaded after a miss; no effect once the lease is lost.
    ///
    /// # Errors
    ///
    /// An injected fault, or `denied`.
    pub fn cache_fill(&self, lease: &FakeLease, value: &FakeSession) -> Result<()> {
        let mut state = self.state();
        let answer = state.cache_fill(lease, value);
        let shown = match &answer {
            Ok(true) => "ok".to_owned(),
            Ok(false) => "ok, without effect".to_owned(),
            Err(error) => text_of(error),
        };
        state.trace.push(format!("cache.fill {} -> {shown}", text::short_key(&lease.key)));
        answer.map(|_| ())
    }

    /// Removes an entry of the cache and every lease for it.
    ///
    /// # Errors
    ///
    /// An injected fault, or `denied`.
    pub fn cache_invalidate(&self, key: &str) -> Result<()> {
        let mut state = self.state();
        let answer = state
            .check_key(key)
            .and_then(|()| state.reach(Function::CacheInvalidate, None))
            .map(|()| state.forget(key));
        let shown = answer.as_ref().map_or_else(text_of, |()| "ok".to_owned());
        state.trace.push(format!("cache.invalidate {} -> {shown}", text::short_key(key)));
        answer
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Fakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fakes").field("contents", &self.contents()).finish_non_exhaustive()
    }
}
