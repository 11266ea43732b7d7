//! A host from `switchover.toml`.
//!
//! ```toml
//! [policy]
//! builtin = "fallback"              # or file = "policy.wasm"
//! grant_payload = false
//! settings = { old = "default", new = "new_session_store" }
//!
//! [databases.default]
//! address = "sqlite:old.sqlite3"    # relative to the folder of this file
//! layout = "django"                 # or "switchover": keys of up to 255 bytes, payloads of any bytes
//! table = "django_session"          # or SCHEMA.NAME; without it, the layout's own
//! create = true                     # make the file if it is missing
//!
//! [databases.new_session_store]
//! address = "postgres://app:secret@db-2:5432/app?sslmode=verify-full"
//!
//! [cache]
//! address = "memory:"               # or redis://, rediss://, redis+unix://
//! size_mib = 64
//!
//! [flags]
//! file = "flags.toml"               # or values = { migration_flag = false }, or address = "redis://flags-1:6379/0"
//! insist = false                    # true: flags come into force even if the policy fails its trial under them
//!
//! [migration]                       # then without [policy] and [flags]: the control document names them
//! name = "to-new"
//! host = "web-1"                    # its own in the fleet; or in the environment, as SWITCHOVER_HOST
//! control = "postgres://..."        # the database of the control tables
//! old = "default"
//! new = "new_session_store"
//! policies = "policies"             # a folder with NAME.wasm for each further policy
//! jobs = true                       # take part in copies, backfill, verification and seals
//! # They rest while the file is there, while more statements run on a server, while a replica is further behind.
//! brakes = { file = "rest", active_max = 50, behind_max_mib = 64 }
//! cache_rule = "deletes"            # or "writes", "bound": which writes wait while the cache cannot be told of them
//!
//! [limits]
//! calls_in_flight_max = 1024
//! write_deadline_ms = 2000
//! ```

mod migration;
mod servers;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use switchover_backends::{Address, FixedFlags, FlagFile, Kind, MemoryCache};
use switchover_core::capabilities::Database;
use switchover_core::{DatabaseName, Layout, Table};
use switchover_runtime::{Builtin, Limits, Policy};
use toml::Spanned;

use self::migration::MigrationTable;
use crate::host::{Builder, Switchover};

/// The contents of `switchover.toml`. Unknown fields are refused.
pub struct Config {
    path: PathBuf,
    text: String,
    file: ConfigFile,
}

/// Leaves out the text, which may contain passwords.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("path", &self.path).field("file", &self.file).finish_non_exhaustive()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    #[serde(default)]
    policy: PolicyTable,
    databases: BTreeMap<Spanned<String>, DatabaseTable>,
    cache: Option<CacheTable>,
    flags: Option<Spanned<FlagsTable>>,
    migration: Option<Spanned<MigrationTable>>,
    #[serde(default)]
    limits: LimitsTable,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyTable {
    builtin: Option<Spanned<String>>,
    file: Option<Spanned<PathBuf>>,
    #[serde(default)]
    grant_payload: bool,
    #[serde(default)]
    settings: BTreeMap<String, String>,
}

/// Leaves out the values of settings: one may be a secret of the operator.
impl fmt::Debug for PolicyTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyTable").field("settings", &self.settings.keys()).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DatabaseTable {
    address: Spanned<String>,
    table: Option<Spanned<String>>,
    layout: Option<Spanned<String>>,
    #[serde(default)]
    create: bool,
}

/// Leaves out the address, which may contain a password.
impl fmt::Debug for DatabaseTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseTable").field("create", &self.create).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CacheTable {
    address: Spanned<String>,
    size_mib: Option<u32>,
    prefix: Option<String>,
    ca_file: Option<PathBuf>,
    response_timeout_ms: Option<u64>,
}

/// Leaves out the address, which may contain a password.
impl fmt::Debug for CacheTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheTable").field("size_mib", &self.size_mib).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlagsTable {
    file: Option<PathBuf>,
    values: Option<BTreeMap<String, FlagValue>>,
    address: Option<Spanned<String>>,
    hash: Option<String>,
    poll_ms: Option<u64>,
    ca_file: Option<PathBuf>,
    #[serde(default)]
    insist: bool,
}

