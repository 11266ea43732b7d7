//! One call of a policy: the key that it may name, what is left of its limits, and what it reaches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use switchover_contract::{Error, ErrorCode, Result, Target};
use switchover_core::capabilities::{CacheLookup, Clock};
use switchover_core::sync::Mutex;
use switchover_core::{DatabaseName, Session, SessionKey};

use super::{Admission, Asked, Evidence, Reach};
use crate::counters::Counters;
use crate::error::PolicyFault;
use crate::limits::{LOG_LINES_MAX, Limits};

/// What an operator allows a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grants {
    /// The databases that it may name; `None` means all of them.
    pub(crate) databases: Option<BTreeSet<String>>,
    /// Whether it may read payloads.
    pub(crate) payload: bool,
}

/// What all calls of one policy version share.
pub(crate) struct PolicyScope {
    /// The name that the policy gave itself.
    pub(crate) name: String,
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) grants: Grants,
    host_calls_max: u32,
    /// Whether loads are expected to ask the cache first. While they are, the host looks the session up before it asks
    /// the policy. It becomes false once a load asks for something else first.
    looks_first: AtomicBool,
    /// Whether any call has read a payload. An instance may remember the payload, so no text of the policy is shown
    /// from then on.
    pub(super) payload_read: AtomicBool,
}

impl PolicyScope {
    pub(crate) fn new(name: String, settings: BTreeMap<String, String>, grants: Grants, limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            name,
            settings,
            grants,
            host_calls_max: limits.host_calls_max,
            looks_first: AtomicBool::new(true),
            payload_read: AtomicBool::new(false),
        })
    }

    /// Forgets what earlier loads asked for first. Called when flags change or the policy is published.
    pub(crate) fn expect_look_first(&self) {
        self.looks_first.store(true, Ordering::Relaxed);
    }
}

/// What calls reach. All calls of a host share one.
pub struct Environment {
    /// The store, or fakes.
    pub reach: Arc<dyn Reach>,
    /// The clock that a policy reads.
    pub clock: Arc<dyn Clock>,
    /// The counters for what was denied and dropped.
    pub counters: Arc<Counters>,
    /// Whether the host asks the cache before it asks the policy, for policies that are expected to ask the cache
    /// first.
    pub looks_ahead: bool,
}

/// Where a call reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// In the cache, if the policy asks it.
    #[default]
    Cached,
    /// Only in the databases. For a session that is read in order to be written: an entry of the cache may be older
    /// than what other hosts have acknowledged.
    PastCache,
}

/// One call. The imports of a component and those of a native policy go through the same methods.
pub struct CallContext {
    asked: Asked,
    pub(crate) scope: Arc<PolicyScope>,
    /// One `Arc` for everything in it: each reference count is a cache line that the cores of a busy host take from
    /// each other.
    pub(crate) environment: Arc<Environment>,
    pub(crate) admission: Admission,
    pub(super) freshness: Freshness,
    host_calls_left: AtomicU32,
    overspent: AtomicBool,
    pub(super) log_lines_left: AtomicU32,
    pub(crate) evidence: Evidence,
    ahead: Mutex<Option<Result<CacheLookup>>>,
}

impl CallContext {
    pub(crate) fn new(
        asked: Asked,
        scope: Arc<PolicyScope>,
        environment: Arc<Environment>,
        admission: Admission,
        freshness: Freshness,
    ) -> Self {
        Self {
            asked,
            host_calls_left: AtomicU32::new(scope.host_calls_max),
            scope,
            environment,
            admission,
            freshness,
            overspent: AtomicBool::new(false),
            log_lines_left: AtomicU32::new(LOG_LINES_MAX),
            evidence: Evidence::default(),
            ahead: Mutex::default(),
        }
    }

