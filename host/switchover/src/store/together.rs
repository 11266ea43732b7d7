//! Writes of both databases in a migration, as `docs/protocol.md` has them: key locks at old, new with numbers, commit
//! at old.
//!
//! A batch of different keys shares each step. A key that is busy, refused or has an old number costs only itself: it
//! goes alone, and the rest of the batch again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use switchover_contract::{Error, ErrorCode, MirrorAction, Result};
use switchover_core::SessionKey;
use switchover_core::capabilities::{
    DatabaseError, Fence, KeyLock, KeyTransaction, LockPurpose, LockedKey, Number, Numbered, Read, Side, Terms, Write,
    WriteOutcome,
};
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use super::batch::{Answer, Busy, Waiting};
use super::route::mirror_write;
use super::{Store, database_error, internal};
use crate::trace::{self, TracedTransaction};

/// How long new may take while keys are locked at old. A database that hangs must not use up the time of those who
/// wait for these keys.
const NEW_MAX: Duration = Duration::from_millis(500);
/// Attempts of a write that is known as not executed. While two epochs overlap, hosts that mark writes of a key at new
/// go before those that write both databases, so a few are not enough.
const ATTEMPTS_MAX: u32 = 12;
/// The longest pause before another attempt; the real one is random.
const JITTER_MS_MAX: u64 = 20;
/// Keys that are written alone at one time. Each holds a connection to old.
const ALONE_AT_ONCE_MAX: usize = 4;
/// How long new has to answer a question without a lock, after it did not answer a write.
const PROBE_MAX: Duration = Duration::from_millis(250);

/// How the writes of a lane reach both databases.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Together {
    /// The database that decides.
    pub(super) home: Side,
    /// What is written to the other one.
    pub(super) action: MirrorAction,
    /// The epoch of the calls.
    pub(super) fence: Fence,
}

/// A write, with the number that new is known to have.
#[derive(Clone)]
struct Item {
    write: Write,
    known: Number,
    deadline: Instant,
}

impl Item {
    fn key(&self) -> &SessionKey {
        self.write.key()
    }

    fn is_delete(&self) -> bool {
        matches!(self.write, Write::Delete(_))
    }
}

/// How an attempt for a batch ended.
enum Attempt {
    /// Both databases have committed, or home has refused.
    Done(Vec<(WriteOutcome, bool)>),
    /// Nothing was written: new has higher numbers for these keys.
    Late(Vec<(SessionKey, Number)>),
    /// Nothing was written: a row or a lock was the cause.
    Refused(Error),
    /// Nothing was written: a database does not answer, or a later epoch is in force.
    Failed(Error),
    /// Something may have been written.
    Unknown(Error),
}

/// Writes a batch and answers its writes.
pub(super) async fn write_batch(store: &Arc<Store>, way: &Together, batch: Vec<Waiting>, busy: &mut Busy) {
    let items: Vec<Item> = batch
        .iter()
        .map(|Waiting { change, .. }| Item {
            write: change.write.clone(),
            known: Number::default(),
            deadline: change.deadline,
        })
        .collect();
    let answers = write_items(store, way, items, busy).await;
    for (waiting, answer) in batch.into_iter().zip(answers) {
        if let Err(Error { code: ErrorCode::UnknownOutcome, .. }) = &answer {
            store.counters.outcome_unknown();
            store.suspects.add(waiting.change.write.key().clone());
        }
        let _caller_gone = waiting.answer.send(answer);
    }
}

/// Writes items with different keys in their order; answers are in the same order.
async fn write_items(store: &Arc<Store>, way: &Together, items: Vec<Item>, busy: &mut Busy) -> Vec<Answer> {
    if let Err(error) = new_answers(store).await {
        return vec![Err(error); items.len()];
    }
    let order: Vec<SessionKey> = items.iter().map(|item| item.key().clone()).collect();
    let (alone, together): (Vec<Item>, Vec<Item>) = items.into_iter().partition(|item| busy.has(item.key()));
    let mut answers = Answers::default();
    let (rest, was_busy) = tokio::join!(share(store, way, together), write_alone(store, way, alone));
    answers.extend(was_busy);
    answers.extend(rest.answered);
    let alone = write_alone(store, way, rest.alone).await;
    for (key, answer, waited) in &alone {
        if *waited || matches!(answer, Err(Error { code: ErrorCode::Conflict, .. })) {
            busy.add(key.clone());
        }
    }
    answers.extend(alone);
    order.iter().map(|key| answers.take(key)).collect()
}

