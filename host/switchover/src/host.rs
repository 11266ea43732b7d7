//! A host: databases, cache, flags and a policy, built once and shared by all tasks of a service.

mod check;
mod work;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use switchover_contract::{Description, SaveMode};
use tokio::sync::{Semaphore, SemaphorePermit, watch};

pub use self::check::DatabaseCheck;
use self::work::caught;
pub(crate) use self::work::to_the_end;
use crate::capabilities::{Cache, Clock, Database, DatabaseError, FlagSnapshot, Flags, Identity, SystemClock};
use crate::counters::{CallCounts, CallKind, HostCounts};
use crate::error::{BuildError, Error, SwapError};
use crate::gate::Gate;
use crate::imports::{CallContext, Environment, Freshness};
use crate::limits::Limits;
use crate::policy::{Answer, Call, Change, Entry, Loader, Policy, PolicyEngine, Slot, Version, run};
use crate::router::Router;
use crate::session::DatabaseName;
use crate::sessions::Sessions;
use crate::store::Store;
use crate::version::{PolicyStatus, PolicyVersion};

/// How long after a change of flags that did not come about it is tried again.
const FLAGS_RETRY: Duration = Duration::from_secs(1);
const FLAGS_RETRY_MAX: Duration = Duration::from_secs(60);

/// A session store whose policy can be swapped while it runs. Cheap to clone; all clones are one host.
///
/// It needs a multi-threaded tokio runtime. Dropping the last clone lets calls under way end; [`Switchover::close`] waits for them.
#[derive(Clone)]
pub struct Switchover {
    pub(crate) host: Arc<Host>,
}

pub(crate) struct Host {
    pub(crate) store: Arc<Store>,
    environment: Arc<Environment>,
    pub(crate) limits: Limits,
    slot: Slot,
    loader: Loader,
    places: Semaphore,
    waiting: AtomicUsize,
    latest_flags: watch::Receiver<Arc<FlagSnapshot>>,
    insist_on_flags: bool,
    // Keeps the source alive, and with it its watcher.
    _flags: Arc<dyn Flags>,
}

impl Switchover {
    /// A host from code.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The session store. Cheap, and so are its clones.
    pub fn sessions(&self) -> Sessions {
        Sessions { host: Arc::clone(&self.host) }
    }

    /// The database router.
    pub fn router(&self) -> Router {
        Router { host: Arc::clone(&self.host) }
    }

    /// Loads a policy, tries it, and takes it into use. Calls under way end under the version they began with.
    ///
    /// Between policies of the same protocol, with the same settings and databases, no call waits. Any other swap lets the calls under
    /// the old policy end first; calls that arrive meanwhile wait. Swaps are made one after another. Costs the compilation of the component, unless it ran
    /// before on this host.
    ///
    /// Cancel safety: dropped before it ends, either version may be running; [`Switchover::policy`] tells which.
    ///
    /// # Errors
    ///
    /// With any error the policy that was running goes on. [`SwapError::Rejected`] says what is wrong with the new one;
    /// [`SwapError::NotDrained`]: calls under the old one did not end in time.
    pub async fn swap_policy(&self, policy: Policy) -> Result<PolicyVersion, SwapError> {
        let next = self.host.loader.load(&policy, self.host.slot.flags()).await?;
        self.host.settle_repairs(&next).await;
        self.host.slot.publish(Arc::clone(&next), &*self.host).await?;
        tracing::info!(policy = %next.id, "a policy was taken into use");
        Ok(next.id.clone())
    }

    /// Goes back to the previous policy, which was kept warm: nothing is loaded or compiled. If flags have changed since it ran, it is tried
    /// under them first. Twice is there and back.
    ///
    /// # Errors
    ///
    /// [`SwapError::NoPrevious`] before the first swap; else as [`Switchover::swap_policy`].
    pub async fn rollback_policy(&self) -> Result<PolicyVersion, SwapError> {
        if let Some(previous) = self.host.slot.previous() {
            self.host.settle_repairs(&previous).await;
        }
        let version = self.host.slot.roll_back(&*self.host).await?;
        tracing::info!(policy = %version.id, "rolled back to the previous policy");
        Ok(version.id.clone())
    }

