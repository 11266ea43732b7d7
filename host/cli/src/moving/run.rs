//! Carries rows over and compares them, as fast as it may, until it is told to stop.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use switchover::backends::moves::{Mover, Side, State};
use switchover::capabilities::DatabaseError;

use super::{Begin, Named, begun, open, rate, show};
use crate::STOPPED;
use crate::batches::Stop;
use crate::output::{Verdict, note, print};

/// A step of rows should take about this long: short beside the statements of applications.
const STEP: Duration = Duration::from_millis(100);
const ROWS_MIN: u32 = 50;
const ROWS_MAX: u32 = 20_000;
/// Changes that one step carries. They never wait for a throttle, since they only grow.
const CHANGES: u32 = 5_000;
/// After the first whole comparison the next ones take this many times as long as they could.
const UNHURRIED: u32 = 10;
/// Between two looks when there is nothing to do.
const IDLE: Duration = Duration::from_millis(100);
/// Between two tries for a connection.
const AWAY: Duration = Duration::from_secs(1);
/// How often it says where it stands.
const SHOW_EACH: Duration = Duration::from_secs(2);

/// The options of `run`.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    begin: Begin,
    /// Scan and compare at most so many rows a second. What is written is carried without a limit
    #[arg(long, value_name = "ROWS", value_parser = rate)]
    rate: Option<u64>,
    /// Scan and compare nothing while this file is there
    #[arg(long, value_name = "FILE")]
    brake: Option<PathBuf>,
    /// End once a whole comparison has found no difference: 0; or one: 2
    #[arg(long)]
    until_verified: bool,
}

/// The options of `status`.
#[derive(Args)]
pub(crate) struct Watched {
    #[command(flatten)]
    named: Named,
    /// Print it again every two seconds; with --json one object a line
    #[arg(long)]
    watch: bool,
}

pub(super) async fn status(options: &Watched) -> Result<Verdict> {
    let mut mover = open(&options.named).await?;
    loop {
        let state = begun(&mut *mover).await?;
        told(&options.named, &*mover, &state)?;
        if !options.watch {
            return Ok(verdict(&state));
        }
        tokio::time::sleep(SHOW_EACH).await;
    }
}

fn told(named: &Named, mover: &dyn Mover, state: &State) -> Result<()> {
    if named.json {
        print(show::as_json(state))?;
        return Ok(());
    }
    show::block(mover.summary(), state)
}

fn verdict(state: &State) -> Verdict {
    if state.last_different.unwrap_or(0) + state.different == 0 { Verdict::Fine } else { Verdict::Red }
}

pub(super) async fn run(options: &Options) -> Result<Verdict> {
    let named = &options.begin.named;
    let stop = Stop::on_signal(STOPPED)?;
    let mut mover = open(named).await?;
    mover.begin(&options.begin.living(&*mover)?).await?;
    let mut shown = Shown::new(named.json)?;
    let mut pace = Pace { scan: ROWS_MIN * 10, compare: ROWS_MIN * 10, rate: options.rate };
    let mut first = begun(&mut *mover).await?.rounds;
    loop {
        if stop.is_asked() {
            shown.ends();
            return Ok(Verdict::Stopped);
        }
        let braked = options.brake.as_deref().filter(|brake| brake.try_exists().unwrap_or(true));
        shown.braked = braked.map(|brake| format!("rests: {} is there", brake.display()));
        match look(&mut *mover, &mut shown).await {
            Ok(None) => {
                shown.ends();
                note("the move was ended by `finish` or `abort`");
                return Ok(Verdict::Fine);
            }
            Ok(Some(state)) if named.to.is_some() && state.side == Side::New => {
                shown.ends();
                note("the new table is open, and nothing is left to carry");
                return Ok(Verdict::Fine);
            }
            Ok(Some(state)) => {
                // A cut counts its rounds anew.
                first = first.min(state.rounds);
                if options.until_verified && state.rounds > first && state.last_different.is_some() {
                    shown.ends();
                    told(named, &*mover, &state)?;
                    return Ok(verdict(&state));
                }
                match step(&mut *mover, &state, braked.is_some(), &mut pace).await {
                    Ok(()) | Err(DatabaseError::Conflict { .. }) => {}
                    Err(error) => again(named, &mut mover, error, &stop).await?,
                }
            }
            Err(error) => again(named, &mut mover, error, &stop).await?,
        }
    }
}

