//! What the fakes hold, and the rules of keys, faults, latency and cache.

use std::collections::{BTreeMap, BTreeSet};

use switchover_guest::{Error, ErrorCode, Instant, Lookup, Result};

use super::function::{Function, Scope};
use super::session::{FakeLease, FakeSession};
use super::text::START;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) payload: String,
    pub(super) expires_at: Instant,
}

impl Row {
    pub(super) fn of(session: &FakeSession) -> Self {
        Self { payload: session.payload.clone(), expires_at: session.expires_at }
    }
}

/// Where a function fails: the function, and the database if it has one.
pub(super) type Place = (Function, Option<String>);

pub(super) struct Fault {
    pub(super) place: Place,
    pub(super) code: ErrorCode,
    pub(super) times: Option<u32>,
}

/// What the fakes hold.
pub(super) struct State {
    pub(super) databases: BTreeMap<String, BTreeMap<String, Row>>,
    pub(super) marks: BTreeSet<(String, String)>,
    pub(super) scope: Scope,
    pub(super) cache: BTreeMap<String, Row>,
    pub(super) leases: BTreeMap<String, BTreeSet<u64>>,
    pub(super) leases_given: u64,
    pub(super) flags: BTreeMap<String, String>,
    pub(super) settings: BTreeMap<String, String>,
    pub(super) payload_granted: bool,
    pub(super) now: Instant,
    pub(super) faults: Vec<Fault>,
    pub(super) latencies: Vec<(Place, u64)>,
    pub(super) trace: Vec<String>,
}

impl State {
    pub(super) fn new(databases: BTreeMap<String, BTreeMap<String, Row>>) -> Self {
        Self {
            databases,
            marks: BTreeSet::new(),
            scope: Scope::Any,
            cache: BTreeMap::new(),
            leases: BTreeMap::new(),
            leases_given: 0,
            flags: BTreeMap::new(),
            settings: BTreeMap::new(),
            payload_granted: false,
            now: START,
            faults: Vec::new(),
            latencies: Vec::new(),
            trace: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, line: String) {
        self.trace.push(line);
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    pub(super) fn advance(&mut self, micros: u64) {
        self.now += micros;
    }

    /// A row as a load hands it out: not once it has ended.
    pub(super) fn live(&self, key: &str, row: Option<&Row>) -> Option<FakeSession> {
        row.filter(|row| row.expires_at > self.now).map(|row| FakeSession {
            key: key.to_owned(),
            payload: row.payload.clone(),
            expires_at: row.expires_at,
            readable: self.payload_granted,
        })
    }

    pub(super) fn check_key(&self, key: &str) -> Result<()> {
        let allowed = match &self.scope {
            Scope::Any => true,
            Scope::Key(of_the_call) => of_the_call == key,
            Scope::None => false,
        };
        if allowed { Ok(()) } else { Err(Error::new(ErrorCode::Denied, "a policy may name only the key of its call")) }
    }

    pub(super) fn check_database(&self, name: &str) -> Result<()> {
        if self.databases.contains_key(name) {
            return Ok(());
        }
        Err(Error::new(ErrorCode::Denied, format!("the policy was not granted the database `{name}`")))
    }

    /// Takes the latency of a function at a place, and its fault if it has one.
    pub(super) fn reach(&mut self, function: Function, database: Option<&str>) -> Result<()> {
        self.now += self.latency(function, database);
        self.fault(function, database)
    }

    pub(super) fn latency(&self, function: Function, database: Option<&str>) -> u64 {
        self.latencies.iter().filter(|(place, _)| is_at(place, function, database)).map(|(_, micros)| micros).sum()
    }

    pub(super) fn fault(&mut self, function: Function, database: Option<&str>) -> Result<()> {
        let fault =
            self.faults.iter_mut().find(|fault| fault.times != Some(0) && is_at(&fault.place, function, database));
        let Some(fault) = fault else { return Ok(()) };
        fault.times = fault.times.map(|times| times - 1);
        let place = database.unwrap_or("the cache");
        Err(Error::new(fault.code, format!("{} at {place}: injected fault", function.as_str())))
    }

    /// What every write does to the cache.
    pub(super) fn forget(&mut self, key: &str) {
        self.cache.remove(key);
        self.leases.remove(key);
    }

    pub(super) fn cache_get(&mut self, key: &str) -> Result<Lookup<FakeSession, FakeLease>> {
        self.check_key(key)?;
        self.reach(Function::CacheGet, None)?;
        if let Some(session) = self.live(key, self.cache.get(key)) {
            return Ok(Lookup::Hit(session));
        }
        self.leases_given += 1;
        self.leases.entry(key.to_owned()).or_default().insert(self.leases_given);
        Ok(Lookup::Miss(FakeLease { key: key.to_owned(), number: self.leases_given }))
    }

    pub(super) fn cache_fill(&mut self, lease: &FakeLease, value: &FakeSession) -> Result<bool> {
        self.check_key(&lease.key)?;
        self.check_key(&value.key)?;
        if lease.key != value.key {
            return Err(Error::new(ErrorCode::Denied, "a lease fills the key that it was given for"));
        }
        self.reach(Function::CacheFill, None)?;
        let held = self.leases.get_mut(&lease.key).is_some_and(|numbers| numbers.remove(&lease.number));
        if held {
            self.cache.insert(lease.key.clone(), Row::of(value));
        }
        Ok(held)
    }
}

fn is_at(place: &Place, function: Function, database: Option<&str>) -> bool {
    place.0 == function && place.1.as_deref() == database
}

pub(super) fn text_of(error: &Error) -> String {
    format!("error {}", error.code)
}
