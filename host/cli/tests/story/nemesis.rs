//! Faults at random points, by a seed: which server, which fault, how long.

use std::fmt::Display;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Result;
use switchover_harness::Fault;
use tokio::sync::watch;

use crate::servers::{Proxied, Servers};

/// No fault lasts longer, if `SWITCHOVER_STORY_FAULT_MS` does not say otherwise: most end before the deadline of a
/// write, some after it.
const FAULT_MS_MAX: u64 = 2_600;
/// Between two faults of one server.
const CALM_MS_MAX: u64 = 1_500;

/// The steps of the story, as the program counts them; before the first is 0.
pub(crate) const MIGRATION: u64 = 3;
/// In the last step nothing fails any more: the audit reads what is left.
const LAST: u64 = 8;

/// What a server is in the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Old,
    New,
    Cache,
}

/// What may fail when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing.
    Calm,
    /// The cache, all the time.
    CacheAlone,
    /// The new database until it is compared.
    NewAloneUntilItIsHome,
    /// While one database is home and alone, the other one; in between everything; the cache all the time.
    Storm,
}

impl Plan {
    /// Whether a server may fail in a step.
    fn allows(self, role: Role, step: u64) -> bool {
        match (self, role, step) {
            (Self::Calm, _, _) | (_, _, 0 | LAST..) => false,
            (Self::CacheAlone, role, _) => role == Role::Cache,
            (Self::NewAloneUntilItIsHome, role, step) => role == Role::New && step <= MIGRATION,
            (Self::Storm, Role::Cache, _) => true,
            // The comparison ends when both answer, so the new one is well when it becomes home.
            (Self::Storm, Role::New, step) => step <= MIGRATION,
            (Self::Storm, Role::Old, step) => step >= MIGRATION,
        }
    }
}

/// Injects faults into every server that may fail until the story is over: into one server one after the other, into
/// several also at the same time. Returns what it did.
pub(crate) async fn inject(
    servers: &Servers,
    plan: Plan,
    seed: u64,
    step: watch::Receiver<u64>,
) -> Result<Vec<String>> {
    let told = Told { began: Instant::now(), lines: Mutex::default() };
    let one = async |proxied: Option<&Proxied>, role: Role| match proxied {
        Some(proxied) => {
            let rng = fastrand::Rng::with_seed(seed.wrapping_mul(3) + role as u64);
            inject_into(proxied, role, plan, rng, step.clone(), &told).await
        }
        None => Ok(()),
    };
    tokio::try_join!(
        one(servers.old.as_ref(), Role::Old),
        one(servers.new.as_ref(), Role::New),
        one(Some(&servers.cache), Role::Cache)
    )?;
    Ok(told.lines.into_inner().unwrap())
}

struct Told {
    began: Instant,
    lines: Mutex<Vec<String>>,
}

impl Told {
    fn add(&self, line: impl Display) {
        self.lines.lock().unwrap().push(format!("{:6.2} s  {line}", self.began.elapsed().as_secs_f64()));
    }
}

async fn inject_into(
    proxied: &Proxied,
    role: Role,
    plan: Plan,
    mut rng: fastrand::Rng,
    mut step: watch::Receiver<u64>,
    told: &Told,
) -> Result<()> {
    let asked = std::env::var("SWITCHOVER_STORY_FAULT_MS").ok();
    let longest = asked.map_or(FAULT_MS_MAX, |text| text.parse().unwrap());
    // An error: the sender is gone, and with it the program.
    while step.wait_for(|step| plan.allows(role, *step)).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(rng.u64(..CALM_MS_MAX))).await;
        let (fault, length) = (Fault::pick(&mut rng), Duration::from_millis(rng.u64(20..longest)));
        let now = *step.borrow();
        if !plan.allows(role, now) {
            continue;
        }
        told.add(format_args!("step {now}: {role:?} {fault:?} for {length:?}"));
        fault.begin(&proxied.server, &proxied.proxy).await?;
        // Not into a step in which this server has to be well.
        let forbidden = step.wait_for(|step| !plan.allows(role, *step));
        let _over = tokio::time::timeout(length, forbidden).await;
        fault.end(&proxied.server, &proxied.proxy).await?;
        told.add(format_args!("{role:?} is well"));
    }
    Ok(())
}
