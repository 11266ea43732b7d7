//! Copies of sessions from one database to the other under the key lock, as `docs/protocol.md` has them. Worker,
//! backfill and verifier use this one function. It is idempotent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use switchover_core::SessionKey;
use switchover_core::capabilities::{
    Database, DatabaseError, Fence, KeyLock, LockPurpose, Mark, Number, Numbered, Side, SideTables, Write,
};

/// How long new may take while keys are locked at old: they wait for it.
const NEW_MAX: Duration = Duration::from_millis(500);
/// Attempts for a key whose number was too low.
const ATTEMPTS_MAX: u32 = 4;

/// The two databases of a migration. Both have side tables.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) old: Arc<dyn Database>,
    pub(crate) new: Arc<dyn Database>,
}

impl Pair {
    pub(crate) fn database(&self, side: Side) -> &dyn Database {
        match side {
            Side::Old => self.old.as_ref(),
            Side::New => self.new.as_ref(),
        }
    }

    pub(crate) fn side_tables(&self, side: Side) -> Result<&dyn SideTables, NoAnswer> {
        let missing = || DatabaseError::Invalid { message: "this kind of database has no side tables".to_owned() };
        self.database(side).side_tables().ok_or_else(|| NoAnswer { side, error: missing() })
    }
}

/// A database that did not answer, or refused everything. Nothing more is tried for now.
#[derive(Debug)]
pub(crate) struct NoAnswer {
    pub(crate) side: Side,
    pub(crate) error: DatabaseError,
}

/// What became of a batch of copies.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    /// Keys whose rows were equal when their lock was released.
    pub(crate) done: u64,
    /// Keys that could not be copied, each with the reason. Their marks stay.
    pub(crate) failed: Vec<(SessionKey, String)>,
}

/// How one attempt for a batch ended.
enum Attempt {
    Done,
    /// New has executed higher numbers for these keys. Nothing was copied.
    Late(Vec<(SessionKey, Number)>),
    /// A row or a lock was the cause. Nothing was copied.
    Refused(String),
}

/// Copies the rows of these keys from `source` to the other database, absence too. The keys must be different.
///
/// # Errors
///
/// [`NoAnswer`] if a database does not answer, or a later epoch is in force. Some of the keys may be copied.
pub(crate) async fn copy(
    pair: &Pair,
    keys: &[SessionKey],
    fence: &Fence,
    source: Side,
    patience: Duration,
) -> Result<Copied, NoAnswer> {
    let mut copied = Copied::default();
    let mut locks: Vec<KeyLock> =
        keys.iter().map(|key| KeyLock { key: key.clone(), known: Number::default() }).collect();
    locks.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    let mut parts = vec![(locks, 1)];
    while let Some((mut part, attempt)) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        let deadline = Instant::now() + patience;
        let tried = match source {
            Side::Old => to_new(pair, &part, fence, deadline).await?,
            Side::New => to_old(pair, &part, fence, deadline).await?,
        };
        match tried {
            Attempt::Done => copied.done += part.len() as u64,
            Attempt::Refused(message) if part.len() == 1 => {
                copied.failed.extend(part.pop().map(|lock| (lock.key, message)));
            }
            Attempt::Refused(_) => {
                let second = part.split_off(part.len() / 2);
                parts.extend([(second, attempt), (part, attempt)]);
            }
            Attempt::Late(_) if attempt == ATTEMPTS_MAX => {
                let message = "other writes of this session went before, each time";
                copied.failed.extend(part.into_iter().map(|lock| (lock.key, message.to_owned())));
            }
            Attempt::Late(late) => {
                // What they know now was read before the lock is taken again.
                for (key, number) in late {
                    part.iter_mut().filter(|lock| lock.key == key).for_each(|lock| lock.known = number);
                }
                parts.push((part, attempt + 1));
            }
        }
    }
    Ok(copied)
}

