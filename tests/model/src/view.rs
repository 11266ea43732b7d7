//! What a state holds about the cache beside the cache: who reaches it, who suspends it, and what each host has confirmed.

/// The most hosts that are modelled.
pub const HOSTS_MAX: usize = 3;

/// What is known about the cache beside the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reach {
    /// The hosts that do not reach the cache, one bit for each, here and below.
    pub cut: u8,
    /// The hosts that remember a removal that did not reach the cache. They do not read the key from it.
    pub owed: u8,
    /// The generation in the control document. It grows with each change of what the document says about the cache.
    pub generation: u8,
    /// The hosts that suspend the cache, in the control document.
    pub suspended: u8,
    /// The hosts that suspend it by their own clock: their lease has not run out.
    pub held: u8,
    /// Those of them that have seen every other host stop.
    pub in_force: u8,
    /// What each host has confirmed.
    pub views: [View; HOSTS_MAX],
    /// The generation of the entry. 0 if there is no entry, or entries carry none.
    pub entry_generation: u8,
    /// Versions that the published bound allows to be read from the cache after they were replaced.
    pub stale_allowed: u8,
    /// The same after a delete.
    pub back_allowed: u8,
}

/// What a host has confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct View {
    /// The generation.
    pub generation: u8,
    /// Whether nobody suspended the cache in it.
    pub is_open: bool,
    /// Whether the confirmation has not run out.
    pub is_valid: bool,
    /// An answer of the control document that is on its way: its generation, and whether the cache is open in it.
    pub asked: Option<(u8, bool)>,
}

impl View {
    /// Whether a host may ask the cache.
    pub(crate) fn is_usable(&self) -> bool {
        self.is_valid && self.is_open
    }
}
