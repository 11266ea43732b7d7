//! One connection to MySQL or MariaDB: its settings, and each operation in as few round trips as possible.

mod side;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlRow};
use sqlx::query::Query;
use sqlx::{Connection as _, Executor as _, MySql, Row as _};
use switchover_core::capabilities::{
    Clock, Cursor, DatabaseError, ExpiredLeft, Feeds, Fence, Identity, Scan, Statistics, Strain, Unreadable, Write,
    WriteOutcome,
};
use switchover_core::{Column, Layout, Others, Session, SessionKey, Timestamp, Value};

use super::batch::{Locked, Packet, Plan, Values};
use super::errors::{NO_TABLE, failure, is_of_the_key, number, schema_failure, unavailable};
use super::side_tables::SideNames;
use super::statements::{CHUNK_MAX, Statements};
use super::{feeds, others, schema, statistics};
use crate::django_time;
use crate::manner::Manner;
use crate::others::{OtherColumn, Shared};
use crate::page::{Page, PageRows, ScannedRow};
use crate::row::{foreign_row, session_of_row, unreadable_row};
use crate::server::{Failure, Found, Link, Options};

/// The settings of every connection, and a question, in one round trip. A statement waits a second for a lock, the
/// shortest time that InnoDB has. A value that does not fit is refused, not truncated. The rest overrides settings of
/// the server that would change what statements mean: a commit that begins a transaction which nobody commits, rows
/// that are left out of answers, an empty payload that is NULL.
const SETTINGS: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; SET SESSION autocommit = 1; \
                        SET SESSION completion_type = 0; SET SESSION innodb_lock_wait_timeout = 1; \
                        SET SESSION sql_safe_updates = 0; SET SESSION sql_select_limit = 18446744073709551615; \
                        SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'; \
                        SELECT cast(@@max_allowed_packet AS unsigned)";

/// As in the settings.
const LOCK_WAIT: Duration = Duration::from_secs(1);
/// How much longer than that a statement may take before its outcome is reported as unknown.
const ANSWER_TIME: Duration = Duration::from_millis(250);

pub(crate) struct Connection {
    connection: MySqlConnection,
    statements: Arc<Shared<Statements>>,
    options: Options,
    page_rows: PageRows,
    packet: Packet,
    /// Whether its time zone is set to UTC.
    in_utc: bool,
    may_have_written: bool,
    /// The migration under whose fence a transaction is open.
    migration: Option<Arc<str>>,
    /// Whether that transaction has locked keys.
    holds_keys: bool,
}

type MySqlQuery<'q> = Query<'q, MySql, MySqlArguments>;

impl Connection {
    pub(super) async fn open(
        address: &MySqlConnectOptions,
        statements: &Arc<Shared<Statements>>,
        options: &Options,
    ) -> Result<Self, DatabaseError> {
        let mut connection = MySqlConnection::connect_with(address).await.map_err(|error| unavailable(&error))?;
        let told = connection.fetch_one(sqlx::raw_sql(SETTINGS)).await.map_err(|error| unavailable(&error))?;
        let packet = Packet::of_server(told.try_get(0).map_err(|error| unavailable(&error))?);
        let (statements, options) = (Arc::clone(statements), options.clone());
        let page_rows = PageRows::default();
        let mut connection = Self {
            connection,
            statements,
            options,
            page_rows,
            packet,
            in_utc: false,
            may_have_written: false,
            migration: None,
            holds_keys: false,
        };
        connection.look_at_columns().await.map_err(|error| unavailable(&error))?;
        Ok(connection)
    }

    /// Reads which other columns the table has now. From then on every connection uses them.
    async fn look_at_columns(&mut self) -> Result<(), sqlx::Error> {
        let Options { table, application_name, .. } = &self.options;
        let found = others::columns(&mut self.connection, &table.table, table.layout.columns()).await?;
        if self.statements.get().columns != found {
            self.statements.set(Statements::of(table, found, application_name));
        }
        Ok(())
    }

    /// The current statements. The server returns a `timestamp` in the time zone of the connection. So if there is such
    /// a column, which another connection may have found, this one sets its time zone first.
    async fn statements(&mut self) -> Result<Arc<Statements>, Failure> {
        let statements = self.statements.get();
        if !self.in_utc && statements.columns.others.iter().any(others::has_zone) {
            self.simple("SET SESSION time_zone = '+00:00'").await?;
            self.in_utc = true;
        }
        Ok(statements)
    }

