//! How two databases compare. It names sessions by a hash of their keys.

use serde::Serialize;
use switchover::SessionKey;
use switchover::migration::{Comparison, Difference, Repair, SHOWN_MAX, Seen};
use utoipa::ToSchema;

use super::utc;

/// How two databases compare.
#[derive(Debug, Serialize, ToSchema)]
pub struct Compared {
    /// Whether every row was read, and no session differs.
    ok: bool,
    /// The rows of the old database that have not ended.
    old_rows: u64,
    /// The same for the new one.
    new_rows: u64,
    /// The rows of the old database that have ended.
    old_expired_rows: u64,
    /// The same for the new one.
    new_expired_rows: u64,
    /// Rows of either database that cannot be read.
    unreadable: u64,
    /// Those of the old one.
    old_unreadable: u64,
    /// Those of the new one.
    new_unreadable: u64,
    /// The first of them.
    unreadable_rows: Unreadable,
    /// Sessions that are the same in both.
    equal: u64,
    /// Sessions that ended in both, or were deleted from both, while they were compared.
    gone: u64,
    /// Sessions that only the old database has.
    only_old: u64,
    /// Sessions that only the new one has.
    only_new: u64,
    /// Sessions whose payloads differ.
    payload_differs: u64,
    /// Sessions whose ends differ.
    expiry_differs: u64,
    /// Sessions that differ in another column.
    column_differs: u64,
    /// Sessions that changed each time that they were looked at.
    unsettled: u64,
    /// The latest end among the sessions that only the old database has.
    last_only_old_expires_at: Option<String>,
    /// The first sessions that differ.
    differences: Vec<DifferenceShown>,
}

/// Rows that cannot be read.
#[derive(Debug, Serialize, ToSchema)]
pub struct Unreadable {
    /// Of the old database.
    old: Vec<RowShown>,
    /// Of the new one.
    new: Vec<RowShown>,
}

/// A row that cannot be read.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Row)]
pub struct RowShown {
    /// A short hash of its key.
    session: String,
    /// What is wrong with it.
    what: String,
}

/// A session that differs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Difference)]
pub struct DifferenceShown {
    /// A short hash of its key.
    session: String,
    /// How.
    difference: &'static str,
}

/// How two databases compare, and what was marked.
#[derive(Debug, Serialize, ToSchema)]
pub struct Repaired {
    #[serde(flatten)]
    comparison: Compared,
    /// How many of the sessions that differ were marked, so that the hosts copy them.
    marked: u64,
}

/// How two databases compare.
pub fn comparison(comparison: &Comparison) -> Compared {
    let difference = |(key, kind): &(SessionKey, Difference)| DifferenceShown {
        session: key.short_hash(),
        difference: kind.as_str(),
    };
    Compared {
        ok: comparison.is_alike(),
        old_rows: comparison.old.rows,
        new_rows: comparison.new.rows,
        old_expired_rows: comparison.old.expired,
        new_expired_rows: comparison.new.expired,
        unreadable: comparison.old.unreadable + comparison.new.unreadable,
        old_unreadable: comparison.old.unreadable,
        new_unreadable: comparison.new.unreadable,
        unreadable_rows: Unreadable { old: rows(&comparison.old), new: rows(&comparison.new) },
        equal: comparison.equal,
        gone: comparison.gone,
        only_old: comparison.count(Difference::OnlyOld),
        only_new: comparison.count(Difference::OnlyNew),
        payload_differs: comparison.count(Difference::Payload),
        expiry_differs: comparison.count(Difference::Expiry),
        column_differs: comparison.count(Difference::Column),
        unsettled: comparison.count(Difference::Unsettled),
        last_only_old_expires_at: comparison.last_only_old.map(utc),
        differences: comparison.different.iter().take(SHOWN_MAX).map(difference).collect(),
    }
}

/// What a repair found and did.
pub fn repair(repair: &Repair) -> Repaired {
    Repaired { comparison: comparison(&repair.comparison), marked: repair.marked }
}

fn rows(seen: &Seen) -> Vec<RowShown> {
    seen.shown.iter().map(|row| RowShown { session: row.row.clone(), what: row.what.clone() }).collect()
}
