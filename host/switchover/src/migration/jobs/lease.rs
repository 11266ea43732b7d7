//! The lease of a job: who does it, under which epoch, and how far it has come.

use std::time::{Duration, Instant};

use switchover_core::capabilities::{Epoch, Progress};

use super::{Jobs, TAKE_EACH, Turn};
use crate::migration::member::{LEASE, deadline};

/// How often progress is reported, and the lease renewed.
const REPORT_EACH: Duration = Duration::from_secs(2);

/// A job that this host does.
pub(super) struct Lease<'j> {
    jobs: &'j Jobs,
    job: &'static str,
    pub(super) epoch: Epoch,
    /// By the monotonic clock, counted from before the control tables were asked.
    held_until: Instant,
    reported_at: Instant,
    /// Rows that were done when it was reported last.
    #[cfg(feature = "metrics")]
    reported: u64,
}

impl<'j> Lease<'j> {
    /// Waits until a turn wants the job and nobody else does it, and takes it. Returns how far it has come under the
    /// turn's epoch, and what `wanted` has made of the turn. `None`: the host is closing.
    pub(super) async fn next<W>(
        jobs: &'j Jobs,
        job: &'static str,
        wanted: impl Fn(&Turn) -> Option<W>,
    ) -> Option<(Self, Progress, W)> {
        loop {
            let turn = jobs.turns.turn()?;
            let (epoch, version, work) = (turn.fence.epoch, turn.document.version, wanted(&turn));
            drop(turn);
            if let Some(work) = work
                && let Some((lease, progress)) = Self::take(jobs, job, epoch).await
            {
                return Some((lease, progress, work));
            }
            jobs.turns.changed(version, TAKE_EACH).await;
        }
    }

    /// Takes a job, if nobody else does it.
    async fn take(jobs: &'j Jobs, job: &'static str, epoch: Epoch) -> Option<(Self, Progress)> {
        let asked_at = Instant::now();
        let taken = jobs.control.take_job(job, jobs.member.clone(), epoch, LEASE, deadline()).await;
        let progress = taken.ok().flatten()?;
        let lease = Self {
            jobs,
            job,
            epoch,
            held_until: asked_at + LEASE,
            reported_at: asked_at,
            #[cfg(feature = "metrics")]
            reported: progress.done,
        };
        #[cfg(feature = "metrics")]
        crate::metrics::job_held(job, true);
        Some((lease, progress))
    }

    /// Reports progress, if the last report is old enough. Returns whether this host still does the job.
    pub(super) async fn keep(&mut self, progress: &Progress) -> bool {
        if self.reported_at.elapsed() < REPORT_EACH {
            return self.is_held();
        }
        self.publish(progress);
        let asked_at = Instant::now();
        let (jobs, job, epoch) = (self.jobs, self.job, self.epoch);
        match jobs.control.keep_job(job, jobs.member.clone(), epoch, LEASE, progress.clone(), deadline()).await {
            Ok(true) => (self.held_until, self.reported_at) = (asked_at + LEASE, asked_at),
            Ok(false) => return false,
            // The lease of before goes on until it has run out.
            Err(_) => self.reported_at = asked_at,
        }
        self.is_held()
    }

    /// Gives the job back, with its last progress.
    pub(super) async fn leave(mut self, progress: Progress) {
        self.publish(&progress);
        let (control, member) = (&self.jobs.control, self.jobs.member.clone());
        let _lease_runs_out = control.leave_job(self.job, member, self.epoch, progress, deadline()).await;
    }

    fn is_held(&self) -> bool {
        Instant::now() < self.held_until
    }

    #[cfg(feature = "metrics")]
    fn publish(&mut self, progress: &Progress) {
        crate::metrics::job_rows(self.job, progress.done.saturating_sub(self.reported));
        self.reported = progress.done;
    }

    #[cfg(not(feature = "metrics"))]
    fn publish(&mut self, _: &Progress) {}
}

#[cfg(feature = "metrics")]
impl Drop for Lease<'_> {
    fn drop(&mut self) {
        crate::metrics::job_held(self.job, false);
    }
}
