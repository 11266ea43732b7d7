//! How a database on a server is opened: its options, its lanes.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use switchover_core::Layout;
use switchover_core::capabilities::{Clock, DatabaseError};
use tokio::sync::watch;

use super::connector::Connector;
use super::inbox::Inbox;
use super::link::{Driver, Options};
use super::supervisor::spawn;
use super::write_queue::WriteQueue;
use super::{Queues, Server, Shared, WriteSender, read, tool, transaction, write};
use crate::queues::UntilClosed;
use crate::table::SessionTable;

/// Two of each kind: while one lane waits for the server, the other gathers what comes meanwhile.
const LANES_DEFAULT: usize = 2;
/// Above this a lane more takes connections from the server, and gains nothing.
const LANES_MAX: usize = 64;
/// At 10,000 operations a second, 4,096 waiting ones are answered in less than half a second.
const QUEUE_DEFAULT: usize = 4_096;
/// Scans and deletions of expired rows are asked for by tools, a few at a time.
const TOOL_QUEUE: usize = 64;
/// How long opening waits for the first connection.
const OPEN_TIME_MAX: Duration = Duration::from_secs(5);
/// What the server shows of whom it works for.
const APPLICATION_NAME_DEFAULT: &str = "switchover";

/// How to open a database on a server; made by [`Postgres::builder`](super::super::Postgres::builder) or
/// [`MySql::builder`](super::super::MySql::builder).
#[derive(Clone)]
pub struct ServerBuilder {
    /// It may hold a password.
    address: String,
    open: fn(Self) -> Opening,
    table: Option<String>,
    layout: Layout,
    application_name: String,
    clock: Option<Arc<dyn Clock>>,
    readers: usize,
    writers: usize,
    holders: usize,
    queue: usize,
}

type Opening = Pin<Box<dyn Future<Output = Result<Server, DatabaseError>> + Send>>;

impl ServerBuilder {
    /// For servers that a driver speaks to.
    pub(crate) fn of<D: Driver>(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            open: |builder| Box::pin(builder.open_by::<D>()),
            table: None,
            layout: Layout::default(),
            application_name: APPLICATION_NAME_DEFAULT.to_owned(),
            clock: None,
            readers: LANES_DEFAULT,
            writers: LANES_DEFAULT,
            holders: LANES_DEFAULT,
            queue: QUEUE_DEFAULT,
        }
    }

    /// The table's name, the layout's own if not given: `sessions`, `app.sessions`, `"Web Sessions"`; see
    /// [`Table`](switchover_core::Table). Without a schema PostgreSQL looks along the search path, MySQL in the address's database.
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.table = Some(name.into());
        self
    }

    /// How sessions stand in the table; [`Layout::DJANGO`] if not given.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// What the server shows of whom it works for, `switchover` if not given: PostgreSQL in its list of connections, MySQL and MariaDB
    /// as a comment before each statement on rows, in their lists of what runs and in the slow log. In that comment 64 characters of
    /// `a-z A-Z 0-9 . _ -` and the space are kept, others become `_`.
    pub fn application_name(mut self, name: impl Into<String>) -> Self {
        self.application_name = name.into();
        self
    }

    /// How many connections read, 1 to 64; 2 if not given. Each carries everything that is queued in one round trip.
    pub fn readers(mut self, connections: usize) -> Self {
        self.readers = connections.clamp(1, LANES_MAX);
        self
    }

    /// How many connections write, 1 to 64; 2 if not given.
    pub fn writers(mut self, connections: usize) -> Self {
        self.writers = connections.clamp(1, LANES_MAX);
        self
    }

    /// How many transactions can be open at one time, 1 to 64; 2 if not given. Each is a connection. A strict write opens one for
    /// all that it shares a batch with, a copy one for itself.
    pub fn holders(mut self, connections: usize) -> Self {
        self.holders = connections.clamp(1, LANES_MAX);
        self
    }

    /// How many reads, how many writes and how many transactions may wait; 4,096 each if not given. One more is
    /// [`DatabaseError::Overloaded`].
    pub fn queue(mut self, operations: usize) -> Self {
        self.queue = operations.max(1);
        self
    }

    /// The clock that decides what has ended; the server's if not given, which all hosts share.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Connects, and starts the lanes; the other connections are made when they are needed.
    ///
    /// Cost: one connection, at most 5 s.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Invalid`] if the address or the table's name is none; [`DatabaseError::Unavailable`] if the
    /// server cannot be reached or refuses; [`DatabaseError::Timeout`] if it does not answer.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn connect(self) -> Result<Server, DatabaseError> {
        (self.open)(self).await
    }

    async fn open_by<D: Driver>(self) -> Result<Server, DatabaseError> {
        let options = Options {
            table: SessionTable::parse(self.table.as_deref(), self.layout)?,
            application_name: self.application_name.clone(),
            clock: self.clock.clone(),
        };
        let driver = D::new(&self.address, options)?;
        self.start(driver.summary(), driver).await
    }

    pub(super) async fn start<D: Driver>(&self, summary: String, driver: D) -> Result<Server, DatabaseError> {
        let connector = Arc::new(Connector::new(driver));
        let first = async {
            let deadline = Instant::now() + OPEN_TIME_MAX;
            connector.check(deadline).await?;
            connector.connect(deadline).await
        };
        let mut first = Some(first.await.map_err(|error| match error {
            DatabaseError::Unavailable { message } => {
                DatabaseError::Unavailable { message: format!("{summary}: {message}") }
            }
            other => other,
        })?);

        let (alive, ended) = watch::channel(());
        let (reads, inbox) = Inbox::new(self.queue);
        let inbox = Arc::new(inbox);
        for _ in 0..self.readers {
            let inbox = Arc::clone(&inbox);
            spawn(&alive, &connector, first.take(), move |lane| read::run(lane, Arc::clone(&inbox)));
        }
        let writes = Arc::new(WriteQueue::new(self.queue));
        for _ in 0..self.writers {
            let writes = Arc::clone(&writes);
            spawn(&alive, &connector, None, move |lane| write::run(lane, Arc::clone(&writes)));
        }
        let (transactions, inbox) = Inbox::new(self.queue);
        let inbox = Arc::new(inbox);
        for _ in 0..self.holders {
            let inbox = Arc::clone(&inbox);
            spawn(&alive, &connector, None, move |lane| transaction::run(lane, Arc::clone(&inbox)));
        }
        let (tools, inbox) = Inbox::new(TOOL_QUEUE);
        let inbox = Arc::new(inbox);
        spawn(&alive, &connector, None, move |lane| tool::run(lane, Arc::clone(&inbox)));

        let queues = Queues { reads, writes: WriteSender(writes), transactions, tools };
        let queues = UntilClosed::new(queues, ended);
        Ok(Server { shared: Arc::new(Shared { queues, summary, layout: self.layout }) })
    }
}

/// Without what was given, which may hold a password.
impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("readers", &self.readers).finish_non_exhaustive()
    }
}
