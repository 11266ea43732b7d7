//! The servers, and hosts that stand in a phase.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};
use switchover::backends::{Address, FlagSwitch, Postgres};
use switchover::capabilities::{Control, Database, IntoDatabase as _};
use switchover::migration::{Beginning, Controller, Migration, MigrationError, Phase};
use switchover::{Builtin, Policy, SessionKey, Switchover};
use switchover_harness::{Postgres as PostgresServer, Server};
use tempfile::TempDir;

/// A guard that stays red for so long stays red.
const PATIENCE: Duration = Duration::from_secs(60);
/// The table of each database.
pub(crate) const TABLE: &str = "django_session";
const PAUSE: Duration = Duration::from_millis(100);
/// The way of the profile `backfill`, from the first phase on.
const WAY: [Phase; 6] = [Phase::Mirror, Phase::Mirror, Phase::Strict, Phase::Cutover, Phase::Reverse, Phase::Complete];

/// Two servers, and a file for the control tables.
pub(crate) struct Site {
    pub(crate) old: Server,
    pub(crate) new: Server,
    folder: TempDir,
}

/// A host, and the operator's end of its migration if it is in one.
pub(crate) struct Place {
    pub(crate) host: Switchover,
    pub(crate) controller: Option<Controller>,
}

impl Site {
    pub(crate) async fn start() -> Result<Self> {
        let (old, new) = (PostgresServer::start().await?, PostgresServer::start().await?);
        Ok(Self { old, new, folder: TempDir::new()? })
    }

    /// A database of its own on each server. One database takes part in one migration at a time.
    async fn make(&self, name: &str) -> Result<()> {
        for server in [&self.old, &self.new] {
            server.create_database(name).await?;
        }
        Ok(())
    }

    /// The session table of a database.
    async fn open(&self, server: &Server, name: &str) -> Result<Arc<dyn Database>> {
        let database = Postgres::connect(server.url_of(name)).await?;
        database.upkeep().create_schema(Instant::now() + PATIENCE).await?;
        Ok(database.into_database())
    }

    /// Puts sessions into the old table.
    pub(crate) async fn fill(&self, name: &str, keys: &[SessionKey], payload: usize) -> Result<()> {
        let mut old = PgConnection::connect(&self.old.url_of(name)).await?;
        let names: Vec<_> = keys.iter().map(SessionKey::expose).collect();
        let insert = format!(
            "INSERT INTO {TABLE} SELECT key, repeat('x', $2), now() + interval '30 days' FROM unnest($1::text[]) AS key"
        );
        sqlx::query(&insert).bind(names).bind(i32::try_from(payload)?).execute(&mut old).await?;
        old.execute(format!("VACUUM ANALYZE {TABLE}").as_str()).await?;
        Ok(())
    }

    /// A host as it is without a migration, with the policy `fallback`.
    pub(crate) async fn without(&self, name: &str, strict: bool, keys: &[SessionKey], payload: usize) -> Result<Place> {
        self.make(name).await?;
        let (old, new) = (self.open(&self.old, name).await?, self.open(&self.new, name).await?);
        self.fill(name, keys, payload).await?;
        let flags = FlagSwitch::new([("migration_flag", "false"), ("new_db_router_flag", "false")]);
        let builder = Switchover::builder().database("default", old).database("new_session_store", new);
        let host = builder.flags(flags.clone()).policy(Policy::builtin(Builtin::Fallback)).build().await?;
        flags.set("migration_flag", strict.to_string());
        host.apply_flags().await?;
        Ok(Place { host, controller: None })
    }

    /// A host in a migration of its own, in `off`.
    pub(crate) async fn begin(&self, name: &str) -> Result<Place> {
        let file = self.folder.path().join("control.sqlite3");
        let control: Arc<dyn Control> = Address::parse(&format!("sqlite:{}", file.display()))?.control()?;
        self.make(name).await?;
        let (old, new) = (self.open(&self.old, name).await?, self.open(&self.new, name).await?);
        let controller = Controller::new(name, Arc::clone(&control), Arc::clone(&old), Arc::clone(&new), "a benchmark");
        controller.init(Beginning::default()).await?;
        let builder = Switchover::builder().database("default", old).database("new_session_store", new);
        let host = builder.migration(Migration::new(name, "one", control)).build().await?;
        Ok(Place { host, controller: Some(controller) })
    }

    /// A host that has gone to this phase, with these sessions.
    pub(crate) async fn in_phase(&self, name: &str, to: Phase, keys: &[SessionKey], payload: usize) -> Result<Place> {
        let place = self.begin(name).await?;
        self.fill(name, keys, payload).await?;
        let end = WAY.iter().rposition(|phase| *phase == to).map_or(0, |at| at + 1);
        for phase in &WAY[..end] {
            place.step(*phase).await?;
        }
        Ok(place)
    }
}

impl Place {
    fn controller(&self) -> Result<&Controller> {
        self.controller.as_ref().context("a host without a migration has no phase")
    }

    /// Takes a step once its guards are green, and waits until it is sealed.
    pub(crate) async fn step(&self, to: Phase) -> Result<()> {
        let (controller, give_up) = (self.controller()?, Instant::now() + PATIENCE);
        loop {
            match controller.step(to).await {
                Ok(_) => break,
                Err(MigrationError::Red { .. } | MigrationError::NotSealed { .. }) if Instant::now() < give_up => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => bail!("the step to {to}: {error}"),
            }
        }
        controller.sealed(PATIENCE, &mut |_| {}).await?;
        Ok(())
    }

    /// Waits until every mark of earlier calls is copied: it would disturb the next contestant.
    pub(crate) async fn settle_down(&self) -> Result<()> {
        let Some(controller) = &self.controller else { return Ok(()) };
        let give_up = Instant::now() + PATIENCE;
        while Instant::now() < give_up {
            let status = controller.status().await?;
            if status.old.marks == Ok(0) && status.new.marks == Ok(0) {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        bail!("marks are left")
    }
}
