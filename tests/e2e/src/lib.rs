//! What the end-to-end tests share: a host on databases in memory that can be made to fail, and a continuous load.

pub mod facts;
pub mod process;
pub mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use switchover::backends::{Faulty, FlagSwitch, MemoryCache, MemoryDatabase, Operation};
use switchover::{
    Builder, Builtin, Error, Limits, Payload, Policy, SaveOutcome, SessionKey, Sessions, Switchover, expires_in,
};
use tokio::task::JoinHandle;

/// How long the sessions of the tests live: longer than any test takes.
pub const LIFE: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

/// The path of a component that the tests run. Hostile ones are among them.
pub fn component(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest/components").join(format!("{name}.wasm"))
}

/// A host whose two databases and flags the test controls.
pub struct Rig {
    /// The host.
    pub switchover: Switchover,
    /// The database `default`.
    pub old: Faulty<MemoryDatabase>,
    /// The database `new_session_store`.
    pub new: Faulty<MemoryDatabase>,
    /// The flags `migration_flag` and `new_db_router_flag`, both off at first.
    pub flags: FlagSwitch,
}

impl Rig {
    /// A host with `fallback`, an in-process cache, both flags off, and [`patient`] limits.
    pub async fn new() -> Result<Self> {
        Self::with(|builder| builder).await
    }

    /// As `new`, but flags come into force even if the policy fails its trial under them.
    pub async fn insisting() -> Result<Self> {
        Self::with(|builder| builder.insist_on_flags(true)).await
    }

    /// As `new`, with a change to the builder.
    pub async fn with(change: impl FnOnce(Builder) -> Builder) -> Result<Self> {
        let (old, new) = (Faulty::new(MemoryDatabase::new()), Faulty::new(MemoryDatabase::new()));
        let flags = FlagSwitch::new([("migration_flag", "false"), ("new_db_router_flag", "false")]);
        let builder = Switchover::builder()
            .database("default", old.clone())
            .database("new_session_store", new.clone())
            .cache(MemoryCache::default())
            .flags(flags.clone())
            .limits(patient())
            .policy(Policy::builtin(Builtin::Fallback));
        Ok(Self { switchover: change(builder).build().await?, old, new, flags })
    }

    /// Sets a flag and waits until it is in force.
    pub async fn flag(&self, name: &str, on: bool) -> Result<()> {
        self.flags.set(name, on.to_string());
        self.switchover.apply_flags().await?;
        Ok(())
    }

    /// The session store.
    pub fn sessions(&self) -> Sessions {
        self.switchover.sessions()
    }

    /// Starts to delete a session, and returns when the database `default` has the delete. It holds it, as every write,
    /// until `old.release()`.
    ///
    /// # Errors
    ///
    /// If the delete does not come to the database.
    pub async fn held_delete(&self, key: &SessionKey) -> Result<JoinHandle<Result<bool, Error>>> {
        self.old.hold(Operation::Write);
        let (sessions, key) = (self.sessions(), key.clone());
        let delete = tokio::spawn(async move { sessions.delete(&key).await });
        until("the delete is held", async || self.old.held(Operation::Write) == 1).await?;
        Ok(delete)
    }

    /// Waits until a change of policy or of flags keeps new calls waiting. Until then, calls that read are answered.
    ///
    /// # Errors
    ///
    /// If every call is answered for a minute.
    pub async fn calls_wait(&self) -> Result<()> {
        let (sessions, key) = (self.sessions(), SessionKey::random());
        let waits = async || tokio::time::timeout(Duration::from_millis(50), sessions.exists(&key)).await.is_err();
        until("new calls wait", waits).await
    }
}

/// Limits that no test meets because the machine is slow. A test of a limit makes that one shorter.
pub fn patient() -> Limits {
    let mut limits = Limits::default();
    limits.admission_wait = MINUTE;
    limits.call_wall_time = MINUTE;
    limits.read_deadline = MINUTE;
    limits.write_deadline = MINUTE;
    limits.cache_deadline = MINUTE;
    limits.drain_wait = MINUTE;
    limits
}

/// Waits for what another task does in its own time.
///
/// # Errors
///
/// If it does not come within a minute.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Result<()> {
    let waited = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(MINUTE, waited).await.map_err(|_| anyhow!("never: {what}"))
}

/// A payload of the tests.
pub fn payload(text: impl std::fmt::Display) -> Payload {
    Payload::from(text.to_string())
}

/// Creates a session that ends after [`LIFE`].
pub async fn create(sessions: &Sessions, text: impl std::fmt::Display) -> Result<SessionKey> {
    Ok(sessions.create(payload(text), expires_in(LIFE)).await?)
}

/// Users that log in, save, read, touch, cycle and log out until they are stopped. Each checks every answer, and has a
/// key of its own, so that the right answer is always known.
pub struct Load {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    users: Vec<JoinHandle<Result<()>>>,
}

impl Load {
    /// Starts users.
    pub fn start(sessions: &Sessions, users: usize) -> Self {
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let user = |number| tokio::spawn(user(sessions.clone(), number, Arc::clone(&stop), Arc::clone(&calls)));
        let users = (0..users).map(user).collect();
        Self { stop, calls, users }
    }

    /// How many calls were answered so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Waits until this many more calls were answered.
    ///
    /// # Errors
    ///
    /// If this takes longer than a minute.
    pub async fn progress(&self, more: u64) -> Result<()> {
        let goal = self.calls() + more;
        until("the load makes progress", async || self.calls() >= goal).await
    }

    /// Stops the users. Returns how many calls were answered.
    ///
    /// # Errors
    ///
    /// The first call that failed, or the first answer that is not what its user wrote.
    pub async fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        for user in self.users {
            user.await??;
        }
        Ok(self.calls.load(Ordering::Relaxed))
    }
}

async fn user(sessions: Sessions, number: usize, stop: Arc<AtomicBool>, calls: Arc<AtomicU64>) -> Result<()> {
    let counted = || calls.fetch_add(1, Ordering::Relaxed);
    for login in 0_u64.. {
        let mut key = create(&sessions, format!("{number} {login} 0")).await?;
        counted();
        for version in 1..8 {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let text = format!("{number} {login} {version}");
            let saved = sessions.save(&key, payload(&text), expires_in(LIFE)).await?;
            ensure!(saved == SaveOutcome::Saved, "user {number}: the save of a living session returned {saved:?}");
            counted();
            let found = sessions.load(&key).await?;
            let found = found.map(|session| session.payload.as_text().unwrap_or_default().to_owned());
            ensure!(found.as_deref() == Some(text.as_str()), "user {number}: wrote {text:?}, read {found:?}");
            counted();
            let touched = sessions.touch(&key, expires_in(2 * LIFE)).await?;
            ensure!(touched == SaveOutcome::Saved, "user {number}: the touch of a living session returned {touched:?}");
            counted();
            if version == 4 {
                let old = key.clone();
                key = match sessions.cycle_key(&old).await? {
                    switchover::CycleOutcome::Cycled(key) => key,
                    switchover::CycleOutcome::Missing => bail!("user {number}: a living session was not cycled"),
                };
                ensure!(sessions.load(&old).await?.is_none(), "user {number}: an old key is still there");
                counted();
            }
        }
        ensure!(sessions.delete(&key).await?, "user {number}: a living session was gone at its logout");
        counted();
        ensure!(sessions.load(&key).await?.is_none(), "user {number}: back after logout");
        counted();
    }
    Ok(())
}
