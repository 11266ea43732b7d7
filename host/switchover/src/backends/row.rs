//! The columns of a row as the parts of a session, and what is said of a row that is none.

use crate::capabilities::DatabaseError;
use crate::session::{Payload, SessionKey, Timestamp};

/// What is said of a row whose key is none: there is no hash to tell it by.
pub(super) const FOREIGN_KEY: &str = "a row's key is not one of Django's";

/// What is said of a row whose columns are not a session's: `what` it has.
pub(super) fn corrupt_row(key: &SessionKey, what: &str) -> DatabaseError {
    DatabaseError::Corrupt { message: format!("the row {} has {what}", key.short_hash()) }
}

/// `None`: the column holds no time that Django writes.
pub(super) fn expiry_of_row(key: &SessionKey, expires_at: Option<Timestamp>) -> Result<Timestamp, DatabaseError> {
    expires_at.ok_or_else(|| corrupt_row(key, "an expiry that is not a time as Django writes it"))
}

pub(super) fn payload_of_row(key: &SessionKey, payload: &str) -> Result<Payload, DatabaseError> {
    Payload::parse(payload).map_err(|_| corrupt_row(key, "a payload with NUL in it"))
}
