//! The control document in the words of `switchover-protocol`, and the flags of an epoch.

use std::sync::Arc;

use switchover_contract::Guarantee;
use switchover_core::capabilities::{Document, Epoch, Fence, FlagSnapshot, Side};
use switchover_protocol::{Mirror, Operation, Phase, Profile, Standing, plan};

use super::error::MigrationError;

/// The flag of a policy that carries out the phases: the phase in force.
pub const PHASE_FLAG: &str = "migration_phase";
/// The flag of a policy that carries out the phases: the profile of the migration.
pub const PROFILE_FLAG: &str = "migration_profile";

/// The phase of a document.
///
/// # Errors
///
/// [`MigrationError::Document`] if it is not a phase of its profile.
pub fn phase(document: &Document) -> Result<Phase, MigrationError> {
    let phase = Phase::parse(&document.phase).ok_or_else(|| unknown(document, "phase", &document.phase))?;
    if !profile(document)?.path().contains(&phase) {
        return Err(unknown(document, "phase of its profile", &document.phase));
    }
    Ok(phase)
}

/// The profile of a document.
///
/// # Errors
///
/// [`MigrationError::Document`] if there is no such profile.
pub fn profile(document: &Document) -> Result<Profile, MigrationError> {
    Profile::parse(&document.profile).ok_or_else(|| unknown(document, "profile", &document.profile))
}

/// Where a migration stands, for guards and edges.
pub(super) fn standing(document: &Document) -> Result<Standing, MigrationError> {
    Ok(Standing {
        epoch: protocol_epoch(document, document.epoch)?,
        phase: phase(document)?,
        sealed: protocol_epoch(document, document.sealed)?,
        settled: document.settled.map(|epoch| protocol_epoch(document, epoch)).transpose()?,
        verified: document.verified.map(|epoch| protocol_epoch(document, epoch)).transpose()?,
    })
}

/// The document after its standing has changed.
pub(super) fn with_standing(document: &Document, standing: &Standing) -> Document {
    Document {
        epoch: core_epoch(standing.epoch),
        phase: standing.phase.as_str().to_owned(),
        sealed: core_epoch(standing.sealed),
        settled: standing.settled.map(core_epoch),
        verified: standing.verified.map(core_epoch),
        ..document.clone()
    }
}

/// The fence that everything under this document carries.
pub(crate) fn fence(document: &Document) -> Fence {
    Fence { migration: Arc::clone(&document.migration), epoch: document.epoch }
}

/// The flags of the epoch: those of the document, with phase and profile.
pub(crate) fn flags(document: &Document) -> FlagSnapshot {
    let of_policy = document.flags.lines().filter_map(|line| line.split_once('='));
    let named = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    of_policy
        .map(|(name, value)| named(name.trim(), value.trim()))
        .chain([named(PHASE_FLAG, &document.phase), named(PROFILE_FLAG, &document.profile)])
        .collect()
}

/// The side that copies of a phase are read from; `None` in a phase that copies nothing.
pub(crate) fn source_of(phase: Phase) -> Option<Side> {
    phase.source().map(|side| match side {
        switchover_protocol::Side::Old => Side::Old,
        switchover_protocol::Side::New => Side::New,
    })
}

/// Whether calls of the document's phase wait for this database: its plans read it, lock it, or write it before they
/// answer.
pub(crate) fn needs(document: &Document, side: Side) -> bool {
    let (Ok(phase), Ok(profile)) = (phase(document), profile(document)) else { return true };
    let side = match side {
        Side::Old => switchover_protocol::Side::Old,
        Side::New => switchover_protocol::Side::New,
    };
    [Operation::Load, Operation::Update].into_iter().filter_map(|operation| plan(phase, profile, operation)).any(
        |plan| {
            let is_strict = |mirror: &Mirror| mirror.side == side && mirror.guarantee == Guarantee::Strict;
            plan.home == side || plan.lock == side || plan.reads.contains(&side) || plan.mirrors.iter().any(is_strict)
        },
    )
}

pub(super) fn core_epoch(epoch: switchover_protocol::Epoch) -> Epoch {
    Epoch(i64::from(epoch).unsigned_abs())
}

fn protocol_epoch(document: &Document, epoch: Epoch) -> Result<switchover_protocol::Epoch, MigrationError> {
    let column = i64::try_from(epoch.0).ok().and_then(|epoch| switchover_protocol::Epoch::try_from(epoch).ok());
    column.ok_or_else(|| unknown(document, "epoch", &epoch.0.to_string()))
}

fn unknown(document: &Document, what: &str, value: &str) -> MigrationError {
    let shown: String = value.chars().take(32).collect();
    let message = format!(
        "the control document of `{}` says `{}`, which is no {what} that this program knows: take a newer program",
        document.migration,
        shown.escape_debug()
    );
    MigrationError::Document { message }
}

#[cfg(test)]
mod tests {
    use switchover_core::Timestamp;

    use super::*;

    fn document(phase: &str) -> Document {
        Document {
            migration: "to-new".into(),
            version: 1,
            epoch: Epoch(1),
            phase: phase.to_owned(),
            profile: "backfill".to_owned(),
            policy: "phased".to_owned(),
            flags: "a = b\nnothing".to_owned(),
            sealed: Epoch(0),
            settled: None,
            verified: None,
            backfilled: None,
            held: None,
            rate: None,
            old: String::new(),
            new: String::new(),
            since: Timestamp::from_micros(0),
            continued_by: None,
        }
    }

    #[test]
    fn phase_needs_the_databases_without_which_its_calls_fail() {
        let needed = |phase| [Side::Old, Side::New].map(|side| needs(&document(phase), side));
        assert_eq!(["off", "mirror"].map(needed), [[true, false]; 2]);
        assert_eq!(["strict", "cutover"].map(needed), [[true, true]; 2]);
        assert_eq!(["reverse", "complete"].map(needed), [[false, true]; 2]);
    }

    #[test]
    fn flags_of_an_epoch_are_those_of_the_document_with_phase_and_profile() {
        let flags = flags(&document("mirror"));
        assert_eq!(flags.value(PHASE_FLAG), Some("mirror"));
        assert_eq!((flags.value(PROFILE_FLAG), flags.value("a")), (Some("backfill"), Some("b")));
    }

    #[test]
    fn document_of_a_newer_program_is_an_error_with_its_word() {
        let error = phase(&document("sideways")).expect_err("no such phase");
        assert!(error.to_string().contains("sideways"), "{error}");
        assert!(phase(&document("invalidate")).is_err(), "not of its profile");
    }
}
