//! A fleet of three hosts moves its sessions phase by phase, while a host dies, another one hangs, and the operator goes
//! back twice.

mod host;
mod operator;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use switchover::migration::Phase;
use switchover::{Limits, SessionKey, Timestamp};
use switchover_workload::history::{Micros, Operation};
use switchover_workload::patience::patiently;
use switchover_workload::table::{Move, RawRow};
use switchover_workload::traffic::{self, Site, Traffic};

use self::host::Host;
use self::operator::{Operator, rows};
use crate::demo::latency::{Change, Changed};
use crate::demo::progress::Progress;
use crate::demo::stage::Stage;
use crate::demo::steps::Steps;
use crate::demo::story::{NEW, OLD, known_keys, site};
use crate::demo::told::{Counts, Scheme, Told};
use crate::demo::{Options, seed};

const STEPS: usize = 12;
const FIRST_HOSTS: [&str; 3] = ["web-1", "web-2", "web-3"];
const LATER_HOST: &str = "web-4";
/// How long a host hangs: longer than hosts take for a step, and shorter than a lease.
const HANGS_FOR: Duration = Duration::from_secs(3);
/// The words of a sealed table, as `complete` makes it.
const SEAL: &str = "have moved to";

/// Runs all steps on `stage`. A server may be dead, paused or restarted at any moment after the beginning.
pub(crate) async fn tell(options: &Options, stage: &Stage) -> Result<Told> {
    let mut fleet = Fleet::begin(options, stage).await?;
    let walked = fleet.walk(options).await;
    fleet.steps.progress.finish();
    let Walked { operations, traffic_began, traffic_seconds } = walked?;
    let mut counts = Counts::default();
    for host in fleet.hosts.iter().chain(&fleet.dead) {
        counts.add(&host.switchover.counts());
    }
    for host in &fleet.hosts {
        host.switchover.close().await;
    }
    Ok(Told {
        counts,
        ended: fleet.site.clock.now(),
        site: fleet.site,
        operations,
        traffic_began,
        steps: fleet.steps.reports,
        old: stage.old.table.clone(),
        new: stage.new.table.clone(),
        changes: fleet.changes,
        traffic_seconds,
        scheme: Scheme::Phases(fleet.operator.done),
    })
}

struct Fleet<'s> {
    stage: &'s Stage,
    migration: String,
    hosts: Vec<Host>,
    dead: Vec<Host>,
    operator: Operator,
    site: Arc<Site>,
    seeded: Vec<Operation>,
    steps: Steps,
    changes: Vec<Changed>,
    phase: Phase,
}

struct Walked {
    operations: Vec<Operation>,
    traffic_began: Micros,
    traffic_seconds: f64,
}

impl<'s> Fleet<'s> {
    /// Sets up two tables, sessions in the old one, a migration in `off`, and its hosts.
    async fn begin(options: &Options, stage: &'s Stage) -> Result<Self> {
        let progress = Progress::new(STEPS);
        progress.step(stage.title());
        let site = Arc::new(site(options, std::iter::empty::<switchover::Sessions>().collect()));
        let seeded = seed::sessions(&site, options, &stage.old.table).await?;
        let migration = stage.migration().await?;
        let operator = Operator::begin(&migration, stage).await?;
        let mut fleet = Self {
            stage,
            migration,
            hosts: Vec::new(),
            dead: Vec::new(),
            operator,
            site,
            seeded,
            steps: Steps::new(progress, options.seconds as f64),
            changes: Vec::new(),
            phase: Phase::Off,
        };
        for name in FIRST_HOSTS {
            fleet.join(name).await?;
        }
        Ok(fleet)
    }

    async fn walk(&mut self, options: &Options) -> Result<Walked> {
        let traffic_began = self.site.clock.now();
        let traffic = Traffic::start(&self.site, options.concurrency, options.seed);
        self.steps.progress.watch(Arc::clone(&self.site));
        let walked = self.walk_under_traffic().await;
        let mut operations = traffic.stop().await?;
        let traffic_seconds = (self.site.clock.now() - traffic_began) as f64 / 1e6;
        walked?;

        let title = "every living session is read back";
        self.steps.step(title, &self.site.meter);
        operations.append(&mut traffic::read_back(&self.site).await?);
        operations.append(&mut self.seeded);
        self.end_step(title, NEW).await?;
        Ok(Walked { operations, traffic_began, traffic_seconds })
    }

    async fn walk_under_traffic(&mut self) -> Result<()> {
        let title = "off: three hosts serve the old database";
        self.steps.progress.event("visitors come");
        self.steps.step(title, &self.site.meter);
        self.steps.pause(0.05).await;
        self.end_step(title, OLD).await?;

        let title = "mirror: what is written is copied";
        self.steps.step(title, &self.site.meter);
        self.go(Phase::Mirror).await?;
        self.steps.pause(0.05).await;
        self.end_step(title, OLD).await?;

        let title = "back to off, and mirror again";
        self.steps.step(title, &self.site.meter);
        self.go_back(Phase::Off).await?;
        self.steps.pause(0.05).await;
        self.go(Phase::Mirror).await?;
        self.end_step(title, OLD).await?;

        let title = "a host dies; the others copy every row";
        self.steps.step(title, &self.site.meter);
        self.lose_a_host().await?;
        self.copied().await?;
        self.end_step(title, OLD).await?;

        let title = "mirror is settled; every row is compared";
        self.steps.step(title, &self.site.meter);
        self.operator.is_forbidden(Phase::Strict, &self.steps.progress).await?;
        self.go(Phase::Mirror).await?;
        self.verified().await?;
        self.end_step(title, OLD).await?;

        let title = "strict: both databases are written";
        self.steps.step(title, &self.site.meter);
        self.go(Phase::Strict).await?;
        self.steps.pause(0.05).await;
        self.end_step(title, OLD).await?;

        let title = "cutover: the new one decides; a host hangs";
        self.steps.step(title, &self.site.meter);
        self.hang_while_going(Phase::Cutover).await?;
        self.steps.pause(0.05).await;
        self.end_step(title, NEW).await?;

        let title = "back to strict, and cutover again";
        self.steps.step(title, &self.site.meter);
        self.go_back(Phase::Strict).await?;
        self.steps.pause(0.05).await;
        self.go(Phase::Cutover).await?;
        self.end_step(title, NEW).await?;

        let title = "reverse: the old one is copied to";
        self.steps.step(title, &self.site.meter);
        self.go(Phase::Reverse).await?;
        self.steps.pause(0.05).await;
        self.end_step(title, NEW).await?;

        let title = "complete: the old one refuses writes";
        self.steps.step(title, &self.site.meter);
        self.go(Phase::Complete).await?;
        self.forgotten_program_is_refused().await?;
        self.steps.pause(0.05).await;
        self.end_step(title, NEW).await
    }

