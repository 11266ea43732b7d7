//! The faults: of a server itself, and of the proxy in front of it.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use switchover_harness::{Direction, End, Proxy, Server};

use super::options::Part;

/// A server and the proxy through which it is reached.
pub(crate) struct Line {
    pub(crate) server: Server,
    pub(crate) proxy: Proxy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// No fault. It shows what the machine does by itself.
    Nothing,
    Killed,
    Paused,
    Flushed,
    HoldToServer,
    HoldToClient,
    Delay,
    Throttle,
    Reset,
    CutRequest,
    CutAnswer,
    HalfClose,
    Refuse,
}

impl Fault {
    const ALL: [Self; 13] = [
        Self::Nothing,
        Self::Killed,
        Self::Paused,
        Self::Flushed,
        Self::HoldToServer,
        Self::HoldToClient,
        Self::Delay,
        Self::Throttle,
        Self::Reset,
        Self::CutRequest,
        Self::CutAnswer,
        Self::HalfClose,
        Self::Refuse,
    ];

    pub(crate) fn of(part: Part) -> impl Iterator<Item = Self> {
        // Emptying is left out for databases: it is not a fault that a database could survive.
        Self::ALL.into_iter().filter(move |fault| *fault != Self::Flushed || part == Part::Cache)
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Killed => "killed, started again",
            Self::Paused => "paused, resumed",
            Self::Flushed => "flushed",
            Self::HoldToServer => "held to the server",
            Self::HoldToClient => "held to the client",
            Self::Delay => "3 s later",
            Self::Throttle => "5 B/s",
            Self::Reset => "reset",
            Self::CutRequest => "cut in a request",
            Self::CutAnswer => "cut in an answer",
            Self::HalfClose => "half closed",
            Self::Refuse => "refused",
        }
    }

    /// Whether the fault is over at once. Such a fault is repeated for as long as faults are kept.
    pub(crate) fn is_momentary(self) -> bool {
        match self {
            Self::Flushed | Self::Reset | Self::CutRequest | Self::CutAnswer | Self::HalfClose => true,
            Self::Nothing
            | Self::Killed
            | Self::Paused
            | Self::HoldToServer
            | Self::HoldToClient
            | Self::Delay
            | Self::Throttle
            | Self::Refuse => false,
        }
    }

    pub(crate) async fn strike(self, Line { server, proxy }: &Line) -> Result<()> {
        match self {
            Self::Nothing => {}
            Self::Killed => server.kill().await?,
            Self::Paused => server.pause().await?,
            Self::Flushed => {
                let mut redis = redis::Client::open(server.url())?.get_multiplexed_async_connection().await?;
                redis::cmd("FLUSHALL").exec_async(&mut redis).await?;
            }
            Self::HoldToServer => proxy.hold(Direction::ToServer),
            Self::HoldToClient => proxy.hold(Direction::ToClient),
            Self::Delay => proxy.delay(Direction::Both, Duration::from_secs(3), Duration::from_millis(100)),
            Self::Throttle => proxy.throttle(Direction::Both, 5),
            Self::Reset => proxy.reset(),
            Self::CutRequest => proxy.cut_after(Direction::ToServer, 20, End::Reset),
            Self::CutAnswer => proxy.cut_after(Direction::ToClient, 3, End::Close),
            Self::HalfClose => proxy.half_close(Direction::ToClient),
            Self::Refuse => {
                proxy.refuse().await;
                proxy.reset();
            }
        }
        Ok(())
    }

    /// Ends the fault. When this returns, the fault is over: a server that was killed answers again.
    pub(crate) async fn end(self, Line { server, proxy }: &Line) -> Result<()> {
        match self {
            Self::Killed => server.restart().await,
            Self::Paused => server.resume().await,
            _ => proxy.heal().await,
        }
    }
}
