//! The steps of the design of 2016, live: sessions move from one database to another while the site is busy, without
//! any restart.

mod changes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use switchover::backends::FlagSwitch;
use switchover::capabilities::{Clock, SystemClock};
use switchover::migration::Comparison;
use switchover::{Builtin, Policy, Switchover};
use switchover_workload::contents::Scribe;
use switchover_workload::history::{Micros, Operation, Period, RunClock};
use switchover_workload::hosts::Hosts;
use switchover_workload::meter::Meter;
use switchover_workload::patience::{PATIENCE, patiently};
use switchover_workload::population::Population;
use switchover_workload::table::Move;
use switchover_workload::traffic::{self, Lifetimes, Site, Traffic};

pub(crate) use self::changes::known_keys;
use crate::demo::Options;
use crate::demo::latency::Changed;
use crate::demo::progress::Progress;
use crate::demo::seed;
use crate::demo::stage::Stage;
use crate::demo::steps::Steps;
use crate::demo::told::{ByFlags, Counts, Scheme, Told};

/// The two aliases, old and new, of the design of 2016.
pub(crate) const OLD: &str = "default";
pub(crate) const NEW: &str = "new_session_store";
const MIGRATION_FLAG: &str = "migration_flag";
const ROUTER_FLAG: &str = "new_db_router_flag";
const STEPS: usize = 8;
/// How often the demo asks the databases for the progress of the move.
const WATCH_PAUSE: Duration = Duration::from_millis(250);
/// How long sessions may take to move beyond twice the length of the run, on a slow disk or while a server is away.
const MOVE_PATIENCE: Duration = PATIENCE;
/// The pause between two swaps while sessions move.
const SWAP_PAUSE: Duration = Duration::from_millis(1_500);
/// The approximate limit of calls of a run. Each call takes 72 bytes of history, and as much again while it is checked.
/// So a long run makes fewer calls a second.
const CALLS_MAX: f64 = 4e6;

/// Runs all steps on `stage`. A server may be dead, paused or restarted at any moment after the beginning.
pub(crate) async fn tell(options: &Options, stage: &Stage) -> Result<Told> {
    let mut story = Story::begin(options, stage).await?;
    let told = story.walk().await;
    story.steps.progress.finish();
    let Walked { operations, traffic_began, both_written, cutover, compared, traffic_seconds } = told?;
    let (comparison, nameless_rows) = compared;
    let mut counts = Counts::default();
    for host in &story.hosts {
        host.switchover.close().await;
        counts.add(&host.switchover.counts());
    }
    let scheme = Scheme::Flags(ByFlags {
        both_written,
        cutover,
        swaps: story.swaps,
        flag_changes: story.flag_changes,
        policies_refused: story.policies_refused,
        comparison,
        nameless_rows,
    });
    Ok(Told {
        counts,
        ended: story.site.clock.now(),
        site: story.site,
        operations,
        traffic_began,
        steps: story.steps.reports,
        old: stage.old.table.clone(),
        new: stage.new.table.clone(),
        changes: story.changes,
        traffic_seconds,
        scheme,
    })
}

/// A host with flags of its own, as each process of the site of 2016 read them.
struct Host {
    switchover: Switchover,
    flags: FlagSwitch,
}

/// A site with these hosts, without visitors.
pub(crate) fn site(options: &Options, hosts: Hosts) -> Site {
    let seconds = options.seconds as f64;
    let micros = |share: f64| (seconds * share * 1e6) as Micros;
    Site {
        hosts,
        population: Population::default(),
        scribe: Scribe::default(),
        clock: RunClock::start(SystemClock.now()),
        meter: Meter::default(),
        living_target: options.sessions,
        lifetimes: Lifetimes { uses: micros(10.0)..micros(20.0), others: micros(0.2)..micros(0.5) },
        calls_per_second_max: (CALLS_MAX / seconds / options.concurrency as f64).max(1.0),
        cleaned: 0.into(),
        nameless: 0.into(),
    }
}

