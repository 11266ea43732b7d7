//! Certificates for TLS in tests.

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

/// An authority of its own and a certificate by it for `localhost` and `127.0.0.1`, made anew each time.
///
/// ```
/// let certificates = switchover_harness::Certificates::generate()?;
/// assert!(certificates.authority().starts_with("-----BEGIN CERTIFICATE-----"));
/// # anyhow::Ok(())
/// ```
#[derive(Clone)]
pub struct Certificates {
    authority: String,
    certificate: String,
    key: String,
}

impl Certificates {
    /// Makes an authority, and a certificate by it.
    ///
    /// # Errors
    ///
    /// If the system has no random numbers.
    pub fn generate() -> anyhow::Result<Certificates> {
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "authority of a test");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?).context("no authority")?;
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut server = CertificateParams::new(names)?;
        server.distinguished_name.push(DnType::CommonName, "localhost");
        let key = KeyPair::generate()?;
        let certificate = server.signed_by(&key, &authority).context("no certificate")?;
        Ok(Certificates { authority: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// The authority's certificate in PEM, which clients must trust. A server that was started with it has it as a
    /// file too: [`Server::authority`](crate::Server::authority).
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The server's certificate in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The server's private key in PEM.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl std::fmt::Debug for Certificates {
    /// Leaves out the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}
