//! All statements on the table, and the reading of a row.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, Row, ToSql};
use switchover_core::capabilities::{
    Cursor, DatabaseError, ExpiredLeft, ReadOutcome, Scan, Unreadable, Write, WriteOutcome,
};
use switchover_core::{Layout, Session, SessionKey, Table, Timestamp};

use super::connection::database_error;
use super::value;
use crate::django_time as time;
use crate::others::{self, OtherColumn};
use crate::page::{Page, ScannedRow};
use crate::row::{expiry_of_row, foreign_row, payload_of_row};
use crate::sweep::Tried;
use crate::table::SessionTable;

/// The condition for a row that ended before `?1`. SQLite compares any number as earlier than any text, so the
/// condition excludes a value that does not look like a time in Django's form.
pub(super) fn expired(layout: Layout) -> String {
    let [.., end] = layout.columns();
    format!("{end} < ?1 AND {}", is_time(layout))
}

/// The condition for a row whose end is not a time in Django's form.
pub(super) fn no_time(layout: Layout) -> String {
    format!("NOT {}", is_time(layout))
}

/// Exactly what [`time::from_text`] reads. SQLite would take the 30th of February for the 2nd of March, so what it makes
/// of a time is compared with the time. Its functions for texts stop at a NUL.
fn is_time(layout: Layout) -> String {
    let [.., end] = layout.columns();
    let (seconds, fraction) = (format!("substr({end}, 1, 19)"), format!("substr({end}, 20)"));
    format!(
        "(typeof({end}) = 'text' AND length(CAST({end} AS BLOB)) = length({end}) AND length({end}) <= 26 \
         AND coalesce(strftime('%Y-%m-%d %H:%M:%S', {seconds}, '+0 seconds'), '') = {seconds} AND {seconds} >= '0001' \
         AND ({fraction} = '' OR {fraction} GLOB '.[0-9]*' AND substr({end}, 21) NOT GLOB '*[^0-9]*'))"
    )
}

/// The statements on one table.
pub(super) struct Statements {
    table: SessionTable,
    others: Vec<OtherColumn>,
    load: String,
    exists: String,
    puts: Puts,
    /// The statements for sessions with values for the other columns.
    whole_puts: Puts,
    update_expiry: String,
    delete: String,
    delete_expired: String,
    /// The rows that it finds.
    found_expired: String,
    expired_left: String,
    no_time: String,
    scan_first: String,
    scan: String,
}

/// The statements that write a session: key, payload, end, and other columns.
struct Puts {
    insert: String,
    update: String,
    upsert: String,
}

impl Puts {
    fn of(table: &SessionTable, others: &[OtherColumn]) -> Self {
        let (name, columns) = (table.table.quoted('"'), columns(table.layout, others));
        let key = &columns[0];
        let parameters: Vec<_> = (1..=columns.len()).map(|at| format!("?{at}")).collect();
        let set = |value: &dyn Fn(usize, &str) -> String| {
            let set =
                columns.iter().enumerate().skip(1).map(|(at, column)| format!("{column} = {}", value(at, column)));
            set.collect::<Vec<_>>().join(", ")
        };
        let insert = format!(
            "INSERT INTO {name} ({}) VALUES ({}) ON CONFLICT ({key})",
            columns.join(", "),
            parameters.join(", ")
        );
        Self {
            update: format!("UPDATE {name} SET {} WHERE {key} = ?1", set(&|at, _| parameters[at].clone())),
            upsert: format!("{insert} DO UPDATE SET {}", set(&|_, column| format!("excluded.{column}"))),
            insert: format!("{insert} DO NOTHING"),
        }
    }
}

/// The columns that are read, as SQL names them: key, payload, end, and the others.
fn columns(layout: Layout, others: &[OtherColumn]) -> Vec<String> {
    let own = layout.columns().map(str::to_owned).into_iter();
    own.chain(others.iter().map(|other| Table::quote(&other.column.name, '"'))).collect()
}

