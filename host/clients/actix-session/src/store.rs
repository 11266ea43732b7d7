//! The trait of actix-session.

use std::collections::HashMap;

use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
use anyhow::{Error, Result, anyhow};
use switchover::{Payload, SaveOutcome, Timestamp, expires_in};
use time::Duration;

use crate::SwitchoverStore;

type State = HashMap<String, String>;

impl SessionStore for SwitchoverStore {
    /// `None` for a key that no session can have: a cookie may be another store's.
    async fn load(&self, key: &SessionKey) -> Result<Option<State>, LoadError> {
        let Some(key) = parsed(key) else { return Ok(None) };
        let found = self.sessions.load(&key).await.map_err(|error| LoadError::Other(error.into()))?;
        found.map(|session| state(&session.payload)).transpose()
    }

    async fn save(&self, state: State, ttl: &Duration) -> Result<SessionKey, SaveError> {
        let payload = payload(&state).map_err(SaveError::Serialization)?;
        let key = self.sessions.create(payload, end(ttl)).await.map_err(|error| SaveError::Other(error.into()))?;
        key.expose().to_owned().try_into().map_err(|_| SaveError::Other(anyhow!("a new key of the host is too long")))
    }

    /// Never creates a session. Fails if it was logged out, or has ended, in the meantime.
    async fn update(&self, key: SessionKey, state: State, ttl: &Duration) -> Result<SessionKey, UpdateError> {
        let payload = payload(&state).map_err(UpdateError::Serialization)?;
        let existing = parsed(&key).ok_or_else(|| UpdateError::Other(gone()))?;
        self.alive(&existing).await.map_err(UpdateError::Other)?;
        let outcome = self.sessions.save(&existing, payload, end(ttl)).await;
        written(outcome.map_err(|error| UpdateError::Other(error.into()))?).map_err(UpdateError::Other)?;
        Ok(key)
    }

    /// Moves the end to a later time, never to an earlier one. Fails as `update` does.
    async fn update_ttl(&self, key: &SessionKey, ttl: &Duration) -> Result<()> {
        let key = parsed(key).ok_or_else(gone)?;
        self.alive(&key).await?;
        written(self.sessions.touch(&key, end(ttl)).await?)
    }

    /// Fails if there is none: the middleware gives the session a new key after this, and must not if it was logged out.
    async fn delete(&self, key: &SessionKey) -> Result<()> {
        let key = parsed(key).ok_or_else(gone)?;
        if self.sessions.delete(&key).await? { Ok(()) } else { Err(gone()) }
    }
}

impl SwitchoverStore {
    /// A write would give a session that has ended a new end, as long as its row is there. The cache has the answer, if
    /// there is one: the request has just loaded the session.
    async fn alive(&self, key: &switchover::SessionKey) -> Result<()> {
        self.sessions.load(key).await?.map(|_| ()).ok_or_else(gone)
    }
}

fn parsed(key: &SessionKey) -> Option<switchover::SessionKey> {
    switchover::SessionKey::parse(key.as_ref()).ok()
}

/// A time to live below zero is an end now.
fn end(ttl: &Duration) -> Timestamp {
    expires_in((*ttl).try_into().unwrap_or_default())
}

fn payload(state: &State) -> Result<Payload> {
    Ok(Payload::from(serde_json::to_vec(state)?))
}

fn state(payload: &Payload) -> Result<State, LoadError> {
    // The words of serde's errors may repeat what is stored.
    serde_json::from_slice(payload.expose())
        .map_err(|_| LoadError::Deserialization(anyhow!("the payload is not the JSON of a session")))
}

fn written(outcome: SaveOutcome) -> Result<()> {
    match outcome {
        SaveOutcome::Saved => Ok(()),
        SaveOutcome::Missing => Err(gone()),
        SaveOutcome::Conflict => Err(anyhow!("another call changed the session at the same time: try again")),
        SaveOutcome::Exists => Err(anyhow!("an update was answered as if it were a create")),
    }
}

fn gone() -> Error {
    anyhow!("the session was logged out, or has ended, in the meantime; it stays so")
}
