//! Commands that look until something is reached.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use switchover::migration::{Phase, Status};
use switchover_server::report;

use super::{Named, Wait, controller, show};
use crate::output::{Verdict, print};

/// How often a status that is watched is printed.
const WATCH_EACH: Duration = Duration::from_secs(2);
/// How often a wait looks.
const LOOK_EACH: Duration = Duration::from_millis(500);

pub(super) async fn status(named: &Named, watch: bool) -> Result<Verdict> {
    let controller = controller(named).await?;
    loop {
        let status = controller.status().await?;
        if named.json {
            print(json!(report::status(&status)))?;
        } else {
            show::status(&status)?;
        }
        if !watch {
            return Ok(if status.is_sealed() && !status.has_red() { Verdict::Fine } else { Verdict::Red });
        }
        tokio::time::sleep(WATCH_EACH).await;
        if !named.json {
            print("")?;
        }
    }
}

pub(super) async fn backfill(options: &Wait) -> Result<Verdict> {
    reach(options, "backfill", |status| status.document.backfilled.is_some()).await
}

pub(super) async fn verify(options: &Wait) -> Result<Verdict> {
    reach(options, "verifier", |status| {
        status.document.settled.is_some() && status.document.verified == status.document.settled
    })
    .await
}

/// Waits until it is reached, and shows how far the job has come.
async fn reach(options: &Wait, job: &str, is_reached: impl Fn(&Status) -> bool) -> Result<Verdict> {
    let controller = controller(&options.named).await?;
    let style = ProgressStyle::with_template("{spinner} {bar:30} {pos}/{len} rows, {wide_msg}")?;
    let (bar, began) = (ProgressBar::new(0).with_style(style), Instant::now());
    let mut last = String::new();
    loop {
        let status = controller.status().await?;
        let found = status.jobs.iter().find(|row| row.job == job);
        if let Some(row) = found {
            bar.set_length(row.progress.total.unwrap_or_default().max(row.progress.done));
            bar.set_position(row.progress.done);
            last.clone_from(&row.progress.note);
            bar.set_message(last.clone());
        }
        if is_reached(&status) {
            bar.finish_and_clear();
            return finished(options, &status, &last, true);
        }
        if status.phase != Phase::Mirror {
            bar.finish_and_clear();
            bail!("the hosts do this in `mirror`, and the migration is in `{}`", status.phase);
        }
        if job == "verifier" && status.document.settled.is_none() {
            bar.finish_and_clear();
            bail!("a verification begins after `switchover migrate settle`");
        }
        let is_red = found.is_some_and(|row| row.lease_left.is_none() && row.progress.note.starts_with("red"));
        if is_red || options.patience().is_some_and(|patience| began.elapsed() >= patience) {
            bar.finish_and_clear();
            return finished(options, &status, &last, false);
        }
        tokio::time::sleep(LOOK_EACH).await;
    }
}

fn finished(options: &Wait, status: &Status, note: &str, is_reached: bool) -> Result<Verdict> {
    if options.named.json {
        print(json!(report::status(status)))?;
    } else {
        print(if is_reached { "it is done" } else { "it is not done yet" })?;
        if !note.is_empty() {
            print(format_args!("  {note}"))?;
        }
    }
    Ok(if is_reached { Verdict::Fine } else { Verdict::Red })
}
