//! TLS of the server: its certificate, and the authority whose certificates callers must have.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum_server::tls_rustls::RustlsConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::error::ServeError;

/// The files of TLS, PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate, and then those that lead to its authority.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// The authority whose certificates callers must have. `None`: callers need no certificate.
    pub client_ca: Option<PathBuf>,
}

impl Tls {
    pub(crate) fn load(&self) -> Result<RustlsConfig, ServeError> {
        Ok(RustlsConfig::from_config(Arc::new(self.config()?)))
    }

    pub(crate) fn config(&self) -> Result<ServerConfig, ServeError> {
        let provider = Arc::new(ring::default_provider());
        let wrong = |what: &str, path: &Path, error: &dyn std::fmt::Display| {
            ServeError::new(format!("the {what} {} cannot be used: {error}", path.display()))
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| ServeError::new(format!("TLS cannot be used: {error}")))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let of_callers = |error: &dyn std::fmt::Display| wrong("authority of callers", path, error);
                let mut roots = RootCertStore::empty();
                for root in certificates(path).map_err(|error| of_callers(&error))? {
                    roots.add(root).map_err(|error| of_callers(&error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| of_callers(&error))?)
            }
        };
        let chain = certificates(&self.cert).map_err(|error| wrong("certificate", &self.cert, &error))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| wrong("private key", &self.key, &error))?;
        let mut config =
            builder.with_single_cert(chain, key).map_err(|error| wrong("certificate", &self.cert, &error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    CertificateDer::pem_file_iter(path)?.collect()
}
