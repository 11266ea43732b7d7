//! The proxy and the router of 2016, which move sessions from an old database to a new one under two flags.
//!
//! | | both flags off | `migration_flag` on | `new_db_router_flag` on, whatever the other says |
//! | --- | --- | --- | --- |
//! | load | cache, old | cache, new; absent there or new in error: old | cache, new |
//! | save, touch | old | home old, strict mirror new | new |
//! | delete | old | home old, strict mirror new | new |
//! | exists | old | old | new |
//! | clear-expired | old | new then old, one cut-off, one limit | new |
//! | router | no opinion | no opinion | the application goes to new, and to no other |
//!
//! | setting | default | means |
//! | --- | --- | --- |
//! | `old` | `default` | where sessions live before |
//! | `new` | `new_session_store` | where they live after |
//! | `app_label` | `sessions` | the application that the router answers for |
//!
//! The order of 2016 is: `migration_flag` on, wait until every session that lives is in the new database, then
//! `new_db_router_flag` on. **Turning `migration_flag` off and on again, or `new_db_router_flag` off, loses sessions
//! and brings ended ones back**, as it did then: what was written in between is in one database, and reads prefer the
//! other.

use switchover_guest::{
    Description, Guarantee, Hints, Host, Instant, Model, Policy, Result, SaveMode, SaveOutcome, Target, through_cache,
};

const MIGRATION_FLAG: &str = "migration_flag";
const NEW_DB_ROUTER_FLAG: &str = "new_db_router_flag";

/// The policy.
#[derive(Debug)]
pub struct Fallback;

switchover_guest::export!(Fallback);

/// One of the two databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Old,
    New,
}

impl Side {
    /// The operator's word for it.
    fn name(self, host: &impl Host) -> String {
        match self {
            Self::Old => host.setting_or("old", "default"),
            Self::New => host.setting_or("new", "new_session_store"),
        }
    }
}

/// One column of the table above.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// Read and cleared first.
    first: Side,
    /// Read where the first has nothing or fails, and cleared after it.
    then: Option<Side>,
    /// Decides every write, and whether a key is taken.
    home: Side,
    /// Written together with home, or not at all: a copy of what home has after the write, of a delete nothing.
    mirror: Option<Side>,
    /// Where the router sends the application; `None`: no opinion.
    route: Option<Side>,
}

fn plan(migration_flag: bool, new_db_router_flag: bool) -> Plan {
    use Side::{New, Old};
    match (migration_flag, new_db_router_flag) {
        (false, false) => Plan { first: Old, then: None, home: Old, mirror: None, route: None },
        (true, false) => Plan { first: New, then: Some(Old), home: Old, mirror: Some(New), route: None },
        (false | true, true) => Plan { first: New, then: None, home: New, mirror: None, route: Some(New) },
    }
}

impl Plan {
    /// Of the flags of this call.
    fn of(host: &impl Host) -> Self {
        plan(host.flag_enabled(MIGRATION_FLAG), host.flag_enabled(NEW_DB_ROUTER_FLAG))
    }

    fn target(&self, host: &impl Host) -> Target {
        let home = Target::home(self.home.name(host));
        match self.mirror {
            Some(mirror) => home.copy_to(mirror.name(host), Guarantee::Strict),
            None => home,
        }
    }
}

impl Policy for Fallback {
    fn describe<H: Host>(host: &H) -> Description {
        Description {
            name: "fallback".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            protocol: "fallback-2016".into(),
            databases: vec![Side::Old.name(host), Side::New.name(host)],
            flags: vec![MIGRATION_FLAG.into(), NEW_DB_ROUTER_FLAG.into()],
            attributes: Vec::new(),
        }
    }

    async fn load<H: Host>(host: &H, key: &str) -> Result<Option<H::Session>> {
        through_cache(host, key, read(host, key)).await
    }

    async fn save<H: Host>(host: &H, key: &str, value: H::Session, mode: SaveMode) -> Result<SaveOutcome> {
        host.save(&Plan::of(host).target(host), key, &value, mode).await
    }

    async fn touch<H: Host>(host: &H, key: &str, expires_at: Instant) -> Result<SaveOutcome> {
        host.touch(&Plan::of(host).target(host), key, expires_at).await
    }

    async fn delete<H: Host>(host: &H, key: &str) -> Result<bool> {
        host.delete(&Plan::of(host).target(host), key).await
    }

    async fn exists<H: Host>(host: &H, key: &str) -> Result<bool> {
        host.exists(&Plan::of(host).home.name(host), key).await
    }

    async fn clear_expired<H: Host>(host: &H, limit: u32) -> Result<u32> {
        let plan = Plan::of(host);
        let first = plan.first.name(host);
        let Some(then) = plan.then else { return host.delete_expired(&first, None, limit).await };
        let cut_off = Some(host.now());
        let cleared = host.delete_expired(&first, cut_off, limit).await?;
        let left = limit.saturating_sub(cleared);
        if left == 0 {
            return Ok(cleared);
        }
        // What the first cleared is cleared, whatever becomes of the second.
        Ok(cleared + host.delete_expired(&then.name(host), cut_off, left).await.unwrap_or(0))
    }

    fn db_for_read<H: Host>(host: &H, model: &Model, _hints: &Hints) -> Result<Option<String>> {
        Ok(route(host, &model.app_label))
    }

    fn db_for_write<H: Host>(host: &H, model: &Model, _hints: &Hints) -> Result<Option<String>> {
        Ok(route(host, &model.app_label))
    }

    fn allow_migrate<H: Host>(
        host: &H,
        database: &str,
        app_label: &str,
        _model_name: Option<&str>,
        _hints: &Hints,
    ) -> Result<Option<bool>> {
        Ok(route(host, app_label).map(|sessions_at| database == sessions_at))
    }
}

/// Under `migration_flag` the old database is home of every write, so its answer makes good a failure of the new one,
/// may be cached, and is the only one whose failure fails the load.
async fn read<H: Host>(host: &H, key: &str) -> Result<Option<H::Session>> {
    let plan = Plan::of(host);
    let found = host.load(&plan.first.name(host), key).await;
    match (found, plan.then) {
        (Ok(Some(session)), Some(_) | None) => Ok(Some(session)),
        (Ok(None) | Err(_), Some(then)) => host.load(&then.name(host), key).await,
        (Ok(None), None) => Ok(None),
        (Err(error), None) => Err(error),
    }
}

/// The database of an application's tables; `None`: no opinion.
fn route(host: &impl Host, app_label: &str) -> Option<String> {
    let route = Plan::of(host).route?;
    (app_label == host.setting_or("app_label", "sessions")).then(|| route.name(host))
}
