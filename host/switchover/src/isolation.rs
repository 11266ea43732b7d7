//! A policy tried by itself, on recording fakes: what `switchover policy` and the trial before a swap use.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use switchover_contract::Description;
use switchover_scripts::{self as scripts, Fakes, Subject};

use crate::capabilities::FlagSnapshot;
use crate::counters::Counters;
use crate::error::{Error, SwapError};
use crate::fakes::{FakeClock, FakeStore, from_fake, to_fake};
use crate::gate::Gate;
use crate::imports::{CallContext, Environment, Grants, PolicyScope};
use crate::limits::Limits;
use crate::policy::{Answer, Call, Loaded, Loader, Policy, PolicyEngine, RouterCall, Version, run, try_out};
use crate::session::{SessionKey, Timestamp};
use crate::version::PolicyVersion;

/// A policy by itself.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use switchover::{Policy, isolation::Isolated};
/// use switchover_scripts::Script;
///
/// let policy = Isolated::load(&Policy::file("fallback.wasm")).await?;
/// println!("{:?}", policy.description());
/// # Ok(())
/// # }
/// ```
pub struct Isolated {
    loaded: Loaded,
    settings: BTreeMap<String, String>,
    limits: Limits,
    /// The fakes of the script that runs.
    script: Mutex<Weak<Fakes>>,
}

impl Isolated {
    /// Loads a policy, checks it against the world, and asks what it says of itself.
    ///
    /// # Errors
    ///
    /// [`SwapError::Rejected`] says what is wrong with it.
    pub async fn load(policy: &Policy) -> std::result::Result<Self, SwapError> {
        let limits = Limits::default();
        let engine = PolicyEngine::new(&Limits { calls_in_flight_max: 16, ..limits.clone() })
            .map_err(|error| SwapError::Rejected { message: format!("no engine can be made here: {error}") })?;
        let loader = Loader::new(engine, limits.clone(), Default::default(), Arc::<Counters>::default());
        Ok(Self {
            loaded: loader.link(policy).await?,
            settings: policy.settings().clone(),
            limits,
            script: Mutex::default(),
        })
    }

    /// Runs the conformance vectors that a host runs before it takes a policy into use, under these flags, on a host that has every
    /// database which the policy names.
    ///
    /// # Errors
    ///
    /// [`SwapError::Rejected`] says which vector failed, and how.
    pub async fn try_out(&self, flags: BTreeMap<String, String>) -> std::result::Result<(), SwapError> {
        let description = &self.loaded.description;
        let fakes = Fakes::new(description.databases.iter().map(String::as_str));
        self.settings.iter().for_each(|(name, value)| fakes.set_setting(name, value));
        let flags: FlagSnapshot = flags.into_iter().collect();
        try_out(&self.version(&fakes), Arc::new(flags), &Arc::default(), &self.limits)
            .await
            .map_err(|message| SwapError::Rejected { message })
    }

    /// What the policy says of itself.
    pub fn description(&self) -> &Description {
        &self.loaded.description
    }

    /// SHA-256 of the component, its settings and its grants.
    pub fn digest(&self) -> &str {
        &self.loaded.digest
    }

    /// The size of the component.
    pub fn component_bytes(&self) -> usize {
        self.loaded.component_bytes
    }

    /// An instance may keep its settings, which are constant for a version: a script with settings of its own gets new ones.
    fn begin_script(&self, fakes: &Arc<Fakes>) {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        let fakes = Arc::downgrade(fakes);
        if !script.ptr_eq(&fakes) {
            self.loaded.runner.keep_idle(0);
            self.loaded.runner.keep_idle(usize::MAX);
            *script = fakes;
        }
    }

    fn version(&self, fakes: &Fakes) -> Arc<Version> {
        let scope = PolicyScope {
            name: self.loaded.description.name.clone(),
            settings: fakes.settings(),
            // The fakes deny what they do not have, and record that they were asked.
            grants: Grants { databases: None, payload: fakes.payload_granted() },
            host_calls_max: self.limits.host_calls_max,
            looks_first: AtomicBool::new(true),
            payload_read: AtomicBool::new(false),
        };
        let id = PolicyVersion {
            name: self.loaded.description.name.clone(),
            version: self.loaded.description.version.clone(),
            protocol: self.loaded.description.protocol.clone(),
            digest: self.loaded.digest.clone(),
            generation: 0,
        };
        let description = self.loaded.description.clone();
        Arc::new(Version::new(id, description, Arc::new(scope), Arc::clone(&self.loaded.runner)))
    }
}

