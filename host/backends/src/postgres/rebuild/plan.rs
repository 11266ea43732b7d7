//! What a rebuild makes beside its table, and takes away again.

use std::time::Duration;

use switchover_core::Table;
use switchover_core::capabilities::DatabaseError;

use super::names::TRIGGERS;
use super::state::Side;
use super::{Bind, Rebuild, column, invalid};

/// Whoever asks for the lock of a trigger waits for the writes under way, and makes later ones wait: so not for long.
const LOCK_WAIT: &str = "SET LOCAL lock_timeout = '100ms'";
/// How long it is tried again.
const PATIENCE: Duration = Duration::from_secs(60);

impl Rebuild {
    /// The statements of [`Rebuild::begin`]: the tables and the function, then the triggers.
    ///
    /// # Errors
    ///
    /// The server does not answer.
    pub async fn planned(&mut self, living: &str) -> Result<[Vec<String>; 2], DatabaseError> {
        let mut made = self.like_the_old().await?;
        let names = &self.names;
        let (changes, state, log, kind) = (&names.changes, &names.state, &names.log, &self.shape.key_type);
        made.push(format!(
            "CREATE TABLE {changes} (key {kind}) \
             WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)"
        ));
        made.push(format!(
            "CREATE TABLE {state} (one boolean PRIMARY KEY DEFAULT true CHECK (one), side text NOT NULL DEFAULT 'old', \
             living text NOT NULL, began timestamptz NOT NULL DEFAULT now(), scanned_to text, \
             scan_ended boolean NOT NULL DEFAULT false, scanned bigint NOT NULL DEFAULT 0, about bigint NOT NULL, \
             copied bigint NOT NULL DEFAULT 0, carried bigint NOT NULL DEFAULT 0, compared_to text, \
             compared bigint NOT NULL DEFAULT 0, different bigint NOT NULL DEFAULT 0, rounds bigint NOT NULL DEFAULT 0, \
             last_different bigint, cut timestamptz, cut_waited_ms bigint)"
        ));
        made.push(format!(
            "CREATE TABLE {log} (at timestamptz NOT NULL DEFAULT clock_timestamp(), what text NOT NULL)"
        ));
        made.push(format!(
            "INSERT INTO {state} (living, about) SELECT {}, greatest(reltuples, 0)::bigint FROM pg_class \
             WHERE oid = to_regclass({})",
            literal(living),
            literal(&names.table)
        ));
        made.push(self.function());
        let logged = format!(
            "INSERT INTO {log} (what) SELECT 'writes are noted from here on; the table takes ' \
             || pg_size_pretty(pg_total_relation_size({}))",
            literal(&names.table)
        );
        // What was written while no trigger was there is found by a comparison that begins after it.
        let anew = format!(
            "UPDATE {state} SET compared_to = NULL, compared = 0, different = 0, rounds = 0, last_different = NULL"
        );
        let noted = [self.untriggered(), self.triggers(), vec![anew, logged]].concat();
        Ok([made, noted])
    }

    /// Makes the new table, and begins to note what is written. From then on each write of an application is one insert
    /// dearer. It may be called again, also after a crash.
    ///
    /// Applications wait while the triggers are made: for the writes that are under way, and at most 100 ms. If that is
    /// not enough, it is tried again.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Invalid`] says what is in the way. [`DatabaseError::Conflict`]: writes took too long for a
    /// minute. Nothing is noted then.
    pub async fn begin(&mut self, living: &str) -> Result<(), DatabaseError> {
        let obstacles = self.obstacles(living).await?;
        if let Some(first) = obstacles.first() {
            return Err(invalid(format!("the table cannot be built again: {first}")));
        }
        let [made, noted] = self.planned(living).await?;
        match self.state().await? {
            None => self.transaction(&made).await?,
            Some(state) if state.living != living => {
                let message = format!("the move was begun for rows where {}: say so again, or abort it", state.living);
                return Err(invalid(message));
            }
            Some(_) => {}
        }
        if !self.is_noted().await? {
            self.patiently(&noted, PATIENCE).await?;
        }
        Ok(())
    }

    /// Takes everything away and leaves the table as it was: the way out before the cut, and after a way back.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Invalid`] after the cut: rows are in the new table.
    pub async fn abort(&mut self) -> Result<(), DatabaseError> {
        if self.state().await?.is_some_and(|state| state.side == Side::New) {
            return Err(invalid("the cut was made: go back first, or finish"));
        }
        let mut taken = self.untriggered();
        taken.push(format!("DROP TABLE IF EXISTS {}", self.names.new));
        taken.extend(self.taken_away());
        self.patiently(&taken, PATIENCE).await
    }

