//! Whether an answer may stand: a policy tells only what the databases told it in this call.

use switchover_contract::{ErrorCode, SaveOutcome};

use super::runner::{Answer, Failure};
use crate::error::{Error, PolicyFault};
use crate::imports::CallContext;
use crate::version::PolicyVersion;

/// The answer for the service, or the error that it gets instead; and whether the policy is at fault.
pub(crate) fn judge(
    may_write: bool,
    context: &CallContext,
    answered: Result<Answer, Failure>,
    version: &PolicyVersion,
) -> (Result<Answer, Error>, bool) {
    let failure = match answered {
        Ok(answer) => match fault_in(context, &answer) {
            None => return (Ok(answer), false),
            Some(fault) => Failure::Fault(fault),
        },
        Err(failure) => failure,
    };
    let may_have_written = context.is_unknown() || (may_write && context.has_written());
    let at_fault = matches!(failure, Failure::Fault(_));
    let error = match failure {
        Failure::Fault(fault) if may_have_written => {
            Error::UnknownOutcome { message: format!("a write was sent, then policy {version} failed: {fault}") }
        }
        Failure::Fault(fault) => Error::Policy { version: Box::new(version.clone()), source: fault },
        Failure::Answered(error) if may_have_written || error.code == ErrorCode::UnknownOutcome => {
            Error::UnknownOutcome { message: context.for_people(&error.message) }
        }
        Failure::Answered(error) => from_contract(error.code, context.for_people(&error.message)),
        Failure::Host(message) => Error::Overloaded { message },
    };
    (Err(error), at_fault)
}

fn from_contract(code: ErrorCode, message: String) -> Error {
    match code {
        ErrorCode::Invalid | ErrorCode::TooLarge => Error::Invalid { code, message },
        ErrorCode::Overloaded => Error::Overloaded { message },
        ErrorCode::UnknownOutcome => Error::UnknownOutcome { message },
        ErrorCode::Unavailable
        | ErrorCode::Timeout
        | ErrorCode::Denied
        | ErrorCode::Corrupt
        | ErrorCode::Fenced
        | ErrorCode::Conflict
        | ErrorCode::Unsupported
        | ErrorCode::Internal => Error::Unavailable { code, message },
    }
}

fn fault_in(context: &CallContext, answer: &Answer) -> Option<PolicyFault> {
    match answer {
        Answer::Session(Some(session)) => (!context.is_of_key(session)).then_some(PolicyFault::ForeignSession),
        Answer::Session(None) => (!context.may_tell_absence()).then_some(PolicyFault::FalseAbsence),
        Answer::Outcome(outcome) => {
            let claimed = match outcome {
                SaveOutcome::Saved => "saved",
                SaveOutcome::Exists => "exists",
                SaveOutcome::Missing => "missing",
                SaveOutcome::Conflict => "conflict",
            };
            (!context.may_tell_outcome(*outcome)).then_some(PolicyFault::FalseOutcome { claimed })
        }
        Answer::Deleted(had) => {
            let claimed = if *had { "deleted" } else { "not there to delete" };
            (!context.may_tell_deleted(*had)).then_some(PolicyFault::FalseOutcome { claimed })
        }
        Answer::Exists(exists) => {
            let claimed = if *exists { "it exists" } else { "it does not exist" };
            (!context.may_tell_exists(*exists)).then_some(PolicyFault::FalseOutcome { claimed })
        }
        Answer::Count(count) => {
            let claimed = "more cleared than the databases cleared";
            (!context.may_tell_cleared(*count)).then_some(PolicyFault::FalseOutcome { claimed })
        }
        Answer::Database(_) | Answer::Opinion(_) | Answer::Description(_) => None,
    }
}
