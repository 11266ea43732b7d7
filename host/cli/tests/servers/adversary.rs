//! Tables of the worst rows that each database takes, through every tool: each row is counted as something, and no tool
//! says that all is well beside a row that it could not read.

use std::path::Path;

use serde_json::Value;
use switchover_harness::Postgres;

use crate::place::{LIVING, Place, json, said, switchover};

/// How a row is to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// As a session that lives.
    Living,
    /// As a row that has ended.
    Expired,
    /// As one that cannot be read.
    Unreadable,
}
use Seen::{Expired, Living, Unreadable};

/// The values of a row as SQL, and how it is to be seen.
type Row = (&'static str, Seen);

/// What every database takes.
const ROWS: [Row; 13] = [
    ("'', 'x', '2999-01-01 00:00:00'", Unreadable),
    ("'short', 'x', '2999-01-01 00:00:00'", Unreadable),
    ("'UPPERCASEKEY00000000000000000000', 'x', '2999-01-01 00:00:00'", Unreadable),
    ("'with space 0000000000', 'x', '2999-01-01 00:00:00'", Unreadable),
    ("'кириллица00000', 'x', '2999-01-01 00:00:00'", Unreadable),
    ("'ended:but:foreign', 'x', '2016-01-01 00:00:00'", Expired),
    ("'~~~~~~~~~~~~', 'x', '2999-01-01 00:00:00'", Unreadable),
    ("'emptypayload', '', '2999-01-01 00:00:00'", Living),
    ("'unicodepayload', '{\"ключ\": \"значение 🦀\"}', '2999-01-01 00:00:00'", Living),
    ("'farthestend', 'x', '9999-12-31 23:59:59.999999'", Living),
    ("'microsecond', 'x', '2999-01-01 00:00:00.000001'", Living),
    ("'beforetheepoch', 'x', '1969-12-31 23:59:59'", Expired),
    ("'longest0key0of0forty0characters000000000', 'x', '2999-01-01 00:00:00'", Living),
];

const POSTGRES: [Row; 7] = [
    ("E'\\t\\x01\\n', 'x', '2999-01-01 00:00:00'", Unreadable),
    ("'infinitelylong', 'x', 'infinity'", Unreadable),
    ("'minusinfinity', 'x', '-infinity'", Expired),
    ("'afteryear9999', 'x', '200000-01-01 00:00:00'", Unreadable),
    ("'afterthelastend', 'x', '10000-01-01 00:00:00'", Unreadable),
    ("'beforechrist', 'x', '0044-03-15 BC'", Expired),
    ("'largepayload', repeat('x', 5000000), '2999-01-01 00:00:00'", Living),
];

/// In a database of encoding SQL_ASCII, which takes any bytes.
const SQL_ASCII: [Row; 4] = [
    ("'payloadnotutf8', E'\\xff\\xfe', '2999-01-01 00:00:00'", Unreadable),
    ("E'\\xff\\xfe0000000', 'x', '2999-01-01 00:00:00'", Unreadable),
    ("'endednotutf8', E'\\xff', '2016-01-01 00:00:00'", Expired),
    ("E'zz\\xff00000000', E'\\xff', '2999-01-01 00:00:00'", Unreadable),
];

const MARIADB: [Row; 8] = [
    ("'\t\\nabcdefgh', 'x', '2999-01-01 00:00:00'", Unreadable),
    ("'yearthousand', 'x', '1000-01-01 00:00:00'", Expired),
    ("'zerodate', 'x', '0000-00-00 00:00:00'", Expired),
    ("'nomonth', 'x', '2999-00-00 00:00:00'", Unreadable),
    ("'monthalone', 'x', '2999-05-00 00:00:00'", Unreadable),
    ("'dayofnomonth', 'x', '2999-02-29 00:00:00'", Unreadable),
    ("'endedmonth', 'x', '2016-05-00 00:00:00'", Expired),
    ("'largepayload', repeat('x', 5000000), '2999-01-01 00:00:00'", Living),
];

const SQLITE: [Row; 16] = [
    ("x'6162636465666768', 'x', '2999-01-01 00:00:00'", Unreadable),
    ("x'', 'x', '2999-01-01 00:00:00'", Unreadable),
    ("CAST(x'ff61626364656667' AS TEXT), 'x', '2999-01-01 00:00:00'", Unreadable),
    ("'with' || char(0) || 'nul00', 'x', '2999-01-01 00:00:00'", Unreadable),
    ("1234567890, 'x', '2999-01-01 00:00:00'", Living),
    ("'isodatewithz', 'x', '2999-01-01T00:00:00Z'", Unreadable),
    ("'endedisodate', 'x', '2016-01-01T00:00:00Z'", Unreadable),
    ("'withoffset', 'x', '2999-01-01 00:00:00+00:00'", Unreadable),
    ("'numberasend', 'x', 17", Unreadable),
    ("'realasend', 'x', 2460000.5", Unreadable),
    ("'blobasend', 'x', x'3230'", Unreadable),
    ("'emptyend', 'x', ''", Unreadable),
    ("'endinlocaltext', 'x', 'tomorrow'", Unreadable),
    ("'blobpayload', x'6162', '2999-01-01 00:00:00'", Unreadable),
    ("'payloadnotutf8', CAST(x'ff' AS TEXT), '2999-01-01 00:00:00'", Unreadable),
    ("'payloadwithnul', 'a' || char(0), '2999-01-01 00:00:00'", Unreadable),
];

/// Rows whose end has no form of Django's: the cleaner cannot know whether they have ended.
fn has_unreadable_end(values: &str) -> bool {
    let of_sqlite = ["isodate", "withoffset", "numberasend", "realasend", "blobasend", "emptyend", "endinlocal"];
    let of_mariadb = ["nomonth", "monthalone", "dayofnomonth"];
    of_sqlite.iter().chain(&of_mariadb).any(|name| values.contains(name))
}

struct Duel {
    old: Place,
    new: Place,
    config: String,
    _folder: tempfile::TempDir,
}

impl Duel {
    /// The tables are empty. Waits are short.
    fn new(old: Place, new: Place) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = crate::place::config(folder.path(), &old, &new);
        let text = std::fs::read_to_string(&config).unwrap() + "[limits]\nwrite_deadline_ms = 300\n";
        std::fs::write(&config, text).unwrap();
        Self { old, new, config, _folder: folder }
    }

    /// Exit status and JSON of a tool.
    fn run(&self, arguments: &[&str]) -> (i32, Value) {
        let output = switchover(&[arguments, &["--json", "--config", &self.config]].concat());
        let said = said(&output);
        for secret in ["UPPERCASE", "ended:but", "кирилл", "~~~~", "notutf8", "isodate", "значение"] {
            assert!(!said.contains(secret), "a key or payload was printed: {said}");
        }
        (output.status.code().unwrap(), json(&output))
    }

    async fn insert(&self, place: &Place, values: &str) {
        // Dates that other modes refuse.
        let mode = if matches!(place, Place::MariaDb { .. }) { "SET sql_mode = 'ALLOW_INVALID_DATES'; " } else { "" };
        place
            .execute(&format!(
                "{mode}INSERT INTO django_session (session_key, session_data, expire_date) VALUES ({values})"
            ))
            .await;
    }
}

