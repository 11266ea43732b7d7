//! What a driver of one kind of server does: connect, and carry single operations on a connection.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use switchover_core::capabilities::{
    Clock, Cursor, DatabaseError, ExpiredLeft, Feeds, Identity, Scan, Statistics, Unreadable, Write, WriteOutcome,
};
use switchover_core::{Column, Session, SessionKey, Timestamp};

use crate::table::SessionTable;

/// Why an operation on a connection did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server answered no. Nothing was written, and the connection is as good as before.
    Refused(DatabaseError),
    /// The server refused because of what one row holds or is to hold: what it was grouped with may be done without it. What it said.
    Row(String),
    /// A lock that is not free, a deadlock, a serialisation failure: rolled back; the same may succeed a moment later.
    Busy(String),
    /// The connection is of no use any more. Whether something was written, [`Link::may_have_written`] tells.
    Lost(String),
}

impl Failure {
    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self::Refused(DatabaseError::Corrupt { message: message.into() })
    }
}

/// A row under a key that was asked for, byte for byte.
pub(crate) type Found = (SessionKey, Result<Session, Unreadable>);

/// What a driver needs to know beside the address.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) table: SessionTable,
    pub(crate) application_name: String,
    /// `None`: the server's.
    pub(crate) clock: Option<Arc<dyn Clock>>,
}

/// A kind of server and how to reach one.
pub(crate) trait Driver: Sized + Send + Sync + 'static {
    type Link: Link;

    /// For the server at an address.
    fn new(address: &str, options: Options) -> Result<Self, DatabaseError>;

    /// For people: which database it is, without a password.
    fn summary(&self) -> String;

    /// Looks once, before the first connection, whether what the address leads to can be worked with. Bounded by its caller.
    fn check(&self) -> impl Future<Output = Result<(), DatabaseError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Connects and makes the settings of the connection. Bounded by its caller.
    fn connect(&self) -> impl Future<Output = Result<Self::Link, DatabaseError>> + Send;
}

/// A connection. Each function is bounded by its caller, which gives the connection up when it drops a future of it.
pub(crate) trait Link: Send + 'static {
    /// Set before anything is sent that commits; cleared by the caller before each operation, and by the connection once the server
    /// has said that nothing was written.
    fn may_have_written(&mut self) -> &mut bool;

    /// The unexpired rows among `keys`, at most one each.
    fn load(&mut self, keys: &[SessionKey]) -> impl Future<Output = Result<Vec<Found>, Failure>> + Send;

    /// Those of `keys` that have a row, also an expired or unreadable one.
    fn existing(&mut self, keys: &[SessionKey]) -> impl Future<Output = Result<Vec<SessionKey>, Failure>> + Send;

    /// Writes and commits, all or nothing; no key stands twice in the batch. `again`: an earlier attempt was [`Failure::Busy`]. It waits for
    /// a lock at most until shortly before `deadline`, so that it can say that nothing was written.
    fn write(
        &mut self,
        batch: &[Write],
        again: bool,
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<WriteOutcome>, Failure>> + Send;

    /// Begins a transaction. Whoever began it ends it, also after a failure in it.
    fn begin(&mut self, deadline: Instant) -> impl Future<Output = Result<(), Failure>> + Send;

    /// In a transaction: locks keys and reads their rows, `None` where there is none and nobody can make one.
    fn lock(
        &mut self,
        keys: &[SessionKey],
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<Option<Session>>, Failure>> + Send;

    /// In a transaction: writes; every outcome has its row.
    fn write_in(
        &mut self,
        batch: &[Write],
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<WriteOutcome>, Failure>> + Send;

    /// Commits what [`Link::begin`] began.
    fn commit(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Rolls back what [`Link::begin`] began.
    fn roll_back(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Deletes `rows` expired rows behind the first `passed`, or nothing, in a transaction of its own. Rows that others hold are not among
    /// them, as far as the server can skip them. Returns how many rows it found, and how many it deleted.
    fn delete_expired(
        &mut self,
        before: Option<Timestamp>,
        rows: u32,
        passed: u64,
    ) -> impl Future<Output = Result<(u32, u32), Failure>> + Send;

    /// As [`Upkeep::scan`](switchover_core::capabilities::Upkeep::scan). `ahead`: one row more is asked for, to know whether there is one; without,
    /// a page that is full may be the last one.
    fn scan(
        &mut self,
        after: Option<&Cursor>,
        limit: u32,
        ahead: bool,
    ) -> impl Future<Output = Result<Scan, Failure>> + Send;

    /// A page of the first row behind `after`, whose contents the server refused to give out with `message`.
    fn scan_past(
        &mut self,
        after: Option<&Cursor>,
        message: &str,
    ) -> impl Future<Output = Result<Scan, Failure>> + Send;

    /// As [`Upkeep::identity`](switchover_core::capabilities::Upkeep::identity).
    fn identity(&mut self) -> impl Future<Output = Result<Option<Identity>, Failure>> + Send;

    /// As [`Upkeep::feeds`](switchover_core::capabilities::Upkeep::feeds).
    fn feeds(&mut self) -> impl Future<Output = Result<Feeds, Failure>> + Send;

    /// As [`Upkeep::other_columns`](switchover_core::capabilities::Upkeep::other_columns); every connection goes on with what it finds.
    fn other_columns(&mut self) -> impl Future<Output = Result<Vec<Column>, Failure>> + Send;

    /// As [`Upkeep::check_columns`](switchover_core::capabilities::Upkeep::check_columns).
    fn check_columns(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// As [`Upkeep::expired_left`](switchover_core::capabilities::Upkeep::expired_left).
    fn expired_left(
        &mut self,
        before: Option<Timestamp>,
        deadline: Instant,
    ) -> impl Future<Output = Result<ExpiredLeft, Failure>> + Send;

    /// As [`Upkeep::statistics`](switchover_core::capabilities::Upkeep::statistics).
    fn statistics(&mut self, deadline: Instant) -> impl Future<Output = Result<Statistics, Failure>> + Send;

    /// As [`Upkeep::missing_schema`](switchover_core::capabilities::Upkeep::missing_schema).
    fn missing_schema(&mut self) -> impl Future<Output = Result<Vec<String>, Failure>> + Send;

    /// Executes statements of [`Link::missing_schema`].
    fn execute_schema(&mut self, statements: &[String]) -> impl Future<Output = Result<(), Failure>> + Send;

    /// One round trip on an idle connection.
    fn ping(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Says good-bye.
    fn close(self) -> impl Future<Output = ()> + Send;
}
