//! The component: implements each export, with the misbehaviour that was set.

use std::cell::RefCell;
use std::hint::black_box;

use switchover_guest::glue::bindings::exports::switchover::policy::{about, router, session_store};
use switchover_guest::glue::bindings::switchover::policy::types::{Error, ErrorCode, SaveMode, SaveOutcome, Session};
use switchover_guest::glue::bindings::switchover::policy::{databases, log};
use switchover_guest::glue::{bindings, export_component, log_panics};

use crate::behaviour::Behaviour;

const HOME: &str = "default";
const FOREIGN_DATABASE: &str = "secret";
const FOREIGN_KEY: &str = "anotherkeyanotherkeyanotherkey00";
const MEGABYTE: usize = 1 << 20;

struct Hostile;

export_component!(Hostile with_types_in bindings);

thread_local! {
    /// The first session that `other-session` found.
    static KEPT: RefCell<Option<Session>> = const { RefCell::new(None) };
}

impl session_store::Guest for Hostile {
    fn load(key: String) -> Result<Option<Session>, Error> {
        log_panics();
        match Behaviour::set() {
            Behaviour::Trap => panic!("as the setting `behaviour` says"),
            Behaviour::Spin => loop {
                black_box(0);
            },
            Behaviour::Grow => grow(),
            Behaviour::Recurse => {
                let depth = black_box(u64::MAX);
                Err(error(&recurse(depth).to_string()))
            }
            Behaviour::Flood => loop {
                drop(black_box(databases::load(HOME, &key)));
            },
            Behaviour::ForeignDatabase => databases::load(FOREIGN_DATABASE, &key),
            Behaviour::ForeignKey => databases::load(HOME, FOREIGN_KEY),
            Behaviour::OtherSession => other_session(&key),
            Behaviour::FalseNone => Ok(databases::load(HOME, &key).unwrap_or(None)),
            Behaviour::LogKey => log_key(&key),
            Behaviour::BigLog => {
                let line = "x".repeat(MEGABYTE);
                (0..1_000).for_each(|_| log::write(log::Level::Error, &line));
                databases::load(HOME, &key)
            }
            Behaviour::None
            | Behaviour::FalseSaved
            | Behaviour::TrapAfterWrite
            | Behaviour::FalseDeleted
            | Behaviour::Undeclared
            | Behaviour::DescribeTrap => databases::load(HOME, &key),
        }
    }

    fn save(key: String, value: Session, mode: SaveMode) -> Result<SaveOutcome, Error> {
        let behaviour = Behaviour::set();
        if matches!(behaviour, Behaviour::FalseSaved) {
            return Ok(SaveOutcome::Saved);
        }
        let outcome = databases::save(home(), &key, &value, mode);
        assert!(!matches!(behaviour, Behaviour::TrapAfterWrite), "as the setting `behaviour` says");
        outcome
    }

    fn touch(key: String, expires_at: u64) -> Result<SaveOutcome, Error> {
        databases::touch(home(), &key, expires_at)
    }

    fn delete(key: String) -> Result<bool, Error> {
        if matches!(Behaviour::set(), Behaviour::FalseDeleted) { Ok(true) } else { databases::delete(home(), &key) }
    }

    fn exists(key: String) -> Result<bool, Error> {
        databases::exists(HOME, &key)
    }

    fn clear_expired(limit: u32) -> Result<u32, Error> {
        databases::delete_expired(HOME, None, limit)
    }
}

impl router::Guest for Hostile {
    fn db_for_read(_: router::Model, _: router::Hints) -> Result<Option<String>, Error> {
        Ok(None)
    }

    fn db_for_write(_: router::Model, _: router::Hints) -> Result<Option<String>, Error> {
        Ok(None)
    }

    fn allow_relation(_: router::Object, _: router::Object, _: router::Hints) -> Result<Option<bool>, Error> {
        Ok(None)
    }

    fn allow_migrate(_: String, _: String, _: Option<String>, _: router::Hints) -> Result<Option<bool>, Error> {
        Ok(None)
    }
}

impl about::Guest for Hostile {
    fn describe() -> about::Description {
        log_panics();
        let databases = match Behaviour::set() {
            Behaviour::DescribeTrap => panic!("as the setting `behaviour` says"),
            Behaviour::Undeclared => vec![HOME.to_owned(), FOREIGN_DATABASE.to_owned()],
            _ => vec![HOME.to_owned()],
        };
        about::Description {
            name: "hostile".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: "single".to_owned(),
            databases,
            flags: Vec::new(),
            attributes: Vec::new(),
        }
    }
}

fn home() -> databases::Target<'static> {
    databases::Target { home: HOME, lock: None, mirrors: &[] }
}

fn grow() -> ! {
    let mut taken = Vec::new();
    loop {
        taken.push(black_box(vec![1_u8; MEGABYTE]));
    }
}

/// Keeps nothing in memory, so that the stack is used up first.
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    if depth == 0 { 1 } else { recurse(depth - 1).rotate_left(7) ^ depth }
}

fn other_session(key: &str) -> Result<Option<Session>, Error> {
    if let Some(kept) = KEPT.take() {
        return Ok(Some(kept));
    }
    KEPT.set(databases::load(HOME, key)?);
    databases::load(HOME, key)
}

fn log_key(key: &str) -> Result<Option<Session>, Error> {
    let session = databases::load(HOME, key)?;
    let payload = session.and_then(|session| session.payload().ok()).unwrap_or_default();
    let line = format!("key {key}, payload {}", String::from_utf8_lossy(&payload));
    log::write(log::Level::Error, &line);
    Err(error(&line))
}

fn error(message: &str) -> Error {
    Error { code: ErrorCode::Internal, retryable: false, message: message.to_owned() }
}
