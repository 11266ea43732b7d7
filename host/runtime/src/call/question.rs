//! One type for each question to a policy, with the type of its answer. This is the only list of the questions.

use std::sync::Arc;

use switchover_contract::{Description, Hints, Model, Object, SaveMode, SaveOutcome};
use switchover_core::{Session, SessionKey, Timestamp};

use super::asked::{Asked, AskedWrite};
use super::{Answered, CallContext, Evidence, Runner};
use crate::counters::CallKind;
use crate::error::PolicyFault;

/// A question to a policy.
pub trait Question: Send + Sync + Sized + 'static {
    /// The type of its answer.
    type Answer: Send;

    /// Whether the policy may write while it answers.
    const MAY_WRITE: bool;

    /// The kind that it is counted as.
    fn kind(&self) -> CallKind;

    /// What it allows the policy to reach.
    fn asked(&self) -> Asked;

    /// The key that the policy is expected to look up in the cache first; `None` if it is not expected to.
    fn looked_for(&self) -> Option<&SessionKey> {
        None
    }

    /// Puts the question to a policy.
    fn ask(&self, runner: &dyn Runner, call: &Arc<CallContext>) -> impl Future<Output = Answered<Self::Answer>> + Send;

    /// What is wrong with an answer; `None` if it may stand. A policy may return only what the databases answered in
    /// the same call.
    fn fault_in(&self, answer: &Self::Answer, evidence: &Evidence) -> Option<PolicyFault>;
}

/// Asks for the session of a key.
#[derive(Clone, Debug)]
pub struct Load(pub SessionKey);

impl Question for Load {
    type Answer = Option<Session>;
    const MAY_WRITE: bool = false;

    fn kind(&self) -> CallKind {
        CallKind::Load
    }

    fn asked(&self) -> Asked {
        Asked::of_key(&self.0)
    }

    fn looked_for(&self) -> Option<&SessionKey> {
        Some(&self.0)
    }

    async fn ask(&self, runner: &dyn Runner, call: &Arc<CallContext>) -> Answered<Self::Answer> {
        runner.load(&self.0, call).await
    }

    fn fault_in(&self, answer: &Self::Answer, evidence: &Evidence) -> Option<PolicyFault> {
        match answer {
            Some(session) => (session.key != self.0).then_some(PolicyFault::ForeignSession),
            None => (!evidence.shows_absence()).then_some(PolicyFault::FalseAbsence),
        }
    }
}

/// Asks to save a session.
#[derive(Clone, Debug)]
pub struct Save(pub Session, pub SaveMode);

impl Question for Save {
    type Answer = SaveOutcome;
    const MAY_WRITE: bool = true;

    fn kind(&self) -> CallKind {
        match self.1 {
            SaveMode::Create => CallKind::Create,
            SaveMode::Update => CallKind::Save,
        }
    }

    fn asked(&self) -> Asked {
        Asked { write: Some(AskedWrite::Save(self.0.clone(), self.1)), ..Asked::of_key(&self.0.key) }
    }

    async fn ask(&self, runner: &dyn Runner, call: &Arc<CallContext>) -> Answered<Self::Answer> {
        runner.save(&self.0, self.1, call).await
    }

    fn fault_in(&self, answer: &Self::Answer, evidence: &Evidence) -> Option<PolicyFault> {
        fault_in_outcome(*answer, evidence)
    }
}

/// Asks to move the end of a session to a later instant.
#[derive(Clone, Debug)]
pub struct Touch(pub SessionKey, pub Timestamp);

impl Question for Touch {
    type Answer = SaveOutcome;
    const MAY_WRITE: bool = true;

    fn kind(&self) -> CallKind {
        CallKind::Touch
    }

    fn asked(&self) -> Asked {
        Asked { write: Some(AskedWrite::Touch(self.1)), ..Asked::of_key(&self.0) }
    }

    async fn ask(&self, runner: &dyn Runner, call: &Arc<CallContext>) -> Answered<Self::Answer> {
        runner.touch(&self.0, self.1, call).await
    }

    fn fault_in(&self, answer: &Self::Answer, evidence: &Evidence) -> Option<PolicyFault> {
        fault_in_outcome(*answer, evidence)
    }
}

fn fault_in_outcome(outcome: SaveOutcome, evidence: &Evidence) -> Option<PolicyFault> {
    let claimed = match outcome {
        SaveOutcome::Saved => "saved",
        SaveOutcome::Exists => "exists",
        SaveOutcome::Missing => "missing",
        SaveOutcome::Conflict => "conflict",
    };
    false_outcome(evidence.shows_outcome(outcome), claimed)
}

fn false_outcome(is_shown: bool, claimed: &'static str) -> Option<PolicyFault> {
    (!is_shown).then_some(PolicyFault::FalseOutcome { claimed })
}

