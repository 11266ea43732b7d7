//! How far the scan and the comparison have come. Each of these is within a transaction that holds the row of the state.

use switchover_core::capabilities::DatabaseError;
use switchover_core::moves::{Compared, State};

use super::super::link::{Bind, column};
use super::Captured;

impl Captured {
    /// The last one of the next `limit` keys, and how many there are; `None` after the last key.
    pub(in super::super) async fn page(
        &mut self,
        from: Option<&str>,
        limit: u32,
    ) -> Result<Option<(String, u64)>, DatabaseError> {
        let (table, key, after) = (&self.names.table, &self.shape.key, self.after(from));
        let sql = format!(
            "SELECT key::text, count(*) OVER () FROM \
             (SELECT {key} AS key FROM {table} WHERE {after} ORDER BY 1 LIMIT $2) AS page ORDER BY page.key DESC LIMIT 1"
        );
        let page = self.link.rows(&sql, &[Bind::Text(from), Bind::Int(limit.into())]).await?;
        page.first().map(|row| Ok((column(row, 0)?, column::<i64>(row, 1)?.unsigned_abs()))).transpose()
    }

    pub(in super::super) fn after(&self, from: Option<&str>) -> String {
        self.shape.after(from)
    }

    /// Those of these keys that have no row, and whether a change of each waits.
    pub(in super::super) async fn without(&mut self, keys: &[String]) -> Result<Vec<(String, bool)>, DatabaseError> {
        let (table, changes) = (&self.names.table, &self.names.changes);
        let (key, kind) = (&self.shape.key, &self.shape.key_type);
        let sql = format!(
            "SELECT k.key, EXISTS (SELECT FROM {changes} AS c WHERE c.key = k.key::{kind} OR c.key IS NULL) \
             FROM unnest($1::text[]) AS k (key) WHERE NOT EXISTS (SELECT FROM {table} AS t WHERE t.{key} = k.key::{kind})"
        );
        let rows = self.link.rows(&sql, &[Bind::Texts(keys)]).await?;
        rows.iter().map(|row| Ok((column(row, 0)?, column(row, 1)?))).collect()
    }

    pub(in super::super) async fn scanned(&mut self, last: &str, rows: u64, copied: u64) -> Result<(), DatabaseError> {
        let sql = format!(
            "UPDATE {} SET scanned_to = $1, scanned = scanned + $2, copied = copied + $3, about = greatest(about, scanned + $2)",
            self.names.state
        );
        self.link.run(&sql, &[Bind::Text(Some(last)), number(rows), number(copied)]).await.map(drop)
    }

    pub(in super::super) async fn scan_ended(&mut self, state: &State) -> Result<(), DatabaseError> {
        let what = format!("the scan has reached the last key: {} rows, {} copied", state.scanned, state.copied);
        self.logged(&what).await?;
        self.link.run(&format!("UPDATE {} SET scan_ended = true", self.names.state), &[]).await.map(drop)
    }

    /// Counts changes that were cleared.
    pub(in super::super) async fn carried(&mut self, changes: u64) -> Result<(), DatabaseError> {
        if changes > 0 {
            let sql = format!("UPDATE {} SET carried = carried + $1", self.names.state);
            self.link.run(&sql, &[number(changes)]).await?;
        }
        Ok(())
    }

    /// Notes how far the comparison has come. What differs becomes a change, and is carried again.
    pub(in super::super) async fn compared(
        &mut self,
        last: &str,
        keys: u64,
        different: &[String],
    ) -> Result<(), DatabaseError> {
        if !different.is_empty() {
            let kind = &self.shape.key_type;
            let sql = format!("INSERT INTO {} (key) SELECT unnest($1::text[])::{kind}", self.names.changes);
            self.link.run(&sql, &[Bind::Texts(different)]).await?;
        }
        let sql = format!(
            "UPDATE {} SET compared_to = $1, compared = compared + $2, different = different + $3",
            self.names.state
        );
        self.link.run(&sql, &[Bind::Text(Some(last)), number(keys), number(different.len() as u64)]).await.map(drop)
    }

    pub(in super::super) async fn round_ended(&mut self, state: &State) -> Result<Compared, DatabaseError> {
        let (compared, different) = (state.compared, state.different);
        self.logged(&format!("a comparison has reached the last key: {compared} keys, {different} different")).await?;
        let sql = format!(
            "UPDATE {} SET compared_to = NULL, compared = 0, last_different = different, different = 0, rounds = rounds + 1",
            self.names.state
        );
        self.link.run(&sql, &[]).await?;
        Ok(Compared { ended: true, ..Compared::default() })
    }

    /// Deletes at most `limit` changes, and returns their keys; `None` stands for `TRUNCATE`.
    pub(in super::super) async fn cleared(&mut self, limit: i64) -> Result<Vec<Option<String>>, DatabaseError> {
        let changes = &self.names.changes;
        let sql = format!(
            "DELETE FROM {changes} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {changes} LIMIT $1)) RETURNING key::text"
        );
        self.link.rows(&sql, &[Bind::Int(limit)]).await?.iter().map(|row| column(row, 0)).collect()
    }
}

fn number(count: u64) -> Bind<'static> {
    Bind::Int(i64::try_from(count).unwrap_or(i64::MAX))
}
