//! Every statement on the table, and how a row is read.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, ToSql};

use super::connection::database_error;
use crate::backends::django_time as time;
use crate::backends::row::{FOREIGN_KEY, corrupt_row, expiry_of_row, payload_of_row};
use crate::backends::table::TableName;
use crate::capabilities::{DatabaseError, Scan, Write, WriteOutcome};
use crate::session::{Session, SessionKey, Timestamp};

/// A page of a scan ends after this many rows, whatever it found: a table of nothing but expired rows must not hold a reader
/// for long.
const SCAN_ROWS_MAX: u32 = 10_000;

/// A row that ended before `?1`. SQLite compares any number as earlier than any text: what does not look like a time of Django's
/// is left alone.
pub(super) const EXPIRED: &str = "expire_date < ?1 AND (\
    expire_date GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]' OR \
    expire_date GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9].[0-9]*')";

/// The statements on one table.
pub(super) struct Statements {
    table: TableName,
    load: String,
    exists: String,
    insert: String,
    update: String,
    upsert: String,
    update_expiry: String,
    delete: String,
    delete_expired: String,
    scan: String,
}

impl Statements {
    pub(super) fn of(table: TableName) -> Self {
        let name = format!("\"{}\"", table.as_str());
        let insert = format!(
            "INSERT INTO {name} (session_key, session_data, expire_date) VALUES (?1, ?2, ?3) ON CONFLICT (session_key)"
        );
        Self {
            table,
            load: format!("SELECT session_key, session_data, expire_date FROM {name} WHERE session_key = ?1"),
            exists: format!("SELECT session_key FROM {name} WHERE session_key = ?1"),
            update: format!("UPDATE {name} SET session_data = ?2, expire_date = ?3 WHERE session_key = ?1"),
            upsert: format!(
                "{insert} DO UPDATE SET session_data = excluded.session_data, expire_date = excluded.expire_date"
            ),
            insert: format!("{insert} DO NOTHING"),
            update_expiry: format!("UPDATE {name} SET expire_date = ?2 WHERE session_key = ?1"),
            delete: format!("DELETE FROM {name} WHERE session_key = ?1"),
            delete_expired: format!(
                "DELETE FROM {name} WHERE rowid IN (SELECT rowid FROM {name} WHERE {EXPIRED} ORDER BY expire_date LIMIT ?2)"
            ),
            scan: format!(
                "SELECT session_key, session_data, expire_date FROM {name} WHERE session_key > ?1 ORDER BY session_key"
            ),
        }
    }

    pub(super) fn table(&self) -> &TableName {
        &self.table
    }

    /// The session, unless it has ended at `now`.
    pub(super) fn load(
        &self,
        connection: &Connection,
        key: &SessionKey,
        now: Timestamp,
    ) -> Result<Option<Session>, DatabaseError> {
        self.with_row(connection, key, |row| {
            let expires_at = expiry(row, key)?;
            // Compared here and not in SQL: exact whatever form the text has, and an unreadable one is an error, not an absence.
            if expires_at > now { session(row, key, expires_at).map(Some) } else { Ok(None) }
        })
        .map(Option::flatten)
    }

    /// Whether there is a row, also one that has ended or cannot be read.
    pub(super) fn exists(&self, connection: &Connection, key: &SessionKey) -> Result<bool, DatabaseError> {
        let mut statement = connection.prepare_cached(&self.exists).map_err(|error| database_error(&error))?;
        let mut rows = statement.query([key.expose()]).map_err(|error| database_error(&error))?;
        Ok(rows.next().map_err(|error| database_error(&error))?.is_some_and(|row| is_of(row, key)))
    }

    /// Does one write inside the transaction of the caller.
    pub(super) fn write(&self, connection: &Connection, write: &Write) -> Result<WriteOutcome, DatabaseError> {
        let put = |sql: &str, session: &Session| {
            let expires_at = time::to_text(session.expires_at);
            execute(connection, sql, &[&session.key.expose(), &session.payload.expose(), &expires_at])
        };
        let outcome = match write {
            Write::Insert(session) => match put(&self.insert, session)? {
                0 => WriteOutcome::Exists,
                _ => WriteOutcome::Done(Some(session.clone())),
            },
            Write::Update(session) => match put(&self.update, session)? {
                0 => WriteOutcome::Missing,
                _ => WriteOutcome::Done(Some(session.clone())),
            },
            Write::Upsert(session) => {
                put(&self.upsert, session)?;
                WriteOutcome::Done(Some(session.clone()))
            }
            Write::Touch(key, expires_at) => self.touch(connection, key, *expires_at)?,
            Write::Delete(key) => match execute(connection, &self.delete, &[&key.expose()])? {
                0 => WriteOutcome::Missing,
                _ => WriteOutcome::Done(None),
            },
            // The transaction has the whole file locked already.
            Write::Lock(key) => match self.row(connection, key)? {
                None => WriteOutcome::Missing,
                locked => WriteOutcome::Done(locked),
            },
        };
        Ok(outcome)
    }

