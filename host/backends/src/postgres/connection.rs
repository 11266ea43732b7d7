//! One connection to PostgreSQL: its settings, and each operation in as few round trips as possible.

mod call;
mod side;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant as Deadline};

use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{Connection as _, Executor as _, Postgres, Row as _, ValueRef as _};
use switchover_core::capabilities::{
    Clock, Cursor, DatabaseError, ExpiredLeft, Feeds, Fence, Identity, Scan, Statistics, Strain, Unreadable, Write,
    WriteOutcome,
};
use switchover_core::{Column, Layout, Others, Payload, Session, SessionKey, Timestamp};

use self::call::{Call, look, not_below};
use super::batch::Batch;
use super::clock::ServerClock;
use super::errors::{failure, unavailable};
use super::statements::Statements;
use super::types::{Instant, RawText};
use super::{feeds, others, schema, statistics};
use crate::manner::Manner;
use crate::others::{OtherColumn, Shared};
use crate::page::{Page, PageRows, ScannedRow};
use crate::row::{foreign_row, session_of_row, unreadable_row};
use crate::server::{Failure, Found, Link, Options};

/// The settings of every connection, made in one round trip.
///
/// A write waits for a lock of another host for the lock timeout, and is then tried again; so it can report in time
/// that nothing was written. The next two settings end what a vanished client has left behind. The next three keep the
/// plan of a statement: planning a batch anew takes PostgreSQL longer than executing it. Every session statement has
/// its index, however many rows the table had when the statement was planned.
///
/// Text is sent as the bytes in which it is stored. PostgreSQL checks what it converts, and one row that is no text in
/// the client's encoding would make the whole answer fail. Text in these two encodings is checked here, row by row;
/// from others PostgreSQL has to convert.
///
/// A commit is acknowledged when it is on disk, even where the server would acknowledge it earlier.
const SETTINGS: &str = "SET default_transaction_isolation = 'read committed'; SET lock_timeout = '100ms'; \
                        SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '60s'; \
                        SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off; \
                        SET IntervalStyle = 'postgres'; \
                        SELECT set_config('client_encoding', CASE WHEN current_setting('server_encoding') \
                        IN ('UTF8', 'SQL_ASCII') THEN 'SQL_ASCII' ELSE 'UTF8' END, false), \
                        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, \
                        set_config('synchronous_commit', CASE current_setting('synchronous_commit') \
                        WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)";
/// With less time left than this, a write sets a shorter lock timeout for itself, which takes two round trips more. No
/// statement has an end that is nearer.
const SHORT: Duration = Duration::from_millis(250);
/// From PostgreSQL 14 on, if the operating system supports it, a statement ends when its client has vanished.
const CHECK_CLIENT: &str = "SET client_connection_check_interval = '500ms'";

pub(crate) struct Connection {
    connection: PgConnection,
    statements: Arc<Shared<Statements>>,
    options: Options,
    page_rows: PageRows,
    clock: ServerClock,
    may_have_written: bool,
    /// The migration under whose fence a transaction is open.
    migration: Option<Arc<str>>,
    /// Whether that transaction has locked keys.
    holds_keys: bool,
}

impl Connection {
    pub(super) async fn open(
        address: &PgConnectOptions,
        statements: &Arc<Shared<Statements>>,
        options: &Options,
    ) -> Result<Self, DatabaseError> {
        let mut connection = PgConnection::connect_with(address).await.map_err(|error| unavailable(&error))?;
        let told = connection.fetch_one(sqlx::raw_sql(SETTINGS)).await.map_err(|error| unavailable(&error))?;
        let micros: i64 = told.try_get(1).map_err(|error| unavailable(&error))?;
        let clock = ServerClock::told(Timestamp::from_micros(micros.unsigned_abs()));
        match connection.execute(CHECK_CLIENT).await {
            // An older server, or a system that does not support it.
            Ok(_) | Err(sqlx::Error::Database(_)) => {}
            Err(error) => return Err(unavailable(&error)),
        }
        let (statements, options) = (Arc::clone(statements), options.clone());
        let page_rows = PageRows::default();
        let mut connection = Self {
            connection,
            statements,
            options,
            page_rows,
            clock,
            may_have_written: false,
            migration: None,
            holds_keys: false,
        };
        connection.look_at_columns().await.map_err(|error| unavailable(&error))?;
        Ok(connection)
    }

