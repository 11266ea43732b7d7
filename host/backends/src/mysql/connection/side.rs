//! What a connection to MySQL or MariaDB does with the side tables. Each step is a transaction of single statements:
//! under READ COMMITTED each has a snapshot of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use sqlx::Executor as _;
use sqlx::mysql::MySqlRow;
use switchover_core::capabilities::{
    DatabaseError, Epoch, Fence, KeyLock, LockPurpose, LockedKey, Mark, MarkedRow, Number, Numbered, Side, Token,
    Write, WriteOutcome,
};

use switchover_core::{SessionKey, Table, short_hash};

use super::super::errors::{NO_TABLE, number};
use super::super::side_tables::{FENCE, KEY, NOW, SideNames, literal};
use super::super::statements::CHUNK_MAX;
use super::{Connection, MySqlQuery, column, filled_up, may_wait, powers_of_two, raw, session};
use crate::manner::{UNPREPARED, is_refused, token};
use crate::mysql::others;
use crate::server::{Failure, Link as _, SideLink};

/// How long a raise waits for the writers before it, if its caller waits longer.
const RAISE_WAIT_S_MAX: u64 = 3;
/// The longest message of a condition.
const WORDS_MAX: usize = 128;
/// As in the settings of a connection.
const USUAL_WAIT_S: u64 = 1;

/// A key with what its row gets.
type KeyValue<'k> = (&'k str, i64);

impl Connection {
    fn side_names(&self) -> SideNames {
        SideNames::of(&self.options.table.table)
    }

    /// An error of a statement on the side tables.
    fn side_failure(&mut self, error: &sqlx::Error) -> Failure {
        if number(error) == Some(NO_TABLE) {
            self.may_have_written = false;
            return Failure::corrupt(UNPREPARED);
        }
        self.failure(error)
    }

    /// The rows of a read, under a fence if there is one.
    pub(super) async fn rows_under(
        &mut self,
        query: MySqlQuery<'_>,
        fence: Option<&Fence>,
    ) -> Result<Vec<MySqlRow>, Failure> {
        let rows = query.fetch_all(&mut self.connection).await;
        rows.map_err(|error| if fence.is_some() { self.side_failure(&error) } else { self.failure(&error) })
    }

    /// Begins a transaction, and takes the lock of the fence in shared mode, in one round trip.
    pub(super) async fn begin_under(&mut self, fence: &Fence) -> Result<(), Failure> {
        let names = self.side_names();
        let sql = format!(
            "START TRANSACTION; SELECT epoch FROM {} WHERE migration = {} LOCK IN SHARE MODE",
            names.fence,
            literal(&fence.migration)
        );
        let rows = self.connection.fetch_all(sqlx::raw_sql(&sql)).await;
        let checked = rows.map_err(|error| self.side_failure(&error)).and_then(|rows| not_below(fence, rows.first()));
        self.migration = Some(Arc::clone(&fence.migration));
        self.holds_keys = false;
        match checked {
            Err(Failure::Lost(message)) => Err(Failure::Lost(message)),
            Err(failure) => self.roll_back().await.and(Err(failure)),
            Ok(()) => Ok(()),
        }
    }

    /// Ends a transaction: commits it, or rolls it back after a failure.
    async fn end<T>(&mut self, done: Result<T, Failure>) -> Result<T, Failure> {
        match done {
            Ok(done) => self.commit().await.map(|()| done),
            Err(Failure::Lost(message)) => Err(Failure::Lost(message)),
            Err(failure) => self.roll_back().await.and(Err(failure)),
        }
    }

    /// Writes a batch under a fence, and commits.
    pub(super) async fn write_under(
        &mut self,
        batch: &[Write],
        fence: &Fence,
        wait: bool,
    ) -> Result<Vec<WriteOutcome>, Failure> {
        self.begin_under(fence).await?;
        let written = self.write_batch(batch, false, wait).await;
        self.end(written).await
    }