fn number(told: &Value, name: &str) -> u64 {
    told[name].as_u64().unwrap_or_else(|| panic!("no {name} in {told}"))
}

/// Every row alone beside one good session, then all of them together, through every tool.
async fn attack(duel: Duel, rows: &[Row]) {
    let good = format!("'goodgoodgood', 'v1', '{LIVING}'");
    for place in [&duel.old, &duel.new] {
        duel.insert(place, &good).await;
    }
    for (values, seen) in rows {
        duel.insert(&duel.old, values).await;
        look(&duel, &[(values, *seen)]).await;
        duel.old.execute("DELETE FROM django_session WHERE session_key <> 'goodgoodgood'").await;
        assert_eq!(duel.old.rows().await, 1);
    }
    for (values, _) in rows {
        duel.insert(&duel.old, values).await;
    }
    look(&duel, rows).await;

    // Nothing that lives, or may live, goes with the expired ones.
    let expired = rows.iter().filter(|(_, seen)| *seen == Expired).count() as u64;
    let unreadable = rows.iter().filter(|(values, _)| has_unreadable_end(values)).count() as u64;
    let before = duel.old.rows().await;
    let (status, told) = duel.run(&["clear-expired", "default", "--pause", "0"]);
    assert_eq!(
        (number(&told, "deleted"), number(&told, "left"), number(&told, "unreadable")),
        (expired, 0, unreadable)
    );
    assert_eq!(status, i32::from(unreadable > 0), "{told}");
    assert_eq!(duel.old.rows().await, before - expired as i64);

    // The other way round it stands in the new database.
    let (status, told) = duel.run(&["verify", "new_session_store", "default"]);
    let foreign = rows.iter().filter(|(_, seen)| *seen == Unreadable).count() as u64;
    assert_eq!((status, number(&told, "new_unreadable"), number(&told, "old_unreadable")), (1, foreign, 0), "{told}");
    assert_eq!(number(&told, "equal"), 1, "{told}");
}