/// Leaves out the address, which may contain a password.
impl fmt::Debug for FlagsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlagsTable").field("values", &self.values.as_ref().map(BTreeMap::len)).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FlagValue {
    Switch(bool),
    Text(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    calls_in_flight_max: Option<usize>,
    calls_waiting_max: Option<usize>,
    admission_wait_ms: Option<u64>,
    call_wall_time_ms: Option<u64>,
    call_cpu_time_ms: Option<u64>,
    host_calls_max: Option<u32>,
    read_deadline_ms: Option<u64>,
    write_deadline_ms: Option<u64>,
    cache_deadline_ms: Option<u64>,
    cache_max_age_ms: Option<u64>,
    payload_bytes_max: Option<usize>,
    drain_wait_ms: Option<u64>,
    repair_patience_ms: Option<u64>,
    warm_instances: Option<usize>,
}

impl Config {
    /// Reads a configuration. Nothing is opened yet.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the file, the line and the field.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        let path = path.into();
        let text = std::fs::read_to_string(&path).map_err(|error| ConfigError {
            message: format!(
                "cannot read {}: {error}; docs/configuration.md of Switchover has every field",
                path.display()
            ),
        })?;
        match toml::from_str(&text) {
            Ok(file) => {
                let config = Self { path, text, file };
                config.check().map(|()| config)
            }
            Err(error) => {
                let line = error.span().map(|span| line_of(&text, span.start));
                Err(ConfigError::at(&path, line, &without_values(error.message())))
            }
        }
    }

    /// The limits. A limit that the file does not set has its default.
    pub fn limits(&self) -> Limits {
        self.file.limits.limits()
    }

    /// Checks that aliases are words, and that no path is an address. An address may contain a password, and errors and
    /// summaries show aliases and paths.
    fn check(&self) -> Result<(), ConfigError> {
        for alias in self.file.databases.keys() {
            if let Err(error) = DatabaseName::parse(alias.get_ref()) {
                return Err(self.at(alias, &format!("databases: {error}")));
            }
        }
        let flags = self.file.flags.as_ref().map(Spanned::get_ref);
        let paths = [
            ("policy.file", self.file.policy.file.as_ref().map(Spanned::get_ref)),
            ("cache.ca_file", self.file.cache.as_ref().and_then(|cache| cache.ca_file.as_ref())),
            ("flags.file", flags.and_then(|flags| flags.file.as_ref())),
            ("flags.ca_file", flags.and_then(|flags| flags.ca_file.as_ref())),
        ];
        match paths.into_iter().find(|(_, path)| path.is_some_and(|path| path.to_string_lossy().contains("://"))) {
            Some((field, _)) => {
                let message = format!("{field}: the path of a file is wanted, and this is the address of a server");
                Err(ConfigError::at(&self.path, None, &message))
            }
            None => Ok(()),
        }
    }

    /// The aliases of the databases.
    pub fn database_names(&self) -> Vec<String> {
        self.file.databases.keys().map(|name| name.get_ref().clone()).collect()
    }

    /// Opens one database. `None` if no database has this alias.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the line, and says why the database cannot be opened.
    pub async fn open_database(&self, name: &str) -> Result<Option<Arc<dyn Database>>, ConfigError> {
        let found = self.file.databases.iter().find(|(known, _)| known.get_ref() == name);
        match found {
            Some((_, table)) => Ok(Some(self.open(name, table).await?)),
            None => Ok(None),
        }
    }

    /// A builder with everything from the configuration, with its databases opened. It can be built at once, or
    /// extended.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the line, and says what is wrong there.
    pub async fn builder(&self) -> Result<Builder, ConfigError> {
        let builder = Switchover::builder().limits(self.file.limits.limits());
        let mut builder = match &self.file.migration {
            Some(table) => self.with_migration(builder, table)?,
            None => builder.policy(self.policy()?),
        };
        for (name, table) in &self.file.databases {
            builder = builder.database(name.get_ref(), self.open(name.get_ref(), table).await?);
        }
        if let Some(cache) = &self.file.cache {
            builder = self.cache(builder, cache).await?;
        }
        match &self.file.flags {
            Some(table) => Ok(self.flags(builder, table).await?),
            None => Ok(builder),
        }
    }

    /// The policy, for [`Switchover::swap_policy`] for example. In a migration the control document names another one.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the line, and says what is wrong there.
    pub fn policy(&self) -> Result<Policy, ConfigError> {
        let table = &self.file.policy;
        let policy = match (&table.builtin, &table.file) {
            (Some(_), Some(file)) => {
                return Err(self.at(file, "policy: give either `builtin` or `file`, not both"));
            }
            (None, Some(file)) => Policy::file(self.beside(file.get_ref())),
            (Some(name), None) => {
                let known = Builtin::ALL.into_iter().find(|builtin| builtin.name() == name.get_ref());
                let names: Vec<_> = Builtin::ALL.into_iter().map(Builtin::name).collect();
                Policy::builtin(known.ok_or_else(|| {
                    self.at(
                        name,
                        &format!("policy.builtin: the policies that come with Switchover: {}", names.join(", ")),
                    )
                })?)
            }
            (None, None) => Policy::builtin(Builtin::CachedDb),
        };
        let policy = table.settings.iter().fold(policy, |policy, (name, value)| policy.setting(name, value));
        Ok(if table.grant_payload { policy.grant_payload() } else { policy })
    }

    async fn open(&self, name: &str, table: &DatabaseTable) -> Result<Arc<dyn Database>, ConfigError> {
        let wrong = |message: String| self.at(&table.address, &format!("databases.{name}.{message}"));
        let known =
            "`sqlite:PATH`, `memory:`, `postgres://...` and `mysql://...`, each if this program was built with it";
        let address = Address::parse(table.address.get_ref());
        let address = address.ok().filter(|address| address.kind() != Kind::Redis);
        let address = address.ok_or_else(|| wrong(format!("address: what there is: {known}")))?;
        let address = address.beside(self.path.parent().unwrap_or(Path::new("")));
        match address.path() {
            Some(path) if !table.create && !address.expose().contains("://") && !path.exists() => {
                let message = format!("there is no file {}: check the path, or say `create = true`", path.display());
                return Err(self.at(&table.address, &format!("databases.{name}: {message}")));
            }
            None if table.create && address.kind() != Kind::Memory => {
                return Err(wrong(
                    "create: only an SQLite file can be made; make the database on the server".to_owned(),
                ));
            }
            Some(_) | None => {}
        }
        let failed = |error| self.at(&table.address, &format!("databases.{name}: {error}"));
        let layout = match &table.layout {
            None => Layout::default(),
            Some(written) => Layout::named(written.get_ref()).ok_or_else(|| {
                let known = Layout::ALL.map(|layout| layout.name()).join(", ");
                self.at(written, &format!("databases.{name}.layout: the layouts that there are: {known}"))
            })?,
        };
        if let Some(written) = &table.table
            && let Err(error) = Table::parse(written.get_ref())
        {
            return Err(self.at(written, &format!("databases.{name}.table: {error}")));
        }
        let table_name = table.table.as_ref().map(|written| written.get_ref().as_str());
        address.open(table_name, layout, table.create).await.map_err(failed)
    }

    async fn cache(&self, builder: Builder, cache: &CacheTable) -> Result<Builder, ConfigError> {
        if is_redis(cache.address.get_ref()) {
            return self.redis_cache(builder, cache).await;
        }
        if cache.address.get_ref() != "memory:" {
            let known = "`memory:`, `redis://…`, `rediss://…` and `redis+unix://…`";
            return Err(self.at(&cache.address, &format!("cache.address: the caches of this version: {known}")));
        }
        if cache.prefix.is_some() || cache.ca_file.is_some() || cache.response_timeout_ms.is_some() {
            let message = "cache: `prefix`, `ca_file` and `response_timeout_ms` are for a cache on Redis";
            return Err(self.at(&cache.address, message));
        }
        let bytes = cache.size_mib.map(|mib| (mib as usize) << 20);
        Ok(builder.cache(bytes.map_or_else(MemoryCache::default, MemoryCache::with_bytes)))
    }

    async fn flags(&self, builder: Builder, table: &Spanned<FlagsTable>) -> Result<Builder, ConfigError> {
        let FlagsTable { file, values, address, hash, poll_ms, ca_file, insist } = table.get_ref();
        let builder = builder.insist_on_flags(*insist);
        if address.is_none() && (hash.is_some() || poll_ms.is_some() || ca_file.is_some()) {
            return Err(self.at(table, "flags: `hash`, `poll_ms` and `ca_file` are for flags on Redis: give `address`"));
        }
        match (file, values) {
            (None, None) if address.is_some() => self.redis_flags(builder, table).await,
            (Some(file), None) if address.is_none() => {
                let watched = FlagFile::watch(self.beside(file));
                Ok(builder.flags(watched.map_err(|error| self.at(table, &format!("flags.file: {error}")))?))
            }
            (None, Some(values)) if address.is_none() => {
                let values = values.iter().map(|(name, value)| match value {
                    FlagValue::Switch(on) => (name.clone(), on.to_string()),
                    FlagValue::Text(text) => (name.clone(), text.clone()),
                });
                Ok(builder.flags(FixedFlags::new(values, "flags from the configuration")))
            }
            _ => Err(self.at(table, "flags: give one of `file`, `values` and `address`")),
        }
    }

    /// A path of the configuration. Relative paths are relative to the folder of the configuration file.
    fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }

    fn at<T>(&self, value: &Spanned<T>, message: &str) -> ConfigError {
        ConfigError::at(&self.path, Some(line_of(&self.text, value.span().start)), message)
    }
}

