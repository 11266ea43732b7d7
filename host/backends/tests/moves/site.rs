//! A site that keeps its sessions itself: a table of Django's, and programs that write it with plain SQL.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use fastrand::Rng;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use switchover_backends::moves::{Mover, Rebuild, Transfer};
use switchover_core::Table;
use switchover_core::capabilities::DatabaseError;
use switchover_harness::{Durability, Postgres, Server};
use tokio::task::JoinHandle;

pub(crate) const LIVING: &str = "expire_date > now()";
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two statements of a program.
const THINKING: Duration = Duration::from_millis(2);
const TABLE: &str = "CREATE TABLE django_session (session_key varchar(40) NOT NULL PRIMARY KEY, session_data text NOT NULL, \
                     expire_date timestamptz NOT NULL); \
                     CREATE INDEX django_session_session_key_c0390e0f_like ON django_session (session_key varchar_pattern_ops); \
                     CREATE INDEX django_session_expire_date_a5c62663 ON django_session (expire_date)";

pub(crate) struct Site {
    _server: Server,
    url: String,
    /// The server that the table is carried to, if it is another one.
    new: Option<(Server, String)>,
    /// That database, by a role that the bridge is used by.
    bridge: Option<String>,
}

impl Site {
    pub(crate) async fn new() -> Result<Self> {
        let server = Postgres::builder().durability(Durability::Fast).start().await?;
        let url = server.create_database("site").await?;
        let site = Self { _server: server, url, new: None, bridge: None };
        site.connection().await?.execute(TABLE).await?;
        Ok(site)
    }

    pub(crate) async fn with_another_server() -> Result<Self> {
        let server = Postgres::builder().durability(Durability::Fast).start().await?;
        let url = server.create_database("site").await?;
        Ok(Self { new: Some((server, url)), ..Self::new().await? })
    }

    pub(crate) async fn with_a_bridge() -> Result<Self> {
        let site = Self::with_another_server().await?;
        site.new_server()?.create_role("app", "secret").await?;
        let (_, url) = site.new.as_ref().context("a site with another server")?;
        let bridge = Some(url.replace("postgres@", "app:secret@"));
        Ok(Self { bridge, ..site })
    }

    fn place(&self) -> Place {
        let new = self.new.as_ref().map(|(_, url)| url.clone());
        Place { old: self.url.clone(), new, bridge: self.bridge.clone() }
    }

    pub(crate) fn new_server(&self) -> Result<&Server> {
        self.new.as_ref().map(|(server, _)| server).context("a site with another server")
    }

    pub(crate) async fn new_connection(&self) -> Result<PgConnection> {
        let (_, url) = self.new.as_ref().context("a site with another server")?;
        Ok(PgConnection::connect(url).await?)
    }

    pub(crate) async fn transfer(&self) -> Result<Transfer> {
        let (_, new) = self.new.as_ref().context("a site with another server")?;
        Ok(Transfer::open(&self.url, new, self.bridge.as_deref(), &Table::parse("django_session")?).await?)
    }

    async fn mover(&self) -> Result<Box<dyn Mover>> {
        self.place().mover().await
    }

    /// To the server whose table counts after a cut.
    async fn counting(&self) -> Result<PgConnection> {
        match &self.new {
            Some(_) => self.new_connection().await,
            None => self.connection().await,
        }
    }

    pub(crate) async fn connection(&self) -> Result<PgConnection> {
        Ok(PgConnection::connect(&self.url).await?)
    }

    /// A connection of another role.
    pub(crate) async fn connection_of(&self, role: &str) -> Result<PgConnection> {
        Ok(PgConnection::connect(&self.url.replace("postgres@", &format!("{role}@"))).await?)
    }

    /// Rows that live, with the keys `k00000001` and so on, and rows that have ended.
    pub(crate) async fn fill(&self, living: u32, ended: u32) -> Result<()> {
        let sql = format!(
            "INSERT INTO django_session SELECT 'k' || lpad(n::text, 8, '0'), 'v' || n, now() + interval '1 hour' \
             FROM generate_series(1, {living}) AS n; \
             INSERT INTO django_session SELECT 'e' || lpad(n::text, 8, '0'), 'v' || n, now() - interval '1 hour' \
             FROM generate_series(1, {ended}) AS n"
        );
        self.connection().await?.execute(sql.as_str()).await?;
        Ok(())
    }