/// What each tool says of a table that holds these rows and a good one.
async fn look(duel: &Duel, rows: &[Row]) {
    let count = |which: Seen| rows.iter().filter(|(_, seen)| *seen == which).count() as u64;
    let (living, expired, unreadable) = (count(Living), count(Expired), count(Unreadable));
    let all = duel.old.rows().await;

    let (status, told) = duel.run(&["verify", "default", "new_session_store"]);
    let counts =
        ["old_rows", "old_expired_rows", "old_unreadable", "equal", "only_old"].map(|name| number(&told, name));
    assert_eq!(counts, [living + 1, expired, unreadable, 1, living], "{rows:?}: {told}");
    assert_eq!(counts[..3].iter().sum::<u64>(), all as u64, "{rows:?}: {told}");
    let fine = living + unreadable == 0;
    assert_eq!((status, told["ok"].as_bool().unwrap()), (i32::from(!fine), fine), "{rows:?}: {told}");

    for how in ["--dry-run", "--yes"] {
        if fine && how == "--yes" {
            continue;
        }
        let (status, told) = duel.run(&["purge", "default", "--against", "new_session_store", how]);
        let counts = ["rows", "unreadable", "only_old", "deleted"].map(|name| number(&told, name));
        assert_eq!(counts, [living + 1, unreadable, living, 0], "{rows:?}: {told}");
        assert_eq!((status, told["refused"].is_null()), (i32::from(!fine), fine), "{rows:?}: {told}");
    }

    let (status, told) = duel.run(&["stats", "default"]);
    let unreadable = rows.iter().filter(|(values, _)| has_unreadable_end(values)).count() as u64;
    let counts = ["rows", "expired_rows", "unreadable_rows"].map(|name| number(&told, name));
    assert_eq!(counts, [all as u64, expired, unreadable], "{rows:?}: {told}");
    assert_eq!(status, i32::from(unreadable > 0), "{rows:?}: {told}");
    assert_eq!(duel.old.rows().await, all, "nothing was deleted");
}

