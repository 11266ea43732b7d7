//! Compares the two tables, page by page: first every key of the old table, then every key that only the new one has.
//!
//! The two servers may sort keys differently, so no page of one is held against a page of the other. A row of the old
//! table is read together with whether a change of it waits, in one snapshot, while nobody else can put. So a row that
//! differs and has no change is wrong.

use std::collections::HashMap;

use switchover_core::capabilities::DatabaseError;
use switchover_core::moves::{Compared, Side};
use switchover_core::short_hash;

use super::super::captured::Locked;
use super::super::link::{Bind, column};
use super::Transfer;

/// What `compared_to` begins with in the second half of a round.
const AT_NEW: &str = "n";
/// Before the first key of that half: a key may be an empty text.
const FIRST_AT_NEW: &str = "f";
const AT_OLD: &str = "o";

impl Transfer {
    /// Compares the rows of the next `limit` keys.
    pub(super) async fn compare_step(&mut self, limit: u32) -> Result<Compared, DatabaseError> {
        let locked = self.locked().await?;
        let done = self.compare_locked(locked, limit).await;
        self.ended(done).await
    }

    async fn compare_locked(&mut self, locked: Locked, limit: u32) -> Result<Compared, DatabaseError> {
        if locked.state.side != Side::Old {
            return Ok(Compared { ended: true, ..Compared::default() });
        }
        let position = locked.compared_to.as_deref();
        let (half, from) = match position.and_then(|position| position.split_at_checked(1)) {
            Some((FIRST_AT_NEW, _)) => (AT_NEW, None),
            Some((half, from)) => (half, Some(from)),
            None => (AT_OLD, None),
        };
        let (keys, different) = match half {
            AT_OLD => self.of_old(from, limit, &locked.state.living).await?,
            _ => self.of_new(from, limit).await?,
        };
        let Some(last) = keys.last() else {
            if half == AT_OLD {
                self.old.compared(FIRST_AT_NEW, 0, &[]).await?;
                return Ok(Compared::default());
            }
            return self.old.round_ended(&locked.state).await;
        };
        let count = if half == AT_OLD { keys.len() as u64 } else { 0 };
        self.old.compared(&format!("{half}{last}"), count, &different).await?;
        let different = different.iter().map(|key| short_hash(key.as_bytes())).collect();
        Ok(Compared { keys: keys.len() as u64, different, ended: false })
    }

    /// The next keys of the old table, and those whose rows the new one has not, or has otherwise.
    async fn of_old(
        &mut self,
        from: Option<&str>,
        limit: u32,
        living: &str,
    ) -> Result<(Vec<String>, Vec<String>), DatabaseError> {
        let (key, after) = (&self.old.shape.key, self.old.after(from));
        let (table, changes) = (&self.old.names.table, &self.old.names.changes);
        let digest = digest(&self.old.shape.columns);
        let sql = format!(
            "SELECT t.{key}::text, {digest}, ({living}) IS TRUE, \
                    EXISTS (SELECT FROM {changes} AS c WHERE c.key = t.{key} OR c.key IS NULL) \
             FROM (SELECT * FROM {table} WHERE {after} ORDER BY {key} LIMIT $2) AS t ORDER BY t.{key}"
        );
        let rows = self.old.link.rows(&sql, &[Bind::Text(from), Bind::Int(limit.into())]).await?;
        let (mut keys, mut expected) = (Vec::new(), Vec::new());
        for row in &rows {
            keys.push(column::<String>(row, 0)?);
            expected.push((column::<String>(row, 1)?, column::<bool>(row, 2)?, column::<bool>(row, 3)?));
        }
        let found: HashMap<_, _> = self.new.digests(&digest, &keys).await?.into_iter().collect();
        let differs = |(key, (digest, lives, waits)): (&String, &(String, bool, bool))| {
            let same = found.get(key).map_or(!lives, |there| there == digest);
            (!same && !waits).then(|| key.clone())
        };
        let different = keys.iter().zip(&expected).filter_map(differs).collect();
        Ok((keys, different))
    }

    /// The next keys of the new table, and those that the old one has not.
    async fn of_new(&mut self, from: Option<&str>, limit: u32) -> Result<(Vec<String>, Vec<String>), DatabaseError> {
        let keys = self.new.keys_after(from, limit).await?;
        let gone = self.old.without(&keys).await?;
        Ok((keys, gone.into_iter().filter(|(_, waits)| !waits).map(|(key, _)| key).collect()))
    }
}

/// A row as one text, and its SHA-256. Both servers write the text alike: the settings of the connections are the same.
fn digest(columns: &[String]) -> String {
    let columns: Vec<_> = columns.iter().map(|column| format!("t.{column}")).collect();
    format!("encode(sha256(convert_to(ROW({})::text, 'UTF8')), 'hex')", columns.join(", "))
}
