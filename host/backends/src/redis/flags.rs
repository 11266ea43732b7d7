//! Flags from a hash on a server, which is read repeatedly.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Client, RedisError, cmd};
use switchover_core::capabilities::{FlagError, FlagSnapshot, Flags};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::builder::Address;
use super::link::{self, no_answer, text};
use super::shared::{Task, jittered};

const HASH_DEFAULT: &str = "switchover:flags";
/// An operator who changes a flag expects the effect within seconds, and one small command a second costs a server
/// almost nothing.
const POLL_DEFAULT: Duration = Duration::from_secs(1);
/// No call waits for flags, so the answer may be slow.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// A larger hash is not a hash of flags; it was given by mistake.
const FLAGS_MAX: usize = 4_096;
const BYTES_MAX: usize = 256 * 1024;

/// Flags from one hash on a Redis or Valkey server: names and values are text, and `true` is on.
///
/// ```text
/// redis-cli HSET switchover:flags migration_flag true new_db_router_flag false
/// ```
///
/// The hash is read once a second. Changes by one command take effect together. If the hash is missing, empty or
/// invalid later, or if the server does not answer, the last snapshot stays in force, and the log reports it once. Use
/// a server that does not evict keys. Needs a tokio runtime; the reading ends when this is dropped.
pub struct RedisFlags {
    snapshot: Arc<watch::Sender<Arc<FlagSnapshot>>>,
    place: String,
    _looking: Task,
}

/// The options of a source of flags, made by [`RedisFlags::builder`].
#[derive(Clone)]
pub struct RedisFlagsBuilder {
    address: Address,
    hash: String,
    poll: Duration,
}

impl RedisFlags {
    /// Reads the hash `switchover:flags` of the server at `address`, and then reads it repeatedly. The address has the
    /// form of [`Redis::connect`](super::Redis::connect).
    ///
    /// # Errors
    ///
    /// [`FlagError`] if the address is wrong, or if the server does not answer within 2 s. Also if the hash is missing,
    /// empty, a value of another type, or contains anything that is not text. Flags that cannot be read never mean
    /// "off".
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn connect(address: &str) -> Result<Self, FlagError> {
        Self::builder(address).connect().await
    }

    /// Options for the server at `address`.
    pub fn builder(address: &str) -> RedisFlagsBuilder {
        RedisFlagsBuilder { address: Address::new(address), hash: HASH_DEFAULT.to_owned(), poll: POLL_DEFAULT }
    }
}

impl RedisFlagsBuilder {
    /// The name of the hash; the default is `switchover:flags`.
    pub fn hash(mut self, name: impl Into<String>) -> Self {
        self.hash = name.into();
        self
    }

    /// The time between two reads of the hash, at least 10 ms; the default is 1 s.
    pub fn poll(mut self, interval: Duration) -> Self {
        self.poll = interval.max(Duration::from_millis(10));
        self
    }

    /// A file with certificates (PEM). One of them must have signed the server's certificate; the system's are not used
    /// then. Only for `rediss:`.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.address.ca_file = Some(path.into());
        self
    }

    /// Reads the flags, and then reads them repeatedly; see [`RedisFlags::connect`].
    ///
    /// # Errors
    ///
    /// [`FlagError`], for the same reasons as [`RedisFlags::connect`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn connect(self) -> Result<RedisFlags, FlagError> {
        if self.hash.contains("://") {
            let message = "this must be the name of a hash, and it is the address of a server".to_owned();
            return Err(FlagError { message });
        }
        let (client, place, _) = self.address.client().map_err(|message| FlagError { message })?;
        let place = format!("{} on redis at {place}", self.hash);
        let mut looker = Looker { client, hash: self.hash, place: place.clone(), connection: None };
        let first = looker.look().await.map_err(|message| FlagError { message })?;
        let snapshot = Arc::new(watch::Sender::new(Arc::new(first)));
        let looking = tokio::spawn(looker.run(Arc::clone(&snapshot), self.poll));
        Ok(RedisFlags { snapshot, place, _looking: Task(looking.abort_handle()) })
    }
}

