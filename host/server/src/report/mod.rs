//! What operators ask for, as JSON: where a migration stands, what became of a command, and how two databases compare.
//! `switchover migrate --json` and the admin API give the same.

mod comparison;
mod done;
mod status;

use chrono::DateTime;
use serde::Serialize;
use switchover::Timestamp;
use switchover::migration::{Finding, Guard, Phase, Profile, Verdict};
use utoipa::ToSchema;

pub use self::comparison::{Compared, DifferenceShown, Repaired, RowShown, Unreadable, comparison, repair};
pub use self::done::{Begun, Copying, Done, Looked, Made, Statement, begun, copying, looked, made, planned};
pub use self::status::{
    Decided, HostShown, Hosts, JobShown, Marks, SideShown, StatusShown, StepShown, hosts, marks, status,
};

/// An instant, to the second.
pub fn utc(at: Timestamp) -> String {
    let at = i64::try_from(at.as_micros()).ok().and_then(DateTime::from_timestamp_micros).unwrap_or_default();
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A phase by its word.
///
/// # Errors
///
/// The phases that there are.
pub fn phase(word: &str) -> Result<Phase, String> {
    let known = Phase::ALL.map(Phase::as_str).join(", ");
    Phase::parse(word).ok_or_else(|| format!("`{word:.32}` is no phase; the phases are {known}"))
}

/// A profile by its word.
///
/// # Errors
///
/// The profiles that there are.
pub fn profile(word: &str) -> Result<Profile, String> {
    let known = Profile::ALL.map(Profile::as_str).join(", ");
    Profile::parse(word).ok_or_else(|| format!("`{word:.32}` is no profile; the profiles are {known}"))
}

/// Guards by their words.
///
/// # Errors
///
/// The guards that can be overridden.
pub fn guards<'a>(words: impl IntoIterator<Item = &'a String>) -> Result<Vec<Guard>, String> {
    let soft = || Guard::ALL.into_iter().filter(|guard| !guard.is_hard()).map(Guard::as_str).collect::<Vec<_>>();
    let guard = |word: &String| {
        let found = Guard::ALL.into_iter().find(|guard| guard.as_str() == word);
        found.ok_or_else(|| format!("`{word:.32}` is no guard; what can be overridden is {}", soft().join(", ")))
    };
    words.into_iter().map(guard).collect()
}

/// Whether a step with these guards would be made, if these of them are overridden.
pub fn is_open(findings: &[Finding], overridden: &[Guard]) -> bool {
    let is_passed = |finding: &Finding| !finding.blocks() && overridden.contains(&finding.guard);
    findings.iter().all(|finding| finding.verdict == Verdict::Green || is_passed(finding))
}

/// A guard of a step, with what it says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Guard)]
pub struct GuardShown {
    /// Its name.
    guard: &'static str,
    /// Whether it can be overridden by nobody.
    hard: bool,
    /// Whether it is not green.
    blocks: bool,
    /// What it found, and what to do.
    says: String,
}

/// The guards of a step, with what they say.
pub fn findings(findings: &[Finding]) -> Vec<GuardShown> {
    let guard = |finding: &Finding| GuardShown {
        guard: finding.guard.as_str(),
        hard: finding.guard.is_hard(),
        blocks: finding.verdict != Verdict::Green,
        says: finding.to_string(),
    };
    findings.iter().map(guard).collect()
}
