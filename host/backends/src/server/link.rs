//! The work of a driver for one kind of server: it connects, and runs single operations on a connection.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use switchover_core::capabilities::{
    Clock, Cursor, DatabaseError, Endpoint, Epoch, ExpiredLeft, Feeds, Fence, Identity, KeyLock, LockPurpose,
    LockedKey, Mark, MarkedRow, Number, Numbered, Scan, Side, Statistics, Strain, Unreadable, Write, WriteOutcome,
};
use switchover_core::{Column, Session, SessionKey, Timestamp};

use crate::manner::Manner;
use crate::table::SessionTable;

/// Why an operation on a connection failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server refused. Nothing was written, and the connection can still be used.
    Refused(DatabaseError),
    /// The server refused because of the contents of one row, stored or to be stored. The other operations of the group
    /// may succeed without it. Has the server's message.
    Row(String),
    /// A lock is not free, there was a deadlock, or serialisation failed. It was rolled back; the same operation may
    /// succeed a moment later.
    Busy(String),
    /// The connection cannot be used any more. [`Link::may_have_written`] says whether something may have been written.
    Lost(String),
}

impl Failure {
    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self::Refused(DatabaseError::Corrupt { message: message.into() })
    }
}

/// A row under one of the given keys, compared byte for byte.
pub(crate) type Found = (SessionKey, Result<Session, Unreadable>);

/// What a driver needs besides the address.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) table: SessionTable,
    pub(crate) application_name: String,
    /// `None`: the server's clock.
    pub(crate) clock: Option<Arc<dyn Clock>>,
}

/// A kind of server and how to reach one.
pub(crate) trait Driver: Sized + Send + Sync + 'static {
    type Link: Link;

    /// Whether its connections do more of [`SideLink`] than refuse. Otherwise an operation with a fence is refused.
    const HAS_SIDE_TABLES: bool = false;

    /// A driver for the server at an address.
    fn new(address: &str, options: Options) -> Result<Self, DatabaseError>;

    /// Names the database for people, without a password.
    fn summary(&self) -> String;

    /// Where the database is, for traces.
    fn endpoint(&self) -> Endpoint;

    /// Checks once, before the first connection, whether the database at the address can be used. The caller limits its
    /// time.
    fn check(&self) -> impl Future<Output = Result<(), DatabaseError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Connects, and makes the settings of the connection. The caller limits its time.
    fn connect(&self) -> impl Future<Output = Result<Self::Link, DatabaseError>> + Send;
}