/// What sharing has answered, and what has to go alone.
#[derive(Default)]
struct Shared {
    answered: Vec<(SessionKey, Answer, bool)>,
    alone: Vec<Item>,
}

/// Writes items together. What has an old number goes alone, and the rest once more.
async fn share(store: &Arc<Store>, way: &Together, mut items: Vec<Item>) -> Shared {
    let mut shared = Shared::default();
    if items.len() == 1 {
        shared.alone = items;
        return shared;
    }
    for _ in 0..2 {
        let Some(deadline) = items.iter().map(|item| item.deadline).min() else { return shared };
        // Half of the time, so that a busy key leaves the others enough to go without it.
        let deadline = deadline.min(Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2);
        match attempt(store, way, &items, deadline).await {
            Attempt::Done(outcomes) => {
                let keys = items.into_iter().map(|item| item.write.key().clone());
                shared.answered.extend(keys.zip(outcomes).map(|(key, outcome)| (key, Ok(outcome), false)));
                return shared;
            }
            Attempt::Late(late) => {
                let (mut behind, rest) = items.into_iter().partition::<Vec<_>, _>(|item| is_late(item, &late));
                behind.iter_mut().for_each(|item| learn(item, &late));
                shared.alone.append(&mut behind);
                items = rest;
            }
            Attempt::Refused(_) => break,
            Attempt::Failed(error) | Attempt::Unknown(error) => {
                let answered = items.into_iter().map(|item| (item.write.key().clone(), Err(error.clone()), false));
                shared.answered.extend(answered);
                return shared;
            }
        }
    }
    shared.alone.append(&mut items);
    shared
}

/// Writes each item by itself, a few at a time. The last value says whether it needed more than one attempt.
async fn write_alone(store: &Arc<Store>, way: &Together, items: Vec<Item>) -> Vec<(SessionKey, Answer, bool)> {
    if let [item] = &items[..] {
        let (answer, waited) = write_one(store, way, item.clone()).await;
        return vec![(item.key().clone(), answer, waited)];
    }
    let mut answers = Vec::with_capacity(items.len());
    let places = Arc::new(Semaphore::new(ALONE_AT_ONCE_MAX));
    let mut writes = tokio::task::JoinSet::new();
    let mut keys = std::collections::HashMap::new();
    for item in items {
        let (store, way, places) = (Arc::clone(store), way.clone(), Arc::clone(&places));
        let key = item.key().clone();
        let write = async move {
            let _place = places.acquire().await;
            write_one(&store, &way, item).await
        };
        let task = writes.spawn(write.instrument(trace::current()));
        keys.insert(task.id(), key);
    }
    while let Some(written) = writes.join_next_with_id().await {
        match written {
            Ok((id, (answer, waited))) => answers.extend(keys.remove(&id).map(|key| (key, answer, waited))),
            Err(panic) => {
                let error = Error::new(ErrorCode::UnknownOutcome, "a write panicked in the host");
                answers.extend(keys.remove(&panic.id()).map(|key| (key, Err(error), false)));
            }
        }
    }
    answers
}

