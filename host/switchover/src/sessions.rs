//! The session store, as a service uses it.

use std::sync::Arc;

use switchover_contract::{ErrorCode, SaveMode, SaveOutcome};
use switchover_core::{Payload, Session, SessionKey, Timestamp};
use switchover_runtime::Error;
use switchover_runtime::call::{ClearExpired, Delete, Exists, Load, Save, Touch};
use switchover_runtime::limits::DELETE_EXPIRED_MAX;

use crate::host::{Admitted, Host, Switchover, to_the_end};
use crate::trace::CallSpan;

/// New keys that are tried before a create gives up. With 165 random bits even the second one is hardly ever needed.
const NEW_KEYS_MAX: u32 = 3;

/// The session store of a host. Cheap to clone; shared by all tasks.
///
/// Cancel safety: if the future of an admitted call that may write is dropped, the call still runs to its end. So a
/// client that disconnects never leaves half a write behind, but its answer is lost. A dropped [`Sessions::create`]
/// leaves a session whose key nobody has, until it expires. A dropped [`Sessions::cycle_key`] removes the old key and
/// so logs its user out. If a client may go away, spawn these two and keep the key. [`Sessions::load`] and
/// [`Sessions::exists`] end with their future, and free their place. What a policy wrote in such a call stays, or runs
/// to its end.
///
/// # Errors
///
/// See [`Error`]. An error is never "no session".
#[derive(Clone)]
pub struct Sessions {
    host: Arc<Host>,
}

impl Switchover {
    /// The session store. Cheap, and so are its clones.
    pub fn sessions(&self) -> Sessions {
        Sessions { host: Arc::clone(&self.host) }
    }
}

/// The result of [`Sessions::cycle_key`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CycleOutcome {
    /// The session has this key now, and its old key is deleted.
    Cycled(SessionKey),
    /// There is no such session, or it was logged out in the meantime. No caller has the new key.
    Missing,
}

impl Sessions {
    /// Creates a session under a new key from the operating system's random source.
    pub async fn create(&self, payload: Payload, expires_at: Timestamp) -> Result<SessionKey, Error> {
        let admitted = self.host.admit(CallSpan::begin("create")).await?;
        let like = Session::new(SessionKey::random(), payload, expires_at);
        to_the_end(async move { admitted.ended(create(&admitted, like).await) }).await
    }

    /// As [`Sessions::create`], under a key that the caller made, as the clients of Django and of other libraries do.
    /// Returns [`SaveOutcome::Saved`], or [`SaveOutcome::Exists`] if the key is taken, also by a session that has
    /// ended. Who knows a key has its session: make it from a source of randomness for secrets, with 128 bits or more.
    pub async fn create_with_key(
        &self,
        key: &SessionKey,
        payload: Payload,
        expires_at: Timestamp,
    ) -> Result<SaveOutcome, Error> {
        let session = Session::new(key.clone(), payload, expires_at);
        self.host.ask(Save(session, SaveMode::Create)).await
    }

    /// Finds a session. `None` if there is none, or if it has ended.
    pub async fn load(&self, key: &SessionKey) -> Result<Option<Session>, Error> {
        self.host.ask(Load(key.clone())).await
    }

    /// As [`Sessions::load`], but from a database and never from the cache. Use it for a session that is read in order
    /// to be written, and where an entry that another host could not remove must not be seen. Cost: at least one round
    /// trip to a database.
    pub async fn load_uncached(&self, key: &SessionKey) -> Result<Option<Session>, Error> {
        self.host.ask_past_cache(Load(key.clone())).await
    }

    /// Saves an existing session. Returns [`SaveOutcome::Saved`], or [`SaveOutcome::Missing`] if it was logged out in
    /// the meantime. It never creates a session.
    pub async fn save(&self, key: &SessionKey, payload: Payload, expires_at: Timestamp) -> Result<SaveOutcome, Error> {
        let session = Session::new(key.clone(), payload, expires_at);
        self.host.ask(Save(session, SaveMode::Update)).await
    }