impl Subject for Isolated {
    async fn call(&self, fakes: &Arc<Fakes>, call: &scripts::Call) -> scripts::Answer {
        self.begin_script(fakes);
        let version = self.version(fakes);
        let flags: Arc<FlagSnapshot> = Arc::new(fakes.flags().into_iter().collect());
        let ticket = Gate::open().enter().expect("a new gate is open");
        let call = match call_from_script(call) {
            Ok(call) => call,
            Err(message) => return scripts::Answer::Failed(message),
        };
        let environment = Environment {
            reach: Arc::new(FakeStore::recording(Arc::clone(fakes))),
            clock: Arc::new(FakeClock(Arc::clone(fakes))),
            counters: Arc::default(),
        };
        let (asked, scope) = ((call.key().cloned(), call.asked()), Arc::clone(&version.scope));
        let context = Arc::new(CallContext::new(asked, scope, Arc::new(environment), flags, ticket));
        let kind = AnswerKind::of(&call);
        match run(&version, call, context, self.limits.call_deadline()).await {
            Ok(answer) => answer_for_script(answer),
            Err(error) => kind.failed(error),
        }
    }
}

fn call_from_script(call: &scripts::Call) -> std::result::Result<Call, String> {
    let key = |key: &str| SessionKey::parse(key).map_err(|error| error.to_string());
    Ok(match call.clone() {
        scripts::Call::Load { key: name } => Call::Load(key(&name)?),
        scripts::Call::Save { value, mode, .. } => Call::Save(from_fake(&value), mode),
        scripts::Call::Touch { key: name, expires_at } => Call::Touch(key(&name)?, Timestamp::from_micros(expires_at)),
        scripts::Call::Delete { key: name } => Call::Delete(key(&name)?),
        scripts::Call::Exists { key: name } => Call::Exists(key(&name)?),
        scripts::Call::ClearExpired { limit } => Call::ClearExpired(limit),
        scripts::Call::DbForRead { model, hints } => RouterCall::DbForRead(model, hints).into(),
        scripts::Call::DbForWrite { model, hints } => RouterCall::DbForWrite(model, hints).into(),
        scripts::Call::AllowRelation { a, b, hints } => RouterCall::AllowRelation(a, b, hints).into(),
        scripts::Call::AllowMigrate { database, app_label, model_name, hints } => {
            RouterCall::AllowMigrate { database, app_label, model_name, hints }.into()
        }
        scripts::Call::Describe => Call::Describe,
    })
}

fn answer_for_script(answer: Answer) -> scripts::Answer {
    match answer {
        Answer::Session(found) => scripts::Answer::Session(Ok(found.as_ref().map(to_fake))),
        Answer::Outcome(outcome) => scripts::Answer::Outcome(Ok(outcome)),
        Answer::Deleted(truth) | Answer::Exists(truth) => scripts::Answer::Truth(Ok(truth)),
        Answer::Count(count) => scripts::Answer::Count(Ok(count)),
        Answer::Database(name) => scripts::Answer::Database(Ok(name)),
        Answer::Opinion(opinion) => scripts::Answer::Opinion(Ok(opinion)),
        Answer::Description(description) => scripts::Answer::Description(*description),
    }
}

/// Which answer a call would have had, for its error.
#[derive(Clone, Copy)]
enum AnswerKind {
    Session,
    Outcome,
    Truth,
    Count,
    Database,
    Opinion,
    Description,
}

impl AnswerKind {
    fn of(call: &Call) -> Self {
        match call {
            Call::Load(_) => Self::Session,
            Call::Save(..) | Call::Touch(..) => Self::Outcome,
            Call::Delete(_) | Call::Exists(_) => Self::Truth,
            Call::ClearExpired(_) => Self::Count,
            Call::Route(call) => match **call {
                RouterCall::DbForRead(..) | RouterCall::DbForWrite(..) => Self::Database,
                RouterCall::AllowRelation(..) | RouterCall::AllowMigrate { .. } => Self::Opinion,
            },
            Call::Describe => Self::Description,
        }
    }

    fn failed(self, error: Error) -> scripts::Answer {
        use switchover_contract::ErrorCode;
        let error = match error {
            Error::Policy { source, .. } => return scripts::Answer::Failed(source.to_string()),
            Error::Invalid { code, message } | Error::Unavailable { code, message } => {
                switchover_contract::Error::new(code, message)
            }
            Error::UnknownOutcome { message } => switchover_contract::Error::new(ErrorCode::UnknownOutcome, message),
            Error::Overloaded { message } => switchover_contract::Error::new(ErrorCode::Overloaded, message),
            error @ (Error::CycleIncomplete { .. } | Error::Closed) => {
                return scripts::Answer::Failed(error.to_string());
            }
        };
        match self {
            Self::Session => scripts::Answer::Session(Err(error)),
            Self::Outcome => scripts::Answer::Outcome(Err(error)),
            Self::Truth => scripts::Answer::Truth(Err(error)),
            Self::Count => scripts::Answer::Count(Err(error)),
            Self::Database => scripts::Answer::Database(Err(error)),
            Self::Opinion => scripts::Answer::Opinion(Err(error)),
            Self::Description => scripts::Answer::Failed(error.to_string()),
        }
    }
}
