//! A row of a table as a session, or what is wrong with it.

use super::link::Failure;
use crate::backends::row::{FOREIGN_KEY, expiry_of_row, payload_of_row};
use crate::capabilities::{DatabaseError, Scan};
use crate::session::{Session, SessionKey, Timestamp};

/// A session from the columns of its row; `None`: the expiry is not a time that Django writes.
pub(in crate::backends) fn session_of_row(
    key: &SessionKey,
    payload: &str,
    expires_at: Option<Timestamp>,
) -> Result<Session, DatabaseError> {
    let (expires_at, payload) = (expiry_of_row(key, expires_at)?, payload_of_row(key, payload)?);
    Ok(Session { key: key.clone(), payload, expires_at })
}

/// A page from rows in the order of their keys, one more than `limit` if there are: the key as it stands there, whether the row
/// lives, and the row.
pub(in crate::backends) fn page_of_rows<R>(
    rows: Vec<(&str, bool, R)>,
    limit: u32,
    session: impl Fn(&SessionKey, R) -> Result<Session, DatabaseError>,
) -> Result<Scan, Failure> {
    let more = rows.len() > limit as usize;
    let mut page = Scan { sessions: Vec::new(), corrupt: Vec::new(), next: None };
    let mut unreadable = 0;
    for (key, alive, row) in rows.into_iter().take(limit as usize) {
        let Ok(key) = SessionKey::parse(key) else {
            unreadable += 1;
            continue;
        };
        page.next = Some(key.clone());
        if alive {
            match session(&key, row) {
                Ok(session) => page.sessions.push(session),
                Err(error) => page.corrupt.push(error.to_string()),
            }
        }
    }
    for _ in 0..unreadable {
        page.corrupt.push(FOREIGN_KEY.to_owned());
    }
    if !more {
        page.next = None;
    } else if page.next.is_none() {
        return Err(Failure::corrupt(format!("{unreadable} rows in a row whose keys are not Django's")));
    }
    Ok(page)
}
