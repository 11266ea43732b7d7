//! One call of a policy: the key it may name, what is left of its limits, and what the databases told it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use switchover_contract::{Error, ErrorCode, Result, Target};

use super::evidence::{Asked, Evidence};
use crate::capabilities::{CacheLookup, Clock, FlagSnapshot};
use crate::counters::Counters;
use crate::error::PolicyFault;
use crate::gate::Ticket;
use crate::limits::LOG_LINES_MAX;
use crate::session::{DatabaseName, Session, SessionKey};
use crate::store::Reach;

/// What an operator allows a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grants {
    /// The databases that it may name; `None`: all that there are.
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
    pub(crate) host_calls_max: u32,
    /// Loads are expected to ask the cache first, so the host looks up before it asks the policy; until one asks something else first.
    pub(crate) looks_first: AtomicBool,
    /// Some call has read a payload: an instance may remember it, so nothing that the policy says is shown from then on.
    pub(crate) payload_read: AtomicBool,
}

impl PolicyScope {
    /// Whether the host is to look up before it asks the policy to load.
    pub(crate) fn looks_first(&self) -> bool {
        self.looks_first.load(Ordering::Relaxed)
    }

    /// What was learned before does not count: flags change, or the policy is published.
    pub(crate) fn expect_look_first(&self) {
        self.looks_first.store(true, Ordering::Relaxed);
    }
}

/// What calls reach: of a host, the same for all of them.
pub(crate) struct Environment {
    pub(crate) reach: Arc<dyn Reach>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: Arc<Counters>,
}

/// Where a call reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// In the cache, if the policy asks it.
    #[default]
    Cached,
    /// In the databases: what is read is to be written, and an entry of the cache may be older than what other hosts have acknowledged.
    PastCache,
}

/// One call. The imports of a component and those of a native policy go through the same methods.
pub(crate) struct CallContext {
    /// The only key that the call may name; none in a call of the router or of the cleaner.
    pub(super) key: Option<SessionKey>,
    pub(super) asked: Asked,
    pub(super) scope: Arc<PolicyScope>,
    /// One for all three: each count of sharers is a cache line that the cores of a busy host take from each other.
    pub(super) environment: Arc<Environment>,
    pub(super) flags: Arc<FlagSnapshot>,
    pub(super) ticket: Ticket,
    host_calls_left: AtomicU32,
    overspent: AtomicBool,
    pub(super) log_lines_left: AtomicU32,
    pub(super) evidence: Mutex<Evidence>,
    ahead: Mutex<Option<Result<CacheLookup>>>,
    pub(super) freshness: Freshness,
}

impl CallContext {
    pub(crate) fn new(
        (key, asked): (Option<SessionKey>, Asked),
        scope: Arc<PolicyScope>,
        environment: Arc<Environment>,
        flags: Arc<FlagSnapshot>,
        ticket: Ticket,
    ) -> Self {
        let host_calls_left = AtomicU32::new(scope.host_calls_max);
        Self {
            key,
            asked,
            scope,
            environment,
            flags,
            ticket,
            host_calls_left,
            overspent: AtomicBool::new(false),
            log_lines_left: AtomicU32::new(LOG_LINES_MAX),
            evidence: Mutex::default(),
            ahead: Mutex::default(),
            freshness: Freshness::default(),
        }
    }

    /// Says where the call reads.
    pub(crate) fn reading(mut self, freshness: Freshness) -> Self {
        self.freshness = freshness;
        self
    }

    /// Gives the call what the cache has answered before the policy asked.
    pub(crate) fn looked_up(mut self, ahead: Option<Result<CacheLookup>>) -> Self {
        self.ahead = Mutex::new(ahead);
        self
    }

    /// What the cache answered before the policy asked, for the first who asks.
    pub(super) fn take_ahead(&self) -> Option<Result<CacheLookup>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What the policy reaches, other than by a look-up. What was looked up before is older than what comes now, so it is nothing to a
    /// look-up that comes later.
    pub(super) fn reach(&self) -> &dyn Reach {
        if self.take_ahead().is_some() {
            self.scope.looks_first.store(false, Ordering::Relaxed);
        }
        &*self.environment.reach
    }

    /// One host call less; an error ends the guest.
    pub(crate) fn spend(&self) -> std::result::Result<(), PolicyFault> {
        let left = self.host_calls_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(|_| ()).map_err(|_| {
            self.overspent.store(true, Ordering::Relaxed);
            PolicyFault::HostCalls
        })
    }

    /// Whether more host calls were made than allowed.
    pub(crate) fn is_overspent(&self) -> bool {
        self.overspent.load(Ordering::Relaxed)
    }

    /// The call's key, if that is the one which the policy names.
    pub(super) fn granted_key(&self, key: &str) -> Result<&SessionKey> {
        match &self.key {
            Some(granted) if granted.expose() == key => Ok(granted),
            Some(_) => Err(self.deny("a call reaches only the key that it was called with".to_owned())),
            None => Err(self.deny("this call has no key, so it reaches no session".to_owned())),
        }
    }

    /// Whether a session is the one of the call's key.
    pub(crate) fn is_of_key(&self, session: &Session) -> bool {
        self.key.as_ref() == Some(&session.key)
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

    /// Whether this is the call of the cleaner: no other may delete what has ended.
    pub(super) fn granted_cleaning(&self) -> Result<()> {
        match self.asked {
            Asked::ClearExpired => Ok(()),
            _ => Err(self.deny("`delete-expired` is for `clear-expired` alone".to_owned())),
        }
    }

    pub(super) fn payload(&self, session: &Session) -> Result<Vec<u8>> {
        if !self.scope.grants.payload {
            return Err(self.deny("payloads were not given to this policy: grant them (`grant_payload`)".to_owned()));
        }
        self.granted_session(session)?;
        self.scope.payload_read.store(true, Ordering::Relaxed);
        Ok(session.payload.expose().as_bytes().to_vec())
    }

    pub(super) fn deny(&self, message: String) -> Error {
        self.environment.counters.denied();
        self.evidence().denied.get_or_insert_with(|| message.clone());
        Error::new(ErrorCode::Denied, message)
    }
}
