//! Each operation of the control tables as statements.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use switchover_core::capabilities::{
    Beat, Control, DatabaseError, Decision, Document, Epoch, GivingUp, HostRow, JobRow, LoggedDecision, Member,
    Progress,
};

use super::port::{Trouble, Value};
use super::rows::{Columns, of_document, of_progress};
use super::tables::TABLES;
use super::{Kind, SqlControl};

const DOCUMENT: &str = "migration, version, epoch, phase, profile, policy, flags, sealed, settled, verified, \
                        backfilled, held, rate, old_table, new_table, since, continued_by";
const HOST: &str = "migration, host, incarnation, acknowledged, lease_until, given_up, about";
const JOB: &str = "migration, job, host, incarnation, lease_until, epoch, position, done, total, note, began, reported";

/// The whole answer of a read, row by row.
fn each<T>(
    rows: Vec<Vec<Value>>,
    mut read: impl FnMut(&mut Columns) -> Result<T, Trouble>,
) -> Result<Vec<T>, DatabaseError> {
    let read = rows.into_iter().map(|row| read(&mut Columns::of(row)));
    read.collect::<Result<_, _>>().map_err(|trouble| match trouble {
        Trouble::Refused(error) => error,
        Trouble::Lost(message) => DatabaseError::Unavailable { message },
    })
}