    fn layout(&self) -> Layout {
        self.options.table.layout
    }

    fn now(&self) -> Option<String> {
        self.options.clock.as_deref().map(Clock::now).map(django_time::to_text)
    }

    fn failure(&mut self, error: &sqlx::Error) -> Failure {
        failure(error, &mut self.may_have_written)
    }

    fn schema_failure(&mut self, error: schema::Error) -> Failure {
        match error {
            schema::Error::Different(error) => Failure::Refused(error),
            schema::Error::Driver(error) => schema_failure(&error, &mut self.may_have_written),
        }
    }

    async fn rows(&mut self, query: MySqlQuery<'_>) -> Result<Vec<MySqlRow>, Failure> {
        query.fetch_all(&mut self.connection).await.map_err(|error| self.failure(&error))
    }

    /// Returns the number of rows that the statement found, changed or not.
    async fn execute(&mut self, query: MySqlQuery<'_>) -> Result<u64, Failure> {
        let done = query.execute(&mut self.connection).await;
        done.map(|done| done.rows_affected()).map_err(|error| self.failure(&error))
    }

    async fn simple(&mut self, sql: &str) -> Result<(), Failure> {
        let done = self.connection.execute(sqlx::raw_sql(sql)).await;
        done.map(drop).map_err(|error| self.failure(&error))
    }

    /// Makes one write as a transaction of its own, in one round trip. It does not read the row after a touch.
    async fn write_one(&mut self, write: &Write) -> Result<WriteOutcome, Failure> {
        let statements = self.statements().await?;
        let key = write.key().expose();
        let (found, row) = match write {
            Write::Insert(session) => {
                let inserted = bind(sqlx::query(&statements.insert), &plain(session)?, &statements, self.layout());
                match inserted.execute(&mut self.connection).await {
                    Err(error) if is_of_the_key(&error) => return Ok(WriteOutcome::Exists),
                    Err(error) => return Err(self.failure(&error)),
                    Ok(_) => (1, Some(session.clone())),
                }
            }
            Write::Update(session) => {
                let Values { key, payload, expires_at, .. } = plain(session)?;
                let query = bind_payload(sqlx::query(&statements.update), payload, self.layout());
                let query = query.bind(expires_at).bind(key).bind(key);
                (self.execute(query).await?, Some(session.clone()))
            }
            Write::Upsert(session) => {
                let sql = statements.upsert_many(1, false);
                self.execute(bind(sqlx::query(&sql), &plain(session)?, &statements, self.layout())).await?;
                (1, Some(session.clone()))
            }
            Write::Touch(_, expires_at) => {
                let expires_at = django_time::to_text(*expires_at);
                (self.execute(sqlx::query(&statements.touch).bind(expires_at).bind(key).bind(key)).await?, None)
            }
            Write::Delete(_) => (self.execute(sqlx::query(&statements.delete).bind(key).bind(key)).await?, None),
        };
        Ok(if found == 0 { WriteOutcome::Missing } else { WriteOutcome::Done(row) })
    }

