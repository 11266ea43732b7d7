//! A host in a process of its own: each call is a line of JSON over a unix socket, and its answer another one.
//!
//! A process that is killed closes its connections. Then a write that was sent has an unknown outcome, as for a client
//! of a web service.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use switchover::{
    CycleOutcome, Error, ErrorCode, Payload, SaveOutcome, Session, SessionKey, Sessions, Switchover, Timestamp,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::history::Micros;

/// Longer than any call of a host that is alive.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize, Deserialize)]
enum Call {
    Create(String, Micros),
    Load(String),
    Save(String, String, Micros),
    Touch(String, Micros),
    Delete(String),
    Exists(String),
    Cycle(String),
    ClearExpired(u32),
    Report,
}

impl Call {
    fn writes(&self) -> bool {
        !matches!(self, Self::Load(_) | Self::Exists(_) | Self::Report)
    }
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Key(String),
    Session(Option<(String, Micros)>),
    /// Whether there was a row to write.
    Saved(bool),
    Flag(bool),
    Count(u32),
    Cycled(Option<String>),
    Report(Report),
    Failed(Failed),
}

/// What a host says of itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Whether it has acknowledged the epoch in force.
    pub is_ready: bool,
    /// Why not, for people.
    pub readiness: String,
    /// How often the cache failed.
    pub cache_failures: u64,
    /// Rows under keys that no caller received.
    pub new_keys_left: u64,
}

impl Report {
    /// Of a host.
    pub fn of(host: &Switchover) -> Self {
        let (readiness, counts) = (host.readiness(), host.counts());
        Self {
            is_ready: readiness.is_ready(),
            readiness: readiness.to_string(),
            cache_failures: counts.cache_failures,
            new_keys_left: counts.new_keys_left,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Failed {
    code: String,
    is_unknown: bool,
    message: String,
    /// Of a cycle whose old key may still be valid.
    new_key: Option<String>,
}

/// Answers calls on a host until it is stopped.
///
/// # Errors
///
/// If the socket cannot be made.
pub async fn serve(host: &Switchover, socket: &Path) -> Result<()> {
    let listener = UnixListener::bind(socket).with_context(|| socket.display().to_string())?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (sessions, host) = (host.sessions(), host.clone());
        tokio::spawn(async move {
            // Whoever asked sees a connection that ends without an answer.
            let _asked_and_answered = answer(stream, &sessions, &host).await;
        });
    }
}

async fn answer(stream: UnixStream, sessions: &Sessions, host: &Switchover) -> Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).await?;
    let call = serde_json::from_str(&line)?;
    let answer = make(call, sessions, host).await?.unwrap_or_else(Answer::Failed);
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    writer.write_all(&text).await?;
    Ok(())
}

async fn make(call: Call, sessions: &Sessions, host: &Switchover) -> Result<Result<Answer, Failed>> {
    let key = |text: &str| SessionKey::parse(text);
    let saved = |outcome| Answer::Saved(outcome == SaveOutcome::Saved);
    let made = match call {
        Call::Create(payload, until) => {
            let key = sessions.create(Payload::from(payload), Timestamp::from_micros(until)).await;
            key.map(|key| Answer::Key(key.expose().to_owned()))
        }
        Call::Load(name) => sessions.load(&key(&name)?).await.map(|session| {
            let read = |session: Session| {
                let text = session.payload.as_text().unwrap_or_default().to_owned();
                (text, session.expires_at.as_micros())
            };
            Answer::Session(session.map(read))
        }),
        Call::Save(name, payload, until) => {
            sessions.save(&key(&name)?, Payload::from(payload), Timestamp::from_micros(until)).await.map(saved)
        }
        Call::Touch(name, until) => sessions.touch(&key(&name)?, Timestamp::from_micros(until)).await.map(saved),
        Call::Delete(name) => sessions.delete(&key(&name)?).await.map(Answer::Flag),
        Call::Exists(name) => sessions.exists(&key(&name)?).await.map(Answer::Flag),
        Call::Cycle(name) => sessions.cycle_key(&key(&name)?).await.map(|outcome| match outcome {
            CycleOutcome::Cycled(key) => Answer::Cycled(Some(key.expose().to_owned())),
            CycleOutcome::Missing => Answer::Cycled(None),
        }),
        Call::ClearExpired(limit) => sessions.clear_expired(limit).await.map(Answer::Count),
        Call::Report => Ok(Answer::Report(Report::of(host))),
    };
    Ok(made.map_err(|error| Failed {
        code: error.code().as_str().to_owned(),
        is_unknown: error.is_unknown_outcome(),
        message: error.to_string(),
        new_key: match error {
            Error::CycleIncomplete { new_key, .. } => Some(new_key.expose().to_owned()),
            _ => None,
        },
    }))
}

