//! The statements that make a table like the old one at another server: columns, defaults, keys, checks and indexes.

use switchover_core::Table;
use switchover_core::capabilities::DatabaseError;

use super::super::captured::Captured;
use super::super::link::{Bind, column, invalid};

impl Captured {
    /// Makes `name` like the table. Rights and owners stay behind, since they are of this server's roles.
    pub(super) async fn definition(&mut self, name: &str) -> Result<Vec<String>, DatabaseError> {
        let table = self.names.table.clone();
        let bind = [Bind::Text(Some(&table))];
        let constraints = "SELECT 'CONSTRAINT ' || quote_ident(conname) || ' ' || pg_get_constraintdef(oid) FROM pg_constraint \
             WHERE conrelid = to_regclass($1) AND contype IN ('p', 'u', 'c', 'x') ORDER BY contype, conname";
        let mut parts = self.columns().await?;
        for row in self.link.rows(constraints, &bind).await? {
            parts.push(column::<String>(&row, 0)?);
        }
        let mut made = vec![format!("CREATE TABLE {name} (\n    {}\n)", parts.join(",\n    "))];
        let indexes = "SELECT c.relname::text, i.indisunique, pg_get_indexdef(i.indexrelid) \
             FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE i.indrelid = to_regclass($1) \
             AND NOT EXISTS (SELECT FROM pg_constraint AS o WHERE o.conindid = i.indexrelid AND o.contype IN ('p', 'u', 'x')) \
             ORDER BY c.relname";
        for row in self.link.rows(indexes, &bind).await? {
            let (index, unique, whole): (String, bool, String) = (column(&row, 0)?, column(&row, 1)?, column(&row, 2)?);
            let (_, how) =
                whole.split_once(" USING ").ok_or_else(|| invalid(format!("the index {index} is not understood")))?;
            let unique = if unique { "UNIQUE " } else { "" };
            made.push(format!("CREATE {unique}INDEX {} ON {name} USING {how}", Table::quote(&index, '"')));
        }
        Ok(made)
    }

    /// The columns, as `CREATE TABLE` takes them.
    pub(super) async fn columns(&mut self) -> Result<Vec<String>, DatabaseError> {
        let table = self.names.table.clone();
        let sql = "SELECT quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod) \
                 || CASE WHEN a.attcollation <> t.typcollation THEN ' COLLATE ' || quote_ident(n.nspname) || '.' || quote_ident(l.collname) \
                    ELSE '' END \
                 || CASE WHEN a.attgenerated <> '' THEN ' GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid) || ') STORED' \
                    WHEN d.adbin IS NOT NULL THEN ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) ELSE '' END \
                 || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END \
             FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid \
             LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
             LEFT JOIN pg_collation AS l ON l.oid = a.attcollation LEFT JOIN pg_namespace AS n ON n.oid = l.collnamespace \
             WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
        self.link.rows(sql, &[Bind::Text(Some(&table))]).await?.iter().map(|row| column(row, 0)).collect()
    }

    /// Columns whose default or type another server need not have, each as a sentence.
    pub(super) async fn foreign_parts(&mut self) -> Result<Vec<String>, DatabaseError> {
        let remedy =
            "make the table at the new server first, as in `pg_dump --schema-only --table NAME OLD | psql NEW`";
        let sql = "SELECT a.attname::text, CASE WHEN t.typnamespace <> 'pg_catalog'::regnamespace THEN 'a type of its own' \
                    ELSE 'a default that counts or calls a function of its own' END \
             FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid \
             LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
             WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped \
             AND (t.typnamespace <> 'pg_catalog'::regnamespace OR EXISTS (\
                 SELECT FROM pg_depend AS p WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid \
                 AND (p.refclassid = 'pg_proc'::regclass OR p.refclassid = 'pg_class'::regclass AND p.refobjid <> a.attrelid)))";
        let table = self.names.table.clone();
        let rows = self.link.rows(sql, &[Bind::Text(Some(&table))]).await?;
        rows.iter()
            .map(|row| {
                let (name, what): (String, String) = (column(row, 0)?, column(row, 1)?);
                Ok(format!("{name} has {what}: {remedy}"))
            })
            .collect()
    }
}
