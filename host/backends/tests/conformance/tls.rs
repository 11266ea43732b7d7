//! TLS with certificates that are wrong in every usual way: the message, and whether its remedy works.

use anyhow::{Context, Result};
use switchover_backends::{MySql, Postgres, Redis};
use switchover_harness::{Builder, Certificates, MariaDb, Server};

/// X.509 version 1, for `localhost`, self-signed; made for this test by `openssl x509 -req -signkey`.
const V1: &str = include_str!("../certificates/v1.pem");
const V1_KEY: &str = include_str!("../certificates/v1.key");

#[derive(Clone, Copy, Debug)]
enum Kind {
    Postgres,
    MariaDb,
    Redis,
}

const KINDS: [Kind; 3] = [Kind::Postgres, Kind::MariaDb, Kind::Redis];

impl Kind {
    async fn start(self, certificates: &Certificates) -> Result<Server> {
        let builder: Builder = match self {
            Self::Postgres => switchover_harness::Postgres::builder(),
            Self::MariaDb => MariaDb::builder(),
            Self::Redis => switchover_harness::Redis::builder(),
        };
        builder.tls(certificates).start().await
    }

    /// Connects with full verification against the authority in `file`.
    async fn connect(self, server: &Server, authority: &std::path::Path) -> Result<(), String> {
        let url = server.tls_url().map_err(|error| error.to_string())?;
        let told = server.authority().map_err(|error| error.to_string())?;
        let url = url.replace(&*told.to_string_lossy(), &authority.to_string_lossy());
        match self {
            Self::Redis => {
                Redis::builder(&url).ca_file(authority).connect().await.map(drop).map_err(|error| error.message)
            }
            Self::Postgres | Self::MariaDb => self.connect_to(&url).await,
        }
    }

    async fn connect_to(self, url: &str) -> Result<(), String> {
        match self {
            Self::Postgres => Postgres::connect(url).await.map(drop).map_err(|error| error.to_string()),
            Self::MariaDb => MySql::connect(url).await.map(drop).map_err(|error| error.to_string()),
            Self::Redis => Redis::connect(url).await.map(drop).map_err(|error| error.message),
        }
    }

    /// How to give an authority, and how to connect without TLS.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Postgres => ("sslrootcert", "sslmode=disable"),
            Self::MariaDb => ("ssl-ca", "ssl-mode=DISABLED"),
            Self::Redis => ("ca_file", "redis:"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_wrong_certificate_is_told_with_its_remedy() -> Result<()> {
    for kind in KINDS {
        let (authority, without) = kind.words();
        let v1 = Certificates::from_pem(V1, V1, V1_KEY);
        for (certificates, told) in [
            (Certificates::for_name("elsewhere.example")?, vec!["is for another name", "subjectAltName"]),
            (Certificates::expired()?, vec!["has expired", "renew it"]),
            (Certificates::self_signed(true)?, vec!["CA:TRUE", "CA:FALSE", authority]),
            (v1, vec!["X.509 version 1", "subjectAltName", without]),
        ] {
            let server = kind.start(&certificates).await?;
            let refused = kind.connect(&server, &server.authority()?).await.err();
            let refused = refused.with_context(|| format!("{kind:?} took what is wrong: {told:?}"))?;
            assert!(told.iter().all(|words| refused.contains(words)), "{kind:?}: {refused}");
        }

        let server = kind.start(&Certificates::self_signed(false)?).await?;
        // The remedy of the third, and an authority that did not sign the server's certificate.
        assert_eq!(kind.connect(&server, &server.authority()?).await, Ok(()), "{kind:?}");
        let foreign = server.authority()?.with_file_name("foreign.pem");
        std::fs::write(&foreign, Certificates::generate()?.authority())?;
        let refused = kind.connect(&server, &foreign).await.err().context("nobody knows this authority")?;
        assert!(refused.contains("whom this machine trusts") && refused.contains(authority), "{kind:?}: {refused}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificate_of_version_1_stops_also_what_does_not_check_it() -> Result<()> {
    let certificates = Certificates::from_pem(V1, V1, V1_KEY);
    for (kind, lenient, without) in [
        (Kind::Postgres, "sslmode=prefer", "sslmode=disable"),
        (Kind::MariaDb, "ssl-mode=PREFERRED", "ssl-mode=DISABLED"),
    ] {
        let server = kind.start(&certificates).await?;
        let refused = kind.connect_to(&format!("{}?{lenient}", server.url())).await.err();
        let refused = refused.with_context(|| format!("{kind:?} can be reached by {lenient}"))?;
        assert!(refused.contains("X.509 version 1") && refused.contains(without), "{kind:?}: {refused}");
        assert_eq!(kind.connect_to(&format!("{}?{without}", server.url())).await, Ok(()), "{kind:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checking_the_authority_checks_the_name_too() -> Result<()> {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let server = kind.start(&Certificates::for_name("elsewhere.example")?).await?;
        let url = server.tls_url()?.replace("verify-full", "verify-ca").replace("VERIFY_IDENTITY", "VERIFY_CA");
        let refused = kind.connect_to(&url).await.err().context("the name is not looked at")?;
        assert!(refused.contains("another name"), "{kind:?}: {refused}");
    }
    Ok(())
}
