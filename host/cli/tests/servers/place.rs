//! Databases for the program to work on, a look into them that does not go through it, and the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rusqlite::Connection as SqliteConnection;
use serde_json::Value;
use sqlx::{Connection as _, MySqlConnection, PgConnection};
use switchover_harness::{MariaDb, Postgres};

/// How long something that happens for certain may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Rows of one statement.
const ROWS_MAX: usize = 1_000;

pub(crate) const LIVING: &str = "2999-01-01 00:00:00.123456";
pub(crate) const ENDED: &str = "2016-01-01 00:00:00";

/// A database with nothing in it, at first.
pub(crate) enum Place {
    Postgres { address: String, other_address: String },
    MariaDb { address: String, other_address: String },
    Sqlite { path: PathBuf },
}

impl Place {
    pub(crate) async fn postgres(name: &str) -> Self {
        let server = Postgres::shared().await.unwrap();
        let address = server.create_database(name).await.unwrap();
        Self::Postgres { address, other_address: server.socket_url_of(name) }
    }

    pub(crate) async fn mariadb(name: &str) -> Self {
        let server = MariaDb::shared().await.unwrap();
        let address = server.create_database(name).await.unwrap();
        Self::MariaDb { address, other_address: server.socket_url_of(name) }
    }

    pub(crate) fn sqlite(folder: &Path) -> Self {
        Self::Sqlite { path: folder.join("sessions.sqlite3") }
    }

    /// With Django's table, made by the program.
    pub(crate) fn with_table(self) -> Self {
        let made = switchover(&["init", &self.address()]);
        assert!(made.status.success(), "{}", said(&made));
        self
    }

    pub(crate) fn address(&self) -> String {
        match self {
            Self::Postgres { address, .. } | Self::MariaDb { address, .. } => address.clone(),
            Self::Sqlite { path } => format!("sqlite:{}", path.display()),
        }
    }

    /// Executes statements, each for itself.
    pub(crate) async fn execute(&self, sql: &str) {
        match self {
            Self::Postgres { address, .. } => {
                let mut connection = PgConnection::connect(address).await.unwrap();
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            Self::MariaDb { address, .. } => {
                let mut connection = MySqlConnection::connect(address).await.unwrap();
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            Self::Sqlite { path } => SqliteConnection::open(path).unwrap().execute_batch(sql).unwrap(),
        }
    }

    /// The one number that a query gives.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        match self {
            Self::Postgres { address, .. } => {
                let mut connection = PgConnection::connect(address).await.unwrap();
                let number = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                number
            }
            Self::MariaDb { address, .. } => {
                let mut connection = MySqlConnection::connect(address).await.unwrap();
                let number = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                number
            }
            Self::Sqlite { path } => {
                SqliteConnection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
            }
        }
    }

    pub(crate) async fn rows(&self) -> i64 {
        self.number("SELECT count(*) FROM django_session").await
    }

    /// How many of these keys have a row.
    pub(crate) async fn rows_of(&self, keys: &[&str]) -> i64 {
        let keys = keys.join("', '");
        self.number(&format!("SELECT count(*) FROM django_session WHERE session_key IN ('{keys}')")).await
    }

    /// Rows of key, payload and end.
    pub(crate) async fn insert(&self, rows: &[(&str, &str, &str)]) {
        for rows in rows.chunks(ROWS_MAX) {
            let rows: Vec<_> =
                rows.iter().map(|(key, payload, end)| format!("('{key}', '{payload}', '{end}')")).collect();
            let columns = "session_key, session_data, expire_date";
            self.execute(&format!("INSERT INTO django_session ({columns}) VALUES {}", rows.join(", "))).await;
        }
    }

    /// So many rows that ended long ago.
    pub(crate) async fn insert_ended(&self, rows: usize, payload: &str) {
        let keys: Vec<_> = (0..rows).map(|number| format!("ended{number:08}")).collect();
        let rows: Vec<_> = keys.iter().map(|key| (key.as_str(), payload, ENDED)).collect();
        self.insert(&rows).await;
    }

    /// Locks a row of a server until it is released.
    pub(crate) async fn lock(&self, key: &str) -> Locked {
        let select = format!("SELECT session_key FROM django_session WHERE session_key = '{key}' FOR UPDATE");
        match self {
            Self::Postgres { address, .. } => {
                let mut connection = PgConnection::connect(address).await.unwrap();
                sqlx::raw_sql(&format!("BEGIN; {select}")).execute(&mut connection).await.unwrap();
                Locked::Postgres(connection)
            }
            Self::MariaDb { address, .. } => {
                let mut connection = MySqlConnection::connect(address).await.unwrap();
                sqlx::raw_sql("BEGIN").execute(&mut connection).await.unwrap();
                sqlx::raw_sql(&select).execute(&mut connection).await.unwrap();
                Locked::MariaDb(connection)
            }
            Self::Sqlite { .. } => unreachable!("a lock of SQLite is one of the whole file"),
        }
    }
}

/// A row that nobody else can write.
pub(crate) enum Locked {
    Postgres(PgConnection),
    MariaDb(MySqlConnection),
}

impl Locked {
    /// Writes in the transaction of the lock, and commits it.
    pub(crate) async fn write(self, sql: &str) {
        match self {
            Self::Postgres(mut connection) => {
                sqlx::raw_sql(&format!("{sql}; COMMIT")).execute(&mut connection).await.map(drop)
            }
            Self::MariaDb(mut connection) => {
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
                sqlx::raw_sql("COMMIT").execute(&mut connection).await.map(drop)
            }
        }
        .unwrap();
    }

    pub(crate) async fn release(self) {
        match self {
            Self::Postgres(mut connection) => sqlx::raw_sql("ROLLBACK").execute(&mut connection).await.map(drop),
            Self::MariaDb(mut connection) => sqlx::raw_sql("ROLLBACK").execute(&mut connection).await.map(drop),
        }
        .unwrap();
    }
}

/// A configuration with two databases, `default` and `new_session_store`; gives its path.
pub(crate) fn config(folder: &Path, old: &Place, new: &Place) -> String {
    let path = folder.join("switchover.toml");
    let (old, new) = (old.address(), new.address());
    let text = format!(
        "[policy]\nbuiltin = \"fallback\"\n[databases.default]\naddress = {old:?}\n\
         [databases.new_session_store]\naddress = {new:?}\n"
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

pub(crate) fn switchover(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_switchover")).args(arguments).output().unwrap()
}

/// Everything that a run printed.
pub(crate) fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8(bytes.clone()).unwrap()).concat()
}

/// The object on the last line.
pub(crate) fn json(output: &Output) -> Value {
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    let last = stdout.lines().last().unwrap_or_else(|| panic!("it printed nothing: {}", said(output)));
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {last}"))
}

/// Asks again and again until the answer is `true`.
pub(crate) async fn until(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !happened().await {
        assert!(Instant::now() < give_up, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
