//! The name of a session table, and what is said of a table that is not Django's.

use switchover_core::capabilities::DatabaseError;

/// A name that needs no escaping between the quotes of any database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableName(String);

/// PostgreSQL cuts longer names off (`NAMEDATALEN`); MySQL's limit is 64, and SQLite has none.
const TABLE_NAME_LENGTH_MAX: usize = 63;

impl TableName {
    pub(super) fn parse(name: &str) -> Result<Self, DatabaseError> {
        let allowed = (1..=TABLE_NAME_LENGTH_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !name.starts_with(|first: char| first.is_ascii_digit());
        if allowed {
            return Ok(Self(name.to_owned()));
        }
        // The name is not repeated: an address may have come into its place.
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let wrong = match name.bytes().position(|byte| !is_word(byte)) {
            Some(at) => format!("this one has another at byte {at}"),
            None => format!("this one has {} bytes, or begins with a digit", name.len()),
        };
        let rule = format!("1 to {TABLE_NAME_LENGTH_MAX} characters of a-z, A-Z, 0-9 and _, no digit first");
        Err(DatabaseError::Invalid { message: format!("a table's name has {rule}: {wrong}") })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// As PostgreSQL and SQLite quote it.
    #[cfg(feature = "postgres")]
    pub(super) fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

/// What a table has that Django's has not, or the other way round.
pub(super) fn different(table: &TableName, difference: String) -> DatabaseError {
    DatabaseError::Corrupt { message: format!("{} is not Django's table: {difference}", table.as_str()) }
}

/// What is said of a column that would be neither compared nor carried over.
pub(super) fn extra_column(table: &TableName, column: &str) -> DatabaseError {
    different(table, format!("it has the column {column} that Django's has not"))
}
