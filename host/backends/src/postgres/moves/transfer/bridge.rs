//! The bridge: in the old table's place a foreign table of the new one, for applications that are not restarted yet.

use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use switchover_core::Table;
use switchover_core::capabilities::DatabaseError;
use tokio::time::timeout;

use super::super::link::{Bind, PAUSE, column, invalid, literal};
use super::Transfer;
use super::cut::{OPENING_PATIENCE, OPENING_WAIT};
use crate::postgres::address_of;

/// The new database as the old server reaches it.
pub(super) struct Bridge {
    address: PgConnectOptions,
    password: Option<String>,
}

/// How long those wait who come to the bridge while the new table gets its name.
const LED: Duration = Duration::from_millis(500);
/// By this name the new server shows who comes over the bridge.
const NAME: &str = "switchover move bridge";

impl Bridge {
    pub(super) fn of(url: &str) -> Result<Self, DatabaseError> {
        let address = address_of(url, NAME)?;
        // The options keep the password to themselves.
        let parsed = url::Url::parse(url).map_err(|_| invalid("the bridge's address is no address `postgres://…`"))?;
        let decoded = |text| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let parameter = parsed.query_pairs().find(|(name, _)| name == "password").map(|(_, value)| value.into_owned());
        let password = parameter.or_else(|| parsed.password().map(decoded));
        Ok(Self { address, password })
    }

    fn user(&self) -> &str {
        self.address.get_username()
    }

    /// The server and the user by whom everybody comes over.
    fn made(&self, server: &str) -> Vec<String> {
        let host = match self.address.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => self.address.get_host().to_owned(),
        };
        let database = self.address.get_database().unwrap_or(self.user());
        let mode = match self.address.get_ssl_mode() {
            PgSslMode::Disable => "disable",
            PgSslMode::Allow => "allow",
            PgSslMode::Prefer => "prefer",
            PgSslMode::Require => "require",
            PgSslMode::VerifyCa => "verify-ca",
            PgSslMode::VerifyFull => "verify-full",
        };
        let password = self.password.as_ref().map(|text| format!(", password {}", literal(text))).unwrap_or_default();
        vec![
            "CREATE EXTENSION IF NOT EXISTS postgres_fdw".to_owned(),
            format!(
                "CREATE SERVER {server} FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host {}, port '{}', dbname {}, \
                 sslmode '{mode}', application_name {})",
                literal(&host),
                self.address.get_port(),
                literal(database),
                literal(NAME)
            ),
            format!("CREATE USER MAPPING FOR PUBLIC SERVER {server} OPTIONS (user {}{password})", literal(self.user())),
        ]
    }

    /// The same for people: without the password.
    fn shown(&self, server: &str) -> Vec<String> {
        Self { address: self.address.clone(), password: self.password.as_ref().map(|_| "...".to_owned()) }.made(server)
    }
}

impl Transfer {
    /// The statements that make the bridge's server.
    pub(super) fn bridge_made(&self, shown: bool) -> Vec<String> {
        let server = self.old.names.server();
        match &self.bridge {
            Some(bridge) if shown => bridge.shown(&server),
            Some(bridge) => bridge.made(&server),
            None => Vec::new(),
        }
    }

    pub(super) fn bridge_taken_away(&self) -> Vec<String> {
        match self.bridge {
            Some(_) => vec![format!("DROP SERVER IF EXISTS {} CASCADE", self.old.names.server())],
            None => Vec::new(),
        }
    }

    /// The rights at the new server of whoever comes over.
    pub(super) fn bridge_rights(&self, name: &str) -> Vec<String> {
        let user = |bridge: &Bridge| Table::quote(bridge.user(), '"');
        let right = |bridge| format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {}", user(bridge));
        self.bridge.as_ref().map(right).into_iter().collect()
    }

