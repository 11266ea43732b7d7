//! Texts with bytes that the character set of their column does not define: MariaDB sends a question mark for each of
//! them, so they would look like other texts.

use anyhow::{Result, ensure};
use sqlx::{Connection as _, Executor as _, MySqlConnection};
use switchover_backends::MySql;
use switchover_core::Value;
use switchover_core::capabilities::Database;
use switchover_harness::MariaDb;

use super::fixture::{exists, key, load, new_table, soon};

/// In Windows-1251, byte 98 has no meaning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_with_undefined_bytes_is_unreadable() -> Result<()> {
    let (server, table) = (MariaDb::shared().await?, new_table());
    let mut raw = MySqlConnection::connect(&server.url()).await?;
    let end = "'2999-01-01 00:00:00'";
    let sql = format!(
        "CREATE TABLE {table} (session_key varchar(40) NOT NULL PRIMARY KEY, session_data longtext NOT NULL, \
             expire_date datetime(6) NOT NULL, city varchar(40), mood enum('да', 'нет'), \
             KEY {table}_expire_date (expire_date)) CHARACTER SET cp1251; \
         INSERT INTO {table} VALUES ('cyrillic00', 'значение', {end}, 'Москва', 'нет'), \
             ('nothing000', 'v1', {end}, NULL, NULL), \
             (concat('key00', x'98', '00'), 'v1', {end}, NULL, NULL), \
             ('payload000', concat('v', x'98'), {end}, NULL, NULL), \
             ('othertext0', 'v1', {end}, concat(x'd0', x'98'), NULL)"
    );
    raw.execute(sqlx::raw_sql(&sql)).await?;
    let database = MySql::builder(server.url()).table(&table).connect().await?;

    let page = database.upkeep().scan(None, 100, soon()).await?;
    let mut keys: Vec<_> = page.sessions.iter().map(|session| session.key.expose()).collect();
    keys.sort_unstable();
    ensure!(keys == ["cyrillic00", "nothing000"], "{keys:?}");
    ensure!((page.unreadable.len(), page.next) == (3, None), "{:?}", page.unreadable);

    // A page that ends at such a key has no next one: the scan fails, and does not read rows twice.
    let first = database.upkeep().scan(None, 2, soon()).await?;
    ensure!(first.unreadable.len() == 1, "{:?}", first.unreadable);
    let error = database.upkeep().scan(first.next, 2, soon()).await.expect_err("nobody knows where to go on");
    ensure!(error.to_string().contains("character set"), "{error}");

    let cyrillic = load(&database, &key("cyrillic00")).await?.expect("it lives");
    ensure!(cyrillic.payload.as_text() == Some("значение"));
    ensure!(cyrillic.others.get("city") == Some(&Value::Text("Москва".into())));
    ensure!(load(&database, &key("payload000")).await.is_err(), "a payload with a question mark instead");
    ensure!(exists(&database, &key("payload000")).await?);
    database.close().await;
    Ok(())
}
