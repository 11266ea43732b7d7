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
        Read::Load(key) => (!layout.takes_key(key)).then_some(ReadOutcome::Session(None)),
        Read::Exists(key) => (!layout.takes_key(key)).then_some(ReadOutcome::Exists(false)),
    };
    asked(batch, absent, ask).await
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
    let missing = |write: &Write| (!layout.takes_key(write.key())).then_some(WriteOutcome::Missing);
    asked(batch, missing, ask).await
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
    asked(keys, |key| (!layout.takes_key(key)).then_some(None), ask).await
}

/// Asks for the items of a batch whose answer is not `known`.
async fn asked<Q, A, F>(
    batch: Vec<Q>,
    known: impl Fn(&Q) -> Option<A>,
    ask: impl FnOnce(Vec<Q>) -> F,
) -> Result<Vec<A>, DatabaseError>
where
    F: Future<Output = Result<Vec<A>, DatabaseError>>,
{
    let mut answers: Vec<Option<A>> = batch.iter().map(known).collect();
    let open = answers.iter().filter(|answer| answer.is_none()).count();
    if open == answers.len() {
        return ask(batch).await;
    }
    if open == 0 {
        return Ok(answers.into_iter().flatten().collect());
    }
    let unknown = batch.into_iter().zip(&answers).filter(|(_, answer)| answer.is_none()).map(|(one, _)| one);
    let mut told = ask(unknown.collect()).await?.into_iter();
    for answer in answers.iter_mut().filter(|answer| answer.is_none()) {
        *answer = told.next();
    }
    // If there are fewer answers than questions, the caller must notice it.
    Ok(answers.into_iter().flatten().collect())
}
