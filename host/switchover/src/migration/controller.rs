//! The operator's steps: each is safe to repeat, and is made by a compare-and-set of the control document.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use switchover_core::Timestamp;
use switchover_core::capabilities::{
    Control, Database, DatabaseError, Decision, Document, Epoch, GivingUp, HostRow, SideTables,
};
use switchover_protocol::{
    Edge, Effect, Facts, Finding, Guard, Phase, Profile, Side, Verdict, edge, edges_from, entered,
};

use super::carried::ensure_carried;
use super::document::{fence, phase, profile, standing, with_standing};
use super::error::{CompareError, MigrationError};
use super::member::{POLICY_DEFAULT, check_name, deadline};

/// How long one question to one of the two databases may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a raise may take: it waits out every transaction that is not paused, and then steps back.
const RAISE_PATIENCE: Duration = Duration::from_secs(4);
/// Attempts to seal the old table, and the pause after the first of them.
const SEALS_MAX: u32 = 4;
const SEAL_PAUSE: Duration = Duration::from_millis(50);
/// Attempts of a change beside which hosts seal the epoch, or jobs report.
const CHANGED_MAX: u32 = 20;
/// Why a host is not given up yet.
const ALIVE: &str =
    "its lease has not run out, so it may still be running: stop it, and wait until its lease has run out";
/// The fence of a closed migration. No host reaches it.
const CLOSED: Epoch = Epoch(i64::MAX as u64);

/// The operator's end of one migration. It may run anywhere, in any number of processes at the same time.
#[derive(Clone)]
pub struct Controller {
    pub(super) control: Arc<dyn Control>,
    pub(super) migration: Arc<str>,
    pub(super) old: Arc<dyn Database>,
    pub(super) new: Arc<dyn Database>,
    by: String,
}

/// How a migration begins.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// How idle sessions get into the new database.
    pub profile: Profile,
    /// The policy that answers, by its name.
    pub policy: String,
    /// Further flags of the policy.
    pub flags: Vec<(String, String)>,
}

impl Default for Beginning {
    fn default() -> Self {
        Self { profile: Profile::Backfill, policy: POLICY_DEFAULT.to_owned(), flags: Vec::new() }
    }
}

/// A step that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The phase that was left.
    pub from: Phase,
    /// The phase in force.
    pub to: Phase,
    /// The epoch in force.
    pub epoch: Epoch,
    /// The guards that were checked.
    pub findings: Vec<Finding>,
}

/// Whether the epoch in force is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// It is: nothing older can happen any more.
    Sealed(Epoch),
    /// It waits for these, a line each.
    Waits(Vec<String>),
}

impl Controller {
    /// Of a migration in these control tables, between these two databases. `by` says in the log who decides.
    pub fn new(
        migration: impl Into<Arc<str>>,
        control: Arc<dyn Control>,
        old: Arc<dyn Database>,
        new: Arc<dyn Database>,
        by: impl Into<String>,
    ) -> Self {
        Self { control, migration: migration.into(), old, new, by: by.into() }
    }

    /// The name of the migration.
    pub fn migration(&self) -> &str {
        &self.migration
    }

    /// The two databases, the old one first.
    pub fn databases(&self) -> [Arc<dyn Database>; 2] {
        [Arc::clone(&self.old), Arc::clone(&self.new)]
    }

    /// What [`Controller::init`] would execute, with the database of each statement.
    ///
    /// # Errors
    ///
    /// As for [`Controller::init`].
    pub async fn planned(&self) -> Result<Vec<(String, String)>, MigrationError> {
        self.check_pair().await?;
        let mut planned = Vec::new();
        let mut add = |place: String, statements: Vec<String>| {
            planned.extend(statements.into_iter().map(|statement| (place.clone(), statement)));
        };
        add(self.control.summary(), self.control.missing(deadline()).await.map_err(|e| self.of_control(e))?);
        for side in [Side::New, Side::Old] {
            let missing = self.side_tables(side)?.missing(patience()).await;
            add(self.database(side).summary(), missing.map_err(|error| self.of_side(side, error))?);
        }
        Ok(planned)
    }