/// A connection. The caller limits the time of each function. If it drops a future of the connection, it gives the
/// connection up.
pub(crate) trait Link: SideLink + Send + 'static {
    /// Set before anything that commits is sent. The caller clears it before each operation; the connection clears it
    /// once the server has said that nothing was written.
    fn may_have_written(&mut self) -> &mut bool;

    /// The unexpired rows under `keys`, at most one for each. The fence is read in the same snapshot.
    fn load(
        &mut self,
        keys: &[SessionKey],
        fence: Option<&Fence>,
    ) -> impl Future<Output = Result<Vec<Found>, Failure>> + Send;

    /// The keys among `keys` that have a row; the row may be expired or unreadable. The fence is read in the same
    /// snapshot.
    fn existing(
        &mut self,
        keys: &[SessionKey],
        fence: Option<&Fence>,
    ) -> impl Future<Output = Result<Vec<SessionKey>, Failure>> + Send;

    /// Writes and commits all of the batch or nothing. No key occurs twice in it. `again` says that an earlier attempt
    /// was [`Failure::Busy`]. `deadlines` are the first and the last of the batch. It stops waiting for a lock shortly
    /// before the last, so that it can still report that nothing was written. Where one statement is the whole write,
    /// and the server can tell, the server does not begin it after the first, or a moment later; then this is
    /// [`Failure::Busy`].
    fn write(
        &mut self,
        batch: &[Write],
        manner: &Manner,
        again: bool,
        deadlines: [Instant; 2],
    ) -> impl Future<Output = Result<Vec<WriteOutcome>, Failure>> + Send;

    /// Begins a transaction, under a fence if there is one. The caller must end it, also after a failure in it. If this
    /// itself fails, there is no transaction.
    fn begin(&mut self, deadline: Instant, fence: Option<&Fence>) -> impl Future<Output = Result<(), Failure>> + Send;

    /// In a transaction: locks keys and reads their rows. `None`: there is no row, and nobody can insert one.
    fn lock(
        &mut self,
        keys: &[SessionKey],
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<Option<Session>>, Failure>> + Send;

    /// In a transaction: writes. Every [`WriteOutcome::Done`] has its row, except after a delete.
    fn write_in(
        &mut self,
        batch: &[Write],
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<WriteOutcome>, Failure>> + Send;

    /// Commits the transaction that [`Link::begin`] began.
    fn commit(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Rolls back what [`Link::begin`] began.
    fn roll_back(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Deletes `rows` expired rows behind the first `passed`, or nothing, in a transaction of its own. Rows that others
    /// hold are not among them, as far as the server can skip them. Returns how many rows it found, and how many it
    /// deleted.
    fn delete_expired(
        &mut self,
        before: Option<Timestamp>,
        rows: u32,
        passed: u64,
    ) -> impl Future<Output = Result<(u32, u32), Failure>> + Send;

    /// As [`Upkeep::scan`](switchover_core::capabilities::Upkeep::scan). `ahead`: one row more is asked for, to know
    /// whether there is one; without, a page that is full may be the last one.
    fn scan(
        &mut self,
        after: Option<&Cursor>,
        limit: u32,
        ahead: bool,
    ) -> impl Future<Output = Result<Scan, Failure>> + Send;

    /// A page with the first row after `after`, whose contents the server refused to return, with `message`.
    fn scan_past(
        &mut self,
        after: Option<&Cursor>,
        message: &str,
    ) -> impl Future<Output = Result<Scan, Failure>> + Send;

    /// Like [`Upkeep::strain`](switchover_core::capabilities::Upkeep::strain).
    fn strain(&mut self) -> impl Future<Output = Result<Strain, Failure>> + Send;

    /// Like [`Upkeep::identity`](switchover_core::capabilities::Upkeep::identity).
    fn identity(&mut self) -> impl Future<Output = Result<Option<Identity>, Failure>> + Send;

    /// Like [`Upkeep::feeds`](switchover_core::capabilities::Upkeep::feeds).
    fn feeds(&mut self) -> impl Future<Output = Result<Feeds, Failure>> + Send;

    /// Like [`Upkeep::other_columns`](switchover_core::capabilities::Upkeep::other_columns). From then on every
    /// connection uses the columns that it finds.
    fn other_columns(&mut self) -> impl Future<Output = Result<Vec<Column>, Failure>> + Send;

    /// Like [`Upkeep::check_columns`](switchover_core::capabilities::Upkeep::check_columns).
    fn check_columns(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Like [`Upkeep::expired_left`](switchover_core::capabilities::Upkeep::expired_left).
    fn expired_left(
        &mut self,
        before: Option<Timestamp>,
        deadline: Instant,
    ) -> impl Future<Output = Result<ExpiredLeft, Failure>> + Send;

    /// Like [`Upkeep::statistics`](switchover_core::capabilities::Upkeep::statistics).
    fn statistics(&mut self, deadline: Instant) -> impl Future<Output = Result<Statistics, Failure>> + Send;

    /// Like [`Upkeep::missing_schema`](switchover_core::capabilities::Upkeep::missing_schema).
    fn missing_schema(&mut self) -> impl Future<Output = Result<Vec<String>, Failure>> + Send;

    /// Executes the statements that [`Link::missing_schema`] returned.
    fn execute_schema(&mut self, statements: &[String]) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Makes one round trip on an idle connection.
    fn ping(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Closes the connection in order.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// What a connection does with side tables, each as the function of
/// [`SideTables`](switchover_core::capabilities::SideTables) or
/// [`KeyTransaction`](switchover_core::capabilities::KeyTransaction) with this name. A driver without side tables
/// refuses everything.
pub(crate) trait SideLink: Send {
    fn missing_side_tables(&mut self) -> impl Future<Output = Result<Vec<String>, Failure>> + Send {
        no_side_tables()
    }

    fn make_fence(&mut self, _migration: &str) -> impl Future<Output = Result<(), Failure>> + Send {
        no_side_tables()
    }

    /// As [`SideTables::seal`](switchover_core::capabilities::SideTables::seal).
    fn seal(&mut self, _words: &str, _deadline: Instant) -> impl Future<Output = Result<(), Failure>> + Send {
        no_side_tables()
    }

    fn fence(&mut self, _migration: &str) -> impl Future<Output = Result<Option<Epoch>, Failure>> + Send {
        no_side_tables()
    }

    fn raise(&mut self, _fence: &Fence, _deadline: Instant) -> impl Future<Output = Result<Epoch, Failure>> + Send {
        no_side_tables()
    }

    fn write_numbered(
        &mut self,
        _batch: &[(Write, Number)],
        _fence: &Fence,
        _deadline: Instant,
    ) -> impl Future<Output = Result<Numbered, Failure>> + Send {
        no_side_tables()
    }

    /// In a transaction with a fence.
    fn lock_keys(
        &mut self,
        _keys: &[KeyLock],
        _purpose: LockPurpose,
    ) -> impl Future<Output = Result<Vec<LockedKey>, Failure>> + Send {
        no_side_tables()
    }

    /// In a transaction that has locked the keys.
    fn clear_locked(&mut self, _keys: &[SessionKey]) -> impl Future<Output = Result<(), Failure>> + Send {
        no_side_tables()
    }

    fn mark(
        &mut self,
        _keys: &[SessionKey],
        _home: Side,
        _fence: &Fence,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        no_side_tables()
    }

    fn marked_rows(
        &mut self,
        _keys: &[SessionKey],
        _fence: &Fence,
    ) -> impl Future<Output = Result<Vec<MarkedRow>, Failure>> + Send {
        no_side_tables()
    }

    fn marks(&mut self, _fence: &Fence, _limit: u32) -> impl Future<Output = Result<Vec<Mark>, Failure>> + Send {
        no_side_tables()
    }

    fn clear_marks(
        &mut self,
        _marks: &[Mark],
        _fence: &Fence,
        _deadline: Instant,
    ) -> impl Future<Output = Result<u64, Failure>> + Send {
        no_side_tables()
    }

    fn count_marks(&mut self, _fence: &Fence) -> impl Future<Output = Result<u64, Failure>> + Send {
        no_side_tables()
    }
}

async fn no_side_tables<T>() -> Result<T, Failure> {
    let message = "this database has no side tables".to_owned();
    Err(Failure::Refused(DatabaseError::Invalid { message }))
}
