//! Whether an answer may stand, and which error its caller gets if it may not.

use switchover_contract::{Error as ContractError, ErrorCode};

use super::{CallContext, Question};
use crate::call::{Answered, Failure};
use crate::error::{Error, PolicyFault};
use crate::status::PolicyVersion;

/// Why a question has no answer, and whether the call may have written.
#[derive(Debug)]
pub(crate) struct Refused {
    failure: Failure,
    /// Whether a write was made, or may have been made.
    may_have_written: bool,
}

/// Accepts an answer if the databases gave it in this call.
pub(crate) fn judge<Q: Question>(
    question: &Q,
    call: &CallContext,
    answered: Answered<Q::Answer>,
) -> Result<Q::Answer, Refused> {
    let failure = match answered {
        Ok(answer) => match question.fault_in(&answer, &call.evidence) {
            None => return Ok(answer),
            Some(fault) => Failure::Fault(fault),
        },
        Err(Failure::Answered(error)) => {
            let message = call.for_people(&error.message);
            Failure::Answered(ContractError { message, ..error })
        }
        Err(failure) => failure,
    };
    let evidence = &call.evidence;
    Err(Refused { failure, may_have_written: evidence.is_unknown() || (Q::MAY_WRITE && evidence.has_written()) })
}

impl Refused {
    /// The fault of the policy, if it was the policy's fault.
    pub(crate) fn fault(&self) -> Option<&PolicyFault> {
        match &self.failure {
            Failure::Fault(fault) => Some(fault),
            Failure::Answered(_) | Failure::Host(_) => None,
        }
    }

    /// What the policy itself did, for tools that try a policy. An error that the policy answered stays that error,
    /// unless it hides a write.
    pub(crate) fn for_tools(self) -> Failure {
        match self.failure {
            Failure::Answered(error) if self.may_have_written => {
                Failure::Answered(ContractError::new(ErrorCode::UnknownOutcome, error.message))
            }
            Failure::Fault(fault) if self.may_have_written => {
                let message = format!("a write was sent, then the policy failed: {fault}");
                Failure::Answered(ContractError::new(ErrorCode::UnknownOutcome, message))
            }
            Failure::Host(message) => Failure::Answered(ContractError::new(ErrorCode::Overloaded, message)),
            failure => failure,
        }
    }

    /// The error that the caller of a version gets.
    pub(crate) fn of(self, version: &PolicyVersion) -> Error {
        match self.failure {
            Failure::Fault(fault) if self.may_have_written => {
                Error::UnknownOutcome { message: format!("a write was sent, then policy {version} failed: {fault}") }
            }
            Failure::Fault(fault) => Error::Policy { version: Box::new(version.clone()), source: fault },
            Failure::Answered(error) if self.may_have_written => Error::UnknownOutcome { message: error.message },
            Failure::Answered(error) => Error::of(error.code, error.message),
            Failure::Host(message) => Error::Overloaded { message },
        }
    }
}
