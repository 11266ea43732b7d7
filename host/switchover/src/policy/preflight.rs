//! A policy is tried before it is published: it describes itself, and runs the conformance vectors on databases in memory, under
//! the settings and flags in force.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use switchover_contract::{Description, Hints, Model, SaveMode, SaveOutcome};
use switchover_scripts::Fakes;

use super::run::run;
use super::runner::{Answer, Call, RouterCall, Runner};
use super::version::Version;
use crate::capabilities::FlagSnapshot;
use crate::counters::Counters;
use crate::error::Error;
use crate::fakes::{FakeClock, FakeStore};
use crate::gate::Gate;
use crate::imports::{CallContext, Environment, Grants, PolicyScope};
use crate::limits::Limits;
use crate::session::{Payload, Session, SessionKey, Timestamp};
use crate::version::PolicyVersion;

/// Asks a policy what it says of itself; it may read settings, and nothing else.
pub(super) async fn describe(
    runner: &Arc<dyn Runner>,
    settings: BTreeMap<String, String>,
    counters: &Arc<Counters>,
    limits: &Limits,
) -> Result<Description, String> {
    let scope = PolicyScope {
        name: "(being loaded)".to_owned(),
        settings,
        grants: Grants { databases: Some(BTreeSet::new()), payload: false },
        host_calls_max: limits.host_calls_max,
        looks_first: AtomicBool::new(true),
        payload_read: AtomicBool::new(false),
    };
    let id = PolicyVersion {
        name: scope.name.clone(),
        version: String::new(),
        protocol: String::new(),
        digest: String::new(),
        generation: 0,
    };
    let version = Version::new(id, Description::default(), Arc::new(scope), Arc::clone(runner));
    let trial = Trial::new(Arc::new(version), Arc::default(), counters, limits);
    match trial.call(Call::Describe).await? {
        Answer::Description(description) => check_description(*description),
        _ => Err("it gave no description".to_owned()),
    }
}

/// A description is shown to operators and stands in logs.
fn check_description(description: Description) -> Result<Description, String> {
    let Description { name, version, protocol, databases, flags, attributes } = &description;
    let is_nameless = name.trim().is_empty() || protocol.trim().is_empty();
    let attributes = attributes.iter().flat_map(|(name, value)| [name, value]);
    let texts = [name, version, protocol].into_iter().chain(databases).chain(flags).chain(attributes);
    let has_controls = texts.into_iter().any(|text| text.contains(char::is_control));
    match (is_nameless, has_controls) {
        (true, _) => Err("it describes itself without a name or a protocol".to_owned()),
        (false, true) => Err("it describes itself with control characters".to_owned()),
        (false, false) => Ok(description),
    }
}

/// Runs the conformance vectors; the error tells which one failed and how.
pub(crate) async fn try_out(
    version: &Arc<Version>,
    flags: Arc<FlagSnapshot>,
    counters: &Arc<Counters>,
    limits: &Limits,
) -> Result<(), String> {
    let trial = Trial::new(Arc::clone(version), flags, counters, limits);
    let now = trial.now;
    let key = SessionKey::parse("conformance0vector0session0key00").expect("the vectors' key is valid");
    let payload = Payload::parse("trial").expect("the vectors' payload is valid");
    let session = Session { key: key.clone(), payload, expires_at: now.plus(Duration::from_secs(60)) };
    let later = now.plus(Duration::from_secs(120));

    trial
        .expect("load of an absent session", Call::Load(key.clone()), |answer| matches!(answer, Answer::Session(None)))
        .await?;
    trial.expect("create", Call::Save(session.clone(), SaveMode::Create), is_saved).await?;
    trial
        .expect(
            "load of a created session",
            Call::Load(key.clone()),
            |answer| matches!(answer, Answer::Session(Some(found)) if found.payload == session.payload),
        )
        .await?;
    trial.expect("exists", Call::Exists(key.clone()), |answer| matches!(answer, Answer::Exists(true))).await?;
    trial.expect("update", Call::Save(session.clone(), SaveMode::Update), is_saved).await?;
    trial.expect("touch", Call::Touch(key.clone(), later), is_saved).await?;
    trial.expect("delete", Call::Delete(key.clone()), |answer| matches!(answer, Answer::Deleted(true))).await?;
    trial
        .expect("load of a deleted session", Call::Load(key.clone()), |answer| matches!(answer, Answer::Session(None)))
        .await?;
    trial
        .expect("update of a deleted session", Call::Save(session.clone(), SaveMode::Update), |answer| {
            matches!(answer, Answer::Outcome(SaveOutcome::Missing))
        })
        .await?;
    trial.expect("clear-expired", Call::ClearExpired(10), |answer| matches!(answer, Answer::Count(0))).await?;
    let model = Model { app_label: "sessions".to_owned(), model_name: "session".to_owned() };
    let routed = |answer: &Answer| match answer {
        Answer::Database(Some(name)) => version.description.databases.contains(name),
        Answer::Database(None) => true,
        _ => false,
    };
    trial.expect("db-for-read", RouterCall::DbForRead(model.clone(), Hints::default()).into(), routed).await?;
    trial.expect("db-for-write", RouterCall::DbForWrite(model, Hints::default()).into(), routed).await
}

fn is_saved(answer: &Answer) -> bool {
    matches!(answer, Answer::Outcome(SaveOutcome::Saved))
}

/// One policy on databases in memory.
struct Trial<'a> {
    version: Arc<Version>,
    environment: Arc<Environment>,
    flags: Arc<FlagSnapshot>,
    limits: &'a Limits,
    now: Timestamp,
}

impl<'a> Trial<'a> {
    fn new(version: Arc<Version>, flags: Arc<FlagSnapshot>, counters: &Arc<Counters>, limits: &'a Limits) -> Self {
        let fakes = Fakes::new(version.description.databases.iter().map(String::as_str));
        let now = Timestamp::from_micros(fakes.now());
        let fakes = Arc::new(fakes);
        let environment = Environment {
            reach: Arc::new(FakeStore::as_store(Arc::clone(&fakes))),
            clock: Arc::new(FakeClock(fakes)),
            counters: Arc::clone(counters),
        };
        Self { version, environment: Arc::new(environment), flags, limits, now }
    }

    async fn expect(&self, what: &str, call: Call, expected: impl Fn(&Answer) -> bool) -> Result<(), String> {
        let answer = self.call(call).await.map_err(|error| format!("in its trial, {what}: {error}"))?;
        if expected(&answer) { Ok(()) } else { Err(format!("in its trial, {what}: it gave a wrong answer")) }
    }

    async fn call(&self, call: Call) -> Result<Answer, String> {
        let context = Arc::new(CallContext::new(
            (call.key().cloned(), call.asked()),
            Arc::clone(&self.version.scope),
            Arc::clone(&self.environment),
            Arc::clone(&self.flags),
            Gate::open().enter().expect("a new gate is open"),
        ));
        let answer = run(&self.version, call, Arc::clone(&context), self.limits.call_deadline()).await;
        match (context.denied(), answer) {
            (Some(denied), _) => Err(denied),
            (None, Ok(answer)) => Ok(answer),
            // The policy's name is not known yet, or said by the caller already.
            (None, Err(Error::Policy { source, .. })) => Err(source.to_string()),
            (None, Err(error)) => Err(error.to_string()),
        }
    }
}
