//! A policy as a component: the imports as a [`Host`], the exports of any [`Policy`], the executor between them.

mod convert;

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use self::bindings::exports::switchover::policy::{about, router, session_store};
use self::bindings::switchover::policy::{cache, clock, databases, flags, log, settings, types};
use crate::host::{Host, Lookup, Session};
use crate::policy::Policy;
use switchover_contract::{Error, Instant, Level, Result, SaveMode, SaveOutcome, Target};

pub use self::bindings::export_component;

/// What `wit_bindgen` generates from `wit/`.
#[expect(missing_docs, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "policy",
        ownership: Borrowing { duplicate_if_necessary: true },
        pub_export_macro: true,
        export_macro_name: "export_component",
    });
}

/// The exports of a policy.
pub struct Component<P>(PhantomData<P>);

/// The imports of a component. Functions that wait do so in the host, with the whole guest suspended: to the guest they
/// are ready at once.
struct Imports;

impl Session for types::Session {
    fn expires_at(&self) -> Instant {
        types::Session::expires_at(self)
    }

    fn size(&self) -> u32 {
        types::Session::size(self)
    }

    fn payload(&self) -> Result<Vec<u8>> {
        types::Session::payload(self).map_err(Error::from)
    }
}

impl Host for Imports {
    type Session = types::Session;
    type Lease = cache::Lease;

    async fn load(&self, database: &str, key: &str) -> Result<Option<Self::Session>> {
        databases::load(database, key).map_err(Error::from)
    }

    async fn load_each(&self, databases: &[&str], key: &str) -> Vec<Result<Option<Self::Session>>> {
        databases::load_each(databases, key).into_iter().map(|answer| answer.map_err(Error::from)).collect()
    }

    async fn save(&self, to: &Target, key: &str, value: &Self::Session, mode: SaveMode) -> Result<SaveOutcome> {
        with_target(to, |to| databases::save(to, key, value, mode.into())).map(SaveOutcome::from).map_err(Error::from)
    }

    async fn touch(&self, to: &Target, key: &str, expires_at: Instant) -> Result<SaveOutcome> {
        with_target(to, |to| databases::touch(to, key, expires_at)).map(SaveOutcome::from).map_err(Error::from)
    }

    async fn delete(&self, to: &Target, key: &str) -> Result<bool> {
        with_target(to, |to| databases::delete(to, key)).map_err(Error::from)
    }

    async fn copy(&self, source: &str, to: &Target, key: &str) -> Result<()> {
        with_target(to, |to| databases::copy(source, to, key)).map_err(Error::from)
    }

    async fn exists(&self, database: &str, key: &str) -> Result<bool> {
        databases::exists(database, key).map_err(Error::from)
    }

    async fn delete_expired(&self, database: &str, before: Option<Instant>, limit: u32) -> Result<u32> {
        databases::delete_expired(database, before, limit).map_err(Error::from)
    }

    async fn cache_get(&self, key: &str) -> Result<Lookup<Self::Session, Self::Lease>> {
        match cache::get(key) {
            Ok(cache::Lookup::Hit(session)) => Ok(Lookup::Hit(session)),
            Ok(cache::Lookup::Miss(lease)) => Ok(Lookup::Miss(lease)),
            Err(error) => Err(error.into()),
        }
    }

    async fn cache_fill(&self, lease: Self::Lease, value: &Self::Session) -> Result<()> {
        cache::fill(lease, value).map_err(Error::from)
    }

    async fn cache_invalidate(&self, key: &str) -> Result<()> {
        cache::invalidate(key).map_err(Error::from)
    }

    fn flag_enabled(&self, name: &str) -> bool {
        flags::enabled(name)
    }

    fn flag_value(&self, name: &str) -> Option<String> {
        flags::value(name)
    }

    fn setting(&self, name: &str) -> Option<String> {
        setting_once(name)
    }

    fn now(&self) -> Instant {
        clock::now()
    }

    fn log(&self, level: Level, message: &str) {
        log::write(level.into(), message);
    }
}

