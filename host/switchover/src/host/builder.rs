//! What a host is made of, and how it is built.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use switchover_backends::FixedFlags;
use switchover_core::DatabaseName;
use switchover_core::capabilities::{
    Cache, Clock, Database, DatabaseError, Flags, Identity, IntoDatabase, SystemClock,
};
use switchover_runtime::call::{Environment, Serves};
use switchover_runtime::{Limits, LimitsInForce, Loader, Policy, Slot};
use tokio::sync::Semaphore;

use super::carried::ensure_carried;
use super::chores;
use super::flags::follow_flags;
use super::joined::Joined;
use super::{Host, Switchover};
use crate::error::BuildError;
use crate::migration::{self, Migration};
use crate::store::{Store, StoreReach};

/// What a host is made of. Every method takes the builder and returns it.
#[derive(Default)]
pub struct Builder {
    databases: Vec<(String, Arc<dyn Database>)>,
    cache: Option<Arc<dyn Cache>>,
    flags: Option<Arc<dyn Flags>>,
    clock: Option<Arc<dyn Clock>>,
    policy: Option<Policy>,
    limits: Limits,
    insist_on_flags: bool,
    migration: Option<Migration>,
}

impl Builder {
    /// Adds a database under an alias.
    #[must_use]
    pub fn database(mut self, name: impl Into<String>, database: impl IntoDatabase) -> Self {
        self.databases.push((name.into(), database.into_database()));
        self
    }

    /// Puts a cache in front of the databases. Without one, every load asks a database.
    #[must_use]
    pub fn cache(mut self, cache: impl Cache + 'static) -> Self {
        self.cache = Some(Arc::new(cache));
        self
    }

    /// Sets the source of flags. Without a source, no flag is set.
    #[must_use]
    pub fn flags(mut self, flags: impl Flags + 'static) -> Self {
        self.flags = Some(Arc::new(flags));
        self
    }

    /// Sets whether new flags come into force even if the running policy fails its trial under them. By default they do
    /// not: the flags in force stay, and the host tries again. With `true` they do, and the failure is only logged as
    /// an error.
    #[must_use]
    pub fn insist_on_flags(mut self, insist: bool) -> Self {
        self.insist_on_flags = insist;
        self
    }

    /// Sets the first policy. The default is `Builtin::CachedDb` if the library was built with `wasm`; otherwise a
    /// policy must be set.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Makes the host take part in a migration, as one of a fleet. Phase, flags and policy then come from its control
    /// document, so give the builder neither [`Builder::policy`] nor [`Builder::flags`].
    #[must_use]
    pub fn migration(mut self, migration: Migration) -> Self {
        self.migration = Some(migration);
        self
    }

