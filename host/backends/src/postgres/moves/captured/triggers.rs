//! The trigger that notes what is written, and the tables of a move.

use std::time::Duration;

use switchover_core::capabilities::DatabaseError;

use super::super::link::{Bind, column, invalid, literal};
use super::Captured;
use super::names::TRIGGERS;

/// Whoever asks for the lock of a trigger waits for the writes under way, and makes later ones wait: so not for long.
const LOCK_WAIT: &str = "SET LOCAL lock_timeout = '100ms'";
/// How long it is tried again.
pub(in super::super) const PATIENCE: Duration = Duration::from_secs(60);

impl Captured {
    /// Makes the tables of the move and the function of its triggers.
    pub(in super::super) fn side_tables(&self, living: &str) -> Vec<String> {
        let names = &self.names;
        let (changes, state, log, kind) = (&names.changes, &names.state, &names.log, &self.shape.key_type);
        vec![
            format!(
                "CREATE TABLE {changes} (key {kind}) \
                 WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)"
            ),
            format!(
                "CREATE TABLE {state} (one boolean PRIMARY KEY DEFAULT true CHECK (one), form text NOT NULL, \
                 move text NOT NULL DEFAULT gen_random_uuid(), generation bigint NOT NULL DEFAULT 0, holder text, \
                 held_until timestamptz NOT NULL DEFAULT '-infinity', side text NOT NULL DEFAULT 'old', \
                 living text NOT NULL, began timestamptz NOT NULL DEFAULT now(), scanned_to text, \
                 scan_ended boolean NOT NULL DEFAULT false, scanned bigint NOT NULL DEFAULT 0, about bigint NOT NULL, \
                 copied bigint NOT NULL DEFAULT 0, carried bigint NOT NULL DEFAULT 0, compared_to text, \
                 compared bigint NOT NULL DEFAULT 0, different bigint NOT NULL DEFAULT 0, \
                 rounds bigint NOT NULL DEFAULT 0, last_different bigint, cut timestamptz, cut_waited_ms bigint)"
            ),
            format!("CREATE TABLE {log} (at timestamptz NOT NULL DEFAULT clock_timestamp(), what text NOT NULL)"),
            format!(
                "INSERT INTO {state} (form, living, about) SELECT {}, {}, greatest(reltuples, 0)::bigint FROM pg_class \
                 WHERE oid = to_regclass({})",
                literal(self.form.name()),
                literal(living),
                literal(&names.table)
            ),
            self.function(),
        ]
    }

    /// Makes the triggers, after those that may be there. What was written while none was there is found by a comparison
    /// that begins after it.
    pub(in super::super) fn noting(&self) -> Vec<String> {
        let (state, log) = (&self.names.state, &self.names.log);
        let logged = format!(
            "INSERT INTO {log} (what) SELECT 'writes are noted from here on; the table takes ' \
             || pg_size_pretty(pg_total_relation_size({}))",
            literal(&self.names.table)
        );
        let anew = format!(
            "UPDATE {state} SET compared_to = NULL, compared = 0, different = 0, rounds = 0, last_different = NULL"
        );
        [self.untriggered(), self.triggers(), vec![anew, logged]].concat()
    }

    /// Begins to note what is written, once the tables of the move are there. It may be called again.
    pub(in super::super) async fn note(&mut self) -> Result<(), DatabaseError> {
        if !self.is_noted().await? {
            let noting = self.noting();
            self.link.patiently(&noting, PATIENCE).await?;
        }
        Ok(())
    }

    /// Whether nothing was begun. Another begin must be for the same rows.
    pub(in super::super) async fn is_new(&mut self, living: &str) -> Result<bool, DatabaseError> {
        match self.state_of_this_form().await? {
            None => Ok(true),
            Some(state) if state.living != living => {
                Err(invalid(format!("the move was begun for rows where {}: say so again, or abort it", state.living)))
            }
            Some(_) => Ok(false),
        }
    }

    /// Notes a key for each row, in the writer's transaction. It has the rights of its maker, so an application needs
    /// none on the changes; so nothing in it is looked up in the application's schemas.
    fn function(&self) -> String {
        let (note, changes, key) = (&self.names.note, &self.names.changes, &self.shape.key);
        format!(
            "CREATE FUNCTION {note}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp \
             AS $switchover$\nBEGIN\n\
             IF TG_OP = 'TRUNCATE' THEN INSERT INTO {changes} (key) VALUES (NULL); RETURN NULL; END IF;\n\
             IF TG_OP <> 'INSERT' THEN INSERT INTO {changes} (key) VALUES (OLD.{key}); END IF;\n\
             IF TG_OP = 'INSERT' OR (TG_OP = 'UPDATE' AND OLD.{key}::text <> NEW.{key}::text) THEN\n\
             INSERT INTO {changes} (key) VALUES (NEW.{key}); END IF;\n\
             RETURN NULL;\nEND $switchover$"
        )
    }

    /// They also fire in sessions that apply what was replicated.
    pub(in super::super) fn triggers(&self) -> Vec<String> {
        let ([rows, all], table, note) = (TRIGGERS, &self.names.table, &self.names.note);
        vec![
            format!(
                "CREATE TRIGGER {rows} AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {note}()"
            ),
            format!("CREATE TRIGGER {all} AFTER TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {note}()"),
            format!("ALTER TABLE {table} ENABLE ALWAYS TRIGGER {rows}, ENABLE ALWAYS TRIGGER {all}"),
        ]
    }

    pub(in super::super) fn untriggered(&self) -> Vec<String> {
        let drop = |trigger: &str| format!("DROP TRIGGER IF EXISTS {trigger} ON {}", self.names.table);
        [LOCK_WAIT.to_owned()].into_iter().chain(TRIGGERS.map(drop)).collect()
    }

    pub(in super::super) fn taken_away(&self) -> Vec<String> {
        let names = &self.names;
        vec![
            format!("DROP FUNCTION IF EXISTS {}()", names.note),
            format!("DROP TABLE IF EXISTS {}, {}, {}", names.changes, names.log, names.state),
        ]
    }

    pub(in super::super) async fn is_noted(&mut self) -> Result<bool, DatabaseError> {
        let sql = "SELECT count(*) = 2 FROM pg_trigger WHERE tgrelid = to_regclass($1) AND tgenabled = 'A' \
                   AND tgname IN ('switchover_move', 'switchover_move_all')";
        let table = self.names.table.clone();
        let rows = self.link.rows(sql, &[Bind::Text(Some(&table))]).await?;
        rows.first().map_or(Ok(false), |row| column(row, 0))
    }
}
