//! The shop keeps its sessions with Django's own engine. Its table is built again, goes back, and is built again, while
//! people shop: no request fails.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::premises::{Door, Shop, count, note};
use super::{PATIENCE, SHOPPING, told};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn table_of_the_shop_is_built_again_and_nobody_notices() -> Result<()> {
    let server = super::server().await?;
    let stores = super::stores(&server, &server).await?;
    let database = stores.old.clone();
    let shop = Shop::new(stores, Door::Unix)?;
    let told = tokio::task::block_in_place(|| rebuilds(&shop, &database))?;
    shop.keeps_its_promises(&told)?;
    ensure!(count(&told, "retries")? + count(&told, "cuts")? == 0, "requests failed: {told}\n{}", shop.log("load"));
    Ok(())
}

fn rebuilds(shop: &Shop, database: &str) -> Result<Value> {
    let (_webs, mut load) = super::opens(shop)?;
    sleep(SHOPPING);
    shop.switchover(&["move", "run", database, "--until-verified", "--json"])?;
    let _copier = shop.run("copier", &["move", "run", database, "--json"])?;
    for exchange in ["cut", "back", "cut"] {
        sleep(SHOPPING);
        // It is refused until the copier has compared the two tables, whole.
        let give_up = Instant::now() + PATIENCE;
        loop {
            let (code, said) = shop.try_switchover(&["move", exchange, database, "--json"])?;
            note(&format!("{exchange}: {said}"));
            if code == Some(0) {
                break;
            }
            ensure!(code == Some(2) && Instant::now() < give_up, "{exchange} ended with {code:?}: {said}");
            sleep(Duration::from_millis(200));
        }
    }
    sleep(SHOPPING);
    shop.switchover(&["move", "finish", database, "--drop-old"])?;
    sleep(SHOPPING);
    told(shop, &mut load)
}
