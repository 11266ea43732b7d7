//! A host as a member of a migration: it follows the control document, opens each next epoch, drains the last one, and
//! acknowledges.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use switchover_core::DatabaseName;
use switchover_core::capabilities::{Control, DatabaseError, Document, Epoch, Member};
use switchover_runtime::Policy;

use super::brakes::Brakes;
use super::cache_rule::CacheRule;
use crate::error::BuildError;

/// How long a host's lease lasts; it is renewed every [`RENEW_EACH`].
pub(crate) const LEASE: Duration = Duration::from_secs(15);
/// How often a lease is renewed. A beat and a third of a renewal each second: 500 hosts make 667 statements a second.
pub(crate) const RENEW_EACH: Duration = Duration::from_secs(3);
/// How often a host reads the control document.
pub(crate) const BEAT_EACH: Duration = Duration::from_secs(1);
/// How long one question to the control tables may take.
pub(crate) const CONTROL_PATIENCE: Duration = Duration::from_secs(2);
/// The policy that a migration names if nobody chooses another.
pub const POLICY_DEFAULT: &str = "phased";
/// The longest name of a migration or a host.
pub const NAME_MAX: usize = 64;

/// The migration that a host takes part in.
///
/// Phase, flags and policy then come from the control document, so the builder takes neither a policy nor flags.
#[derive(Clone)]
pub struct Migration {
    pub(crate) name: Arc<str>,
    pub(crate) host: Arc<str>,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) old: String,
    pub(crate) new: String,
    policies: BTreeMap<String, Policy>,
    policies_in: Option<PathBuf>,
    pub(crate) jobs: bool,
    pub(crate) brakes: Brakes,
    pub(crate) cache_rule: CacheRule,
}

impl Migration {
    /// The migration of this name in these control tables, as this host. The host's name must be its own in the fleet:
    /// a process that starts under a name takes it from the one that has it. The databases are `default` and
    /// `new_session_store`.
    pub fn new(name: impl Into<Arc<str>>, host: impl Into<Arc<str>>, control: Arc<dyn Control>) -> Self {
        Self {
            name: name.into(),
            host: host.into(),
            control,
            old: "default".to_owned(),
            new: "new_session_store".to_owned(),
            policies: BTreeMap::new(),
            policies_in: None,
            jobs: true,
            brakes: Brakes::default(),
            cache_rule: CacheRule::default(),
        }
    }

    /// Sets the aliases of the two databases.
    #[must_use]
    pub fn between(mut self, old: impl Into<String>, new: impl Into<String>) -> Self {
        (self.old, self.new) = (old.into(), new.into());
        self
    }

    /// Adds a policy under a name that the control document may use. With the feature `wasm`, `phased` is there without
    /// this.
    #[must_use]
    pub fn policy(mut self, name: impl Into<String>, policy: Policy) -> Self {
        self.policies.insert(name.into(), policy);
        self
    }

