//! Opens a database by the operator's name for it: an alias of the configuration, or an address.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use switchover::backends::{Address, Kind};
use switchover::capabilities::Database;
use switchover::migration::tool_deadline;
use switchover::{Config, DatabaseName, Layout, Limits};

/// The configuration that is read if no other is given.
pub(crate) const CONFIG: &str = "switchover.toml";
const SQLITE: &str = "sqlite:";

/// Opens the database `name`. `create`: creates the file of an address if it does not exist.
pub(crate) async fn open(name: &str, config: &Path, create: bool) -> Result<Arc<dyn Database>> {
    if is_address(name) {
        return open_address(name, config, create).await;
    }
    // It is not an alias either. It may be an address without its scheme.
    DatabaseName::parse(name)
        .with_context(|| format!("this is neither an address such as `{SQLITE}PATH` nor an alias"))?;
    let config_file = read_config(config)?;
    match config_file.open_database(name).await? {
        Some(database) => Ok(database),
        None => bail!(
            "{} has no database `{name:.64}`; it has {}; or give an address such as `{SQLITE}PATH`",
            config.display(),
            config_file.database_names().join(", "),
        ),
    }
}

async fn open_address(text: &str, config: &Path, create: bool) -> Result<Arc<dyn Database>> {
    // No message repeats the address or its error, because it may hold a password.
    let address = Address::parse(text).ok().filter(|address| !matches!(address.kind(), Kind::Memory | Kind::Redis));
    let Some(address) = address else {
        bail!(
            "an address begins with `{SQLITE}`, `postgres://` or `mysql://`: give one of those, or an alias of {}",
            config.display()
        );
    };
    if let Some(path) = address.path()
        && !create
        && !path.exists()
    {
        let path = shown_path(path);
        bail!(
            "there is no file {path}: check the path, or create it and its table with `switchover init {SQLITE}{path}`"
        );
    }
    address.open(None, Layout::DJANGO, create).await.context("cannot open the database of this address")
}

/// The limits of the configuration, or the defaults without one. A tool must wait as long as the hosts may write.
pub(crate) fn limits(config: &Path) -> Result<Limits> {
    if config.exists() { Ok(Config::read(config)?.limits()) } else { Ok(Limits::default()) }
}

/// Refuses two names for one table.
pub(crate) async fn ensure_distinct(old: &dyn Database, new: &dyn Database, limits: &Limits) -> Result<()> {
    let identity = async |database: &dyn Database| {
        database.upkeep().identity(tool_deadline(limits.read_deadline)).await.with_context(|| database.summary())
    };
    let is_same = match (identity(old).await?, identity(new).await?) {
        (Some(old), Some(new)) => old == new,
        // A table that does not exist, or a database that does not know what it is.
        _ => old.summary() == new.summary(),
    };
    ensure!(!is_same, "OLD and NEW are the same table: {}", old.summary());
    Ok(())
}

/// Refuses tables with columns that the tools do not look at, and with columns of other types.
pub(crate) async fn ensure_readable(database: &dyn Database, limits: &Limits) -> Result<()> {
    database
        .upkeep()
        .missing_schema(tool_deadline(limits.read_deadline))
        .await
        .map(drop)
        .with_context(|| database.summary())
}

/// The printed name of a database. The address of a server may hold a password.
pub(crate) fn shown(name: &str) -> &str {
    if name.contains("://") { "DATABASE" } else { name }
}

/// The printed form of a path that does not exist. It may be the address of a server in the wrong place.
pub(crate) fn shown_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.contains("://") || text.contains('@') { "(not shown)".to_owned() } else { text.into_owned() }
}

/// Whether `name` is an address. Then no configuration is needed.
pub(crate) fn is_address(name: &str) -> bool {
    name.contains(':')
}

/// Reads the configuration.
pub(crate) fn read_config(path: &Path) -> Result<Config> {
    if !path.exists() {
        bail!(
            "there is no configuration {}: give another with --config, or an address such as `{SQLITE}PATH`",
            shown_path(path)
        );
    }
    Ok(Config::read(path)?)
}
