//! What keeps a job from going as fast as it could.

use std::time::{Duration, Instant};

use switchover_core::capabilities::{DatabaseError, Document};

use super::Jobs;

/// How long a held job waits before it looks again.
const HELD_PAUSE: Duration = Duration::from_millis(500);
/// How often it looks at the host and the databases.
const LOOK_EACH: Duration = Duration::from_secs(1);
/// The longest pause after a stride: the job's lease is renewed between two.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Rows of a page, which is one batch: its keys are locked together.
const PAGE: u32 = 500;
/// Pages of a stride.
const PAGES: usize = 8;
/// How many times smaller the next pages are after one that took too long.
const SMALLER: u32 = 4;

/// What a job does before it looks again whether it may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stride {
    /// Rows of each page.
    pub(crate) rows: u32,
    /// How many pages.
    pub(crate) pages: usize,
}

/// Slows a job down, and says why.
pub(crate) struct Throttle {
    /// When the rows that were done so far would be done at the rate.
    due: Instant,
    /// It uses one part in so many of the time.
    of_time: u32,
    /// It uses one part in so many of the rate.
    of_rate: u32,
    /// Rows of the next page, if no rate says fewer.
    rows: u32,
    /// What was found when it last looked at the host and the databases.
    looked: Option<(Instant, Option<String>)>,
}

impl Throttle {
    /// Of a job that may use all of the time and of the rate.
    pub(crate) fn new() -> Self {
        Self { due: Instant::now(), of_time: 1, of_rate: 1, rows: PAGE, looked: None }
    }

    /// Of a job that uses one part in so many of the time.
    pub(crate) fn resting(of_time: u32) -> Self {
        Self { of_time, ..Self::new() }
    }

    /// Of a job that uses one part in so many of the time, and of the rate.
    pub(crate) fn slowed(share: u32) -> Self {
        Self { of_time: share, of_rate: share, ..Self::new() }
    }

    /// Looks whether the host or one of the databases wants the job to rest, once a second. Without a turn: a database
    /// may take long to answer.
    pub(crate) async fn look(&mut self, jobs: &Jobs) {
        if self.looked.as_ref().is_none_or(|(at, _)| at.elapsed() >= LOOK_EACH) {
            let found = jobs.brakes.found(&jobs.pair).await;
            self.looked = Some((Instant::now(), found));
        }
    }

    /// Why nothing may be done now; `None`: go on.
    pub(crate) fn held(&self, document: &Document) -> Option<String> {
        let held = document.held.as_ref().map(|why| format!("held by the operator: {why}"));
        held.or_else(|| self.looked.as_ref()?.1.as_ref().map(|why| format!("rests: {why}")))
    }

    /// The next stride. One at a rate takes a second at most.
    pub(crate) fn stride(&self, document: &Document) -> Stride {
        match document.rate {
            None => Stride { rows: self.rows, pages: if self.rows == PAGE { PAGES } else { 1 } },
            Some(rate) => {
                let rows = (rate / u64::from(self.of_rate)).clamp(1, u64::from(self.rows));
                Stride { rows: u32::try_from(rows).unwrap_or(PAGE), pages: 1 }
            }
        }
    }

    /// A database did not answer: perhaps it was too much at a time.
    pub(crate) fn failed(&mut self, error: &DatabaseError) {
        if matches!(error, DatabaseError::Timeout | DatabaseError::UnknownOutcome { .. }) {
            self.rows = (self.rows / SMALLER).max(1);
        }
    }

    /// Waits as long as a held job does.
    pub(crate) async fn rest(&self) {
        tokio::time::sleep(HELD_PAUSE).await;
    }

    /// Waits after so many rows, which took this long.
    pub(crate) async fn after(&mut self, rows: u64, took: Duration, document: &Document) {
        self.rows = (self.rows * 2).min(PAGE);
        let now = Instant::now();
        let rest = took.saturating_mul(self.of_time - 1);
        let by_rate = document.rate.filter(|rate| *rate > 0).map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64(rows as f64 * f64::from(self.of_rate) / rate as f64)
        });
        // A pause that was not used is no credit for later.
        self.due = self.due.max(now - took) + by_rate;
        tokio::time::sleep_until(self.due.max(now + rest).min(now + PAUSE_MAX).into()).await;
    }
}
