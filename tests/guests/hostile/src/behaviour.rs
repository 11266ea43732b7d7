//! The ways to misbehave.

use switchover_guest::glue::bindings::switchover::policy::{flags, settings};

/// A way to misbehave, and the call in which it happens.
#[derive(Clone, Copy)]
pub(crate) enum Behaviour {
    /// Behaves well: one database, no cache.
    None,
    /// `load`: panics.
    Trap,
    /// `load`: never ends.
    Spin,
    /// `load`: allocates memory until there is no more, then panics.
    Grow,
    /// `load`: recurses until the stack is used up.
    Recurse,
    /// `load`: calls the host without end.
    Flood,
    /// `load`: asks the database `secret`.
    ForeignDatabase,
    /// `load`: asks for another key.
    ForeignKey,
    /// `load`: keeps the first session that it finds, and answers every later call with it.
    OtherSession,
    /// `load`: an error of the database becomes "no session".
    FalseNone,
    /// `load`: writes key and payload into the log and into an error.
    LogKey,
    /// `load`: writes a thousand lines of a megabyte into the log.
    BigLog,
    /// `save`: claims to have saved.
    FalseSaved,
    /// `save`: saves, then panics.
    TrapAfterWrite,
    /// `delete`: claims to have deleted.
    FalseDeleted,
    /// `describe`: lists the database `secret`.
    Undeclared,
    /// `describe`: panics.
    DescribeTrap,
}

impl Behaviour {
    /// What the operator set. With `armed_by`, it applies only while the flag of that name is on.
    pub(crate) fn set() -> Self {
        let asleep = settings::get("armed_by").is_some_and(|flag| !flags::enabled(&flag));
        let Some(name) = settings::get("behaviour").filter(|_| !asleep) else { return Self::None };
        match name.as_str() {
            "none" => Self::None,
            "trap" => Self::Trap,
            "spin" => Self::Spin,
            "grow" => Self::Grow,
            "recurse" => Self::Recurse,
            "flood" => Self::Flood,
            "foreign-database" => Self::ForeignDatabase,
            "foreign-key" => Self::ForeignKey,
            "other-session" => Self::OtherSession,
            "false-none" => Self::FalseNone,
            "log-key" => Self::LogKey,
            "big-log" => Self::BigLog,
            "false-saved" => Self::FalseSaved,
            "trap-after-write" => Self::TrapAfterWrite,
            "false-deleted" => Self::FalseDeleted,
            "undeclared" => Self::Undeclared,
            "describe-trap" => Self::DescribeTrap,
            _ => panic!("no behaviour `{name}`"),
        }
    }
}
