//! How busy a server says it is, as `pg_stat_activity`, a real receiver of the log and MariaDB's status see it; and that a
//! user who may not see it is told nothing, and not zero.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sqlx::{Connection as _, Executor as _, MySqlConnection, PgConnection};
use switchover_backends::{MySql, Postgres, Sqlite};
use switchover_core::capabilities::{Database as _, IntoDatabase as _, Strain};
use switchover_harness::MariaDb;
use tempfile::TempDir;

use super::fixture::{eventually, soon};

/// Statements that run for longer than the test.
const STATEMENTS: u64 = 5;
const LOG_BYTES: u64 = 4 << 20;

/// `pg_receivewal`: a replica that only stores the log.
struct Receiver {
    process: Child,
    _folder: TempDir,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Receiver {
    fn start(url: &str) -> Result<Self> {
        let folder = TempDir::new()?;
        let mut command = Command::new(program("pg_receivewal")?);
        command.args(["--no-loop", "--synchronous", "--status-interval=1", "--dbname", url, "--directory"]);
        command.arg(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { process: command.spawn()?, _folder: folder })
    }

    fn signal(&self, name: &str) -> Result<()> {
        ensure!(Command::new("kill").args([name, &self.process.id().to_string()]).status()?.success());
        Ok(())
    }
}

/// A program of PostgreSQL, from where the harness takes the others.
fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::var_os("SWITCHOVER_POSTGRES_BIN").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folders = own.into_iter().chain(std::env::split_paths(&path)).chain(installed.map(|at| at.path().join("bin")));
    let mut found = folders.map(|folder| folder.join(name)).filter(|path: &PathBuf| Path::exists(path));
    found.next().with_context(|| format!("{name} is needed (Debian: apt-get install postgresql-client)"))
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_counts_statements_of_others_and_bytes_that_a_receiver_lacks() -> Result<()> {
    let server = switchover_harness::Postgres::start().await?;
    let mut raw = PgConnection::connect(&server.url()).await?;
    raw.execute(
        "CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data text NOT NULL, \
                 expire_date timestamptz NOT NULL); CREATE INDEX ON django_session (expire_date); \
                 CREATE ROLE limited LOGIN; GRANT ALL ON django_session TO limited; CREATE TABLE load (t text)",
    )
    .await?;
    let database = Postgres::connect(&server.url()).await?;
    let limited = Postgres::connect(&server.url().replacen("postgres@", "limited@", 1)).await?;
    let strain = async || Ok::<_, anyhow::Error>(database.upkeep().strain(soon()).await?);
    ensure!(strain().await? == Strain::NONE, "nobody works there: {:?}", strain().await?);

    let mut working = Vec::new();
    for _ in 0..STATEMENTS {
        let mut other = PgConnection::connect(&server.url()).await?;
        working.push(tokio::spawn(async move { other.execute("SELECT pg_sleep(60)").await.map(drop) }));
    }
    eventually("they are counted", async || Ok(strain().await?.active == Some(STATEMENTS))).await?;
    let told = limited.upkeep().strain(soon()).await?;
    ensure!(told.active.is_none(), "a user who may not see them is told a number: {told:?}");
    raw.execute("GRANT pg_read_all_stats TO limited").await?;
    ensure!(limited.upkeep().strain(soon()).await?.active == Some(STATEMENTS));

    let receiver = Receiver::start(&server.url())?;
    let connected = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'";
    let mut raw = PgConnection::connect(&server.url()).await?;
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    while raw.fetch_optional(connected).await?.is_none() {
        ensure!(tokio::time::Instant::now() < until, "the receiver does not stream");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    eventually("it has everything", async || Ok(strain().await?.behind.is_some_and(|bytes| bytes < LOG_BYTES))).await?;
    receiver.signal("-STOP")?;
    for _ in 0..2 {
        raw.execute("INSERT INTO load SELECT repeat('x', 1000) FROM generate_series(1, 5000)").await?;
    }
    eventually("it lacks some", async || Ok(strain().await?.behind.is_some_and(|bytes| bytes > LOG_BYTES))).await?;
    raw.execute("REVOKE pg_read_all_stats FROM limited").await?;
    let told = limited.upkeep().strain(soon()).await?;
    ensure!(told.behind.is_none(), "a user who may not see replicas is told a number: {told:?}");
    receiver.signal("-CONT")?;
    eventually("it has everything again", async || Ok(strain().await?.behind.is_some_and(|bytes| bytes < LOG_BYTES)))
        .await?;
    working.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_counts_statements_and_does_not_claim_to_know_its_replicas() -> Result<()> {
    let server = MariaDb::start().await?;
    let mut raw = MySqlConnection::connect(&server.url()).await?;
    raw.execute(
        "CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data longtext NOT NULL, \
                 expire_date datetime(6) NOT NULL, KEY (expire_date))",
    )
    .await?;
    let database = MySql::connect(&server.url()).await?;
    let strain = async || Ok::<_, anyhow::Error>(database.upkeep().strain(soon()).await?);
    let before = strain().await?.active.context("the server tells it")?;
    let mut working = Vec::new();
    for _ in 0..STATEMENTS {
        let mut other = MySqlConnection::connect(&server.url()).await?;
        working.push(tokio::spawn(async move { other.execute("SELECT SLEEP(60)").await.map(drop) }));
    }
    eventually("they are counted", async || Ok(strain().await?.active >= Some(before.max(STATEMENTS)))).await?;
    ensure!(strain().await?.behind.is_none());
    working.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn file_is_never_busy() -> Result<()> {
    let folder = TempDir::new()?;
    let file = Sqlite::builder(folder.path().join("s")).create_if_missing(true).open().await?.into_database();
    ensure!(file.upkeep().strain(soon()).await? == Strain::NONE);
    Ok(())
}