/// Whether an address is that of a Redis or Valkey server.
fn is_redis(address: &str) -> bool {
    Address::parse(address).is_ok_and(|address| address.kind() == Kind::Redis)
}

impl LimitsTable {
    fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        let ms = |value: Option<u64>, usual: Duration| value.map_or(usual, Duration::from_millis);
        limits.calls_in_flight_max = self.calls_in_flight_max.unwrap_or(limits.calls_in_flight_max);
        limits.calls_waiting_max = self.calls_waiting_max.unwrap_or(limits.calls_waiting_max);
        limits.admission_wait = ms(self.admission_wait_ms, limits.admission_wait);
        limits.call_wall_time = ms(self.call_wall_time_ms, limits.call_wall_time);
        limits.call_cpu_time = ms(self.call_cpu_time_ms, limits.call_cpu_time);
        limits.host_calls_max = self.host_calls_max.unwrap_or(limits.host_calls_max);
        limits.read_deadline = ms(self.read_deadline_ms, limits.read_deadline);
        limits.write_deadline = ms(self.write_deadline_ms, limits.write_deadline);
        limits.cache_deadline = ms(self.cache_deadline_ms, limits.cache_deadline);
        limits.cache_max_age = ms(self.cache_max_age_ms, limits.cache_max_age);
        limits.payload_bytes_max = self.payload_bytes_max.unwrap_or(limits.payload_bytes_max);
        limits.drain_wait = ms(self.drain_wait_ms, limits.drain_wait);
        limits.repair_patience = ms(self.repair_patience_ms, limits.repair_patience);
        limits.warm_instances = self.warm_instances.unwrap_or(limits.warm_instances);
        limits
    }
}

