//! Reads the commands of a script, one a line.

use switchover_guest::ErrorCode;

use super::Parsed;
use super::call::{call, session, usage};
use crate::function::Function;
use crate::script::Step;
use crate::text;

/// What the commands that were read allow the next ones.
pub(super) struct Commands {
    pub(super) databases: Vec<String>,
    pub(super) has_called: bool,
    /// Whether a command has used a database, so that their names are fixed.
    uses_databases: bool,
    /// Of the block that is being read.
    steps: Vec<Step>,
}

impl Default for Commands {
    fn default() -> Self {
        let databases = ["default", "new_session_store"].map(str::to_owned).to_vec();
        Self { databases, has_called: false, uses_databases: false, steps: Vec::new() }
    }
}

impl Commands {
    /// Reads one command; what it does is among the steps of the block.
    pub(super) fn read(&mut self, line: &str) -> Parsed<()> {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap_or_default();
        let words: Vec<_> = words.collect();
        match verb {
            "databases" => self.name_databases(&words)?,
            "settings" => self.settings(&words)?,
            "flags" => self.flags(&words)?,
            "fail" => self.fail(&words)?,
            "latency" => self.latency(&words)?,
            "row" => {
                let usage = || usage("row default k1 expires=+60s payload=v1");
                let (&database, rest) = words.split_first().ok_or_else(usage)?;
                self.check_database(database)?;
                self.steps.push(Step::Row(database.to_owned(), session(rest, "row default k1")?));
            }
            "cache" => self.steps.push(Step::Cached(session(&words, "cache k1")?)),
            "clock" => {
                let [word] = words[..] else { return Err(usage("clock +5s")) };
                let micros = word.strip_prefix('+').and_then(text::parse_duration).ok_or_else(|| usage("clock +5s"))?;
                self.steps.push(Step::Clock(micros));
            }
            "grant" if words == ["payload"] => self.steps.push(Step::GrantPayload),
            "grant" => return Err(usage("grant payload")),
            "rows" if words.is_empty() => self.steps.push(Step::Rows),
            "rows" => return Err(usage("rows")),
            _ => {
                let call = call(verb, &words)?;
                self.has_called = true;
                self.steps.push(Step::Call(call));
            }
        }
        self.uses_databases |= self.steps.last().is_some_and(uses_databases);
        Ok(())
    }

    /// The steps since the last time.
    pub(super) fn take_steps(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }

    fn name_databases(&mut self, words: &[&str]) -> Parsed<()> {
        if words.is_empty() {
            return Err(usage("databases default new_session_store"));
        }
        if self.uses_databases {
            return Err("databases are named before anything uses one: move the line up".to_owned());
        }
        self.databases = words.iter().map(|&word| word.to_owned()).collect();
        Ok(())
    }

    fn settings(&mut self, words: &[&str]) -> Parsed<()> {
        if self.has_called {
            return Err("settings are constant for a policy: move the line above the first call".to_owned());
        }
        for (name, value) in assignments(words, "settings database=archive")? {
            self.steps.push(Step::Setting(name.to_owned(), value.to_owned()));
        }
        Ok(())
    }

    fn flags(&mut self, words: &[&str]) -> Parsed<()> {
        for (name, value) in assignments(words, "flags migration_flag=on")? {
            let value = match value {
                "on" => "true",
                "off" => "false",
                text => text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text),
            };
            self.steps.push(Step::Flag(name.to_owned(), value.to_owned()));
        }
        Ok(())
    }

    fn fail(&mut self, words: &[&str]) -> Parsed<()> {
        let usage = || usage("fail databases.load default unavailable times=1` or `fail cache.get unavailable");
        let (function, database, rest) = self.place(words)?;
        let (code, times) = match rest {
            [code] => (*code, None),
            [code, times] => {
                let times = times.strip_prefix("times=").and_then(|times| times.parse().ok());
                (*code, Some(times.ok_or_else(usage)?))
            }
            _ => return Err(usage()),
        };
        let codes = ErrorCode::ALL.map(ErrorCode::as_str);
        let code = ErrorCode::ALL.into_iter().find(|known| known.as_str() == code);
        let code = code.ok_or_else(|| format!("no such error code: write one of {}", codes.join(", ")))?;
        self.steps.push(Step::Fail { function, database, code, times });
        Ok(())
    }

    fn latency(&mut self, words: &[&str]) -> Parsed<()> {
        let usage = || usage("latency databases.load default 20ms` or `latency cache.get 20ms");
        let (function, database, rest) = self.place(words)?;
        let [duration] = rest else { return Err(usage()) };
        let micros = text::parse_duration(duration).ok_or_else(usage)?;
        self.steps.push(Step::Latency { function, database, micros });
        Ok(())
    }

    /// A function, the database if it is of one, and the other words.
    fn place<'w, 'l>(&self, words: &'w [&'l str]) -> Parsed<(Function, Option<String>, &'w [&'l str])> {
        let names = Function::ALL.map(Function::as_str).join(", ");
        let no_function = || format!("no such function: write one of {names}");
        let (name, rest) = words.split_first().ok_or_else(no_function)?;
        let function = Function::ALL.into_iter().find(|known| known.as_str() == *name).ok_or_else(no_function)?;
        if !function.is_of_a_database() {
            return Ok((function, None, rest));
        }
        let (database, rest) =
            rest.split_first().ok_or_else(|| format!("`{name}` of which database? write its name"))?;
        self.check_database(database)?;
        Ok((function, Some((*database).to_owned()), rest))
    }

    fn check_database(&self, name: &str) -> Parsed<()> {
        if self.databases.iter().any(|known| known == name) {
            return Ok(());
        }
        let known = self.databases.join(" ");
        Err(format!(
            "no database `{name}`: write one of {known}, or name them all at the top: `databases {known} {name}`"
        ))
    }
}

