//! Why a command was refused, as a problem.

use axum::http::StatusCode;
use serde_json::json;
use switchover::SwapError;
use switchover::migration::{CompareError, MigrationError};

use crate::problem::Problem;
use crate::report;

impl From<SwapError> for Problem {
    fn from(error: SwapError) -> Self {
        let detail = error.to_string();
        match error {
            SwapError::Rejected { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "policy-rejected", detail),
            SwapError::NotDrained { .. } => Self::again(StatusCode::SERVICE_UNAVAILABLE, "not-drained", detail),
            SwapError::NoPrevious => Self::new(StatusCode::CONFLICT, "no-previous", detail),
            SwapError::InMigration { .. } => Self::new(StatusCode::CONFLICT, "in-migration", detail),
            _ => Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail),
        }
    }
}

impl From<MigrationError> for Problem {
    fn from(error: MigrationError) -> Self {
        let detail = error.to_string();
        match error {
            MigrationError::NoSuchMigration { .. } => Self::new(StatusCode::NOT_FOUND, "no-migration", detail),
            MigrationError::Invalid { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail),
            MigrationError::NoSuchStep { .. } | MigrationError::NoStep { .. } => {
                Self::new(StatusCode::CONFLICT, "no-step", detail)
            }
            MigrationError::NotSealed { waits_for } => {
                Self::again(StatusCode::CONFLICT, "not-sealed", detail).with("waits_for", json!(waits_for))
            }
            MigrationError::Red { findings } => {
                Self::new(StatusCode::CONFLICT, "red-guard", detail).with("guards", json!(report::findings(&findings)))
            }
            MigrationError::Changed => Self::again(StatusCode::CONFLICT, "changed", detail),
            MigrationError::Database { .. } | MigrationError::Control { .. } => {
                Self::again(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail),
        }
    }
}

impl From<CompareError> for Problem {
    fn from(error: CompareError) -> Self {
        let detail = error.to_string();
        match error {
            CompareError::Database { .. } => Self::again(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail),
            CompareError::TooManyDifferences { .. } => Self::new(StatusCode::CONFLICT, "too-many-differences", detail),
            _ => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail),
        }
    }
}