fn micros(duration: Duration) -> Value {
    Value::int(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

fn of_member(member: &Member) -> Vec<Value> {
    vec![Value::text(&*member.migration), Value::text(&*member.host), Value::text(&*member.incarnation)]
}

fn log_entry(migration: &str, decision: Decision) -> (String, Vec<Value>) {
    let random = getrandom::u64().expect("the operating system's random source answers");
    let sql = "INSERT INTO switchover_log (migration, at, id, epoch, decision, guards) VALUES (?, {now}, ?, ?, ?, ?)";
    let values = vec![
        Value::text(migration),
        Value::text(format!("{random:016x}")),
        Value::int(decision.epoch.0),
        Value::text(decision.decision),
        Value::text(decision.guards),
    ];
    (sql.to_owned(), values)
}

#[async_trait]
impl Control for SqlControl {
    async fn missing(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError> {
        let mut missing = Vec::new();
        for table in &TABLES {
            let found = self.read(self.dialect.finds_table, vec![Value::text(table.name)], deadline).await?;
            if found.is_empty() {
                missing.push(table.create(&self.dialect));
                continue;
            }
            let columns = format!("SELECT {} FROM {} WHERE 1 = 0", table.columns(), table.name);
            self.read(&columns, Vec::new(), deadline).await.map_err(|error| match error {
                DatabaseError::Corrupt { .. } | DatabaseError::Invalid { .. } => DatabaseError::Corrupt {
                    message: format!(
                        "the table {} has other columns than this version's: another program made it; take another \
                         database for the control tables",
                        table.name
                    ),
                },
                error => error,
            })?;
        }
        Ok(missing)
    }

    async fn prepare(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError> {
        let missing = self.missing(deadline).await?;
        for statement in &missing {
            if let Err(error) = self.statement(Kind::Once, statement, Vec::new(), deadline).await {
                // Somebody else has made it at the same time.
                if self.missing(deadline).await?.contains(statement) {
                    return Err(error);
                }
            }
        }
        Ok(missing)
    }

    async fn create(&self, document: Document, decision: Decision, deadline: Instant) -> Result<bool, DatabaseError> {
        let [insert, end] = self.dialect.insert_if_absent;
        let migration = Arc::clone(&document.migration);
        let mut values = of_document(document, 1);
        // `since` is this database's present time.
        values.remove(15);
        let sql = format!(
            "{insert} switchover_control ({DOCUMENT}) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {{now}}, ?){end}"
        );
        self.transaction(vec![(sql, values), log_entry(&migration, decision)], deadline).await
    }

    async fn document(&self, migration: Arc<str>, deadline: Instant) -> Result<Option<Document>, DatabaseError> {
        let sql = format!("SELECT {DOCUMENT} FROM switchover_control WHERE migration = ?");
        let rows = self.read(&sql, vec![Value::text(&*migration)], deadline).await?;
        Ok(each(rows, Columns::document)?.pop())
    }

    async fn replace(
        &self,
        next: Document,
        decision: Option<Decision>,
        deadline: Instant,
    ) -> Result<bool, DatabaseError> {
        let migration = Arc::clone(&next.migration);
        let (version, epoch) = (next.version, next.epoch.0);
        let mut values = of_document(next, version.saturating_add(1));
        values.remove(15);
        let migration_value = values.remove(0);
        // Assignments are made from left to right in some databases, so `since` looks at the epoch before it changes.
        values.insert(0, Value::int(epoch));
        values.extend([migration_value, Value::int(version)]);
        let sql = "UPDATE switchover_control SET since = CASE WHEN epoch = ? THEN since ELSE {now} END, version = ?, \
                   epoch = ?, phase = ?, profile = ?, policy = ?, flags = ?, sealed = ?, settled = ?, verified = ?, \
                   backfilled = ?, held = ?, rate = ?, old_table = ?, new_table = ?, continued_by = ? \
                   WHERE migration = ? AND version = ?";
        let log = decision.map(|decision| log_entry(&migration, decision));
        self.transaction(std::iter::once((sql.to_owned(), values)).chain(log).collect(), deadline).await
    }

    async fn migrations(&self, deadline: Instant) -> Result<Vec<Arc<str>>, DatabaseError> {
        let rows = self.read("SELECT migration FROM switchover_control ORDER BY migration", Vec::new(), deadline);
        each(rows.await?, |columns| Ok(columns.text()?.into()))
    }

    async fn enter(
        &self,
        member: Member,
        acknowledged: Epoch,
        lease: Duration,
        about: String,
        deadline: Instant,
    ) -> Result<(), DatabaseError> {
        let or_update = (self.dialect.or_update)("migration, host");
        let updates = ["incarnation", "acknowledged", "lease_until", "given_up", "about"]
            .map(|column| format!("{column} = {}", (self.dialect.inserted)(column)));
        let sql = format!(
            "INSERT INTO switchover_host ({HOST}) VALUES (?, ?, ?, ?, {{now}} + ?, NULL, ?) {or_update} {}",
            updates.join(", ")
        );
        let mut values = of_member(&member);
        values.extend([Value::int(acknowledged.0), micros(lease), Value::text(about)]);
        self.statement(Kind::Repeatable, &sql, values, deadline).await.map(drop)
    }

    async fn beat(
        &self,
        member: Member,
        suspended_for: Duration,
        deadline: Instant,
    ) -> Result<Option<Beat>, DatabaseError> {
        let sql = format!(
            "SELECT {DOCUMENT}, (SELECT count(*) FROM switchover_host h \
             WHERE h.migration = c.migration AND h.host = ? AND h.incarnation = ?), \
             (SELECT count(*) FROM switchover_suspension s \
             WHERE s.migration = c.migration AND s.lease_until + ? > {{now}}) \
             FROM switchover_control c WHERE c.migration = ?"
        );
        let values = vec![
            Value::text(&*member.host),
            Value::text(&*member.incarnation),
            micros(suspended_for),
            Value::text(&*member.migration),
        ];
        let rows = self.read(&sql, values, deadline).await?;
        let beats = each(rows, |columns| {
            let document = columns.document()?;
            Ok(Beat { document, is_member: columns.number()? > 0, cache_suspended: columns.number()? > 0 })
        });
        Ok(beats?.pop())
    }

    async fn renew(
        &self,
        member: Member,
        lease: Duration,
        about: String,
        deadline: Instant,
    ) -> Result<bool, DatabaseError> {
        let sql = "UPDATE switchover_host SET lease_until = {now} + ?, about = ? \
                   WHERE migration = ? AND host = ? AND incarnation = ?";
        let mut values = vec![micros(lease), Value::text(about)];
        values.extend(of_member(&member));
        Ok(self.statement(Kind::Repeatable, sql, values, deadline).await?.written > 0)
    }

    async fn acknowledge(&self, member: Member, epoch: Epoch, deadline: Instant) -> Result<bool, DatabaseError> {
        let sql = "UPDATE switchover_host SET acknowledged = CASE WHEN acknowledged < ? THEN ? ELSE acknowledged END, \
                   given_up = NULL WHERE migration = ? AND host = ? AND incarnation = ?";
        let mut values = vec![Value::int(epoch.0), Value::int(epoch.0)];
        values.extend(of_member(&member));
        Ok(self.statement(Kind::Repeatable, sql, values, deadline).await?.written > 0)
    }

    async fn leave(&self, member: Member, deadline: Instant) -> Result<(), DatabaseError> {
        let sql = "DELETE FROM switchover_host WHERE migration = ? AND host = ? AND incarnation = ?";
        self.statement(Kind::Repeatable, sql, of_member(&member), deadline).await.map(drop)
    }

    async fn hosts(&self, migration: Arc<str>, deadline: Instant) -> Result<Vec<HostRow>, DatabaseError> {
        let sql = format!("SELECT {HOST}, {{now}} FROM switchover_host WHERE migration = ? ORDER BY host");
        each(self.read(&sql, vec![Value::text(&*migration)], deadline).await?, Columns::host)
    }

    async fn give_up(&self, member: Member, epoch: Epoch, deadline: Instant) -> Result<GivingUp, DatabaseError> {
        let sql = "UPDATE switchover_host SET given_up = ? WHERE migration = ? AND host = ? AND incarnation = ? \
                   AND acknowledged < ? AND lease_until <= {now}";
        let mut values = vec![Value::int(epoch.0)];
        values.extend(of_member(&member));
        values.push(Value::int(epoch.0));
        if self.statement(Kind::Repeatable, sql, values, deadline).await?.written > 0 {
            return Ok(GivingUp::Done);
        }
        let hosts = self.hosts(Arc::clone(&member.migration), deadline).await?;
        let is_alive =
            hosts.iter().any(|host| host.member == member && host.acknowledged < epoch && host.lease_left.is_some());
        Ok(if is_alive { GivingUp::Alive } else { GivingUp::Changed })
    }

    async fn take_job(
        &self,
        job: &str,
        member: Member,
        epoch: Epoch,
        lease: Duration,
        deadline: Instant,
    ) -> Result<Option<Progress>, DatabaseError> {
        // Most hosts ask for a job that somebody does: that is one statement.
        let sql = "SELECT count(*) FROM switchover_job WHERE migration = ? AND job = ? AND lease_until > {now} \
                   AND NOT host = ?";
        let asked = vec![Value::text(&*member.migration), Value::text(job), Value::text(&*member.host)];
        if each(self.read(sql, asked, deadline).await?, Columns::number)?.first().is_some_and(|others| *others > 0) {
            return Ok(None);
        }
        let kept = |column: &str, otherwise: &str| {
            format!("{column} = CASE WHEN epoch = ? THEN {column} ELSE {otherwise} END")
        };
        // The epoch is assigned last: the others look at the one before.
        let sql = format!(
            "UPDATE switchover_job SET host = ?, incarnation = ?, lease_until = {{now}} + ?, reported = {{now}}, {}, \
             {}, {}, {}, {}, epoch = ? WHERE migration = ? AND job = ? \
             AND (lease_until <= {{now}} OR host = ?)",
            kept("position", "NULL"),
            kept("done", "0"),
            kept("total", "NULL"),
            kept("note", "''"),
            kept("began", "{now}"),
        );
        let [host, incarnation] = [&member.host, &member.incarnation].map(|name| Value::text(&**name));
        let (migration, epoch) = (Value::text(&*member.migration), Value::int(epoch.0));
        let mut values = vec![host.clone(), incarnation.clone(), micros(lease)];
        values.extend(std::iter::repeat_n(epoch.clone(), 6));
        values.extend([migration.clone(), Value::text(job), host.clone()]);
        // A holder that has it already does not look at whose it was, so the first statement may be sent again.
        if self.statement(Kind::Repeatable, &sql, values, deadline).await?.written == 0 {
            let [insert, end] = self.dialect.insert_if_absent;
            let sql = format!(
                "{insert} switchover_job ({JOB}) VALUES \
                 (?, ?, ?, ?, {{now}} + ?, ?, NULL, 0, NULL, '', {{now}}, {{now}}){end}"
            );
            let values = vec![
                migration.clone(),
                Value::text(job),
                host.clone(),
                incarnation.clone(),
                micros(lease),
                epoch.clone(),
            ];
            self.statement(Kind::Repeatable, &sql, values, deadline).await?;
        }
        let sql = "SELECT position, done, total, note FROM switchover_job \
                   WHERE migration = ? AND job = ? AND host = ? AND incarnation = ? AND epoch = ?";
        let rows = self.read(sql, vec![migration, Value::text(job), host, incarnation, epoch], deadline).await?;
        Ok(each(rows, Columns::progress)?.pop())
    }

    async fn keep_job(
        &self,
        job: &str,
        member: Member,
        epoch: Epoch,
        lease: Duration,
        progress: Progress,
        deadline: Instant,
    ) -> Result<bool, DatabaseError> {
        self.report(job, &member, epoch, ("{now} + ?", Some(micros(lease))), progress, deadline).await
    }

    async fn leave_job(
        &self,
        job: &str,
        member: Member,
        epoch: Epoch,
        progress: Progress,
        deadline: Instant,
    ) -> Result<(), DatabaseError> {
        self.report(job, &member, epoch, ("0", None), progress, deadline).await.map(drop)
    }

    async fn jobs(&self, migration: Arc<str>, deadline: Instant) -> Result<Vec<JobRow>, DatabaseError> {
        let sql = format!("SELECT {JOB}, {{now}} FROM switchover_job WHERE migration = ? ORDER BY job");
        each(self.read(&sql, vec![Value::text(&*migration)], deadline).await?, Columns::job)
    }

    async fn suspend_cache(&self, member: Member, lease: Duration, deadline: Instant) -> Result<(), DatabaseError> {
        let sql = format!(
            "INSERT INTO switchover_suspension (migration, host, incarnation, lease_until) \
             VALUES (?, ?, ?, {{now}} + ?) \
             {} lease_until = {}",
            (self.dialect.or_update)("migration, host, incarnation"),
            (self.dialect.inserted)("lease_until")
        );
        let mut values = of_member(&member);
        values.push(micros(lease));
        self.statement(Kind::Repeatable, &sql, values, deadline).await.map(drop)
    }

    async fn end_suspension(&self, member: Member, deadline: Instant) -> Result<(), DatabaseError> {
        let sql = "DELETE FROM switchover_suspension WHERE migration = ? AND host = ? AND incarnation = ?";
        self.statement(Kind::Repeatable, sql, of_member(&member), deadline).await.map(drop)
    }

    async fn log(
        &self,
        migration: Arc<str>,
        limit: u32,
        deadline: Instant,
    ) -> Result<Vec<LoggedDecision>, DatabaseError> {
        let sql = "SELECT at, epoch, decision, guards FROM switchover_log WHERE migration = ? \
                   ORDER BY at DESC, id DESC LIMIT ?";
        let values = vec![Value::text(&*migration), Value::int(limit.into())];
        each(self.read(sql, values, deadline).await?, Columns::logged)
    }

    fn summary(&self) -> String {
        self.opener.place()
    }

    async fn close(&self) {
        self.close_connection().await;
    }
}

impl SqlControl {
    /// Writes the progress of a job, and its lease. Returns whether this member still holds it.
    async fn report(
        &self,
        job: &str,
        member: &Member,
        epoch: Epoch,
        (lease, until): (&str, Option<Value>),
        progress: Progress,
        deadline: Instant,
    ) -> Result<bool, DatabaseError> {
        let sql = format!(
            "UPDATE switchover_job SET lease_until = {lease}, position = ?, done = ?, total = ?, note = ?, \
             reported = {{now}} WHERE migration = ? AND job = ? AND host = ? AND incarnation = ? AND epoch = ?"
        );
        let mut values: Vec<Value> = until.into_iter().collect();
        values.extend(of_progress(progress));
        let [host, incarnation] = [&member.host, &member.incarnation].map(|name| Value::text(&**name));
        values.extend([Value::text(&*member.migration), Value::text(job), host, incarnation, Value::int(epoch.0)]);
        Ok(self.statement(Kind::Repeatable, &sql, values, deadline).await?.written > 0)
    }
}
