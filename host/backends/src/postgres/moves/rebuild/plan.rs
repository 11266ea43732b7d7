//! What a rebuild makes beside its table, and takes away again.

use switchover_core::Table;
use switchover_core::capabilities::DatabaseError;
use switchover_core::moves::{Plan, Side};

use super::super::captured::PATIENCE;
use super::super::link::{Bind, column, invalid, literal};
use super::Rebuild;

impl Rebuild {
    pub(super) async fn plan(&mut self, living: &str) -> Result<Plan, DatabaseError> {
        let made = [self.like_the_old().await?, self.table.side_tables(living)].concat();
        Ok(Plan { made, made_at_new: Vec::new(), noted: self.table.noting() })
    }

    pub(super) async fn make(&mut self, living: &str) -> Result<(), DatabaseError> {
        let obstacles = self.table.obstacles(living).await?;
        if let Some(first) = obstacles.first() {
            return Err(invalid(format!("the table cannot be built again: {first}")));
        }
        let plan = self.plan(living).await?;
        if self.table.is_new(living).await? {
            self.table.link.transaction(&plan.made).await?;
        }
        self.table.note().await
    }

    pub(super) async fn take_away(&mut self) -> Result<(), DatabaseError> {
        if self.table.state_of_this_form().await?.is_some_and(|state| state.side == Side::New) {
            return Err(invalid("the cut was made: go back first, or finish"));
        }
        let mut taken = self.table.untriggered();
        taken.push(format!("DROP TABLE IF EXISTS {}", self.table.names.new));
        taken.extend(self.table.taken_away());
        self.table.link.patiently(&taken, PATIENCE).await
    }

    pub(super) async fn end(&mut self, drop_old: bool) -> Result<(), DatabaseError> {
        match self.table.state_of_this_form().await? {
            None => return Err(invalid("no move was begun")),
            Some(state) if state.side == Side::Old => return Err(invalid("the cut was not made: make it, or abort")),
            Some(_) => {}
        }
        let mut taken = self.table.untriggered();
        if drop_old {
            taken.push(format!("DROP TABLE IF EXISTS {}", self.table.names.old));
        }
        taken.extend(self.table.taken_away());
        self.table.link.patiently(&taken, PATIENCE).await
    }

    /// A table with the columns, defaults, checks, indexes, statistics, options, owner and rights of the old one.
    async fn like_the_old(&mut self) -> Result<Vec<String>, DatabaseError> {
        let (table, new) = (self.table.names.table.clone(), self.table.names.new.clone());
        let sql = "SELECT array_to_string(c.reloptions, ', '), s.spcname::text, obj_description(c.oid, 'pg_class') \
                   FROM pg_class AS c LEFT JOIN pg_tablespace AS s ON s.oid = c.reltablespace WHERE c.oid = to_regclass($1)";
        let found = self.table.link.rows(sql, &[Bind::Text(Some(&table))]).await?;
        let row = found.first().ok_or_else(|| invalid("the table is gone"))?;
        let option = |at: usize| column::<Option<String>>(row, at);
        let with = option(0)?.map(|options| format!(" WITH ({options})")).unwrap_or_default();
        let space = option(1)?.map(|name| format!(" TABLESPACE {}", Table::quote(&name, '"'))).unwrap_or_default();
        let mut made = vec![format!("CREATE TABLE {new} (LIKE {table} INCLUDING ALL){with}{space}")];
        if let Some(comment) = option(2)? {
            made.push(format!("COMMENT ON TABLE {new} IS {}", literal(&comment)));
        }
        made.extend(self.table.rights(&new).await?);
        Ok(made)
    }
}
