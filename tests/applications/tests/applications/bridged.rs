//! The table of a shop goes to another server, and the shop goes on over a bridge.

use std::thread::sleep;

use anyhow::{Result, ensure};

use super::application::Application;
use super::rebuilt::{SHOPPING, exchanged, verified};
use super::site::Site;

claims! {
    shop_goes_on_over_a_bridge_and_nobody_notices,
}

async fn shop_goes_on_over_a_bridge_and_nobody_notices(application: Application) -> Result<()> {
    let Some(mut site) = Site::open(application).await? else { return Ok(()) };
    site.goes_to_another_server().await?;
    if application == Application::Flask {
        let (code, said) = site.try_switchover("preflight", &[])?;
        ensure!(code == Some(2) && said.contains("a default that counts"), "{code:?}: {said}");
        return Ok(());
    }
    let mut sessions = site.table().await?;
    sessions.fill("away", 5_000, "10 minutes").await?;
    let away = sessions.rows("away").await?;
    let mut visitors = site.visitors()?;
    let told = tokio::task::block_in_place(|| {
        sleep(SHOPPING);
        let mut copier = site.copier()?;
        verified(&site, &mut copier)?;
        exchanged(&site, "cut")?;
        sleep(SHOPPING * 2);
        let (code, said) = site.try_switchover("finish", &[])?;
        ensure!(code == Some(1) && said.contains("used the bridge"), "{code:?}: {said}");
        visitors.told()
    })?;
    site.keeps_its_promises(&told)?;
    let mut carried = site.new_table().await?;
    ensure!(carried.rows("away").await? == away, "{away} were there, and now {}", carried.rows("away").await?);
    Ok(())
}
