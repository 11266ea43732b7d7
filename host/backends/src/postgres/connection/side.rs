//! What a connection to PostgreSQL does with the side tables: fence, key locks, marks and numbers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant as Deadline;

use sqlx::postgres::PgRow;
use switchover_core::capabilities::{
    DatabaseError, Epoch, Fence, KeyLock, LockPurpose, LockedKey, Mark, MarkedRow, Number, Numbered, Side, Token, Write,
};

use switchover_core::{SessionKey, Table};

use super::super::batch::Batch;
use super::super::errors::{failure, late_numbers};
use super::super::functions::{Made, fence_lock};
use super::super::others;
use super::super::types::Instant;
use super::call::{Call, count, literal, not_below};
use super::{Connection, SHORT, column, exposed, left, outcomes, session};
use crate::server::{Failure, Link as _, SideLink};

impl Connection {
    /// The migration of the open transaction.
    fn migration(&self) -> Result<Arc<str>, Failure> {
        let message = "keys are locked only under the fence of a migration".to_owned();
        self.migration.clone().ok_or(Failure::Refused(DatabaseError::Invalid { message }))
    }

    async fn number(
        &mut self,
        batch: &[(Write, Number)],
        fence: &Fence,
        end: Option<Instant>,
    ) -> Result<Numbered, Failure> {
        let statements = self.statements.get();
        let layout = self.layout();
        let writes: Vec<Write> = batch.iter().map(|(write, _)| write.clone()).collect();
        let call = Call::numbered(fence, batch);
        let keys = call.keys.clone();
        let values = Batch::of(&writes, &statements.others)?.bind(&statements.write_fenced, layout, true, end);
        let rows = match call.bind(values).fetch_all(&mut self.connection).await {
            Ok(rows) => rows,
            Err(error) => {
                let failure = failure(&error, &mut self.may_have_written);
                let Some(late) = late_numbers(&error) else { return Err(failure) };
                let key = |place: usize| keys.get(place.checked_sub(1)?).and_then(|key| SessionKey::parse(key).ok());
                let late = late.into_iter().filter_map(|(place, number)| Some((key(place)?, Number(number))));
                return Ok(Numbered::Late(late.collect()));
            }
        };
        self.got_at(&rows, end)?;
        outcomes(&writes, &rows, true, layout, &statements.others).map(Numbered::Done)
    }

    async fn raise_in(&mut self, fence: &Fence) -> Result<Epoch, Failure> {
        let statements = self.statements.get();
        let lock = format!("SELECT pg_advisory_xact_lock({})", fence_lock("$1"));
        self.rows(sqlx::query(&lock).bind(&*fence.migration)).await?;
        let sql = format!(
            "UPDATE {} SET epoch = greatest(epoch, $2) WHERE migration = $1 RETURNING epoch",
            statements.functions.fence_table
        );
        let rows = self.rows(sqlx::query(&sql).bind(&*fence.migration).bind(count(fence.epoch.0))).await?;
        let row = rows.first().ok_or(Failure::Refused(DatabaseError::Fenced))?;
        Ok(Epoch(column::<i64>(row, 0)?.unsigned_abs()))
    }

    async fn clear_marks_in(&mut self, marks: &[Mark], fence: &Fence) -> Result<u64, Failure> {
        let statements = self.statements.get();
        let sql = format!(
            "WITH locked AS MATERIALIZED (\
                 SELECT t.session_key, t.mark FROM unnest($2::text[], $3::bigint[]) AS v (k, token) \
                 JOIN {0} AS t ON t.migration = $1 AND t.session_key = v.k AND t.mark = v.token \
                 ORDER BY t.session_key FOR UPDATE OF t), \
             cleared AS (\
                 UPDATE {0} AS t SET mark = NULL, attempts = 0 FROM locked \
                 WHERE t.migration = $1 AND t.session_key = locked.session_key AND t.mark = locked.mark RETURNING 1) \
             SELECT count(*) FROM cleared",
            statements.functions.key_table
        );
        let keys: Vec<&str> = marks.iter().map(|mark| mark.key.expose()).collect();
        let tokens: Vec<i64> = marks.iter().map(|mark| mark.token.0).collect();
        let rows = self.rows(sqlx::query(&sql).bind(&*fence.migration).bind(keys).bind(tokens)).await?;
        Ok(rows.first().map_or(Ok(0), |row| column::<i64>(row, 0))?.unsigned_abs())
    }

