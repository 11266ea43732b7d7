//! The cut: one transaction in which the other table takes the name of the one that counts.

use std::time::{Duration, Instant};

use switchover_core::capabilities::DatabaseError;

use super::state::{Locked, Side};
use super::{Bind, PAUSE, Rebuild, column, invalid};

/// How long applications may wait, and how often it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutBound {
    /// From the request of the lock to the end of the transaction. A try that would take longer is taken back.
    pub wait: Duration,
    /// After so many tries the tables stay as they are.
    pub tries: u32,
}

impl Default for CutBound {
    fn default() -> Self {
        Self { wait: Duration::from_millis(500), tries: 20 }
    }
}

/// What a cut did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// How long applications may have waited: from the request of the lock to the end of the transaction.
    pub waited: Duration,
    /// Changes that were carried under the lock.
    pub carried: u64,
    /// Tries that were taken back before.
    pub taken_back: u32,
}

/// With more changes than this waiting, the lock is not asked for yet.
const WAITING_MAX: u64 = 200;
/// How often it is tried to get below that.
const CATCH_UP_MAX: u32 = 100;
/// Between two looks at the transactions of others, under the lock.
const LOOK: Duration = Duration::from_millis(5);
/// What one statement of the last carrying takes.
const CARRY: u32 = 10_000;
const TAKEN_BACK: &str = "the tables are as they were. Try again, with a longer bound if applications can wait";

