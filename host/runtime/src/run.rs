//! A linked policy: puts one question to it, with a deadline, and judges the answer.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::task::unconstrained;
use tokio::time::{Instant, sleep_until};

use crate::call::{Admission, CallContext, Environment, Freshness, PolicyScope, Question, Refused, judge};
use crate::call::{Failure, Runner};
use crate::error::PolicyFault;

/// A policy's code, with the settings and grants that its calls share. The policy's name may not be known yet.
pub(crate) struct Linked {
    pub(crate) scope: Arc<PolicyScope>,
    pub(crate) runner: Arc<dyn Runner>,
}

impl Linked {
    /// A new call of this policy.
    pub(crate) fn call<Q: Question>(
        &self,
        question: &Q,
        environment: &Arc<Environment>,
        admission: Admission,
        freshness: Freshness,
    ) -> CallContext {
        CallContext::new(question.asked(), Arc::clone(&self.scope), Arc::clone(environment), admission, freshness)
    }

    /// Puts a question to the policy, waits for the answer until `deadline`, and judges it.
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

/// The result of `work`, or `None` if it takes longer than `deadline`. Work that never waits starts no timer.
async fn until<T>(deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut timer) = (pin!(work), pin!(None));
    poll_fn(|task| {
        if let Poll::Ready(done) = work.as_mut().poll(task) {
            return Poll::Ready(Some(done));
        }
        if timer.is_none() {
            // Unconstrained, so that the deadline is noticed even if the work uses up the task's budget.
            timer.set(Some(unconstrained(sleep_until(deadline))));
        }
        match timer.as_mut().as_pin_mut() {
            Some(timer) => timer.poll(task).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}
