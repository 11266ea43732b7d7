//! A client of a service: it knows what its sessions must hold, and so checks every answer.

use std::time::{Duration, Instant};

use anyhow::Result;
use switchover::{Error, Payload, SaveOutcome, SessionKey, Sessions, Timestamp, expires_in};

use super::journal::{Outcome, Pen};

/// Enough that most rest in the cache when a fault begins, and some of these are written in it.
const SESSIONS: usize = 32;
/// Between two calls, in milliseconds: long beside a call, so that what is waited for is not another client, and a moment in which
/// the machine is slower is not taken for less throughput.
pub(crate) const PAUSE_MS: std::ops::Range<u64> = 10..20;
const PAYLOAD_BYTES: usize = 400;
const LIFE: Duration = Duration::from_secs(24 * 3_600);

/// What a client knows of a session of its own.
#[derive(Clone, Debug, PartialEq)]
enum Known {
    Holds(Payload, Timestamp),
    Absent,
    /// A write failed, so it may have happened: what the next load finds is right.
    Unknown,
}

pub(crate) struct Visitor {
    sessions: Sessions,
    pen: Pen,
    dice: fastrand::Rng,
    own: Vec<(SessionKey, Known)>,
    saves: u64,
}

/// What a call came to: whether the answer was right, and what its session is known to be from now on.
struct Judged {
    what: &'static str,
    wrong: Option<&'static str>,
    now: Known,
}

impl Visitor {
    /// With sessions of its own.
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

    /// Until the task is given up.
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

    /// Four calls of five are loads, as of a site that is read more than written.
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
            (Known::Holds(..), _) => Some("a session that lives is gone"),
        };
        // A wrong answer does not make the next right one wrong.
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

    /// Under a new key, in the place of one that was deleted and, having been loaded meanwhile as often as others, stayed away.
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

/// A write of a session that lives.
fn written(what: &'static str, done: bool, now: Known) -> Judged {
    let wrong = (!done).then_some("a session that lives was told to be gone");
    Judged { what, wrong, now: if done { now } else { Known::Unknown } }
}
