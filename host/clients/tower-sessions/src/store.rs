//! The traits of tower-sessions, for each version of its core.

use switchover::{InvalidKey, Payload, SessionKey, Timestamp};
use time::OffsetDateTime;

/// Microseconds, as every layout keeps them.
fn timestamp(end: OffsetDateTime) -> Timestamp {
    let micros = end.unix_timestamp_nanos() / 1_000;
    Timestamp::from_micros(micros.max(0).try_into().unwrap_or(u64::MAX))
}

/// Every instant of Switchover is before the year 10000, as those of `time` are.
fn date(end: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(end.as_micros()) * 1_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn key(id: &dyn std::fmt::Display) -> Result<SessionKey, InvalidKey> {
    SessionKey::parse(&id.to_string())
}

macro_rules! of_core {
    ($core:ident, $module:ident) => {
        mod $module {
            use std::time::Duration;

            use async_trait::async_trait;
            use switchover::SaveOutcome;
            use $core::session::{Id, Record};
            use $core::session_store::{Error, Result};
            use $core::{ExpiredDeletion, SessionStore};

            use super::{Payload, date, key, timestamp};
            use crate::SwitchoverStore;

            fn backend(error: impl ToString) -> Error {
                Error::Backend(error.to_string())
            }

            fn payload(record: &Record) -> Result<Payload> {
                let written = serde_json::to_vec(&record.data);
                written.map(Payload::from).map_err(|error| Error::Encode(error.to_string()))
            }

            #[async_trait]
            impl SessionStore for SwitchoverStore {
                async fn create(&self, record: &mut Record) -> Result<()> {
                    let payload = payload(record)?;
                    loop {
                        let key = key(&record.id).map_err(backend)?;
                        let end = timestamp(record.expiry_date);
                        match self.sessions.create_with_key(&key, payload.clone(), end).await.map_err(backend)? {
                            SaveOutcome::Exists => record.id = Id::default(),
                            SaveOutcome::Saved => return Ok(()),
                            SaveOutcome::Missing | SaveOutcome::Conflict => {
                                return Err(backend("a create was answered as if it were an update"));
                            }
                        }
                    }
                }

                async fn save(&self, record: &Record) -> Result<()> {
                    let (key, end) = (key(&record.id).map_err(backend)?, timestamp(record.expiry_date));
                    match self.sessions.save(&key, payload(record)?, end).await.map_err(backend)? {
                        SaveOutcome::Saved => Ok(()),
                        _ => Err(backend("the session was logged out, or has ended, in the meantime; it stays so")),
                    }
                }

                async fn load(&self, id: &Id) -> Result<Option<Record>> {
                    let found = self.sessions.load(&key(id).map_err(backend)?).await.map_err(backend)?;
                    found
                        .map(|session| {
                            // The words of serde's errors may repeat what is stored.
                            let data = serde_json::from_slice(session.payload.expose())
                                .map_err(|_| Error::Decode("the payload is not the JSON of a session".to_owned()))?;
                            Ok(Record { id: *id, data, expiry_date: date(session.expires_at) })
                        })
                        .transpose()
                }

                async fn delete(&self, id: &Id) -> Result<()> {
                    self.sessions.delete(&key(id).map_err(backend)?).await.map_err(backend)?;
                    Ok(())
                }
            }

            #[async_trait]
            impl ExpiredDeletion for SwitchoverStore {
                async fn delete_expired(&self) -> Result<()> {
                    self.clear().await.map_err(backend)
                }

                /// Goes on after an error, and logs it: a database may be away for a moment.
                async fn continuously_delete_expired(self, period: Duration) -> Result<()> {
                    let mut interval = tokio::time::interval(period);
                    // The first tick is at once.
                    interval.tick().await;
                    loop {
                        interval.tick().await;
                        if let Err(error) = self.delete_expired().await {
                            tracing::warn!(
                                "ended sessions could not be deleted; the next try is in {period:?}: {error}"
                            );
                        }
                    }
                }
            }
        }
    };
}

#[cfg(feature = "core-0-14")]
of_core!(core_0_14, for_0_14);
#[cfg(feature = "core-0-15")]
of_core!(core_0_15, for_0_15);
