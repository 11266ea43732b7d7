//! Holding lanes: a transaction each, kept open until its caller has decided or its deadline has passed.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use switchover_core::capabilities::{DatabaseError, Held, Write, WriteOutcome};
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::inbox::Inbox;
use super::lane::Lane;
use super::link::{Driver, Failure, Link};
use crate::request::{Late, Reply, Request, request};

pub(super) struct HoldJob {
    pub(super) batch: Vec<Write>,
    pub(super) request: Request<ServerHeld>,
}

#[derive(Debug)]
enum Decision {
    Commit(Request<()>),
    RollBack(Request<()>),
}

/// A transaction that a lane keeps open. Dropping it closes the channel, which the lane reads as: roll back.
#[derive(Debug)]
pub(super) struct ServerHeld {
    outcomes: Vec<WriteOutcome>,
    deadline: Instant,
    decide: oneshot::Sender<Decision>,
}

/// Ends when the queue is closed and empty.
pub(super) async fn run<D: Driver>(mut lane: Lane<D>, inbox: Arc<Inbox<HoldJob>>) {
    while let Some(job) = lane.next(&*inbox).await {
        hold(&mut lane, job).await;
    }
    lane.close().await;
}

async fn hold<D: Driver>(lane: &mut Lane<D>, HoldJob { batch, request }: HoldJob) {
    let Some(request) = request.begin() else { return };
    let deadline = request.deadline();
    let batch: Arc<[Write]> = batch.into();
    let written = lane.run_patiently(deadline, |link| {
        let batch = Arc::clone(&batch);
        Box::pin(async move { link.hold(&batch, deadline).await })
    });
    let outcomes = match written.await {
        Ok(outcomes) => outcomes,
        Err(error) => {
            request.answer(Err(error));
            return;
        }
    };
    let (decide, decision) = oneshot::channel();
    if !request.answer(Ok(ServerHeld { outcomes, deadline, decide })) {
        return roll_back(lane).await;
    }
    match timeout_at(deadline.into(), decision).await {
        Ok(Ok(Decision::Commit(request))) => match request.begin() {
            Some(request) => {
                let result = commit(lane, deadline).await;
                request.answer(result);
            }
            None => roll_back(lane).await,
        },
        Ok(Ok(Decision::RollBack(request))) => {
            roll_back(lane).await;
            request.answer(Ok(()));
        }
        // Dropped without a decision, or nobody decided in time. A decision that comes too late finds nobody.
        Ok(Err(_)) | Err(_) => roll_back(lane).await,
    }
}

async fn commit<D: Driver>(lane: &mut Lane<D>, deadline: Instant) -> Result<(), DatabaseError> {
    let Some(link) = lane.link() else {
        return Err(DatabaseError::Unavailable { message: "the connection of the transaction was lost".to_owned() });
    };
    let message = match timeout_at(deadline.into(), link.commit()).await {
        Ok(Ok(())) => return Ok(()),
        // The server has rolled back, or is about to: the connection is not trusted to know.
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

/// Rolls back, or ends the connection, which does the same.
async fn roll_back<D: Driver>(lane: &mut Lane<D>) {
    let Some(link) = lane.link() else { return };
    let rolled_back = tokio::time::timeout(super::lane::ROLL_BACK_TIME_MAX, link.roll_back()).await;
    if !matches!(rolled_back, Ok(Ok(()))) {
        lane.give_up();
    }
}

impl ServerHeld {
    fn decide(self, decision: impl FnOnce(Request<()>) -> Decision) -> Result<Reply<()>, DatabaseError> {
        let (request, reply) = request(self.deadline)?;
        // Closed if the lane has rolled back at the deadline.
        self.decide.send(decision(request)).map_err(|_| DatabaseError::Timeout)?;
        Ok(reply)
    }
}

#[async_trait]
impl Held for ServerHeld {
    fn outcomes(&self) -> &[WriteOutcome] {
        &self.outcomes
    }

    async fn commit(self: Box<Self>) -> Result<(), DatabaseError> {
        self.decide(Decision::Commit)?.wait(Late::UnknownOutcome).await
    }

    async fn roll_back(self: Box<Self>) {
        // Past the deadline the lane has done so by itself, or is about to.
        if let Ok(reply) = self.decide(Decision::RollBack) {
            reply.wait(Late::Timeout).await.ok();
        }
    }
}
