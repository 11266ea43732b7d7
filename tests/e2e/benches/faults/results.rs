//! Adds up the rounds of each fault, and checks whether the promises held.

use std::time::Duration;

use super::cache::CacheCost;
use super::course::{Cost, Longest};
use super::databases::DEADLINE;
use super::fault::Fault;
use super::journal::Outcome;
use super::options::Part;

/// How much longer a call that meets a fault of Redis may take than the longest call before it.
pub(crate) const MORE_MAX: Duration = Duration::from_millis(50);
/// How much longer than its deadline an operation of a database may take.
pub(crate) const OVER_MAX: Duration = Duration::from_millis(50);
/// The promised time from the end of a fault to full throughput.
pub(crate) const FULL_MAX: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(crate) struct Results {
    pub(crate) cache: Vec<CacheRow>,
    pub(crate) databases: Vec<DatabaseRow>,
}

/// All rounds of a fault: the sums of counts, and the maxima of times.
pub(crate) struct Row {
    pub(crate) fault: Fault,
    pub(crate) calls: usize,
    pub(crate) per_second_before: f64,
    pub(crate) failures: [usize; Outcome::FAILURES.len()],
    pub(crate) wrong: usize,
    pub(crate) stuck: usize,
    pub(crate) before: Longest,
    pub(crate) met: Longest,
    pub(crate) after: Longest,
    /// How much longer the longest call that met the fault took than the longest call before it, in the worst round.
    pub(crate) more: Duration,
    pub(crate) full: Option<Duration>,
    pub(crate) trouble: Option<String>,
}

pub(crate) struct CacheRow {
    pub(crate) row: Row,
    pub(crate) connected: Option<Duration>,
    pub(crate) hit: Option<Duration>,
}

pub(crate) struct DatabaseRow {
    pub(crate) part: Part,
    pub(crate) row: Row,
}

/// One of the promises, with its result in this run.
pub(crate) struct Promise {
    pub(crate) name: &'static str,
    pub(crate) found: String,
    pub(crate) held: bool,
}

impl Row {
    fn of(fault: Fault, rounds: &[&Cost]) -> Self {
        let sum = |count: fn(&Cost) -> usize| rounds.iter().map(|cost| count(cost)).sum();
        let longest = |which: fn(&Cost) -> Longest| {
            let all = || rounds.iter().map(|cost| which(cost));
            let stall = all().map(|longest| longest.stall).max().unwrap_or_default();
            Longest { stall, ..all().max_by_key(|longest| longest.took).unwrap_or_default() }
        };
        let more = rounds.iter().map(|cost| cost.met.took.saturating_sub(cost.before.took));
        Self {
            fault,
            calls: sum(|cost| cost.calls),
            per_second_before: rounds.iter().map(|cost| cost.per_second_before).sum::<f64>() / rounds.len() as f64,
            failures: std::array::from_fn(|at| rounds.iter().map(|cost| cost.failures[at]).sum()),
            wrong: sum(|cost| cost.wrong),
            stuck: sum(|cost| cost.stuck),
            before: longest(|cost| cost.before),
            met: longest(|cost| cost.met),
            after: longest(|cost| cost.after),
            more: more.max().unwrap_or_default(),
            full: slowest(rounds.iter().map(|cost| cost.full)),
            trouble: rounds.iter().find_map(|cost| cost.trouble.clone()),
        }
    }

    pub(crate) fn failed(&self) -> usize {
        self.failures.iter().sum()
    }

    /// By how much the longest operation exceeded the deadline of databases.
    pub(crate) fn over(&self) -> Duration {
        self.longest().took.saturating_sub(DEADLINE)
    }

    /// The longest of all calls, and the longest time that the machine stood still during it.
    pub(crate) fn longest(&self) -> Longest {
        let all = [self.before, self.met, self.after];
        let stall = all.map(|longest| longest.stall).into_iter().max().unwrap_or_default();
        Longest { stall, ..all.into_iter().max_by_key(|longest| longest.took).unwrap_or_default() }
    }

