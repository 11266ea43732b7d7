//! What the fakes promise, and that the golden check can fail.

use std::path::PathBuf;
use std::sync::Arc;
use std::{env, fs, process};

use switchover_guest::{ErrorCode, Guarantee, Lookup, SaveMode, SaveOutcome, Session, Target};

use super::*;

const SECOND: u64 = 1_000_000;

fn fakes() -> Fakes {
    Fakes::new(["home", "mirror"])
}

fn session(payload: &str, seconds: u64) -> FakeSession {
    FakeSession::new("k", payload, START + seconds * SECOND)
}

fn strict() -> Target {
    Target::home("home").copy_to("mirror", Guarantee::Strict)
}

fn code<T: std::fmt::Debug>(answer: switchover_guest::Result<T>) -> ErrorCode {
    answer.unwrap_err().code
}

#[test]
fn home_decides_and_a_mirror_is_an_upsert() {
    let fakes = fakes();
    let v1 = session("v1", 60);
    assert_eq!(fakes.save(&strict(), "k", &v1, SaveMode::Update), Ok(SaveOutcome::Missing));
    fakes.put_row("mirror", &session("stray", 60));
    assert_eq!(fakes.save(&strict(), "k", &v1, SaveMode::Update), Ok(SaveOutcome::Missing));
    assert_eq!(fakes.contents(), ["row mirror k expires=+60s payload=stray"]);

    assert_eq!(fakes.save(&strict(), "k", &v1, SaveMode::Create), Ok(SaveOutcome::Saved));
    assert_eq!(fakes.save(&strict(), "k", &session("v2", 60), SaveMode::Create), Ok(SaveOutcome::Exists));
    assert_eq!(fakes.contents(), ["row home k expires=+60s payload=v1", "row mirror k expires=+60s payload=v1"]);
}

#[test]
fn failing_strict_mirror_means_that_nothing_was_written() {
    let fakes = fakes();
    fakes.put_row("home", &session("v1", 60));
    let before = fakes.contents();
    fakes.fail(Function::Save, Some("mirror"), ErrorCode::Timeout, None);
    fakes.fail(Function::Touch, Some("mirror"), ErrorCode::Timeout, None);
    fakes.fail(Function::Delete, Some("mirror"), ErrorCode::Timeout, None);
    assert_eq!(code(fakes.save(&strict(), "k", &session("v2", 60), SaveMode::Update)), ErrorCode::Timeout);
    assert_eq!(code(fakes.touch(&strict(), "k", START + 90 * SECOND)), ErrorCode::Timeout);
    assert_eq!(code(fakes.delete(&strict(), "k")), ErrorCode::Timeout);
    assert_eq!(fakes.contents(), before);
}

#[test]
fn write_with_an_unknown_outcome_at_home_or_a_mirror_is_done() {
    for database in ["home", "mirror"] {
        let fakes = fakes();
        fakes.fail(Function::Save, Some(database), ErrorCode::UnknownOutcome, None);
        assert_eq!(code(fakes.save(&strict(), "k", &session("v1", 60), SaveMode::Create)), ErrorCode::UnknownOutcome);
        assert_eq!(fakes.contents().len(), 2, "{database}");
    }
}

#[test]
fn unknown_outcome_at_the_lock_means_that_nothing_was_written() {
    let fakes = fakes();
    let to = Target { lock: Some("mirror".to_owned()), ..Target::home("home") };
    fakes.fail(Function::Save, Some("mirror"), ErrorCode::UnknownOutcome, Some(1));
    assert_eq!(code(fakes.save(&to, "k", &session("v1", 60), SaveMode::Create)), ErrorCode::UnknownOutcome);
    assert!(fakes.contents().is_empty());
    assert_eq!(fakes.save(&to, "k", &session("v1", 60), SaveMode::Create), Ok(SaveOutcome::Saved));
}

#[test]
fn other_calls_with_an_unknown_outcome_are_not_done() {
    let fakes = fakes();
    fakes.put_row("home", &FakeSession::new("k", "v1", START - SECOND));
    let before = fakes.contents();
    fakes.fail(Function::DeleteExpired, Some("home"), ErrorCode::UnknownOutcome, None);
    fakes.fail(Function::Copy, Some("home"), ErrorCode::UnknownOutcome, None);
    assert_eq!(code(fakes.delete_expired("home", None, 10)), ErrorCode::UnknownOutcome);
    assert_eq!(code(fakes.copy("home", &Target::home("mirror"), "k")), ErrorCode::UnknownOutcome);
    assert_eq!(fakes.contents(), before);
}

