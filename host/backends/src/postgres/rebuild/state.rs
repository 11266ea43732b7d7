//! Where a rebuild stands. It is one row beside the table, which each step locks first.

use switchover_core::Timestamp;
use switchover_core::capabilities::DatabaseError;

use super::{Bind, Rebuild, column, invalid};

/// Which of the two tables the applications use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The table that was there; rows are carried to the new one.
    Old,
    /// The new one, after the cut; rows are carried back to the old one, so that there is a way back.
    New,
}

/// Where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The table that counts.
    pub side: Side,
    /// The condition of rows that are carried.
    pub living: String,
    /// When the trigger was there, by the server's clock.
    pub began: Timestamp,
    /// Whether the scan has reached the last key.
    pub scan_ended: bool,
    /// Rows that the scan has looked at, of about this many.
    pub scanned: u64,
    /// How many rows the table had at the beginning, as the server estimates it.
    pub about: u64,
    /// Rows that the scan has copied.
    pub copied: u64,
    /// Keys that were written meanwhile and carried after their change.
    pub carried: u64,
    /// Keys that wait.
    pub waiting: u64,
    /// Keys that this round of the comparison has looked at.
    pub compared: u64,
    /// How many differences this round has found.
    pub different: u64,
    /// How many rounds have reached the last key since the last cut.
    pub rounds: u64,
    /// How many differences the last whole round has found.
    pub last_different: Option<u64>,
    /// When the cut was made.
    pub cut: Option<Timestamp>,
    /// How long the cut may have kept applications waiting, in milliseconds.
    pub cut_waited_ms: Option<u64>,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// By the server's clock.
    pub at: Timestamp,
    /// What was done.
    pub what: String,
}

const COLUMNS: &str = "side, living, (extract(epoch FROM began) * 1000000)::bigint, scan_ended, scanned, about, copied, \
                       carried, compared, different, rounds, last_different, \
                       (extract(epoch FROM cut) * 1000000)::bigint, cut_waited_ms, scanned_to, compared_to";

/// The state under its lock.
pub(super) struct Locked {
    pub(super) state: State,
    pub(super) scanned_to: Option<String>,
    pub(super) compared_to: Option<String>,
}

impl State {
    /// Why the cut from this side is not to be made; `None` if it may be.
    pub fn refusal(&self, from: Side) -> Option<String> {
        match (self.side == from, self.scan_ended, self.last_different) {
            (false, ..) => Some("the other table counts already".to_owned()),
            (_, false, _) => Some("the scan has not ended: the other table has not all rows yet".to_owned()),
            (.., None) => Some("no comparison since was whole: let the move run until one is".to_owned()),
            (.., Some(0)) => None,
            (.., Some(different)) => Some(format!(
                "the last comparison found {different} rows that differ: let the move run until none does"
            )),
        }
    }
}

impl Rebuild {
    /// Where it stands; `None` if nothing was begun.
    ///
    /// # Errors
    ///
    /// The server does not answer, or this user may not read the state.
    pub async fn state(&mut self) -> Result<Option<State>, DatabaseError> {
        if !self.is_begun().await? {
            return Ok(None);
        }
        let (state, changes) = (&self.names.state, &self.names.changes);
        let sql = format!("SELECT {COLUMNS}, (SELECT count(*) FROM {changes}) FROM {state}");
        let rows = self.rows(&sql, &[]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let mut locked = read(row)?;
        locked.state.waiting = number(row, 16)?;
        Ok(Some(locked.state))
    }

    /// What was done, the oldest first.
    ///
    /// # Errors
    ///
    /// The server does not answer, or this user may not read the log.
    pub async fn log(&mut self) -> Result<Vec<Logged>, DatabaseError> {
        let sql =
            format!("SELECT (extract(epoch FROM at) * 1000000)::bigint, what FROM {} ORDER BY at", self.names.log);
        let rows = self.rows(&sql, &[]).await?;
        rows.iter().map(|row| Ok(Logged { at: instant(row, 0)?, what: column(row, 1)? })).collect()
    }

    pub(super) async fn is_begun(&mut self) -> Result<bool, DatabaseError> {
        let name = self.names.state.clone();
        let rows = self.rows("SELECT to_regclass($1) IS NOT NULL", &[Bind::Text(Some(&name))]).await?;
        rows.first().map_or(Ok(false), |row| column(row, 0))
    }

    /// Locks the state within a transaction. Another copier waits for it, and so no two steps overlap.
    pub(super) async fn locked(&mut self) -> Result<Locked, DatabaseError> {
        let sql = format!("SELECT {COLUMNS} FROM {} FOR UPDATE", self.names.state);
        let rows = self.rows(&sql, &[]).await?;
        rows.first().map_or_else(|| Err(invalid("the move was ended by somebody else")), read)
    }

    /// Writes a line into the log, within a transaction.
    pub(super) async fn logged(&mut self, what: &str) -> Result<(), DatabaseError> {
        let sql = format!("INSERT INTO {} (what) VALUES ($1)", self.names.log);
        self.run(&sql, &[Bind::Text(Some(what))]).await.map(drop)
    }

    /// The table that rows are carried to.
    pub(super) fn other(&self, side: Side) -> &str {
        match side {
            Side::Old => &self.names.new,
            Side::New => &self.names.old,
        }
    }
}

fn read(row: &sqlx::postgres::PgRow) -> Result<Locked, DatabaseError> {
    let side = match column::<&str>(row, 0)? {
        "old" => Side::Old,
        _ => Side::New,
    };
    let maybe = |at: usize| column::<Option<i64>>(row, at);
    let state = State {
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
    Ok(Locked { state, scanned_to: column(row, 14)?, compared_to: column(row, 15)? })
}

fn number(row: &sqlx::postgres::PgRow, at: usize) -> Result<u64, DatabaseError> {
    column::<i64>(row, at).map(i64::unsigned_abs)
}

fn instant(row: &sqlx::postgres::PgRow, at: usize) -> Result<Timestamp, DatabaseError> {
    number(row, at).map(Timestamp::from_micros)
}
