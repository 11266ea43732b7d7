//! Where and on what was measured.

use anyhow::{Result, ensure};
use switchover_tests::facts::{self, Machine, Settings};

use super::site::Site;

pub(crate) struct Facts {
    pub(crate) machine: Machine,
    pub(crate) postgres: Settings,
    pub(crate) redis: Settings,
}

impl Facts {
    /// Collects the facts. The two PostgreSQL servers must have the same settings, which is checked.
    pub(crate) async fn of(site: &Site) -> Result<Self> {
        let (old, new) = (facts::postgres(&site.old.url()).await?, facts::postgres(&site.new.url()).await?);
        ensure!(old == new, "the two servers have different settings: {old:?} and {new:?}");
        Ok(Self { machine: Machine::look()?, postgres: old, redis: facts::redis(&site.cache.url()).await? })
    }
}