struct Story<'s> {
    stage: &'s Stage,
    hosts: Vec<Host>,
    skew: Duration,
    site: Arc<Site>,
    seeded: Vec<Operation>,
    steps: Steps,
    changes: Vec<Changed>,
    swaps: u64,
    flag_changes: u64,
    policies_refused: u64,
    seconds: f64,
    concurrency: usize,
    seed: u64,
}

/// The comparison of both databases without sessions under keys that no caller received, and the number of those
/// sessions.
type Compared = (Comparison, u64);

struct Walked {
    operations: Vec<Operation>,
    traffic_began: Micros,
    both_written: Period,
    cutover: Period,
    compared: Compared,
    traffic_seconds: f64,
}

impl<'s> Story<'s> {
    /// Sets up two tables, sessions in the old one, and a host with `cached-db`.
    async fn begin(options: &Options, stage: &'s Stage) -> Result<Self> {
        let progress = Progress::new(STEPS);
        progress.step(stage.title());
        let mut hosts = Vec::new();
        for _ in 0..options.hosts {
            let flags = FlagSwitch::new([(MIGRATION_FLAG, "false"), (ROUTER_FLAG, "false")]);
            let builder = Switchover::builder()
                .database(OLD, Arc::clone(&stage.old.database))
                .database(NEW, Arc::clone(&stage.new.database))
                .flags(flags.clone())
                .policy(Policy::builtin(Builtin::CachedDb));
            hosts.push(Host { switchover: stage.host(builder).build().await?, flags });
        }
        let seconds = options.seconds as f64;
        let site = site(options, hosts.iter().map(|host| host.switchover.sessions()).collect());
        let seeded = seed::sessions(&site, options, &stage.old.table).await?;
        Ok(Self {
            stage,
            hosts,
            skew: Duration::from_millis(options.skew_ms),
            site: Arc::new(site),
            seeded,
            steps: Steps::new(progress, options.seconds as f64),
            changes: Vec::new(),
            swaps: 0,
            flag_changes: 0,
            policies_refused: 0,
            seconds,
            concurrency: options.concurrency,
            seed: options.seed,
        })
    }

    async fn walk(&mut self) -> Result<Walked> {
        let traffic_began = self.site.clock.now();
        let traffic = Traffic::start(&self.site, self.concurrency, self.seed);
        self.steps.progress.watch(Arc::clone(&self.site));
        let walked = self.walk_under_traffic().await;
        let mut operations = traffic.stop().await?;
        let traffic_seconds = (self.site.clock.now() - traffic_began) as f64 / 1e6;
        let (both_written, cutover, compared) = walked?;

        let title = "every living session is read back";
        self.steps.step(title, &self.site.meter);
        operations.append(&mut traffic::read_back(&self.site).await?);
        operations.append(&mut self.seeded);
        self.end_step(title, NEW).await?;
        Ok(Walked { operations, traffic_began, both_written, cutover, compared, traffic_seconds })
    }

