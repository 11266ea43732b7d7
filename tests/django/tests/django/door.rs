//! Django on a server of Switchover: the engine and the router of `host/clients/django`, through Django's own tests of
//! engines and the client's.

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use switchover::backends::MemoryCache;
use switchover::{Builtin, Policy};
use switchover_server::{Doors, Server, UnixDoor};
use tempfile::TempDir;

use super::environment::{DJANGO_5_2, DJANGO_6_0, DJANGO_6_1, Environment, NO_NEWER};
use super::place::{Kind, Place, host};

/// The Django package.
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../host/clients/django");
/// Tests of the client, and of Django itself; the client's have Django's mixin for engines.
const SUITES: &[&str] = &["test_engine", "test_router", "sessions_tests.tests.SessionMiddlewareTests"];
/// How many tests there are at least: if a name changes, fewer would run, and nobody would see it.
const RUN_AT_LEAST: usize = 160;

/// Each Django on each kind of server.
///
/// Not on SQLite: one of Django's tests writes the file within a transaction of its own that has read before, while the
/// server writes it.
macro_rules! djangos {
    ($($name:ident: $django:expr,)*) => { $(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn runs_on_the_server_with_postgres() -> anyhow::Result<()> {
                super::runs_on_the_server(&$django, super::Kind::Postgres).await
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn runs_on_the_server_with_mariadb() -> anyhow::Result<()> {
                super::runs_on_the_server(&$django, super::Kind::MariaDb).await
            }
        }
    )* };
}
djangos! {
    django_5_2: super::DJANGO_5_2,
    django_6_0: super::DJANGO_6_0,
    django_6_1: super::DJANGO_6_1,
}

async fn runs_on_the_server(django: &'static Environment, kind: Kind) -> Result<()> {
    if !django.can_be_had() {
        return not_run(django, kind);
    }
    let place = Place::with_table(kind).await?;
    let builder = host(Policy::builtin(Builtin::CachedDb)).cache(MemoryCache::default());
    let switchover = builder.database("default", place.open().await?).build().await?;
    let folder = TempDir::new()?;
    let socket = folder.path().join("s");
    let doors = Doors::new(&switchover);
    let mut server = Server::new(doors.clone());
    server.unix(&UnixDoor { path: socket.clone(), mode: 0o600, group: None }, doors.routes())?;

    let database = place.django().to_string();
    let run = move |arguments: &[&str]| manage(django, arguments, &socket, &database);
    tokio::task::spawn_blocking(move || {
        run(&["check", "--database", "default", "--fail-level", "WARNING"])?;
        let printed = run(&[&["test", "--keepdb"], SUITES].concat())?;
        let ran = printed.lines().find_map(|line| line.strip_prefix("Ran ")?.split(' ').next()?.parse::<usize>().ok());
        ensure!(ran.is_some_and(|ran| ran >= RUN_AT_LEAST) && !printed.contains("skipped"), "{printed}");
        Ok(())
    })
    .await??;
    server.end(std::time::Duration::ZERO, std::time::Duration::from_secs(5)).await?;
    switchover.close().await;
    Ok(())
}

/// Says so where nobody overlooks it: a test that passes shows nothing that it prints by `println`.
fn not_run(django: &Environment, kind: Kind) -> Result<()> {
    let version = django.version()?;
    writeln!(io::stderr(), "not run: Django {version} with {kind:?}: {NO_NEWER}").context("nobody hears of it")
}

/// Runs a command of Django, and returns what it printed.
fn manage(django: &Environment, arguments: &[&str], socket: &Path, database: &str) -> Result<String> {
    let path = [format!("{CLIENT}/src"), format!("{CLIENT}/tests"), django.suite()?.display().to_string()].join(":");
    let output = Command::new(django.python()?)
        .args(["-B", "-W", "error::ResourceWarning", "-m", "django"])
        .args(arguments)
        .args(["--settings", "settings"])
        .env("PYTHONPATH", path)
        .env("SWITCHOVER_SOCKET", socket)
        .env("DJANGO_DATABASE", database)
        .env_remove("DJANGO_SETTINGS_MODULE")
        .current_dir(CLIENT)
        .output()?;
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{arguments:?}:\n{printed}");
    Ok(printed)
}
