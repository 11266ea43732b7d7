//! The other columns of a table. They are read and written with the row; a session without them never changes them;
//! values that do not fit are refused, with the column's name.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sqlx::{Connection as _, Executor as _, MySqlConnection, PgConnection};
use switchover_backends::{MySql, Postgres, Sqlite};
use switchover_core::capabilities::{Database, DatabaseError, Terms, Write, WriteOutcome};
use switchover_core::{Layout, Others, Session, Value, expires_in};
use switchover_harness::MariaDb;
use tempfile::TempDir;

use super::fixture::{exists, key, load, lock, new_table, row, session, soon, write};

const HOUR: Duration = Duration::from_secs(3_600);

/// Columns that every database has, each with its own type.
const TYPES: [(&str, [&str; 3]); 6] = [
    ("truth", ["boolean", "tinyint(1)", "bool"]),
    ("number", ["bigint", "bigint", "integer"]),
    ("Words", ["varchar(200)", "varchar(200)", "varchar(200)"]),
    ("raw", ["bytea", "longblob", "blob"]),
    ("seen at", ["timestamptz", "datetime(6)", "datetime"]),
    (
        "country",
        [
            "text NOT NULL DEFAULT 'nowhere'",
            "varchar(20) NOT NULL DEFAULT 'nowhere'",
            "text NOT NULL DEFAULT 'nowhere'",
        ],
    ),
];

/// A table with the columns of a layout and other columns, and a connection that bypasses the backend.
struct Extended {
    name: &'static str,
    database: Box<dyn Database>,
    table: String,
    raw: Raw,
}

enum Raw {
    Postgres(PgConnection),
    MySql(MySqlConnection),
    Sqlite(Box<rusqlite::Connection>, #[expect(dead_code, reason = "the folder goes with it")] TempDir),
}

impl Extended {
    async fn execute(&mut self, sql: &str) -> Result<()> {
        match &mut self.raw {
            Raw::Postgres(raw) => raw.execute(sqlx::raw_sql(sql)).await.map(drop)?,
            Raw::MySql(raw) => raw.execute(sqlx::raw_sql(&sql.replace('"', "`"))).await.map(drop)?,
            Raw::Sqlite(raw, _) => raw.execute_batch(sql)?,
        }
        Ok(())
    }

