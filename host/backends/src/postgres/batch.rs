//! A batch of writes as the parameters of one statement.

use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use switchover_core::capabilities::{Unreadable, Write};
use switchover_core::{Layout, Session, SessionKey, Value};

use super::others;
use super::types::{Instant, RawText};
use crate::others::{OtherColumn, values};
use crate::server::Failure;

/// The columns of a batch of writes, by kind and in the order of the keys.
#[derive(Default)]
pub(super) struct Batch<'b> {
    locked: Vec<&'b str>,
    inserted: Sessions<'b>,
    updated: Sessions<'b>,
    upserted: Sessions<'b>,
    touched: (Vec<&'b str>, Vec<Instant>),
    deleted: Vec<&'b str>,
    only_locked: Vec<&'b str>,
    /// Sessions with values for the other columns: inserted, updated and upserted ones. `None` if the table has no
    /// other columns.
    whole: Option<[Sessions<'b>; 3]>,
}

#[derive(Default)]
struct Sessions<'b> {
    keys: Vec<&'b str>,
    payloads: Vec<&'b [u8]>,
    ends: Vec<Instant>,
    /// One array for each other column.
    others: Vec<Vec<Option<String>>>,
}

impl<'b> Sessions<'b> {
    fn with(others: &[OtherColumn]) -> Self {
        Self { others: vec![Vec::new(); others.len()], ..Self::default() }
    }

    fn push(&mut self, session: &'b Session, values: &[&Value]) {
        for (column, value) in self.others.iter_mut().zip(values) {
            column.push(others::parameter(value));
        }
        self.keys.push(session.key.expose());
        self.payloads.push(session.payload.expose());
        self.ends.push(Instant(session.expires_at));
    }

    fn bind(self, query: Query<'b, Postgres, PgArguments>, layout: Layout) -> Query<'b, Postgres, PgArguments> {
        let query = query.bind(self.keys);
        let query = if layout.has_bytes() {
            query.bind(self.payloads)
        } else {
            query.bind(self.payloads.into_iter().map(RawText).collect::<Vec<_>>())
        };
        self.others.into_iter().fold(query.bind(self.ends), Query::bind)
    }
}

impl<'b> Batch<'b> {
    fn with(columns: &[OtherColumn]) -> Self {
        let whole = (!columns.is_empty()).then(|| [(); 3].map(|()| Sessions::with(columns)));
        Self { whole, ..Self::default() }
    }

    pub(super) fn of(writes: &'b [Write], columns: &[OtherColumn]) -> Result<Self, Failure> {
        let mut sorted: Vec<_> = writes.iter().collect();
        sorted.sort_unstable_by_key(|write| write.key());
        let mut batch = Self::with(columns);
        for write in sorted {
            let key = write.key().expose();
            match write {
                Write::Insert(session) => batch.put(0, session, columns)?,
                Write::Update(session) => batch.put(1, session, columns)?,
                Write::Upsert(session) => batch.put(2, session, columns)?,
                Write::Touch(_, expires_at) => {
                    batch.touched.0.push(key);
                    batch.touched.1.push(Instant(*expires_at));
                }
                Write::Delete(_) => batch.deleted.push(key),
            }
            if !matches!(write, Write::Insert(_)) {
                batch.locked.push(key);
            }
        }
        Ok(batch)
    }

    /// `kind` is 0 for inserts, 1 for updates, 2 for upserts.
    fn put(&mut self, kind: usize, session: &'b Session, columns: &[OtherColumn]) -> Result<(), Failure> {
        let refused = |what: String| Failure::Row(Unreadable::new(session.key.expose().as_bytes(), what).to_string());
        match (values(columns, &session.others).map_err(refused)?, &mut self.whole) {
            (Some(values), Some(whole)) => whole[kind].push(session, &values),
            _ => [&mut self.inserted, &mut self.updated, &mut self.upserted][kind].push(session, &[]),
        }
        Ok(())
    }

    pub(super) fn locking(keys: &[&'b SessionKey], columns: &[OtherColumn]) -> Self {
        let mut keys: Vec<_> = keys.iter().map(|key| key.expose()).collect();
        keys.sort_unstable();
        Self { locked: keys.clone(), only_locked: keys, ..Self::with(columns) }
    }

    /// `end` is the last instant, by the server's clock, at which the server may begin; `None`: there is no end.
    pub(super) fn bind(
        self,
        sql: &'b str,
        layout: Layout,
        carries: bool,
        end: Option<Instant>,
    ) -> Query<'b, Postgres, PgArguments> {
        let mut query = sqlx::query(sql).bind(self.locked);
        for sessions in [self.inserted, self.updated, self.upserted] {
            query = sessions.bind(query, layout);
        }
        query = query.bind(self.touched.0).bind(self.touched.1).bind(self.deleted).bind(self.only_locked);
        query = query.bind(carries).bind(end);
        self.whole.into_iter().flatten().fold(query, |query, sessions| sessions.bind(query, layout))
    }
}
