//! The three contestants with the same functions. Each has databases and a cache of its own on the same servers.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use switchover::backends::{FlagSwitch, Postgres, Redis};
use switchover::{Builtin, Limits, Payload, Policy, SaveOutcome, SessionKey, Sessions, Switchover, Timestamp};
use switchover_fallback::Fallback;

use super::native::NativeProxy;
use super::site::Place;

/// So long that no entry ends while hits are measured.
pub(crate) const CACHE_MAX_AGE: Duration = Duration::from_secs(3_600);
/// The deadline of the cache. With 1,024 calls that never pause, a small machine's Redis answers later than the default
/// of 25 ms. A service would then continue without the cache, and this would measure something else. A longer deadline
/// makes nothing cheaper.
const CACHE_PATIENCE: Duration = Duration::from_secs(5);
/// The other deadlines. The hand-written proxy has none, so no contestant may fail by one.
const PATIENCE: Duration = Duration::from_secs(20);

/// The order of the reports, where they are A, B and C.
pub(crate) const KINDS: [Kind; 3] = [Kind::Wasm, Kind::Native, Kind::ByHand];

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Switchover with the policy `fallback` as a component.
    Wasm,
    /// Switchover with the same policy compiled in.
    Native,
    /// The hand-written proxy of `native.rs`.
    ByHand,
}

impl Kind {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Wasm => "A wasm",
            Self::Native => "B native",
            Self::ByHand => "C by hand",
        }
    }
}

/// A contestant that is ready to be called.
pub(crate) enum Contestant {
    Host { host: Switchover, sessions: Sessions, flags: FlagSwitch },
    ByHand(NativeProxy),
}

impl Contestant {
    pub(crate) async fn open(kind: Kind, place: &Place) -> Result<Self> {
        let policy = match kind {
            Kind::Wasm => Policy::builtin(Builtin::Fallback),
            Kind::Native => Policy::native::<Fallback>(),
            Kind::ByHand => return Ok(Self::ByHand(NativeProxy::connect(place).await?)),
        };
        let flags = FlagSwitch::new([("migration_flag", "false"), ("new_db_router_flag", "false")]);
        let host = Switchover::builder()
            .database("default", Postgres::connect(&place.old).await?)
            .database("new_session_store", Postgres::connect(&place.new).await?)
            .cache(Redis::builder(&place.cache).response_timeout(CACHE_PATIENCE).connect().await?)
            .flags(flags.clone())
            .limits(limits())
            .policy(policy)
            .build()
            .await?;
        Ok(Self::Host { sessions: host.sessions(), host, flags })
    }

    /// Turns dual writes on or off.
    pub(crate) async fn set_migrating(&self, on: bool) -> Result<()> {
        match self {
            Self::Host { host, flags, .. } => {
                flags.set("migration_flag", on.to_string());
                host.apply_flags().await?;
            }
            Self::ByHand(proxy) => proxy.set_migrating(on),
        }
        Ok(())
    }

    /// Loads a session, which must exist. Returns the size of its payload.
    pub(crate) async fn load(&self, key: &SessionKey) -> Result<usize> {
        let missing = "a session that is there was not found";
        Ok(match self {
            Self::Host { sessions, .. } => sessions.load(key).await?.context(missing)?.payload.len(),
            Self::ByHand(proxy) => proxy.load(key.expose()).await?.context(missing)?.payload.len(),
        })
    }

    /// Saves a session, which must exist.
    pub(crate) async fn save(&self, key: &SessionKey, payload: &Payload, expires_at: Timestamp) -> Result<()> {
        let saved = match self {
            Self::Host { sessions, .. } => sessions.save(key, payload.clone(), expires_at).await? == SaveOutcome::Saved,
            Self::ByHand(proxy) => proxy.save(key.expose(), payload.as_text().unwrap_or_default(), expires_at).await?,
        };
        ensure!(saved, "a session that is there was not saved");
        Ok(())
    }

    /// How many operations of the cache failed while the host continued without them. The hand-written proxy fails
    /// instead.
    pub(crate) fn cache_failures(&self) -> u64 {
        match self {
            Self::Host { host, .. } => host.counts().cache_failures,
            Self::ByHand(_) => 0,
        }
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.cache_max_age = CACHE_MAX_AGE;
    limits.cache_deadline = CACHE_PATIENCE;
    limits.read_deadline = PATIENCE;
    limits.write_deadline = PATIENCE;
    limits.call_wall_time = PATIENCE * 2;
    limits
}
