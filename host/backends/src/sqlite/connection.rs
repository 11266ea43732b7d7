//! The connections to one file, their settings, and the translation of SQLite's errors.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use switchover_core::capabilities::DatabaseError;

use crate::table::MISSING_TABLE;

/// What a commit waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Synchronous {
    /// For the disk: acknowledged writes survive a power cut. The default.
    #[default]
    Full,
    /// For the operating system: acknowledged writes survive the end of the process. The last commits before a power
    /// cut may be lost, but the file stays intact. On slow disks this is several times faster.
    Normal,
}

/// How long opening waits if another process has the file locked. Turning on write-ahead logging needs an exclusive
/// lock for a moment.
const OPEN_WAIT: Duration = Duration::from_secs(5);
/// More than the number of statements that one connection uses, so that none is prepared twice.
const STATEMENTS_MAX: usize = 32;
/// Waiting for a lock ends this much before the deadline, so that the caller gets the reason and not only a timeout.
const ANSWER_MARGIN: Duration = Duration::from_millis(5);

/// The connections of one database.
pub(super) struct Connections {
    pub(super) writer: Connection,
    pub(super) readers: Vec<Connection>,
}

impl Connections {
    /// Opens all connections. The writer's is first, because it may have to make the file.
    pub(super) fn open(
        path: &Path,
        create_if_missing: bool,
        readers: usize,
        synchronous: Synchronous,
    ) -> Result<Self, DatabaseError> {
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        flags.set(OpenFlags::SQLITE_OPEN_CREATE, create_if_missing);
        let writer = connect(path, flags).map_err(|error| {
            if !create_if_missing && !path.exists() {
                let message = format!(
                    "no database file at {}: check the path, or let the file be made (`create_if_missing`)",
                    path.display()
                );
                return DatabaseError::Unavailable { message };
            }
            at_path(path, &error)
        })?;
        configure_writer(&writer, path, synchronous)?;

        flags.remove(OpenFlags::SQLITE_OPEN_CREATE);
        let reader = || {
            let connection = connect(path, flags)?;
            connection.pragma_update(None, "query_only", true)?;
            Ok(connection)
        };
        let readers: Result<_, _> = (0..readers).map(|_| reader()).collect();
        Ok(Self { writer, readers: readers.map_err(|error| at_path(path, &error))? })
    }
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(OPEN_WAIT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

fn configure_writer(connection: &Connection, path: &Path, synchronous: Synchronous) -> Result<(), DatabaseError> {
    let journal: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(|error| at_path(path, &error))?;
    if journal != "wal" {
        let message = format!(
            "{} cannot have a write-ahead log (its journal mode is {journal}): put it on a local file system",
            path.display()
        );
        return Err(DatabaseError::Unavailable { message });
    }
    let level = match synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    // On Apple's systems a flush reaches the disk only with this setting; elsewhere it does nothing.
    let settings = [("synchronous", level), ("fullfsync", "ON")];
    settings
        .iter()
        .try_for_each(|(name, value)| connection.pragma_update(None, name, value))
        .map_err(|error| at_path(path, &error))
}

fn at_path(path: &Path, error: &rusqlite::Error) -> DatabaseError {
    match database_error(error) {
        DatabaseError::Unavailable { message } => {
            DatabaseError::Unavailable { message: format!("{}: {message}", path.display()) }
        }
        DatabaseError::Corrupt { message } => {
            DatabaseError::Corrupt { message: format!("{}: {message}", path.display()) }
        }
        DatabaseError::Conflict { message } => {
            DatabaseError::Conflict { message: format!("{}: {message}", path.display()) }
        }
        other => other,
    }
}

/// Lets the following statements wait for another process's lock, but not beyond `deadline`.
pub(super) fn wait_for_locks_until(connection: &Connection, deadline: Instant) -> Result<(), DatabaseError> {
    let wait = deadline.saturating_duration_since(Instant::now()).saturating_sub(ANSWER_MARGIN);
    // SQLite counts milliseconds in an `i32`. No deadline is longer than a day.
    let wait = wait.clamp(Duration::from_millis(1), Duration::from_hours(24));
    connection.busy_timeout(wait).map_err(|error| database_error(&error))
}

/// Translates an error of SQLite that does not come from a commit.
///
/// Neither SQLite's message nor the statement in it contains a bound value, so they contain no key and no payload. The
/// message of a trigger may contain one.
pub(super) fn database_error(error: &rusqlite::Error) -> DatabaseError {
    let by_trigger = |error: &rusqlite::ffi::Error| error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_TRIGGER;
    let message = match error {
        rusqlite::Error::SqliteFailure(failure, _) if by_trigger(failure) => "a trigger refuses the row".to_owned(),
        // The default text contains the whole statement.
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            DatabaseError::Conflict { message: format!("another process holds the file: {message}") }
        }
        // Only operations with a deadline of their own are interrupted.
        Some(ErrorCode::OperationInterrupted) => DatabaseError::Timeout,
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => DatabaseError::Corrupt { message },
        // The statements are fixed. If SQLite refuses one, the table is not the one that it was written for.
        Some(ErrorCode::Unknown | ErrorCode::ConstraintViolation | ErrorCode::TooBig) => {
            let is_missing = message.contains("no such table");
            let message = if is_missing { format!("{message}: {MISSING_TABLE}") } else { message };
            DatabaseError::Corrupt { message }
        }
        _ => DatabaseError::Unavailable { message },
    }
}