    /// Closes both databases and the control tables. Not for the controller of a host, which has them in use.
    pub async fn close(&self) {
        for database in [&self.old, &self.new] {
            database.close().await;
        }
        self.control.close().await;
    }

    /// Whether [`Controller::init`] could be made now. Returns what it would execute.
    ///
    /// # Errors
    ///
    /// As for [`Controller::init`].
    pub async fn look_at_init(&self, beginning: &Beginning) -> Result<Vec<(String, String)>, MigrationError> {
        self.check(beginning)?;
        self.planned().await
    }

    /// Begins the migration: makes the side tables and fences in both databases, the control tables, and the control
    /// document in `off`. Returns what it executed. It changes nothing that is there, so it may be repeated.
    ///
    /// # Errors
    ///
    /// [`MigrationError::Invalid`] if the databases are one, or cannot carry the migration, or a name is none.
    pub async fn init(&self, beginning: Beginning) -> Result<Vec<(String, String)>, MigrationError> {
        self.check(&beginning)?;
        self.check_pair().await?;
        let mut done = Vec::new();
        let mut add = |place: String, statements: Vec<String>| {
            done.extend(statements.into_iter().map(|statement| (place.clone(), statement)));
        };
        for side in [Side::New, Side::Old] {
            let side_tables = self.side_tables(side)?;
            let of_side = |error| self.of_side(side, error);
            add(self.database(side).summary(), side_tables.prepare(patience()).await.map_err(of_side)?);
            side_tables.make_fence(Arc::clone(&self.migration), patience()).await.map_err(of_side)?;
        }
        let prepared = self.control.prepare(deadline()).await.map_err(|error| self.of_control(error))?;
        add(self.control.summary(), prepared);
        let document = Document {
            migration: Arc::clone(&self.migration),
            version: 1,
            epoch: Epoch(1),
            phase: Phase::Off.as_str().to_owned(),
            profile: beginning.profile.as_str().to_owned(),
            policy: beginning.policy,
            flags: lines(&beginning.flags),
            sealed: Epoch(0),
            settled: None,
            verified: None,
            backfilled: None,
            held: None,
            rate: None,
            old: self.old.summary(),
            new: self.new.summary(),
            since: Timestamp::from_micros(0),
            continued_by: None,
        };
        let decision = self.decision(Epoch(1), "init", &[]);
        self.control.create(document, decision, deadline()).await.map_err(|error| self.of_control(error))?;
        Ok(done)
    }

    /// The control document.
    ///
    /// # Errors
    ///
    /// [`MigrationError::NoSuchMigration`]; [`MigrationError::Control`].
    pub async fn document(&self) -> Result<Document, MigrationError> {
        let document = self.control.document(Arc::clone(&self.migration), deadline()).await;
        let document = document.map_err(|error| self.of_control(error))?;
        document.ok_or_else(|| MigrationError::NoSuchMigration { migration: self.migration.to_string() })
    }

    /// Seals the epoch in force, if its barrier is complete: raises both fences, new first. The hosts do this by
    /// themselves as well.
    ///
    /// # Errors
    ///
    /// [`MigrationError::Database`] if a database does not answer: while one is down, no epoch is sealed.
    pub async fn seal(&self) -> Result<Sealing, MigrationError> {
        let document = self.document().await?;
        if document.sealed == document.epoch {
            return Ok(Sealing::Sealed(document.epoch));
        }
        let waits = waits_for(&self.hosts().await?, document.epoch);
        if !waits.is_empty() {
            return Ok(Sealing::Waits(waits));
        }
        for side in [Side::New, Side::Old] {
            match self.side_tables(side)?.raise(fence(&document), Instant::now() + RAISE_PATIENCE).await {
                Ok(_) => {}
                Err(DatabaseError::Conflict { .. }) => {
                    let database = self.database(side).summary();
                    return Ok(Sealing::Waits(vec![format!("writes of earlier epochs at {database}")]));
                }
                Err(error) => return Err(self.of_side(side, error)),
            }
        }
        let epoch = document.epoch;
        let decision = match phase(&document)? {
            Phase::Complete => Some(self.decision(epoch, &self.seal_old().await, &[])),
            _ => None,
        };
        self.replace(Document { sealed: epoch, ..document }, decision).await?;
        Ok(Sealing::Sealed(epoch))
    }

