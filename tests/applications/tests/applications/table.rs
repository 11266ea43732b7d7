//! The table of an application, as its database's driver gives it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sqlx::{Executor, PgConnection, Row};

use super::application::Application;
use super::process::PATIENCE;

pub(crate) struct Table {
    pub(crate) application: Application,
    pub(crate) connection: PgConnection,
}

impl Table {
    pub(crate) async fn run(&mut self, sql: &str) -> Result<()> {
        self.connection.execute(sqlx::raw_sql(sql)).await?;
        Ok(())
    }

    /// Inserts sessions that end at a distance from now, such as `10 minutes`.
    pub(crate) async fn fill(&mut self, name: &str, count: u32, ends: &str) -> Result<()> {
        self.run(&self.application.inserts(name, count, ends)).await
    }

    /// Asks one question again until the answer is yes.
    pub(crate) async fn until(&mut self, question: &str) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        while !self.connection.fetch_one(question).await?.try_get::<bool, _>(0)? {
            ensure!(Instant::now() < give_up, "it does not come to that: {question}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// How many sessions there are whose keys begin with a name, and a digest of everything in their rows.
    pub(crate) async fn rows(&mut self, name: &str) -> Result<String> {
        let (table, key) = (self.application.table(), self.application.key());
        let sql = format!(
            "SELECT count(*) || ' rows, ' || coalesce(md5(string_agg(md5(t::text), '' ORDER BY {key})), 'none') \
             FROM {table} AS t WHERE {key} LIKE '{name}-%'"
        );
        Ok(self.connection.fetch_one(sql.as_str()).await?.try_get(0)?)
    }

    /// What an application and its own migrations know of the table.
    pub(crate) async fn described(&mut self) -> Result<String> {
        let table = self.application.table();
        let sql = format!(
            "SELECT concat_ws(E'\\n', \
                (SELECT string_agg(concat_ws(' ', column_name, data_type, is_nullable, column_default, \
                     pg_get_serial_sequence('{table}', column_name)), ', ' ORDER BY ordinal_position) \
                 FROM information_schema.columns WHERE table_name = '{table}'), \
                (SELECT string_agg(indexdef, E'\\n' ORDER BY indexname) FROM pg_indexes WHERE tablename = '{table}'), \
                (SELECT string_agg(concat_ws(' ', conname, pg_get_constraintdef(oid)), ', ' ORDER BY conname) \
                 FROM pg_constraint WHERE conrelid = '{table}'::regclass))"
        );
        Ok(self.connection.fetch_one(sql.as_str()).await?.try_get(0)?)
    }
}
