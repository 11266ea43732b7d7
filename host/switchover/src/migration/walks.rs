//! Walks of the controller over whole tables, for the profile `lazy`.

use std::time::{Duration, Instant};

use switchover_core::SessionKey;
use switchover_core::capabilities::{Document, Terms, Write};
use switchover_protocol::Side;

use super::controller::Controller;
use super::document::fence;
use super::error::MigrationError;

/// Rows of one page.
const PAGE: u32 = 500;
/// How long one page may take.
const PATIENCE: Duration = Duration::from_secs(20);

impl Controller {
    /// How many living sessions of old have no row at new.
    pub(super) async fn living_not_at_new(&self, document: &Document) -> Result<u64, MigrationError> {
        let (mut missing, mut after) = (0, None);
        loop {
            let scanned = self.old.upkeep().scan(after, PAGE, by()).await;
            let scanned = scanned.map_err(|error| self.of_side(Side::Old, error))?;
            // A row that cannot be read may be a living session, and is not known to be at new.
            missing += scanned.unreadable.len() as u64;
            let keys: Vec<SessionKey> = scanned.sessions.into_iter().map(|session| session.key).collect();
            if !keys.is_empty() {
                let rows = self.side_tables(Side::New)?.rows(keys, fence(document), by()).await;
                let rows = rows.map_err(|error| self.of_side(Side::New, error))?;
                missing += rows.iter().filter(|row| matches!(row.row, Ok(None))).count() as u64;
            }
            after = scanned.next;
            if after.is_none() {
                return Ok(missing);
            }
        }
    }

    /// Empties the new table by deletes under the fence, and looks that it is empty. Never `TRUNCATE`: a controller
    /// that was paused would empty the live table.
    pub(super) async fn empty_new(&self, document: &Document) -> Result<(), MigrationError> {
        let of_new = |error| self.of_side(Side::New, error);
        let mut after = None;
        loop {
            let scanned = self.new.upkeep().scan(after, PAGE, by()).await.map_err(of_new)?;
            let deletes: Vec<Write> = scanned.sessions.into_iter().map(|session| Write::Delete(session.key)).collect();
            if !deletes.is_empty() {
                let terms = Terms { deadline: by(), fence: Some(fence(document)) };
                self.new.write(deletes, terms).await.map_err(of_new)?;
            }
            after = scanned.next;
            if after.is_none() {
                break;
            }
        }
        let mut passed = 0;
        loop {
            let swept = self.new.upkeep().sweep(None, passed, PAGE, by()).await.map_err(of_new)?;
            passed += swept.passed();
            if !swept.more {
                break;
            }
        }
        let left = self.new.upkeep().statistics(by()).await.map_err(of_new)?.rows;
        if left > 0 {
            let message = format!(
                "{left} rows of {} could not be deleted, so it is not empty: delete what it says with `clear-expired` \
                 and by hand, and try again",
                self.new.summary()
            );
            return Err(MigrationError::Invalid { message });
        }
        Ok(())
    }
}

fn by() -> Instant {
    Instant::now() + PATIENCE
}
