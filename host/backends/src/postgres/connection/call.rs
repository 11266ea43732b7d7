//! A call of the function for writes: what it is told besides the batch.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Postgres, Row as _};
use switchover_core::capabilities::{DatabaseError, Fence, Number, Side, Write};

use super::super::functions::How;
use super::column;
use crate::manner::{Manner, token};
use crate::server::Failure;

/// What the function for writes is told besides the batch.
pub(super) struct Call<'c> {
    how: How,
    migration: &'c str,
    epoch: i64,
    /// In their order.
    pub(super) keys: Vec<&'c str>,
    /// For each key its new token, or its number.
    figures: Vec<i64>,
}

impl<'c> Call<'c> {
    /// `None`: the batch is written without the function.
    pub(super) fn of(manner: &'c Manner, batch: &'c [Write]) -> Option<Self> {
        match manner {
            Manner::Plain(None) => None,
            Manner::Plain(Some(fence)) => Some(Self::with(How::Home, fence, Vec::new(), Vec::new())),
            Manner::Marked(home, fence) => Some(Self::marked(*home, fence, sorted(batch))),
        }
    }

    pub(super) fn marked(home: Side, fence: &'c Fence, keys: Vec<&'c str>) -> Self {
        let how = match home {
            Side::Old => How::MarkedAtOld,
            Side::New => How::MarkedAtNew,
        };
        let tokens = keys.iter().map(|_| token().0).collect();
        Self::with(how, fence, keys, tokens)
    }

    /// In a transaction that has locked the keys.
    pub(super) fn locked(migration: &'c str, batch: &'c [Write]) -> Self {
        Self { how: How::Locked, migration, epoch: 0, keys: sorted(batch), figures: Vec::new() }
    }

    pub(super) fn numbered(fence: &'c Fence, batch: &'c [(Write, Number)]) -> Self {
        let mut numbers: Vec<_> = batch.iter().map(|(write, number)| (write.key().expose(), count(number.0))).collect();
        numbers.sort_unstable();
        let (keys, numbers) = numbers.into_iter().unzip();
        Self::with(How::Numbered, fence, keys, numbers)
    }

    fn with(how: How, fence: &'c Fence, keys: Vec<&'c str>, figures: Vec<i64>) -> Self {
        Self { how, migration: &fence.migration, epoch: count(fence.epoch.0), keys, figures }
    }

    pub(super) fn bind(self, query: Query<'c, Postgres, PgArguments>) -> Query<'c, Postgres, PgArguments> {
        query.bind(self.how as i32).bind(self.migration).bind(self.epoch).bind(self.keys).bind(self.figures)
    }
}

fn sorted(batch: &[Write]) -> Vec<&str> {
    let mut keys: Vec<_> = batch.iter().map(|write| write.key().expose()).collect();
    keys.sort_unstable();
    keys
}

/// An epoch or a number as its column holds it. No migration reaches the end of the column.
pub(super) fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A text in SQL, whatever the server's settings make of a backslash.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// `begin`'s look at the fence.
pub(super) fn look(function: &str, fence: &Fence) -> String {
    format!("SELECT {function}({}, {})", literal(&fence.migration), count(fence.epoch.0))
}

/// Whether the caller may go on: the last column of the row has the fence's epoch, and without a fence there is no row.
pub(super) fn not_below(fence: &Fence, row: Option<&PgRow>) -> Result<(), Failure> {
    let fenced = Failure::Refused(DatabaseError::Fenced);
    let Some(row) = row else { return Err(fenced) };
    let epoch: i64 = column(row, row.len() - 1)?;
    if epoch <= count(fence.epoch.0) { Ok(()) } else { Err(fenced) }
}
