//! One type for each question that a policy is asked, with the type of its answer. Nothing else lists them.

use std::sync::Arc;

use switchover_contract::{Description, Hints, Model, Object, SaveMode, SaveOutcome};
use switchover_core::{Session, SessionKey, Timestamp};

use super::asked::{Asked, AskedWrite};
use super::{Answered, CallContext, Evidence, Runner};
use crate::counters::CallKind;
use crate::error::PolicyFault;

/// A question to a policy.
pub trait Question: Send + Sync + Sized + 'static {
    /// What it is answered with.
    type Answer: Send;

    /// Whether the policy may change anything on the way.
    const MAY_WRITE: bool;

    /// What it is counted as.
    fn kind(&self) -> CallKind;

    /// What it lets the policy reach.
    fn asked(&self) -> Asked;

    /// The key that the policy will look for in the cache, if it does what most do.
    fn looked_for(&self) -> Option<&SessionKey> {
        None
    }

    /// Puts it to a policy.
    fn ask(&self, runner: &dyn Runner, call: &Arc<CallContext>) -> impl Future<Output = Answered<Self::Answer>> + Send;

    /// What is wrong with an answer: a policy tells only what the databases told it in the same call.
    fn fault_in(&self, answer: &Self::Answer, evidence: &Evidence) -> Option<PolicyFault>;
}

/// The session of a key.
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

/// A session to be written.
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

/// The end of a session to be moved to a later instant.
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

/// A session to be ended; the answer is whether it was there.
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

/// Whether a key is taken, also by a session that has ended.
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

/// So many rows that have ended to be deleted at most; the answer is how many were.
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

/// A question of the router, whose answer no database has to have given.
macro_rules! routed {
    ($(#[$doc:meta])* $question:ident { $($field:ident: $type:ty),* } -> $answer:ty, $ask:ident($($argument:expr),*)) => {
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
    /// The database to read a model from; `None`: no opinion.
    DbForRead { model: Model } -> Option<String>, db_for_read(model)
}
routed! {
    /// The database to write a model to; `None`: no opinion.
    DbForWrite { model: Model } -> Option<String>, db_for_write(model)
}
routed! {
    /// Whether two objects may be related; `None`: no opinion.
    AllowRelation { a: Object, b: Object } -> Option<bool>, allow_relation([a, b])
}
routed! {
    /// Whether a migration of Django's may run on a database; `None`: no opinion.
    AllowMigrate { database: String, app_label: String, model_name: Option<String> } -> Option<bool>,
    allow_migrate(database, app_label, model_name.as_deref())
}

/// What a policy says of itself.
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
