//! Look-ups. Those that are requested in the same moment go to the server as one command.
//!
//! A single one is `SET ... NX GET`, which finds an entry or leaves a lease in one round trip. Several are one `MGET`,
//! which costs client and server about half as much for each key; a key without an entry is then looked up alone.

use std::sync::Arc;

use ::redis::Value;
use switchover_core::capabilities::{CacheError, CacheLookup, Lease};
use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::link::{Link, is_want_of_memory, is_wrong_type};
use super::look_queue::{Added, Answer, Waiting};
use super::scripts::{Found, Look, found, seen, seen_by_many};
use super::shared::Shared;

/// Looks a key up, together with others that are requested in the same moment. Dropping it affects neither the others
/// nor the connection.
pub(super) async fn look_up(shared: &Arc<Shared>, look: Look) -> Answer {
    let (answer, answered) = oneshot::channel();
    match shared.looks.add(Waiting { look, answer }) {
        Added::First => drop(tokio::spawn(Turn { shared: Arc::clone(shared), ended: false }.run())),
        Added::Last(looks) => drop(tokio::spawn(ask(Arc::clone(shared), looks))),
        Added::Between => {}
    }
    answered.await.unwrap_or_else(|_| Err(CacheError { message: "a look-up was lost".to_owned() }))
}

/// The task that takes the waiting look-ups once no other caller is about to add one.
struct Turn {
    shared: Arc<Shared>,
    ended: bool,
}

impl Turn {
    async fn run(mut self) {
        // Every task that can run now and is about to add a look-up adds it before this goes on.
        yield_now().await;
        self.ended = true;
        ask(Arc::clone(&self.shared), self.shared.looks.take()).await;
    }
}

/// A runtime that ends drops its tasks. Then the callers must not wait for a task that will not run.
impl Drop for Turn {
    fn drop(&mut self) {
        if !self.ended {
            drop(self.shared.looks.take());
        }
    }
}

async fn ask(shared: Arc<Shared>, mut looks: Vec<Waiting>) {
    looks.retain(|waiting| !waiting.answer.is_closed());
    let link = match shared.connected() {
        Ok(link) => link,
        Err(error) => return fail(looks, &error),
    };
    match looks.pop() {
        Some(alone) if looks.is_empty() => ask_alone(shared, link, alone).await,
        Some(last) => {
            looks.push(last);
            ask_together(shared, link, looks).await;
        }
        None => {}
    }
}

async fn ask_together(shared: Arc<Shared>, link: Arc<Link>, looks: Vec<Waiting>) {
    let mut values = Vec::new();
    if link.looks_together {
        let command = shared.scripts.look_many(looks.iter().map(|waiting| &waiting.look));
        match shared.answer(&link, command.query_async(&mut link.connection.clone())).await {
            Ok(answered) => values = answered,
            Err(error) => return fail(looks, &shared.failed(&link, &error)),
        }
    }
    let mut values = values.into_iter();
    for waiting in looks {
        let value = values.next().unwrap_or(Value::Nil);
        match seen_by_many(&waiting.look, link.server, &value) {
            Some(found) => answer(waiting, Ok(Some(found))),
            None => drop(tokio::spawn(ask_alone(Arc::clone(&shared), Arc::clone(&link), waiting))),
        }
    }
}

async fn ask_alone(shared: Arc<Shared>, link: Arc<Link>, waiting: Waiting) {
    let found = match look(&shared, &link, &waiting.look).await {
        Ok(None) => {
            let answer = shared.run(&link, shared.scripts.get(&waiting.look, link.server)).await;
            answer.map(|answer| found(&waiting.look, &answer))
        }
        found => found,
    };
    answer(waiting, found);
}

/// Finds an entry or a guard, or leaves a new lease, by one command. `None`: the script must be used. That is so if
/// there is a lease or something else, if the server has no memory for a lease, or if it is older than the command.
async fn look(shared: &Shared, link: &Arc<Link>, look: &Look) -> Result<Option<Found>, CacheError> {
    if !link.looks_by_set {
        return Ok(None);
    }
    let command = shared.scripts.look(look, link.server);
    match shared.answer(link, command.query_async::<Value>(&mut link.connection.clone())).await {
        Ok(answer) => Ok(seen(look, link.server, &answer)),
        Err(error) if is_want_of_memory(&error) || is_wrong_type(&error) => Ok(None),
        Err(error) => Err(shared.failed(link, &error)),
    }
}

fn answer(waiting: Waiting, found: Result<Option<Found>, CacheError>) {
    let answer = found.map(|found| match found {
        Some(Found::Entry(session)) if session.expires_at > waiting.look.now => CacheLookup::Hit(session),
        Some(Found::Leased) => CacheLookup::Miss(waiting.look.lease),
        // An invalid entry stays until it ends. Nothing was filled over it, so nothing wrong can be read.
        Some(Found::Entry(_) | Found::Guarded) | None => CacheLookup::Miss(Lease::DEAD),
    });
    let _gone = waiting.answer.send(answer);
}

fn fail(looks: Vec<Waiting>, error: &CacheError) {
    for waiting in looks {
        let _gone = waiting.answer.send(Err(CacheError { message: error.message.clone() }));
    }
}