/// Asks to delete a session. The answer is whether there was one.
#[derive(Clone, Debug)]
pub struct Delete(pub SessionKey);

impl Question for Delete {
    type Answer = bool;
    const MAY_WRITE: bool = true;

    fn kind(&self) -> CallKind {
        CallKind::Delete
    }

    fn asked(&self) -> Asked {
        Asked::of_key(&self.0)
    }

    async fn ask(&self, runner: &dyn Runner, call: &Arc<CallContext>) -> Answered<Self::Answer> {
        runner.delete(&self.0, call).await
    }

    fn fault_in(&self, had: &Self::Answer, evidence: &Evidence) -> Option<PolicyFault> {
        false_outcome(evidence.shows_deleted(*had), if *had { "deleted" } else { "not there to delete" })
    }
}

/// Asks whether a key is taken, also by a session that has ended.
#[derive(Clone, Debug)]
pub struct Exists(pub SessionKey);

impl Question for Exists {
    type Answer = bool;
    const MAY_WRITE: bool = false;

    fn kind(&self) -> CallKind {
        CallKind::Exists
    }

    fn asked(&self) -> Asked {
        Asked::of_key(&self.0)
    }

    async fn ask(&self, runner: &dyn Runner, call: &Arc<CallContext>) -> Answered<Self::Answer> {
        runner.exists(&self.0, call).await
    }

    fn fault_in(&self, exists: &Self::Answer, evidence: &Evidence) -> Option<PolicyFault> {
        false_outcome(evidence.shows_exists(*exists), if *exists { "it exists" } else { "it does not exist" })
    }
}

/// Asks to delete at most this many rows that have ended. The answer is how many were deleted.
#[derive(Clone, Debug)]
pub struct ClearExpired(pub u32);

impl Question for ClearExpired {
    type Answer = u32;
    const MAY_WRITE: bool = true;

    fn kind(&self) -> CallKind {
        CallKind::ClearExpired
    }

    fn asked(&self) -> Asked {
        Asked { cleans: true, ..Asked::default() }
    }

    async fn ask(&self, runner: &dyn Runner, call: &Arc<CallContext>) -> Answered<Self::Answer> {
        runner.clear_expired(self.0, call).await
    }

    fn fault_in(&self, count: &Self::Answer, evidence: &Evidence) -> Option<PolicyFault> {
        false_outcome(evidence.shows_cleared(*count), "more cleared than the databases cleared")
    }
}

/// A question to the router. No evidence is needed for its answer.
macro_rules! routed {
    (
        $(#[$doc:meta])*
        $question:ident { $($field:ident: $type:ty),* } -> $answer:ty, $ask:ident($($argument:expr),*)
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        #[expect(missing_docs, reason = "`wit/router.wit` says what each argument means")]
        pub struct $question { $(pub $field: $type,)* pub hints: Hints }

        impl Question for $question {
            type Answer = $answer;
            const MAY_WRITE: bool = false;

            fn kind(&self) -> CallKind {
                CallKind::Route
            }

            fn asked(&self) -> Asked {
                Asked::of_router(&self.hints)
            }

            async fn ask(&self, runner: &dyn Runner, call: &Arc<CallContext>) -> Answered<Self::Answer> {
                let Self { $($field,)* hints } = self;
                runner.$ask($($argument,)* hints, call).await
            }

            fn fault_in(&self, _answer: &Self::Answer, _evidence: &Evidence) -> Option<PolicyFault> {
                None
            }
        }
    };
}

routed! {
    /// Asks for the database to read a model from. `None` means no opinion.
    DbForRead { model: Model } -> Option<String>, db_for_read(model)
}
routed! {
    /// Asks for the database to write a model to. `None` means no opinion.
    DbForWrite { model: Model } -> Option<String>, db_for_write(model)
}
routed! {
    /// Asks whether two objects may be related. `None` means no opinion.
    AllowRelation { a: Object, b: Object } -> Option<bool>, allow_relation([a, b])
}
routed! {
    /// Asks whether tables of an application, or of one model of it, belong into a database. `None` means no opinion.
    AllowMigrate { database: String, app_label: String, model_name: Option<String> } -> Option<bool>,
    allow_migrate(database, app_label, model_name.as_deref())
}

/// Asks a policy to describe itself.
#[derive(Clone, Debug)]
pub(crate) struct Describe;

impl Question for Describe {
    type Answer = Description;
    const MAY_WRITE: bool = false;

    fn kind(&self) -> CallKind {
        CallKind::Route
    }

    fn asked(&self) -> Asked {
        Asked::default()
    }

    async fn ask(&self, runner: &dyn Runner, call: &Arc<CallContext>) -> Answered<Self::Answer> {
        runner.describe(call).await
    }

    fn fault_in(&self, _answer: &Self::Answer, _evidence: &Evidence) -> Option<PolicyFault> {
        None
    }
}