/// Writes one item, with further attempts while it is known that nothing was written.
async fn write_one(store: &Arc<Store>, way: &Together, mut item: Item) -> (Answer, bool) {
    let mut attempts = 1;
    loop {
        let deadline = item.deadline;
        let (error, pause) = match attempt(store, way, std::slice::from_ref(&item), deadline).await {
            Attempt::Done(mut outcomes) => {
                let outcome = outcomes.pop().ok_or_else(|| internal(store.home_of(way), "a write without an answer"));
                return (outcome, attempts > 1);
            }
            Attempt::Late(late) => {
                learn(&mut item, &late);
                let message = "other writes of this session went before, each time";
                // What was learned grows old, so it goes again at once.
                (Error::new(ErrorCode::Conflict, message), Duration::ZERO)
            }
            Attempt::Refused(error) if error.code == ErrorCode::Conflict => {
                (error, Duration::from_millis(u64::from(attempts) * random_below(JITTER_MS_MAX)))
            }
            Attempt::Refused(error) | Attempt::Failed(error) | Attempt::Unknown(error) => {
                return (Err(error), attempts > 1);
            }
        };
        if attempts == ATTEMPTS_MAX || Instant::now() + pause >= deadline {
            return (Err(error), true);
        }
        tokio::time::sleep(pause).await;
        attempts += 1;
    }
}

/// One attempt for items with different keys, sorted by key.
async fn attempt(store: &Arc<Store>, way: &Together, items: &[Item], deadline: Instant) -> Attempt {
    let pair = store.pair();
    let at_old = |error: DatabaseError| not_written(database_error(&pair.old, &error));
    let (old, new) = match (store.side_tables(Side::Old), store.side_tables(Side::New)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(error), _) | (_, Err(error)) => return Attempt::Failed(error),
    };
    let mut transaction = match old.begin_with_keys(way.fence.clone(), deadline).await {
        Ok(transaction) => transaction,
        Err(error) => return at_old(error),
    };
    let locks = items.iter().map(|item| KeyLock { key: item.key().clone(), known: item.known }).collect();
    let locked = match transaction.lock_keys(locks, LockPurpose::Write).await {
        Ok(locked) => locked,
        Err(error) => return at_old(error),
    };
    let mut outcomes: Vec<Option<WriteOutcome>> = vec![None; items.len()];
    if way.home == Side::Old {
        match transaction.write(items.iter().map(|item| item.write.clone()).collect()).await {
            Ok(written) => outcomes = written.into_iter().map(Some).collect(),
            Err(error) => return at_old(error),
        }
    }
    if locked.len() != items.len() || outcomes.len() != items.len() {
        transaction.roll_back().await;
        return Attempt::Failed(internal(&pair.old, "as many answers as keys were expected"));
    }
    let (places, batch): (Vec<usize>, Vec<(Write, Number)>) =
        at_new(way, items, &outcomes, &locked).into_iter().unzip();
    if batch.is_empty() {
        // Home has refused every write, so there is nothing to commit.
        transaction.roll_back().await;
        return Attempt::Done(outcomes.into_iter().flatten().map(|outcome| (outcome, false)).collect());
    }
    let new_deadline = deadline.min(Instant::now() + NEW_MAX);
    let written = match new.write_numbered(batch, way.fence.clone(), new_deadline).await {
        Ok(Numbered::Done(written)) if written.len() == places.len() => written,
        Ok(Numbered::Done(_)) => {
            transaction.roll_back().await;
            return Attempt::Unknown(unknown(store, "as many answers as writes were expected"));
        }
        Ok(Numbered::Late(late)) => {
            transaction.roll_back().await;
            return Attempt::Late(late);
        }
        Err(error) => {
            transaction.roll_back().await;
            store.new_did_not_answer(&error);
            return not_written(database_error(&pair.new, &error));
        }
    };
    finish(store, way, items, transaction, outcomes, places.into_iter().zip(written).collect()).await
}

/// What new is to do for each item that goes on, with its place. A delete goes on even if home does not have the row.
fn at_new(
    way: &Together,
    items: &[Item],
    outcomes: &[Option<WriteOutcome>],
    locked: &[LockedKey],
) -> Vec<(usize, (Write, Number))> {
    let mut batch = Vec::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        let write = match (&outcomes[place], way.home) {
            (_, Side::New) => item.write.clone(),
            (Some(WriteOutcome::Done(Some(row))), Side::Old) => mirror_write(way.action, Some(row), item.key()),
            (_, Side::Old) if item.is_delete() => Write::Delete(item.key().clone()),
            (_, Side::Old) => continue,
        };
        batch.push((place, (write, locked[place].number)));
    }
    batch
}

