//! What a transfer makes at both servers, and takes away again.

use switchover_core::capabilities::DatabaseError;
use switchover_core::moves::{Plan, Side};

use super::super::captured::PATIENCE;
use super::super::link::{Bind, column, invalid, literal};
use super::Transfer;

impl Transfer {
    pub(super) async fn in_the_way(&mut self, living: &str) -> Result<Vec<String>, DatabaseError> {
        let mut found = self.old.obstacles(living).await?;
        found.extend(self.in_the_bridges_way().await?);
        if self.old.is_begun().await? {
            return Ok(found);
        }
        let (table, new, fence) =
            (self.new.names.table.clone(), self.new.names.new.clone(), self.new.names.fence.clone());
        for name in [new, fence] {
            if self.new.is_there(&name).await? {
                found.push(format!("{name} is at the new server already: drop or rename it, if nobody needs it"));
            }
        }
        if self.is_the_same_database().await? {
            found.push(
                "the new address is the same database: leave `--to` away, and the table is built again in it"
                    .to_owned(),
            );
        }
        let sql = "SELECT setting FROM pg_settings WHERE name = 'server_encoding'";
        for (link, which) in [(&mut self.old.link, "old"), (&mut self.new.link, "new")] {
            let rows = link.rows(sql, &[]).await?;
            let encoding: String = rows.first().map_or(Ok(String::new()), |row| column(row, 0))?;
            if encoding != "UTF8" {
                found.push(format!("{encoding} is the encoding of the {which} database: only UTF8 is carried over"));
            }
        }
        if self.new.is_there(&table).await? {
            found.extend(self.unfit_table(&table).await?);
        } else if self.bridge.is_none() {
            found.extend(self.old.foreign_parts().await?);
        }
        Ok(found)
    }

    async fn is_the_same_database(&mut self) -> Result<bool, DatabaseError> {
        let sql = "SELECT system_identifier::text || '/' || (SELECT oid FROM pg_database WHERE datname = current_database()) \
                   || '/' || pg_postmaster_start_time() FROM pg_control_system()";
        let identity =
            |rows: Vec<sqlx::postgres::PgRow>| rows.first().map_or(Ok(String::new()), |row| column::<String>(row, 0));
        // A user may lack the right to ask.
        let (Ok(old), Ok(new)) = (self.old.link.rows(sql, &[]).await, self.new.link.rows(sql, &[]).await) else {
            return Ok(false);
        };
        Ok(identity(old)? == identity(new)?)
    }

    /// Why a table that is at the new server is not one to carry rows to.
    async fn unfit_table(&mut self, table: &str) -> Result<Vec<String>, DatabaseError> {
        let mut found = Vec::new();
        let sql = "SELECT c.relkind::text, pg_has_role(current_user, c.relowner, 'USAGE'), \
                   EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal) \
                   FROM pg_class AS c WHERE c.oid = to_regclass($1)";
        let rows = self.new.link.rows(sql, &[Bind::Text(Some(table))]).await?;
        let (kind, owned, triggers): (String, bool, bool) = match rows.first() {
            Some(row) => (column(row, 0)?, column(row, 1)?, column(row, 2)?),
            None => return Ok(found),
        };
        if kind != "r" {
            found.push(format!("{table} at the new server is no ordinary table"));
            return Ok(found);
        }
        if !owned {
            found.push(format!("{table} at the new server belongs to somebody else: connect as its owner"));
        }
        if triggers {
            found.push(format!("{table} at the new server has a trigger, which would change what is carried: drop it"));
        }
        if self.new.shape_of(table).await.ok().is_none_or(|there| there != self.old.shape) {
            found.push(format!("{table} at the new server has other columns than the old one"));
        }
        let rows =
            self.new.link.rows(&format!("SELECT count(*) FROM (SELECT FROM {table} LIMIT 1) AS one"), &[]).await?;
        if rows.first().map_or(Ok(0), |row| column::<i64>(row, 0))? > 0 {
            found.push(format!("{table} at the new server has rows: empty it, if nobody needs them"));
        }
        Ok(found)
    }

    pub(super) async fn plan(&mut self, living: &str) -> Result<Plan, DatabaseError> {
        let (made, noted) = ([self.old.side_tables(living), self.bridge_made(true)].concat(), self.old.noting());
        let made_at_new = self.at_new("...").await?;
        Ok(Plan { made, made_at_new, noted })
    }

