//! Repairs what differs although no mark says so: by hand, for an operator who has seen a difference.

use switchover_core::SessionKey;
use switchover_runtime::Limits;

use super::compare::{Comparison, Difference, compare};
use super::controller::Controller;
use super::document::{fence, phase, source_of};
use super::error::{CompareError, MigrationError};
use super::look::tool_deadline;

/// Keys that are marked in one transaction.
const MARKED_AT_ONCE: usize = 100;

/// What a repair found and did.
pub struct Repair {
    /// The comparison that it began with.
    pub comparison: Comparison,
    /// How many of the sessions that differ were marked. The hosts copy them from the database that decides.
    pub marked: u64,
}

impl Controller {
    /// Compares both databases and marks each session that differs, so that the hosts copy it once more from the
    /// database that decides. With `mark` off it only compares. Rows that cannot be read are not repaired. Reports each
    /// further number of compared rows to `rows_read`.
    ///
    /// Safe to repeat. A mark on a row that is alike costs one copy, and changes nothing.
    ///
    /// # Errors
    ///
    /// [`MigrationError::Invalid`] in a phase that copies nothing, or if too much differs; otherwise as for
    /// [`Controller::document`], and [`MigrationError::Database`].
    pub async fn repair(
        &self,
        limits: &Limits,
        mark: bool,
        rows_read: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Repair, MigrationError> {
        let document = self.document().await?;
        let phase = phase(&document)?;
        let (Some(side), Some(source)) = (phase.source(), source_of(phase)) else {
            let message = format!(
                "in {phase} the hosts copy nothing, so a mark would stay: a repair is for `mirror` and `reverse`; look at \
                 what differs with `switchover migrate diff`"
            );
            return Err(MigrationError::Invalid { message });
        };
        let comparison = compare(self.old.as_ref(), self.new.as_ref(), limits, rows_read).await;
        let comparison = comparison.map_err(|error| match error {
            CompareError::Database { database, source } => MigrationError::Database { database, source },
            error => MigrationError::Invalid { message: error.to_string() },
        })?;
        let mut marked = 0;
        if mark {
            let lasting = comparison.different.iter().filter(|(_, how)| *how != Difference::Unsettled);
            let keys: Vec<SessionKey> = lasting.map(|(key, _)| key.clone()).collect();
            for keys in keys.chunks(MARKED_AT_ONCE) {
                let by = tool_deadline(limits.write_deadline);
                let marks = self.side_tables(side)?.mark(keys.to_vec(), source, fence(&document), by).await;
                marks.map_err(|error| self.of_side(side, error))?;
                marked += keys.len() as u64;
            }
            if marked > 0 {
                self.note(&format!("repair: {marked} sessions that differed are marked")).await?;
            }
        }
        Ok(Repair { comparison, marked })
    }
}