/// New has committed. Old follows: where new decides, it gets what new has; then it commits. Whatever fails here leaves
/// an unknown outcome.
async fn finish(
    store: &Arc<Store>,
    way: &Together,
    items: &[Item],
    mut transaction: TracedTransaction<dyn KeyTransaction>,
    mut outcomes: Vec<Option<WriteOutcome>>,
    written: Vec<(usize, WriteOutcome)>,
) -> Attempt {
    let mut elsewhere = vec![false; items.len()];
    let mut at_old = Vec::new();
    for (place, outcome) in written {
        let item = &items[place];
        match way.home {
            Side::Old => elsewhere[place] = item.is_delete() && matches!(outcome, WriteOutcome::Done(_)),
            Side::New => {
                match &outcome {
                    _ if item.is_delete() => at_old.push((place, Write::Delete(item.key().clone()))),
                    WriteOutcome::Done(row) => at_old.push((place, mirror_write(way.action, row.as_ref(), item.key()))),
                    WriteOutcome::Exists | WriteOutcome::Missing => {}
                }
                outcomes[place] = Some(outcome);
            }
        }
    }
    if at_old.is_empty() && way.home == Side::New {
        // New has refused every write. Old would only keep the numbers, which is no matter.
        let _kept = transaction.commit().await;
        return Attempt::Done(outcomes.into_iter().flatten().zip(elsewhere).collect());
    }
    let settled = async {
        if !at_old.is_empty() {
            let (places, batch): (Vec<usize>, Vec<Write>) = at_old.into_iter().unzip();
            let mirrored = transaction.write(batch).await?;
            for (place, outcome) in places.into_iter().zip(mirrored) {
                elsewhere[place] = items[place].is_delete() && matches!(outcome, WriteOutcome::Done(_));
            }
        }
        transaction.commit().await
    };
    match settled.await {
        Ok(()) => Attempt::Done(outcomes.into_iter().flatten().zip(elsewhere).collect()),
        Err(error) => Attempt::Unknown(unknown(store, &error.to_string())),
    }
}

/// How an error ends an attempt that has committed nowhere.
fn not_written(error: Error) -> Attempt {
    match error.code {
        ErrorCode::UnknownOutcome => Attempt::Unknown(error),
        ErrorCode::Conflict | ErrorCode::Corrupt | ErrorCode::Invalid => Attempt::Refused(error),
        _ => Attempt::Failed(error),
    }
}

fn unknown(store: &Store, what: &str) -> Error {
    let message = format!("database {}: the other database has committed: {what}", store.pair().old);
    Error::new(ErrorCode::UnknownOutcome, message)
}

fn is_late(item: &Item, late: &[(SessionKey, Number)]) -> bool {
    late.iter().any(|(key, _)| key == item.key())
}

fn learn(item: &mut Item, late: &[(SessionKey, Number)]) {
    if let Some((_, number)) = late.iter().find(|(key, _)| key == item.key()) {
        item.known = *number;
    }
}

/// If new did not answer the last write, asks it without any lock first, so that no key is locked for nothing.
async fn new_answers(store: &Arc<Store>) -> Result<()> {
    if !store.new_is_suspected() {
        return Ok(());
    }
    let new = &store.pair().new;
    let ask = vec![Read::Exists(SessionKey::random())];
    match store.databases[new].read(ask, Terms::by(Instant::now() + PROBE_MAX)).await {
        Ok(_) => {
            store.new_answered();
            Ok(())
        }
        Err(error) => Err(database_error(new, &error)),
    }
}

fn random_below(bound: u64) -> u64 {
    getrandom::u64().map_or(bound / 2, |random| random % bound)
}

/// Answers by key.
#[derive(Default)]
struct Answers(std::collections::HashMap<SessionKey, Answer>);

impl Answers {
    fn extend(&mut self, answered: Vec<(SessionKey, Answer, bool)>) {
        self.0.extend(answered.into_iter().map(|(key, answer, _)| (key, answer)));
    }

    fn take(&mut self, key: &SessionKey) -> Answer {
        let lost = || Err(Error::new(ErrorCode::UnknownOutcome, "a write was lost"));
        self.0.remove(key).unwrap_or_else(lost)
    }
}
