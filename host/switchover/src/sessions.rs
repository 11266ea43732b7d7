//! The session store, as a service uses it.

use std::sync::Arc;

use switchover_contract::{ErrorCode, SaveMode, SaveOutcome};
use switchover_core::{Payload, Session, SessionKey, Timestamp};
use switchover_runtime::Error;
use switchover_runtime::call::{ClearExpired, Delete, Exists, Load, Save, Touch};
use switchover_runtime::limits::DELETE_EXPIRED_MAX;

use crate::host::{Admitted, Host, Switchover, to_the_end};

/// New keys that are tried before a create gives up. With 165 random bits the second one is a formality.
const NEW_KEYS_MAX: u32 = 3;

/// The session store of a host. Cheap to clone; shared by all tasks.
///
/// Cancel safety: a call that may write goes on to its end when its future is dropped after it was let in, so that a client that
/// disconnects never leaves half a write behind; nobody hears its answer. A dropped [`Sessions::create`] leaves a session that lives until
/// it expires and whose key nobody has, a dropped [`Sessions::cycle_key`] takes the old key away and logs its user out: spawn both where
/// a client may go away, and keep the key. [`Sessions::load`] and [`Sessions::exists`] end with their future, and free their
/// place; what a policy wrote on the way stands, or goes on to its end.
///
/// # Errors
///
/// Every method fails as [`Error`] says. An error is never "no session".
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

/// What came of giving a session a new key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CycleOutcome {
    /// The session has this key now, and its old one is gone.
    Cycled(SessionKey),
    /// There is no such session, or it was logged out meanwhile. Nothing is left under a new key.
    Missing,
}

impl Sessions {
    /// Creates a session under a new key from the operating system's random source.
    pub async fn create(&self, payload: Payload, expires_at: Timestamp) -> Result<SessionKey, Error> {
        let admitted = self.host.admit().await?;
        to_the_end(async move { create(&admitted, Session::new(SessionKey::random(), payload, expires_at)).await })
            .await
    }

    /// Finds a session. `None`: there is none, or it has ended.
    pub async fn load(&self, key: &SessionKey) -> Result<Option<Session>, Error> {
        self.host.ask(Load(key.clone())).await
    }

    /// As [`Sessions::load`], from a database and never from the cache: for what is read in order to be written, and for whoever must not
    /// see an entry that another host could not remove. Cost: a round trip to a database at least.
    pub async fn load_uncached(&self, key: &SessionKey) -> Result<Option<Session>, Error> {
        self.host.ask_past_cache(Load(key.clone())).await
    }

    /// Saves a session that exists: [`SaveOutcome::Saved`], or [`SaveOutcome::Missing`] if it was logged out meanwhile. Never
    /// creates one.
    pub async fn save(&self, key: &SessionKey, payload: Payload, expires_at: Timestamp) -> Result<SaveOutcome, Error> {
        let session = Session::new(key.clone(), payload, expires_at);
        self.host.ask(Save(session, SaveMode::Update)).await
    }

    /// Moves the end of a session to a later time, without writing its payload again; never to an earlier one.
    ///
    /// Each touch is a write, and takes the session out of the cache: a service that touches at every request pays one for each. It may
    /// leave out those that gain little, since `load` has told it when the session ends:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use switchover::{Error, SaveOutcome, Session, Sessions, expires_in};
    /// # async fn serve(sessions: &Sessions, session: &Session) -> Result<(), Error> {
    /// const LIFE: Duration = Duration::from_secs(3_600);
    /// const STEP: Duration = Duration::from_secs(60);
    /// let end = expires_in(LIFE);
    /// if end.since(session.expires_at) >= STEP && sessions.touch(&session.key, end).await? == SaveOutcome::Missing {
    ///     // Logged out meanwhile.
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// A session then ends up to a `STEP` earlier than without. The host leaves none out by itself: it would have to answer
    /// [`SaveOutcome::Saved`] without having asked whether the session is still there.
    pub async fn touch(&self, key: &SessionKey, expires_at: Timestamp) -> Result<SaveOutcome, Error> {
        self.host.ask(Touch(key.clone(), expires_at)).await
    }

    /// Whether the key is taken, also by a session that has ended.
    pub async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        self.host.ask(Exists(key.clone())).await
    }

    /// Ends a session; `true`: it was there. After either answer no later load finds it.
    pub async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        self.host.ask(Delete(key.clone())).await
    }

    /// Deletes at most `limit` sessions that have ended, 10,000 in one call whatever the limit, and answers how many. `0`: none is left.
    pub async fn clear_expired(&self, limit: u32) -> Result<u32, Error> {
        self.host.ask(ClearExpired(limit.min(DELETE_EXPIRED_MAX))).await
    }

    /// Gives a session a new key, against session fixation: at a login for example. Under one version of the policy and one
    /// snapshot of flags: load the old, create the new, delete the old. If that delete finds nothing, somebody logged out in
    /// between, and the new one is deleted too; if that fails, it is left until it expires, nobody is told it, and
    /// [`HostCounts::new_keys_left`](crate::HostCounts::new_keys_left) counts it.
    ///
    /// A save under the old key that is under way at the same time may be acknowledged and yet not be in the new session, as with
    /// Django's `cycle_key`: a service makes no other call for a session while it gives it a new key.
    ///
    /// # Errors
    ///
    /// [`Error::CycleIncomplete`] carries the new key, and says that the old one may live.
    pub async fn cycle_key(&self, key: &SessionKey) -> Result<CycleOutcome, Error> {
        let admitted = self.host.admit().await?;
        let old_key = key.clone();
        to_the_end(async move { cycle(&admitted, old_key).await }).await
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
    // What the new key gets is what a database has: an entry of the cache may be older than what another host has acknowledged.
    let Some(old) = admitted.ask_past_cache(Load(old_key.clone())).await? else {
        return Ok(CycleOutcome::Missing);
    };
    let new_key = create(admitted, old).await?;
    match admitted.ask(Delete(old_key)).await {
        Ok(true) => Ok(CycleOutcome::Cycled(new_key)),
        Ok(false) => {
            if let Err(error) = admitted.ask(Delete(new_key)).await {
                admitted.new_key_left();
                tracing::warn!("a new key that nobody was told is left until it expires: {error}");
            }
            Ok(CycleOutcome::Missing)
        }
        Err(source) => Err(Error::CycleIncomplete { new_key, source: Box::new(source) }),
    }
}
