//! Opens a database on a server: its options, and the start of its lanes.

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

/// Two of each kind: while one lane waits for the server, the other collects new operations.
const LANES_DEFAULT: usize = 2;
/// More lanes than this take more connections from the server and gain nothing.
const LANES_MAX: usize = 64;
/// At 10,000 operations a second, a full queue of 4,096 is answered in less than half a second.
const QUEUE_DEFAULT: usize = 4_096;
/// Tools call scans and deletions of expired rows, a few at a time.
const TOOL_QUEUE: usize = 64;
/// How long opening waits for the first connection.
const OPEN_TIME_MAX: Duration = Duration::from_secs(5);
/// The name under which the server lists this client.
const APPLICATION_NAME_DEFAULT: &str = "switchover";

/// The options of a database on a server, made by [`Postgres::builder`](super::super::Postgres::builder) or
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
    /// For servers that the driver `D` supports.
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

    /// The table's name: `sessions`, `app.sessions`, `"Web Sessions"`; see [`Table`](switchover_core::Table). The
    /// default is the layout's default table. If the name has no schema, PostgreSQL looks for the table along the
    /// search path, and MySQL in the address's database.
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.table = Some(name.into());
        self
    }

    /// The layout of the table; the default is [`Layout::DJANGO`].
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// The name under which the server lists this client; the default is `switchover`. PostgreSQL shows it in its list
    /// of connections. For MySQL and MariaDB it is a comment before each statement on rows; they show it in their lists
    /// of running statements and in the slow log. That comment has at most 64 characters; any other than `a-z A-Z 0-9 .
    /// _ -` and the space becomes `_`.
    pub fn application_name(mut self, name: impl Into<String>) -> Self {
        self.application_name = name.into();
        self
    }

    /// How many connections read, 1 to 64; the default is 2. Each sends everything that is queued in one round trip.
    pub fn readers(mut self, connections: usize) -> Self {
        self.readers = connections.clamp(1, LANES_MAX);
        self
    }

    /// How many connections write, 1 to 64; the default is 2.
    pub fn writers(mut self, connections: usize) -> Self {
        self.writers = connections.clamp(1, LANES_MAX);
        self
    }

    /// How many transactions can be open at the same time, 1 to 64; the default is 2. Each needs a connection. A strict
    /// write opens one transaction for all writes of its batch; each copy opens one of its own.
    pub fn holders(mut self, connections: usize) -> Self {
        self.holders = connections.clamp(1, LANES_MAX);
        self
    }

    /// How many reads, how many writes and how many transactions may wait; the default is 4,096 of each. Any further
    /// one fails with [`DatabaseError::Overloaded`].
    pub fn queue(mut self, operations: usize) -> Self {
        self.queue = operations.max(1);
        self
    }

    /// The clock that decides which sessions have ended. The default is the server's clock, which all hosts share.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Connects, and starts the lanes. The other connections are made when they are needed.
    ///
    /// Cost: one connection, at most 5 s.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Invalid`] if the address or the table's name is not valid; [`DatabaseError::Unavailable`] if
    /// the server cannot be reached or refuses; [`DatabaseError::Timeout`] if it does not answer.
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
        let endpoint = driver.endpoint();
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
        let (layout, has_side_tables) = (self.layout, D::HAS_SIDE_TABLES);
        Ok(Server { shared: Arc::new(Shared { queues, summary, endpoint, layout, has_side_tables }) })
    }
}

/// Leaves out the options, which may hold a password.
impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("readers", &self.readers).finish_non_exhaustive()
    }
}
