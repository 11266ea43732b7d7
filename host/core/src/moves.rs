//! What `switchover move` needs of a table that applications write themselves.

use std::time::Duration;

use async_trait::async_trait;

use crate::Timestamp;
use crate::capabilities::DatabaseError;

/// A table, and the one that it becomes, while programs that know nothing of Switchover write it.
///
/// Every method may be repeated after a crash at any point. If a future is dropped, its transaction is rolled back by the
/// server, which may take until the connection is found broken; another `Mover` of the same table goes on from there.
/// After [`DatabaseError::Unavailable`] and [`DatabaseError::Timeout`] a `Mover` may be broken: open another.
#[async_trait]
pub trait Mover: Send {
    /// The tables and their servers, for people.
    fn summary(&self) -> &str;

    /// The library whose table this is, by its columns.
    fn known_table(&self) -> Option<&'static KnownTable>;

    /// What is in the way, each as a sentence with the name first. Nothing is changed.
    ///
    /// # Errors
    ///
    /// A server does not answer.
    async fn obstacles(&mut self, living: &str) -> Result<Vec<String>, DatabaseError>;

    /// The statements of [`Mover::begin`].
    ///
    /// # Errors
    ///
    /// A server does not answer.
    async fn planned(&mut self, living: &str) -> Result<Plan, DatabaseError>;

    /// Makes the new table, and begins to note what is written. From then on each write of an application is one insert
    /// dearer. `living` is the condition of rows that are carried.
    ///
    /// Applications wait while the triggers are made: for the writes that are under way, and at most 100 ms. If that is
    /// not enough, it is tried again.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Invalid`] says what is in the way. [`DatabaseError::Conflict`]: writes took too long for a
    /// minute. Nothing is noted then.
    async fn begin(&mut self, living: &str) -> Result<(), DatabaseError>;

    /// Where it stands; `None` if nothing was begun.
    ///
    /// # Errors
    ///
    /// The server does not answer, or this user may not read the state.
    async fn state(&mut self) -> Result<Option<State>, DatabaseError>;

    /// What was done, the oldest first.
    ///
    /// # Errors
    ///
    /// As for [`Mover::state`].
    async fn log(&mut self) -> Result<Vec<Logged>, DatabaseError>;

    /// Copies the living rows among the next `limit` ones.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Conflict`]: another copier is at work. Otherwise what the server says.
    async fn scan(&mut self, limit: u32) -> Result<Scanned, DatabaseError>;

    /// Carries the rows of at most `limit` changes, as the rows are now, and clears these changes and no others.
    ///
    /// # Errors
    ///
    /// As for [`Mover::scan`].
    async fn carry(&mut self, limit: u32) -> Result<Carried, DatabaseError>;

    /// Compares the rows of the next `limit` keys. Call it once the scan has ended.
    ///
    /// # Errors
    ///
    /// As for [`Mover::scan`].
    async fn compare(&mut self, limit: u32) -> Result<Compared, DatabaseError>;

    /// Makes the other table than the one on `from` the one that counts. What was noted is carried under the lock, so
    /// the other table has every row that is committed.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Invalid`] says why it is not to be made: the scan has not ended, or no comparison since was
    /// whole and without a difference. [`DatabaseError::Conflict`]: the bound was not met in any try, and the tables
    /// are as they were. [`DatabaseError::Unavailable`]: [`Mover::state`] shows whether it was made.
    async fn cut(&mut self, from: Side, bound: CutBound) -> Result<Cut, DatabaseError>;

    /// Takes everything away and leaves the table as it was: the way out before the cut, and after a way back.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Invalid`] after the cut: rows are in the new table.
    async fn abort(&mut self) -> Result<(), DatabaseError>;

    /// Ends the way back: nothing is noted any more. The old table stays, unless `drop_old`.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Invalid`] before the cut.
    async fn finish(&mut self, drop_old: bool) -> Result<(), DatabaseError>;
}

/// Which of the two tables applications use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The table that was there.
    Old,
    /// Neither yet: the cut is made at one of two servers, and is to be made at the other one. Applications are refused,
    /// or use the bridge.
    Neither,
    /// The new one, after the cut.
    New,
}

/// How the new table comes to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Both tables are in one database, and exchange their names.
    Rename,
    /// The old table refuses, in words that name the new place.
    Seal,
    /// In the old table's place stands a foreign table of the new one, so applications may be restarted one by one.
    Bridge,
}

impl Form {
    /// Its name, as operators write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rename => "rename",
            Self::Seal => "seal",
            Self::Bridge => "bridge",
        }
    }
}

/// Where a move stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// How it is cut.
    pub form: Form,
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

impl State {
    /// Why the cut from this side is not to be made; `None` if it may be.
    pub fn refusal(&self, from: Side) -> Option<String> {
        match (self.side == from, self.scan_ended, self.last_different) {
            _ if self.side == Side::Neither => None,
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

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// By the server's clock.
    pub at: Timestamp,
    /// What was done.
    pub what: String,
}

/// The statements that begin a move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Beside the table; nobody waits.
    pub made: Vec<String>,
    /// At the new table's server, if that is another one.
    pub made_at_new: Vec<String>,
    /// On the table. Writes wait meanwhile.
    pub noted: Vec<String>,
}

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

/// How long applications may wait, and how often a cut is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutBound {
    /// From the request of the lock to the end of the transaction. A try that would take longer is taken back.
    pub wait: Duration,
    /// After so many tries the tables stay as they are.
    pub tries: u32,
}

impl Default for CutBound {
    fn default() -> Self {
        Self { wait: Duration::from_millis(500), tries: 20 }
    }
}

/// What a cut did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// How long applications may have waited: from the request of the lock to the end of the transaction.
    pub waited: Duration,
    /// Changes that were carried under the lock.
    pub carried: u64,
    /// Tries that were taken back before.
    pub taken_back: u32,
}

/// A library's table, known by its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownTable {
    /// The library.
    pub name: &'static str,
    /// Columns that no other library's table has together.
    pub columns: &'static [&'static str],
    /// The condition of rows that live.
    pub living: &'static str,
    /// Whether every insert of the library overwrites the row that is there, and asks for no count of rows.
    pub upserts: bool,
}
