//! The changes that this host could not report to Redis. It does not read their keys from the cache until Redis has
//! executed them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use switchover_core::capabilities::Nonce;
use switchover_core::sync::Mutex;

use super::scripts::{KeyDigest, LEASE_MS};

/// A minute of an outage at 1,000 writes a second; at most 10 MB.
pub(super) const KEYS_MAX: usize = 65_536;
/// How many writers of one key are kept of which Redis does not know. If there are more, those that end last are kept.
const GUARDS_PER_KEY_MAX: usize = 64;
/// How long an entry of another host may live, if this host has filled none that lives longer.
const TTL_MIN: Duration = Duration::from_secs(60);

/// The keys whose guard, release or invalidation failed.
///
/// A key is owed from before its writer is answered until Redis has executed the missing change. So within this host
/// nobody reads an entry that a write of this host has made old. If more than [`KEYS_MAX`] keys are owed, the host
/// reads nothing from the cache until every entry that could be affected has ended.
pub(super) struct Debts {
    owed: Mutex<Owed>,
    /// The number of owed keys, read without the lock.
    count: AtomicUsize,
    keys_max: usize,
}

#[derive(Default)]
struct Owed {
    keys: HashMap<KeyDigest, Debt>,
    turn: u64,
    ttl_longest: Duration,
    /// Some keys were not kept. Until this time all keys count as owed.
    all_until: Option<Instant>,
}

/// The debt of one key.
#[derive(Clone)]
pub(super) struct Debt {
    /// Guards that Redis does not have, of writers that may still be active.
    pub(super) guards: Vec<(Nonce, Instant)>,
    /// Grows with each change, so that a change during a payment is not lost.
    pub(super) turn: u64,
}

impl Debts {
    pub(super) fn new() -> Self {
        Self::with_keys(KEYS_MAX)
    }

    fn with_keys(keys_max: usize) -> Self {
        Self { owed: Mutex::default(), count: AtomicUsize::new(0), keys_max }
    }

    fn count(&self, owed: &Owed) {
        self.count.store(owed.keys.len() + usize::from(owed.all_until.is_some()), Ordering::SeqCst);
    }

    /// Remembers the longest time to live of an entry.
    pub(super) fn note_ttl(&self, ttl: Duration) {
        let mut owed = self.owed.lock();
        owed.ttl_longest = owed.ttl_longest.max(ttl);
    }

    /// Whether the key must not be read.
    pub(super) fn is_owed(&self, key: &KeyDigest) -> bool {
        if self.count.load(Ordering::SeqCst) == 0 {
            return false;
        }
        let mut owed = self.owed.lock();
        if owed.all_until.is_some_and(|until| until <= Instant::now()) {
            owed.all_until = None;
            self.count(&owed);
        }
        owed.all_until.is_some() || owed.keys.contains_key(key)
    }

    /// Whether any key must not be read.
    pub(super) fn is_any_owed(&self) -> bool {
        let mut owed = self.owed.lock();
        if owed.all_until.is_some_and(|until| until <= Instant::now()) {
            owed.all_until = None;
            self.count(&owed);
        }
        owed.all_until.is_some() || !owed.keys.is_empty()
    }

    /// Adds a debt: an invalidation, and the guard if it is the guard that failed.
    pub(super) fn owe(&self, key: KeyDigest, guard: Option<(Nonce, Instant)>) {
        let mut owed = self.owed.lock();
        owed.turn += 1;
        let turn = owed.turn;
        if owed.keys.len() >= self.keys_max && !owed.keys.contains_key(&key) {
            // A row that was read before the write may be filled with a lease from before the write.
            let now = Instant::now();
            let written = guard.map_or(now, |(_, until)| until);
            let until = written + owed.ttl_longest.max(TTL_MIN) + Duration::from_millis(LEASE_MS);
            owed.all_until = Some(owed.all_until.map_or(until, |before| before.max(until)));
        } else {
            let debt = owed.keys.entry(key).or_insert(Debt { guards: Vec::new(), turn });
            debt.turn = turn;
            debt.guards.extend(guard);
            if debt.guards.len() > GUARDS_PER_KEY_MAX {
                debt.guards.sort_by_key(|(_, until)| std::cmp::Reverse(*until));
                debt.guards.truncate(GUARDS_PER_KEY_MAX);
            }
        }
        self.count(&owed);
    }

