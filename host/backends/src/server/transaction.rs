//! Lanes for transactions. Each lane keeps one transaction open until its caller has decided it or its deadline has
//! passed.

use std::sync::Arc;
use std::time::Instant;

use switchover_core::capabilities::{
    DatabaseError, Fence, KeyLock, LockPurpose, LockedKey, Number, Numbered, Write, WriteOutcome,
};
use switchover_core::{Session, SessionKey};
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::inbox::Inbox;
use super::lane::{Lane, ROLL_BACK_TIME_MAX};
use super::link::{Driver, Failure, Link, SideLink as _};
use crate::request::Request;
use crate::transaction::{Step, Steps};

/// A transaction.
pub(super) enum TransactionJob {
    /// One that its caller decides: its first step, and the queue of the later ones.
    Held { first: Step, later: mpsc::Receiver<Step>, fence: Option<Fence> },
    /// A single statement. It needs no queue of keys: its caller has locked them at the other database.
    Numbered { batch: Vec<(Write, Number)>, fence: Fence, request: Request<Numbered> },
}

impl Steps for mpsc::Sender<Step> {
    fn push(&self, step: Step) -> bool {
        self.try_send(step).is_ok()
    }
}

/// Runs until the queue is closed and empty.
pub(super) async fn run<D: Driver>(mut lane: Lane<D>, inbox: Arc<Inbox<TransactionJob>>) {
    while let Some(job) = lane.next(&*inbox).await {
        match job {
            TransactionJob::Held { first, later, fence } => carry(&mut lane, first, later, fence.as_ref()).await,
            TransactionJob::Numbered { batch, fence, request } => {
                write_numbered(&mut lane, batch, fence, request).await
            }
        }
    }
    lane.close().await;
}

async fn write_numbered<D: Driver>(
    lane: &mut Lane<D>,
    batch: Vec<(Write, Number)>,
    fence: Fence,
    request: Request<Numbered>,
) {
    let Some(request) = request.begin() else { return };
    let (deadline, batch) = (request.deadline(), Arc::new(batch));
    let written = lane.run_patiently(deadline, |link| {
        let (batch, fence) = (Arc::clone(&batch), fence.clone());
        Box::pin(async move { link.write_numbered(&batch, &fence, deadline).await })
    });
    let written = written.await.map_err(DatabaseError::from);
    request.answer(written);
}

async fn carry<D: Driver>(lane: &mut Lane<D>, first: Step, mut later: mpsc::Receiver<Step>, fence: Option<&Fence>) {
    let (mut next, mut is_open) = (Some(first), false);
    while let Some(step) = next.take() {
        let deadline = match step {
            Step::Lock(keys, request) => serve(lane, request, is_open, fence, Lock(keys.into())).await,
            Step::Write(batch, request) => serve(lane, request, is_open, fence, WriteAll(batch.into())).await,
            Step::LockKeys(keys, purpose, request) => {
                serve(lane, request, is_open, fence, LockKeys(keys.into(), purpose)).await
            }
            Step::ClearLocked(keys, request) => serve(lane, request, is_open, fence, ClearLocked(keys.into())).await,
            Step::Commit(request) => return decide(lane, request).await,
            Step::RollBack(request) => {
                roll_back(lane).await;
                request.answer(Ok(()));
                return;
            }
        };
        let Some(deadline) = deadline else { return };
        is_open = true;
        // `None`: it was dropped without a decision, or the next step did not come in time. A later step finds the
        // queue closed.
        next = timeout_at(deadline.into(), later.recv()).await.unwrap_or(None);
    }
    roll_back(lane).await;
}

/// One statement of a transaction. It may run several times, until the transaction has begun.
trait Statement: Clone + Send + Sync + 'static {
    type Done: Send;

    fn run<L: Link>(&self, link: &mut L, deadline: Instant)
    -> impl Future<Output = Result<Self::Done, Failure>> + Send;
}

#[derive(Clone)]
struct Lock(Arc<[SessionKey]>);

impl Statement for Lock {
    type Done = Vec<Option<Session>>;

    async fn run<L: Link>(&self, link: &mut L, deadline: Instant) -> Result<Self::Done, Failure> {
        link.lock(&self.0, deadline).await
    }
}

#[derive(Clone)]
struct WriteAll(Arc<[Write]>);

impl Statement for WriteAll {
    type Done = Vec<WriteOutcome>;

    async fn run<L: Link>(&self, link: &mut L, deadline: Instant) -> Result<Self::Done, Failure> {
        link.write_in(&self.0, deadline).await
    }
}

#[derive(Clone)]
struct LockKeys(Arc<[KeyLock]>, LockPurpose);

impl Statement for LockKeys {
    type Done = Vec<LockedKey>;

