//! Keeps keys and sessions that a layout cannot hold away from the database. A read of such a key finds no row, and a
//! write of such a session is refused.

use std::future::Future;

use switchover_core::capabilities::{DatabaseError, Read, ReadOutcome, Write, WriteOutcome};
use switchover_core::{Layout, Session, SessionKey};

/// Passes the reads that the layout can hold to `ask`, and answers the others itself.
pub(crate) async fn read<F>(
    layout: Layout,
    batch: Vec<Read>,
    ask: impl FnOnce(Vec<Read>) -> F,
) -> Result<Vec<ReadOutcome>, DatabaseError>
where
    F: Future<Output = Result<Vec<ReadOutcome>, DatabaseError>>,
{
    let absent = |read: &Read| match read {
        Read::Load(_) => ReadOutcome::Session(None),
        Read::Exists(_) => ReadOutcome::Exists(false),
    };
    let takes = |read: &Read| match read {
        Read::Load(key) | Read::Exists(key) => layout.takes_key(key),
    };
    asked(batch, takes, absent, ask).await
}

/// Passes the writes that the layout can hold to `ask`, and answers the others itself.
///
/// # Errors
///
/// [`DatabaseError::Invalid`] for the whole batch if the layout cannot hold one of its sessions. Then nothing is
/// written.
pub(crate) async fn write<F>(
    layout: Layout,
    batch: Vec<Write>,
    ask: impl FnOnce(Vec<Write>) -> F,
) -> Result<Vec<WriteOutcome>, DatabaseError>
where
    F: Future<Output = Result<Vec<WriteOutcome>, DatabaseError>>,
{
    for write in &batch {
        match write {
            Write::Insert(session) | Write::Upsert(session) => layout.check(session)?,
            Write::Update(session) if layout.takes_key(&session.key) => layout.check(session)?,
            Write::Update(_) | Write::Touch(..) | Write::Delete(_) => {}
        }
    }
    asked(batch, |write| layout.takes_key(write.key()), |_| WriteOutcome::Missing, ask).await
}

/// Passes the keys that the layout can hold to `ask`, which locks them. The others need no lock: nobody can insert a
/// row under them.
pub(crate) async fn lock<F>(
    layout: Layout,
    keys: Vec<SessionKey>,
    ask: impl FnOnce(Vec<SessionKey>) -> F,
) -> Result<Vec<Option<Session>>, DatabaseError>
where
    F: Future<Output = Result<Vec<Option<Session>>, DatabaseError>>,
{
    asked(keys, |key| layout.takes_key(key), |_| None, ask).await
}

/// Asks for the items of a batch that the table takes. The answer for the others is known.
async fn asked<Q, A, F>(
    batch: Vec<Q>,
    takes: impl Fn(&Q) -> bool,
    known: impl Fn(&Q) -> A,
    ask: impl FnOnce(Vec<Q>) -> F,
) -> Result<Vec<A>, DatabaseError>
where
    F: Future<Output = Result<Vec<A>, DatabaseError>>,
{
    if batch.iter().all(&takes) {
        return ask(batch).await;
    }
    let answers: Vec<Option<A>> = batch.iter().map(|one| (!takes(one)).then(|| known(one))).collect();
    let open: Vec<Q> = batch.into_iter().filter(takes).collect();
    let mut told = if open.is_empty() { Vec::new() } else { ask(open).await? }.into_iter();
    // If there are fewer answers than questions, the caller must notice it.
    Ok(answers.into_iter().filter_map(|answer| answer.or_else(|| told.next())).collect())
}
