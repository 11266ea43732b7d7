//! The faults that are in force.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use super::Shared;

/// The direction that a fault concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
    /// Both directions.
    Both,
}

impl Direction {
    pub(super) fn ways(self) -> &'static [Way] {
        match self {
            Direction::ToServer => &[Way::ToServer],
            Direction::ToClient => &[Way::ToClient],
            Direction::Both => &[Way::ToServer, Way::ToClient],
        }
    }
}

/// How a connection ends, at both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With FIN, as by a server that shuts down. A side that sends more gets an RST.
    Close,
    /// With RST, as by a server or a machine that is gone. The last forwarded bytes may be lost.
    Reset,
}

/// One of the two ways of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ToServer,
    ToClient,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// Indexed by [`Way`].
    pub(super) flows: [Flow; 2],
    /// How often all connections were reset. A connection that has seen fewer resets ends.
    pub(super) resets: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    pub(super) delay: Duration,
    pub(super) jitter: Duration,
    pub(super) bytes_per_second: Option<u32>,
    pub(super) held: bool,
    /// How often this way of all connections was closed; used as `resets`.
    pub(super) half_closes: u64,
}

impl Faults {
    /// Ends the faults in force. Ended connections stay ended.
    pub(super) fn heal(&mut self) {
        for flow in &mut self.flows {
            *flow = Flow { half_closes: flow.half_closes, ..Flow::default() };
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) bytes: u64,
    pub(super) end: End,
}

impl Shared {
    pub(super) fn cut(&self) -> MutexGuard<'_, [Option<Cut>; 2]> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of the next `bytes` of a way may pass, and how the connection ends after them, if it ends.
    pub(super) fn pass(&self, way: Way, bytes: usize) -> (usize, Option<End>) {
        let mut cuts = self.cut();
        let Some(cut) = &mut cuts[way as usize] else { return (bytes, None) };
        if cut.bytes > bytes as u64 {
            cut.bytes -= bytes as u64;
            return (bytes, None);
        }
        let (last, end) = (cut.bytes as usize, cut.end);
        cuts[way as usize] = None;
        (last, Some(end))
    }
}
