//! Trying again while a server is away: the demo's own steps outlive what the calls of its visitors may fail by.

use std::time::{Duration, Instant};

use anyhow::Result;

/// How long a database or a cache may be away in the middle of the story.
pub const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(200);

/// Tries until it works, or for [`PATIENCE`]; the last error then says why, and `what` what it was about.
pub async fn patiently<T>(what: &'static str, mut attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) if Instant::now() >= give_up => return Err(error.context(what)),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
