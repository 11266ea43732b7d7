//! The session table. It is made if it is missing, and checked if it exists.

use rusqlite::{Connection, OptionalExtension};
use switchover_core::capabilities::{DatabaseError, Identity};
use switchover_core::{Layout, Table};

use super::connection::database_error;
use super::value;
use crate::others::OtherColumn;
use crate::table::{OWN_CASCADE, SessionTable};

/// The columns of a layout: name, type, and whether it is the primary key. No column may be NULL. Those of the layout
/// `django` are the ones that Django's schema editor makes.
fn layout_columns(layout: Layout) -> [(&'static str, &'static str, bool); 3] {
    let ([key, payload, end], is_django) = (layout.columns(), layout == Layout::DJANGO);
    let (key_kind, payload_kind) = if is_django { ("varchar(40)", "text") } else { ("varchar(255)", "blob") };
    [(key, key_kind, true), (payload, payload_kind, false), (end, "datetime", false)]
}

/// The table, unless SQLite reserves its name or the name has a schema.
pub(super) fn session_table(name: Option<&str>, layout: Layout) -> Result<SessionTable, DatabaseError> {
    let table = SessionTable::parse(name, layout)?;
    let name = table.table.name();
    if name.to_ascii_lowercase().starts_with("sqlite_") {
        let message = format!("SQLite keeps table names that begin with `sqlite_` for itself: not {name:?}");
        return Err(DatabaseError::Invalid { message });
    }
    if table.table.schema().is_some() {
        let message =
            "SQLite has no schemas: write the table's name alone, in double quotes if there is a dot in it".to_owned();
        return Err(DatabaseError::Invalid { message });
    }
    Ok(table)
}

/// The statements that would make what is missing.
///
/// An index on the expiry with another name, as older versions of Django made it, serves the same purpose: it is not
/// missing.
pub(super) fn missing(connection: &Connection, table: &SessionTable) -> Result<Vec<String>, DatabaseError> {
    match kind(connection, table)?.as_deref() {
        None => return Ok(vec![create_table(table), create_index(table)]),
        Some("table") => {
            let columns = columns(connection, table)?;
            check_columns(connection, table, &columns)?;
        }
        Some(kind) => return Err(table.different(format!("it is a {kind}: name the table itself"))),
    }
    if has_expiry_index(connection, table)? { Ok(Vec::new()) } else { Ok(vec![create_index(table)]) }
}

/// Checks the columns that sessions need, if the table exists. Other columns do not matter here.
pub(super) fn check(connection: &Connection, table: &SessionTable) -> Result<(), DatabaseError> {
    match kind(connection, table)?.as_deref() {
        Some("table") => {
            check_columns(connection, table, &columns(connection, table)?)?;
            table.check_others(&other_columns(connection, table)?)
        }
        Some(kind) => Err(table.different(format!("it is a {kind}: name the table itself"))),
        None => Ok(()),
    }
}

/// The device and inode of the file, and the table.
pub(super) fn identity(connection: &Connection, table: &SessionTable) -> Result<Option<Identity>, DatabaseError> {
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
    let table = table.table.name().to_ascii_lowercase();
    Ok(Some(Identity::new("sqlite", &[&place, &table]).with_one_writer(&place)))
}

/// A sentence for each trigger of the table, except its seal.
pub(super) fn triggers(connection: &Connection, table: &SessionTable) -> Result<Vec<String>, DatabaseError> {
    let named = || -> rusqlite::Result<Vec<String>> {
        let sql = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE \
             AND name NOT LIKE 'switchover_sealed_%' ORDER BY name";
        let mut statement = connection.prepare(sql)?;
        let names = statement.query_map([table.table.name()], |row| row.get::<_, String>(0))?;
        names.map(|name| name.map(|name| format!("the trigger {name}"))).collect()
    };
    named().map_err(|error| database_error(&error))
}

fn kind(connection: &Connection, table: &SessionTable) -> Result<Option<String>, DatabaseError> {
    let sql = "SELECT type FROM sqlite_master WHERE name = ?1 COLLATE NOCASE";
    connection.query_row(sql, [table.table.name()], |row| row.get(0)).optional().map_err(|error| database_error(&error))
}

