//! `switchover migrate`: an operator moves a fleet by the program alone, meets red guards, goes back, and completes.

use std::time::{Duration, Instant};

use serde_json::Value;
use switchover::backends::Address;
use switchover::capabilities::{Terms, Write};
use switchover::{Config, Layout, Payload, SaveOutcome, Switchover, expires_in};
use tempfile::TempDir;

use super::place::{Place, json, said, switchover};

const PATIENCE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// A configuration with a migration between two databases, for hosts and for the program.
struct Site {
    folder: TempDir,
    new: String,
}

impl Site {
    fn between(old: &Place, new: &Place) -> Self {
        Self::of(&old.address(), &new.address())
    }

    fn of(old: &str, new: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "[databases.default]\naddress = \"{old}\"\n\n[databases.new_session_store]\naddress = \"{new}\"\n\n\
             [migration]\nname = \"to-new\"\nhost = \"web-1\"\ncontrol = \"sqlite:control.sqlite3\"\n"
        );
        std::fs::write(folder.path().join("switchover.toml"), text).unwrap();
        Self { folder, new: new.to_owned() }
    }

    fn config(&self) -> String {
        self.folder.path().join("switchover.toml").display().to_string()
    }

    /// Runs a command of `migrate`. Returns its exit status and what it said.
    fn migrate(&self, arguments: &[&str]) -> (i32, String) {
        let config = self.config();
        let all: Vec<&str> = ["migrate"].iter().chain(arguments).copied().chain(["--config", &config]).collect();
        let output = switchover(&all);
        (output.status.code().unwrap(), said(&output))
    }

    fn status(&self) -> Value {
        let config = self.config();
        json(&switchover(&["migrate", "status", "--json", "--config", &config]))
    }

    async fn host(&self) -> Switchover {
        Config::read(self.config()).unwrap().builder().await.unwrap().build().await.unwrap()
    }

    /// Makes a step as soon as it is open.
    async fn step(&self, arguments: &[&str]) {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let (code, said) = self.migrate(arguments);
            if code == 0 {
                return;
            }
            assert!(code == 2 && Instant::now() < give_up, "{arguments:?} ended with {code}: {said}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn operator_moves(old: Place, new: Place) {
    let site = Site::between(&old, &new);
    let (code, told) = site.migrate(&["status"]);
    assert!(code == 1 && told.contains("no such table") || told.contains("no migration"), "{code}: {told}");

    let (code, planned) = site.migrate(&["preflight"]);
    assert!(code == 0 && planned.contains("CREATE TABLE") && planned.contains("switchover_key"), "{code}: {planned}");
    assert_eq!(site.migrate(&["init"]).0, 0);
    assert_eq!(site.migrate(&["init"]).0, 0, "it may be repeated");
    let (code, planned) = site.migrate(&["init", "--dry-run"]);
    assert!(code == 0 && !planned.contains("CREATE"), "nothing is missing: {planned}");

    let host = site.host().await;
    let sessions = host.sessions();
    let key = sessions.create(Payload::from("v1"), expires_in(HOUR)).await.unwrap();
    site.step(&["advance"]).await;
    assert_eq!(site.status()["phase"], "mirror");

    // A guard is red before anything was verified; the program says so, and changes nothing.
    let (code, told) = site.migrate(&["advance"]);
    assert!(code == 2 && told.contains("settled: red") && told.contains("nothing was changed"), "{code}: {told}");
    let (code, told) = site.migrate(&["advance", "--dry-run"]);
    assert!(code == 2 && told.contains("would be refused"), "{code}: {told}");
    let (code, told) = site.migrate(&["advance", "--to", "reverse"]);
    assert!(code == 1 && told.contains("no step leads from mirror to reverse"), "{code}: {told}");
    assert_eq!(site.migrate(&["verify"]).0, 1, "not before it is settled");

    // Back to `off`, and a second try.
    site.step(&["rollback"]).await;
    assert_eq!(site.status()["phase"], "off");
    assert_eq!(site.migrate(&["rollback"]).0, 1, "nothing is behind `off`");
    assert_eq!(site.migrate(&["hold", "no backfill"]).0, 0);
    site.step(&["advance"]).await;

    // A guard that is advice stops a step too, until it is named. A hard one cannot be named.
    let (code, told) = site.migrate(&["settle"]);
    assert!(code == 2 && told.contains("backfilled: red") && told.contains("--override backfilled"), "{code}: {told}");
    assert_eq!(site.migrate(&["settle", "--dry-run"]).0, 2);
    assert_eq!(site.migrate(&["settle", "--dry-run", "--override", "backfilled"]).0, 0);
    let (code, told) = site.migrate(&["advance", "--override", "verified"]);
    assert!(code == 1 && told.contains("cannot be overridden"), "{code}: {told}");
    assert_eq!(site.migrate(&["advance", "--override", "luck"]).0, 1);
    site.step(&["settle", "--override", "backfilled"]).await;
    assert_eq!(site.migrate(&["resume"]).0, 0);
    assert_eq!(site.migrate(&["backfill", "--wait", "60"]).0, 0);
    let (code, told) = site.migrate(&["verify", "--wait", "60"]);
    assert_eq!(code, 0, "{told}");

    // Somebody changes a row of new by hand, where no mark says so, and no verification is made at that moment.
    assert_eq!(site.migrate(&["hold", "by hand"]).0, 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let address = Address::parse(&site.new).unwrap();
    let by_hand = address.open(None, Layout::DJANGO, false).await.unwrap();
    let terms = || Terms::by(Instant::now() + PATIENCE);
    by_hand.write(vec![Write::Delete(key.clone())], terms()).await.unwrap();
    let (code, told) = site.migrate(&["repair", "--dry-run", "--json"]);
    assert!(code == 2 && told.contains("\"only_old\":1") && told.contains("\"marked\":0"), "{code}: {told}");
    let (code, told) = site.migrate(&["repair"]);
    assert!(code == 0 && told.contains("1 sessions are marked") && !told.contains(key.expose()), "{code}: {told}");
    assert_eq!(site.migrate(&["resume"]).0, 0);
    let give_up = Instant::now() + PATIENCE;
    while site.migrate(&["diff"]).0 != 0 {
        assert!(Instant::now() < give_up, "the hosts did not copy it");
    }
    assert_eq!(site.migrate(&["hold", "lunch"]).0, 0);
    assert_eq!(site.status()["held"], "lunch");
    assert_eq!(site.migrate(&["resume"]).0, 0);
    assert_eq!(site.migrate(&["rate", "0"]).0, 1);
    assert_eq!(site.migrate(&["rate", "100000"]).0, 0);

    for phase in ["strict", "cutover", "reverse"] {
        site.step(&["advance", "--to", phase]).await;
        let (code, told) = site.migrate(&["advance", "--to", phase]);
        assert!(code == 0 && told.contains("already"), "it may be repeated: {code}: {told}");
        assert_eq!(site.status()["phase"], phase);
        assert_eq!(sessions.save(&key, Payload::from(phase), expires_in(HOUR)).await.unwrap(), SaveOutcome::Saved);
        let found = sessions.load(&key).await.unwrap().unwrap();
        assert_eq!(found.payload.as_text(), Some(phase));
    }
    let (code, told) = site.migrate(&["advance"]);
    assert!(code == 1 && told.contains("no way back"), "`complete` has a command of its own: {told}");
    let (code, told) = site.migrate(&["diff"]);
    assert!(code == 0 || code == 2, "{told}");
    site.step(&["complete"]).await;
    assert_eq!(site.migrate(&["rollback"]).0, 1);

    let status = site.status();
    assert_eq!(
        (&status["phase"], &status["ok"], &status["sealed"]),
        (&"complete".into(), &true.into(), &status["epoch"])
    );
    let (code, evidence) = site.migrate(&["evidence"]);
    assert!(code == 0 && evidence.contains("reverse -> complete") && evidence.contains("mirror -> off"), "{evidence}");
    assert!(!evidence.contains(key.expose()), "no key is printed");
    assert!(evidence.contains("the old table refuses writes"), "{evidence}");
    assert!(evidence.contains("overriding backfilled") && evidence.contains("repair: 1 sessions"), "{evidence}");
    let (code, told) = site.migrate(&["repair"]);
    assert!(code == 1 && told.contains("the hosts copy nothing"), "{code}: {told}");
    let (code, told) = site.migrate(&["evict", "web-1"]);
    assert!(code == 1, "it is alive, or has acknowledged: {told}");
    assert_eq!(site.migrate(&["hosts"]).0, 0);
    host.close().await;
    assert_eq!(site.status()["hosts"].as_array().unwrap().len(), 0, "a host that closes removes itself");
    assert_eq!(new.rows().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_moves_a_fleet_by_the_program_from_postgres_to_mariadb() {
    let (old, new) = (Place::postgres("migrate_old").await, Place::mariadb("migrate_new").await);
    operator_moves(old.with_table(), new.with_table()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn database_without_side_tables_is_refused_with_words() {
    let folder = tempfile::tempdir().unwrap();
    let old = Place::sqlite(folder.path()).with_table();
    let (code, told) = Site::of(&old.address(), "memory:").migrate(&["init"]);
    assert!(code == 1 && told.contains("cannot have side tables"), "{code}: {told}");
}