    async fn walk_under_traffic(&mut self) -> Result<(Period, Period, Compared)> {
        let cached_db = || Policy::builtin(Builtin::CachedDb);
        let fallback = || Policy::builtin(Builtin::Fallback);

        let title = "cached-db serves the old database";
        self.steps.progress.event("visitors come");
        self.steps.begin(&self.site.meter);
        self.steps.pause(0.06).await;
        self.swap(cached_db()).await?;
        self.steps.pause(0.03).await;
        self.end_step(title, OLD).await?;

        let title = "the proxy is swapped in";
        self.steps.step(title, &self.site.meter);
        self.swap(fallback()).await?;
        self.steps.pause(0.03).await;
        self.refuse(b"not a component".to_vec()).await?;
        let component = Builtin::Fallback.component();
        self.refuse(component[..component.len() / 2].to_vec()).await?;
        self.swap(fallback()).await?;
        self.steps.pause(0.02).await;
        self.roll_back().await?;
        self.steps.pause(0.02).await;
        self.end_step(title, OLD).await?;

        let title = "migration_flag on: writes go to both";
        self.steps.step(title, &self.site.meter);
        self.set_flag(MIGRATION_FLAG, true).await?;
        let both_began = self.site.clock.now();
        self.wait_until_moved(fallback).await?;
        self.end_step(title, OLD).await?;

        let title = "rows are compared both ways";
        self.steps.step(title, &self.site.meter);
        let compared = self.compare().await?;
        self.end_step(title, OLD).await?;

        let title = "new_db_router_flag on: the new database is home";
        self.steps.step(title, &self.site.meter);
        let cutover_began = self.site.clock.now();
        self.set_flag(ROUTER_FLAG, true).await?;
        let cutover = (cutover_began, self.site.clock.now());
        self.steps.pause(0.04).await;
        self.swap(fallback()).await?;
        self.steps.pause(0.04).await;
        self.end_step(title, NEW).await?;

        let title = "migration_flag off";
        self.steps.step(title, &self.site.meter);
        self.set_flag(MIGRATION_FLAG, false).await?;
        self.steps.pause(0.06).await;
        self.end_step(title, NEW).await?;

        let title = "cached-db serves the new database";
        self.steps.step(title, &self.site.meter);
        let on_new = || cached_db().setting("database", NEW);
        self.swap(on_new()).await?;
        self.steps.pause(0.04).await;
        self.roll_back().await?;
        self.steps.pause(0.02).await;
        self.swap(on_new()).await?;
        self.steps.pause(0.06).await;
        self.end_step(title, NEW).await?;
        Ok(((both_began, cutover.1), cutover, compared))
    }

    /// Waits until no unexpired session is only in the old database: a write carried each used session over, and the
    /// others have expired. Swaps policies meanwhile.
    async fn wait_until_moved(&mut self, policy: impl Fn() -> Policy) -> Result<()> {
        let give_up = Instant::now() + Duration::from_secs_f64(self.seconds * 2.0) + MOVE_PATIENCE;
        let mut next_swap = Instant::now() + SWAP_PAUSE;
        let (old, new) = (&self.stage.old.table, &self.stage.new.table);
        loop {
            let counts = patiently("the databases cannot be read", async || {
                let known = known_keys(&self.site);
                Move::count(old, new, self.site.clock.now(), |key| known.contains(key)).await
            });
            let counts = counts.await?;
            self.steps.progress.moved(counts);
            if counts.only_old == 0 {
                return Ok(());
            }
            let waiting = counts.only_old;
            ensure!(
                Instant::now() < give_up,
                "{waiting} sessions are still only in the old database: give fewer --sessions or more --concurrency"
            );
            if Instant::now() >= next_swap {
                if self.swaps.is_multiple_of(2) {
                    self.swap(policy()).await?
                } else {
                    self.roll_back().await?
                }
                next_swap = Instant::now() + SWAP_PAUSE;
            }
            tokio::time::sleep(WATCH_PAUSE).await;
        }
    }

    /// Ends a step. The router tells other parts of the site where sessions are, so it must agree with the step.
    async fn end_step(&mut self, title: &'static str, expected: &str) -> Result<()> {
        let router = self.hosts[0].switchover.router();
        let ask = async || {
            let read = router.db_for_read("sessions", "session").await?;
            Ok((read, router.db_for_write("sessions", "session").await?))
        };
        let (read, written) = patiently("the router does not answer", ask).await?;
        ensure!(
            read.as_str() == expected && written == read,
            "{title}: the router answers {read} and {written} instead of {expected}"
        );
        let policy = self.hosts[0].switchover.policy().version.name;
        self.steps.end(title, policy, expected.to_owned(), &self.site.meter);
        Ok(())
    }
}
