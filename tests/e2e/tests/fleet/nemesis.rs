//! Faults at random points, by a seed: which server or host, which fault, how long.

use std::time::{Duration, Instant};

use anyhow::Result;
use switchover_harness::Fault;
use tokio::sync::watch;

use crate::hosts::Host;
use crate::process::Process;
use crate::servers::Servers;

const FAULT_MS_MAX: u64 = 2_600;
const CALM_MS_MAX: u64 = 1_500;
/// How far a clock jumps ahead at most.
const AHEAD_US_MAX: u32 = 3_600_000_000;
/// Longer than the lease of a host, so that it is given up while it is paused, and goes on afterwards.
const BEYOND_A_LEASE_MS: std::ops::Range<u64> = 16_000..20_000;

/// What may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    Calm,
    /// Every database, one at a time, the control tables, and the ways of hosts to the cache.
    Storm,
    /// The ways of hosts to the cache, and the cache.
    Cache,
    /// Every host, as a process, and all that fails in a storm.
    Hosts,
}

#[derive(Clone, Copy, Debug)]
enum HostFault {
    /// SIGKILL; it starts again under its name.
    Kill,
    /// SIGSTOP.
    Pause,
    /// An orderly end; it starts again under its name.
    Stop,
}

/// Injects one fault after the other until the story is over. Returns what it did.
pub(crate) async fn run(
    plan: Plan,
    servers: &Servers,
    hosts: &[Host],
    seed: u64,
    mut over: watch::Receiver<bool>,
) -> Result<Vec<String>> {
    let (mut did, mut rng, began) = (Vec::new(), fastrand::Rng::with_seed(seed), Instant::now());
    if plan == Plan::Calm {
        return Ok(did);
    }
    while !pause(&mut over, rng.u64(..CALM_MS_MAX)).await {
        let at = began.elapsed().as_secs_f64();
        let host = &hosts[rng.usize(..hosts.len())];
        let what = match host.process() {
            Some(process) if rng.u8(..3) > 0 => strike(process, &mut rng, &mut over).await?,
            None if rng.u8(..6) == 0 => strike_beside(servers, &mut rng, &mut over).await?,
            _ => strike_server(plan, servers, &mut rng, &mut over).await?,
        };
        did.push(format!("{at:.3} s to {:.3} s: {what}", began.elapsed().as_secs_f64()));
    }
    Ok(did)
}

/// One fault of a host.
async fn strike(process: &Process, rng: &mut fastrand::Rng, over: &mut watch::Receiver<bool>) -> Result<String> {
    let fault = [HostFault::Kill, HostFault::Pause, HostFault::Stop][rng.usize(..3)];
    let is_long = rng.u8(..6) == 0 && matches!(fault, HostFault::Pause);
    let length = if is_long { rng.u64(BEYOND_A_LEASE_MS) } else { rng.u64(50..FAULT_MS_MAX) };
    match fault {
        HostFault::Kill => process.kill().await?,
        HostFault::Pause => process.pause().await?,
        HostFault::Stop => process.stop().await?,
    }
    pause(over, length).await;
    match fault {
        HostFault::Kill | HostFault::Stop => process.restart().await?,
        HostFault::Pause => process.resume().await?,
    }
    Ok(format!("{} {fault:?}", process.name()))
}

/// One fault of what stands between hosts and sessions without being a database.
async fn strike_beside(servers: &Servers, rng: &mut fastrand::Rng, over: &mut watch::Receiver<bool>) -> Result<String> {
    if rng.bool() {
        servers.flush_the_cache().await?;
        return Ok("the cache was flushed".to_owned());
    }
    let at = rng.usize(..servers.clocks.len());
    let ahead = rng.u32(..AHEAD_US_MAX);
    servers.clocks[at].jump(ahead);
    pause(over, rng.u64(50..FAULT_MS_MAX)).await;
    servers.clocks[at].jump(0);
    Ok(format!("the clock of host {at} was ahead by {:.0} s", f64::from(ahead) / 1e6))
}

/// One fault of a server, or of the way to it.
async fn strike_server(
    plan: Plan,
    servers: &Servers,
    rng: &mut fastrand::Rng,
    over: &mut watch::Receiver<bool>,
) -> Result<String> {
    let way = &servers.ways[rng.usize(..servers.ways.len())];
    let cache = ("cache", &servers.redis, way);
    let dice = if plan == Plan::Cache { 5 } else { rng.u8(..7) };
    let (name, proxied) = match dice {
        0 | 1 => ("old", servers.old.proxied()),
        2 | 3 => ("new", servers.new.proxied()),
        4 => ("control", Some(&servers.control)),
        _ => ("cache", None),
    };
    // Nothing lies between a host and a file.
    let (name, server, proxy) = proxied.map_or(cache, |proxied| (name, &proxied.server, &proxied.proxy));
    if let Some(proxied) = proxied
        && rng.u8(..12) == 0
    {
        let taken = proxied.exhaust().await;
        pause(over, rng.u64(50..FAULT_MS_MAX)).await;
        return Ok(format!("{name} without {taken} connections"));
    }
    let fault = Fault::pick(rng);
    fault.begin(server, proxy).await?;
    pause(over, rng.u64(50..FAULT_MS_MAX)).await;
    fault.end(server, proxy).await?;
    Ok(format!("{name} {fault:?}"))
}

/// Waits. Returns whether the story is over.
async fn pause(over: &mut watch::Receiver<bool>, ms: u64) -> bool {
    tokio::time::timeout(Duration::from_millis(ms), over.wait_for(|over| *over)).await.is_ok()
}
