//! The operator of the demo: takes the steps of the migration, as `switchover migrate` does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use switchover::migration::{Beginning, Controller, MigrationError, Phase, Status};
use switchover_workload::patience::PATIENCE;

use crate::demo::progress::Progress;
use crate::demo::stage::Stage;
use crate::demo::told::ByPhases;

/// How often a step is tried again while a guard is red, or a database is away.
const AGAIN_EACH: Duration = Duration::from_millis(250);
/// How often the operator looks for hosts that can be given up.
const LOOK_EACH: Duration = Duration::from_secs(1);
/// A lease lasts for 15 s, and a job is taken over within another 15 s.
const STEP_PATIENCE: Duration = Duration::from_secs(60).saturating_add(PATIENCE);

pub(super) struct Operator {
    controller: Controller,
    /// Hosts that will never come back.
    pub(super) dead: Vec<&'static str>,
    pub(super) done: ByPhases,
}

impl Operator {
    /// Begins the migration.
    pub(super) async fn begin(migration: &str, stage: &Stage) -> Result<Self> {
        let (old, new) = (Arc::clone(&stage.old.database), Arc::clone(&stage.new.database));
        let controller = Controller::new(migration, stage.control()?, old, new, "the demo");
        controller.init(Beginning::default()).await?;
        Ok(Self { controller, dead: Vec::new(), done: ByPhases::default() })
    }

    /// Shows that a step is forbidden, and by what.
    pub(super) async fn is_forbidden(&mut self, to: Phase, progress: &Progress) -> Result<()> {
        match self.controller.step(to).await {
            Err(MigrationError::Red { findings }) => {
                self.done.steps_forbidden += 1;
                if let Some(red) = findings.iter().find(|finding| finding.blocks()) {
                    progress.event(&format!("{to} is forbidden: {}: {red}", red.guard));
                }
                Ok(())
            }
            Ok(_) => bail!("the step to {to} was made without a verification"),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a step as soon as its guards are green, and waits until every host has acknowledged it.
    pub(super) async fn go(&mut self, to: Phase, progress: &Progress) -> Result<()> {
        let give_up = Instant::now() + STEP_PATIENCE;
        let before = self.controller.document().await?.epoch;
        let mut shown = false;
        loop {
            let error = match self.controller.step(to).await {
                Ok(_) => break,
                Err(error) => error,
            };
            // The answer to the step may have been lost.
            if self.controller.document().await.is_ok_and(|document| document.epoch > before) {
                break;
            }
            if let MigrationError::Red { findings } = &error
                && let Some(red) = findings.iter().find(|finding| finding.blocks()).filter(|_| !shown)
            {
                shown = true;
                progress.event(&format!("waits for a guard: {}: {red}", red.guard));
            }
            ensure!(is_passing(&error) && Instant::now() < give_up, "the step to {to} was not made: {error}");
            tokio::time::sleep(AGAIN_EACH).await;
        }
        self.done.steps_made += 1;
        self.sealed(to, give_up, progress).await
    }

    async fn sealed(&mut self, to: Phase, give_up: Instant, progress: &Progress) -> Result<()> {
        let (began, mut shown) = (Instant::now(), false);
        loop {
            match self.controller.sealed(LOOK_EACH, &mut |_| {}).await {
                Ok(epoch) => {
                    let seconds = began.elapsed().as_secs_f64();
                    progress.event(&format!("{to}: epoch {} is sealed after {seconds:.1} s", epoch.0));
                    return Ok(());
                }
                Err(MigrationError::NotSealed { waits_for }) => {
                    if let Some(first) = waits_for.first().filter(|_| !shown) {
                        shown = true;
                        progress.event(&format!("waits for {first}"));
                    }
                    ensure!(Instant::now() < give_up, "{to} was not sealed: {}", waits_for.join("; "));
                }
                Err(error) => ensure!(is_passing(&error) && Instant::now() < give_up, "{to} was not sealed: {error}"),
            }
            self.give_up_the_dead(progress).await;
        }
    }

    /// Gives up the hosts that will never come back, once their leases have run out.
    async fn give_up_the_dead(&mut self, progress: &Progress) {
        let mut left = Vec::new();
        for host in self.dead.drain(..) {
            if self.controller.evict(host).await.is_ok() {
                self.done.hosts_given_up += 1;
                progress.event(&format!("{host} is given up: its lease has run out"));
            } else {
                left.push(host);
            }
        }
        self.dead = left;
    }

    /// Waits until the hosts have reached something.
    pub(super) async fn reach(
        &self,
        what: &str,
        is_reached: impl Fn(&Status) -> bool,
        mut looked: impl AsyncFnMut() -> Result<()>,
    ) -> Result<Status> {
        let give_up = Instant::now() + STEP_PATIENCE;
        loop {
            looked().await?;
            let status = self.controller.status().await;
            if let Some(status) = status.as_ref().ok().filter(|status| is_reached(status)) {
                return Ok(status.clone());
            }
            let told = || status.map_or_else(|error| error.to_string(), |status| jobs(&status));
            if Instant::now() >= give_up {
                bail!("{what} has not ended: {}", told());
            }
            tokio::time::sleep(AGAIN_EACH).await;
        }
    }
}

/// How many rows a job has done.
pub(super) fn rows(status: &Status, job: &str) -> u64 {
    status.jobs.iter().find(|row| row.job == job).map_or(0, |row| row.progress.done)
}

fn jobs(status: &Status) -> String {
    let lines = status.jobs.iter().map(|row| format!("{}: {} rows, {}", row.job, row.progress.done, row.progress.note));
    lines.collect::<Vec<_>>().join("; ")
}

/// Whether a step may succeed later without a change by hand.
fn is_passing(error: &MigrationError) -> bool {
    matches!(
        error,
        MigrationError::Red { .. }
            | MigrationError::NotSealed { .. }
            | MigrationError::Changed
            | MigrationError::Database { .. }
            | MigrationError::Control { .. }
    )
}
