//! Backfill and verification of a large table while saves go on, beside `COPY` of the same table.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use futures_util::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};
use switchover::SessionKey;
use switchover::migration::{Controller, Phase};
use switchover_tests::process::resident_bytes;

use super::clients::{Clients, End, Work, percentile};
use super::site::{Place, Site, TABLE};

#[derive(Args)]
pub(crate) struct Options {
    /// How many sessions there are
    #[arg(long, default_value_t = 1_000_000)]
    rows: u32,
    /// The size of a payload in bytes
    #[arg(long, default_value_t = 1_024)]
    payload: usize,
    /// How many saves a second go on
    #[arg(long, default_value_t = 500.0)]
    saves: f64,
}

const NAME: &str = "sessions";
const SAVED: usize = 5_000;
const PAUSE: Duration = Duration::from_millis(200);

pub(crate) async fn run(options: &Options) -> Result<()> {
    let site = Site::start().await?;
    let place = site.begin(NAME).await?;
    let keys: Arc<[SessionKey]> = (0..SAVED).map(|_| SessionKey::random()).collect();
    site.fill(NAME, &keys, options.payload).await?;
    let mut old = PgConnection::connect(&site.old.url_of(NAME)).await?;
    let fill = format!(
        "INSERT INTO {TABLE} SELECT md5(i::text), repeat(md5(i::text), {}), now() + interval '30 days' \
         FROM generate_series(1, {}) AS i",
        options.payload / 32,
        options.rows
    );
    old.execute(fill.as_str()).await?;
    old.execute(format!("VACUUM ANALYZE {TABLE}").as_str()).await?;
    let copied = copy(&site, &mut old).await?;
    say(&format!("COPY TO into COPY FROM, with the table's indexes: {:.1} s", copied.as_secs_f64()))?;

    let clients = Clients::start(&place.host.sessions(), &keys, (Work::Save, options.payload), 16, Some(options.saves));
    let memory = resident_bytes()?;
    let began = Instant::now();
    place.step(Phase::Mirror).await?;
    let backfilled =
        wait(&place, options, "backfill", async |controller| Ok(controller.document().await?.backfilled.is_some()));
    let most = backfilled.await?;
    let took = began.elapsed();
    say(&format!(
        "backfill beside {:.0} saves/s: {:.1} s, {:.2} of COPY, {:.0} rows/s, memory from {} to at most {} MiB",
        options.saves,
        took.as_secs_f64(),
        took.as_secs_f64() / copied.as_secs_f64(),
        f64::from(options.rows) / took.as_secs_f64(),
        memory >> 20,
        most >> 20
    ))?;
    place.step(Phase::Mirror).await?;
    let began = Instant::now();
    let verified =
        wait(&place, options, "verification", async |controller| Ok(controller.document().await?.verified.is_some()));
    verified.await?;
    let took = began.elapsed();
    say(&format!(
        "verification: {:.1} s, {:.2} of COPY",
        took.as_secs_f64(),
        took.as_secs_f64() / copied.as_secs_f64()
    ))?;
    let calls = clients.stop().await?;
    let failed = calls.iter().filter(|call| call.end != End::Done).count();
    let p99 = percentile(&mut calls.iter().map(|call| call.took).collect::<Vec<_>>(), 0.99);
    say(&format!("{} saves, {failed} failed, p99 {:.1} ms", calls.len(), p99.as_secs_f64() * 1e3))
}

/// Copies the whole table into another one of the new server, by the server's own fastest way.
async fn copy(site: &Site, old: &mut PgConnection) -> Result<Duration> {
    let mut new = PgConnection::connect(&site.new.url_of(NAME)).await?;
    let make = "CREATE TABLE copied (session_key varchar(40) PRIMARY KEY, session_data text NOT NULL, \
                expire_date timestamptz NOT NULL); CREATE INDEX ON copied (expire_date); \
                CREATE INDEX ON copied (session_key varchar_pattern_ops)";
    new.execute(make).await?;
    let began = Instant::now();
    let mut rows = old.copy_out_raw(&format!("COPY {TABLE} TO STDOUT")).await?;
    let mut sink = new.copy_in_raw("COPY copied FROM STDIN").await?;
    while let Some(part) = rows.next().await {
        sink.send(part?).await?;
    }
    sink.finish().await?;
    drop(rows);
    let took = began.elapsed();
    new.execute("DROP TABLE copied; CHECKPOINT").await?;
    Ok(took)
}

/// Waits for a job, and shows how far it is. Returns the most memory that this process had.
async fn wait(
    place: &Place,
    options: &Options,
    what: &'static str,
    is_done: impl AsyncFn(&Controller) -> Result<bool>,
) -> Result<u64> {
    let controller = place.controller.as_ref().context("no migration")?;
    let style = ProgressStyle::with_template("{msg} {bar:32} {pos}/{len}, {eta} left")?;
    let bar = ProgressBar::new(u64::from(options.rows)).with_style(style).with_message(what);
    let mut most = 0;
    while !is_done(controller).await? {
        most = most.max(resident_bytes()?);
        let done = controller.status().await?.jobs.iter().map(|job| job.progress.done).max();
        bar.set_position(done.unwrap_or_default());
        tokio::time::sleep(PAUSE).await;
    }
    bar.finish_and_clear();
    Ok(most)
}

fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
