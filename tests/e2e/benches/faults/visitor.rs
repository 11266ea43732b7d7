//! A client of a service. It knows what its sessions must hold, so it checks every answer.

use std::time::{Duration, Instant};

use anyhow::Result;
use switchover::{Error, Payload, SaveOutcome, SessionKey, Sessions, Timestamp, expires_in};

use super::journal::{Outcome, Pen};

/// Enough that most are in the cache when a fault begins, and that some of these are written during the fault.
const SESSIONS: usize = 32;
/// The pause between two calls, in milliseconds. It is long compared with a call, so that a call does not wait for
/// another client, and so that a moment in which the machine is slower does not count as less throughput.
pub(crate) const PAUSE_MS: std::ops::Range<u64> = 10..20;
const PAYLOAD_BYTES: usize = 400;
const LIFE: Duration = Duration::from_secs(24 * 3_600);

/// What a client knows of one of its sessions.
#[derive(Clone, Debug, PartialEq)]
enum Known {
    Holds(Payload, Timestamp),
    Absent,
    /// A write failed, so it may have happened. The next load decides.
    Unknown,
}

pub(crate) struct Visitor {
    sessions: Sessions,
    pen: Pen,
    dice: fastrand::Rng,
    own: Vec<(SessionKey, Known)>,
    saves: u64,
}

/// Whether an answer was right, and what is known of its session from now on.
struct Judged {
    what: &'static str,
    wrong: Option<&'static str>,
    now: Known,
}

impl Visitor {
    /// A client with sessions of its own.
    pub(crate) async fn arrive(sessions: Sessions, pen: Pen) -> Result<Self> {
        let dice = fastrand::Rng::with_seed(pen.client as u64);
        let mut visitor = Self { sessions, pen, dice, own: Vec::new(), saves: 0 };
        for _ in 0..SESSIONS {
            let (payload, expires_at) = visitor.next();
            let key = visitor.sessions.create(payload.clone(), expires_at).await?;
            visitor.own.push((key, Known::Holds(payload, expires_at)));
        }
        Ok(visitor)
    }

    /// Calls until the task is aborted.
    pub(crate) async fn call_for_ever(mut self) {
        loop {
            let at = self.dice.usize(..self.own.len());
            let begun = Instant::now();
            match self.call(at).await {
                Ok(Judged { what, wrong, now }) => {
                    let outcome = if wrong.is_some() { Outcome::Wrong } else { Outcome::Ok };
                    self.pen.write(what, begun, outcome, wrong.map(str::to_owned));
                    self.own[at].1 = now;
                }
                Err((what, error)) => {
                    self.pen.write(what, begun, Outcome::from(&error), Some(error.to_string()));
                    if what != "load" {
                        self.own[at].1 = Known::Unknown;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(self.dice.u64(PAUSE_MS))).await;
        }
    }

    /// Makes a call. Four of five calls are loads, as at a site that is read more than written.
    async fn call(&mut self, at: usize) -> Result<Judged, (&'static str, Error)> {
        let known = self.own[at].1.clone();
        match (self.dice.u32(..20), known) {
            (0..16, known) | (_, known @ Known::Unknown) => self.load(at, known).await,
            (_, Known::Absent) => self.create(at).await,
            (16..18, Known::Holds(..)) => self.save(at).await,
            (18, Known::Holds(payload, _)) => self.touch(at, payload).await,
            (_, Known::Holds(..)) => self.delete(at).await,
        }
    }

    async fn load(&self, at: usize, known: Known) -> Result<Judged, (&'static str, Error)> {
        let found = self.sessions.load(&self.own[at].0).await.map_err(|error| ("load", error))?;
        let now = found.map_or(Known::Absent, |session| Known::Holds(session.payload, session.expires_at));
        let wrong = match (&known, &now) {
            (Known::Unknown, _) => None,
            (known, now) if known == now => None,
            (Known::Absent, _) => Some("a session that was deleted is there"),
            (Known::Holds(..), Known::Holds(..)) => Some("not what was acknowledged last"),
            (Known::Holds(..), _) => Some("a living session is gone"),
        };
        // After a wrong answer the expectation stays, so that the next right answer counts as right.
        let now = if wrong.is_some() { known } else { now };
        Ok(Judged { what: "load", wrong, now })
    }

    async fn save(&mut self, at: usize) -> Result<Judged, (&'static str, Error)> {
        let (payload, expires_at) = self.next();
        let saved = self.sessions.save(&self.own[at].0, payload.clone(), expires_at).await;
        let saved = saved.map_err(|error| ("save", error))?;
        Ok(written("save", saved == SaveOutcome::Saved, Known::Holds(payload, expires_at)))
    }

    async fn touch(&self, at: usize, payload: Payload) -> Result<Judged, (&'static str, Error)> {
        let expires_at = expires_in(LIFE);
        let touched = self.sessions.touch(&self.own[at].0, expires_at).await.map_err(|error| ("touch", error))?;
        Ok(written("touch", touched == SaveOutcome::Saved, Known::Holds(payload, expires_at)))
    }

    async fn delete(&self, at: usize) -> Result<Judged, (&'static str, Error)> {
        let deleted = self.sessions.delete(&self.own[at].0).await.map_err(|error| ("delete", error))?;
        Ok(written("delete", deleted, Known::Absent))
    }

    /// Creates a session under a new key. It replaces one that was deleted, and that no load has found since.
    async fn create(&mut self, at: usize) -> Result<Judged, (&'static str, Error)> {
        let (payload, expires_at) = self.next();
        let key = self.sessions.create(payload.clone(), expires_at).await.map_err(|error| ("create", error))?;
        self.own[at].0 = key;
        Ok(written("create", true, Known::Holds(payload, expires_at)))
    }

    /// A payload that was never saved before, and its end.
    fn next(&mut self) -> (Payload, Timestamp) {
        self.saves += 1;
        let text = format!("{:0width$}", self.saves, width = PAYLOAD_BYTES);
        (Payload::from(text), expires_in(LIFE))
    }
}

/// The judgement of a write of a living session.
fn written(what: &'static str, done: bool, now: Known) -> Judged {
    let wrong = (!done).then_some("a living session was reported gone");
    Judged { what, wrong, now: if done { now } else { Known::Unknown } }
}