fn uses_databases(step: &Step) -> bool {
    match step {
        Step::Row(..) | Step::Fail { .. } | Step::Latency { .. } | Step::Call(_) | Step::Rows => true,
        Step::Setting(..) | Step::Flag(..) | Step::GrantPayload | Step::Cached(_) | Step::Clock(_) => false,
    }
}

fn assignments<'l>(words: &[&'l str], example: &str) -> Parsed<Vec<(&'l str, &'l str)>> {
    if words.is_empty() {
        return Err(usage(example));
    }
    words.iter().map(|word| word.split_once('=').ok_or_else(|| usage(example))).collect()
}

#[cfg(test)]
mod tests {
    use switchover_guest::{Hints, Model, Object, SaveMode};

    use super::*;
    use crate::call::Call;
    use crate::session::FakeSession;
    use crate::text::{START, full_key};

    const SECOND: u64 = 1_000_000;

    fn steps(text: &str) -> Vec<Step> {
        let mut commands = Commands::default();
        text.lines().for_each(|line| commands.read(line).unwrap());
        commands.take_steps()
    }

    fn k1(payload: &str, expires_at: u64) -> FakeSession {
        FakeSession::new(full_key("k1").unwrap(), payload, expires_at)
    }

    #[test]
    fn every_command_that_is_no_call_is_read() {
        let read = steps(
            "databases default archive
settings database=archive
flags a=on b=off c=blue d=\"off\"
grant payload
row archive k1 expires=+60s payload=v1
cache k1 expires=-1s payload=v1
fail databases.touch archive unknown-outcome times=2
fail cache.fill unavailable
latency databases.load default 1ms
clock +5s
rows",
        );
        let text = |text: &str| text.to_owned();
        let touch = (Function::Touch, Some(text("archive")));
        let expected = [
            Step::Setting(text("database"), text("archive")),
            Step::Flag(text("a"), text("true")),
            Step::Flag(text("b"), text("false")),
            Step::Flag(text("c"), text("blue")),
            Step::Flag(text("d"), text("off")),
            Step::GrantPayload,
            Step::Row(text("archive"), k1("v1", START + 60 * SECOND)),
            Step::Cached(k1("v1", START - SECOND)),
            Step::Fail { function: touch.0, database: touch.1, code: ErrorCode::UnknownOutcome, times: Some(2) },
            Step::Fail { function: Function::CacheFill, database: None, code: ErrorCode::Unavailable, times: None },
            Step::Latency { function: Function::Load, database: Some(text("default")), micros: 1_000 },
            Step::Clock(5 * SECOND),
            Step::Rows,
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn every_call_is_read() {
        let read = steps(
            "load k1
create k1 expires=+60s payload=v2
update k1 expires=+60s payload=v2
touch k1 expires=+90s
delete k1
exists k1
clear-expired 10
db-for-read sessions.session instance=archive
db-for-write auth.user key=k1
allow-relation auth.user@default sessions.session
allow-migrate default sessions session
describe",
        );
        let text = |text: &str| text.to_owned();
        let key = || full_key("k1").unwrap();
        let value = || k1("v2", START + 60 * SECOND);
        let model = |app: &str, name: &str| Model { app_label: text(app), model_name: text(name) };
        let (user, session) = (model("auth", "user"), model("sessions", "session"));
        let no_hints = Hints::default;
        let expected = [
            Call::Load { key: key() },
            Call::Save { key: key(), value: value(), mode: SaveMode::Create },
            Call::Save { key: key(), value: value(), mode: SaveMode::Update },
            Call::Touch { key: key(), expires_at: START + 90 * SECOND },
            Call::Delete { key: key() },
            Call::Exists { key: key() },
            Call::ClearExpired { limit: 10 },
            Call::DbForRead {
                model: session.clone(),
                hints: Hints { instance_database: Some(text("archive")), ..no_hints() },
            },
            Call::DbForWrite { model: user.clone(), hints: Hints { key: Some(text("k1")), ..no_hints() } },
            Call::AllowRelation {
                a: Object { model: user, database: Some(text("default")) },
                b: Object { model: session, database: None },
                hints: no_hints(),
            },
            Call::AllowMigrate {
                database: text("default"),
                app_label: text("sessions"),
                model_name: Some(text("session")),
                hints: no_hints(),
            },
            Call::Describe,
        ];
        assert_eq!(read, expected.map(Step::Call));
    }
}
