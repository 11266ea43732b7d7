//! Opens the cache and the flags on Redis that the configuration names.

use toml::Spanned;

use super::{CacheTable, Config, ConfigError, FlagsTable};
use crate::host::Builder;

#[cfg(feature = "redis")]
impl Config {
    /// Adds the cache to the builder. If the server does not answer now, the cache connects later. If it answers and
    /// refuses, this is an error.
    pub(super) async fn redis_cache(&self, builder: Builder, table: &CacheTable) -> Result<Builder, ConfigError> {
        if table.size_mib.is_some() {
            let message = "cache.size_mib: the size of a cache on Redis is the server's `maxmemory`";
            return Err(self.at(&table.address, message));
        }
        let mut cache = switchover_backends::Redis::builder(table.address.get_ref());
        if let Some(prefix) = &table.prefix {
            cache = cache.prefix(prefix);
        }
        if let Some(path) = &table.ca_file {
            cache = cache.ca_file(self.beside(path));
        }
        if let Some(ms) = table.response_timeout_ms {
            cache = cache.response_timeout(std::time::Duration::from_millis(ms));
        }
        let cache = cache.start().await.map_err(|error| self.at(&table.address, &format!("cache: {error}")))?;
        Ok(builder.cache(cache))
    }

    pub(super) async fn redis_flags(
        &self,
        builder: Builder,
        table: &Spanned<FlagsTable>,
    ) -> Result<Builder, ConfigError> {
        let FlagsTable { address, hash, poll_ms, ca_file, .. } = table.get_ref();
        let address = address.as_ref().map(|address| address.get_ref().as_str()).unwrap_or_default();
        if !super::is_redis(address) {
            return Err(self.at(table, "flags.address: `redis://…`, `rediss://…` or `redis+unix://…`"));
        }
        let mut flags = switchover_backends::RedisFlags::builder(address);
        if let Some(hash) = hash {
            flags = flags.hash(hash);
        }
        if let Some(ms) = poll_ms {
            flags = flags.poll(std::time::Duration::from_millis(*ms));
        }
        if let Some(path) = ca_file {
            flags = flags.ca_file(self.beside(path));
        }
        let flags = flags.connect().await.map_err(|error| self.at(table, &format!("flags: {error}")))?;
        Ok(builder.flags(flags))
    }
}

#[cfg(not(feature = "redis"))]
impl Config {
    pub(super) async fn redis_cache(&self, _: Builder, table: &CacheTable) -> Result<Builder, ConfigError> {
        Err(self.at(&table.address, "cache.address: this program was built without the feature `redis`"))
    }

    pub(super) async fn redis_flags(&self, _: Builder, table: &Spanned<FlagsTable>) -> Result<Builder, ConfigError> {
        Err(self.at(table, "flags.address: this program was built without the feature `redis`"))
    }
}
