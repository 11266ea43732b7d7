//! What runs a policy's functions: a component in wasm, or native code. The code above this trait is the same for both.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use switchover_contract::{Description, Error, Hints, Model, Object, SaveMode, SaveOutcome};
use switchover_core::{Session, SessionKey, Timestamp};

use super::CallContext;
use crate::error::PolicyFault;

/// What a function answered, before the answer is judged.
pub type Answered<T> = Result<T, Failure>;

/// Why a function gave no answer.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The function returned an error of the contract.
    Answered(Error),
    /// The policy broke a rule, or ended without an answer.
    Fault(PolicyFault),
    /// The host could not run the function. This is not the policy's fault.
    Host(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(error) => error.fmt(f),
            Self::Fault(fault) => fault.fmt(f),
            Self::Host(message) => f.write_str(message),
        }
    }
}

/// A policy that can be asked many questions at once. The caller bounds the time by dropping the future; writes that
/// were sent continue.
#[async_trait]
pub trait Runner: Send + Sync {
    /// The exported `load`.
    async fn load(&self, key: &SessionKey, call: &Arc<CallContext>) -> Answered<Option<Session>>;

    /// The exported `save`.
    async fn save(&self, session: &Session, mode: SaveMode, call: &Arc<CallContext>) -> Answered<SaveOutcome>;

    /// The exported `touch`.
    async fn touch(&self, key: &SessionKey, expires_at: Timestamp, call: &Arc<CallContext>) -> Answered<SaveOutcome>;

    /// The exported `delete`.
    async fn delete(&self, key: &SessionKey, call: &Arc<CallContext>) -> Answered<bool>;

    /// The exported `exists`.
    async fn exists(&self, key: &SessionKey, call: &Arc<CallContext>) -> Answered<bool>;

    /// The exported `clear-expired`.
    async fn clear_expired(&self, limit: u32, call: &Arc<CallContext>) -> Answered<u32>;

    /// The exported `db-for-read`.
    async fn db_for_read(&self, model: &Model, hints: &Hints, call: &Arc<CallContext>) -> Answered<Option<String>>;

    /// The exported `db-for-write`.
    async fn db_for_write(&self, model: &Model, hints: &Hints, call: &Arc<CallContext>) -> Answered<Option<String>>;

    /// The exported `allow-relation`.
    async fn allow_relation(
        &self,
        objects: [&Object; 2],
        hints: &Hints,
        call: &Arc<CallContext>,
    ) -> Answered<Option<bool>>;

    /// The exported `allow-migrate`.
    async fn allow_migrate(
        &self,
        database: &str,
        app_label: &str,
        model_name: Option<&str>,
        hints: &Hints,
        call: &Arc<CallContext>,
    ) -> Answered<Option<bool>>;

    /// The exported `describe`.
    async fn describe(&self, call: &Arc<CallContext>) -> Answered<Description>;

    /// Makes instances ahead of their first use.
    async fn warm(&self, _instances: usize) -> Answered<()> {
        Ok(())
    }

    /// Keeps at most this many idle instances from here on.
    fn keep_idle(&self, _instances_max: usize) {}
}