    pub(crate) async fn rebuild(&self) -> Result<Rebuild> {
        self.rebuild_of("django_session").await
    }

    pub(crate) async fn rebuild_of(&self, table: &str) -> Result<Rebuild> {
        Ok(Rebuild::open(&self.url, &Table::parse(table)?).await?)
    }

    /// Carries and compares until a whole comparison has found nothing.
    pub(crate) async fn copied(&self, mover: &mut dyn Mover) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        while mover.state().await?.context("it was begun")?.last_different != Some(0) {
            step(mover).await?;
            ensure!(Instant::now() < give_up, "it does not become alike: {:?}", mover.state().await?);
        }
        Ok(())
    }

    /// Waits until the copiers have made a comparison that found nothing.
    pub(crate) async fn verified(&self) -> Result<()> {
        let (mut mover, give_up) = (self.mover().await?, Instant::now() + PATIENCE);
        let before = mover.state().await?.context("it was begun")?.rounds;
        loop {
            let state = mover.state().await?.context("it was begun")?;
            ensure!(state.last_different.unwrap_or(0) == 0, "rows differ: {state:?}");
            if state.rounds > before + 1 {
                return Ok(());
            }
            ensure!(Instant::now() < give_up, "no comparison ends: {state:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Two copiers at a time. Each loses its connection again and again, in the middle of whatever it does.
    pub(crate) fn copier(&self) -> Copiers {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..2).map(|_| tokio::spawn(copy(self.place(), Arc::clone(&stop)))).collect();
        Copiers { tasks, stop }
    }

    pub(crate) fn traffic(&self, programs: u32) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..programs).map(|program| tokio::spawn(shop(self.place(), program, Arc::clone(&stop)))).collect();
        Traffic { tasks, stop }
    }

    pub(crate) async fn has_what_was_acknowledged(&self, told: &Told) -> Result<()> {
        let mut connection = self.counting().await?;
        let rows = connection.fetch_all("SELECT session_key, session_data FROM django_session").await?;
        let mut found = HashMap::new();
        for row in &rows {
            found.insert(row.try_get::<String, _>(0)?, row.try_get::<String, _>(1)?);
        }
        for (key, value) in &told.rows {
            match (value, found.get(key)) {
                (Some(value), Some(there)) => ensure!(value == there, "stale: {there} instead of {value}"),
                (Some(value), None) => return Err(anyhow!("lost: {value}")),
                (None, Some(there)) => return Err(anyhow!("back: {there}")),
                (None, None) => {}
            }
        }
        Ok(())
    }

    pub(crate) async fn count(&self, table: &str) -> Result<u64> {
        let sql = format!("SELECT count(*) FROM \"{table}\"");
        let count: i64 = self.counting().await?.fetch_one(sql.as_str()).await?.try_get(0)?;
        Ok(count.unsigned_abs())
    }

    pub(crate) async fn has_nothing_left(&self) -> Result<()> {
        let sql = "SELECT string_agg(name, ', ') FROM (SELECT relname::text AS name FROM pg_class UNION ALL \
                   SELECT proname::text FROM pg_proc UNION ALL SELECT tgname::text FROM pg_trigger) AS n \
                   WHERE name LIKE '%\\_move%'";
        let left: Option<String> = self.connection().await?.fetch_one(sql).await?.try_get(0)?;
        ensure!(left.is_none(), "left: {left:?}");
        Ok(())
    }

    /// Everything that an application or its migrations may know of a table.
    pub(crate) async fn described(&self, table: &str) -> Result<String> {
        let sql = format!(
            "WITH t AS (SELECT '\"{table}\"'::regclass AS oid) SELECT concat_ws(E'\\n', \
                (SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, \
                    pg_get_expr(adbin, adrelid)), ', ' ORDER BY attnum) \
                 FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum \
                 WHERE attrelid = t.oid AND attnum > 0 AND NOT attisdropped), \
                (SELECT string_agg(pg_get_indexdef(indexrelid), E'\\n' ORDER BY indexrelid::regclass::text) \
                 FROM pg_index WHERE indrelid = t.oid), \
                (SELECT string_agg(concat_ws(' ', conname, pg_get_constraintdef(oid)), ', ' ORDER BY conname) \
                 FROM pg_constraint WHERE conrelid = t.oid), \
                c.relacl, c.relowner::regrole, c.reloptions, obj_description(c.oid, 'pg_class'), \
                (SELECT string_agg(d.objid::regclass::text, ', ') FROM pg_depend AS d \
                 WHERE d.refobjid = t.oid AND d.deptype = 'a' AND d.objid IN (SELECT oid FROM pg_class WHERE relkind = 'S'))) \
             FROM t JOIN pg_class AS c ON c.oid = t.oid"
        );
        Ok(self.connection().await?.fetch_one(sql.as_str()).await?.try_get(0)?)
    }
}