impl Statements {
    /// Writes the statements for the table and its other columns.
    pub(super) fn of(table: SessionTable, others: Vec<OtherColumn>) -> Self {
        let (name, [key, _, end]) = (table.table.quoted('"'), table.layout.columns());
        let (expired, no_time) = (expired(table.layout), no_time(table.layout));
        let row = columns(table.layout, &others).join(", ");
        let found_expired = format!("SELECT {key} FROM {name} WHERE {expired} ORDER BY {end} LIMIT ?2 OFFSET ?3");
        Self {
            load: format!("SELECT {row} FROM {name} WHERE {key} = ?1"),
            exists: format!("SELECT {key} FROM {name} WHERE {key} = ?1"),
            puts: Puts::of(&table, &[]),
            whole_puts: Puts::of(&table, &others),
            update_expiry: format!("UPDATE {name} SET {end} = ?2 WHERE {key} = ?1"),
            delete: format!("DELETE FROM {name} WHERE {key} = ?1"),
            delete_expired: format!("DELETE FROM {name} WHERE {key} IN ({found_expired}) AND {expired}"),
            found_expired,
            expired_left: format!("SELECT count(*) FROM {name} WHERE {expired}"),
            no_time: format!("SELECT count(*) FROM {name} WHERE {no_time}"),
            scan_first: format!("SELECT {row} FROM {name} ORDER BY {key}"),
            scan: format!("SELECT {row} FROM {name} WHERE {key} > ?1 ORDER BY {key}"),
            table,
            others,
        }
    }

    /// The other columns of the table.
    pub(super) fn others(&self) -> &[OtherColumn] {
        &self.others
    }

    pub(super) fn table(&self) -> &SessionTable {
        &self.table
    }

