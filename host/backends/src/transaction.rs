//! A transaction that a lane or a thread keeps open. Its steps are sent there one by one; the first one opens the
//! transaction.

use async_trait::async_trait;
use switchover_core::capabilities::{
    DatabaseError, Fence, KeyLock, KeyTransaction, LockPurpose, LockedKey, Terms, Transaction, Write, WriteOutcome,
};
use switchover_core::{Layout, Session, SessionKey};

use crate::fit;
use crate::request::{Late, Request, request};

/// A step of a transaction.
pub(crate) enum Step {
    Lock(Vec<SessionKey>, Request<Vec<Option<Session>>>),
    Write(Vec<Write>, Request<Vec<WriteOutcome>>),
    LockKeys(Vec<KeyLock>, LockPurpose, Request<Vec<LockedKey>>),
    ClearLocked(Vec<SessionKey>, Request<()>),
    Commit(Request<()>),
    RollBack(Request<()>),
}

/// Takes the steps of an open transaction. Dropping it rolls the transaction back.
pub(crate) trait Steps: Send + 'static {
    /// Returns `false` if the transaction has ended, or if its last step has not been taken yet.
    fn push(&self, step: Step) -> bool;
}

/// Passes the first step to the lane or thread that will keep the transaction open.
pub(crate) trait Open: Send + 'static {
    type Steps: Steps;

    fn open(&self, first: Step, fence: Option<Fence>) -> Result<Self::Steps, DatabaseError>;
}

/// The caller's end of a transaction.
pub(crate) struct Opening<O: Open> {
    terms: Terms,
    layout: Layout,
    stage: Stage<O>,
}

enum Stage<O: Open> {
    /// No step was sent yet.
    Fresh(O),
    Open(O::Steps),
    /// A step has failed.
    Over,
}

impl<O: Open> Opening<O> {
    pub(crate) fn new(open: O, layout: Layout, terms: Terms) -> Self {
        Self { terms, layout, stage: Stage::Fresh(open) }
    }

    async fn ask<T: Send>(&mut self, step: impl FnOnce(Request<T>) -> Step) -> Result<T, DatabaseError> {
        let answered = self.ask_once(step).await;
        if answered.is_err() {
            self.stage = Stage::Over;
        }
        answered
    }

    async fn ask_once<T: Send>(&mut self, step: impl FnOnce(Request<T>) -> Step) -> Result<T, DatabaseError> {
        let (request, reply) = request(self.terms.deadline)?;
        match &self.stage {
            Stage::Fresh(open) => self.stage = Stage::Open(open.open(step(request), self.terms.fence.clone())?),
            // The other end is closed if the transaction was rolled back at the deadline.
            Stage::Open(steps) => {
                if !steps.push(step(request)) {
                    return Err(DatabaseError::Timeout);
                }
            }
            Stage::Over => return Err(DatabaseError::Unavailable { message: "the transaction has ended".to_owned() }),
        }
        // A transaction that did not commit is rolled back, so an answer that comes late has written nothing.
        reply.wait(Late::Timeout).await
    }
}

#[async_trait]
impl<O: Open<Steps: Sync> + Sync> Transaction for Opening<O> {
    async fn lock(&mut self, keys: Vec<SessionKey>) -> Result<Vec<Option<Session>>, DatabaseError> {
        fit::lock(self.layout, keys, |keys| self.ask(|request| Step::Lock(keys, request))).await
    }

    async fn write(&mut self, batch: Vec<Write>) -> Result<Vec<WriteOutcome>, DatabaseError> {
        let written = fit::write(self.layout, batch, |batch| self.ask(|request| Step::Write(batch, request))).await;
        if written.is_err() {
            self.stage = Stage::Over;
        }
        written
    }

    async fn commit(self: Box<Self>) -> Result<(), DatabaseError> {
        let (request, reply) = request(self.terms.deadline)?;
        match &self.stage {
            Stage::Fresh(_) => return Ok(()),
            Stage::Open(steps) if steps.push(Step::Commit(request)) => {}
            Stage::Open(_) => return Err(DatabaseError::Timeout),
            Stage::Over => return Err(DatabaseError::Unavailable { message: "the transaction has ended".to_owned() }),
        }
        reply.wait(Late::UnknownOutcome).await
    }

    async fn roll_back(self: Box<Self>) {
        // After the deadline the transaction has been rolled back, or is about to be.
        if let (Stage::Open(steps), Ok((request, reply))) = (&self.stage, request(self.terms.deadline))
            && steps.push(Step::RollBack(request))
        {
            reply.wait(Late::Timeout).await.ok();
        }
    }
}

#[async_trait]
impl<O: Open<Steps: Sync> + Sync> KeyTransaction for Opening<O> {
    async fn lock_keys(&mut self, keys: Vec<KeyLock>, purpose: LockPurpose) -> Result<Vec<LockedKey>, DatabaseError> {
        self.ask(|request| Step::LockKeys(keys, purpose, request)).await
    }

    async fn clear_locked(&mut self, keys: Vec<SessionKey>) -> Result<(), DatabaseError> {
        self.ask(|request| Step::ClearLocked(keys, request)).await
    }
}