    async fn run<L: Link>(&self, link: &mut L, _deadline: Instant) -> Result<Self::Done, Failure> {
        link.lock_keys(&self.0, self.1).await
    }
}

#[derive(Clone)]
struct ClearLocked(Arc<[SessionKey]>);

impl Statement for ClearLocked {
    type Done = ();

    async fn run<L: Link>(&self, link: &mut L, _deadline: Instant) -> Result<Self::Done, Failure> {
        link.clear_locked(&self.0).await
    }
}

/// Runs one statement and answers it. Returns the deadline of the transaction if it is open afterwards.
async fn serve<D: Driver, S: Statement>(
    lane: &mut Lane<D>,
    request: Request<S::Done>,
    is_open: bool,
    fence: Option<&Fence>,
    statement: S,
) -> Option<Instant> {
    let Some(request) = request.begin() else {
        if is_open {
            roll_back(lane).await;
        }
        return None;
    };
    let deadline = request.deadline();
    let done = if is_open {
        go_on(lane, deadline, &statement).await
    } else {
        let begun = lane.run_patiently(deadline, |link| {
            let (statement, fence) = (statement.clone(), fence.cloned());
            Box::pin(async move { begin(link, deadline, fence.as_ref(), &statement).await })
        });
        begun.await.map_err(DatabaseError::from)
    };
    let is_done = done.is_ok();
    if !request.answer(done) && is_done {
        roll_back(lane).await;
        return None;
    }
    is_done.then_some(deadline)
}

/// Begins a transaction with its first statement. After a failure it rolls the transaction back; the caller may try
/// again.
async fn begin<L: Link, S: Statement>(
    link: &mut L,
    deadline: Instant,
    fence: Option<&Fence>,
    statement: &S,
) -> Result<S::Done, Failure> {
    link.begin(deadline, fence).await?;
    match statement.run(link, deadline).await {
        Err(Failure::Lost(message)) => Err(Failure::Lost(message)),
        Err(failure) => link.roll_back().await.and(Err(failure)),
        done => done,
    }
}

/// Runs a further statement. After a failure the transaction is rolled back.
async fn go_on<D: Driver, S: Statement>(
    lane: &mut Lane<D>,
    deadline: Instant,
    statement: &S,
) -> Result<S::Done, DatabaseError> {
    let Some(link) = lane.link() else { return Err(lost("the connection of the transaction was lost".to_owned())) };
    let error = match timeout_at(deadline.into(), statement.run(link, deadline)).await {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(Failure::Refused(error))) => error,
        Ok(Err(Failure::Row(message))) => DatabaseError::Corrupt { message },
        Ok(Err(Failure::Busy(message))) => DatabaseError::Conflict { message },
        Ok(Err(Failure::Lost(message))) => {
            lane.give_up();
            lost(message)
        }
        Err(_) => {
            lane.give_up();
            DatabaseError::Timeout
        }
    };
    roll_back(lane).await;
    Err(error)
}

fn lost(message: String) -> DatabaseError {
    DatabaseError::Unavailable { message }
}

async fn decide<D: Driver>(lane: &mut Lane<D>, request: Request<()>) {
    let deadline = request.deadline();
    match request.begin() {
        Some(request) => {
            let result = commit(lane, deadline).await;
            request.answer(result);
        }
        None => roll_back(lane).await,
    }
}

async fn commit<D: Driver>(lane: &mut Lane<D>, deadline: Instant) -> Result<(), DatabaseError> {
    let Some(link) = lane.link() else { return Err(lost("the connection of the transaction was lost".to_owned())) };
    let message = match timeout_at(deadline.into(), link.commit()).await {
        Ok(Ok(())) => return Ok(()),
        // The server has rolled back, or is about to. The connection is given up, because its state is not certain.
        Ok(Err(Failure::Refused(error))) => {
            lane.give_up();
            return Err(error);
        }
        Ok(Err(Failure::Row(message))) => {
            lane.give_up();
            return Err(DatabaseError::Corrupt { message });
        }
        Ok(Err(Failure::Busy(message))) => {
            lane.give_up();
            return Err(DatabaseError::Conflict { message });
        }
        Ok(Err(Failure::Lost(message))) => message,
        Err(_) => "no answer to the commit before the deadline".to_owned(),
    };
    lane.give_up();
    Err(DatabaseError::UnknownOutcome { message })
}

/// Rolls back. If that fails, drops the connection, which does the same.
async fn roll_back<D: Driver>(lane: &mut Lane<D>) {
    let Some(link) = lane.link() else { return };
    let rolled_back = tokio::time::timeout(ROLL_BACK_TIME_MAX, link.roll_back()).await;
    if !matches!(rolled_back, Ok(Ok(()))) {
        lane.give_up();
    }
}
