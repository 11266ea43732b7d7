//! The fakes' databases: `wit/databases.wit`, word for word, in memory.

use std::fmt::Write;

use switchover_guest::{
    Error, ErrorCode, Guarantee, Instant, MirrorAction, Result, SaveMode, SaveOutcome, Session, Target,
};

use super::fakes::Fakes;
use super::function::Function;
use super::session::FakeSession;
use super::state::{Row, State, text_of};
use super::text::{self, or_none, short_key};

impl Fakes {
    /// Reads one session.
    ///
    /// # Errors
    ///
    /// As every function here: an injected fault, or `denied`.
    pub fn load(&self, database: &str, key: &str) -> Result<Option<FakeSession>> {
        self.ask(
            format!("databases.load {database} {}", short_key(key)),
            |state| {
                state.check(database, key)?;
                state.reach(Function::Load, Some(database))?;
                Ok(state.live(key, state.databases[database].get(key)))
            },
            |found| or_none(found.as_ref().map(FakeSession::text).as_ref()),
        )
    }

    /// Reads the same session from several databases at the same time: the clock moves by the longest latency.
    pub fn load_each(&self, databases: &[&str], key: &str) -> Vec<Result<Option<FakeSession>>> {
        let mut state = self.state();
        let latency = databases.iter().map(|name| state.latency(Function::Load, Some(name))).max();
        state.advance(latency.unwrap_or(0));
        let answers: Vec<_> = databases
            .iter()
            .map(|database| {
                state.check(database, key)?;
                state.fault(Function::Load, Some(database))?;
                Ok(state.live(key, state.databases[*database].get(key)))
            })
            .collect();
        let shown: Vec<_> = answers
            .iter()
            .map(|answer| match answer {
                Ok(found) => or_none(found.as_ref().map(FakeSession::text).as_ref()),
                Err(error) => text_of(error),
            })
            .collect();
        state.push(format!("databases.load-each {} {} -> {}", databases.join(","), short_key(key), shown.join(", ")));
        answers
    }

    /// Writes a session to home and its mirrors.
    ///
    /// # Errors
    ///
    /// `invalid` for a target that names a database twice; the error of home or of a strict mirror.
    pub fn save(&self, to: &Target, key: &str, value: &FakeSession, mode: SaveMode) -> Result<SaveOutcome> {
        self.ask(
            format!("databases.save {} {} {} {value}", target(to), short_key(key), text::mode(mode)),
            |state| {
                state.check_target(to, key)?;
                state.check_key(value.key())?;
                if value.key() != key {
                    return Err(Error::new(ErrorCode::Denied, "a session is saved under its own key"));
                }
                let row = Row { payload: value.text().to_owned(), expires_at: value.expires_at() };
                state.write(Function::Save, to, key, |there| match (mode, there) {
                    (SaveMode::Create, None) | (SaveMode::Update, Some(_)) => Ok(Some(row)),
                    (SaveMode::Create, Some(_)) => Err(SaveOutcome::Exists),
                    (SaveMode::Update, None) => Err(SaveOutcome::Missing),
                })
            },
            |written| text::outcome(written.outcome).to_owned(),
        )
        .map(|written| written.outcome)
    }

    /// Moves the end of a session, never to an earlier time.
    ///
    /// # Errors
    ///
    /// As [`Fakes::save`].
    pub fn touch(&self, to: &Target, key: &str, expires_at: Instant) -> Result<SaveOutcome> {
        self.ask(
            format!("databases.touch {} {} expires={}", target(to), short_key(key), text::instant(expires_at)),
            |state| {
                state.check_target(to, key)?;
                state.write(Function::Touch, to, key, |there| match there {
                    Some(row) => {
                        Ok(Some(Row { payload: row.payload.clone(), expires_at: row.expires_at.max(expires_at) }))
                    }
                    None => Err(SaveOutcome::Missing),
                })
            },
            |written| text::outcome(written.outcome).to_owned(),
        )
        .map(|written| written.outcome)
    }

