//! Where and on what was measured: machine, versions of the servers, and what they promise of a commit.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};

use super::site::Site;

const DURABILITY: [&str; 5] = ["fsync", "full_page_writes", "synchronous_commit", "wal_sync_method", "shared_buffers"];
const FLUSHES: usize = 31;

pub(crate) struct Facts {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) memory_mib: u64,
    /// Of the minute before the run: what else the machine was busy with.
    pub(crate) load_before: String,
    /// How long the disk under the servers takes to keep 8 KiB.
    pub(crate) flush: Duration,
    pub(crate) postgres: Vec<(String, String)>,
    pub(crate) redis: Vec<(String, String)>,
}

impl Facts {
    pub(crate) async fn of(site: &Site) -> Result<Self> {
        let line = |path: &str, start: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
            line.split_once(':').map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
        };
        let memory_kib = line("/proc/meminfo", "MemTotal");
        Ok(Self {
            processor: line("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism()?.get(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            memory_mib: memory_kib.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0)
                / 1_024,
            load_before: load_average(),
            flush: flush_time()?,
            postgres: both_postgres(site).await?,
            redis: redis_facts(site).await?,
        })
    }
}

/// Of the last minute.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// The median time of a small write with its flush, in the temporary folder, where the servers' data are.
fn flush_time() -> Result<Duration> {
    let mut file = tempfile::tempfile()?;
    let mut times = Vec::new();
    for _ in 0..FLUSHES {
        let begun = Instant::now();
        file.write_all(&[1; 8_192])?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[FLUSHES / 2])
}

/// They are started with the same settings, which is checked.
async fn both_postgres(site: &Site) -> Result<Vec<(String, String)>> {
    let (old, new) = (postgres(&site.old.url()).await?, postgres(&site.new.url()).await?);
    ensure!(old == new, "the two servers have different settings: {old:?} and {new:?}");
    Ok(old)
}

async fn postgres(address: &str) -> Result<Vec<(String, String)>> {
    let mut told = Vec::new();
    let mut connection = PgConnection::connect(address).await?;
    for name in ["server_version"].into_iter().chain(DURABILITY) {
        let row = sqlx::query(&format!("SHOW {name}")).fetch_one(&mut connection).await?;
        told.push((name.to_owned(), row.try_get(0)?));
    }
    Ok(told)
}

async fn redis_facts(site: &Site) -> Result<Vec<(String, String)>> {
    let mut connection = redis::Client::open(site.cache.url())?.get_multiplexed_async_connection().await?;
    let server: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
    let version = server.lines().find_map(|line| line.strip_prefix("redis_version:")).context("a version")?;
    let mut told = vec![("version".to_owned(), version.trim().to_owned())];
    for name in ["appendonly", "save"] {
        let answer: Vec<String> = redis::cmd("CONFIG").arg("GET").arg(name).query_async(&mut connection).await?;
        let value = answer.get(1).filter(|value| !value.is_empty()).map_or("never", String::as_str);
        told.push((name.to_owned(), value.to_owned()));
    }
    Ok(told)
}
