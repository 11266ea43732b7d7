//! Reading lanes: every read that is queued, in one statement.

use std::collections::HashMap;
use std::sync::Arc;

use super::inbox::Inbox;
use super::lane::{Lane, Trouble};
use super::link::{Driver, Link};
use crate::backends::request::Request;
use crate::capabilities::{DatabaseError, Read, ReadOutcome};
use crate::session::{Session, SessionKey};

/// Batches that share a round trip. More would make the first ones wait for the payloads of the last ones.
const GROUP_BATCHES_MAX: usize = 128;

pub(super) struct ReadJob {
    pub(super) batch: Vec<Read>,
    pub(super) request: Request<Vec<ReadOutcome>>,
}

/// Ends when the queue is closed and empty.
pub(super) async fn run<D: Driver>(mut lane: Lane<D>, inbox: Arc<Inbox<ReadJob>>) {
    while let Some(first) = lane.next(&*inbox).await {
        let mut jobs = vec![first];
        inbox.more(GROUP_BATCHES_MAX, &mut jobs);
        read_group(&mut lane, jobs).await;
    }
    lane.close().await;
}

async fn read_group<D: Driver>(lane: &mut Lane<D>, jobs: Vec<ReadJob>) {
    let wanted = |ReadJob { batch, request }| Some(ReadJob { batch, request: request.begin()? });
    let jobs: Vec<_> = jobs.into_iter().filter_map(wanted).collect();
    // Callers whose deadline is earlier have their own timer.
    let Some(deadline) = jobs.iter().map(|job| job.request.deadline()).max() else { return };
    let (mut load, mut exist) = (Vec::new(), Vec::new());
    for read in jobs.iter().flat_map(|job| &job.batch) {
        match read {
            Read::Load(key) => load.push(key.clone()),
            Read::Exists(key) => exist.push(key.clone()),
        }
    }
    let (load, exist) = (distinct(load), distinct(exist));
    let read = lane.run(deadline, |link| {
        let (load, exist) = (Arc::clone(&load), Arc::clone(&exist));
        Box::pin(async move {
            let found = if load.is_empty() { Vec::new() } else { link.load(&load).await? };
            let existing = if exist.is_empty() { Vec::new() } else { link.existing(&exist).await? };
            Ok((found, existing))
        })
    });
    match read.await {
        Ok((found, existing)) => {
            let found: HashMap<_, _> = found.into_iter().collect();
            for ReadJob { batch, request } in jobs {
                request.answer(batch.iter().map(|read| outcome(read, &found, &existing)).collect());
            }
        }
        Err(trouble) => {
            let error = match trouble {
                // Reads wait for no lock: a server that says so is short of something else.
                Trouble::Busy(message) => DatabaseError::Unavailable { message },
                other => other.into(),
            };
            for job in jobs {
                job.request.answer(Err(error.clone()));
            }
        }
    }
}

fn distinct(mut keys: Vec<SessionKey>) -> Arc<[SessionKey]> {
    keys.sort_unstable();
    keys.dedup();
    keys.into()
}

fn outcome(
    read: &Read,
    found: &HashMap<SessionKey, Result<Session, DatabaseError>>,
    existing: &[SessionKey],
) -> Result<ReadOutcome, DatabaseError> {
    match read {
        Read::Load(key) => found.get(key).cloned().transpose().map(ReadOutcome::Session),
        Read::Exists(key) => Ok(ReadOutcome::Exists(existing.contains(key))),
    }
}
