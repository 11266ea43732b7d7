//! The cut in the form `seal`: the old table refuses, then the last changes are carried, then the new one is opened.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use switchover_core::capabilities::DatabaseError;
use switchover_core::moves::{Cut, Side};
use tokio::time::timeout;

use super::super::captured::Locked;
use super::super::cuts::{CARRY, Cutting};
use super::super::link::{Bind, column, invalid};
use super::Transfer;
use super::landing::Landing;

/// Whoever comes over the bridge waits no longer than this at a time.
pub(super) const OPENING_WAIT: &str = "SET LOCAL lock_timeout = '100ms'";
/// How long it is tried. Whoever comes next goes on with it.
pub(super) const OPENING_PATIENCE: Duration = Duration::from_secs(10);
/// How much later than the bound a new server counts as one that does not answer.
const GRACE: Duration = Duration::from_millis(100);
/// A step of a cut for which nobody waits.
pub(super) const NO_WAIT: Cut = Cut { waited: Duration::ZERO, carried: 0, taken_back: 0 };

#[async_trait]
impl Cutting for Transfer {
    async fn try_to_cut(&mut self, from: Side, wait: Duration) -> Result<Cut, DatabaseError> {
        if self.generation.is_none() {
            self.take(true).await?;
        }
        if self.bridge.is_some() {
            let id = self.old.id().await?;
            self.bridge_leads_to_new(&id).await?;
        }
        let locked = self.locked().await?;
        if let Some(refused) = locked.state.refusal(from) {
            return self.ended(Err(invalid(refused))).await;
        }
        // It keeps autovacuum out, which would hold a lock for long, and is in nobody else's way.
        let table = self.old.names.table.clone();
        let quiet = format!("SET LOCAL lock_timeout = '5s'; LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE");
        if let Err(error) = self.old.link.simple(&quiet).await {
            return self.ended(Err(error)).await;
        }
        let replaced = match self.replacing().await {
            Ok(replaced) => replaced,
            Err(error) => return self.ended(Err(error)).await,
        };
        let begun = Instant::now();
        let done = self.sealed(&locked, &replaced, begun, wait).await;
        let late = matches!(done, Err(DatabaseError::Timeout));
        let ended = self.ended(done).await;
        if late {
            // The applications go on, and this connection waits for an answer that may not come.
            let (url, table) = &self.again;
            self.new = Landing::open(url, table).await?;
            let message = "the new server did not answer within the bound".to_owned();
            return Err(DatabaseError::Conflict { message });
        }
        let carried = ended?;
        let waited = begun.elapsed();
        let ms = i64::try_from(waited.as_millis()).unwrap_or(i64::MAX);
        let sql = format!("UPDATE {} SET cut_waited_ms = $1", self.old.names.state);
        // The seal is there, whether this can be noted or not.
        let _noted = self.old.link.run(&sql, &[Bind::Int(ms)]).await;
        Ok(Cut { waited, carried, taken_back: 0 })
    }
}

impl Transfer {
    /// The statements that put something else in the table's place.
    async fn replacing(&mut self) -> Result<Vec<String>, DatabaseError> {
        let place = match self.bridge {
            Some(_) => self.bridging().await?,
            None => self.old.sealing(&self.new.place),
        };
        Ok([self.old.untriggered().split_off(1), place].concat())
    }