    /// Reads which other columns the table has now. From then on every connection uses them.
    async fn look_at_columns(&mut self) -> Result<(), sqlx::Error> {
        let table = &self.options.table;
        let others = others::columns(&mut self.connection, &table.table, table.layout.columns()).await?;
        if self.statements.get().others != others {
            self.statements.set(Statements::of(table, others));
        }
        Ok(())
    }

    fn layout(&self) -> Layout {
        self.options.table.layout
    }

    fn now(&self) -> Option<Instant> {
        self.options.clock.as_deref().map(Clock::now).map(Instant)
    }

    async fn rows(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>, Failure> {
        query.fetch_all(&mut self.connection).await.map_err(|error| failure(&error, &mut self.may_have_written))
    }

    /// The rows of a read. Under a fence their last column has its epoch, and a row without a key says that there is no
    /// row.
    async fn rows_under<'q>(
        &mut self,
        query: Query<'q, Postgres, PgArguments>,
        fence: Option<&'q Fence>,
    ) -> Result<Vec<PgRow>, Failure> {
        let Some(fence) = fence else { return self.rows(query).await };
        let mut rows = self.rows(query.bind(&*fence.migration)).await?;
        not_below(fence, rows.first())?;
        rows.retain(|row| !matches!(row.try_get_raw(0), Ok(key) if key.is_null()));
        Ok(rows)
    }

    /// Executes several statements without parameters, in one round trip.
    async fn simple(&mut self, sql: &str) -> Result<(), Failure> {
        let done = self.connection.execute(sqlx::raw_sql(sql)).await;
        done.map(drop).map_err(|error| failure(&error, &mut self.may_have_written))
    }

    fn schema_failure(&mut self, error: schema::Error) -> Failure {
        match error {
            schema::Error::Different(error) => Failure::Refused(error),
            schema::Error::Driver(error) => failure(&error, &mut self.may_have_written),
        }
    }