    /// The statements that must not read more of a larger table.
    #[cfg(test)]
    pub(super) fn all(&self) -> [(&'static str, &str); 12] {
        [
            ("load", &self.load),
            ("exists", &self.exists),
            ("insert", &self.puts.insert),
            ("update", &self.puts.update),
            ("upsert", &self.puts.upsert),
            ("update_expiry", &self.update_expiry),
            ("delete", &self.delete),
            ("delete_expired", &self.delete_expired),
            ("found_expired", &self.found_expired),
            ("expired_left", &self.expired_left),
            ("scan_first", &self.scan_first),
            ("scan", &self.scan),
        ]
    }

    /// Loads the session, unless it has ended at `now`.
    pub(super) fn load(
        &self,
        connection: &Connection,
        key: &SessionKey,
        now: Timestamp,
    ) -> Result<ReadOutcome, DatabaseError> {
        let read = self.with_row(connection, key, |row| {
            let expires_at = expiry(row, key)?;
            // The end is compared here and not in SQL. So the comparison is exact for every form of the text, and an
            // unreadable end is an error, not a missing session.
            if expires_at > now { self.session(row, key, expires_at).map(Some) } else { Ok(None) }
        })?;
        Ok(read.transpose().map_or_else(ReadOutcome::Unreadable, |found| ReadOutcome::Session(found.flatten())))
    }

    /// Whether there is a row. It may have ended or be unreadable.
    pub(super) fn exists(&self, connection: &Connection, key: &SessionKey) -> Result<bool, DatabaseError> {
        let mut statement = connection.prepare_cached(&self.exists).map_err(|error| database_error(&error))?;
        let mut rows = statement.query([key.expose()]).map_err(|error| database_error(&error))?;
        Ok(rows.next().map_err(|error| database_error(&error))?.is_some_and(|row| is_of(row, key)))
    }

    /// Makes one write inside the caller's transaction.
    pub(super) fn write(&self, connection: &Connection, write: &Write) -> Result<WriteOutcome, DatabaseError> {
        let outcome = match write {
            Write::Insert(session) => match self.put(connection, |puts| &puts.insert, session)? {
                0 => WriteOutcome::Exists,
                _ => WriteOutcome::Done(Some(self.put_row(connection, session)?)),
            },
            Write::Update(session) => match self.put(connection, |puts| &puts.update, session)? {
                0 => WriteOutcome::Missing,
                _ => WriteOutcome::Done(Some(self.put_row(connection, session)?)),
            },
            Write::Upsert(session) => {
                self.put(connection, |puts| &puts.upsert, session)?;
                WriteOutcome::Done(Some(self.put_row(connection, session)?))
            }
            Write::Touch(key, expires_at) => self.touch(connection, key, *expires_at)?,
            Write::Delete(key) => match execute(connection, &self.delete, &[&key.expose()])? {
                0 => WriteOutcome::Missing,
                _ => WriteOutcome::Done(None),
            },
        };
        Ok(outcome)
    }

    fn put(
        &self,
        connection: &Connection,
        sql: impl Fn(&Puts) -> &String,
        session: &Session,
    ) -> Result<usize, DatabaseError> {
        let (key, expires_at) = (session.key.expose(), time::to_text(session.expires_at));
        let payload = stored(self.table.layout, session.payload.expose());
        let others = others::values(&self.others, &session.others);
        let others = others.map_err(|what| DatabaseError::from(Unreadable::new(key.as_bytes(), what)))?;
        let puts = if others.is_some() { &self.whole_puts } else { &self.puts };
        let others: Vec<_> = others.into_iter().flatten().map(value::stored).collect();
        let own: [&dyn ToSql; 3] = [&key, &payload, &expires_at];
        let parameters: Vec<&dyn ToSql> =
            own.into_iter().chain(others.iter().map(|value| value as &dyn ToSql)).collect();
        execute(connection, sql(puts), &parameters)
    }

    /// Reads the row after a put: it may have had other columns before, or has got defaults.
    fn put_row(&self, connection: &Connection, session: &Session) -> Result<Session, DatabaseError> {
        if self.others.is_empty() {
            return Ok(session.clone());
        }
        Ok(self.row(connection, &session.key)?.unwrap_or_else(|| session.clone()))
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

    /// Reads the row, even if it has ended.
    pub(super) fn row(&self, connection: &Connection, key: &SessionKey) -> Result<Option<Session>, DatabaseError> {
        Ok(self.whole_row(connection, key)??)
    }

    /// Reads the row, even if it has ended; an unreadable one is no error of the file.
    pub(super) fn whole_row(
        &self,
        connection: &Connection,
        key: &SessionKey,
    ) -> Result<Result<Option<Session>, Unreadable>, DatabaseError> {
        let row = self.with_row(connection, key, |row| self.session(row, key, expiry(row, key)?))?;
        Ok(row.transpose())
    }

    fn session(&self, row: &Row<'_>, key: &SessionKey, expires_at: Timestamp) -> Result<Session, Unreadable> {
        let layout = self.table.layout;
        let payload = match row.get_ref(1) {
            Ok(ValueRef::Text(text)) if !layout.has_bytes() => Some(text),
            Ok(ValueRef::Blob(bytes)) if layout.has_bytes() => Some(bytes),
            _ => None,
        };
        let others = self.others.iter().zip(3..).map(|(other, at)| value::of_row(&other.column, row, at));
        let others = others::of_row(&self.others, others);
        Ok(Session { key: key.clone(), payload: payload_of_row(layout, key, payload)?, expires_at, others })
    }

    /// Makes a row of a page, whatever its columns hold.
    fn scanned(&self, row: &Row<'_>, now: Timestamp) -> ScannedRow {
        let ended = text(row, 2).and_then(time::from_text);
        if ended.is_some_and(|ended| ended <= now) {
            return ScannedRow::Expired;
        }
        match key(self.table.layout, row) {
            Some(key) => expiry(row, &key).and_then(|expires_at| self.session(row, &key, expires_at)).into(),
            None => ScannedRow::Unreadable(foreign_row(self.table.layout, RawKey::of_row(row).1)),
        }
    }

    fn with_row<T>(
        &self,
        connection: &Connection,
        key: &SessionKey,
        read: impl FnOnce(&Row<'_>) -> T,
    ) -> Result<Option<T>, DatabaseError> {
        let mut statement = connection.prepare_cached(&self.load).map_err(|error| database_error(&error))?;
        let mut rows = statement.query([key.expose()]).map_err(|error| database_error(&error))?;
        match rows.next().map_err(|error| database_error(&error))? {
            Some(row) if is_of(row, key) => Ok(Some(read(row))),
            _ => Ok(None),
        }
    }

    pub(super) fn delete_expired(
        &self,
        connection: &Connection,
        before: Timestamp,
        rows: u32,
        passed: u64,
    ) -> Result<Tried, DatabaseError> {
        let (before, passed) = (time::to_text(before), i64::try_from(passed).unwrap_or(i64::MAX));
        let parameters: [&dyn ToSql; 3] = [&before, &rows, &passed];
        let found = connection.prepare_cached(&self.found_expired).and_then(|mut statement| {
            let (mut rows, mut found) = (statement.query(&parameters[..])?, 0);
            while rows.next()?.is_some() {
                found += 1;
            }
            Ok(found)
        });
        let found = found.map_err(|error| database_error(&error))?;
        let deletion = connection.prepare_cached(&self.delete_expired);
        match deletion.and_then(|mut statement| statement.execute(&parameters[..])) {
            // A trigger may keep rows without an error.
            Ok(deleted) => Ok(Tried::Done { found, deleted: u32::try_from(deleted).unwrap_or(found) }),
            // A reference, or a trigger that raises.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                Ok(Tried::Refused(database_error(&error).to_string()))
            }
            Err(error) => Err(database_error(&error)),
        }
    }

    /// What a deletion of rows that ended before `before` has left.
    pub(super) fn expired_left(
        &self,
        connection: &Connection,
        before: Timestamp,
    ) -> Result<ExpiredLeft, DatabaseError> {
        let count = |sql: &str, parameters: &[&dyn ToSql]| {
            let counted = connection.query_row(sql, parameters, |row| row.get::<_, i64>(0));
            counted.map(i64::unsigned_abs).map_err(|error| database_error(&error))
        };
        let expired = count(&self.expired_left, &[&time::to_text(before)])?;
        Ok(ExpiredLeft { expired, unreadable: count(&self.no_time, &[])? })
    }

    /// Reads one page: at most `limit` rows after `after`.
    pub(super) fn scan(
        &self,
        connection: &Connection,
        after: Option<&Cursor>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Scan, DatabaseError> {
        let error = |error: rusqlite::Error| database_error(&error);
        let sql = if after.is_some() { &self.scan } else { &self.scan_first };
        let mut statement = connection.prepare_cached(sql).map_err(error)?;
        let mut rows = match after {
            Some(after) => statement.query([RawKey::of(after)]),
            None => statement.query([]),
        }
        .map_err(error)?;
        let mut page = Page::new(limit);
        while let Some(row) = rows.next().map_err(error)? {
            if page.is_full() {
                return Ok(page.end(true));
            }
            let (kind, bytes) = RawKey::of_row(row);
            page.add(&[&[kind], bytes].concat(), self.scanned(row, now));
        }
        Ok(page.end(false))
    }
}

/// A key of any type and bytes, as a cursor carries it. Text sorts before everything else.
struct RawKey<'k>(ValueRef<'k>);

const TEXT: u8 = b't';
const BLOB: u8 = b'b';

impl<'k> RawKey<'k> {
    fn of(cursor: &'k Cursor) -> Self {
        match cursor.expose() {
            [BLOB, bytes @ ..] => Self(ValueRef::Blob(bytes)),
            [_, bytes @ ..] => Self(ValueRef::Text(bytes)),
            [] => Self(ValueRef::Text(&[])),
        }
    }

    /// The kind of the key and its bytes.
    fn of_row(row: &'k Row<'_>) -> (u8, &'k [u8]) {
        match row.get_ref(0) {
            Ok(ValueRef::Blob(bytes)) => (BLOB, bytes),
            Ok(ValueRef::Text(bytes)) => (TEXT, bytes),
            // The column's affinity turns numbers into text, and the key is not NULL.
            _ => (TEXT, &[]),
        }
    }
}

impl ToSql for RawKey<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0))
    }
}