/// Why a configuration cannot be used. It names the file, the line and the field. It never contains an address, which
/// may contain a password.
#[derive(Debug)]
pub struct ConfigError {
    message: String,
}

impl ConfigError {
    fn at(path: &Path, line: Option<usize>, message: &str) -> Self {
        let line = line.map(|line| format!(":{line}")).unwrap_or_default();
        Self { message: format!("{}{line}: {message}", path.display()) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

/// The parser's message without the parts that repeat the file: the value of a wrong type (`invalid type: string
/// "sqlite:…", expected …`), and the name of an unknown field unless it is a word.
fn without_values(message: &str) -> String {
    let expected = message.rsplit_once(", expected ").map(|(_, expected)| expected);
    let is_word = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if let Some((kind, _)) = message.split_once(": ").filter(|(kind, _)| kind.starts_with("invalid ")) {
        return format!("{kind}: expected {}", expected.unwrap_or("another"));
    }
    let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once("`, expected "));
    match unknown {
        Some((name, _)) if is_word(name) => message.to_owned(),
        Some(_) => format!("unknown field, expected {}", expected.unwrap_or("another")),
        None if message.contains("string \"") => "this cannot be read".to_owned(),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("switchover.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(path)
    }

    #[test]
    fn unknown_field_is_refused_with_file_line_and_name() {
        let error = read("[databases.default]\naddress = \"memory:\"\ncraete = true\n").unwrap_err().to_string();
        assert!(error.contains("switchover.toml:3"), "{error}");
        assert!(error.contains("craete"), "{error}");
    }

    #[tokio::test]
    async fn addresses_are_never_printed() {
        let secret = "postgres://admin:hunter2@db/app";
        let texts = [
            format!("[databases.default]\naddress = [\"{secret}\"]\n"),
            format!("[databases]\ndefault = \"{secret}\"\n"),
            format!("[databases.default]\naddress = \"{secret}\"\n"),
            format!("[databases.default]\naddress = \"memory:\"\ncreate = \"{secret}\"\n"),
            format!("[databases.default]\naddress = \"memory:\"\n[cache]\naddress = \"{secret}\"\n"),
            format!("[databases.default]\naddress = \"memory:\"\n[flags]\naddress = \"{secret}\"\n"),
            // There is nothing to connect to at these addresses.
            "[databases.default]\naddress = \"memory:\"\n[cache]\naddress = \"redis://:hunter2@:0/hunter2\"\n"
                .to_owned(),
            "[databases.default]\naddress = \"memory:\"\n[flags]\naddress = \"redis://hunter2:hunter2@127.0.0.1:1/0\"\n"
                .to_owned(),
        ];
        for text in texts {
            let error = match read(&text) {
                Ok(config) => {
                    assert!(!format!("{config:?}").contains("hunter2"));
                    config.builder().await.unwrap_err().to_string()
                }
                Err(error) => error.to_string(),
            };
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.contains("switchover.toml:"), "{error}");
        }
    }

    #[cfg(feature = "redis")]
    #[tokio::test]
    async fn fields_of_redis_are_refused_where_there_is_none() {
        let texts = [
            ("[cache]\naddress = \"memory:\"\nprefix = \"shop:\"\n", "for a cache on Redis"),
            ("[cache]\naddress = \"redis://127.0.0.1:1/0\"\nsize_mib = 64\n", "maxmemory"),
            ("[flags]\nhash = \"shop:flags\"\nvalues = { on = true }\n", "give `address`"),
            ("[flags]\naddress = \"redis://127.0.0.1:1/0\"\nvalues = { on = true }\n", "one of"),
            ("[flags]\naddress = \"memcached://127.0.0.1\"\n", "flags.address"),
            ("[flags]\naddress = \"redis://127.0.0.1:1/0\"\n", "127.0.0.1:1"),
        ];
        for (text, expected) in texts {
            let config = read(&format!("[databases.default]\naddress = \"memory:\"\n{text}")).unwrap();
            let error = config.builder().await.unwrap_err().to_string();
            assert!(error.contains("switchover.toml:") && error.contains(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn wrong_policy_names_the_known_ones() {
        let text = "[policy]\nbuiltin = \"falback\"\n[databases.default]\naddress = \"memory:\"\n";
        let error = read(text).unwrap().builder().await.unwrap_err().to_string();
        assert!(error.contains(":2: policy.builtin") && error.contains("fallback"), "{error}");
    }
}
