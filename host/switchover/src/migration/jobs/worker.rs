//! The worker copies what is marked, the oldest first.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use switchover_core::SessionKey;
use switchover_core::capabilities::{DatabaseError, Fence, Mark, Progress, Read, Side, Terms};

use super::lease::Lease;
use super::throttle::Throttle;
use super::{Jobs, LOOK_EACH};
use crate::migration::copy::{NoAnswer, copy};
use crate::migration::document::source_of;

const JOB: &str = "worker";
/// Marks that are asked for at a time.
const MARKS: u32 = 100;
/// It works for one part in so many of the time, so that it costs callers less. A key that is saved again meanwhile is
/// copied once.
const SHARE: u32 = 2;
/// How many times smaller the next batch is after one that took too long.
const SMALLER: u32 = 4;
/// How often the worker looks while there are marks.
const BUSY_EACH: Duration = Duration::from_millis(50);
/// The pause after the first failure of a key; each one is twice as long as the one before.
const FAILED_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const FAILED_PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long a database has to answer a question without a lock.
const PROBE: Duration = Duration::from_millis(500);

/// Keys that could not be copied, with their next turn.
type Failed = HashMap<SessionKey, (Instant, Duration)>;

/// Runs until the host closes.
pub(super) async fn run(jobs: Jobs) {
    while let Some((lease, progress, _)) = Lease::next(&jobs, JOB, |turn| turn.phase.source()).await {
        work(&jobs, lease, progress).await;
    }
}

/// Works under one epoch.
async fn work(jobs: &Jobs, mut lease: Lease<'_>, mut progress: Progress) {
    let (mut failed, mut throttle, mut batch) = (Failed::new(), Throttle::resting(SHARE), MARKS);
    loop {
        throttle.look(jobs).await;
        let began = Instant::now();
        let Some(turn) = jobs.turns.turn() else { break };
        if turn.fence.epoch != lease.epoch {
            break;
        }
        let Some(source) = source_of(turn.phase) else { break };
        let document = turn.document.clone();
        if let Some(why) = throttle.held(&document) {
            drop(turn);
            progress.note = why;
            throttle.rest().await;
        } else {
            let asked = batch.min(throttle.stride(&document).rows);
            let looked = look(jobs, &turn.fence, source, asked, &mut failed).await;
            drop(turn);
            match looked {
                Ok((found, copied)) => {
                    progress.done += copied;
                    progress.note = note(&failed);
                    throttle.after(copied, began.elapsed(), &document).await;
                    let was_full = found == asked;
                    batch = (batch * 2).min(MARKS);
                    // More marks than were asked for: go on at once.
                    if !was_full {
                        let pause = if found > 0 { BUSY_EACH } else { BUSY_EACH * 4 };
                        jobs.turns.changed(document.version, pause).await;
                    }
                }
                Err(NoAnswer { side, error }) => {
                    if matches!(error, DatabaseError::Timeout | DatabaseError::UnknownOutcome { .. }) {
                        // Perhaps it was too much at a time.
                        batch = (batch / SMALLER).max(1);
                    }
                    progress.note = format!("waits: {}: {error}", jobs.pair.database(side).summary());
                    if !lease.keep(&progress).await || !answers_again(jobs, &mut lease, side, &progress).await {
                        return;
                    }
                }
            }
        }
        if !lease.keep(&progress).await {
            return;
        }
    }
    lease.leave(progress).await;
}

/// Copies what is marked now. Returns how many marks there were, and how many were copied.
async fn look(
    jobs: &Jobs,
    fence: &Fence,
    source: Side,
    batch: u32,
    failed: &mut Failed,
) -> Result<(u32, u64), NoAnswer> {
    let side_tables = jobs.pair.side_tables(source)?;
    // Keys that wait for their next turn stand before others that have never failed.
    let limit = batch.saturating_add(u32::try_from(failed.len()).unwrap_or(u32::MAX));
    let marks = side_tables.marks(fence.clone(), limit, Instant::now() + jobs.patience).await;
    let marks: Vec<Mark> = marks.map_err(|error| NoAnswer { side: source, error })?;
    failed.retain(|key, _| marks.iter().any(|mark| mark.key == *key));
    let now = Instant::now();
    let due: Vec<SessionKey> = marks
        .into_iter()
        .map(|mark| mark.key)
        .filter(|key| failed.get(key).is_none_or(|(at, _)| *at <= now))
        .take(batch as usize)
        .collect();
    if due.is_empty() {
        return Ok((0, 0));
    }
    let copied = copy(&jobs.pair, &due, fence, source, jobs.patience).await?;
    for key in &due {
        if !copied.failed.iter().any(|(other, _)| other == key) {
            failed.remove(key);
        }
    }
    for (key, why) in copied.failed {
        let pause = failed.get(&key).map_or(FAILED_PAUSE, |(_, pause)| (*pause * 2).min(FAILED_PAUSE_MAX));
        tracing::debug!(key = %key.short_hash(), "a marked session was not copied: {why}");
        failed.insert(key, (now + pause, pause));
    }
    Ok((u32::try_from(due.len()).unwrap_or(batch), copied.done))
}

/// Asks a database that did not answer once a second, without any lock. Returns `false` if the job is no longer this
/// host's.
async fn answers_again(jobs: &Jobs, lease: &mut Lease<'_>, side: Side, progress: &Progress) -> bool {
    loop {
        tokio::time::sleep(LOOK_EACH).await;
        if !lease.keep(progress).await || jobs.turns.turn().is_none_or(|turn| turn.fence.epoch != lease.epoch) {
            return false;
        }
        let ask = vec![Read::Exists(SessionKey::random())];
        if jobs.pair.database(side).read(ask, Terms::by(Instant::now() + PROBE)).await.is_ok() {
            return true;
        }
    }
}

fn note(failed: &Failed) -> String {
    if failed.is_empty() { String::new() } else { format!("{} keys could not be copied yet", failed.len()) }
}
