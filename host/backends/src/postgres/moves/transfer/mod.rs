//! Carries a table of PostgreSQL to another server, while applications that know nothing of it write it.
//!
//! A trigger notes the key of each write in the writer's own transaction. One copier at a time has the lease, a row at the
//! old server that each step locks. A step deletes changes, reads their rows, puts them at the new server, and commits the
//! deletion once the put is proven. A fence at the new server refuses the put of whoever had the lease before.

mod bridge;
mod carry;
mod compare;
mod cut;
mod definition;
mod landing;
mod lease;
mod plan;
mod rows;
mod seal;
mod send;

use async_trait::async_trait;
use switchover_core::Table;
use switchover_core::capabilities::DatabaseError;
use switchover_core::moves::{
    Carried, Compared, Cut, CutBound, Form, KnownTable, Logged, Mover, Plan, Scanned, Side, State,
};

use self::bridge::Bridge;
use self::landing::Landing;
use super::captured::Captured;
use super::cuts;

/// A table, and the one that it becomes at another server, in the form `seal` or `bridge`.
pub struct Transfer {
    old: Captured,
    new: Landing,
    /// To connect to the new server again.
    again: (String, Table),
    bridge: Option<Bridge>,
    /// Of this copier, among others.
    holder: String,
    /// The lease, if this copier has it and the fence is raised.
    generation: Option<i64>,
    /// Whether the lease is taken from others.
    forces: bool,
    place: String,
}

impl std::fmt::Debug for Transfer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transfer").field("table", &self.old.names.table).finish_non_exhaustive()
    }
}

impl Transfer {
    /// Connects to both servers, and finds the table by its name at the old one. The new one has the same name. `bridge` is
    /// the new database as the old server reaches it, with the user by whom it is used; without it the old table is sealed.
    ///
    /// # Errors
    ///
    /// An address is wrong, a server does not answer, or there is no such table with a key of one column.
    pub async fn open(old: &str, new: &str, bridge: Option<&str>, table: &Table) -> Result<Self, DatabaseError> {
        let bridge = bridge.map(Bridge::of).transpose()?;
        let form = if bridge.is_some() { Form::Bridge } else { Form::Seal };
        let old = Captured::open(old, table, form).await?;
        let again = (new.to_owned(), table.clone());
        let new = Landing::open(new, table).await?;
        let place = format!("{}, to {}", old.place, new.place);
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| DatabaseError::Unavailable { message: error.to_string() })?;
        Ok(Self {
            old,
            new,
            again,
            bridge,
            holder: format!("{:032x}", u128::from_ne_bytes(random)),
            generation: None,
            forces: false,
            place,
        })
    }
}

#[async_trait]
impl Mover for Transfer {
    fn summary(&self) -> &str {
        &self.place
    }

    fn known_table(&self) -> Option<&'static KnownTable> {
        self.old.known_table()
    }

    async fn obstacles(&mut self, living: &str) -> Result<Vec<String>, DatabaseError> {
        self.in_the_way(living).await
    }

    async fn planned(&mut self, living: &str) -> Result<Plan, DatabaseError> {
        self.plan(living).await
    }

    async fn begin(&mut self, living: &str) -> Result<(), DatabaseError> {
        self.make(living).await
    }

    async fn state(&mut self) -> Result<Option<State>, DatabaseError> {
        self.old.state().await
    }

    async fn log(&mut self) -> Result<Vec<Logged>, DatabaseError> {
        self.old.log().await
    }

    async fn scan(&mut self, limit: u32) -> Result<Scanned, DatabaseError> {
        self.scan_step(limit).await
    }

    async fn carry(&mut self, limit: u32) -> Result<Carried, DatabaseError> {
        self.carry_step(limit).await
    }

    async fn compare(&mut self, limit: u32) -> Result<Compared, DatabaseError> {
        self.compare_step(limit).await
    }

    /// From the old side: seals the old table or builds the bridge, and opens the new one. From neither side it goes on. From the new
    /// side, before the new one was opened: breaks the seal.
    async fn cut(&mut self, from: Side, bound: CutBound) -> Result<Cut, DatabaseError> {
        match (from, self.old.state_of_this_form().await?.map(|state| state.side)) {
            (Side::Old, Some(Side::Neither)) => self.open_new().await.map(|()| cut::NO_WAIT),
            (Side::New, _) => self.break_seal().await.map(|()| cut::NO_WAIT),
            _ => {
                // Whoever cuts takes the lease from a copier that is at work, which would go on meanwhile.
                self.forces = true;
                let cut = cuts::cut(self, from, bound).await;
                self.forces = false;
                let cut = cut?;
                self.open_new().await?;
                Ok(cut)
            }
        }
    }

    async fn abort(&mut self) -> Result<(), DatabaseError> {
        self.take_away().await
    }

    async fn finish(&mut self, drop_old: bool) -> Result<(), DatabaseError> {
        self.end(drop_old).await
    }
}
