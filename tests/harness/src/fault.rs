//! One fault of a server or of the way to it, picked at random.

use std::time::Duration;

use crate::{Direction, End, Proxy, Server};

/// A fault of a server, or of the proxy before it. [`Fault::end`] makes both well again.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The server is killed with SIGKILL, and started again at the end.
    Kill,
    /// The server is stopped with SIGSTOP.
    Pause,
    /// The server shuts down in order, and is started again at the end.
    Restart,
    /// Connections are reset.
    Reset,
    /// Nothing passes in a direction.
    Hold(Direction),
    /// Nothing passes in a direction, and at the end connections are reset.
    HoldAndReset(Direction),
    /// Connections are reset, and new ones refused.
    Refuse,
    /// Everything takes longer.
    Delay,
    /// Each connection ends after so many bytes.
    Cut(u64, End),
    /// One direction of each connection is closed.
    HalfClose(Direction),
}

impl Fault {
    /// Picks any fault.
    pub fn pick(rng: &mut fastrand::Rng) -> Self {
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

    /// Begins the fault.
    ///
    /// # Errors
    ///
    /// If the server cannot be signalled.
    pub async fn begin(self, server: &Server, proxy: &Proxy) -> anyhow::Result<()> {
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

    /// Ends the fault.
    ///
    /// # Errors
    ///
    /// If the server does not start again.
    pub async fn end(self, server: &Server, proxy: &Proxy) -> anyhow::Result<()> {
        match self {
            Self::Kill | Self::Restart => server.restart().await?,
            Self::Pause => server.resume().await?,
            Self::HoldAndReset(_) => proxy.reset(),
            _ => {}
        }
        proxy.heal().await
    }
}
