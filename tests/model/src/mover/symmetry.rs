//! Applications are interchangeable, and so are copiers: states that differ only in their order are represented by one
//! of them.

use crate::mover::state::{Client, Copier, Copying, State, Task, Write};

/// The state with its applications and its copiers in a fixed order.
pub(crate) fn representative(state: &State) -> State {
    let mut sorted = state.clone();
    sorted.clients.sort_by_key(client);
    sorted.copiers.sort_by_key(copier);
    sorted
}

fn row(write: Option<Write>) -> u8 {
    write.map_or(0, |write| write.row + 1)
}

fn token(write: Option<Write>) -> u8 {
    write.map_or(0, |write| write.token)
}

fn client(client: &Client) -> impl Ord + use<> {
    let task = match client.task {
        None => (0, 0, 0, 0, 0),
        Some(Task::Sent { key, kind }) => (1, key, kind as u8, 0, 0),
        Some(Task::Open { side, writes: [first, second] }) => {
            (2 + 2 * side as u8, row(first), token(first), row(second), token(second))
        }
        Some(Task::Snapshot { key, rows: [old, new], fine, is_old }) => (5 + 2 * u8::from(is_old), key, old, new, fine),
    };
    (client.at as u8, client.is_host, task)
}

fn copier(copier: &Copier) -> impl Ord + use<> {
    let copy = |copy: Copying| (copy.key, copy.step as u8, copy.seen, copy.row);
    (copier.generation, copier.from as u8, copier.copies.map(|held| held.map(copy)))
}
