//! Watches a policy's file, and swaps the policy when the content of the file has changed, while calls continue.
//!
//! `cargo run --release -p switchover --example hot_swap -- POLICY.wasm [CHANGES]`
//!
//! Build a policy over the file in another terminal and watch. The example ends with Ctrl-C, or after the given number
//! of changes. The content at the start counts as the first one. Sessions are in memory, in the databases `default` and
//! `new_session_store`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use switchover::backends::{MemoryCache, MemoryDatabase};
use switchover::{Builtin, Error, Payload, Policy, Sessions, Switchover, expires_in};

/// The pause between two reads of the file. A change takes effect once two successive reads agree, so that a
/// half-written file does not.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// The host refuses a longer file anyway.
const FILE_BYTES_MAX: u64 = (32 << 20) + 1;
const VISIT_PAUSE: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().context("usage: hot_swap POLICY.wasm [CHANGES]")?);
    let changes_max: u64 = match arguments.next() {
        Some(number) => number.parse().context("CHANGES is a number")?,
        None => u64::MAX,
    };
    let switchover = Switchover::builder()
        .database("default", MemoryDatabase::new())
        .database("new_session_store", MemoryDatabase::new())
        .cache(MemoryCache::default())
        .policy(Policy::builtin(Builtin::CachedDb))
        .build()
        .await?;
    println!("{} runs; watching {}", switchover.policy().version, path.display());

    let counts = Arc::new(Counts::default());
    let visitor = tokio::spawn(visit(switchover.sessions(), Arc::clone(&counts)));
    watch(&switchover, path, changes_max, &counts).await?;
    switchover.close().await;
    visitor.await?
}

#[derive(Default)]
struct Counts {
    calls: AtomicU64,
    failed: AtomicU64,
}

/// Swaps the policy at each change of the file's content.
async fn watch(switchover: &Switchover, path: PathBuf, changes_max: u64, counts: &Counts) -> Result<()> {
    let (mut seen, mut used) = (None, None);
    let mut changes = 0;
    while changes < changes_max {
        tokio::time::sleep(LOOK_PAUSE).await;
        let look = path.clone();
        let found = tokio::task::spawn_blocking(move || read(&look)).await?.ok();
        if let Some(content) = &found
            && found == seen
            && found != used
        {
            // Swaps in the bytes that were read, not the file, which may have changed again.
            match switchover.swap_policy(Policy::bytes(content.as_slice())).await {
                Ok(version) => println!("swapped to {version}"),
                Err(error) => println!("{error}; {} goes on", switchover.policy().version),
            }
            let (calls, failed) = (counts.calls.load(Ordering::Relaxed), counts.failed.load(Ordering::Relaxed));
            println!("  {calls} calls so far, {failed} failed");
            used.clone_from(&found);
            changes += 1;
        }
        seen = found;
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut content)?;
    Ok(content)
}

/// Logs in, reads, saves and logs out, until the host is closed.
async fn visit(sessions: Sessions, counts: Arc<Counts>) -> Result<()> {
    let payload = Payload::from("a visitor");
    loop {
        match visit_once(&sessions, &payload, &counts).await {
            Ok(()) => {}
            Err(Error::Closed) => return Ok(()),
            Err(error) => {
                counts.failed.fetch_add(1, Ordering::Relaxed);
                println!("  a call failed: {error}");
            }
        }
        tokio::time::sleep(VISIT_PAUSE).await;
    }
}

async fn visit_once(sessions: &Sessions, payload: &Payload, counts: &Counts) -> Result<(), Error> {
    let counted = || counts.calls.fetch_add(1, Ordering::Relaxed);
    let key = sessions.create(payload.clone(), expires_in(MINUTE)).await?;
    counted();
    sessions.load(&key).await?;
    counted();
    sessions.save(&key, payload.clone(), expires_in(MINUTE)).await?;
    counted();
    sessions.delete(&key).await?;
    counted();
    Ok(())
}
