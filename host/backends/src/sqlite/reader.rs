//! A thread that reads. It takes all queued reads and answers them from one snapshot.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use rusqlite::Connection;
use switchover_core::capabilities::{
    Clock, Cursor, DatabaseError, Epoch, ExpiredLeft, Fence, Identity, Mark, MarkedRow, Read, ReadOutcome, Scan,
    Statistics,
};
use switchover_core::sync::Mutex;
use switchover_core::{Column, SessionKey, Timestamp};

use super::connection::{database_error, wait_for_locks_until};
use super::panics::survive;
use super::statements::Statements;
use super::statistics::{statistics, until};
use super::{schema, side};
use crate::others::Shared;
use crate::request::Request;

/// The most batches that a reader takes at once, so that the others get some too.
const SNAPSHOT_BATCHES_MAX: usize = 32;

/// A command to a reader.
pub(super) enum ReadCommand {
    Read { batch: Vec<Read>, fence: Option<Fence>, request: Request<Vec<ReadOutcome>> },
    Scan { after: Option<Cursor>, limit: u32, request: Request<Scan> },
    MissingSchema { request: Request<Vec<String>> },
    CheckColumns { request: Request<()> },
    OtherColumns { request: Request<Vec<Column>> },
    Identity { request: Request<Option<Identity>> },
    Triggers { request: Request<Vec<String>> },
    Statistics { request: Request<Statistics> },
    ExpiredLeft { before: Option<Timestamp>, request: Request<ExpiredLeft> },
    MissingSides { request: Request<Vec<String>> },
    Fence { migration: Arc<str>, request: Request<Option<Epoch>> },
    Rows { keys: Vec<SessionKey>, fence: Fence, request: Request<Vec<MarkedRow>> },
    Marks { fence: Fence, limit: u32, request: Request<Vec<Mark>> },
    CountMarks { fence: Fence, request: Request<u64> },
}

struct ReadJob {
    batch: Vec<Read>,
    fence: Option<Fence>,
    request: Request<Vec<ReadOutcome>>,
}

/// One of several threads that share a queue.
pub(super) struct Reader {
    connection: Connection,
    statements: Arc<Shared<Statements>>,
    clock: Arc<dyn Clock>,
    queue: Arc<Mutex<Receiver<ReadCommand>>>,
}

impl Reader {
    pub(super) fn new(
        connection: Connection,
        statements: Arc<Shared<Statements>>,
        clock: Arc<dyn Clock>,
        queue: Arc<Mutex<Receiver<ReadCommand>>>,
    ) -> Self {
        Self { connection, statements, clock, queue }
    }

    /// Runs until the queue is closed and empty.
    pub(super) fn run(self) {
        while let Some(first) = self.wait() {
            let mut next = Some(first);
            while let Some(command) = next.take() {
                next = survive(|| self.serve(command)).unwrap_or_else(|| {
                    self.end_snapshot();
                    None
                });
            }
        }
    }

    /// Serves one command, or several reads. Returns the command that came after them.
    fn serve(&self, command: ReadCommand) -> Option<ReadCommand> {
        match command {
            ReadCommand::Read { batch, fence, request } => {
                let (jobs, other) = self.drain(ReadJob { batch, fence, request });
                self.read_group(jobs);
                return other;
            }
            ReadCommand::Scan { after, limit, request } => self.answer(request, |reader| {
                reader.statements.get().scan(&reader.connection, after.as_ref(), limit, reader.clock.now())
            }),
            ReadCommand::MissingSchema { request } => {
                self.answer(request, |reader| schema::missing(&reader.connection, reader.statements.get().table()));
            }
            ReadCommand::CheckColumns { request } => {
                self.answer(request, |reader| {
                    reader.other_columns()?;
                    schema::check(&reader.connection, reader.statements.get().table())
                });
            }
            ReadCommand::OtherColumns { request } => self.answer(request, Self::other_columns),
            ReadCommand::Identity { request } => {
                self.answer(request, |reader| schema::identity(&reader.connection, reader.statements.get().table()));
            }
            ReadCommand::Triggers { request } => {
                self.answer(request, |reader| schema::triggers(&reader.connection, reader.statements.get().table()));
            }
            ReadCommand::Statistics { request } => {
                let deadline = request.deadline();
                self.answer(request, |reader| {
                    until(&reader.connection, deadline, || {
                        statistics(&reader.connection, reader.statements.get().table(), reader.clock.now())
                    })
                });
            }
            ReadCommand::ExpiredLeft { before, request } => {
                let deadline = request.deadline();
                self.answer(request, |reader| {
                    let now = reader.clock.now();
                    let before = before.map_or(now, |before| before.min(now));
                    until(&reader.connection, deadline, || {
                        reader.statements.get().expired_left(&reader.connection, before)
                    })
                });
            }
            ReadCommand::MissingSides { request } => {
                self.answer(request, |reader| side::missing(&reader.connection));
            }
            ReadCommand::Fence { migration, request } => {
                self.answer(request, |reader| side::fence(&reader.connection, &migration));
            }
            ReadCommand::Rows { keys, fence, request } => self.under(&fence, request, |reader| {
                let statements = reader.statements.get();
                let row = |key| side::marked_row(&reader.connection, &statements, &fence.migration, key);
                keys.iter().map(row).collect()
            }),
            ReadCommand::Marks { fence, limit, request } => {
                self.under(&fence, request, |reader| side::marks(&reader.connection, &fence.migration, limit));
            }
            ReadCommand::CountMarks { fence, request } => {
                self.under(&fence, request, |reader| side::count_marks(&reader.connection, &fence.migration));
            }
        }
        None
    }

