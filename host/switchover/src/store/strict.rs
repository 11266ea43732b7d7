//! `strict`: home and mirrors together or not at all, with many waiting writes sharing one pair of transactions.
//!
//! One lane for each home and its mirrors. It drains what is queued (no timer, so a lone write is not delayed), holds all of it at
//! home, whose row locks are the key locks, writes the mirrors, and commits home last. A mirror that refuses rolls home back; once
//! something was sent that may have happened, the outcome is unknown and the key is copied again under the lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use switchover_guest::{Error, ErrorCode, MirrorAction, Result};
use tokio::sync::{mpsc, oneshot};

use super::write::mirror_write;
use super::{Store, database_error};
use crate::capabilities::{DatabaseError, Write, WriteOutcome};
use crate::gate::Ticket;
use crate::limits::STRICT_BATCH_MAX;
use crate::session::DatabaseName;

/// Home, and the mirrors that are written with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Route {
    pub(super) home: DatabaseName,
    pub(super) mirrors: Vec<(DatabaseName, MirrorAction)>,
}

/// One write, and when it must have ended.
pub(super) struct Change {
    pub(super) write: Write,
    pub(super) deadline: Instant,
}

type Answer = Result<(WriteOutcome, bool)>;

struct Waiting {
    change: Change,
    ticket: Ticket,
    answer: oneshot::Sender<Answer>,
}

/// The lanes of a host, made on first use and kept.
#[derive(Default)]
pub(super) struct StrictLanes {
    lanes: Mutex<HashMap<Route, mpsc::Sender<Waiting>>>,
}

impl StrictLanes {
    pub(super) async fn write(&self, store: &Arc<Store>, route: Route, change: Change, ticket: &Ticket) -> Answer {
        let (answer, answered) = oneshot::channel();
        let lane = self.lane(store, route);
        let waiting = Waiting { change, ticket: ticket.clone(), answer };
        if lane.try_send(waiting).is_err() {
            return Err(Error::new(ErrorCode::Overloaded, "too many strict writes are waiting"));
        }
        answered.await.unwrap_or_else(|_| Err(Error::new(ErrorCode::UnknownOutcome, "a strict write was lost")))
    }

    fn lane(&self, store: &Arc<Store>, route: Route) -> mpsc::Sender<Waiting> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(route).or_insert_with_key(|route| {
            let (sender, receiver) = mpsc::channel(store.limits.calls_in_flight_max * 2);
            tokio::spawn(run(Arc::downgrade(store), route.clone(), receiver));
            sender
        });
        lane.clone()
    }
}

async fn run(store: std::sync::Weak<Store>, route: Route, mut queue: mpsc::Receiver<Waiting>) {
    // A write whose key is in the batch already waits for the next one.
    let mut postponed: Vec<Waiting> = Vec::new();
    loop {
        if postponed.is_empty() {
            match queue.recv().await {
                Some(waiting) => postponed.push(waiting),
                None => return,
            }
        }
        while postponed.len() < STRICT_BATCH_MAX
            && let Ok(waiting) = queue.try_recv()
        {
            postponed.push(waiting);
        }
        let Some(store) = store.upgrade() else { return };
        let (batch, rest) = distinct_keys(std::mem::take(&mut postponed));
        postponed = rest;
        write_batch(&store, &route, batch).await;
    }
}

/// The first write of each key, in the order of the keys, so that two hosts lock rows in the same order; and the rest.
fn distinct_keys(waiting: Vec<Waiting>) -> (Vec<Waiting>, Vec<Waiting>) {
    let mut batch: Vec<Waiting> = Vec::with_capacity(waiting.len());
    let mut rest = Vec::new();
    let mut keys = std::collections::HashSet::new();
    for write in waiting {
        if keys.insert(write.change.write.key().clone()) { batch.push(write) } else { rest.push(write) }
    }
    batch.sort_by(|a, b| a.change.write.key().cmp(b.change.write.key()));
    (batch, rest)
}

async fn write_batch(store: &Arc<Store>, route: &Route, mut batch: Vec<Waiting>) {
    let now = Instant::now();
    for late in batch.extract_if(.., |waiting| waiting.change.deadline <= now) {
        let error = Error::new(ErrorCode::Timeout, format!("database {}: no turn before the deadline", route.home));
        let _caller_gone = late.answer.send(Err(error));
    }
    let Some(deadline) = batch.iter().map(|waiting| waiting.change.deadline).min() else { return };
    let writes = batch.iter().map(|waiting| waiting.change.write.clone()).collect();
    match write_together(store, route, writes, deadline).await {
        Ok(answers) => {
            for (waiting, answer) in batch.into_iter().zip(answers) {
                let _caller_gone = waiting.answer.send(Ok(answer));
            }
        }
        Err(error) => {
            for waiting in batch {
                if error.code == ErrorCode::UnknownOutcome {
                    store.counters.outcome_unknown();
                    store.repair_later(waiting.ticket, route, waiting.change.write.key().clone());
                }
                let _caller_gone = waiting.answer.send(Err(error.clone()));
            }
        }
    }
}

async fn write_together(
    store: &Store,
    route: &Route,
    writes: Vec<Write>,
    deadline: Instant,
) -> Result<Vec<(WriteOutcome, bool)>> {
    let keys: Vec<_> = writes.iter().map(|write| write.key().clone()).collect();
    let is_delete: Vec<_> = writes.iter().map(|write| matches!(write, Write::Delete(_))).collect();
    let home = &store.databases[&route.home];
    let held = home.hold(writes, None, deadline).await.map_err(|error| database_error(&route.home, &error))?;
    let outcomes = held.outcomes().to_vec();
    if outcomes.len() != keys.len() {
        held.roll_back().await;
        return Err(super::internal(&route.home, "as many answers as writes were expected"));
    }
    let mut at_mirror = vec![false; outcomes.len()];
    let mut mirror_written = false;
    for (name, action) in &route.mirrors {
        // A delete goes on to the mirror also where home has no row; any other write follows home's success alone.
        let follows: Vec<usize> =
            (0..outcomes.len()).filter(|&at| is_delete[at] || matches!(outcomes[at], WriteOutcome::Done(_))).collect();
        if follows.is_empty() {
            continue;
        }
        let batch = follows.iter().map(|&at| match &outcomes[at] {
            WriteOutcome::Done(Some(row)) => mirror_write(*action, Some(row), &keys[at]),
            _ => Write::Delete(keys[at].clone()),
        });
        match store.databases[name].write(batch.collect(), None, deadline).await {
            Ok(mirrored) => {
                mirror_written = true;
                for (&at, outcome) in follows.iter().zip(&mirrored) {
                    at_mirror[at] |= is_delete[at] && matches!(outcome, WriteOutcome::Done(_));
                }
            }
            Err(error) => {
                held.roll_back().await;
                let unknown = mirror_written || matches!(error, DatabaseError::UnknownOutcome { .. });
                let error = database_error(name, &error);
                return Err(if unknown { Error::new(ErrorCode::UnknownOutcome, error.message) } else { error });
            }
        }
    }
    match held.commit().await {
        Ok(()) => Ok(outcomes.into_iter().zip(at_mirror).collect()),
        Err(error) => {
            let unknown = mirror_written || matches!(error, DatabaseError::UnknownOutcome { .. });
            let error = database_error(&route.home, &error);
            Err(if unknown { Error::new(ErrorCode::UnknownOutcome, error.message) } else { error })
        }
    }
}