    fn touch(
        &self,
        connection: &Connection,
        key: &SessionKey,
        expires_at: Timestamp,
    ) -> Result<WriteOutcome, DatabaseError> {
        let Some(mut session) = self.row(connection, key)? else { return Ok(WriteOutcome::Missing) };
        if session.expires_at < expires_at {
            execute(connection, &self.update_expiry, &[&key.expose(), &time::to_text(expires_at)])?;
            session.expires_at = expires_at;
        }
        Ok(WriteOutcome::Done(Some(session)))
    }

    /// The row, also one that has ended.
    fn row(&self, connection: &Connection, key: &SessionKey) -> Result<Option<Session>, DatabaseError> {
        self.with_row(connection, key, |row| session(row, key, expiry(row, key)?))
    }

    fn with_row<T>(
        &self,
        connection: &Connection,
        key: &SessionKey,
        read: impl FnOnce(&Row<'_>) -> Result<T, DatabaseError>,
    ) -> Result<Option<T>, DatabaseError> {
        let mut statement = connection.prepare_cached(&self.load).map_err(|error| database_error(&error))?;
        let mut rows = statement.query([key.expose()]).map_err(|error| database_error(&error))?;
        match rows.next().map_err(|error| database_error(&error))? {
            Some(row) if is_of(row, key) => read(row).map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn delete_expired(
        &self,
        connection: &Connection,
        before: Timestamp,
        limit: u32,
    ) -> Result<u32, DatabaseError> {
        let deleted = execute(connection, &self.delete_expired, &[&time::to_text(before), &limit])?;
        Ok(u32::try_from(deleted).unwrap_or(limit))
    }

    /// One page: at most `limit` unexpired rows above `after`, and beside them what could not be read.
    pub(super) fn scan(
        &self,
        connection: &Connection,
        after: Option<&SessionKey>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Scan, DatabaseError> {
        let mut statement = connection.prepare_cached(&self.scan).map_err(|error| database_error(&error))?;
        let mut rows =
            statement.query([after.map_or("", SessionKey::expose)]).map_err(|error| database_error(&error))?;
        let mut page = Scan { sessions: Vec::new(), corrupt: Vec::new(), next: after.cloned() };
        let mut seen = 0;
        while let Some(row) = rows.next().map_err(|error| database_error(&error))? {
            if page.sessions.len() >= limit as usize || (seen >= SCAN_ROWS_MAX && page.next.is_some()) {
                return Ok(page);
            }
            seen += 1;
            let Some(key) = key(row) else {
                page.corrupt.push(FOREIGN_KEY.to_owned());
                continue;
            };
            match expiry(row, &key) {
                Ok(expires_at) if expires_at <= now => {}
                Ok(expires_at) => match session(row, &key, expires_at) {
                    Ok(session) => page.sessions.push(session),
                    Err(error) => page.corrupt.push(error.to_string()),
                },
                Err(error) => page.corrupt.push(error.to_string()),
            }
            page.next = Some(key);
        }
        page.next = None;
        Ok(page)
    }
}

fn execute(connection: &Connection, sql: &str, parameters: &[&dyn ToSql]) -> Result<usize, DatabaseError> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(parameters))
        .map_err(|error| database_error(&error))
}

/// Whether the row is the one that was asked for, byte for byte: a table whose column has another collation may give another one.
fn is_of(row: &Row<'_>, key: &SessionKey) -> bool {
    matches!(row.get_ref(0), Ok(ValueRef::Text(text)) if text == key.expose().as_bytes())
}

fn key(row: &Row<'_>) -> Option<SessionKey> {
    let Ok(ValueRef::Text(text)) = row.get_ref(0) else { return None };
    SessionKey::parse(std::str::from_utf8(text).ok()?).ok()
}

fn expiry(row: &Row<'_>, key: &SessionKey) -> Result<Timestamp, DatabaseError> {
    let text = text(row, 2).ok_or_else(|| corrupt_row(key, "an expiry that is not text"))?;
    expiry_of_row(key, time::from_text(text))
}

fn session(row: &Row<'_>, key: &SessionKey, expires_at: Timestamp) -> Result<Session, DatabaseError> {
    let text = text(row, 1).ok_or_else(|| corrupt_row(key, "a payload that is not UTF-8 text"))?;
    Ok(Session { key: key.clone(), payload: payload_of_row(key, text)?, expires_at })
}

fn text<'r>(row: &'r Row<'_>, column: usize) -> Option<&'r str> {
    match row.get_ref(column) {
        Ok(ValueRef::Text(text)) => std::str::from_utf8(text).ok(),
        _ => None,
    }
}
