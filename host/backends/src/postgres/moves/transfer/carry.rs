//! Carries rows over: those that were there, in the order of their keys, and those that were written since.

use std::collections::BTreeSet;

use switchover_core::capabilities::DatabaseError;
use switchover_core::moves::{Carried, Scanned, Side};

use super::super::captured::Locked;
use super::super::link::Bind;
use super::Transfer;
use super::landing::Lease;
use super::send::{Which, send};

/// How many changes one step takes when two of them are in each other's way.
const WIDE: u32 = 100_000;
/// Keys of the new table that are looked for in one that was truncated.
const PAGE: u32 = 5_000;

impl Transfer {
    /// Copies the living rows among the next `limit` ones. A row that is there already was carried after its change.
    pub(super) async fn scan_step(&mut self, limit: u32) -> Result<Scanned, DatabaseError> {
        let locked = self.locked().await?;
        let done = self.scan_locked(locked, limit).await;
        self.ended(done).await
    }

    async fn scan_locked(&mut self, locked: Locked, limit: u32) -> Result<Scanned, DatabaseError> {
        if locked.state.scan_ended || locked.state.side != Side::Old {
            return Ok(Scanned { ended: true, ..Scanned::default() });
        }
        let from = locked.scanned_to.as_deref();
        let Some((last, rows)) = self.old.page(from, limit).await? else {
            self.old.scan_ended(&locked.state).await?;
            return Ok(Scanned { ended: true, ..Scanned::default() });
        };
        let (key, kind) = (&self.old.shape.key, &self.old.shape.key_type);
        let condition = format!("{} AND {key} <= $2::{kind} AND ({})", self.old.after(from), locked.state.living);
        let bind = [Bind::Text(from), Bind::Text(Some(&last))];
        let lease = Lease::of(&locked);
        let which = Which { condition: &condition, bind: &bind, spare: true };
        let copied = send(&mut self.old, &mut self.new, &lease, &[], which).await?;
        self.old.scanned(&last, rows, copied).await?;
        Ok(Scanned { rows, copied, ended: false })
    }

    /// Carries the rows of at most `limit` changes. A cut that was left in the middle is completed.
    pub(super) async fn carry_step(&mut self, limit: u32) -> Result<Carried, DatabaseError> {
        match self.carry_counted(limit).await {
            // Two rows have exchanged a value that must be unique, and their changes are in different steps.
            Err(DatabaseError::Corrupt { .. }) => self.carry_counted(WIDE).await,
            done => done,
        }
    }

    async fn carry_counted(&mut self, limit: u32) -> Result<Carried, DatabaseError> {
        let locked = self.locked().await?;
        if locked.state.side != Side::Old {
            self.ended(Ok(())).await?;
            if locked.state.side == Side::Neither {
                self.open_new().await?;
            }
            return Ok(Carried::default());
        }
        let done = self.carry_locked(&locked, limit).await;
        let changes = self.ended(done).await?;
        Ok(Carried { changes, more: changes >= limit.into() })
    }

    /// The changes go first, so the rows are read after them: a later change has a row of its own, which stays.
    pub(super) async fn carry_locked(&mut self, locked: &Locked, limit: u32) -> Result<u64, DatabaseError> {
        let cleared = self.old.cleared(limit.into()).await?;
        let emptied = cleared.contains(&None);
        let keys: BTreeSet<_> = cleared.iter().flatten().cloned().collect();
        let lease = Lease::of(locked);
        if emptied {
            self.empty(&lease).await?;
        }
        let keys: Vec<_> = keys.into_iter().collect();
        if !keys.is_empty() {
            let (key, kind) = (&self.old.shape.key, &self.old.shape.key_type);
            let condition = format!("{key} = ANY($1::text[]::{kind}[]) AND ({})", locked.state.living);
            let which = Which { condition: &condition, bind: &[Bind::Texts(&keys)], spare: false };
            send(&mut self.old, &mut self.new, &lease, &keys, which).await?;
        }
        self.old.carried(cleared.len() as u64).await?;
        Ok(cleared.len() as u64)
    }

    /// After `TRUNCATE`: takes away what the old table has not.
    async fn empty(&mut self, lease: &Lease) -> Result<(), DatabaseError> {
        let mut from = None;
        loop {
            let keys = self.new.keys_after(from.as_deref(), PAGE).await?;
            let Some(last) = keys.last().cloned() else { return Ok(()) };
            let gone = self.old.without(&keys).await?;
            let gone: Vec<_> = gone.into_iter().map(|(key, _)| key).collect();
            if !gone.is_empty() {
                self.new.remove(lease, &gone).await?;
            }
            from = Some(last);
        }
    }
}
