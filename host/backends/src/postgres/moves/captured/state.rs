//! Where a move stands. It is one row beside the table, which each step locks first.

use sqlx::postgres::PgRow;
use switchover_core::Timestamp;
use switchover_core::capabilities::DatabaseError;
use switchover_core::moves::{Form, Logged, Side, State};

use super::super::link::{Bind, column, invalid};
use super::Captured;

pub(in super::super) const COLUMNS: &str = "side, living, (extract(epoch FROM began) * 1000000)::bigint, scan_ended, scanned, about, copied, \
                       carried, compared, different, rounds, last_different, \
                       (extract(epoch FROM cut) * 1000000)::bigint, cut_waited_ms, scanned_to, compared_to, form, move, generation";

/// The state under its lock.
pub(in super::super) struct Locked {
    pub(in super::super) state: State,
    pub(in super::super) scanned_to: Option<String>,
    pub(in super::super) compared_to: Option<String>,
    /// Of this move, and of no other one.
    pub(in super::super) id: String,
    /// Counts the holders of the lease.
    pub(in super::super) generation: i64,
}

impl Captured {
    /// Where it stands; `None` if nothing was begun.
    pub(in super::super) async fn state(&mut self) -> Result<Option<State>, DatabaseError> {
        if !self.is_begun().await? {
            return Ok(None);
        }
        let (state, changes) = (&self.names.state, &self.names.changes);
        let sql = format!("SELECT {COLUMNS}, (SELECT count(*) FROM {changes}) FROM {state}");
        let rows = self.link.rows(&sql, &[]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let mut locked = read(row)?;
        locked.state.waiting = number(row, 19)?;
        Ok(Some(locked.state))
    }

    /// The same, for a step that another form does otherwise.
    pub(in super::super) async fn state_of_this_form(&mut self) -> Result<Option<State>, DatabaseError> {
        let state = self.state().await?;
        state.as_ref().map_or(Ok(()), |state| self.has_form(state))?;
        Ok(state)
    }

    fn has_form(&self, state: &State) -> Result<(), DatabaseError> {
        let remedy = match state.form {
            form if form == self.form => return Ok(()),
            Form::Rename => "leave --to away",
            Form::Seal => "give --to, and no --bridge",
            Form::Bridge => "give --to and --bridge",
        };
        Err(invalid(format!("the move that was begun has the form {}: {remedy}", state.form.name())))
    }

    /// What was done, the oldest first.
    pub(in super::super) async fn log(&mut self) -> Result<Vec<Logged>, DatabaseError> {
        let sql =
            format!("SELECT (extract(epoch FROM at) * 1000000)::bigint, what FROM {} ORDER BY at", self.names.log);
        let rows = self.link.rows(&sql, &[]).await?;
        rows.iter().map(|row| Ok(Logged { at: instant(row, 0)?, what: column(row, 1)? })).collect()
    }

    pub(in super::super) async fn is_begun(&mut self) -> Result<bool, DatabaseError> {
        let name = self.names.state.clone();
        self.link.is_there(&name).await
    }

    /// The move's own mark, which no other move has.
    pub(in super::super) async fn id(&mut self) -> Result<String, DatabaseError> {
        let rows = self.link.rows(&format!("SELECT move FROM {}", self.names.state), &[]).await?;
        rows.first().map_or_else(|| Err(invalid("no move was begun")), |row| column(row, 0))
    }

    /// Locks the state within a transaction. Another copier waits for it, and so no two steps overlap.
    pub(in super::super) async fn locked(&mut self) -> Result<Locked, DatabaseError> {
        let sql = format!("SELECT {COLUMNS} FROM {} FOR UPDATE", self.names.state);
        let rows = self.link.rows(&sql, &[]).await?;
        self.locked_row(rows.first())
    }

    pub(in super::super) fn locked_row(&self, row: Option<&PgRow>) -> Result<Locked, DatabaseError> {
        let locked = row.map_or_else(|| Err(invalid("the move was ended by somebody else")), read)?;
        self.has_form(&locked.state)?;
        Ok(locked)
    }

    /// Writes a line into the log, within a transaction.
    pub(in super::super) async fn logged(&mut self, what: &str) -> Result<(), DatabaseError> {
        let sql = format!("INSERT INTO {} (what) VALUES ($1)", self.names.log);
        self.link.run(&sql, &[Bind::Text(Some(what))]).await.map(drop)
    }

    /// The table that rows are carried to.
    pub(in super::super) fn other(&self, side: Side) -> &str {
        match side {
            Side::New => &self.names.old,
            Side::Old | Side::Neither => &self.names.new,
        }
    }
}

fn read(row: &PgRow) -> Result<Locked, DatabaseError> {
    let side = match column::<&str>(row, 0)? {
        "old" => Side::Old,
        "new" => Side::New,
        _ => Side::Neither,
    };
    let maybe = |at: usize| column::<Option<i64>>(row, at);
    let form = match column::<&str>(row, 16)? {
        "rename" => Form::Rename,
        "seal" => Form::Seal,
        "bridge" => Form::Bridge,
        other => return Err(invalid(format!("a move of the form {other}, which this version does not know"))),
    };
    let state = State {
        form,
        side,
        living: column(row, 1)?,
        began: instant(row, 2)?,
        scan_ended: column(row, 3)?,
        scanned: number(row, 4)?,
        about: number(row, 5)?,
        copied: number(row, 6)?,
        carried: number(row, 7)?,
        waiting: 0,
        compared: number(row, 8)?,
        different: number(row, 9)?,
        rounds: number(row, 10)?,
        last_different: maybe(11)?.map(i64::unsigned_abs),
        cut: maybe(12)?.map(|micros| Timestamp::from_micros(micros.unsigned_abs())),
        cut_waited_ms: maybe(13)?.map(i64::unsigned_abs),
    };
    Ok(Locked {
        state,
        scanned_to: column(row, 14)?,
        compared_to: column(row, 15)?,
        id: column(row, 17)?,
        generation: column(row, 18)?,
    })
}

fn number(row: &PgRow, at: usize) -> Result<u64, DatabaseError> {
    column::<i64>(row, at).map(i64::unsigned_abs)
}

fn instant(row: &PgRow, at: usize) -> Result<Timestamp, DatabaseError> {
    number(row, at).map(Timestamp::from_micros)
}