/// Looks where it stands. It shows it now and then.
async fn look(mover: &mut dyn Mover, shown: &mut Shown) -> Result<Option<State>, DatabaseError> {
    let state = mover.state().await?;
    if let Some(state) = &state {
        shown.state(mover.summary(), state);
    }
    Ok(state)
}

/// What was written is carried first, then the next rows are scanned or compared.
async fn step(mover: &mut dyn Mover, state: &State, braked: bool, pace: &mut Pace) -> Result<(), DatabaseError> {
    let carried = mover.carry(CHANGES).await?;
    if braked {
        if !carried.more {
            tokio::time::sleep(IDLE).await;
        }
        return Ok(());
    }
    let begun = Instant::now();
    if !state.scan_ended {
        let scanned = mover.scan(pace.scan).await?;
        pace.scan = next_size(pace.scan, begun.elapsed());
        pace.rest(scanned.rows, begun.elapsed()).await;
    } else if !carried.more {
        let compared = mover.compare(pace.compare).await?;
        let took = begun.elapsed();
        pace.compare = next_size(pace.compare, took);
        pace.rest(compared.keys, took).await;
        if compared.ended {
            tokio::time::sleep(IDLE).await;
        } else if state.rounds > 0 && state.last_different == Some(0) {
            tokio::time::sleep(took * UNHURRIED).await;
        }
    }
    Ok(())
}

/// Connects again after the server went away. Any other error ends the command.
async fn again(named: &Named, mover: &mut Box<dyn Mover>, error: DatabaseError, stop: &Stop) -> Result<()> {
    if !matches!(error, DatabaseError::Unavailable { .. } | DatabaseError::Timeout) {
        // `finish` or `abort` may have taken the tables away in the middle of a step.
        return if matches!(mover.state().await, Ok(None)) { Ok(()) } else { Err(error.into()) };
    }
    note(format_args!("the database is away, and tried again: {error}"));
    while !stop.is_asked() {
        tokio::time::sleep(AWAY).await;
        match open(named).await {
            Ok(opened) => {
                *mover = opened;
                break;
            }
            Err(error) => match error.downcast_ref::<DatabaseError>() {
                Some(DatabaseError::Unavailable { .. } | DatabaseError::Timeout) => {}
                _ => return Err(error),
            },
        }
    }
    Ok(())
}

struct Pace {
    scan: u32,
    compare: u32,
    rate: Option<u64>,
}

impl Pace {
    /// Waits for as long as the rate asks.
    async fn rest(&self, rows: u64, took: Duration) {
        if let Some(rate) = self.rate {
            let due = Duration::from_secs_f64(rows as f64 / rate as f64);
            tokio::time::sleep(due.saturating_sub(took)).await;
        }
    }
}

/// A step that was fast may take twice as many rows, a slow one half as many.
fn next_size(rows: u32, took: Duration) -> u32 {
    let next = if took < STEP / 2 {
        rows * 2
    } else if took > STEP * 2 {
        rows / 2
    } else {
        rows
    };
    next.clamp(ROWS_MIN, ROWS_MAX)
}

/// A bar for people, a line of JSON for programs.
struct Shown {
    bar: Option<ProgressBar>,
    last: Option<Instant>,
    braked: Option<String>,
}

impl Shown {
    fn new(json: bool) -> Result<Self> {
        let style = ProgressStyle::with_template("{spinner} {bar:30} {pos}/{len} rows, {wide_msg}")?;
        let bar = (!json).then(|| ProgressBar::new(0).with_style(style));
        Ok(Self { bar, last: None, braked: None })
    }

    fn state(&mut self, place: &str, state: &State) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(state.about.max(state.scanned));
                bar.set_position(state.scanned);
                let doing = match (&self.braked, state.scan_ended, state.refusal(state.side)) {
                    (Some(rests), ..) => rests.clone(),
                    (None, false, _) => "scanning".to_owned(),
                    (None, true, Some(why)) => why,
                    (None, true, None) => format!("the {} table counts; alike", show::word(state.side)),
                };
                bar.set_message(format!("{doing}; {} changes carried, {} wait", state.carried, state.waiting));
            }
            None if self.last.is_none_or(|last| last.elapsed() >= SHOW_EACH) => {
                self.last = Some(Instant::now());
                let mut told = show::as_json(state);
                told["place"] = place.into();
                told["rests"] = self.braked.clone().into();
                let _gone = print(told);
            }
            None => {}
        }
    }

    fn ends(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
