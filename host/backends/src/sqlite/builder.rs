//! Opens a database in an SQLite file: its options, its connections, its threads.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;

use switchover_core::Layout;
use switchover_core::capabilities::{Clock, DatabaseError, Endpoint, SystemClock};
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

/// Two reads at a time. More threads than cores gain nothing, because a read that finds its pages in the cache never
/// waits.
const READERS_DEFAULT: usize = 2;
/// More readers than this cost memory and file handles, and gain nothing.
const READERS_MAX: usize = 64;
/// At 10,000 operations a second, a full queue of 4,096 is answered in less than half a second.
const QUEUE_DEFAULT: usize = 4_096;

/// The options of a database in an SQLite file, made by [`Sqlite::builder`].
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

    /// The table's name: `sessions`, `"Web Sessions"`; see [`Table`](switchover_core::Table). The default is the
    /// layout's default table. SQLite has no schemas.
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.table = Some(name.into());
        self
    }

    /// The layout of the table; the default is [`Layout::DJANGO`].
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Whether to make the file if it does not exist. By default a missing file is an error: otherwise a mistyped path
    /// would give an empty database, and every user would be logged out. Only
    /// [`create_schema`](switchover_core::capabilities::Upkeep::create_schema) makes the table.
    pub fn create_if_missing(mut self, create: bool) -> Self {
        self.create_if_missing = create;
        self
    }

    /// How many threads read, 1 to 64; the default is 2. Each has its own connection.
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = readers.clamp(1, READERS_MAX);
        self
    }

    /// How many reads, and how many writes, may wait; the default is 4,096 of each. Any further one fails with
    /// [`DatabaseError::Overloaded`].
    pub fn queue(mut self, operations: usize) -> Self {
        self.queue = operations.max(1);
        self
    }

    /// What a commit waits for; the default is [`Synchronous::Full`].
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// The clock that decides which sessions have ended; the default is the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Opens the file, turns on write-ahead logging and starts the threads. The file keeps the setting of write-ahead
    /// logging; Django works with it as before.
    ///
    /// Cancel safety: if the future is dropped, the file may still be made.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Invalid`] if the path or the table's name is not valid; [`DatabaseError::Unavailable`] if the
    /// file does not exist and must not be made, if it cannot be opened, or if it cannot have a write-ahead log (a
    /// network file system, `:memory:`); [`DatabaseError::Corrupt`] if it is not an SQLite file;
    /// [`DatabaseError::Conflict`] if another process keeps it locked.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn open(self) -> Result<Sqlite, DatabaseError> {
        let opened = tokio::task::spawn_blocking(move || self.open_blocking()).await;
        opened.unwrap_or_else(|error| Err(unavailable(format!("opening it did not end: {error}"))))
    }

    /// Whether the path looks like the address of a server. Somebody may put one here by mistake, and it may hold a
    /// password.
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
        let endpoint = Endpoint::of("sqlite").namespace(self.path.to_string_lossy()).collection(table.table.name());
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
        Ok(Sqlite { shared: Arc::new(super::Shared { queues, summary, endpoint, layout: self.layout }) })
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
