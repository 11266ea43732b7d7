//! Tries a policy by itself, on recording fakes. `switchover policy` uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use switchover_contract::{Description, Error as ContractError};
use switchover_core::sync::Mutex;
use switchover_core::{SessionKey, Timestamp};
use switchover_scripts::{Answer, Call, Fakes, Subject};

use crate::call::Failure;
use crate::call::{
    AllowMigrate, AllowRelation, ClearExpired, DbForRead, DbForWrite, Delete, Describe, Exists, Freshness, Grants,
    Load, PolicyScope, Question, Save, Serves, Touch,
};
use crate::error::{Rejection, SwapError};
use crate::limits::{Limits, LimitsInForce};
use crate::load::{Loaded, Loader};
use crate::run::Linked;
use crate::source::Policy;
use crate::trial::{FakeStore, admission, from_fake, to_fake, try_out};

/// A policy without a host, for tools and scripts.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use switchover_runtime::{Isolated, Policy};
/// use switchover_scripts::Script;
///
/// let policy = Isolated::load(&Policy::file("fallback.wasm")).await?;
/// let script = Script::parse("absence", "# There is no session.\nload k1\n---\n-> none\n")?;
/// println!("expected:\n{}came:\n{}", script.expected(), script.run(&policy).await);
/// # Ok(())
/// # }
/// ```
pub struct Isolated {
    loaded: Loaded,
    settings: BTreeMap<String, String>,
    limits: Limits,
    /// The fakes of the running script.
    script: Mutex<Weak<Fakes>>,
}

impl Isolated {
    /// Loads a policy, checks it against the world, and asks for its description.
    ///
    /// # Errors
    ///
    /// [`SwapError::Rejected`] says what is wrong with the policy.
    pub async fn load(policy: &Policy) -> std::result::Result<Self, SwapError> {
        let limits = Limits { calls_in_flight_max: 16, ..Limits::default() };
        let loader = Loader::new(LimitsInForce::new(limits.clone()), BTreeSet::new(), Serves::OneHost, Arc::default());
        let loader =
            loader.map_err(|error| Rejection::Machine.because(format!("no engine can be made here: {error}")))?;
        let settings = policy.settings.clone();
        Ok(Self { loaded: loader.link(policy).await?, settings, limits, script: Mutex::default() })
    }

    /// Runs the trial that a host runs before it takes a policy into use. It runs under these flags, on fakes that have
    /// every database which the policy names.
    ///
    /// # Errors
    ///
    /// [`SwapError::Rejected`] says which vector failed, and how.
    pub async fn try_out(&self, flags: BTreeMap<String, String>) -> std::result::Result<(), SwapError> {
        let linked = self.linked(self.settings.clone(), false);
        let (databases, flags) = (&self.loaded.description.databases, Arc::new(flags.into_iter().collect()));
        let tried = try_out(&linked, databases, flags, &Arc::default(), &self.limits, Serves::OneHost).await;
        tried.map_err(|message| Rejection::Trial.because(message))
    }

    /// The policy's description of itself.
    pub fn description(&self) -> &Description {
        &self.loaded.description
    }

    /// SHA-256 of the component, the name that it gives itself, its settings and its grants.
    pub fn digest(&self) -> &str {
        &self.loaded.digest
    }

    /// The size of the component; 0 for a native policy.
    pub fn component_bytes(&self) -> usize {
        self.loaded.component_bytes
    }

    /// Drops the idle instances when another script begins. An instance may remember its settings, which are constant
    /// for a version, but each script has settings of its own.
    fn begin_script(&self, fakes: &Arc<Fakes>) {
        let mut script = self.script.lock();
        let fakes = Arc::downgrade(fakes);
        if !script.ptr_eq(&fakes) {
            self.loaded.runner.keep_idle(0);
            self.loaded.runner.keep_idle(usize::MAX);
            *script = fakes;
        }
    }

    fn linked(&self, settings: BTreeMap<String, String>, payload: bool) -> Linked {
        // No database is denied here: the fakes deny those that they do not have, and record the request.
        let grants = Grants { databases: None, payload };
        let scope = PolicyScope::new(self.loaded.description.name.clone(), settings, grants, &self.limits);
        Linked { scope, runner: Arc::clone(&self.loaded.runner) }
    }

    /// The policy's answer of the contract. The outer error says why it gave none.
    async fn ask<Q: Question>(
        &self,
        fakes: &Arc<Fakes>,
        question: Q,
    ) -> std::result::Result<std::result::Result<Q::Answer, ContractError>, String> {
        let linked = self.linked(fakes.settings(), fakes.payload_granted());
        let environment = FakeStore::recording(Arc::clone(fakes)).environment(Arc::default());
        let admission = admission(Arc::new(fakes.flags().into_iter().collect()));
        let call = Arc::new(linked.call(&question, &environment, admission, Freshness::Cached));
        match linked.ask(&question, &call, self.limits.call_deadline()).await {
            Ok(answer) => Ok(Ok(answer)),
            Err(refused) => match refused.for_tools() {
                Failure::Answered(error) => Ok(Err(error)),
                failure => Err(failure.to_string()),
            },
        }
    }

    async fn answer(&self, fakes: &Arc<Fakes>, call: Call) -> std::result::Result<Answer, String> {
        let key = |key: String| SessionKey::parse(&key).map_err(|error| error.to_string());
        Ok(match call {
            Call::Load { key: name } => {
                let found = self.ask(fakes, Load(key(name)?)).await?;
                Answer::Session(found.map(|found| found.as_ref().map(to_fake)))
            }
            Call::Save { value, mode, .. } => Answer::Outcome(self.ask(fakes, Save(from_fake(&value), mode)).await?),
            Call::Touch { key: name, expires_at } => {
                let expires_at = Timestamp::from_micros(expires_at);
                Answer::Outcome(self.ask(fakes, Touch(key(name)?, expires_at)).await?)
            }
            Call::Delete { key: name } => Answer::Truth(self.ask(fakes, Delete(key(name)?)).await?),
            Call::Exists { key: name } => Answer::Truth(self.ask(fakes, Exists(key(name)?)).await?),
            Call::ClearExpired { limit } => Answer::Count(self.ask(fakes, ClearExpired(limit)).await?),
            Call::DbForRead { model, hints } => Answer::Database(self.ask(fakes, DbForRead { model, hints }).await?),
            Call::DbForWrite { model, hints } => Answer::Database(self.ask(fakes, DbForWrite { model, hints }).await?),
            Call::AllowRelation { a, b, hints } => {
                Answer::Opinion(self.ask(fakes, AllowRelation { a, b, hints }).await?)
            }
            Call::AllowMigrate { database, app_label, model_name, hints } => {
                let question = AllowMigrate { database, app_label, model_name, hints };
                Answer::Opinion(self.ask(fakes, question).await?)
            }
            Call::Describe => match self.ask(fakes, Describe).await? {
                Ok(description) => Answer::Description(description),
                Err(error) => return Err(error.to_string()),
            },
        })
    }
}

impl Subject for Isolated {
    async fn call(&self, fakes: &Arc<Fakes>, call: &Call) -> Answer {
        self.begin_script(fakes);
        self.answer(fakes, call.clone()).await.unwrap_or_else(Answer::Failed)
    }
}
