//! The stage of the demo: its own table in each of two databases, and a cache.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use switchover::backends::{Address, Kind, MemoryCache, MySql, Postgres, Redis, Sqlite};
use switchover::capabilities::{Clock, Control, Database, SystemClock};
use switchover::{Builder, Layout, Limits};
use switchover_workload::patience::patiently;
use switchover_workload::table::{Place, Table};
use tempfile::TempDir;

use crate::demo::Options;
use crate::output::note;

/// The files of a demo without given databases.
const FILES: [&str; 2] = ["old.sqlite3", "new.sqlite3"];
/// The prefix of tables and of cache entries in places that others use too.
const PREFIX: &str = "switchover_demo_";
/// How far the clock of a server may be from this machine's clock, because both judge an expiry.
const CLOCK_OFFSET_MAX: Duration = Duration::from_millis(50);

/// One of the two databases.
pub(crate) struct Side {
    /// The table, for plain SQL.
    pub(crate) table: Table,
    /// The database, for Switchover.
    pub(crate) database: Arc<dyn Database>,
    /// Whether it is a file of this demo alone.
    own: bool,
    /// Whether there were no side tables of migrations beside the table.
    is_bare: OnceLock<bool>,
}

/// The databases and the cache of a demo.
pub(crate) struct Stage {
    pub(crate) old: Side,
    pub(crate) new: Side,
    cache: Option<Redis>,
    /// The cache without Redis, shared by the hosts as Redis is.
    memory: MemoryCache,
    prefix: String,
    /// A folder for the control tables.
    control: TempDir,
}

impl Stage {
    /// Opens both databases and the cache. Writes nothing, but creates files that do not exist.
    pub(crate) async fn open(options: &Options, dir: &Path) -> Result<Self> {
        let prefix = format!("{PREFIX}{:08x}", fastrand::u32(..));
        // The cache comes first, because this creates nothing: a wrong address must leave no empty files behind.
        let cache = match options.cache.as_str() {
            "memory:" => None,
            address => {
                let cache = Redis::builder(address).prefix(format!("{prefix}:")).connect().await;
                Some(cache.context("--cache cannot be used; it is `memory:` or `redis://HOST:PORT`")?)
            }
        };
        let old = ("old", &options.old, FILES[0], options.old_layout);
        let new = ("new", &options.new, FILES[1], options.new_layout);
        options.old_layout.carried_by(&options.new_layout)?;
        let open = async |(option, address, file, layout): (&str, &Option<String>, &str, Layout)| match address {
            Some(address) => Side::open(address, format!("{prefix}_{option}"), layout)
                .await
                .with_context(|| format!("--{option} cannot be used")),
            None => Side::open_file(dir.join(file), layout.default_table(), layout, true).await,
        };
        let (old, new) = (open(old).await?, open(new).await?);
        if let (Place::Sqlite(old), Place::Sqlite(new)) = (&old.table.place, &new.table.place) {
            let same = std::fs::canonicalize(old)? == std::fs::canonicalize(new)?;
            ensure!(!same, "--old and --new are the same file, which has one writer: give two files");
        }
        let control = tempfile::Builder::new().prefix("switchover-demo-control-").tempdir()?;
        Ok(Self { old, new, cache, memory: MemoryCache::default(), prefix, control })
    }

    /// Creates the two tables.
    pub(crate) async fn set(&self) -> Result<()> {
        for side in [&self.old, &self.new] {
            side.check_clock().await?;
            side.make_table().await?;
        }
        if self.cache.is_some() {
            note(format_args!("names in the cache begin with `{}:`; the entries expire within a minute", self.prefix));
        }
        Ok(())
    }

    /// Gives the cache to the builder of a host.
    pub(crate) fn host(&self, builder: Builder) -> Builder {
        match &self.cache {
            Some(cache) => builder.cache(cache.clone()),
            None => builder.cache(self.memory.clone()),
        }
    }

    /// The control tables, in a file of the demo's own.
    pub(crate) fn control(&self) -> Result<Arc<dyn Control>> {
        let file = self.control.path().join("control.sqlite3");
        Ok(Address::parse(&format!("sqlite:{}", file.display()))?.control()?)
    }

    /// The name of the demo's migration. Notes what it finds, so that the demo can remove what it has made.
    pub(crate) async fn migration(&self) -> Result<String> {
        for side in [&self.old, &self.new] {
            let side_tables = side.database.side_tables().context("the demo's databases have side tables")?;
            let missing = side_tables.missing(Instant::now() + Limits::default().write_deadline).await;
            let missing = missing.with_context(|| side.database.summary())?;
            let makes = |table| missing.iter().any(|statement| statement.contains(table));
            side.is_bare.get_or_init(|| makes("switchover_fence") && makes("switchover_key"));
        }
        Ok(self.prefix.clone())
    }

