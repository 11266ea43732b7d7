//! What runs a policy's functions: a component in wasm, or native code. Everything above this trait is the same for both.

use std::sync::Arc;

use async_trait::async_trait;
use switchover_contract::{Description, Error, Hints, Model, Object, SaveMode, SaveOutcome};

use crate::error::PolicyFault;
use crate::imports::{Asked, CallContext};
use crate::session::{Session, SessionKey, Timestamp};

/// One exported function with its arguments.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Load(SessionKey),
    Save(Session, SaveMode),
    Touch(SessionKey, Timestamp),
    Delete(SessionKey),
    Exists(SessionKey),
    ClearExpired(u32),
    /// Boxed: a call is moved several times on its way, and sessions are what is asked for most.
    Route(Box<RouterCall>),
    Describe,
}

impl Call {
    /// Whether it may change anything.
    pub(crate) fn may_write(&self) -> bool {
        match self {
            Self::Save(..) | Self::Touch(..) | Self::Delete(_) | Self::ClearExpired(_) => true,
            Self::Load(_) | Self::Exists(_) | Self::Route(_) | Self::Describe => false,
        }
    }

    /// What the answer is measured by.
    pub(crate) fn asked(&self) -> Asked {
        match self {
            Self::Load(_) | Self::Exists(_) => Asked::Find,
            Self::Save(session, mode) => Asked::Save(session.clone(), *mode),
            Self::Touch(_, expires_at) => Asked::Touch(*expires_at),
            Self::Delete(_) => Asked::Delete,
            Self::ClearExpired(_) => Asked::ClearExpired,
            Self::Route(call) => match &**call {
                RouterCall::DbForRead(_, hints)
                | RouterCall::DbForWrite(_, hints)
                | RouterCall::AllowRelation(_, _, hints)
                | RouterCall::AllowMigrate { hints, .. } => Asked::Other { hint: hints.key.clone() },
            },
            Self::Describe => Asked::Other { hint: None },
        }
    }
}

/// One question to the router.
#[derive(Clone, Debug)]
pub(crate) enum RouterCall {
    DbForRead(Model, Hints),
    DbForWrite(Model, Hints),
    AllowRelation(Object, Object, Hints),
    AllowMigrate { database: String, app_label: String, model_name: Option<String>, hints: Hints },
}

impl From<RouterCall> for Call {
    fn from(call: RouterCall) -> Self {
        Self::Route(Box::new(call))
    }
}

impl Call {
    /// The only key that the call may name.
    pub(crate) fn key(&self) -> Option<&SessionKey> {
        match self {
            Self::Load(key) | Self::Touch(key, _) | Self::Delete(key) | Self::Exists(key) => Some(key),
            Self::Save(session, _) => Some(&session.key),
            Self::ClearExpired(_) | Self::Route(_) | Self::Describe => None,
        }
    }
}

/// What a function answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Session(Option<Session>),
    Outcome(SaveOutcome),
    Deleted(bool),
    Exists(bool),
    Count(u32),
    Database(Option<String>),
    Opinion(Option<bool>),
    Description(Box<Description>),
}

/// Why a function gave no answer.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// It answered an error of the contract.
    Answered(Error),
    /// It broke a rule, or ended without an answer.
    Fault(PolicyFault),
    /// The host could not run it; the policy is not to blame.
    Host(String),
}

/// A policy that can be called, many times at once.
#[async_trait]
pub(crate) trait Runner: Send + Sync {
    /// Makes one call. The caller bounds its wall time by dropping the future; writes that it has sent go on.
    async fn call(&self, call: Call, context: Arc<CallContext>) -> Result<Answer, Failure>;

    /// Makes instances ahead of their first use.
    async fn warm(&self, instances: usize) -> Result<(), Failure>;

    /// Keeps at most so many idle instances from here on.
    fn keep_idle(&self, _instances_max: usize) {}
}
