//! The table on a server: the names of its indexes, and columns that are Django's.

use crate::backends::table::{TableName, different};
use crate::capabilities::DatabaseError;

impl TableName {
    /// Django ends the name with eight digits of the MD5 of table and column, for the table that everybody has; for any other
    /// table the name is without, and cut so that it fits.
    pub(in crate::backends) fn index(&self, column: &str, django: &str, suffix: &str) -> String {
        match self.as_str() {
            "django_session" => format!("django_session_{column}_{django}{suffix}"),
            other => format!("{other:.40}_{column}{suffix}"),
        }
    }
}

/// A column as the server describes it.
#[derive(Debug)]
pub(in crate::backends) struct Column {
    pub(in crate::backends) name: String,
    pub(in crate::backends) kind: String,
    pub(in crate::backends) nullable: bool,
}

/// Checks that the columns are those that Django makes, whose types are `kinds` in the order of [`COLUMN_NAMES`].
pub(in crate::backends) fn check_columns(
    table: &TableName,
    columns: &[Column],
    kinds: [&str; 3],
) -> Result<(), DatabaseError> {
    for (name, kind) in COLUMN_NAMES.into_iter().zip(kinds) {
        let Some(column) = columns.iter().find(|column| column.name == name) else {
            return Err(different(table, format!("it has no column {name}")));
        };
        if column.kind != kind {
            return Err(different(table, format!("its column {name} is {:?}, not {kind:?}", column.kind)));
        }
        if column.nullable {
            return Err(different(table, format!("its column {name} may be NULL")));
        }
    }
    match columns.iter().find(|column| !COLUMN_NAMES.contains(&column.name.as_str())) {
        Some(extra) => Err(different(table, format!("it has the column {} that Django's has not", extra.name))),
        None => Ok(()),
    }
}

const COLUMN_NAMES: [&str; 3] = ["session_key", "session_data", "expire_date"];
