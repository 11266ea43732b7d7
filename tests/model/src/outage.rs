//! What a fleet does about a host that does not reach the cache: which rule, and which part of it is left out.

/// Which writes wait until no host can read what they replaced from the cache. All others are acknowledged at once, and
/// the published bound covers them: the old entry may be read until it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covers {
    /// None: the published bound alone.
    Nothing,
    /// Deletes.
    Deletes,
    /// Every write.
    Writes,
}

/// What a host does after a write whose removal did not reach the cache, and before it acknowledges the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// It raises the generation, for every write.
    Raise,
    /// It raises the generation once, and then no more until it reaches the cache again.
    RaiseOnce,
    /// It raises the generation and suspends the cache. The suspension ends with another raise.
    RaiseAndSuspend,
    /// It suspends the cache, and ends that after it has removed what it owes. Entries carry no generation.
    Suspend,
    /// It asks a host that reaches the cache to remove the entry.
    Relay,
}

/// Where an entry gets its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// The one that its host had confirmed when it took the lease.
    Lease,
    /// The one that its host had confirmed when it filled.
    Fill,
}

/// When a host looks at its confirmation to serve a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// When the load begins, before it asks the cache.
    Before,
    /// After the hit has arrived.
    After,
    /// Never.
    Never,
}

/// The rules for a cache that cannot be told. A case breaks one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Which writes are covered.
    pub covers: Covers,
    /// What covers them.
    pub remedy: Remedy,
    /// A covered write is acknowledged only when every other host has confirmed the new generation, or its confirmation
    /// has run out.
    pub waits: bool,
    /// The generation of an entry.
    pub stamp: Stamp,
    /// When the confirmation is looked at.
    pub look: Look,
    /// A confirmation runs out counted from before the control document was asked. If not, from its answer.
    pub from_question: bool,
    /// The generation is raised after the write. If not, before it.
    pub after_write: bool,
    /// Whether the suspension is in force is looked at after the write. If not, before it.
    pub held_after_write: bool,
    /// A removal removes the entry of any generation. If not, only that of the generation that its host confirmed, as if
    /// the generation were a part of the entry's name.
    pub any_generation: bool,
    /// A host whose guard stands in the cache suspends too.
    pub despite_guard: bool,
    /// A suspension without generations ends after its host has removed what it owes.
    pub pays_first: bool,
    /// A suspension whose host is gone ends after every entry of that time has ended.
    pub outlives_entries: bool,
    /// Reads that the published bound allows break no promise.
    pub bound: bool,
}

impl Outage {
    /// The published bound alone.
    pub const BOUND: Self = Self::by(Remedy::Raise, Covers::Nothing);

    /// All rules of a remedy.
    pub const fn by(remedy: Remedy, covers: Covers) -> Self {
        Self {
            covers,
            remedy,
            waits: true,
            stamp: Stamp::Lease,
            look: Look::After,
            from_question: true,
            after_write: true,
            held_after_write: true,
            any_generation: true,
            despite_guard: true,
            pays_first: true,
            outlives_entries: true,
            bound: true,
        }
    }

    /// Whether hosts confirm the control document's word about the cache.
    pub fn confirms(&self) -> bool {
        self.covers != Covers::Nothing && self.remedy != Remedy::Relay
    }

    /// Whether an entry has a generation.
    pub fn stamps(&self) -> bool {
        self.confirms() && self.remedy != Remedy::Suspend
    }

    /// Whether a host that does not reach the cache suspends it.
    pub fn suspends(&self) -> bool {
        self.confirms() && matches!(self.remedy, Remedy::Suspend | Remedy::RaiseAndSuspend)
    }
}
