//! The cache in front of a load.

use std::future::Future;

use switchover_contract::Result;

use crate::host::{Host, Lookup};

/// Looks a session up in the cache; after a miss reads it with `read`, and fills the cache with what was found. A cache
/// that fails never fails the load.
///
/// `read` begins once the cache has answered, so a hit asks no database. It may ask one database or several. The cache
/// is not filled with "no session", nor after a look-up that failed.
///
/// # Errors
///
/// That of `read`.
///
/// # Examples
///
/// ```
/// use switchover_guest::{Host, Result, through_cache};
///
/// async fn load<H: Host>(host: &H, key: &str) -> Result<Option<H::Session>> {
///     through_cache(host, key, host.load("default", key)).await
/// }
///
/// /// A failure of the first database is made good by the second.
/// async fn load_of_two<H: Host>(host: &H, key: &str) -> Result<Option<H::Session>> {
///     let read = async {
///         match host.load("near", key).await {
///             Ok(Some(session)) => Ok(Some(session)),
///             Ok(None) | Err(_) => host.load("far", key).await,
///         }
///     };
///     through_cache(host, key, read).await
/// }
/// ```
pub async fn through_cache<H: Host>(
    host: &H,
    key: &str,
    read: impl Future<Output = Result<Option<H::Session>>>,
) -> Result<Option<H::Session>> {
    let lease = match host.cache_get(key).await {
        Ok(Lookup::Hit(session)) => return Ok(Some(session)),
        Ok(Lookup::Miss(lease)) => Some(lease),
        Err(_) => None,
    };
    let found = read.await?;
    if let (Some(session), Some(lease)) = (&found, lease) {
        // The session is found, whether or not the cache takes it.
        let _ = host.cache_fill(lease, session).await;
    }
    Ok(found)
}
