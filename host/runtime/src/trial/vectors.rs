//! Tries a policy before it is published. The policy describes itself, and answers the vectors on databases in memory,
//! under the settings and flags in force.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use switchover_contract::{Description, Hints, Model, SaveMode, SaveOutcome};
use switchover_core::capabilities::FlagSnapshot;
use switchover_core::{Payload, Session, SessionKey, Timestamp};
use switchover_scripts::Fakes;

use super::fakes::{FakeStore, admission};
use crate::call::Runner;
use crate::call::{
    ClearExpired, DbForRead, DbForWrite, Delete, Describe, Environment, Exists, Freshness, Grants, Load, PolicyScope,
    Question, Save, Serves, Touch,
};
use crate::counters::Counters;
use crate::limits::Limits;
use crate::run::Linked;

/// Asks a policy to describe itself. The policy may use no database.
pub(crate) async fn describe(
    runner: Arc<dyn Runner>,
    settings: BTreeMap<String, String>,
    counters: &Arc<Counters>,
    limits: &Limits,
) -> Result<Description, String> {
    let grants = Grants { databases: Some(BTreeSet::new()), payload: false };
    let scope = PolicyScope::new("(being loaded)".to_owned(), settings, grants, limits);
    let linked = Linked { scope, runner };
    let trial = Trial::new(&linked, &[], Arc::default(), counters, limits, Serves::OneHost);
    check_description(trial.ask(Describe).await?)
}

/// Checks a description, because it is shown to operators and written to logs.
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

/// Runs the vectors of the trial. The error names the one that failed, and says how.
pub(crate) async fn try_out(
    linked: &Linked,
    databases: &[String],
    flags: Arc<FlagSnapshot>,
    counters: &Arc<Counters>,
    limits: &Limits,
    serves: Serves,
) -> Result<(), String> {
    let trial = Trial::new(linked, databases, flags, counters, limits, serves);
    let key = SessionKey::parse("conformance0vector0session0key00").expect("the vectors' key is valid");
    let payload = Payload::from("trial");
    let session = Session::new(key.clone(), payload, trial.now.plus(Duration::from_secs(60)));
    let later = trial.now.plus(Duration::from_secs(120));
    let save = |mode| Save(session.clone(), mode);
    let saved = |outcome: &SaveOutcome| *outcome == SaveOutcome::Saved;

    trial.expect("load of an absent session", Load(key.clone()), Option::is_none).await?;
    trial.expect("create", save(SaveMode::Create), saved).await?;
    let is_found = |found: &Option<Session>| found.as_ref().is_some_and(|found| found.payload == session.payload);
    trial.expect("load of a created session", Load(key.clone()), is_found).await?;
    trial.expect("exists", Exists(key.clone()), |exists| *exists).await?;
    trial.expect("update", save(SaveMode::Update), saved).await?;
    trial.expect("touch", Touch(key.clone(), later), saved).await?;
    trial.expect("delete", Delete(key.clone()), |had| *had).await?;
    trial.expect("load of a deleted session", Load(key.clone()), Option::is_none).await?;
    let is_missing = |outcome: &SaveOutcome| *outcome == SaveOutcome::Missing;
    trial.expect("update of a deleted session", save(SaveMode::Update), is_missing).await?;
    trial.expect("clear-expired", ClearExpired(10), |cleared| *cleared == 0).await?;

    let (model, hints) = (Model { app_label: "sessions".into(), model_name: "session".into() }, Hints::default());
    let is_its_own = |name: &Option<String>| name.as_ref().is_none_or(|name| databases.contains(name));
    let read = DbForRead { model: model.clone(), hints: hints.clone() };
    trial.expect("db-for-read", read, is_its_own).await?;
    trial.expect("db-for-write", DbForWrite { model, hints }, is_its_own).await
}

/// One policy on databases in memory.
struct Trial<'a> {
    linked: &'a Linked,
    environment: Arc<Environment>,
    flags: Arc<FlagSnapshot>,
    limits: &'a Limits,
    now: Timestamp,
}

impl<'a> Trial<'a> {
    fn new(
        linked: &'a Linked,
        databases: &[String],
        flags: Arc<FlagSnapshot>,
        counters: &Arc<Counters>,
        limits: &'a Limits,
        serves: Serves,
    ) -> Self {
        let fakes = Arc::new(Fakes::new(databases.iter().map(String::as_str)));
        let now = Timestamp::from_micros(fakes.now());
        let environment = FakeStore::as_store(fakes, serves).environment(Arc::clone(counters));
        Self { linked, environment, flags, limits, now }
    }

    async fn expect<Q: Question>(
        &self,
        what: &str,
        question: Q,
        expected: impl Fn(&Q::Answer) -> bool,
    ) -> Result<(), String> {
        let answer = self.ask(question).await.map_err(|error| format!("in its trial, {what}: {error}"))?;
        if expected(&answer) { Ok(()) } else { Err(format!("in its trial, {what}: it gave a wrong answer")) }
    }

    async fn ask<Q: Question>(&self, question: Q) -> Result<Q::Answer, String> {
        let admission = admission(Arc::clone(&self.flags));
        let call = Arc::new(self.linked.call(&question, &self.environment, admission, Freshness::Cached));
        let answer = self.linked.ask(&question, &call, self.limits.call_deadline()).await;
        // The message need not name the policy: its name is not known yet, or the caller adds it.
        call.evidence.denied().map_or(answer.map_err(|refused| refused.for_tools().to_string()), Err)
    }
}
