//! What a proxy counts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::faults::Way;

/// Counts of what passed a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections that were accepted.
    pub connections: u64,
    /// Bytes that were forwarded to the server.
    pub bytes_to_server: u64,
    /// Bytes that were forwarded to the client.
    pub bytes_to_client: u64,
    /// How often bytes to the client followed bytes to the server, counted for each connection separately. Requests
    /// sent together and all their answers count once. What a server sends first, such as MariaDB's greeting, does not
    /// count.
    pub round_trips: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    connections: AtomicU64,
    bytes: [AtomicU64; 2],
    round_trips: AtomicU64,
}

impl Counters {
    pub(super) fn connection(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// Counts bytes of a connection. `asked`: whether its last bytes went to the server.
    pub(super) fn forwarded(&self, way: Way, bytes: usize, asked: &AtomicBool) {
        if bytes == 0 {
            return;
        }
        self.bytes[way as usize].fetch_add(bytes as u64, Relaxed);
        if asked.swap(way == Way::ToServer, Relaxed) && way == Way::ToClient {
            self.round_trips.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn read(&self) -> Counts {
        Counts {
            connections: self.connections.load(Relaxed),
            bytes_to_server: self.bytes[Way::ToServer as usize].load(Relaxed),
            bytes_to_client: self.bytes[Way::ToClient as usize].load(Relaxed),
            round_trips: self.round_trips.load(Relaxed),
        }
    }

    pub(super) fn reset(&self) {
        for counter in [&self.connections, &self.bytes[0], &self.bytes[1], &self.round_trips] {
            counter.store(0, Relaxed);
        }
    }
}
