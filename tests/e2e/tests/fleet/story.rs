//! Traffic on a fleet while it goes through the phases. Then the checker compares everything with the history.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use switchover::SessionKey;
use switchover::capabilities::{Clock as _, SystemClock};
use switchover::migration::{CacheRule, Phase};
use switchover_workload::checker::{Allowance, Findings, History, Kind as Promise, Left, Promises, StaleBound, Window};
use switchover_workload::contents::Scribe;
use switchover_workload::history::{HostId, Micros, RunClock};
use switchover_workload::left::Rows;
use switchover_workload::meter::Meter;
use switchover_workload::patience::patiently;
use switchover_workload::population::Population;
use switchover_workload::remote::Report;
use switchover_workload::traffic::{self, Lifetimes, Site, Traffic};
use tokio::sync::{Mutex, watch};

use crate::hosts::Host;
use crate::journey::Operator;
use crate::lawless::Rule;
use crate::nemesis::{self, Plan};
use crate::servers::{CACHE_MAX_AGE, HOSTS, Kind, Servers};

const SESSIONS: usize = 300;
const VISITORS: usize = 24;
const SECOND: Micros = 1_000_000;
/// It counts from before the row was read, and Redis counts in milliseconds.
const STALE_BOUND_US: Micros = CACHE_MAX_AGE.as_micros() as Micros + 2_000;
/// The longest call.
const CALL_MAX: Micros = 4 * SECOND;
/// How long the traffic runs in each phase at least.
const PHASE: Duration = Duration::from_millis(1_500);

/// A journey of a fleet between two kinds of databases, with what may fail on the way.
pub(crate) struct Story {
    pub(crate) old: Kind,
    pub(crate) new: Kind,
    pub(crate) journey: &'static [Phase],
    pub(crate) plan: Plan,
    pub(crate) rule: CacheRule,
    /// A rule of the protocol that the databases break. Then promises must be broken too.
    pub(crate) left_out: Option<Rule>,
}

/// Seeds within which a story without a rule breaks a promise.
const SEEDS_WITHOUT: u64 = 4;

impl Story {
    /// Runs the story with each seed that was asked for.
    pub(crate) async fn run(self) -> Result<()> {
        static TURN: std::sync::LazyLock<Mutex<()>> = std::sync::LazyLock::new(Mutex::default);
        let asked = |name| std::env::var(name).ok().map(|text| text.parse::<u64>()).transpose();
        let first = asked("SWITCHOVER_STORY_FIRST")?.unwrap_or(1);
        if let Some(rule) = self.left_out {
            for seed in first..first + SEEDS_WITHOUT {
                let _turn = TURN.lock().await;
                if self.run_one(seed).await? > 0 {
                    return Ok(());
                }
            }
            bail!("the checker sees nothing without the rule {rule:?}");
        }
        for seed in first..first + asked("SWITCHOVER_STORY_SEEDS")?.unwrap_or(1) {
            let _turn = TURN.lock().await;
            self.run_one(seed).await?;
        }
        Ok(())
    }

