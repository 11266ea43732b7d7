//! A connection pooler in front of PostgreSQL. In session mode it works. In transaction mode it is refused, and no
//! setting is left on it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use switchover_backends::Postgres;
use switchover_core::capabilities::{Database, DatabaseError, Write, WriteOutcome};
use tempfile::TempDir;

use super::fixture::{eventually, load, new_table, soon, write};

/// PgBouncer with its default settings except the mode.
struct Pooler {
    process: Child,
    url: String,
    _folder: TempDir,
}

impl Pooler {
    async fn start(mode: &str) -> Result<Self> {
        let server = switchover_harness::Postgres::shared().await?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = TempDir::new()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let settings = folder.path().join("pgbouncer.ini");
        let (host, server_port) = (server.address().ip(), server.address().port());
        fs::write(
            &settings,
            format!(
                "[databases]\npostgres = host={host} port={server_port} user=postgres\n[pgbouncer]\n\
                 listen_addr = 127.0.0.1\n\
                 listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n"
            ),
        )?;
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
        let mut command = Command::new("pgbouncer");
        // It refuses to run as root.
        command.env("PATH", path).args(["-q", "-u", "nobody"]).arg(&settings).stderr(Stdio::null());
        let process = command.spawn().context("pgbouncer is needed (Debian: apt-get install pgbouncer)")?;
        let pooler = Self { process, url: format!("postgres://postgres@127.0.0.1:{port}/postgres"), _folder: folder };
        eventually("pgbouncer answers", async || Ok(pooler.settings().await.is_ok())).await?;
        Ok(pooler)
    }

    async fn settings(&self) -> Result<Vec<String>> {
        let address = self.url.parse::<sqlx::postgres::PgConnectOptions>()?.extra_float_digits(None);
        let mut connection = PgConnection::connect_with(&address).await?;
        let mut found = Vec::new();
        for name in ["lock_timeout", "enable_seqscan", "plan_cache_mode", "statement_timeout", "jit"] {
            let row = connection.fetch_one(sqlx::raw_sql(&format!("SHOW {name}"))).await?;
            found.push(format!("{name} {}", row.try_get::<String, _>(0)?));
        }
        connection.close().await?;
        Ok(found)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pooler_in_session_mode_serves_with_its_default_settings() -> Result<()> {
    let pooler = Pooler::start("session").await?;
    let database = Postgres::builder(&pooler.url).table(new_table()).connect().await?;
    database.upkeep().create_schema(soon()).await?;
    let far = switchover_core::expires_in(Duration::from_secs(60));
    let session = super::fixture::session("aaaaaaaa", "v1", far);
    let inserted = write(&database, Write::Insert(session.clone())).await?;
    assert_eq!(inserted, WriteOutcome::Done(Some(session.clone())));
    assert_eq!(load(&database, &session.key).await?, Some(session));
    assert_eq!(database.upkeep().statistics(soon()).await?.rows, 1);
    database.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pooler_in_transaction_mode_is_refused_and_nothing_is_left_on_it() -> Result<()> {
    for mode in ["transaction", "statement"] {
        let pooler = Pooler::start(mode).await?;
        let before = pooler.settings().await?;
        for _ in 0..3 {
            let refused = Postgres::builder(&pooler.url).connect().await.err().context("it must be refused")?;
            let DatabaseError::Unavailable { message } = refused else { panic!("{refused}") };
            assert!(message.contains("pooler in transaction mode"), "{message}");
        }
        for _ in 0..4 {
            assert_eq!(pooler.settings().await?, before, "left behind");
        }
    }
    Ok(())
}