#[test]
fn trace_names_the_guarantee_and_a_removal() {
    let fakes = fakes();
    let to = Target { lock: Some("mirror".to_owned()), ..strict() };
    fakes.delete(&to, "k").unwrap();
    fakes.delete(&Target::home("home").remove_from("mirror", Guarantee::Marked), "k").unwrap();
    let expected = ["home lock=mirror strict=mirror k -> false", "home marked=mirror:remove k -> false"];
    assert_eq!(fakes.trace(), expected.map(|line| format!("databases.delete {line}")));
}

#[test]
fn marked_mirror_is_left_to_the_mark() {
    let fakes = fakes();
    let to = Target::home("home").copy_to("mirror", Guarantee::Marked);
    fakes.fail(Function::Save, Some("mirror"), ErrorCode::Unavailable, None);
    assert_eq!(fakes.save(&to, "k", &session("v1", 60), SaveMode::Create), Ok(SaveOutcome::Saved));
    assert_eq!(fakes.contents(), ["row home k expires=+60s payload=v1", "mark mirror k"]);
    assert_eq!(fakes.copy("home", &Target::home("mirror"), "k"), Ok(()));
    assert_eq!(fakes.contents(), ["row home k expires=+60s payload=v1", "row mirror k expires=+60s payload=v1"]);
}

#[test]
fn best_effort_mirror_may_fail_and_may_not_be_deleted() {
    let fakes = fakes();
    let to = Target::home("home").copy_to("mirror", Guarantee::BestEffort);
    fakes.fail(Function::Save, Some("mirror"), ErrorCode::Unavailable, Some(1));
    assert_eq!(fakes.save(&to, "k", &session("v1", 60), SaveMode::Create), Ok(SaveOutcome::Saved));
    assert_eq!(fakes.contents(), ["row home k expires=+60s payload=v1"]);
    assert_eq!(fakes.save(&to, "k", &session("v2", 60), SaveMode::Update), Ok(SaveOutcome::Saved));
    assert_eq!(fakes.contents().len(), 2);
    assert_eq!(code(fakes.delete(&to, "k")), ErrorCode::Invalid);
}

#[test]
fn delete_also_removes_what_home_does_not_have() {
    let fakes = fakes();
    fakes.put_row("mirror", &session("v1", 60));
    let to = Target::home("home").remove_from("mirror", Guarantee::Strict);
    assert_eq!(fakes.delete(&to, "k"), Ok(true));
    assert_eq!(fakes.delete(&to, "k"), Ok(false));
    assert!(fakes.contents().is_empty());
}

#[test]
fn touch_never_shortens() {
    let fakes = fakes();
    assert_eq!(fakes.touch(&strict(), "k", START), Ok(SaveOutcome::Missing));
    fakes.put_row("home", &session("v1", 60));
    assert_eq!(fakes.touch(&strict(), "k", START + 30 * SECOND), Ok(SaveOutcome::Saved));
    assert_eq!(fakes.contents(), ["row home k expires=+60s payload=v1", "row mirror k expires=+60s payload=v1"]);
}

#[test]
fn copy_brings_the_source_even_if_that_is_no_row() {
    let fakes = fakes();
    fakes.put_row("mirror", &session("old", 60));
    assert_eq!(fakes.copy("home", &Target::home("mirror"), "k"), Ok(()));
    assert!(fakes.contents().is_empty());
}

#[test]
fn what_has_ended_exists_and_is_not_loaded() {
    let fakes = fakes();
    fakes.put_row("home", &session("v1", 60));
    fakes.advance(60 * SECOND);
    assert_eq!(fakes.load("home", "k"), Ok(None));
    assert_eq!(fakes.exists("home", "k"), Ok(true));
    assert_eq!(fakes.delete_expired("home", None, 10), Ok(0));
    fakes.advance(1);
    assert_eq!(fakes.delete_expired("home", Some(START), 10), Ok(0));
    assert_eq!(fakes.delete_expired("home", None, 0), Ok(0));
    assert_eq!(fakes.delete_expired("home", None, 10), Ok(1));
}