    /// Ends the way back: nothing is noted any more. The old table stays under its name, unless `drop_old`.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Invalid`] before the cut.
    pub async fn finish(&mut self, drop_old: bool) -> Result<(), DatabaseError> {
        match self.state().await? {
            None => return Err(invalid("no move was begun")),
            Some(state) if state.side == Side::Old => return Err(invalid("the cut was not made: make it, or abort")),
            Some(_) => {}
        }
        let mut taken = self.untriggered();
        if drop_old {
            taken.push(format!("DROP TABLE IF EXISTS {}", self.names.old));
        }
        taken.extend(self.taken_away());
        self.patiently(&taken, PATIENCE).await
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
    pub(super) fn triggers(&self) -> Vec<String> {
        let ([rows, all], table, note) = (TRIGGERS, &self.names.table, &self.names.note);
        vec![
            format!(
                "CREATE TRIGGER {rows} AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {note}()"
            ),
            format!("CREATE TRIGGER {all} AFTER TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {note}()"),
            format!("ALTER TABLE {table} ENABLE ALWAYS TRIGGER {rows}, ENABLE ALWAYS TRIGGER {all}"),
        ]
    }

    pub(super) fn untriggered(&self) -> Vec<String> {
        let drop = |trigger: &str| format!("DROP TRIGGER IF EXISTS {trigger} ON {}", self.names.table);
        [LOCK_WAIT.to_owned()].into_iter().chain(TRIGGERS.map(drop)).collect()
    }

    fn taken_away(&self) -> Vec<String> {
        let names = &self.names;
        vec![
            format!("DROP FUNCTION IF EXISTS {}()", names.note),
            format!("DROP TABLE IF EXISTS {}, {}, {}", names.changes, names.log, names.state),
        ]
    }

    pub(super) async fn is_noted(&mut self) -> Result<bool, DatabaseError> {
        let sql = "SELECT count(*) = 2 FROM pg_trigger WHERE tgrelid = to_regclass($1) AND tgenabled = 'A' \
                   AND tgname IN ('switchover_move', 'switchover_move_all')";
        let table = self.names.table.clone();
        let rows = self.rows(sql, &[Bind::Text(Some(&table))]).await?;
        rows.first().map_or(Ok(false), |row| column(row, 0))
    }

    /// A table with the columns, defaults, checks, indexes, statistics, options, owner and rights of the old one.
    async fn like_the_old(&mut self) -> Result<Vec<String>, DatabaseError> {
        let (table, new) = (self.names.table.clone(), self.names.new.clone());
        let sql = "SELECT array_to_string(c.reloptions, ', '), s.spcname::text, pg_get_userbyid(c.relowner)::text, \
                          obj_description(c.oid, 'pg_class') \
                   FROM pg_class AS c LEFT JOIN pg_tablespace AS s ON s.oid = c.reltablespace WHERE c.oid = to_regclass($1)";
        let found = self.rows(sql, &[Bind::Text(Some(&table))]).await?;
        let row = found.first().ok_or_else(|| invalid("the table is gone"))?;
        let option = |at: usize| column::<Option<String>>(row, at);
        let with = option(0)?.map(|options| format!(" WITH ({options})")).unwrap_or_default();
        let space = option(1)?.map(|name| format!(" TABLESPACE {}", Table::quote(&name, '"'))).unwrap_or_default();
        let owner = Table::quote(column(row, 2)?, '"');
        let mut made = vec![
            format!("CREATE TABLE {new} (LIKE {table} INCLUDING ALL){with}{space}"),
            format!("ALTER TABLE {new} OWNER TO {owner}"),
        ];
        if let Some(comment) = option(3)? {
            made.push(format!("COMMENT ON TABLE {new} IS {}", literal(&comment)));
        }
        let sql = "SELECT a.privilege_type, a.is_grantable, a.grantee::bigint, pg_get_userbyid(a.grantee)::text \
                   FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE c.oid = to_regclass($1)";
        for right in self.rows(sql, &[Bind::Text(Some(&table))]).await? {
            let (what, passes): (String, bool) = (column(&right, 0)?, column(&right, 1)?);
            let grantee = if column::<i64>(&right, 2)? == 0 {
                "PUBLIC".to_owned()
            } else {
                Table::quote(column(&right, 3)?, '"')
            };
            let option = if passes { " WITH GRANT OPTION" } else { "" };
            made.push(format!("GRANT {what} ON {new} TO {grantee}{option}"));
        }
        Ok(made)
    }
}

fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}
