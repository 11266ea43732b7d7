//! The table on a server: the names of its indexes, and columns that are Django's.

use switchover_core::capabilities::DatabaseError;

use crate::table::{TableName, different, extra_column};

impl TableName {
    /// Django ends the name with eight digits of the MD5 of table and column, for the table that everybody has; for any other
    /// table the name is without, and cut so that it fits.
    pub(crate) fn index(&self, column: &str, django: &str, suffix: &str) -> String {
        match self.as_str() {
            "django_session" => format!("django_session_{column}_{django}{suffix}"),
            other => format!("{other:.40}_{column}{suffix}"),
        }
    }
}

/// A column as the server describes it.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) nullable: bool,
}

/// Checks that the columns are those that Django makes, whose types are `kinds` in the order of [`COLUMN_NAMES`]. `remedy`: what
/// is said beside the difference, from the name of a column and the type that it has.
pub(crate) fn check_columns(
    table: &TableName,
    columns: &[Column],
    kinds: [&str; 3],
    remedy: impl Fn(&str, &str) -> Option<String>,
) -> Result<(), DatabaseError> {
    for (name, kind) in COLUMN_NAMES.into_iter().zip(kinds) {
        let Some(column) = columns.iter().find(|column| column.name == name) else {
            return Err(different(table, format!("it has no column {name}")));
        };
        if column.kind != kind {
            let remedy = remedy(name, &column.kind).map(|remedy| format!("; {remedy}")).unwrap_or_default();
            return Err(different(table, format!("its column {name} is {:?}, not {kind:?}{remedy}", column.kind)));
        }
        if column.nullable {
            return Err(different(table, format!("its column {name} may be NULL")));
        }
    }
    Ok(())
}

/// Checks that there are no others: they would be neither compared nor carried over.
pub(crate) fn check_no_more(table: &TableName, columns: &[Column]) -> Result<(), DatabaseError> {
    match columns.iter().find(|column| !COLUMN_NAMES.contains(&column.name.as_str())) {
        Some(extra) => Err(extra_column(table, &extra.name)),
        None => Ok(()),
    }
}

const COLUMN_NAMES: [&str; 3] = ["session_key", "session_data", "expire_date"];