    /// In a transaction: locks the rows of the batch, then writes. With `carries`, touched rows are read, so that they
    /// can be carried to a mirror. With `wait`, it waits for locks of others.
    async fn write_batch(&mut self, batch: &[Write], carries: bool, wait: bool) -> Result<Vec<WriteOutcome>, Failure> {
        let mut keys: Vec<_> = batch.iter().map(Write::key).collect();
        keys.sort_unstable();
        let whole = carries && batch.iter().any(|write| matches!(write, Write::Touch(..)));
        let locked = self.lock_rows(&keys, whole, wait).await?;
        let (statements, packet) = (self.statements().await?, self.packet);
        let plan = Plan::of(batch, &locked, &statements.columns.others).map_err(refused)?;
        // No row may be inserted twice, so inserts are split into lengths of powers of two. The other kinds may be
        // filled up.
        for (whole, mut inserts) in by_columns(&plan.insert) {
            while let Some(rows) = packet.take(&mut inserts, CHUNK_MAX) {
                for rows in powers_of_two(rows) {
                    self.put(&statements, &statements.insert_many(rows.len(), whole), rows).await?;
                }
            }
        }
        for (whole, mut upserts) in by_columns(&plan.upsert) {
            while let Some(rows) = packet.take(&mut upserts, CHUNK_MAX) {
                let rows = filled_up_before(rows);
                self.put(&statements, &statements.upsert_many(rows.len(), whole), &rows).await?;
            }
        }
        for rows in plan.touch.chunks(CHUNK_MAX) {
            let rows = filled_up(rows);
            let sql = statements.touch_many(rows.len());
            let query = rows.iter().fold(sqlx::query(&sql), |query, (key, end)| query.bind(*key).bind(end));
            self.execute(rows.iter().fold(query, |query, (key, _)| query.bind(*key))).await?;
        }
        for keys in plan.delete.chunks(CHUNK_MAX) {
            let keys = filled_up(keys);
            let sql = statements.delete_many(keys.len());
            self.execute(keys.iter().fold(sqlx::query(&sql), |query, key| query.bind(*key))).await?;
        }
        let mut outcomes = plan.outcomes;
        if carries && !statements.columns.others.is_empty() {
            self.read_others(batch, &mut outcomes, wait).await?;
        }
        Ok(outcomes)
    }

    /// Reads the other columns of the rows that were put: their earlier values, or the table's defaults.
    async fn read_others(&mut self, batch: &[Write], outcomes: &mut [WriteOutcome], wait: bool) -> Result<(), Failure> {
        let mut keys: Vec<_> = batch.iter().map(Write::key).collect();
        keys.sort_unstable();
        let mut rows = self.lock_rows(&keys, true, wait).await?;
        for (write, outcome) in batch.iter().zip(outcomes) {
            let WriteOutcome::Done(Some(session)) = outcome else { continue };
            if let Some(row) = rows.remove(write.key()).flatten() {
                session.others = row.map_err(refused)?.others;
            }
        }
        Ok(())
    }

