//! A client of HTTP/1.1 for the exporter: one connection for a batch, with TLS by rustls. The clients that the exporter
//! has to offer bring other HTTP stacks.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use axum::http::header::HOST;
use axum::http::uri::Scheme;
use axum::http::{HeaderValue, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;

use super::environment::Environment;

/// The longest answer of a collector that is read: it says how many spans it refused, and why.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Sends requests in tasks of the runtime that it was made in: the exporter has a thread of its own without one.
#[derive(Clone, Debug)]
pub(super) struct Client {
    runtime: Handle,
    tls: Arc<ClientConfig>,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(environment: &Environment) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        match &environment.certificate {
            None => {
                // Without any, an address with `https` is refused when it is first used.
                let _ignored = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Some(path) => {
                let told = || format!("traces: the certificates in {} cannot be used", path.display());
                let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
                let (added, _) = roots.add_parsable_certificates(read.with_context(told)?);
                ensure!(added > 0, "{}: there are none in PEM", told());
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let tls = Arc::new(tls.with_root_certificates(roots).with_no_client_auth());
        Ok(Self { runtime: Handle::current(), tls, timeout: environment.timeout })
    }

    async fn send(self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let uri = request.uri().clone();
        let host = uri.host().ok_or("the endpoint has no host")?.trim_matches(['[', ']']);
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await?;
        if is_tls {
            let name = ServerName::try_from(host.to_owned())?;
            exchange(TlsConnector::from(self.tls).connect(name, stream).await?, request, &uri).await
        } else {
            exchange(stream, request, &uri).await
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, timeout) = (self.clone(), self.timeout);
        let sent = self.runtime.spawn(async move {
            let late = |_| HttpError::from(io::Error::from(io::ErrorKind::TimedOut));
            tokio::time::timeout(timeout, client.send(request)).await.map_err(late)?
        });
        sent.await?
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut request: Request<Bytes>,
    uri: &Uri,
) -> Result<Response<Bytes>, HttpError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the answer, or with the sender.
    tokio::spawn(connection);
    let authority = uri.authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    request.headers_mut().insert(HOST, HeaderValue::try_from(authority.unwrap_or_default())?);
    *request.uri_mut() = uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    let (head, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
    Ok(Response::from_parts(head, body))
}
