//! Work in batches, with a pause between two batches. An interruption ends the work between two batches.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use switchover::capabilities::Database;
use switchover::migration::tool_deadline;
use switchover::{Limits, Timestamp};

/// How soon an interruption is noticed within a pause.
const LOOK: Duration = Duration::from_millis(50);
/// How long a count of expired rows may take.
pub(crate) const COUNT_WAIT: Duration = Duration::from_secs(600);

/// The size of a batch, and the pause after it.
#[derive(Args, Clone, Copy)]
pub(crate) struct Batches {
    /// Rows that one transaction deletes
    #[arg(
        long = "batch",
        value_name = "N",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub(crate) rows: u32,
    /// Milliseconds between two batches, so that others can write
    #[arg(long, value_name = "MS", default_value_t = 50, value_parser = clap::value_parser!(u64).range(..=60_000))]
    pause: u64,
}

/// Whether the operator has asked to stop.
#[derive(Clone)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From here on the first SIGINT or SIGTERM asks to stop; the second ends the program at once.
    pub(crate) fn on_signal(status: u8) -> io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the first signal finds the flag down, the second finds it up.
            flag::register_conditional_shutdown(signal, status.into(), Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
        }
        Ok(Self(asked))
    }

    /// A stop that nobody asks for.
    #[cfg(test)]
    pub(crate) fn never() -> Self {
        Self(Arc::default())
    }

    /// Whether a stop was asked for.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits for the pause after a batch. `true`: continue.
    pub(crate) async fn pause(&self, batches: Batches) -> bool {
        let until = Instant::now() + Duration::from_millis(batches.pause);
        while !self.is_asked() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            tokio::time::sleep(left.min(LOOK)).await;
        }
        false
    }
}

/// Expired rows that a sweep could not delete because the database refuses it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) rows: u64,
    /// Why it refused the last of them.
    pub(crate) reason: Option<String>,
}

/// Deletes rows that ended before an instant, or before the time of each batch. Reports each batch to `deleted`. Ends
/// when it has tried `expected` rows, so that rows which a trigger writes again do not keep it for ever; when none is
/// left; or when a stop is asked for.
pub(crate) async fn delete_expired(
    database: &dyn Database,
    (before, expected): (Option<Timestamp>, u64),
    batches: Batches,
    limits: &Limits,
    stop: &Stop,
    deleted: &mut (dyn FnMut(u64) + Send),
) -> Result<Refused> {
    let (mut tried, mut passed, mut refused) = (0, 0, Refused::default());
    while tried < expected && !stop.is_asked() {
        let deadline = tool_deadline(limits.write_deadline);
        let swept = database.upkeep().sweep(before, passed, batches.rows, deadline).await;
        let swept = swept.with_context(|| database.summary())?;
        deleted(u64::from(swept.deleted));
        passed += swept.passed();
        tried += u64::from(swept.deleted) + swept.passed();
        refused.rows += u64::from(swept.refused);
        refused.reason = swept.reason.or(refused.reason);
        if !swept.more || !stop.pause(batches).await {
            break;
        }
    }
    Ok(refused)
}

#[cfg(test)]
impl Batches {
    /// Without a pause.
    pub(crate) fn of(rows: u32) -> Self {
        Self { rows, pause: 0 }
    }
}
