//! The address of a database or a cache, as an operator writes it. It is parsed here only, and never printed.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use switchover_core::Layout;
use switchover_core::capabilities::{Control, Database, DatabaseError};

/// The kind of database or cache that an address leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// `memory:`
    Memory,
    /// `sqlite:PATH`
    Sqlite,
    /// `postgres://…` or `postgresql://…`
    Postgres,
    /// `mysql://…` or `mariadb://…`
    MySql,
    /// `redis://…`, `rediss://…`, `redis+unix://…` and the same for Valkey.
    Redis,
}

/// The address of a database or a cache. It may hold a password: `Debug` prints only its kind, and nothing else prints
/// it.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    kind: Kind,
    text: String,
}

impl Address {
    /// Takes an address that an operator has written. The part after the scheme is checked when the database or the
    /// cache is opened.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Invalid`] if the text does not begin as an address of any kind. The error does not repeat the
    /// text.
    pub fn parse(text: &str) -> Result<Self, DatabaseError> {
        let scheme = text.split_once(':').map(|(scheme, rest)| (scheme, rest.starts_with("//")));
        let kind = match scheme {
            Some(("memory", false)) if text == "memory:" => Kind::Memory,
            Some(("sqlite", _)) => Kind::Sqlite,
            Some(("postgres" | "postgresql", true)) => Kind::Postgres,
            Some(("mysql" | "mariadb", true)) => Kind::MySql,
            Some(("redis" | "rediss" | "valkey" | "valkeys" | "redis+unix" | "valkey+unix" | "unix", _)) => Kind::Redis,
            _ => {
                let known = "`memory:`, `sqlite:PATH`, `postgres://…`, `mysql://…` and `redis://…`";
                return Err(DatabaseError::Invalid { message: format!("the address must be one of {known}") });
            }
        };
        Ok(Self { kind, text: text.to_owned() })
    }

    /// Opens a table that is to be built again within its database.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Invalid`] for another kind than PostgreSQL; otherwise as for
    /// [`Rebuild::open`](crate::moves::Rebuild::open).
    #[cfg(feature = "postgres")]
    pub async fn rebuild(&self, table: &switchover_core::Table) -> Result<crate::moves::Rebuild, DatabaseError> {
        crate::moves::Rebuild::open(self.of_postgres()?, table).await
    }

    /// Opens a table that is to be carried to another server. With a bridge, which is the new database as the old server
    /// reaches it, applications go on through the old one.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Invalid`] if either is of another kind than PostgreSQL; otherwise as for
    /// [`Transfer::open`](crate::moves::Transfer::open).
    #[cfg(feature = "postgres")]
    pub async fn transfer(
        &self,
        to: &Self,
        bridge: Option<&Self>,
        table: &switchover_core::Table,
    ) -> Result<crate::moves::Transfer, DatabaseError> {
        let bridge = bridge.map(Self::of_postgres).transpose()?;
        crate::moves::Transfer::open(self.of_postgres()?, to.of_postgres()?, bridge, table).await
    }

    #[cfg(feature = "postgres")]
    fn of_postgres(&self) -> Result<&str, DatabaseError> {
        if self.kind == Kind::Postgres {
            return Ok(&self.text);
        }
        let message = "a table is moved between databases of PostgreSQL alone: give addresses `postgres://…`";
        Err(DatabaseError::Invalid { message: message.to_owned() })
    }

    /// The kind of database or cache.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The file of an SQLite database; `None` for every other kind.
    pub fn path(&self) -> Option<&Path> {
        self.text.strip_prefix("sqlite:").map(Path::new)
    }

    /// Returns the same address, with a relative path resolved against `folder`.
    #[must_use]
    pub fn beside(self, folder: &Path) -> Self {
        match self.path() {
            Some(path) => Self { text: format!("sqlite:{}", folder.join(path).display()), ..self },
            None => self,
        }
    }

