//! Switchover in a service: two SQLite files, a cache, flags, and a policy that is swapped while sessions are in use.
//!
//! `cargo run --release -p switchover --example embed`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use switchover::backends::{FlagSwitch, MemoryCache, Sqlite, prepare_table};
use switchover::{Builtin, Payload, Policy, Switchover, expires_in};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let old = Sqlite::builder(folder.path().join("old.sqlite3")).create_if_missing(true).open().await?;
    let new = Sqlite::builder(folder.path().join("new.sqlite3")).create_if_missing(true).open().await?;
    for database in [&old, &new] {
        prepare_table(database).await?;
    }
    let flags = FlagSwitch::new([("migration_flag", "false"), ("new_db_router_flag", "false")]);
    let switchover = Switchover::builder()
        .database("default", old)
        .database("new_session_store", new)
        .cache(MemoryCache::default())
        .flags(flags.clone())
        .policy(Policy::builtin(Builtin::CachedDb))
        .build()
        .await?;

    let sessions = switchover.sessions();
    let key = sessions.create(Payload::from("opaque text"), expires_in(HOUR)).await?;
    let version = switchover.swap_policy(Policy::builtin(Builtin::Fallback)).await?;
    flags.set("migration_flag", "true");
    switchover.apply_flags().await?;
    let outcome = sessions.save(&key, Payload::from("now in both databases"), expires_in(HOUR)).await?;
    let session = sessions.load(&key).await?;
    println!("{version} answered {outcome:?}, then {session:?}");
    switchover.close().await;
    Ok(())
}
