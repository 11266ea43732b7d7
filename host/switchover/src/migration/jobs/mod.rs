//! The jobs of a migration: each is a task of hosts with one holder in the fleet. A second holder would do no harm.
//!
//! A job takes a turn for each batch, and never holds one for longer. So a change of phase waits for one batch at most.

mod backfill;
mod lease;
mod pages;
mod throttle;
mod verifier;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use switchover_core::capabilities::{Control, Document, Fence, Member};
use switchover_protocol::Phase;
use switchover_runtime::Ticket;

use super::brakes::Brakes;
use super::copy::Pair;

/// How often the host that does a job looks whether there is something to do.
const LOOK_EACH: Duration = Duration::from_secs(1);
/// How often the other hosts look whether nobody does it any more. With 500 hosts and three jobs these are 100
/// statements a second.
const TAKE_EACH: Duration = Duration::from_secs(15);

/// What one batch of work runs under.
pub(crate) struct Turn {
    pub(crate) fence: Fence,
    pub(crate) phase: Phase,
    /// The last document that the host has read; it may be one epoch ahead of the turn.
    pub(crate) document: Arc<Document>,
    /// While it exists, the host acknowledges no later epoch.
    pub(crate) _ticket: Ticket,
}

/// Where a job gets its turns.
#[async_trait]
pub(crate) trait Turns: Send + Sync {
    /// A turn under the epoch of new calls; `None`: the host is closing.
    fn turn(&self) -> Option<Turn>;

    /// Waits until the document has another version than this one, at most so long.
    async fn changed(&self, since: u64, patience: Duration);
}

/// What jobs work with.
#[derive(Clone)]
pub(crate) struct Jobs {
    pub(crate) turns: Arc<dyn Turns>,
    pub(crate) member: Member,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) pair: Pair,
    /// What makes them rest.
    pub(crate) brakes: Brakes,
    /// How long one batch may take.
    pub(crate) patience: Duration,
}

/// Starts the jobs. They end when the host closes.
pub(crate) fn start(jobs: &Jobs) {
    tokio::spawn(worker::run(jobs.clone()));
    tokio::spawn(backfill::run(jobs.clone()));
    tokio::spawn(verifier::run(jobs.clone()));
}