async fn step(mover: &mut dyn Mover) -> Result<(), DatabaseError> {
    mover.carry(2_000).await?;
    if mover.scan(1_000).await?.ended {
        mover.compare(500).await?;
    }
    Ok(())
}

/// Where programs and copiers find the tables.
struct Place {
    old: String,
    new: Option<String>,
    bridge: Option<String>,
}

impl Place {
    async fn mover(&self) -> Result<Box<dyn Mover>> {
        let table = Table::parse("django_session")?;
        Ok(match &self.new {
            Some(new) => Box::new(Transfer::open(&self.old, new, self.bridge.as_deref(), &table).await?),
            None => Box::new(Rebuild::open(&self.old, &table).await?),
        })
    }
}

async fn copy(place: Place, stop: Arc<AtomicBool>) -> Result<u32> {
    let (mut rng, mut crashes) = (Rng::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let mut mover = match place.mover().await {
            Ok(mover) => mover,
            Err(_) if place.new.is_some() => continue,
            Err(error) => return Err(error),
        };
        // The lease of one that is gone keeps the other waiting for a moment.
        let until_crash =
            Duration::from_millis(if place.new.is_some() { rng.u64(500..4_000) } else { rng.u64(20..500) });
        let copying = async {
            loop {
                match step(&mut *mover).await {
                    Ok(()) => {}
                    Err(DatabaseError::Conflict { .. }) => tokio::time::sleep(THINKING).await,
                    // The new server died. Another mover goes on.
                    Err(DatabaseError::Unavailable { .. } | DatabaseError::Timeout) if place.new.is_some() => {
                        return DatabaseError::Timeout;
                    }
                    Err(error) => return error,
                }
            }
        };
        match tokio::time::timeout(until_crash, copying).await {
            Err(_) => crashes += 1,
            Ok(DatabaseError::Timeout) => tokio::time::sleep(THINKING).await,
            Ok(error) => return Err(error.into()),
        }
    }
    Ok(crashes)
}

pub(crate) struct Copiers {
    tasks: Vec<JoinHandle<Result<u32>>>,
    stop: Arc<AtomicBool>,
}

impl Copiers {
    pub(crate) async fn ends(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            ensure!(task.await?? > 0, "a copier was hardly interrupted");
        }
        Ok(())
    }
}

/// What programs were told, and must find.
#[derive(Default)]
pub(crate) struct Told {
    rows: HashMap<String, Option<String>>,
    done: HashMap<&'static str, u64>,
}

impl Told {
    pub(crate) fn living(&self) -> u64 {
        self.rows.values().flatten().count() as u64
    }

    pub(crate) fn has_traffic(&self) -> Result<()> {
        for what in ["insert", "upsert", "update", "delete", "delete many", "key change", "rolled back", "read"] {
            let done = self.done.get(what).copied().unwrap_or(0);
            ensure!(done > 20, "{what} was done {done} times: {:?}", self.done);
        }
        Ok(())
    }
}

pub(crate) struct Traffic {
    tasks: Vec<JoinHandle<Result<Told>>>,
    stop: Arc<AtomicBool>,
}

impl Traffic {
    pub(crate) async fn ends(self) -> Result<Told> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Told::default();
        for task in self.tasks {
            let told = task.await??;
            all.rows.extend(told.rows);
            for (what, times) in told.done {
                *all.done.entry(what).or_default() += times;
            }
        }
        Ok(all)
    }
}

