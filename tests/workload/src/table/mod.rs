//! The demo reads its two tables in plain SQL, so that the audit does not depend on the code that it audits.

mod mysql;
mod postgres;
mod sqlite;
mod time;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use switchover::{Layout, Timestamp};

use crate::history::Micros;

/// How long one read may take. A server that hangs is asked again, on another connection.
const LOOK_TIME_MAX: Duration = Duration::from_secs(10);
/// How often a server is asked for its time. The fastest answer counts.
const CLOCK_LOOKS: usize = 5;

/// The tables of a migration beside a session table.
const SIDE_TABLES: [&str; 2] = ["switchover_fence", "switchover_key"];

/// The place of a table. An address may hold a password, so this is never printed.
#[derive(Clone)]
pub enum Place {
    /// A file.
    Sqlite(PathBuf),
    /// `postgres://…`
    Postgres(String),
    /// `mysql://…`, also for MariaDB.
    MySql(String),
}

/// A table of the demo.
#[derive(Clone)]
pub struct Table {
    /// Its place.
    pub place: Place,
    /// Its name, in characters that need no quotes.
    pub name: String,
    /// How sessions stand in it.
    pub layout: Layout,
}

/// A row of a session table, as stored.
pub struct RawRow {
    /// Its key.
    pub key: String,
    /// Its payload, which in the demo is Django's text under every layout.
    pub data: String,
    /// Its end.
    pub expires_at: Timestamp,
}

/// What a read of a table returns.
#[derive(Clone, Copy)]
enum Wanted {
    Rows,
    /// Without payloads.
    Keys,
}

impl Table {
    /// The statement that reads it, from the expressions of one database for a payload of bytes as text, for any column
    /// as text, and for an end as Django writes it.
    fn look_sql(
        &self,
        wanted: Wanted,
        bytes: impl Fn(&str) -> String,
        [key, end]: [&dyn Fn(&str) -> String; 2],
    ) -> String {
        let [key_column, payload, end_column] = self.layout.columns();
        let payload = match wanted {
            Wanted::Keys => "''".to_owned(),
            Wanted::Rows if self.layout.has_bytes() => bytes(payload),
            Wanted::Rows => key(payload),
        };
        format!("SELECT {}, {payload}, {} FROM {}", key(key_column), end(end_column), self.name)
    }

    /// Whether a table of this name exists.
    pub async fn exists(&self) -> Result<bool> {
        let name = self.name.clone();
        match &self.place {
            Place::Sqlite(path) => in_file(path, move |path| sqlite::exists(path, &name)).await,
            Place::Postgres(url) => in_time(postgres::exists(url, &name)).await,
            Place::MySql(url) => in_time(mysql::exists(url, &name)).await,
        }
    }

    /// Inserts sessions as Django does, in one transaction.
    pub async fn insert(&self, rows: Vec<RawRow>) -> Result<()> {
        let table = self.clone();
        match &self.place {
            Place::Sqlite(path) => in_file(path, move |path| sqlite::insert(path, &table, &rows)).await,
            // Without a time limit: nothing else happens yet.
            Place::Postgres(url) => postgres::insert(url, self, &rows).await,
            Place::MySql(url) => mysql::insert(url, self, &rows).await,
        }
    }

    /// Every row, expired or not.
    pub async fn rows(&self) -> Result<Vec<RawRow>> {
        self.look(Wanted::Rows).await
    }

    /// Makes the schema of the table, if its name has one.
    pub async fn make_schema(&self) -> Result<()> {
        match (&self.place, self.schema()) {
            (Place::Postgres(url), Some(schema)) => {
                in_time(postgres::execute(url, &format!("CREATE SCHEMA {schema}"))).await
            }
            _ => Ok(()),
        }
    }

    /// Removes what a migration has left in the side tables beside the table. With `tables` it removes these too, if
    /// nobody else has anything in them.
    pub async fn forget(&self, migration: &str, tables: bool) -> Result<()> {
        let name = migration.to_owned();
        match &self.place {
            Place::Sqlite(path) => in_file(path, move |path| sqlite::forget(path, &name, tables)).await,
            // They are in the schema, which goes with the table.
            Place::Postgres(_) => Ok(()),
            Place::MySql(url) => in_time(mysql::forget(url, migration, tables)).await,
        }
    }

    /// Removes the table, if it exists.
    pub async fn remove(&self) -> Result<()> {
        let sql = self.removal();
        match &self.place {
            Place::Sqlite(path) => in_file(path, move |path| sqlite::execute(path, &sql)).await,
            Place::Postgres(url) => in_time(postgres::execute(url, &sql)).await,
            Place::MySql(url) => in_time(mysql::execute(url, &sql)).await,
        }
    }

    /// The statement that removes the table, with the schema that it has for itself.
    pub fn removal(&self) -> String {
        match self.schema() {
            Some(schema) => format!("DROP SCHEMA IF EXISTS {schema} CASCADE"),
            None => format!("DROP TABLE IF EXISTS {}", self.name),
        }
    }