    /// Deletes a session from home and from every mirror; `true`: at least one of them had it.
    ///
    /// # Errors
    ///
    /// As [`Fakes::save`], and `invalid` for a mirror that is `best-effort`.
    pub fn delete(&self, to: &Target, key: &str) -> Result<bool> {
        self.ask(
            format!("databases.delete {} {}", target(to), short_key(key)),
            |state| {
                state.check_target(to, key)?;
                if to.mirrors.iter().any(|mirror| mirror.guarantee == Guarantee::BestEffort) {
                    return Err(Error::new(ErrorCode::Invalid, "a delete is never best-effort"));
                }
                state.write(Function::Delete, to, key, |_| Ok(None))
            },
            |written| written.was_there.to_string(),
        )
        .map(|written| written.was_there)
    }

    /// Brings home and mirrors of `to` to the row of `source`; where it has none, deletes theirs.
    ///
    /// # Errors
    ///
    /// As [`Fakes::save`], and the error of `source`.
    pub fn copy(&self, source: &str, to: &Target, key: &str) -> Result<()> {
        self.ask(
            format!("databases.copy {source} {} {}", target(to), short_key(key)),
            |state| {
                state.check(source, key)?;
                state.check_target(to, key)?;
                state.reach(Function::Copy, Some(source))?;
                let row = state.databases[source].get(key).cloned();
                state.write(Function::Copy, to, key, |_| Ok(row)).map(|_| ())
            },
            |()| "ok".to_owned(),
        )
    }

    /// Whether there is a row under this key, also one that has ended.
    ///
    /// # Errors
    ///
    /// As [`Fakes::load`].
    pub fn exists(&self, database: &str, key: &str) -> Result<bool> {
        self.ask(
            format!("databases.exists {database} {}", short_key(key)),
            |state| {
                state.check(database, key)?;
                state.reach(Function::Exists, Some(database))?;
                Ok(state.databases[database].contains_key(key))
            },
            bool::to_string,
        )
    }

    /// Deletes at most `limit` rows that ended before an instant, `None`: before now; the longest ended first.
    ///
    /// # Errors
    ///
    /// As [`Fakes::load`].
    pub fn delete_expired(&self, database: &str, before: Option<Instant>, limit: u32) -> Result<u32> {
        let before_text = before.map_or_else(|| "now".to_owned(), text::instant);
        self.ask(
            format!("databases.delete-expired {database} before={before_text} limit={limit}"),
            |state| {
                state.check_database(database)?;
                state.reach(Function::DeleteExpired, Some(database))?;
                Ok(state.delete_expired(database, before, limit))
            },
            u32::to_string,
        )
    }

    /// Answers a question and records it with what it came to.
    fn ask<T>(
        &self,
        question: String,
        answer: impl FnOnce(&mut State) -> Result<T>,
        show: impl FnOnce(&T) -> String,
    ) -> Result<T> {
        let mut state = self.state();
        let answer = answer(&mut state);
        let shown = answer.as_ref().map_or_else(text_of, show);
        state.push(format!("{question} -> {shown}"));
        answer
    }
}

/// What a write did.
struct Written {
    outcome: SaveOutcome,
    was_there: bool,
}

impl State {
    fn check(&self, database: &str, key: &str) -> Result<()> {
        self.check_database(database)?;
        self.check_key(key)
    }

    fn check_target(&self, to: &Target, key: &str) -> Result<()> {
        self.check(&to.home, key)?;
        to.lock.iter().try_for_each(|name| self.check_database(name))?;
        for (i, mirror) in to.mirrors.iter().enumerate() {
            self.check_database(&mirror.database)?;
            if mirror.database == to.home || to.mirrors[..i].iter().any(|other| other.database == mirror.database) {
                let message = format!("a target names the database `{}` twice", mirror.database);
                return Err(Error::new(ErrorCode::Invalid, message));
            }
        }
        Ok(())
    }