    /// Reads the other columns of the table again. From then on all threads use them.
    fn other_columns(&self) -> Result<Vec<Column>, DatabaseError> {
        let statements = self.statements.get();
        let others = schema::other_columns(&self.connection, statements.table())?;
        let columns = others.iter().map(|other| other.column.clone()).collect();
        if others != statements.others() {
            self.statements.set(Statements::of(statements.table().clone(), others));
        }
        Ok(columns)
    }

    fn wait(&self) -> Option<ReadCommand> {
        self.queue.lock().recv().ok()
    }

    /// Takes the queued reads up to the first command of another kind, and that command. It never waits: if another
    /// reader has the queue, it returns only `first`.
    fn drain(&self, first: ReadJob) -> (Vec<ReadJob>, Option<ReadCommand>) {
        let mut jobs = vec![first];
        let Some(queue) = self.queue.try_lock() else { return (jobs, None) };
        while jobs.len() < SNAPSHOT_BATCHES_MAX {
            match queue.try_recv() {
                Ok(ReadCommand::Read { batch, fence, request }) => jobs.push(ReadJob { batch, fence, request }),
                Ok(other) => return (jobs, Some(other)),
                Err(_) => break,
            }
        }
        (jobs, None)
    }

    fn read_group(&self, jobs: Vec<ReadJob>) {
        // Everything in `jobs` was requested before the snapshot, so the snapshot contains every write that was
        // acknowledged to their callers before.
        self.end_snapshot();
        let is_shared = jobs.len() > 1 || jobs.iter().any(|job| job.fence.is_some());
        let begun = if is_shared { self.begin() } else { Ok(()) };
        for ReadJob { batch, fence, request } in jobs {
            self.answer(request, |reader| {
                if let Some(fence) = &fence {
                    begun.clone()?;
                    side::check(&reader.connection, fence)?;
                }
                batch.iter().map(|read| reader.read(read)).collect()
            });
        }
        self.end();
    }

    /// Answers from one snapshot, in which the fence is not higher.
    fn under<T>(&self, fence: &Fence, request: Request<T>, read: impl FnOnce(&Self) -> Result<T, DatabaseError>) {
        self.end_snapshot();
        self.answer(request, |reader| {
            reader.begin()?;
            side::check(&reader.connection, fence)?;
            read(reader)
        });
        self.end();
    }

    fn begin(&self) -> Result<(), DatabaseError> {
        self.execute("BEGIN").map_err(|error| database_error(&error))
    }

    fn end(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.execute("COMMIT").or_else(|_| self.execute("ROLLBACK"))
        {
            tracing::error!(%error, "a read transaction could not be ended");
        }
    }

    /// Ends a transaction that could not be ended before. It would show an old snapshot for ever.
    fn end_snapshot(&self) {
        if !self.connection.is_autocommit() && self.execute("ROLLBACK").is_err() {
            tracing::error!("a read transaction of before cannot be ended");
        }
    }

    fn read(&self, read: &Read) -> Result<ReadOutcome, DatabaseError> {
        match read {
            Read::Load(key) => self.statements.get().load(&self.connection, key, self.clock.now()),
            Read::Exists(key) => self.statements.get().exists(&self.connection, key).map(ReadOutcome::Exists),
        }
    }

    fn answer<T>(&self, request: Request<T>, read: impl FnOnce(&Self) -> Result<T, DatabaseError>) {
        let Some(request) = request.begin() else { return };
        let result = wait_for_locks_until(&self.connection, request.deadline()).and_then(|()| read(self));
        request.answer(result);
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }
}
