//! A policy's account of itself: `wit/about.wit`.

/// A policy's account of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Its name (`fallback`).
    pub name: String,
    /// Its version, for people.
    pub version: String,
    /// Policies of the same protocol may run side by side under the same flags.
    pub protocol: String,
    /// Every database it may name under its settings.
    pub databases: Vec<String>,
    /// Every flag it reads.
    pub flags: Vec<String>,
    /// Anything else, as names and values.
    pub attributes: Vec<(String, String)>,
}
