//! The table on a server: a name that needs no escaping, and columns that are Django's.

use crate::capabilities::DatabaseError;

/// A name that needs no escaping between the quotes of any server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::backends) struct TableName(String);

/// PostgreSQL cuts longer names off (`NAMEDATALEN`); MySQL's limit is 64.
const TABLE_NAME_LENGTH_MAX: usize = 63;

impl TableName {
    pub(in crate::backends) fn parse(name: &str) -> Result<Self, DatabaseError> {
        let allowed = (1..=TABLE_NAME_LENGTH_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !name.starts_with(|first: char| first.is_ascii_digit());
        if allowed {
            return Ok(Self(name.to_owned()));
        }
        let name: String = name.chars().take(80).collect();
        let message = format!(
            "a table's name has 1 to {TABLE_NAME_LENGTH_MAX} characters of a-z, A-Z, 0-9 and _, no digit first: not {name:?}"
        );
        Err(DatabaseError::Unavailable { message })
    }

    pub(in crate::backends) fn as_str(&self) -> &str {
        &self.0
    }

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

pub(in crate::backends) fn different(table: &TableName, difference: String) -> DatabaseError {
    DatabaseError::Corrupt { message: format!("{} is not Django's table: {difference}", table.as_str()) }
}
