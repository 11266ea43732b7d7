//! The program as its users run it: what it prints, what it leaves behind, and how it ends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use serde_json::Value;

fn switchover(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_switchover")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn last_line_as_json(output: &Output) -> Value {
    let stdout = text(&output.stdout);
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
}

fn sqlite(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

/// A file with Django's table and one living session in it.
fn table(folder: &Path, name: &str, sessions: &[(&str, &str)]) -> PathBuf {
    let path = folder.join(name);
    let made = switchover(&["init", &sqlite(&path)]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let connection = Connection::open(&path).unwrap();
    for (key, payload) in sessions {
        let sql = "INSERT INTO django_session VALUES (?1, ?2, '2999-01-01 00:00:00')";
        connection.execute(sql, [key, payload]).unwrap();
    }
    path
}

/// One demo at a time: several on two cores would fail by being slow.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "sqlite3")).collect()
}

#[test]
fn demo_moves_every_session_and_tells_no_key() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["demo", "--seconds", "8", "--sessions", "400", "--seed", "7", "--json"];
    let story = ["--story", "2016", "--hosts", "1", "--dir", folder.path().to_str().unwrap()];
    let output = switchover(&[&arguments[..], &story].concat());
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");

    let report = last_line_as_json(&output);
    for count in
        ["lost_writes", "back_after_logout", "stale_reads", "went_back", "stale_cycles", "told_gone", "failed_calls"]
    {
        assert_eq!(report[count], 0, "{count}: {report}");
    }
    for count in ["acknowledged", "swaps", "calls_per_second", "p50_us", "p99_us", "p99_us_during_swaps"] {
        assert!(report[count].as_f64().is_some_and(|count| count > 0.0), "{count}: {report}");
    }
    assert!(report["unknown_outcomes"].is_u64(), "{report}");

    let mut rows = 0;
    for file in files_of(folder.path()) {
        let connection = Connection::open(&file).unwrap();
        let mut statement = connection.prepare("SELECT session_key, session_data FROM django_session").unwrap();
        let found = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
        for row in found {
            let (key, payload) = row.unwrap();
            assert!(!stdout.contains(&key) && !stderr.contains(&key), "a key was printed");
            assert!(!stdout.contains(&payload) && !stderr.contains(&payload), "a payload was printed");
            rows += 1;
        }
    }
    assert!(rows > 100, "{rows} rows were left in {}", folder.path().display());
}

#[test]
fn demo_moves_djangos_table_into_one_of_the_products_own_layout() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["demo", "--new-layout", "switchover", "--seconds", "5", "--sessions", "200", "--json", "--dir"];
    // The fleet's story, which is told if no other is asked for.
    let output = switchover(&[&arguments[..], &[folder.path().to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains("the old one of the layout `django` and the new one of `switchover`"), "{said}");
    let report = last_line_as_json(&output);
    assert_eq!((&report["old_layout"], &report["new_layout"]), (&"django".into(), &"switchover".into()), "{report}");
    assert_eq!((&report["story"], &report["hosts_given_up"]), (&"fleet".into(), &1.into()), "{report}");
    let new = Connection::open(folder.path().join("new.sqlite3")).unwrap();
    let sql = "SELECT count(*) FROM switchover_session WHERE typeof(payload) = 'blob'";
    let rows: u32 = new.query_row(sql, [], |row| row.get(0)).unwrap();
    assert!(rows > 50, "{rows} rows");

    for arguments in [["--old-layout", "switchover"], ["--new-layout", "rails"]] {
        let refused = switchover(&[&["demo", "--seconds", "5"][..], &arguments].concat());
        let said = text(&refused.stderr);
        assert!(
            !refused.status.success() && (said.contains("session_key") || said.contains("django, switchover")),
            "{said}"
        );
    }
}

#[test]
fn demo_of_2016_shows_what_flags_lose_when_hosts_see_them_at_different_times() {
    let _turn = turn();
    let arguments = ["demo", "--story", "2016", "--seconds", "5", "--sessions", "400", "--json", "--dir"];
    let told = |hosts: &str| {
        let folder = tempfile::tempdir().unwrap();
        let output = switchover(&[&arguments[..], &[folder.path().to_str().unwrap(), "--hosts", hosts]].concat());
        (last_line_as_json(&output), output)
    };
    let broken = ["lost_writes", "back_after_logout", "old_keys_found", "stale_reads", "told_gone"];
    let (report, output) = told("3");
    assert_eq!(output.status.code(), Some(1), "{report}");
    let lost: u64 = broken.iter().map(|promise| report[promise].as_u64().unwrap()).sum();
    assert!(lost > 0 && report["failed_calls"] == 0, "{report}");
    let (report, output) = told("1");
    assert!(output.status.success(), "{report}");
}

#[test]
fn demo_touches_no_other_table_of_a_given_database() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let old = table(folder.path(), "old.sqlite3", &[("abcdefgh", "e30:1r31eq:x")]);
    let new = folder.path().join("new.sqlite3");
    for story in [&["--story", "2016", "--hosts", "1"][..], &["--story", "fleet"]] {
        let arguments = ["demo", "--seconds", "5", "--sessions", "100", "--concurrency", "4", "--old", &sqlite(&old)];
        let output = switchover(&[&arguments[..], &["--new", &sqlite(&new)], story].concat());
        let stderr = text(&output.stderr);
        assert!(output.status.success(), "{}\n{stderr}", text(&output.stdout));
        assert!(stderr.contains("made for this demo alone") && stderr.contains("switchover_demo_"), "{stderr}");
        for (file, tables, rows) in [(&old, 1, 1), (&new, 0, 0)] {
            let connection = Connection::open(file).unwrap();
            let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap();
            assert_eq!(count("SELECT count(*) FROM sqlite_master WHERE type = 'table'"), tables, "{story:?}");
            assert_eq!(if tables == 0 { 0 } else { count("SELECT count(*) FROM django_session") }, rows);
        }
    }
}

