//! The seal: what stands in the place of a table that has moved, and refuses in words.

use switchover_core::capabilities::DatabaseError;

use super::super::captured::Captured;
use super::super::link::literal;

/// `read_only_sql_transaction`: no client takes it for a lost connection, and none for an empty table.
const CODE: &str = "25006";

impl Captured {
    /// Puts the table aside, and the seal in its place.
    pub(super) fn sealing(&self, place: &str) -> Vec<String> {
        let aside = format!("ALTER TABLE {} RENAME TO {}", self.names.table, self.names.plain_old());
        [vec![aside], self.seal(place)].concat()
    }

    /// A view whose reading and writing fail. It has the same columns, so a
    /// statement that was prepared before fails with the same words.
    pub(super) fn seal(&self, place: &str) -> Vec<String> {
        let (names, shape) = (&self.names, &self.shape);
        let words = literal(&format!("this table has moved to {place}: restart with the new address"));
        let raise = format!(
            "AS $switchover$BEGIN RAISE EXCEPTION USING MESSAGE = {words}, ERRCODE = '{CODE}'; END$switchover$"
        );
        let each = |what: &dyn Fn(&String, &String) -> String| {
            let each: Vec<_> =
                shape.columns.iter().zip(&shape.kinds).map(|(column, kind)| what(column, kind)).collect();
            each.join(", ")
        };
        let (table, sealed, refuse) = (&names.table, &names.sealed, &names.refuse);
        vec![
            format!(
                "CREATE FUNCTION {sealed}() RETURNS TABLE ({}) LANGUAGE plpgsql {raise}",
                each(&|c, k| format!("{c} {k}"))
            ),
            format!("CREATE FUNCTION {refuse}() RETURNS trigger LANGUAGE plpgsql {raise}"),
            format!("CREATE VIEW {table} AS SELECT {} FROM {sealed}()", each(&|c, k| format!("{c}::{k} AS {c}"))),
            format!(
                "CREATE TRIGGER switchover_move_sealed INSTEAD OF INSERT OR UPDATE OR DELETE ON {table} \
                 FOR EACH ROW EXECUTE FUNCTION {refuse}()"
            ),
            format!(
                "CREATE TRIGGER switchover_move_sealed_all BEFORE INSERT OR UPDATE OR DELETE ON {table} \
                 FOR EACH STATEMENT EXECUTE FUNCTION {refuse}()"
            ),
            // It shows nothing, and whoever has no right would be told another reason.
            format!("GRANT ALL ON {table} TO PUBLIC"),
        ]
    }

    pub(super) fn unsealing(&self) -> Vec<String> {
        let names = &self.names;
        vec![
            format!("DROP VIEW {}", names.table),
            format!("DROP FUNCTION {}(), {}()", names.sealed, names.refuse),
            format!("ALTER TABLE {} RENAME TO {}", names.old, names.plain()),
        ]
    }

    /// Writes a stage into the state, if it stands at one of these; within a transaction.
    pub(super) async fn stage(&mut self, from: &str, to: &str) -> Result<bool, DatabaseError> {
        let sql = format!("UPDATE {} SET side = {} WHERE side IN ({from})", self.names.state, literal(to));
        Ok(self.link.run(&sql, &[]).await? == 1)
    }
}