    /// Writes a batch at home and marks its keys, and commits.
    pub(super) async fn write_marked(
        &mut self,
        batch: &[Write],
        home: Side,
        fence: &Fence,
        wait: bool,
    ) -> Result<Vec<WriteOutcome>, Failure> {
        self.begin_under(fence).await?;
        let written = self.mark_and_write(batch, home, &fence.migration, wait).await;
        self.end(written).await
    }

    async fn mark_and_write(
        &mut self,
        batch: &[Write],
        home: Side,
        migration: &str,
        wait: bool,
    ) -> Result<Vec<WriteOutcome>, Failure> {
        let mut keys: Vec<_> = batch.iter().map(Write::key).collect();
        keys.sort_unstable();
        // At old the session row comes before the key's row; at new it is only looked at.
        let present = match home {
            Side::Old => self.lock_rows(&keys, false, wait).await?.into_keys().collect(),
            Side::New => self.present(&keys).await?,
        };
        let will_be_refused = |write: &Write| {
            let is_there = present.contains(write.key());
            match write {
                Write::Insert(_) => is_there,
                Write::Update(_) | Write::Touch(..) => !is_there,
                Write::Upsert(_) | Write::Delete(_) => false,
            }
        };
        let mut marked: Vec<KeyValue<'_>> = Vec::with_capacity(batch.len());
        for write in batch.iter().filter(|write| !will_be_refused(write)) {
            marked.push((write.key().expose(), token().0));
        }
        marked.sort_unstable();
        if !wait {
            // An insert waits whatever is asked for, so rows that are there are locked first.
            let names: Vec<&str> = marked.iter().map(|(key, _)| *key).collect();
            self.locked_values(&names, "mark", migration, false).await?;
        }
        self.set_marks(&marked, home, migration).await?;
        let outcomes = self.write_batch(batch, false, wait).await?;
        for (write, outcome) in batch.iter().zip(&outcomes) {
            if is_refused(write, outcome) != will_be_refused(write) {
                return Err(Failure::Busy("a row came or went".to_owned()));
            }
        }
        Ok(outcomes)
    }

    /// Which of these keys have a row.
    async fn present(&mut self, keys: &[&SessionKey]) -> Result<Vec<SessionKey>, Failure> {
        let owned: Vec<SessionKey> = keys.iter().map(|key| (*key).clone()).collect();
        self.existing(&owned, None).await
    }

