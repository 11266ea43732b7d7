//! Strict mirrors on a MariaDB with a small `max_allowed_packet`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use switchover::backends::{FlagSwitch, MySql, Sqlite};
use switchover::capabilities::Database as _;
use switchover::{Builtin, Payload, Policy, Switchover, expires_in};
use switchover_harness::MariaDb;
use tokio::task::JoinSet;

use super::fixture::{new_table, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_mirrors_of_large_payloads_all_succeed() -> Result<()> {
    let server = MariaDb::builder().setting("max-allowed-packet", "1M").start().await?;
    let folder = tempfile::tempdir()?;
    let file = Sqlite::builder(folder.path().join("old.sqlite3")).create_if_missing(true).open().await?;
    file.upkeep().create_schema(soon()).await?;
    // There is one lane, so that everything that waits shares a batch.
    let mirror = MySql::builder(server.url()).table(new_table()).writers(1).holders(1).connect().await?;
    mirror.upkeep().create_schema(soon()).await?;
    let host = Switchover::builder()
        .database("default", file)
        .database("new_session_store", mirror)
        .flags(FlagSwitch::new([("migration_flag", "true")]))
        .policy(Policy::builtin(Builtin::Fallback))
        .build()
        .await?;
    let (sessions, far) = (Arc::new(host.sessions()), expires_in(Duration::from_secs(3_600)));
    let mut creates = JoinSet::new();
    for _ in 0..40 {
        let (sessions, payload) = (Arc::clone(&sessions), Payload::from("x".repeat(300 << 10)));
        creates.spawn(async move { sessions.create(payload, far).await });
    }
    for created in creates.join_all().await {
        created?;
    }
    assert_eq!(host.counts().unknown_outcomes, 0);
    host.close().await;
    Ok(())
}
