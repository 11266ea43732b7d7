//! What a host does for its migration besides calls: it marks keys whose rows may differ, and seals epochs.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use switchover_core::SessionKey;
use switchover_core::capabilities::Progress;
use switchover_protocol::Phase;

use super::Host;
use super::epochs::Membership;
use crate::migration::{self, Controller, Jobs, LEASE, Migration, Pair, Sealing, Turn, Turns, deadline};

/// The job of the host that seals.
const SEALER: &str = "sealer";
/// How often the sealer looks whether the barrier is complete.
const SEAL_EACH: Duration = Duration::from_millis(250);
/// How often the other hosts look whether nobody seals.
const TAKE_EACH: Duration = Duration::from_secs(5);
/// The longest pause before a host tries to take the job.
const JITTER_MS_MAX: u64 = 500;
/// How long a host keeps the job before it gives it back.
const SEAL_FOR: Duration = Duration::from_secs(10);
/// Keys that are marked in one transaction.
const MARKED_AT_ONCE: usize = 100;
/// How long a host tries to mark a key. After that, its next write or the verification finds it.
const MARK_PATIENCE: Duration = Duration::from_secs(60);
/// The pause after keys could not be marked.
const MARK_PAUSE: Duration = Duration::from_millis(500);

impl Host {
    /// A turn under the epoch that new calls run under; `None` if the host is closing, or takes part in no migration.
    pub(crate) fn turn(&self) -> Option<Turn> {
        let admission = self.slot.try_enter()?.admission;
        let document = Arc::clone(&self.membership.as_ref()?.place().borrow().document);
        let phase = admission.flags.value(migration::PHASE_FLAG).and_then(Phase::parse)?;
        Some(Turn { fence: admission.fence?, phase, document, _ticket: admission.ticket })
    }

    /// The operator's end of the migration that the host takes part in.
    pub(super) fn controller(&self, by: String) -> Option<Controller> {
        let Membership { migration: Migration { control, .. }, member, .. } = &**self.membership.as_ref()?;
        let [old, new] = self.store.both();
        Some(Controller::new(Arc::clone(&member.migration), Arc::clone(control), old, new, by))
    }
}

/// The turns of this host's jobs.
struct HostTurns {
    membership: Arc<Membership>,
    host: Weak<Host>,
}

#[async_trait]
impl Turns for HostTurns {
    fn turn(&self) -> Option<Turn> {
        self.host.upgrade()?.turn()
    }

    async fn changed(&self, since: u64, patience: Duration) {
        let mut place = self.membership.place();
        let changed = place.wait_for(|place| place.document.version != since);
        let _in_time = tokio::time::timeout(patience, changed).await;
    }
}

/// Starts the chores. They end when the host is gone or closed.
pub(super) fn start(membership: &Arc<Membership>, host: &Arc<Host>) {
    tokio::spawn(mark_suspects(Arc::downgrade(host)));
    if membership.migration.jobs {
        let [old, new] = host.store.both();
        let jobs = Jobs {
            turns: Arc::new(HostTurns { membership: Arc::clone(membership), host: Arc::downgrade(host) }),
            member: membership.member.clone(),
            control: Arc::clone(&membership.migration.control),
            pair: Pair { old, new },
            brakes: membership.migration.brakes.clone(),
            patience: host.limits.now().write_deadline,
        };
        migration::start_jobs(&jobs);
        tokio::spawn(seal_each(Arc::clone(membership), Arc::downgrade(host)));
    }
}

/// Marks keys after unknown outcomes, so that a copy makes their rows equal soon. No promise rests on it.
async fn mark_suspects(host: Weak<Host>) {
    loop {
        let Some(store) = host.upgrade().map(|host| Arc::clone(&host.store)) else { return };
        let keys = store.suspects().take().await;
        drop(store);
        let give_up = Instant::now() + MARK_PATIENCE;
        for keys in keys.chunks(MARKED_AT_ONCE) {
            while Instant::now() < give_up {
                let Some(host) = host.upgrade() else { return };
                if host.slot.is_closed() {
                    return;
                }
                if mark(&host, keys).await {
                    break;
                }
                drop(host);
                tokio::time::sleep(MARK_PAUSE).await;
            }
        }
    }
}

/// Returns whether nothing is left to do for these keys.
async fn mark(host: &Host, keys: &[SessionKey]) -> bool {
    let Some(turn) = host.turn() else { return false };
    let Some(side) = migration::source_of(turn.phase) else { return true };
    let Ok(side_tables) = host.store.side_tables(side) else { return true };
    let deadline = Instant::now() + host.limits.now().write_deadline;
    side_tables.plain().mark(keys.to_vec(), side, turn.fence, deadline).await.is_ok()
}

/// Seals each epoch as soon as its barrier is complete. One host of the fleet does it at a time.
async fn seal_each(membership: Arc<Membership>, host: Weak<Host>) {
    let mut place = membership.place();
    loop {
        let document = Arc::clone(&place.borrow_and_update().document);
        if document.sealed >= document.epoch {
            tokio::select! {
                changed = place.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(LEASE) => if host.strong_count() == 0 { return },
            }
            continue;
        }
        let by = format!("host {}", membership.member.host);
        let open = host.upgrade().filter(|host| !host.slot.is_closed());
        let Some(controller) = open.and_then(|host| host.controller(by)) else { return };
        // Of many hosts that have read the document in the same second, one begins before the others.
        tokio::time::sleep(jitter()).await;
        let (control, member) = (&membership.migration.control, &membership.member);
        let taken = control.take_job(SEALER, member.clone(), document.epoch, LEASE, deadline()).await;
        let is_taken = matches!(taken, Ok(Some(_)));
        if is_taken {
            let note = seal(&controller, document.epoch).await;
            let progress = Progress { note, ..Progress::default() };
            let _lease_runs_out = control.leave_job(SEALER, member.clone(), document.epoch, progress, deadline()).await;
        }
        if !is_taken {
            let changed = place.wait_for(|place| place.document.version != document.version);
            let _in_time = tokio::time::timeout(TAKE_EACH, changed).await;
        }
    }
}

fn jitter() -> Duration {
    let random = getrandom::u64().unwrap_or_default();
    Duration::from_millis(random % JITTER_MS_MAX)
}

/// Tries to seal for a while. Returns what it waits for.
async fn seal(controller: &Controller, epoch: switchover_core::capabilities::Epoch) -> String {
    let give_up = Instant::now() + SEAL_FOR;
    loop {
        let waits_for = match controller.seal().await {
            Ok(Sealing::Sealed(sealed)) => {
                tracing::info!(epoch = sealed.0, "an epoch of the migration is sealed");
                return String::new();
            }
            Ok(Sealing::Waits(waits_for)) => waits_for.join("; "),
            Err(error) => error.to_string(),
        };
        if Instant::now() >= give_up {
            tracing::info!(epoch = epoch.0, "the epoch is not sealed yet; it waits for {waits_for}");
            return waits_for;
        }
        tokio::time::sleep(SEAL_EACH).await;
    }
}
