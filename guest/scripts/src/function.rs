//! What can be made to fail or to take time, and which key a call may name.

/// A function that can be made to fail or to take time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `databases.load`, and each answer of `databases.load-each`.
    Load,
    /// `databases.save`
    Save,
    /// `databases.touch`
    Touch,
    /// `databases.delete`
    Delete,
    /// `databases.copy`
    Copy,
    /// `databases.exists`
    Exists,
    /// `databases.delete-expired`
    DeleteExpired,
    /// `cache.get`
    CacheGet,
    /// `cache.fill`
    CacheFill,
    /// `cache.invalidate`
    CacheInvalidate,
}

impl Function {
    /// Every function.
    pub const ALL: [Self; 10] = [
        Self::Load,
        Self::Save,
        Self::Touch,
        Self::Delete,
        Self::Copy,
        Self::Exists,
        Self::DeleteExpired,
        Self::CacheGet,
        Self::CacheFill,
        Self::CacheInvalidate,
    ];

    /// Its name in scripts and traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Load => "databases.load",
            Self::Save => "databases.save",
            Self::Touch => "databases.touch",
            Self::Delete => "databases.delete",
            Self::Copy => "databases.copy",
            Self::Exists => "databases.exists",
            Self::DeleteExpired => "databases.delete-expired",
            Self::CacheGet => "cache.get",
            Self::CacheFill => "cache.fill",
            Self::CacheInvalidate => "cache.invalidate",
        }
    }

    /// Whether it names a database.
    pub fn is_of_a_database(self) -> bool {
        match self {
            Self::Load | Self::Save | Self::Touch | Self::Delete | Self::Copy | Self::Exists | Self::DeleteExpired => {
                true
            }
            Self::CacheGet | Self::CacheFill | Self::CacheInvalidate => false,
        }
    }
}

/// The key that the call under way may name, as the host enforces it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Any key: no policy is being called.
    #[default]
    Any,
    /// The key that the policy was called with.
    Key(String),
    /// None: the call has no key.
    None,
}
