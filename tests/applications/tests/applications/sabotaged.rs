//! The visitors are no use if they would not see what the other tests rule out.

use anyhow::{Result, ensure};

use super::application::Application;
use super::site::{Site, count};

claims! {
    visitors_notice_a_lost_a_stale_and_a_returned_session,
}

async fn visitors_notice_a_lost_a_stale_and_a_returned_session(application: Application) -> Result<()> {
    let Some(site) = Site::open(application).await? else { return Ok(()) };
    let mut visitors = site.visitors()?;
    let mut sessions = site.table().await?;
    let (table, key, payload) = (application.table(), application.key(), application.payload());
    sessions.until(&format!("SELECT count(*) >= 20 FROM {table}")).await?;
    sessions.run(&format!("CREATE TABLE before AS SELECT * FROM {table}")).await?;
    // Some of these sessions have changed, some have ended, and others have begun since.
    let traffic = format!(
        "SELECT count(*) FILTER (WHERE b.{payload} <> s.{payload}) >= 5 \
         AND count(*) FILTER (WHERE s.{key} IS NULL) >= 5 AND count(*) FILTER (WHERE b.{key} IS NULL) >= 5 \
         FROM before b FULL JOIN {table} s USING ({key})"
    );
    sessions.until(&traffic).await?;
    let undo =
        format!("BEGIN; LOCK TABLE {table}; DELETE FROM {table}; INSERT INTO {table} SELECT * FROM before; COMMIT");
    sessions.run(&undo).await?;
    // At the end of a visit each basket and each old cookie is looked at.
    let told = tokio::task::block_in_place(|| visitors.told())?;
    for fault in ["logged_out", "lost", "back"] {
        ensure!(count(&told, fault)? > 0, "nobody has seen {fault}: {told}\n{}", site.log("visitors"));
    }
    Ok(())
}