    /// Moves the end of a session to a later time, never to an earlier one. It does not write the payload again.
    ///
    /// Each touch is a write, and removes the session from the cache. A service that touches at every request pays this
    /// for each. It may leave out touches that gain little, since the loaded session says when it ends:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use switchover::{Error, SaveOutcome, Session, Sessions, expires_in};
    /// # async fn serve(sessions: &Sessions, session: &Session) -> Result<(), Error> {
    /// const LIFE: Duration = Duration::from_secs(3_600);
    /// const STEP: Duration = Duration::from_secs(60);
    /// let end = expires_in(LIFE);
    /// if end.since(session.expires_at) >= STEP && sessions.touch(&session.key, end).await? == SaveOutcome::Missing {
    ///     // Logged out in the meantime.
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// A session then ends up to one `STEP` earlier than without this. The host leaves out no touch by itself: it would
    /// have to return [`SaveOutcome::Saved`] without having asked whether the session still exists.
    pub async fn touch(&self, key: &SessionKey, expires_at: Timestamp) -> Result<SaveOutcome, Error> {
        self.host.ask(Touch(key.clone(), expires_at)).await
    }

    /// Whether the key is taken, also by a session that has ended.
    pub async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        self.host.ask(Exists(key.clone())).await
    }

    /// Ends a session. Returns whether there was one. After either answer no later load finds it.
    pub async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        self.host.ask(Delete(key.clone())).await
    }

    /// Deletes at most `limit` sessions that have ended, and never more than 10,000 in one call. Returns how many; `0`
    /// means that none is left.
    pub async fn clear_expired(&self, limit: u32) -> Result<u32, Error> {
        self.host.ask(ClearExpired(limit.min(DELETE_EXPIRED_MAX))).await
    }

    /// Gives a session a new key, at a login for example, against session fixation. It loads the old session, creates
    /// the new one and deletes the old one, all under one version of the policy and one snapshot of flags. If that
    /// delete finds nothing, the session was logged out in between, and the new one is deleted too. If this fails, the
    /// new session stays until it expires. No caller gets its key, and
    /// [`HostCounts::new_keys_left`](crate::HostCounts::new_keys_left) counts it.
    ///
    /// A concurrent save under the old key may be acknowledged and still be missing in the new session, as with
    /// Django's `cycle_key`. So a service must make no other call for a session while it gives the session a new key.
    ///
    /// # Errors
    ///
    /// [`Error::CycleIncomplete`] carries the new key. It means that the old key may still be valid.
    pub async fn cycle_key(&self, key: &SessionKey) -> Result<CycleOutcome, Error> {
        let admitted = self.host.admit(CallSpan::begin("cycle-key")).await?;
        let old_key = key.clone();
        to_the_end(async move { admitted.ended(cycle(&admitted, old_key).await) }).await
    }
}

/// Creates a session like this one under a key that nobody has.
async fn create(admitted: &Admitted, like: Session) -> Result<SessionKey, Error> {
    for _ in 0..NEW_KEYS_MAX {
        let key = SessionKey::random();
        let session = Session { key: key.clone(), ..like.clone() };
        match admitted.ask(Save(session, SaveMode::Create)).await? {
            SaveOutcome::Saved => return Ok(key),
            SaveOutcome::Exists => {}
            SaveOutcome::Missing | SaveOutcome::Conflict => {
                let message = "a create was answered as if it were an update".to_owned();
                return Err(Error::Internal { message });
            }
        }
    }
    Err(Error::Unavailable { code: ErrorCode::Conflict, message: "every new key was taken".to_owned() })
}

async fn cycle(admitted: &Admitted, old_key: SessionKey) -> Result<CycleOutcome, Error> {
    // The new key gets what a database has: an entry of the cache may be older than what another host has acknowledged.
    let Some(old) = admitted.ask_past_cache(Load(old_key.clone())).await? else {
        return Ok(CycleOutcome::Missing);
    };
    let new_key = create(admitted, old).await?;
    match admitted.ask(Delete(old_key)).await {
        Ok(true) => Ok(CycleOutcome::Cycled(new_key)),
        Ok(false) => {
            if let Err(error) = admitted.ask(Delete(new_key)).await {
                admitted.new_key_left();
                tracing::warn!("a new session whose key no caller has could not be deleted; it will expire: {error}");
            }
            Ok(CycleOutcome::Missing)
        }
        Err(source) => Err(Error::CycleIncomplete { new_key, source: Box::new(source) }),
    }
}
