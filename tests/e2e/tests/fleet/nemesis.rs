//! Faults at random points, by a seed: which server, which fault, how long.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::Result;
use switchover_harness::{Direction, End, Proxy, Server};
use tokio::sync::watch;

use crate::servers::Servers;

const FAULT_MS_MAX: u64 = 2_600;
const CALM_MS_MAX: u64 = 1_500;

/// What may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    Calm,
    /// Every database, one at a time, the control tables, and the ways of hosts to the cache.
    Storm,
    /// The ways of hosts to the cache, and the cache.
    Cache,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Pause,
    Restart,
    Reset,
    Hold(Direction),
    HoldAndReset(Direction),
    Refuse,
    Delay,
    Cut(u64, End),
    HalfClose(Direction),
}

impl Fault {
    fn pick(rng: &mut fastrand::Rng) -> Self {
        let way = [Direction::ToServer, Direction::ToClient, Direction::Both][rng.usize(..3)];
        match rng.u8(..12) {
            0 | 1 => Self::Kill,
            2 | 3 => Self::Pause,
            4 => Self::Restart,
            5 => Self::Reset,
            6 => Self::Hold(way),
            7 => Self::HoldAndReset(way),
            8 => Self::Refuse,
            9 => Self::Delay,
            10 => Self::Cut(rng.u64(..20_000), if rng.bool() { End::Close } else { End::Reset }),
            _ => Self::HalfClose(way),
        }
    }

    async fn begin(self, server: &Server, proxy: &Proxy) -> Result<()> {
        match self {
            Self::Kill => server.kill().await?,
            Self::Pause => server.pause().await?,
            Self::Restart => server.stop().await?,
            Self::Reset => proxy.reset(),
            Self::Hold(way) | Self::HoldAndReset(way) => proxy.hold(way),
            Self::Refuse => {
                proxy.refuse().await;
                proxy.reset();
            }
            Self::Delay => proxy.delay(Direction::Both, Duration::from_millis(60), Duration::from_millis(60)),
            Self::Cut(bytes, end) => proxy.cut_after(Direction::Both, bytes, end),
            Self::HalfClose(way) => proxy.half_close(way),
        }
        Ok(())
    }

    async fn end(self, server: &Server, proxy: &Proxy) -> Result<()> {
        match self {
            Self::Kill | Self::Restart => server.restart().await?,
            Self::Pause => server.resume().await?,
            Self::HoldAndReset(_) => proxy.reset(),
            _ => {}
        }
        proxy.heal().await
    }
}

/// Injects one fault after the other until the story is over. Returns what it did.
pub(crate) async fn run(
    plan: Plan,
    servers: &Servers,
    seed: u64,
    mut over: watch::Receiver<bool>,
) -> Result<Vec<String>> {
    let (mut did, mut rng, began) = (Vec::new(), fastrand::Rng::with_seed(seed), Instant::now());
    if plan == Plan::Calm {
        return Ok(did);
    }
    while !pause(&mut over, rng.u64(..CALM_MS_MAX)).await {
        let way = rng.usize(..servers.ways.len());
        let dice = if plan == Plan::Cache { 5 } else { rng.u8(..7) };
        let (name, server, proxy): (&dyn Display, _, _) = match dice {
            0 | 1 => (&"old", &servers.old.server, &servers.old.proxy),
            2 | 3 => (&"new", &servers.new.server, &servers.new.proxy),
            4 => (&"control", &servers.control.server, &servers.control.proxy),
            _ => (&"cache", &servers.redis, &servers.ways[way]),
        };
        // A cache that was killed comes back empty, which is another story's.
        let fault = std::iter::repeat_with(|| Fault::pick(&mut rng))
            .find(|fault| dice < 5 || !matches!(fault, Fault::Kill | Fault::Restart))
            .unwrap_or(Fault::Reset);
        let at = began.elapsed().as_secs_f64();
        fault.begin(server, proxy).await?;
        pause(&mut over, rng.u64(50..FAULT_MS_MAX)).await;
        fault.end(server, proxy).await?;
        did.push(format!("{at:.3} s to {:.3} s: {name} {fault:?}", began.elapsed().as_secs_f64()));
    }
    Ok(did)
}

/// Waits. Returns whether the story is over.
async fn pause(over: &mut watch::Receiver<bool>, ms: u64) -> bool {
    tokio::time::timeout(Duration::from_millis(ms), over.wait_for(|over| *over)).await.is_ok()
}
