//! Compares the two tables, page by page, each page in one snapshot.
//!
//! A copier clears a change in the transaction that carries its row. So in every snapshot a row that differs has a
//! change that waits, or something is wrong: no difference has to be looked at twice.

use switchover_core::capabilities::DatabaseError;
use switchover_core::moves::Compared;
use switchover_core::short_hash;

use super::super::captured::Locked;
use super::super::link::{Bind, column};
use super::Rebuild;

impl Rebuild {
    /// Compares the rows of the next `limit` keys. Call it once the scan has ended.
    pub(super) async fn compare_step(&mut self, limit: u32) -> Result<Compared, DatabaseError> {
        self.table.link.simple("BEGIN").await?;
        let done = self.compare_locked(limit).await;
        self.table.link.end(done).await
    }

    async fn compare_locked(&mut self, limit: u32) -> Result<Compared, DatabaseError> {
        let Locked { state, compared_to, .. } = self.table.locked().await?;
        let (table, other) = (self.table.names.table.clone(), self.table.other(state.side).to_owned());
        let key = self.table.shape.key.clone();
        let from = format!(" WHERE {}", self.table.after(compared_to.as_deref()));
        let keys = |of: &str| format!("(SELECT {key} AS key FROM {of}{from} ORDER BY 1 LIMIT $2)");
        let sql = format!(
            "SELECT key::text, count(*) OVER () FROM \
             (SELECT key FROM ({} UNION {}) AS both_tables ORDER BY 1 LIMIT $2) AS page ORDER BY page.key DESC LIMIT 1",
            keys(&table),
            keys(&other)
        );
        let page = self.table.link.rows(&sql, &[Bind::Text(compared_to.as_deref()), Bind::Int(limit.into())]).await?;
        let Some(last) = page.first() else { return self.table.round_ended(&state).await };
        let (last, count): (String, i64) = (column(last, 0)?, column(last, 1)?);
        let sql = self.differences(&table, &other, &from, &state.living);
        let found = self.table.link.rows(&sql, &[Bind::Text(compared_to.as_deref()), Bind::Text(Some(&last))]).await?;
        let different = found.iter().map(|row| column::<String>(row, 0)).collect::<Result<Vec<_>, _>>()?;
        self.table.compared(&last, count.unsigned_abs(), &different).await?;
        let different = different.iter().map(|key| short_hash(key.as_bytes())).collect();
        Ok(Compared { keys: count.unsigned_abs(), different, ended: false })
    }

    /// Every column counts, by its bytes: a type may have no equality, as `json` has none. A row that has ended on both
    /// sides does not count.
    fn differences(&self, table: &str, other: &str, from: &str, living: &str) -> String {
        let (key, kind, changes) = (&self.table.shape.key, &self.table.shape.key_type, &self.table.names.changes);
        let columns = self.table.shape.columns.join(", ");
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
}
