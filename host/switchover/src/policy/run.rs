//! One call of a version: made, bounded in time, judged and counted.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use tokio::task::unconstrained;
use tokio::time::{Instant, sleep_until};

use super::judge::judge;
use super::runner::{Answer, Call, Failure};
use super::version::Version;
use crate::error::{Error, PolicyFault};
use crate::imports::CallContext;

/// Makes one call, which ends by `deadline`, and judges the answer.
pub(crate) async fn run(
    version: &Version,
    call: Call,
    context: Arc<CallContext>,
    deadline: Instant,
) -> Result<Answer, Error> {
    let may_write = call.may_write();
    let answered = until(deadline, version.runner.call(call, Arc::clone(&context))).await;
    let answered = answered.unwrap_or(Err(Failure::Fault(PolicyFault::WallTime)));
    let trapped = matches!(
        &answered,
        Err(Failure::Fault(PolicyFault::Trap { .. } | PolicyFault::CpuTime | PolicyFault::HostCalls))
    );
    let (answer, fault) = judge(may_write, &context, answered, &version.id);
    if trapped {
        version.traps.fetch_add(1, Ordering::Relaxed);
    }
    if fault {
        version.faults.fetch_add(1, Ordering::Relaxed);
    }
    answer
}

/// What `work` gives, or nothing if it takes longer. Work that never waits arms no timer.
async fn until<T>(deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut timer) = (pin!(work), pin!(None));
    poll_fn(|task| {
        if let Poll::Ready(done) = work.as_mut().poll(task) {
            return Poll::Ready(Some(done));
        }
        if timer.is_none() {
            // However much of the task's budget the work takes, its end is seen.
            timer.set(Some(unconstrained(sleep_until(deadline))));
        }
        match timer.as_mut().as_pin_mut() {
            Some(timer) => timer.poll(task).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}
