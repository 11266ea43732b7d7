//! The new table at its server, until applications use it.

use switchover_core::Table;
use switchover_core::capabilities::DatabaseError;

use super::super::captured::{Locked, Names, Shape, connected, shape};
use super::super::link::{Bind, Link, column, invalid};
use super::rows::Rows;

/// The new table. Until it is opened it has another name than applications use.
pub(super) struct Landing {
    pub(super) link: Link,
    pub(super) names: Names,
    /// Once it is looked at.
    shape: Option<Shape>,
    pub(super) place: String,
}

/// By which a copier may put.
pub(super) struct Lease {
    id: String,
    generation: i64,
}

impl Lease {
    pub(super) fn of(locked: &Locked) -> Self {
        Self { id: locked.id.clone(), generation: locked.generation }
    }
}

impl Landing {
    pub(super) async fn open(url: &str, table: &Table) -> Result<Self, DatabaseError> {
        let (mut link, place) = connected(url).await?;
        let schema = match table.schema() {
            Some(schema) => schema.to_owned(),
            None => {
                let rows = link.rows("SELECT current_schema()::text", &[]).await?;
                let schema: Option<String> = rows.first().map_or(Ok(None), |row| column(row, 0))?;
                schema.ok_or_else(|| invalid("the new server has no schema for this user: name it with the table"))?
            }
        };
        let names = Names::of(&schema, table.name());
        Ok(Self { link, names, shape: None, place })
    }

    pub(super) async fn is_there(&mut self, name: &str) -> Result<bool, DatabaseError> {
        self.link.is_there(name).await
    }

    /// Whether there is a table, and not a view.
    pub(super) async fn is_table(&mut self, name: &str) -> Result<bool, DatabaseError> {
        let sql = "SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass($1)";
        let rows = self.link.rows(sql, &[Bind::Text(Some(name))]).await?;
        rows.first().map_or(Ok(false), |row| column(row, 0))
    }

    /// The columns of a table that is there.
    pub(super) async fn shape_of(&mut self, name: &str) -> Result<Shape, DatabaseError> {
        shape(&mut self.link, name).await
    }

    async fn shaped(&mut self) -> Result<&Shape, DatabaseError> {
        if self.shape.is_none() {
            let name = self.names.new.clone();
            self.shape = Some(shape(&mut self.link, &name).await?);
        }
        self.shape.as_ref().ok_or_else(|| invalid("the new table is gone"))
    }

    /// Raises the fence. It waits for puts that are under way, and refuses those of an earlier generation from then on.
    pub(super) async fn raise(&mut self, id: &str, generation: i64) -> Result<(), DatabaseError> {
        let sql = format!("UPDATE {} SET generation = greatest(generation, $1) WHERE move = $2", self.names.fence);
        match self.link.run(&sql, &[Bind::Int(generation), Bind::Text(Some(id))]).await? {
            1 => Ok(()),
            _ => Err(invalid("the fence at the new server is of another move: is this the right address?")),
        }
    }

    /// Takes the rows of these keys away, and puts these rows, in one transaction; returns how many rows were put.
    pub(super) async fn put(&mut self, lease: &Lease, gone: &[String], rows: &Rows) -> Result<u64, DatabaseError> {
        self.shaped().await?;
        self.link.simple("BEGIN").await?;
        let done = self.put_fenced(lease, gone, rows).await;
        self.link.end(done).await
    }

    /// Takes the rows of these keys away.
    pub(super) async fn remove(&mut self, lease: &Lease, gone: &[String]) -> Result<(), DatabaseError> {
        self.put(lease, gone, &Rows::default()).await.map(drop)
    }

    async fn put_fenced(&mut self, lease: &Lease, gone: &[String], rows: &Rows) -> Result<u64, DatabaseError> {
        let sql = format!("SELECT generation FROM {} WHERE move = $1 FOR SHARE", self.names.fence);
        let fence = self.link.rows(&sql, &[Bind::Text(Some(&lease.id))]).await?;
        let fence: Option<i64> = fence.first().map(|row| column(row, 0)).transpose()?;
        if fence != Some(lease.generation) {
            let message = "the fence at the new server was raised by another copier".to_owned();
            return Err(DatabaseError::Conflict { message });
        }
        let shape = self.shape.as_ref().ok_or_else(|| invalid("the new table is gone"))?;
        let (new, key, kind) = (&self.names.new, &shape.key, &shape.key_type);
        if !gone.is_empty() {
            let sql = format!("DELETE FROM {new} WHERE {key} = ANY($1::text[]::{kind}[])");
            self.link.run(&sql, &[Bind::Texts(gone)]).await?;
        }
        if rows.len() == 0 {
            return Ok(0);
        }
        let numbered = |what: &dyn Fn(usize, &String) -> String| {
            let each: Vec<_> = shape.filled_kinds.iter().enumerate().map(|(at, kind)| what(at, kind)).collect();
            each.join(", ")
        };
        let sql = format!(
            "INSERT INTO {new} ({}) SELECT {} FROM unnest({}) AS r ({}){}",
            shape.filled.join(", "),
            numbered(&|at, kind| format!("r.c{at}::{kind}")),
            numbered(&|at, _| format!("${}::text[]", at + 1)),
            numbered(&|at, _| format!("c{at}")),
            if rows.spare { " ON CONFLICT DO NOTHING" } else { "" },
        );
        let bind: Vec<_> = rows.columns.iter().map(|values| Bind::Column(values)).collect();
        self.link.run(&sql, &bind).await
    }

    /// The next keys, as this server sorts them.
    pub(super) async fn keys_after(&mut self, from: Option<&str>, limit: u32) -> Result<Vec<String>, DatabaseError> {
        let new = self.names.new.clone();
        let shape = self.shaped().await?;
        let (key, after) = (&shape.key, shape.after(from));
        let sql = format!("SELECT {key}::text FROM {new} WHERE {after} ORDER BY {key} LIMIT $2");
        let rows = self.link.rows(&sql, &[Bind::Text(from), Bind::Int(limit.into())]).await?;
        rows.iter().map(|row| column(row, 0)).collect()
    }

    /// The digests of the rows of these keys, by an expression on a row `t`.
    pub(super) async fn digests(
        &mut self,
        digest: &str,
        keys: &[String],
    ) -> Result<Vec<(String, String)>, DatabaseError> {
        let new = self.names.new.clone();
        let shape = self.shaped().await?;
        let (key, kind) = (&shape.key, &shape.key_type);
        let sql = format!("SELECT t.{key}::text, {digest} FROM {new} AS t WHERE t.{key} = ANY($1::text[]::{kind}[])");
        let rows = self.link.rows(&sql, &[Bind::Texts(keys)]).await?;
        rows.iter().map(|row| Ok((column(row, 0)?, column(row, 1)?))).collect()
    }
}
