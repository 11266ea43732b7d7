//! The side tables of migrations in an SQLite file, and the statements on them.
//!
//! A file has one writer at a time, so a transaction holds the fence and every key from its first statement. Each
//! function here runs inside the caller's transaction, or in the caller's snapshot.

use rusqlite::{Connection, OptionalExtension, Params, Row};
use switchover_core::capabilities::{
    DatabaseError, Epoch, Fence, KeyLock, LockPurpose, LockedKey, Mark, MarkedRow, Number, Side, Token, Write,
};
use switchover_core::{SessionKey, Timestamp, short_hash};

use super::connection::database_error;
use super::statements::Statements;
use crate::manner::{UNPREPARED, token};
use crate::table::SessionTable;

/// Each object of the file, and the statement that makes it.
const MADE_BY: [(&str, &str); 3] = [
    (
        "switchover_fence",
        "CREATE TABLE IF NOT EXISTS switchover_fence (migration TEXT NOT NULL PRIMARY KEY, epoch INTEGER NOT NULL) \
         WITHOUT ROWID;",
    ),
    (
        "switchover_key",
        "CREATE TABLE IF NOT EXISTS switchover_key (migration TEXT NOT NULL, session_key TEXT NOT NULL, \
         number INTEGER NOT NULL DEFAULT 0, mark INTEGER, since INTEGER NOT NULL DEFAULT 0, \
         attempts INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (migration, session_key)) WITHOUT ROWID;",
    ),
    (
        "switchover_key_mark",
        "CREATE INDEX IF NOT EXISTS switchover_key_mark ON switchover_key (migration, since) WHERE mark IS NOT NULL;",
    ),
];

const EPOCH: &str = "SELECT epoch FROM switchover_fence WHERE migration = ?1";
const MAKE_FENCE: &str = "INSERT INTO switchover_fence VALUES (?1, 1) ON CONFLICT DO NOTHING";
const RAISE: &str = "UPDATE switchover_fence SET epoch = max(epoch, ?2) WHERE migration = ?1";
const SET_MARK: &str = "INSERT INTO switchover_key (migration, session_key, number, mark, since) \
                        VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET number = number + excluded.number, \
                        mark = excluded.mark, since = excluded.since, attempts = 0";
const CLEAR: &str = "UPDATE switchover_key SET mark = NULL, attempts = 0 \
                     WHERE migration = ?1 AND session_key = ?2 AND mark IS NOT NULL";
const CLEAR_TOKEN: &str = "UPDATE switchover_key SET mark = NULL, attempts = 0 \
                           WHERE migration = ?1 AND session_key = ?2 AND mark = ?3";
const NUMBER: &str = "SELECT number FROM switchover_key WHERE migration = ?1 AND session_key = ?2";
const SET_NUMBER: &str = "INSERT INTO switchover_key (migration, session_key, number) VALUES (?1, ?2, ?3) \
                          ON CONFLICT DO UPDATE SET number = excluded.number";
const MARK: &str = "SELECT mark FROM switchover_key WHERE migration = ?1 AND session_key = ?2";
const MARKS: &str = "SELECT session_key, mark FROM switchover_key WHERE migration = ?1 AND mark IS NOT NULL \
                     ORDER BY since LIMIT ?2";
const COUNT_MARKS: &str = "SELECT count(*) FROM switchover_key WHERE migration = ?1 AND mark IS NOT NULL";

/// The statements that must not read more of a larger table.
#[cfg(test)]
pub(super) const ALL: [(&str, &str); 10] = [
    ("epoch", EPOCH),
    ("raise", RAISE),
    ("set_mark", SET_MARK),
    ("clear", CLEAR),
    ("clear_token", CLEAR_TOKEN),
    ("number", NUMBER),
    ("set_number", SET_NUMBER),
    ("mark", MARK),
    ("marks", MARKS),
    ("count_marks", COUNT_MARKS),
];

/// The statements that would make what is missing.
pub(super) fn missing(connection: &Connection) -> Result<Vec<String>, DatabaseError> {
    let mut missing = Vec::new();
    for (name, statement) in MADE_BY {
        if one(connection, "SELECT 1 FROM sqlite_schema WHERE name = ?1", [name], |row| row.get::<_, i64>(0))?.is_none()
        {
            missing.push(statement.to_owned());
        }
    }
    Ok(missing)
}

/// Lets every insert and update of the session table fail with these words.
pub(super) fn seal(connection: &Connection, table: &SessionTable, words: &str) -> Result<(), DatabaseError> {
    let (hash, quoted) = (short_hash(table.table.name().as_bytes()), table.table.quoted('"'));
    let words = words.replace('\'', "''");
    for event in ["INSERT", "UPDATE"] {
        let name = format!("switchover_sealed_{hash}_{}", event.to_lowercase());
        let sql = format!(
            "DROP TRIGGER IF EXISTS {name}; \
             CREATE TRIGGER {name} BEFORE {event} ON {quoted} BEGIN SELECT RAISE(ABORT, '{words}'); END"
        );
        connection.execute_batch(&sql).map_err(|error| database_error(&error))?;
    }
    Ok(())
}

pub(super) fn fence(connection: &Connection, migration: &str) -> Result<Option<Epoch>, DatabaseError> {
    let epoch = one(connection, EPOCH, [migration], |row| row.get::<_, i64>(0))?;
    Ok(epoch.map(|epoch| Epoch(epoch.unsigned_abs())))
}

/// Fails if the fence of the migration is higher than this epoch, or if there is none.
pub(super) fn check(connection: &Connection, of: &Fence) -> Result<(), DatabaseError> {
    match fence(connection, &of.migration)? {
        Some(epoch) if epoch <= of.epoch => Ok(()),
        Some(_) | None => Err(DatabaseError::Fenced),
    }
}

