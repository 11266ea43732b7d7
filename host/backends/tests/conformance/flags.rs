//! Flags from code and from a file: what is accepted, what is refused, and what stays in force if the file becomes
//! invalid.

use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, Once};

use anyhow::{Context, Result};
use switchover_backends::{FlagFile, FlagSwitch};
use switchover_core::capabilities::{FlagSnapshot, Flags};
use tempfile::TempDir;
use tracing::field::Field;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::fixture::eventually;

fn latest(flags: &dyn Flags) -> Arc<FlagSnapshot> {
    flags.subscribe().borrow().clone()
}

fn refused(content: &str) -> Result<String> {
    let directory = TempDir::new()?;
    let path = directory.path().join("flags.toml");
    fs::write(&path, content)?;
    let error = FlagFile::watch(&path).err().with_context(|| format!("taken: {content}"))?;
    assert!(error.message.contains("flags.toml"), "{error}");
    Ok(error.message)
}

#[test]
fn switch_changes_several_flags_in_one_snapshot() {
    let flags = FlagSwitch::new([("migration_flag", "false"), ("percent", "5")]);
    let mut seen = flags.subscribe();
    assert!(!seen.borrow_and_update().enabled("migration_flag"));
    flags.clone().set("migration_flag", "true");
    assert!(seen.has_changed().expect("the source lives"));
    assert!(seen.borrow_and_update().enabled("migration_flag"));
    flags.set_all([("migration_flag", "false"), ("new_db_router_flag", "true")]);
    let snapshot = latest(&flags);
    let all: Vec<_> = snapshot.iter().collect();
    assert_eq!(all, [("migration_flag", "false"), ("new_db_router_flag", "true"), ("percent", "5")]);
    assert!(!snapshot.enabled("percent") && !snapshot.enabled("unknown"));
}

#[test]
fn file_gives_booleans_strings_and_integers() -> Result<()> {
    let directory = TempDir::new()?;
    let path = directory.path().join("flags.toml");
    fs::write(
        &path,
        "on = true\noff = false\nname = \"new\"\npercent = 5\nhex = 0xff\nnegative = -3\n\"a.b\" = true\n",
    )?;
    let flags = FlagFile::watch(&path)?;
    let snapshot = latest(&flags);
    let all: Vec<_> = snapshot.iter().collect();
    assert_eq!(
        all,
        [
            ("a.b", "true"),
            ("hex", "255"),
            ("name", "new"),
            ("negative", "-3"),
            ("off", "false"),
            ("on", "true"),
            ("percent", "5")
        ]
    );
    assert!(flags.summary().contains("flags.toml"));
    Ok(())
}

#[test]
fn file_that_is_wrong_at_the_start_is_an_error_and_never_off() -> Result<()> {
    assert!(FlagFile::watch(Path::new("/nowhere/flags.toml")).is_err());
    assert!(FlagFile::watch(TempDir::new()?.path()).is_err());
    assert!(refused("")?.contains("nothing in it"));
    assert!(refused("a = true\nb = ")?.contains("line 2"));
    assert!(refused("a = true\n\na = false")?.contains("line 3"));
    for wrong in ["1.5", "2026-12-06", "[true]", "{ a = true }", "99999999999999999999"] {
        let message = refused(&format!("a = true\nwrong = {wrong}\n"))?;
        assert!(message.contains("line 2") && message.contains("wrong"), "{message}");
    }
    assert!(refused("[section]\na = true")?.contains("section"));
    assert!(refused(&"#".repeat(300 << 10))?.contains("bytes"));
    Ok(())
}

#[test]
fn file_may_say_that_there_are_no_flags() -> Result<()> {
    let directory = TempDir::new()?;
    let path = directory.path().join("flags.toml");
    fs::write(&path, "# none\n")?;
    assert_eq!(latest(&FlagFile::watch(&path)?).iter().count(), 0);
    Ok(())
}

#[tokio::test]
async fn changed_file_is_read_again() -> Result<()> {
    let directory = TempDir::new()?;
    let path = directory.path().join("flags.toml");
    fs::write(&path, "on = false\n")?;
    let flags = FlagFile::watch(&path)?;
    fs::write(&path, "on = true\n")?;
    eventually("written in place", async || Ok(latest(&flags).enabled("on"))).await?;
    let next = directory.path().join("next.toml");
    fs::write(&next, "on = false\n")?;
    fs::rename(&next, &path)?;
    eventually("renamed over it", async || Ok(!latest(&flags).enabled("on"))).await
}

#[cfg(unix)]
#[tokio::test]
async fn symbolic_link_that_is_exchanged_is_followed() -> Result<()> {
    // As Kubernetes publishes a config map.
    let directory = TempDir::new()?;
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("old"))?;
    fs::create_dir(at("new"))?;
    fs::write(at("old/flags.toml"), "on = false\n")?;
    fs::write(at("new/flags.toml"), "on = true\n")?;
    std::os::unix::fs::symlink(at("old"), at("data"))?;
    std::os::unix::fs::symlink("data/flags.toml", at("flags.toml"))?;
    let flags = FlagFile::watch(at("flags.toml"))?;
    std::os::unix::fs::symlink(at("new"), at("data.next"))?;
    fs::rename(at("data.next"), at("data"))?;
    eventually("the link is followed", async || Ok(latest(&flags).enabled("on"))).await
}

#[tokio::test]
async fn file_that_goes_bad_leaves_the_last_flags_and_is_told_once() -> Result<()> {
    let directory = TempDir::new()?;
    let path = directory.path().join("flags.toml");
    fs::write(&path, "on = true\nturn = 0\n")?;
    let flags = FlagFile::watch(&path)?;
    let warned = || warnings().iter().filter(|warning| warning.contains(&*path.to_string_lossy())).count();
    let bad: [&dyn Fn() -> std::io::Result<()>; 4] =
        [&|| fs::remove_file(&path), &|| fs::write(&path, ""), &|| fs::write(&path, "on = fal"), &|| {
            fs::write(&path, [0xff, 0xfe])
        }];
    for (turn, spoil) in (1..).zip(bad) {
        let changes = flags.subscribe();
        spoil()?;
        eventually("it is told", async || Ok(warned() == turn)).await?;
        assert!(!changes.has_changed()?, "turn {turn}");
        fs::write(&path, format!("on = true\nturn = {turn}\n"))?;
        let text = turn.to_string();
        eventually("it recovers", async || Ok(latest(&flags).value("turn") == Some(&text))).await?;
        assert_eq!(warned(), turn, "told once");
    }
    Ok(())
}

#[tokio::test]
async fn receiver_outlives_a_source_that_was_dropped() -> Result<()> {
    let directory = TempDir::new()?;
    let path = directory.path().join("flags.toml");
    fs::write(&path, "on = true\n")?;
    let flags = FlagFile::watch(&path)?;
    let receiver = flags.subscribe();
    drop(flags);
    assert!(receiver.borrow().enabled("on"));
    eventually("its thread ends", async || Ok(receiver.has_changed().is_err())).await
}

/// All warnings of this process so far.
pub(crate) fn warnings() -> MutexGuard<'static, Vec<String>> {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| tracing::subscriber::set_global_default(Warnings).expect("no other test sets one"));
    WARNINGS.lock().expect("no panic under it")
}

static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Warnings;

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = String::new();
        event.record(&mut |field: &Field, value: &dyn Debug| text += &format!("{field}={value:?} "));
        WARNINGS.lock().expect("no panic under it").push(text);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
