//! Reading lanes: each sends all queued reads in one statement.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use switchover_core::capabilities::{DatabaseError, Fence, Read, ReadOutcome, Unreadable};
use switchover_core::{Session, SessionKey};

use super::inbox::Inbox;
use super::lane::{Lane, Trouble};
use super::link::{Driver, Link};
use crate::request::Request;
use crate::row::unreadable_row;

/// How many batches share a round trip. With more, the first ones would wait for the payloads of the last ones.
const GROUP_BATCHES_MAX: usize = 128;

pub(super) struct ReadJob {
    pub(super) batch: Vec<Read>,
    pub(super) fence: Option<Fence>,
    pub(super) request: Request<Vec<ReadOutcome>>,
}

/// Runs until the queue is closed and empty.
pub(super) async fn run<D: Driver>(mut lane: Lane<D>, inbox: Arc<Inbox<ReadJob>>) {
    while let Some(first) = lane.next(&*inbox).await {
        let mut jobs = vec![first];
        inbox.more(GROUP_BATCHES_MAX, &mut jobs);
        while let Some(first) = jobs.first() {
            // A statement carries one epoch. A host serves two at most, and only for a moment.
            let fence = first.fence.clone();
            let (group, others) = jobs.into_iter().partition(|job| job.fence == fence);
            read_group(&mut lane, group, fence).await;
            jobs = others;
        }
    }
    lane.close().await;
}

async fn read_group<D: Driver>(lane: &mut Lane<D>, jobs: Vec<ReadJob>, fence: Option<Fence>) {
    let wanted = |job: ReadJob| Some(ReadJob { request: job.request.begin()?, ..job });
    let jobs: Vec<_> = jobs.into_iter().filter_map(wanted).collect();
    // Callers with an earlier deadline have their own timer.
    let Some(deadline) = jobs.iter().map(|job| job.request.deadline()).max() else { return };
    let (mut load, mut exist) = (Vec::new(), Vec::new());
    for read in jobs.iter().flat_map(|job| &job.batch) {
        match read {
            Read::Load(key) => load.push(key.clone()),
            Read::Exists(key) => exist.push(key.clone()),
        }
    }
    match read_keys(lane, distinct(load), distinct(exist), fence.as_ref(), deadline).await {
        Ok(read) => {
            for ReadJob { batch, request, .. } in jobs {
                request.answer(Ok(batch.iter().map(|asked| read.outcome(asked)).collect()));
            }
        }
        Err(error) => {
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

/// The results for many keys.
#[derive(Default)]
struct Found {
    sessions: HashMap<SessionKey, Result<Session, Unreadable>>,
    existing: HashSet<SessionKey>,
}

impl Found {
    fn outcome(&self, read: &Read) -> ReadOutcome {
        match read {
            Read::Load(key) => match self.sessions.get(key) {
                None => ReadOutcome::Session(None),
                Some(Ok(session)) => ReadOutcome::Session(Some(session.clone())),
                Some(Err(row)) => ReadOutcome::Unreadable(row.clone()),
            },
            Read::Exists(key) => ReadOutcome::Exists(self.existing.contains(key)),
        }
    }
}

/// Reads in one round trip. If the server refuses because of one row, the keys are halved and read again, until that
/// key is alone and the others have been read.
async fn read_keys<D: Driver>(
    lane: &mut Lane<D>,
    load: Arc<[SessionKey]>,
    exist: Arc<[SessionKey]>,
    fence: Option<&Fence>,
    deadline: Instant,
) -> Result<Found, DatabaseError> {
    let mut read = Found::default();
    let mut parts = vec![(load, exist)];
    while let Some((load, exist)) = parts.pop() {
        match read_part(lane, &load, &exist, fence, deadline).await {
            Ok((found, existing)) => {
                read.sessions.extend(found);
                read.existing.extend(existing);
            }
            Err(Trouble::Row(message)) => match (&load[..], &exist[..]) {
                ([key], []) => {
                    read.sessions.insert(key.clone(), Err(unreadable_row(key, &format!("contents that {message}"))));
                }
                ([], _) => return Err(DatabaseError::Corrupt { message }),
                (_, [_, ..]) => parts.extend([(load, Arc::default()), (Arc::default(), exist)]),
                (keys, []) => {
                    let halves = keys.split_at(keys.len() / 2);
                    parts.extend([(halves.0.into(), Arc::default()), (halves.1.into(), Arc::default())]);
                }
            },
            // Reads wait for no lock. A server that reports a busy lock lacks something else.
            Err(Trouble::Busy(message)) => return Err(DatabaseError::Unavailable { message }),
            Err(Trouble::Refused(error) | Trouble::Failed(error)) => return Err(error),
        }
    }
    Ok(read)
}

type Part = (Vec<super::link::Found>, Vec<SessionKey>);

async fn read_part<D: Driver>(
    lane: &mut Lane<D>,
    load: &Arc<[SessionKey]>,
    exist: &Arc<[SessionKey]>,
    fence: Option<&Fence>,
    deadline: Instant,
) -> Result<Part, Trouble> {
    let read = lane.run(deadline, |link| {
        let (load, exist, fence) = (Arc::clone(load), Arc::clone(exist), fence.cloned());
        Box::pin(async move {
            let found = if load.is_empty() { Vec::new() } else { link.load(&load, fence.as_ref()).await? };
            let existing = if exist.is_empty() { Vec::new() } else { link.existing(&exist, fence.as_ref()).await? };
            Ok((found, existing))
        })
    });
    read.await
}
