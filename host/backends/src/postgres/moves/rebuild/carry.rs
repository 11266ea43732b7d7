//! Carries rows over: those that were there, in the order of their keys, and those that were written since.

use std::collections::BTreeSet;

use switchover_core::capabilities::DatabaseError;
use switchover_core::moves::{Carried, Scanned, Side};

use super::super::captured::Locked;
use super::super::link::Bind;
use super::Rebuild;

/// How many changes one step takes when two of them are in each other's way.
const WIDE: i64 = 100_000;

impl Rebuild {
    /// Copies the living rows among the next `limit` ones.
    ///
    /// A row that is there already was carried after its change, and stays. So does one that is in the way of another
    /// unique index: the row that has its value now was written since, and is carried after its change.
    pub(super) async fn scan_step(&mut self, limit: u32) -> Result<Scanned, DatabaseError> {
        self.table.link.simple("BEGIN").await?;
        let done = self.scan_locked(limit).await;
        self.table.link.end(done).await
    }

    async fn scan_locked(&mut self, limit: u32) -> Result<Scanned, DatabaseError> {
        let Locked { state, scanned_to, .. } = self.table.locked().await?;
        if state.scan_ended {
            return Ok(Scanned { ended: true, ..Scanned::default() });
        }
        let from = scanned_to.as_deref();
        let Some((last, rows)) = self.table.page(from, limit).await? else {
            self.table.scan_ended(&state).await?;
            return Ok(Scanned { ended: true, ..Scanned::default() });
        };
        let (names, columns) = (&self.table.names, self.table.shape.filled.join(", "));
        let (table, key, kind) = (&names.table, &self.table.shape.key, &self.table.shape.key_type);
        let sql = format!(
            "INSERT INTO {} ({columns}) SELECT {columns} FROM {table} WHERE {} AND {key} <= $2::{kind} AND ({}) \
             ON CONFLICT DO NOTHING",
            names.new,
            self.table.after(from),
            state.living
        );
        let copied = self.table.link.run(&sql, &[Bind::Text(from), Bind::Text(Some(&last))]).await?;
        self.table.scanned(&last, rows, copied).await?;
        Ok(Scanned { rows, copied, ended: false })
    }

    /// Carries the rows of at most `limit` changes, as the rows are now, and clears these changes and no others.
    pub(super) async fn carry_step(&mut self, limit: u32) -> Result<Carried, DatabaseError> {
        self.table.link.simple("BEGIN").await?;
        let done = self.carry_counted(i64::from(limit), false).await;
        match self.table.link.end(done).await {
            // Two rows have exchanged a value that must be unique, and their changes are in different steps.
            Err(DatabaseError::Corrupt { .. }) => {
                self.table.link.simple("BEGIN").await?;
                let done = self.carry_counted(WIDE, true).await;
                self.table.link.end(done).await
            }
            done => done,
        }
    }

    async fn carry_counted(&mut self, limit: i64, anew: bool) -> Result<Carried, DatabaseError> {
        let Locked { state, .. } = self.table.locked().await?;
        let changes = self.carry_locked(limit, anew, state.side, &state.living).await?;
        self.table.carried(changes).await?;
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
        let cleared = self.table.cleared(limit).await?;
        let emptied = cleared.contains(&None);
        let keys: BTreeSet<_> = cleared.iter().flatten().cloned().collect();
        let keys: Vec<_> = keys.into_iter().collect();
        let (table, other) = (self.table.names.table.clone(), self.table.other(side).to_owned());
        let (key, kind) = (self.table.shape.key.clone(), self.table.shape.key_type.clone());
        if emptied {
            let sql =
                format!("DELETE FROM {other} AS o WHERE NOT EXISTS (SELECT FROM {table} AS t WHERE t.{key} = o.{key})");
            self.table.link.run(&sql, &[]).await?;
        }
        if !keys.is_empty() {
            let gone = if anew {
                String::new()
            } else {
                format!(" AND NOT EXISTS (SELECT FROM {table} AS t WHERE t.{key} = o.{key} AND ({living}))")
            };
            let these = [Bind::Texts(&keys)];
            self.table
                .link
                .run(&format!("DELETE FROM {other} AS o WHERE o.{key} = ANY($1::text[]::{kind}[]){gone}"), &these)
                .await?;
            let columns = self.table.shape.filled.join(", ");
            let set: Vec<_> =
                self.table.shape.filled.iter().map(|column| format!("{column} = excluded.{column}")).collect();
            let sql = format!(
                "INSERT INTO {other} ({columns}) SELECT {columns} FROM {table} \
                 WHERE {key} = ANY($1::text[]::{kind}[]) AND ({living}) ON CONFLICT ({key}) DO UPDATE SET {}",
                set.join(", ")
            );
            self.table.link.run(&sql, &these).await?;
        }
        Ok(cleared.len() as u64)
    }
}