    fn page_query<'q>(
        &self,
        first: &'q str,
        later: &'q str,
        after: Option<&'q Cursor>,
        rows: i64,
    ) -> Query<'q, Postgres, PgArguments> {
        let query = sqlx::query(if after.is_some() { later } else { first }).bind(rows).bind(self.now());
        match after {
            Some(after) => query.bind(RawText(after.expose())),
            None => query,
        }
    }

    /// With `carries`, touched rows are read, so that they can be carried to a mirror. This is only for a transaction
    /// that can still be rolled back: a row that cannot be read is an error.
    ///
    /// The server does not begin it after `end` by its own clock.
    async fn write_batch(
        &mut self,
        batch: &[Write],
        call: Option<Call<'_>>,
        carries: bool,
        end: Option<Instant>,
    ) -> Result<Vec<WriteOutcome>, Failure> {
        let statements = self.statements.get();
        let layout = self.layout();
        let values = Batch::of(batch, &statements.others)?;
        let query = match call {
            None => values.bind(&statements.write, layout, carries, end),
            Some(call) => call.bind(values.bind(&statements.write_fenced, layout, carries, end)),
        };
        let rows = self.rows(query).await?;
        self.got_at(&rows, end)?;
        outcomes(batch, &rows, carries, layout, &statements.others)
    }

    /// Takes the time at which the server got a write, from the row without a key. After the write's end the server has
    /// done nothing.
    fn got_at(&mut self, rows: &[PgRow], end: Option<Instant>) -> Result<(), Failure> {
        for row in rows {
            if column::<Option<&str>>(row, 0)?.is_some() {
                continue;
            }
            let at: Instant = column(row, 2)?;
            self.clock = ServerClock::told(at.0);
            if end.is_some_and(|end| end.0 < at.0) {
                self.may_have_written = false;
                return Err(Failure::Busy("the server got the write after its deadline".to_owned()));
            }
        }
        Ok(())
    }

    /// The end of a statement, by the server's clock. A caller who hardly has time left does not make the others try
    /// again.
    fn end_for(&self, deadline: Deadline) -> Instant {
        Instant(self.clock.at(deadline.max(Deadline::now() + SHORT)))
    }

    /// Locks rows and reads them. It does not lock keys without a row.
    async fn lock_rows(&mut self, keys: &[&SessionKey]) -> Result<Vec<Option<Session>>, Failure> {
        let statements = self.statements.get();
        let layout = self.layout();
        let query = Batch::locking(keys, &statements.others).bind(&statements.write, layout, true, None);
        let rows = self.rows(query).await?;
        let mut locked: HashMap<String, &PgRow> = HashMap::with_capacity(rows.len());
        for row in &rows {
            if let Some(key) = column::<Option<String>>(row, 0)? {
                locked.insert(key, row);
            }
        }
        let found = keys.iter().map(|key| {
            locked
                .get(key.expose())
                .map(|row| session(layout, row, key, others::of_column(&statements.others, row, 3)))
                .transpose()
        });
        found.map(|found| found.map_err(|row| Failure::Row(row.to_string()))).collect()
    }

    /// Locks a key that has no row, so that nobody inserts one before the transaction ends. It inserts a row and
    /// deletes it again; another transaction that inserts the key waits for this one. If another transaction was about
    /// to insert it, this waits for it and returns the row.
    async fn lock_absent(&mut self, key: &SessionKey) -> Result<Option<Session>, Failure> {
        let absent = Session::new(key.clone(), Payload::from(""), Timestamp::from_micros(0));
        if self.write_batch(&[Write::Insert(absent)], None, true, None).await? == [WriteOutcome::Exists] {
            return Ok(self.lock_rows(&[key]).await?.pop().flatten());
        }
        self.write_batch(&[Write::Delete(key.clone())], None, true, None).await?;
        Ok(None)
    }

    /// Writes a batch in a transaction of its own, which sets its own lock timeout.
    async fn write_shortly(
        &mut self,
        batch: &[Write],
        call: Option<Call<'_>>,
        deadline: Deadline,
    ) -> Result<Vec<WriteOutcome>, Failure> {
        self.begin(deadline, None).await?;
        let written = self.write_batch(batch, call, false, None).await;
        self.end(written).await
    }

    /// Commits a transaction of this connection's own, or rolls it back.
    async fn end<T>(&mut self, done: Result<T, Failure>) -> Result<T, Failure> {
        match done {
            Ok(value) => self.commit().await.map(|()| value),
            Err(Failure::Lost(message)) => Err(Failure::Lost(message)),
            Err(failure) => self.roll_back().await.and(Err(failure)),
        }
    }
}

impl Link for Connection {
    fn may_have_written(&mut self) -> &mut bool {
        &mut self.may_have_written
    }

    async fn load(&mut self, keys: &[SessionKey], fence: Option<&Fence>) -> Result<Vec<Found>, Failure> {
        let statements = self.statements.get();
        let sql = if fence.is_some() { &statements.load_fenced } else { &statements.load };
        let query = sqlx::query(sql).bind(exposed(keys)).bind(self.now());
        let rows = self.rows_under(query, fence).await?;
        let wanted: HashMap<_, _> = keys.iter().map(|key| (key.expose(), key)).collect();
        // The key is compared once more here, byte for byte.
        let layout = self.layout();
        let found = rows.iter().map(|row| {
            let key: &str = column(row, 0)?;
            let others = others::of_column(&statements.others, row, 3);
            Ok(wanted.get(key).map(|&key| (key.clone(), session(layout, row, key, others))))
        });
        found.filter_map(Result::transpose).collect()
    }