    /// Sets a folder of components: a policy called `NAME` is the file `NAME.wasm` there.
    #[must_use]
    pub fn policies_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.policies_in = Some(folder.into());
        self
    }

    /// Sets whether this host does its share of the jobs: copies, backfill, verification, seals. It does by default. In
    /// a fleet some host must.
    #[must_use]
    pub fn jobs(mut self, jobs: bool) -> Self {
        self.jobs = jobs;
        self
    }

    /// Sets when this host's share of the jobs rests.
    #[must_use]
    pub fn brakes(mut self, brakes: Brakes) -> Self {
        self.brakes = brakes;
        self
    }

    /// Sets which writes wait, while this host cannot reach the cache, until no other host can read what they replaced.
    /// By default deletes do.
    #[must_use]
    pub fn cache_rule(mut self, rule: CacheRule) -> Self {
        self.cache_rule = rule;
        self
    }

    /// The policy with this name; `None`: this host does not have it.
    pub(crate) fn find_policy(&self, name: &str) -> Option<Policy> {
        if let Some(policy) = self.policies.get(name) {
            return Some(policy.clone());
        }
        let is_file_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        #[cfg(feature = "wasm")]
        if let Some(folder) = self.policies_in.as_ref().filter(|_| is_file_name && !name.starts_with('.')) {
            let file = folder.join(format!("{name}.wasm"));
            if file.exists() {
                return Some(self.with_settings(Policy::file(file)));
            }
        }
        #[cfg(not(feature = "wasm"))]
        let _components_need_wasm = (is_file_name, &self.policies_in);
        #[cfg(feature = "wasm")]
        if name == POLICY_DEFAULT {
            return Some(self.with_settings(Policy::builtin(crate::Builtin::Phased)));
        }
        None
    }

    #[cfg(feature = "wasm")]
    fn with_settings(&self, policy: Policy) -> Policy {
        policy.setting("old", &self.old).setting("new", &self.new)
    }

    /// Checks the names, and that both databases are configured.
    pub(crate) fn check(&self, known: impl Fn(&str) -> bool) -> Result<(), BuildError> {
        let invalid = |message| Err(BuildError::Invalid { message });
        for (what, name) in [("migration", &self.name), ("host", &self.host)] {
            if let Err(why) = check_name(name) {
                return invalid(format!("the name of the {what} {why}"));
            }
        }
        for name in [&self.old, &self.new] {
            if !known(name) {
                let shown = DatabaseName::shown(name);
                return invalid(format!("the migration `{}` needs a database `{shown}`: configure it", self.name));
            }
        }
        if self.old == self.new {
            return invalid(format!("the migration `{}` has one database twice: give two", self.name));
        }
        Ok(())
    }

    /// A new start of this host.
    pub(crate) fn member(&self) -> Member {
        let incarnation = format!("{:016x}", getrandom::u64().expect("the operating system's random source answers"));
        Member { migration: Arc::clone(&self.name), host: Arc::clone(&self.host), incarnation: incarnation.into() }
    }

    /// Joins: reads the document, writes the host's row, and reads the document again. What it returns is in force for
    /// this host, and no barrier goes past it from here on.
    pub(crate) async fn join(&self, member: &Member) -> Result<Document, BuildError> {
        let failed = |error: DatabaseError| BuildError::Invalid {
            message: format!(
                "the control tables of the migration `{}` cannot be read, {}: {error}; no host starts without them",
                self.name,
                self.control.summary()
            ),
        };
        let read = || async {
            let document = self.control.document(Arc::clone(&self.name), deadline()).await.map_err(failed)?;
            document.ok_or_else(|| BuildError::Invalid {
                message: format!(
                    "there is no migration `{}` in the control tables, {}: make it with `switchover migrate init`",
                    self.name,
                    self.control.summary()
                ),
            })
        };
        let first = read().await?;
        self.control.enter(member.clone(), first.epoch, LEASE, about(None), deadline()).await.map_err(failed)?;
        // A barrier that was complete before the row was there may have let the next epoch begin.
        read().await
    }
}

impl std::fmt::Debug for Migration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Migration").field("name", &self.name).field("host", &self.host).finish_non_exhaustive()
    }
}

/// Checks the name of a migration or a host: it stands in keys, and in what people read.
///
/// # Errors
///
/// Says what is wrong with it, as the end of a sentence.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(format!("must have 1 to {NAME_MAX} characters"));
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c)) {
        return Err("may have ASCII letters, digits, `-`, `_`, `.` and `:` only".to_owned());
    }
    Ok(())
}

/// What a host says of itself in the control tables.
pub(crate) fn about(problem: Option<&str>) -> String {
    let program = concat!("switchover ", env!("CARGO_PKG_VERSION"));
    problem.map_or_else(|| program.to_owned(), |problem| format!("{program}; {problem}"))
}

pub(crate) fn deadline() -> Instant {
    Instant::now() + CONTROL_PATIENCE
}

/// Where a host stands in its migration.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The last document that it read.
    pub(crate) document: Arc<Document>,
    /// The epoch that its new calls run under.
    pub(crate) loaded: Epoch,
    /// The last epoch that it acknowledged.
    pub(crate) acknowledged: Epoch,
    /// When it asked for that document.
    pub(crate) asked_at: Instant,
    /// Why it does not follow the document, or cannot read it.
    pub(crate) problem: Option<String>,
    /// Whether another process has taken its name.
    pub(crate) is_expelled: bool,
}
