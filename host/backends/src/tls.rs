//! Explains why TLS with a server failed, and what to do about it.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use rustls::{CertificateError, Error};

/// How a user configures TLS for a backend.
pub(super) struct Words {
    /// Where to give the certificate of an authority.
    pub(super) authority: &'static str,
    /// How to connect without TLS.
    pub(super) without: &'static str,
}

impl Words {
    /// Says what is wrong and how to correct it; `None`: TLS is not the cause.
    pub(super) fn explain(&self, error: &(dyn StdError + 'static)) -> Option<String> {
        let error = find(error)?;
        let Error::InvalidCertificate(refused) = error else { return Some(format!("TLS: {error}")) };
        Some(format!("TLS: the server's certificate {}", self.certificate(refused)))
    }

    fn certificate(&self, refused: &CertificateError) -> String {
        let Self { authority, without } = self;
        match refused {
            CertificateError::UnknownIssuer => {
                format!(
                    "is signed by nobody whom this machine trusts: give the certificate of its authority by {authority}"
                )
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "is for another name: connect by a name that stands in it, or give the server a certificate whose \
                 `subjectAltName` has the name or the IP address of the address"
                    .to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "has expired by this machine's clock: renew it, and restart or reload the server".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "is not valid yet by this machine's clock: set the clock right".to_owned()
            }
            // rustls has no variants for these two.
            CertificateError::Other(other) if other.to_string() == "UnsupportedCertVersion" => format!(
                "is X.509 version 1, which cannot be read: make one of version 3, as `openssl req -x509` does with \
                 `-addext subjectAltName=DNS:HOST -addext basicConstraints=critical,CA:FALSE`; or, in a network that \
                 you trust, {without}"
            ),
            CertificateError::Other(other) if other.to_string() == "CaUsedAsEndEntity" => format!(
                "is one of an authority (`CA:TRUE`, as self-signed ones are unless told otherwise): give the server \
                 one that an authority signed, and the authority's by {authority}; or sign it by itself with \
                 `-addext basicConstraints=critical,CA:FALSE`, and give that one"
            ),
            other => format!("is not accepted: {other}"),
        }
    }
}

/// Finds rustls's error among the causes. Each driver wraps it differently.
fn find<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>() {
            Some(wrapping) => wrapping.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
            None => match error.downcast_ref::<Arc<dyn StdError + Send + Sync>>() {
                Some(shared) => Some(&**shared as &(dyn StdError + 'static)),
                None => error.source(),
            },
        };
    }
    None
}
