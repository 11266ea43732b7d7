//! Where a write goes, and with which promises: `wit/databases.wit`.

/// What is promised of a mirror when a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guarantee {
    /// Written together with home or not at all.
    Strict,
    /// Home is committed with a durable mark; the host carries the write over until the mark is gone.
    Marked,
    /// Tried once; a failure is counted and forgotten. Invalid for a delete.
    BestEffort,
}

/// What a mirror is brought to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MirrorAction {
    /// Home's row after the write.
    Copy,
    /// No row.
    Remove,
}

/// Another database that a write is carried to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mirror {
    /// Where to.
    pub database: String,
    /// With which promise.
    pub guarantee: Guarantee,
    /// What the mirror is brought to.
    pub action: MirrorAction,
}

/// Where a write goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The database that decides the outcome.
    pub home: String,
    /// The database where the key is locked while the write is made; `None`: home. Of a copy, `None`: its source.
    pub lock: Option<String>,
    /// The databases that the write is carried to, in this order.
    pub mirrors: Vec<Mirror>,
}

impl Target {
    /// Home alone, without mirrors.
    pub fn home(database: impl Into<String>) -> Self {
        Self { home: database.into(), lock: None, mirrors: Vec::new() }
    }

    /// Adds a mirror that is brought to home's row.
    pub fn copy_to(mut self, database: impl Into<String>, guarantee: Guarantee) -> Self {
        self.mirrors.push(Mirror { database: database.into(), guarantee, action: MirrorAction::Copy });
        self
    }

    /// Adds a mirror whose row is removed.
    pub fn remove_from(mut self, database: impl Into<String>, guarantee: Guarantee) -> Self {
        self.mirrors.push(Mirror { database: database.into(), guarantee, action: MirrorAction::Remove });
        self
    }
}
