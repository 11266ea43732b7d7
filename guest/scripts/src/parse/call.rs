//! Reads the calls of a script, and the words that commands consist of.

use switchover_guest::{Hints, Instant, Model, Object, SaveMode};

use super::Parsed;
use crate::call::Call;
use crate::session::FakeSession;
use crate::text;

/// Reads a call of the policy.
pub(super) fn call(verb: &str, words: &[&str]) -> Parsed<Call> {
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
        _ => Err(format!("no command `{verb}`: the documentation of `switchover_scripts` has them all")),
    }
}

pub(super) fn usage(example: &str) -> String {
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
pub(super) fn session(words: &[&str], example: &str) -> Parsed<FakeSession> {
    let usage = || usage(&format!("{example} expires=+60s payload=v1"));
    let [name, expires, payload] = words else { return Err(usage()) };
    let expires_at: Instant = expires.strip_prefix("expires=").and_then(text::parse_instant).ok_or_else(usage)?;
    Ok(FakeSession::new(key(name)?, payload.strip_prefix("payload=").ok_or_else(usage)?, expires_at))
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