/// A program writes keys that no other one writes, so it knows what it must read. It meets no error, except that a sealed
/// table refuses it: then it is started again with the new address, and says the same.
async fn shop(place: Place, program: u32, stop: Arc<AtomicBool>) -> Result<Told> {
    let mut connection = PgConnection::connect(&place.old).await?;
    let (mut told, mut rng, mut number) = (Told::default(), Rng::new(), 0_u64);
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(THINKING).await;
        number += 1;
        let keys: Vec<_> = told.rows.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key.clone()).collect();
        let mine = (!keys.is_empty()).then(|| keys[rng.usize(..keys.len())].clone());
        let (new, value) = (format!("p{program}x{number:08}"), format!("value{number}"));
        const END: &str = "now() + interval '1 hour'";
        let (what, sql) = match (rng.u32(..10), mine) {
            (0 | 1, _) | (_, None) => {
                told.rows.insert(new.clone(), Some(value.clone()));
                ("insert", format!("INSERT INTO django_session VALUES ('{new}', '{value}', {END})"))
            }
            // A bridge takes none. With `now()` the row is read first, and then written by its place.
            (2, Some(key)) if place.bridge.is_some() => {
                told.rows.insert(key.clone(), Some(value.clone()));
                (
                    "upsert",
                    format!(
                        "UPDATE django_session SET session_data = '{value}', expire_date = {END} WHERE session_key = '{key}'"
                    ),
                )
            }
            (2, Some(key)) => {
                let sql = format!(
                    "INSERT INTO django_session VALUES ('{key}', '{value}', {END}) \
                     ON CONFLICT (session_key) DO UPDATE SET session_data = excluded.session_data"
                );
                told.rows.insert(key, Some(value.clone()));
                ("upsert", sql)
            }
            (3 | 4, Some(key)) => {
                let sql = format!("UPDATE django_session SET session_data = '{value}' WHERE session_key = '{key}'");
                told.rows.insert(key, Some(value.clone()));
                ("update", sql)
            }
            (5, Some(key)) => {
                let sql = format!("DELETE FROM django_session WHERE session_key = '{key}'");
                told.rows.insert(key, None);
                ("delete", sql)
            }
            (6, _) if rng.u32(..8) == 0 => {
                for key in keys {
                    told.rows.insert(key, None);
                }
                ("delete many", format!("DELETE FROM django_session WHERE session_key LIKE 'p{program}x%'"))
            }
            (7, Some(key)) => {
                let sql = format!("UPDATE django_session SET session_key = '{new}' WHERE session_key = '{key}'");
                let value = told.rows.insert(key, None).flatten();
                told.rows.insert(new, value);
                ("key change", sql)
            }
            (8, Some(key)) => {
                let sql = format!(
                    "BEGIN; DELETE FROM django_session WHERE session_key = '{key}'; \
                     INSERT INTO django_session VALUES ('{new}', 'never', {END}); ROLLBACK"
                );
                ("rolled back", sql)
            }
            (_, Some(key)) => {
                let key = if rng.bool() {
                    key
                } else {
                    told.rows.keys().nth(rng.usize(..told.rows.len())).cloned().unwrap_or(key)
                };
                let sql = format!("SELECT session_data FROM django_session WHERE session_key = '{key}'");
                let row = match connection.fetch_optional(sql.as_str()).await {
                    Err(error) if is_seal(&error) => {
                        connection = restarted(place.new.as_deref()).await?;
                        connection.fetch_optional(sql.as_str()).await?
                    }
                    row => row?,
                };
                let found = row.map(|row| row.try_get::<String, _>(0)).transpose()?;
                let expected = told.rows.get(&key).cloned().flatten();
                ensure!(found == expected, "read {found:?} where {expected:?} was acknowledged");
                *told.done.entry("read").or_default() += 1;
                continue;
            }
        };
        let mut done = connection.execute(sql.as_str()).await;
        if matches!(&done, Err(error) if is_seal(error)) {
            connection = restarted(place.new.as_deref()).await?;
            done = connection.execute(sql.as_str()).await;
        }
        done.with_context(|| format!("a program met an error at {what}"))?;
        *told.done.entry(what).or_default() += 1;
    }
    Ok(told)
}

/// The seal's own words, or those of a clause that a view does not have.
fn is_seal(error: &sqlx::Error) -> bool {
    let words = error.to_string();
    words.contains("has moved to postgres at ") || words.contains("no unique or exclusion constraint matching")
}

/// A program that is started again with the new address, again and again until the new table is there.
async fn restarted(new: Option<&str>) -> Result<PgConnection> {
    let (new, give_up) = (new.context("nothing was to be sealed")?, Instant::now() + PATIENCE);
    loop {
        let mut connection = PgConnection::connect(new).await?;
        match connection.execute("SELECT FROM django_session LIMIT 1").await {
            Ok(_) => return Ok(connection),
            Err(error) => ensure!(Instant::now() < give_up, "the new table is not opened: {error}"),
        }
        tokio::time::sleep(THINKING).await;
    }
}
