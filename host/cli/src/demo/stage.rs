//! Where the demo plays: a table of its own in each of two databases, and a cache.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use switchover::backends::{MemoryCache, MySql, Postgres, Redis, Sqlite};
use switchover::capabilities::{Clock, Database, SystemClock};
use switchover::{Builder, Limits};
use switchover_workload::patience::patiently;
use switchover_workload::table::{Place, Table};

use crate::demo::Options;
use crate::output::note;

/// The files of a demo that was given no databases.
const FILES: [&str; 2] = ["old.sqlite3", "new.sqlite3"];
/// The table's name in files of the demo's own.
const OWN_TABLE: &str = "django_session";
/// What the names of tables and of entries of a cache begin with, where others have theirs.
const PREFIX: &str = "switchover_demo_";
/// How far the clock of a server may be from this machine's: an expiry is judged by both.
const CLOCK_OFFSET_MAX: Duration = Duration::from_millis(50);

/// One of the two databases.
pub(crate) struct Side {
    /// For plain SQL.
    pub(crate) table: Table,
    /// For Switchover.
    pub(crate) database: Arc<dyn Database>,
    /// Whether it is a file that was made for this demo.
    own: bool,
}

/// Where the demo plays.
pub(crate) struct Stage {
    pub(crate) old: Side,
    pub(crate) new: Side,
    cache: Option<Redis>,
    prefix: String,
}

impl Stage {
    /// Opens both databases and the cache. Writes nothing, but makes files that are not there.
    pub(crate) async fn open(options: &Options, dir: &Path) -> Result<Self> {
        let prefix = format!("{PREFIX}{:08x}", fastrand::u32(..));
        // First, since it makes nothing: a wrong address leaves no empty files behind.
        let cache = match options.cache.as_str() {
            "memory:" => None,
            address => {
                let cache = Redis::builder(address).prefix(format!("{prefix}:")).connect().await;
                Some(cache.context("--cache cannot be used; it is `memory:` or `redis://HOST:PORT`")?)
            }
        };
        let [old, new] = [("old", &options.old, FILES[0]), ("new", &options.new, FILES[1])];
        let open = async |(option, address, file): (&str, &Option<String>, &str)| match address {
            Some(address) => Side::open(address, &format!("{prefix}_{option}"))
                .await
                .with_context(|| format!("--{option} cannot be used")),
            None => Side::open_file(dir.join(file), OWN_TABLE, true).await,
        };
        let (old, new) = (open(old).await?, open(new).await?);
        if let (Place::Sqlite(old), Place::Sqlite(new)) = (&old.table.place, &new.table.place) {
            let same = std::fs::canonicalize(old)? == std::fs::canonicalize(new)?;
            ensure!(!same, "--old and --new are the same file, which has one writer: give two files");
        }
        Ok(Self { old, new, cache, prefix })
    }

    /// Makes the two tables.
    pub(crate) async fn set(&self) -> Result<()> {
        for side in [&self.old, &self.new] {
            side.check_clock().await?;
            side.make_table().await?;
        }
        if self.cache.is_some() {
            note(format_args!(
                "names in the cache begin with `{}:`; entries end within a minute by themselves",
                self.prefix
            ));
        }
        Ok(())
    }

    /// A host with the cache.
    pub(crate) fn host(&self, builder: Builder) -> Builder {
        match &self.cache {
            Some(cache) => builder.cache(cache.clone()),
            None => builder.cache(MemoryCache::default()),
        }
    }

    /// For people: where sessions go from and to.
    pub(crate) fn title(&self) -> &'static str {
        if self.old.own && self.new.own {
            "two files, and sessions as Django wrote them"
        } else {
            "two tables, and sessions as Django wrote them"
        }
    }

    /// Removes the tables that others would find, or says how.
    pub(crate) async fn strike(&self, all_went_well: bool) -> Result<()> {
        for side in [&self.old, &self.new].into_iter().filter(|side| !side.own) {
            let summary = side.database.summary();
            if all_went_well {
                let removed = patiently("a table cannot be removed", async || side.table.remove().await).await;
                removed.with_context(|| format!("{summary}: remove it by `{}`", side.table.removal()))?;
            } else {
                note(format_args!("kept: {summary}; remove it by `{}`", side.table.removal()));
            }
        }
        Ok(())
    }
}

impl Side {
    async fn open(address: &str, table: &str) -> Result<Self> {
        if let Some(path) = address.strip_prefix("sqlite:") {
            return Self::open_file(PathBuf::from(path), table, false).await;
        }
        let (place, server) = match address.split_once("://").map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => (Place::Postgres(address.to_owned()), Postgres::builder(address)),
            Some("mysql" | "mariadb") => (Place::MySql(address.to_owned()), MySql::builder(address)),
            // It may hold a password, so it is not repeated.
            _ => bail!("the addresses of this version are `sqlite:PATH`, `postgres://...` and `mysql://...`"),
        };
        let server = server.table(table).application_name("switchover demo").connect().await?;
        Ok(Self { table: Table { place, name: table.to_owned() }, database: Arc::new(server), own: false })
    }

    async fn open_file(path: PathBuf, table: &str, own: bool) -> Result<Self> {
        let file = Sqlite::builder(&path).table(table).create_if_missing(true).open().await?;
        let table = Table { place: Place::Sqlite(path), name: table.to_owned() };
        Ok(Self { table, database: Arc::new(file), own })
    }

    /// The server decides what has expired, and the audit compares that with this machine's time.
    async fn check_clock(&self) -> Result<()> {
        let (offset, uncertain) = self.table.clock_offset(|| SystemClock.now().as_micros()).await?;
        let off = Duration::from_micros(offset.unsigned_abs().saturating_sub(uncertain));
        ensure!(
            off <= CLOCK_OFFSET_MAX,
            "{}: its clock is {:.3} s away from this machine's, and the audit could not tell what may have expired; \
             let both follow one time server, to within {} ms",
            self.database.summary(),
            offset as f64 / 1e6,
            CLOCK_OFFSET_MAX.as_millis()
        );
        Ok(())
    }

    async fn make_table(&self) -> Result<()> {
        let summary = self.database.summary();
        // By its name nobody else's: but what is there is not the demo's to write.
        ensure!(!self.table.exists().await?, "{summary}: this table is there already");
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

/// A folder of one's own must not hold a demo's files yet: nothing that is there is written over.
pub(crate) fn prepare(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    for name in FILES {
        let path = dir.join(name);
        ensure!(!path.exists(), "{} is there already: remove it, or take another --dir", path.display());
    }
    Ok(())
}
