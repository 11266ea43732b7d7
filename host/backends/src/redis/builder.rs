//! The address and the options of a cache on a server.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use ::redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError, TlsCertificates};
use switchover_core::capabilities::{CacheError, Endpoint};

use super::cache::Redis;
use super::link::ConnectError;
use super::shared::Shared;
use crate::address::{ESCAPES, Shape};

/// The form of a server's address.
const SERVER: Shape = Shape {
    schemes: &["redis", "rediss", "valkey", "valkeys"],
    example: "redis://USER:PASSWORD@HOST:6379/0",
    parameters: &["protocol"],
    choices: &[],
};
/// The form of a socket's address.
const SOCKET: Shape = Shape {
    schemes: &["redis+unix", "valkey+unix", "unix"],
    example: "redis+unix:///PATH?db=0",
    parameters: &["db", "user", "pass", "protocol"],
    choices: &[],
};

/// It marks the names of this cache in a Redis that others use too.
const PREFIX_DEFAULT: &str = "switchover:";
/// The name of the connection in `CLIENT LIST`.
const CLIENT_NAME: &str = "switchover";
/// Ten times as long as a slow answer takes in one data centre, and half of the time that a host gives a cache by
/// default.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(25);
/// Only the start of the service waits for it. It is enough for a TLS handshake on a busy machine.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);
/// A peer that disappeared is noticed within minutes, even if nothing is sent.
const KEEPALIVE: Duration = Duration::from_secs(30);
const PREFIX_BYTES_MAX: usize = 256;

/// The options of a cache on a Redis or Valkey server, made by [`Redis::builder`].
#[derive(Clone)]
pub struct RedisBuilder {
    address: Address,
    prefix: String,
    client_name: String,
    response_timeout: Duration,
    connect_timeout: Duration,
}

impl RedisBuilder {
    pub(super) fn new(address: &str) -> Self {
        Self {
            address: Address::new(address),
            prefix: PREFIX_DEFAULT.to_owned(),
            client_name: CLIENT_NAME.to_owned(),
            response_timeout: RESPONSE_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
        }
    }

    /// The prefix of every name in Redis, at most 256 bytes; the default is `switchover:`. Hosts with the same prefix
    /// share one cache. So two services need two prefixes, and so do two fleets on different databases.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// A file with certificates (PEM). One of them must have signed the server's certificate; the system's are not used
    /// then. Only for `rediss:`.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.address.ca_file = Some(path.into());
        self
    }

    /// How long an operation waits for its answer; the default is 25 ms. The calls that meet the first fault wait this
    /// long. Give less than the host's `cache_deadline`.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// How long connecting may take, and after that the trial of the connection; the default is 250 ms for each.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The name in the server's `CLIENT LIST`; the default is `switchover`.
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = name.into();
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// [`CacheError`] if the address or an option is wrong, if the server does not answer in time, or if it cannot be
    /// used. That is a replica, a cluster, a wrong password, a user without the right to write, or a server that takes
    /// no writes.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn connect(self) -> Result<Redis, CacheError> {
        let shared = self.shared()?;
        match shared.connect().await {
            Ok(()) => Ok(Redis::new(shared)),
            Err(error) => Err(failed(&shared, error)),
        }
    }

    /// Connects like [`RedisBuilder::connect`]. But if the server does not answer or is not ready, it reports that in
    /// the log, and connects once the server is there. So a service can start while its cache is down, and works
    /// without it.
    ///
    /// # Errors
    ///
    /// [`CacheError`] if the address or an option is wrong, or if the server answered and refused.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn start(self) -> Result<Redis, CacheError> {
        let shared = self.shared()?;
        match shared.connect().await {
            Err(error @ ConnectError::Refused(_)) => return Err(failed(&shared, error)),
            Err(ConnectError::Unreachable(problem)) => shared.note(problem),
            Ok(()) => {}
        }
        Ok(Redis::new(shared))
    }

    fn shared(self) -> Result<Arc<Shared>, CacheError> {
        let Self { address, prefix, client_name, response_timeout, connect_timeout } = self;
        if prefix.len() > PREFIX_BYTES_MAX {
            return Err(CacheError { message: format!("the prefix has more than {PREFIX_BYTES_MAX} bytes") });
        }
        let (client, place, endpoint) = address.client().map_err(|message| CacheError { message })?;
        Ok(Arc::new(Shared::new(client, client_name, (place, endpoint), prefix, (response_timeout, connect_timeout))))
    }
}

