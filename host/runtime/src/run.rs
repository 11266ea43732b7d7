//! A policy that is linked: one question put to it, bounded in time, and its answer judged.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::task::unconstrained;
use tokio::time::{Instant, sleep_until};

use crate::call::{Admission, CallContext, Environment, Freshness, PolicyScope, Question, Refused, judge};
use crate::call::{Failure, Runner};
use crate::error::PolicyFault;

/// Code with the settings and grants that its calls share. It need not have a name yet.
pub(crate) struct Linked {
    pub(crate) scope: Arc<PolicyScope>,
    pub(crate) runner: Arc<dyn Runner>,
}

impl Linked {
    /// A call of it, to which nothing has happened yet.
    pub(crate) fn call<Q: Question>(
        &self,
        question: &Q,
        environment: &Arc<Environment>,
        admission: Admission,
        freshness: Freshness,
    ) -> CallContext {
        CallContext::new(question.asked(), Arc::clone(&self.scope), Arc::clone(environment), admission, freshness)
    }

    /// Puts a question, which ends by `deadline`, and judges the answer.
    pub(crate) async fn ask<Q: Question>(
        &self,
        question: &Q,
        call: &Arc<CallContext>,
        deadline: Instant,
    ) -> Result<Q::Answer, Refused> {
        let answered = until(deadline, question.ask(&*self.runner, call)).await;
        judge(question, call, answered.unwrap_or(Err(Failure::Fault(PolicyFault::WallTime))))
    }
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
