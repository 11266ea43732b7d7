//! Django's table, made where it is missing and checked where it is not.

use rusqlite::{Connection, OptionalExtension};
use switchover_core::capabilities::{DatabaseError, Identity};

use super::connection::database_error;
use crate::table::{TableName, different, extra_column};

/// What Django's schema editor makes: name, type, and whether it is the primary key. No column may be NULL.
const COLUMNS: [(&str, &str, bool); 3] =
    [("session_key", "varchar(40)", true), ("session_data", "text", false), ("expire_date", "datetime", false)];

/// The table's name, unless SQLite keeps it for itself.
pub(super) fn table_name(name: &str) -> Result<TableName, DatabaseError> {
    let table = TableName::parse(name)?;
    if name.to_ascii_lowercase().starts_with("sqlite_") {
        let message = format!("SQLite keeps table names that begin with `sqlite_` for itself: not {name:?}");
        return Err(DatabaseError::Invalid { message });
    }
    Ok(table)
}

/// The statements that would make what is missing.
///
/// An index on the expiry under another name, as older versions of Django made it, serves as well: it is not missing.
pub(super) fn missing(connection: &Connection, table: &TableName) -> Result<Vec<String>, DatabaseError> {
    match kind(connection, table)?.as_deref() {
        None => return Ok(vec![create_table(table), create_index(table)]),
        Some("table") => {
            let columns = columns(connection, table)?;
            check_columns(connection, table, &columns)?;
            check_no_more(table, &columns)?;
        }
        Some(kind) => return Err(different(table, format!("it is a {kind}"))),
    }
    if has_expiry_index(connection, table)? { Ok(Vec::new()) } else { Ok(vec![create_index(table)]) }
}

/// Whether the columns that sessions need are Django's, if the table is there; others are no matter.
pub(super) fn check(connection: &Connection, table: &TableName) -> Result<(), DatabaseError> {
    match kind(connection, table)?.as_deref() {
        Some("table") => check_columns(connection, table, &columns(connection, table)?),
        Some(kind) => Err(different(table, format!("it is a {kind}"))),
        None => Ok(()),
    }
}

/// The device and inode of the file, and the table.
pub(super) fn identity(connection: &Connection, table: &TableName) -> Result<Option<Identity>, DatabaseError> {
    let Some(path) = connection.path() else { return Ok(None) };
    let file = std::fs::metadata(path).map_err(|error| super::unavailable(error.to_string()))?;
    #[cfg(unix)]
    let place = {
        use std::os::unix::fs::MetadataExt as _;
        format!("{} {}", file.dev(), file.ino())
    };
    #[cfg(not(unix))]
    let place = {
        let _ = file;
        std::fs::canonicalize(path).map_err(|error| super::unavailable(error.to_string()))?.display().to_string()
    };
    Ok(Some(Identity::new("sqlite", &[&place, &table.as_str().to_ascii_lowercase()])))
}

/// The triggers of the table, each in a sentence.
pub(super) fn triggers(connection: &Connection, table: &TableName) -> Result<Vec<String>, DatabaseError> {
    let named = || -> rusqlite::Result<Vec<String>> {
        let sql =
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE ORDER BY name";
        let mut statement = connection.prepare(sql)?;
        let names = statement.query_map([table.as_str()], |row| row.get::<_, String>(0))?;
        names.map(|name| name.map(|name| format!("the trigger {name}"))).collect()
    };
    named().map_err(|error| database_error(&error))
}

fn kind(connection: &Connection, table: &TableName) -> Result<Option<String>, DatabaseError> {
    let sql = "SELECT type FROM sqlite_master WHERE name = ?1 COLLATE NOCASE";
    connection.query_row(sql, [table.as_str()], |row| row.get(0)).optional().map_err(|error| database_error(&error))
}

fn check_columns(connection: &Connection, table: &TableName, columns: &[Column]) -> Result<(), DatabaseError> {
    for (name, kind, primary) in COLUMNS {
        let Some(column) = columns.iter().find(|column| column.name == name) else {
            return Err(different(table, format!("it has no column {name}")));
        };
        if !column.kind.eq_ignore_ascii_case(kind) {
            return Err(different(table, format!("its column {name} is {:?}, not {kind:?}", column.kind)));
        }
        if !column.not_null {
            return Err(different(table, format!("its column {name} may be NULL")));
        }
        if column.primary != primary {
            let is = if primary { "is not" } else { "is in" };
            return Err(different(table, format!("its column {name} {is} the primary key")));
        }
    }
    let has_rowid = format!("SELECT rowid FROM \"{}\" LIMIT 0", table.as_str());
    connection.prepare(&has_rowid).map_err(|_| different(table, "it was made WITHOUT ROWID".to_owned()))?;
    Ok(())
}

fn check_no_more(table: &TableName, columns: &[Column]) -> Result<(), DatabaseError> {
    match columns.iter().find(|column| COLUMNS.iter().all(|(name, ..)| column.name != *name)) {
        Some(extra) => Err(extra_column(table, &extra.name)),
        None => Ok(()),
    }
}

struct Column {
    name: String,
    kind: String,
    not_null: bool,
    primary: bool,
}

fn columns(connection: &Connection, table: &TableName) -> Result<Vec<Column>, DatabaseError> {
    let listed = || -> rusqlite::Result<Vec<Column>> {
        // `table_xinfo` lists generated columns too, `table_info` does not.
        let mut statement = connection.prepare("SELECT name, type, \"notnull\", pk FROM pragma_table_xinfo(?1)")?;
        let columns = statement.query_map([table.as_str()], |row| {
            let (name, kind, not_null) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(Column { name, kind, not_null, primary: row.get::<_, i64>(3)? > 0 })
        })?;
        columns.collect()
    };
    listed().map_err(|error| database_error(&error))
}

fn has_expiry_index(connection: &Connection, table: &TableName) -> Result<bool, DatabaseError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pragma_index_list(?1) AS list, pragma_index_info(list.name) AS info \
               WHERE list.partial = 0 AND info.seqno = 0 AND info.name = 'expire_date')";
    connection.query_row(sql, [table.as_str()], |row| row.get(0)).map_err(|error| database_error(&error))
}

/// Django ends the name with eight digits of the MD5 of table and column: `a5c62663` for the table that everybody has.
/// For any other table the name is without.
fn expiry_index(table: &TableName) -> String {
    match table.as_str() {
        "django_session" => "django_session_expire_date_a5c62663".to_owned(),
        other => format!("{other}_expire_date"),
    }
}

fn create_table(table: &TableName) -> String {
    format!(
        "CREATE TABLE \"{}\" (\"session_key\" varchar(40) NOT NULL PRIMARY KEY, \"session_data\" text NOT NULL, \
         \"expire_date\" datetime NOT NULL);",
        table.as_str()
    )
}

fn create_index(table: &TableName) -> String {
    format!("CREATE INDEX \"{}\" ON \"{}\" (\"expire_date\");", expiry_index(table), table.as_str())
}