    async fn put(&mut self, statements: &Statements, sql: &str, rows: &[Values<'_>]) -> Result<(), Failure> {
        let layout = self.layout();
        let query = rows.iter().fold(sqlx::query(sql), |query, row| bind(query, row, statements, layout));
        self.execute(query).await.map(drop)
    }

    async fn lock_rows(&mut self, keys: &[&SessionKey], whole: bool, wait: bool) -> Result<Locked, Failure> {
        let statements = self.statements().await?;
        let mut locked = HashMap::with_capacity(keys.len());
        for keys in keys.chunks(CHUNK_MAX) {
            let sent = filled_up(keys);
            let sql = statements.lock(sent.len(), whole, wait);
            let rows = self.rows(sent.iter().fold(sqlx::query(&sql), |query, key| query.bind(key.expose()))).await?;
            for row in &rows {
                let found = raw(row, 0)?;
                if let Some(key) = keys.iter().find(|key| key.expose().as_bytes() == found) {
                    locked.insert(
                        (*key).clone(),
                        whole.then(|| {
                            session(self.layout(), row, key, others::of_columns(&statements.columns.others, row, 3))
                        }),
                    );
                }
            }
        }
        Ok(locked)
    }

    /// Whether one statement can carry all rows.
    fn is_one_statement(&self, rows: &[Values<'_>]) -> bool {
        let mut left = rows;
        self.packet.take(&mut left, CHUNK_MAX);
        left.is_empty() && by_columns(rows).count() == 1
    }

    /// Writes a batch in a transaction of its own. It waits for no lock.
    async fn write_at_once(&mut self, batch: &[Write]) -> Result<Vec<WriteOutcome>, Failure> {
        self.simple("START TRANSACTION").await?;
        match self.write_batch(batch, false, false).await {
            Ok(outcomes) => self.commit().await.map(|()| outcomes),
            Err(Failure::Lost(message)) => Err(Failure::Lost(message)),
            Err(failure) => self.roll_back().await.and(Err(failure)),
        }
    }
}

/// Whether the answer still comes in time if the statement waits for a lock.
fn may_wait(deadline: Instant) -> bool {
    deadline.saturating_duration_since(Instant::now()) > LOCK_WAIT + ANSWER_TIME
}

impl Link for Connection {
    fn may_have_written(&mut self) -> &mut bool {
        &mut self.may_have_written
    }

    async fn load(&mut self, keys: &[SessionKey], fence: Option<&Fence>) -> Result<Vec<Found>, Failure> {
        let statements = self.statements().await?;
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(CHUNK_MAX) {
            let sent = filled_up(keys);
            let sql = match fence {
                None => statements.load(sent.len()),
                Some(_) => statements.load_under(sent.len(), &SideNames::of(&self.options.table.table)),
            };
            let first = fence.iter().fold(sqlx::query(&sql), |query, fence| query.bind(&*fence.migration));
            let query = sent.iter().fold(first, |query, key| query.bind(key.expose()));
            let now = self.now();
            let rows = self.rows_under(query.bind(now), fence).await?;
            let epoch = 3 + statements.columns.others.len();
            for row in sessions_under(fence, &rows, epoch)? {
                // A collation may find the row of another key.
                let at = raw(row, 0)?;
                if let Some(key) = keys.iter().find(|key| key.expose().as_bytes() == at) {
                    let others = others::of_columns(&statements.columns.others, row, 3);
                    found.push((key.clone(), session(self.layout(), row, key, others)));
                }
            }
        }
        Ok(found)
    }

    async fn existing(&mut self, keys: &[SessionKey], fence: Option<&Fence>) -> Result<Vec<SessionKey>, Failure> {
        let statements = self.statements().await?;
        let mut existing = Vec::new();
        for keys in keys.chunks(CHUNK_MAX) {
            let sent = filled_up(keys);
            let sql = match fence {
                None => statements.existing(sent.len()),
                Some(_) => statements.existing_under(sent.len(), &SideNames::of(&self.options.table.table)),
            };
            let first = fence.iter().fold(sqlx::query(&sql), |query, fence| query.bind(&*fence.migration));
            let query = sent.iter().fold(first, |query, key| query.bind(key.expose()));
            let rows = self.rows_under(query, fence).await?;
            for row in sessions_under(fence, &rows, 1)? {
                let at = raw(row, 0)?;
                existing.extend(keys.iter().find(|key| key.expose().as_bytes() == at).cloned());
            }
        }
        Ok(existing)
    }

    async fn write(
        &mut self,
        batch: &[Write],
        manner: &Manner,
        again: bool,
        [_, deadline]: [Instant; 2],
    ) -> Result<Vec<WriteOutcome>, Failure> {
        if let Some(refusal) = self.packet.refuses(batch) {
            return Err(Failure::Row(refusal));
        }
        let may_wait = !again && may_wait(deadline);
        match manner {
            Manner::Plain(None) => {}
            Manner::Plain(Some(fence)) => return self.write_under(batch, fence, may_wait).await,
            Manner::Marked(home, fence) => return self.write_marked(batch, *home, fence, may_wait).await,
        }
        let statements = self.statements().await?;
        let upserts = upserts(batch, &statements.columns.others).map_err(refused)?;
        let is_plain = |write: &Write| match write {
            Write::Insert(session) | Write::Update(session) | Write::Upsert(session) => session.others.is_empty(),
            Write::Touch(..) | Write::Delete(_) => true,
        };
        match (batch, upserts) {
            ([write], _) if may_wait && is_plain(write) => {
                self.may_have_written = true;
                Ok(vec![self.write_one(write).await?])
            }
            // One statement, which is one transaction, if one statement can carry all rows.
            (_, Some(rows)) if may_wait && self.is_one_statement(&rows) => {
                let whole = rows[0].is_whole();
                let rows = filled_up_before(&rows);
                self.may_have_written = true;
                self.put(&statements, &statements.upsert_many(rows.len(), whole), &rows).await?;
                let done = |write: &Write| match write {
                    Write::Upsert(session) => WriteOutcome::Done(Some(session.clone())),
                    _ => WriteOutcome::Missing,
                };
                Ok(batch.iter().map(done).collect())
            }
            _ => self.write_at_once(batch).await,
        }
    }

    async fn begin(&mut self, _deadline: Instant, fence: Option<&Fence>) -> Result<(), Failure> {
        (self.migration, self.holds_keys) = (None, false);
        match fence {
            None => self.simple("START TRANSACTION").await,
            Some(fence) => self.begin_under(fence).await,
        }
    }

    async fn lock(&mut self, keys: &[SessionKey], deadline: Instant) -> Result<Vec<Option<Session>>, Failure> {
        let mut sorted: Vec<_> = keys.iter().collect();
        sorted.sort_unstable();
        let mut locked = self.lock_rows(&sorted, true, may_wait(deadline)).await?;
        let found = keys.iter().map(|key| locked.remove(key).flatten().transpose());
        found.map(|found| found.map_err(refused)).collect()
    }

    async fn write_in(&mut self, batch: &[Write], deadline: Instant) -> Result<Vec<WriteOutcome>, Failure> {
        if let Some(refusal) = self.packet.refuses(batch) {
            return Err(Failure::Row(refusal));
        }
        let outcomes = self.write_batch(batch, true, may_wait(deadline)).await?;
        self.unmark_written(batch, &outcomes).await?;
        Ok(outcomes)
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        self.may_have_written = true;
        self.simple("COMMIT").await
    }

    async fn roll_back(&mut self) -> Result<(), Failure> {
        self.simple("ROLLBACK").await
    }

    async fn delete_expired(
        &mut self,
        before: Option<Timestamp>,
        rows: u32,
        passed: u64,
    ) -> Result<(u32, u32), Failure> {
        self.may_have_written = true;
        let statements = self.statements().await?;
        let (before, now) = (before.map(django_time::to_text), self.now());
        let query = sqlx::query(&statements.delete_expired).bind(before.clone()).bind(now.clone()).bind(now.clone());
        let query = query.bind(rows).bind(passed).bind(before).bind(now.clone()).bind(now);
        let deleted = u32::try_from(self.execute(query).await?).unwrap_or(rows);
        // No trigger of MySQL's keeps a row without an error.
        Ok((deleted, deleted))
    }

    async fn scan(&mut self, after: Option<&Cursor>, limit: u32, ahead: bool) -> Result<Scan, Failure> {
        let limit = self.page_rows.at_most(limit);
        let (statements, now) = (self.statements().await?, self.now());
        let query = match after {
            None => sqlx::query(&statements.scan_first).bind(now),
            Some(after) => {
                // The server has sent the key as UTF-8. It can convert every text to UTF-8.
                let after = str::from_utf8(after.expose());
                let after = after.map_err(|_| {
                    Failure::corrupt("a key has bytes that its column's character set does not define: delete its row")
                })?;
                sqlx::query(&statements.scan).bind(now).bind(after)
            }
        };
        let (layout, mut page) = (self.layout(), Page::new(limit));
        let mut rows = query.bind(i64::from(limit) + i64::from(ahead)).fetch(&mut self.connection);
        let more = loop {
            match rows.try_next().await {
                Ok(Some(_)) if page.is_full() => break true,
                Ok(Some(row)) => {
                    let key = raw(&row, 0)?;
                    page.add(key, scanned(layout, &row, key, &statements.columns.others)?);
                }
                Ok(None) => break !ahead && page.is_full(),
                Err(error) => return Err(failure(&error, &mut self.may_have_written)),
            }
        };
        drop(rows);
        self.page_rows.were(page.rows(), limit, more);
        Ok(page.end(more))
    }

    /// No contents of a row make the server refuse a page.
    async fn scan_past(&mut self, _after: Option<&Cursor>, message: &str) -> Result<Scan, Failure> {
        Err(Failure::corrupt(message))
    }

    async fn strain(&mut self) -> Result<Strain, Failure> {
        feeds::strain(&mut self.connection).await.map_err(|error| self.failure(&error))
    }

    async fn identity(&mut self) -> Result<Option<Identity>, Failure> {
        let table = self.options.table.table.clone();
        feeds::identity(&mut self.connection, &table).await.map_err(|error| self.failure(&error))
    }

    async fn feeds(&mut self) -> Result<Feeds, Failure> {
        let table = self.options.table.table.clone();
        feeds::feeds(&mut self.connection, &table).await.map_err(|error| self.failure(&error))
    }

    async fn other_columns(&mut self) -> Result<Vec<Column>, Failure> {
        let looked = self.look_at_columns().await;
        looked.map_err(|error| self.failure(&error))?;
        Ok(self.statements().await?.columns.others.iter().map(|other| other.column.clone()).collect())
    }

    async fn check_columns(&mut self) -> Result<(), Failure> {
        let table = self.options.table.clone();
        let checked = schema::check(&mut self.connection, &table).await;
        checked.map_err(|error| self.schema_failure(error))?;
        let columns = self.other_columns().await?;
        // The catalogue hides the columns that this user may not read.
        let all = format!("SELECT * FROM {} LIMIT 0", table.table.quoted('`'));
        let seen = self.connection.execute(sqlx::raw_sql(&all)).await;
        if let Err(error) = seen
            && !(number(&error) == Some(NO_TABLE) && columns.is_empty())
        {
            return Err(schema_failure(&error, &mut self.may_have_written));
        }
        table.check_others(&self.statements().await?.columns.others).map_err(Failure::Refused)
    }

    async fn expired_left(&mut self, before: Option<Timestamp>, _deadline: Instant) -> Result<ExpiredLeft, Failure> {
        let statements = self.statements().await?;
        let (before, now) = (before.map(django_time::to_text), self.now());
        let mut query = sqlx::query(&statements.expired_left);
        for _ in ["expired", "unreadable"] {
            query = query.bind(before.clone()).bind(now.clone()).bind(now.clone());
        }
        let rows = self.rows(query).await?;
        let counted = |at| {
            let counted: i64 = rows.first().map_or(Ok(0), |row| column(row, at))?;
            Ok(counted.unsigned_abs())
        };
        Ok(ExpiredLeft { expired: counted(0)?, unreadable: counted(1)? })
    }

    async fn statistics(&mut self, _deadline: Instant) -> Result<Statistics, Failure> {
        let (table, now) = (self.options.table.clone(), self.now());
        let told = statistics::statistics(&mut self.connection, &table, now).await;
        told.map_err(|error| self.failure(&error))
    }

    async fn missing_schema(&mut self) -> Result<Vec<String>, Failure> {
        let table = self.options.table.clone();
        schema::missing(&mut self.connection, &table).await.map_err(|error| self.schema_failure(error))
    }

    async fn execute_schema(&mut self, statements: &[String]) -> Result<(), Failure> {
        self.may_have_written = !statements.is_empty();
        // Each statement commits by itself. What was made stays, and the next run makes the rest.
        for statement in statements {
            let done = self.connection.execute(sqlx::raw_sql(statement)).await;
            done.map_err(|error| schema_failure(&error, &mut self.may_have_written))?;
        }
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), Failure> {
        self.connection.ping().await.map_err(|error| self.failure(&error))
    }

    async fn close(self) {
        self.connection.close().await.ok();
    }
}

/// The rows of sessions. Under a fence another row has its epoch, in the last column; the fence is checked first.
fn sessions_under<'r>(fence: Option<&Fence>, rows: &'r [MySqlRow], epoch: usize) -> Result<Vec<&'r MySqlRow>, Failure> {
    let Some(fence) = fence else { return Ok(rows.iter().collect()) };
    let is_fence = |row: &&MySqlRow| matches!(column::<Option<i64>>(row, epoch), Ok(Some(_)));
    side::not_below_at(fence, rows.iter().find(is_fence), epoch)?;
    Ok(rows.iter().filter(|row| !is_fence(row)).collect())
}

