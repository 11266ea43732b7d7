//! The control tables in the process's memory, for tests and for a fleet in one process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use switchover_core::Timestamp;
use switchover_core::capabilities::{
    Beat, Clock, Control, DatabaseError, Decision, Document, Epoch, GivingUp, HostRow, JobRow, LoggedDecision, Member,
    Progress, SystemClock,
};
use switchover_core::sync::Mutex;

/// Control tables in memory. Cheap to clone; clones are the same tables.
#[derive(Clone, Default)]
pub struct MemoryControl {
    tables: Arc<Mutex<Tables>>,
}

#[derive(Default)]
struct Tables {
    documents: BTreeMap<Arc<str>, Document>,
    hosts: BTreeMap<(Arc<str>, Arc<str>), Host>,
    jobs: BTreeMap<(Arc<str>, String), Job>,
    /// Members are ordered by their three names.
    suspensions: BTreeMap<[Arc<str>; 3], Instant>,
    log: Vec<(Arc<str>, LoggedDecision)>,
}

struct Host {
    incarnation: Arc<str>,
    acknowledged: Epoch,
    lease_until: Instant,
    given_up: Option<Epoch>,
    about: String,
}

struct Job {
    holder: Member,
    lease_until: Option<Instant>,
    epoch: Epoch,
    progress: Progress,
    began: Timestamp,
    reported: Timestamp,
}

impl MemoryControl {
    /// Empty tables.
    pub fn new() -> Self {
        Self::default()
    }

    fn host<T>(&self, member: &Member, change: impl FnOnce(&mut Host) -> T) -> Option<T> {
        let mut tables = self.tables.lock();
        let host = tables.hosts.get_mut(&(Arc::clone(&member.migration), Arc::clone(&member.host)))?;
        (host.incarnation == member.incarnation).then(|| change(host))
    }

    fn job<T>(&self, job: &str, member: &Member, epoch: Epoch, change: impl FnOnce(&mut Job) -> T) -> Option<T> {
        let mut tables = self.tables.lock();
        let job = tables.jobs.get_mut(&(Arc::clone(&member.migration), job.to_owned()))?;
        (job.holder == *member && job.epoch == epoch).then(|| change(job))
    }
}

impl Tables {
    fn logs(&mut self, migration: &Arc<str>, decision: Decision) {
        self.log.push((Arc::clone(migration), LoggedDecision { at: now(), decision }));
    }
}

fn now() -> Timestamp {
    SystemClock.now()
}

fn left(until: Instant) -> Option<Duration> {
    until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
}

#[async_trait]
impl Control for MemoryControl {
    async fn missing(&self, _: Instant) -> Result<Vec<String>, DatabaseError> {
        Ok(Vec::new())
    }

    async fn prepare(&self, _: Instant) -> Result<Vec<String>, DatabaseError> {
        Ok(Vec::new())
    }

    async fn create(&self, document: Document, decision: Decision, _: Instant) -> Result<bool, DatabaseError> {
        let mut tables = self.tables.lock();
        let migration = Arc::clone(&document.migration);
        if tables.documents.contains_key(&migration) {
            return Ok(false);
        }
        tables.logs(&migration, decision);
        tables.documents.insert(migration, Document { version: 1, since: now(), ..document });
        Ok(true)
    }

    async fn document(&self, migration: Arc<str>, _: Instant) -> Result<Option<Document>, DatabaseError> {
        Ok(self.tables.lock().documents.get(&migration).cloned())
    }

    async fn replace(&self, next: Document, decision: Option<Decision>, _: Instant) -> Result<bool, DatabaseError> {
        let mut tables = self.tables.lock();
        let migration = Arc::clone(&next.migration);
        let Some(document) = tables.documents.get_mut(&migration).filter(|document| document.version == next.version)
        else {
            return Ok(false);
        };
        let since = if document.epoch == next.epoch { document.since } else { now() };
        *document = Document { version: next.version + 1, since, ..next };
        decision.into_iter().for_each(|decision| tables.logs(&migration, decision));
        Ok(true)
    }

    async fn migrations(&self, _: Instant) -> Result<Vec<Arc<str>>, DatabaseError> {
        Ok(self.tables.lock().documents.keys().cloned().collect())
    }

    async fn enter(
        &self,
        member: Member,
        acknowledged: Epoch,
        lease: Duration,
        about: String,
        _: Instant,
    ) -> Result<(), DatabaseError> {
        let incarnation = member.incarnation;
        let host = Host { incarnation, acknowledged, lease_until: Instant::now() + lease, given_up: None, about };
        self.tables.lock().hosts.insert((member.migration, member.host), host);
        Ok(())
    }

    async fn beat(&self, member: Member, suspended_for: Duration, _: Instant) -> Result<Option<Beat>, DatabaseError> {
        let is_member = self.host(&member, |_| ()).is_some();
        let tables = self.tables.lock();
        let Some(document) = tables.documents.get(&member.migration).cloned() else { return Ok(None) };
        let cache_suspended = tables
            .suspensions
            .iter()
            .any(|([migration, ..], until)| *migration == member.migration && left(*until + suspended_for).is_some());
        Ok(Some(Beat { document, is_member, cache_suspended }))
    }

