//! Django's table, made where it is missing and checked where it is not.

use rusqlite::{Connection, OptionalExtension};

use super::connection::database_error;
use crate::backends::table::{TableName, different};
use crate::capabilities::DatabaseError;

/// What Django's schema editor makes: name, type, and whether it is the primary key. No column may be NULL.
const COLUMNS: [(&str, &str, bool); 3] =
    [("session_key", "varchar(40)", true), ("session_data", "text", false), ("expire_date", "datetime", false)];

/// The table's name, unless SQLite keeps it for itself.
pub(super) fn table_name(name: &str) -> Result<TableName, DatabaseError> {
    let table = TableName::parse(name)?;
    if name.to_ascii_lowercase().starts_with("sqlite_") {
        let message = format!("SQLite keeps table names that begin with `sqlite_` for itself: not {name:?}");
        return Err(DatabaseError::Unavailable { message });
    }
    Ok(table)
}

/// The statements that would make what is missing.
///
/// An index on the expiry under another name, as older versions of Django made it, serves as well: it is not missing.
pub(super) fn missing(connection: &Connection, table: &TableName) -> Result<Vec<String>, DatabaseError> {
    let kind: Option<String> = connection
        .query_row("SELECT type FROM sqlite_master WHERE name = ?1 COLLATE NOCASE", [table.as_str()], |row| row.get(0))
        .optional()
        .map_err(|error| database_error(&error))?;
    match kind.as_deref() {
        None => return Ok(vec![create_table(table), create_index(table)]),
        Some("table") => check_columns(connection, table)?,
        Some(kind) => return Err(different(table, format!("it is a {kind}"))),
    }
    if has_expiry_index(connection, table)? { Ok(Vec::new()) } else { Ok(vec![create_index(table)]) }
}

fn check_columns(connection: &Connection, table: &TableName) -> Result<(), DatabaseError> {
    let columns = columns(connection, table).map_err(|error| database_error(&error))?;
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
    match columns.iter().find(|column| COLUMNS.iter().all(|(name, ..)| column.name != *name)) {
        Some(extra) => Err(different(table, format!("it has the column {} that Django's has not", extra.name))),
        None => Ok(()),
    }
}

struct Column {
    name: String,
    kind: String,
    not_null: bool,
    primary: bool,
}

fn columns(connection: &Connection, table: &TableName) -> rusqlite::Result<Vec<Column>> {
    // `table_xinfo` lists generated columns too, `table_info` does not.
    let mut statement = connection.prepare("SELECT name, type, \"notnull\", pk FROM pragma_table_xinfo(?1)")?;
    let columns = statement.query_map([table.as_str()], |row| {
        Ok(Column { name: row.get(0)?, kind: row.get(1)?, not_null: row.get(2)?, primary: row.get::<_, i64>(3)? > 0 })
    })?;
    columns.collect()
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