    /// Asks the cache before the policy does, if the policy is expected to ask. A policy that waits for the cache holds
    /// an instance, whose memory is cold when the answer comes.
    pub(crate) async fn look_ahead(&mut self, key: Option<&SessionKey>) {
        let Some(key) = key else { return };
        let expects = self.scope.looks_first.load(Ordering::Relaxed);
        if self.environment.looks_ahead && self.freshness == Freshness::Cached && expects {
            self.ahead = Mutex::new(Some(self.environment.reach.cache_get(key).await));
        }
    }

    /// Takes what the cache answered before the policy asked. Only the first request of the policy gets it.
    pub(super) fn take_ahead(&self) -> Option<Result<CacheLookup>> {
        self.ahead.lock().take()
    }

    /// What the policy reaches by a request other than a look-up. This discards the answer of the look-ahead, because
    /// it is older than the answer to this request. A later look-up of this call asks the cache itself. If there was an
    /// answer to discard, later loads of this version are not looked up in advance.
    pub(super) fn reach_without_look_ahead(&self) -> &dyn Reach {
        if self.take_ahead().is_some() {
            self.scope.looks_first.store(false, Ordering::Relaxed);
        }
        &*self.environment.reach
    }

    /// Counts one host call against the limit. An error ends the guest.
    pub(crate) fn spend(&self) -> std::result::Result<(), PolicyFault> {
        let left = self.host_calls_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(|_| ()).map_err(|_| {
            self.overspent.store(true, Ordering::Relaxed);
            PolicyFault::HostCalls
        })
    }

    /// Whether the guest made more host calls than allowed.
    #[cfg(feature = "wasm")]
    pub(crate) fn is_overspent(&self) -> bool {
        self.overspent.load(Ordering::Relaxed)
    }

    pub(crate) fn key(&self) -> Option<&SessionKey> {
        self.asked.key.as_ref()
    }

    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// The call's key if the policy names it; any other key is denied.
    pub(super) fn granted_key(&self, key: &str) -> Result<&SessionKey> {
        match self.key() {
            Some(granted) if granted.expose() == key => Ok(granted),
            Some(_) => Err(self.deny("a call reaches only the key that it was called with".to_owned())),
            None => Err(self.deny("this call has no key, so it reaches no session".to_owned())),
        }
    }

    pub(super) fn granted_session(&self, session: &Session) -> Result<()> {
        self.granted_key(session.key.expose()).map(|_| ())
    }

    pub(super) fn granted_database(&self, database: &str) -> Result<()> {
        match &self.scope.grants.databases {
            Some(granted) if !granted.contains(database) => {
                let granted: Vec<_> = granted.iter().map(String::as_str).collect();
                let granted = granted.join(", ");
                Err(self.deny(format!(
                    "database `{}` was not given to this policy; it has {granted}",
                    DatabaseName::shown(database)
                )))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn granted_target(&self, to: &Target) -> Result<()> {
        let mirrors = to.mirrors.iter().map(|mirror| &mirror.database);
        std::iter::once(&to.home).chain(&to.lock).chain(mirrors).try_for_each(|name| self.granted_database(name))
    }

    /// Denies every call but `clear-expired`, the only one that may delete rows that have ended.
    pub(super) fn granted_cleaning(&self) -> Result<()> {
        if self.asked.cleans {
            return Ok(());
        }
        Err(self.deny("`delete-expired` is for `clear-expired` alone".to_owned()))
    }

    pub(crate) fn payload(&self, session: &Session) -> Result<Vec<u8>> {
        if !self.scope.grants.payload {
            return Err(self.deny("payloads were not given to this policy: grant them (`grant_payload`)".to_owned()));
        }
        self.granted_session(session)?;
        self.scope.payload_read.store(true, Ordering::Relaxed);
        Ok(session.payload.expose().to_vec())
    }

    pub(super) fn deny(&self, message: String) -> Error {
        self.environment.counters.denied();
        self.evidence.saw_denied(&message);
        Error::new(ErrorCode::Denied, message)
    }
}
