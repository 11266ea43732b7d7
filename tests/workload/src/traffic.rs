//! The traffic of a busy site: logins, reads, saves, touches, logouts and new keys, often several at once on one
//! session.
//!
//! Each worker waits for an answer before its next call. It records its requests and the answers, and judges nothing.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use switchover::{CycleOutcome, Error, SaveOutcome, Timestamp};
use tokio::task::JoinSet;

use crate::contents::Scribe;
use crate::history::{Action, HostId, KeyId, Micros, Operation, Outcome, RunClock};
use crate::host::Host;
use crate::hosts::Hosts;
use crate::meter::Meter;
use crate::patience::patiently;
use crate::population::{Habit, Member, Population};

/// How often expired rows are deleted, and how many at a time.
const CLEANING_PAUSE: Duration = Duration::from_millis(500);
const CLEANING_LIMIT: u32 = 500;
/// The pause after an error. Without it, clients would ask a server that is away as fast as the machine can.
const FAILED_PAUSE: Duration = Duration::from_millis(20);

/// Everything that workers share.
pub struct Site {
    /// The session stores of the hosts; each call goes to any of them.
    pub hosts: Hosts,
    /// Who is logged in.
    pub population: Population,
    /// Writes the payloads.
    pub scribe: Scribe,
    /// Orders the history.
    pub clock: RunClock,
    /// Counts the outcomes of calls.
    pub meter: Meter,
    /// How many sessions the traffic keeps alive.
    pub living_target: usize,
    /// How long a session lives when it is written, by its habit.
    pub lifetimes: Lifetimes,
    /// The most calls that one worker makes in a second.
    pub calls_per_second_max: f64,
    /// The number of expired rows that were deleted.
    pub cleaned: AtomicU64,
    /// Creates of unknown outcome. Each may have left a row under a key that no caller received.
    pub nameless: AtomicU64,
}

impl AsRef<Meter> for Site {
    fn as_ref(&self) -> &Meter {
        &self.meter
    }
}

/// How long sessions live, in microseconds.
#[derive(Clone)]
pub struct Lifetimes {
    /// The lives of used sessions: they last until after the end of the run.
    pub uses: Range<Micros>,
    /// The lives of the others: they end within the run.
    pub others: Range<Micros>,
}

impl Lifetimes {
    /// A new expiry for a session of this habit.
    pub fn expiry(&self, habit: Habit, now: Micros, rng: &mut fastrand::Rng) -> Micros {
        match habit {
            Habit::Uses => now + rng.u64(self.uses.clone()),
            Habit::Looks | Habit::Away => now + rng.u64(self.others.clone()),
        }
    }
}

/// Workers that run until they are stopped.
pub struct Traffic {
    workers: JoinSet<Result<Vec<Operation>>>,
    stop: Arc<AtomicBool>,
}

impl Traffic {
    /// Starts `concurrency` workers and a cleaner. The seed decides what they do, but not the order of events.
    pub fn start(site: &Arc<Site>, concurrency: usize, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        for number in 0..concurrency {
            let worker = Worker::new(Arc::clone(site), fastrand::Rng::with_seed(seed.wrapping_add(number as u64)));
            workers.spawn(worker.run(Arc::clone(&stop)));
        }
        workers.spawn(clean(Arc::clone(site), Arc::clone(&stop)));
        Self { workers, stop }
    }

    /// Waits until every call under way has ended, and collects the history.
    pub async fn stop(mut self) -> Result<Vec<Operation>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut operations = Vec::new();
        while let Some(worker) = self.workers.join_next().await {
            operations.append(&mut worker.context("a worker panicked")??);
        }
        Ok(operations)
    }
}

/// Reads every session that should be alive once more. Repeats a failed read for as long as a server may be away.
pub async fn read_back(site: &Arc<Site>) -> Result<Vec<Operation>> {
    let worker = Worker::new(Arc::clone(site), fastrand::Rng::with_seed(0));
    for member in site.population.living() {
        let read = async || {
            ensure!(worker.look_up(&member).await != Outcome::Failed, "a load failed");
            Ok(())
        };
        patiently("a living session cannot be read back", read).await?;
    }
    Ok(worker.into_operations())
}

async fn clean(site: Arc<Site>, stop: Arc<AtomicBool>) -> Result<Vec<Operation>> {
    while !stop.load(Ordering::Relaxed) {
        let (_, host) = site.hosts.any(|_| 0);
        match host.clear_expired(CLEANING_LIMIT).await {
            Ok(count) => {
                site.meter.answered();
                site.cleaned.fetch_add(u64::from(count), Ordering::Relaxed);
            }
            Err(error) => site.meter.failed("clear_expired", &error),
        }
        tokio::time::sleep(CLEANING_PAUSE).await;
    }
    Ok(Vec::new())
}

/// The host of a call, and its start and end.
#[derive(Clone, Copy)]
struct Span {
    host: HostId,
    invoked: Micros,
    returned: Micros,
}

struct Worker {
    site: Arc<Site>,
    rng: Mutex<fastrand::Rng>,
    operations: Mutex<Vec<Operation>>,
}

