//! A host that has joined its migration, before it is built.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use switchover_core::DatabaseName;
use switchover_core::capabilities::{Database, DatabaseError, Document, Member, Side};
use switchover_runtime::{Policy, Version};

use super::epochs::Membership;
use crate::error::BuildError;
use crate::migration::{self, Migration};
use crate::store::{FleetCache, Pair};

/// A host that has joined its migration.
pub(super) struct Joined {
    migration: Migration,
    member: Member,
    asked_at: Instant,
    pub(super) document: Document,
    pub(super) pair: Pair,
}

impl Joined {
    /// Checks both databases, and joins. A database that does not answer is refused if the phase needs it.
    pub(super) async fn join(
        migration: Migration,
        databases: &BTreeMap<DatabaseName, Arc<dyn Database>>,
        patience: Duration,
    ) -> Result<Self, BuildError> {
        let pair = Pair { old: DatabaseName::parse(&migration.old)?, new: DatabaseName::parse(&migration.new)? };
        let member = migration.member();
        let asked_at = Instant::now();
        let document = migration.join(&member).await?;
        let phase = migration::phase(&document).map_err(|error| BuildError::Invalid { message: error.to_string() })?;
        for side in [Side::Old, Side::New] {
            let name = pair.name(side);
            let database = &databases[name];
            let what = match fence_of(database.as_ref(), &document, patience).await {
                Ok(true) => continue,
                Ok(false) => "has no fence of it: make it with `switchover migrate init`".to_owned(),
                Err(error @ (DatabaseError::Unavailable { .. } | DatabaseError::Timeout))
                    if !migration::needs(&document, side) =>
                {
                    tracing::warn!(database = %name, "it does not answer, and {phase} does not need it: {error}");
                    continue;
                }
                Err(error) => format!("cannot take part in it: {error}"),
            };
            let (migration, summary) = (&document.migration, database.summary());
            let message = format!("database `{name}` of the migration `{migration}`, {summary}, {what}");
            return Err(BuildError::Invalid { message });
        }
        Ok(Self { migration, member, asked_at, document, pair })
    }

    /// The policy that the document names.
    pub(super) fn policy(&self) -> Result<Policy, BuildError> {
        let name = &self.document.policy;
        self.migration.find_policy(name).ok_or_else(|| BuildError::Invalid {
            message: format!(
                "the migration `{}` names a policy `{}` that this host does not have: give it to `Migration::policy`, \
                 or put its component into the folder of `Migration::policies_in`",
                self.document.migration,
                name.escape_debug()
            ),
        })
    }

    /// The cache of the fleet. This host has confirmed nothing yet.
    pub(super) fn fleet_cache(&self) -> Arc<FleetCache> {
        let Migration { cache_rule, control, .. } = &self.migration;
        Arc::new(FleetCache::new(*cache_rule, Arc::clone(control), self.member.clone()))
    }

    pub(super) fn into_membership(self, version: Arc<Version>) -> Arc<Membership> {
        Membership::new(self.migration, self.member, self.document, self.asked_at, version)
    }
}

/// Whether a database has the side tables, and the fence of this migration.
async fn fence_of(database: &dyn Database, document: &Document, patience: Duration) -> Result<bool, DatabaseError> {
    let deadline = Instant::now() + patience;
    let Some(side_tables) = database.side_tables() else {
        return Err(DatabaseError::Invalid { message: "this kind of database has no side tables".to_owned() });
    };
    let missing = side_tables.missing(deadline).await?;
    if !missing.is_empty() {
        let message = format!("{} of its side tables and functions are missing", missing.len());
        return Err(DatabaseError::Corrupt { message });
    }
    Ok(side_tables.fence(Arc::clone(&document.migration), deadline).await?.is_some())
}
