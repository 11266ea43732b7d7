//! A policy: the session store, the router and the account of itself that a component exports.

use std::future::Future;

use crate::host::Host;
use switchover_contract::{Description, Hints, Instant, Model, Object, Result, SaveMode, SaveOutcome};

/// Where sessions live, and how they move. Stateless: what is not in the host does not survive a call.
///
/// The router's functions have "no opinion" as their default, as in Django.
pub trait Policy: Send + Sync + 'static {
    /// Describes the policy; may read settings, and nothing else.
    fn describe<H: Host>(host: &H) -> Description;

    /// Finds a session. `Ok(None)`: there is no such session. An error is never "no session".
    fn load<H: Host>(host: &H, key: &str) -> impl Future<Output = Result<Option<H::Session>>> + Send;

    /// Creates or updates a session.
    fn save<H: Host>(
        host: &H,
        key: &str,
        value: H::Session,
        mode: SaveMode,
    ) -> impl Future<Output = Result<SaveOutcome>> + Send;

    /// Moves the end of a session, never to an earlier time.
    fn touch<H: Host>(host: &H, key: &str, expires_at: Instant) -> impl Future<Output = Result<SaveOutcome>> + Send;

    /// Ends a session; `true`: it was there.
    fn delete<H: Host>(host: &H, key: &str) -> impl Future<Output = Result<bool>> + Send;

    /// Whether the key is taken, also by a session that has ended.
    fn exists<H: Host>(host: &H, key: &str) -> impl Future<Output = Result<bool>> + Send;

    /// Deletes at most `limit` sessions that have ended, and answers how many.
    fn clear_expired<H: Host>(host: &H, limit: u32) -> impl Future<Output = Result<u32>> + Send;

    /// The database to read a model from. `Ok(None)`: no opinion.
    fn db_for_read<H: Host>(host: &H, model: &Model, hints: &Hints) -> Result<Option<String>> {
        let _ = (host, model, hints);
        Ok(None)
    }

    /// The database to write a model to. `Ok(None)`: no opinion.
    fn db_for_write<H: Host>(host: &H, model: &Model, hints: &Hints) -> Result<Option<String>> {
        let _ = (host, model, hints);
        Ok(None)
    }

    /// Whether two instances may be related. `Ok(None)`: no opinion.
    fn allow_relation<H: Host>(host: &H, a: &Object, b: &Object, hints: &Hints) -> Result<Option<bool>> {
        let _ = (host, a, b, hints);
        Ok(None)
    }

    /// Whether tables of an application belong into a database. `Ok(None)`: no opinion.
    fn allow_migrate<H: Host>(
        host: &H,
        database: &str,
        app_label: &str,
        model_name: Option<&str>,
        hints: &Hints,
    ) -> Result<Option<bool>> {
        let _ = (host, database, app_label, model_name, hints);
        Ok(None)
    }
}
