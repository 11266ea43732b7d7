//! The rows of a table, page by page, for the jobs that walk over all of them.

use futures_util::stream::{self, Stream};
use switchover_core::capabilities::{Cursor, Scan, Side};

use super::Jobs;
use crate::migration::copy::NoAnswer;
use crate::migration::tool_deadline;

/// Pages that are in work at the same time: while one is written, the next ones are read.
pub(super) const AT_ONCE: usize = 4;

/// The pages behind `after`, each with at most `rows` rows. It ends after the last one, or after an error.
pub(super) fn pages(
    jobs: &Jobs,
    of: Side,
    after: Option<Cursor>,
    rows: u32,
) -> impl Stream<Item = Result<Scan, NoAnswer>> {
    stream::unfold(Some(after), move |after| async move {
        let scanned = jobs.pair.database(of).upkeep().scan(after?, rows, tool_deadline(jobs.patience)).await;
        let next = scanned.as_ref().ok().and_then(|scan| scan.next.clone());
        Some((scanned.map_err(|error| NoAnswer { side: of, error }), next.map(Some)))
    })
}
