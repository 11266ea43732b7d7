//! Tables that refuse some rows: by a constraint, a trigger or a reference, or because a payload is none in their
//! character set.

use std::sync::Arc;

use anyhow::Result;
use sqlx::{Connection as _, Executor as _, MySqlConnection, PgConnection};
use switchover_backends::{MySql, Postgres, Sqlite};
use switchover_core::Session;
use switchover_core::capabilities::{Database, Terms, Write};
use switchover_harness::MariaDb;
use tempfile::TempDir;

use super::fixture::{new_table, soon};

/// What is refused by most.
const BAD: &str = "bad";
/// What few character sets have.
const FOREIGN: &str = "😀";

/// A way in which a table refuses rows.
pub(crate) struct Refusal {
    pub(crate) name: &'static str,
    place: Place,
    /// `{t}` is the table.
    spoil: String,
    /// Makes the row `referenced` one that cannot be deleted; `None`: it can.
    pub(crate) refers: Option<&'static str>,
    /// The payload that is refused.
    pub(crate) payload: &'static str,
}

/// Where its table is.
pub(crate) enum Place {
    Sqlite(TempDir),
    Postgres(String),
    MariaDb(String),
}

impl Refusal {
    /// A new table with these rows, on one connection for writes.
    pub(crate) async fn open(&self, rows: Vec<Session>) -> Result<Arc<dyn Database>> {
        let table = new_table();
        let database: Arc<dyn Database> = match &self.place {
            Place::Sqlite(folder) => {
                let path = folder.path().join(format!("{table}.sqlite3"));
                Arc::new(Sqlite::builder(path).table(&table).create_if_missing(true).open().await?)
            }
            Place::Postgres(url) => Arc::new(Postgres::builder(url).table(&table).writers(1).connect().await?),
            Place::MariaDb(url) => Arc::new(MySql::builder(url).table(&table).writers(1).connect().await?),
        };
        database.upkeep().create_schema(soon()).await?;
        self.execute(&self.spoil, &table).await?;
        database.write(rows.into_iter().map(Write::Insert).collect(), Terms::by(soon())).await?;
        if let Some(refers) = self.refers {
            self.execute(refers, &table).await?;
        }
        Ok(database)
    }

    async fn execute(&self, sql: &str, table: &str) -> Result<()> {
        let sql = sql.replace("{t}", table);
        match &self.place {
            Place::Sqlite(folder) => {
                let path = folder.path().join(format!("{table}.sqlite3"));
                rusqlite::Connection::open(path)?.execute_batch(&sql)?;
            }
            Place::Postgres(url) => {
                PgConnection::connect(url).await?.execute(sqlx::raw_sql(&sql)).await?;
            }
            Place::MariaDb(url) => {
                MySqlConnection::connect(url).await?.execute(sqlx::raw_sql(&sql)).await?;
            }
        }
        Ok(())
    }
}