#[test]
fn several_databases_are_read_at_the_same_time() {
    let fakes = fakes();
    fakes.put_row("mirror", &session("v1", 60));
    fakes.delay(Function::Load, Some("home"), 20);
    fakes.delay(Function::Load, Some("mirror"), 30);
    fakes.fail(Function::Load, Some("home"), ErrorCode::Timeout, None);
    let answers = fakes.load_each(&["home", "mirror", "nowhere"], "k");
    assert_eq!(fakes.now(), START + 30);
    assert_eq!(fakes.trace(), ["databases.load-each home,mirror,nowhere k -> error timeout, v1, error denied"]);
    assert_eq!(answers.len(), 3);
}

#[test]
fn target_that_cannot_be_is_refused() {
    let fakes = fakes();
    let twice = Target::home("home").copy_to("home", Guarantee::Strict);
    assert_eq!(code(fakes.delete(&twice, "k")), ErrorCode::Invalid);
    assert_eq!(code(fakes.delete(&Target::home("nowhere"), "k")), ErrorCode::Denied);
    let value = FakeSession::new("another", "v1", START);
    assert_eq!(code(fakes.save(&Target::home("home"), "k", &value, SaveMode::Create)), ErrorCode::Denied);
}

#[test]
fn write_takes_the_lease_away() {
    let fakes = fakes();
    let v1 = session("v1", 60);
    let Ok(Lookup::Miss(lost)) = fakes.cache_get("k") else { panic!("the cache is empty") };
    fakes.put_row("home", &v1);
    fakes.touch(&Target::home("home"), "k", START + 90 * SECOND).unwrap();
    fakes.cache_fill(&lost, &v1).unwrap();
    let Ok(Lookup::Miss(held)) = fakes.cache_get("k") else { panic!("the lease was lost") };
    fakes.cache_fill(&held, &v1).unwrap();
    assert!(matches!(fakes.cache_get("k"), Ok(Lookup::Hit(found)) if found == v1));
    fakes.cache_fill(&held, &v1).unwrap();
    let fills: Vec<_> = fakes.trace().into_iter().filter(|line| line.starts_with("cache.fill")).collect();
    assert_eq!(
        fills,
        ["cache.fill k -> ok, without effect", "cache.fill k -> ok", "cache.fill k -> ok, without effect"]
    );
    fakes.delete(&Target::home("home"), "k").unwrap();
    assert!(matches!(fakes.cache_get("k"), Ok(Lookup::Miss(_))));
}

#[test]
fn payload_is_read_with_the_grant_alone() {
    let fakes = fakes();
    fakes.put_row("home", &session("v1", 60));
    assert_eq!(code(fakes.load("home", "k").unwrap().unwrap().payload()), ErrorCode::Denied);
    fakes.grant_payload();
    assert_eq!(fakes.load("home", "k").unwrap().unwrap().payload(), Ok(b"v1".to_vec()));
}

/// Loads from `home`, or claims that there is nothing.
struct Loads {
    seeded_bug: bool,
}

impl Subject for Loads {
    async fn call(&self, fakes: &Arc<Fakes>, call: &Call) -> Answer {
        match call {
            Call::Load { key } if !self.seeded_bug => Answer::Session(fakes.load("default", key)),
            _ => Answer::Session(Ok(None)),
        }
    }
}

fn folder(name: &str) -> PathBuf {
    let dir = env::temp_dir().join(format!("switchover-{name}-{}", process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir
}

#[test]
fn wrong_output_fails_the_check_and_a_rewrite_mends_it() {
    let dir = folder("golden");
    let check = |seeded_bug, golden| block_on(check_scripts(&dir, &Loads { seeded_bug }, golden));
    assert!(matches!(check(false, Golden::Compare), Err(CheckError::NoScripts { .. })));

    fs::write(dir.join("a.script"), "# It is found.\nrow default k1 expires=+60s payload=v1\nload k1\n").unwrap();
    assert!(matches!(check(false, Golden::Compare), Err(CheckError::Differences(_))));
    assert_eq!(check(false, Golden::Rewrite).unwrap(), 1);
    assert_eq!(check(false, Golden::Compare).unwrap(), 1);

    let wrong = check(true, Golden::Compare).unwrap_err().to_string();
    let expected = "    load k1\n    ---\n  - databases.load default k1 -> v1\n  - -> v1\n  + -> none\n";
    assert!(wrong.ends_with(expected), "{wrong}");
    fs::remove_dir_all(&dir).unwrap();
}
