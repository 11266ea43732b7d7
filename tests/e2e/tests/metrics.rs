//! The metrics of hosts, as a recorder receives them.

#[path = "metrics/collector.rs"]
mod collector;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use switchover::backends::{Address, MemoryCache, Sqlite};
use switchover::capabilities::{Database, IntoDatabase as _};
use switchover::metrics::{ALL, Metric};
use switchover::migration::{Beginning, Controller, Migration, Phase};
use switchover::{Builtin, Payload, Policy, Switchover, expires_in};
use tempfile::TempDir;

use crate::collector::Collector;

const HOUR: Duration = Duration::from_secs(3_600);
const PATIENCE: Duration = Duration::from_secs(30);
const LOADS: u8 = 10;
const SESSIONS: u8 = 20;

async fn open(folder: &TempDir, name: &str) -> Result<Arc<dyn Database>> {
    let file = Sqlite::builder(folder.path().join(name)).create_if_missing(true).open().await?;
    let database = file.into_database();
    database.upkeep().create_schema(Instant::now() + PATIENCE).await?;
    Ok(database)
}

/// One recorder collects for the whole process, so this is one test.
#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_collected_with_no_other_label_and_no_key() -> Result<()> {
    let collector = Collector::install()?;
    let folder = TempDir::new()?;

    // A host without a migration, whose policy is swapped.
    let alone = Switchover::builder()
        .database("default", open(&folder, "alone.sqlite3").await?)
        .cache(MemoryCache::default())
        .build()
        .await?;
    let key = alone.sessions().create(Payload::from("a payload"), expires_in(HOUR)).await?;
    for _ in 0..LOADS {
        ensure!(alone.sessions().load(&key).await?.is_some(), "it was created");
    }
    alone.swap_policy(Policy::builtin(Builtin::CachedDb)).await?;
    alone.rollback_policy().await?;
    ensure!(alone.swap_policy(Policy::bytes(b"no policy".to_vec())).await.is_err());

    // A host that moves its sessions.
    let (old, new) = (open(&folder, "old.sqlite3").await?, open(&folder, "new.sqlite3").await?);
    let control = Address::parse(&format!("sqlite:{}", folder.path().join("control.sqlite3").display()))?.control()?;
    let controller = Controller::new("to-new", Arc::clone(&control), Arc::clone(&old), Arc::clone(&new), "the test");
    controller.init(Beginning::default()).await?;
    let host = Switchover::builder()
        .database("default", old)
        .database("new_session_store", new)
        .cache(MemoryCache::default())
        .migration(Migration::new("to-new", "web-1", control))
        .build()
        .await?;
    for number in 0..SESSIONS {
        host.sessions().create(Payload::from(format!("session {number}").as_str()), expires_in(HOUR)).await?;
    }
    let waiting = &mut |_: &[String]| {};
    controller.sealed(PATIENCE, waiting).await?;
    controller.step(Phase::Mirror).await?;
    controller.sealed(PATIENCE, waiting).await?;

    let give_up = Instant::now() + PATIENCE;
    let is_there = |series: &str, least: f64| collector.value(series).is_some_and(|value| value >= least);
    while !(is_there("switchover_migration_job_rows_total{kind=backfill}", f64::from(SESSIONS))
        && is_there("switchover_migration_phase{phase=mirror}", 1.0)
        && is_there("switchover_migration_epoch{epoch=acknowledged}", 2.0))
    {
        ensure!(Instant::now() < give_up, "the backfill was not counted:\n{collector}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let counted = |series: &str| collector.value(series).with_context(|| format!("no {series}\n{collector}"));
    ensure!(counted("switchover_calls_total{call=load,outcome=answered}")? == f64::from(LOADS), "{collector}");
    ensure!(counted("switchover_call_duration_seconds{call=load}")? == f64::from(LOADS), "{collector}");
    ensure!(counted("switchover_calls_total{call=create,outcome=answered}")? == f64::from(SESSIONS + 1), "{collector}");
    ensure!(counted("switchover_migration_phase{phase=off}")? == 0.0, "{collector}");
    for result in ["swapped", "rolled-back", "refused"] {
        ensure!(counted(&format!("switchover_policy_changes_total{{result={result}}}"))? == 1.0, "{collector}");
    }

    // What is collected and what is documented are the same, with these labels and values alone.
    let mut seen = BTreeSet::new();
    for (name, labels) in collector.series() {
        let metric = ALL.iter().find(|metric| metric.name == name);
        let metric = metric.with_context(|| format!("`{name}` is not documented"))?;
        ensure!(labels.len() == metric.labels.len(), "{name}: {labels:?}");
        for (label, value) in &labels {
            let known = metric.labels.iter().find(|(name, _)| name == label);
            ensure!(known.is_some_and(|(_, values)| values.contains(&value.as_str())), "{name}: {labels:?}");
        }
        seen.insert(metric.name);
    }
    let missing: Vec<_> = ALL.iter().map(|metric| metric.name).filter(|name| !seen.contains(name)).collect();
    ensure!(missing.is_empty(), "nothing was collected for {missing:?}:\n{collector}");
    ensure!(collector.described().is_superset(&seen.iter().map(|name| (*name).to_owned()).collect()));
    let page = include_str!("../../../docs/metrics.md");
    for Metric { name, what, .. } in ALL {
        ensure!(page.contains(&format!("| `{name}`")) && page.contains(what), "docs/metrics.md lacks {name}: {what}");
    }
    alone.close().await;
    host.close().await;
    Ok(())
}