fn check_columns(connection: &Connection, table: &SessionTable, columns: &[Column]) -> Result<(), DatabaseError> {
    for (name, kind, primary) in layout_columns(table.layout) {
        let Some(column) = columns.iter().find(|column| column.name == name) else {
            return Err(table.different(format!("it has no column {name}")));
        };
        if !column.kind.eq_ignore_ascii_case(kind) {
            return Err(table.different(format!("its column {name} is {:?}, not {kind:?}", column.kind)));
        }
        if !column.not_null {
            return Err(table.different(format!("its column {name} may be NULL")));
        }
        if column.primary != primary {
            let is = if primary { "is not" } else { "is in" };
            return Err(table.different(format!("its column {name} {is} the primary key")));
        }
    }
    let [key, ..] = table.layout.columns();
    if columns.iter().filter(|column| column.primary).count() > 1 {
        return Err(table.different(format!("its column {key} is only a part of the primary key")));
    }
    // The layout `django` has only keys of `a-z` and `0-9`; no collation takes two of them for the same.
    if table.layout != Layout::DJANGO && collation(connection, table, key)? != "BINARY" {
        let difference = format!("the collation of its column {key} takes different keys for one: it must be BINARY");
        return Err(table.different(difference));
    }
    if cascades_to_itself(connection, table)? {
        return Err(table.different(OWN_CASCADE));
    }
    let has_rowid = format!("SELECT rowid FROM {} LIMIT 0", table.table.quoted('"'));
    let without = "it was made WITHOUT ROWID: copy it into a table without this option";
    connection.prepare(&has_rowid).map_err(|_| table.different(without))?;
    Ok(())
}

fn cascades_to_itself(connection: &Connection, table: &SessionTable) -> Result<bool, DatabaseError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pragma_foreign_key_list(?1) \
               WHERE \"table\" = ?1 COLLATE NOCASE AND on_delete = 'CASCADE')";
    connection.query_row(sql, [table.table.name()], |row| row.get(0)).map_err(|error| database_error(&error))
}

/// The other columns, except those that SQLite computes. Empty if there is no table.
pub(super) fn other_columns(connection: &Connection, table: &SessionTable) -> Result<Vec<OtherColumn>, DatabaseError> {
    let found = columns(connection, table)?
        .into_iter()
        .filter(|column| !table.layout.columns().contains(&column.name.as_str()));
    let others = found.filter(|column| !column.generated).map(|column| OtherColumn {
        column: switchover_core::Column {
            name: column.name.into(),
            kind: value::kind(&column.kind),
            nullable: !column.not_null,
        },
        sql_type: column.kind,
        has_default: column.has_default,
    });
    Ok(others.collect())
}

struct Column {
    name: String,
    kind: String,
    not_null: bool,
    primary: bool,
    generated: bool,
    has_default: bool,
}

fn columns(connection: &Connection, table: &SessionTable) -> Result<Vec<Column>, DatabaseError> {
    let listed = || -> rusqlite::Result<Vec<Column>> {
        // `table_xinfo` lists generated columns too; `table_info` does not.
        let mut statement = connection.prepare(
            "SELECT name, type, \"notnull\", pk, hidden > 1, dflt_value IS NOT NULL FROM pragma_table_xinfo(?1)",
        )?;
        let columns = statement.query_map([table.table.name()], |row| {
            let (name, kind, not_null) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (generated, has_default) = (row.get(4)?, row.get(5)?);
            Ok(Column { name, kind, not_null, primary: row.get::<_, i64>(3)? > 0, generated, has_default })
        })?;
        columns.collect()
    };
    listed().map_err(|error| database_error(&error))
}

/// The collation of the primary key, which is one column.
fn collation(connection: &Connection, table: &SessionTable, key: &str) -> Result<String, DatabaseError> {
    let sql = "SELECT info.coll FROM pragma_index_list(?1) AS list, pragma_index_xinfo(list.name) AS info \
               WHERE list.origin = 'pk' AND info.name = ?2";
    let found = connection.query_row(sql, [table.table.name(), key], |row| row.get(0)).optional();
    found.map(|found| found.unwrap_or_default()).map_err(|error| database_error(&error))
}

fn has_expiry_index(connection: &Connection, table: &SessionTable) -> Result<bool, DatabaseError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pragma_index_list(?1) AS list, pragma_index_info(list.name) AS info \
               WHERE list.partial = 0 AND info.seqno = 0 AND info.name = ?2)";
    let [.., end] = table.layout.columns();
    connection.query_row(sql, [table.table.name(), end], |row| row.get(0)).map_err(|error| database_error(&error))
}

fn create_table(table: &SessionTable) -> String {
    let column = |(name, kind, primary): (&str, &str, bool)| {
        format!("\"{name}\" {kind} NOT NULL{}", if primary { " PRIMARY KEY" } else { "" })
    };
    format!("CREATE TABLE {} ({});", table.table.quoted('"'), layout_columns(table.layout).map(column).join(", "))
}

fn create_index(table: &SessionTable) -> String {
    let [.., end] = table.layout.columns();
    let name = table.index(end, "a5c62663", "");
    format!("CREATE INDEX {} ON {} (\"{end}\");", Table::quote(&name, '"'), table.table.quoted('"'))
}
