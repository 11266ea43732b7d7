//! Reads scripts. Every refusal names the line and what to write instead.

use switchover_guest::{ErrorCode, Hints, Instant, Model, Object, SaveMode};

use super::call::Call;
use super::function::Function;
use super::script::{Script, ScriptError, Step};
use super::session::FakeSession;
use super::text;

type Parsed<T> = Result<T, String>;

pub(super) fn script(name: &str, whole: &str) -> Result<Script, ScriptError> {
    let fail = |line, message| ScriptError { script: name.to_owned(), line, message };
    let (input, expected) = whole.split_once("\n---\n").map_or((whole, ""), |(input, expected)| (input, expected));
    let claim = input.lines().next().and_then(|line| line.strip_prefix("# "));
    let claim =
        claim.ok_or_else(|| fail(1, "the first line is the claim: write `# What the script shows.`".to_owned()))?;

    let mut parser = Parser::default();
    for (index, line) in input.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            parser.statement(line).map_err(|message| fail(index + 1, message))?;
        }
    }
    if !parser.has_called {
        return Err(fail(
            input.lines().count(),
            "a script makes at least one call: add one, such as `load k1`".to_owned(),
        ));
    }
    Ok(Script {
        name: name.to_owned(),
        claim: claim.to_owned(),
        databases: parser.databases,
        steps: parser.steps,
        input: format!("{}\n", input.trim_end()),
        expected: expected.to_owned(),
    })
}

struct Parser {
    databases: Vec<String>,
    steps: Vec<Step>,
    has_called: bool,
}

impl Default for Parser {
    fn default() -> Self {
        let databases = ["default", "new_session_store"].map(str::to_owned).to_vec();
        Self { databases, steps: Vec::new(), has_called: false }
    }
}

impl Parser {
    fn statement(&mut self, line: &str) -> Parsed<()> {
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
                let call = self.call(verb, &words)?;
                self.has_called = true;
                self.steps.push(Step::Call(call));
            }
        }
        Ok(())
    }

    fn name_databases(&mut self, words: &[&str]) -> Parsed<()> {
        if words.is_empty() {
            return Err(usage("databases default new_session_store"));
        }
        let names_one = |step: &Step| match step {
            Step::Row(..) | Step::Fail { .. } | Step::Latency { .. } | Step::Call(_) | Step::Rows => true,
            Step::Setting(..) | Step::Flag(..) | Step::GrantPayload | Step::Cached(_) | Step::Clock(_) => false,
        };
        if self.steps.iter().any(names_one) {
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

    fn call(&self, verb: &str, words: &[&str]) -> Parsed<Call> {
        match verb {
            "load" => Ok(Call::Load { key: only_key(words, "load k1")? }),
            "delete" => Ok(Call::Delete { key: only_key(words, "delete k1")? }),
            "exists" => Ok(Call::Exists { key: only_key(words, "exists k1")? }),
            "create" => save(words, SaveMode::Create),
            "update" => save(words, SaveMode::Update),
            "touch" => {
                let usage = || usage("touch k1 expires=+90s");
                let [name, expires] = words else { return Err(usage()) };
                let expires_at = expires.strip_prefix("expires=").and_then(text::parse_instant).ok_or_else(usage)?;
                Ok(Call::Touch { key: key(name)?, expires_at })
            }
            "clear-expired" => {
                let [limit] = words else { return Err(usage("clear-expired 10")) };
                Ok(Call::ClearExpired { limit: limit.parse().map_err(|_| usage("clear-expired 10"))? })
            }
            "db-for-read" => question(words).map(|(model, hints)| Call::DbForRead { model, hints }),
            "db-for-write" => question(words).map(|(model, hints)| Call::DbForWrite { model, hints }),
            "allow-relation" => {
                let [a, b] = words else { return Err(usage("allow-relation sessions.session@default auth.user")) };
                Ok(Call::AllowRelation { a: object(a)?, b: object(b)?, hints: Hints::default() })
            }
            "allow-migrate" => {
                let (database, app_label, model_name) = match words {
                    [database, app] => (database, app, None),
                    [database, app, model] => (database, app, Some((*model).to_owned())),
                    _ => return Err(usage("allow-migrate default sessions session")),
                };
                let (database, app_label) = ((*database).to_owned(), (*app_label).to_owned());
                Ok(Call::AllowMigrate { database, app_label, model_name, hints: Hints::default() })
            }
            "describe" if words.is_empty() => Ok(Call::Describe),
            "describe" => Err(usage("describe")),
            _ => Err(format!("no statement `{verb}`: the documentation of `switchover_scripts` has them all")),
        }
    }
}

fn usage(example: &str) -> String {
    format!("write it like `{example}`")
}

fn key(name: &str) -> Parsed<String> {
    text::full_key(name).ok_or_else(|| {
        format!("`{name}` is no short name of a key: write 1 to 32 of a-z and 0-9, the last one not z, such as `k1`")
    })
}

fn only_key(words: &[&str], example: &str) -> Parsed<String> {
    let [name] = words else { return Err(usage(example)) };
    key(name)
}

fn save(words: &[&str], mode: SaveMode) -> Parsed<Call> {
    let value = session(words, &format!("{} k1", text::mode(mode)))?;
    Ok(Call::Save { key: value.key().to_owned(), value, mode })
}

/// `k1 expires=+60s payload=v1`
fn session(words: &[&str], example: &str) -> Parsed<FakeSession> {
    let usage = || usage(&format!("{example} expires=+60s payload=v1"));
    let [name, expires, payload] = words else { return Err(usage()) };
    let expires_at: Instant = expires.strip_prefix("expires=").and_then(text::parse_instant).ok_or_else(usage)?;
    Ok(FakeSession::new(key(name)?, payload.strip_prefix("payload=").ok_or_else(usage)?, expires_at))
}

fn assignments<'l>(words: &[&'l str], example: &str) -> Parsed<Vec<(&'l str, &'l str)>> {
    if words.is_empty() {
        return Err(usage(example));
    }
    words.iter().map(|word| word.split_once('=').ok_or_else(|| usage(example))).collect()
}

