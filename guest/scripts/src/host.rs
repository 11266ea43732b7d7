//! The fakes as the host of a policy: every answer is ready at once.

use switchover_guest::{Host, Instant, Level, Lookup, Result, SaveMode, SaveOutcome, Target};

use super::fakes::Fakes;
use super::session::{FakeLease, FakeSession};

impl Host for Fakes {
    type Session = FakeSession;
    type Lease = FakeLease;

    async fn load(&self, database: &str, key: &str) -> Result<Option<FakeSession>> {
        Fakes::load(self, database, key)
    }

    async fn load_each(&self, databases: &[&str], key: &str) -> Vec<Result<Option<FakeSession>>> {
        Fakes::load_each(self, databases, key)
    }

    async fn save(&self, to: &Target, key: &str, value: &FakeSession, mode: SaveMode) -> Result<SaveOutcome> {
        Fakes::save(self, to, key, value, mode)
    }

    async fn touch(&self, to: &Target, key: &str, expires_at: Instant) -> Result<SaveOutcome> {
        Fakes::touch(self, to, key, expires_at)
    }

    async fn delete(&self, to: &Target, key: &str) -> Result<bool> {
        Fakes::delete(self, to, key)
    }

    async fn copy(&self, source: &str, to: &Target, key: &str) -> Result<()> {
        Fakes::copy(self, source, to, key)
    }

    async fn exists(&self, database: &str, key: &str) -> Result<bool> {
        Fakes::exists(self, database, key)
    }

    async fn delete_expired(&self, database: &str, before: Option<Instant>, limit: u32) -> Result<u32> {
        Fakes::delete_expired(self, database, before, limit)
    }

    async fn cache_get(&self, key: &str) -> Result<Lookup<FakeSession, FakeLease>> {
        Fakes::cache_get(self, key)
    }

    async fn cache_fill(&self, lease: FakeLease, value: &FakeSession) -> Result<()> {
        Fakes::cache_fill(self, &lease, value)
    }

    async fn cache_invalidate(&self, key: &str) -> Result<()> {
        Fakes::cache_invalidate(self, key)
    }

    fn flag_enabled(&self, name: &str) -> bool {
        Fakes::flag_enabled(self, name)
    }

    fn flag_value(&self, name: &str) -> Option<String> {
        Fakes::flag_value(self, name)
    }

    fn setting(&self, name: &str) -> Option<String> {
        Fakes::setting(self, name)
    }

    fn now(&self) -> Instant {
        Fakes::now(self)
    }

    fn log(&self, level: Level, message: &str) {
        Fakes::log(self, level, message);
    }
}
