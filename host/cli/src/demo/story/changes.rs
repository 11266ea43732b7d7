//! What the operator of the story does: swaps, flags, and the comparison. Each step waits while a server is away.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use switchover::migration::compare;
use switchover::{Limits, Policy, SessionKey, SwapError};
use switchover_workload::history::Micros;
use switchover_workload::patience::{PATIENCE, patiently};
use switchover_workload::traffic::Site;

use super::{Compared, Host, Story};
use crate::demo::latency::{Change, Changed};

impl Story<'_> {
    /// Compares both databases. Unknown outcomes are settled first, as far as the databases answer. If more of them
    /// come during a comparison that finds a difference, the comparison is repeated.
    pub(super) async fn compare(&mut self) -> Result<Compared> {
        let (old, new) = (&self.stage.old.database, &self.stage.new.database);
        let give_up = Instant::now() + PATIENCE;
        loop {
            let unknown = self.site.meter.unknown_outcomes();
            let mut comparison = patiently("the databases cannot be compared", async || {
                let pending = self.hosts.iter().any(|host| host.switchover.repairs_pending() > 0);
                ensure!(!pending, "unknown outcomes are not settled yet");
                compare(&**old, &**new, &Limits::default(), &mut |_| {}).await.map_err(anyhow::Error::from)
            })
            .await?;
            let unreadable = comparison.old.unreadable + comparison.new.unreadable;
            ensure!(unreadable == 0, "{unreadable} rows cannot be read");
            // No caller received these keys, so nobody carries the sessions over. Creates of unknown outcome leave such
            // keys.
            let known = known_keys(&self.site);
            let differences = comparison.different.len();
            comparison.different.retain(|(key, _)| known.contains(key.expose()));
            let nameless = (differences - comparison.different.len()) as u64;
            let left: u64 = self.hosts.iter().map(|host| host.switchover.counts().new_keys_left).sum();
            let explained = self.site.nameless.load(Ordering::Relaxed) + left;
            ensure!(
                nameless <= explained,
                "{nameless} sessions are only in one database, under keys that no caller received"
            );
            let settled = comparison.differences() == 0 || self.site.meter.unknown_outcomes() == unknown;
            if settled || Instant::now() >= give_up {
                let (equal, differ) = (comparison.equal, comparison.differences());
                self.steps.progress.event(&format!("{equal} rows are equal, {differ} differ"));
                return Ok((comparison, nameless));
            }
        }
    }

    /// Swaps the policy of each host, one after the other.
    pub(super) async fn swap(&mut self, policy: Policy) -> Result<()> {
        for at in 0..self.hosts.len() {
            let began = Instant::now();
            let from = self.site.clock.now();
            let host = &self.hosts[at].switchover;
            let swap = async || drained(host.swap_policy(policy.clone()).await);
            let version = patiently("a swap failed", swap).await??;
            self.changed(Change::Policy, from);
            self.swaps += 1;
            self.steps
                .progress
                .event(&format!("swapped to {version} in {:.0} ms", began.elapsed().as_secs_f64() * 1e3));
        }
        Ok(())
    }

    pub(super) async fn roll_back(&mut self) -> Result<()> {
        for at in 0..self.hosts.len() {
            let from = self.site.clock.now();
            let host = &self.hosts[at].switchover;
            let roll_back = async || drained(host.rollback_policy().await);
            let version = patiently("a rollback failed", roll_back).await??;
            self.changed(Change::Policy, from);
            self.swaps += 1;
            self.steps.progress.event(&format!("rolled back to {version}"));
        }
        Ok(())
    }

    /// Tries to swap in an unusable policy. It must be refused, and the running one must stay.
    pub(super) async fn refuse(&mut self, bytes: Vec<u8>) -> Result<()> {
        let host = &self.hosts[0].switchover;
        let before = host.policy().version;
        let from = self.site.clock.now();
        let refused = host.swap_policy(Policy::bytes(bytes)).await;
        self.changed(Change::Policy, from);
        let Err(error) = refused else { bail!("a broken policy was put into use") };
        ensure!(self.hosts[0].switchover.policy().version == before, "a broken policy replaced the running one");
        self.policies_refused += 1;
        self.steps.progress.event(&format!("refused: {error}"));
        Ok(())
    }

    /// Sets a flag at each host. Nothing orders the hosts of 2016: each sees a change a little later than the last one.
    pub(super) async fn set_flag(&mut self, name: &str, on: bool) -> Result<()> {
        for at in 0..self.hosts.len() {
            if at > 0 {
                tokio::time::sleep(self.skew).await;
            }
            let from = self.site.clock.now();
            let Host { switchover, flags } = &self.hosts[at];
            flags.set(name, if on { "true" } else { "false" });
            patiently("a change of flags failed", async || drained(switchover.apply_flags().await)).await??;
            self.changed(Change::Flags, from);
            if at > 0 {
                self.steps.progress.event(&format!(
                    "host {} sees it {} ms after host {at}",
                    at + 1,
                    self.skew.as_millis()
                ));
            }
        }
        self.flag_changes += 1;
        Ok(())
    }

    fn changed(&mut self, what: Change, from: Micros) {
        self.changes.push(Changed { what, from, to: self.site.clock.now() });
    }
}

/// Turns "calls did not end in time" into an error that is tried again. Any other answer is final.
fn drained<T>(changed: Result<T, SwapError>) -> Result<Result<T>> {
    match changed {
        Err(error @ SwapError::NotDrained { .. }) => Err(error.into()),
        answer => Ok(answer.map_err(anyhow::Error::from)),
    }
}

/// The keys that a caller received.
pub(crate) fn known_keys(site: &Site) -> HashSet<String> {
    site.population.keys().iter().map(SessionKey::expose).map(str::to_owned).collect()
}