    /// The fence comes last: where it is, the table is.
    async fn at_new(&mut self, id: &str) -> Result<Vec<String>, DatabaseError> {
        let (table, new, fence) =
            (self.new.names.table.clone(), self.new.names.new.clone(), self.new.names.fence.clone());
        let given = self.new.is_there(&table).await?;
        let mut made = if given {
            // Whoever is restarted too early finds no table, and not an empty one.
            vec![format!("ALTER TABLE {table} RENAME TO {}", self.new.names.plain_new())]
        } else {
            self.old.definition(&new).await?
        };
        made.extend(self.bridge_rights(&new));
        made.push(format!(
            "CREATE TABLE {fence} (move text NOT NULL, generation bigint NOT NULL, given boolean NOT NULL)"
        ));
        made.push(format!("INSERT INTO {fence} VALUES ({}, 0, {given})", literal(id)));
        Ok(made)
    }

    pub(super) async fn make(&mut self, living: &str) -> Result<(), DatabaseError> {
        if self.old.state_of_this_form().await?.is_some_and(|state| state.side != Side::Old) {
            return Ok(());
        }
        let obstacles = self.in_the_way(living).await?;
        if let Some(first) = obstacles.first() {
            return Err(invalid(format!("the table cannot be carried over: {first}")));
        }
        if self.old.is_new(living).await? {
            let made = [self.old.side_tables(living), self.bridge_made(false)].concat();
            self.old.link.transaction(&made).await?;
        }
        self.generation = None;
        self.make_at_new().await?;
        self.old.note().await
    }

    /// The tables at the new server are there before the trigger is, and before the first lease.
    async fn make_at_new(&mut self) -> Result<(), DatabaseError> {
        let fence = self.new.names.fence.clone();
        let rows = self.old.link.rows(&format!("SELECT move, side FROM {}", self.old.names.state), &[]).await?;
        let row = rows.first().ok_or_else(|| invalid("the move was ended by somebody else"))?;
        let (id, side): (String, String) = (column(row, 0)?, column(row, 1)?);
        if side == "old" && !self.new.is_there(&fence).await? {
            let made = self.at_new(&id).await?;
            self.new.link.transaction(&made).await?;
        }
        Ok(())
    }

    pub(super) async fn take_away(&mut self) -> Result<(), DatabaseError> {
        match self.old.state_of_this_form().await?.map(|state| state.side) {
            Some(Side::New) => return Err(invalid("the new table is open: there is no way back from it yet")),
            Some(Side::Neither) => {
                return Err(invalid("the cut is half made: complete it by `cut`, or break the seal by `back`"));
            }
            Some(Side::Old) => drop(self.old_lease_ends().await?),
            None => {}
        }
        let gone = self.undone_at_new().await?;
        self.new.link.transaction(&gone).await?;
        let mut taken = self.old.untriggered();
        taken.extend(self.old.taken_away());
        taken.extend(self.bridge_taken_away());
        self.old.link.patiently(&taken, PATIENCE).await
    }

    /// No copier may put any more, as far as there is a fence.
    async fn old_lease_ends(&mut self) -> Result<(), DatabaseError> {
        let fence = self.new.names.fence.clone();
        if self.new.is_there(&fence).await? { self.take(true).await.map(drop) } else { Ok(()) }
    }

    /// A table that was there before gets its name back, and is empty again.
    async fn undone_at_new(&mut self) -> Result<Vec<String>, DatabaseError> {
        let (new, fence, plain) = (self.new.names.new.clone(), self.new.names.fence.clone(), self.new.names.plain());
        if !self.new.is_there(&fence).await? {
            return Ok(Vec::new());
        }
        let rows = self.new.link.rows(&format!("SELECT given FROM {fence}"), &[]).await?;
        let given = rows.first().map_or(Ok(false), |row| column(row, 0))?;
        let mut gone = if given && self.new.is_there(&new).await? {
            vec![format!("TRUNCATE {new}"), format!("ALTER TABLE {new} RENAME TO {plain}")]
        } else {
            vec![format!("DROP TABLE IF EXISTS {new}")]
        };
        gone.push(format!("DROP TABLE {fence}"));
        Ok(gone)
    }

    /// The seal stays, so that a program that was forgotten fails in words.
    pub(super) async fn end(&mut self, drop_old: bool) -> Result<(), DatabaseError> {
        match self.old.state_of_this_form().await?.map(|state| state.side) {
            None => return Err(invalid("no move was begun")),
            Some(Side::New) => {}
            Some(_) => return Err(invalid("the cut was not made: make it, or abort")),
        }
        let mut taken = Vec::new();
        if self.bridge.is_some() {
            let users = self.bridge_users().await?;
            if users > 0 {
                return Err(invalid(format!(
                    "{users} sessions have used the bridge within the last minute: restart their applications with the \
                     new address first"
                )));
            }
            taken.extend(self.bridge_sealed());
        }
        self.new.link.simple(&format!("DROP TABLE IF EXISTS {}", self.new.names.fence)).await?;
        if drop_old {
            taken.push(format!("DROP TABLE IF EXISTS {}", self.old.names.old));
        }
        taken.extend(self.old.taken_away());
        self.old.link.patiently(&taken, PATIENCE).await
    }
}