/// Asks the host for a setting once in the life of an instance: settings are constant, and a call of the host costs
/// more than all that a policy does with the answer.
fn setting_once(name: &str) -> Option<String> {
    thread_local! {
        static KNOWN: RefCell<Vec<(String, Option<String>)>> = const { RefCell::new(Vec::new()) };
    }
    KNOWN.with_borrow_mut(|known| {
        if let Some((_, value)) = known.iter().find(|(known_name, _)| known_name == name) {
            return value.clone();
        }
        let value = settings::get(name);
        known.push((name.to_owned(), value.clone()));
        value
    })
}

fn with_target<T>(to: &Target, ask: impl FnOnce(databases::Target<'_>) -> T) -> T {
    let mirrors: Vec<_> = to
        .mirrors
        .iter()
        .map(|mirror| databases::Mirror {
            database: &mirror.database,
            guarantee: mirror.guarantee.into(),
            action: mirror.action.into(),
        })
        .collect();
    ask(databases::Target { home: &to.home, lock: to.lock.as_deref(), mirrors: &mirrors })
}

impl<P: Policy> session_store::Guest for Component<P> {
    fn load(key: String) -> std::result::Result<Option<types::Session>, types::Error> {
        run(P::load(&Imports, &key)).map_err(types::Error::from)
    }

    fn save(
        key: String,
        value: types::Session,
        mode: types::SaveMode,
    ) -> std::result::Result<types::SaveOutcome, types::Error> {
        run(P::save(&Imports, &key, value, mode.into())).map(types::SaveOutcome::from).map_err(types::Error::from)
    }

    fn touch(key: String, expires_at: Instant) -> std::result::Result<types::SaveOutcome, types::Error> {
        run(P::touch(&Imports, &key, expires_at)).map(types::SaveOutcome::from).map_err(types::Error::from)
    }

    fn delete(key: String) -> std::result::Result<bool, types::Error> {
        run(P::delete(&Imports, &key)).map_err(types::Error::from)
    }

    fn exists(key: String) -> std::result::Result<bool, types::Error> {
        run(P::exists(&Imports, &key)).map_err(types::Error::from)
    }

    fn clear_expired(limit: u32) -> std::result::Result<u32, types::Error> {
        run(P::clear_expired(&Imports, limit)).map_err(types::Error::from)
    }
}

impl<P: Policy> router::Guest for Component<P> {
    fn db_for_read(model: router::Model, hints: router::Hints) -> std::result::Result<Option<String>, types::Error> {
        log_panics();
        P::db_for_read(&Imports, &model.into(), &hints.into()).map_err(types::Error::from)
    }

    fn db_for_write(model: router::Model, hints: router::Hints) -> std::result::Result<Option<String>, types::Error> {
        log_panics();
        P::db_for_write(&Imports, &model.into(), &hints.into()).map_err(types::Error::from)
    }

    fn allow_relation(
        a: router::Object,
        b: router::Object,
        hints: router::Hints,
    ) -> std::result::Result<Option<bool>, types::Error> {
        log_panics();
        P::allow_relation(&Imports, &a.into(), &b.into(), &hints.into()).map_err(types::Error::from)
    }

    fn allow_migrate(
        database: String,
        app_label: String,
        model_name: Option<String>,
        hints: router::Hints,
    ) -> std::result::Result<Option<bool>, types::Error> {
        log_panics();
        P::allow_migrate(&Imports, &database, &app_label, model_name.as_deref(), &hints.into())
            .map_err(types::Error::from)
    }
}

impl<P: Policy> about::Guest for Component<P> {
    fn describe() -> about::Description {
        log_panics();
        P::describe(&Imports).into()
    }
}

/// Runs a policy's future to its end, which it reaches at the first poll.
fn run<T>(future: impl Future<Output = T>) -> T {
    log_panics();
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a policy may wait for the host alone"),
    }
}

/// Sends the message of a panic to the operator: this target has no standard error.
pub fn log_panics() {
    thread_local! {
        static HOOKED: Cell<bool> = const { Cell::new(false) };
    }
    if !HOOKED.replace(true) {
        std::panic::set_hook(Box::new(|panic| log::write(log::Level::Error, &panic.to_string())));
    }
}
