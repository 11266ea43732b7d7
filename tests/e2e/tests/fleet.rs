//! A fleet of three hosts moves its sessions from one server to another, phase by phase, forwards and back, under
//! traffic. The checker compares everything with the history.
//!
//! `SWITCHOVER_STORY_SEEDS=20` runs the stories with this many seeds; `SWITCHOVER_STORY_FIRST` is the first of them.
#![expect(clippy::print_stdout, reason = "who runs many seeds wants to see what each came to")]

#[path = "fleet/journey.rs"]
mod journey;
#[path = "fleet/nemesis.rs"]
mod nemesis;
#[path = "fleet/servers.rs"]
mod servers;
#[path = "fleet/story.rs"]
mod story;

use anyhow::Result;

use crate::journey::{FORWARDS, THERE_AND_BACK};
use crate::nemesis::Plan;
use crate::servers::Kind;
use crate::story::Story;

#[tokio::test(flavor = "multi_thread")]
async fn fleet_moves_from_postgres_to_postgres_and_no_call_fails() -> Result<()> {
    Story { old: Kind::Postgres, new: Kind::Postgres, journey: FORWARDS, plan: Plan::Calm }.run().await
}

#[tokio::test(flavor = "multi_thread")]
async fn fleet_goes_back_from_every_phase_and_forwards_again_under_faults() -> Result<()> {
    Story { old: Kind::Postgres, new: Kind::Postgres, journey: THERE_AND_BACK, plan: Plan::Storm }.run().await
}
