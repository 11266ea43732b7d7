//! Counts the round trips of a call, by proxies before both servers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use switchover_harness::{Counts, Proxy};

use super::contestant::{Contestant, KINDS};
use super::load::{Stand, Workload, payloads, slice};
use super::site::Site;

const SESSIONS: usize = 2_000;
const PAYLOAD: usize = 400;
const LENGTH: Duration = Duration::from_millis(300);

/// Round trips of a workload's calls, one at a time.
pub(crate) struct Trips {
    pub(crate) workload: Workload,
    /// For each of [`KINDS`]: to the database and to the cache, by call.
    pub(crate) each: Vec<[f64; 2]>,
}

pub(crate) async fn count(site: &Site, workloads: &[Workload]) -> Result<Vec<Trips>> {
    let (database, cache) = (Proxy::start(site.database.address()).await?, Proxy::start(site.cache.address()).await?);
    let mut stands = Vec::new();
    for (kind, place) in KINDS.into_iter().zip(site.places("trips").await?) {
        let place = place.through(&database, &cache)?;
        stands.push(Arc::new(Stand::new(Contestant::open(kind, &place).await?, place)));
    }
    let payloads = Arc::new(payloads(PAYLOAD));
    let mut all = Vec::new();
    for workload in workloads {
        let mut each = Vec::new();
        for stand in &mut stands {
            stand.fill(SESSIONS, &payloads).await?;
            if *workload == Workload::Miss {
                stand.place.empty_cache().await?;
            }
            let before = [database.counts(), cache.counts()];
            let slice = slice(stand, *workload, &payloads, 1, LENGTH).await?;
            ensure!(slice.failed == 0, "{workload} failed: {:?}", slice.error);
            let by_call = |after: Counts, before: Counts| {
                (after.round_trips - before.round_trips) as f64 / slice.latencies_us.len() as f64
            };
            each.push([by_call(database.counts(), before[0]), by_call(cache.counts(), before[1])]);
        }
        all.push(Trips { workload: *workload, each });
    }
    Ok(all)
}