    /// What runs now.
    pub fn policy(&self) -> PolicyStatus {
        let version = self.host.slot.version();
        PolicyStatus {
            version: version.id.clone(),
            previous: self.host.slot.previous().map(|previous| previous.id.clone()),
            in_flight: self.host.slot.in_flight(),
            calls_in_flight: version.calls_in_flight(),
            calls: version.calls.load(Ordering::Relaxed),
            faults: version.faults.load(Ordering::Relaxed),
            traps: version.traps.load(Ordering::Relaxed),
        }
    }

    /// What the running policy says of itself.
    pub fn description(&self) -> Description {
        self.host.slot.version().description.clone()
    }

    /// The flags in force.
    pub fn flags(&self) -> Arc<FlagSnapshot> {
        self.host.slot.flags()
    }

    /// Waits until the latest snapshot of the flags' source is in force. The host does that by itself soon after each change; this
    /// is for those who want to know when. The running policy is tried under the new flags first.
    ///
    /// # Errors
    ///
    /// With any error the flags that were in force stay, and the host tries again by itself. [`SwapError::Rejected`]: the running policy
    /// fails its trial under the new flags; swap in one that does not, or set the flags back. [`SwapError::NotDrained`]: calls under
    /// the old flags did not end in time.
    pub async fn apply_flags(&self) -> Result<Arc<FlagSnapshot>, SwapError> {
        self.host.apply_flags().await
    }

    /// What this host has counted since it was built.
    pub fn counts(&self) -> HostCounts {
        self.host.store.counters().snapshot()
    }

    /// The calls of the policy by kind, how they ended and how long they took, since this host was built. Cost: some thousand
    /// additions, no lock, and nothing that calls wait for.
    pub fn call_counts(&self) -> [CallCounts; CallKind::ALL.len()] {
        self.host.store.counters().calls()
    }

    /// How many keys wait to be brought to the same row in home and mirrors after an unknown outcome.
    pub fn repairs_pending(&self) -> usize {
        self.host.store.repairs_pending()
    }

    /// The databases, for people.
    pub fn databases(&self) -> Vec<(DatabaseName, String)> {
        self.host.store.databases().map(|(name, database)| (name.clone(), database.summary())).collect()
    }

    /// Settles unknown outcomes, lets no call in any more ([`Error::Closed`]), waits for those under way, each within `drain_wait`,
    /// and closes the databases.
    pub async fn close(&self) {
        self.host.store.repairs_done(self.host.limits.drain_wait).await;
        if !self.host.slot.close(&*self.host).await {
            tracing::warn!("closed although calls were still under way");
        }
        self.host.store.close().await;
    }
}

impl std::fmt::Debug for Switchover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Switchover").field("policy", &self.policy().version).finish_non_exhaustive()
    }
}

impl Host {
    /// Makes one call that does not ask the cache.
    pub(crate) async fn call_past_cache(self: &Arc<Self>, call: Call) -> Result<Answer, Error> {
        let (entry, _place) = self.enter().await?;
        caught(run_under(self, entry, call, Freshness::PastCache)).await
    }

    /// Makes one call of the running policy. A caller that goes away does not stop halfway what may write.
    pub(crate) async fn call(self: &Arc<Self>, call: Call) -> Result<Answer, Error> {
        if call.may_write() {
            to_the_end(self.admit().await?.run_alone(call)).await
        } else {
            let (entry, _place) = self.enter().await?;
            caught(run_under(self, entry, call, Freshness::Cached)).await
        }
    }

    /// [`Host::enter`], for work that may outlive its caller.
    pub(crate) async fn admit(self: &Arc<Self>) -> Result<Admitted, Error> {
        let (entry, place) = self.enter().await?;
        place.forget();
        Ok(Admitted { entry, place: Place(Arc::clone(self)) })
    }

