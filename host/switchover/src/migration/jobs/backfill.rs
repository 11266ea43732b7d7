//! The backfill walks over old's keys in their order, in `mirror`, and copies each.

use std::pin::pin;
use std::time::Instant;

use futures_util::StreamExt as _;

use switchover_core::SessionKey;
use switchover_core::capabilities::{Document, Epoch, Fence, Progress, Side};
use switchover_protocol::Phase;

use super::lease::Lease;
use super::pages::{AT_ONCE, pages};
use super::throttle::{Stride, Throttle};
use super::{Jobs, LOOK_EACH, Turn};
use crate::migration::copy::{NoAnswer, copy};
use crate::migration::member::deadline;
use crate::migration::tool_patience;

const JOB: &str = "backfill";
/// How often keys that could not be copied are tried again before the walk ends without them.
const AGAIN_MAX: u32 = 3;

/// Runs until the host closes.
pub(super) async fn run(jobs: Jobs) {
    let wanted = |turn: &Turn| {
        let Turn { phase, document, fence, .. } = turn;
        (*phase == Phase::Mirror && document.backfilled.is_none() && document.epoch == fence.epoch).then_some(())
    };
    while let Some((lease, progress, ())) = Lease::next(&jobs, JOB, wanted).await {
        walk(&jobs, lease, progress).await;
        // The document that says that it has reached the end was not read yet.
        tokio::time::sleep(LOOK_EACH).await;
    }
}

/// Goes on where the last holder has stopped.
async fn walk(jobs: &Jobs, mut lease: Lease<'_>, mut progress: Progress) {
    let mut throttle = Throttle::new();
    let mut left: Vec<SessionKey> = Vec::new();
    if progress.total.is_none() {
        let counted = jobs.pair.old.upkeep().statistics(Instant::now() + tool_patience(jobs.patience)).await;
        progress.total = counted.ok().map(|counted| counted.rows.saturating_sub(counted.expired_rows));
    }
    let mut is_at_end = false;
    while !is_at_end {
        throttle.look(jobs).await;
        let began = Instant::now();
        let Some(turn) = jobs.turns.turn().filter(|turn| turn.fence.epoch == lease.epoch) else {
            return lease.leave(progress).await;
        };
        let document = turn.document.clone();
        if let Some(why) = throttle.held(&document) {
            drop(turn);
            progress.note = why;
            throttle.rest().await;
        } else {
            let stride = throttle.stride(&document);
            let done = copy_pages(jobs, &turn.fence, stride, &mut progress, &mut left).await;
            drop(turn);
            match done {
                Ok((rows, there_are_more)) => {
                    is_at_end = !there_are_more;
                    progress.note = note(&left);
                    throttle.after(rows, began.elapsed(), &document).await;
                }
                Err(NoAnswer { side, error }) => {
                    throttle.failed(&error);
                    progress.note = format!("waits: {}: {error}", jobs.pair.database(side).summary());
                    tokio::time::sleep(LOOK_EACH).await;
                }
            }
        }
        if !lease.keep(&progress).await {
            return;
        }
    }
    for _ in 0..AGAIN_MAX {
        if left.is_empty() {
            break;
        }
        let Some(turn) = jobs.turns.turn().filter(|turn| turn.fence.epoch == lease.epoch) else { break };
        let Ok(copied) = copy(&jobs.pair, &left, &turn.fence, Side::Old, jobs.patience).await else { break };
        drop(turn);
        progress.done += copied.done;
        left = copied.failed.into_iter().map(|(key, _)| key).collect();
        tokio::time::sleep(LOOK_EACH).await;
    }
    // What is left is found by the verification, which names it.
    progress.note = note(&left);
    if reached_the_end(jobs, lease.epoch).await {
        tracing::info!(rows = progress.done, "the backfill has reached the last key");
    }
    lease.leave(progress).await;
}

/// Copies the next pages. Returns their rows, and whether there are more.
async fn copy_pages(
    jobs: &Jobs,
    fence: &Fence,
    stride: Stride,
    progress: &mut Progress,
    left: &mut Vec<SessionKey>,
) -> Result<(u64, bool), NoAnswer> {
    let scans = pages(jobs, Side::Old, progress.position.clone(), stride.rows).take(stride.pages);
    let copies = scans.map(|scanned| async move {
        let scanned = scanned?;
        let keys: Vec<SessionKey> = scanned.sessions.into_iter().map(|session| session.key).collect();
        let copied = copy(&jobs.pair, &keys, fence, Side::Old, jobs.patience).await?;
        Ok((keys.len(), copied, scanned.next))
    });
    let (mut copies, mut rows, mut there_are_more) = (pin!(copies.buffered(AT_ONCE)), 0, true);
    while let Some(page) = copies.next().await {
        let (count, copied, next) = page?;
        rows += count as u64;
        left.extend(copied.failed.into_iter().map(|(key, _)| key));
        progress.done += copied.done;
        there_are_more = next.is_some();
        if there_are_more {
            progress.position = next;
        }
    }
    Ok((rows, there_are_more))
}

fn note(left: &[SessionKey]) -> String {
    if left.is_empty() { String::new() } else { format!("{} keys are left for another pass", left.len()) }
}

/// Says in the document that the last key was reached, if its epoch is still this one.
async fn reached_the_end(jobs: &Jobs, epoch: Epoch) -> bool {
    loop {
        let document = jobs.control.document(jobs.member.migration.clone(), deadline()).await;
        let Ok(Some(document)) = document else { return false };
        if document.epoch != epoch {
            return false;
        }
        match jobs.control.replace(Document { backfilled: Some(epoch), ..document }, None, deadline()).await {
            Ok(true) => return true,
            Ok(false) => {}
            Err(_) => return false,
        }
    }
}
