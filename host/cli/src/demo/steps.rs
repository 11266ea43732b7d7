//! The steps of a story, and what the site did in each.

use std::time::{Duration, Instant};

use switchover_workload::meter::Meter;

use crate::demo::progress::Progress;
use crate::demo::told::StepReport;

/// The steps so far.
pub(crate) struct Steps {
    pub(crate) progress: Progress,
    pub(crate) reports: Vec<StepReport>,
    /// What the whole story shall take.
    seconds: f64,
    began: Instant,
    calls: u64,
    failed: u64,
    unknown: u64,
}

impl Steps {
    /// No step yet.
    pub(crate) fn new(progress: Progress, seconds: f64) -> Self {
        Self { progress, reports: Vec::new(), seconds, began: Instant::now(), calls: 0, failed: 0, unknown: 0 }
    }

    /// Lets the site go on for this share of the story.
    pub(crate) async fn pause(&self, share: f64) {
        tokio::time::sleep(Duration::from_secs_f64(self.seconds * share)).await;
    }

    /// A step begins.
    pub(crate) fn step(&mut self, title: &str, meter: &Meter) {
        self.progress.step(title);
        self.begin(meter);
    }

    /// As [`Steps::step`], of a step that was announced already.
    pub(crate) fn begin(&mut self, meter: &Meter) {
        self.began = Instant::now();
        (self.calls, self.failed, self.unknown) = (meter.calls(), meter.failures(), meter.unknown_outcomes());
    }

    /// The step ends.
    pub(crate) fn end(&mut self, title: &'static str, policy: String, routed_to: String, meter: &Meter) {
        self.reports.push(StepReport {
            title,
            policy,
            routed_to,
            seconds: self.began.elapsed().as_secs_f64(),
            calls: meter.calls() - self.calls,
            failed: meter.failures() - self.failed,
            unknown: meter.unknown_outcomes() - self.unknown,
        });
    }
}