/// The way to a host in another process.
#[derive(Clone, Debug)]
pub struct Remote {
    socket: PathBuf,
}

impl Remote {
    /// To the process that listens at this socket.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// What the host says of itself.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn report(&self) -> Result<Report> {
        match self.ask(Call::Report).await? {
            Answer::Report(report) => Ok(report),
            answer => Err(absurd(&answer).into()),
        }
    }

    pub(crate) async fn create(&self, payload: Payload, until: Timestamp) -> Result<SessionKey, Error> {
        match self.ask(Call::Create(text_of(payload), until.as_micros())).await? {
            Answer::Key(key) => parse(&key),
            answer => Err(absurd(&answer)),
        }
    }

    pub(crate) async fn load(&self, key: &SessionKey) -> Result<Option<Session>, Error> {
        match self.ask(Call::Load(name_of(key))).await? {
            Answer::Session(found) => Ok(found.map(|(payload, until)| {
                Session::new(key.clone(), Payload::from(payload), Timestamp::from_micros(until))
            })),
            answer => Err(absurd(&answer)),
        }
    }

    pub(crate) async fn save(
        &self,
        key: &SessionKey,
        payload: Payload,
        until: Timestamp,
    ) -> Result<SaveOutcome, Error> {
        self.saved(Call::Save(name_of(key), text_of(payload), until.as_micros())).await
    }

    pub(crate) async fn touch(&self, key: &SessionKey, until: Timestamp) -> Result<SaveOutcome, Error> {
        self.saved(Call::Touch(name_of(key), until.as_micros())).await
    }

    pub(crate) async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        self.flag(Call::Delete(name_of(key))).await
    }

    pub(crate) async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        self.flag(Call::Exists(name_of(key))).await
    }

    pub(crate) async fn cycle_key(&self, key: &SessionKey) -> Result<CycleOutcome, Error> {
        match self.ask(Call::Cycle(name_of(key))).await? {
            Answer::Cycled(Some(key)) => parse(&key).map(CycleOutcome::Cycled),
            Answer::Cycled(None) => Ok(CycleOutcome::Missing),
            answer => Err(absurd(&answer)),
        }
    }

    pub(crate) async fn clear_expired(&self, limit: u32) -> Result<u32, Error> {
        match self.ask(Call::ClearExpired(limit)).await? {
            Answer::Count(count) => Ok(count),
            answer => Err(absurd(&answer)),
        }
    }

    async fn saved(&self, call: Call) -> Result<SaveOutcome, Error> {
        match self.ask(call).await? {
            Answer::Saved(true) => Ok(SaveOutcome::Saved),
            Answer::Saved(false) => Ok(SaveOutcome::Missing),
            answer => Err(absurd(&answer)),
        }
    }

    async fn flag(&self, call: Call) -> Result<bool, Error> {
        match self.ask(call).await? {
            Answer::Flag(flag) => Ok(flag),
            answer => Err(absurd(&answer)),
        }
    }

    async fn ask(&self, call: Call) -> Result<Answer, Error> {
        let away = |message: String| Error::Unavailable { code: ErrorCode::Unavailable, message };
        let stream = UnixStream::connect(&self.socket).await;
        let stream = stream.map_err(|error| away(format!("the host does not listen: {error}")))?;
        let answered = tokio::time::timeout(PATIENCE, exchange(stream, &call)).await;
        let answer = match answered.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in time"))) {
            Ok(answer) => answer,
            Err(error) if call.writes() => {
                return Err(Error::UnknownOutcome { message: format!("the host gave no answer: {error}") });
            }
            Err(error) => return Err(away(format!("the host gave no answer: {error}"))),
        };
        let Answer::Failed(Failed { code, is_unknown, message, new_key }) = answer else { return Ok(answer) };
        let message = format!("{code}: {message}");
        Err(match new_key {
            Some(key) => {
                Error::CycleIncomplete { new_key: parse(&key)?, source: Box::new(Error::UnknownOutcome { message }) }
            }
            None if is_unknown => Error::UnknownOutcome { message },
            None => away(message),
        })
    }
}

async fn exchange(mut stream: UnixStream, call: &Call) -> Result<Answer> {
    let mut text = serde_json::to_vec(call)?;
    text.push(b'\n');
    stream.write_all(&text).await?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await?;
    Ok(serde_json::from_str(&line)?)
}

fn name_of(key: &SessionKey) -> String {
    key.expose().to_owned()
}

fn text_of(payload: Payload) -> String {
    payload.as_text().unwrap_or_default().to_owned()
}

fn parse(key: &str) -> Result<SessionKey, Error> {
    SessionKey::parse(key).map_err(|error| Error::Internal { message: error.to_string() })
}

fn absurd(answer: &Answer) -> Error {
    Error::Internal { message: format!("an answer to another question: {answer:?}") }
}