    async fn renew(&self, member: Member, lease: Duration, about: String, _: Instant) -> Result<bool, DatabaseError> {
        let renewed = self.host(&member, |host| {
            host.lease_until = Instant::now() + lease;
            host.about = about;
        });
        Ok(renewed.is_some())
    }

    async fn acknowledge(&self, member: Member, epoch: Epoch, _: Instant) -> Result<bool, DatabaseError> {
        let acknowledged = self.host(&member, |host| {
            host.acknowledged = host.acknowledged.max(epoch);
            host.given_up = None;
        });
        Ok(acknowledged.is_some())
    }

    async fn leave(&self, member: Member, _: Instant) -> Result<(), DatabaseError> {
        if self.host(&member, |_| ()).is_some() {
            self.tables.lock().hosts.remove(&(member.migration, member.host));
        }
        Ok(())
    }

    async fn hosts(&self, migration: Arc<str>, _: Instant) -> Result<Vec<HostRow>, DatabaseError> {
        let tables = self.tables.lock();
        let row = |((migration, name), host): (&(Arc<str>, Arc<str>), &Host)| HostRow {
            member: Member {
                migration: Arc::clone(migration),
                host: Arc::clone(name),
                incarnation: Arc::clone(&host.incarnation),
            },
            acknowledged: host.acknowledged,
            lease_left: left(host.lease_until),
            given_up: host.given_up,
            about: host.about.clone(),
        };
        Ok(tables.hosts.iter().filter(|((of, _), _)| *of == migration).map(row).collect())
    }

    async fn give_up(&self, member: Member, epoch: Epoch, _: Instant) -> Result<GivingUp, DatabaseError> {
        let given_up = self.host(&member, |host| {
            if host.acknowledged >= epoch {
                return GivingUp::Changed;
            }
            if left(host.lease_until).is_some() {
                return GivingUp::Alive;
            }
            host.given_up = Some(epoch);
            GivingUp::Done
        });
        Ok(given_up.unwrap_or(GivingUp::Changed))
    }

    async fn take_job(
        &self,
        job: &str,
        member: Member,
        epoch: Epoch,
        lease: Duration,
        _: Instant,
    ) -> Result<Option<Progress>, DatabaseError> {
        let mut tables = self.tables.lock();
        let name = (Arc::clone(&member.migration), job.to_owned());
        let fresh = || Job {
            holder: member.clone(),
            lease_until: None,
            epoch,
            progress: Progress::default(),
            began: now(),
            reported: now(),
        };
        let job = tables.jobs.entry(name).or_insert_with(fresh);
        if job.holder.host != member.host && job.lease_until.is_some_and(|until| left(until).is_some()) {
            return Ok(None);
        }
        if job.epoch != epoch {
            *job = fresh();
        }
        (job.holder, job.lease_until, job.reported) = (member.clone(), Some(Instant::now() + lease), now());
        Ok(Some(job.progress.clone()))
    }

    async fn keep_job(
        &self,
        job: &str,
        member: Member,
        epoch: Epoch,
        lease: Duration,
        progress: Progress,
        _: Instant,
    ) -> Result<bool, DatabaseError> {
        let kept = self.job(job, &member, epoch, |job| {
            (job.lease_until, job.progress, job.reported) = (Some(Instant::now() + lease), progress, now());
        });
        Ok(kept.is_some())
    }

    async fn leave_job(
        &self,
        job: &str,
        member: Member,
        epoch: Epoch,
        progress: Progress,
        _: Instant,
    ) -> Result<(), DatabaseError> {
        self.job(job, &member, epoch, |job| {
            (job.lease_until, job.progress, job.reported) = (None, progress, now());
        });
        Ok(())
    }

    async fn jobs(&self, migration: Arc<str>, _: Instant) -> Result<Vec<JobRow>, DatabaseError> {
        let tables = self.tables.lock();
        let row = |((_, name), job): (&(Arc<str>, String), &Job)| JobRow {
            job: name.clone(),
            holder: job.holder.clone(),
            lease_left: job.lease_until.and_then(left),
            epoch: job.epoch,
            progress: job.progress.clone(),
            began: job.began,
            reported: job.reported,
        };
        Ok(tables.jobs.iter().filter(|((of, _), _)| *of == migration).map(row).collect())
    }

    async fn suspend_cache(&self, member: Member, lease: Duration, _: Instant) -> Result<(), DatabaseError> {
        let name = [member.migration, member.host, member.incarnation];
        self.tables.lock().suspensions.insert(name, Instant::now() + lease);
        Ok(())
    }

    async fn end_suspension(&self, member: Member, _: Instant) -> Result<(), DatabaseError> {
        self.tables.lock().suspensions.remove(&[member.migration, member.host, member.incarnation]);
        Ok(())
    }

    async fn log(&self, migration: Arc<str>, limit: u32, _: Instant) -> Result<Vec<LoggedDecision>, DatabaseError> {
        let tables = self.tables.lock();
        let of = tables.log.iter().rev().filter(|(of, _)| *of == migration);
        Ok(of.map(|(_, decision)| decision.clone()).take(usize::try_from(limit).unwrap_or(usize::MAX)).collect())
    }

    fn summary(&self) -> String {
        "control tables in memory".to_owned()
    }

    async fn close(&self) {}
}
