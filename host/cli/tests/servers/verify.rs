//! `switchover verify`: from one kind of database to another, each difference is found, and equal rows are equal.

use crate::place::{ENDED, LIVING, Place, config, json, said, switchover};

async fn verify(old: Place, new: Place) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), &old, &new);
    let run =
        |more: &[&str]| switchover(&[&["verify", "default", "new_session_store", "--config", &config], more].concat());
    let keys = ["samesamesame", "otherpayload", "otherexpiry", "onlyintheoldone", "onlyinthenewone"];
    let [same, payload, expiry, gone, come] = keys;
    old.insert(&[same, payload, expiry, gone].map(|key| (key, "v1é", LIVING))).await;
    old.insert_ended(20, "v1").await;
    let later = "2999-01-01 00:00:00.123457";
    new.insert(&[
        (same, "v1é", LIVING),
        (payload, "v1É", LIVING),
        (expiry, "v1é", later),
        (come, "v1", LIVING),
        ("endedonlyhere", "v1", ENDED),
    ])
    .await;

    let different = run(&["--json"]);
    assert_eq!(different.status.code(), Some(1), "{}", said(&different));
    let told = json(&different);
    let counts =
        ["old_rows", "new_rows", "equal", "only_old", "only_new", "payload_differs", "expiry_differs", "unsettled"];
    let counts = counts.map(|name| told[name].as_u64().unwrap());
    assert_eq!(counts, [4, 4, 1, 1, 1, 1, 1, 0], "{told}");
    assert!(!keys.iter().any(|key| said(&different).contains(key)), "a key was printed: {told}");

    new.execute(&format!(
        "UPDATE django_session SET session_data = 'v1é', expire_date = '{LIVING}' WHERE session_key LIKE 'other%'"
    ))
    .await;
    new.insert(&[(gone, "v1é", LIVING)]).await;
    old.insert(&[(come, "v1", LIVING)]).await;
    let equal = run(&[]);
    assert!(equal.status.success() && said(&equal).contains("       5 equal"), "{}", said(&equal));
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_each_difference_between_postgres_and_mariadb() {
    verify(Place::postgres("verify").await.with_table(), Place::mariadb("verify").await.with_table()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_each_difference_between_sqlite_and_postgres() {
    let folder = tempfile::tempdir().unwrap();
    verify(Place::sqlite(folder.path()).with_table(), Place::postgres("verify_file").await.with_table()).await;
}
