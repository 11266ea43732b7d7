//! A golden script: commands, and the output that is expected of them.

use std::fmt::{self, Write};
use std::sync::Arc;

use switchover_guest::ErrorCode;

use super::call::Call;
use super::fakes::Fakes;
use super::function::{Function, Scope};
use super::session::FakeSession;
use super::subject::Subject;

/// The line between commands and their output.
pub(super) const SEPARATOR: &str = "---";

/// What `rows` prints when there is nothing.
pub(super) const NO_ROWS: &str = "no rows";

/// A script. The crate's documentation has the language.
#[derive(Debug)]
pub struct Script {
    pub(super) name: String,
    pub(super) claim: String,
    pub(super) databases: Vec<String>,
    pub(super) blocks: Vec<Block>,
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

/// Commands, and what they print.
#[derive(Debug)]
pub(super) struct Block {
    /// The commands as they were written, with their comments.
    pub(super) input: String,
    pub(super) steps: Vec<Step>,
    pub(super) expected: Vec<String>,
}

/// What a command does.
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
    /// The script's name, as given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the script claims: its first line.
    pub fn claim(&self) -> &str {
        &self.claim
    }

    /// The script as a text, with the output that is expected.
    pub fn expected(&self) -> String {
        self.text(self.blocks.iter().map(|block| &block.expected[..]))
    }

    /// Runs the script on fakes of its own; returns it as a text, with the output that came. A script passes if this is
    /// [`Script::expected`].
    pub async fn run<S: Subject>(&self, subject: &S) -> String {
        let fakes = Arc::new(Fakes::new(self.databases.iter().map(String::as_str)));
        let mut outputs = Vec::new();
        for block in &self.blocks {
            for step in &block.steps {
                perform(step, &fakes, subject).await;
            }
            outputs.push(fakes.take_trace());
        }
        self.text(outputs.iter().map(Vec::as_slice))
    }

    fn text<'o>(&self, outputs: impl Iterator<Item = &'o [String]>) -> String {
        let mut text = String::new();
        for (block, output) in self.blocks.iter().zip(outputs) {
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}{}\n{SEPARATOR}", block.input);
            output.iter().for_each(|line| text.extend([line, "\n"]));
        }
        text
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
        Step::Call(call) => make(call, fakes, subject).await,
        Step::Rows => print_rows(fakes),
    }
}

async fn make<S: Subject>(call: &Call, fakes: &Arc<Fakes>, subject: &S) {
    fakes.set_scope(call.scope());
    let answer = match call {
        Call::Save { key, value, mode } => {
            let value = fakes.hand_out(value);
            subject.call(fakes, &Call::Save { key: key.clone(), value, mode: *mode }).await
        }
        call => subject.call(fakes, call).await,
    };
    fakes.set_scope(Scope::Any);
    fakes.record(format!("-> {answer}"));
}

fn print_rows(fakes: &Fakes) {
    let rows = fakes.contents();
    if rows.is_empty() {
        fakes.record(NO_ROWS);
    }
    rows.into_iter().for_each(|row| fakes.record(row));
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
                _ => Answer::Failed("not of\n\nthis test".to_owned()),
            }
        }
    }

    fn run(text: &str) -> String {
        block_on(Script::parse("test", text).unwrap().run(&Direct))
    }

    #[test]
    fn output_stands_below_its_commands() {
        let text = "# It does.
rows
---
no rows

# The row is there for a minute.
row default k1 expires=+60s payload=v1

load k1
---
databases.load default k1 -> v1
-> v1

clock +60s
load k1
---
databases.load default k1 -> none
-> none

fail databases.load default timeout times=1
load k1
load k1
---
databases.load default k1 -> error timeout
-> error timeout
databases.load default k1 -> none
-> none

rows
---
row default k1 expires=+60s payload=v1
";
        assert_eq!(run(text), text);
        assert_eq!(Script::parse("test", text).unwrap().expected(), text);
    }

    #[test]
    fn another_key_than_the_calls_is_denied() {
        let text = "# It is.\ndelete k1\n---\ndatabases.load default another0 -> error denied\n-> error denied\n";
        assert_eq!(run(text), text);
    }

    #[test]
    fn latency_moves_the_clock() {
        let text = run("# It does.
latency databases.load default 20ms
row default k1 expires=+30ms payload=v1
load k1
load k1
");
        assert!(text.ends_with("-> v1\n-> v1\ndatabases.load default k1 -> none\n-> none\n"), "{text}");
    }

    #[test]
    fn every_result_is_one_line() {
        assert!(run("# It is.\ndescribe\n").ends_with("---\n-> failed: not of\\n\\nthis test\n"));
    }

    #[test]
    fn new_output_leaves_the_commands_as_they_are() {
        let text = "# A claim.\n\n\n# A remark.\nload k1\n---\n-> old\n\n\n\n # Another.\n load  k2 \n\n";
        let new = concat!(
            "# A claim.\n\n\n# A remark.\nload k1\n---\ndatabases.load default k1 -> none\n-> none\n",
            "\n # Another.\n load  k2\n---\ndatabases.load default k2 -> none\n-> none\n",
        );
        assert_eq!(run(text), new);
        assert_eq!(run(new), new);
    }
}