pub(super) fn make_fence(connection: &Connection, migration: &str) -> Result<(), DatabaseError> {
    execute(connection, MAKE_FENCE, [migration]).map(drop)
}

pub(super) fn raise(connection: &Connection, to: &Fence) -> Result<Epoch, DatabaseError> {
    execute(connection, RAISE, (&*to.migration, signed(to.epoch.0)))?;
    fence(connection, &to.migration)?.ok_or(DatabaseError::Fenced)
}

/// Gives a key a mark. At new its number grows by one.
pub(super) fn set_mark(
    connection: &Connection,
    migration: &str,
    key: &SessionKey,
    home: Side,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let number = match home {
        Side::Old => 0,
        Side::New => 1,
    };
    let Token(token) = token();
    execute(connection, SET_MARK, (migration, key.expose(), number, token, signed(now.as_micros()))).map(drop)
}

/// Removes the mark of a key, whatever its token.
pub(super) fn clear(connection: &Connection, migration: &str, key: &SessionKey) -> Result<(), DatabaseError> {
    execute(connection, CLEAR, (migration, key.expose())).map(drop)
}

/// Removes each of these marks that still has its token. Returns how many it removed.
pub(super) fn clear_marks(connection: &Connection, migration: &str, marks: &[Mark]) -> Result<u64, DatabaseError> {
    let mut cleared = 0;
    for Mark { key, token: Token(token) } in marks {
        cleared += execute(connection, CLEAR_TOKEN, (migration, key.expose(), token))? as u64;
    }
    Ok(cleared)
}

/// Raises the number of each key, or returns those that are not lower.
pub(super) fn raise_numbers(
    connection: &Connection,
    migration: &str,
    batch: &[(Write, Number)],
) -> Result<Vec<(SessionKey, Number)>, DatabaseError> {
    let mut late = Vec::new();
    for (write, number) in batch {
        let stored = number_of(connection, migration, write.key())?;
        if stored >= *number {
            late.push((write.key().clone(), stored));
        }
    }
    if late.is_empty() {
        for (write, number) in batch {
            set_number(connection, migration, write.key(), *number)?;
        }
    }
    Ok(late)
}

/// What a lock of a key does besides: the transaction has locked the whole file.
pub(super) fn lock(
    connection: &Connection,
    statements: &Statements,
    migration: &str,
    lock: &KeyLock,
    purpose: LockPurpose,
) -> Result<LockedKey, DatabaseError> {
    let last = number_of(connection, migration, &lock.key)?;
    if purpose == LockPurpose::CopyToOld {
        return Ok(LockedKey { number: last, row: None });
    }
    let number = Number(last.max(lock.known).0.saturating_add(1));
    set_number(connection, migration, &lock.key, number)?;
    let row = match purpose {
        LockPurpose::CopyToNew => statements.row(connection, &lock.key)?,
        LockPurpose::Write | LockPurpose::CopyToOld => None,
    };
    Ok(LockedKey { number, row })
}

pub(super) fn marked_row(
    connection: &Connection,
    statements: &Statements,
    migration: &str,
    key: &SessionKey,
) -> Result<MarkedRow, DatabaseError> {
    let row = statements.whole_row(connection, key)?;
    let token = one(connection, MARK, (migration, key.expose()), |row| row.get::<_, Option<i64>>(0))?.flatten();
    Ok(MarkedRow { row, token: token.map(Token) })
}

/// At most `limit` marks, the oldest first.
pub(super) fn marks(connection: &Connection, migration: &str, limit: u32) -> Result<Vec<Mark>, DatabaseError> {
    let read = || -> rusqlite::Result<Vec<(String, i64)>> {
        let mut statement = connection.prepare_cached(MARKS)?;
        statement.query_map((migration, limit), |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let mark = |(key, token): (String, i64)| {
        let key = SessionKey::parse(key.as_str());
        let key = key.map_err(|_| DatabaseError::Corrupt { message: "a mark has a key that is none".to_owned() })?;
        Ok(Mark { key, token: Token(token) })
    };
    read().map_err(|error| side_error(&error))?.into_iter().map(mark).collect()
}

pub(super) fn count_marks(connection: &Connection, migration: &str) -> Result<u64, DatabaseError> {
    let count = one(connection, COUNT_MARKS, [migration], |row| row.get::<_, i64>(0))?;
    Ok(count.unwrap_or_default().unsigned_abs())
}

fn number_of(connection: &Connection, migration: &str, key: &SessionKey) -> Result<Number, DatabaseError> {
    let number = one(connection, NUMBER, (migration, key.expose()), |row| row.get::<_, i64>(0))?;
    Ok(Number(number.unwrap_or_default().unsigned_abs()))
}

fn set_number(connection: &Connection, migration: &str, key: &SessionKey, to: Number) -> Result<(), DatabaseError> {
    execute(connection, SET_NUMBER, (migration, key.expose(), signed(to.0))).map(drop)
}

fn one<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, DatabaseError> {
    let found = connection.prepare_cached(sql).and_then(|mut one| one.query_row(parameters, read).optional());
    found.map_err(|error| side_error(&error))
}

fn execute(connection: &Connection, sql: &str, parameters: impl Params) -> Result<usize, DatabaseError> {
    let done = connection.prepare_cached(sql).and_then(|mut statement| statement.execute(parameters));
    done.map_err(|error| side_error(&error))
}

fn side_error(error: &rusqlite::Error) -> DatabaseError {
    match database_error(error) {
        DatabaseError::Corrupt { message } if message.contains("no such table") => {
            DatabaseError::Corrupt { message: UNPREPARED.to_owned() }
        }
        error => error,
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
