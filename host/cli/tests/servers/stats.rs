//! `switchover stats`: every figure is the server's own, and the command that it shows does what it says.

use indicatif::{HumanBytes, HumanCount};
use serde_json::Value;

use crate::place::{LIVING, Place, json, said, switchover, until};

const ENDED_ROWS: usize = 8_000;
/// Of payload in each of them; the letter at its end takes two.
const PAYLOAD_BYTES: usize = 800;

async fn fill(place: &Place) {
    let payload = "x".repeat(PAYLOAD_BYTES - 2) + "é";
    place.insert(&[("aliveandwell", "v1", LIVING)]).await;
    place.insert_ended(ENDED_ROWS, &payload).await;
}

fn stats(place: &Place) -> Value {
    let output = switchover(&["stats", &place.address(), "--json"]);
    assert!(output.status.success(), "{}", said(&output));
    json(&output)
}

fn number(told: &Value, name: &str) -> u64 {
    told[name].as_u64().unwrap_or_else(|| panic!("no number {name}: {told}"))
}

/// Checks what is counted, and that the text has the figures of the object.
fn check_counts(told: &Value, text: &str, ended: usize) {
    let (rows, bytes) = (ended as u64, (ended * PAYLOAD_BYTES) as u64);
    let counts = ["rows", "expired_rows", "payload_bytes", "expired_payload_bytes"].map(|name| number(told, name));
    assert_eq!(counts, [rows + 1, rows, bytes + 2, bytes], "{told}");
    for (line, value) in [
        ("rows", format!("{}, {} of them expired", HumanCount(rows + 1), HumanCount(rows))),
        ("payloads", format!("{}, {} of it expired", HumanBytes(bytes + 2), HumanBytes(bytes))),
        ("table", HumanBytes(number(told, "table_bytes")).to_string()),
        ("indexes", HumanBytes(number(told, "index_bytes")).to_string()),
        ("unused", HumanBytes(number(told, "unused_bytes")).to_string()),
    ] {
        assert!(text.contains(&format!("  {line:<10} {value}\n")), "{line} {value}: {text}");
    }
    assert_eq!(number(told, "total_bytes"), number(told, "table_bytes") + number(told, "index_bytes"), "{told}");
    assert_eq!(number(told, "used_bytes") + number(told, "unused_bytes"), number(told, "total_bytes"), "{told}");
    assert_eq!(text.contains("switchover clear-expired DATABASE"), ended > 0, "{text}");
    assert!(!text.contains("://") && !text.contains("aliveandwell"), "an address or a key was printed: {text}");
}

fn text(place: &Place) -> String {
    said(&switchover(&["stats", &place.address()]))
}

