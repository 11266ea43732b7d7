//! The clock of a server, as a connection knows it.

use std::time::Instant;

use switchover_core::Timestamp;

/// What the server's clock showed when it was last asked.
pub(super) struct ServerClock {
    showed: Timestamp,
    heard: Instant,
}

impl ServerClock {
    /// The server has just said that its clock shows this. It said so before it was heard, so every time that is
    /// worked out from this is early, by at most one round trip.
    pub(super) fn told(showed: Timestamp) -> Self {
        Self { showed, heard: Instant::now() }
    }

    /// What the server's clock shows at an instant, if nobody sets it.
    pub(super) fn at(&self, instant: Instant) -> Timestamp {
        match instant.checked_duration_since(self.heard) {
            Some(after) => self.showed.plus(after),
            None => self.showed.minus(self.heard.duration_since(instant)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_goes_on_from_what_the_server_said() {
        let clock = ServerClock::told(Timestamp::from_micros(5_000_000));
        let at = |offset: i64| {
            let by = Duration::from_micros(offset.unsigned_abs());
            clock.at(if offset < 0 { clock.heard - by } else { clock.heard + by }).as_micros()
        };
        assert_eq!((at(0), at(700_000), at(-700_000)), (5_000_000, 5_700_000, 4_300_000));
    }
}
