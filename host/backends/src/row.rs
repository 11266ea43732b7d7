//! Makes a session from the columns of a row, and errors for rows that hold no session.

use switchover_core::capabilities::Unreadable;
use switchover_core::{Layout, Payload, SessionKey, Timestamp};
#[cfg(any(feature = "postgres", feature = "mysql"))]
use switchover_core::{Others, Session};

/// The error for a row whose key the layout does not take. `key` has the bytes of the row's key.
pub(super) fn foreign_row(layout: Layout, key: &[u8]) -> Unreadable {
    Unreadable::new(key, format!("has a key that the layout `{}` does not take", layout.name()))
}

/// The error for a row whose columns do not hold a session; `what` says what they hold instead.
pub(super) fn unreadable_row(key: &SessionKey, what: &str) -> Unreadable {
    Unreadable::new(key.expose().as_bytes(), format!("has {what}"))
}

/// `expires_at` is `None` if the column does not hold a time in the form of the layout.
pub(super) fn expiry_of_row(key: &SessionKey, expires_at: Option<Timestamp>) -> Result<Timestamp, Unreadable> {
    expires_at.ok_or_else(|| unreadable_row(key, "an expiry that is not a time as its layout writes it"))
}

/// `payload` is `None` if the column holds a value of another type than the layout's.
pub(super) fn payload_of_row(layout: Layout, key: &SessionKey, payload: Option<&[u8]>) -> Result<Payload, Unreadable> {
    if layout.has_bytes() {
        return payload.map(Payload::from).ok_or_else(|| unreadable_row(key, "a payload that is not bytes"));
    }
    let text = payload.and_then(|payload| str::from_utf8(payload).ok());
    let text = text.ok_or_else(|| unreadable_row(key, "a payload that is not UTF-8 text"))?;
    if text.contains('\0') {
        return Err(unreadable_row(key, "a payload with NUL in it"));
    }
    Ok(Payload::from(text))
}

/// Makes a session from its columns.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) fn session_of_row(
    layout: Layout,
    key: &SessionKey,
    payload: &[u8],
    expires_at: Option<Timestamp>,
    others: Others,
) -> Result<Session, Unreadable> {
    let (expires_at, payload) = (expiry_of_row(key, expires_at)?, payload_of_row(layout, key, Some(payload))?);
    Ok(Session { key: key.clone(), payload, expires_at, others })
}
