//! The shop on Switchover, whose databases and whose cache die: each PostgreSQL server is killed in every phase, and the
//! shared Redis is killed or emptied. The web servers call over TCP, with a token.
//!
//! Django's own tables are on a third server, which stays: Django looks users up by itself.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread::{self, sleep};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use switchover_harness::{Postgres, Redis, Server, free_port};
use tokio::runtime::Handle;

use super::premises::{Door, STEPS, Shop, Stores, count, note};
use super::{SHOPPING, UNTIL_KILL, told};

struct Servers {
    old: Server,
    new: Server,
    cache: Server,
}

#[derive(Clone, Copy, Debug)]
enum Outage {
    /// The PostgreSQL server that the sessions come from is killed, and started again.
    Old,
    /// As `Old`, of the one that they go to. It has the control tables too.
    New,
    /// Redis is killed, and started again: it is empty then.
    Cache,
    /// Redis is emptied while it runs.
    EmptyCache,
}

/// For each step: what happens in the middle of it, and what happens after it.
const OUTAGES: [(&[Outage], &[Outage]); STEPS.len()] = [
    (&[Outage::Old], &[Outage::New, Outage::EmptyCache]),
    (&[Outage::New], &[Outage::Cache, Outage::Old]),
    (&[Outage::Cache, Outage::Old], &[Outage::New, Outage::Old]),
    (&[Outage::New, Outage::EmptyCache], &[Outage::Old, Outage::New]),
    (&[Outage::Old], &[Outage::Cache, Outage::New, Outage::Old]),
    (&[Outage::EmptyCache, Outage::New], &[Outage::Old, Outage::New, Outage::Cache]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shop_stays_logged_in_while_databases_and_the_cache_are_killed() -> Result<()> {
    // What a killed server has acknowledged must be there when it is back: these commit durably.
    let servers =
        Servers { old: Postgres::start().await?, new: Postgres::start().await?, cache: Redis::start().await? };
    let site = super::server().await?;
    let stores = Stores {
        site: site.create_database("shop").await?,
        old: servers.old.create_database("sessions").await?,
        new: servers.new.create_database("sessions").await?,
        control: servers.new.create_database("control").await?,
        cache: Some(servers.cache.url()),
    };
    let tables = [stores.old.clone(), stores.new.clone()];
    let shop = Shop::new(stores, Door::Tcp { ports: [free_port()?, free_port()?] })?;
    let told = tokio::task::block_in_place(|| moves(&shop, &servers, &tables))?;
    shop.keeps_its_promises(&told)?;
    ensure!(count(&told, "retries")? > 0, "nobody has seen an outage: {told}");
    Ok(())
}

fn moves(shop: &Shop, servers: &Servers, tables: &[String]) -> Result<Value> {
    shop.furnish()?;
    for table in tables {
        shop.switchover(&["init", table])?;
    }
    shop.switchover(&["migrate", "init"])?;
    let _hosts = [shop.serve(0)?, shop.serve(1)?];
    let _webs = [shop.web(0, true)?, shop.web(1, true)?];
    let mut load = shop.load()?;
    sleep(SHOPPING);
    for (step, (meanwhile, afterwards)) in STEPS.iter().zip(OUTAGES) {
        note(&format!("{step:?}"));
        thread::scope(|threads| {
            let moved = threads.spawn(|| shop.migrate(step, true));
            sleep(UNTIL_KILL);
            servers.suffer(meanwhile)?;
            moved.join().map_err(|_| anyhow::anyhow!("{step:?} panicked"))?
        })?;
        note("the step is made");
        sleep(SHOPPING);
        servers.suffer(afterwards)?;
        sleep(SHOPPING);
    }
    shop.has_migrated()?;
    told(shop, &mut load)
}

impl Servers {
    fn suffer(&self, outages: &[Outage]) -> Result<()> {
        for outage in outages {
            note(&format!("outage: {outage:?}"));
            match outage {
                Outage::Old => kill(&self.old)?,
                Outage::New => kill(&self.new)?,
                Outage::Cache => kill(&self.cache)?,
                Outage::EmptyCache => empty(&self.cache)?,
            }
        }
        Ok(())
    }
}

fn kill(server: &Server) -> Result<()> {
    Handle::current().block_on(async {
        server.kill().await?;
        server.restart().await
    })
}

fn empty(cache: &Server) -> Result<()> {
    let mut connection = TcpStream::connect(cache.address())?;
    connection.write_all(b"FLUSHALL\r\n")?;
    let mut answer = String::new();
    BufReader::new(connection).read_line(&mut answer).context("Redis does not answer")?;
    ensure!(answer == "+OK\r\n", "Redis answered {answer:?}");
    Ok(())
}