    async fn join(&mut self, name: &'static str) -> Result<()> {
        self.hosts.push(Host::start(name, &self.migration, self.stage, &self.site.hosts).await?);
        self.operator.done.hosts_joined += 1;
        Ok(())
    }

    async fn go(&mut self, to: Phase) -> Result<()> {
        let from = self.site.clock.now();
        self.operator.go(to, &self.steps.progress).await?;
        let sealed = self.site.clock.now();
        self.changes.push(Changed { what: Change::Flags, from, to: sealed });
        let before = std::mem::replace(&mut self.phase, to);
        if matches!((before, to), (Phase::Strict, Phase::Cutover) | (Phase::Cutover, Phase::Strict)) {
            let longest = u64::try_from(Limits::default().call_wall_time.as_micros())?;
            self.operator.done.reads_moved.push((from.saturating_sub(longest), sealed));
        }
        Ok(())
    }

    async fn go_back(&mut self, to: Phase) -> Result<()> {
        self.go(to).await?;
        self.operator.done.steps_back += 1;
        Ok(())
    }

    /// The last host dies and never comes back; another one joins in its place.
    async fn lose_a_host(&mut self) -> Result<()> {
        let mut dead = self.hosts.pop().context("the fleet has hosts")?;
        dead.die(&self.site.hosts).await;
        self.steps.progress.event(&format!("{} is dead, and nobody told the fleet", dead.name));
        self.operator.dead.push(dead.name);
        self.dead.push(dead);
        self.join(LATER_HOST).await?;
        self.steps.progress.event(&format!("{LATER_HOST} has joined"));
        Ok(())
    }

    async fn hang_while_going(&mut self, to: Phase) -> Result<()> {
        let host = &self.hosts[1];
        host.hang(&self.site.hosts, HANGS_FOR).await;
        self.steps.progress.event(&format!("{} hangs for {} s", host.name, HANGS_FOR.as_secs()));
        self.go(to).await?;
        self.hosts[1].serve(&self.site.hosts);
        Ok(())
    }

    /// Waits until the backfill has reached the last key.
    async fn copied(&mut self) -> Result<()> {
        let looked = async || {
            let (old, new) = (&self.stage.old.table, &self.stage.new.table);
            let counts = patiently("the databases cannot be read", async || {
                let known = known_keys(&self.site);
                Move::count(old, new, self.site.clock.now(), |key| known.contains(key)).await
            });
            self.steps.progress.moved(counts.await?);
            Ok(())
        };
        let status = self.operator.reach("the backfill", |status| status.document.backfilled.is_some(), looked).await?;
        self.operator.done.rows_copied = rows(&status, "backfill");
        self.steps.progress.event(&format!("the backfill has walked {} rows", self.operator.done.rows_copied));
        Ok(())
    }

    /// Waits until a verification was whole.
    async fn verified(&mut self) -> Result<()> {
        let is_verified = |status: &switchover::migration::Status| {
            status.document.settled.is_some() && status.document.verified == status.document.settled
        };
        let status = self.operator.reach("the verification", is_verified, async || Ok(())).await?;
        self.operator.done.rows_verified = rows(&status, "verifier");
        self.steps.progress.event(&format!("{} rows were compared, and are alike", self.operator.done.rows_verified));
        Ok(())
    }

    /// A program that knows nothing of the migration still writes the old table.
    async fn forgotten_program_is_refused(&mut self) -> Result<()> {
        let row = RawRow {
            key: SessionKey::random().expose().to_owned(),
            data: "e30".to_owned(),
            expires_at: Timestamp::from_micros(self.site.clock.now() + 3_600_000_000),
        };
        let Err(refused) = self.stage.old.table.insert(vec![row]).await else {
            bail!("the old table took a write after `complete`");
        };
        let said = format!("{refused:#}");
        ensure!(said.contains(SEAL), "the old table cannot be written: {said}");
        self.operator.done.writes_refused += 1;
        self.steps.progress.event("a forgotten program cannot write the old table any more");
        Ok(())
    }

    /// Ends a step. Every host tells other parts of the site where sessions are, and must agree with the step.
    async fn end_step(&mut self, title: &'static str, expected: &str) -> Result<()> {
        for host in &self.hosts {
            let router = host.switchover.router();
            let ask = async || Ok(router.db_for_read("sessions", "session").await?);
            let read = patiently("the router does not answer", ask).await?;
            ensure!(read.as_str() == expected, "{title}: {} says {read} instead of {expected}", host.name);
        }
        let policy = self.hosts[0].switchover.policy().version.name;
        self.steps.end(title, policy, expected.to_owned(), &self.site.meter);
        Ok(())
    }
}
