//! Databases whose operations are spans.
//!
//! They have the functions of [`Database`] and its transactions that calls use, under the same names. An operation that
//! belongs to no call, of a job or a repair, has no span.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use switchover_core::capabilities::{
    Database, DatabaseError, Endpoint, Fence, KeyLock, KeyTransaction, LockPurpose, LockedKey, Number, Numbered, Read,
    ReadOutcome, Side, SideTables, Terms, Transaction, Write, WriteOutcome,
};
use switchover_core::{Layout, Session, SessionKey, Timestamp};
use tracing::Span;
use tracing::field::Empty;

use super::outcome::observed;
use super::{TARGET, inside, is_on};

/// A database of a host.
pub(crate) struct TracedDatabase {
    database: Arc<dyn Database>,
    spans: Arc<Spans>,
}

/// The side tables of a database.
pub(crate) struct TracedSideTables<'a> {
    tables: &'a dyn SideTables,
    spans: &'a Arc<Spans>,
}

/// A transaction of a database.
pub(crate) struct TracedTransaction<T: ?Sized> {
    transaction: Box<T>,
    spans: Arc<Spans>,
}

impl TracedDatabase {
    pub(crate) fn new(database: Arc<dyn Database>) -> Self {
        let spans = Arc::new(Spans(database.endpoint()));
        Self { database, spans }
    }

    /// The database itself, for who needs no spans.
    pub(crate) fn plain(&self) -> &Arc<dyn Database> {
        &self.database
    }

    pub(crate) fn layout(&self) -> Layout {
        self.database.layout()
    }

    pub(crate) async fn read(&self, batch: Vec<Read>, terms: Terms) -> Result<Vec<ReadOutcome>, DatabaseError> {
        let span = self.spans.begin("SELECT", batch.len());
        observed(span, self.database.read(batch, terms)).await
    }

    pub(crate) async fn write(&self, batch: Vec<Write>, terms: Terms) -> Result<Vec<WriteOutcome>, DatabaseError> {
        let span = self.spans.begin(of_writes(&batch), batch.len());
        observed(span, self.database.write(batch, terms)).await
    }

    pub(crate) async fn begin(&self, terms: Terms) -> Result<TracedTransaction<dyn Transaction>, DatabaseError> {
        let transaction = self.database.begin(terms).await?;
        Ok(TracedTransaction { transaction, spans: Arc::clone(&self.spans) })
    }

    pub(crate) async fn delete_expired(
        &self,
        before: Option<Timestamp>,
        limit: u32,
        deadline: Instant,
    ) -> Result<u32, DatabaseError> {
        let span = self.spans.begin("DELETE", 1);
        observed(span, self.database.upkeep().delete_expired(before, limit, deadline)).await
    }

    pub(crate) fn side_tables(&self) -> Option<TracedSideTables<'_>> {
        Some(TracedSideTables { tables: self.database.side_tables()?, spans: &self.spans })
    }
}

impl<'a> TracedSideTables<'a> {
    /// The tables themselves, for who needs no spans.
    pub(crate) fn plain(&self) -> &'a dyn SideTables {
        self.tables
    }

    pub(crate) async fn write_marked(
        &self,
        batch: Vec<Write>,
        home: Side,
        fence: Fence,
        deadline: Instant,
    ) -> Result<Vec<WriteOutcome>, DatabaseError> {
        let span = self.spans.begin(of_writes(&batch), batch.len());
        observed(span, self.tables.write_marked(batch, home, fence, deadline)).await
    }

    pub(crate) async fn write_numbered(
        &self,
        batch: Vec<(Write, Number)>,
        fence: Fence,
        deadline: Instant,
    ) -> Result<Numbered, DatabaseError> {
        let span = self.spans.begin(of_writes(batch.iter().map(|(write, _)| write)), batch.len());
        observed(span, self.tables.write_numbered(batch, fence, deadline)).await
    }

    pub(crate) async fn begin_with_keys(
        &self,
        fence: Fence,
        deadline: Instant,
    ) -> Result<TracedTransaction<dyn KeyTransaction>, DatabaseError> {
        let transaction = self.tables.begin_with_keys(fence, deadline).await?;
        Ok(TracedTransaction { transaction, spans: Arc::clone(self.spans) })
    }
}

impl<T: Transaction + ?Sized> TracedTransaction<T> {
    pub(crate) async fn lock(&mut self, keys: Vec<SessionKey>) -> Result<Vec<Option<Session>>, DatabaseError> {
        let span = self.spans.begin("LOCK", keys.len());
        observed(span, self.transaction.lock(keys)).await
    }

    pub(crate) async fn write(&mut self, batch: Vec<Write>) -> Result<Vec<WriteOutcome>, DatabaseError> {
        let span = self.spans.begin(of_writes(&batch), batch.len());
        observed(span, self.transaction.write(batch)).await
    }

    pub(crate) async fn commit(self) -> Result<(), DatabaseError> {
        let span = self.spans.begin("COMMIT", 1);
        observed(span, self.transaction.commit()).await
    }

    pub(crate) async fn roll_back(self) {
        let span = self.spans.begin("ROLLBACK", 1);
        inside(&span, pin!(self.transaction.roll_back())).await;
    }
}

impl TracedTransaction<dyn KeyTransaction> {
    pub(crate) async fn lock_keys(
        &mut self,
        keys: Vec<KeyLock>,
        purpose: LockPurpose,
    ) -> Result<Vec<LockedKey>, DatabaseError> {
        let span = self.spans.begin("LOCK", keys.len());
        observed(span, self.transaction.lock_keys(keys, purpose)).await
    }
}

/// Makes the spans of one database.
struct Spans(Endpoint);

impl Spans {
    fn begin(&self, operation: &'static str, batch: usize) -> Span {
        if !is_on() || Span::current().is_disabled() {
            return Span::none();
        }
        let Endpoint { system, namespace, collection, address, port, .. } = &self.0;
        // As the conventions have it: the table, or else the database, or else its kind.
        let target = collection.as_deref().or(namespace.as_deref()).unwrap_or(system);
        tracing::debug_span!(
            target: TARGET,
            "database",
            "otel.name" = %format_args!("{operation} {target}"),
            "otel.kind" = "client",
            "db.system.name" = system,
            "db.namespace" = namespace.as_deref(),
            "db.collection.name" = collection.as_deref(),
            "db.operation.name" = operation,
            "db.operation.batch.size" = (batch > 1).then_some(batch),
            "server.address" = address.as_deref(),
            "server.port" = port,
            "otel.status_code" = Empty,
            "error.type" = Empty,
        )
    }
}

/// The operation of a batch, in the words of the conventions.
fn of_writes<'a>(batch: impl IntoIterator<Item = &'a Write>) -> &'static str {
    let mut names = batch.into_iter().map(|write| match write {
        Write::Insert(_) => ["INSERT", "BATCH INSERT"],
        Write::Update(_) | Write::Touch(..) => ["UPDATE", "BATCH UPDATE"],
        Write::Upsert(_) => ["UPSERT", "BATCH UPSERT"],
        Write::Delete(_) => ["DELETE", "BATCH DELETE"],
    });
    let Some([alone, together]) = names.next() else { return "BATCH" };
    match names.next() {
        None => alone,
        Some([next, _]) if next == alone && names.all(|[name, _]| name == alone) => together,
        Some(_) => "BATCH",
    }
}
