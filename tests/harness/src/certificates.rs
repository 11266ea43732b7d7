//! Certificates for TLS in tests.

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// A new authority, and a certificate signed by it for `localhost` and `127.0.0.1`.
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
    /// Makes an authority, and a certificate signed by it.
    ///
    /// # Errors
    ///
    /// If the system has no random numbers.
    pub fn generate() -> anyhow::Result<Certificates> {
        signed(CertificateParams::new(names())?)
    }

    /// As [`Certificates::generate`], for a name other than the server's.
    ///
    /// # Errors
    ///
    /// If `name` cannot stand in a certificate, or as [`Certificates::generate`].
    pub fn for_name(name: &str) -> anyhow::Result<Certificates> {
        signed(CertificateParams::new([name.to_owned()])?)
    }

    /// As [`Certificates::generate`], with a validity that ended long ago.
    ///
    /// # Errors
    ///
    /// As [`Certificates::generate`].
    pub fn expired() -> anyhow::Result<Certificates> {
        let mut params = CertificateParams::new(names())?;
        (params.not_before, params.not_after) = (date_time_ymd(2016, 1, 1), date_time_ymd(2016, 12, 31));
        signed(params)
    }

    /// A self-signed certificate that is its own authority. With `authority` it is marked as an authority, as by
    /// `openssl req -x509`.
    ///
    /// # Errors
    ///
    /// As [`Certificates::generate`].
    pub fn self_signed(authority: bool) -> anyhow::Result<Certificates> {
        let mut params = CertificateParams::new(names())?;
        params.is_ca = if authority { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Certificates { authority: certificate.clone(), certificate, key: key.serialize_pem() })
    }

    /// Certificates from elsewhere, in PEM.
    pub fn from_pem(authority: &str, certificate: &str, key: &str) -> Certificates {
        Certificates { authority: authority.to_owned(), certificate: certificate.to_owned(), key: key.to_owned() }
    }

    /// The authority's certificate in PEM, which clients must trust. A server that was started with these certificates
    /// also has it as a file: [`Server::authority`](crate::Server::authority).
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
    /// Prints without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

fn names() -> [String; 2] {
    ["localhost".to_owned(), "127.0.0.1".to_owned()]
}

fn signed(mut server: CertificateParams) -> anyhow::Result<Certificates> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "authority of a test");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?).context("no authority")?;
    server.distinguished_name.push(DnType::CommonName, "localhost");
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &authority).context("no certificate")?;
    Ok(Certificates { authority: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
}