    /// Sets limits other than the default ones.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets a clock other than the machine's, for tests. Databases have clocks of their own.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Builds the host. This loads the policy and tries it under the present flags.
    ///
    /// # Errors
    ///
    /// [`BuildError`] says what is wrong and how to correct it.
    pub async fn build(self) -> Result<Switchover, BuildError> {
        let mut databases = BTreeMap::new();
        for (name, database) in self.databases {
            let name = DatabaseName::parse(&name)?;
            if databases.insert(name.clone(), database).is_some() {
                return Err(BuildError::Invalid { message: format!("database `{name}` is configured twice") });
            }
        }
        if databases.is_empty() {
            return Err(BuildError::Invalid {
                message: "no database is configured: add one, `default` for example".to_owned(),
            });
        }
        let limits = self.limits;
        if limits.calls_in_flight_max == 0 {
            return Err(BuildError::Invalid {
                message: "`calls_in_flight_max` is 0: no call could be made".to_owned(),
            });
        }
        if let Some(migration) = &self.migration {
            migration.check(|name| databases.keys().any(|known| known.as_str() == name))?;
            if self.policy.is_some() || self.flags.is_some() {
                return Err(BuildError::Invalid {
                    message: "in a migration the control document names policy and flags: give policies to \
                              `Migration::policy`, and no flags"
                        .to_owned(),
                });
            }
        }
        check_tables(&databases, limits.write_deadline).await?;
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let flags = self.flags.unwrap_or_else(|| Arc::new(FixedFlags::none()));
        let joined = match self.migration {
            None => None,
            Some(migration) => Some(Joined::join(migration, &databases, limits.write_deadline).await?),
        };
        let policy = match &joined {
            Some(joined) => joined.policy()?,
            None => self.policy.or_else(default_policy).ok_or_else(|| BuildError::Invalid {
                message: "no policy was given: name one, `Policy::native` for example".to_owned(),
            })?,
        };
        let names = databases.keys().map(|name| name.as_str().to_owned()).collect();
        let pair = joined.as_ref().map(|joined| joined.pair.clone());
        let serves = if joined.is_some() { Serves::Fleet } else { Serves::OneHost };
        let fleet_cache = joined.as_ref().map(Joined::fleet_cache);
        let in_force = LimitsInForce::new(limits.clone());
        let store = Store::new(databases, self.cache, Arc::clone(&clock), in_force.clone(), pair, fleet_cache);
        let loader = Loader::new(in_force.clone(), names, serves, store.shared_counters());
        let loader = loader
            .map_err(|error| BuildError::Invalid { message: format!("no wasm engine can be made here: {error}") })?;
        let latest_flags = flags.subscribe();
        let first_flags = match &joined {
            None => Arc::clone(&latest_flags.borrow()),
            Some(joined) => Arc::new(migration::flags(&joined.document)),
        };
        let fence = joined.as_ref().map(|joined| migration::fence(&joined.document));
        let version = loader.load(&policy, Arc::clone(&first_flags)).await?;
        ensure_carried(&store, &policy, version.description(), limits.read_deadline).await?;
        let environment = Environment {
            reach: Arc::new(StoreReach(Arc::clone(&store))),
            clock,
            counters: store.shared_counters(),
            looks_ahead: true,
        };
        let membership = joined.map(|joined| joined.into_membership(Arc::clone(&version)));
        let host = Arc::new(Host {
            environment: Arc::new(environment),
            store,
            slot: Slot::new(first_flags, version, fence, limits.warm_instances),
            loader,
            places: Semaphore::new(limits.calls_in_flight_max),
            waiting: AtomicUsize::new(0),
            latest_flags: latest_flags.clone(),
            insist_on_flags: self.insist_on_flags,
            limits: in_force,
            membership,
            _flags: flags,
        });
        match &host.membership {
            None => drop(tokio::spawn(follow_flags(Arc::downgrade(&host), latest_flags))),
            Some(membership) => {
                membership.start(&host);
                chores::start(membership, &host);
            }
        }
        #[cfg(feature = "metrics")]
        super::published::start(&host);
        Ok(Switchover { host })
    }
}

#[cfg(feature = "wasm")]
fn default_policy() -> Option<Policy> {
    Some(Policy::builtin(crate::Builtin::CachedDb))
}

/// There is no default policy without `wasm`: every policy that comes with the library is a component.
#[cfg(not(feature = "wasm"))]
fn default_policy() -> Option<Policy> {
    None
}

/// Refuses tables that cannot hold sessions, and two aliases of one table. If a database does not answer, this only
/// logs a warning; its calls will show whether it works.
async fn check_tables(
    databases: &BTreeMap<DatabaseName, Arc<dyn Database>>,
    patience: Duration,
) -> Result<(), BuildError> {
    let mut known: Vec<(&DatabaseName, Identity)> = Vec::new();
    for (name, database) in databases {
        let checked = async {
            database.upkeep().check_columns(Instant::now() + patience).await?;
            database.upkeep().identity(Instant::now() + patience).await
        };
        match checked.await {
            Ok(None) => {}
            Ok(Some(identity)) => {
                if let Some((other, _)) = known.iter().find(|(_, other)| *other == identity) {
                    let message =
                        format!("databases `{other}` and `{name}` are one table, {}: give two", database.summary());
                    return Err(BuildError::Invalid { message });
                }
                if let Some((other, _)) = known.iter().find(|(_, other)| other.shares_its_writer_with(&identity)) {
                    let message = format!(
                        "databases `{other}` and `{name}` are two tables of one SQLite file, {}: the file takes one \
                         writer at a time, so no write could go to both; take two files",
                        database.summary()
                    );
                    return Err(BuildError::Invalid { message });
                }
                known.push((name, identity));
            }
            Err(DatabaseError::Corrupt { message }) => {
                let message = format!("database `{name}`, {}: {message}", database.summary());
                return Err(BuildError::Invalid { message });
            }
            Err(error) => tracing::warn!(database = %name, "its table could not be checked: {error}"),
        }
    }
    Ok(())
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let databases: Vec<_> = self.databases.iter().map(|(name, database)| (name, database.summary())).collect();
        f.debug_struct("Builder").field("databases", &databases).field("policy", &self.policy).finish_non_exhaustive()
    }
}
