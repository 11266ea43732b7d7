//! The ways in which a host loses its connection to Redis.

use switchover_harness::{Direction, Proxy};

/// How the connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Nothing arrives in either direction.
    Held,
    /// Requests arrive, but answers do not.
    AnswersHeld,
    /// Requests do not arrive, but answers would.
    RequestsHeld,
    /// The connection is reset, and new ones are refused.
    Refused,
}

impl Cut {
    /// The cuts in which what the host writes surely does not reach Redis in time.
    pub(crate) const ALL: [Self; 3] = [Self::Held, Self::RequestsHeld, Self::Refused];

    /// Any cut.
    pub(crate) fn pick(rng: &mut fastrand::Rng) -> Self {
        [Self::Held, Self::AnswersHeld, Self::RequestsHeld, Self::Refused][rng.usize(..4)]
    }

    /// Cuts the connection. `Proxy::heal` ends the cut.
    pub(crate) async fn begin(self, proxy: &Proxy) {
        match self {
            Self::Held => proxy.hold(Direction::Both),
            Self::AnswersHeld => proxy.hold(Direction::ToClient),
            Self::RequestsHeld => proxy.hold(Direction::ToServer),
            Self::Refused => {
                proxy.refuse().await;
                proxy.reset();
            }
        }
    }
}
