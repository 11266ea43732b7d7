//! The server behind a proxy.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Where the server behind a proxy listens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Upstream {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over a unix socket.
    Unix(PathBuf),
}

impl From<SocketAddr> for Upstream {
    fn from(address: SocketAddr) -> Upstream {
        Upstream::Tcp(address)
    }
}

impl From<PathBuf> for Upstream {
    fn from(path: PathBuf) -> Upstream {
        Upstream::Unix(path)
    }
}

/// A connection to the server.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

type Reading<'a> = Box<dyn AsyncRead + Send + Unpin + 'a>;
type Writing<'a> = Box<dyn AsyncWrite + Send + Unpin + 'a>;

impl Upstream {
    pub(super) async fn connect(&self) -> io::Result<Stream> {
        match self {
            Upstream::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Upstream::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
        }
    }
}

impl Stream {
    pub(super) fn split(&mut self) -> (Reading<'_>, Writing<'_>) {
        match self {
            Stream::Tcp(stream) => {
                let (reading, writing) = stream.split();
                (Box::new(reading), Box::new(writing))
            }
            Stream::Unix(stream) => {
                let (reading, writing) = stream.split();
                (Box::new(reading), Box::new(writing))
            }
        }
    }

    /// Ends it with RST. A unix socket has no RST: its end is always orderly.
    pub(super) fn reset(&self) {
        if let Stream::Tcp(stream) = self {
            super::reset(stream);
        }
    }
}
