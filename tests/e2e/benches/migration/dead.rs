//! Calls while the database that a phase does not need is gone, and after it has come back.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, ValueEnum};
use switchover::migration::Phase;
use switchover::{Limits, SessionKey};
use switchover_tests::report::table;

use super::clients::{Call, Clients, End, Work, percentile};
use super::site::Site;

/// How a database is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    /// SIGKILL: connections are reset, new ones refused.
    Kill,
    /// SIGSTOP: nothing answers.
    Pause,
}

#[derive(Args)]
pub(crate) struct Options {
    /// How long it runs before the database is gone, and while it is
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// How many calls at a time
    #[arg(long, default_value_t = 24)]
    at_once: usize,
    /// The size of a payload in bytes
    #[arg(long, default_value_t = 400)]
    payload: usize,
    /// How many sessions to use
    #[arg(long, default_value_t = 10_000)]
    sessions: usize,
    /// How the database is gone; can be given several times
    #[arg(long, value_name = "HOW", default_values_t = [Way::Kill, Way::Pause], value_enum)]
    how: Vec<Way>,
}

/// How long it is watched after the database has come back.
const AFTER: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);

pub(crate) async fn run(options: &Options) -> Result<()> {
    let mut shown = table(&[
        "phase",
        "gone",
        "calls/s before",
        "while",
        "p99 ms before",
        "while",
        "ratio",
        "failed",
        "unknown",
        "longest beyond its deadline ms",
        "whole again after s",
    ]);
    for how in &options.how {
        for (phase, is_new) in [(Phase::Mirror, true), (Phase::Reverse, false)] {
            let site = Site::start().await?;
            let keys: Arc<[SessionKey]> = (0..options.sessions.max(1)).map(|_| SessionKey::random()).collect();
            let place = site.in_phase("sessions", phase, &keys, options.payload).await?;
            let server = if is_new { &site.new } else { &site.old };
            let length = Duration::from_secs_f64(options.seconds);
            let work = (Work::Mixed, options.payload);
            let clients = Clients::start(&place.host.sessions(), &keys, work, options.at_once, None);
            // The first second connects.
            tokio::time::sleep(SECOND).await;
            let began = Instant::now();
            tokio::time::sleep(length).await;
            let gone = Instant::now();
            match how {
                Way::Kill => server.kill().await?,
                Way::Pause => server.pause().await?,
            }
            tokio::time::sleep(length).await;
            let back = Instant::now();
            match how {
                Way::Kill => server.restart().await?,
                Way::Pause => server.resume().await?,
            }
            tokio::time::sleep(AFTER).await;
            let calls = clients.stop().await?;
            let within =
                |from: Instant, to: Instant| calls.iter().filter(move |call| call.began >= from && call.began < to);
            let rate = |from, to: Instant| within(from, to).count() as f64 / (to - from).as_secs_f64();
            let p99 = |from, to| {
                percentile(&mut within(from, to).map(|call| call.took).collect::<Vec<_>>(), 0.99).as_secs_f64() * 1e3
            };
            let (before, during) = (p99(began, gone), p99(gone, back));
            let count = |end| within(gone, back).filter(|call| call.end == end).count().to_string();
            let whole = (0..AFTER.as_secs()).find(|second| {
                let from = back + SECOND * u32::try_from(*second).unwrap_or_default();
                rate(from, from + SECOND) >= 0.9 * rate(began, gone)
            });
            shown.add_row([
                phase.to_string(),
                format!("{} by {how:?}", if is_new { "new" } else { "old" }),
                format!("{:.0}", rate(began, gone)),
                format!("{:.0}", rate(gone, back)),
                format!("{before:.2}"),
                format!("{during:.2}"),
                format!("{:.2}", during / before),
                count(End::Failed),
                count(End::Unknown),
                format!("{:.0}", beyond(&calls).as_secs_f64() * 1e3),
                whole.map_or("not within 20".to_owned(), |second| second.to_string()),
            ]);
        }
    }
    writeln!(std::io::stdout(), "{shown}")?;
    Ok(())
}

/// How much longer than its deadline the slowest call took.
fn beyond(calls: &[Call]) -> Duration {
    let limits = Limits::default();
    let deadline = |call: &Call| if call.writes { limits.write_deadline } else { limits.read_deadline };
    calls.iter().map(|call| call.took.saturating_sub(deadline(call))).max().unwrap_or_default()
}
