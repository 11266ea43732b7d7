//! A host that traffic goes to, in this process or in another one.

use switchover::{CycleOutcome, Error, Payload, SaveOutcome, Session, SessionKey, Sessions, Timestamp};

#[cfg(feature = "processes")]
use crate::remote::Remote;

/// A host.
#[derive(Clone)]
pub enum Host {
    /// In this process.
    Here(Sessions),
    /// In another one.
    #[cfg(feature = "processes")]
    There(Remote),
}

impl From<Sessions> for Host {
    fn from(sessions: Sessions) -> Self {
        Self::Here(sessions)
    }
}

impl Host {
    pub(crate) async fn create(&self, payload: Payload, until: Timestamp) -> Result<SessionKey, Error> {
        match self {
            Self::Here(host) => host.create(payload, until).await,
            #[cfg(feature = "processes")]
            Self::There(host) => host.create(payload, until).await,
        }
    }

    pub(crate) async fn load(&self, key: &SessionKey) -> Result<Option<Session>, Error> {
        match self {
            Self::Here(host) => host.load(key).await,
            #[cfg(feature = "processes")]
            Self::There(host) => host.load(key).await,
        }
    }

    pub(crate) async fn save(
        &self,
        key: &SessionKey,
        payload: Payload,
        until: Timestamp,
    ) -> Result<SaveOutcome, Error> {
        match self {
            Self::Here(host) => host.save(key, payload, until).await,
            #[cfg(feature = "processes")]
            Self::There(host) => host.save(key, payload, until).await,
        }
    }

    pub(crate) async fn touch(&self, key: &SessionKey, until: Timestamp) -> Result<SaveOutcome, Error> {
        match self {
            Self::Here(host) => host.touch(key, until).await,
            #[cfg(feature = "processes")]
            Self::There(host) => host.touch(key, until).await,
        }
    }

    pub(crate) async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        match self {
            Self::Here(host) => host.delete(key).await,
            #[cfg(feature = "processes")]
            Self::There(host) => host.delete(key).await,
        }
    }

    pub(crate) async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        match self {
            Self::Here(host) => host.exists(key).await,
            #[cfg(feature = "processes")]
            Self::There(host) => host.exists(key).await,
        }
    }

    pub(crate) async fn cycle_key(&self, key: &SessionKey) -> Result<CycleOutcome, Error> {
        match self {
            Self::Here(host) => host.cycle_key(key).await,
            #[cfg(feature = "processes")]
            Self::There(host) => host.cycle_key(key).await,
        }
    }

    pub(crate) async fn clear_expired(&self, limit: u32) -> Result<u32, Error> {
        match self {
            Self::Here(host) => host.clear_expired(limit).await,
            #[cfg(feature = "processes")]
            Self::There(host) => host.clear_expired(limit).await,
        }
    }
}