#[test]
fn demo_refuses_what_it_cannot_use_and_prints_no_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = sqlite(&folder.path().join("old.sqlite3"));
    for (arguments, said) in [
        (&["--old", "postgres://app:hunter2@127.0.0.1:1/app"][..], "--old"),
        (&["--new", "mysql://app:hunter2@127.0.0.1:1/app"], "--new"),
        (&["--new", "oracle://app:hunter2@127.0.0.1:1/app"], "postgres://"),
        (&["--new", "app:hunter2@127.0.0.1"], "sqlite:PATH"),
        (&["--cache", "redis://app:hunter2@127.0.0.1:1"], "--cache"),
        (&["--cache", "memcached://app:hunter2@127.0.0.1:1"], "redis://"),
        (&["--old", &file, "--new", &file], "same file"),
        (&["--old", &file, "--new", &file, "--dir", "here"], "--dir"),
    ] {
        let output = switchover(&[&["demo"], arguments].concat());
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said) && !stderr.contains("hunter2"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn init_lists_first_and_changes_nothing_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.sqlite3");
    let listed = switchover(&["init", &sqlite(&path), "--list"]);
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    assert!(text(&listed.stdout).contains("django_session_expire_date_a5c62663"), "{}", text(&listed.stdout));

    let path = table(folder.path(), "new.sqlite3", &[("abcdefgh", "e30:1r31eq:x")]);
    let before = std::fs::metadata(&path).unwrap().len();
    let again = switchover(&["init", &sqlite(&path)]);
    assert!(again.status.success(), "{}", text(&again.stderr));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), before);
    let connection = Connection::open(&path).unwrap();
    let rows: u32 = connection.query_row("SELECT count(*) FROM django_session", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);

    // Another column is nothing that is missing.
    connection.execute_batch("ALTER TABLE django_session ADD COLUMN user_id integer").unwrap();
    let other = switchover(&["init", &sqlite(&path)]);
    assert!(other.status.success(), "{}", text(&other.stderr));
    connection.execute_batch("ALTER TABLE django_session RENAME COLUMN session_data TO data").unwrap();
    let other = switchover(&["init", &sqlite(&path)]);
    assert_eq!(other.status.code(), Some(1));
    assert!(text(&other.stderr).contains("session_data"), "{}", text(&other.stderr));
}