    /// A place among the calls in flight, under the flags and the policy in force.
    async fn enter(&self) -> Result<(Entry, SemaphorePermit<'_>), Error> {
        // A caller whose calls never wait must not keep other tasks from running.
        tokio::task::consume_budget().await;
        if let Ok(place) = self.places.try_acquire()
            && let Some(entry) = self.slot.try_enter()
        {
            return Ok((entry, place));
        }
        let waiting = Waiting::start(&self.waiting);
        if self.slot.is_closed() {
            return Err(Error::Closed);
        }
        if waiting.others >= self.limits.calls_waiting_max {
            return Err(self.overloaded("too many calls are waiting"));
        }
        let entered = async {
            let place = self.places.acquire().await.ok()?;
            Some((self.slot.enter().await?, place))
        };
        match tokio::time::timeout(self.limits.admission_wait, entered).await {
            Ok(Some(entered)) => Ok(entered),
            Ok(None) => Err(Error::Closed),
            Err(_) => Err(self.overloaded("no place was free, or a change of flags took too long")),
        }
    }

    fn overloaded(&self, message: &str) -> Error {
        self.store.counters().overloaded();
        Error::Overloaded { message: message.to_owned() }
    }

    async fn apply_flags(&self) -> Result<Arc<FlagSnapshot>, SwapError> {
        let latest = || Arc::clone(&self.latest_flags.borrow());
        if *self.slot.flags() != *latest() {
            self.store.repairs_done(self.limits.repair_patience).await;
        }
        self.slot.change_flags(latest, self).await
    }

    /// Before anything that may make another database home: unknown outcomes are settled under the old rules, as far as the
    /// databases answer. What is left is given up when the era ends.
    async fn settle_repairs(&self, next: &Version) {
        if !self.slot.version().may_overlap(next) {
            self.store.repairs_done(self.limits.repair_patience).await;
        }
    }
}

impl Change for Host {
    fn drain_wait(&self) -> Duration {
        self.limits.drain_wait
    }

    async fn try_out(&self, version: &Arc<Version>, flags: &Arc<FlagSnapshot>) -> Result<(), SwapError> {
        let tried = self.loader.try_out(version, flags).await;
        if tried.is_err() {
            // The running policy goes on under the flags that it knows.
            version.scope.expect_look_first();
        }
        tried
    }

    fn insists_on_flags(&self, error: SwapError) -> Result<(), SwapError> {
        if !self.insist_on_flags {
            return Err(error);
        }
        tracing::error!(
            "new flags are taken although the running policy fails under them, as this host was told to: {error}"
        );
        Ok(())
    }

    async fn settle(&self, gate: &Gate) {
        self.store.settle_last(gate).await;
    }
}

/// Puts every new snapshot in force, until the host or the source is gone.
async fn follow_flags(host: Weak<Host>, mut latest: watch::Receiver<Arc<FlagSnapshot>>) {
    while latest.changed().await.is_ok() {
        let mut pause = FLAGS_RETRY;
        loop {
            let Some(host) = host.upgrade() else { return };
            // The latest is applied, whatever came in between.
            match host.apply_flags().await {
                Ok(_) => break,
                Err(SwapError::Closed) => return,
                Err(error) => tracing::warn!("new flags are not in force yet: {error}"),
            }
            drop(host);
            // Each try closes the gate for a while: ever more rarely.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(FLAGS_RETRY_MAX);
        }
    }
}

/// Work that was let in: it holds a place, and one version with one snapshot of flags.
pub(crate) struct Admitted {
    entry: Entry,
    place: Place,
}

impl Admitted {
    /// One of several calls.
    pub(crate) async fn run(&self, call: Call) -> Result<Answer, Error> {
        run_under(&self.place.0, self.entry.clone(), call, Freshness::Cached).await
    }

    /// One of several calls, which reads in order to write.
    pub(crate) async fn run_past_cache(&self, call: Call) -> Result<Answer, Error> {
        run_under(&self.place.0, self.entry.clone(), call, Freshness::PastCache).await
    }

    /// The only call.
    async fn run_alone(self, call: Call) -> Result<Answer, Error> {
        let Self { entry, place } = self;
        run_under(&place.0, entry, call, Freshness::Cached).await
    }

