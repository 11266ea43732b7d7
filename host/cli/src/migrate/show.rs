//! Where a migration stands, for people.

use anyhow::Result;
use serde_json::json;
use switchover::capabilities::{Epoch, JobRow};
use switchover::migration::{Direction, SideStatus, Status, Verdict as GuardVerdict};
use switchover_server::report::{self, utc};

use crate::output::{Colour, Verdict, paint, print};

/// One block, the reason first.
pub(super) fn status(status: &Status) -> Result<()> {
    let document = &status.document;
    let since = utc(document.since);
    let sealed = if status.is_sealed() { paint(Colour::Green, "sealed") } else { paint(Colour::Red, "not sealed yet") };
    print(format_args!(
        "{}  {}  epoch {}, {sealed}, since {since}",
        document.migration, status.phase, document.epoch.0
    ))?;
    for waits in &status.waits_for {
        print(format_args!("  waits for {waits}"))?;
    }
    if let Some(why) = &document.held {
        print(format_args!("  {} {why}", paint(Colour::Red, "held:")))?;
    }
    print(format_args!("  way back   {}", status.way_back()))?;
    for (word, side) in [("old", &status.old), ("new", &status.new)] {
        print(format_args!("  {word:<10} {}", of_side(side)))?;
    }
    print(format_args!("  hosts      {}", of_hosts(status)))?;
    for job in &status.jobs {
        print(format_args!("  {:<10} {}", job.job, of_job(job)))?;
    }
    for edge in &status.edges {
        let word = match edge.direction {
            Direction::Forwards => "next",
            Direction::Settling => "settle",
            Direction::Back => "back",
        };
        print(format_args!("  {word:<10} -> {}", edge.to))?;
        match &edge.findings {
            Ok(findings) => findings.iter().try_for_each(|finding| {
                let colour = if finding.verdict == GuardVerdict::Green { Colour::Green } else { Colour::Red };
                print(format_args!("    {}: {}", finding.guard, paint(colour, finding)))
            })?,
            Err(error) => print(format_args!("    {}", paint(Colour::Red, error)))?,
        }
    }
    Ok(())
}

fn of_side(side: &SideStatus) -> String {
    let fence = match &side.fence {
        Ok(Some(Epoch(epoch))) => format!("fence {epoch}"),
        Ok(None) => paint(Colour::Red, "no fence"),
        Err(error) => return format!("{}: {}", side.summary, paint(Colour::Red, error)),
    };
    match &side.marks {
        Ok(marks) => format!("{}: {fence}, {marks} marks", side.summary),
        Err(error) => format!("{}: {fence}, marks: {}", side.summary, paint(Colour::Red, error)),
    }
}

fn of_hosts(status: &Status) -> String {
    let epoch = status.document.epoch;
    let waited: Vec<_> = status.hosts.iter().filter(|host| host.given_up.is_none()).collect();
    let there = waited.iter().filter(|host| host.acknowledged >= epoch).count();
    let given_up = status.hosts.len() - waited.len();
    let given_up = if given_up > 0 { format!("; {given_up} given up") } else { String::new() };
    format!("{there} of {} have acknowledged epoch {}{given_up}", waited.len(), epoch.0)
}

fn of_job(job: &JobRow) -> String {
    let by = match job.lease_left {
        Some(_) => format!("by {}", job.holder.host),
        None => "nobody does it now".to_owned(),
    };
    let of = job.progress.total.map(|total| format!(" of about {total}")).unwrap_or_default();
    let note = if job.progress.note.is_empty() { String::new() } else { format!("; {}", job.progress.note) };
    format!("{} rows{of}{}, {by}{note}", job.progress.done, eta(job).unwrap_or_default())
}

/// How long a job that runs will take, from the rows that it has done.
fn eta(job: &JobRow) -> Option<String> {
    let (done, total) = (job.progress.done, job.progress.total?);
    job.lease_left?;
    let took = job.reported.since(job.began).as_secs_f64();
    if done == 0 || took <= 0.0 || done >= total {
        return None;
    }
    let left = (total - done) as f64 * took / done as f64;
    Some(format!(", about {left:.0} s left"))
}

/// The hosts, a line each.
pub(super) fn hosts(status: &Status, json: bool) -> Result<Verdict> {
    if json {
        print(json!(report::hosts(status)))?;
    } else {
        for host in &status.hosts {
            let lease =
                host.lease_left.map_or_else(|| "lease run out".to_owned(), |left| format!("{} s", left.as_secs()));
            let given_up = host.given_up.map(|epoch| format!(", given up in epoch {}", epoch.0)).unwrap_or_default();
            let (name, Epoch(epoch)) = (&host.member.host, host.acknowledged);
            print(format_args!("{name:<24} epoch {epoch}, lease {lease}{given_up}, {}", host.about))?;
        }
    }
    Ok(if status.waits_for.is_empty() { Verdict::Fine } else { Verdict::Red })
}

/// How many keys wait for a copy.
pub(super) fn marks(status: &Status, json: bool) -> Result<Verdict> {
    if json {
        print(json!(report::marks(status)))?;
    } else {
        for (word, side) in [("old", &status.old), ("new", &status.new)] {
            match &side.marks {
                Ok(marks) => print(format_args!("{marks:>10} at {word}: {}", side.summary))?,
                Err(error) => print(format_args!("{word}: {}", paint(Colour::Red, error)))?,
            }
        }
    }
    Ok(Verdict::of(status.old.marks.is_ok() && status.new.marks.is_ok()))
}
