//! An HTTP client that writes what a test gives it: a connection for each request.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use switchover_harness::Certificates;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    tls: Option<TlsConnector>,
}

impl Client {
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    /// Trusts this authority, PEM.
    pub(crate) fn tls(address: SocketAddr, authority: &str) -> Self {
        Self::of_tls(address, authority, |config| config.with_no_client_auth())
    }

    /// As [`Client::tls`], with a certificate of its own.
    pub(crate) fn tls_as(address: SocketAddr, authority: &str, own: &Certificates) -> Self {
        Self::of_tls(address, authority, |config| {
            let certificate = CertificateDer::from_pem_slice(own.certificate().as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(own.key().as_bytes()).unwrap();
            config.with_client_auth_cert(vec![certificate], key).unwrap()
        })
    }

    fn of_tls(
        address: SocketAddr,
        authority: &str,
        known: impl FnOnce(ConfigBuilder<ClientConfig, WantsClientCert>) -> ClientConfig,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = known(config.with_root_certificates(roots));
        Self { address, tls: Some(TlsConnector::from(Arc::new(config))) }
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        self.try_ask(method, path, headers, body).await.unwrap()
    }

    pub(crate) async fn try_ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> io::Result<Answer> {
        let headers = format!("{headers}Content-Length: {}\r\n", body.len());
        self.send(method, path, &headers, body).await
    }

    /// Without a length.
    pub(crate) async fn raw(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        self.send(method, path, headers, body).await.unwrap()
    }

    async fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> io::Result<Answer> {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
        let request = [head.as_bytes(), body].concat();
        let stream = TcpStream::connect(self.address).await?;
        match &self.tls {
            None => exchange(stream, &request).await,
            Some(tls) => {
                let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                exchange(tls.connect(name, stream).await?, &request).await
            }
        }
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> io::Result<Answer> {
    stream.write_all(request).await?;
    let mut received = Vec::new();
    // A server that refuses a body may close before it has read all of it.
    let read = stream.read_to_end(&mut received).await;
    let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Err(read.err().unwrap_or_else(|| io::Error::other("no answer")));
    };
    let head = String::from_utf8_lossy(&received[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(Answer {
        status: status.ok_or_else(|| io::Error::other("no status"))?,
        headers: headers.collect(),
        body: received[end + 4..].to_vec(),
    })
}
