//! The kinds of broken promises.

use std::fmt;

/// A promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// At the end a database lacks an acknowledged write that nothing replaced.
    LostWrite,
    /// A session was found after its delete was acknowledged.
    BackAfterLogout,
    /// A session was found under its old key after a call returned its new key.
    OldKeyFound,
    /// A session was found again after a call had reported it as gone; its delete was under way, or became known later.
    CameBack,
    /// A read returned what an acknowledged write had replaced before it began.
    StaleRead,
    /// A read returned an older payload or an older end than an earlier read, and no write explains it.
    WentBack,
    /// The value of a write of unknown outcome was read, and then the write was undone.
    Undone,
    /// A new key took over a value that had been replaced under the old key before the call began.
    StaleCycle,
    /// A living session was reported as gone.
    ToldGone,
    /// A session was served after it had ended.
    ServedExpired,
    /// A payload, or a row, that nobody wrote.
    Phantom,
    /// A payload that was written under another key.
    ForeignPayload,
    /// A payload of a call that was answered "nothing was written".
    FailedWrite,
    /// An end that no call asked for, or no call asked for with this payload.
    UnaskedEnd,
    /// Two databases that had to be alike hold different rows.
    RowsDiffer,
}

impl Kind {
    /// Every kind, in the order of a report.
    pub const ALL: [Self; 15] = [
        Self::LostWrite,
        Self::BackAfterLogout,
        Self::OldKeyFound,
        Self::CameBack,
        Self::StaleRead,
        Self::WentBack,
        Self::Undone,
        Self::StaleCycle,
        Self::ToldGone,
        Self::ServedExpired,
        Self::Phantom,
        Self::ForeignPayload,
        Self::FailedWrite,
        Self::UnaskedEnd,
        Self::RowsDiffer,
    ];

    /// The name for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LostWrite => "lost writes",
            Self::BackAfterLogout => "back after logout",
            Self::OldKeyFound => "old keys found after the new one was returned",
            Self::CameBack => "found again after they were gone",
            Self::StaleRead => "stale reads",
            Self::WentBack => "reads that went back",
            Self::Undone => "unknown outcomes read and then undone",
            Self::StaleCycle => "new keys with replaced data",
            Self::ToldGone => "reported gone while alive",
            Self::ServedExpired => "served after expiry",
            Self::Phantom => "never written by anyone",
            Self::ForeignPayload => "another session's payload",
            Self::FailedWrite => "failed writes that took effect",
            Self::UnaskedEnd => "ends that nobody asked for",
            Self::RowsDiffer => "rows that differ between the databases",
        }
    }

    /// The name of its count in a report for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::LostWrite => "lost_writes",
            Self::BackAfterLogout => "back_after_logout",
            Self::OldKeyFound => "old_keys_found",
            Self::CameBack => "came_back",
            Self::StaleRead => "stale_reads",
            Self::WentBack => "went_back",
            Self::Undone => "undone",
            Self::StaleCycle => "stale_cycles",
            Self::ToldGone => "told_gone",
            Self::ServedExpired => "served_expired",
            Self::Phantom => "phantoms",
            Self::ForeignPayload => "foreign_payloads",
            Self::FailedWrite => "failed_writes_seen",
            Self::UnaskedEnd => "unasked_ends",
            Self::RowsDiffer => "rows_differ",
        }
    }

    /// Whether a read that is old, but within the allowed age, can look like this.
    pub(super) fn is_of_age(self) -> bool {
        match self {
            Self::BackAfterLogout
            | Self::OldKeyFound
            | Self::CameBack
            | Self::StaleRead
            | Self::WentBack
            | Self::Undone => true,
            Self::LostWrite
            | Self::StaleCycle
            | Self::ToldGone
            | Self::ServedExpired
            | Self::Phantom
            | Self::ForeignPayload
            | Self::FailedWrite
            | Self::UnaskedEnd
            | Self::RowsDiffer => false,
        }
    }

    /// The kind for a row at the end of a run. There an old row is a lost write, since no later write can be seen.
    pub(super) fn at_the_end(self) -> Self {
        match self {
            Self::StaleRead | Self::ToldGone | Self::WentBack => Self::LostWrite,
            other => other,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
