//! The server: its unix socket and its TCP port, and how it ends without an error for anybody.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::accept::{DefaultAcceptor, NoDelayAcceptor};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Address, Control, Handle};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Doors;
use crate::bound::Bounded;
use crate::error::ServeError;
use crate::tls::Tls;
use crate::trace::Scheme;

/// How long the head of a request may take to arrive, and the first request of a connection.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// How many connections are open at most, if nothing else is said.
pub const CONNECTIONS_MAX: usize = 10_000;
/// How long a handshake of TLS may take.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);

const HTTP: Scheme = Scheme("http");
const HTTPS: Scheme = Scheme("https");

/// A unix socket. Its mode and its group say who may call.
#[derive(Clone, Debug)]
pub struct UnixDoor {
    /// Its path.
    pub path: PathBuf,
    /// Its mode, 0o600 for the user of the server alone.
    pub mode: u32,
    /// The number of its group; `None`: the one that the system gives it.
    pub group: Option<u32>,
}

/// A server with its doors open. Each door answers from when it was opened.
pub struct Server {
    doors: Doors,
    control: Control,
    tasks: JoinSet<io::Result<()>>,
    places: Arc<Semaphore>,
    sockets: Vec<PathBuf>,
    tls: Vec<(Tls, RustlsConfig)>,
}

impl Server {
    /// A server without a door yet, which `/readyz` of these doors speaks for. It takes at most [`CONNECTIONS_MAX`]
    /// connections at a time.
    pub fn new(doors: Doors) -> Self {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Self { doors, control: Control::new(), tasks: JoinSet::new(), places, sockets: Vec::new(), tls: Vec::new() }
    }

    /// Bounds the connections that are open at a time, over the doors that are opened from now on. What comes beyond
    /// is closed at once.
    #[must_use]
    pub fn with_connections_max(mut self, max: usize) -> Self {
        self.places = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        self
    }

    /// Opens a unix socket with these routes, for everyone whom its mode lets in. A socket that a dead server left there
    /// is replaced.
    ///
    /// # Errors
    ///
    /// Another server listens there, or the socket cannot be made.
    pub fn unix(&mut self, door: &UnixDoor, routes: Router) -> Result<(), ServeError> {
        let path = &door.path;
        let failed =
            |error: io::Error| ServeError::new(format!("the socket {} cannot be made: {error}", path.display()));
        match path.symlink_metadata() {
            Ok(_) if UnixStream::connect(path).is_ok() => {
                return Err(ServeError::new(format!("another server listens at {}", path.display())));
            }
            Ok(there) if !std::os::unix::fs::FileTypeExt::is_socket(&there.file_type()) => {
                return Err(ServeError::new(format!("{} is there, and is not a socket: remove it", path.display())));
            }
            Ok(_) | Err(_) => {}
        }
        let listener = bound(door).map_err(failed)?;
        let server = axum_server::from_unix(listener).map_err(failed)?;
        self.sockets.push(path.clone());
        let server = ready(server).handle(Handle::with_control(self.control.clone()));
        let server = server.acceptor(self.bounded(DefaultAcceptor::new(), HTTP));
        self.tasks.spawn(server.serve(routes.into_make_service()));
        Ok(())
    }

    /// Opens a port with these routes. Returns the address with the port that the system chose if `address` has the
    /// port 0.
    ///
    /// # Errors
    ///
    /// The address is taken, or the files of TLS cannot be used.
    pub fn tcp(&mut self, address: SocketAddr, routes: Router, tls: Option<&Tls>) -> Result<SocketAddr, ServeError> {
        let failed = |error: io::Error| ServeError::new(format!("{address} cannot be listened at: {error}"));
        let config = tls.map(|tls| Ok::<_, ServeError>((tls.clone(), tls.load()?))).transpose()?;
        let listener = TcpListener::bind(address).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let server = ready(axum_server::from_tcp(listener).map_err(failed)?);
        let server = server.handle(Handle::with_control(self.control.clone()));
        match &config {
            Some((_, config)) => {
                let acceptor = RustlsAcceptor::new(config.clone()).handshake_timeout(HANDSHAKE_WAIT);
                let acceptor = self.bounded(acceptor, HTTPS);
                self.tasks.spawn(server.acceptor(acceptor).serve(routes.into_make_service()));
            }
            None => {
                let acceptor = self.bounded(NoDelayAcceptor::new(), HTTP);
                self.tasks.spawn(server.acceptor(acceptor).serve(routes.into_make_service()));
            }
        }
        self.tls.extend(config);
        Ok(bound)
    }

    fn bounded<A>(&self, acceptor: A, scheme: Scheme) -> Bounded<A> {
        Bounded { acceptor, places: Arc::clone(&self.places), scheme }
    }

    /// Reads the files of TLS again; new connections have them.
    ///
    /// # Errors
    ///
    /// They cannot be used. The ones before stay.
    pub fn reload_tls(&self) -> Result<(), ServeError> {
        for (files, config) in &self.tls {
            config.reload_from_config(Arc::new(files.config()?));
        }
        Ok(())
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.control.connection_count()
    }

    /// Waits until a door ends by itself, which none should. It never returns while all are well.
    ///
    /// Cancel safety: a door whose end was seen is not seen again.
    pub async fn failed(&mut self) -> ServeError {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => ServeError::new(format!("a door ended: {error}")),
            Some(Err(error)) => ServeError::new(format!("a door ended: {error}")),
            Some(Ok(Ok(()))) => ServeError::new("a door ended, and nobody asked for it".to_owned()),
            None => std::future::pending().await,
        }
    }

    /// Ends without an error for anybody: `/readyz` fails for `ready_delay`, so that load balancers send nothing more;
    /// then no connection is accepted, and those that there are end after their request. After `drain_wait` the rest is
    /// cut. The host itself stays open: close it then.
    ///
    /// # Errors
    ///
    /// A door ended by itself, before or now.
    pub async fn end(mut self, ready_delay: Duration, drain_wait: Duration) -> Result<(), ServeError> {
        self.doors.end();
        tokio::time::sleep(ready_delay).await;
        for path in self.sockets {
            // Another server may have taken its place meanwhile; then this one is not asked any more anyway.
            let _ = std::fs::remove_file(path);
        }
        self.control.graceful_shutdown(Some(drain_wait));
        while let Some(ended) = self.tasks.join_next().await {
            let ended = ended.map_err(io::Error::other).and_then(|ended| ended);
            ended.map_err(|error| ServeError::new(format!("a door ended: {error}")))?;
        }
        Ok(())
    }
}

/// A server that speaks HTTP/1 and waits for no slow caller for long.
fn ready<A: Address>(server: axum_server::Server<A>) -> axum_server::Server<A> {
    let mut server = server.http1_only().first_request_timeout(HEAD_WAIT);
    server.http_builder().http1().header_read_timeout(HEAD_WAIT);
    server
}

/// A listener whose socket has its group and mode before anybody can reach it: it is made in a folder of its own, and
/// moved.
fn bound(UnixDoor { path, mode, group }: &UnixDoor) -> io::Result<UnixListener> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The path of a socket has at most 107 bytes.
    let hidden = tempfile::Builder::new().prefix(".s").rand_bytes(4).tempdir_in(folder)?;
    let made = hidden.path().join("s");
    let listener = UnixListener::bind(&made)?;
    if group.is_some() {
        std::os::unix::fs::chown(&made, None, *group)?;
    }
    std::fs::set_permissions(&made, std::fs::Permissions::from_mode(*mode))?;
    std::fs::rename(&made, path)?;
    Ok(listener)
}