/// Leaves out the options, which may hold a password.
impl fmt::Debug for RedisBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBuilder").field("response_timeout", &self.response_timeout).finish_non_exhaustive()
    }
}

impl Redis {
    /// Connects to a server: `redis://[user:password@]host[:port][/db]`, `rediss://…` for TLS with the system's roots,
    /// `redis+unix:///path[?db=1&user=…&pass=…]` for a unix socket. `valkey` can be written for `redis`.
    ///
    /// # Errors
    ///
    /// [`CacheError`] if the address is wrong, if the server does not answer within 250 ms, or if it cannot be used;
    /// the error says which. [`RedisBuilder::start`] does not need a server that answers.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn connect(address: &str) -> Result<Self, CacheError> {
        Self::builder(address).connect().await
    }

    /// Options for the server at `address`.
    pub fn builder(address: &str) -> RedisBuilder {
        RedisBuilder::new(address)
    }
}

fn failed(shared: &Shared, error: ConnectError) -> CacheError {
    CacheError { message: format!("redis at {}: {}", shared.place, error.message()) }
}

/// An address as it was given, and its certificates. It may hold a password, so it has no `Debug`.
#[derive(Clone)]
pub(super) struct Address {
    text: String,
    pub(super) ca_file: Option<PathBuf>,
}

impl Address {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), ca_file: None }
    }

    /// Makes a client, and names its place for people and for traces. Errors never repeat the address.
    pub(super) fn client(&self) -> Result<(Client, String, Endpoint), String> {
        check(&self.text)?;
        let info = self.text.as_str().into_connection_info().map_err(|error| wrong(&error))?;
        let place = match info.addr() {
            ConnectionAddr::Unix(path) => format!("{}, database {}", path.display(), info.redis_settings().db()),
            addr => format!("{addr}, database {}", info.redis_settings().db()),
        };
        let endpoint = Endpoint::of("redis").namespace(info.redis_settings().db().to_string());
        let endpoint = match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                endpoint.server(host, Some(*port))
            }
            ConnectionAddr::Unix(path) => endpoint.server(path.display().to_string(), None),
            _ => endpoint,
        };
        let tls = match info.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                return Err("the address of redis: certificates are always checked; take `#insecure` out".to_owned());
            }
            ConnectionAddr::TcpTls { .. } => true,
            _ => false,
        };
        let settings = info.redis_settings().clone().set_lib_name(CLIENT_NAME, env!("CARGO_PKG_VERSION"));
        let info = info.set_redis_settings(settings).set_tcp_settings(tcp_settings());
        let client = match (&self.ca_file, tls) {
            (Some(_), false) => Err("a file of certificates is for addresses with `rediss:`".to_owned()),
            (Some(path), true) => with_roots(info, path),
            (None, _) => Client::open(info).map_err(|error| wrong(&error)),
        }?;
        if tls {
            // redis-rs uses the process's provider. If the service has already chosen one, it stays.
            let _chosen_before = rustls::crypto::ring::default_provider().install_default();
        }
        Ok((client, place, endpoint))
    }
}

/// Checks what redis-rs ignores.
fn check(address: &str) -> Result<(), String> {
    let is_socket = address.split_once("://").is_some_and(|(scheme, _)| SOCKET.schemes.contains(&scheme));
    let shape = if is_socket { &SOCKET } else { &SERVER };
    // `#insecure` has a message of its own below.
    let checked = shape.check(address.strip_suffix("#insecure").unwrap_or(address));
    checked.map_err(|message| format!("the address of redis: {message}"))
}

fn with_roots(info: ConnectionInfo, path: &Path) -> Result<Client, String> {
    let told = |what: &dyn fmt::Display| format!("the certificates in {}: {what}", path.display());
    let pem = std::fs::read(path).map_err(|error| told(&error))?;
    if !pem.windows(11).any(|at| at == b"-----BEGIN ") {
        return Err(told(&"there are none in PEM"));
    }
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem) };
    Client::build_with_tls(info, certificates).map_err(|error| told(&error.category()))
}

/// By default redis-rs leaves Nagle's algorithm on.
fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true).set_keepalive(TcpKeepalive::new().with_time(KEEPALIVE))
}

fn wrong(error: &RedisError) -> String {
    // The detail of the error may contain a part of the address.
    let forms = "`redis://[user:password@]host[:port][/db]`, `rediss://…` or `redis+unix:///path?db=0`";
    format!("the address of redis is wrong ({}); give {forms}; {ESCAPES}", error.category())
}
