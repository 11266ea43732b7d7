//! Reads rows at the old server, and puts them at the new one.

use futures_util::TryStreamExt as _;
use switchover_core::capabilities::DatabaseError;

use super::super::captured::Captured;
use super::super::link::{Bind, bound, column, error_of};
use super::landing::{Landing, Lease};
use super::rows::Rows;

/// Which rows a step reads: a condition, and what it is bound to.
pub(super) struct Which<'w> {
    pub(super) condition: &'w str,
    pub(super) bind: &'w [Bind<'w>],
    /// Whether a row that is at the new server already stays.
    pub(super) spare: bool,
}

/// Reads rows of the old table, and puts them at the new server in pieces; before them the keys that are gone. Returns
/// how many rows were put.
pub(super) async fn send(
    old: &mut Captured,
    new: &mut Landing,
    lease: &Lease,
    gone: &[String],
    which: Which<'_>,
) -> Result<u64, DatabaseError> {
    let columns: Vec<_> = old.shape.filled.iter().map(|column| format!("{column}::text")).collect();
    let sql = format!("SELECT {} FROM {} WHERE {}", columns.join(", "), old.names.table, which.condition);
    let mut found = bound(&sql, which.bind).fetch(&mut old.link.connection);
    let (mut rows, mut gone, mut put) = (Rows::new(columns.len(), which.spare), gone, 0);
    while let Some(row) = found.try_next().await.map_err(|error| error_of(&error))? {
        for (at, values) in rows.columns.iter_mut().enumerate() {
            let value: Option<String> = column(&row, at)?;
            rows.bytes += value.as_ref().map_or(0, String::len);
            values.push(value);
        }
        if rows.is_full() {
            put += new.put(lease, std::mem::take(&mut gone), &rows).await?;
            rows = Rows::new(columns.len(), which.spare);
        }
    }
    if rows.len() + gone.len() > 0 {
        put += new.put(lease, gone, &rows).await?;
    }
    Ok(put)
}