fn execute(connection: &Connection, sql: &str, parameters: &[&dyn ToSql]) -> Result<usize, DatabaseError> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(parameters))
        .map_err(|error| database_error(&error))
}

/// Whether the row has this key, byte for byte. A column with another collation may return another row.
fn is_of(row: &Row<'_>, key: &SessionKey) -> bool {
    matches!(row.get_ref(0), Ok(ValueRef::Text(text)) if text == key.expose().as_bytes())
}

fn key(layout: Layout, row: &Row<'_>) -> Option<SessionKey> {
    let Ok(ValueRef::Text(text)) = row.get_ref(0) else { return None };
    layout.key_of_row(text)
}

fn expiry(row: &Row<'_>, key: &SessionKey) -> Result<Timestamp, Unreadable> {
    expiry_of_row(key, text(row, 2).and_then(time::from_text))
}

/// A payload in the form in which its column stores it.
fn stored(layout: Layout, payload: &[u8]) -> ToSqlOutput<'_> {
    let value = if layout.has_bytes() { ValueRef::Blob(payload) } else { ValueRef::Text(payload) };
    ToSqlOutput::Borrowed(value)
}

fn text<'r>(row: &'r Row<'_>, column: usize) -> Option<&'r str> {
    match row.get_ref(column) {
        Ok(ValueRef::Text(text)) => std::str::from_utf8(text).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What SQL takes for a time, and what the code reads as one, are the same.
    #[test]
    fn sql_and_code_read_the_same_times() {
        let connection = Connection::open_in_memory().unwrap();
        let [.., end] = Layout::DJANGO.columns();
        // The type of the column decides how it is compared.
        connection.execute_batch(&format!("CREATE TABLE t ({end} datetime NOT NULL)")).unwrap();
        let insert = format!("INSERT INTO t VALUES (?1) RETURNING {}", is_time(Layout::DJANGO));
        let mut texts: Vec<String> = [
            "",
            "2025",
            "2025-01-01",
            "2025-01-01 00:00",
            "2025-01-01T00:00:00",
            "0000-01-01 00:00:00",
            "0001-01-01 00:00:00",
            "2025-02-29 00:00:00",
            "2024-02-29 00:00:00",
            "2025-02-30 00:00:00",
            "2025-13-01 00:00:00",
            "2025-00-10 00:00:00",
            "2025-01-00 00:00:00",
            "2025-01-01 24:00:00",
            "2025-01-01 23:60:00",
            "2025-01-01 23:59:60",
            "-025-01-01 00:00:00",
            "2025-01-01 00:00:00Z",
            "2025-01-01 00:00:00 ",
            " 2025-01-01 00:00:00",
            "2025-01-01 00:00:00-12:00",
            "2460000.5",
            "now",
            "9999-12-31 23:59:59.999999",
            "10000-01-01 00:00:00",
            "2025-01-01 00:00:00\0",
            "2025-01-01\x0000:00:00",
            "2025-01-01 00:00:00.5\0",
            "２025-01-01 00:00:00",
            "2025-01-01 00:00:0٣",
        ]
        .map(str::to_owned)
        .to_vec();
        for fraction in
            ["", ".", ".5", ".123456", ".1234567", ".5zzz", ".606607-12:00", ".5 ", ".+5", ".5.5", ".\u{663}"]
        {
            texts.push(format!("2025-06-01 12:30:45{fraction}"));
        }
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let mut text: Vec<char> = "2025-06-01 12:30:45.123456".chars().take(random.usize(17..27)).collect();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(0..text.len());
                text[at] = random.choice(*b"0123456789-: .T+Z\0").unwrap().into();
            }
            texts.push(text.into_iter().collect());
        }
        for text in texts {
            let sql: bool = connection.query_row(&insert, [&text], |row| row.get(0)).unwrap();
            assert_eq!(sql, time::from_text(&text).is_some(), "{text:?}");
        }
    }
}
