//! Where a migration stands: the part of its control document that edges and verifications change.

use crate::{Epoch, Phase};

/// Where a migration stands, according to its control document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The epoch in force.
    pub epoch: Epoch,
    /// Its phase.
    pub phase: Phase,
    /// The highest epoch that was sealed; zero if none was.
    pub sealed: Epoch,
    /// The epoch that settling made; `None` if `mirror` is not settled.
    pub settled: Option<Epoch>,
    /// The `settled` under which a verification was whole; `None` if none was.
    pub verified: Option<Epoch>,
}

impl Standing {
    /// A migration that has just been made.
    pub const FIRST: Self =
        Self { epoch: Epoch::FIRST, phase: Phase::Off, sealed: Epoch::ZERO, settled: None, verified: None };

    /// Whether the barrier of the epoch in force is complete and both fences stand at it. Then nothing older can happen
    /// any more. Only then are guards checked, and only then may a verification begin.
    pub fn is_sealed(&self) -> bool {
        self.sealed == self.epoch
    }

    /// Whether a whole verification still counts: it ran under the present `settled`.
    pub fn is_verified(&self) -> bool {
        self.settled.is_some() && self.verified == self.settled
    }

    /// What a verification that begins now has to remember; `None` if none may begin.
    pub fn verification(&self) -> Option<Verification> {
        let settled = self.settled.filter(|_| self.is_sealed())?;
        Some(Verification { settled, epoch: self.epoch })
    }

    /// The standing after a verification that found every key in order. `None` if the epoch has changed in the
    /// meantime: then the verification begins again.
    pub fn after_verification(self, whole: Verification) -> Option<Self> {
        let is_same = self.settled == Some(whole.settled) && self.epoch == whole.epoch;
        is_same.then_some(Self { verified: Some(whole.settled), ..self })
    }

    /// The standing after a change of policy or flags, which is no edge: the next epoch, everything else as it was.
    pub fn with_next_epoch(self) -> Self {
        Self { epoch: self.epoch.next(), ..self }
    }
}

/// A verification in progress: what the control document said when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Verification {
    settled: Epoch,
    epoch: Epoch,
}
