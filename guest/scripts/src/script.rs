//! A golden script: what to set up, what to call, and the trace that is expected.

use std::fmt;
use std::sync::Arc;

use switchover_guest::ErrorCode;

use super::call::Call;
use super::fakes::Fakes;
use super::function::{Function, Scope};
use super::parse;
use super::session::FakeSession;
use super::subject::Subject;

/// A script. The module's documentation has the language.
#[derive(Debug)]
pub struct Script {
    pub(super) name: String,
    pub(super) claim: String,
    pub(super) databases: Vec<String>,
    pub(super) steps: Vec<Step>,
    pub(super) input: String,
    pub(super) expected: String,
}

/// Why a text is no script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// The script's name.
    pub script: String,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.script, self.line, self.message)
    }
}

impl std::error::Error for ScriptError {}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Setting(String, String),
    Flag(String, String),
    GrantPayload,
    Row(String, FakeSession),
    Cached(FakeSession),
    Clock(u64),
    Fail { function: Function, database: Option<String>, code: ErrorCode, times: Option<u32> },
    Latency { function: Function, database: Option<String>, micros: u64 },
    Call(Call),
    Rows,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    ///
    /// The first line that is not in the language, with what to write instead.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScriptError> {
        parse::script(name, text)
    }

    /// The script's name, as given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the script claims: its first line.
    pub fn claim(&self) -> &str {
        &self.claim
    }

    /// The trace that is expected.
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// The whole text with another trace.
    pub fn with_expected(&self, trace: &str) -> String {
        format!("{}---\n{trace}", self.input)
    }

    /// Runs the script on fakes of its own; the trace, a line for each thing that happened.
    pub async fn run<S: Subject>(&self, subject: &S) -> String {
        let fakes = Arc::new(Fakes::new(self.databases.iter().map(String::as_str)));
        for step in &self.steps {
            perform(step, &fakes, subject).await;
        }
        fakes.trace().into_iter().map(|line| line + "\n").collect()
    }
}

async fn perform<S: Subject>(step: &Step, fakes: &Arc<Fakes>, subject: &S) {
    match step {
        Step::Setting(name, value) => fakes.set_setting(name, value),
        Step::Flag(name, value) => fakes.set_flag(name, value),
        Step::GrantPayload => fakes.grant_payload(),
        Step::Row(database, session) => fakes.put_row(database, session),
        Step::Cached(session) => fakes.put_cached(session),
        Step::Clock(micros) => fakes.advance(*micros),
        Step::Fail { function, database, code, times } => fakes.fail(*function, database.as_deref(), *code, *times),
        Step::Latency { function, database, micros } => fakes.delay(*function, database.as_deref(), *micros),
        Step::Call(call) => {
            fakes.set_scope(call.scope());
            let answer = match call {
                Call::Save { key, value, mode } => {
                    let value = fakes.hand_out(value);
                    subject.call(fakes, &Call::Save { key: key.clone(), value, mode: *mode }).await
                }
                call => subject.call(fakes, call).await,
            };
            fakes.set_scope(Scope::Any);
            fakes.record(format!("{call} -> {answer}"));
        }
        Step::Rows => fakes.contents().into_iter().for_each(|line| fakes.record(line)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, block_on};

    /// Answers every call with what the fakes' `default` has, without asking where it should.
    struct Direct;

    impl Subject for Direct {
        async fn call(&self, fakes: &Arc<Fakes>, call: &Call) -> Answer {
            match call {
                Call::Load { key } => Answer::Session(fakes.load("default", key)),
                Call::Delete { .. } => Answer::Session(fakes.load("default", "another0")),
                _ => Answer::Failed("not of this test".to_owned()),
            }
        }
    }

    fn run(text: &str) -> String {
        block_on(Script::parse("test", text).unwrap().run(&Direct))
    }

    #[test]
    fn what_happens_is_traced_in_order() {
        let trace = run("# It does.
row default k1 expires=+60s payload=v1
load k1
clock +60s
load k1
fail databases.load default timeout times=1
load k1
load k1
rows
");
        let expected = "databases.load default k1 -> v1
load k1 -> v1
databases.load default k1 -> none
load k1 -> none
databases.load default k1 -> error timeout
load k1 -> error timeout
databases.load default k1 -> none
load k1 -> none
row default k1 expires=+60s payload=v1
";
        assert_eq!(trace, expected);
    }

    #[test]
    fn another_key_than_the_calls_is_denied() {
        let trace = run("# It is.\ndelete k1\n");
        assert_eq!(trace, "databases.load default another0 -> error denied\ndelete k1 -> error denied\n");
    }

    #[test]
    fn latency_moves_the_clock() {
        let trace = run("# It does.
latency databases.load default 20ms
row default k1 expires=+30ms payload=v1
load k1
load k1
");
        assert!(trace.ends_with("load k1 -> v1\ndatabases.load default k1 -> none\nload k1 -> none\n"), "{trace}");
    }

    #[test]
    fn a_new_trace_leaves_the_input_as_it_is() {
        let text = "# A claim.\n\n# A remark.\nload k1\n---\nold\n";
        let script = Script::parse("test", text).unwrap();
        assert_eq!(script.with_expected("new\n"), "# A claim.\n\n# A remark.\nload k1\n---\nnew\n");
        assert_eq!((script.claim(), script.expected()), ("A claim.", "old\n"));
    }
}
