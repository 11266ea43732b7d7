//! What keeps a job from going as fast as it could.

use std::time::{Duration, Instant};

use switchover_core::capabilities::Document;

/// How long a held job waits before it looks again.
const HELD_PAUSE: Duration = Duration::from_millis(500);

/// Slows a job down, and says why.
pub(crate) struct Throttle {
    /// When the rows that were done so far would be done at the rate.
    due: Instant,
    /// Of a job that goes on beside others: it takes this many times as long.
    share: u32,
}

impl Throttle {
    /// Of a job that may use all of the rate.
    pub(crate) fn new() -> Self {
        Self::slowed(1)
    }

    /// Of a job that uses one part in so many of the rate, and of the time.
    pub(crate) fn slowed(share: u32) -> Self {
        Self { due: Instant::now(), share }
    }

    /// Why nothing may be done now; `None`: go on.
    pub(crate) fn held(&self, document: &Document) -> Option<String> {
        document.held.as_ref().map(|why| format!("held by the operator: {why}"))
    }

    /// Waits as long as a held job does.
    pub(crate) async fn rest(&self) {
        tokio::time::sleep(HELD_PAUSE).await;
    }

    /// Waits after so many rows, which took this long.
    pub(crate) async fn after(&mut self, rows: u64, took: Duration, document: &Document) {
        let now = Instant::now();
        let share = took.saturating_mul(self.share - 1);
        let by_rate = document
            .rate
            .filter(|rate| *rate > 0)
            .map_or(Duration::ZERO, |rate| Duration::from_secs_f64(rows as f64 * f64::from(self.share) / rate as f64));
        // A pause that was not used is no credit for later.
        self.due = self.due.max(now - took) + by_rate;
        tokio::time::sleep_until(self.due.max(now + share).into()).await;
    }
}