    /// Writes what `decide` makes of home's row to home and the mirrors: all that is strict, or nothing.
    fn write(
        &mut self,
        function: Function,
        to: &Target,
        key: &str,
        decide: impl FnOnce(Option<&Row>) -> std::result::Result<Option<Row>, SaveOutcome>,
    ) -> Result<Written> {
        self.forget(key);
        let mut unknown = None;
        // Nothing is written before the lock is held, so an unknown outcome of the lock ends the write like any other
        // fault.
        if let Some(lock) = to.lock.as_deref().filter(|lock| *lock != to.home) {
            self.reach(function, Some(lock))?;
        }
        self.send(function, &to.home, &mut unknown)?;
        let row = match decide(self.databases[&to.home].get(key)) {
            Ok(row) => row,
            Err(outcome) => return unknown.map_or(Ok(Written { outcome, was_there: false }), Err),
        };
        for mirror in to.mirrors.iter().filter(|mirror| mirror.guarantee == Guarantee::Strict) {
            self.send(function, &mirror.database, &mut unknown)?;
        }

        let mut was_there = self.bring(&to.home, key, row.clone());
        for mirror in &to.mirrors {
            let row = match mirror.action {
                MirrorAction::Copy => row.clone(),
                MirrorAction::Remove => None,
            };
            match mirror.guarantee {
                Guarantee::Strict => was_there |= self.bring(&mirror.database, key, row),
                Guarantee::Marked => drop(self.marks.insert((mirror.database.clone(), key.to_owned()))),
                Guarantee::BestEffort => {
                    if self.send(function, &mirror.database, &mut None).is_ok() {
                        self.bring(&mirror.database, key, row);
                    }
                }
            }
        }
        unknown.map_or(Ok(Written { outcome: SaveOutcome::Saved, was_there }), Err)
    }

    /// Reaches a database for a write. After an `unknown-outcome` the write goes on, and reports it at the end.
    fn send(&mut self, function: Function, database: &str, unknown: &mut Option<Error>) -> Result<()> {
        match self.reach(function, Some(database)) {
            Err(error) if error.code == ErrorCode::UnknownOutcome => {
                unknown.get_or_insert(error);
                Ok(())
            }
            answer => answer,
        }
    }

    /// Brings one database to a row; answers whether it had one.
    fn bring(&mut self, database: &str, key: &str, row: Option<Row>) -> bool {
        self.marks.remove(&(database.to_owned(), key.to_owned()));
        let rows = self.databases.get_mut(database).expect("the target was checked");
        match row {
            Some(row) => rows.insert(key.to_owned(), row).is_some(),
            None => rows.remove(key).is_some(),
        }
    }

    fn delete_expired(&mut self, database: &str, before: Option<Instant>, limit: u32) -> u32 {
        let before = before.map_or(self.now(), |before| before.min(self.now()));
        let rows = self.databases.get_mut(database).expect("the database was checked");
        let mut ended: Vec<_> = rows.iter().filter(|(_, row)| row.expires_at < before).collect();
        ended.sort_by_key(|(_, row)| row.expires_at);
        let ended: Vec<_> = ended.into_iter().map(|(key, _)| key.clone()).take(limit as usize).collect();
        for key in &ended {
            rows.remove(key);
        }
        u32::try_from(ended.len()).unwrap_or(u32::MAX)
    }
}

/// `default lock=x strict=new_session_store`; a mirror whose row is removed ends in `:remove`.
fn target(to: &Target) -> String {
    let mut text = to.home.clone();
    if let Some(lock) = &to.lock {
        let _ = write!(text, " lock={lock}");
    }
    for mirror in &to.mirrors {
        let guarantee = match mirror.guarantee {
            Guarantee::Strict => "strict",
            Guarantee::Marked => "marked",
            Guarantee::BestEffort => "best-effort",
        };
        let action = match mirror.action {
            MirrorAction::Copy => "",
            MirrorAction::Remove => ":remove",
        };
        let _ = write!(text, " {guarantee}={}{action}", mirror.database);
    }
    text
}
