//! The migration that the configuration names: for hosts, and for the operator's commands.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use switchover_backends::{Address, Kind};
use switchover_core::capabilities::Control;
use toml::Spanned;

use super::{Config, ConfigError};
use crate::host::Builder;
use crate::migration::{Brakes, CacheRule, Controller, Migration};

/// A host's name, for a fleet whose hosts share one configuration.
const HOST_VARIABLE: &str = "SWITCHOVER_HOST";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MigrationTable {
    name: String,
    host: Option<String>,
    control: Spanned<String>,
    #[serde(default = "usual_old")]
    old: String,
    #[serde(default = "usual_new")]
    new: String,
    policies: Option<PathBuf>,
    #[serde(default = "yes")]
    jobs: bool,
    #[serde(default)]
    brakes: BrakesTable,
    #[serde(default)]
    cache_rule: RuleName,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RuleName {
    Bound,
    #[default]
    Deletes,
    Writes,
}

impl From<RuleName> for CacheRule {
    fn from(name: RuleName) -> Self {
        match name {
            RuleName::Bound => CacheRule::Bound,
            RuleName::Deletes => CacheRule::Deletes,
            RuleName::Writes => CacheRule::Writes,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BrakesTable {
    file: Option<PathBuf>,
    active_max: Option<u64>,
    behind_max_mib: Option<u64>,
}

fn usual_old() -> String {
    "default".to_owned()
}

fn usual_new() -> String {
    "new_session_store".to_owned()
}

fn yes() -> bool {
    true
}

/// Leaves out the address, which may contain a password.
impl std::fmt::Debug for MigrationTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MigrationTable").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Config {
    /// The aliases of the two databases of the configured migration, the old one first; `None`: it names none.
    pub fn migrates_between(&self) -> Option<[&str; 2]> {
        let MigrationTable { old, new, .. } = self.file.migration.as_ref()?.get_ref();
        Some([old, new])
    }

    /// The operator's end of the configured migration, with both databases opened. `by` says in its log who decides.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the configuration has no table `[migration]`, or one of the databases cannot be opened.
    pub async fn controller(&self, by: &str) -> Result<Controller, ConfigError> {
        let Some(table) = &self.file.migration else {
            return Err(ConfigError::at(
                &self.path,
                None,
                "there is no table [migration]: give it a name and the address of its control tables",
            ));
        };
        let mut sides = Vec::new();
        for name in [&table.get_ref().old, &table.get_ref().new] {
            let known = || self.at(table, &format!("migration: there is no database `{name:.64}`: configure it"));
            sides.push(self.open_database(name).await?.ok_or_else(known)?);
        }
        let (new, old) = (sides.pop(), sides.pop());
        let (Some(old), Some(new)) = (old, new) else { unreachable!("two names were given") };
        Ok(Controller::new(table.get_ref().name.as_str(), self.control(table.get_ref())?, old, new, by))
    }

    /// The builder of a host that takes part in the configured migration.
    pub(super) fn with_migration(
        &self,
        builder: Builder,
        table: &Spanned<MigrationTable>,
    ) -> Result<Builder, ConfigError> {
        let MigrationTable { name, host, old, new, policies, jobs, brakes, cache_rule, .. } = table.get_ref();
        let policy = &self.file.policy;
        if policy.builtin.is_some() || policy.file.is_some() || !policy.settings.is_empty() || self.file.flags.is_some()
        {
            let message = "in a migration the control document names policy and flags: leave out [policy] and [flags]";
            return Err(self.at(table, message));
        }
        let Some(host) = std::env::var(HOST_VARIABLE).ok().or_else(|| host.clone()) else {
            let message = format!("migration.host: give the host a name of its own, here or as {HOST_VARIABLE}");
            return Err(self.at(table, &message));
        };
        let migration =
            Migration::new(name.as_str(), host, self.control(table.get_ref())?).between(old, new).jobs(*jobs);
        let migration = match policies {
            Some(folder) => migration.policies_in(self.beside(folder)),
            None => migration,
        };
        Ok(builder.migration(migration.brakes(self.brakes(brakes)).cache_rule((*cache_rule).into())))
    }

    fn brakes(&self, table: &BrakesTable) -> Brakes {
        let brakes = table.file.iter().fold(Brakes::new(), |brakes, file| brakes.file(self.beside(file)));
        let brakes = table.active_max.into_iter().fold(brakes, Brakes::active_max);
        table.behind_max_mib.into_iter().fold(brakes, |brakes, mib| brakes.behind_max(mib.saturating_mul(1 << 20)))
    }

    fn control(&self, table: &MigrationTable) -> Result<Arc<dyn Control>, ConfigError> {
        let wrong = |what: &str| self.at(&table.control, &format!("migration.control: {what}"));
        let address = Address::parse(table.control.get_ref()).map_err(|error| wrong(&error.to_string()))?;
        if address.kind() == Kind::Memory {
            return Err(wrong("control tables in memory are seen by one process alone; take a database"));
        }
        let address = address.beside(self.path.parent().unwrap_or(Path::new("")));
        address.control().map_err(|error| wrong(&error.to_string()))
    }
}