    fn schema(&self) -> Option<&str> {
        self.name.split_once('.').map(|(schema, _)| schema)
    }

    /// How far the clock that decides expiry is ahead of `now`, and how uncertain that is, both in microseconds. A file
    /// has no clock of its own.
    pub async fn clock_offset(&self, now: impl Fn() -> Micros) -> Result<(i64, u64)> {
        let mut best = (0, u64::MAX);
        match &self.place {
            Place::Sqlite(_) => return Ok((0, 0)),
            Place::Postgres(url) => {
                let mut clock = in_time(postgres::Clock::open(url)).await?;
                for _ in 0..CLOCK_LOOKS {
                    let asked = now();
                    best = closer(best, asked, in_time(clock.now()).await?, now());
                }
            }
            Place::MySql(url) => {
                let mut clock = in_time(mysql::Clock::open(url)).await?;
                for _ in 0..CLOCK_LOOKS {
                    let asked = now();
                    best = closer(best, asked, in_time(clock.now()).await?, now());
                }
            }
        }
        Ok(best)
    }

    async fn look(&self, wanted: Wanted) -> Result<Vec<RawRow>> {
        let table = self.clone();
        match &self.place {
            Place::Sqlite(path) => in_file(path, move |path| sqlite::rows(path, &table, wanted)).await,
            Place::Postgres(url) => in_time(postgres::rows(url, self, wanted)).await,
            Place::MySql(url) => in_time(mysql::rows(url, self, wanted)).await,
        }
    }
}

/// The progress of the move.
#[derive(Clone, Copy, Debug, Default)]
pub struct Move {
    /// The unexpired sessions in the old database.
    pub old: u64,
    /// Those of them that are not in the new database.
    pub only_old: u64,
}

impl Move {
    /// Counts the sessions at `now`. Keys that no caller received do not count: nobody can carry them over.
    pub async fn count(old: &Table, new: &Table, now: Micros, known: impl Fn(&str) -> bool) -> Result<Self> {
        // The old table is read first, so a session that is carried over in between does not count as left behind.
        let olds = old.look(Wanted::Keys).await?;
        let news: HashSet<String> = new.look(Wanted::Keys).await?.into_iter().map(|row| row.key).collect();
        let mut counts = Self::default();
        for row in olds.iter().filter(|row| row.expires_at.as_micros() > now && known(&row.key)) {
            counts.old += 1;
            counts.only_old += u64::from(!news.contains(&row.key));
        }
        Ok(counts)
    }
}

fn closer(best: (i64, u64), asked: Micros, told: Timestamp, answered: Micros) -> (i64, u64) {
    let uncertain = (answered - asked) / 2;
    if uncertain >= best.1 {
        return best;
    }
    (told.as_micros().cast_signed() - (asked + uncertain).cast_signed(), uncertain)
}

async fn in_time<T>(look: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(LOOK_TIME_MAX, look).await {
        Ok(seen) => seen,
        Err(_) => bail!("a database did not answer within {LOOK_TIME_MAX:?}"),
    }
}

async fn in_file<T: Send + 'static>(
    path: &std::path::Path,
    look: impl FnOnce(&std::path::Path) -> Result<T> + Send + 'static,
) -> Result<T> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || look(&path)).await.context("a read of a file panicked")?
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[tokio::test]
    async fn sessions_only_the_old_file_has_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let tables = ["old", "new"].map(|name| Table {
            place: Place::Sqlite(dir.path().join(name)),
            name: "django_session".into(),
            layout: Layout::DJANGO,
        });
        for name in ["old", "new"] {
            let table = "CREATE TABLE django_session (session_key PRIMARY KEY, session_data, expire_date)";
            Connection::open(dir.path().join(name)).unwrap().execute(table, []).unwrap();
        }
        let row = |key: &str, expires_at| RawRow {
            key: key.into(),
            data: String::new(),
            expires_at: Timestamp::from_micros(expires_at),
        };
        let old = vec![row("both", 9_000_000), row("old", 9_000_000), row("expired", 1_000_000), row("x", 9_000_000)];
        tables[0].insert(old).await.unwrap();
        tables[1].insert(vec![row("both", 9_000_000), row("new", 9_000_000)]).await.unwrap();
        let counts = Move::count(&tables[0], &tables[1], 5_000_000, |key| key != "x").await.unwrap();
        assert_eq!((counts.old, counts.only_old), (2, 1));
        assert_eq!(tables[0].rows().await.unwrap().len(), 4);
        assert!(tables[0].exists().await.unwrap());
        tables[0].remove().await.unwrap();
        assert!(!tables[0].exists().await.unwrap());
    }

    #[test]
    fn fastest_answer_gives_the_clock() {
        let at = Timestamp::from_micros;
        let slow = closer((0, u64::MAX), 1_000, at(5_000), 3_000);
        assert_eq!(slow, (3_000, 1_000));
        assert_eq!(closer(slow, 4_000, at(4_000), 4_200), (-100, 100));
        assert_eq!(closer(slow, 4_000, at(9_000), 9_000), slow);
    }
}