    /// Returns how many promises were broken, which may only be if a rule was left out.
    async fn run_one(&self, seed: u64) -> Result<usize> {
        let servers = Servers::start(self.old, self.new, self.rule, self.left_out).await?;
        let controller = servers.begin().await?;
        let mut hosts = Vec::new();
        for number in 0..HOSTS.len() {
            let as_process = self.plan == Plan::Hosts;
            hosts.push(patiently("a host does not start", async || servers.host(number, as_process).await).await?);
        }
        let site = Arc::new(Site {
            hosts: hosts.iter().map(Host::way).collect(),
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
        let (over, is_over) = watch::channel(false);
        let may_be_killed = matches!(self.plan, Plan::Storm | Plan::Hosts);
        let mut operator = Operator {
            controller,
            mortal: if self.plan == Plan::Hosts { &HOSTS } else { &[] },
            dice: may_be_killed.then(|| fastrand::Rng::with_seed(seed)),
        };
        let journey = async {
            tokio::time::sleep(PHASE).await;
            let (mut steps, mut reads_moved, mut phase) = (Vec::new(), Vec::new(), Phase::Off);
            for to in self.journey {
                let from = site.clock.now();
                operator.step(*to).await?;
                let sealed = site.clock.now();
                let [at, until] = [from, sealed].map(|at| site.clock.seconds_at(at));
                steps.push(format!("{at:.3} s to {until:.3} s: {to}"));
                let before = std::mem::replace(&mut phase, *to);
                if matches!((before, to), (Phase::Strict, Phase::Cutover) | (Phase::Cutover, Phase::Strict)) {
                    reads_moved.push((from.saturating_sub(CALL_MAX), sealed));
                }
                tokio::time::sleep(PHASE).await;
            }
            over.send_replace(true);
            anyhow::Ok((steps, reads_moved))
        };
        let nemesis = nemesis::run(self.plan, &servers, &hosts, seed, is_over);
        let (journey, faults) = tokio::join!(journey, nemesis);
        let mut faults = faults?;
        let count = faults.len();
        let (steps, reads_moved) = journey.map_err(|error| error.context(faults.join("\n")))?;
        faults.extend(steps);

        let mut operations = traffic.stop().await?;
        operations.append(&mut traffic::read_back(&site).await?);
        let mut reports = Vec::new();
        for host in &hosts {
            reports.push(ready(host).await?);
            host.close().await?;
        }
        let ended = site.clock.now();
        let names = site.population.keys();
        let rows = Rows::read(servers.new.table().rows().await?, &names, &site.scribe);
        let history = History::new(operations);
        let window = Window { from: ended, to: ended, expired_by: ended };
        let undone = Some(Allowance {
            from: 0,
            to: Micros::MAX,
            reason: "docs/protocol.md: a write that returned an error may be shown in one phase and not in the next",
        });
        let failures = reports.iter().map(|report| report.cache_failures).collect::<Vec<_>>();
        // A process that was killed took its counts with it.
        let was_cut_off = |failures: &u64| *failures > 0 || self.plan == Plan::Hosts;
        let cut_off =
            (0..).map(HostId).zip(&failures).filter(|(_, failures)| was_cut_off(failures)).map(|(host, _)| host);
        let bound = StaleBound { age: STALE_BOUND_US, cut_off: cut_off.collect() };
        let stale_bound = (self.rule != CacheRule::Writes).then_some(bound);
        let reason = "docs/protocol.md: there is no one order while a write is in progress";
        let moved = reads_moved.into_iter().map(|(from, to)| Allowance { from, to, reason });
        let either_order = moved.collect();
        let promises = Promises { undone, either_order, stale_bound, ..Promises::default() };
        let findings = history.check(&promises, &[Left { rows: &rows.by_key, window }]);
        println!(
            "{:?} to {:?} seed {seed} (left out: {:?}): {} calls on {} sessions, {} rows, {} faults, {} failed, {} unknown, {} promises \
             broken",
            self.old,
            self.new,
            self.left_out,
            history.operations().len(),
            names.len(),
            rows.by_key.len(),
            count,
            site.meter.failures(),
            site.meter.unknown_outcomes(),
            findings.faults.len(),
        );
        println!(
            "{failures:?} failures of the cache, {} loads old within the bound, {} unknown outcomes read and then undone, \
             {} writes in progress seen in either order",
            findings.stale_within_bound, findings.undone_as_allowed, findings.either_order_as_allowed
        );
        if self.left_out.is_some() {
            return Ok(findings.faults.len());
        }
        ensure!(findings.faults.is_empty(), "{}", report(&findings, &history, &names, &site.clock, &faults));
        if self.plan == Plan::Calm {
            let errors = site.meter.errors();
            ensure!(site.meter.failures() + site.meter.unknown_outcomes() == 0, "{errors:?}");
        }
        let left: u64 = reports.iter().map(|report| report.new_keys_left).sum();
        ensure!(rows.strangers <= left + site.nameless.load(Ordering::Relaxed), "{} rows nobody wrote", rows.strangers);
        Ok(0)
    }
}

/// What a host says of itself once it is ready.
async fn ready(host: &Host) -> Result<Report> {
    patiently("a host is not ready", async || {
        let report = host.report().await?;
        ensure!(report.is_ready, "{}", report.readiness);
        Ok(report)
    })
    .await
}

/// Reports the first faults, each with everything that happened to its key before.
fn report(findings: &Findings, history: &History, names: &[SessionKey], clock: &RunClock, faults: &[String]) -> String {
    let mut text = format!("faults:\n{}\n", faults.join("\n"));
    for kind in Promise::ALL.into_iter().filter(|kind| findings.count(*kind) > 0) {
        text += &format!("{} {kind}\n", findings.count(kind));
    }
    for fault in findings.faults.iter().take(5) {
        let name = names[fault.key.0 as usize].short_hash();
        let at = [fault.from, fault.to].map(|at| clock.seconds_at(at));
        let (kind, key, by) = (fault.kind, fault.key, fault.host);
        text += &format!("{kind} of {key:?} ({name}) at {by:?}, {:.6} s to {:.6} s\n", at[0], at[1]);
        let calls = history.by_key().find(|calls| calls[0].key == key).unwrap_or_default();
        for call in calls
            .iter()
            .filter(|call| call.invoked <= fault.to + 2_000_000)
            .rev()
            .take(40)
            .collect::<Vec<_>>()
            .iter()
            .rev()
        {
            let at = [call.invoked, call.returned].map(|at| clock.seconds_at(at));
            let (host, action, outcome) = (call.host.0, call.action, call.outcome);
            text += &format!("  {:.6} to {:.6}  host {host}: {action:?} -> {outcome:?}\n", at[0], at[1]);
        }
    }
    text
}
