//! Sessions spread over n databases: each key is owned by one of them, by rendezvous hashing, and n can change.
//!
//! | | `databases` alone | `previous` too, for a key whose owner changes |
//! | --- | --- | --- |
//! | load | cache, owner | cache, previous owner; that in error: new owner |
//! | save, touch | owner | home previous owner, strict mirror new owner |
//! | delete | owner | home previous owner, strict mirror new owner |
//! | exists | owner | previous owner |
//! | clear-expired | every database, one cut-off, one limit | every database of both lists |
//! | router, with the hint `key` | the application goes to the owner | to the previous owner |
//! | router, without | no opinion | no opinion |
//! | router, migrations | the application's tables belong to every database listed | the same |
//!
//! A key whose owner does not change is treated as under `databases` alone.
//!
//! | setting | default | means |
//! | --- | --- | --- |
//! | `databases` | none, must be set | the databases, by alias, with commas in between; their order does not matter |
//! | `previous` | none | those of before, while n changes |
//! | `app_label` | `sessions` | the application that the router answers for |
//!
//! The alias is hashed: a database keeps its keys for as long as it keeps its alias. [`owner`] has the function.
//!
//! n changes in two swaps. First `databases` becomes the new list and `previous` the old one. From then on every save
//! and touch carries its session over. The previous owner still decides: its row counts, its "no session" is final, and
//! a write is acknowledged when both owners have it. After the longest life of a session, every living one has been
//! carried over, and everything else that the new owners held has ended. Then `previous` is removed. **Removing it
//! earlier logs out everybody who was not carried over. Going back to the first list after that loses sessions and
//! brings ended ones back**: what was written in between is at the new owners alone.

mod owner;
mod settings;

use switchover_guest::{
    Description, Guarantee, Hints, Host, Instant, Model, Policy, Result, SaveMode, SaveOutcome, Target, through_cache,
};

pub use crate::owner::owner;
use crate::settings::{Lists, Place};

/// The policy.
#[derive(Debug)]
pub struct Shards;

switchover_guest::export!(Shards);

impl Place<'_> {
    fn target(&self) -> Target {
        let home = Target::home(self.home);
        match self.next {
            Some(next) => home.copy_to(next, Guarantee::Strict),
            None => home,
        }
    }
}

impl Policy for Shards {
    /// Settings that cannot be are told in an attribute, and by every call.
    fn describe<H: Host>(host: &H) -> Description {
        let (databases, attributes) = match Lists::of(host) {
            Ok(lists) => (lists.all().into_iter().map(str::to_owned).collect(), Vec::new()),
            Err(error) => (Vec::new(), vec![("invalid".to_owned(), error.message)]),
        };
        Description {
            name: "shards".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            protocol: "rendezvous-xxh64".into(),
            databases,
            flags: Vec::new(),
            attributes,
        }
    }

    async fn load<H: Host>(host: &H, key: &str) -> Result<Option<H::Session>> {
        let lists = Lists::of(host)?;
        through_cache(host, key, read(host, &lists, key)).await
    }

    async fn save<H: Host>(host: &H, key: &str, value: H::Session, mode: SaveMode) -> Result<SaveOutcome> {
        host.save(&Lists::of(host)?.place(key).target(), key, &value, mode).await
    }

    async fn touch<H: Host>(host: &H, key: &str, expires_at: Instant) -> Result<SaveOutcome> {
        host.touch(&Lists::of(host)?.place(key).target(), key, expires_at).await
    }

    async fn delete<H: Host>(host: &H, key: &str) -> Result<bool> {
        host.delete(&Lists::of(host)?.place(key).target(), key).await
    }

    async fn exists<H: Host>(host: &H, key: &str) -> Result<bool> {
        host.exists(Lists::of(host)?.place(key).home, key).await
    }

    async fn clear_expired<H: Host>(host: &H, limit: u32) -> Result<u32> {
        let lists = Lists::of(host)?;
        let cut_off = Some(host.now());
        let (mut cleared, mut failed) = (0, None);
        for database in lists.all() {
            if cleared >= limit {
                break;
            }
            // A database that fails keeps none of the others from being cleared.
            match host.delete_expired(database, cut_off, limit - cleared).await {
                Ok(rows) => cleared += rows,
                Err(error) => failed = Some(error),
            }
        }
        // What was cleared is cleared: the failure is told when nothing else is left.
        failed.filter(|_| cleared == 0).map_or(Ok(cleared), Err)
    }

    fn db_for_read<H: Host>(host: &H, model: &Model, hints: &Hints) -> Result<Option<String>> {
        route(host, model, hints)
    }

    fn db_for_write<H: Host>(host: &H, model: &Model, hints: &Hints) -> Result<Option<String>> {
        route(host, model, hints)
    }

    fn allow_migrate<H: Host>(
        host: &H,
        database: &str,
        app_label: &str,
        _model_name: Option<&str>,
        _hints: &Hints,
    ) -> Result<Option<bool>> {
        let lists = Lists::of(host)?;
        Ok(is_ours(host, app_label).then(|| lists.all().contains(&database)))
    }
}

/// Home is of every write, so its answer is final, also that there is no session. The new owner makes good its failure
/// with a session that was carried over; what it does not have may be at home alone.
async fn read<H: Host>(host: &H, lists: &Lists, key: &str) -> Result<Option<H::Session>> {
    let place = lists.place(key);
    match (host.load(place.home, key).await, place.next) {
        (Err(error), Some(next)) => match host.load(next, key).await {
            Ok(Some(session)) => Ok(Some(session)),
            Ok(None) | Err(_) => Err(error),
        },
        (found, _) => found,
    }
}

/// The database that is home of the key that the caller routes by; `None`: no opinion.
fn route(host: &impl Host, model: &Model, hints: &Hints) -> Result<Option<String>> {
    let lists = Lists::of(host)?;
    let key = hints.key.as_deref().filter(|_| is_ours(host, &model.app_label));
    Ok(key.map(|key| lists.place(key).home.to_owned()))
}

fn is_ours(host: &impl Host, app_label: &str) -> bool {
    app_label == host.setting_or("app_label", "sessions")
}