    async fn existing(&mut self, keys: &[SessionKey], fence: Option<&Fence>) -> Result<Vec<SessionKey>, Failure> {
        let statements = self.statements.get();
        let sql = if fence.is_some() { &statements.existing_fenced } else { &statements.existing };
        let rows = self.rows_under(sqlx::query(sql).bind(exposed(keys)), fence).await?;
        let existing: Vec<&str> = rows.iter().map(|row| column(row, 0)).collect::<Result<_, _>>()?;
        Ok(keys.iter().filter(|key| existing.contains(&key.expose())).cloned().collect())
    }

    async fn write(
        &mut self,
        batch: &[Write],
        manner: &Manner,
        _again: bool,
        [first, last]: [Deadline; 2],
    ) -> Result<Vec<WriteOutcome>, Failure> {
        let call = Call::of(manner, batch);
        if left(last) < SHORT {
            return self.write_shortly(batch, call, last).await;
        }
        self.may_have_written = true;
        let end = self.end_for(first);
        self.write_batch(batch, call, false, Some(end)).await
    }

    async fn begin(&mut self, deadline: Deadline, fence: Option<&Fence>) -> Result<(), Failure> {
        // The last quarter of the time is for the answer, and for what follows the lock.
        let wait = (left(deadline) * 3 / 4).as_millis().max(1);
        // A deferred constraint is checked together with the write, before the mirror has been written.
        let mut begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {wait}; SET CONSTRAINTS ALL IMMEDIATE"
        );
        self.holds_keys = false;
        self.migration = fence.map(|fence| Arc::clone(&fence.migration));
        let Some(fence) = fence else { return self.simple(&begin).await };
        let statements = self.statements.get();
        begin.push_str("; ");
        begin.push_str(&look(&statements.functions.fence, fence));
        match self.simple(&begin).await {
            Err(Failure::Lost(message)) => Err(Failure::Lost(message)),
            Err(failure) => self.roll_back().await.and(Err(failure)),
            Ok(()) => Ok(()),
        }
    }

    async fn lock(&mut self, keys: &[SessionKey], _deadline: Deadline) -> Result<Vec<Option<Session>>, Failure> {
        let mut rows = self.lock_rows(&keys.iter().collect::<Vec<_>>()).await?;
        for (key, row) in keys.iter().zip(&mut rows).filter(|(_, row)| row.is_none()) {
            *row = self.lock_absent(key).await?;
        }
        Ok(rows)
    }

    async fn write_in(&mut self, batch: &[Write], _deadline: Deadline) -> Result<Vec<WriteOutcome>, Failure> {
        let migration = self.migration.clone().filter(|_| self.holds_keys);
        let call = migration.as_deref().map(|migration| Call::locked(migration, batch));
        self.write_batch(batch, call, true, None).await
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
        let statements = self.statements.get();
        let query = sqlx::query(&statements.delete_expired).bind(before.map(Instant)).bind(self.now());
        let done = self.rows(query.bind(i64::from(rows)).bind(i64::try_from(passed).unwrap_or(i64::MAX))).await?;
        let counted = |at| {
            let counted: i64 = done.first().map_or(Ok(0), |row| column(row, at))?;
            Ok(u32::try_from(counted).unwrap_or(rows))
        };
        Ok((counted(0)?, counted(1)?))
    }

    async fn scan(&mut self, after: Option<&Cursor>, limit: u32, ahead: bool) -> Result<Scan, Failure> {
        let limit = self.page_rows.at_most(limit);
        let statements = self.statements.get();
        let query =
            self.page_query(&statements.scan_first, &statements.scan, after, i64::from(limit) + i64::from(ahead));
        let (layout, mut page) = (self.layout(), Page::new(limit));
        let mut rows = query.fetch(&mut self.connection);
        let more = loop {
            match rows.try_next().await {
                Ok(Some(_)) if page.is_full() => break true,
                Ok(Some(row)) => {
                    let key = raw(&row, 0)?;
                    page.add(key, scanned(layout, &row, key, &statements.others)?);
                }
                Ok(None) => break !ahead && page.is_full(),
                Err(error) => return Err(failure(&error, &mut self.may_have_written)),
            }
        };
        drop(rows);
        self.page_rows.were(page.rows(), limit, more);
        Ok(page.end(more))
    }

    async fn scan_past(&mut self, after: Option<&Cursor>, message: &str) -> Result<Scan, Failure> {
        let statements = self.statements.get();
        let query = self.page_query(&statements.scan_past_first, &statements.scan_past, after, 1);
        let rows = self.rows(query).await?;
        let mut page = Page::new(1);
        for row in &rows {
            let key = raw(row, 0)?;
            let alive: bool = column(row, 3)?;
            let unreadable = || Unreadable::new(key, format!("has contents that {message}"));
            page.add(key, if alive { ScannedRow::Unreadable(unreadable()) } else { ScannedRow::Expired });
        }
        Ok(page.end(!rows.is_empty()))
    }

    async fn strain(&mut self) -> Result<Strain, Failure> {
        feeds::strain(&mut self.connection).await.map_err(|error| failure(&error, &mut self.may_have_written))
    }

    async fn identity(&mut self) -> Result<Option<Identity>, Failure> {
        let name = self.options.table.table.quoted('"');
        schema::identity(&mut self.connection, &name).await.map_err(|error| failure(&error, &mut self.may_have_written))
    }

    async fn feeds(&mut self) -> Result<Feeds, Failure> {
        let name = self.options.table.table.quoted('"');
        feeds::feeds(&mut self.connection, &name).await.map_err(|error| failure(&error, &mut self.may_have_written))
    }

    async fn other_columns(&mut self) -> Result<Vec<Column>, Failure> {
        let looked = self.look_at_columns().await;
        looked.map_err(|error| failure(&error, &mut self.may_have_written))?;
        Ok(self.statements.get().others.iter().map(|other| other.column.clone()).collect())
    }

    async fn check_columns(&mut self) -> Result<(), Failure> {
        let table = self.options.table.clone();
        let checked = schema::check(&mut self.connection, &table).await;
        checked.map_err(|error| self.schema_failure(error))?;
        self.other_columns().await?;
        table.check_others(&self.statements.get().others).map_err(Failure::Refused)
    }

    async fn expired_left(&mut self, before: Option<Timestamp>, deadline: Deadline) -> Result<ExpiredLeft, Failure> {
        self.simple(&for_long(deadline)).await?;
        let statements = self.statements.get();
        let query = sqlx::query(&statements.expired_left).persistent(false).bind(before.map(Instant)).bind(self.now());
        let counted = self.rows(query).await;
        if !matches!(counted, Err(Failure::Lost(_))) {
            self.simple(SETTINGS).await?;
        }
        let counted: i64 = counted?.first().map_or(Ok(0), |row| column(row, 0))?;
        // Every end that the column's type allows can be compared.
        Ok(ExpiredLeft { expired: counted.unsigned_abs(), unreadable: 0 })
    }

    async fn statistics(&mut self, deadline: Deadline) -> Result<Statistics, Failure> {
        self.simple(&for_long(deadline)).await?;
        let (table, now) = (self.options.table.clone(), self.now());
        let told = statistics::statistics(&mut self.connection, &table, now).await;
        let told = told.map_err(|error| failure(&error, &mut self.may_have_written));
        if !matches!(told, Err(Failure::Lost(_))) {
            self.simple(SETTINGS).await?;
        }
        told
    }

    async fn missing_schema(&mut self) -> Result<Vec<String>, Failure> {
        let table = self.options.table.clone();
        schema::missing(&mut self.connection, &table).await.map_err(|error| self.schema_failure(error))
    }

    async fn execute_schema(&mut self, statements: &[String]) -> Result<(), Failure> {
        if statements.is_empty() {
            return Ok(());
        }
        self.may_have_written = true;
        // Several statements without `BEGIN` are one transaction.
        self.simple(&statements.join(" ")).await
    }

    async fn ping(&mut self) -> Result<(), Failure> {
        self.connection.ping().await.map_err(|error| failure(&error, &mut self.may_have_written))
    }

    async fn close(self) {
        self.connection.close().await.ok();
    }
}

