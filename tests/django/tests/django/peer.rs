//! A Django process that does what it is asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use switchover::{Payload, Session, SessionKey, Timestamp};

use super::environment::{PROJECT, python};
use super::place::{PATIENCE, Place};

/// Django's settings that decide how it stores a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zone {
    pub(crate) use_tz: bool,
    pub(crate) time_zone: &'static str,
    /// `TIME_ZONE` of the entries of `DATABASES`.
    pub(crate) of_databases: Option<&'static str>,
}

impl Zone {
    /// What a new project has.
    pub(crate) const UTC: Self = Self::of("UTC");

    pub(crate) const fn of(time_zone: &'static str) -> Self {
        Self { use_tz: true, time_zone, of_databases: None }
    }
}

/// A session as Django finds it, with its data decoded.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) data: Value,
    pub(crate) session: Session,
}

/// What a command of `manage.py` did.
#[derive(Debug)]
pub(crate) struct Managed {
    pub(crate) succeeded: bool,
    pub(crate) printed: String,
}

/// A Django process; it ends when this is dropped. A question blocks its thread until it is answered.
pub(crate) struct Peer {
    process: Child,
    questions: ChildStdin,
    answers: Receiver<std::io::Result<String>>,
}

impl Peer {
    /// Starts Django with these databases under these aliases.
    pub(crate) fn start(zone: Zone, places: &[(&str, &Place)]) -> Result<Self> {
        let entry = |place: &Place| {
            let mut entry = place.django();
            entry["TIME_ZONE"] = zone.of_databases.into();
            entry
        };
        let databases: BTreeMap<_, _> = places.iter().map(|(alias, place)| (alias, entry(place))).collect();
        let mut process = Command::new(python()?)
            // Without what the environment would tell Python, and without files beside the project.
            .args(["-E", "-B", "peer.py"])
            .current_dir(PROJECT)
            .env("DJANGO_SECRET_KEY", "a key of the tests alone")
            .env("DJANGO_DATABASES", serde_json::to_string(&databases)?)
            .env("DJANGO_USE_TZ", zone.use_tz.to_string())
            .env("DJANGO_TIME_ZONE", zone.time_zone)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("Django cannot be started")?;
        let questions = process.stdin.take().context("it was started with a pipe")?;
        let lines = BufReader::new(process.stdout.take().context("it was started with a pipe")?).lines();
        let (sender, answers) = channel();
        // It ends with the process, or when nobody listens any more.
        thread::spawn(move || lines.map_while(|line| sender.send(line).ok()).for_each(drop));
        Ok(Self { process, questions, answers })
    }

    /// Asks for one operation of `peer.py` on the database with this alias.
    pub(crate) fn ask(&mut self, operation: &str, database: &str, mut arguments: Value) -> Result<Value> {
        arguments["op"] = operation.into();
        arguments["database"] = database.into();
        writeln!(self.questions, "{arguments}").with_context(|| format!("Django has ended before {operation}"))?;
        let line =
            self.answers.recv_timeout(PATIENCE).with_context(|| format!("no answer of Django to {operation}"))?;
        let mut answer: Value = serde_json::from_str(&line?)?;
        if let Some(error) = answer["error"].as_str() {
            bail!("Django failed to {operation}: {error}");
        }
        Ok(answer["answer"].take())
    }

    /// Saves a session that Django finds a key for, at an instant at which its clock stands.
    pub(crate) fn create(&mut self, database: &str, data: &Value, now: Timestamp) -> Result<Session> {
        session(&self.ask("create", database, json!({ "data": data, "now": now.as_micros() }))?)
    }

    /// Saves a session under a key that is known.
    pub(crate) fn create_as(
        &mut self,
        database: &str,
        key: &SessionKey,
        data: &Value,
        now: Timestamp,
    ) -> Result<Session> {
        let arguments = json!({ "key": key.expose(), "data": data, "now": now.as_micros() });
        session(&self.ask("create", database, arguments)?)
    }

    /// Loads a session, puts `data` into it, and saves it.
    pub(crate) fn update(&mut self, database: &str, key: &SessionKey, data: &Value, now: Timestamp) -> Result<Session> {
        let arguments = json!({ "key": key.expose(), "data": data, "now": now.as_micros() });
        session(&self.ask("update", database, arguments)?)
    }

    /// The first half of a request: loads a session.
    pub(crate) fn begin(&mut self, database: &str, key: &SessionKey) -> Result<()> {
        self.ask("begin", database, json!({ "key": key.expose() })).map(drop)
    }

    /// The second half: puts `data` into it and saves it. Answers whether Django took it; if not, it was deleted
    /// meanwhile.
    pub(crate) fn finish(&mut self, database: &str, key: &SessionKey, data: &Value) -> Result<bool> {
        let answer = self.ask("finish", database, json!({ "key": key.expose(), "data": data }))?;
        answer.as_bool().context("a save is taken or not")
    }

