//! Tools take no more memory for large payloads than for small ones.

use std::process::{Command, Stdio};

use crate::place::{LIVING, Place, config};

/// Of a payload, and how many rows have one: more than a tool may hold.
const PAYLOAD: usize = 1 << 20;
const ROWS: usize = 200;
/// What the program takes by itself, and some pages and looks beside it.
const MEMORY_KIB_MAX: u64 = 150 << 10;

/// The most memory that a run of the program had, in KiB.
fn peak(arguments: &[&str]) -> (bool, u64) {
    let script = r#"import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"#;
    let mut command = Command::new("python3");
    command.args(["-c", script, env!("CARGO_BIN_EXE_switchover")]).args(arguments).stderr(Stdio::inherit());
    let told = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let (code, peak) = told.trim().split_once(' ').unwrap_or_else(|| panic!("python3 is needed: {told}"));
    (code == "0", peak.parse().unwrap())
}

async fn fill(place: &Place, sql: &str) {
    place.execute(&sql.replace("ROWS", &ROWS.to_string()).replace("BYTES", &PAYLOAD.to_string())).await;
}

async fn flat(old: Place, old_rows: &str, new: Place, new_rows: &str) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), &old, &new);
    fill(&old, &old_rows.replace("LIVING", LIVING)).await;
    fill(&new, &new_rows.replace("LIVING", LIVING)).await;
    for arguments in [
        &["verify", "default", "new_session_store", "--config", &config][..],
        &["verify", "new_session_store", "default", "--config", &config],
        &["purge", "default", "--against", "new_session_store", "--dry-run", "--config", &config],
        &["purge", "default", "--against", "new_session_store", "--yes", "--watch", "1", "--config", &config],
    ] {
        let (fine, kib) = peak(arguments);
        assert!(fine, "{arguments:?}");
        assert!(kib < MEMORY_KIB_MAX, "{arguments:?}: {kib} KiB");
    }
    assert_eq!(old.rows().await, 0);
}

const POSTGRES: &str = "INSERT INTO django_session SELECT 'row' || lpad(n::text, 8, '0'), repeat('x', BYTES), 'LIVING' \
                        FROM generate_series(1, ROWS) AS n";
const MARIADB: &str = "INSERT INTO django_session \
                       SELECT concat('row', lpad(seq, 8, '0')), repeat('x', BYTES), 'LIVING' \
                       FROM seq_1_to_ROWS";
const SQLITE: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ROWS) \
                      INSERT INTO django_session \
                      SELECT printf('row%08d', i), replace(hex(zeroblob(BYTES / 2)), '0', 'x'), 'LIVING' FROM n";

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_flat_from_postgres_to_mariadb() {
    let (old, new) = (Place::postgres("large").await.with_table(), Place::mariadb("large").await.with_table());
    flat(old, POSTGRES, new, MARIADB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_flat_from_mariadb_to_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Place::mariadb("large_old").await.with_table(), Place::sqlite(folder.path()).with_table());
    flat(old, MARIADB, new, SQLITE).await;
}
