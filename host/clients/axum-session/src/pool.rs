//! The trait of axum_session.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum_session::{DatabaseError, DatabasePool};
use switchover::{Error, Payload, SaveOutcome, SessionKey, Sessions, Timestamp};

use crate::marks::{Mark, Marks};

/// How many ended sessions are deleted at once.
const CLEARED_AT_ONCE: u32 = 10_000;

/// A database pool on Switchover, for axum_session's `SessionStore`. Cheap to clone; clones share what they know.
///
/// It creates an id only once: after [`exists`](DatabasePool::exists) has said that nobody has it. It updates a session
/// only if it was loaded or created here, and if it still exists. It writes nothing of a session whose load failed.
#[derive(Clone)]
pub struct SwitchoverPool {
    sessions: Sessions,
    marks: Arc<Marks>,
}

/// How a session stands that axum_session has in its memory.
pub(crate) enum Standing {
    /// It was not stored yet.
    New,
    /// It is in the database.
    Alive,
    /// It was logged out, or has ended.
    Gone,
    /// Nobody knows.
    Unknown,
}

impl SwitchoverPool {
    /// A pool on these sessions.
    pub fn new(sessions: Sessions) -> Self {
        Self { sessions, marks: Arc::default() }
    }

    /// How a session stands. It asks a database only if the session was not loaded just now.
    pub(crate) async fn standing(&self, id: &str) -> Standing {
        let Ok(key) = SessionKey::parse(id) else { return Standing::Gone };
        let mark = self.marks.of(&key);
        match mark {
            Some(Mark::New) => return Standing::New,
            Some(Mark::Loaded) => {
                self.marks.set(&key, Mark::Known);
                return Standing::Alive;
            }
            Some(Mark::Gone) => return Standing::Gone,
            Some(Mark::Unread) => return Standing::Unknown,
            Some(Mark::Known) | None => {}
        }
        match self.sessions.load(&key).await {
            Ok(None) => {
                self.marks.set(&key, Mark::Gone);
                Standing::Gone
            }
            Ok(Some(_)) if mark.is_some() => Standing::Alive,
            Ok(Some(_)) | Err(_) => Standing::Unknown,
        }
    }

    /// Deletes a session now, whatever axum_session does with it later.
    pub(crate) async fn end(&self, id: &str) -> Result<(), Error> {
        let Ok(key) = SessionKey::parse(id) else { return Ok(()) };
        self.sessions.delete(&key).await?;
        self.marks.set(&key, Mark::Gone);
        Ok(())
    }

    /// A request has this session in axum_session's memory.
    pub(crate) fn entered(&self, id: &str) {
        if let Ok(key) = SessionKey::parse(id) {
            self.marks.entered(&key);
        }
    }

    /// A request that had this session has ended. If it was the last one, `clear_memory` is called.
    pub(crate) fn left(&self, id: &str, clear_memory: impl FnOnce()) {
        match SessionKey::parse(id) {
            Ok(key) => self.marks.left(&key, clear_memory),
            Err(_) => clear_memory(),
        }
    }

    async fn create(&self, key: &SessionKey, payload: Payload, end: Timestamp) -> Result<(), DatabaseError> {
        // Also if it fails: it may have happened.
        self.marks.forget(key);
        match self.sessions.create_with_key(key, payload, end).await.map_err(insert)? {
            SaveOutcome::Saved => {
                self.marks.set(key, Mark::Known);
                Ok(())
            }
            SaveOutcome::Exists => Err(insert("the new id was taken in the meantime")),
            SaveOutcome::Missing | SaveOutcome::Conflict => {
                Err(insert("a create was answered as if it were an update"))
            }
        }
    }

    async fn update(&self, key: &SessionKey, payload: Payload, end: Timestamp) -> Result<(), DatabaseError> {
        match self.sessions.save(key, payload, end).await.map_err(insert)? {
            SaveOutcome::Saved => Ok(()),
            SaveOutcome::Missing => {
                self.marks.set(key, Mark::Gone);
                Err(insert(GONE))
            }
            SaveOutcome::Conflict => Err(insert("another call changed the session at the same time: try again")),
            SaveOutcome::Exists => Err(insert("an update was answered as if it were a create")),
        }
    }
}

const GONE: &str = "the session was logged out, or has ended, in the meantime; it stays so";

#[async_trait]
impl DatabasePool for SwitchoverPool {
    /// Nothing to do: `prepare_table` or an operator makes the tables.
    async fn initiate(&self, _table: &str) -> Result<(), DatabaseError> {
        Ok(())
    }

