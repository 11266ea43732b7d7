//! Tables that keep some rows from being deleted: by a trigger or a reference.

use anyhow::Result;
use switchover_harness::{MariaDb, Postgres};
use tempfile::TempDir;

use super::refusals::{Place, Refusal, refusal};

/// The payload of rows that are protected against deletion.
pub(crate) const KEPT: &str = "kept";

/// Ways in which a table keeps rows with the payload [`KEPT`] from being deleted, on every database.
pub(crate) async fn protections() -> Result<Vec<Refusal>> {
    let mut all = Vec::new();
    for how in ["ABORT, 'not this row'", "FAIL, 'not this row'", "ROLLBACK, 'not this row'", "IGNORE"] {
        let trigger = format!(
            "CREATE TRIGGER no_delete BEFORE DELETE ON {{t}} WHEN OLD.session_data = '{KEPT}' \
             BEGIN SELECT RAISE({how}); END;"
        );
        all.push(refusal("SQLite, a trigger", Place::Sqlite(TempDir::new()?), trigger));
    }
    let postgres = Postgres::shared().await?.url();
    for action in ["RAISE EXCEPTION 'not this row'", "RETURN NULL"] {
        let trigger = format!(
            "CREATE FUNCTION no_{{t}}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {action}; END $$; \
             CREATE TRIGGER no_{{t}} BEFORE DELETE ON {{t}} FOR EACH ROW WHEN (OLD.session_data = '{KEPT}') \
             EXECUTE FUNCTION no_{{t}}()"
        );
        all.push(refusal("PostgreSQL, a trigger", Place::Postgres(postgres.clone()), trigger));
    }
    let mariadb = MariaDb::shared().await?.url();
    let signal = format!(
        "CREATE TRIGGER no_{{t}} BEFORE DELETE ON {{t}} FOR EACH ROW \
         IF OLD.session_data = '{KEPT}' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this row'; END IF;"
    );
    all.push(refusal("MariaDB, a signal", Place::MariaDb(mariadb.clone()), signal));
    let refers = |deferred: &str| {
        format!(
            "CREATE TABLE refers_{{t}} (session_key varchar(40), \
             FOREIGN KEY (session_key) REFERENCES {{t}} (session_key) {deferred})"
        )
    };
    let deferred = "DEFERRABLE INITIALLY DEFERRED";
    for (name, place, how) in [
        ("SQLite, references", Place::Sqlite(TempDir::new()?), ""),
        ("SQLite, deferred references", Place::Sqlite(TempDir::new()?), deferred),
        ("PostgreSQL, references", Place::Postgres(postgres.clone()), ""),
        ("PostgreSQL, deferred references", Place::Postgres(postgres.clone()), deferred),
        ("MariaDB, references", Place::MariaDb(mariadb.clone()), ""),
    ] {
        let refer = "INSERT INTO refers_{t} SELECT session_key FROM {t} WHERE session_data = 'kept'";
        let mut reference = refusal(name, place, refers(how));
        reference.refers = Some(refer);
        all.push(reference);
    }
    Ok(all)
}