    async fn add_column(&mut self, column: &str) -> Result<()> {
        let sql = format!("ALTER TABLE {} ADD COLUMN {column}", self.table);
        self.execute(&sql).await.with_context(|| format!("{}: {sql}", self.name))
    }
}

async fn each(layout: Layout) -> Result<[Extended; 3]> {
    let (postgres, mariadb) = (switchover_harness::Postgres::shared().await?, MariaDb::shared().await?);
    let (table, folder) = (new_table(), tempfile::tempdir()?);
    let file = folder.path().join("others.sqlite3");
    let sqlite = Sqlite::builder(&file).layout(layout).table(&table).create_if_missing(true).open().await?;
    let mut all = [
        Extended {
            name: "postgres",
            database: Box::new(Postgres::builder(postgres.url()).layout(layout).table(&table).connect().await?),
            table: table.clone(),
            raw: Raw::Postgres(PgConnection::connect(&postgres.url()).await?),
        },
        Extended {
            name: "mariadb",
            database: Box::new(MySql::builder(mariadb.url()).layout(layout).table(&table).connect().await?),
            table: table.clone(),
            raw: Raw::MySql(MySqlConnection::connect(&mariadb.url()).await?),
        },
        Extended {
            name: "sqlite",
            database: Box::new(sqlite),
            table,
            raw: Raw::Sqlite(Box::new(rusqlite::Connection::open(&file)?), folder),
        },
    ];
    for extended in &mut all {
        extended.database.upkeep().create_schema(soon()).await?;
    }
    Ok(all)
}

/// Tables with every column of [`TYPES`].
async fn extended(layout: Layout) -> Result<[Extended; 3]> {
    let mut all = each(layout).await?;
    for (at, extended) in all.iter_mut().enumerate() {
        for (name, types) in TYPES {
            extended.add_column(&format!("\"{name}\" {}", types[at])).await?;
        }
        let columns = extended.database.upkeep().other_columns(soon()).await?;
        ensure!(columns.len() == TYPES.len(), "{}: {columns:?}", extended.name);
        extended.database.upkeep().check_columns(soon()).await?;
    }
    Ok(all)
}

fn others(values: [Value; 6]) -> Others {
    Others::new(TYPES.iter().map(|(name, _)| (*name).into()).zip(values))
}

/// Values that databases, drivers and formats change or lose.
fn adversarial() -> Vec<Others> {
    let text = |text: &str| Value::Text(text.into());
    let time = |time: &str| Value::Time(time.into());
    vec![
        others([Value::Null, Value::Null, Value::Null, Value::Null, Value::Null, text("")]),
        others([
            Value::Boolean(true),
            Value::Integer(i64::MAX),
            text("it's \"größe\", \\ and {NULL,a} 🦀"),
            Value::Bytes((0..=255).collect::<Vec<u8>>().into()),
            time("2026-12-06 15:05:26.508388"),
            text("NULL"),
        ]),
        others([
            Value::Boolean(false),
            Value::Integer(i64::MIN),
            text(""),
            Value::Bytes([].into()),
            time("1970-01-01 00:00:00.000000"),
            text("null"),
        ]),
        others([
            Value::Boolean(true),
            Value::Integer(0),
            text(&"é".repeat(200)),
            Value::Bytes(b"\0\\x00".as_slice().into()),
            time("9999-12-31 23:59:59.999999"),
            text("{}"),
        ]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_columns_go_with_the_row_to_the_byte() -> Result<()> {
    for layout in Layout::ALL {
        for Extended { name, database, .. } in extended(layout).await? {
            let end = expires_in(HOUR);
            let sessions: Vec<Session> = adversarial()
                .into_iter()
                .enumerate()
                .map(|(at, others)| Session { others, ..session(&format!("whole{at:04}"), "v1", end) })
                .collect();
            for put in [Write::Insert as fn(Session) -> Write, Write::Update, Write::Upsert] {
                // In one batch together with a session without other columns, and alone.
                let beside = session("plain0000", "v1", end);
                let batch = sessions.iter().cloned().map(put).chain([Write::Upsert(beside)]).collect();
                let done = database.write(batch, Terms::by(soon())).await?;
                ensure!(done.iter().all(|outcome| matches!(outcome, WriteOutcome::Done(_))), "{name}: {done:?}");
                for session in &sessions {
                    ensure!(
                        load(&*database, &session.key).await?.as_ref() == Some(session),
                        "{name}: {:?}",
                        session.key
                    );
                    database.write(vec![Write::Upsert(session.clone())], Terms::by(soon())).await?;
                    ensure!(row(&*database, &session.key).await?.as_ref() == Some(session), "{name}");
                }
            }
            let scanned = database.upkeep().scan(None, 100, soon()).await?;
            ensure!(scanned.unreadable.is_empty(), "{name}: {:?}", scanned.unreadable);
            ensure!(sessions.iter().all(|session| scanned.sessions.contains(session)), "{name}");

            // A session without other columns leaves them unchanged, and a transaction returns the whole row.
            for (session, put) in
                sessions.iter().zip([Write::Update as fn(Session) -> Write, Write::Upsert].iter().cycle())
            {
                let plain = super::fixture::session(session.key.expose(), "v2", end);
                let expected = Session { others: session.others.clone(), ..plain.clone() };
                let mut transaction = database.begin(Terms::by(soon())).await?;
                let done = transaction.write(vec![put(plain)]).await?;
                ensure!(done == [WriteOutcome::Done(Some(expected.clone()))], "{name}: {done:?}");
                let later = end.plus(HOUR);
                let touched = transaction.write(vec![Write::Touch(session.key.clone(), later)]).await?;
                let expected = Session { expires_at: later, ..expected };
                ensure!(touched == [WriteOutcome::Done(Some(expected.clone()))], "{name}: {touched:?}");
                transaction.commit().await?;
                ensure!(load(&*database, &session.key).await? == Some(expected), "{name}");
            }

            // A new row gets the defaults, and a transaction returns them.
            let fresh = session("fresh0000", "v1", end);
            let mut transaction = database.begin(Terms::by(soon())).await?;
            let done = transaction.write(vec![Write::Insert(fresh.clone())]).await?;
            let [WriteOutcome::Done(Some(made))] = &done[..] else { panic!("{name}: {done:?}") };
            ensure!(made.others.get("country") == Some(&Value::Text("nowhere".into())), "{name}: {:?}", made.others);
            ensure!(made.others.get("number") == Some(&Value::Null), "{name}: {:?}", made.others);
            transaction.commit().await?;
            ensure!(row(&*database, &fresh.key).await?.as_ref() == Some(made), "{name}");
            let absent = lock(&*database, vec![key("absent000")], soon()).await?;
            ensure!(absent.outcomes() == [None], "{name}");
            absent.roll_back().await;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn value_that_does_not_fit_costs_its_own_row_alone() -> Result<()> {
    for Extended { name, database, .. } in extended(Layout::DJANGO).await? {
        let good = Session { others: adversarial().remove(1), ..session("good00000", "v1", expires_in(HOUR)) };
        let with = |others: Others| Session { others, ..session("bad000000", "v1", expires_in(HOUR)) };
        let mut values = [Value::Null, Value::Null, Value::Null, Value::Null, Value::Null, Value::Text("a".into())];
        let unknown = Others::new([("unknown".into(), Value::Text("secret".into()))]);
        let lacking = Others::new([("number".into(), Value::Integer(1))]);
        values[1] = Value::Text("secret".into());
        let mistyped = others(values.clone());
        values[1] = Value::Null;
        values[5] = Value::Null;
        let empty = others(values);
        for (what, bad) in [("unknown", unknown), ("truth", lacking), ("number", mistyped), ("", empty)] {
            let refused = database.write(vec![Write::Upsert(with(bad))], Terms::by(soon())).await;
            let Err(DatabaseError::Corrupt { message }) = refused else { panic!("{name}, {what}: {refused:?}") };
            ensure!(message.contains(what) && !message.contains("secret"), "{name}, {what}: {message}");
        }
        database.write(vec![Write::Upsert(good.clone())], Terms::by(soon())).await?;
        ensure!(load(&*database, &good.key).await? == Some(good), "{name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn column_that_is_added_later_is_found_when_the_table_is_looked_at() -> Result<()> {
    for mut extended in each(Layout::DJANGO).await? {
        let name = extended.name;
        let before = session("before000", "v1", expires_in(HOUR));
        extended.database.write(vec![Write::Insert(before.clone())], Terms::by(soon())).await?;
        extended.add_column("\"user_id\" bigint").await?;
        extended.execute(&format!("UPDATE {} SET \"user_id\" = 7", extended.table)).await?;
        let database = &*extended.database;
        // Operations in progress go on without it.
        write(database, Write::Update(before.clone())).await?;
        database.upkeep().other_columns(soon()).await?;
        let found = load(database, &before.key).await?.context("it is there")?;
        ensure!(found.others.get("user_id") == Some(&Value::Integer(7)), "{name}: {:?}", found.others);
        ensure!(database.upkeep().missing_schema(soon()).await?.is_empty(), "{name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn column_that_only_the_application_can_fill_is_refused_by_name() -> Result<()> {
    for mut extended in each(Layout::DJANGO).await? {
        extended.add_column("\"ip\" varchar(40) NOT NULL DEFAULT ''").await?;
        extended.database.upkeep().check_columns(soon()).await?;
        if matches!(extended.raw, Raw::Sqlite(..)) {
            continue;
        }
        let drop_default = format!("ALTER TABLE {} ALTER COLUMN \"ip\" DROP DEFAULT", extended.table);
        extended.execute(&drop_default).await?;
        let refused = extended.database.upkeep().check_columns(soon()).await;
        let Err(DatabaseError::Corrupt { message }) = refused else { panic!("{}: {refused:?}", extended.name) };
        ensure!(message.contains("ip") && message.contains("default"), "{message}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_value_of_another_type_can_be_read_past_and_not_carried() -> Result<()> {
    let [_, _, mut extended] = extended(Layout::DJANGO).await?;
    let odd = session("odd000000", "v1", expires_in(HOUR));
    extended.database.write(vec![Write::Insert(odd.clone())], Terms::by(soon())).await?;
    for set in ["number = 'seven'", "truth = 2", "\"seen at\" = 'yesterday'", "raw = 'text'", "\"Words\" = x'ff'"] {
        extended.execute(&format!("UPDATE {} SET {set}", extended.table)).await?;
        let column = set.split(" = ").next().unwrap_or_default().trim_matches('"');
        let database = &*extended.database;
        let found = load(database, &odd.key).await?.with_context(|| format!("{set}: the session is not lost"))?;
        ensure!(found.others.unreadable() == Some(column), "{set}: {:?}", found.others);
        let page = database.upkeep().scan(None, 10, soon()).await?;
        ensure!(page.sessions.is_empty() && page.unreadable.len() == 1, "{set}: {page:?}");
        let refused = database.write(vec![Write::Upsert(found)], Terms::by(soon())).await;
        ensure!(matches!(&refused, Err(DatabaseError::Corrupt { message }) if message.contains(column)), "{refused:?}");
        extended
            .execute(&format!("UPDATE {} SET {} = NULL", extended.table, set.split(" = ").next().unwrap_or_default()))
            .await?;
    }
    Ok(())
}

/// The server returns it in the time zone of the connection. Connections older than the column meet it too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timestamp_of_mariadb_is_the_same_instant_in_every_zone() -> Result<()> {
    let server = MariaDb::start().await?;
    let mut raw = MySqlConnection::connect(&server.url()).await?;
    raw.execute(sqlx::raw_sql("SET GLOBAL time_zone = '+03:00'")).await?;
    let table = new_table();
    let database = MySql::builder(server.url()).table(&table).connect().await?;
    database.upkeep().create_schema(soon()).await?;
    let mut mariadb = Extended { name: "mariadb", database: Box::new(database), table, raw: Raw::MySql(raw) };
    let first = session("first0000", "v1", expires_in(HOUR));
    // Every lane has a connection now.
    for _ in 0..4 {
        write(&*mariadb.database, Write::Upsert(first.clone())).await?;
        row(&*mariadb.database, &first.key).await?;
    }
    mariadb.add_column("seen timestamp(6) NULL").await?;
    mariadb.execute("SET SESSION time_zone = '+05:00'").await?;
    mariadb.execute(&format!("UPDATE {} SET seen = '2026-07-01 12:00:00.5'", mariadb.table)).await?;
    mariadb.database.upkeep().other_columns(soon()).await?;
    let seen = |time: &str| Others::new([("seen".into(), Value::Time(time.into()))]);
    for _ in 0..4 {
        let database = &*mariadb.database;
        let found = load(database, &first.key).await?.context("it is there")?;
        ensure!(found.others == seen("2026-07-01 07:00:00.500000"), "{:?}", found.others.get("seen").is_some());
        let locked = row(database, &first.key).await?.context("it is there")?;
        ensure!(locked.others == found.others);
        let moved = Session { others: seen("2026-07-01 08:00:00.250000"), ..first.clone() };
        write(database, Write::Upsert(moved)).await?;
        let here = format!("DELETE FROM {} WHERE seen <> '2026-07-01 13:00:00.25'", mariadb.table);
        mariadb.execute(&here).await?;
        let database = &*mariadb.database;
        ensure!(exists(database, &first.key).await?, "it was written as another instant");
        write(database, Write::Upsert(Session { others: seen("2026-07-01 07:00:00.500000"), ..first.clone() })).await?;
    }
    Ok(())
}

/// Types that only one kind of database has, with a value that its text form easily changes.
const POSTGRES_TYPES: [(&str, &str); 16] = [
    ("numeric(30,10)", "12345678901234567890.0123456789"),
    ("real", "0.1"),
    ("double precision", "0.1234567890123456789"),
    ("inet", "2001:db8::1/64"),
    ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("jsonb", "{\"b\": [1, null, \"größe\"], \"a\": 1e400}"),
    ("json", "{ \"b\" : 1, \"a\" : \"\\\\\" }"),
    ("date", "0044-03-15 BC"),
    ("interval", "1 mon -2 days 03:04:05.000006"),
    ("integer[]", "{{1,2},{NULL,4}}"),
    ("text[]", "{\"a,b\",\"{\",NULL,\"\"}"),
    ("bit(3)", "101"),
    ("character(5)", "ab"),
    ("timestamp", "infinity"),
    ("money", "$1,234.56"),
    ("tstzrange", "[2026-01-01 00:00:00+00,infinity)"),
];

const MARIADB_TYPES: [(&str, &str); 13] = [
    ("decimal(30,10)", "'12345678901234567890.0123456789'"),
    ("float", "0.1"),
    ("double", "0.12345678901234567"),
    ("bit(3)", "b'101'"),
    ("binary(4)", "x'00ff00'"),
    ("enum('a','b c')", "'b c'"),
    ("set('a','b')", "'a,b'"),
    ("json", "'[ 1 ,null]'"),
    ("date", "'1000-01-01'"),
    ("time(6)", "'-838:59:58.999999'"),
    ("year", "2026"),
    ("point", "point(1.5, -2.5)"),
    ("bigint unsigned", "18446744073709551615"),
];

/// A row is read, and written again under another key. The server itself finds no difference.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_of_one_kind_of_database_are_carried_without_a_change() -> Result<()> {
    let [mut postgres, mut mariadb, _] = each(Layout::DJANGO).await?;
    for (at, (kind, _)) in POSTGRES_TYPES.iter().enumerate() {
        postgres.add_column(&format!("c{at} {kind}")).await?;
    }
    for (at, (kind, _)) in MARIADB_TYPES.iter().enumerate() {
        mariadb.add_column(&format!("c{at} {kind}")).await?;
    }
    let values = |values: Vec<String>| values.join(", ");
    let of_postgres = values(POSTGRES_TYPES.iter().map(|(kind, value)| format!("'{value}'::{kind}")).collect());
    let of_mariadb = values(MARIADB_TYPES.iter().map(|(_, value)| (*value).to_owned()).collect());
    let (from, to) = (key("original0"), key("carried00"));
    for (extended, values, types) in
        [(postgres, of_postgres, POSTGRES_TYPES.len()), (mariadb, of_mariadb, MARIADB_TYPES.len())]
    {
        let Extended { name, database, table, .. } = &extended;
        ensure!(database.upkeep().other_columns(soon()).await?.len() == types, "{name}");
        let end = "2999-01-01 00:00:00";
        let insert = format!("INSERT INTO {table} VALUES ('original0', 'v1', '{end}', {values})");
        let (table, mut extended) = (table.clone(), extended);
        extended.execute(&insert).await?;
        let database = &*extended.database;
        let found = load(database, &from).await?.context("it is there")?;
        ensure!(found.others.unreadable().is_none(), "{name}: {:?}", found.others.unreadable(), name = extended.name);
        write(database, Write::Insert(Session { key: to.clone(), ..found.clone() })).await?;
        write(database, Write::Upsert(Session { key: to.clone(), ..found })).await?;
        for at in 0..types {
            let same = match &mut extended.raw {
                Raw::Postgres(raw) => {
                    let sql = format!("SELECT count(DISTINCT coalesce(c{at}::text, 'none')) FROM {table}");
                    sqlx::Row::try_get::<i64, _>(&raw.fetch_one(sqlx::raw_sql(&sql)).await?, 0)?
                }
                Raw::MySql(raw) => {
                    let sql = format!(
                        "SELECT cast(count(DISTINCT c{at}, hex(c{at})) AS signed) FROM {table} WHERE c{at} IS NOT NULL"
                    );
                    sqlx::Row::try_get::<i64, _>(&raw.fetch_one(sqlx::raw_sql(&sql)).await?, 0)?
                }
                Raw::Sqlite(..) => 1,
            };
            ensure!(same == 1, "{}: column c{at} has {same} values", extended.name);
        }
    }
    Ok(())
}