    async fn store(&self, id: &str, session: &str, expires: i64, _table: &str) -> Result<(), DatabaseError> {
        let key = SessionKey::parse(id).map_err(insert)?;
        let (payload, end) = (Payload::from(session), end(expires));
        match self.marks.of(&key) {
            Some(Mark::New) => self.create(&key, payload, end).await,
            Some(Mark::Loaded | Mark::Known) => self.update(&key, payload, end).await,
            Some(Mark::Gone) => Err(insert(GONE)),
            Some(Mark::Unread) | None => Err(insert("the session could not be loaded, so nothing is written of it")),
        }
    }

    /// `None` for an id that no session can have: it comes from a client.
    async fn load(&self, id: &str, _table: &str) -> Result<Option<String>, DatabaseError> {
        let Ok(key) = SessionKey::parse(id) else { return Ok(None) };
        let found = match self.sessions.load(&key).await {
            Ok(found) => found,
            Err(error) => {
                self.marks.set(&key, Mark::Unread);
                return Err(select(error));
            }
        };
        let Some(session) = found else {
            self.marks.set(&key, Mark::Gone);
            return Ok(None);
        };
        let Some(text) = session.payload.as_text() else {
            self.marks.set(&key, Mark::Unread);
            return Err(select("the payload is not a session of axum_session"));
        };
        self.marks.loaded(&key);
        Ok(Some(text.to_owned()))
    }

    /// Fails if the session was loaded here and is gone now: axum_session gives it a new id after this, and must not if
    /// it was logged out.
    async fn delete_one_by_id(&self, id: &str, _table: &str) -> Result<(), DatabaseError> {
        let Ok(key) = SessionKey::parse(id) else { return Ok(()) };
        let was_here = matches!(self.marks.of(&key), Some(Mark::Loaded | Mark::Known));
        let deleted = self.sessions.delete(&key).await.map_err(delete)?;
        self.marks.set(&key, Mark::Gone);
        if was_here && !deleted { Err(delete(GONE)) } else { Ok(()) }
    }

    /// Whether the id is taken, also by a session that has ended. An id that is not may be created.
    async fn exists(&self, id: &str, _table: &str) -> Result<bool, DatabaseError> {
        let key = SessionKey::parse(id).map_err(select)?;
        let exists = self.sessions.exists(&key).await.map_err(select)?;
        if !exists {
            self.marks.set(&key, Mark::New);
        }
        Ok(exists)
    }

    /// Logs an error and returns without one: after an error axum_session would never ask again. Which sessions were
    /// deleted is not known.
    async fn delete_by_expiry(&self, _table: &str) -> Result<Vec<String>, DatabaseError> {
        loop {
            match self.sessions.clear_expired(CLEARED_AT_ONCE).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!("ended sessions could not be deleted; axum_session tries again: {error}");
                    break;
                }
            }
        }
        Ok(Vec::new())
    }

    async fn count(&self, _table: &str) -> Result<i64, DatabaseError> {
        refuse("Switchover does not count sessions: ask `switchover stats`, or count the rows of its tables")
    }

    async fn delete_all(&self, _table: &str) -> Result<(), DatabaseError> {
        refuse("Switchover deletes a session only by its id: empty its tables and its cache while no service runs")
    }

    /// axum_session asks for them only to fill a Bloom filter.
    async fn get_ids(&self, _table: &str) -> Result<Vec<String>, DatabaseError> {
        refuse("Switchover does not list sessions: turn the Bloom filter off, `with_bloom_filter(false)`")
    }

    /// Which sessions have ended is not reported.
    fn auto_handles_expiry(&self) -> bool {
        true
    }
}

impl fmt::Debug for SwitchoverPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SwitchoverPool").finish_non_exhaustive()
    }
}

fn end(unix_seconds: i64) -> Timestamp {
    Timestamp::from_micros(0).plus(Duration::from_secs(unix_seconds.try_into().unwrap_or_default()))
}

fn insert(error: impl ToString) -> DatabaseError {
    DatabaseError::GenericInsertError(error.to_string())
}

fn select(error: impl ToString) -> DatabaseError {
    DatabaseError::GenericSelectError(error.to_string())
}

fn delete(error: impl ToString) -> DatabaseError {
    DatabaseError::GenericDeleteError(error.to_string())
}

fn refuse<T>(what_to_do: &str) -> Result<T, DatabaseError> {
    Err(DatabaseError::GenericNotSupportedError(what_to_do.to_owned()))
}
