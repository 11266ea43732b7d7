//! The shop of the examples: it goes over from Django's own engine to a server of Switchover, and its sessions then move
//! from one PostgreSQL server to another. Visitors shop all the time, and processes are killed at every step.

mod outages;
mod premises;
mod rebuilt;

use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use switchover_harness::{Durability, Postgres, Server};

use self::premises::{Door, HOSTS, Process, STEPS, Shop, Stores, count, note};
use super::place::PATIENCE;

/// The visitors shop at least this long before the first step, and between two.
const SHOPPING: Duration = Duration::from_millis(2_000);
/// From the beginning of a step to the kill in the middle of it: an epoch is sealed after one to two seconds.
const UNTIL_KILL: Duration = Duration::from_millis(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shop_stays_logged_in_while_its_sessions_move() -> Result<()> {
    let (old, new) = (server().await?, server().await?);
    let stores = stores(&old, &new).await?;
    let new = stores.new.clone();
    let shop = Shop::new(stores, Door::Unix)?;
    let told = tokio::task::block_in_place(|| moves(&shop, &new))?;
    shop.keeps_its_promises(&told)?;
    ensure!(count(&told, "retries")? + count(&told, "cuts")? > 0, "nobody has seen that servers were killed: {told}");
    Ok(())
}

/// The visitors are no use if they would not see what the other tests rule out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn visitors_notice_what_should_not_be() -> Result<()> {
    let server = server().await?;
    let stores = stores(&server, &server).await?;
    let old = stores.old.clone();
    let shop = Shop::new(stores, Door::Unix)?;
    let (_webs, mut load) = tokio::task::block_in_place(|| opens(&shop))?;
    let mut database = PgConnection::connect(&old).await?;
    until(&mut database, "SELECT count(*) >= 20 FROM django_session").await?;
    sqlx::raw_sql("CREATE TABLE before AS SELECT * FROM django_session").execute(&mut database).await?;
    until(&mut database, TRAFFIC).await?;
    sqlx::raw_sql("BEGIN; DELETE FROM django_session; INSERT INTO django_session SELECT * FROM before; COMMIT")
        .execute(&mut database)
        .await?;
    // At the end of a visit each basket and each old cookie is looked at.
    let told = tokio::task::block_in_place(|| load.told())?;
    for fault in ["lost", "back", "logged_out"] {
        ensure!(count(&told, fault)? > 0, "nobody has seen {fault}: {told}\n{}", shop.log("load"));
    }
    Ok(())
}

/// Whether enough sessions of `before` have changed, some have ended, and others have begun since.
const TRAFFIC: &str = "SELECT count(*) FILTER (WHERE b.session_data <> s.session_data) >= 5 \
     AND count(*) FILTER (WHERE s.session_key IS NULL) >= 5 AND count(*) FILTER (WHERE b.session_key IS NULL) >= 5 \
     FROM before b FULL JOIN django_session s USING (session_key)";

async fn until(database: &mut PgConnection, question: &'static str) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    while !sqlx::query_scalar::<_, bool>(question).fetch_one(&mut *database).await? {
        ensure!(Instant::now() < give_up, "the visitors do not shop: {question}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn server() -> Result<Server> {
    Postgres::builder().durability(Durability::Fast).start().await
}

/// Django's tables and the old sessions in one database, as Django has them.
async fn stores(old: &Server, new: &Server) -> Result<Stores> {
    let control = new.create_database("control").await?;
    let (old, new) = (old.create_database("shop").await?, new.create_database("sessions").await?);
    Ok(Stores { site: old.clone(), old, new, control, cache: None })
}

/// The shop of before, with people in it: Django keeps the sessions.
fn opens(shop: &Shop) -> Result<([Process; 2], Process)> {
    shop.furnish()?;
    Ok(([shop.web(0, false)?, shop.web(1, false)?], shop.load()?))
}

/// The whole story. Returns what the visitors counted.
fn moves(shop: &Shop, new: &str) -> Result<Value> {
    let (mut webs, mut load) = opens(shop)?;
    sleep(SHOPPING);
    shop.switchover(&["init", new])?;
    shop.switchover(&["migrate", "init"])?;
    let mut servers = [shop.serve(0)?, shop.serve(1)?];
    // The engine is changed on one host after the other: meanwhile both write one table.
    for (host, web) in webs.iter_mut().enumerate() {
        note(&format!("the other engine at {}", HOSTS[host]));
        web.kill();
        *web = shop.web(host, true)?;
        sleep(SHOPPING);
    }
    for (number, step) in STEPS.iter().enumerate() {
        let host = number % HOSTS.len();
        note(&format!("{step:?}, and a kill of server {host}"));
        thread::scope(|threads| {
            let moved = threads.spawn(|| shop.migrate(step, false));
            sleep(UNTIL_KILL);
            servers[host].kill();
            servers[host] = shop.serve(host)?;
            if number % 3 == 1 {
                note(&format!("a kill of web server {}", 1 - host));
                webs[1 - host].kill();
                webs[1 - host] = shop.web(1 - host, true)?;
            }
            moved.join().map_err(|_| anyhow::anyhow!("{step:?} panicked"))?
        })?;
        note("the step is made");
        sleep(SHOPPING);
    }
    shop.has_migrated()?;
    told(shop, &mut load)
}

fn told(shop: &Shop, load: &mut Process) -> Result<Value> {
    load.told().with_context(|| shop.log("load"))
}
