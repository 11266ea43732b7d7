//! A TCP proxy whose faults are switched while connections are open.

mod connection;
mod counts;
mod faults;
mod upstream;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::JoinHandle;

use counts::Counters;
use faults::{Cut, Faults};

pub use counts::Counts;
pub use faults::{Direction, End};
pub use upstream::Upstream;

/// Connections at a time. More connections wait, as at a server with a full backlog.
const CONNECTIONS_MAX: usize = 1_024;

/// A proxy at a free port of 127.0.0.1 before any server.
///
/// Without faults it forwards everything as it comes, also ends and resets. A fault applies to open and to new
/// connections, from the call that switches it on until [`Proxy::heal`]. For each connection, at most 64 pieces of 16
/// KiB wait in the proxy in each direction; then the proxy stops reading.
///
/// It runs in the runtime that started it. Dropping it closes its port and its connections.
pub struct Proxy {
    shared: Arc<Shared>,
    faults: watch::Sender<Faults>,
    address: SocketAddr,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// The state of the proxy that its connections share.
struct Shared {
    upstream: Upstream,
    counters: Counters,
    cut: std::sync::Mutex<[Option<Cut>; 2]>,
    places: Arc<Semaphore>,
}

impl Proxy {
    /// Starts a proxy before a server: [`Server::address`](crate::Server::address), any other address, or the path of
    /// a unix socket. The server does not have to run yet.
    ///
    /// # Errors
    ///
    /// If no port is free.
    pub async fn start(upstream: impl Into<Upstream>) -> anyhow::Result<Proxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("the proxy has no port")?;
        let address = listener.local_addr()?;
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let cut = std::sync::Mutex::default();
        let shared = Arc::new(Shared { upstream: upstream.into(), counters: Counters::default(), cut, places });
        let faults = watch::Sender::new(Faults::default());
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared), faults.subscribe()));
        Ok(Proxy { shared, faults, address, accepting: Mutex::new(Some(accepting)) })
    }

    /// The address at which it listens. It stays the same.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a server's address with host and port of the proxy instead of the server's.
    ///
    /// # Errors
    ///
    /// If `url` names no host.
    pub fn url_of(&self, url: &str) -> anyhow::Result<String> {
        let (scheme, rest) = url.split_once("://").context("an address begins with `scheme://`")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        ensure!(!host.is_empty(), "this address names no host that a proxy could replace");
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        Ok(format!("{scheme}://{user}{}{path}", self.address))
    }

    /// Each piece arrives this much later, plus a random part of `jitter`. The throughput stays the same, and pieces
    /// overtake neither each other nor the end of the stream.
    pub fn delay(&self, direction: Direction, delay: Duration, jitter: Duration) {
        self.change(direction, |flow| (flow.delay, flow.jitter) = (delay, jitter));
    }

    /// Each connection carries at most this many bytes a second; 0 counts as 1.
    pub fn throttle(&self, direction: Direction, bytes_per_second: u32) {
        self.change(direction, |flow| flow.bytes_per_second = Some(bytes_per_second.max(1)));
    }

    /// A black hole: the proxy reads nothing and forwards nothing, not even an end. It accepts new connections and
    /// treats them in the same way.
    pub fn hold(&self, direction: Direction) {
        self.change(direction, |flow| flow.held = true);
    }

    /// Counts `bytes` more bytes in this direction, over all connections together, and then ends the connection that
    /// carries the last of them. With 0 it ends the connection that carries the next byte. This happens once; the other
    /// connections and new ones continue. With [`Direction::Both`] it happens once in each direction.
    pub fn cut_after(&self, direction: Direction, bytes: u64, end: End) {
        let mut cut = self.shared.cut();
        for way in direction.ways() {
            cut[*way as usize] = Some(Cut { bytes, end });
        }
    }

    /// Ends this direction of all open connections: the receiver sees the end of the stream, and the proxy does not
    /// read what the sender still sends. The other direction continues.
    pub fn half_close(&self, direction: Direction) {
        self.change(direction, |flow| flow.half_closes += 1);
    }

    /// Ends all open connections with RST, at both sides. New connections work.
    pub fn reset(&self) {
        self.faults.send_modify(|faults| faults.resets += 1);
    }

    /// Refuses new connections, as when nobody listens at the port. Open connections continue.
    pub async fn refuse(&self) {
        if let Some(accepting) = self.accepting.lock().await.take() {
            accepting.abort();
            // The end of the task closes the port.
            let _ = accepting.await;
        }
    }

    /// Ends all faults. Ended connections stay ended; held bytes are forwarded.
    ///
    /// # Errors
    ///
    /// If another program has taken the port while connections were refused.
    pub async fn heal(&self) -> anyhow::Result<()> {
        let mut accepting = self.accepting.lock().await;
        if accepting.is_none() {
            let listener = TcpListener::bind(self.address).await.context("the proxy has lost its port")?;
            *accepting = Some(tokio::spawn(accept(listener, Arc::clone(&self.shared), self.faults.subscribe())));
        }
        *self.shared.cut() = Default::default();
        self.faults.send_modify(Faults::heal);
        Ok(())
    }

    /// What has passed the proxy since its start or since [`Proxy::reset_counts`].
    pub fn counts(&self) -> Counts {
        self.shared.counters.read()
    }

    /// Starts to count again from zero.
    pub fn reset_counts(&self) {
        self.shared.counters.reset();
    }

    fn change(&self, direction: Direction, change: impl Fn(&mut faults::Flow)) {
        self.faults.send_modify(|faults| {
            for way in direction.ways() {
                change(&mut faults.flows[*way as usize]);
            }
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections end when the sender of the faults is dropped.
        if let Some(accepting) = self.accepting.get_mut().take() {
            accepting.abort();
        }
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "proxy at {} before {:?}", self.address, self.shared.upstream)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, faults: watch::Receiver<Faults>) {
    while let Ok(place) = Arc::clone(&shared.places).acquire_owned().await {
        // An error concerns one connection, or is a lack of descriptors that may pass.
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (shared, faults) = (Arc::clone(&shared), faults.clone());
        tokio::spawn(async move {
            connection::serve(client, &shared, faults).await;
            drop(place);
        });
    }
}

/// Ends a connection with RST instead of an orderly end.
fn reset(stream: &TcpStream) {
    // This fails for a connection that has already ended.
    let _ = stream.set_zero_linger();
}
