//! A fleet of three hosts moves its sessions from one server to another, phase by phase, forwards and back, under
//! traffic. The checker compares everything with the history.
//!
//! `SWITCHOVER_STORY_SEEDS=20` runs the stories with this many seeds; `SWITCHOVER_STORY_FIRST` is the first of them.
#![expect(clippy::print_stdout, reason = "who runs many seeds wants to see what each came to")]

#[path = "fleet/clock.rs"]
mod clock;
#[path = "fleet/hosts.rs"]
mod hosts;
#[path = "fleet/journey.rs"]
mod journey;
#[path = "fleet/lawless.rs"]
mod lawless;
#[path = "fleet/nemesis.rs"]
mod nemesis;
#[path = "fleet/process.rs"]
mod process;
#[path = "fleet/servers.rs"]
mod servers;
#[path = "fleet/story.rs"]
mod story;

use anyhow::Result;
use switchover::migration::CacheRule;

use crate::journey::{FORWARDS, THERE_AND_BACK};
use crate::lawless::Rule;
use crate::nemesis::Plan;
use crate::servers::Kind;
use crate::story::Story;

#[tokio::test(flavor = "multi_thread")]
async fn fleet_moves_from_postgres_to_postgres_and_no_call_fails() -> Result<()> {
    let (old, new) = (Kind::Postgres, Kind::Postgres);
    Story { old, new, journey: FORWARDS, plan: Plan::Calm, rule: CacheRule::Deletes, left_out: None }.run().await
}

#[tokio::test(flavor = "multi_thread")]
async fn fleet_goes_back_from_every_phase_and_forwards_again_under_faults() -> Result<()> {
    let (old, new) = (Kind::Postgres, Kind::Postgres);
    Story { old, new, journey: THERE_AND_BACK, plan: Plan::Storm, rule: CacheRule::Deletes, left_out: None }.run().await
}

#[tokio::test(flavor = "multi_thread")]
async fn fleet_of_processes_that_are_killed_paused_and_restarted_moves_there_and_back() -> Result<()> {
    let (old, new) = (Kind::Postgres, Kind::Postgres);
    Story { old, new, journey: THERE_AND_BACK, plan: Plan::Hosts, rule: CacheRule::Deletes, left_out: None }.run().await
}

#[tokio::test(flavor = "multi_thread")]
async fn fleet_moves_from_postgres_to_mariadb_under_faults() -> Result<()> {
    let (old, new) = (Kind::Postgres, Kind::MariaDb);
    Story { old, new, journey: FORWARDS, plan: Plan::Storm, rule: CacheRule::Deletes, left_out: None }.run().await
}

#[tokio::test(flavor = "multi_thread")]
async fn fleet_goes_there_and_back_from_mariadb_to_sqlite_under_faults() -> Result<()> {
    let (old, new) = (Kind::MariaDb, Kind::Sqlite);
    Story { old, new, journey: THERE_AND_BACK, plan: Plan::Storm, rule: CacheRule::Deletes, left_out: None }.run().await
}

#[tokio::test(flavor = "multi_thread")]
async fn fleet_goes_back_from_every_phase_from_mariadb_to_postgres() -> Result<()> {
    let (old, new) = (Kind::MariaDb, Kind::Postgres);
    Story { old, new, journey: THERE_AND_BACK, plan: Plan::Calm, rule: CacheRule::Deletes, left_out: None }.run().await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_host_reads_what_was_replaced_while_hosts_are_cut_off_from_the_cache() -> Result<()> {
    let (old, new) = (Kind::Postgres, Kind::Postgres);
    Story { old, new, journey: FORWARDS, plan: Plan::Cache, rule: CacheRule::Writes, left_out: None }.run().await
}

/// The stories can fail: without a rule, the same hosts on the same servers break promises.
#[tokio::test(flavor = "multi_thread")]
async fn checker_sees_that_a_fleet_does_not_mark_or_lock() -> Result<()> {
    for rule in [Rule::Marks, Rule::KeyLocks] {
        let (old, new) = (Kind::Postgres, Kind::Postgres);
        let left_out = Some(rule);
        Story { old, new, journey: FORWARDS, plan: Plan::Calm, rule: CacheRule::Deletes, left_out }.run().await?;
    }
    Ok(())
}