    /// Lets writes of the old table fail: in `complete` only a program that was forgotten makes one. Says what it did.
    async fn seal_old(&self) -> String {
        let words = format!("the sessions have moved to {}: stop this program", self.new.summary());
        let failed = |error: &dyn Display| format!("the old table could not be made to refuse writes: {error}");
        let old = match self.side_tables(Side::Old) {
            Ok(old) => old,
            Err(error) => return failed(&error),
        };
        let mut attempts = 1;
        loop {
            match old.seal(words.clone(), Instant::now() + RAISE_PATIENCE).await {
                Ok(()) => return "the old table refuses writes from here on".to_owned(),
                Err(error) if attempts == SEALS_MAX => return failed(&error),
                // Somebody else does the same at this moment.
                Err(_) => tokio::time::sleep(SEAL_PAUSE * attempts).await,
            }
            attempts += 1;
        }
    }

    /// Waits until the epoch in force is sealed, at most `patience`. Tells `waiting` what it waits for, each time that
    /// it has looked.
    ///
    /// # Errors
    ///
    /// [`MigrationError::NotSealed`] after `patience`; otherwise as [`Controller::seal`].
    pub async fn sealed(
        &self,
        patience: Duration,
        waiting: &mut (dyn FnMut(&[String]) + Send),
    ) -> Result<Epoch, MigrationError> {
        let give_up = Instant::now() + patience;
        loop {
            let waits_for = match self.seal().await {
                Ok(Sealing::Sealed(epoch)) => return Ok(epoch),
                Ok(Sealing::Waits(waits)) => waits,
                // Others have sealed it at the same time.
                Err(MigrationError::Changed) => continue,
                Err(error) if Instant::now() >= give_up => return Err(error),
                Err(error) => vec![error.to_string()],
            };
            waiting(&waits_for);
            if Instant::now() >= give_up {
                return Err(MigrationError::NotSealed { waits_for });
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// What [`Controller::step`] would find: the edge's guards, each with its verdict, up to the first that forbids the
    /// step.
    ///
    /// # Errors
    ///
    /// As for [`Controller::step`], without [`MigrationError::Red`].
    pub async fn look(&self, to: Phase) -> Result<Vec<Finding>, MigrationError> {
        let document = self.document().await?;
        let edge = self.edge(&document, to)?;
        self.findings(&document, edge).await
    }

    /// Goes to a neighbouring phase, or settles `mirror` by a step to itself, if every guard is green.
    ///
    /// # Errors
    ///
    /// [`MigrationError::NoSuchStep`], [`MigrationError::NotSealed`], [`MigrationError::Red`],
    /// [`MigrationError::Changed`]: nothing has changed.
    pub async fn step(&self, to: Phase) -> Result<Step, MigrationError> {
        self.step_over(to, &[]).await
    }

    /// [`Controller::step`], although these guards are not green. Only a guard that is advice can be named: the step is
    /// safe without it. The log says which were overridden.
    ///
    /// # Errors
    ///
    /// As for [`Controller::step`]; [`MigrationError::Invalid`] if a guard is hard.
    pub async fn step_over(&self, to: Phase, overridden: &[Guard]) -> Result<Step, MigrationError> {
        if let Some(hard) = overridden.iter().find(|guard| guard.is_hard()) {
            let message = format!("the guard `{hard}` cannot be overridden: {}", hard.remedy());
            return Err(MigrationError::Invalid { message });
        }
        self.again(|document| self.step_from(document, to, overridden)).await
    }

    async fn step_from(&self, document: Document, to: Phase, overridden: &[Guard]) -> Result<Step, MigrationError> {
        let edge = self.edge(&document, to)?;
        self.ensure_sealed(&document).await?;
        let findings = self.findings(&document, edge).await?;
        let is_red = |finding: &&Finding| finding.verdict != Verdict::Green;
        if findings.iter().filter(is_red).any(|finding| !overridden.contains(&finding.guard)) {
            return Err(MigrationError::Red { findings });
        }
        if edge.effect == Effect::EmptiesNew {
            self.empty_new(&document).await?;
        }
        let standing = entered(standing(&document)?, edge);
        let mut next = with_standing(&document, &standing);
        if edge.effect == Effect::Forgets || edge.from == Phase::Off {
            next.backfilled = None;
        }
        let (epoch, from) = (next.epoch, edge.from);
        let what = if from == to { format!("settle {from}") } else { format!("{from} -> {to}") };
        let names: Vec<_> = findings.iter().filter(is_red).map(|finding| finding.guard.as_str()).collect();
        let what = if names.is_empty() { what } else { format!("{what}, overriding {}", names.join(", ")) };
        let decision = self.decision(document.epoch, &what, &findings);
        self.replace(next, Some(decision)).await?;
        Ok(Step { from, to, epoch, findings })
    }

    /// Changes the policy, or its flags, of the whole fleet: an epoch of the same phase.
    ///
    /// # Errors
    ///
    /// [`MigrationError::NotSealed`], [`MigrationError::Changed`]; [`MigrationError::Invalid`] names what cannot be a
    /// policy or a flag.
    pub async fn change_policy(&self, policy: String, flags: Vec<(String, String)>) -> Result<Epoch, MigrationError> {
        ensure_policy(&policy, &flags)?;
        let (policy, flags) = (&policy, &lines(&flags));
        self.again(move |document| async move {
            self.ensure_sealed(&document).await?;
            let mut next = with_standing(&document, &standing(&document)?.with_next_epoch());
            next.flags.clone_from(flags);
            next.policy.clone_from(policy);
            let decision = self.decision(document.epoch, &format!("policy {} -> {policy}", document.policy), &[]);
            let epoch = next.epoch;
            self.replace(next, Some(decision)).await?;
            Ok(epoch)
        })
        .await
    }

    /// Whether [`Controller::change_policy`] could be made now.
    ///
    /// # Errors
    ///
    /// As for [`Controller::change_policy`].
    pub async fn look_at_change(&self, policy: &str, flags: &[(String, String)]) -> Result<(), MigrationError> {
        ensure_policy(policy, flags)?;
        let document = self.document().await?;
        if document.sealed == document.epoch {
            return Ok(());
        }
        Err(MigrationError::NotSealed { waits_for: waits_for(&self.hosts().await?, document.epoch) })
    }

    /// Stops the jobs that copy, or with `None` lets them go on. Calls are not touched.
    ///
    /// # Errors
    ///
    /// As for [`Controller::document`]; [`MigrationError::Changed`].
    pub async fn hold(&self, why: Option<String>) -> Result<(), MigrationError> {
        let what = why.as_ref().map_or_else(|| "resume".to_owned(), |why| format!("hold: {why}"));
        let (why, what) = (&why, &what);
        self.again(move |document| async move {
            let decision = self.decision(document.epoch, what, &[]);
            self.replace(Document { held: why.clone(), ..document }, Some(decision)).await
        })
        .await
    }

    /// Sets how many rows a second the jobs may copy or compare; `None`: as many as the databases bear.
    ///
    /// # Errors
    ///
    /// As for [`Controller::hold`].
    pub async fn set_rate(&self, rate: Option<u64>) -> Result<(), MigrationError> {
        let what = rate.map_or_else(|| "no rate".to_owned(), |rate| format!("rate {rate} rows/s"));
        let what = &what;
        self.again(move |document| async move {
            let decision = self.decision(document.epoch, what, &[]);
            self.replace(Document { rate, ..document }, Some(decision)).await
        })
        .await
    }

    /// Gives up a host that holds up a barrier. Only one whose lease has run out.
    ///
    /// # Errors
    ///
    /// [`MigrationError::Invalid`] if there is no such host, or it may still be running.
    pub async fn evict(&self, host: &str) -> Result<(), MigrationError> {
        let document = self.document().await?;
        let row = self.host(host).await?;
        let given_up = self.control.give_up(row.member, document.epoch, deadline()).await;
        let message = match given_up.map_err(|error| self.of_control(error))? {
            GivingUp::Done => return self.note(&format!("evict {host}")).await,
            GivingUp::Alive => ALIVE,
            GivingUp::Changed => "it has acknowledged meanwhile, has started again, or is gone: look at the status",
        };
        Err(MigrationError::Invalid { message: format!("host `{host}` was not given up: {message}") })
    }

    /// Whether [`Controller::evict`] could be made now.
    ///
    /// # Errors
    ///
    /// As for [`Controller::evict`].
    pub async fn look_at_eviction(&self, host: &str) -> Result<(), MigrationError> {
        match self.host(host).await?.lease_left {
            None => Ok(()),
            Some(_) => {
                Err(MigrationError::Invalid { message: format!("host `{host}` would not be given up: {ALIVE}") })
            }
        }
    }

    async fn hosts(&self) -> Result<Vec<HostRow>, MigrationError> {
        let hosts = self.control.hosts(Arc::clone(&self.migration), deadline()).await;
        hosts.map_err(|error| self.of_control(error))
    }

    async fn host(&self, host: &str) -> Result<HostRow, MigrationError> {
        self.hosts().await?.into_iter().find(|row| &*row.member.host == host).ok_or_else(|| MigrationError::Invalid {
            message: format!("the migration `{}` has no host `{}`", self.migration, host.escape_debug()),
        })
    }

    /// Writes a line into the log of decisions.
    pub(super) async fn note(&self, what: &str) -> Result<(), MigrationError> {
        self.again(move |document| async move {
            let decision = self.decision(document.epoch, what, &[]);
            self.replace(document, Some(decision)).await
        })
        .await
    }

    pub(super) fn database(&self, side: Side) -> &Arc<dyn Database> {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }

    pub(super) fn side_tables(&self, side: Side) -> Result<&dyn SideTables, MigrationError> {
        let database = self.database(side);
        database.side_tables().ok_or_else(|| MigrationError::Invalid {
            message: format!("{} cannot have side tables, so it cannot take part in a migration", database.summary()),
        })
    }

    fn check(&self, beginning: &Beginning) -> Result<(), MigrationError> {
        ensure_name("migration", &self.migration)?;
        ensure_policy(&beginning.policy, &beginning.flags)
    }

    async fn check_pair(&self) -> Result<(), MigrationError> {
        let mut identities = Vec::new();
        for side in [Side::Old, Side::New] {
            self.side_tables(side)?;
            let upkeep = self.database(side).upkeep();
            upkeep.check_columns(patience()).await.map_err(|error| self.of_side(side, error))?;
            self.ensure_table(side).await?;
            identities.push(upkeep.identity(patience()).await.map_err(|error| self.of_side(side, error))?);
        }
        if let [Some(old), Some(new)] = &identities[..] {
            if old == new {
                let message = format!("both databases are one table, {}: give two", self.old.summary());
                return Err(MigrationError::Invalid { message });
            }
            if old.shares_its_writer_with(new) {
                let message = "both tables are in one SQLite file, which takes one writer at a time: take two files";
                return Err(MigrationError::Invalid { message: message.to_owned() });
            }
        }
        match ensure_carried(self.old.as_ref(), self.new.as_ref(), PATIENCE).await {
            Ok(()) => Ok(()),
            Err(CompareError::Database { database, source }) => Err(MigrationError::Database { database, source }),
            Err(error) => Err(MigrationError::Invalid { message: error.to_string() }),
        }
    }

    /// Fails if the session table is missing: columns that are not there cannot differ.
    async fn ensure_table(&self, side: Side) -> Result<(), MigrationError> {
        let looked = self.database(side).upkeep().scan(None, 1, patience()).await;
        looked.map(drop).map_err(|error| self.of_side(side, error))
    }

    fn edge(&self, document: &Document, to: Phase) -> Result<&'static Edge, MigrationError> {
        let (from, profile) = (phase(document)?, profile(document)?);
        edge(profile, from, to).ok_or_else(|| MigrationError::NoSuchStep {
            from,
            to,
            open: edges_from(profile, from).map(|edge| edge.to).filter(|to| *to != from).collect(),
        })
    }

    /// Makes a change, again and again while hosts seal the epoch and jobs report beside it. Not once another epoch is
    /// in force: somebody else has made a step.
    async fn again<T, F>(&self, change: impl Fn(Document) -> F) -> Result<T, MigrationError>
    where
        F: Future<Output = Result<T, MigrationError>> + Send,
    {
        let mut document = self.document().await?;
        let epoch = document.epoch;
        for _ in 0..CHANGED_MAX {
            match change(document).await {
                Err(MigrationError::Changed) => document = self.document().await?,
                made => return made,
            }
            if document.epoch != epoch {
                break;
            }
        }
        Err(MigrationError::Changed)
    }

    /// Fails if the document's epoch is not sealed yet; with [`MigrationError::Changed`] if it is, and the document
    /// does not say so yet.
    async fn ensure_sealed(&self, document: &Document) -> Result<(), MigrationError> {
        if document.sealed == document.epoch {
            return Ok(());
        }
        match self.seal().await? {
            Sealing::Sealed(_) => Err(MigrationError::Changed),
            Sealing::Waits(waits_for) => Err(MigrationError::NotSealed { waits_for }),
        }
    }

    /// The guards of an edge with their verdicts, up to the first that forbids the step.
    pub(super) async fn findings(&self, document: &Document, edge: &Edge) -> Result<Vec<Finding>, MigrationError> {
        let (standing, mut facts, mut findings) = (standing(document)?, Facts::default(), Vec::new());
        for guard in edge.guards {
            self.find(*guard, document, &mut facts).await?;
            let finding = Finding { guard: *guard, verdict: guard.look(&standing, &facts) };
            findings.push(finding);
            if finding.blocks() {
                break;
            }
        }
        Ok(findings)
    }

    async fn find(&self, guard: Guard, document: &Document, facts: &mut Facts) -> Result<(), MigrationError> {
        match guard {
            Guard::SideTables => facts.side_tables = Some(self.has_side_tables().await?),
            Guard::LosslessSchema => {
                self.ensure_table(Side::New).await?;
                facts.lossless_schema = match ensure_carried(self.old.as_ref(), self.new.as_ref(), PATIENCE).await {
                    Ok(()) => Some(true),
                    Err(CompareError::Database { database, source }) => {
                        return Err(MigrationError::Database { database, source });
                    }
                    Err(_) => Some(false),
                };
            }
            Guard::PredecessorClosed => facts.predecessor_closed = Some(self.predecessors_are_closed().await?),
            Guard::Backfilled => facts.backfilled = Some(document.backfilled.is_some()),
            Guard::Settled | Guard::Verified => {}
            Guard::NoMarks(Side::Old) => facts.marks_at_old = Some(self.marks(Side::Old, document).await?),
            Guard::NoMarks(Side::New) => facts.marks_at_new = Some(self.marks(Side::New, document).await?),
            Guard::LivingAtNew => facts.living_not_at_new = Some(self.living_not_at_new(document).await?),
        }
        Ok(())
    }

    async fn has_side_tables(&self) -> Result<bool, MigrationError> {
        for side in [Side::Old, Side::New] {
            let (side_tables, of_side) = (self.side_tables(side)?, |error| self.of_side(side, error));
            let is_whole = side_tables.missing(patience()).await.map_err(of_side)?.is_empty();
            let fence = side_tables.fence(Arc::clone(&self.migration), patience()).await;
            if !is_whole || fence.map_err(of_side)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether every other migration of these two databases is closed, as far as these control tables know them.
    async fn predecessors_are_closed(&self) -> Result<bool, MigrationError> {
        let migrations = self.control.migrations(deadline()).await.map_err(|error| self.of_control(error))?;
        for other in migrations.into_iter().filter(|other| *other != self.migration) {
            for side in [Side::Old, Side::New] {
                let fence = self.side_tables(side)?.fence(Arc::clone(&other), patience()).await;
                if fence.map_err(|error| self.of_side(side, error))?.is_some_and(|fence| fence < CLOSED) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// How many keys of one of the two databases have a mark.
    pub(super) async fn marks(&self, side: Side, document: &Document) -> Result<u64, MigrationError> {
        let marks = self.side_tables(side)?.count_marks(fence(document), patience()).await;
        marks.map_err(|error| self.of_side(side, error))
    }

    async fn replace(&self, next: Document, decision: Option<Decision>) -> Result<(), MigrationError> {
        let replaced = self.control.replace(next, decision, deadline()).await;
        if replaced.map_err(|error| self.of_control(error))? { Ok(()) } else { Err(MigrationError::Changed) }
    }

    fn decision(&self, epoch: Epoch, what: &str, findings: &[Finding]) -> Decision {
        let guards = findings.iter().map(|finding| format!("{}: {finding}", finding.guard)).collect::<Vec<_>>();
        Decision { epoch, decision: format!("{what}, by {}", self.by), guards: guards.join("\n") }
    }

    pub(super) fn of_control(&self, source: DatabaseError) -> MigrationError {
        MigrationError::Control { database: self.control.summary(), source }
    }

    pub(super) fn of_side(&self, side: Side, source: DatabaseError) -> MigrationError {
        MigrationError::Database { database: self.database(side).summary(), source }
    }
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller").field("migration", &self.migration).finish_non_exhaustive()
    }
}

/// The hosts that a barrier waits for, each with the reason.
pub(super) fn waits_for(hosts: &[HostRow], epoch: Epoch) -> Vec<String> {
    let is_behind = |host: &&HostRow| host.given_up.is_none() && host.acknowledged < epoch;
    hosts
        .iter()
        .filter(is_behind)
        .map(|row| {
            let lease = match row.lease_left {
                Some(left) => format!("its lease lasts {} s yet", left.as_secs()),
                None => "its lease has run out: start it again, or give it up".to_owned(),
            };
            let (host, Epoch(acknowledged)) = (&row.member.host, row.acknowledged);
            format!("host `{host}`, which has acknowledged epoch {acknowledged} ({lease}; {})", row.about)
        })
        .collect()
}

fn ensure_name(what: &str, name: &str) -> Result<(), MigrationError> {
    check_name(name).map_err(|why| MigrationError::Invalid { message: format!("the name of the {what} {why}") })
}

/// Checks the name of a policy, and its flags: the control document has a line for each flag.
fn ensure_policy(policy: &str, flags: &[(String, String)]) -> Result<(), MigrationError> {
    ensure_name("policy", policy)?;
    let is_clean = |text: &str| !text.contains(char::is_control);
    let is_flag = |(name, value): &(String, String)| {
        !name.trim().is_empty() && !name.contains('=') && is_clean(name) && is_clean(value)
    };
    if flags.iter().all(is_flag) {
        return Ok(());
    }
    let message = "a flag has a name without `=`, and no control characters".to_owned();
    Err(MigrationError::Invalid { message })
}

fn lines(flags: &[(String, String)]) -> String {
    flags.iter().map(|(name, value)| format!("{}={}", name.trim(), value.trim())).collect::<Vec<_>>().join("\n")
}

fn patience() -> Instant {
    Instant::now() + PATIENCE
}
