//! Carries rows over: those that were there, in the order of their keys, and those that were written since.

use std::collections::BTreeSet;

use switchover_core::capabilities::DatabaseError;

use super::state::{Locked, Side};
use super::{Bind, Rebuild, column};

/// What a step of the scan did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Rows that it looked at.
    pub rows: u64,
    /// Rows that it copied. The others have ended, or were there already.
    pub copied: u64,
    /// Whether it has reached the last key.
    pub ended: bool,
}

/// What a step did with the keys that were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Changes that it has cleared.
    pub changes: u64,
    /// Whether it took as many as it may, so that there are probably more.
    pub more: bool,
}

/// How many changes one step takes when two of them are in each other's way.
const WIDE: i64 = 100_000;

impl Rebuild {
    /// Copies the living rows among the next `limit` ones.
    ///
    /// A row that is there already was carried after its change, and stays. So does one that is in the way of another
    /// unique index: the row that has its value now was written since, and is carried after its change.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Conflict`]: another copier is at work. Otherwise what the server says.
    pub async fn scan(&mut self, limit: u32) -> Result<Scanned, DatabaseError> {
        self.simple("BEGIN").await?;
        let done = self.scan_locked(limit).await;
        self.end(done).await
    }

    async fn scan_locked(&mut self, limit: u32) -> Result<Scanned, DatabaseError> {
        let Locked { state, scanned_to, .. } = self.locked().await?;
        if state.scan_ended {
            return Ok(Scanned { ended: true, ..Scanned::default() });
        }
        let (table, key, kind) = (&self.names.table, &self.shape.key, &self.shape.key_type);
        let from = after(key, kind, scanned_to.as_deref());
        let sql = format!(
            "SELECT key::text, count(*) OVER () FROM (SELECT {key} AS key FROM {table}{from} ORDER BY 1 LIMIT $2) AS page \
             ORDER BY page.key DESC LIMIT 1"
        );
        let page = self.rows(&sql, &[Bind::Text(scanned_to.as_deref()), Bind::Int(limit.into())]).await?;
        let Some(last) = page.first() else {
            let what = format!("the scan has reached the last key: {} rows, {} copied", state.scanned, state.copied);
            self.logged(&what).await?;
            self.run(&format!("UPDATE {} SET scan_ended = true", self.names.state), &[]).await?;
            return Ok(Scanned { ended: true, ..Scanned::default() });
        };
        let (last, rows): (String, i64) = (column(last, 0)?, column(last, 1)?);
        let (names, columns) = (&self.names, self.shape.filled.join(", "));
        let (table, key, kind) = (&names.table, &self.shape.key, &self.shape.key_type);
        let sql = format!(
            "INSERT INTO {} ({columns}) SELECT {columns} FROM {table}{from} AND {key} <= $2::{kind} AND ({}) \
             ON CONFLICT DO NOTHING",
            names.new, state.living
        );
        let copied = self.run(&sql, &[Bind::Text(scanned_to.as_deref()), Bind::Text(Some(&last))]).await?;
        let sql = format!(
            "UPDATE {} SET scanned_to = $1, scanned = scanned + $2, copied = copied + $3, about = greatest(about, scanned + $2)",
            self.names.state
        );
        let counted = i64::try_from(copied).unwrap_or(i64::MAX);
        self.run(&sql, &[Bind::Text(Some(&last)), Bind::Int(rows), Bind::Int(counted)]).await?;
        Ok(Scanned { rows: rows.unsigned_abs(), copied, ended: false })
    }

    /// Carries the rows of at most `limit` changes, as the rows are now, and clears these changes and no others.
    ///
    /// # Errors
    ///
    /// As for [`Rebuild::scan`].
    pub async fn carry(&mut self, limit: u32) -> Result<Carried, DatabaseError> {
        self.simple("BEGIN").await?;
        let done = self.carry_counted(i64::from(limit), false).await;
        match self.end(done).await {
            // Two rows have exchanged a value that must be unique, and their changes are in different steps.
            Err(DatabaseError::Corrupt { .. }) => {
                self.simple("BEGIN").await?;
                let done = self.carry_counted(WIDE, true).await;
                self.end(done).await
            }
            done => done,
        }
    }

    async fn carry_counted(&mut self, limit: i64, anew: bool) -> Result<Carried, DatabaseError> {
        let Locked { state, .. } = self.locked().await?;
        let changes = self.carry_locked(limit, anew, state.side, &state.living).await?;
        if changes > 0 {
            let sql = format!("UPDATE {} SET carried = carried + $1", self.names.state);
            self.run(&sql, &[Bind::Int(i64::try_from(changes).unwrap_or(i64::MAX))]).await?;
        }
        Ok(Carried { changes, more: changes.cast_signed() >= limit })
    }

    /// The changes go first, so the rows are read after them: a later change has a row of its own, which stays.
    ///
    /// `anew`: takes the rows away before it puts them, not one over the other.
    pub(super) async fn carry_locked(
        &mut self,
        limit: i64,
        anew: bool,
        side: Side,
        living: &str,
    ) -> Result<u64, DatabaseError> {
        let changes = &self.names.changes;
        let sql = format!(
            "DELETE FROM {changes} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {changes} LIMIT $1)) RETURNING key::text"
        );
        let cleared = self.rows(&sql, &[Bind::Int(limit)]).await?;
        let (mut keys, mut emptied) = (BTreeSet::new(), false);
        for row in &cleared {
            match column::<Option<String>>(row, 0)? {
                Some(key) => drop(keys.insert(key)),
                None => emptied = true,
            }
        }
        let keys: Vec<_> = keys.into_iter().collect();
        let (table, other) = (self.names.table.clone(), self.other(side).to_owned());
        let (key, kind) = (self.shape.key.clone(), self.shape.key_type.clone());
        if emptied {
            let sql =
                format!("DELETE FROM {other} AS o WHERE NOT EXISTS (SELECT FROM {table} AS t WHERE t.{key} = o.{key})");
            self.run(&sql, &[]).await?;
        }
        if !keys.is_empty() {
            let gone = if anew {
                String::new()
            } else {
                format!(" AND NOT EXISTS (SELECT FROM {table} AS t WHERE t.{key} = o.{key} AND ({living}))")
            };
            let these = [Bind::Texts(&keys)];
            self.run(&format!("DELETE FROM {other} AS o WHERE o.{key} = ANY($1::text[]::{kind}[]){gone}"), &these)
                .await?;
            let columns = self.shape.filled.join(", ");
            let set: Vec<_> = self.shape.filled.iter().map(|column| format!("{column} = excluded.{column}")).collect();
            let sql = format!(
                "INSERT INTO {other} ({columns}) SELECT {columns} FROM {table} \
                 WHERE {key} = ANY($1::text[]::{kind}[]) AND ({living}) ON CONFLICT ({key}) DO UPDATE SET {}",
                set.join(", ")
            );
            self.run(&sql, &these).await?;
        }
        Ok(cleared.len() as u64)
    }
}

/// The rows after a key. `$1` is the key, or is not looked at.
pub(super) fn after(key: &str, kind: &str, from: Option<&str>) -> String {
    match from {
        Some(_) => format!(" WHERE {key} > $1::{kind}"),
        None => " WHERE $1::text IS NULL".to_owned(),
    }
}
