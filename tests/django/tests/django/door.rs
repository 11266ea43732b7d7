//! Django on a server of Switchover: the engine and the router of `host/clients/django`, through Django's own tests of
//! engines and the client's.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use switchover::backends::MemoryCache;
use switchover::{Builtin, Policy};
use switchover_server::{Doors, Server, UnixDoor};
use tempfile::TempDir;

use super::environment::{python, suite};
use super::place::{Kind, Place, host};

/// The Django package.
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../host/clients/django");
/// How many tests there are at least: if a name changes, fewer would run, and nobody would see it.
const RUN_AT_LEAST: usize = 160;

// Not on SQLite: one of Django's tests writes the file within a transaction of its own that has read before, while the
// server writes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn django_runs_on_the_server_with_postgres() -> Result<()> {
    django_runs_on_the_server(Kind::Postgres).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn django_runs_on_the_server_with_mariadb() -> Result<()> {
    django_runs_on_the_server(Kind::MariaDb).await
}

async fn django_runs_on_the_server(kind: Kind) -> Result<()> {
    let place = Place::with_table(kind).await?;
    let builder = host(Policy::builtin(Builtin::CachedDb)).cache(MemoryCache::default());
    let switchover = builder.database("default", place.open().await?).build().await?;
    let folder = TempDir::new()?;
    let socket = folder.path().join("s");
    let doors = Doors::new(&switchover);
    let mut server = Server::new(doors.clone());
    server.unix(&UnixDoor { path: socket.clone(), mode: 0o600, group: None }, doors.routes())?;

    let database = place.django().to_string();
    let (printed, succeeded) = tokio::task::spawn_blocking(move || tested(&socket, &database)).await??;
    ensure!(succeeded, "{printed}");
    let ran = printed.lines().find_map(|line| line.strip_prefix("Ran ")?.split(' ').next()?.parse::<usize>().ok());
    ensure!(ran.is_some_and(|ran| ran >= RUN_AT_LEAST) && !printed.contains("skipped"), "{printed}");
    server.end(std::time::Duration::ZERO, std::time::Duration::from_secs(5)).await?;
    switchover.close().await;
    Ok(())
}

/// Runs the tests, and returns what they printed and whether all passed.
fn tested(socket: &Path, database: &str) -> Result<(String, bool)> {
    let path = [format!("{CLIENT}/src"), format!("{CLIENT}/tests"), suite()?.display().to_string()].join(":");
    let output = Command::new(python()?)
        .args(["-B", "-W", "error::ResourceWarning", "-m", "django", "test", "--keepdb", "--settings", "settings"])
        .args(["test_engine", "test_router", "sessions_tests.tests.SessionMiddlewareTests"])
        .env("PYTHONPATH", path)
        .env("SWITCHOVER_SOCKET", socket)
        .env("DJANGO_DATABASE", database)
        .env_remove("DJANGO_SETTINGS_MODULE")
        .current_dir(CLIENT)
        .output()?;
    let printed = [output.stdout, output.stderr].concat();
    Ok((String::from_utf8_lossy(&printed).into_owned(), output.status.success()))
}
