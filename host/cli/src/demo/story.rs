//! The story of 2016, told live: sessions move from one database to another while the site is busy, and no step needs a restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use switchover::backends::{FlagSwitch, MemoryCache, Sqlite};
use switchover::capabilities::{Clock, SystemClock};
use switchover::{Builtin, Policy, Switchover};

use crate::compare::{Comparison, compare};
use crate::demo::Options;
use crate::demo::checker::History;
use crate::demo::contents::Scribe;
use crate::demo::history::{Micros, Operation, Period, RunClock};
use crate::demo::latency::{Change, Changed};
use crate::demo::meter::Meter;
use crate::demo::population::Population;
use crate::demo::progress::Progress;
use crate::demo::seed;
use crate::demo::table::Watch;
use crate::demo::traffic::{self, Lifetimes, Site, Traffic};

/// The two aliases, old and new, as in the story.
pub(crate) const OLD: &str = "default";
pub(crate) const NEW: &str = "new_session_store";
/// Their files.
pub(crate) const FILES: [&str; 2] = ["old.sqlite3", "new.sqlite3"];
const MIGRATION_FLAG: &str = "migration_flag";
const ROUTER_FLAG: &str = "new_db_router_flag";
const STEPS: usize = 8;
/// How often the files are asked how far the move is.
const WATCH_PAUSE: Duration = Duration::from_millis(250);
/// How much longer than twice the run sessions may take to move, on a slow disk.
const MOVE_PATIENCE: Duration = Duration::from_secs(60);
/// Between two swaps while sessions move.
const SWAP_PAUSE: Duration = Duration::from_millis(1_500);
/// Calls of a run, about. Each is 72 bytes of history, and as much again while it is checked: a long run is made slower instead.
const CALLS_MAX: f64 = 4e6;

/// What a step of the story took.
pub(crate) struct StepReport {
    pub(crate) title: &'static str,
    pub(crate) policy: String,
    pub(crate) routed_to: String,
    pub(crate) seconds: f64,
    pub(crate) calls: u64,
    pub(crate) failed: u64,
}

/// A run that came to its end, for the audit and the report.
pub(crate) struct Told {
    pub(crate) site: Arc<Site>,
    operations: Vec<Operation>,
    /// What is in the history before this are the sessions that were there, as creates.
    pub(crate) traffic_began: Micros,
    pub(crate) steps: Vec<StepReport>,
    pub(crate) old_path: PathBuf,
    pub(crate) new_path: PathBuf,
    /// Between these instants the new database became home: what it was acknowledged before is in the old one too.
    pub(crate) cutover: Period,
    /// When both databases were written, and the old one was still home.
    pub(crate) both_written: Period,
    /// When policies were swapped, rolled back or refused, and flags were set.
    pub(crate) changes: Vec<Changed>,
    pub(crate) swaps: u64,
    pub(crate) flag_changes: u64,
    pub(crate) policies_refused: u64,
    pub(crate) traffic_seconds: f64,
    /// Both files side by side, when every session had been carried over.
    pub(crate) comparison: Comparison,
    /// When the traffic had ended and everything was closed.
    pub(crate) ended: Micros,
}

impl Told {
    /// Everything that happened to every session.
    pub(crate) fn take_history(&mut self) -> History {
        History::new(std::mem::take(&mut self.operations))
    }
}

/// Tells the story in `dir`.
pub(crate) async fn tell(options: &Options, dir: &Path) -> Result<Told> {
    let mut story = Story::begin(options, dir).await?;
    let told = story.walk().await;
    story.progress.finish();
    let Walked { operations, traffic_began, both_written, cutover, comparison, traffic_seconds } = told?;
    story.switchover.close().await;
    Ok(Told {
        ended: story.site.clock.now(),
        site: story.site,
        operations,
        traffic_began,
        steps: story.steps,
        old_path: story.old_path,
        new_path: story.new_path,
        both_written,
        cutover,
        changes: story.changes,
        swaps: story.swaps,
        flag_changes: story.flag_changes,
        policies_refused: story.policies_refused,
        traffic_seconds,
        comparison,
    })
}

struct Story {
    switchover: Switchover,
    flags: FlagSwitch,
    old: Sqlite,
    new: Sqlite,
    old_path: PathBuf,
    new_path: PathBuf,
    site: Arc<Site>,
    seeded: Vec<Operation>,
    progress: Progress,
    steps: Vec<StepReport>,
    step_began: (Instant, u64, u64),
    changes: Vec<Changed>,
    swaps: u64,
    flag_changes: u64,
    policies_refused: u64,
    seconds: f64,
    concurrency: usize,
    seed: u64,
}

