//! Which policy runs, in the words for operators.

use std::fmt;

/// Which policy: its name and version for people, and what identifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyVersion {
    /// The name that the policy gives itself.
    pub name: String,
    /// The version that the policy gives itself.
    pub version: String,
    /// The protocol that the policy names. Policies of the same protocol, with the same settings and databases, may run
    /// side by side under the same flags.
    pub protocol: String,
    /// SHA-256 of the component, its name, its settings and its grants, in hexadecimal. The same code with other
    /// settings is another version.
    pub digest: String,
    /// How many policies this host had loaded before as far as their trial, including those that failed it.
    pub generation: u64,
}

impl fmt::Display for PolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({:.12})", self.name, self.version, self.digest)
    }
}

/// What runs now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyStatus {
    /// The running version.
    pub version: PolicyVersion,
    /// The version that `rollback_policy` goes back to.
    pub previous: Option<PolicyVersion>,
    /// Calls and writes under way in the host, of every version.
    pub in_flight: usize,
    /// Calls of the running version under way.
    pub calls_in_flight: usize,
    /// Calls that the running version has had.
    pub calls: u64,
    /// How many of these calls failed by the policy's fault: traps, limits, false answers.
    pub faults: u64,
    /// How many of the faults ended the guest: traps, and exceeded limits of processor time or host calls.
    pub traps: u64,
}
