//! What the operator of the story does: swaps, flags, and the comparison. Each waits while a server is away.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use switchover::migration::compare;
use switchover::{Limits, Policy, SessionKey, SwapError};
use switchover_workload::history::Micros;
use switchover_workload::patience::{PATIENCE, patiently};
use switchover_workload::traffic::Site;

use super::{Compared, Story};
use crate::demo::latency::{Change, Changed};

impl Story<'_> {
    /// Unknown outcomes are settled first, as far as the databases answer. A difference that is found while there are more of them
    /// is looked at again.
    pub(super) async fn compare(&mut self) -> Result<Compared> {
        let (old, new) = (&self.stage.old.database, &self.stage.new.database);
        let give_up = Instant::now() + PATIENCE;
        loop {
            let unknown = self.site.meter.unknown_outcomes();
            let mut comparison = patiently("the databases cannot be compared", async || {
                ensure!(self.switchover.repairs_pending() == 0, "unknown outcomes are still to be settled");
                compare(&**old, &**new, &Limits::default(), &mut |_| {}).await.map_err(anyhow::Error::from)
            })
            .await?;
            let unreadable = comparison.old.unreadable + comparison.new.unreadable;
            ensure!(unreadable == 0, "{unreadable} rows cannot be read");
            // Nobody was told their keys, so nobody carries them over: creates of unknown outcome, for one.
            let known = known_keys(&self.site);
            let differences = comparison.different.len();
            comparison.different.retain(|(key, _)| known.contains(key.expose()));
            let nameless = (differences - comparison.different.len()) as u64;
            let explained = self.site.nameless.load(Ordering::Relaxed) + self.switchover.counts().new_keys_left;
            ensure!(
                nameless <= explained,
                "{nameless} sessions are in one database alone, under keys that nobody was told"
            );
            let settled = comparison.differences() == 0 || self.site.meter.unknown_outcomes() == unknown;
            if settled || Instant::now() >= give_up {
                let (equal, differ) = (comparison.equal, comparison.differences());
                self.progress.event(&format!("{equal} rows are equal, {differ} differ"));
                return Ok((comparison, nameless));
            }
        }
    }

    pub(super) async fn swap(&mut self, policy: Policy) -> Result<()> {
        let began = Instant::now();
        let from = self.site.clock.now();
        let swap = async || drained(self.switchover.swap_policy(policy.clone()).await);
        let version = patiently("a swap failed", swap).await??;
        self.changed(Change::Policy, from);
        self.swaps += 1;
        self.progress.event(&format!("swapped to {version} in {:.0} ms", began.elapsed().as_secs_f64() * 1e3));
        Ok(())
    }

    pub(super) async fn roll_back(&mut self) -> Result<()> {
        let from = self.site.clock.now();
        let roll_back = async || drained(self.switchover.rollback_policy().await);
        let version = patiently("a rollback failed", roll_back).await??;
        self.changed(Change::Policy, from);
        self.swaps += 1;
        self.progress.event(&format!("rolled back to {version}"));
        Ok(())
    }

    /// A policy that cannot be used is refused, and the one that runs goes on.
    pub(super) async fn refuse(&mut self, bytes: Vec<u8>) -> Result<()> {
        let before = self.switchover.policy().version;
        let from = self.site.clock.now();
        let refused = self.switchover.swap_policy(Policy::bytes(bytes)).await;
        self.changed(Change::Policy, from);
        let Err(error) = refused else { bail!("a broken policy was taken into use") };
        ensure!(self.switchover.policy().version == before, "a broken policy displaced the one that ran");
        self.policies_refused += 1;
        self.progress.event(&format!("refused: {error}"));
        Ok(())
    }

    pub(super) async fn set_flag(&mut self, name: &str, on: bool) -> Result<()> {
        let from = self.site.clock.now();
        self.flags.set(name, if on { "true" } else { "false" });
        patiently("a change of flags failed", async || drained(self.switchover.apply_flags().await)).await??;
        self.changed(Change::Flags, from);
        self.flag_changes += 1;
        Ok(())
    }

    fn changed(&mut self, what: Change, from: Micros) {
        self.changes.push(Changed { what, from, to: self.site.clock.now() });
    }
}

/// Calls that did not end in time are waited for again; any other answer is one.
fn drained<T>(changed: Result<T, SwapError>) -> Result<Result<T>> {
    match changed {
        Err(error @ SwapError::NotDrained { .. }) => Err(error.into()),
        answer => Ok(answer.map_err(anyhow::Error::from)),
    }
}

/// The keys that somebody was told.
pub(super) fn known_keys(site: &Site) -> HashSet<String> {
    site.population.keys().iter().map(SessionKey::expose).map(str::to_owned).collect()
}