    /// Counts a new key that nobody was told and that could not be deleted.
    pub(crate) fn new_key_left(&self) {
        self.place.0.store.counters().new_key_left();
    }
}

async fn run_under(host: &Host, entry: Entry, call: Call, freshness: Freshness) -> Result<Answer, Error> {
    let Entry { ticket, flags, version } = entry;
    let _counted = version.count_call();
    let (kind, begun) = (kind(&call), tokio::time::Instant::now());
    let deadline = host.limits.call_deadline_of(begun);
    let (environment, scope) = (&host.environment, Arc::clone(&version.scope));
    // While the policy waits it holds an instance, whose memory is cold when the answer comes.
    let ahead = match &call {
        Call::Load(key) if freshness == Freshness::Cached && scope.looks_first() => Some(host.store.look_up(key).await),
        _ => None,
    };
    let asked = (call.key().cloned(), call.asked());
    let context =
        CallContext::new(asked, scope, Arc::clone(environment), flags, ticket).looked_up(ahead).reading(freshness);
    let answer = run(&version, call, Arc::new(context), deadline).await;
    let unknown = answer.as_ref().is_err_and(Error::is_unknown_outcome);
    host.store.counters().call_ended(kind, begun.elapsed(), answer.is_err(), unknown);
    answer
}

fn kind(call: &Call) -> CallKind {
    match call {
        Call::Load(_) => CallKind::Load,
        Call::Save(_, SaveMode::Create) => CallKind::Create,
        Call::Save(_, SaveMode::Update) => CallKind::Save,
        Call::Touch(..) => CallKind::Touch,
        Call::Delete(_) => CallKind::Delete,
        Call::Exists(_) => CallKind::Exists,
        Call::ClearExpired(_) => CallKind::ClearExpired,
        // A description is asked for while a policy is loaded, and no call of a service.
        Call::Route(_) | Call::Describe => CallKind::Route,
    }
}

/// A place among the calls in flight, which was taken out of their count.
struct Place(Arc<Host>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places.add_permits(1);
    }
}

struct Waiting<'a> {
    waiting: &'a AtomicUsize,
    others: usize,
}