/// What became of each write of a batch, by the rows that the statement has returned.
fn outcomes(
    batch: &[Write],
    rows: &[PgRow],
    carries: bool,
    layout: Layout,
    columns: &[OtherColumn],
) -> Result<Vec<WriteOutcome>, Failure> {
    let mut written: HashMap<&str, &PgRow> = HashMap::with_capacity(rows.len());
    for row in rows {
        if let Some(key) = column(row, 0)? {
            written.insert(key, row);
        }
    }
    let found = |write: &Write| written.get(write.key().expose()).copied();
    batch.iter().map(|write| outcome(write, found(write), carries, layout, columns)).collect()
}

fn outcome(
    write: &Write,
    row: Option<&PgRow>,
    carries: bool,
    layout: Layout,
    columns: &[OtherColumn],
) -> Result<WriteOutcome, Failure> {
    let Some(row) = row else {
        return Ok(if matches!(write, Write::Insert(_)) { WriteOutcome::Exists } else { WriteOutcome::Missing });
    };
    let others = || if carries { others::of_column(columns, row, 3) } else { Others::default() };
    let row = match write {
        Write::Insert(session) | Write::Update(session) | Write::Upsert(session) => {
            Some(Session { others: others(), ..session.clone() })
        }
        Write::Touch(key, _) if carries => {
            Some(session(layout, row, key, others()).map_err(|row| Failure::Row(row.to_string()))?)
        }
        Write::Touch(..) | Write::Delete(_) => None,
    };
    Ok(WriteOutcome::Done(row))
}