impl Flags for RedisFlags {
    fn subscribe(&self) -> watch::Receiver<Arc<FlagSnapshot>> {
        self.snapshot.subscribe()
    }

    fn summary(&self) -> String {
        format!("flags from {}", self.place)
    }
}

impl fmt::Debug for RedisFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisFlags({})", self.place)
    }
}

/// Leaves out the options, which may hold a password.
impl fmt::Debug for RedisFlagsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisFlagsBuilder").field("poll", &self.poll).finish_non_exhaustive()
    }
}

struct Looker {
    client: Client,
    hash: String,
    place: String,
    connection: Option<MultiplexedConnection>,
}

impl Looker {
    async fn run(mut self, snapshot: Arc<watch::Sender<Arc<FlagSnapshot>>>, poll: Duration) {
        let mut told = false;
        loop {
            sleep(jittered(poll)).await;
            match self.look().await {
                Ok(flags) => {
                    told = false;
                    let flags = Arc::new(flags);
                    snapshot.send_if_modified(|snapshot| {
                        let changed = *snapshot != flags;
                        *snapshot = flags;
                        changed
                    });
                }
                Err(problem) if !told => {
                    tracing::warn!(problem, "the last good flags stay in force");
                    told = true;
                }
                Err(_) => {}
            }
        }
    }

    /// Reads once. A connection that failed is made anew at the next read.
    async fn look(&mut self) -> Result<FlagSnapshot, String> {
        let told = |problem: String| format!("flags from {}: {problem}", self.place);
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => link::open(&self.client, ANSWER_TIMEOUT).await.map_err(|error| told(error.message()))?,
        };
        let answer = timeout(ANSWER_TIMEOUT, read(&mut connection, &self.hash)).await;
        let fields = answer.unwrap_or_else(|_| Err(Bad::Redis(no_answer()))).map_err(|bad| told(bad.text()))?;
        self.connection = Some(connection);
        parse(fields).map_err(|problem| format!("flags from {}: {problem}", self.place))
    }
}

enum Bad {
    Redis(RedisError),
    TooMany(usize),
}

impl Bad {
    fn text(&self) -> String {
        match self {
            Self::Redis(error) if error.code() == Some("WRONGTYPE") => "it is no hash: make it with `HSET`".to_owned(),
            Self::Redis(error) => text(error),
            Self::TooMany(fields) => format!("it has {fields} fields, and flags are at most {FLAGS_MAX}"),
        }
    }
}

async fn read(connection: &mut MultiplexedConnection, hash: &str) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Bad> {
    let fields: usize = cmd("HLEN").arg(hash).query_async(connection).await.map_err(Bad::Redis)?;
    if fields > FLAGS_MAX {
        return Err(Bad::TooMany(fields));
    }
    cmd("HGETALL").arg(hash).query_async(connection).await.map_err(Bad::Redis)
}

fn parse(fields: Vec<(Vec<u8>, Vec<u8>)>) -> Result<FlagSnapshot, String> {
    if fields.is_empty() {
        // A flush or an eviction leaves no hash. Reading that as "all off" would switch a migration off.
        return Err("there is no such hash: for no flags at all, set one that nobody reads".to_owned());
    }
    let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > BYTES_MAX {
        return Err(format!("it has {bytes} bytes, and flags are at most {BYTES_MAX}"));
    }
    let mut flags = BTreeMap::new();
    for (name, value) in fields {
        let name = String::from_utf8(name).map_err(|_| "the name of a flag is no text".to_owned())?;
        let value = String::from_utf8(value).map_err(|_| format!("the flag {name:.64} is no text"))?;
        flags.insert(name, value);
    }
    Ok(flags.into_iter().collect())
}