    /// The title of the first step.
    pub(crate) fn title(&self) -> &'static str {
        if self.old.own && self.new.own {
            "two files, with Django's sessions"
        } else {
            "two tables, with Django's sessions"
        }
    }

    /// Removes the tables from databases that others use, or says how to remove them.
    pub(crate) async fn strike(&self, all_went_well: bool) -> Result<()> {
        for side in [&self.old, &self.new].into_iter().filter(|side| !side.own) {
            let summary = side.database.summary();
            if all_went_well {
                let removed = patiently("a table cannot be removed", async || {
                    if let Some(is_bare) = side.is_bare.get() {
                        side.table.forget(&self.prefix, *is_bare).await?;
                    }
                    side.table.remove().await
                });
                let removed = removed.await;
                removed.with_context(|| format!("{summary}: remove it with `{}`", side.table.removal()))?;
            } else {
                note(format_args!("kept: {summary}; remove it with `{}`", side.table.removal()));
            }
        }
        Ok(())
    }
}

impl Side {
    async fn open(address: &str, name: String, layout: Layout) -> Result<Self> {
        let located = Address::parse(address).ok();
        let kind = located.as_ref().map(Address::kind);
        if let Some(path) = located.as_ref().and_then(Address::path) {
            return Self::open_file(path.to_owned(), &name, layout, false).await;
        }
        let (place, name) = match kind {
            // In a schema of its own, which holds whatever a migration makes beside the table.
            Some(Kind::Postgres) => (Place::Postgres(address.to_owned()), format!("{name}.{}", layout.default_table())),
            Some(Kind::MySql) => (Place::MySql(address.to_owned()), name),
            // The address may hold a password, so the message does not repeat it.
            _ => bail!("the addresses of this version are `sqlite:PATH`, `postgres://...` and `mysql://...`"),
        };
        let table = Table { place, name, layout };
        Ok(Self { database: open(&table).await?, table, own: false, is_bare: OnceLock::new() })
    }

    async fn open_file(path: PathBuf, table: &str, layout: Layout, own: bool) -> Result<Self> {
        let table = Table { place: Place::Sqlite(path), name: table.to_owned(), layout };
        Ok(Self { database: open(&table).await?, table, own, is_bare: OnceLock::new() })
    }

    /// Checks the clock: the server decides what has expired, and the audit judges that by this machine's time.
    async fn check_clock(&self) -> Result<()> {
        let (offset, uncertain) = self.table.clock_offset(|| SystemClock.now().as_micros()).await?;
        let off = Duration::from_micros(offset.unsigned_abs().saturating_sub(uncertain));
        ensure!(
            off <= CLOCK_OFFSET_MAX,
            "{}: its clock is {:.3} s away from this machine's, so the audit could not judge what may have expired; \
             let both follow one time server, to within {} ms",
            self.database.summary(),
            offset as f64 / 1e6,
            CLOCK_OFFSET_MAX.as_millis()
        );
        Ok(())
    }

    async fn make_table(&self) -> Result<()> {
        let summary = self.database.summary();
        // The name makes a clash unlikely, but the demo must not write an existing table.
        ensure!(!self.table.exists().await?, "{summary}: this table already exists");
        self.table.make_schema().await.with_context(|| format!("{summary}: cannot create a schema for the table"))?;
        let deadline = Instant::now() + Limits::default().write_deadline;
        self.database
            .upkeep()
            .create_schema(deadline)
            .await
            .with_context(|| format!("{summary}: cannot create the table"))?;
        if !self.own {
            note(format_args!("made for this demo alone: {summary}"));
        }
        Ok(())
    }
}

/// A database of its own connections.
pub(crate) async fn open(Table { place, name, layout }: &Table) -> Result<Arc<dyn Database>> {
    let server = match place {
        Place::Sqlite(path) => {
            let file = Sqlite::builder(path).table(name).layout(*layout).create_if_missing(true).open().await?;
            return Ok(Arc::new(file));
        }
        Place::Postgres(address) => Postgres::builder(address),
        Place::MySql(address) => MySql::builder(address),
    };
    Ok(Arc::new(server.table(name).layout(*layout).application_name("switchover demo").connect().await?))
}

/// Creates the folder of `--dir`. Refuses a folder that already holds a demo's files: nothing is overwritten.
pub(crate) fn prepare(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create the folder {}", dir.display()))?;
    for name in FILES {
        let path = dir.join(name);
        ensure!(!path.exists(), "{} already exists: remove it, or give another --dir", path.display());
    }
    Ok(())
}
