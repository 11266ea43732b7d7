//! The part "databases": operations of one database behind a proxy, each with a deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use indicatif::ProgressBar;
use switchover::backends::{MySql, Postgres, Server};
use switchover::capabilities::{Database as _, DatabaseError, Read, Terms, Write};
use switchover::{Payload, Session, SessionKey, expires_in};
use switchover_harness::{MariaDb, Proxy};
use switchover_tests::facts::{self, Settings};
use tokio::task::JoinSet;

use super::course::{self, Cost};
use super::fault::{Fault, Line};
use super::journal::{Journal, Outcome, Pen};
use super::options::{Options, Part};
use super::visitor::PAUSE_MS;

/// The deadline of every operation. It is short, so that many operations meet one fault.
pub(crate) const DEADLINE: Duration = Duration::from_millis(400);
/// The number of keys of each client.
const KEYS: usize = 8;
const PAYLOAD_BYTES: usize = 400;
const LIFE: Duration = Duration::from_secs(24 * 3_600);

/// A server behind its proxy, and its clients.
pub(crate) struct Setup {
    part: Part,
    line: Line,
    journal: Arc<Journal>,
    clients: JoinSet<()>,
}

impl Setup {
    pub(crate) async fn start(part: Part, options: &Options) -> Result<Self> {
        let builder = match part {
            Part::Mariadb => MariaDb::builder(),
            Part::Cache | Part::Postgres => switchover_harness::Postgres::builder(),
        };
        let server = builder.durability(options.durability()).start().await?;
        let proxy = Proxy::start(server.address()).await?;
        let address = proxy.url_of(&server.url())?;
        let database = match part {
            Part::Mariadb => MySql::connect(&address).await?,
            Part::Cache | Part::Postgres => Postgres::connect(&address).await?,
        };
        database.upkeep().create_schema(Instant::now() + Duration::from_secs(30)).await?;
        let journal = Journal::open();
        let mut clients = JoinSet::new();
        for client in 0..options.clients() {
            let pen = Pen { journal: Arc::clone(&journal), client };
            let client = Client::arrive(database.clone(), pen).await?;
            clients.spawn(client.operate_for_ever());
        }
        Ok(Self { part, line: Line { server, proxy }, journal, clients })
    }

    pub(crate) async fn facts(&self) -> Result<(Part, Settings)> {
        let address = self.line.server.url();
        Ok(match self.part {
            Part::Mariadb => (self.part, facts::mariadb(&address).await?),
            Part::Cache | Part::Postgres => (self.part, facts::postgres(&address).await?),
        })
    }

    pub(crate) async fn measure(&mut self, options: &Options, bar: &ProgressBar) -> Result<Vec<(Fault, Cost)>> {
        let mut costs = Vec::new();
        tokio::time::sleep(options.length()).await;
        self.journal.take();
        for _ in 0..options.rounds() {
            for fault in options.faults(self.part) {
                bar.set_message(format!("{}: {}", self.part.title(), fault.title()));
                let cost = course::run(fault, &self.line, &self.journal, options, |_| true).await;
                costs.push((fault, cost.with_context(|| format!("on {}", self.part.title()))?));
                bar.inc(1);
            }
        }
        ensure!(self.clients.try_join_next().is_none(), "a client has ended by itself");
        Ok(costs)
    }
}

struct Client {
    database: Server,
    pen: Pen,
    dice: fastrand::Rng,
    keys: Vec<SessionKey>,
}

impl Client {
    async fn arrive(database: Server, pen: Pen) -> Result<Self> {
        let keys: Vec<_> = (0..KEYS).map(|_| SessionKey::random()).collect();
        let writes = keys.iter().map(|key| Write::Insert(session(key))).collect();
        database.write(writes, Terms::by(Instant::now() + Duration::from_secs(30))).await?;
        Ok(Self { database, dice: fastrand::Rng::with_seed(pen.client as u64), pen, keys })
    }

    async fn operate_for_ever(mut self) {
        loop {
            let key = self.keys[self.dice.usize(..KEYS)].clone();
            let begun = Instant::now();
            let deadline = begun + DEADLINE;
            let (what, done) = match self.dice.u32(..4) {
                0..2 => ("read", self.database.read(vec![Read::Load(key)], Terms::by(deadline)).await.map(drop)),
                2 => (
                    "write",
                    self.database.write(vec![Write::Update(session(&key))], Terms::by(deadline)).await.map(drop),
                ),
                _ => ("hold", self.hold_and_commit(&key, deadline).await),
            };
            match done {
                Ok(()) => self.pen.write(what, begun, Outcome::Ok, None),
                Err(error) => self.pen.write(what, begun, Outcome::from(&error), Some(error.to_string())),
            }
            tokio::time::sleep(Duration::from_millis(self.dice.u64(PAUSE_MS))).await;
        }
    }

    /// Begins and commits a transaction, within one deadline.
    async fn hold_and_commit(&self, key: &SessionKey, deadline: Instant) -> Result<(), DatabaseError> {
        let mut transaction = self.database.begin(Terms::by(deadline)).await?;
        transaction.write(vec![Write::Update(session(key))]).await?;
        transaction.commit().await
    }
}

fn session(key: &SessionKey) -> Session {
    let payload = Payload::from("p".repeat(PAYLOAD_BYTES));
    Session::new(key.clone(), payload, expires_in(LIFE))
}
