//! Measures the memory of 1,024 calls in flight. Each contestant runs in a process of its own, since a process does not
//! give memory back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use switchover_tests::process::resident_bytes;

use super::contestant::{Contestant, Kind};
use super::load::{Data, Workload, slice};
use super::options::Options;
use super::site::Place;

const AT_ONCE: usize = 1_024;
const LENGTH: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(10);

/// Resident memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// After connecting, with one call at a time.
    pub(crate) idle: u64,
    /// The most memory above that, with 1,024 calls at a time.
    pub(crate) growth: u64,
}

/// Runs this program again for one contestant.
pub(crate) async fn measure_apart(kind: Kind, place: &Place, options: &Options) -> Result<Memory> {
    let kind = clap::ValueEnum::to_possible_value(&kind).context("a kind has a name")?.get_name().to_owned();
    let (payload, sessions) = (options.payload.to_string(), options.sessions.to_string());
    let arguments = [
        ["--memory-of", &kind],
        ["--old", &place.old],
        ["--new", &place.new],
        ["--cache", &place.cache],
        ["--payload", &payload],
        ["--sessions", &sessions],
    ];
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args(arguments.concat());
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    ensure!(output.status.success(), "no memory of {kind}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<u64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [idle, growth] = numbers[..] else { anyhow::bail!("not two numbers: {text}") };
    Ok(Memory { idle, growth })
}

/// The measurement in that process: hits and saves of sessions that it adds. It prints two numbers to standard output.
pub(crate) async fn measure_here(kind: Kind, options: &Options) -> Result<()> {
    use std::io::Write as _;
    let address = |address: &Option<String>| address.clone().context("an address");
    let place = Place { old: address(&options.old)?, new: address(&options.new)?, cache: address(&options.cache)? };
    let data = Arc::new(Data::new(options));
    place.fill(&data).await?;
    let contestant = Arc::new(Contestant::open(kind, &place).await?);
    let work = async |at_once| {
        for workload in [Workload::Hit, Workload::Save] {
            let worked = slice(&contestant, workload, &data, at_once, LENGTH, 0).await?;
            ensure!(worked.failed == 0, "{} calls failed: {:?}", worked.failed, worked.error);
        }
        Ok(())
    };
    work(1).await?;
    let idle = resident_bytes()?;
    let (most, done) = (AtomicU64::new(idle), AtomicBool::new(false));
    let watch = async {
        while !done.load(Ordering::Relaxed) {
            most.fetch_max(resident_bytes()?, Ordering::Relaxed);
            tokio::time::sleep(LOOK).await;
        }
        anyhow::Ok(())
    };
    let busy = async {
        let worked = work(AT_ONCE).await;
        done.store(true, Ordering::Relaxed);
        worked
    };
    let (watched, worked) = tokio::join!(watch, busy);
    watched.and(worked)?;
    let growth = most.load(Ordering::Relaxed).saturating_sub(idle);
    writeln!(std::io::stdout(), "{idle} {growth}")?;
    Ok(())
}
