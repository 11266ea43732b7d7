//! The guarantee `strict` without a migration: home and mirrors are written together or not at all, within one host.
//!
//! The writes are made at home without a commit, and home's row locks are the key locks. Then the mirrors are written,
//! and home commits last. If a mirror refuses, home is rolled back. If something was sent that may have happened, the
//! outcome is unknown, and the key is copied again under the lock.

use std::sync::Arc;
use std::time::Instant;

use switchover_contract::{Error, ErrorCode, Result};
use switchover_core::DatabaseName;
use switchover_core::capabilities::{DatabaseError, Terms, Write, WriteOutcome};

use super::batch::Waiting;
use super::route::{Route, mirror_write};
use super::{Store, database_error};

/// Writes a batch and answers its writes. A row that cannot be written, or is locked elsewhere, must not fail the
/// others: the batch is written in halves until that row is alone.
pub(super) async fn write_batch(store: &Arc<Store>, route: &Route, batch: Vec<Waiting>) {
    let mut parts = vec![Part { batch, mirror_written: false }];
    while let Some(Part { mut batch, mirror_written }) = parts.pop() {
        let answers = match write_all(store, route, &batch).await {
            Err(refused) if refused.is_definite() && batch.len() > 1 => {
                let mirror_written = mirror_written || refused.mirror_written;
                let second = batch.split_off(batch.len() / 2);
                parts.extend([second, batch].map(|batch| Part { batch, mirror_written }));
                continue;
            }
            answers => answers.map_err(Refused::into_error),
        };
        answer(store, route, batch, answers, mirror_written);
    }
}

/// Writes that are tried together.
struct Part {
    batch: Vec<Waiting>,
    /// Whether an earlier attempt has written a mirror, and then not home.
    mirror_written: bool,
}

/// Why a batch was not written.
struct Refused {
    error: Error,
    /// Whether a mirror was committed before.
    mirror_written: bool,
}

impl Refused {
    /// Whether a row or a lock was the cause. Then the database that refused has written nothing.
    fn is_definite(&self) -> bool {
        matches!(self.error.code, ErrorCode::Corrupt | ErrorCode::Conflict | ErrorCode::Invalid)
    }

    fn into_error(self) -> Error {
        if self.mirror_written { Error::new(ErrorCode::UnknownOutcome, self.error.message) } else { self.error }
    }
}

/// Answers the writes of a batch. With `mirror_written`, a mirror may have a row that home does not have, so every
/// outcome but `Done` is unknown.
fn answer(
    store: &Arc<Store>,
    route: &Route,
    batch: Vec<Waiting>,
    answers: Result<Vec<(WriteOutcome, bool)>>,
    mirror_written: bool,
) {
    let answers = match answers {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error); batch.len()],
    };
    for (waiting, answer) in batch.into_iter().zip(answers) {
        let answer = match answer {
            Ok((outcome, _)) if mirror_written && !matches!(outcome, WriteOutcome::Done(_)) => {
                let message = format!("database {}: a mirror was written, and home was not", route.home);
                Err(Error::new(ErrorCode::UnknownOutcome, message))
            }
            Err(error) if mirror_written => Err(Error::new(ErrorCode::UnknownOutcome, error.message)),
            answer => answer,
        };
        if let Err(Error { code: ErrorCode::UnknownOutcome, .. }) = &answer {
            store.counters.outcome_unknown();
            store.repair_later(&waiting.ticket, route, waiting.change.write.key().clone());
        }
        let _caller_gone = waiting.answer.send(answer);
    }
}

type Written = std::result::Result<Vec<(WriteOutcome, bool)>, Refused>;

async fn write_all(store: &Store, route: &Route, batch: &[Waiting]) -> Written {
    let Some(deadline) = batch.iter().map(|waiting| waiting.change.deadline).min() else { return Ok(Vec::new()) };
    let writes = batch.iter().map(|waiting| waiting.change.write.clone()).collect();
    write_together(store, route, writes, deadline).await
}

async fn write_together(store: &Store, route: &Route, writes: Vec<Write>, deadline: Instant) -> Written {
    let keys: Vec<_> = writes.iter().map(|write| write.key().clone()).collect();
    let is_delete: Vec<_> = writes.iter().map(|write| matches!(write, Write::Delete(_))).collect();
    let home = &store.databases[&route.home];
    let begun = async {
        let mut transaction = home.begin(Terms::by(deadline)).await?;
        Ok((transaction.write(writes).await?, transaction))
    };
    let (outcomes, transaction) = begun.await.map_err(|error| refused(&route.home, &error, false))?;
    if outcomes.len() != keys.len() {
        transaction.roll_back().await;
        let error = super::internal(&route.home, "as many answers as writes were expected");
        return Err(Refused { error, mirror_written: false });
    }
    let mut at_mirror = vec![false; outcomes.len()];
    let mut mirror_written = false;
    for (name, action) in &route.mirrors {
        // A delete continues at the mirror even if home has no row. Any other write does so only after it succeeded at
        // home.
        let follows: Vec<usize> =
            (0..outcomes.len()).filter(|&at| is_delete[at] || matches!(outcomes[at], WriteOutcome::Done(_))).collect();
        if follows.is_empty() {
            continue;
        }
        let batch = follows.iter().map(|&at| match &outcomes[at] {
            WriteOutcome::Done(Some(row)) => mirror_write(*action, Some(row), &keys[at]),
            _ => Write::Delete(keys[at].clone()),
        });
        match store.databases[name].write(batch.collect(), Terms::by(deadline)).await {
            Ok(mirrored) => {
                mirror_written = true;
                for (&at, outcome) in follows.iter().zip(&mirrored) {
                    at_mirror[at] |= is_delete[at] && matches!(outcome, WriteOutcome::Done(_));
                }
            }
            Err(error) => {
                transaction.roll_back().await;
                return Err(refused(name, &error, mirror_written));
            }
        }
    }
    match transaction.commit().await {
        Ok(()) => Ok(outcomes.into_iter().zip(at_mirror).collect()),
        Err(error) => Err(refused(&route.home, &error, mirror_written)),
    }
}

fn refused(name: &DatabaseName, error: &DatabaseError, mirror_written: bool) -> Refused {
    Refused { error: database_error(name, error), mirror_written }
}