#[test]
fn verify_compares_other_columns_and_refuses_what_the_new_table_cannot_hold() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [("samesamesame", "v1"), ("changedchanged", "v1")];
    let (old, new) = (table(folder.path(), "old.sqlite3", &rows), table(folder.path(), "new.sqlite3", &rows));
    let verify = || switchover(&["verify", &sqlite(&old), &sqlite(&new), "--json"]);
    let execute = |path: &Path, sql: &str| Connection::open(path).unwrap().execute_batch(sql).unwrap();
    execute(&old, "ALTER TABLE django_session ADD COLUMN user_id integer");
    let refused = verify();
    assert!(refused.status.code() == Some(1) && text(&refused.stderr).contains("user_id"), "{}", text(&refused.stderr));
    assert_eq!(text(&refused.stdout), "", "it compared nothing");

    execute(&new, "ALTER TABLE django_session ADD COLUMN user_id integer");
    assert!(verify().status.success());
    execute(&old, "UPDATE django_session SET user_id = 7");
    execute(&new, "UPDATE django_session SET user_id = 7 WHERE session_key = 'samesamesame'");
    let differs = verify();
    assert_eq!(differs.status.code(), Some(1));
    let said: serde_json::Value = serde_json::from_slice(&differs.stdout).unwrap();
    assert_eq!((&said["column_differs"], &said["equal"]), (&1.into(), &1.into()), "{said}");
    // SQLite takes whatever it is given: the session is read, and the row is not.
    execute(&old, "UPDATE django_session SET user_id = 'seven'");
    execute(&new, "UPDATE django_session SET user_id = 'seven'");
    let unreadable = verify();
    assert_eq!(unreadable.status.code(), Some(1));
    assert!(text(&unreadable.stdout).contains("user_id"), "{}", text(&unreadable.stdout));
}

#[test]
fn verify_and_purge_refuse_a_new_table_whose_layout_takes_less_before_they_read_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("switchover.toml");
    let of = |alias: &str, layout: &str| {
        format!("[databases.{alias}]\naddress = \"sqlite:{alias}.sqlite3\"\nlayout = \"{layout}\"\ncreate = true\n")
    };
    std::fs::write(&config, of("default", "switchover") + &of("narrow", "django")).unwrap();
    let run = |arguments: &[&str]| switchover(&[arguments, &["--config", config.to_str().unwrap()]].concat());
    for alias in ["default", "narrow"] {
        let made = run(&["init", alias]);
        assert!(made.status.success(), "{}", text(&made.stderr));
    }
    let wide = Connection::open(folder.path().join("default.sqlite3")).unwrap();
    // It has ended and would fit, so only the layouts can be the reason.
    let row = "INSERT INTO switchover_session VALUES ('samesamesame', x'7631', '2016-01-01 00:00:00')";
    wide.execute(row, []).unwrap();

    for arguments in [
        &["verify", "default", "narrow"][..],
        &["purge", "default", "--against", "narrow", "--dry-run"],
        &["purge", "default", "--against", "narrow", "--yes"],
    ] {
        let refused = run(arguments);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("session_key") && said.contains("give the new table another layout"), "{said}");
        assert_eq!(text(&refused.stdout), "", "{arguments:?} read rows");
    }
    let kept: u32 = wide.query_row("SELECT count(*) FROM switchover_session", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 1);
    let back = run(&["verify", "narrow", "default"]);
    assert!(back.status.success(), "{}", text(&back.stderr));
}

#[test]
fn verify_finds_each_difference_and_prints_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let (same, changed, gone) = ("samesamesame", "changedchanged", "onlyintheoldone");
    let old = table(folder.path(), "old.sqlite3", &[(same, "v1"), (changed, "v1"), (gone, "v1")]);
    let new = table(folder.path(), "new.sqlite3", &[(same, "v1"), (changed, "v2")]);
    let output = switchover(&["verify", &sqlite(&old), &sqlite(&new), "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!([same, changed, gone].iter().all(|key| !said.contains(key)), "a key was printed: {said}");

    let connection = Connection::open(&new).unwrap();
    connection.execute("UPDATE django_session SET session_data = 'v1'", []).unwrap();
    connection.execute("INSERT INTO django_session VALUES (?1, 'v1', '2999-01-01 00:00:00')", [gone]).unwrap();
    let output = switchover(&["verify", &sqlite(&old), &sqlite(&new)]);
    assert!(output.status.success(), "{}", text(&output.stdout));
}

/// Rows that ended long ago.
fn expire(path: &Path, rows: u32) {
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
               INSERT INTO django_session \
               SELECT format('ended%08d', i), hex(zeroblob(400)), '2016-01-01 00:00:00' FROM n";
    Connection::open(path).unwrap().execute(sql, [rows]).unwrap();
}

fn rows(path: &Path) -> u64 {
    let connection = Connection::open(path).unwrap();
    connection.query_row("SELECT count(*) FROM django_session", [], |row| row.get::<_, u32>(0)).unwrap().into()
}

#[test]
fn stats_tell_how_much_of_the_file_is_in_use_and_what_mends_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = table(folder.path(), "old.sqlite3", &[("aliveandwell", "v1")]);
    expire(&path, 8_000);
    let full = last_line_as_json(&switchover(&["stats", &sqlite(&path), "--json"]));
    assert_eq!((&full["rows"], &full["expired_rows"]), (&8_001.into(), &8_000.into()), "{full}");
    assert_eq!((&full["payload_bytes"], &full["mend"]), (&6_400_002.into(), &false.into()), "{full}");
    let said = text(&switchover(&["stats", &sqlite(&path)]).stdout);
    assert!(said.contains("switchover clear-expired sqlite:") && !said.contains("VACUUM"), "{said}");

    assert!(switchover(&["clear-expired", &sqlite(&path), "--pause", "0"]).status.success());
    let thin = last_line_as_json(&switchover(&["stats", &sqlite(&path), "--json"]));
    assert_eq!((&thin["rows"], &thin["mend"]), (&1.into(), &true.into()), "{thin}");
    assert_eq!(thin["total_bytes"], full["total_bytes"], "deleting gives nothing back");
    assert!(thin["used_bytes"].as_u64().unwrap() < full["used_bytes"].as_u64().unwrap() / 10, "{thin}");
    let output = switchover(&["stats", &sqlite(&path)]);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(said.contains("VACUUM") && !said.contains("aliveandwell"), "{said}");

    let late = switchover(&["stats", "sqlite:absent.sqlite3"]);
    assert_eq!(late.status.code(), Some(1));
    assert!(text(&late.stderr).contains("switchover init sqlite:absent.sqlite3"), "{}", text(&late.stderr));
}