/// Makes a session of a row of key, payload and expiry.
fn session(layout: Layout, row: &MySqlRow, key: &SessionKey, others: Others) -> Result<Session, Unreadable> {
    let payload = raw(row, 1).map_err(|_| unreadable_row(key, "a payload of another type"))?;
    let expires_at = raw(row, 2).ok().and_then(|text| django_time::from_text(str::from_utf8(text).ok()?));
    session_of_row(layout, key, payload, expires_at, others)
}

/// Makes a row of a page; `key` has the bytes of its key.
fn scanned(layout: Layout, row: &MySqlRow, key: &[u8], columns: &[OtherColumn]) -> Result<ScannedRow, Failure> {
    let alive: i64 = column(row, 3)?;
    Ok(match (alive != 0, layout.key_of_row(key)) {
        (false, _) => ScannedRow::Expired,
        (true, Some(key)) => session(layout, row, &key, others::of_columns(columns, row, 4)).into(),
        (true, None) => ScannedRow::Unreadable(foreign_row(layout, key)),
    })
}

fn bind<'q>(query: MySqlQuery<'q>, values: &Values<'q>, statements: &Statements, layout: Layout) -> MySqlQuery<'q> {
    let query = bind_payload(query.bind(values.key), values.payload, layout).bind(values.expires_at.clone());
    debug_assert!(values.others.is_empty() || values.others.len() == statements.columns.others.len());
    values.others.iter().fold(query, |query, value| match value {
        Value::Bytes(bytes) => query.bind(bytes.to_vec()),
        Value::Boolean(truth) => query.bind(i64::from(*truth)),
        Value::Integer(number) => query.bind(*number),
        Value::Text(text) | Value::Time(text) | Value::Other(text) => query.bind(text.to_string()),
        _ => query.bind(None::<String>),
    })
}

