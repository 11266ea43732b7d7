//! The course of one fault: before it, during it, and until everything is as before.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::fault::{Fault, Line};
use super::journal::{Entry, Journal, Outcome, Pages};
use super::options::Options;

/// The share of the earlier throughput that counts as full, and the window in which it is measured.
const FULL: f64 = 0.9;
const WINDOW: Duration = Duration::from_millis(200);
/// One full window may be luck, so the second that begins with it must be full as well.
const LASTING: Duration = Duration::from_secs(1);
/// From one window to the next. Windows overlap.
const STEP: Duration = Duration::from_millis(20);
/// How long to wait for full throughput. This is longer than the promised time.
const WATCH_MAX: Duration = Duration::from_secs(15);
/// The pause between two faults that are over at once.
const AGAIN: Duration = Duration::from_millis(250);
const LOOK: Duration = Duration::from_millis(5);

/// What one fault cost.
pub(crate) struct Cost {
    pub(crate) calls: usize,
    pub(crate) per_second_before: f64,
    /// The number of failures, in the order of [`Outcome::FAILURES`].
    pub(crate) failures: [usize; Outcome::FAILURES.len()],
    pub(crate) wrong: usize,
    pub(crate) trouble: Option<String>,
    /// The longest call that ended before the fault.
    pub(crate) before: Longest,
    /// The longest call that began before the fault's end and had not ended when the fault began.
    pub(crate) met: Longest,
    /// The longest call that began after the fault's end.
    pub(crate) after: Longest,
    /// Clients whose call had not ended a long time after the fault.
    pub(crate) stuck: usize,
    /// From the end of the fault to full throughput. `None` if that took longer than [`WATCH_MAX`].
    pub(crate) full: Option<Duration>,
}

/// The longest of some calls, and the longest time that the machine stood still during them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Longest {
    pub(crate) what: &'static str,
    pub(crate) took: Duration,
    pub(crate) stall: Duration,
}

/// When everything of one fault happened.
struct Times {
    begun: Instant,
    struck: Instant,
    ended: Instant,
    per_second_before: f64,
}

/// Makes one fault while clients call all the time, and takes the journal at the end, so that no call between two
/// faults is left out. After the fault, `is_back` is called every few milliseconds until it returns that everything
/// else is as before.
pub(crate) async fn run(
    fault: Fault,
    line: &Line,
    journal: &Journal,
    options: &Options,
    mut is_back: impl FnMut(Instant) -> bool,
) -> Result<Cost> {
    let length = options.length();
    let begun = Instant::now();
    tokio::time::sleep(length).await;
    let struck = Instant::now();
    let per_second_before = journal.answered_after(begun).len() as f64 / (struck - begun).as_secs_f64();
    ensure!(per_second_before > 0.0, "no call was answered before `{}`", fault.title());
    fault.strike(line).await?;
    while struck.elapsed() < length {
        tokio::time::sleep(AGAIN.min(length.saturating_sub(struck.elapsed()))).await;
        if fault.is_momentary() && struck.elapsed() < length {
            fault.strike(line).await?;
        }
    }
    fault.end(line).await?;
    let times = Times { begun, struck, ended: Instant::now(), per_second_before };
    let (mut full, mut back, mut looked) = (None, false, times.ended);
    while times.ended.elapsed() < WATCH_MAX && !(back && full.is_some()) {
        tokio::time::sleep(LOOK).await;
        back = back || is_back(times.ended);
        if looked.elapsed() > WINDOW {
            looked = Instant::now();
            full = full_after(&journal.answered_after(times.ended), times.ended, looked, per_second_before);
        }
    }
    Ok(cost(journal.take(), &times, full, options.clients()))
}

/// When the first window began that was full and stayed full. The whole window must have been observed.
fn full_after(answered: &[Instant], ended: Instant, seen: Instant, per_second_before: f64) -> Option<Duration> {
    let is_full = |from: Instant, length: Duration| {
        let count = answered.iter().filter(|at| (from..from + length).contains(*at)).count();
        count as f64 >= FULL * per_second_before * length.as_secs_f64()
    };
    let mut from = ended;
    while from + LASTING <= seen {
        if is_full(from, WINDOW) && is_full(from, LASTING) {
            return Some(from - ended);
        }
        from += STEP;
    }
    None
}

fn cost(pages: Pages, times: &Times, full: Option<Duration>, clients: usize) -> Cost {
    let Pages { entries, stalls, trouble } = pages;
    let count = |wanted: Outcome| entries.iter().filter(|entry| entry.outcome == wanted).count();
    let longest = |is: &dyn Fn(&Entry) -> bool, from: Instant, to: Instant| {
        let longest = entries.iter().filter(|entry| is(entry)).max_by_key(|entry| entry.took());
        let stalled =
            stalls.iter().filter(|(until, late)| *until >= from && *until - *late < to).map(|(_, late)| *late);
        let stall = stalled.max().unwrap_or_default();
        longest.map_or(Longest { stall, ..Longest::default() }, |entry| Longest {
            what: entry.what,
            took: entry.took(),
            stall,
        })
    };
    let Times { begun, struck, ended, per_second_before } = *times;
    let alive: HashSet<_> = entries.iter().filter(|entry| entry.begun >= ended).map(|entry| entry.client).collect();
    Cost {
        calls: entries.len(),
        stuck: clients.saturating_sub(alive.len()),
        failures: Outcome::FAILURES.map(|(outcome, _)| count(outcome)),
        wrong: count(Outcome::Wrong),
        before: longest(&|entry| entry.ended < struck, begun, struck),
        met: longest(&|entry| entry.ended >= struck && entry.begun < ended, struck, ended),
        after: longest(&|entry| entry.begun >= ended, ended, ended + WATCH_MAX),
        trouble,
        per_second_before,
        full,
    }
}