    /// Moves the end of a session, and leaves its payload as it is.
    pub(crate) fn move_end(&mut self, database: &str, key: &SessionKey, expires_at: Timestamp) -> Result<()> {
        self.ask("move", database, json!({ "key": key.expose(), "expires": expires_at.as_micros() })).map(drop)
    }

    /// Loads a session; `None`: Django finds none.
    pub(crate) fn load(&mut self, database: &str, key: &SessionKey) -> Result<Option<Found>> {
        found(self.ask("load", database, json!({ "key": key.expose() }))?)
    }

    /// Loads a session at an instant at which Django's clock stands.
    pub(crate) fn load_at(&mut self, database: &str, key: &SessionKey, now: Timestamp) -> Result<Option<Found>> {
        found(self.ask("load", database, json!({ "key": key.expose(), "now": now.as_micros() }))?)
    }

    /// Loads a session by the engine `cached_db`, with a cache of this process alone.
    pub(crate) fn load_cached(&mut self, database: &str, key: &SessionKey) -> Result<Option<Value>> {
        let data = self.ask("load_cached", database, json!({ "key": key.expose() }))?;
        Ok(Some(data).filter(|data| !data.is_null()))
    }

    /// Whether there is a row, also one that has ended.
    pub(crate) fn exists(&mut self, database: &str, key: &SessionKey) -> Result<bool> {
        let answer = self.ask("exists", database, json!({ "key": key.expose() }))?;
        answer.as_bool().context("whether a session exists is yes or no")
    }

    /// Deletes a session as a logout does.
    pub(crate) fn delete(&mut self, database: &str, key: &SessionKey) -> Result<()> {
        self.ask("delete", database, json!({ "key": key.expose() })).map(drop)
    }

    /// What Django would store for this data at this instant, and until when.
    pub(crate) fn encode(&mut self, data: &Value, now: Timestamp) -> Result<(Payload, Timestamp)> {
        let encoded = self.ask("encode", "default", json!({ "data": data, "now": now.as_micros() }))?;
        Ok((Payload::from(text(&encoded["payload"])?), instant(&encoded["expires"])?))
    }

    /// Runs a command of `manage.py`.
    pub(crate) fn manage(&mut self, database: &str, arguments: &[&str]) -> Result<Managed> {
        managed(&self.ask("manage", database, json!({ "arguments": arguments }))?)
    }

    /// Runs a command of `manage.py` at an instant at which Django's clock stands.
    pub(crate) fn manage_at(&mut self, database: &str, arguments: &[&str], now: Timestamp) -> Result<Managed> {
        managed(&self.ask("manage", database, json!({ "arguments": arguments, "now": now.as_micros() }))?)
    }

    /// Makes the table of sessions as Django does.
    pub(crate) fn migrate(&mut self, database: &str) -> Result<()> {
        let migrated = self.manage(database, &["migrate", "sessions", &format!("--database={database}")])?;
        ensure!(migrated.succeeded, "Django could not migrate: {}", migrated.printed);
        Ok(())
    }

    /// Every row as the driver gives it: key, payload, text of the expiry; sorted.
    pub(crate) fn raw_rows(&mut self, database: &str) -> Result<Vec<Vec<String>>> {
        Ok(serde_json::from_value(self.ask("raw_rows", database, json!({}))?)?)
    }

    /// The table and its indexes as the database describes them.
    pub(crate) fn raw_schema(&mut self, database: &str) -> Result<Vec<Value>> {
        let schema = self.ask("raw_schema", database, json!({}))?;
        ensure!(schema.as_array().is_some_and(|schema| !schema.is_empty()), "a table has a description");
        Ok(serde_json::from_value(schema)?)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn found(answer: Value) -> Result<Option<Found>> {
    if answer.is_null() {
        return Ok(None);
    }
    Ok(Some(Found { data: answer["data"].clone(), session: session(&answer)? }))
}

fn session(row: &Value) -> Result<Session> {
    Ok(Session::new(
        SessionKey::parse(text(&row["key"])?)?,
        Payload::from(text(&row["payload"])?),
        instant(&row["expires"])?,
    ))
}

fn managed(answer: &Value) -> Result<Managed> {
    let succeeded = answer["succeeded"].as_bool().context("a command succeeds or not")?;
    Ok(Managed { succeeded, printed: text(&answer["printed"])?.to_owned() })
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("a text, not {value}"))
}

fn instant(value: &Value) -> Result<Timestamp> {
    value.as_u64().map(Timestamp::from_micros).with_context(|| format!("an instant, not {value}"))
}
