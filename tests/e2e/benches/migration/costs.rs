//! What a call costs in each phase, beside a host without a migration.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use switchover::SessionKey;
use switchover::migration::Phase;
use switchover_tests::report::table;

use super::clients::{Clients, End, Work};
use super::site::{Place, Site};

#[derive(Args)]
pub(crate) struct Options {
    /// The length of one slice
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// How many slices each contestant gets
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// How many calls at a time; can be given several times
    #[arg(long, value_name = "N", default_values_t = [1, 64])]
    at_once: Vec<usize>,
    /// The size of a payload in bytes
    #[arg(long, default_value_t = 400)]
    payload: usize,
    /// How many sessions to use
    #[arg(long, default_value_t = 10_000)]
    sessions: usize,
}

/// Those without a migration come first: the others are compared with one of them.
const PLAIN: usize = 0;
const STRICT: usize = 1;
const PHASES: [(Phase, usize); 6] = [
    (Phase::Off, PLAIN),
    (Phase::Mirror, PLAIN),
    (Phase::Strict, STRICT),
    (Phase::Cutover, STRICT),
    (Phase::Reverse, PLAIN),
    (Phase::Complete, PLAIN),
];

pub(crate) async fn run(options: &Options) -> Result<()> {
    let site = Site::start().await?;
    let keys: Arc<[SessionKey]> = (0..options.sessions.max(1)).map(|_| SessionKey::random()).collect();
    let mut places = vec![
        site.without("without_plain", false, &keys, options.payload).await?,
        site.without("without_strict", true, &keys, options.payload).await?,
    ];
    let mut names = vec!["without, plain".to_owned(), "without, strict".to_owned()];
    for (phase, _) in PHASES {
        places.push(site.in_phase(&format!("in_{phase}"), phase, &keys, options.payload).await?);
        names.push(phase.to_string());
    }
    let style = ProgressStyle::with_template("{bar:32} {pos}/{len} slices, {eta} left  {msg}")?;
    let slices = 2 * options.at_once.len() * (options.rounds + 1) * places.len();
    let bar = ProgressBar::new(slices as u64).with_style(style);
    let mut shown = table(&["call", "at once", "", "calls/s", "ms/call", "time beside it", "beside"]);
    for work in [Work::Save, Work::Load] {
        for at_once in &options.at_once {
            let times = measure(&places, &keys, (work, *at_once), options, &bar).await?;
            for (at, of_place) in times.iter().enumerate() {
                // A load has no second database to write.
                let other = if at < 2 || work == Work::Load { PLAIN } else { PHASES[at - 2].1 };
                let mut ratios: Vec<f64> = of_place.iter().zip(&times[other]).map(|(one, other)| one / other).collect();
                let [low, middle, high] = spread(&mut ratios);
                let [_, time, _] = spread(&mut of_place.clone());
                shown.add_row([
                    format!("{work:?}").to_lowercase(),
                    at_once.to_string(),
                    names[at].clone(),
                    format!("{:.0}", *at_once as f64 / time),
                    format!("{:.3}", time * 1e3),
                    format!("{middle:.2} ({low:.2}–{high:.2})"),
                    names[other].clone(),
                ]);
            }
        }
    }
    bar.finish_and_clear();
    writeln!(std::io::stdout(), "{shown}")?;
    Ok(())
}

/// The seconds that a call of each contestant took, round by round.
async fn measure(
    places: &[Place],
    keys: &Arc<[SessionKey]>,
    (work, at_once): (Work, usize),
    options: &Options,
    bar: &ProgressBar,
) -> Result<Vec<Vec<f64>>> {
    let mut times = vec![Vec::new(); places.len()];
    // The first round connects and prepares statements.
    for round in 0..=options.rounds {
        for turn in 0..places.len() {
            let at = (round + turn) % places.len();
            let sessions = places[at].host.sessions();
            let began = std::time::Instant::now();
            let clients = Clients::start(&sessions, keys, (work, options.payload), at_once, None);
            tokio::time::sleep(Duration::from_secs_f64(options.seconds)).await;
            let calls = clients.stop().await?;
            let took = began.elapsed().as_secs_f64();
            let failed = calls.iter().filter(|call| call.end != End::Done).count();
            ensure!(failed == 0, "{failed} calls failed");
            if round > 0 {
                times[at].push(took * at_once as f64 / calls.len() as f64);
            }
            bar.set_message(format!("{work:?}, {at_once} at once").to_lowercase());
            bar.inc(1);
            places[at].settle_down().await?;
        }
    }
    Ok(times)
}

/// The lowest, the median and the highest.
fn spread(values: &mut [f64]) -> [f64; 3] {
    values.sort_unstable_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}
