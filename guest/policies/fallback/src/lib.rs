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
//! `new_db_router_flag` on. **Turning `migration_flag` off and on again, or `new_db_router_flag` off, loses sessions and brings
//! ended ones back**, as it did then: what was written in between is in one database, and reads prefer the other.

use switchover_guest::{
    Description, Guarantee, Hints, Host, Instant, Lookup, Model, Policy, Result, SaveMode, SaveOutcome, Target,
};

const MIGRATION_FLAG: &str = "migration_flag";
const NEW_DB_ROUTER_FLAG: &str = "new_db_router_flag";

/// The policy.
#[derive(Debug)]
pub struct Fallback;

switchover_guest::export!(Fallback);

/// The databases of the table above, one column of it.
#[derive(Debug, PartialEq, Eq)]
struct Plan<'a> {
    /// Read and cleared first.
    first: &'a str,
    /// Read where the first has nothing or fails, and cleared after it.
    then: Option<&'a str>,
    /// Decides every write, and whether a key is taken.
    home: &'a str,
    /// Written together with home, or not at all.
    mirror: Option<&'a str>,
    /// Where the router sends the application; `None`: no opinion.
    route: Option<&'a str>,
}

fn plan<'a>(migration_flag: bool, new_db_router_flag: bool, old: &'a str, new: &'a str) -> Plan<'a> {
    match (migration_flag, new_db_router_flag) {
        (false, false) => Plan { first: old, then: None, home: old, mirror: None, route: None },
        (true, false) => Plan { first: new, then: Some(old), home: old, mirror: Some(new), route: None },
        (false | true, true) => Plan { first: new, then: None, home: new, mirror: None, route: Some(new) },
    }
}

impl Plan<'_> {
    /// A copy of what home has after the write: of a delete, nothing.
    fn target(&self) -> Target {
        let home = Target::home(self.home);
        match self.mirror {
            Some(mirror) => home.copy_to(mirror, Guarantee::Strict),
            None => home,
        }
    }
}

/// The operator's words for the two databases.
struct Databases {
    old: String,
    new: String,
}

impl Databases {
    fn of(host: &impl Host) -> Self {
        Self { old: host.setting_or("old", "default"), new: host.setting_or("new", "new_session_store") }
    }

    fn plan(&self, host: &impl Host) -> Plan<'_> {
        plan(host.flag_enabled(MIGRATION_FLAG), host.flag_enabled(NEW_DB_ROUTER_FLAG), &self.old, &self.new)
    }
}

impl Policy for Fallback {
    fn describe<H: Host>(host: &H) -> Description {
        let Databases { old, new } = Databases::of(host);
        Description {
            name: "fallback".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            protocol: "fallback-2016".into(),
            databases: vec![old, new],
            flags: vec![MIGRATION_FLAG.into(), NEW_DB_ROUTER_FLAG.into()],
            attributes: Vec::new(),
        }
    }

    async fn load<H: Host>(host: &H, key: &str) -> Result<Option<H::Session>> {
        let lease = match host.cache_get(key).await {
            Ok(Lookup::Hit(session)) => return Ok(Some(session)),
            Ok(Lookup::Miss(lease)) => Some(lease),
            Err(_) => None,
        };
        let databases = Databases::of(host);
        let found = read(host, &databases.plan(host), key).await?;
        if let (Some(session), Some(lease)) = (&found, lease) {
            // The session is found, whatever becomes of the cache.
            let _ = host.cache_fill(lease, session).await;
        }
        Ok(found)
    }

    async fn save<H: Host>(host: &H, key: &str, value: H::Session, mode: SaveMode) -> Result<SaveOutcome> {
        host.save(&Databases::of(host).plan(host).target(), key, &value, mode).await
    }

    async fn touch<H: Host>(host: &H, key: &str, expires_at: Instant) -> Result<SaveOutcome> {
        host.touch(&Databases::of(host).plan(host).target(), key, expires_at).await
    }

    async fn delete<H: Host>(host: &H, key: &str) -> Result<bool> {
        host.delete(&Databases::of(host).plan(host).target(), key).await
    }

    async fn exists<H: Host>(host: &H, key: &str) -> Result<bool> {
        host.exists(Databases::of(host).plan(host).home, key).await
    }

    async fn clear_expired<H: Host>(host: &H, limit: u32) -> Result<u32> {
        let databases = Databases::of(host);
        let plan = databases.plan(host);
        let Some(then) = plan.then else { return host.delete_expired(plan.first, None, limit).await };
        let cut_off = Some(host.now());
        let cleared = host.delete_expired(plan.first, cut_off, limit).await?;
        let left = limit.saturating_sub(cleared);
        if left == 0 {
            return Ok(cleared);
        }
        // What the first cleared is cleared, whatever becomes of the second.
        Ok(cleared + host.delete_expired(then, cut_off, left).await.unwrap_or(0))
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

/// Under `migration_flag` the old database is home of every write, so its answer makes good a failure of the new one, may be
/// cached, and is the only one whose failure fails the load.
async fn read<H: Host>(host: &H, plan: &Plan<'_>, key: &str) -> Result<Option<H::Session>> {
    let found = host.load(plan.first, key).await;
    match (found, plan.then) {
        (Ok(Some(session)), Some(_) | None) => Ok(Some(session)),
        (Ok(None) | Err(_), Some(then)) => host.load(then, key).await,
        (Ok(None), None) => Ok(None),
        (Err(error), None) => Err(error),
    }
}

/// The database of an application's tables; `None`: no opinion.
fn route(host: &impl Host, app_label: &str) -> Option<String> {
    let databases = Databases::of(host);
    let route = databases.plan(host).route?;
    (app_label == host.setting_or("app_label", "sessions")).then(|| route.to_owned())
}