    /// What is in the way of a bridge. It is tried: what is made for that is rolled back.
    pub(super) async fn in_the_bridges_way(&mut self) -> Result<Vec<String>, DatabaseError> {
        let Some(bridge) = &self.bridge else { return Ok(Vec::new()) };
        let without = bridge.password.is_none();
        let mut found = self.old.foreign_parts().await?;
        if without {
            let what = "--bridge has no password, and PostgreSQL lets no role but a superuser come over without one";
            found.push(what.to_owned());
        }
        if !self.upserts() {
            found.extend(self.upserts_seen().await?);
        }
        if !self.old.is_begun().await? {
            let probe = "CREATE FOREIGN TABLE pg_temp.switchover_probe (nspname name) SERVER";
            let options = "OPTIONS (schema_name 'pg_catalog', table_name 'pg_namespace')";
            let mut tried = self.bridge_made(false);
            tried.push(format!("{probe} {} {options}", self.old.names.server()));
            tried.push("SELECT count(*) FROM pg_temp.switchover_probe".to_owned());
            if let Err(error) = self.tried(&tried).await {
                found.push(format!(
                    "a bridge from the old server to the new one cannot be built: {error}. The old server needs \
                     postgres_fdw, and a way to the address of --bridge"
                ));
            }
        }
        Ok(found)
    }

    async fn tried(&mut self, statements: &[String]) -> Result<(), DatabaseError> {
        self.old.link.simple("BEGIN").await?;
        let mut done = Ok(());
        for statement in statements {
            done = self.old.link.simple(statement).await;
            if done.is_err() {
                break;
            }
        }
        self.old.link.roll_back().await;
        done
    }

    /// Statements that a foreign table does not take, as far as the server has counted them.
    async fn upserts_seen(&mut self) -> Result<Vec<String>, DatabaseError> {
        let there = "SELECT to_regclass('pg_stat_statements') IS NOT NULL";
        let rows = self.old.link.rows(there, &[]).await?;
        if !rows.first().map_or(Ok(false), |row| column(row, 0))? {
            return Ok(Vec::new());
        }
        let sql = "SELECT left(query, 60) FROM pg_stat_statements WHERE query ~* 'on\\s+conflict.*do\\s+update' \
                   AND position($1 IN query) > 0 LIMIT 3";
        let table = self.old.names.unquoted().to_owned();
        // It may be there and not be loaded.
        let Ok(rows) = self.old.link.rows(sql, &[Bind::Text(Some(&table))]).await else { return Ok(Vec::new()) };
        rows.iter()
            .map(|row| {
                Ok(format!("{} ... is sent by an application: a bridge takes no upserts", column::<String>(row, 0)?))
            })
            .collect()
    }

    /// Whether every insert is an upsert, so that the bridge may make it one.
    fn upserts(&self) -> bool {
        self.old.known_table().is_some_and(|known| known.upserts)
    }

    /// Whether the bridge leads to the database that rows are carried to.
    pub(super) async fn bridge_leads_to_new(&mut self, id: &str) -> Result<(), DatabaseError> {
        let fence = self.new.names.options(&self.new.names.unquoted_fence());
        let probe = format!(
            "CREATE FOREIGN TABLE pg_temp.switchover_probe (move text) SERVER {} OPTIONS ({fence})",
            self.old.names.server()
        );
        let granted = format!("GRANT SELECT ON {} TO PUBLIC", self.new.names.fence);
        self.new.link.simple(&granted).await?;
        self.old.link.simple("BEGIN").await?;
        let found = match self.old.link.simple(&probe).await {
            Ok(()) => self.old.link.rows("SELECT move FROM pg_temp.switchover_probe", &[]).await,
            Err(error) => Err(error),
        };
        self.old.link.roll_back().await;
        match found?.first().map(|row| column::<String>(row, 0)).transpose()? {
            Some(there) if there == id => Ok(()),
            _ => Err(invalid("the bridge leads to another database than --to")),
        }
    }

