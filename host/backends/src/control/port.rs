//! What the control tables need of a driver: statements with whole numbers and texts, one by one or as a transaction.

use std::time::Instant;

use async_trait::async_trait;
use switchover_core::capabilities::DatabaseError;

/// A value of a statement or of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    /// NULL, from a database that does not say of which type.
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "SQLite alone has columns without a type"))]
    Null,
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(Some(text.into()))
    }

    pub(crate) fn int(number: u64) -> Self {
        Self::Int(Some(i64::try_from(number).unwrap_or(i64::MAX)))
    }

    pub(crate) fn int_or_null(number: Option<u64>) -> Self {
        number.map_or(Self::Int(None), Self::int)
    }
}

/// What a statement returned.
#[derive(Debug, Default)]
pub(crate) struct Returned {
    pub(crate) rows: Vec<Vec<Value>>,
    /// How many rows it wrote.
    pub(crate) written: u64,
}

/// Why a statement failed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The server refused. Nothing was written, and the connection can still be used.
    Refused(DatabaseError),
    /// The connection cannot be used any more. If the statement writes, its outcome is not known.
    Lost(String),
}

/// One connection. It never reconnects by itself. Statements have `?` for each value.
#[async_trait]
pub(crate) trait Port: Send {
    /// Runs one statement; outside of a transaction it commits by itself.
    async fn run(&mut self, sql: &str, values: Vec<Value>) -> Result<Returned, Trouble>;
}

/// Opens connections of one kind.
#[async_trait]
pub(crate) trait Opener: Send + Sync {
    /// Opens a connection by `deadline`.
    async fn open(&self, deadline: Instant) -> Result<Box<dyn Port>, DatabaseError>;

    fn dialect(&self) -> Dialect;

    /// Where it is, for people.
    fn place(&self) -> String;
}

/// How a kind of database writes the same statements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect {
    /// Now, in microseconds since 1970.
    pub(crate) now: &'static str,
    /// The type of a name, which is compared byte for byte.
    pub(crate) name: &'static str,
    /// The type of a text.
    pub(crate) text: &'static str,
    /// What follows the columns of a table.
    pub(crate) table: &'static str,
    /// One row if there is a table with this name.
    pub(crate) finds_table: &'static str,
    /// Begins a transaction that may write.
    pub(crate) begin: &'static str,
    /// An insert that leaves a row that is there as it is: what stands before `INTO`, and at the end.
    pub(crate) insert_if_absent: [&'static str; 2],
    /// What stands between the values of an insert and the columns that are set if the row is there.
    pub(crate) or_update: fn(keys: &str) -> String,
    /// The value that the insert would have written to this column.
    pub(crate) inserted: fn(column: &str) -> String,
}
