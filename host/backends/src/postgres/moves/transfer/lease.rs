//! The lease of a copier: a generation in the row of the state, and the fence at the new server that is raised to it.

use switchover_core::capabilities::DatabaseError;

use super::super::captured::{COLUMNS, Locked};
use super::super::link::{Bind, column, invalid};
use super::Transfer;

/// How long a copier that is gone keeps others waiting. No promise rests on it.
const HELD: &str = "clock_timestamp() + interval '2 s'";

impl Transfer {
    /// Begins a step: a transaction at the old server that holds the row of the state, under the own lease. The fence is
    /// raised before the first row is read.
    pub(super) async fn locked(&mut self) -> Result<Locked, DatabaseError> {
        let generation = match self.generation {
            Some(generation) => generation,
            None => self.take(self.forces).await?,
        };
        self.old.link.simple("BEGIN").await?;
        match self.renewed(generation).await {
            Ok(locked) => Ok(locked),
            Err(error) => {
                self.generation = None;
                self.old.link.roll_back().await;
                Err(error)
            }
        }
    }

    async fn renewed(&mut self, generation: i64) -> Result<Locked, DatabaseError> {
        let sql = format!(
            "UPDATE {} SET held_until = {HELD} WHERE generation = $1 RETURNING {COLUMNS}",
            self.old.names.state
        );
        let rows = self.old.link.rows(&sql, &[Bind::Int(generation)]).await?;
        rows.first().ok_or_else(busy).and_then(|row| self.old.locked_row(Some(row)))
    }

    /// Takes the lease with the next generation, and raises the fence to it. With `force` also from a copier that is at
    /// work: whoever cuts or aborts does.
    pub(super) async fn take(&mut self, force: bool) -> Result<i64, DatabaseError> {
        self.generation = None;
        let sql = format!(
            "UPDATE {} SET generation = generation + 1, holder = $1, held_until = {HELD} \
             WHERE $2 = 1 OR holder = $1 OR held_until < clock_timestamp() RETURNING {COLUMNS}",
            self.old.names.state
        );
        let bind = [Bind::Text(Some(&self.holder)), Bind::Int(force.into())];
        let rows = self.old.link.rows(&sql, &bind).await?;
        let locked = match rows.first() {
            Some(row) => self.old.locked_row(Some(row))?,
            None if self.old.state().await?.is_none() => return Err(invalid("the move was ended by somebody else")),
            None => return Err(busy()),
        };
        self.new.raise(&locked.id, locked.generation).await?;
        self.generation = Some(locked.generation);
        Ok(locked.generation)
    }

    /// Ends a step. What was put stays put; its changes are cleared only now.
    ///
    /// After an error that may have left a put under way, the next step takes the next generation.
    pub(super) async fn ended<T>(&mut self, done: Result<T, DatabaseError>) -> Result<T, DatabaseError> {
        if matches!(&done, Err(error) if !matches!(error, DatabaseError::Corrupt { .. } | DatabaseError::Invalid { .. }))
        {
            self.generation = None;
        }
        self.old.link.end(done).await
    }

    /// Closes the fence within a transaction that holds the row of the state: no put of any copier is taken any more.
    pub(super) async fn close(&mut self) -> Result<(), DatabaseError> {
        self.generation = None;
        let sql = format!("UPDATE {} SET generation = generation + 1 RETURNING move, generation", self.old.names.state);
        let rows = self.old.link.rows(&sql, &[]).await?;
        let row = rows.first().ok_or_else(|| invalid("the move was ended by somebody else"))?;
        self.new.raise(column(row, 0)?, column(row, 1)?).await
    }
}

fn busy() -> DatabaseError {
    DatabaseError::Conflict { message: "another copier has the lease".to_owned() }
}