    /// Returns the address itself. Never let it into a log or an error: it may hold a password.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Opens the database at this address. `table` is the table's name as the operator writes it; `None` means the
    /// layout's default table. With `create`, the file of an SQLite database is made if it does not exist.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Invalid`] if the address is not that of a database, or of a kind that this program was built
    /// without. Otherwise the error of the database.
    pub async fn open(
        &self,
        table: Option<&str>,
        layout: Layout,
        create: bool,
    ) -> Result<Arc<dyn Database>, DatabaseError> {
        match self.kind {
            #[cfg(feature = "memory")]
            Kind::Memory => Ok(Arc::new(crate::MemoryDatabase::with_layout(layout))),
            #[cfg(feature = "sqlite")]
            Kind::Sqlite => {
                let path = self.path().unwrap_or(Path::new(""));
                let builder = crate::Sqlite::builder(path).layout(layout).create_if_missing(create);
                let builder = table.into_iter().fold(builder, crate::SqliteBuilder::table);
                Ok(Arc::new(builder.open().await?))
            }
            #[cfg(feature = "postgres")]
            Kind::Postgres => {
                let builder = crate::Postgres::builder(&self.text).layout(layout);
                Ok(Arc::new(table.into_iter().fold(builder, crate::ServerBuilder::table).connect().await?))
            }
            #[cfg(feature = "mysql")]
            Kind::MySql => {
                let builder = crate::MySql::builder(&self.text).layout(layout);
                Ok(Arc::new(table.into_iter().fold(builder, crate::ServerBuilder::table).connect().await?))
            }
            Kind::Redis => {
                Err(DatabaseError::Invalid { message: "Redis is a cache here, and no database of sessions".to_owned() })
            }
            #[cfg(not(all(feature = "memory", feature = "sqlite", feature = "postgres", feature = "mysql")))]
            kind => {
                let _of_other_kinds = (table, layout, create);
                Err(DatabaseError::Invalid { message: format!("this program was built without {kind:?}") })
            }
        }
    }
}

impl Address {
    /// The control tables of migrations at this address. Nothing is opened before they are first used; then the file of
    /// an SQLite database is made if it does not exist.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Invalid`] if the address is not that of a database, or of a kind that this program was built
    /// without.
    pub fn control(&self) -> Result<Arc<dyn Control>, DatabaseError> {
        match self.kind {
            #[cfg(feature = "memory")]
            Kind::Memory => Ok(Arc::new(crate::MemoryControl::new())),
            #[cfg(feature = "sqlite")]
            Kind::Sqlite => {
                let opener = crate::sqlite::SqliteControl::new(self.path().unwrap_or(Path::new("")));
                Ok(Arc::new(crate::control::SqlControl::new(opener)))
            }
            #[cfg(feature = "postgres")]
            Kind::Postgres => {
                let opener = crate::postgres::PostgresControl::new(&self.text)?;
                Ok(Arc::new(crate::control::SqlControl::new(opener)))
            }
            #[cfg(feature = "mysql")]
            Kind::MySql => {
                let opener = crate::mysql::MySqlControl::new(&self.text)?;
                Ok(Arc::new(crate::control::SqlControl::new(opener)))
            }
            Kind::Redis => {
                let message = "Redis cannot hold control tables: they need a database";
                Err(DatabaseError::Invalid { message: message.to_owned() })
            }
            #[cfg(not(all(feature = "memory", feature = "sqlite", feature = "postgres", feature = "mysql")))]
            kind => Err(DatabaseError::Invalid { message: format!("this program was built without {kind:?}") }),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({:?})", self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_is_read_from_the_scheme_and_nothing_is_repeated() {
        for (text, kind) in [
            ("memory:", Kind::Memory),
            ("sqlite:old.sqlite3", Kind::Sqlite),
            ("postgres://app:secret@db-1/app", Kind::Postgres),
            ("postgresql://db-1", Kind::Postgres),
            ("mysql://db-1/app", Kind::MySql),
            ("mariadb://db-1/app", Kind::MySql),
            ("redis://:secret@cache-1", Kind::Redis),
            ("valkey+unix:///run/valkey", Kind::Redis),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.kind(), kind, "{text}");
            assert!(!format!("{address:?}").contains("secret"));
        }
        for text in ["", "default", "memory:secret", "oracle://secret", "postgres:secret", "//secret"] {
            let error = Address::parse(text).unwrap_err();
            assert!(matches!(error, DatabaseError::Invalid { .. }) && !error.to_string().contains("secret"), "{text}");
        }
    }

    #[test]
    fn relative_path_counts_from_a_folder() {
        let beside = |text: &str| Address::parse(text).unwrap().beside(Path::new("/srv")).path().map(Path::to_owned);
        assert_eq!(beside("sqlite:old.sqlite3"), Some("/srv/old.sqlite3".into()));
        assert_eq!(beside("sqlite:/tmp/old.sqlite3"), Some("/tmp/old.sqlite3".into()));
        assert_eq!(beside("memory:"), None);
    }
}
