//! What a table must not have to be built again: what would be lost with the old table, or written past the trigger.

use switchover_core::capabilities::DatabaseError;
use switchover_core::moves::Form;

use super::super::link::{Bind, column};
use super::Captured;

/// Each question finds names; each answer says what they are in the way of.
const QUESTIONS: [(&str, &str); 18] = [
    (
        "SELECT c.relname FROM pg_class AS c WHERE c.oid = to_regclass($1) AND c.relkind <> 'r'",
        "is no ordinary table: a partitioned table, a view or a foreign table is not built again",
    ),
    (
        "SELECT c.relname FROM pg_class AS c WHERE c.oid = to_regclass($1) AND c.relpersistence <> 'p'",
        "is unlogged: a crash would empty it and leave its changes. `ALTER TABLE ... SET LOGGED` first",
    ),
    (
        "SELECT c.relname FROM pg_class AS c WHERE c.oid = to_regclass($1) \
         AND NOT pg_has_role(current_user, c.relowner, 'USAGE')",
        "belongs to somebody else: connect as its owner",
    ),
    (
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass($1) UNION \
         SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = to_regclass($1)",
        "is bound to the table by inheritance: a write to it is not seen",
    ),
    (
        "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass($1) AND NOT tgisinternal \
         AND tgname NOT IN ('switchover_move', 'switchover_move_all')",
        "is a trigger, which the new table would not have: drop it, and make it again after the cut",
    ),
    (
        "SELECT conname FROM pg_constraint WHERE contype = 'f' AND conrelid = to_regclass($1)",
        "is a foreign key of the table, which the new table would not have: drop it, and add it again after the cut",
    ),
    (
        "SELECT conname FROM pg_constraint WHERE contype = 'f' AND confrelid = to_regclass($1) AND conrelid <> confrelid",
        "is a foreign key that refers to the table, and would go on referring to the old one",
    ),
    (
        "SELECT rulename FROM pg_rewrite WHERE ev_class = to_regclass($1)",
        "is a rule, which the new table would not have",
    ),
    (
        "SELECT DISTINCT r.ev_class::regclass::text FROM pg_depend AS d JOIN pg_rewrite AS r ON r.oid = d.objid \
         WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass \
         AND d.refobjid = to_regclass($1) AND r.ev_class <> to_regclass($1)",
        "is a view of the table, and would go on showing the old one: drop it, and make it again after the cut",
    ),
    (
        "SELECT DISTINCT coalesce(p.oid::regprocedure::text, 'another object') FROM pg_depend AS d \
         JOIN pg_class AS c ON c.oid = to_regclass($1) JOIN pg_type AS t ON t.oid = c.reltype \
         LEFT JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid \
         WHERE d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray) AND d.deptype = 'n' \
         AND (p.oid IS NULL OR NOT EXISTS (SELECT FROM pg_namespace AS n WHERE n.oid = p.pronamespace AND n.nspname LIKE 'pg\\_temp\\_%'))",
        "uses the type of the table's rows, and would go on using the old one",
    ),
    (
        "SELECT polname FROM pg_policy WHERE polrelid = to_regclass($1) UNION \
         SELECT relname FROM pg_class WHERE oid = to_regclass($1) AND relrowsecurity",
        "is row security, which the new table would not have",
    ),
    (
        "SELECT pubname FROM pg_publication WHERE puballtables UNION \
         SELECT p.pubname FROM pg_publication_rel AS r JOIN pg_publication AS p ON p.oid = r.prpubid \
         WHERE r.prrelid = to_regclass($1)",
        "is a publication: its subscribers would miss the new table. Stop it before, and begin it anew after the cut",
    ),
    (
        "SELECT s.subname FROM pg_subscription_rel AS r JOIN pg_stat_subscription AS s ON s.subid = r.srsubid \
         WHERE r.srrelid = to_regclass($1)",
        "is a subscription that writes the table: it would go on writing the old one",
    ),
    (
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attidentity <> ''",
        "is an identity column, whose numbers would begin anew: not built yet",
    ),
    (
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attacl IS NOT NULL",
        "is a column with rights of its own, which the new table would not have: not built yet",
    ),
    (
        "SELECT relname FROM pg_class WHERE oid = to_regclass($1) AND relreplident NOT IN ('d', 'n')",
        "has a replica identity of its own, which the new table would not have: not built yet",
    ),
    (
        "SELECT i.indexrelid::regclass::text FROM pg_index AS i WHERE i.indrelid = to_regclass($1) \
         AND NOT (i.indisvalid AND i.indisready)",
        "is an index that is not valid: drop it, or build it again",
    ),
    (
        "SELECT current_user::text WHERE $1::text IS NOT NULL AND NOT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') \
         AND EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' \
                     AND usename <> current_user)",
        "cannot see the transactions of other users, for which the cut has to wait: `GRANT pg_read_all_stats` to it",
    ),
];

/// In one database a transaction with an older snapshot would read the new table.
const ISOLATION: (&str, &str) = (
    "SELECT setting FROM pg_settings WHERE name = 'default_transaction_isolation' AND $1::text IS NOT NULL \
             AND reset_val <> 'read committed' UNION \
         SELECT split_part(s.one, '=', 2) FROM pg_db_role_setting AS d, unnest(d.setconfig) AS s (one) \
         WHERE d.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) \
             AND s.one LIKE 'default_transaction_isolation=%' AND s.one <> 'default_transaction_isolation=read committed'",
    "is the isolation of transactions here: one that begins during the cut would not see the last rows. Set READ \
         COMMITTED first",
);

impl Captured {
    /// What is in the way, each as a sentence with the name first. Nothing is changed.
    pub(in super::super) async fn obstacles(&mut self, living: &str) -> Result<Vec<String>, DatabaseError> {
        let table = self.names.table.clone();
        let mut found = Vec::new();
        let isolation = (self.form == Form::Rename).then_some(ISOLATION);
        for (question, what) in QUESTIONS.into_iter().chain(isolation) {
            for row in self.link.rows(question, &[Bind::Text(Some(&table))]).await? {
                found.push(format!("{} {what}", column::<String>(&row, 0)?));
            }
        }
        let sql = format!("SELECT count(*) FROM (SELECT FROM {table} WHERE ({living}) IS TRUE LIMIT 1) AS one");
        if let Err(error) = self.link.rows(&sql, &[]).await {
            found.push(format!("the condition of living rows is not understood: {error}"));
        }
        if !self.is_begun().await? {
            for name in [&self.names.new, &self.names.old, &self.names.changes, &self.names.log].map(Clone::clone) {
                if self.link.is_there(&name).await? {
                    found.push(format!("{name} is there already: drop or rename it, if nobody needs it"));
                }
            }
        }
        Ok(found)
    }
}
