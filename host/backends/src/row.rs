//! The columns of a row as the parts of a session, and what is said of a row that is none.

use switchover_core::capabilities::Unreadable;
use switchover_core::{Payload, SessionKey, Timestamp};

/// A row whose key is none, by the bytes of its key.
pub(super) fn foreign_row(key: &[u8]) -> Unreadable {
    Unreadable::new(key, "has a key that is not one of Django's")
}

/// A row whose columns are not a session's: `what` it has.
pub(super) fn unreadable_row(key: &SessionKey, what: &str) -> Unreadable {
    Unreadable::new(key.expose().as_bytes(), format!("has {what}"))
}

/// `None`: the column holds no time that Django writes.
pub(super) fn expiry_of_row(key: &SessionKey, expires_at: Option<Timestamp>) -> Result<Timestamp, Unreadable> {
    expires_at.ok_or_else(|| unreadable_row(key, "an expiry that is not a time as Django writes it"))
}

/// `None`: the column holds no text in UTF-8.
pub(super) fn payload_of_row(key: &SessionKey, payload: Option<&str>) -> Result<Payload, Unreadable> {
    let payload = payload.ok_or_else(|| unreadable_row(key, "a payload that is not UTF-8 text"))?;
    Payload::parse(payload).map_err(|_| unreadable_row(key, "a payload with NUL in it"))
}
