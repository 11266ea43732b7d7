//! Processor time and memory of this process, for the benchmarks.

use std::time::Duration;

use anyhow::{Context as _, Result};

/// Processor time of all threads of this process, with the scheduler's own precision. The time of a thread that has
/// ended is not included.
///
/// # Errors
///
/// If the kernel does not report it.
pub fn processor_time() -> Result<Duration> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        // A thread that has ended in the meantime has no file any more.
        let Ok(ran) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        nanoseconds += ran.split_whitespace().next().context("a number in schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Resident memory of this process.
///
/// # Errors
///
/// If the kernel does not report it.
pub fn resident_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS in /proc/self/status")?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse::<u64>()? * 1_024)
}