fn with(more: &[Row]) -> Vec<Row> {
    [&ROWS[..], more].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_passed_over_on_postgres() {
    let folder = tempfile::tempdir().unwrap();
    let old = Place::postgres("adversary").await.with_table();
    attack(Duel::new(old, Place::sqlite(folder.path()).with_table()), &with(&POSTGRES)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_passed_over_on_postgres_that_takes_any_bytes() {
    let server = Postgres::shared().await.unwrap();
    Place::Postgres { address: server.url(), other_address: server.socket_url() }
        .execute("CREATE DATABASE any_bytes ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        .await;
    let (address, other_address) = (server.url_of("any_bytes"), server.socket_url_of("any_bytes"));
    let new = Place::mariadb("any_bytes").await.with_table();
    attack(Duel::new(Place::Postgres { address, other_address }.with_table(), new), &with(&SQL_ASCII)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_passed_over_on_mariadb() {
    let old = Place::mariadb("adversary").await.with_table();
    attack(Duel::new(old, Place::postgres("adversary_new").await.with_table()), &with(&MARIADB)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_passed_over_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let old = Place::sqlite(folder.path()).with_table();
    attack(Duel::new(old, Place::postgres("adversary_file").await.with_table()), &with(&SQLITE)).await;
}

/// More than a page of them, whether they live or have ended.
#[tokio::test(flavor = "multi_thread")]
async fn page_full_of_foreign_keys_ends_no_tool() {
    let folder = tempfile::tempdir().unwrap();
    for old in [Place::postgres("foreign").await, Place::mariadb("foreign").await, Place::sqlite(folder.path())] {
        let (old, new_folder) = (old.with_table(), tempfile::tempdir().unwrap());
        let duel = Duel::new(old, Place::sqlite(new_folder.path()).with_table());
        let keys: Vec<_> = (0..1_200).map(|number| format!("Foreign:{number:05}")).collect();
        let rows = |end| keys.iter().map(|key| (key.as_str(), "v1", end)).collect::<Vec<_>>();
        duel.old.insert(&rows(LIVING)).await;
        let (status, told) = duel.run(&["verify", "default", "new_session_store"]);
        assert_eq!((status, number(&told, "old_unreadable"), number(&told, "old_rows")), (1, 1_200, 0), "{told}");
        let (status, told) = duel.run(&["purge", "default", "--against", "new_session_store", "--yes"]);
        assert_eq!((status, number(&told, "unreadable"), duel.old.rows().await), (1, 1_200, 1_200), "{told}");
        duel.old.execute("DELETE FROM django_session").await;
        duel.old.insert(&rows("2016-01-01 00:00:00")).await;
        let (status, told) = duel.run(&["verify", "default", "new_session_store"]);
        assert_eq!((status, number(&told, "old_expired_rows")), (0, 1_200), "{told}");
        let purge = ["purge", "default", "--against", "new_session_store", "--yes", "--watch", "1", "--pause", "0"];
        let (status, told) = duel.run(&purge);
        assert_eq!((status, number(&told, "deleted"), duel.old.rows().await), (0, 1_200, 0), "{told}");
    }
}

/// Refused before anything is compared, counted or deleted, with the column's name.
async fn other_columns(place: Place, change: &str, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let place = place.with_table();
    place.insert(&[("goodgoodgood", "v1", "2016-01-01 00:00:00")]).await;
    place.execute(change).await;
    let duel = Duel::new(place, Place::sqlite(Path::new(folder.path())).with_table());
    for arguments in [
        &["verify", "default", "new_session_store"][..],
        &["verify", "new_session_store", "default"],
        &["purge", "default", "--against", "new_session_store", "--yes"],
        &["clear-expired", "default"],
        &["stats", "default"],
    ] {
        let output = switchover(&[arguments, &["--config", &duel.config]].concat());
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", said(&output));
        assert!(words.iter().all(|word| said(&output).contains(word)), "{arguments:?}: {}", said(&output));
    }
    assert_eq!(duel.old.rows().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_are_not_djangos_are_refused_on_postgres() {
    let change = "ALTER TABLE django_session ALTER COLUMN expire_date TYPE timestamp";
    other_columns(Place::postgres("zoneless").await, change, &["expire_date", "AT TIME ZONE 'UTC'"]).await;
    let change =
        "ALTER TABLE django_session ALTER COLUMN session_data TYPE bytea USING convert_to(session_data, 'UTF8')";
    other_columns(Place::postgres("binary").await, change, &["session_data", "bytea"]).await;
    let hide = "ALTER TABLE django_session ENABLE ROW LEVEL SECURITY; \
                ALTER TABLE django_session FORCE ROW LEVEL SECURITY; \
                CREATE ROLE hidden LOGIN; GRANT ALL ON django_session TO hidden";
    let place = Place::postgres("hidden").await.with_table();
    place.execute(hide).await;
    let address = place.address().replace("postgres://postgres@", "postgres://hidden@");
    let output = switchover(&["stats", &address]);
    assert!(!output.status.success() && said(&output).contains("row security"), "{}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_are_not_djangos_are_refused_on_mariadb() {
    let change = "ALTER TABLE django_session MODIFY expire_date datetime NOT NULL";
    let words = ["expire_date", "MODIFY expire_date datetime(6) NOT NULL"];
    other_columns(Place::mariadb("seconds").await, change, &words).await;
    let change = "ALTER TABLE django_session DROP PRIMARY KEY, ADD PRIMARY KEY (session_key, expire_date)";
    other_columns(Place::mariadb("two_columns").await, change, &["session_key is not the primary key"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_are_not_djangos_are_refused_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let change = "ALTER TABLE django_session RENAME COLUMN expire_date TO expires_at";
    other_columns(Place::sqlite(folder.path()), change, &["no column expire_date"]).await;
}