/// The values of a batch of upserts, in the order of the keys; `None`: the batch has another kind of write.
fn upserts<'b>(batch: &'b [Write], columns: &[OtherColumn]) -> Result<Option<Vec<Values<'b>>>, Unreadable> {
    let mut rows = Vec::with_capacity(batch.len());
    for write in batch {
        let Write::Upsert(session) = write else { return Ok(None) };
        rows.push(Values::of(session, columns)?);
    }
    rows.sort_unstable_by_key(|values| values.key);
    Ok(Some(rows))
}

/// The values of a session without the other columns.
fn plain(session: &Session) -> Result<Values<'_>, Failure> {
    Values::of(session, &[]).map_err(refused)
}

/// Splits rows into those without values for the other columns and those with them; no statement mixes the two. The
/// rows without come first.
fn by_columns<'r, 'b>(rows: &'r [Values<'b>]) -> impl Iterator<Item = (bool, &'r [Values<'b>])> {
    rows.chunk_by(|one, next| one.is_whole() == next.is_whole()).map(|rows| (rows[0].is_whole(), rows))
}

fn refused(row: Unreadable) -> Failure {
    Failure::Row(row.to_string())
}

/// A payload that is bound as text is converted by the server to the character set of its column.
fn bind_payload<'q>(query: MySqlQuery<'q>, payload: &'q [u8], layout: Layout) -> MySqlQuery<'q> {
    if layout.has_bytes() {
        query.bind(payload)
    } else {
        query.bind(str::from_utf8(payload).expect("the layout takes text alone"))
    }
}

