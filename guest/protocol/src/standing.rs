//! Where a migration stands: the part of its control document that edges change, and what a verification does to it.

use crate::{Epoch, Phase};

/// Where a migration stands, as its control document says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The epoch in force.
    pub epoch: Epoch,
    /// Its phase.
    pub phase: Phase,
    /// The highest epoch that was sealed; zero: none was.
    pub sealed: Epoch,
    /// The epoch that settling made; `None`: not settled.
    pub settled: Option<Epoch>,
    /// The `settled` under which a verification was whole; `None`: none was.
    pub verified: Option<Epoch>,
}

impl Standing {
    /// A migration that has just been made.
    pub const FIRST: Self =
        Self { epoch: Epoch::FIRST, phase: Phase::Off, sealed: Epoch::ZERO, settled: None, verified: None };

    /// Whether the barrier of the epoch in force is complete and both fences stand at it, so that nothing older can happen any
    /// more. Guards are looked at, and a verification begins, only then.
    pub fn is_sealed(&self) -> bool {
        self.sealed == self.epoch
    }

    /// Whether a whole verification counts: one of what is settled now.
    pub fn is_verified(&self) -> bool {
        self.settled.is_some() && self.verified == self.settled
    }

    /// What a verification that begins now has to remember; `None`: none may begin.
    pub fn verification(&self) -> Option<Verification> {
        let settled = self.settled.filter(|_| self.is_sealed())?;
        Some(Verification { settled, epoch: self.epoch })
    }

    /// After a verification that found every key in order; `None`: the epoch has changed meanwhile, and it begins again.
    pub fn after_verification(self, whole: Verification) -> Option<Self> {
        let is_same = self.settled == Some(whole.settled) && self.epoch == whole.epoch;
        is_same.then_some(Self { verified: Some(whole.settled), ..self })
    }

    /// After a change of policy or flags, which is no edge: the next epoch, everything else as it was.
    pub fn with_next_epoch(self) -> Self {
        Self { epoch: self.epoch.next(), ..self }
    }
}

/// A verification under way: what it has seen of the control document when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Verification {
    settled: Epoch,
    epoch: Epoch,
}
