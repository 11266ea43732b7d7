//! The columns of a row as the parts of a session, and what is said of a row that is none.

use switchover_core::capabilities::Unreadable;
use switchover_core::{Layout, Payload, SessionKey, Timestamp};
#[cfg(any(feature = "postgres", feature = "mysql"))]
use switchover_core::{Others, Session};

/// A row whose key is not one of its layout's, by the bytes of its key.
pub(super) fn foreign_row(layout: Layout, key: &[u8]) -> Unreadable {
    Unreadable::new(key, format!("has a key that the layout `{}` does not take", layout.name()))
}

/// A row whose columns are not a session's: `what` it has.
pub(super) fn unreadable_row(key: &SessionKey, what: &str) -> Unreadable {
    Unreadable::new(key.expose().as_bytes(), format!("has {what}"))
}

/// `None`: the column holds no time as the layout writes it.
pub(super) fn expiry_of_row(key: &SessionKey, expires_at: Option<Timestamp>) -> Result<Timestamp, Unreadable> {
    expires_at.ok_or_else(|| unreadable_row(key, "an expiry that is not a time as its layout writes it"))
}

/// `None`: the column holds a value of another type than the layout's.
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

/// A session from its columns.
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