    /// A writer has ended: its guard need not be reported any more.
    pub(super) fn forget_guard(&self, key: &KeyDigest, nonce: Nonce) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut owed = self.owed.lock();
        owed.turn += 1;
        let turn = owed.turn;
        if let Some(debt) = owed.keys.get_mut(key) {
            debt.guards.retain(|(known, _)| *known != nonce);
            debt.turn = turn;
        }
    }

    /// Returns some of the debts, at most `limit` keys.
    pub(super) fn some(&self, limit: usize) -> Vec<(KeyDigest, Debt)> {
        self.owed.lock().keys.iter().take(limit).map(|(key, debt)| (*key, debt.clone())).collect()
    }

    /// Removes a debt that Redis has executed, unless it has changed since `turn`.
    pub(super) fn paid(&self, key: &KeyDigest, turn: u64) {
        let mut owed = self.owed.lock();
        if owed.keys.get(key).is_some_and(|debt| debt.turn == turn) {
            owed.keys.remove(key);
        }
        self.count(&owed);
    }

    /// The number of owed keys.
    pub(super) fn len(&self) -> usize {
        self.owed.lock().keys.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchover_core::SessionKey;

    fn key(at: usize) -> KeyDigest {
        KeyDigest::of(&SessionKey::parse(&format!("key{at:05}")).expect("a valid key"))
    }

    #[test]
    fn debt_that_grew_while_it_was_paid_stays() {
        let debts = Debts::new();
        debts.owe(key(1), None);
        let (owed, debt) = debts.some(8).pop().expect("one is owed");
        debts.owe(key(1), None);
        debts.paid(&owed, debt.turn);
        assert!(debts.is_owed(&key(1)));
        let (owed, debt) = debts.some(8).pop().expect("one is owed");
        debts.paid(&owed, debt.turn);
        assert!(!debts.is_owed(&key(1)));
    }

    #[test]
    fn guard_is_owed_until_its_writer_is_done() {
        let (debts, until) = (Debts::new(), Instant::now() + Duration::from_secs(4));
        debts.owe(key(1), Some((Nonce(1), until)));
        debts.owe(key(1), Some((Nonce(2), until)));
        debts.forget_guard(&key(1), Nonce(1));
        let (_, debt) = debts.some(8).pop().expect("one is owed");
        assert_eq!(debt.guards, [(Nonce(2), until)]);
        debts.forget_guard(&key(1), Nonce(2));
        assert!(debts.is_owed(&key(1)), "the invalidation is still owed");
    }

    #[test]
    fn too_many_keys_make_all_unread_until_entries_have_ended() {
        let debts = Debts::with_keys(2);
        debts.note_ttl(Duration::from_secs(100));
        for at in 0..2 {
            debts.owe(key(at), None);
        }
        assert!(!debts.is_owed(&key(7)));
        debts.owe(key(2), None);
        assert!(debts.is_owed(&key(7)), "nobody knows which key it was");
        for (owed, debt) in debts.some(8) {
            debts.paid(&owed, debt.turn);
        }
        assert!(debts.is_owed(&key(7)), "what was not remembered is not paid");
        let until = debts.owed.lock().all_until.expect("it overflowed");
        assert!(until > Instant::now() + Duration::from_secs(99));
        debts.owed.lock().all_until = Some(Instant::now());
        assert!(!debts.is_owed(&key(7)));
    }

    #[test]
    fn one_key_cannot_grow_without_bound() {
        let (debts, now) = (Debts::new(), Instant::now());
        for at in 0..1_000_u32 {
            debts.owe(key(1), Some((Nonce(at.into()), now + Duration::from_secs(at.into()))));
        }
        let (_, debt) = debts.some(8).pop().expect("one is owed");
        assert_eq!(debt.guards.len(), GUARDS_PER_KEY_MAX);
        assert!(debt.guards.iter().any(|(nonce, _)| *nonce == Nonce(999)), "the last one to end is kept");
    }
}