#[test]
fn clear_expired_deletes_what_has_ended_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = table(folder.path(), "old.sqlite3", &[("aliveandwell", "v1")]);
    expire(&path, 2_500);
    let clear = |more: &[&str]| switchover(&[&["clear-expired", &sqlite(&path), "--pause", "0"], more].concat());
    let early = clear(&["--before", "2015-12-31T00:00:00+01:00", "--json"]);
    assert_eq!(last_line_as_json(&early)["deleted"], 0);
    // An instant in the future deletes no more than none.
    let all = last_line_as_json(&clear(&["--before", "3000-01-01T00:00:00Z", "--json"]));
    assert_eq!((&all["deleted"], &all["ok"]), (&2_500.into(), &true.into()), "{all}");
    assert_eq!(rows(&path), 1);
    let again = clear(&[]);
    assert!(again.status.success() && text(&again.stdout).contains(" 0 expired"), "{}", text(&again.stdout));
    for wrong in [["--before", "yesterday"], ["--batch", "0"], ["--batch", "10001"]] {
        assert_eq!(clear(&wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[cfg(unix)]
#[test]
fn interrupted_between_two_batches_it_tells_what_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let path = table(folder.path(), "old.sqlite3", &[]);
    expire(&path, 2_000);
    let child = Command::new(env!("CARGO_BIN_EXE_switchover"))
        .args(["clear-expired", &sqlite(&path), "--batch", "1", "--pause", "100", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while rows(&path) == 2_000 {
        assert!(std::time::Instant::now() < patience, "it deletes nothing");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let told = last_line_as_json(&output);
    assert_eq!((&told["stopped"], &told["ok"]), (&true.into(), &false.into()), "{told}");
    assert_eq!(told["deleted"].as_u64().unwrap() + rows(&path), 2_000, "{told}");
}

#[test]
fn purge_empties_the_old_table_and_leaves_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let old = table(folder.path(), "old.sqlite3", &[("samesamesame", "v1"), ("changedchanged", "v1")]);
    let sessions = [("samesamesame", "v1"), ("changedchanged", "v2"), ("onlyinthenewone", "v1")];
    let new = table(folder.path(), "new.sqlite3", &sessions);
    expire(&old, 1_200);
    let (old_name, new_name) = (sqlite(&old), sqlite(&new));
    let purge = |more: &[&str]| switchover(&[&["purge", &old_name, "--against", &new_name], more].concat());

    let dry = purge(&["--dry-run", "--json"]);
    assert!(dry.status.success(), "{}", text(&dry.stderr));
    let told = last_line_as_json(&dry);
    assert_eq!(
        (&told["rows"], &told["expired_rows"], &told["deleted"]),
        (&2.into(), &1_200.into(), &0.into()),
        "{told}"
    );
    let asked = purge(&[]);
    assert_eq!(asked.status.code(), Some(1), "nobody confirmed");
    assert!(text(&asked.stderr).contains("--yes"), "{}", text(&asked.stderr));
    assert_eq!(rows(&old), 1_202);

    let done = purge(&["--yes", "--batch", "100", "--pause", "0", "--json"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let told = last_line_as_json(&done);
    assert_eq!((&told["ok"], &told["deleted"], &told["kept"]), (&true.into(), &1_202.into(), &0.into()), "{told}");
    assert_eq!((rows(&old), rows(&new)), (0, 3));
}

#[test]
fn purge_refuses_while_a_living_session_is_only_there() {
    let folder = tempfile::tempdir().unwrap();
    let key = "onlyintheoldone";
    let old = table(folder.path(), "old.sqlite3", &[("samesamesame", "v1"), (key, "v1")]);
    let new = table(folder.path(), "new.sqlite3", &[("samesamesame", "v1")]);
    let (old_name, new_name) = (sqlite(&old), sqlite(&new));
    let purge = |more: &[&str]| switchover(&[&["purge", &old_name, "--against", &new_name], more].concat());
    for more in [&["--yes"][..], &["--dry-run"][..]] {
        let refused = purge(more);
        assert_eq!(refused.status.code(), Some(1));
        let said = text(&refused.stdout) + &text(&refused.stderr);
        assert!(said.contains("refused") && said.contains("1 unexpired rows that only the old one has"), "{said}");
        assert!(!said.contains(key), "a key was printed: {said}");
    }
    assert_eq!(last_line_as_json(&purge(&["--yes", "--json"]))["only_old"], 1);
    assert_eq!(rows(&old), 2);

    let connection = Connection::open(&old).unwrap();
    connection.execute("UPDATE django_session SET expire_date = 'soon' WHERE session_key = ?1", [key]).unwrap();
    let unreadable = last_line_as_json(&purge(&["--yes", "--json"]));
    assert_eq!((&unreadable["unreadable"], &unreadable["ok"]), (&1.into(), &false.into()), "{unreadable}");
    assert_eq!(rows(&old), 2);
}

#[test]
fn purge_refuses_a_database_against_itself() {
    let folder = tempfile::tempdir().unwrap();
    let old = table(folder.path(), "old.sqlite3", &[("samesamesame", "v1")]);
    let roundabout = folder.path().join(".").join("old.sqlite3");
    let mut others = vec![old.clone(), roundabout];
    if cfg!(unix) {
        let link = folder.path().join("link.sqlite3");
        assert!(Command::new("ln").arg("-s").args([&old, &link]).status().unwrap().success());
        others.push(link);
    }
    for other in others {
        let output = switchover(&["purge", &sqlite(&old), "--against", &sqlite(&other), "--yes"]);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains("same") || said.contains("both"), "{said}");
    }
    assert_eq!(rows(&old), 1);
}

#[test]
fn policy_commands_tell_good_components_from_bad_ones() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest");
    let component = root.join("components/fallback.wasm").display().to_string();
    let checked = switchover(&["policy", "check", &component]);
    assert!(checked.status.success(), "{}", text(&checked.stdout));
    let described = switchover(&["policy", "describe", &component, "--json"]);
    assert_eq!(last_line_as_json(&described)["protocol"], "fallback-2016");
    let scripts = root.join("policies/fallback/scripts").display().to_string();
    let tested = switchover(&["policy", "test", &component, &scripts]);
    assert!(tested.status.success(), "{}", text(&tested.stdout));

    let hostile = root.join("components/hostile.wasm").display().to_string();
    let trapped = switchover(&["policy", "check", &hostile, "--setting", "behaviour=trap"]);
    assert_eq!(trapped.status.code(), Some(1));
    assert!(text(&trapped.stdout).contains("it trapped"), "{}", text(&trapped.stdout));
    let other = root.join("policies/cached-db/scripts").display().to_string();
    let failed = switchover(&["policy", "test", &component, &other]);
    assert_eq!(failed.status.code(), Some(1), "scripts of another policy must fail");
}

#[test]
fn wrong_usage_is_told_with_the_remedy_and_ends_with_two() {
    for arguments in [&["moove"][..], &["verify", "sqlite:a"][..], &["demo", "--seconds", "soon"][..]] {
        let output = switchover(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains("--help"), "{}", text(&output.stderr));
    }
    let output = switchover(&["verify", "sqlite:absent.sqlite3", "postgres://admin:hunter2@db/app"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!text(&output.stderr).contains("hunter2"), "{}", text(&output.stderr));
}

#[test]
fn closed_pipe_is_no_panic() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_switchover"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
}

#[test]
fn manual_has_a_page_for_each_command() {
    let folder = tempfile::tempdir().unwrap();
    let output = switchover(&["man", folder.path().to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for page in ["switchover.1", "switchover-serve.1", "switchover-migrate-advance.1"] {
        let page = std::fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(page.contains(".SH NAME"), "{page}");
    }
    assert!(!folder.path().join("switchover-man.1").exists());
}
