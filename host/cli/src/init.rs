//! `switchover init`: creates the session table where it belongs, and changes nothing that exists.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use switchover::backends::Sqlite;
use switchover::capabilities::Database as _;
use switchover::{BuildError, DatabaseName, Limits, Rejection, SwapError};

use crate::output::{Verdict, note, print};
use crate::place;

/// The Django application that the table belongs to, and its model.
const APP: &str = "sessions";
const MODEL: &str = "session";

/// The options of `init`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  switchover init new_session_store --list
  switchover init new_session_store
  switchover init sqlite:new.sqlite3

Asks the router of the configured policy first, as Django's `migrate` does; in a migration both of
its databases hold sessions, and nobody is asked. A Django project that shares the table then runs `manage.py migrate sessions --fake-initial --database=ALIAS`.")]
pub(crate) struct Options {
    /// An alias of the configuration, or an address such as sqlite:PATH
    database: String,
    /// List the statements, and run none
    #[arg(long)]
    list: bool,
    /// The configuration
    #[arg(long, default_value = place::CONFIG)]
    config: PathBuf,
}

/// Lists what is missing, and creates it.
pub(crate) async fn run(options: Options) -> Result<Verdict> {
    if !place::is_address(&options.database) {
        ask_the_router(&options).await?;
    }
    if let Some(path) = options.database.strip_prefix("sqlite:")
        && options.list
        && !std::path::Path::new(path).exists()
    {
        print(format_args!("the file {path} does not exist: `init` would create it, and would run"))?;
        let scratch = tempfile::tempdir()?;
        let scratch = Sqlite::builder(scratch.path().join("scratch.sqlite3")).create_if_missing(true).open().await?;
        for statement in scratch.upkeep().missing_schema(Instant::now() + Limits::default().write_deadline).await? {
            print(format_args!("  {statement}"))?;
        }
        scratch.close().await;
        return Ok(Verdict::Fine);
    }
    let database = place::open(&options.database, &options.config, true).await?;
    let deadline = || Instant::now() + Limits::default().write_deadline;
    let missing = database.upkeep().missing_schema(deadline()).await.with_context(|| database.summary())?;
    if missing.is_empty() {
        print(format_args!("{}: everything is there, nothing to do", database.summary()))?;
    } else {
        print(format_args!("{}: {}", database.summary(), if options.list { "would run" } else { "runs" }))?;
        for statement in &missing {
            print(format_args!("  {statement}"))?;
        }
        if !options.list {
            let done = database.upkeep().create_schema(deadline()).await.with_context(|| database.summary())?;
            print(format_args!("done: {} of {} statements were needed", done.len(), missing.len()))?;
        }
    }
    database.close().await;
    Ok(Verdict::Fine)
}

async fn ask_the_router(options: &Options) -> Result<()> {
    let name = DatabaseName::parse(&options.database)?;
    let config = place::read_config(&options.config)?;
    if !config.database_names().contains(&options.database) {
        // The error of `place::open` lists the databases that exist.
        return place::open(&options.database, &options.config, false).await.map(drop);
    }
    if let Some(both) = config.migrates_between() {
        if !both.contains(&options.database.as_str()) {
            bail!("the configured migration is between `{}` and `{}`: give one of these", both[0], both[1]);
        }
        // The control document names the policy, and may not be there yet. Both databases hold sessions.
        return Ok(());
    }
    let switchover = match config.builder().await?.build().await {
        // The new table may be the one that is to be made, and gets further columns after that.
        Err(BuildError::Policy(SwapError::Rejected { kind: Rejection::Layout, message })) => {
            note(format_args!("the policy cannot run yet, so its router was not asked: {message}"));
            return Ok(());
        }
        built => built?,
    };
    let allowed = switchover.router().allow_migrate(&name, APP, Some(MODEL)).await;
    let policy = switchover.policy().version;
    switchover.close().await;
    if !allowed? {
        bail!(
            "the router of policy {policy} does not let tables of `{APP}` into `{name}`: \
             give the database that it sends them to, or change its settings or flags"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(database: &str, config: PathBuf, list: bool) -> Options {
        Options { database: database.to_owned(), list, config }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_listed_is_not_done_and_what_is_done_is_done_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new.sqlite3");
        let address = format!("sqlite:{}", path.display());
        let none = dir.path().join("none.toml");
        assert_eq!(run(options(&address, none.clone(), true)).await.unwrap(), Verdict::Fine);
        assert!(!path.exists(), "`--list` created the file");
        for _ in 0..2 {
            assert_eq!(run(options(&address, none.clone(), false)).await.unwrap(), Verdict::Fine);
        }
        let database = place::open(&address, &none, false).await.unwrap();
        assert!(
            database
                .upkeep()
                .missing_schema(Instant::now() + Limits::default().read_deadline)
                .await
                .unwrap()
                .is_empty()
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn router_decides_where_the_table_belongs() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("switchover.toml");
        let text = r#"
            [policy]
            builtin = "fallback"
            [databases.default]
            address = "sqlite:old.sqlite3"
            create = true
            [databases.new_session_store]
            address = "sqlite:new.sqlite3"
            create = true
            [flags]
            values = { new_db_router_flag = true }
        "#;
        std::fs::write(&config, text).unwrap();
        let refused = run(options("default", config.clone(), false)).await.unwrap_err().to_string();
        assert!(refused.contains("does not let tables of `sessions` into `default`"), "{refused}");
        assert_eq!(run(options("new_session_store", config.clone(), false)).await.unwrap(), Verdict::Fine);
        let unknown = run(options("elsewhere", config, false)).await.unwrap_err().to_string();
        assert!(unknown.contains("it has default, new_session_store"), "{unknown}");
    }
}
