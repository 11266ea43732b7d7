//! The ways in which a host loses its way to Redis.

use switchover_harness::{Direction, Proxy};

/// How the way is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// A black hole both ways.
    Held,
    /// What is asked arrives, and no answer does.
    AnswersHeld,
    /// Nothing arrives, though answers would.
    RequestsHeld,
    /// The connection is reset, and nobody listens.
    Refused,
}

impl Cut {
    /// Every way in which what the host writes surely does not reach Redis in time, whatever is there already.
    pub(crate) const ALL: [Self; 3] = [Self::Held, Self::RequestsHeld, Self::Refused];

    /// Any.
    pub(crate) fn pick(rng: &mut fastrand::Rng) -> Self {
        [Self::Held, Self::AnswersHeld, Self::RequestsHeld, Self::Refused][rng.usize(..4)]
    }

    /// Cuts; `Proxy::heal` ends it.
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
