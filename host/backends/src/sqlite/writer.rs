//! The thread that writes. It takes all queued writes, commits them together, and answers after the commit.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use switchover_core::capabilities::{
    Clock, DatabaseError, Epoch, Fence, Mark, Number, Numbered, Side, Write, WriteOutcome,
};
use switchover_core::{SessionKey, Timestamp};

use super::connection::{database_error, wait_for_locks_until};
use super::panics::survive;
use super::statements::Statements;
use super::{schema, side};
use crate::manner::{Manner, is_refused};
use crate::others::Shared;
use crate::request::Request;
use crate::sweep::Tried;
use crate::transaction::{Step, Steps};

/// The most batches that share one commit. Many fewer already pay for the flush, and the first batch waits for the
/// last.
const GROUP_BATCHES_MAX: usize = 64;
/// A group also ends when it has this many rows.
const GROUP_WRITES_MAX: usize = 256;
/// A group also ends when it has this many payload bytes: all of them pass through the write-ahead log at once.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// How long closing waits for other processes that still read the log.
const CHECKPOINT_WAIT: Duration = Duration::from_millis(500);

/// A command to the writer.
pub(super) enum WriteCommand {
    Write { batch: Vec<Write>, manner: Manner, request: Request<Vec<WriteOutcome>> },
    Transaction { first: Step, later: Receiver<Step>, fence: Option<Fence> },
    DeleteExpired { before: Option<Timestamp>, rows: u32, passed: u64, request: Request<Tried> },
    CreateSchema { request: Request<Vec<String>> },
    PrepareSides { request: Request<Vec<String>> },
    Seal { words: String, request: Request<()> },
    MakeFence { migration: Arc<str>, request: Request<()> },
    Raise { fence: Fence, request: Request<Epoch> },
    Mark { keys: Vec<SessionKey>, home: Side, fence: Fence, request: Request<()> },
    Numbered { batch: Vec<(Write, Number)>, fence: Fence, request: Request<Numbered> },
    ClearMarks { marks: Vec<Mark>, fence: Fence, request: Request<u64> },
}

struct WriteJob {
    batch: Vec<Write>,
    manner: Manner,
    request: Request<Vec<WriteOutcome>>,
}