/// The slice, with its last item repeated up to a power of two. So there are few lengths, and few statements to
/// prepare.
fn filled_up<T: Clone>(items: &[T]) -> Vec<T> {
    let mut filled = items.to_vec();
    if let Some(last) = items.last() {
        filled.resize(items.len().next_power_of_two(), last.clone());
    }
    filled
}

/// The rows of an upsert, filled up to a power of two with empty rows. These have the first key and stand before its
/// row, which replaces them in the same statement. A copy of a row instead could have a payload as large as all others
/// together.
fn filled_up_before<'b>(rows: &[Values<'b>]) -> Vec<Values<'b>> {
    let missing = rows.len().next_power_of_two() - rows.len();
    let nothing = rows.first().map(Values::emptied);
    nothing.into_iter().cycle().take(missing).chain(rows.iter().cloned()).collect()
}

/// Splits the slice into lengths of powers of two, at most [`CHUNK_MAX`].
fn powers_of_two<T>(mut items: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = (1 << items.len().checked_ilog2()?).min(CHUNK_MAX);
        let (chunk, rest) = items.split_at(length);
        items = rest;
        Some(chunk)
    })
}

/// The bytes of a text. The driver does not take a text with a binary collation for a text.
fn raw(row: &MySqlRow, at: usize) -> Result<&[u8], Failure> {
    row.try_get_unchecked(at).map_err(|_| Failure::corrupt("a column has another type than its layout's"))
}

fn column<'r, T: sqlx::Decode<'r, MySql> + sqlx::Type<MySql>>(row: &'r MySqlRow, at: usize) -> Result<T, Failure> {
    row.try_get(at).map_err(|_| Failure::corrupt("a column has another type than its layout's"))
}