    /// The rows of the keys, expired or not.
    async fn rows_of(
        &mut self,
        keys: &[&SessionKey],
    ) -> Result<HashMap<SessionKey, switchover_core::Session>, Failure> {
        let statements = self.statements.get();
        let asked: Vec<&str> = keys.iter().map(|key| key.expose()).collect();
        let keys: HashMap<&str, &SessionKey> = asked.iter().copied().zip(keys.iter().copied()).collect();
        let rows = self.rows(sqlx::query(&statements.rows).bind(asked)).await?;
        let (layout, mut found) = (self.layout(), HashMap::with_capacity(rows.len()));
        for row in &rows {
            let stored: &str = column(row, 0)?;
            let Some(&key) = keys.get(stored) else { continue };
            let session = session(layout, row, key, others::of_column(&statements.others, row, 3));
            found.insert(key.clone(), session.map_err(|row| Failure::Row(row.to_string()))?);
        }
        Ok(found)
    }
}

impl SideLink for Connection {
    async fn missing_side_tables(&mut self) -> Result<Vec<String>, Failure> {
        let statements = self.statements.get();
        let Some(made_by) = &statements.functions.made_by else {
            let message = "a table with more than 23 columns beside those of a session cannot be migrated".to_owned();
            return Err(Failure::Refused(DatabaseError::Invalid { message }));
        };
        let (names, are_functions): (Vec<&str>, Vec<bool>) = made_by
            .iter()
            .map(|(made, _)| match made {
                Made::Relation(name) => (name.as_str(), false),
                Made::Function(name) => (name.as_str(), true),
            })
            .unzip();
        let sql = "SELECT CASE WHEN v.is_function THEN to_regproc(v.name) IS NULL ELSE to_regclass(v.name) IS NULL END \
                   FROM unnest($1::text[], $2::boolean[]) WITH ORDINALITY AS v (name, is_function, place) \
                   ORDER BY v.place";
        let rows = self.rows(sqlx::query(sql).bind(names).bind(are_functions)).await?;
        let mut missing = Vec::new();
        for (row, (_, statement)) in rows.iter().zip(made_by) {
            if column(row, 0)? {
                missing.push(statement.clone());
            }
        }
        Ok(missing)
    }

    async fn make_fence(&mut self, migration: &str) -> Result<(), Failure> {
        let statements = self.statements.get();
        let sql = format!(
            "INSERT INTO {} (migration, epoch) VALUES ($1, 1) ON CONFLICT (migration) DO NOTHING",
            statements.functions.fence_table
        );
        self.may_have_written = true;
        self.rows(sqlx::query(&sql).bind(migration)).await.map(drop)
    }

    async fn seal(&mut self, words: &str, deadline: Deadline) -> Result<(), Failure> {
        let table = &self.options.table.table;
        let schema = table.schema().map_or_else(String::new, |schema| format!("{}.", Table::quote(schema, '"')));
        let (table, words) = (table.quoted('"'), literal(words));
        let function = format!(
            "CREATE OR REPLACE FUNCTION {schema}switchover_sealed() RETURNS trigger LANGUAGE plpgsql AS $switchover$ \
             BEGIN RAISE EXCEPTION USING MESSAGE = TG_ARGV[0]; END $switchover$"
        );
        let trigger = format!(
            "DROP TRIGGER IF EXISTS switchover_sealed ON {table}; CREATE TRIGGER switchover_sealed \
             BEFORE INSERT OR UPDATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {schema}switchover_sealed({words})"
        );
        self.begin(deadline, None).await?;
        let made = self.simple(&format!("{function}; {trigger}")).await;
        self.end(made).await
    }

    async fn fence(&mut self, migration: &str) -> Result<Option<Epoch>, Failure> {
        let statements = self.statements.get();
        let sql = format!("SELECT epoch FROM {} WHERE migration = $1", statements.functions.fence_table);
        let rows = self.rows(sqlx::query(&sql).bind(migration)).await?;
        rows.first().map(|row| Ok(Epoch(column::<i64>(row, 0)?.unsigned_abs()))).transpose()
    }

    async fn raise(&mut self, fence: &Fence, deadline: Deadline) -> Result<Epoch, Failure> {
        self.begin(deadline, None).await?;
        let raised = self.raise_in(fence).await;
        self.end(raised).await
    }

    async fn write_numbered(
        &mut self,
        batch: &[(Write, Number)],
        fence: &Fence,
        deadline: Deadline,
    ) -> Result<Numbered, Failure> {
        if left(deadline) >= SHORT {
            self.may_have_written = true;
            let end = self.end_for(deadline);
            return self.number(batch, fence, Some(end)).await;
        }
        self.begin(deadline, None).await?;
        match self.number(batch, fence, None).await {
            Ok(Numbered::Late(late)) => self.roll_back().await.map(|()| Numbered::Late(late)),
            written => self.end(written).await,
        }
    }