impl Worker {
    fn new(site: Arc<Site>, rng: fastrand::Rng) -> Self {
        Self { site, rng: Mutex::new(rng), operations: Mutex::default() }
    }

    fn into_operations(self) -> Vec<Operation> {
        self.operations.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self, stop: Arc<AtomicBool>) -> Result<Vec<Operation>> {
        let began = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            self.turn().await?;
            let due = Duration::from_secs_f64(self.calls() as f64 / self.site.calls_per_second_max);
            if let Some(ahead) = due.checked_sub(began.elapsed()) {
                tokio::time::sleep(ahead).await;
            }
        }
        Ok(self.into_operations())
    }

    /// One visitor's request.
    async fn turn(&self) -> Result<()> {
        let (dice, member, ended) = self.with_rng(|rng| {
            let population = &self.site.population;
            // A session in turn is saved or touched: if some sessions were never written, the site would never have
            // moved.
            let in_turn = rng.u8(..6) == 0;
            let member = if in_turn { population.next() } else { population.pick(rng) };
            let dice = if in_turn { rng.u16(550..860) } else { rng.u16(..1_000) };
            (dice, member, population.pick_ended(rng))
        });
        let shortage = self.site.population.living_count() < self.site.living_target;
        let Some(member) = member.filter(|_| !(shortage && dice < 200)) else { return self.log_in().await };
        match (member.habit, dice) {
            (Habit::Looks | Habit::Away, 0..900) => self.load(&member).await,
            (Habit::Looks | Habit::Away, _) => self.exists(&member).await,
            (Habit::Uses, 0..550) => self.load(&member).await,
            (Habit::Uses, 550..730) => self.save(&member).await?,
            (Habit::Uses, 730..860) => self.touch(&member).await,
            (Habit::Uses, 860..866) => self.log_out(&member).await,
            (Habit::Uses, 866..872) => self.cycle(&member).await,
            (Habit::Uses, 872..890) => self.exists(&member).await,
            (Habit::Uses, 890..950) => self.visit_ended(ended.as_ref()).await?,
            (Habit::Uses, _) => self.several_at_once(&member).await?,
        }
        Ok(())
    }

    /// Makes overlapping calls on one session, as a browser does.
    async fn several_at_once(&self, member: &Arc<Member>) -> Result<()> {
        match self.with_rng(|rng| rng.u8(..16)) {
            0..12 => {
                let (saved, again, (), ()) =
                    tokio::join!(self.save(member), self.save(member), self.load(member), self.touch(member));
                saved.and(again)
            }
            12 => {
                let (saved, (), ()) = tokio::join!(self.save(member), self.log_out(member), self.load(member));
                saved
            }
            13 => {
                tokio::join!(self.cycle(member), self.log_out(member));
                Ok(())
            }
            14 => {
                tokio::join!(self.cycle(member), self.cycle(member), self.load(member));
                Ok(())
            }
            _ => {
                let (saved, (), ()) = tokio::join!(self.save(member), self.cycle(member), self.touch(member));
                saved
            }
        }
    }

    /// Uses an ended session: a logged-out user stays logged out, even if a late request saves.
    async fn visit_ended(&self, ended: Option<&Arc<Member>>) -> Result<()> {
        let Some(member) = ended else { return Ok(()) };
        match self.with_rng(|rng| rng.u8(..10)) {
            0 => self.save(member).await?,
            1 => self.touch(member).await,
            2 => self.exists(member).await,
            _ => self.load(member).await,
        }
        Ok(())
    }

    async fn log_in(&self) -> Result<()> {
        let now = self.site.clock.now();
        let (user, habit, payload, row) = self.with_rng(|rng| {
            let user = rng.u32(..);
            let habit = if rng.u8(..8) == 0 { Habit::Looks } else { Habit::Uses };
            let expires_at = self.site.lifetimes.expiry(habit, now, rng);
            self.site.scribe.write(user, expires_at, now, rng).map(|(payload, row)| (user, habit, payload, row))
        })?;
        let expires_at = Timestamp::from_micros(row.expires_at);
        let (span, answer) = self.timed("create", |host| async move { host.create(payload, expires_at).await }).await;
        match answer {
            Ok(key) => {
                let id = self.site.population.join(key, user, habit).id;
                self.note(id, span, Action::Create(row), Outcome::Done);
            }
            Err(error) if error.is_unknown_outcome() => {
                self.site.nameless.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {}
        }
        Ok(())
    }

    async fn load(&self, member: &Arc<Member>) {
        self.look_up(member).await;
    }

    async fn look_up(&self, member: &Arc<Member>) -> Outcome {
        let (span, answer) = self.timed("load", |host| async move { host.load(&member.key).await }).await;
        let outcome = match answer {
            Ok(Some(session)) => {
                Outcome::Found(self.site.scribe.read(session.payload.as_text().unwrap_or_default(), session.expires_at))
            }
            Ok(None) => Outcome::Absent,
            Err(error) => outcome_of(&error),
        };
        self.note(member.id, span, Action::Load, outcome);
        if outcome == Outcome::Absent {
            self.site.population.leave(member);
        }
        outcome
    }

    async fn save(&self, member: &Arc<Member>) -> Result<()> {
        let now = self.site.clock.now();
        let (payload, row) = self.with_rng(|rng| {
            let expires_at = self.site.lifetimes.expiry(member.habit, now, rng);
            self.site.scribe.write(member.user, expires_at, now, rng)
        })?;
        let expires_at = Timestamp::from_micros(row.expires_at);
        let (span, answer) =
            self.timed("save", |host| async move { host.save(&member.key, payload, expires_at).await }).await;
        let outcome = self.write_outcome(answer);
        self.note(member.id, span, Action::Save(row), outcome);
        Ok(())
    }

    async fn touch(&self, member: &Arc<Member>) {
        let now = self.site.clock.now();
        let expires_at = self.with_rng(|rng| self.site.lifetimes.expiry(member.habit, now, rng));
        let until = Timestamp::from_micros(expires_at);
        let (span, answer) = self.timed("touch", |host| async move { host.touch(&member.key, until).await }).await;
        let outcome = self.write_outcome(answer);
        self.note(member.id, span, Action::Touch(expires_at), outcome);
    }

    async fn log_out(&self, member: &Arc<Member>) {
        let (span, answer) = self.timed("delete", |host| async move { host.delete(&member.key).await }).await;
        let outcome = found_or_not(answer);
        self.note(member.id, span, Action::Delete, outcome);
        self.leave_if_over(member, outcome);
    }

    async fn exists(&self, member: &Arc<Member>) {
        let (span, answer) = self.timed("exists", |host| async move { host.exists(&member.key).await }).await;
        let outcome = found_or_not(answer);
        self.note(member.id, span, Action::Exists, outcome);
    }

    async fn cycle(&self, member: &Arc<Member>) {
        let (span, answer) = self.timed("cycle_key", |host| async move { host.cycle_key(&member.key).await }).await;
        let (outcome, new_key) = match answer {
            Ok(CycleOutcome::Cycled(key)) => (Outcome::Done, Some(key)),
            Ok(CycleOutcome::Missing) => (Outcome::Absent, None),
            Err(Error::CycleIncomplete { new_key, .. }) => (Outcome::Unknown, Some(new_key)),
            Err(error) => {
                self.site.nameless.fetch_add(u64::from(error.is_unknown_outcome()), Ordering::Relaxed);
                (outcome_of(&error), None)
            }
        };
        self.note(member.id, span, Action::CycleAway, outcome);
        if let Some(key) = new_key {
            let id = self.site.population.join(key, member.user, member.habit).id;
            self.note(id, span, Action::CycleFrom(member.id), Outcome::Done);
        }
        self.leave_if_over(member, outcome);
    }

    /// Without an answer that the session is over, its user goes on using it: it may live, and only in the old
    /// database.
    fn leave_if_over(&self, member: &Arc<Member>, outcome: Outcome) {
        if matches!(outcome, Outcome::Done | Outcome::Absent) {
            self.site.population.leave(member);
        }
    }

    fn write_outcome(&self, answer: Result<SaveOutcome, Error>) -> Outcome {
        match answer {
            Ok(SaveOutcome::Saved) => Outcome::Done,
            Ok(SaveOutcome::Missing) => Outcome::Absent,
            Ok(outcome @ (SaveOutcome::Exists | SaveOutcome::Conflict)) => {
                self.site.meter.absurd(format!("an update or a touch returned {outcome:?}"));
                Outcome::Failed
            }
            Err(error) => outcome_of(&error),
        }
    }

    /// Makes a call at one of the hosts, and counts it.
    async fn timed<T, C: Future<Output = Result<T, Error>>>(
        &self,
        name: &'static str,
        call: impl FnOnce(Host) -> C,
    ) -> (Span, Result<T, Error>) {
        let (clock, meter) = (&self.site.clock, &self.site.meter);
        let (id, host) = self.site.hosts.any(|several| self.with_rng(|rng| rng.usize(..several)));
        let invoked = clock.now();
        let answer = call(host).await;
        let returned = clock.now();
        match &answer {
            Ok(_) => meter.answered(),
            Err(error) => {
                meter.failed(name, error);
                tokio::time::sleep(FAILED_PAUSE).await;
            }
        }
        (Span { host: id, invoked, returned }, answer)
    }

    fn note(&self, key: KeyId, span: Span, action: Action, outcome: Outcome) {
        let Span { host, invoked, returned } = span;
        let operation = Operation { key, host, invoked, returned, action, outcome };
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
    }

    fn calls(&self) -> usize {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn with_rng<T>(&self, use_it: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        use_it(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn found_or_not(answer: Result<bool, Error>) -> Outcome {
    match answer {
        Ok(true) => Outcome::Done,
        Ok(false) => Outcome::Absent,
        Err(error) => outcome_of(&error),
    }
}

fn outcome_of(error: &Error) -> Outcome {
    if error.is_unknown_outcome() { Outcome::Unknown } else { Outcome::Failed }
}
