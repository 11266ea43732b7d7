//! `switchover init`: Django's table on a server, made once, and left alone where it is.

use crate::place::{LIVING, Place, config, said, switchover};

const TABLES: &str =
    "SELECT count(*) FROM information_schema.tables WHERE table_name = 'django_session' AND table_schema = ";

/// `schema`: an expression for the one that is in use; `index`: a query for the number of indexes of a name.
async fn init(place: Place, schema: &str, index: &str, indexes: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), &place, &Place::sqlite(folder.path()).with_table());
    let run = |more: &[&str]| switchover(&[&["init", "default", "--config", &config], more].concat());
    let tables = async || place.number(&format!("{TABLES}{schema}")).await;

    let listed = run(&["--list"]);
    assert!(listed.status.success() && said(&listed).contains("would run"), "{}", said(&listed));
    assert!(indexes.iter().all(|index| said(&listed).contains(index)), "{}", said(&listed));
    assert_eq!(tables().await, 0, "it was listed, and done");

    let made = run(&[]);
    assert!(made.status.success() && said(&made).contains("done: "), "{}", said(&made));
    assert_eq!(tables().await, 1);
    for name in indexes {
        assert_eq!(place.number(&index.replace("NAME", name)).await, 1, "{name}");
    }
    place.insert(&[("aliveandwell", "v1", LIVING)]).await;
    for more in [&[][..], &["--list"]] {
        let again = run(more);
        assert!(again.status.success() && said(&again).contains("nothing to do"), "{}", said(&again));
    }
    assert_eq!(place.rows().await, 1);

    place.execute("ALTER TABLE django_session ADD COLUMN user_id integer").await;
    let other = run(&[]);
    assert!(other.status.success() && said(&other).contains("nothing to do"), "another column: {}", said(&other));
    assert!(said(&other).contains("user_id"), "the policy could not run: {}", said(&other));
    place.execute("ALTER TABLE django_session DROP COLUMN session_data").await;
    let other = run(&[]);
    assert_eq!(other.status.code(), Some(1));
    assert!(said(&other).contains("session_data") && !said(&other).contains("://"), "{}", said(&other));
}

#[tokio::test(flavor = "multi_thread")]
async fn init_makes_djangos_table_on_postgres_and_changes_nothing_that_is_there() {
    let index = "SELECT count(*) FROM pg_indexes WHERE tablename = 'django_session' AND indexname = 'NAME'";
    let indexes = ["django_session_expire_date_a5c62663", "django_session_session_key_c0390e0f_like"];
    init(Place::postgres("init").await, "current_schema()", index, &indexes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn init_makes_djangos_table_on_mariadb_and_changes_nothing_that_is_there() {
    let index = "SELECT count(*) FROM information_schema.statistics \
                 WHERE table_schema = database() AND table_name = 'django_session' AND index_name = 'NAME'";
    init(Place::mariadb("init").await, "database()", index, &["django_session_expire_date_a5c62663"]).await;
}
