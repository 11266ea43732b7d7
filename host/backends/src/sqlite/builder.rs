//! How a database in an SQLite file is opened: its options, its connections, its threads.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;

use switchover_core::Layout;
use switchover_core::capabilities::{Clock, DatabaseError, SystemClock};
use switchover_core::sync::Mutex;
use tokio::sync::watch;

use super::connection::{Connections, Synchronous};
use super::reader::Reader;
use super::schema::{self, session_table};
use super::statements::Statements;
use super::writer::Writer;
use super::{Queues, Sqlite, unavailable};
use crate::others::Shared;
use crate::queues::UntilClosed;

/// Two reads at a time: more threads than cores gain nothing, since a read that hits the page cache never waits.
const READERS_DEFAULT: usize = 2;
/// Above this a reader more costs memory and file handles, and serves nobody.
const READERS_MAX: usize = 64;
/// At 10,000 operations a second, 4,096 waiting ones are answered in less than half a second.
const QUEUE_DEFAULT: usize = 4_096;

/// How to open a database in an SQLite file; made by [`Sqlite::builder`].
#[derive(Clone)]
pub struct SqliteBuilder {
    path: PathBuf,
    table: Option<String>,
    layout: Layout,
    create_if_missing: bool,
    readers: usize,
    queue: usize,
    synchronous: Synchronous,
    clock: Arc<dyn Clock>,
}

impl SqliteBuilder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            table: None,
            layout: Layout::default(),
            create_if_missing: false,
            readers: READERS_DEFAULT,
            queue: QUEUE_DEFAULT,
            synchronous: Synchronous::default(),
            clock: Arc::new(SystemClock),
        }
    }

    /// The table's name, the layout's own if not given: `sessions`, `"Web Sessions"`; see [`Table`](switchover_core::Table). SQLite has
    /// no schemas.
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.table = Some(name.into());
        self
    }

    /// How sessions stand in the table; [`Layout::DJANGO`] if not given.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Whether to make the file if it is not there. If not (the default) that is an error: a path with a slip of the hand in
    /// it would otherwise be an empty database, and every user logged out. The table is made by
    /// [`create_schema`](switchover_core::capabilities::Upkeep::create_schema) alone.
    pub fn create_if_missing(mut self, create: bool) -> Self {
        self.create_if_missing = create;
        self
    }

    /// How many threads read, 1 to 64; 2 if not given. Each owns a connection.
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = readers.clamp(1, READERS_MAX);
        self
    }

    /// How many reads, and how many writes, may wait; 4,096 if not given. One more is [`DatabaseError::Overloaded`].
    pub fn queue(mut self, operations: usize) -> Self {
        self.queue = operations.max(1);
        self
    }

    /// What a commit waits for; [`Synchronous::Full`] if not given.
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// The clock that decides what has ended; the machine's if not given.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Opens the file, turns write-ahead logging on (the file keeps that setting; Django works with it as before) and starts
    /// the threads.
    ///
    /// Cancel safety: dropped, it may still have made the file.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Invalid`] if the path or the table's name cannot be one; [`DatabaseError::Unavailable`] if the file is not there and may not be made, cannot be opened, cannot have a
    /// write-ahead log (a network file system, `:memory:`);
    /// [`DatabaseError::Corrupt`] if it is no SQLite file; [`DatabaseError::Conflict`] if another process keeps it locked.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn open(self) -> Result<Sqlite, DatabaseError> {
        let opened = tokio::task::spawn_blocking(move || self.open_blocking()).await;
        opened.unwrap_or_else(|error| Err(unavailable(format!("opening it did not end: {error}"))))
    }

    /// A path and a server's address look alike to whoever fills in a form; an address may hold a password.
    fn is_address(&self) -> bool {
        self.path.to_string_lossy().contains("://")
    }

    fn open_blocking(self) -> Result<Sqlite, DatabaseError> {
        let table = session_table(self.table.as_deref(), self.layout)?;
        if self.is_address() {
            let message = "the path of a file is wanted, and this is the address of a server".to_owned();
            return Err(DatabaseError::Invalid { message });
        }
        let summary = format!("sqlite at {}, table {}", self.path.display(), table.table);
        let connections = Connections::open(&self.path, self.create_if_missing, self.readers, self.synchronous)?;
        let others = schema::other_columns(&connections.writer, &table)?;
        let statements = Arc::new(Shared::new(Statements::of(table, others)));

        let (alive, ended) = watch::channel(());
        let (writes, write_queue) = mpsc::sync_channel(self.queue);
        let writer = Writer::new(connections.writer, Arc::clone(&statements), Arc::clone(&self.clock), write_queue);
        spawn("sqlite-writer", alive.clone(), move || writer.run())?;

        let (reads, read_queue) = mpsc::sync_channel(self.queue);
        let read_queue = Arc::new(Mutex::new(read_queue));
        for connection in connections.readers {
            let reader =
                Reader::new(connection, Arc::clone(&statements), Arc::clone(&self.clock), Arc::clone(&read_queue));
            spawn("sqlite-reader", alive.clone(), move || reader.run())?;
        }
        let queues = UntilClosed::new(Queues { writes, reads }, ended);
        Ok(Sqlite { shared: Arc::new(super::Shared { queues, summary, layout: self.layout }) })
    }
}

impl fmt::Debug for SqliteBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = f.debug_struct("SqliteBuilder");
        if !self.is_address() {
            told.field("path", &self.path);
        }
        told.finish_non_exhaustive()
    }
}

fn spawn(name: &str, alive: watch::Sender<()>, run: impl FnOnce() + Send + 'static) -> Result<(), DatabaseError> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        run();
        drop(alive);
    });
    thread.map(drop).map_err(|error| unavailable(format!("no thread for it: {error}")))
}