    /// Everything from the lock to the commit.
    async fn sealed(
        &mut self,
        locked: &Locked,
        replaced: &[String],
        begun: Instant,
        wait: Duration,
    ) -> Result<u64, DatabaseError> {
        let table = self.old.names.table.clone();
        self.old.link.bounded(begun, wait).await?;
        self.old.link.simple(&format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await?;
        if !self.old.is_noted().await? {
            return Err(invalid("the trigger is gone or switched off, so writes may be missing: start `run` again"));
        }
        let mut carried = 0;
        loop {
            self.old.link.bounded(begun, wait).await?;
            match self.within(begun, wait, locked).await? {
                0 => break,
                changes => carried += changes,
            }
        }
        timeout(left(begun, wait), self.close()).await.map_err(|_| DatabaseError::Timeout)??;
        let unseen = self.new.link.no_old_snapshot(None, begun, wait);
        // It ends at the bound by itself, and says why, unless there is no answer.
        timeout(left(begun, wait) + GRACE, unseen).await.map_err(|_| DatabaseError::Timeout)??;
        for statement in replaced {
            self.old.link.bounded(begun, wait).await?;
            self.old.link.simple(statement).await?;
        }
        let sql = format!("UPDATE {} SET side = 'sealed', cut = now()", self.old.names.state);
        self.old.link.run(&sql, &[]).await?;
        self.old
            .logged(&format!(
                "something else stands in the table's place; {carried} changes were carried under the lock"
            ))
            .await?;
        self.old.link.bounded(begun, wait).await?;
        Ok(carried)
    }

    /// Carries under the lock. A new server that does not answer keeps nobody waiting for longer than the bound.
    async fn within(&mut self, begun: Instant, wait: Duration, locked: &Locked) -> Result<u64, DatabaseError> {
        timeout(left(begun, wait), self.carry_locked(locked, CARRY)).await.map_err(|_| DatabaseError::Timeout)?
    }

    /// Opens the new table to applications, once the old one is sealed. It may be called again.
    ///
    /// The stage is committed before the new table is opened, so a seal is never broken after that.
    pub(super) async fn open_new(&mut self) -> Result<(), DatabaseError> {
        if !self.old.stage("'sealed', 'opening'", "opening").await? {
            return match self.old.state().await?.map(|state| state.side) {
                Some(Side::New) => Ok(()),
                _ => Err(invalid("the old table is not sealed")),
            };
        }
        match self.bridge {
            Some(_) => self.open_behind_the_bridge().await?,
            None => self.open_at_once().await?,
        }
        let (state, log) = (&self.old.names.state, &self.old.names.log);
        let opened = [
            format!("UPDATE {state} SET side = 'new' WHERE side = 'opening'"),
            format!("INSERT INTO {log} (what) VALUES ('the new table is open')"),
        ];
        self.old.link.transaction(&opened).await
    }

    async fn open_at_once(&mut self) -> Result<(), DatabaseError> {
        let new = self.new.names.new.clone();
        if !self.new.is_table(&new).await? {
            return Ok(());
        }
        let opening = self.opening().await?;
        match self.new.link.patiently(&opening, OPENING_PATIENCE).await {
            // Somebody else may have opened it meanwhile.
            Err(error) if self.new.is_table(&new).await? => Err(error),
            _ => Ok(()),
        }
    }

    /// The statements that give the new table its name. Who comes over a bridge finds it by its former name too, until the
    /// bridge leads to the new one.
    pub(super) async fn opening(&mut self) -> Result<Vec<String>, DatabaseError> {
        let mut statements = vec![OPENING_WAIT.to_owned()];
        let names = &self.new.names;
        let (new, table, plain) = (names.new.clone(), names.table.clone(), names.plain());
        statements.extend(self.counters(&new).await?);
        statements.push(format!("ALTER TABLE {new} RENAME TO {plain}"));
        if self.bridge.is_some() {
            statements.push(format!("CREATE VIEW {new} AS SELECT * FROM {table}"));
            statements.extend(self.bridge_rights(&new));
        }
        Ok(statements)
    }

    /// Sequences go on behind the rows that were carried.
    async fn counters(&mut self, new: &str) -> Result<Vec<String>, DatabaseError> {
        let sql = "SELECT quote_literal(s.oid::regclass::text), quote_ident(a.attname) FROM pg_depend AS d \
                   JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S' \
                   JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid \
                   WHERE d.classid = 'pg_class'::regclass AND d.refobjid = to_regclass($1) AND d.deptype IN ('a', 'i')";
        let rows = self.new.link.rows(sql, &[Bind::Text(Some(new))]).await?;
        rows.iter()
            .map(|row| {
                let (sequence, of): (String, String) = (column(row, 0)?, column(row, 1)?);
                Ok(format!("SELECT setval({sequence}, coalesce(max({of}), 0) + 1, false) FROM {new}"))
            })
            .collect()
    }

    /// Breaks the seal, as long as the new table was not opened: the old one counts again, with every row it had.
    pub(super) async fn break_seal(&mut self) -> Result<(), DatabaseError> {
        self.old.link.simple("BEGIN").await?;
        let done = self.broken().await;
        self.ended(done).await
    }

    async fn broken(&mut self) -> Result<(), DatabaseError> {
        if self.bridge.is_some() {
            return Err(invalid("applications write the new table over the bridge already: there is no way back yet"));
        }
        self.old.locked().await?;
        if !self.old.stage("'sealed'", "old").await? {
            return Err(invalid("there is no seal to break: the old table counts, or the new one was opened"));
        }
        let statements = [self.old.unsealing(), self.old.triggers()].concat();
        for statement in statements {
            self.old.link.simple(&statement).await?;
        }
        self.old.logged("the seal was broken; the old table counts").await
    }
}

fn left(begun: Instant, wait: Duration) -> Duration {
    wait.saturating_sub(begun.elapsed())
}
