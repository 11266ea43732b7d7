//! The cache around a write. A guard is set before the write, and released after the write and before its
//! acknowledgement.

use std::future::Future;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use switchover_contract::{Error, ErrorCode, Result};
use switchover_core::SessionKey;
use switchover_core::capabilities::Nonce;
use switchover_runtime::Limits;

use super::Store;

impl Store {
    /// Runs a write with the key guarded in the cache. Without a cache it only runs the write. A cache that fails is
    /// counted.
    ///
    /// `limits` are those that the write itself has: the guard must last longer than the write may.
    ///
    /// In a fleet a write whose entry could not be removed may have to wait before it is acknowledged.
    ///
    /// After an unknown outcome the guard stays until it ends by itself: the write may still happen, and an entry that
    /// was filled before the write would be served after it.
    pub(super) async fn guarded<T>(
        self: &Arc<Self>,
        key: &SessionKey,
        is_delete: bool,
        limits: &Limits,
        write: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let Ok(cache) = self.cache() else { return write.await };
        let nonce = next_nonce();
        let ttl = limits.write_deadline * 2;
        // The last tenth of the call's time is for its answer.
        let give_up = Instant::now() + limits.call_wall_time * 9 / 10;
        let _counted = self.bounded("guard", cache.guard(key, nonce, ttl)).await;
        let outcome = write.await;
        if !matches!(&outcome, Err(Error { code: ErrorCode::UnknownOutcome, .. })) {
            let released = self.bounded("release", cache.release(key, nonce)).await;
            if released.is_err() && outcome.is_ok() {
                self.told(cache, key, nonce, is_delete, give_up).await?;
            }
        }
        outcome
    }
}

/// A nonce that is unique in the fleet: 64 random bits of this process, and a counter.
fn next_nonce() -> Nonce {
    static PROCESS: LazyLock<u64> =
        LazyLock::new(|| getrandom::u64().expect("the operating system's random source answers"));
    static WRITER: AtomicU64 = AtomicU64::new(1);
    Nonce(u128::from(*PROCESS) << 64 | u128::from(WRITER.fetch_add(1, Ordering::Relaxed)))
}
