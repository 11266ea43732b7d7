//! Traffic on both hosts while the connection of one of them to Redis is cut many times for a while. Then the checker
//! compares everything with the history.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, ensure};
use switchover::SessionKey;
use switchover::capabilities::{Clock as _, SystemClock};
use switchover_workload::checker::{Findings, History, Kind as Promise, Left, Promises, StaleBound, Window};
use switchover_workload::contents::Scribe;
use switchover_workload::history::{Action, HostId, Micros, RunClock};
use switchover_workload::left::Rows;
use switchover_workload::meter::Meter;
use switchover_workload::population::Population;
use switchover_workload::traffic::{self, Lifetimes, Site, Traffic};

use crate::cut::Cut;
use crate::fleet::{Fleet, Kind, turn};

/// So short that entries from before a cut end during it.
const CACHE_MAX_AGE: Duration = Duration::from_secs(2);
/// The bound of staleness. It counts from before the row was read, and Redis counts in milliseconds.
const STALE_BOUND_US: Micros = CACHE_MAX_AGE.as_micros() as Micros + 2_000;
/// How long one run takes.
const LENGTH: Duration = Duration::from_secs(10);
const SESSIONS: usize = 200;
const VISITORS: usize = 12;
/// How long a cut lasts: some end before an entry does, some long after.
const CUT_MS: Range<u64> = 50..3_000;
const WHOLE_MS: Range<u64> = 50..1_000;
const SECOND: Micros = 1_000_000;

/// Runs the test with each seed that was asked for.
pub(crate) async fn run(kind: Kind) -> Result<()> {
    let asked = |name| std::env::var(name).ok().map(|text| text.parse::<u64>()).transpose();
    let first = asked("SWITCHOVER_STORY_FIRST")?.unwrap_or(1);
    for seed in first..first + asked("SWITCHOVER_STORY_SEEDS")?.unwrap_or(1) {
        let _turn = turn().await;
        run_one(kind, seed).await?;
    }
    Ok(())
}

async fn run_one(kind: Kind, seed: u64) -> Result<()> {
    let fleet = Fleet::start(kind, CACHE_MAX_AGE).await?;
    let site = Arc::new(Site {
        hosts: fleet.sessions().into_iter().collect(),
        population: Population::default(),
        scribe: Scribe::default(),
        clock: RunClock::start(SystemClock.now()),
        meter: Meter::default(),
        living_target: SESSIONS,
        lifetimes: Lifetimes { uses: 600 * SECOND..900 * SECOND, others: 2 * SECOND..5 * SECOND },
        calls_per_second_max: f64::INFINITY,
        cleaned: 0.into(),
        nameless: 0.into(),
    });
    let traffic = Traffic::start(&site, VISITORS, seed);
    let cuts = cut_at_random(&fleet, fastrand::Rng::with_seed(seed)).await?;
    fleet.heal().await?;
    let mut operations = traffic.stop().await?;
    operations.append(&mut traffic::read_back(&site).await?);
    for host in &fleet.hosts {
        host.close().await;
    }

    let ended = site.clock.now();
    let names = site.population.keys();
    let rows = Rows::read(fleet.table.rows().await?, &names, &site.scribe);
    let history = History::new(operations);
    let failures = fleet.hosts.each_ref().map(|host| host.counts().cache_failures);
    // Host B counts too, if the machine was so busy that an answer of Redis was late.
    let cut_off = (0..).map(HostId).zip(failures).filter(|(_, failures)| *failures > 0).map(|(host, _)| host).collect();
    let stale_bound = Some(StaleBound { age: STALE_BOUND_US, cut_off });
    let promises = Promises { stale_bound, ..Promises::default() };
    let window = Window { from: ended, to: ended, expired_by: ended };
    let findings = history.check(&promises, &[Left { rows: &rows.by_key, window }]);

    println!(
        "{kind:?} seed {seed}: {} calls on {} sessions, {} rows, {} cuts, {failures:?} failures of the cache, {} \
         failed, {} unknown, {} loads old within the bound, {} promises broken",
        history.operations().len(),
        names.len(),
        rows.by_key.len(),
        cuts.len(),
        site.meter.failures(),
        site.meter.unknown_outcomes(),
        findings.stale_within_bound,
        findings.faults.len(),
    );
    ensure!(findings.faults.is_empty(), "{}", report(&findings, &history, &names, &site.clock, &cuts));
    // The database was healthy all the time, so no call may fail.
    ensure!(site.meter.failures() + site.meter.unknown_outcomes() == 0, "calls failed: {:?}", site.meter.errors());
    let left: u64 = fleet.hosts.iter().map(|host| host.counts().new_keys_left).sum();
    ensure!(rows.strangers <= left + site.nameless.load(Ordering::Relaxed), "{} rows nobody wrote", rows.strangers);
    ensure!(cuts.len() >= 3 && failures[0] > 0, "the story needs cuts that are felt: {cuts:?}");
    Ok(())
}

/// Cuts A's connection to Redis and opens it again until the run is over. Returns what it did.
async fn cut_at_random(fleet: &Fleet, mut rng: fastrand::Rng) -> Result<Vec<String>> {
    let began = tokio::time::Instant::now();
    let mut cuts = Vec::new();
    while began.elapsed() < LENGTH {
        tokio::time::sleep(Duration::from_millis(rng.u64(WHOLE_MS))).await;
        let (cut, length) = (Cut::pick(&mut rng), Duration::from_millis(rng.u64(CUT_MS)));
        cuts.push(format!("{:.3} s: {cut:?} for {length:?}", began.elapsed().as_secs_f64()));
        fleet.cut(cut).await;
        tokio::time::sleep(length).await;
        fleet.open().await?;
    }
    Ok(cuts)
}

/// Reports the first faults, each with everything that happened to its key around it.
fn report(findings: &Findings, history: &History, names: &[SessionKey], clock: &RunClock, cuts: &[String]) -> String {
    let mut text = format!("cuts:\n{}\n", cuts.join("\n"));
    for kind in Promise::ALL.into_iter().filter(|kind| findings.count(*kind) > 0) {
        text += &format!("{} {kind}\n", findings.count(kind));
    }
    for fault in findings.faults.iter().take(5) {
        let name = names[fault.key.0 as usize].short_hash();
        let at = [fault.from, fault.to].map(|at| clock.seconds_at(at));
        let (kind, key, by) = (fault.kind, fault.key, fault.host);
        text += &format!("{kind} of {key:?} ({name}) at {by:?}, {:.6} s to {:.6} s\n", at[0], at[1]);
        let calls = |key| history.by_key().find(|calls| calls[0].key == key).unwrap_or_default();
        let around = calls(fault.key).iter().filter(|call| call.invoked <= fault.to);
        // Also reports what happened to the key that this one replaced.
        let origin = calls(fault.key).iter().find_map(|call| match call.action {
            Action::CycleFrom(key) => Some(calls(key)),
            _ => None,
        });
        for call in origin.unwrap_or_default().iter().chain(around).collect::<Vec<_>>().iter().rev().take(30).rev() {
            let at = [call.invoked, call.returned].map(|at| clock.seconds_at(at));
            let (host, action, outcome) = (call.host.0, call.action, call.outcome);
            text += &format!("  {:.6} to {:.6}  host {host}: {action:?} -> {outcome:?}\n", at[0], at[1]);
        }
    }
    text
}