    /// Puts the table aside, and the bridge in its place.
    ///
    /// A foreign table takes no upserts. Where the library sends nothing else, there is an empty table with the foreign
    /// one as its child: what is read, changed and deleted is the child's, and a trigger carries each insert over.
    pub(super) async fn bridging(&mut self) -> Result<Vec<String>, DatabaseError> {
        let columns = self.old.columns().await?.join(", ");
        let options = self.new.names.options(&self.new.names.unquoted_new());
        let (names, shape) = (&self.old.names, &self.old.shape);
        let (table, server) = (names.table.clone(), names.server());
        let mut made = vec![format!("ALTER TABLE {table} RENAME TO {}", names.plain_old())];
        if self.upserts() {
            let (bridge, over, key) = (&names.bridge, &names.over, &shape.key);
            let set: Vec<_> = shape.filled.iter().map(|column| format!("{column} = NEW.{column}")).collect();
            made.extend([
                format!("CREATE TABLE {table} ({columns}, PRIMARY KEY ({key}))"),
                format!("CREATE FOREIGN TABLE {bridge} () INHERITS ({table}) SERVER {server} OPTIONS ({options})"),
                format!(
                    "CREATE FUNCTION {over}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
                     SET search_path = pg_catalog, pg_temp AS $switchover$\nBEGIN\n\
                     UPDATE {bridge} SET {} WHERE {key} = NEW.{key};\n\
                     IF NOT FOUND THEN INSERT INTO {bridge} VALUES (NEW.*); END IF;\n\
                     RETURN NULL;\nEND $switchover$",
                    set.join(", ")
                ),
                format!("CREATE TRIGGER switchover_move_over BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {over}()"),
            ]);
        } else {
            made.push(format!("CREATE FOREIGN TABLE {table} ({columns}) SERVER {server} OPTIONS ({options})"));
        }
        made.extend(self.old.rights(&table).await?);
        Ok(made)
    }

    /// Gives the new table its name, and lets the bridge lead to it, while nobody is on the bridge.
    ///
    /// If this ends between the two, a view of the former name is there: it takes every statement that is sent to the new
    /// server as a whole. Whoever comes next goes on.
    pub(super) async fn open_behind_the_bridge(&mut self) -> Result<(), DatabaseError> {
        let give_up = Instant::now() + OPENING_PATIENCE;
        loop {
            self.old.link.simple("BEGIN").await?;
            let led = self.led().await;
            match self.old.link.end(led).await {
                Err(DatabaseError::Conflict { .. }) if Instant::now() < give_up => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        let former = format!("DROP VIEW IF EXISTS {}", self.new.names.new);
        self.new.link.simple(&former).await
    }

    /// The lock of the foreign table waits for those who are on the bridge, and keeps others from it.
    async fn led(&mut self) -> Result<(), DatabaseError> {
        let plain = self.new.names.unquoted();
        let table = if self.upserts() { &self.old.names.bridge } else { &self.old.names.table };
        let follows = format!("ALTER FOREIGN TABLE {table} OPTIONS (SET table_name {})", literal(plain));
        self.old.link.simple(OPENING_WAIT).await?;
        self.old.link.simple(&follows).await?;
        let opened = timeout(LED, self.opened()).await;
        opened.map_err(|_| DatabaseError::Timeout)?
    }

    async fn opened(&mut self) -> Result<(), DatabaseError> {
        let new = self.new.names.new.clone();
        if self.new.is_table(&new).await? {
            let opening = self.opening().await?;
            self.new.link.transaction(&opening).await?;
        }
        Ok(())
    }

    /// How many sessions of applications have used the bridge within the last minute.
    pub(super) async fn bridge_users(&mut self) -> Result<u64, DatabaseError> {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 \
                   AND state_change > clock_timestamp() - interval '1 minute'";
        let rows = self.new.link.rows(sql, &[Bind::Text(Some(NAME))]).await?;
        Ok(rows.first().map_or(Ok(0), |row| column::<i64>(row, 0))?.unsigned_abs())
    }

    /// Puts the seal in the bridge's place.
    pub(super) fn bridge_sealed(&self) -> Vec<String> {
        let names = &self.old.names;
        let gone = if self.upserts() {
            vec![format!("DROP TABLE {} CASCADE", names.table), format!("DROP FUNCTION {}()", names.over)]
        } else {
            vec![format!("DROP FOREIGN TABLE {}", names.table)]
        };
        [gone, self.old.seal(&self.new.place), self.bridge_taken_away()].concat()
    }
}
