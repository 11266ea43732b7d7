//! Compares the two tables, page by page, each page in one snapshot.
//!
//! A copier clears a change in the transaction that carries its row. So in every snapshot a row that differs has a
//! change that waits, or something is wrong: no difference has to be looked at twice.

use switchover_core::capabilities::DatabaseError;
use switchover_core::short_hash;

use super::carry::after;
use super::state::Locked;
use super::{Bind, Rebuild, column};

/// What a step of the comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Keys that it looked at.
    pub keys: u64,
    /// The rows that differ and wait for no copy, by a hash of their keys. They are carried again.
    pub different: Vec<String>,
    /// Whether it has reached the last key: the next step begins a new round.
    pub ended: bool,
}

impl Rebuild {
    /// Compares the rows of the next `limit` keys. Call it once the scan has ended.
    ///
    /// # Errors
    ///
    /// As for [`Rebuild::scan`].
    pub async fn compare(&mut self, limit: u32) -> Result<Compared, DatabaseError> {
        self.simple("BEGIN").await?;
        let done = self.compare_locked(limit).await;
        self.end(done).await
    }

    async fn compare_locked(&mut self, limit: u32) -> Result<Compared, DatabaseError> {
        let Locked { state, compared_to, .. } = self.locked().await?;
        let (table, other) = (self.names.table.clone(), self.other(state.side).to_owned());
        let (key, kind) = (self.shape.key.clone(), self.shape.key_type.clone());
        let from = after(&key, &kind, compared_to.as_deref());
        let keys = |of: &str| format!("(SELECT {key} AS key FROM {of}{from} ORDER BY 1 LIMIT $2)");
        let sql = format!(
            "SELECT key::text, count(*) OVER () FROM \
             (SELECT key FROM ({} UNION {}) AS both_tables ORDER BY 1 LIMIT $2) AS page ORDER BY page.key DESC LIMIT 1",
            keys(&table),
            keys(&other)
        );
        let page = self.rows(&sql, &[Bind::Text(compared_to.as_deref()), Bind::Int(limit.into())]).await?;
        let Some(last) = page.first() else { return self.round_ended(state.compared, state.different).await };
        let (last, count): (String, i64) = (column(last, 0)?, column(last, 1)?);
        let sql = self.differences(&table, &other, &from, &state.living);
        let found = self.rows(&sql, &[Bind::Text(compared_to.as_deref()), Bind::Text(Some(&last))]).await?;
        let different = found.iter().map(|row| column::<String>(row, 0)).collect::<Result<Vec<_>, _>>()?;
        if !different.is_empty() {
            let sql = format!("INSERT INTO {} (key) SELECT unnest($1::text[])::{kind}", self.names.changes);
            self.run(&sql, &[Bind::Texts(&different)]).await?;
        }
        let sql = format!(
            "UPDATE {} SET compared_to = $1, compared = compared + $2, different = different + $3",
            self.names.state
        );
        let wrong = i64::try_from(different.len()).unwrap_or(i64::MAX);
        self.run(&sql, &[Bind::Text(Some(&last)), Bind::Int(count), Bind::Int(wrong)]).await?;
        let different = different.iter().map(|key| short_hash(key.as_bytes())).collect();
        Ok(Compared { keys: count.unsigned_abs(), different, ended: false })
    }

    /// Every column counts, by its bytes: a type may have no equality, as `json` has none. A row that has ended on both
    /// sides does not count.
    fn differences(&self, table: &str, other: &str, from: &str, living: &str) -> String {
        let (key, kind, changes) = (&self.shape.key, &self.shape.key_type, &self.names.changes);
        let columns = self.shape.columns.join(", ");
        // A row that is written out would be compared column by column, each by an operator of its type.
        let side = |of: &str| {
            format!(
                "(SELECT {key}, ROW({columns}) AS switchover_row, ({living}) IS TRUE AS switchover_lives \
                  FROM {of}{from} AND {key} <= $2::{kind})"
            )
        };
        format!(
            "SELECT found.key::text FROM (\
                 SELECT coalesce(t.{key}, o.{key}) AS key FROM {} AS t FULL JOIN {} AS o ON t.{key} = o.{key} \
                 WHERE CASE WHEN o.{key} IS NULL THEN t.switchover_lives WHEN t.{key} IS NULL THEN o.switchover_lives \
                            ELSE t.switchover_row *<> o.switchover_row AND (t.switchover_lives OR o.switchover_lives) END\
                 ) AS found \
             WHERE NOT EXISTS (SELECT FROM {changes} AS c WHERE c.key = found.key) \
                 AND NOT EXISTS (SELECT FROM {changes} AS c WHERE c.key IS NULL)",
            side(table),
            side(other),
        )
    }

    async fn round_ended(&mut self, compared: u64, different: u64) -> Result<Compared, DatabaseError> {
        self.logged(&format!("a comparison has reached the last key: {compared} keys, {different} different")).await?;
        let sql = format!(
            "UPDATE {} SET compared_to = NULL, compared = 0, last_different = different, different = 0, rounds = rounds + 1",
            self.names.state
        );
        self.run(&sql, &[]).await?;
        Ok(Compared { ended: true, ..Compared::default() })
    }
}
