//! Why a command was refused, as a problem.

use serde_json::json;
use switchover::SwapError;
use switchover::migration::{CompareError, MigrationError};

use super::refusal::{
    CHANGED, IN_MIGRATION, INTERNAL, NO_MIGRATION, NO_PREVIOUS, NO_STEP, NOT_DRAINED, NOT_SEALED, POLICY_REJECTED,
    RED_GUARD, TOO_MANY_DIFFERENCES, UNAVAILABLE, UNFIT,
};
use crate::problem::Problem;
use crate::report;

impl From<SwapError> for Problem {
    fn from(error: SwapError) -> Self {
        let detail = error.to_string();
        match error {
            SwapError::Rejected { .. } => POLICY_REJECTED.problem(detail),
            SwapError::NotDrained { .. } => NOT_DRAINED.again(detail),
            SwapError::NoPrevious => NO_PREVIOUS.problem(detail),
            SwapError::InMigration { .. } => IN_MIGRATION.problem(detail),
            _ => UNAVAILABLE.problem(detail),
        }
    }
}

impl From<MigrationError> for Problem {
    fn from(error: MigrationError) -> Self {
        let detail = error.to_string();
        match error {
            MigrationError::NoSuchMigration { .. } => NO_MIGRATION.problem(detail),
            MigrationError::Invalid { .. } => UNFIT.problem(detail),
            MigrationError::NoSuchStep { .. } | MigrationError::NoStep { .. } => NO_STEP.problem(detail),
            MigrationError::NotSealed { waits_for } => NOT_SEALED.again(detail).with("waits_for", json!(waits_for)),
            MigrationError::Red { findings } => {
                RED_GUARD.problem(detail).with("guards", json!(report::findings(&findings)))
            }
            MigrationError::Changed => CHANGED.again(detail),
            MigrationError::Database { .. } | MigrationError::Control { .. } => UNAVAILABLE.again(detail),
            _ => INTERNAL.problem(detail),
        }
    }
}

impl From<CompareError> for Problem {
    fn from(error: CompareError) -> Self {
        let detail = error.to_string();
        match error {
            CompareError::Database { .. } => UNAVAILABLE.again(detail),
            CompareError::TooManyDifferences { .. } => TOO_MANY_DIFFERENCES.problem(detail),
            _ => UNFIT.problem(detail),
        }
    }
}
