//! Sessions in one database with a cache in front, as Django's `cached_db`.
//!
//! | setting | default | means |
//! | --- | --- | --- |
//! | `database` | `default` | where sessions live |
//! | `app_label` | `sessions` | the application that the router answers for |
//!
//! It differs from Django's in four points. A failing cache fails no call. A failing database is never "no session". A
//! delete is one statement, at the database that writes go to. The host keeps what was deleted out of the cache.
//!
//! The router sends the application to `database` and keeps its tables out of every other database. While `database` is
//! not set, the router has no opinion: sessions live where Django puts them without a router.

use switchover_guest::{
    Description, Hints, Host, Instant, Model, Policy, Result, SaveMode, SaveOutcome, Target, through_cache,
};

/// The policy.
#[derive(Debug)]
pub struct CachedDb;

switchover_guest::export!(CachedDb);

impl Policy for CachedDb {
    fn describe<H: Host>(host: &H) -> Description {
        Description {
            name: "cached-db".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            protocol: "single".into(),
            databases: vec![database(host)],
            flags: Vec::new(),
            attributes: Vec::new(),
        }
    }

    async fn load<H: Host>(host: &H, key: &str) -> Result<Option<H::Session>> {
        through_cache(host, key, host.load(&database(host), key)).await
    }

    async fn save<H: Host>(host: &H, key: &str, value: H::Session, mode: SaveMode) -> Result<SaveOutcome> {
        host.save(&Target::home(database(host)), key, &value, mode).await
    }

    async fn touch<H: Host>(host: &H, key: &str, expires_at: Instant) -> Result<SaveOutcome> {
        host.touch(&Target::home(database(host)), key, expires_at).await
    }

    async fn delete<H: Host>(host: &H, key: &str) -> Result<bool> {
        host.delete(&Target::home(database(host)), key).await
    }

    async fn exists<H: Host>(host: &H, key: &str) -> Result<bool> {
        host.exists(&database(host), key).await
    }

    async fn clear_expired<H: Host>(host: &H, limit: u32) -> Result<u32> {
        host.delete_expired(&database(host), None, limit).await
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

fn database(host: &impl Host) -> String {
    host.setting_or("database", "default")
}

/// The database of an application's tables; `None`: no opinion.
fn route(host: &impl Host, app_label: &str) -> Option<String> {
    host.setting("database").filter(|_| app_label == host.setting_or("app_label", "sessions"))
}
