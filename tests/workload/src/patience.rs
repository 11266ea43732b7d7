//! Tries again while a server is away: the demo's own steps must survive what the calls of its visitors may fail from.

use std::time::{Duration, Instant};

use anyhow::Result;

/// How long a database or a cache may be away during the demo.
pub const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(200);

/// Tries until it succeeds, for at most [`PATIENCE`]. Then the last error says why, and `what` says what was tried.
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