/// The only thread that writes.
pub(super) struct Writer {
    connection: Connection,
    statements: Arc<Shared<Statements>>,
    clock: Arc<dyn Clock>,
    queue: Receiver<WriteCommand>,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        statements: Arc<Shared<Statements>>,
        clock: Arc<dyn Clock>,
        queue: Receiver<WriteCommand>,
    ) -> Self {
        Self { connection, statements, clock, queue }
    }

    /// Runs until the queue is closed and empty. Then it moves the write-ahead log into the file.
    pub(super) fn run(self) {
        while let Ok(first) = self.queue.recv() {
            let mut next = Some(first);
            while let Some(command) = next.take() {
                next = survive(|| self.serve(command)).unwrap_or_else(|| {
                    // Nobody else can write while the transaction is open.
                    self.roll_back();
                    None
                });
            }
        }
        self.checkpoint();
    }

    /// Serves one command, or several writes. Returns the command that came after them.
    fn serve(&self, command: WriteCommand) -> Option<WriteCommand> {
        match command {
            WriteCommand::Write { batch, manner, request } => {
                let (jobs, other) = self.drain(WriteJob { batch, manner, request });
                self.write_group(jobs);
                return other;
            }
            WriteCommand::Transaction { first, later, fence } => self.transaction(first, &later, fence.as_ref()),
            WriteCommand::DeleteExpired { before, rows, passed, request } => {
                self.alone(request, |writer| writer.delete_expired(before, rows, passed));
            }
            WriteCommand::CreateSchema { request } => self.alone(request, Self::create_schema),
            WriteCommand::PrepareSides { request } => self.alone(request, Self::prepare_sides),
            WriteCommand::Seal { words, request } => self.alone(request, |writer| {
                side::seal(&writer.connection, writer.statements.get().table(), &words)?;
                writer.commit()
            }),
            WriteCommand::MakeFence { migration, request } => self.alone(request, |writer| {
                side::make_fence(&writer.connection, &migration)?;
                writer.commit()
            }),
            WriteCommand::Raise { fence, request } => self.raise(&fence, request),
            WriteCommand::Mark { keys, home, fence, request } => self.under(&fence, request, |writer| {
                let now = writer.clock.now();
                keys.iter().try_for_each(|key| side::set_mark(&writer.connection, &fence.migration, key, home, now))
            }),
            WriteCommand::Numbered { batch, fence, request } => {
                self.under(&fence, request, |writer| writer.write_numbered(batch, &fence.migration));
            }
            WriteCommand::ClearMarks { marks, fence, request } => {
                self.under(&fence, request, |writer| side::clear_marks(&writer.connection, &fence.migration, &marks))
            }
        }
        None
    }

    fn checkpoint(&self) {
        let checkpoint = || {
            self.connection.busy_timeout(CHECKPOINT_WAIT)?;
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        };
        if let Err(error) = checkpoint() {
            // Nothing is lost: the next process that opens the file reads the log.
            tracing::debug!(%error, "the write-ahead log stays beside its file");
        }
    }

    /// Takes the queued writes up to the first command of another kind, and that command. It never waits, so a single
    /// write is not delayed.
    fn drain(&self, first: WriteJob) -> (Vec<WriteJob>, Option<WriteCommand>) {
        let payloads = |batch: &[Write]| batch.iter().map(Write::payload_len).sum::<usize>();
        let (mut writes, mut bytes) = (first.batch.len(), payloads(&first.batch));
        let mut jobs = vec![first];
        while jobs.len() < GROUP_BATCHES_MAX && writes < GROUP_WRITES_MAX && bytes < GROUP_BYTES_MAX {
            match self.queue.try_recv() {
                Ok(WriteCommand::Write { batch, manner, request }) => {
                    writes += batch.len();
                    bytes += payloads(&batch);
                    jobs.push(WriteJob { batch, manner, request });
                }
                Ok(other) => return (jobs, Some(other)),
                Err(_) => break,
            }
        }
        (jobs, None)
    }

    /// Writes several batches in one transaction, in the order of the queue. If one of them fails, everything is rolled
    /// back, and each is written again in a transaction of its own. This is rare, and cheaper than a savepoint around
    /// every batch that does not fail.
    fn write_group(&self, jobs: Vec<WriteJob>) {
        let wanted = |job: WriteJob| Some(WriteJob { request: job.request.if_wanted()?, ..job });
        let jobs: Vec<_> = jobs.into_iter().filter_map(wanted).collect();
        let Some(deadline) = jobs.iter().map(|job| job.request.deadline()).max() else { return };
        if let Err(error) = self.begin(deadline) {
            return answer_all(jobs.into_iter().map(|job| job.request), &error);
        }
        let lone = jobs.len() == 1;
        let mut jobs = jobs.into_iter();
        let mut written = Vec::with_capacity(jobs.len());
        while let Some(WriteJob { batch, manner, request }) = jobs.next() {
            let Some(request) = request.begin() else { continue };
            match self.write_as(&batch, &manner) {
                Ok(outcomes) => written.push((WriteJob { batch, manner, request }, outcomes)),
                Err(error) => {
                    self.roll_back();
                    if lone {
                        request.answer(Err(error));
                        return;
                    }
                    let failed = WriteJob { batch, manner, request };
                    let again = written.into_iter().map(|(job, _)| job).chain([failed]).chain(jobs);
                    return again.for_each(|job| self.write_group(vec![job]));
                }
            }
        }
        match self.commit() {
            Ok(()) => written.into_iter().for_each(|(job, outcomes)| {
                job.request.answer(Ok(outcomes));
            }),
            // A constraint that SQLite checks at the end of the transaction.
            Err(DatabaseError::Corrupt { .. }) if written.len() > 1 => {
                written.into_iter().for_each(|(job, _)| self.write_group(vec![job]));
            }
            Err(error) => answer_all(written.into_iter().map(|(job, _)| job.request), &error),
        }
    }

    /// Runs the steps of one transaction. Keeps it open until the caller has decided it or its deadline has passed.
    fn transaction(&self, first: Step, later: &Receiver<Step>, fence: Option<&Fence>) {
        let (mut next, mut is_open, mut has_keys) = (Some(first), false, false);
        while let Some(step) = next.take() {
            let not_fenced = || if is_open { Ok(()) } else { self.check(fence) };
            let deadline = match step {
                Step::Lock(keys, request) => {
                    // The transaction has locked the whole file.
                    let statements = self.statements.get();
                    let row = |key| statements.row(&self.connection, key);
                    self.step(request, is_open, || not_fenced().and_then(|()| keys.iter().map(row).collect()))
                }
                Step::Write(batch, request) => self.step(request, is_open, || {
                    not_fenced()?;
                    let outcomes = self.write_batch(&batch)?;
                    if has_keys && let Some(fence) = fence {
                        self.clear_written(&batch, &outcomes, &fence.migration)?;
                    }
                    Ok(outcomes)
                }),
                Step::LockKeys(keys, purpose, request) => {
                    has_keys = true;
                    let statements = self.statements.get();
                    self.step(request, is_open, || {
                        not_fenced()?;
                        let migration = migration_of(fence)?;
                        let lock = |key| side::lock(&self.connection, &statements, migration, key, purpose);
                        keys.iter().map(lock).collect()
                    })
                }
                Step::ClearLocked(keys, request) => self.step(request, is_open, || {
                    not_fenced()?;
                    let migration = migration_of(fence)?;
                    keys.iter().try_for_each(|key| side::clear(&self.connection, migration, key))
                }),
                Step::Commit(request) => {
                    match request.begin() {
                        Some(request) => {
                            request.answer(self.commit());
                        }
                        None => self.roll_back(),
                    }
                    return;
                }
                Step::RollBack(request) => {
                    self.roll_back();
                    request.answer(Ok(()));
                    return;
                }
            };
            let Some(deadline) = deadline else { return };
            is_open = true;
            // `None`: it was dropped without a decision, or the next step did not come in time. A later step finds the
            // queue closed.
            next = later.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
        }
        self.roll_back();
    }

    /// Runs one statement of a transaction. Returns the deadline if the transaction is open afterwards.
    fn step<T>(
        &self,
        request: Request<T>,
        is_open: bool,
        work: impl FnOnce() -> Result<T, DatabaseError>,
    ) -> Option<Instant> {
        let Some(request) = request.if_wanted() else {
            self.roll_back();
            return None;
        };
        let deadline = request.deadline();
        let begun = if is_open { Ok(()) } else { self.begin(deadline) };
        if let Err(error) = begun {
            request.answer(Err(error));
            return None;
        }
        let Some(request) = request.begin() else {
            self.roll_back();
            return None;
        };
        let done = work();
        let is_done = done.is_ok();
        if !is_done {
            self.roll_back();
        }
        if !request.answer(done) && is_done {
            self.roll_back();
            return None;
        }
        is_done.then_some(deadline)
    }

    /// Runs one command in a transaction of its own, which the command commits.
    fn alone<T>(&self, request: Request<T>, write: impl FnOnce(&Self) -> Result<T, DatabaseError>) {
        let deadline = request.deadline();
        self.alone_from(request, deadline, write);
    }

    /// As [`Writer::alone`], with another last instant to wait for the write lock.
    fn alone_from<T>(
        &self,
        request: Request<T>,
        begin_until: Instant,
        write: impl FnOnce(&Self) -> Result<T, DatabaseError>,
    ) {
        let Some(request) = request.if_wanted() else { return };
        if let Err(error) = self.begin(begin_until) {
            request.answer(Err(error));
            return;
        }
        let Some(request) = request.begin() else { return self.roll_back() };
        let result = write(self);
        self.roll_back();
        request.answer(result);
    }

    /// Runs one command under a fence, in a transaction of its own, and commits.
    fn under<T>(&self, fence: &Fence, request: Request<T>, write: impl FnOnce(&Self) -> Result<T, DatabaseError>) {
        self.alone(request, |writer| {
            side::check(&writer.connection, fence)?;
            let written = write(writer)?;
            writer.commit().map(|()| written)
        });
    }

    /// The last quarter of the time is for the answer.
    fn raise(&self, fence: &Fence, request: Request<Epoch>) {
        let begin_until = Instant::now() + request.deadline().saturating_duration_since(Instant::now()) * 3 / 4;
        self.alone_from(request, begin_until, |writer| {
            let epoch = side::raise(&writer.connection, fence)?;
            writer.commit().map(|()| epoch)
        });
    }

    fn prepare_sides(&self) -> Result<Vec<String>, DatabaseError> {
        let missing = side::missing(&self.connection)?;
        self.make(missing)
    }

    fn write_numbered(&self, batch: Vec<(Write, Number)>, migration: &str) -> Result<Numbered, DatabaseError> {
        let late = side::raise_numbers(&self.connection, migration, &batch)?;
        if !late.is_empty() {
            return Ok(Numbered::Late(late));
        }
        let writes: Vec<Write> = batch.into_iter().map(|(write, _)| write).collect();
        self.write_batch(&writes).map(Numbered::Done)
    }

    fn check(&self, fence: Option<&Fence>) -> Result<(), DatabaseError> {
        fence.map_or(Ok(()), |fence| side::check(&self.connection, fence))
    }

    /// Removes the marks of what was written.
    fn clear_written(&self, batch: &[Write], outcomes: &[WriteOutcome], migration: &str) -> Result<(), DatabaseError> {
        let written = batch.iter().zip(outcomes).filter(|(write, outcome)| !is_refused(write, outcome));
        written.map(|(write, _)| write.key()).try_for_each(|key| side::clear(&self.connection, migration, key))
    }

    fn delete_expired(&self, before: Option<Timestamp>, rows: u32, passed: u64) -> Result<Tried, DatabaseError> {
        let now = self.clock.now();
        let before = before.map_or(now, |before| before.min(now));
        let tried = self.statements.get().delete_expired(&self.connection, before, rows, passed)?;
        if let Tried::Done { .. } = tried {
            match self.commit() {
                // A deferred reference is checked at the end.
                Err(DatabaseError::Corrupt { message }) => return Ok(Tried::Refused(message)),
                committed => committed?,
            }
        }
        Ok(tried)
    }

    fn create_schema(&self) -> Result<Vec<String>, DatabaseError> {
        let missing = schema::missing(&self.connection, self.statements.get().table())?;
        self.make(missing)
    }

    /// Executes what makes something that is missing, commits, and returns it.
    fn make(&self, missing: Vec<String>) -> Result<Vec<String>, DatabaseError> {
        for statement in &missing {
            self.connection.execute_batch(statement).map_err(|error| database_error(&error))?;
        }
        self.commit()?;
        Ok(missing)
    }

    fn write_as(&self, batch: &[Write], manner: &Manner) -> Result<Vec<WriteOutcome>, DatabaseError> {
        match manner {
            Manner::Plain(fence) => {
                self.check(fence.as_ref())?;
                self.write_batch(batch)
            }
            Manner::Marked(home, fence) => {
                side::check(&self.connection, fence)?;
                let outcomes = self.write_batch(batch)?;
                let now = self.clock.now();
                for (write, outcome) in batch.iter().zip(&outcomes) {
                    if !is_refused(write, outcome) {
                        side::set_mark(&self.connection, &fence.migration, write.key(), *home, now)?;
                    }
                }
                Ok(outcomes)
            }
        }
    }

    fn write_batch(&self, batch: &[Write]) -> Result<Vec<WriteOutcome>, DatabaseError> {
        let statements = self.statements.get();
        batch.iter().map(|write| statements.write(&self.connection, write)).collect()
    }

    /// Takes the write lock. If another process has it, this waits, but not beyond `deadline`.
    fn begin(&self, deadline: Instant) -> Result<(), DatabaseError> {
        self.roll_back();
        wait_for_locks_until(&self.connection, deadline)?;
        self.execute("BEGIN IMMEDIATE").map_err(|error| database_error(&error))
    }

    fn commit(&self) -> Result<(), DatabaseError> {
        let Err(error) = self.execute("COMMIT") else { return Ok(()) };
        self.roll_back();
        if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::ConstraintViolation)) {
            return Err(database_error(&error));
        }
        // The log may have the whole commit on the disk although its flush failed. After a crash it would be read as
        // committed.
        Err(DatabaseError::UnknownOutcome { message: format!("the commit failed: {error}") })
    }

    /// Does nothing outside a transaction, because SQLite ends a transaction by itself after some errors.
    fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be rolled back; the next one tries again");
        }
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }
}

fn migration_of(fence: Option<&Fence>) -> Result<&str, DatabaseError> {
    let message = || "keys are locked only under the fence of a migration".to_owned();
    fence.map(|fence| &*fence.migration).ok_or_else(|| DatabaseError::Invalid { message: message() })
}

fn answer_all<T>(requests: impl Iterator<Item = Request<T>>, error: &DatabaseError) {
    requests.for_each(|request| {
        request.answer(Err(error.clone()));
    });
}

impl Steps for SyncSender<Step> {
    fn push(&self, step: Step) -> bool {
        self.try_send(step).is_ok()
    }
}