struct Walked {
    operations: Vec<Operation>,
    traffic_began: Micros,
    both_written: Period,
    cutover: Period,
    comparison: Comparison,
    traffic_seconds: f64,
}

impl Story {
    /// Two files, sessions in the old one, and a host on `cached-db`.
    async fn begin(options: &Options, dir: &Path) -> Result<Self> {
        let progress = Progress::new(STEPS);
        progress.step("two files, and sessions as Django wrote them");
        let paths = FILES.map(|name| dir.join(name));
        let [old, new] = [seed::table(&paths[0]).await?, seed::table(&paths[1]).await?];
        let [old_path, new_path] = paths;
        let flags = FlagSwitch::new([(MIGRATION_FLAG, "false"), (ROUTER_FLAG, "false")]);
        let switchover = Switchover::builder()
            .database(OLD, old.clone())
            .database(NEW, new.clone())
            .cache(MemoryCache::default())
            .flags(flags.clone())
            .policy(Policy::builtin(Builtin::CachedDb))
            .build()
            .await?;
        let seconds = options.seconds as f64;
        let micros = |share: f64| (seconds * share * 1e6) as Micros;
        let site = Site {
            sessions: switchover.sessions(),
            population: Population::default(),
            scribe: Scribe::new(),
            clock: RunClock::start(SystemClock.now()),
            meter: Meter::default(),
            living_target: options.sessions,
            lifetimes: Lifetimes { uses: micros(10.0)..micros(20.0), others: micros(0.2)..micros(0.5) },
            calls_per_second_max: (CALLS_MAX / seconds / options.concurrency as f64).max(1.0),
            cleaned: 0.into(),
            nameless: 0.into(),
        };
        let seeded = seed::sessions(&site, options, &old_path)?;
        Ok(Self {
            switchover,
            flags,
            old,
            new,
            old_path,
            new_path,
            site: Arc::new(site),
            seeded,
            progress,
            steps: Vec::new(),
            step_began: (Instant::now(), 0, 0),
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
        self.progress.watch(Arc::clone(&self.site));
        let walked = self.walk_under_traffic().await;
        let mut operations = traffic.stop().await?;
        let traffic_seconds = (self.site.clock.now() - traffic_began) as f64 / 1e6;
        let (both_written, cutover, comparison) = walked?;

        let title = "every living session is read back";
        self.step(title);
        operations.append(&mut traffic::read_back(&self.site).await);
        operations.append(&mut self.seeded);
        self.end_step(title, NEW).await?;
        Ok(Walked { operations, traffic_began, both_written, cutover, comparison, traffic_seconds })
    }

    async fn walk_under_traffic(&mut self) -> Result<(Period, Period, Comparison)> {
        let cached_db = || Policy::builtin(Builtin::CachedDb);
        let fallback = || Policy::builtin(Builtin::Fallback);

        let title = "cached-db serves the old database";
        self.begin_step();
        self.pause(0.06).await;
        self.swap(cached_db()).await?;
        self.pause(0.03).await;
        self.end_step(title, OLD).await?;

        let title = "the proxy is swapped in";
        self.step(title);
        self.swap(fallback()).await?;
        self.pause(0.03).await;
        self.refuse(b"not a component".to_vec()).await?;
        let component = Builtin::Fallback.component();
        self.refuse(component[..component.len() / 2].to_vec()).await?;
        self.swap(fallback()).await?;
        self.pause(0.02).await;
        self.roll_back().await?;
        self.pause(0.02).await;
        self.end_step(title, OLD).await?;

        let title = "migration_flag on: writes go to both";
        self.step(title);
        self.set_flag(MIGRATION_FLAG, true).await?;
        let both_began = self.site.clock.now();
        self.wait_until_moved(fallback).await?;
        self.end_step(title, OLD).await?;

        let title = "rows are compared both ways";
        self.step(title);
        let comparison = compare(&self.old, &self.new, &mut |_| {}).await?;
        self.progress.event(&format!("{} rows are equal, {} differ", comparison.equal, comparison.differences()));
        self.end_step(title, OLD).await?;

        let title = "new_db_router_flag on: the new one is home";
        self.step(title);
        let cutover_began = self.site.clock.now();
        self.set_flag(ROUTER_FLAG, true).await?;
        let cutover = (cutover_began, self.site.clock.now());
        self.pause(0.04).await;
        self.swap(fallback()).await?;
        self.pause(0.04).await;
        self.end_step(title, NEW).await?;

        let title = "migration_flag off";
        self.step(title);
        self.set_flag(MIGRATION_FLAG, false).await?;
        self.pause(0.06).await;
        self.end_step(title, NEW).await?;

        let title = "cached-db is swapped in on the new one";
        self.step(title);
        let on_new = || cached_db().setting("database", NEW);
        self.swap(on_new()).await?;
        self.pause(0.04).await;
        self.roll_back().await?;
        self.pause(0.02).await;
        self.swap(on_new()).await?;
        self.pause(0.06).await;
        self.end_step(title, NEW).await?;
        Ok(((both_began, cutover.1), cutover, comparison))
    }

    /// Until no unexpired session is in the old database alone: those that are used were carried over by a write, the others
    /// have expired. Policies are swapped meanwhile.
    async fn wait_until_moved(&mut self, policy: impl Fn() -> Policy) -> Result<()> {
        let give_up = Instant::now() + Duration::from_secs_f64(self.seconds * 2.0) + MOVE_PATIENCE;
        let mut watch = Watch::open(&self.old_path, &self.new_path)?;
        let mut next_swap = Instant::now() + SWAP_PAUSE;
        loop {
            let now = self.site.clock.now();
            let looked = tokio::task::spawn_blocking(move || watch.count(now).map(|counts| (counts, watch))).await?;
            let counts;
            (counts, watch) = looked?;
            self.progress.moved(counts);
            if counts.only_old == 0 {
                return Ok(());
            }
            let waiting = counts.only_old;
            ensure!(
                Instant::now() < give_up,
                "{waiting} sessions are still in the old database alone: take fewer --sessions or more --concurrency"
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

    async fn swap(&mut self, policy: Policy) -> Result<()> {
        let began = Instant::now();
        let from = self.site.clock.now();
        let version = self.switchover.swap_policy(policy).await.context("a swap failed")?;
        self.changed(Change::Policy, from);
        self.swaps += 1;
        self.progress.event(&format!("swapped to {version} in {:.0} ms", began.elapsed().as_secs_f64() * 1e3));
        Ok(())
    }

    async fn roll_back(&mut self) -> Result<()> {
        let from = self.site.clock.now();
        let version = self.switchover.rollback_policy().await.context("a rollback failed")?;
        self.changed(Change::Policy, from);
        self.swaps += 1;
        self.progress.event(&format!("rolled back to {version}"));
        Ok(())
    }

    /// A policy that cannot be used is refused, and the one that runs goes on.
    async fn refuse(&mut self, bytes: Vec<u8>) -> Result<()> {
        let before = self.switchover.policy().version;
        let from = self.site.clock.now();
        let refused = self.switchover.swap_policy(Policy::bytes(bytes)).await;
        self.changed(Change::Policy, from);
        let Err(error) = refused else { bail!("a broken policy was taken into use") };
        ensure!(self.switchover.policy().version == before, "a broken policy displaced the one that ran");
        self.policies_refused += 1;
        self.progress.event(&format!("refused: {error}"));
        Ok(())
    }

    async fn set_flag(&mut self, name: &str, on: bool) -> Result<()> {
        let from = self.site.clock.now();
        self.flags.set(name, if on { "true" } else { "false" });
        self.switchover.apply_flags().await.context("a change of flags failed")?;
        self.changed(Change::Flags, from);
        self.flag_changes += 1;
        Ok(())
    }

    fn changed(&mut self, what: Change, from: Micros) {
        self.changes.push(Changed { what, from, to: self.site.clock.now() });
    }

    async fn pause(&self, share: f64) {
        tokio::time::sleep(Duration::from_secs_f64(self.seconds * share)).await;
    }

    fn step(&mut self, title: &str) {
        self.progress.step(title);
        self.begin_step();
    }

    fn begin_step(&mut self) {
        self.step_began = (Instant::now(), self.site.meter.calls(), self.site.meter.failures());
    }

    /// The router tells other parts of the site where sessions are: it has to agree with the step.
    async fn end_step(&mut self, title: &'static str, expected: &str) -> Result<()> {
        let router = self.switchover.router();
        let read = router.db_for_read("sessions", "session").await?;
        let written = router.db_for_write("sessions", "session").await?;
        ensure!(
            read.as_str() == expected && written == read,
            "{title}: the router says {read} and {written} instead of {expected}"
        );
        let (began, calls, failed) = self.step_began;
        self.steps.push(StepReport {
            title,
            policy: self.switchover.policy().version.name,
            routed_to: read.to_string(),
            seconds: began.elapsed().as_secs_f64(),
            calls: self.site.meter.calls() - calls,
            failed: self.site.meter.failures() - failed,
        });
        Ok(())
    }
}
