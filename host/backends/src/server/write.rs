//! Writing lanes: each sends all queued writes in one transaction, and writes that cannot be done together one by one.

use std::sync::Arc;
use std::time::Duration;

use switchover_core::capabilities::{DatabaseError, Write, WriteOutcome};

use super::lane::{Lane, Trouble, busy_until};
use super::link::{Driver, Link as _};
use super::write_queue::{UnderWay, WriteJob, WriteQueue};

/// With less time left than this, a busy write is not tried again: the answer would come after the deadline, and the
/// outcome would be unknown.
const ATTEMPT_TIME_MIN: Duration = Duration::from_millis(150);

/// Runs until the queue is closed and empty.
pub(super) async fn run<D: Driver>(mut lane: Lane<D>, queue: Arc<WriteQueue>) {
    while let Some(jobs) = lane.next(&*queue).await {
        let mut group = UnderWay::of(&queue, &jobs);
        group.again = write_group(&mut lane, jobs).await;
    }
    lane.close().await;
}

/// Writes a group and answers it. Returns the jobs that are to be tried again. If the server refuses because of one
/// row, the group is halved and written again, until that row is alone and the others are done.
async fn write_group<D: Driver>(lane: &mut Lane<D>, jobs: Vec<WriteJob>) -> Vec<WriteJob> {
    let (mut parts, mut again) = (vec![jobs], Vec::new());
    while let Some(jobs) = parts.pop() {
        let mut jobs: Vec<_> = jobs.into_iter().filter_map(WriteJob::begin).collect();
        match write_part(lane, &jobs).await {
            Ok(outcomes) => answer(jobs, outcomes),
            Err(Trouble::Row(_)) if jobs.len() > 1 => {
                jobs.iter().for_each(|job| job.request.was_undone());
                let second = jobs.split_off(jobs.len() / 2);
                parts.extend([second, jobs]);
            }
            // All of them have the same fence.
            Err(Trouble::Refused(error @ DatabaseError::Fenced)) => answer_all(jobs, &error),
            Err(Trouble::Busy(_) | Trouble::Refused(_)) if jobs.len() > 1 => {
                again.extend(jobs.into_iter().map(|job| job.again(None)));
            }
            Err(Trouble::Busy(message)) => {
                let not_before = busy_until();
                let in_time = |job: &WriteJob| not_before + ATTEMPT_TIME_MIN < job.request.deadline();
                let (in_time, late): (Vec<_>, Vec<_>) = jobs.into_iter().partition(in_time);
                answer_all(late, &DatabaseError::Conflict { message });
                again.extend(in_time.into_iter().map(|job| job.again(Some(not_before))));
            }
            Err(trouble @ (Trouble::Row(_) | Trouble::Refused(_) | Trouble::Failed(_))) => {
                answer_all(jobs, &trouble.into());
            }
        }
    }
    again
}

async fn write_part<D: Driver>(lane: &mut Lane<D>, jobs: &[WriteJob]) -> Result<Vec<WriteOutcome>, Trouble> {
    let deadlines = || jobs.iter().map(|job| job.request.deadline());
    // Callers with an earlier deadline have their own timer.
    let (Some(first), Some(last)) = (deadlines().min(), deadlines().max()) else { return Ok(Vec::new()) };
    let Some(manner) = jobs.first().map(|job| job.manner.clone()) else { return Ok(Vec::new()) };
    let again = jobs.iter().any(|job| job.alone);
    let batch: Arc<[Write]> = jobs.iter().flat_map(|job| job.batch.iter().cloned()).collect();
    let written = lane.run(last, |link| {
        let (batch, manner) = (Arc::clone(&batch), manner.clone());
        Box::pin(async move { link.write(&batch, &manner, again, [first, last]).await })
    });
    written.await
}

fn answer(jobs: Vec<WriteJob>, outcomes: Vec<WriteOutcome>) {
    let mut outcomes = outcomes.into_iter();
    for job in jobs {
        let mine: Vec<_> = outcomes.by_ref().take(job.batch.len()).collect();
        let all = mine.len() == job.batch.len();
        let lost =
            || DatabaseError::UnknownOutcome { message: "the server answered fewer writes than it got".to_owned() };
        job.request.answer(if all { Ok(mine) } else { Err(lost()) });
    }
}

fn answer_all(jobs: Vec<WriteJob>, error: &DatabaseError) {
    for job in jobs {
        job.request.answer(Err(error.clone()));
    }
}
