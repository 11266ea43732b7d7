//! The API under Schemathesis, which makes requests from the OpenAPI document, right ones and wrong ones, and knows what
//! each answer must be.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use switchover::backends::{MemoryCache, MemoryDatabase};
use switchover::{Builtin, Layout, Policy, Switchover};
use switchover_server::{Doors, Server, Tokens};
use tempfile::TempDir;

use super::environment::schemathesis;

/// For each operation, besides the limits of each parameter.
const EXAMPLES: &str = "30";
/// How many requests there are at least: if the document could not be read, there would be few.
const REQUESTS_AT_LEAST: u64 = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_that_a_machine_makes_up_breaks_the_server_or_its_document() -> Result<()> {
    let switchover = Switchover::builder()
        .database("default", MemoryDatabase::with_layout(Layout::SWITCHOVER))
        .cache(MemoryCache::default())
        .policy(Policy::builtin(Builtin::CachedDb))
        .build()
        .await?;
    let made = Tokens::make().context("no random numbers")?;
    let doors = Doors::new(&switchover).with_metrics(|| "switchover_ready 1\n".to_owned());
    let mut server = Server::new(doors.clone());
    let routes = doors.routes_with_tokens(&Tokens::parse(&made.line)?);
    let bound = server.tcp(SocketAddr::from(([127, 0, 0, 1], 0)), routes, None)?;
    let folder = TempDir::new()?;
    let into = folder.path().to_owned();
    let (printed, succeeded) = tokio::task::spawn_blocking(move || fuzzed(bound, &made.token, &into)).await??;
    ensure!(succeeded, "{printed}");
    let requests = printed.lines().find_map(|line| line.trim().split_once(" generated, ")?.0.parse::<u64>().ok());
    ensure!(requests.is_some_and(|requests| requests >= REQUESTS_AT_LEAST), "{printed}");
    server.end(Duration::ZERO, Duration::from_secs(5)).await?;
    switchover.close().await;
    Ok(())
}

/// Runs it, and returns what it printed and whether every answer was right.
fn fuzzed(bound: SocketAddr, token: &str, folder: &Path) -> Result<(String, bool)> {
    let output = Command::new(schemathesis()?)
        .args(["run", &format!("http://{bound}/v1/openapi.json"), "-H", &format!("Authorization: Bearer {token}")])
        // With the token in every request, none is without one.
        .args(["--checks", "all", "--exclude-checks", "ignored_auth"])
        .args(["--max-examples", EXAMPLES, "--seed", "1", "--generation-database", "none", "--no-color"])
        .current_dir(folder)
        .output()
        .context("schemathesis cannot be run")?;
    let printed = [output.stdout, output.stderr].concat();
    Ok((String::from_utf8_lossy(&printed).into_owned(), output.status.success()))
}
