//! A row of a table as a session, or what is wrong with it.

use switchover_core::capabilities::Unreadable;
use switchover_core::{Session, SessionKey, Timestamp};

use crate::row::{expiry_of_row, payload_of_row};

/// A session from the columns of its row, as bytes; `None`: the expiry is not a time that Django writes.
pub(crate) fn session_of_row(
    key: &SessionKey,
    payload: &[u8],
    expires_at: Option<Timestamp>,
) -> Result<Session, Unreadable> {
    let (expires_at, payload) = (expiry_of_row(key, expires_at)?, payload_of_row(key, str::from_utf8(payload).ok())?);
    Ok(Session { key: key.clone(), payload, expires_at })
}

/// The key of a row, if it is one.
pub(crate) fn key_of_row(key: &[u8]) -> Option<SessionKey> {
    SessionKey::parse(str::from_utf8(key).ok()?).ok()
}
