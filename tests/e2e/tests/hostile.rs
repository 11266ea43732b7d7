//! Policies that misbehave: the error says what is wrong, the old policy keeps serving, and the host stays healthy.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use anyhow::Result;
use switchover::backends::{MemoryCache, MemoryDatabase};
use switchover::{Builtin, Error, Policy, PolicyFault, Rejection, SwapError, Switchover, expires_in};
use switchover_tests::{Load, Rig, component, create, payload};

const MINUTE: Duration = Duration::from_secs(60);

/// A policy that misbehaves from its first call on, which is in its trial.
fn hostile(behaviour: &str) -> Policy {
    Policy::file(component("hostile")).setting("behaviour", behaviour)
}

/// A policy that behaves well until the flag `armed` is on, so it passes its trial.
fn sleeper(behaviour: &str) -> Policy {
    hostile(behaviour).setting("armed_by", "armed")
}

/// Takes such a policy into use, and then sets its flag.
async fn wake(rig: &Rig, policy: Policy) -> Result<()> {
    rig.flag("armed", false).await?;
    rig.switchover.swap_policy(policy).await?;
    rig.flag("armed", true).await
}

async fn rejected(rig: &Rig, policy: Policy) -> (Rejection, String) {
    let before = rig.switchover.policy().version;
    let key = create(&rig.sessions(), "v1").await.unwrap();
    let error = rig.switchover.swap_policy(policy).await.unwrap_err();
    let SwapError::Rejected { kind, .. } = error else { panic!("{error}") };
    assert_eq!(rig.switchover.policy().version, before, "the old policy keeps serving");
    assert!(rig.sessions().load(&key).await.unwrap().is_some());
    (kind, error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_policy_is_refused_in_its_trial_and_the_old_one_serves_under_load() -> Result<()> {
    let rig = Rig::insisting().await?;
    let load = Load::start(&rig.sessions(), 8);
    let cases = [
        ("trap", "it trapped"),
        ("spin", "processor time"),
        ("grow", "it trapped"),
        ("recurse", "stack"),
        ("flood", "host calls"),
        ("foreign-database", "`secret`"),
        ("foreign-key", "only the key that it was called with"),
        ("false-saved", "`saved`"),
        ("false-deleted", "`deleted`"),
        ("trap-after-write", "it trapped"),
        ("undeclared", "`secret`"),
        ("describe-trap", "it trapped"),
    ];
    for (behaviour, says) in cases {
        load.progress(20).await?;
        let (kind, error) = rejected(&rig, hostile(behaviour)).await;
        assert!(error.contains(says), "{behaviour}: {error}");
        let expected = match behaviour {
            "describe-trap" => Rejection::Description,
            "undeclared" => Rejection::UnknownDatabase,
            _ => Rejection::Trial,
        };
        assert_eq!(kind, expected, "{behaviour}: {error}");
    }
    load.progress(200).await?;
    load.stop().await?;
    assert_eq!(rig.switchover.policy().faults, 0, "the running policy is not blamed for the others");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_that_is_no_policy_is_refused_with_what_it_is() -> Result<()> {
    let rig = Rig::insisting().await?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("policy.wasm");
    let whole = std::fs::read(component("fallback"))?;
    let core_module = b"\0asm\x01\0\0\0".to_vec();
    let empty_component = b"\0asm\x0d\0\x01\0".to_vec();
    let mut broken = whole.clone();
    broken[whole.len() / 2..whole.len() / 2 + 64].fill(0xff);
    let cases = [
        (whole[..whole.len() / 2].to_vec(), "not a valid component"),
        (whole[..9].to_vec(), "not a valid component"),
        (broken, "not a valid component"),
        (core_module, "core module"),
        (empty_component, "does not fit the world"),
        (Vec::new(), "not WebAssembly"),
        (b"#!/bin/sh\n".to_vec(), "not WebAssembly"),
        (b"\x7fELF\x02\x01\x01\0".to_vec(), "not WebAssembly"),
    ];
    for (bytes, says) in cases {
        std::fs::write(&path, &bytes)?;
        let expected = if says.contains("world") { Rejection::Contract } else { Rejection::NotAComponent };
        let (kind, error) = rejected(&rig, Policy::file(&path)).await;
        assert!(kind == expected && error.contains(says), "{} bytes: {error}", bytes.len());
        let (kind, error) = rejected(&rig, Policy::bytes(bytes)).await;
        assert!(kind == expected && error.contains(says), "{error}");
    }
    let (kind, error) = rejected(&rig, Policy::file(folder.path().join("absent.wasm"))).await;
    assert!(kind == Rejection::Unreadable && error.contains("absent.wasm"), "{error}");
    let (kind, error) = rejected(&rig, Policy::file(folder.path())).await;
    assert!(kind == Rejection::Unreadable && error.contains("cannot read"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_megabytes_of_zeros_are_refused_without_being_read() -> Result<()> {
    let rig = Rig::insisting().await?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("zeros.wasm");
    std::fs::File::create(&path)?.set_len(200 << 20)?;
    let (kind, error) = rejected(&rig, Policy::file(&path)).await;
    assert!(kind == Rejection::Unreadable && error.contains("32 MiB"), "{error}");
    let (kind, error) = rejected(&rig, Policy::file("/dev/zero")).await;
    assert!(kind == Rejection::Unreadable && error.contains("32 MiB"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_import_and_missing_database_are_named() -> Result<()> {
    let rig = Rig::insisting().await?;
    let policy = Policy::builtin(Builtin::Fallback).setting("new", "elsewhere");
    let (kind, error) = rejected(&rig, policy).await;
    assert_eq!(kind, Rejection::UnknownDatabase);
    assert!(error.contains("`elsewhere`") && error.contains("new_session_store"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policy_that_turns_bad_while_it_runs_costs_its_calls_and_nothing_else() -> Result<()> {
    type Expected = fn(&PolicyFault) -> bool;
    let cases: [(&str, Expected); 6] = [
        ("trap", |fault| matches!(fault, PolicyFault::Trap { .. })),
        ("spin", |fault| matches!(fault, PolicyFault::CpuTime)),
        ("grow", |fault| matches!(fault, PolicyFault::Trap { .. } | PolicyFault::CpuTime)),
        ("recurse", |fault| matches!(fault, PolicyFault::Trap { .. })),
        ("flood", |fault| matches!(fault, PolicyFault::HostCalls)),
        ("big-log", |fault| matches!(fault, PolicyFault::Trap { .. } | PolicyFault::HostCalls)),
    ];
    for (behaviour, expected) in cases {
        let rig = Rig::insisting().await?;
        let sessions = rig.sessions();
        let two = create(&sessions, "v2").await?;
        wake(&rig, sleeper(behaviour)).await?;
        for _ in 0..5 {
            let Err(Error::Policy { version, source }) = sessions.load(&two).await else {
                panic!("{behaviour}: a fault was expected")
            };
            assert_eq!(*version, rig.switchover.policy().version);
            assert!(expected(&source), "{behaviour}: {source}");
            assert!(sessions.exists(&two).await?, "{behaviour}: other calls go on");
        }
        assert!(rig.switchover.policy().faults >= 5);
        rig.flag("armed", false).await?;
        assert!(sessions.load(&two).await?.is_some(), "{behaviour}: new instances are made");
        rig.flag("armed", true).await?;
        rig.switchover.rollback_policy().await?;
        let load = Load::start(&sessions, 8);
        load.progress(300).await?;
        load.stop().await?;
        assert_eq!(sessions.load(&two).await?.unwrap().payload, payload("v2"), "{behaviour}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_of_another_key_is_never_handed_to_the_caller() -> Result<()> {
    let rig = Rig::insisting().await?;
    let sessions = rig.sessions();
    let (one, two) = (create(&sessions, "v1").await?, create(&sessions, "v2").await?);
    wake(&rig, sleeper("other-session")).await?;
    // The instance keeps a session of the first call, and answers the second call with it.
    sessions.load(&one).await?;
    let error = sessions.load(&two).await.unwrap_err();
    assert!(matches!(error, Error::Policy { source: PolicyFault::ForeignSession, .. }), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_are_enforced_at_run_time_too() -> Result<()> {
    for behaviour in ["foreign-database", "foreign-key"] {
        let rig = Rig::insisting().await?;
        let key = create(&rig.sessions(), "v1").await?;
        wake(&rig, sleeper(behaviour)).await?;
        let denied = rig.switchover.counts().denied;
        rig.sessions().load(&key).await.unwrap_err();
        assert_eq!(rig.switchover.counts().denied, denied + 1, "{behaviour}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policy_returns_only_what_a_database_answered() -> Result<()> {
    let rig = Rig::with(|builder| builder.insist_on_flags(true).cache(MemoryCache::with_bytes(1))).await?;
    let sessions = rig.sessions();
    let key = create(&sessions, "v1").await?;
    wake(&rig, sleeper("false-none")).await?;
    rig.old.set_down(true);
    let error = sessions.load(&key).await.unwrap_err();
    assert!(matches!(error, Error::Policy { source: PolicyFault::FalseAbsence, .. }), "{error}");
    rig.old.set_down(false);

    wake(&rig, sleeper("false-saved")).await?;
    let error = sessions.save(&key, payload("v2"), expires_in(MINUTE)).await.unwrap_err();
    assert!(matches!(error, Error::Policy { source: PolicyFault::FalseOutcome { claimed: "saved" }, .. }), "{error}");

    wake(&rig, sleeper("false-deleted")).await?;
    let error = sessions.delete(&key).await.unwrap_err();
    assert!(matches!(error, Error::Policy { source: PolicyFault::FalseOutcome { claimed: "deleted" }, .. }), "{error}");
    assert!(sessions.load(&key).await?.is_some(), "nothing was deleted, and no caller got that answer");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_after_a_write_is_an_unknown_outcome() -> Result<()> {
    let rig = Rig::insisting().await?;
    let key = create(&rig.sessions(), "v1").await?;
    wake(&rig, sleeper("trap-after-write")).await?;
    let error = rig.sessions().save(&key, payload("v2"), expires_in(MINUTE)).await.unwrap_err();
    assert!(matches!(error, Error::UnknownOutcome { .. }), "{error}");
    assert_eq!(rig.sessions().load(&key).await?.unwrap().payload, payload("v2"), "it was written, and is not hidden");
    Ok(())
}

#[tokio::test]
async fn host_with_a_bad_first_policy_is_not_built() {
    let built = Switchover::builder().database("default", MemoryDatabase::new()).policy(hostile("trap")).build().await;
    assert!(built.unwrap_err().to_string().contains("it trapped"));
    let built = Switchover::builder().policy(Policy::builtin(Builtin::CachedDb)).build().await;
    assert!(built.unwrap_err().to_string().contains("no database"));
    let built = Switchover::builder().database("not a name", MemoryDatabase::new()).build().await;
    assert!(built.unwrap_err().to_string().contains("the alias of a database has"));
    let twice =
        Switchover::builder().database("default", MemoryDatabase::new()).database("default", MemoryDatabase::new());
    assert!(twice.build().await.unwrap_err().to_string().contains("twice"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payload_is_read_only_with_its_grant() -> Result<()> {
    // `log-key` tries to read the payload. Without the grant this is denied. With the grant its log is withheld (see
    // `secrets`).
    let rig = Rig::insisting().await?;
    let key = create(&rig.sessions(), "v1").await?;
    wake(&rig, sleeper("log-key")).await?;
    let denied = rig.switchover.counts().denied;
    rig.sessions().load(&key).await.unwrap_err();
    assert!(rig.switchover.counts().denied > denied);
    wake(&rig, sleeper("log-key").grant_payload()).await?;
    let denied = rig.switchover.counts().denied;
    rig.sessions().load(&key).await.unwrap_err();
    assert_eq!(rig.switchover.counts().denied, denied);
    Ok(())
}