    async fn lock_keys(&mut self, keys: &[KeyLock], purpose: LockPurpose) -> Result<Vec<LockedKey>, Failure> {
        let migration = self.migration()?;
        let statements = self.statements.get();
        let mut sorted: Vec<&KeyLock> = keys.iter().collect();
        sorted.sort_unstable_by_key(|lock| &lock.key);
        let (names, known): (Vec<&str>, Vec<i64>) =
            sorted.iter().map(|lock| (lock.key.expose(), count(lock.known.0))).unzip();
        let sql = format!("SELECT * FROM {}($1, $2, $3, $4, $5)", statements.functions.lock);
        let query = sqlx::query(&sql).bind(names).bind(known).bind(purpose != LockPurpose::CopyToNew);
        let rows = self.rows(query.bind(purpose != LockPurpose::CopyToOld).bind(&*migration)).await?;
        let mut numbers: HashMap<&str, i64> = HashMap::with_capacity(rows.len());
        for row in &rows {
            numbers.insert(column(row, 0)?, column(row, 1)?);
        }
        self.holds_keys = true;
        let mut found = HashMap::new();
        if purpose == LockPurpose::CopyToNew {
            found = self.rows_of(&keys.iter().map(|lock| &lock.key).collect::<Vec<_>>()).await?;
        }
        let locked = keys.iter().map(|KeyLock { key, .. }| {
            let number =
                numbers.get(key.expose()).ok_or_else(|| Failure::corrupt("a key that was locked has no row"))?;
            Ok(LockedKey { number: Number(number.unsigned_abs()), row: found.remove(key) })
        });
        locked.collect()
    }

    async fn clear_locked(&mut self, keys: &[SessionKey]) -> Result<(), Failure> {
        let migration = self.migration()?;
        let statements = self.statements.get();
        let sql = format!(
            "UPDATE {} SET mark = NULL, attempts = 0 WHERE migration = $1 AND session_key = ANY($2) \
             AND mark IS NOT NULL",
            statements.functions.key_table
        );
        self.rows(sqlx::query(&sql).bind(&*migration).bind(exposed(keys))).await.map(drop)
    }

    async fn mark(&mut self, keys: &[SessionKey], home: Side, fence: &Fence) -> Result<(), Failure> {
        let mut keys = exposed(keys);
        keys.sort_unstable();
        self.may_have_written = true;
        self.write_batch(&[], Some(Call::marked(home, fence, keys)), false, None).await.map(drop)
    }

    async fn marked_rows(&mut self, keys: &[SessionKey], fence: &Fence) -> Result<Vec<MarkedRow>, Failure> {
        let statements = self.statements.get();
        let query = sqlx::query(&statements.marked_rows).bind(exposed(keys)).bind(&*fence.migration);
        let rows = self.rows(query).await?;
        if !keys.is_empty() {
            not_below(fence, rows.first())?;
        }
        let (layout, columns) = (self.layout(), &statements.others);
        let mark = 3 + usize::from(!columns.is_empty());
        let read = rows.iter().zip(keys).map(|(row, key)| {
            let stored: Option<&str> = column(row, 0)?;
            let session = stored.map(|_| session(layout, row, key, others::of_column(columns, row, 3))).transpose();
            let token: Option<i64> = column(row, mark)?;
            Ok(MarkedRow { row: session, token: token.map(Token) })
        });
        read.collect()
    }

    async fn marks(&mut self, fence: &Fence, limit: u32) -> Result<Vec<Mark>, Failure> {
        let statements = self.statements.get();
        let (fences, keys) = (&statements.functions.fence_table, &statements.functions.key_table);
        let sql = format!(
            "SELECT k.session_key, k.mark, f.epoch FROM {fences} AS f LEFT JOIN (\
                 SELECT session_key, mark, since FROM {keys} WHERE migration = $2 AND mark IS NOT NULL \
                 ORDER BY since, session_key LIMIT $1) AS k ON true \
             WHERE f.migration = $2 ORDER BY k.since, k.session_key"
        );
        let rows = self.rows_under(sqlx::query(&sql).bind(i64::from(limit)), Some(fence)).await?;
        let mark = |row: &PgRow| {
            let key =
                SessionKey::parse(column(row, 0)?).map_err(|_| Failure::corrupt("a mark has a key that is none"))?;
            Ok(Mark { key, token: Token(column(row, 1)?) })
        };
        rows.iter().map(mark).collect()
    }

    async fn clear_marks(&mut self, marks: &[Mark], fence: &Fence, deadline: Deadline) -> Result<u64, Failure> {
        self.begin(deadline, Some(fence)).await?;
        let cleared = self.clear_marks_in(marks, fence).await;
        self.end(cleared).await
    }

    async fn count_marks(&mut self, fence: &Fence) -> Result<u64, Failure> {
        let statements = self.statements.get();
        let (fences, keys) = (&statements.functions.fence_table, &statements.functions.key_table);
        let sql = format!(
            "SELECT (SELECT count(*) FROM {keys} WHERE migration = $1 AND mark IS NOT NULL), epoch FROM {fences} \
             WHERE migration = $1"
        );
        let rows = self.rows_under(sqlx::query(&sql), Some(fence)).await?;
        Ok(rows.first().map_or(Ok(0), |row| column::<i64>(row, 0))?.unsigned_abs())
    }
}