impl<'a> Waiting<'a> {
    fn start(waiting: &'a AtomicUsize) -> Self {
        Self { waiting, others: waiting.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a host is made of. Every method takes the builder and gives it back.
#[derive(Default)]
pub struct Builder {
    databases: Vec<(String, Arc<dyn Database>)>,
    cache: Option<Arc<dyn Cache>>,
    flags: Option<Arc<dyn Flags>>,
    clock: Option<Arc<dyn Clock>>,
    policy: Option<Policy>,
    limits: Limits,
    insist_on_flags: bool,
}

impl Builder {
    /// Adds a database under an alias.
    #[must_use]
    pub fn database(mut self, name: impl Into<String>, database: impl Database + 'static) -> Self {
        self.databases.push((name.into(), Arc::new(database)));
        self
    }

    /// Puts a cache in front of the databases. Without one, every load asks a database.
    #[must_use]
    pub fn cache(mut self, cache: impl Cache + 'static) -> Self {
        self.cache = Some(Arc::new(cache));
        self
    }

    /// Where flags come from. Without a source, no flag is set.
    #[must_use]
    pub fn flags(mut self, flags: impl Flags + 'static) -> Self {
        self.flags = Some(Arc::new(flags));
        self
    }

    /// Whether new flags come into force although the running policy fails its trial under them. If not (the default), the flags that
    /// were in force stay, and the host tries again; if so, the failure is an error in the log and nothing else.
    #[must_use]
    pub fn insist_on_flags(mut self, insist: bool) -> Self {
        self.insist_on_flags = insist;
        self
    }

    /// The policy to begin with. Without one, it is [`Builtin::CachedDb`](crate::Builtin::CachedDb).
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Limits other than the default ones.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// A clock other than the machine's, for tests. Databases have clocks of their own.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Builds the host: loads and tries the policy under the flags as they are now.
    ///
    /// # Errors
    ///
    /// [`BuildError`] names what is wrong and how to mend it.
    pub async fn build(self) -> Result<Switchover, BuildError> {
        let mut databases = BTreeMap::new();
        for (name, database) in self.databases {
            let name = DatabaseName::parse(&name)?;
            if databases.insert(name.clone(), database).is_some() {
                return Err(BuildError::Invalid { message: format!("database `{name}` is configured twice") });
            }
        }
        if databases.is_empty() {
            return Err(BuildError::Invalid {
                message: "no database is configured: add one, `default` for example".to_owned(),
            });
        }
        let limits = self.limits;
        if limits.calls_in_flight_max == 0 {
            return Err(BuildError::Invalid {
                message: "`calls_in_flight_max` is 0: no call could be made".to_owned(),
            });
        }
        check_tables(&databases, limits.write_deadline).await?;
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let flags = self.flags.unwrap_or_else(|| Arc::new(NoFlags::default()));
        let policy = self.policy.unwrap_or_else(|| Policy::builtin(crate::Builtin::CachedDb));
        let engine = PolicyEngine::new(&limits)
            .map_err(|error| BuildError::Invalid { message: format!("no wasm engine can be made here: {error}") })?;
        let names = databases.keys().map(|name| name.as_str().to_owned()).collect();
        let store = Store::new(databases, self.cache, Arc::clone(&clock), limits.clone());
        let loader = Loader::new(engine, limits.clone(), names, store.shared_counters());
        let latest_flags = flags.subscribe();
        let first_flags = Arc::clone(&latest_flags.borrow());
        let version = loader.load(&policy, Arc::clone(&first_flags)).await?;
        let environment = Environment { reach: Arc::new(Arc::clone(&store)), clock, counters: store.shared_counters() };
        let host = Arc::new(Host {
            environment: Arc::new(environment),
            store,
            slot: Slot::new(first_flags, version, limits.warm_instances),
            loader,
            places: Semaphore::new(limits.calls_in_flight_max),
            waiting: AtomicUsize::new(0),
            latest_flags: latest_flags.clone(),
            insist_on_flags: self.insist_on_flags,
            limits,
            _flags: flags,
        });
        tokio::spawn(follow_flags(Arc::downgrade(&host), latest_flags));
        Ok(Switchover { host })
    }
}

/// Refuses tables that cannot hold sessions, and two aliases of one table. A database that does not answer is left to the calls.
async fn check_tables(
    databases: &BTreeMap<DatabaseName, Arc<dyn Database>>,
    patience: Duration,
) -> Result<(), BuildError> {
    let mut known: Vec<(&DatabaseName, Identity)> = Vec::new();
    for (name, database) in databases {
        let checked = async {
            database.check_columns(Instant::now() + patience).await?;
            database.identity(Instant::now() + patience).await
        };
        match checked.await {
            Ok(None) => {}
            Ok(Some(identity)) => {
                if let Some((other, _)) = known.iter().find(|(_, other)| *other == identity) {
                    let message =
                        format!("databases `{other}` and `{name}` are one table, {}: give two", database.summary());
                    return Err(BuildError::Invalid { message });
                }
                known.push((name, identity));
            }
            Err(DatabaseError::Corrupt { message }) => {
                let message = format!("database `{name}`, {}: {message}", database.summary());
                return Err(BuildError::Invalid { message });
            }
            Err(error) => tracing::warn!(database = %name, "its table could not be checked: {error}"),
        }
    }
    Ok(())
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let databases: Vec<_> = self.databases.iter().map(|(name, database)| (name, database.summary())).collect();
        f.debug_struct("Builder").field("databases", &databases).field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// No flag is set, for ever.
struct NoFlags(watch::Sender<Arc<FlagSnapshot>>);

impl Default for NoFlags {
    fn default() -> Self {
        Self(watch::Sender::new(Arc::default()))
    }
}

impl Flags for NoFlags {
    fn subscribe(&self) -> watch::Receiver<Arc<FlagSnapshot>> {
        self.0.subscribe()
    }

    fn summary(&self) -> String {
        "no flags".to_owned()
    }
}