/// Makes a session of a row of key, payload and expiry.
fn session(layout: Layout, row: &PgRow, key: &SessionKey, others: Others) -> Result<Session, Unreadable> {
    let payload = raw(row, 1).map_err(|_| unreadable_row(key, "a payload of another type"))?;
    let expires_at: Instant =
        row.try_get(2).map_err(|_| unreadable_row(key, "an expiry that is not a time before the year 10000"))?;
    session_of_row(layout, key, payload, Some(expires_at.0), others)
}

/// Makes a row of a page; `key` has the bytes of its key.
fn scanned(layout: Layout, row: &PgRow, key: &[u8], columns: &[OtherColumn]) -> Result<ScannedRow, Failure> {
    let alive: bool = column(row, 3)?;
    Ok(match (alive, layout.key_of_row(key)) {
        (false, _) => ScannedRow::Expired,
        (true, Some(key)) => session(layout, row, &key, others::of_column(columns, row, 4)).into(),
        (true, None) => ScannedRow::Unreadable(foreign_row(layout, key)),
    })
}

/// The limits of a statement that reads more than any statement of a session.
fn for_long(deadline: Deadline) -> String {
    format!("SET statement_timeout = {}; SET enable_seqscan = on", left(deadline).as_millis().max(1))
}

fn left(deadline: Deadline) -> Duration {
    deadline.saturating_duration_since(Deadline::now())
}

fn exposed(keys: &[SessionKey]) -> Vec<&str> {
    keys.iter().map(SessionKey::expose).collect()
}

/// The bytes of a text; they need not be valid UTF-8.
fn raw(row: &PgRow, at: usize) -> Result<&[u8], Failure> {
    row.try_get_unchecked(at).map_err(|_| Failure::corrupt("a column has another type than its layout's"))
}

fn column<'r, T: sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>>(row: &'r PgRow, at: usize) -> Result<T, Failure> {
    row.try_get(at).map_err(|_| Failure::corrupt("a column has another type than its layout's"))
}