fn question(words: &[&str]) -> Parsed<(Model, Hints)> {
    let usage = || usage("db-for-read sessions.session instance=default key=k1");
    let (name, rest) = words.split_first().ok_or_else(usage)?;
    let mut hints = Hints::default();
    for (name, value) in rest.iter().map(|word| word.split_once('=').unwrap_or((word, ""))) {
        match name {
            "instance" => hints.instance_database = Some(value.to_owned()),
            "key" => hints.key = Some(value.to_owned()),
            _ => return Err(usage()),
        }
    }
    Ok((model(name)?, hints))
}

fn model(text: &str) -> Parsed<Model> {
    let (app_label, model_name) = text.split_once('.').ok_or_else(|| usage("sessions.session"))?;
    Ok(Model { app_label: app_label.to_owned(), model_name: model_name.to_owned() })
}

fn object(text: &str) -> Parsed<Object> {
    let (name, database) = text.split_once('@').map_or((text, None), |(name, at)| (name, Some(at.to_owned())));
    Ok(Object { model: model(name)?, database })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_is_read() {
        let text = "# Every statement.

databases default archive
settings database=archive
flags a=on b=off c=blue d=\"off\"
grant payload
row archive k1 expires=+60s payload=v1
cache k1 expires=-1s payload=v1
fail databases.touch archive unknown-outcome times=2
fail cache.fill unavailable
latency databases.load-each default 1ms
";
        let refused = script("test", text).unwrap_err();
        assert_eq!((refused.line, refused.message.starts_with("no such function")), (11, true), "{refused}");
        let text = text.replace("load-each", "load")
            + "load k1
create k1 expires=+60s payload=v2
update k1 expires=+60s payload=v2
touch k1 expires=+90s
delete k1
exists k1
clear-expired 10
db-for-read sessions.session instance=archive
db-for-write auth.user
allow-relation a.b@default c.d
allow-migrate default sessions session
describe
clock +5s
rows
";
        let script = script("test", &text).unwrap();
        assert_eq!(script.databases, ["default", "archive"]);
        let flag = |name: &str, value: &str| Step::Flag(name.to_owned(), value.to_owned());
        let flags = [flag("a", "true"), flag("b", "false"), flag("c", "blue"), flag("d", "off")];
        assert_eq!(script.steps[1..5], flags);
        let calls = script.steps.iter().filter_map(|step| match step {
            Step::Call(call) => Some(call.to_string()),
            _ => None,
        });
        let written: Vec<_> = text.lines().skip(11).take(12).map(str::to_owned).collect();
        assert_eq!(calls.collect::<Vec<_>>(), written);
    }

    #[test]
    fn a_wrong_line_is_refused_with_its_number_and_a_remedy() {
        for (line, remedy) in [
            ("lod k1", "no statement `lod`"),
            ("load", "`load k1`"),
            ("load K1", "1 to 32 of a-z and 0-9"),
            ("row nowhere k1 expires=+1s payload=v", "`databases default new_session_store nowhere`"),
            ("row default k1 payload=v", "`row default k1 expires=+60s payload=v1`"),
            ("fail databases.load default broken", "write one of unavailable, timeout"),
            ("fail databases.load", "of which database"),
            ("latency cache.get soon", "`latency cache.get 20ms`"),
            ("clock 5s", "`clock +5s`"),
            ("touch k1 expires=90", "`touch k1 expires=+90s`"),
            ("flags on", "`flags migration_flag=on`"),
            ("settings a=b", "above the first call"),
            ("databases a", "move the line up"),
        ] {
            let refused = script("test", &format!("# A claim.\nload k1\n{line}\n")).unwrap_err();
            assert_eq!(refused.line, 3, "{line}");
            assert!(refused.message.contains(remedy), "{line}: {refused}");
        }
    }

    #[test]
    fn a_script_has_a_claim_and_a_call() {
        assert!(script("test", "load k1\n").unwrap_err().message.contains("claim"));
        assert!(script("test", "# A claim.\nrows\n").unwrap_err().message.contains("call"));
    }
}