    fn is_a_fault(&self) -> bool {
        self.fault != Fault::Nothing
    }
}

impl Results {
    pub(crate) fn add_cache(&mut self, costs: &[(Fault, CacheCost)]) {
        for fault in Fault::of(Part::Cache) {
            let rounds: Vec<_> = costs.iter().filter(|(of, _)| *of == fault).map(|(_, cost)| cost).collect();
            if rounds.is_empty() {
                continue;
            }
            let row = Row::of(fault, &rounds.iter().map(|round| &round.cost).collect::<Vec<_>>());
            let connected = slowest(rounds.iter().map(|round| round.connected));
            self.cache.push(CacheRow { row, connected, hit: slowest(rounds.iter().map(|round| round.hit)) });
        }
    }

    pub(crate) fn add_database(&mut self, part: Part, costs: &[(Fault, Cost)]) {
        for fault in Fault::of(part) {
            let rounds: Vec<_> = costs.iter().filter(|(of, _)| *of == fault).map(|(_, cost)| cost).collect();
            if rounds.is_empty() {
                continue;
            }
            self.databases.push(DatabaseRow { part, row: Row::of(fault, &rounds) });
        }
    }

    /// The promises that this run can check.
    pub(crate) fn promises(&self) -> Vec<Promise> {
        let mut promises = Vec::new();
        let cache: Vec<_> = self.cache.iter().map(|row| &row.row).filter(|row| row.is_a_fault()).collect();
        let databases: Vec<_> = self.databases.iter().map(|row| &row.row).filter(|row| row.is_a_fault()).collect();
        if !cache.is_empty() {
            let sum = |count: fn(&Row) -> usize| cache.iter().map(|row| count(row)).sum::<usize>();
            let (failed, wrong, stuck) = (sum(Row::failed), sum(|row| row.wrong), sum(|row| row.stuck));
            let more = cache.iter().map(|row| row.more).max().unwrap_or_default();
            // How much longer calls take at times while nothing is broken: the noise of the machine.
            let calm = self.cache.iter().map(|row| &row.row).filter(|row| !row.is_a_fault());
            let by_itself = calm.map(|row| row.more.max(row.after.took.saturating_sub(row.before.took))).max();
            let by_itself = by_itself.unwrap_or_default();
            promises.push(Promise {
                name: "Redis gone in any way: 0 calls failed, 0 wrong, at most 50 ms more",
                found: format!(
                    "{failed} failed, {wrong} wrong, {stuck} without an end, {:.0} ms more (by itself {:.0} ms)",
                    ms(more),
                    ms(by_itself)
                ),
                held: failed + wrong + stuck == 0 && more <= MORE_MAX,
            });
        }
        if !databases.is_empty() {
            let over = databases.iter().map(|row| row.over()).max().unwrap_or_default();
            let stuck: usize = databases.iter().map(|row| row.stuck).sum();
            promises.push(Promise {
                name: "operations of databases end at most 50 ms after their deadline",
                found: format!("{stuck} without an end, {:.0} ms after it", ms(over)),
                held: stuck == 0 && over <= OVER_MAX,
            });
        }
        if !promises.is_empty() {
            let full = slowest(cache.iter().chain(&databases).map(|row| row.full));
            promises.push(Promise {
                name: "full throughput at most 10 s after a fault",
                found: seconds(full) + " s",
                held: full.is_some_and(|full| full <= FULL_MAX),
            });
        }
        promises
    }
}

/// The longest of the times. `None` if one of them never came.
fn slowest(times: impl Iterator<Item = Option<Duration>>) -> Option<Duration> {
    times.collect::<Option<Vec<_>>>()?.into_iter().max()
}

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub(crate) fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(|| "never".to_owned(), |time| format!("{:.2}", time.as_secs_f64()))
}