/// Every way, on every database.
pub(crate) async fn refusals() -> Result<Vec<Refusal>> {
    let (mut all, postgres) = (sqlite()?, switchover_harness::Postgres::shared().await?);
    all.extend(on_postgres(&postgres.url()));
    let mut raw = PgConnection::connect(&postgres.url()).await?;
    for (encoding, database) in [("LATIN1", "in_latin1"), ("EUC_JP", "in_euc_jp")] {
        let create =
            format!("CREATE DATABASE {database} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
        // Another test of this process may have made it.
        raw.execute(sqlx::raw_sql(&create)).await.ok();
        let place = Place::Postgres(postgres.url_of(database));
        all.push(Refusal { payload: FOREIGN, ..refusal(encoding, place, "SELECT") });
    }
    all.extend(on_mariadb(&MariaDb::shared().await?.url()));
    Ok(all)
}

pub(crate) fn refusal(name: &'static str, place: Place, spoil: impl Into<String>) -> Refusal {
    Refusal { name, place, spoil: spoil.into(), refers: None, payload: BAD }
}

fn sqlite() -> Result<Vec<Refusal>> {
    let place = || Ok::<_, std::io::Error>(Place::Sqlite(TempDir::new()?));
    let on = |event: &str, how: &str| {
        format!(
            "CREATE TRIGGER no_{event} BEFORE {event} ON {{t}} WHEN NEW.session_data = '{BAD}' \
             BEGIN SELECT RAISE({how}, 'not this bad row'); END;"
        )
    };
    let trigger = |how: &str| on("INSERT", how) + &on("UPDATE", how);
    let refers = |deferred: &str| {
        format!("CREATE TABLE refers (session_key varchar(40) REFERENCES {{t}} (session_key) {deferred});")
    };
    let deferred = refers("DEFERRABLE INITIALLY DEFERRED") + &trigger("ABORT");
    let insert = Some("PRAGMA foreign_keys = ON; INSERT INTO refers VALUES ('referenced');");
    Ok(vec![
        refusal("SQLite, a trigger that aborts", place()?, trigger("ABORT")),
        refusal("SQLite, a trigger that fails", place()?, trigger("FAIL")),
        refusal("SQLite, a trigger that rolls back", place()?, trigger("ROLLBACK")),
        Refusal { refers: insert, ..refusal("SQLite, a reference", place()?, refers("") + &trigger("ABORT")) },
        Refusal { refers: insert, ..refusal("SQLite, a deferred reference", place()?, deferred) },
    ])
}

fn on_postgres(url: &str) -> Vec<Refusal> {
    let place = || Place::Postgres(url.to_owned());
    let check = format!("ALTER TABLE {{t}} ADD CHECK (session_data <> '{BAD}');");
    let trigger = |action: &str, kind: &str, when: &str| {
        format!(
            "CREATE FUNCTION no_{{t}}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {action}; RETURN NEW; END $$; \
             CREATE {kind} no_{{t}} {when} FOR EACH ROW WHEN (NEW.session_data = '{BAD}') EXECUTE FUNCTION no_{{t}}()"
        )
    };
    let before = |action: &str| trigger(action, "TRIGGER", "BEFORE INSERT OR UPDATE ON {t}");
    let raise = |code: &str| before(&format!("RAISE EXCEPTION 'not this bad row' USING ERRCODE = '{code}'"));
    let after = |action: &str| {
        trigger(action, "CONSTRAINT TRIGGER", "AFTER INSERT OR UPDATE ON {t} DEFERRABLE INITIALLY DEFERRED")
    };
    let narrow = "CREATE TABLE narrow_{t} (copy varchar(2)); ".to_owned();
    let refers = |deferred: &str| {
        let table = "CREATE TABLE refers_{t} (session_key varchar(40) REFERENCES {t} (session_key)";
        format!("{table} {deferred}); {check}")
    };
    let insert = Some("INSERT INTO refers_{t} VALUES ('referenced')");
    let deferred = refers("DEFERRABLE INITIALLY DEFERRED");
    vec![
        refusal("PostgreSQL, a check", place(), &*check),
        refusal("PostgreSQL, P0001", place(), raise("P0001")),
        refusal("PostgreSQL, a code of the application's", place(), raise("U0001")),
        refusal("PostgreSQL, a code of the server's", place(), raise("53100")),
        refusal("PostgreSQL, a division by zero", place(), before("PERFORM 1 / 0")),
        refusal("PostgreSQL, a trigger without its table", place(), before("PERFORM FROM nowhere.there")),
        refusal("PostgreSQL, a deferred trigger", place(), after("RAISE EXCEPTION 'not this bad row'")),
        refusal(
            "PostgreSQL, a copy that is too narrow",
            place(),
            narrow + &before("INSERT INTO narrow_{t} VALUES (NEW.session_data)"),
        ),
        Refusal { refers: insert, ..refusal("PostgreSQL, a reference", place(), refers("")) },
        Refusal { refers: insert, ..refusal("PostgreSQL, a deferred reference", place(), deferred) },
    ]
}

fn on_mariadb(url: &str) -> Vec<Refusal> {
    let place = || Place::MariaDb(url.to_owned());
    let check = format!("ALTER TABLE {{t}} ADD CHECK (session_data <> '{BAD}');");
    let on = |event: &str, action: &str| {
        format!(
            "CREATE TRIGGER no_{event}_{{t}} BEFORE {event} ON {{t}} FOR EACH ROW \
             IF NEW.session_data = '{BAD}' THEN {action}; END IF;"
        )
    };
    let trigger = |action: &str| on("INSERT", action) + &on("UPDATE", action);
    let signal =
        |number: &str| trigger(&format!("SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this bad row'{number}"));
    let payload_of = |set: &str| format!("ALTER TABLE {{t}} MODIFY session_data longtext CHARACTER SET {set} NOT NULL");
    let narrow = "CREATE TABLE narrow_{t} (copy varchar(2)); ".to_owned();
    let refers = format!(
        "CREATE TABLE refers_{{t}} (session_key varchar(40), \
         FOREIGN KEY (session_key) REFERENCES {{t}} (session_key)); {check}"
    );
    vec![
        refusal("MariaDB, a check", place(), &*check),
        // What moves an end alone is no new payload.
        refusal(
            "MariaDB, a check of empty payloads",
            place(),
            format!("{check} ALTER TABLE {{t}} ADD CHECK (session_data <> '')"),
        ),
        refusal("MariaDB, a signal", place(), signal("")),
        refusal("MariaDB, a signal with a number", place(), signal(", MYSQL_ERRNO = 31337")),
        refusal("MariaDB, a trigger without its table", place(), trigger("DELETE FROM nowhere")),
        refusal(
            "MariaDB, a copy that is too narrow",
            place(),
            narrow + &trigger("INSERT INTO narrow_{t} VALUES (NEW.session_data)"),
        ),
        Refusal {
            refers: Some("INSERT INTO refers_{t} VALUES ('referenced')"),
            ..refusal("MariaDB, a reference", place(), refers)
        },
        Refusal { payload: FOREIGN, ..refusal("MariaDB, payloads of latin1", place(), payload_of("latin1")) },
        Refusal { payload: FOREIGN, ..refusal("MariaDB, payloads of utf8mb3", place(), payload_of("utf8mb3")) },
    ]
}
