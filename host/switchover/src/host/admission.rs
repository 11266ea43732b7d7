//! How calls are admitted: each gets a place among those in flight, and the policy and flags in force, or waits with a
//! bound.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use switchover_runtime::call::{Freshness, Question};
use switchover_runtime::{Entry, Error};
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::Host;
use super::work::{caught, to_the_end};
use crate::trace::CallSpan;

impl Host {
    /// Puts one question to the running policy, which reads in the databases and never in the cache.
    pub(crate) async fn ask_past_cache<Q: Question>(&self, question: Q) -> Result<Q::Answer, Error> {
        let span = CallSpan::begin(question.kind().as_str());
        let (entry, _place) = span.ended(self.enter().await)?;
        let work = pin!(self.ask_under(&span, entry, question, Freshness::PastCache));
        span.ended(caught(work).await)
    }

    /// Puts one question to the running policy. A question that may write runs to its end even if its caller goes away.
    pub(crate) async fn ask<Q: Question>(self: &Arc<Self>, question: Q) -> Result<Q::Answer, Error> {
        let span = CallSpan::begin(question.kind().as_str());
        if Q::MAY_WRITE {
            to_the_end(self.admit(span).await?.ask_alone(question)).await
        } else {
            let (entry, _place) = span.ended(self.enter().await)?;
            let work = pin!(self.ask_under(&span, entry, question, Freshness::Cached));
            span.ended(caught(work).await)
        }
    }

    /// As [`Host::enter`], for work that may outlive its caller.
    pub(crate) async fn admit(self: &Arc<Self>, span: CallSpan) -> Result<Admitted, Error> {
        let (entry, place) = span.ended(self.enter().await)?;
        place.forget();
        Ok(Admitted { entry, place: Place(Arc::clone(self)), span })
    }

    /// A place among the calls in flight, under the flags and the policy in force.
    async fn enter(&self) -> Result<(Entry, SemaphorePermit<'_>), Error> {
        // Without this, a caller whose calls never wait could keep other tasks from running.
        tokio::task::consume_budget().await;
        if let Ok(place) = self.places.try_acquire()
            && let Some(entry) = self.slot.try_enter()
        {
            return Ok((entry, place));
        }
        let waiting = Waiting::start(&self.waiting);
        if self.slot.is_closed() {
            return Err(Error::Closed);
        }
        if waiting.others >= self.limits.now().calls_waiting_max {
            return Err(self.overloaded("too many calls are waiting"));
        }
        let entered = async {
            let place = self.places.acquire().await.ok()?;
            Some((self.slot.enter().await?, place))
        };
        match tokio::time::timeout(self.limits.now().admission_wait, entered).await {
            Ok(Some(entered)) => Ok(entered),
            Ok(None) => Err(Error::Closed),
            Err(_) => Err(self.overloaded("no place was free, or a change of flags took too long")),
        }
    }

    fn overloaded(&self, message: &str) -> Error {
        self.store.counters().overloaded();
        Error::Overloaded { message: message.to_owned() }
    }

    async fn ask_under<Q: Question>(
        &self,
        span: &CallSpan,
        entry: Entry,
        question: Q,
        freshness: Freshness,
    ) -> Result<Q::Answer, Error> {
        let Entry { admission, version } = entry;
        let begun = Instant::now();
        let deadline = self.limits.now().call_deadline_of(begun);
        let span = span.policy(version.id(), question.kind().as_str(), &admission);
        let call = pin!(version.call(&question, &self.environment, admission, freshness, deadline));
        let answer = span.around(call).await;
        let unknown = answer.as_ref().is_err_and(Error::is_unknown_outcome);
        self.store.counters().call_ended(question.kind(), begun.elapsed(), answer.is_err(), unknown);
        answer
    }
}

/// Admitted work. It holds a place, and one version with one snapshot of flags.
pub(crate) struct Admitted {
    entry: Entry,
    place: Place,
    span: CallSpan,
}

impl Admitted {
    /// Puts one of several questions.
    pub(crate) async fn ask<Q: Question>(&self, question: Q) -> Result<Q::Answer, Error> {
        self.place.0.ask_under(&self.span, self.entry.clone(), question, Freshness::Cached).await
    }

    /// Puts one of several questions, past the cache. For a session that is read in order to be written.
    pub(crate) async fn ask_past_cache<Q: Question>(&self, question: Q) -> Result<Q::Answer, Error> {
        self.place.0.ask_under(&self.span, self.entry.clone(), question, Freshness::PastCache).await
    }

    /// Puts the only question.
    async fn ask_alone<Q: Question>(self, question: Q) -> Result<Q::Answer, Error> {
        let Self { entry, place, span } = self;
        span.ended(place.0.ask_under(&span, entry, question, Freshness::Cached).await)
    }

    /// Writes down in its span how it ended.
    pub(crate) fn ended<T>(&self, answer: Result<T, Error>) -> Result<T, Error> {
        self.span.ended(answer)
    }

    /// Counts a new key that no caller got and that could not be deleted.
    pub(crate) fn new_key_left(&self) {
        self.place.0.store.counters().new_key_left();
    }
}

/// A place among the calls in flight. Dropping it frees the place.
struct Place(Arc<Host>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places.add_permits(1);
    }
}

struct Waiting<'a> {
    waiting: &'a AtomicUsize,
    others: usize,
}

impl<'a> Waiting<'a> {
    fn start(waiting: &'a AtomicUsize) -> Self {
        Self { waiting, others: waiting.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
