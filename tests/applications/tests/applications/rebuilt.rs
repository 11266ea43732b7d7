//! The table of a shop is built again, goes back, and is built again, while people shop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::application::Application;
use super::process::{PATIENCE, Process};
use super::site::{Site, note};
use super::table::Table;

claims! {
    table_is_built_again_and_nobody_notices,
}

/// The visitors shop at least this long before the first step, and between two.
pub(crate) const SHOPPING: Duration = Duration::from_millis(2_000);
/// Sessions of people who are not there. In the zone of the shop on Express they seem to have ended long ago.
const AWAY: u32 = 20_000;

async fn table_is_built_again_and_nobody_notices(application: Application) -> Result<()> {
    let Some(site) = Site::open(application).await? else { return Ok(()) };
    let mut sessions = site.table().await?;
    sessions.fill("away", AWAY, "10 minutes").await?;
    if application == Application::Flask {
        sessions.fill("endless", 5, "1 hour").await?;
        // Flask-Session takes it for ended.
        sessions.run("UPDATE sessions SET expiry = NULL WHERE session_id LIKE 'endless-%'").await?;
    }
    let (away, described) = (sessions.rows("away").await?, sessions.described().await?);
    let stop = Arc::new(AtomicBool::new(false));
    let ending = tokio::spawn(sessions_end(site.table().await?, Arc::clone(&stop)));
    let mut visitors = site.visitors()?;
    tokio::task::block_in_place(|| rebuilds(&site))?;
    stop.store(true, Ordering::Relaxed);
    ending.await??;
    // The application deletes what has ended, in the table that it has now.
    sessions
        .until(&format!(
            "SELECT NOT EXISTS (SELECT FROM {} WHERE {} LIKE 'ended-%')",
            application.table(),
            application.key()
        ))
        .await?;
    let told = tokio::task::block_in_place(|| visitors.told())?;
    site.keeps_its_promises(&told)?;
    ensure!(sessions.rows("away").await? == away, "{away} were there, and now {}", sessions.rows("away").await?);
    ensure!(sessions.rows("endless").await?.starts_with("0 rows"), "a session that has ended was carried");
    ensure!(sessions.described().await? == described, "{described}\nand now\n{}", sessions.described().await?);
    Ok(())
}

/// Sessions that have just ended, for the application to delete.
async fn sessions_end(mut sessions: Table, stop: Arc<AtomicBool>) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        sessions.fill("ended", 20, "-1 second").await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn rebuilds(site: &Site) -> Result<()> {
    sleep(SHOPPING);
    site.switchover("preflight", &[])?;
    let mut copier = site.copier()?;
    for exchange in ["cut", "back", "cut"] {
        verified(site, &mut copier)?;
        exchanged(site, exchange)?;
        // The one before is killed when the next one is there: they take turns, and nobody misses it.
        copier = site.copier()?;
        sleep(SHOPPING);
    }
    let evidence = site.switchover("evidence", &[])?;
    note(&format!("evidence: {evidence}"));
    site.switchover("finish", &["--drop-old"])?;
    let status = copier.ends()?;
    ensure!(status.success(), "the copier ended with {status}: {}", site.log("copier"));
    sleep(SHOPPING);
    Ok(())
}

/// Waits until a whole comparison has found nothing.
pub(crate) fn verified(site: &Site, copier: &mut Process) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let (code, said) = site.try_switchover("status", &[])?;
        // The copier may not have begun yet.
        if code != Some(1) {
            let status: Value = serde_json::from_str(&said)?;
            ensure!(status["ok"] == true, "rows differ: {status}");
            if status["may_exchange"] == true {
                return Ok(());
            }
        }
        if let Some(status) = copier.0.try_wait()? {
            bail!("the copier ended with {status}: {}", site.log("copier"));
        }
        ensure!(Instant::now() < give_up, "no comparison was whole: {said}");
        sleep(Duration::from_millis(100));
    }
}

/// A busy machine may need more tries than one command makes.
pub(crate) fn exchanged(site: &Site, exchange: &str) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let (code, said) = site.try_switchover(exchange, &[])?;
        note(&format!("{exchange}: {}", said.trim()));
        if code == Some(0) {
            return Ok(());
        }
        let told: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
        ensure!(told["made"] == false && Instant::now() < give_up, "{exchange} ended with {code:?}: {said}");
    }
}