    /// Gives each key a mark. At new its number grows by one. The keys are sorted.
    async fn set_marks(&mut self, marked: &[KeyValue<'_>], home: Side, migration: &str) -> Result<(), Failure> {
        let names = self.side_names();
        let (first, number) = match home {
            Side::Old => (0, ""),
            Side::New => (1, ", number = number + 1"),
        };
        for marked in powers_of_two(marked) {
            let rows = vec![format!("(?, ?, {first}, ?, {NOW}, 0)"); marked.len()].join(", ");
            let sql = format!(
                "INSERT INTO {} (migration, session_key, number, mark, since, attempts) VALUES {rows} \
                 ON DUPLICATE KEY UPDATE mark = VALUES(mark), since = VALUES(since), attempts = 0{number}",
                names.key
            );
            let query = marked
                .iter()
                .fold(sqlx::query(&sql), |query, (key, token)| query.bind(migration).bind(key.as_bytes()).bind(token));
            query.execute(&mut self.connection).await.map_err(|error| self.side_failure(&error))?;
        }
        Ok(())
    }

    /// Removes the marks of keys that this transaction has locked.
    async fn unmark(&mut self, keys: &[&str], migration: &str) -> Result<u64, Failure> {
        let (names, mut changed) = (self.side_names(), 0);
        for keys in keys.chunks(CHUNK_MAX) {
            let sent = filled_up(keys);
            let sql = format!(
                "UPDATE {} SET mark = NULL, since = 0, attempts = 0 WHERE {} AND mark IS NOT NULL",
                names.key_locked,
                of_keys(sent.len())
            );
            let query = bind_keys(sqlx::query(&sql), &sent, migration);
            let done = query.execute(&mut self.connection).await.map_err(|error| self.side_failure(&error))?;
            changed += done.rows_affected();
        }
        Ok(changed)
    }

    /// Locks the rows of keys and reads a column of them; keys without a row are left out. With `wait`, it waits for
    /// locks of others.
    async fn locked_values(
        &mut self,
        keys: &[&str],
        column_name: &str,
        migration: &str,
        wait: bool,
    ) -> Result<HashMap<Vec<u8>, Option<i64>>, Failure> {
        let nowait = if wait { "" } else { " NOWAIT" };
        let (names, mut found) = (self.side_names(), HashMap::with_capacity(keys.len()));
        for keys in keys.chunks(CHUNK_MAX) {
            let sent = filled_up(keys);
            let sql = format!(
                "SELECT session_key, {column_name} FROM {} WHERE {} \
                 ORDER BY migration, session_key LIMIT {} FOR UPDATE{nowait}",
                names.key_locked,
                of_keys(sent.len()),
                sent.len()
            );
            let query = bind_keys(sqlx::query(&sql), &sent, migration);
            let rows = query.fetch_all(&mut self.connection).await.map_err(|error| self.side_failure(&error))?;
            for row in &rows {
                found.insert(raw(row, 0)?.to_vec(), column(row, 1)?);
            }
        }
        Ok(found)
    }

    /// Inserts or locks the rows of sorted keys; `update` says what becomes of the number of a row that is there.
    async fn take_rows(&mut self, values: &[KeyValue<'_>], update: &str, migration: &str) -> Result<(), Failure> {
        let names = self.side_names();
        for values in powers_of_two(values) {
            let sql = format!(
                "INSERT INTO {} (migration, session_key, number) VALUES {} ON DUPLICATE KEY UPDATE {update}",
                names.key,
                vec!["(?, ?, ?)"; values.len()].join(", ")
            );
            let query = values.iter().fold(sqlx::query(&sql), |query, (key, number)| {
                query.bind(migration).bind(key.as_bytes()).bind(number)
            });
            query.execute(&mut self.connection).await.map_err(|error| self.side_failure(&error))?;
        }
        Ok(())
    }

    /// Raises the number of each key, or returns those that are not lower. The keys are sorted.
    async fn raise_numbers(
        &mut self,
        batch: &[(Write, Number)],
        migration: &str,
    ) -> Result<Vec<(SessionKey, Number)>, Failure> {
        let mut values: Vec<KeyValue<'_>> =
            batch.iter().map(|(write, number)| (write.key().expose(), signed(number.0))).collect();
        values.sort_unstable();
        let absent: Vec<KeyValue<'_>> = values.iter().map(|(key, _)| (*key, 0)).collect();
        self.take_rows(&absent, "number = number", migration).await?;
        let keys: Vec<&str> = values.iter().map(|(key, _)| *key).collect();
        let known = self.locked_values(&keys, "number", migration, true).await?;
        let mut late = Vec::new();
        for (write, number) in batch {
            let stored = known.get(write.key().expose().as_bytes()).copied().flatten().unwrap_or_default();
            if stored >= signed(number.0) {
                late.push((write.key().clone(), Number(stored.unsigned_abs())));
            }
        }
        if late.is_empty() {
            self.take_rows(&values, "number = VALUES(number)", migration).await?;
        }
        Ok(late)
    }

    async fn number_and_write(
        &mut self,
        batch: &[(Write, Number)],
        migration: &str,
        deadline: Instant,
    ) -> Result<Numbered, Failure> {
        let late = self.raise_numbers(batch, migration).await?;
        if !late.is_empty() {
            return Ok(Numbered::Late(late));
        }
        let writes: Vec<Write> = batch.iter().map(|(write, _)| write.clone()).collect();
        if let Some(refusal) = self.packet.refuses(&writes) {
            return Err(Failure::Row(refusal));
        }
        self.write_batch(&writes, true, may_wait(deadline)).await.map(Numbered::Done)
    }

    /// The rows of the keys, expired or not, without a lock.
    async fn rows_of(
        &mut self,
        keys: &[&SessionKey],
    ) -> Result<HashMap<SessionKey, switchover_core::Session>, Failure> {
        let statements = self.statements().await?;
        let mut found = HashMap::with_capacity(keys.len());
        for keys in keys.chunks(CHUNK_MAX) {
            let sent = filled_up(keys);
            let sql = statements.rows(sent.len());
            let rows = self.rows(sent.iter().fold(sqlx::query(&sql), |query, key| query.bind(key.expose()))).await?;
            for row in &rows {
                let stored = raw(row, 0)?;
                let Some(key) = keys.iter().find(|key| key.expose().as_bytes() == stored) else { continue };
                let others = others::of_columns(&statements.columns.others, row, 3);
                let session = session(self.layout(), row, key, others);
                found.insert((*key).clone(), session.map_err(|row| Failure::Row(row.to_string()))?);
            }
        }
        Ok(found)
    }

    async fn lock_in_order(
        &mut self,
        keys: &[KeyLock],
        purpose: LockPurpose,
        migration: &str,
    ) -> Result<Vec<LockedKey>, Failure> {
        let mut sorted: Vec<&KeyLock> = keys.iter().collect();
        sorted.sort_unstable_by_key(|lock| &lock.key);
        if purpose != LockPurpose::CopyToNew {
            let rows: Vec<&SessionKey> = sorted.iter().map(|lock| &lock.key).collect();
            self.lock_rows(&rows, false, true).await?;
        }
        let gets_number = purpose != LockPurpose::CopyToOld;
        let values: Vec<KeyValue<'_>> = sorted
            .iter()
            .map(|lock| (lock.key.expose(), if gets_number { signed(lock.known.0).saturating_add(1) } else { 0 }))
            .collect();
        let update = if gets_number { "number = greatest(number, VALUES(number) - 1) + 1" } else { "number = number" };
        self.take_rows(&values, update, migration).await?;
        let names: Vec<&str> = values.iter().map(|(key, _)| *key).collect();
        let numbers = self.locked_values(&names, "number", migration, true).await?;
        self.holds_keys = true;
        let mut found = HashMap::new();
        if purpose == LockPurpose::CopyToNew {
            found = self.rows_of(&sorted.iter().map(|lock| &lock.key).collect::<Vec<_>>()).await?;
        }
        let locked = keys.iter().map(|KeyLock { key, .. }| {
            let number = numbers.get(key.expose().as_bytes()).copied().flatten();
            let number = number.ok_or_else(|| Failure::corrupt("a key that was locked has no row"))?;
            Ok(LockedKey { number: Number(number.unsigned_abs()), row: found.remove(key) })
        });
        locked.collect()
    }

    /// Removes the marks of the keys of a write in a transaction that holds keys.
    pub(super) async fn unmark_written(&mut self, batch: &[Write], outcomes: &[WriteOutcome]) -> Result<(), Failure> {
        let Some(migration) = self.migration.clone().filter(|_| self.holds_keys) else { return Ok(()) };
        let written = batch.iter().zip(outcomes).filter(|(write, outcome)| !is_refused(write, outcome));
        let keys: Vec<&str> = written.map(|(write, _)| write.key().expose()).collect();
        self.unmark(&keys, &migration).await.map(drop)
    }

    fn open_migration(&self) -> Result<Arc<str>, Failure> {
        let message = "keys are locked only under the fence of a migration".to_owned();
        self.migration.clone().ok_or(Failure::Refused(DatabaseError::Invalid { message }))
    }

    async fn clear_in(&mut self, marks: &[Mark], migration: &str) -> Result<u64, Failure> {
        let mut keys: Vec<&str> = marks.iter().map(|mark| mark.key.expose()).collect();
        keys.sort_unstable();
        let stored = self.locked_values(&keys, "mark", migration, true).await?;
        let same = |mark: &&Mark| stored.get(mark.key.expose().as_bytes()).copied().flatten() == Some(mark.token.0);
        let keys: Vec<&str> = marks.iter().filter(same).map(|mark| mark.key.expose()).collect();
        self.unmark(&keys, migration).await
    }

    async fn wait_for_locks(&mut self, seconds: u64) -> Result<(), Failure> {
        self.simple(&format!("SET SESSION innodb_lock_wait_timeout = {seconds}")).await
    }

    async fn raise_in(&mut self, fence: &Fence, wait: bool) -> Result<Epoch, Failure> {
        let names = self.side_names();
        let nowait = if wait { "" } else { " NOWAIT" };
        let sql = format!("SELECT epoch FROM {} WHERE migration = ? FOR UPDATE{nowait}", names.fence);
        let locked = sqlx::query(&sql).bind(&*fence.migration).fetch_all(&mut self.connection).await;
        locked.map_err(|error| self.side_failure(&error))?;
        let sql = format!("UPDATE {} SET epoch = greatest(epoch, ?) WHERE migration = ?", names.fence);
        let query = sqlx::query(&sql).bind(signed(fence.epoch.0)).bind(&*fence.migration);
        query.execute(&mut self.connection).await.map_err(|error| self.side_failure(&error))?;
        self.fence(&fence.migration).await?.ok_or(Failure::Refused(DatabaseError::Fenced))
    }
}

impl SideLink for Connection {
    async fn missing_side_tables(&mut self) -> Result<Vec<String>, Failure> {
        let names = self.side_names();
        let mut missing = Vec::new();
        for name in [FENCE, KEY] {
            let query = sqlx::query(
                "SELECT 1 FROM information_schema.tables \
                 WHERE table_schema = coalesce(?, database()) AND table_name = ?",
            );
            if self.rows(query.bind(names.schema()).bind(name)).await?.is_empty() {
                missing.push(names.create(name));
            }
        }
        Ok(missing)
    }

    async fn make_fence(&mut self, migration: &str) -> Result<(), Failure> {
        let sql = format!("INSERT IGNORE INTO {} (migration, epoch) VALUES (?, 1)", self.side_names().fence);
        self.may_have_written = true;
        let made = sqlx::query(&sql).bind(migration).execute(&mut self.connection).await;
        made.map(drop).map_err(|error| self.side_failure(&error))
    }

    async fn seal(&mut self, words: &str, _deadline: Instant) -> Result<(), Failure> {
        let table = &self.options.table.table;
        let schema = table.schema().map_or_else(String::new, |schema| format!("{}.", Table::quote(schema, '`')));
        let (hash, quoted) = (short_hash(table.name().as_bytes()), table.quoted('`'));
        let words: String = words.chars().filter(|one| *one != '\'' && *one != '\\').take(WORDS_MAX).collect();
        self.may_have_written = true;
        // By default a change of a table waits for a day, and everybody else behind it.
        self.simple(&format!("SET SESSION lock_wait_timeout = {RAISE_WAIT_S_MAX}")).await?;
        for event in ["INSERT", "UPDATE"] {
            let name = format!("{schema}`switchover_sealed_{hash}_{}`", event.to_lowercase());
            self.simple(&format!("DROP TRIGGER IF EXISTS {name}")).await?;
            let refusal = format!("SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{words}'");
            self.simple(&format!("CREATE TRIGGER {name} BEFORE {event} ON {quoted} FOR EACH ROW {refusal}")).await?;
        }
        self.simple("SET SESSION lock_wait_timeout = DEFAULT").await
    }

    async fn fence(&mut self, migration: &str) -> Result<Option<Epoch>, Failure> {
        let sql = format!("SELECT epoch FROM {} WHERE migration = ?", self.side_names().fence);
        let rows = sqlx::query(&sql).bind(migration).fetch_all(&mut self.connection).await;
        let rows = rows.map_err(|error| self.side_failure(&error))?;
        rows.first().map(|row| Ok(Epoch(column::<i64>(row, 0)?.unsigned_abs()))).transpose()
    }

    async fn raise(&mut self, fence: &Fence, deadline: Instant) -> Result<Epoch, Failure> {
        // The last quarter of the time is for the answer. With less than a second, it does not wait at all.
        let wait = (deadline.saturating_duration_since(Instant::now()) * 3 / 4).as_secs().min(RAISE_WAIT_S_MAX);
        self.wait_for_locks(wait.max(USUAL_WAIT_S)).await?;
        self.simple("START TRANSACTION").await?;
        let raised = self.raise_in(fence, wait > 0).await;
        let raised = self.end(raised).await;
        if !matches!(raised, Err(Failure::Lost(_))) {
            self.wait_for_locks(USUAL_WAIT_S).await?;
        }
        raised
    }

    async fn write_numbered(
        &mut self,
        batch: &[(Write, Number)],
        fence: &Fence,
        deadline: Instant,
    ) -> Result<Numbered, Failure> {
        self.begin_under(fence).await?;
        match self.number_and_write(batch, &fence.migration, deadline).await {
            Ok(Numbered::Late(late)) => self.roll_back().await.map(|()| Numbered::Late(late)),
            written => self.end(written).await,
        }
    }

    async fn lock_keys(&mut self, keys: &[KeyLock], purpose: LockPurpose) -> Result<Vec<LockedKey>, Failure> {
        let migration = self.open_migration()?;
        self.lock_in_order(keys, purpose, &migration).await
    }

    async fn clear_locked(&mut self, keys: &[SessionKey]) -> Result<(), Failure> {
        let migration = self.open_migration()?;
        let keys: Vec<&str> = keys.iter().map(SessionKey::expose).collect();
        self.unmark(&keys, &migration).await.map(drop)
    }

    async fn mark(&mut self, keys: &[SessionKey], home: Side, fence: &Fence) -> Result<(), Failure> {
        let mut keys: Vec<&SessionKey> = keys.iter().collect();
        keys.sort_unstable();
        self.begin_under(fence).await?;
        let marked: Vec<KeyValue<'_>> = keys.iter().map(|key| (key.expose(), token().0)).collect();
        let done = async {
            if home == Side::Old {
                self.lock_rows(&keys, false, true).await?;
            }
            self.set_marks(&marked, home, &fence.migration).await
        };
        let done = done.await;
        self.end(done).await
    }

    async fn marked_rows(&mut self, keys: &[SessionKey], fence: &Fence) -> Result<Vec<MarkedRow>, Failure> {
        let statements = self.statements().await?;
        let columns = &statements.columns.others;
        let tag = 3 + columns.len();
        let mut read = Vec::with_capacity(keys.len());
        for keys in keys.chunks(CHUNK_MAX) {
            let sent = filled_up(keys);
            let sql = statements.marked_rows(sent.len(), &self.side_names());
            let mut query = sqlx::query(&sql).bind(&*fence.migration);
            query = sent.iter().fold(query, |query, key| query.bind(key.expose()));
            query = sent.iter().fold(query.bind(&*fence.migration), |query, key| query.bind(key.expose().as_bytes()));
            let rows = query.fetch_all(&mut self.connection).await.map_err(|error| self.side_failure(&error))?;
            let mut fences = rows.iter().filter(|row| matches!(column::<i64>(row, tag), Ok(0)));
            not_below_at(fence, fences.next(), tag + 1)?;
            let (mut sessions, mut tokens) = (HashMap::new(), HashMap::new());
            for row in &rows {
                match column::<i64>(row, tag)? {
                    0 => {}
                    1 => drop(sessions.insert(raw(row, 0)?, row)),
                    _ => drop(tokens.insert(raw(row, 0)?, column::<Option<i64>>(row, tag + 1)?.map(Token))),
                }
            }
            for key in keys {
                let stored = key.expose().as_bytes();
                let row = sessions.get(stored).map(|row| {
                    let others = others::of_columns(columns, row, 3);
                    session(self.layout(), row, key, others)
                });
                read.push(MarkedRow { row: row.transpose(), token: tokens.get(stored).copied().flatten() });
            }
        }
        Ok(read)
    }

    async fn marks(&mut self, fence: &Fence, limit: u32) -> Result<Vec<Mark>, Failure> {
        let names = self.side_names();
        let sql = format!(
            "(SELECT NULL AS session_key, epoch AS mark, -1 AS since FROM {} WHERE migration = ?) UNION ALL \
             (SELECT session_key, mark, since FROM {} WHERE migration = ? AND since > 0 AND mark IS NOT NULL \
             ORDER BY since, session_key LIMIT ?) ORDER BY since, session_key",
            names.fence, names.key
        );
        let query = sqlx::query(&sql).bind(&*fence.migration).bind(&*fence.migration).bind(limit);
        let rows = query.fetch_all(&mut self.connection).await.map_err(|error| self.side_failure(&error))?;
        not_below_at(fence, rows.first().filter(|row| matches!(column::<i64>(row, 2), Ok(-1))), 1)?;
        let mark = |row: &MySqlRow| {
            let key = str::from_utf8(raw(row, 0)?).ok().and_then(|key| SessionKey::parse(key).ok());
            let key = key.ok_or_else(|| Failure::corrupt("a mark has a key that is none"))?;
            Ok(Mark { key, token: Token(column(row, 1)?) })
        };
        rows.iter().skip(1).map(mark).collect()
    }

    async fn clear_marks(&mut self, marks: &[Mark], fence: &Fence, _deadline: Instant) -> Result<u64, Failure> {
        self.begin_under(fence).await?;
        let cleared = self.clear_in(marks, &fence.migration).await;
        self.end(cleared).await
    }

    async fn count_marks(&mut self, fence: &Fence) -> Result<u64, Failure> {
        let names = self.side_names();
        let sql = format!(
            "SELECT epoch, (SELECT cast(count(*) AS signed) FROM {} \
             WHERE migration = ? AND since > 0 AND mark IS NOT NULL) FROM {} WHERE migration = ?",
            names.key, names.fence
        );
        let query = sqlx::query(&sql).bind(&*fence.migration).bind(&*fence.migration);
        let rows = query.fetch_all(&mut self.connection).await.map_err(|error| self.side_failure(&error))?;
        not_below(fence, rows.first())?;
        Ok(rows.first().map_or(Ok(0), |row| column::<i64>(row, 1))?.unsigned_abs())
    }
}

/// Checks the fence in the first column of a row; without a row there is no fence.
fn not_below(fence: &Fence, row: Option<&MySqlRow>) -> Result<(), Failure> {
    not_below_at(fence, row, 0)
}

pub(super) fn not_below_at(fence: &Fence, row: Option<&MySqlRow>, at: usize) -> Result<(), Failure> {
    let epoch = row.map(|row| column::<i64>(row, at)).transpose()?;
    match epoch {
        Some(epoch) if epoch <= signed(fence.epoch.0) => Ok(()),
        Some(_) | None => Err(Failure::Refused(DatabaseError::Fenced)),
    }
}

/// The rows of so many keys. A statement that locks by `migration = ? AND session_key IN (…)` may be given another index,
/// or all rows of the migration, while the table is small or its statistics are old: then it waits for keys of others,
/// and two such statements for each other.
fn of_keys(count: usize) -> String {
    format!("(migration, session_key) IN ({})", vec!["(?, ?)"; count].join(", "))
}

fn bind_keys<'q>(query: MySqlQuery<'q>, keys: &[&'q str], migration: &'q str) -> MySqlQuery<'q> {
    keys.iter().fold(query, |query, key| query.bind(migration).bind(key.as_bytes()))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
