//! Processes that end with their test.

use std::process::{Child, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Longer than anything takes that goes well, also where everything else is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A process. It is killed when this is dropped.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// Ends the visit of all visitors, and returns what they counted.
    pub(crate) fn told(&mut self) -> Result<Value> {
        drop(self.0.stdin.take());
        let stdout = self.0.stdout.take().context("the visitors count on standard output")?;
        Ok(serde_json::from_reader(stdout)?)
    }

    /// Waits for its end.
    pub(crate) fn ends(&mut self) -> Result<ExitStatus> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < give_up, "it goes on");
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