fn clear(place: &Place) {
    let cleared = switchover(&["clear-expired", &place.address(), "--pause", "0"]);
    assert!(cleared.status.success(), "{}", said(&cleared));
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_of_postgres_are_its_own_and_the_shown_commands_give_room_back() {
    let place = Place::postgres("stats").await.with_table();
    // What is dead stays dead until the test mends it.
    place.execute("ALTER TABLE django_session SET (autovacuum_enabled = false)").await;
    fill(&place).await;
    let full = stats(&place);
    check_counts(&full, &text(&place), ENDED_ROWS);
    for (name, function) in [
        ("table_bytes", "pg_table_size"),
        ("index_bytes", "pg_indexes_size"),
        ("total_bytes", "pg_total_relation_size"),
    ] {
        let size = place.number(&format!("SELECT {function}('django_session')")).await;
        assert_eq!(number(&full, name), size.unsigned_abs(), "{name}: {full}");
    }
    assert_eq!((&full["dead_rows"], &full["mend"], &full["file_bytes"]), (&0.into(), &false.into(), &Value::Null));

    clear(&place);
    // A connection tells its counts to the server when it ends, which is later than its client ends.
    let dead = async || stats(&place)["dead_rows"] == ENDED_ROWS;
    until("dead rows are counted", dead).await;
    let (thin, shown) = (stats(&place), text(&place));
    check_counts(&thin, &shown, 0);
    assert_eq!(thin["total_bytes"], full["total_bytes"], "deleting gives nothing back");
    assert!(number(&thin, "used_bytes") < number(&full, "used_bytes") / 10, "{thin}");
    assert!(thin["mend"] == true && shown.contains("  dead rows  8,000\n"), "{thin}: {shown}");

    let command = |at: usize| thin["remedies"][at]["command"].as_str().unwrap();
    assert_eq!(command(0), "VACUUM (FULL, ANALYZE) \"django_session\"");
    assert!([0, 1, 2].iter().all(|at| shown.contains(command(*at))), "{shown}");
    place.execute(command(2)).await;
    let reindexed = stats(&place);
    assert!(number(&reindexed, "index_bytes") < number(&thin, "index_bytes") / 4, "{reindexed}");
    assert_eq!(reindexed["table_bytes"], thin["table_bytes"]);
    // A client that is just connecting, to whatever database, may keep dead rows alive for a moment.
    until("the table is rewritten", async || {
        place.execute(command(0)).await;
        number(&stats(&place), "total_bytes") < number(&full, "total_bytes") / 10
    })
    .await;
    let mended = stats(&place);
    assert_eq!(
        (&mended["rows"], &mended["dead_rows"], &mended["mend"]),
        (&1.into(), &0.into(), &false.into()),
        "{mended}"
    );
    assert!(!text(&place).contains("VACUUM"), "a mended table needs no mending");
}

/// InnoDB gathers its estimates anew in the background too: asks until they did not move meanwhile.
async fn stats_at_rest(place: &Place) -> (Value, [i64; 2]) {
    place.execute("ANALYZE TABLE django_session").await;
    let room = async |expression: &str| {
        let from = "FROM information_schema.tables WHERE table_schema = database() AND table_name = 'django_session'";
        place.number(&format!("SELECT cast({expression} AS signed) {from}")).await
    };
    let rooms = async || [room("data_length + data_free").await, room("index_length").await];
    let mut found = None;
    until("the estimates are at rest", async || {
        let (before, told, after) = (rooms().await, stats(place), rooms().await);
        found = Some((told, after));
        before == after
    })
    .await;
    found.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_of_mariadb_are_its_own_and_the_shown_command_gives_room_back() {
    let place = Place::mariadb("stats").await.with_table();
    fill(&place).await;
    let (full, [table, index]) = stats_at_rest(&place).await;
    check_counts(&full, &text(&place), ENDED_ROWS);
    assert_eq!((&full["table_bytes"], &full["index_bytes"]), (&table.into(), &index.into()), "{full}");
    let nothing = (&full["dead_rows"], &full["file_bytes"]);
    assert_eq!(nothing, (&Value::Null, &Value::Null), "InnoDB tells neither");
    assert!(full["mend"] == false, "nothing was deleted: {full}");

    clear(&place);
    let (thin, _) = stats_at_rest(&place).await;
    let shown = text(&place);
    check_counts(&thin, &shown, 0);
    // What is left beside the row is what InnoDB keeps to grow into.
    assert!(number(&thin, "used_bytes") < number(&full, "used_bytes") / 10 + (4 << 20), "{thin}");
    assert_eq!(thin["mend"], true, "{thin}");
    assert!(shown.contains("  OPTIMIZE TABLE `django_session`") && !shown.contains("dead rows"), "{shown}");

    place.execute(thin["remedies"][0]["command"].as_str().unwrap()).await;
    let (mended, _) = stats_at_rest(&place).await;
    assert!(number(&mended, "total_bytes") < number(&full, "total_bytes") / 10, "{mended}");
    assert_eq!((&mended["rows"], &mended["mend"]), (&1.into(), &false.into()), "{mended}");
}
