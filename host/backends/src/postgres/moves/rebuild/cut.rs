//! The cut: one transaction in which the other table takes the name of the one that counts.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use switchover_core::capabilities::DatabaseError;
use switchover_core::moves::{Cut, Side};

use super::super::captured::Locked;
use super::super::cuts::{CARRY, Cutting};
use super::super::link::{Bind, column, invalid};
use super::Rebuild;

#[async_trait]
impl Cutting for Rebuild {
    async fn try_to_cut(&mut self, from: Side, wait: Duration) -> Result<Cut, DatabaseError> {
        self.table.link.simple("BEGIN").await?;
        let Locked { state, .. } = match self.table.locked().await {
            Ok(locked) => locked,
            Err(error) => return self.table.link.end(Err(error)).await,
        };
        if let Some(refused) = state.refusal(from) {
            return self.table.link.end(Err(invalid(refused))).await;
        }
        let exchange = match self.prepared(from).await {
            Ok(exchange) => exchange,
            Err(error) => return self.table.link.end(Err(error)).await,
        };
        let begun = Instant::now();
        let done = self.exchanged(&exchange, from, &state.living, begun, wait).await;
        let carried = self.table.link.end(done).await?;
        let waited = begun.elapsed();
        let ms = i64::try_from(waited.as_millis()).unwrap_or(i64::MAX);
        let sql = format!("UPDATE {} SET cut_waited_ms = $1", self.table.names.state);
        // The cut is made, whether this can be noted or not.
        let _noted = self.table.link.run(&sql, &[Bind::Int(ms)]).await;
        Ok(Cut { waited, carried, taken_back: 0 })
    }
}

impl Rebuild {
    /// What takes time and needs no application to wait. The lock keeps autovacuum out, which holds a lock for as long
    /// as it works and gives it up for one who waits a second; it is in nobody else's way.
    async fn prepared(&mut self, from: Side) -> Result<Vec<String>, DatabaseError> {
        let (table, other) = (self.table.names.table.clone(), self.table.other(from).to_owned());
        self.table.link.simple("SET LOCAL lock_timeout = '5s'").await?;
        self.table.link.simple(&format!("LOCK TABLE {table}, {other} IN SHARE UPDATE EXCLUSIVE MODE")).await?;
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
        let (table, other) = (self.table.names.table.clone(), self.table.other(from).to_owned());
        self.table.link.bounded(begun, wait).await?;
        self.table.link.simple(&format!("LOCK TABLE {table}, {other} IN ACCESS EXCLUSIVE MODE")).await?;
        if !self.table.is_noted().await? {
            return Err(invalid("the trigger is gone or switched off, so writes may be missing: start `run` again"));
        }
        let state = self.table.names.state.clone();
        self.table.link.no_old_snapshot(Some(&state), begun, wait).await?;
        let mut carried = 0;
        loop {
            self.table.link.bounded(begun, wait).await?;
            match self.carry_locked(CARRY.into(), true, from, living).await? {
                0 => break,
                changes => carried += changes,
            }
        }
        for statement in exchange {
            self.table.link.bounded(begun, wait).await?;
            self.table.link.simple(statement).await?;
        }
        let sql = "SELECT pg_size_pretty(pg_total_relation_size($1::regclass)), \
                          pg_size_pretty(pg_total_relation_size($2::regclass))";
        let aside = match from {
            Side::New => self.table.names.new.clone(),
            Side::Old | Side::Neither => self.table.names.old.clone(),
        };
        let sizes = self.table.link.rows(sql, &[Bind::Text(Some(&table)), Bind::Text(Some(&aside))]).await?;
        let size = |at: usize| sizes.first().map_or(Ok(String::new()), |row| column(row, at));
        let (counts, whole, before) = (in_words(from), size(0)?, size(1)?);
        let what = format!(
            "the cut: {counts} counts and takes {whole}, the other one {before}; {carried} changes were carried under the lock"
        );
        self.table.logged(&what).await?;
        self.table.link.bounded(begun, wait).await?;
        Ok(carried)
    }

    /// The statements that exchange names, triggers, indexes and sequences.
    async fn exchange(&mut self, from: Side) -> Result<Vec<String>, DatabaseError> {
        let (table, other) = (self.table.names.table.clone(), self.table.other(from).to_owned());
        let aside = match from {
            Side::New => self.table.names.plain_new(),
            Side::Old | Side::Neither => self.table.names.plain_old(),
        };
        // The locks are there already.
        let mut statements = self.table.untriggered().split_off(1);
        for (index, (here, there)) in self.pairs_of_indexes(&table, &other).await?.into_iter().enumerate() {
            let rename = |from: &str, to: &str| {
                format!(
                    "ALTER INDEX {} RENAME TO {}",
                    self.table.names.index(from),
                    switchover_core::Table::quote(to, '"')
                )
            };
            let between = format!("switchover_move_{index}");
            statements.extend([rename(&here, &between), rename(&there, &here), rename(&between, &there)]);
        }
        statements.push(format!("ALTER TABLE {table} RENAME TO {aside}"));
        statements.push(format!("ALTER TABLE {other} RENAME TO {}", self.table.names.plain()));
        let sql = "SELECT s.oid::regclass::text, a.attname::text FROM pg_depend AS d \
                   JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S' \
                   JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid \
                   WHERE d.classid = 'pg_class'::regclass AND d.refobjid = to_regclass($1) AND d.deptype = 'a'";
        for owned in self.table.link.rows(sql, &[Bind::Text(Some(&table))]).await? {
            let (sequence, of): (String, String) = (column(&owned, 0)?, column(&owned, 1)?);
            let of = switchover_core::Table::quote(&of, '"');
            statements.push(format!("ALTER SEQUENCE {sequence} OWNED BY {table}.{of}"));
        }
        statements.extend(self.table.triggers());
        let (side, cut) = match from {
            Side::New => ("old", "NULL"),
            Side::Old | Side::Neither => ("new", "now()"),
        };
        statements.push(format!(
            "UPDATE {} SET side = '{side}', cut = {cut}, compared_to = NULL, compared = 0, different = 0, rounds = 0, \
             last_different = NULL",
            self.table.names.state
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
        let rows = self.table.link.rows(&sql, &[Bind::Text(Some(table)), Bind::Text(Some(other))]).await?;
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
        Side::New => "the old table",
        Side::Old | Side::Neither => "the new table",
    }
}
