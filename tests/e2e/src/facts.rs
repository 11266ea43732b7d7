//! Where and on what a benchmark was run: the machine, the versions of the servers, and how durable their commits are.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};

const POSTGRES: [&str; 5] = ["fsync", "full_page_writes", "synchronous_commit", "wal_sync_method", "shared_buffers"];
const MARIADB: [&str; 3] = ["innodb_flush_log_at_trx_commit", "innodb_flush_method", "innodb_buffer_pool_size"];
const FLUSHES: usize = 31;

/// Names with values, in the order of the report.
pub type Settings = Vec<(String, String)>;

/// The machine of a measurement.
pub struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    memory_mib: u64,
    /// The load in the minute before the run, which shows what else the machine was busy with.
    load_before: String,
    /// How long the disk under the servers takes to flush 8 KiB.
    flush: Duration,
}

impl Machine {
    /// Reads the facts of this machine. This writes a little to the temporary folder.
    ///
    /// # Errors
    ///
    /// If the kernel does not report them, or the temporary folder cannot be written.
    pub fn look() -> Result<Self> {
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
        })
    }

    /// The facts in one line, with the present load beside the load before.
    pub fn line(&self) -> String {
        format!(
            "{}, {} cores, {} MiB, Linux {}; load average {} before, {} after; a flush of 8 KiB takes {:.2} ms",
            self.processor,
            self.cores,
            self.memory_mib,
            self.kernel,
            self.load_before,
            load_average(),
            self.flush.as_secs_f64() * 1e3
        )
    }

    /// The facts as a JSON object.
    pub fn json(&self) -> Value {
        json!({"processor": self.processor, "cores": self.cores, "memory_mib": self.memory_mib, "kernel": self.kernel,
            "load_before": self.load_before, "load_after": load_average(), "flush_ms": self.flush.as_secs_f64() * 1e3})
    }
}

/// The load average of the last minute.
fn load_average() -> String {
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

/// Version and durability of a PostgreSQL server.
///
/// # Errors
///
/// If the server does not answer.
pub async fn postgres(address: &str) -> Result<Settings> {
    let mut settings = Vec::new();
    let mut connection = PgConnection::connect(address).await?;
    for name in ["server_version"].into_iter().chain(POSTGRES) {
        let row = sqlx::query(&format!("SHOW {name}")).fetch_one(&mut connection).await?;
        settings.push((name.to_owned(), row.try_get(0)?));
    }
    Ok(settings)
}

/// Version and durability of a MariaDB server.
///
/// # Errors
///
/// If the server does not answer.
pub async fn mariadb(address: &str) -> Result<Settings> {
    let mut settings = Vec::new();
    let mut connection = MySqlConnection::connect(address).await?;
    for name in ["version"].into_iter().chain(MARIADB) {
        let row = sqlx::query(&format!("SELECT CAST(@@{name} AS CHAR)")).fetch_one(&mut connection).await?;
        settings.push((name.to_owned(), row.try_get(0)?));
    }
    Ok(settings)
}

/// Version of a Redis server, and its settings of persistence.
///
/// # Errors
///
/// If the server does not answer.
pub async fn redis(address: &str) -> Result<Settings> {
    let mut connection = redis::Client::open(address)?.get_multiplexed_async_connection().await?;
    let server: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
    let version = server.lines().find_map(|line| line.strip_prefix("redis_version:")).context("a version")?;
    let mut settings = vec![("version".to_owned(), version.trim().to_owned())];
    for name in ["appendonly", "save"] {
        let answer: Vec<String> = redis::cmd("CONFIG").arg("GET").arg(name).query_async(&mut connection).await?;
        let value = answer.get(1).filter(|value| !value.is_empty()).map_or("never", String::as_str);
        settings.push((name.to_owned(), value.to_owned()));
    }
    Ok(settings)
}
