//! How much a line of a log matters: `wit/log.wit`.

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// For the author of the policy.
    Debug,
    /// Something an operator may want to know.
    Info,
    /// Something an operator should look at.
    Warn,
    /// Something an operator has to act on.
    Error,
}