impl Rebuild {
    /// Exchanges the two tables: from the one that counts on `from` to the other. What it noted is carried under the
    /// lock, so the other table has every row that is committed. Writes are noted on from there, for the way back.
    ///
    /// An application's statement that meets the lock waits, and then runs on the other table.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Invalid`] says why it is not to be made: the scan has not ended, or no comparison since was
    /// whole and without a difference. [`DatabaseError::Conflict`]: the bound was not met in any try, and the tables
    /// are as they were. [`DatabaseError::Unavailable`] while it commits: [`Rebuild::state`] shows whether it was made.
    pub async fn cut(&mut self, from: Side, bound: CutBound) -> Result<Cut, DatabaseError> {
        let mut taken_back = 0;
        loop {
            self.carry_most().await?;
            match self.try_to_cut(from, bound.wait).await {
                Ok(cut) => return Ok(Cut { taken_back, ..cut }),
                Err(DatabaseError::Conflict { message }) => {
                    taken_back += 1;
                    if taken_back >= bound.tries {
                        return Err(DatabaseError::Conflict { message: format!("{message}; {TAKEN_BACK}") });
                    }
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Carries until few changes wait, so that the lock is short.
    async fn carry_most(&mut self) -> Result<(), DatabaseError> {
        for _ in 0..CATCH_UP_MAX {
            if self.carry(CARRY).await?.changes < WAITING_MAX {
                return Ok(());
            }
        }
        let message = "writes come faster than they are carried: cut when less is written";
        Err(DatabaseError::Conflict { message: message.to_owned() })
    }

    async fn try_to_cut(&mut self, from: Side, wait: Duration) -> Result<Cut, DatabaseError> {
        self.simple("BEGIN").await?;
        let Locked { state, .. } = match self.locked().await {
            Ok(locked) => locked,
            Err(error) => return self.end(Err(error)).await,
        };
        if let Some(refused) = state.refusal(from) {
            return self.end(Err(invalid(refused))).await;
        }
        let exchange = match self.prepared(from).await {
            Ok(exchange) => exchange,
            Err(error) => return self.end(Err(error)).await,
        };
        let begun = Instant::now();
        let done = self.exchanged(&exchange, from, &state.living, begun, wait).await;
        let carried = self.end(done).await?;
        let waited = begun.elapsed();
        let ms = i64::try_from(waited.as_millis()).unwrap_or(i64::MAX);
        let sql = format!("UPDATE {} SET cut_waited_ms = $1", self.names.state);
        // The cut is made, whether this can be noted or not.
        let _noted = self.run(&sql, &[Bind::Int(ms)]).await;
        Ok(Cut { waited, carried, taken_back: 0 })
    }

    /// What takes time and needs no application to wait. The lock keeps autovacuum out, which holds a lock for as long
    /// as it works and gives it up for one who waits a second; it is in nobody else's way.
    async fn prepared(&mut self, from: Side) -> Result<Vec<String>, DatabaseError> {
        let (table, other) = (self.names.table.clone(), self.other(from).to_owned());
        self.simple("SET LOCAL lock_timeout = '5s'").await?;
        self.simple(&format!("LOCK TABLE {table}, {other} IN SHARE UPDATE EXCLUSIVE MODE")).await?;
        self.exchange(from).await
    }

    /// Everything from the lock to the commit.
    async fn exchanged(
        &mut self,
        exchange: &[String],
        from: Side,
        living: &str,
        begun: Instant,
        wait: Duration,
    ) -> Result<u64, DatabaseError> {
        let (table, other) = (self.names.table.clone(), self.other(from).to_owned());
        self.bounded(begun, wait).await?;
        self.simple(&format!("LOCK TABLE {table}, {other} IN ACCESS EXCLUSIVE MODE")).await?;
        if !self.is_noted().await? {
            return Err(invalid("the trigger is gone or switched off, so writes may be missing: start `run` again"));
        }
        self.no_old_snapshot(begun, wait).await?;
        let mut carried = 0;
        loop {
            self.bounded(begun, wait).await?;
            match self.carry_locked(CARRY.into(), true, from, living).await? {
                0 => break,
                changes => carried += changes,
            }
        }
        for statement in exchange {
            self.bounded(begun, wait).await?;
            self.simple(statement).await?;
        }
        let sql = "SELECT pg_size_pretty(pg_total_relation_size($1::regclass)), \
                          pg_size_pretty(pg_total_relation_size($2::regclass))";
        let aside = match from {
            Side::Old => self.names.old.clone(),
            Side::New => self.names.new.clone(),
        };
        let sizes = self.rows(sql, &[Bind::Text(Some(&table)), Bind::Text(Some(&aside))]).await?;
        let size = |at: usize| sizes.first().map_or(Ok(String::new()), |row| column(row, at));
        let (counts, whole, before) = (in_words(from), size(0)?, size(1)?);
        let what = format!(
            "the cut: {counts} counts and takes {whole}, the other one {before}; {carried} changes were carried under the lock"
        );
        self.logged(&what).await?;
        self.bounded(begun, wait).await?;
        Ok(carried)
    }

    /// Sets what is left of the bound for the next statement, and for its locks.
    async fn bounded(&mut self, begun: Instant, wait: Duration) -> Result<(), DatabaseError> {
        let left = wait.saturating_sub(begun.elapsed()).as_millis();
        if left == 0 {
            let message = format!("the cut took longer than {} ms", wait.as_millis());
            return Err(DatabaseError::Conflict { message });
        }
        // The lock's comes first, since its error says more.
        self.simple(&format!("SET LOCAL lock_timeout = {left}; SET LOCAL statement_timeout = {}", left + 1)).await
    }

    /// Waits for transactions that began before the lock was there. One that reads under one snapshot would not see in
    /// the other table what was copied since it began, and tell its user that there is no session. PostgreSQL does not
    /// show the isolation of another session, so every snapshot counts; but not that of a statement that waits for this
    /// lock, nor that of another copier: it waits for the state, maybe behind a third one, and reads again after that.
    async fn no_old_snapshot(&mut self, begun: Instant, wait: Duration) -> Result<(), DatabaseError> {
        let rows = self.rows("SELECT clock_timestamp()::text", &[]).await?;
        let locked: String = rows.first().map_or_else(|| Err(invalid("no answer")), |row| column(row, 0))?;
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                   AND backend_type = 'client backend' \
                   AND (wait_event_type = 'Lock' AND pg_backend_pid() = ANY(pg_blocking_pids(pid))) IS NOT TRUE \
                   AND NOT EXISTS (SELECT FROM pg_locks AS l WHERE l.pid = pg_stat_activity.pid \
                                   AND l.locktype = 'tuple' AND l.relation = to_regclass($2)) \
                   AND (backend_xmin IS NOT NULL AND xact_start < $1::timestamptz \
                        OR state IS NULL AND usename <> current_user)";
        let state = self.names.state.clone();
        loop {
            let rows = self.rows(sql, &[Bind::Text(Some(&locked)), Bind::Text(Some(&state))]).await?;
            let open = rows.first().map_or(Ok(0), |row| column::<i64>(row, 0))?;
            if open == 0 {
                return Ok(());
            }
            if begun.elapsed() + LOOK >= wait {
                let message = format!("{open} transactions with an older snapshot are open, or cannot be seen");
                return Err(DatabaseError::Conflict { message });
            }
            tokio::time::sleep(LOOK).await;
            self.simple("SELECT pg_stat_clear_snapshot()").await?;
        }
    }

    /// The statements that exchange names, triggers, indexes and sequences.
    async fn exchange(&mut self, from: Side) -> Result<Vec<String>, DatabaseError> {
        let (table, other) = (self.names.table.clone(), self.other(from).to_owned());
        let aside = match from {
            Side::Old => self.names.plain_old(),
            Side::New => self.names.plain_new(),
        };
        // The locks are there already.
        let mut statements = self.untriggered().split_off(1);
        for (index, (here, there)) in self.pairs_of_indexes(&table, &other).await?.into_iter().enumerate() {
            let rename = |from: &str, to: &str| {
                format!("ALTER INDEX {} RENAME TO {}", self.names.index(from), switchover_core::Table::quote(to, '"'))
            };
            let between = format!("switchover_move_{index}");
            statements.extend([rename(&here, &between), rename(&there, &here), rename(&between, &there)]);
        }
        statements.push(format!("ALTER TABLE {table} RENAME TO {aside}"));
        statements.push(format!("ALTER TABLE {other} RENAME TO {}", self.names.plain()));
        let sql = "SELECT s.oid::regclass::text, a.attname::text FROM pg_depend AS d \
                   JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S' \
                   JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid \
                   WHERE d.classid = 'pg_class'::regclass AND d.refobjid = to_regclass($1) AND d.deptype = 'a'";
        for owned in self.rows(sql, &[Bind::Text(Some(&table))]).await? {
            let (sequence, of): (String, String) = (column(&owned, 0)?, column(&owned, 1)?);
            let of = switchover_core::Table::quote(&of, '"');
            statements.push(format!("ALTER SEQUENCE {sequence} OWNED BY {table}.{of}"));
        }
        statements.extend(self.triggers());
        let (side, cut) = match from {
            Side::Old => ("new", "now()"),
            Side::New => ("old", "NULL"),
        };
        statements.push(format!(
            "UPDATE {} SET side = '{side}', cut = {cut}, compared_to = NULL, compared = 0, different = 0, rounds = 0, \
             last_different = NULL",
            self.names.state
        ));
        Ok(statements)
    }

    /// The indexes of both tables that are alike, by their names. An application's own migrations know these names.
    async fn pairs_of_indexes(&mut self, table: &str, other: &str) -> Result<Vec<(String, String)>, DatabaseError> {
        // By names of columns: their numbers differ if the old table has dropped some.
        let of = |place: &str| {
            format!(
                "SELECT name, what, row_number() OVER (PARTITION BY what ORDER BY name) AS place FROM (\
                     SELECT c.relname::text AS name, concat_ws('/', c.relam, i.indclass, i.indcollation, i.indoption, \
                         i.indisunique, i.indisprimary, i.indnkeyatts, pg_get_expr(i.indpred, i.indrelid), \
                         (SELECT string_agg(pg_get_indexdef(c.oid, at, false), ',' ORDER BY at) \
                          FROM generate_series(1, i.indnatts::int) AS at)) AS what \
                     FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid \
                     WHERE i.indrelid = to_regclass({place})) AS index"
            )
        };
        let sql = format!(
            "SELECT a.name, b.name FROM ({}) AS a FULL JOIN ({}) AS b ON a.what = b.what AND a.place = b.place",
            of("$1"),
            of("$2")
        );
        let rows = self.rows(&sql, &[Bind::Text(Some(table)), Bind::Text(Some(other))]).await?;
        let pair = |row| match (column(row, 0)?, column(row, 1)?) {
            (Some(here), Some(there)) => Ok((here, there)),
            _ => Err(invalid(
                "the two tables have other indexes: an index was made or dropped since the move began; do the same \
                              to the other table",
            )),
        };
        rows.iter().map(pair).collect()
    }
}

fn in_words(from: Side) -> &'static str {
    match from {
        Side::Old => "the new table",
        Side::New => "the old table",
    }
}