async fn to_new(pair: &Pair, locks: &[KeyLock], fence: &Fence, deadline: Instant) -> Result<Attempt, NoAnswer> {
    let (old, new) = (pair.side_tables(Side::Old)?, pair.side_tables(Side::New)?);
    let begun = async {
        let mut transaction = old.begin_with_keys(fence.clone(), deadline).await?;
        let locked = transaction.lock_keys(locks.to_vec(), LockPurpose::CopyToNew).await?;
        Ok((transaction, locked))
    };
    let (mut transaction, locked) = match begun.await {
        Ok(begun) => begun,
        Err(error) => return not_copied(Side::Old, error),
    };
    let keys: Vec<SessionKey> = locks.iter().map(|lock| lock.key.clone()).collect();
    let batch = keys.iter().zip(locked).map(|(key, locked)| (write_of(key, locked.row), locked.number)).collect();
    match new.write_numbered(batch, fence.clone(), deadline.min(Instant::now() + NEW_MAX)).await {
        Ok(Numbered::Done(_)) => {}
        Ok(Numbered::Late(late)) => {
            transaction.roll_back().await;
            return Ok(Attempt::Late(late));
        }
        Err(error) => {
            transaction.roll_back().await;
            return not_copied(Side::New, error);
        }
    }
    let settled = async {
        transaction.clear_locked(keys).await?;
        transaction.commit().await
    };
    match settled.await {
        Ok(()) => Ok(Attempt::Done),
        Err(error) => not_copied(Side::Old, error),
    }
}

async fn to_old(pair: &Pair, locks: &[KeyLock], fence: &Fence, deadline: Instant) -> Result<Attempt, NoAnswer> {
    let (old, new) = (pair.side_tables(Side::Old)?, pair.side_tables(Side::New)?);
    let begun = async {
        let mut transaction = old.begin_with_keys(fence.clone(), deadline).await?;
        transaction.lock_keys(locks.to_vec(), LockPurpose::CopyToOld).await?;
        Ok(transaction)
    };
    let mut transaction = match begun.await {
        Ok(transaction) => transaction,
        Err(error) => return not_copied(Side::Old, error),
    };
    let keys: Vec<SessionKey> = locks.iter().map(|lock| lock.key.clone()).collect();
    let rows = match new.rows(keys.clone(), fence.clone(), deadline.min(Instant::now() + NEW_MAX)).await {
        Ok(rows) => rows,
        Err(error) => {
            transaction.roll_back().await;
            return not_copied(Side::New, error);
        }
    };
    let (mut batch, mut marks) = (Vec::with_capacity(keys.len()), Vec::new());
    for (key, read) in keys.into_iter().zip(rows) {
        let row = match read.row {
            Ok(row) => row,
            Err(unreadable) => {
                transaction.roll_back().await;
                return Ok(Attempt::Refused(unreadable.to_string()));
            }
        };
        batch.push(write_of(&key, row));
        marks.extend(read.token.map(|token| Mark { key, token }));
    }
    let settled = async {
        transaction.write(batch).await?;
        transaction.commit().await
    };
    if let Err(error) = settled.await {
        return not_copied(Side::Old, error);
    }
    if !marks.is_empty()
        && let Err(error) = new.clear_marks(marks, fence.clone(), deadline).await
    {
        // The rows are equal. The marks are found again.
        return not_copied(Side::New, error);
    }
    Ok(Attempt::Done)
}

fn write_of(key: &SessionKey, row: Option<switchover_core::Session>) -> Write {
    row.map_or_else(|| Write::Delete(key.clone()), Write::Upsert)
}

/// An unknown outcome is no success: the copy is made again, later.
fn not_copied(side: Side, error: DatabaseError) -> Result<Attempt, NoAnswer> {
    match error {
        DatabaseError::Conflict { message }
        | DatabaseError::Corrupt { message }
        | DatabaseError::Invalid { message } => Ok(Attempt::Refused(message)),
        error => Err(NoAnswer { side, error }),
    }
}
